"""The real webserver behind the guard, and the table of docs/operations.md: every route from every kind of page."""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import dagster as dg
import pytest
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.applications import Starlette

from forecast_platform.graph.webserver import guarded, why_not_read
from forecast_platform.host.web_guard import access_for
from forecast_platform.housekeeping.health_http import server as health_server
from forecast_platform.housekeeping.reports_http import serving
from forecast_platform.settings import Settings, build

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
TOKEN = "a token of the test's own"
QUERY = json.dumps({"query": "{ version }"})
"""Reads, and nothing else."""
OTHER = "https://elsewhere.example"
FORM = "application/x-www-form-urlencoded"

SENDERS = {
    "a program": {},
    "its own page": {"Origin": "http://{here}", "Sec-Fetch-Site": "same-origin"},
    "a page of `allowed_origins`": {"Origin": "https://prices.example", "Sec-Fetch-Site": "cross-site"},
    "a script of another page": {"Origin": OTHER, "Sec-Fetch-Site": "cross-site"},
    "a link or form of another page": {"Sec-Fetch-Site": "cross-site"},
    "under another name": {"Host": "elsewhere.example"},
}
"""The table's columns: what a browser or program says of who sends a request."""

JSON = {"Content-Type": "application/json"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c2l4dGVlbiBieXRlcyBvaw==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
ROUTES = {
    "any page of the UI, `/assets`": ("GET", "/assets", {}, None),
    "`/server_info`, `/dagit_info`": ("GET", "/server_info", {}, None),
    "`/graphql` as a page to write queries in": ("GET", "/graphql", {"Accept": "text/html"}, None),
    "`/graphql`, GET": ("GET", "/graphql?query=%7Bversion%7D", {}, None),
    "`/graphql`, POST of JSON": ("POST", "/graphql", JSON, QUERY),
    "`/graphql`, POST of a form, text or multipart": ("POST", "/graphql?query=%7Bversion%7D", {}, "query={version}"),
    "`/graphql`, websocket": ("GET", "/graphql", UPGRADE, None),
    "`/logs/...`, one that is not there": ("GET", "/logs/none/err", {}, None),
    "`/download_debug/<run>`": ("GET", "/download_debug/{run}", {}, None),
    "`/notebook`, `/dagit/notebook`": ("GET", "/notebook?repoLocName=x&path=x", {}, None),
    "`/report_asset_materialization`, `_check`, `_observation`": ("POST", "/report_asset_observation/x", JSON, "{}"),
    "static files, `/_next/...`": ("GET", "/favicon.png", {}, None),
    "reports: any page": ("GET", "/index.html", {}, None),
    "reports: `/health`": ("GET", "/health", {}, None),
    "reports: POST": ("POST", "/index.html", JSON, "{}"),
    "`health --http`: `/health`": ("GET", "/health", {}, None),
}
"""The table's rows: what is sent."""
KINDS = (None, FORM, "text/plain", "text/plain; application/json", "multipart/form-data; boundary=x")


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def idle() -> None:
    """A run to look at."""
    nothing()


class Served:
    """A webserver, and the reports and health beside it, each on a port of its own."""

    def __init__(self, ports: dict[str, int], run: str) -> None:
        self.ports, self.run = ports, run

    def ask(self, method: str, path: str, headers: dict[str, str], body: str | None = None, at: str = "ui") -> int:
        """The status of the answer."""
        here = f"127.0.0.1:{self.ports[at]}"
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[at], timeout=60)
        filled = {name: value.format(here=here) for name, value in headers.items()}
        skip = "Host" in filled
        connection.putrequest(method, path.replace("{run}", self.run), skip_host=skip, skip_accept_encoding=True)
        for name, value in filled.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or "")))
        connection.endheaders((body or "").encode())
        try:
            return connection.getresponse().status
        finally:
            connection.close()

    def health(self, headers: dict[str, str]) -> str:
        """What the reports' server says under /health."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["reports"], timeout=60)
        with closing(connection):
            connection.request("GET", "/health", headers=headers)
            return connection.getresponse().read().decode()


@contextmanager
def served(settings: Settings, folder: Path, *, read_only: bool = False) -> Iterator[tuple[Served, Starlette]]:
    """All that `up` serves, in this process."""
    (settings.reports).mkdir(parents=True, exist_ok=True)
    (settings.reports / "index.html").write_text("<h1>reports</h1>")
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.local_temp(str(folder)))
        run = idle.execute_in_process(instance=instance).run_id
        context = stack.enter_context(WorkspaceProcessContext(instance, EmptyWorkspaceTarget(), read_only=read_only))
        access = access_for(settings, "127.0.0.1")
        app = create_app_from_workspace_process_context(context)
        server = uvicorn.Server(
            uvicorn.Config(guarded(app, access, read_only), port=0, log_level="error", proxy_headers=False)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        reports = stack.enter_context(serving(settings, "127.0.0.1", 0, access))
        health = stack.enter_context(health_server(settings, 0))
        threading.Thread(target=health.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        ui = server.servers[0].sockets[0].getsockname()[1]
        yield Served({"ui": ui, "reports": reports.server_port, "`health": health.server_port}, run), app
        health.shutdown()
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def open_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Starlette]]:
    """As `up` serves where no token is set."""
    folder = tmp_path_factory.mktemp("open")
    settings = build(warehouse=folder / "warehouse", allowed_origins=["https://prices.example"])
    with served(settings, folder) as found:
        yield found


def table(title: str) -> tuple[list[str], dict[str, list[str]]]:
    """The head and the rows of the table in docs/operations.md whose first column is called `title`."""
    lines = OPERATIONS.read_text(encoding="utf-8").splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith(f"| {title} |"))
    rows = []
    for line in [lines[begin], *lines[begin + 2 :]]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[0][1:], {row[0]: row[1:] for row in rows[1:]}


def ask(found: Served, route: str, more: dict[str, str]) -> set[int]:
    method, path, headers, body = ROUTES[route]
    at = route.partition(":")[0] if ":" in route.partition("`/")[0] else "ui"
    kinds = KINDS if "a form, text or multipart" in route else (headers.get("Content-Type"),)
    sent = [{**headers, **({} if kind is None else {"Content-Type": kind}), **more} for kind in kinds]
    paths = (path, "/dagit_info") if "/dagit_info" in route else (path,)
    return {found.ask(method, each, one, body, at.partition(" ")[0]) for each in paths for one in sent}


def test_every_route_answers_each_kind_of_page_as_the_documentation_says(open_one: tuple[Served, Starlette]) -> None:
    senders, rows = table("route")
    assert senders == list(SENDERS)
    assert list(rows) == list(ROUTES)
    answers = {
        route: [" ".join(map(str, sorted(ask(open_one[0], route, SENDERS[one])))) for one in senders] for route in rows
    }
    assert answers == rows


def test_every_route_of_dagsters_webserver_is_in_the_table(open_one: tuple[Served, Starlette]) -> None:
    known = " ".join(ROUTES)
    static = re.compile(r"_static$")
    for route in open_one[1].routes:
        name = getattr(route, "path", "")
        if static.search(getattr(route, "name", "") or "") or name in ("/", "/{path:path}", "", "/favicon.png"):
            continue
        stem = name.partition("/{")[0]
        shown = stem.replace("report_asset", "") if stem not in known and "report_asset" in stem else stem
        assert shown.lstrip("/") in known, f"{name}: a route that the table in docs/operations.md lacks"


def test_where_a_token_is_set_nobody_is_answered_without_it(tmp_path: Path) -> None:
    basic = base64.b64encode(f"any:{TOKEN}".encode()).decode()
    ways = {"nothing": "", "`Bearer`": f"Bearer {TOKEN}", "`Basic`": f"Basic {basic}"}
    given = {name: {"Authorization": value} if value else {} for name, value in ways.items()}
    senders, rows = table("with a token set")
    assert senders == list(given)
    with served(build(warehouse=tmp_path / "warehouse", web_token=TOKEN), tmp_path) as (found, _):
        answers = {
            route: [" ".join(map(str, sorted(ask(found, route, given[one])))) for one in senders] for route in rows
        }
        told = {name: found.health(given[name]) for name in senders}
    assert answers == rows
    assert told["nothing"] == "{}", "the status is all that a stranger learns"
    assert all("facts" in json.loads(told[name]) for name in ("`Bearer`", "`Basic`"))


def test_a_read_only_server_answers_queries_and_takes_no_mutation(tmp_path: Path) -> None:
    telemetry = 'mutation { logTelemetry(action: "", clientTime: "", clientId: "", metadata: "") { __typename } }'
    harmless = json.dumps({"query": telemetry})
    with served(build(warehouse=tmp_path / "warehouse", web_token=TOKEN), tmp_path, read_only=True) as (found, _):
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert found.ask("POST", "/graphql", {**JSON, **bearer}, QUERY) == 200
        assert found.ask("POST", "/graphql", {**JSON, **bearer}, harmless) == 403
        assert found.ask("POST", "/graphql", {**JSON, **bearer}, json.dumps([{"query": "{ version }"}])) == 400
        assert found.ask("POST", "/graphql?query=%7Bversion%7D", bearer, "") == 403, "no JSON that could be looked at"
        assert found.ask("POST", "/report_asset_observation/x", {**JSON, **bearer}, "{}") == 403
        assert found.ask("GET", "/graphql", {**UPGRADE, **bearer}) == 101


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("{ version }", None),
        ("query A { version } fragment F on Query { version }", None),
        ("subscription { capturedLogs(logKey: []) { stdout } }", None),
        ("mutation { x }", 403),
        ("query A { version } mutation B { x }", 403),
        ("# mutation\nquery mutation { version }", None),
        ("{ version", 400),
        ("{a" * 5000 + "}" * 5000, 400),
    ],
)
def test_what_only_reads_is_told_by_parsing_it(query: str, status: int | None) -> None:
    found = why_not_read(json.dumps({"query": query}).encode())
    assert (found and found.status) == status
