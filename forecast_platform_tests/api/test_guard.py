"""The API's table in docs/operations.md: its routes, asked by every kind of page."""

from __future__ import annotations

from pathlib import Path

from forecast_platform_tests.api.desk import Desk
from forecast_platform_tests.graph.test_webserver import FORM, JSON, SENDERS, TOKEN, table

HERE = "127.0.0.1:8000"
TEXT = {"Content-Type": "text/plain"}
ROUTES = {
    "`/api/v2/jobs`, GET": [("GET", "/api/v2/jobs", {}, "")],
    "`/api/v2/jobs`, POST of JSON": [("POST", "/api/v2/jobs", JSON, "{}")],
    "`/api/v2/jobs`, POST of a form or text": [
        ("POST", "/api/v2/jobs", TEXT, "{}"),
        ("POST", "/api/v2/jobs", {"Content-Type": FORM}, "a=b"),
    ],
    "`/api/v2/jobs/<id>/submit`, POST": [("POST", "/api/v2/jobs/none/submit", {}, "")],
    "`/api/v2/jobs/<id>`, DELETE": [("DELETE", "/api/v2/jobs/none", {}, "")],
    "`/api/v2/workflows/check`, POST of JSON": [("POST", "/api/v2/workflows/check", JSON, "{}")],
    "`/api/v2/uploads`, POST": [("POST", "/api/v2/uploads?name=x.csv", {"Content-Type": "text/csv"}, "week,sales\n")],
    "`/docs`, `/openapi.json`": [("GET", "/docs", {}, ""), ("GET", "/openapi.json", {}, "")],
}
"""The table's rows: what is sent."""


def ask(desk: Desk, route: str, more: dict[str, str]) -> str:
    filled = {name: value.format(here=HERE) for name, value in more.items()}
    found = {
        desk.client.request(method, path, headers={**headers, **filled}, content=body).status_code
        for method, path, headers, body in ROUTES[route]
    }
    return " ".join(map(str, sorted(found)))


def test_every_route_answers_each_kind_of_page_as_the_documentation_says(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, allowed_origins=["https://prices.example"])
    senders, rows = table("route of the API")
    assert senders == list(SENDERS)
    assert {route: [ask(desk, route, SENDERS[one]) for one in senders] for route in ROUTES} == rows


def test_where_a_token_is_set_nobody_is_answered_without_it(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, web_token=TOKEN)
    assert {ask(desk, route, {}) for route in ROUTES} == {"401"}
    assert ask(desk, "`/api/v2/jobs`, GET", {"Authorization": f"Bearer {TOKEN}"}) == "200"
