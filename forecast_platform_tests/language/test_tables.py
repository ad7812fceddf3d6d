"""Tables of a workspace, read over its SQL statement interface as the environment names it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from forecast_platform.language import tables
from forecast_platform.language.config import parse
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.growth import rows_now
from forecast_platform.language.tables import tables_of
from forecast_platform.settings import Settings


class Workspace(BaseHTTPRequestHandler):
    """A statement that is pending first, then has two parts; one of another table fails."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *args: object) -> None:
        """No line a request."""

    def _link(self, number: int, following: int | None) -> dict:
        found = {"chunk_index": number, "external_link": f"http://{self.headers['Host']}/storage/{number}"}
        return found if following is None else {**found, "next_chunk_index": following}

    def _answer(self, found: dict | list, code: int = 200) -> None:
        body = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Authorization"] == "Bearer secret"
        assert asked["warehouse_id"] == "w1"
        assert (asked["disposition"], asked["format"]) == ("EXTERNAL_LINKS", "JSON_ARRAY")
        self.asked.append(asked["statement"])
        if "`lost`" in asked["statement"]:
            failed = {"state": "FAILED", "error": {"error_code": "NOT_FOUND", "message": "TABLE_OR_VIEW_NOT_FOUND"}}
            self._answer({"statement_id": "s2", "status": failed})
            return
        if "count(*)" in asked["statement"]:
            part = {"external_links": [self._link(9, None)]}
            self._answer({"statement_id": "s3", "status": {"state": "SUCCEEDED"}, "result": part})
            return
        self._answer({"statement_id": "s1", "status": {"state": "PENDING"}})

    def do_GET(self) -> None:
        if self.path.endswith("/sql/warehouses"):
            self._answer({"warehouses": [{"id": "w1", "name": "small"}]})
        elif self.path.endswith("/statements/s1"):
            part = {"external_links": [self._link(0, 1)]}
            self._answer({"statement_id": "s1", "status": {"state": "SUCCEEDED"}, "result": part})
        elif self.path.endswith("/result/chunks/1"):
            self._answer({"external_links": [self._link(1, None)]})
        elif self.path.startswith("/storage/"):
            assert self.headers["Authorization"] is None, "the link is the permission"
            parts = {"/storage/0": [["one"], [None]], "/storage/1": [["two"]], "/storage/9": [["4321"]]}
            self._answer(parts[self.path])
        else:
            self._answer({"error_code": "NOT_FOUND", "message": self.path}, 404)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Workspace)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Workspace.asked.clear()
    monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("DATABRICKS_TOKEN", "secret")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(tables, "_POLL_SECONDS", 0.01)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("workspace")
def test_every_part_of_a_statement_s_result_is_read(tmp_path: Path) -> None:
    opened = tables_of(Settings(warehouse=tmp_path / "warehouse"))
    documents = opened("main.docs.notes", "the `text`", 7)
    assert list(documents) == ["one", "two"]
    assert (documents.rows, documents.nulls) == (3, 1)
    assert Workspace.asked == ["SELECT `the ``text``` FROM `main`.`docs`.`notes` LIMIT 7"]


@pytest.mark.usefixtures("workspace")
def test_a_statement_that_fails_is_told_with_the_table(tmp_path: Path) -> None:
    opened = tables_of(Settings(warehouse=tmp_path / "warehouse"))
    with pytest.raises(LanguageError, match=r"table main\.docs\.lost: TABLE_OR_VIEW_NOT_FOUND"):
        list(opened("main.docs.lost", "text", None))


@pytest.mark.usefixtures("workspace")
def test_rows_of_a_workspace_s_table_are_counted_there_for_the_sensor_of_growth(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    assert rows_now(parse({"data": {"train_table": "main.docs.notes"}}), settings) == 4321
    assert Workspace.asked == ["SELECT count(*) FROM `main`.`docs`.`notes`"]
    with pytest.raises(LanguageError, match=r"table main\.docs\.lost: TABLE_OR_VIEW_NOT_FOUND"):
        rows_now(parse({"data": {"train_table": "main.docs.lost"}}), settings)
