"""The workbench over a real API: upload, look, train, watch, compare, cancel, delete; a reload loses nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.extra
pytest.importorskip("streamlit")

import uvicorn  # noqa: E402
from streamlit.testing.v1 import AppTest  # noqa: E402

from forecast_platform.api.app import build_app  # noqa: E402
from forecast_platform.app import command  # noqa: E402
from forecast_platform.app.client import Api  # noqa: E402
from forecast_platform.app.command import API_VARIABLE  # noqa: E402
from forecast_platform_tests.api.desk import Desk  # noqa: E402
from forecast_platform_tests.training_jobs.tables import weekly  # noqa: E402
from forecast_platform_tests.waiting import until  # noqa: E402

PAGE = Path(command.__file__).with_name("page.py")
CSV = "week,store,sales\n" + "".join(f"{row['week']},{row['store']},{row['sales']}\n" for row in weekly(2, 60))


@contextlib.contextmanager
def serving(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The API of a desk on a port of its own, with a daemon that is alive."""
    ended = threading.Event()

    def beat() -> None:
        desk.beat()
        while not ended.wait(20):
            desk.beat()

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app: Any = build_app(desk.settings, "127.0.0.1", desk.jobs)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    threads = [threading.Thread(target=work, daemon=True) for work in (server.run, beat)]
    for thread in threads:
        thread.start()
    until(lambda: server.started, "the API")
    monkeypatch.setenv(API_VARIABLE, f"http://127.0.0.1:{port}")
    try:
        yield
    finally:
        ended.set()
        server.should_exit = True
        for thread in threads:
            thread.join(20)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A platform whose API serves on a port of its own."""
    desk = Desk.over(tmp_path)
    desk.beat()
    with serving(desk, monkeypatch):
        yield desk


def opened(**query: str) -> AppTest:
    """The page as a fresh browser with this address shows it."""
    app = AppTest.from_file(str(PAGE), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return shown(app.run())


def shown(app: AppTest) -> AppTest:
    assert not app.exception, app.exception
    return app


def texts(app: AppTest) -> str:
    parts = [*app.caption, *app.success, *app.info, *app.warning, *app.error, *app.subheader]
    return "\n".join(str(part.value) for part in parts)


def test_a_file_is_looked_at_trained_on_and_its_models_compared(desk: Desk) -> None:
    import os

    with (desk.settings.warehouse.parent / "sales.csv").open("w+b") as stream:
        stream.write(CSV.encode())
        stream.seek(0)
        file = Api(os.environ[API_VARIABLE]).upload("sales.csv", stream)

    app = opened(file=file)
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures == {"series": "2", "rows": "120", "frequency": "W-MON", "missing rows": "0"}
    app.selectbox(key="mode").select("statsforecast").run()
    app.number_input(key="horizon").set_value(4).run()
    shown(app.button(key="train").click().run())
    found = app.query_params["job"]
    job_id = found if isinstance(found, str) else found[0]
    assert desk.jobs.get("local", job_id).status == "submitting"

    again = opened(job=job_id)
    assert "1 under way" in texts(again)
    [request] = desk.tick()
    assert desk.run(request)
    done = opened(job=job_id)
    assert "best: " in texts(done)
    assert {"AutoETS", "SeasonalNaive"} <= set(done.dataframe[0].value["model"])
    assert done.selectbox(key="series").options == ["s0", "s1"]
    shown(done.selectbox(key="model").select("SeasonalNaive").run())
    assert any(job_id in str(button.key) for button in done.sidebar.button)

    shown(done.button(key="delete").click().run())
    assert "job" not in done.query_params
    assert desk.jobs.listed("local", None, 10) == ([], 0)


def test_where_a_job_is_trained_is_chosen_where_there_is_a_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    desk = Desk.over(tmp_path, training_jobs={"delegation": True})
    desk.beat()
    with serving(desk, monkeypatch):
        with (tmp_path / "sales.csv").open("w+b") as stream:
            stream.write(CSV.encode())
            stream.seek(0)
            file = Api(os.environ[API_VARIABLE]).upload("sales.csv", stream)
        app = opened(file=file)
        assert "Many Model Forecasting" in app.selectbox(key="mode").options, "it needs nothing here"
        app.selectbox(key="mode").select("statsforecast").run()
        app.selectbox(key="place").select("local").run()
        app.number_input(key="horizon").set_value(4).run()
        shown(app.button(key="train").click().run())
        [job] = desk.jobs.listed("local", None, 10)[0]
        assert job.asked.compute == "local"


def test_a_job_that_waits_is_cancelled_from_the_page(desk: Desk) -> None:
    from forecast_platform_tests.training_jobs.tables import asked

    job_id = desk.create(asked())
    desk.jobs.submit("local", job_id)
    app = opened(job=job_id)
    shown(app.button(key="cancel").click().run())
    assert desk.jobs.get("local", job_id).status == "cancelled"
    shown(opened(job=job_id).button(key="retry").click().run())
    assert desk.jobs.get("local", job_id).status == "submitting"


def test_what_the_api_refuses_is_shown_as_it_says(desk: Desk) -> None:
    assert "no job 'nonsense'" in texts(opened(job="nonsense"))


def test_an_api_that_is_not_there_is_named_with_what_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_VARIABLE, "http://127.0.0.1:9")
    assert "start `forecast-platform api`" in texts(opened())
