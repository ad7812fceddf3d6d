"""What an operator sees and clicks, in a headless Chromium over a running platform.

Pictures are kept in the folder that FORECAST_TEST_PICTURES names, or in pytest's temporary one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast_platform_tests.ui import webdriver
from forecast_platform_tests.ui.running import Running, keys
from forecast_platform_tests.ui.webdriver import Browser
from forecast_platform_tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(webdriver.missing() is not None, reason=str(webdriver.missing()))]

DIALOG = "//*[@role='dialog']"
ENTER = "\ue007"
PARTITIONS = "/assets/distributions/random_walk?view=partitions"
SPAN = ("2018-02-05", "2018-02-09")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures are kept."""
    chosen = os.environ.get("FORECAST_TEST_PICTURES")
    return Path(chosen) if chosen else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def forecasts(running: Running) -> Running:
    """The running platform with a month of forecasts, their checks, charts, scores and the daily page."""
    running.command("backfill", "--commodity", "Alpha", "--start-date", "2018-03-01", "--end-date", "2018-03-30")
    running.command("daily-page")
    return running


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser window of this test's own."""
    window = Browser()
    yield window
    window.close()


def launch_by_clicking(browser: Browser, url: str, first: str, last: str, picture: Path) -> str:
    """Materialize first..last of all series from a partition view; returns the backfill's id."""
    browser.open(url)
    browser.click("//button[contains(., 'Materialize…')]")
    browser.write(f"{DIALOG}//input[contains(@placeholder, 'ex: ')]", f"[{first}...{last}]")
    browser.press(ENTER)
    browser.click(f"({DIALOG}//button[normalize-space()='All'])[2]")
    browser.find(f"{DIALOG}//*[contains(text(), ' partitions') and not(starts-with(normalize-space(), '0 '))]")
    browser.picture(picture)
    browser.click(f"{DIALOG}//button[contains(., 'Launch backfill')]")
    browser.find("//*[contains(text(), 'Created backfill')]")
    found = re.search(r"Created backfill (\w+)", browser.text())
    assert found
    return found[1]


def test_a_backfill_launched_by_clicking_turns_its_partitions_green(
    forecasts: Running, browser: Browser, pictures: Path
) -> None:
    wanted = set(keys(["Alpha", "Beta"], SPAN))
    # Beta's window is trained here, whichever tests ran before.
    forecasts.command("train", "--commodity", "Beta", "--models", "random_walk", "--start-date", "2018-01-01")
    assert not forecasts.statuses("distributions/random_walk")["materialized"] & wanted
    before = _count(browser, f"{forecasts.url}{PARTITIONS}")
    backfill_id = launch_by_clicking(browser, f"{forecasts.url}{PARTITIONS}", *SPAN, pictures / "launch.png")
    # The view that is open counts them green by itself, without a reload.
    until(lambda: _shown(browser) == before + len(wanted), "partitions of the view turn green", pause=1.0)
    browser.picture(pictures / "partitions.png")
    state = forecasts.finished(backfill_id)
    assert state.status == "COMPLETED_SUCCESS"
    assert forecasts.statuses("distributions/random_walk")["materialized"] >= wanted
    assert [(run.first, run.last) for run in state.runs] == [
        (f"{SPAN[0]}|{series}", f"{SPAN[1]}|{series}") for series in ("Alpha", "Beta")
    ]
    browser.open(f"{forecasts.url}/runs/b/{backfill_id}")
    browser.find("//*[normalize-space()='Succeeded']")
    browser.find("//*[contains(text(), '100% completed')]")
    browser.picture(pictures / "backfill.png")


def _count(browser: Browser, url: str) -> int:
    browser.open(url)
    browser.find("//*[contains(text(), 'Materialized (')]")
    return _shown(browser)


def _shown(browser: Browser) -> int:
    found = re.search(r"Materialized \((\d+)\)", browser.text())
    return int(found[1]) if found else -1


def test_the_lineage_shows_every_table_and_model(forecasts: Running, browser: Browser, pictures: Path) -> None:
    # The UI draws what is in view alone.
    browser.device(2600, 1800)
    browser.open(f"{forecasts.url}/asset-groups")
    expand_groups(browser)
    shown = browser.text()
    assert shown.count("naive") >= 4
    assert shown.count("random_walk") >= 4
    browser.picture(pictures / "lineage.png")


