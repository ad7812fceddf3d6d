"""The workspace: loopback HTTP, tokens, routing. `python -m forecast_platform_tests.databricks_workspace` serves one.

It keeps DBFS, volumes and workspace files as folders under one root, and runs what is submitted in subprocesses of
this interpreter (see runner.py for what such a process sees).
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from forecast_platform_tests.databricks_workspace import access, clusters, files, jobs, notebooks, tables
from forecast_platform_tests.databricks_workspace.faults import ApiError, Faults, invalid

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

USER = "someone@example.com"


@dataclass
class Request:
    """One call: its path's parts, query and body."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: Any
    user: str = USER
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON; MALFORMED_REQUEST otherwise."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise ApiError(400, "MALFORMED_REQUEST", f"Could not parse request object: {error}") from error
        if not isinstance(value, dict):
            raise ApiError(400, "MALFORMED_REQUEST", "Could not parse request object: expected an object")
        return value

    @property
    def form(self) -> dict[str, bytes]:
        """A multipart body's fields."""
        head = f"Content-Type: {self.headers.get('Content-Type', '')}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        found = {}
        for part in message.iter_parts():
            found[str(part.get_param("name", header="content-disposition"))] = part.get_payload(decode=True) or b""
        return found

    def need(self, name: str) -> Any:
        """A required field of the query or the JSON body."""
        value = self.query.get(name) if self.method in ("GET", "HEAD") else self.json.get(name)
        if value is None:
            raise invalid(f"Missing required field: {name}")
        return value


@dataclass
class Raw:
    """A response that is no JSON."""

    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[["Workspace", Request], "dict[str, Any] | Raw"]


def _routes() -> list[tuple[str, re.Pattern[str], Handler]]:
    found = []
    for module in (files, notebooks, jobs, clusters, access, tables):
        for (method, pattern), handler in module.ROUTES.items():
            found.append((method, re.compile(pattern), handler))
    return found


class Workspace:
    """A workspace under `root`. Use as a context manager; `host` and `token` are what a client needs.

    `cluster_start_seconds`: what a new cluster takes to start. `environment`: variables every process of the
    workspace has beside its cluster's own. `dbfs`: False for a workspace with DBFS switched off, as new ones are.
    `spark`: False for tasks that use no Spark: they get a stand-in at once, where a JVM takes seconds to start.
    `serverless_spark`: address of a Spark Connect server, whose session serverless tasks get, with its few settings;
    `cluster_spark` one whose session those of clusters get in place of a JVM's.
    `unity_catalog`: address of the catalog whose tables that server has.
    """

    def __init__(
        self,
        root: Path,
        *,
        cluster_start_seconds: float = 0.05,
        environment: dict[str, str] | None = None,
        dbfs: bool = True,
        spark: bool = True,
        serverless_spark: str | None = None,
        unity_catalog: str | None = None,
        port: int = 0,
    ) -> None:
        self.root = root.resolve()
        self.cluster_start_seconds = cluster_start_seconds
        self.environment = dict(environment or {})
        self.dbfs_enabled = dbfs
        self.spark = spark
        self.serverless_spark = serverless_spark
        self.cluster_spark: str | None = None
        self.unity_catalog = unity_catalog
        self.token = f"dapi{secrets.token_hex(16)}"
        self.tokens = {self.token: USER}
        self.oauth_clients: dict[str, str] = {}
        self.faults = Faults()
        self.calls: list[tuple[str, str, int]] = []
        """Every call: method, path, status (0: connection dropped)."""

        for name in ("dbfs", "Volumes", "Workspace"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.files = files.Files(self.root)
        self.clusters = clusters.Clusters(cluster_start_seconds)
        self.access = access.Access()
        self.jobs = jobs.Jobs(self)
        self._server = _Server(("127.0.0.1", port), _handler(self, _routes()))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def host(self) -> str:
        """The workspace's URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Workspace:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.jobs.stop()

    def client(self, **values: Any) -> WorkspaceClient:
        """A real client of this workspace."""
        from databricks.sdk import WorkspaceClient

        return WorkspaceClient(host=self.host, token=self.token, auth_type="pat", **values)

    def local(self, path: str) -> Path:
        """Where `dbfs:/x`, `/dbfs/x`, `/Volumes/x` or `/Workspace/x` is kept."""
        return self.files.local(path)

    def count(self, method: str, ending: str) -> int:
        """How many calls of this method had a path that ends so."""
        return sum(1 for verb, path, _ in self.calls if verb == method and path.endswith(ending))

    def authenticate(self, headers: Any) -> str:
        """The caller's name. 401 without credentials, 403 with wrong ones."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            message = "Credential was not sent or was of an unsupported type for this API."
            raise ApiError(401, "401", message)
        if token not in self.tokens:
            raise ApiError(403, "403", "Invalid access token.")
        return self.tokens[token]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away (cancelled, killed) is part of what is tested; anything else is our own fault.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(workspace: Workspace, routes: list[tuple[str, re.Pattern[str], Handler]]) -> type[BaseHTTPRequestHandler]:
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            """Calls are kept in `workspace.calls`."""

        def _serve(self) -> None:
            url = urlsplit(self.path)
            path = unquote(url.path)
            request = Request(self.command, path, dict(parse_qsl(url.query)), self._body(), self.headers)
            fault = workspace.faults.for_request(request.method, path)
            if fault is not None and fault.kind == "drop":
                self._drop(request)
                return
            try:
                if fault is not None and fault.kind in ("throttle", "error"):
                    raise fault.error()
                answer = self._dispatch(request)
            except ApiError as error:
                headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:g}"}
                self._answer(request, error.status, Raw(json.dumps(error.body).encode(), headers))
                return
            if fault is not None and fault.kind == "late":
                workspace.faults.hold(fault)
            elif fault is not None:
                self._drop(request)
                return
            self._answer(request, 200, answer)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                blocks = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    blocks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(blocks)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _dispatch(self, request: Request) -> dict[str, Any] | Raw:
            if not request.path.startswith("/oidc/") and not request.path.endswith("/oauth2/token"):
                request.user = workspace.authenticate(request.headers)
            for method, pattern, handler in routes:
                match = pattern.fullmatch(request.path)
                if match and method == request.method:
                    request.parts = match.groupdict()
                    return handler(workspace, request)
            raise ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.path}'")

        def _answer(self, request: Request, status: int, answer: dict[str, Any] | Raw) -> None:
            raw = answer if isinstance(answer, Raw) else Raw(json.dumps(answer).encode())
            workspace.calls.append((request.method, request.path, status))
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **raw.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw.content)))
            self.end_headers()
            if request.method != "HEAD":
                self.wfile.write(raw.content)

        def _drop(self, request: Request) -> None:
            workspace.calls.append((request.method, request.path, 0))
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    return Connection
