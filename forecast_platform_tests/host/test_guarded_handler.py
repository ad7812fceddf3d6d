"""A server behind the guard is found by those of ours who ask whether it is up."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from forecast_platform.host.guarded_handler import answered
from forecast_platform.host.services import answers, reached
from forecast_platform.host.web_guard import access_for
from forecast_platform.settings import build


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if answered(self, access_for(build(), "::1")):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"dagster_webserver_version": "1.2.3"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Six(HTTPServer):
    address_family = socket.AF_INET6


def test_a_webserver_at_an_address_of_ipv6_is_seen_to_answer() -> None:
    try:
        server = _Six(("::1", 0), _Handler)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        assert answers("::1", server.server_port) == "1.2.3"
        assert answers("::", server.server_port) == "1.2.3"
        server.shutdown()


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("localhost", "localhost"),
    ],
)
def test_a_url_names_the_machine_that_a_server_binds(host: str, name: str) -> None:
    assert reached(host) == name