def expand_groups(browser: Browser) -> None:
    """Show the assets of every group of the lineage (Alt + E in the UI)."""
    browser.find("//*[normalize-space()='forecasts']")
    for _ in range(20):
        browser.run(
            "document.dispatchEvent(new KeyboardEvent('keydown',{code: 'KeyE', key: 'e', altKey: true, bubbles: true}))"
        )
        time.sleep(1)
        if "unified_data" in browser.text():
            # The layout moves into place.
            time.sleep(2)
            return
    raise AssertionError(f"the groups do not open: {browser.text()[:2000]}")


def test_a_check_says_what_it_found(forecasts: Running, browser: Browser, pictures: Path) -> None:
    browser.open(f"{forecasts.url}/assets/distributions/naive?view=checks&checkDetail=no_leakage")
    browser.find("//*[normalize-space()='no_leakage']")
    browser.find("//*[contains(text(), 'Passed')]")
    browser.find("//*[contains(text(), 'Alpha naive v1.0: good')]")
    assert "Failed" not in browser.text()
    browser.picture(pictures / "check.png")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("index", "Alpha"),
        ("daily", "Alpha"),
        ("fan-chart_Alpha_naive_v1.0_2018-03-30", "naive"),
        ("leaderboard_Alpha", "random_walk"),
    ],
)
def test_a_page_for_people_is_served_and_draws_without_errors(
    forecasts: Running, browser: Browser, pictures: Path, name: str, says: str
) -> None:
    browser.open(f"{forecasts.environment['FORECAST_PLATFORM_REPORTS_URL']}/{name}.html")
    browser.find(f"//*[contains(text(), '{says}')]")
    if name not in ("index", "daily"):
        # Charts are drawn as they come into view.
        browser.run("for (const one of document.querySelectorAll('[data-chart], .plot, figure')) one.scrollIntoView()")
        browser.run("window.scrollTo(0, document.body.scrollHeight)")
        browser.find("//*[contains(@class, 'plotly')]//*[local-name()='svg']")
    browser.picture(pictures / f"{name.split('_')[0]}.png")
    assert not [error for error in browser.errors() if "favicon" not in error]


def test_a_partition_links_its_own_dates_fan_chart(forecasts: Running, browser: Browser) -> None:
    """One of many that one run made; its chart is drawn when the link is followed."""
    browser.open(f"{forecasts.url}/assets/distributions/naive?view=partitions&partition=2018-03-20%7CAlpha")
    browser.find("//a[contains(@href, 'fan-chart_Alpha_naive_v1.0_2018-03-20.html')]")
    reports = forecasts.environment["FORECAST_PLATFORM_REPORTS_URL"]
    browser.open(f"{reports}/fan-chart_Alpha_naive_v1.0_2018-03-20.html")
    browser.find("//h1[contains(text(), 'Alpha, forecast of 20 March 2018')]")


def test_what_alerts_link_to_is_there(forecasts: Running, browser: Browser) -> None:
    """Beside a check's page (above): the schedules and sensors, and a run."""
    browser.open(f"{forecasts.url}/automation")
    browser.find("//*[contains(text(), 'alerts')]")
    found = forecasts.ask("query { runsOrError(limit: 1) { ... on Runs { results { runId jobName } } } }")
    [run] = found["results"]
    browser.open(f"{forecasts.url}/runs/{run['runId']}")
    browser.find("//*[contains(text(), 'Success')]")
    assert run["runId"][:8] in browser.text()


def test_the_ui_talks_to_its_server_and_the_page_of_another_port_does_not(forecasts: Running, browser: Browser) -> None:
    socket, query = f"ws://127.0.0.1:{forecasts.port}/graphql", f"{forecasts.url}/graphql?query=%7Bversion%7D"
    # What a browser sends without asking the server first; its answer is not shown to the page, the console has it.
    ask = "return fetch(arguments[0], {method: 'POST', mode: 'no-cors', body: arguments[1]}).then(reply => reply.type)"
    browser.open(f"{forecasts.url}/asset-groups")
    assert browser.run(webdriver.WEBSOCKET, socket) == "open"
    browser.open(f"{forecasts.environment['FORECAST_PLATFORM_REPORTS_URL']}/index.html")
    browser.errors()
    assert browser.run(webdriver.WEBSOCKET, socket) == "refused"
    assert browser.run(ask, query, "query={version}") == "opaque"
    assert sum("status of 403" in error for error in browser.errors()) == 1
