"""A Unity Catalog on loopback, and a sail server over it: what the tests of UnityWarehouse run on.

The catalog speaks the REST interface of managed Delta tables: schemas, staging tables, tables, and commits, which it
orders (a commit whose version another one has taken is refused). Sessions and processes share what it holds.
`python -m forecast_platform_tests.unity_catalog FOLDER` serves both until its standard input ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

CATALOGS = ("commodity", "commodity_test")
PREFIX = "/api/2.1/unity-catalog"

Answer = tuple[int, dict[str, Any]]


@dataclass
class Catalog:
    """Schemas, tables and commits; files lie under `root`, a folder a table."""

    root: Path
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    commits: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refused: int = 0
    """Commits that came second."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        """The catalog's answer to one request."""
        with self.lock:
            if path == ["reset"]:
                refused = self.refused
                self.schemas, self.tables, self.commits, self.refused = {}, {}, {}, 0
                return 200, {"refused": refused}
            if path[0] == "schemas":
                return self._schemas(method, path[1:], body)
            if path[0] == "staging-tables":
                return 200, {
                    **body,
                    "id": uuid.uuid4().hex,
                    "staging_location": f"file://{self.root}/{uuid.uuid4().hex}",
                }
            if path[0] == "tables":
                return self._tables(method, path[1:], query, body)
            if path == ["delta", "preview", "commits"]:
                return self._commits(method, body)
        return _error(404, "NOT_FOUND", "/".join(path))

    def _schemas(self, method: str, rest: list[str], body: dict[str, Any]) -> Answer:
        if method == "POST":
            name = f"{body['catalog_name']}.{body['name']}"
            if body["catalog_name"] not in CATALOGS:
                return _error(404, "NOT_FOUND", f"catalog {body['catalog_name']}")
            if name in self.schemas:
                return _error(409, "SCHEMA_ALREADY_EXISTS", name)
            self.schemas[name] = {**body, "full_name": name, "schema_id": name}
            return 200, self.schemas[name]
        return _found(self.schemas, rest[0]) if rest else (200, {"schemas": list(self.schemas.values())})

    def _tables(self, method: str, rest: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        if method == "POST":
            name = f"{body['catalog_name']}.{body['schema_name']}.{body['name']}"
            if name in self.tables:
                return _error(409, "TABLE_ALREADY_EXISTS", name)
            self.tables[name] = {**body, "full_name": name, "table_id": uuid.uuid4().hex}
            return 200, self.tables[name]
        if not rest:
            [schema] = query["schema_name"]
            return 200, {"tables": [one for one in self.tables.values() if one["schema_name"] == schema]}
        if method == "DELETE":
            return 200, self.tables.pop(rest[0], {})
        return _found(self.tables, rest[0])

    def _commits(self, method: str, body: dict[str, Any]) -> Answer:
        known = self.commits.setdefault(body["table_id"], [])
        newest = known[-1]["version"] if known else 0
        if method == "GET":
            asked = [one for one in known if body["start_version"] <= one["version"] <= body.get("end_version", newest)]
            return 200, {"commits": asked[::-1], "latest_table_version": newest}
        info = body.get("commit_info")
        if info is not None:
            if info["version"] != newest + 1:
                self.refused += 1
                return _error(409, "ALREADY_EXISTS", f"version {info['version']} is taken, the newest is {newest}")
            known.append(info)
        return 200, {}


def _error(status: int, code: str, message: str) -> Answer:
    return status, {"error_code": code, "message": message}


def _found(known: dict[str, dict[str, Any]], name: str) -> Answer:
    return (200, known[name]) if name in known else _error(404, "NOT_FOUND", name)


def serve(catalog: Catalog) -> str:
    """Serve the catalog in a thread; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # The second packet of an answer would wait 40 ms for the first one's receipt.
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = [unquote(part) for part in url.path.removeprefix(PREFIX).strip("/").split("/")]
            status, body = catalog.answer(self.command, path, parse_qs(url.query), json.loads(sent) if sent else {})
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_DELETE = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}{PREFIX}"


@dataclass(frozen=True)
class Lakehouse:
    """A running catalog and its sail server."""

    remote: str
    """Spark Connect address."""
    catalog: str
    """Address of the catalog."""

    def reset(self) -> int:
        """Forget all tables; how many commits were refused since the last time."""
        request = urllib.request.Request(f"{self.catalog}/reset", data=b"{}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(json.load(reply)["refused"])


@contextmanager
def lakehouse(root: Path) -> Iterator[Lakehouse]:
    """A catalog and sail in a process of their own, with files under `root`."""
    top = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "forecast_platform_tests.unity_catalog", str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(top), "RUST_LOG": "error"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the lakehouse did not start"
        yield Lakehouse(**json.loads(line))
    finally:
        process.communicate()


def main() -> None:
    """Serve until the standard input ends."""
    root = Path(sys.argv[1])
    address = serve(Catalog(root))
    catalogs = (f'{{name="{name}", type="unity", uri="{address}", default_catalog="{name}"}}' for name in CATALOGS)
    os.environ["SAIL_CATALOG__LIST"] = f"[{', '.join(catalogs)}]"
    os.environ["SAIL_CATALOG__DEFAULT_CATALOG"] = CATALOGS[0]
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start(background=True)
    host, port = server.listening_address
    sys.stdout.write(json.dumps({"remote": f"sc://{host}:{port}", "catalog": address}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
