"""A partition's link leads to that date's chart, whatever range it was made in; the reports' server draws it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, AssetRecordsFilter
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from forecast_platform.definitions import build_definitions
from forecast_platform.graph import partitions
from forecast_platform.graph.keys import Keys
from forecast_platform.host.web_guard import access_for
from forecast_platform.housekeeping.on_demand import AGE_SECONDS
from forecast_platform.housekeeping.reports_http import serving
from forecast_platform.pages.daily_page import portfolio_page
from forecast_platform.pages.series_day import When
from forecast_platform.read import Reader
from forecast_platform.settings import Settings
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation.simulation import memory_instance
from forecast_platform_tests.worlds import days, settings_for

SPAN = days("2018-02-05", "2018-02-09")


@pytest.fixture(scope="module")
def made(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, dict]]:
    """One run of five dates of Alpha and Beta by both models; by asset and partition the metadata of its event."""
    root = tmp_path_factory.mktemp("demand") / "platform"
    shutil.copytree(trained_template, root)
    settings = settings_for(root)
    keys = [Keys().distributions("random_walk"), Keys().point_forecasts("random_walk")]
    instance = memory_instance(tmp_path_factory.mktemp("instance"))
    definition = build_definitions(settings).resolve_job_def("forecast")
    tags = partitions.range_tags(SPAN[0], SPAN[-1], ("Alpha",))
    run = instance.create_run_for_job(definition, tags=tags, asset_selection=frozenset(keys))
    execute_run(InMemoryJob(definition), run, instance, raise_on_error=True)
    found = {}
    for key in keys:
        chosen = AssetRecordsFilter(asset_key=AssetKey(key.path))
        for record in instance.fetch_materializations(chosen, limit=100).records:
            event = record.asset_materialization
            assert event is not None
            found[key.path[0], event.partition] = event.metadata
    return settings, found


@pytest.fixture(scope="module")
def served(made: tuple[Settings, dict]) -> Iterator[str]:
    settings = made[0]
    with serving(settings, "127.0.0.1", 0, access_for(settings, "127.0.0.1")) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as reply:
        return str(reply.read().decode())


def test_each_partition_of_a_range_links_its_own_days_chart_and_has_its_own_rows(made: tuple[Settings, dict]) -> None:
    settings, found = made
    for table, rows in (("distributions", 200), ("point_forecasts", 14)):
        for day in SPAN:
            metadata = found[table, partitions.key(day, "Alpha")]
            address = f"{settings.reports_url}/fan-chart_Alpha_random-walk_v1.0_{day}.html"
            assert metadata["fan_chart"].value == address
            assert metadata["dagster/partition_row_count"].value == rows


def test_an_assets_row_count_is_its_own_and_not_that_of_the_table(made: tuple[Settings, dict]) -> None:
    settings, found = made
    platform = Platform.from_settings(settings)
    metadata = found["distributions", partitions.key(SPAN[0], "Alpha")]
    assert metadata["dagster/row_count"].value == 200 * len(SPAN)
    assert platform.warehouse.rows(POINT_FORECASTS, {"model_name": "naive"}) == 0
    assert platform.warehouse.rows(DISTRIBUTIONS, {"commodity": ["Alpha", "Beta"], "model_name": "random_walk"}) == 1000
    with pytest.raises(ValueError, match="not partitioned by 'forecast_date'"):
        platform.warehouse.rows(DISTRIBUTIONS, {"forecast_date": SPAN[0]})


def test_a_portfolio_of_the_settings_has_a_page_and_one_that_cannot_be_added_up_says_why(
    made: tuple[Settings, dict],
) -> None:
    root, when = made[0].warehouse.parent, When(SPAN[-1], SPAN[-1])
    plain = settings_for(root, models=("random_walk",), portfolios={"book": {"alpha": 2}})
    told = {"name": "Alpha", "multiplier": 375.0, "currency": "USD", "unit": "US cents/lb"}
    whole = settings_for(root, models=("random_walk",), portfolios={"book": {"alpha": 2}}, series=(told,))
    pages = []
    for settings in (plain, whole):
        assert portfolio_page(Platform.from_settings(settings), "book", when).endswith("/portfolio_book.html")
        pages.append((settings.reports / "portfolio_book.html").read_text(encoding="utf-8"))
    assert "Alpha has no multiplier and no currency: set them" in pages[0]
    risk = Reader(whole).portfolio({"Alpha": 2}).risk((0.95,), on=SPAN[-1])[0.95]
    assert f"<b>{round(float(risk.cvar[0])):,}</b>" in pages[1]
    assert "Alpha has no multiplier" not in pages[1]


def test_the_chart_of_a_past_date_is_drawn_when_it_is_asked_for(made: tuple[Settings, dict], served: str) -> None:
    name = "fan-chart_Alpha_random-walk_v1.0_2018-02-06.html"
    assert not (made[0].reports / name).exists()
    assert "Alpha, forecast of 6 February 2018" in get(f"{served}/{name}")
    assert (made[0].reports / name).is_file()
    assert "Alpha, random_walk: day by day" in get(f"{served}/history_Alpha_random-walk_v1.0.html")


def test_a_link_of_another_site_draws_nothing_and_offers_the_page(made: tuple[Settings, dict], served: str) -> None:
    folder, name = made[0].reports, "fan-chart_Alpha_random-walk_v1.0_2018-02-08.html"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    def ask(site: str, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"{served}/{name}", headers={"Sec-Fetch-Site": site}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    code, text = ask("cross-site")
    assert (code, 'not by a link of another site: <a href="">draw it</a>' in text) == (404, True)
    assert ask("cross-site", "HEAD") == (404, "")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    # The link on that page, and the UI beside the reports, are asked by somebody.
    assert "forecast of 8 February 2018" in ask("same-site")[1]
    path = folder / name
    path.write_text("kept")
    old = dt.datetime.now().timestamp() - AGE_SECONDS - 60  # noqa: DTZ005 - a file's time
    os.utime(path, (old, old))
    assert ask("cross-site") == (200, "kept"), "what is there is shown, however old"
    assert "forecast of 8 February 2018" in ask("same-origin")[1]


def test_an_old_chart_is_made_anew_and_a_recent_one_is_not(made: tuple[Settings, dict], served: str) -> None:
    path = made[0].reports / "fan-chart_Alpha_random-walk_v1.0_2018-02-07.html"
    get(f"{served}/{path.name}")
    path.write_text("kept")
    assert get(f"{served}/{path.name}") == "kept"
    old = dt.datetime.now().timestamp() - AGE_SECONDS - 60  # noqa: DTZ005 - a file's time
    os.utime(path, (old, old))
    assert "forecast of 7 February 2018" in get(f"{served}/{path.name}")


@pytest.mark.parametrize(
    "name",
    [
        "fan-chart_Alpha_random-walk_v1.0_2018-02-20.html",
        "fan-chart_Alpha_random-walk_v1.0_tomorrow.html",
        "fan-chart_Alpha_random-walk_v9_2018-02-06.html",
        "fan-chart_Gamma_random-walk_v1.0_2018-02-06.html",
        "fan-chart_Alpha_2018-02-06.html",
        "history_Beta_random-walk_v1.0.html",
        "leaderboard_Nothing.html",
    ],
)
def test_what_was_never_forecast_is_not_found(served: str, name: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{served}/{name}")
