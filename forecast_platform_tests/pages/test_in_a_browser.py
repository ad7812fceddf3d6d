"""Every page in a headless Chromium: nothing off the screen, no violation that axe-core finds, keyboard, downloads.

Pictures of each are kept in the folder that FORECAST_TEST_PICTURES names, or in pytest's temporary one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forecast_platform_tests.pages.every_page import write_all
from forecast_platform_tests.ui import webdriver
from forecast_platform_tests.ui.webdriver import Browser
from forecast_platform_tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(webdriver.missing() is not None, reason=str(webdriver.missing()))]

AXE = "axe-core@4.14.1"
PAGES = ("daily", "fan chart", "leaderboard", "index", "history", "portfolio", "overview")
PHONE, DESKTOP = (390, 844), (1280, 900)
TAB, ENTER, HOME, END, RIGHT = "\ue004", "\ue007", "\ue011", "\ue010", "\ue014"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, _scored: pd.DataFrame) -> dict[str, Path]:
    """One of every page, by what it is."""
    folder = tmp_path_factory.mktemp("pages")
    return write_all(folder, _scored, sorted(set(_scored["forecast_date"])))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One window for all pages."""
    window = Browser()
    yield window
    window.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm; skipped where that is not to be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm: install Node.js to examine the pages with axe-core")
    folder = tmp_path_factory.mktemp("axe")
    got = subprocess.run([npm, "install", "--no-save", "--silent", AXE], cwd=folder, capture_output=True, text=True)
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        pytest.skip(f"npm cannot install {AXE}: {got.stderr.strip()[-300:]}")
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures are kept."""
    chosen = os.environ.get("FORECAST_TEST_PICTURES")
    return Path(chosen) if chosen else tmp_path_factory.mktemp("pictures")


def opened(browser: Browser, path: Path, size: tuple[int, int], *, dark: bool) -> None:
    """Open a page on such a device, and wait until the charts in view are drawn, and then all of them."""
    browser.device(*size, dark=dark, phone=size == PHONE)
    browser.open(path.as_uri())
    until(lambda: bool(browser.run("return document.documentElement.dataset.drawn")), f"{path.name} is drawn")
    browser.run("return pages.drawAll()")


def violations(browser: Browser, axe: str) -> list[str]:
    """What axe-core finds, rule by rule with the elements."""
    browser.run(axe)
    browser.run("window.found = null; axe.run().then(function (result) { window.found = result.violations; });")
    until(lambda: browser.run("return window.found !== null") is True, "axe-core has looked")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in browser.run("return window.found")
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone_and_a_desk_in_both_themes_without_a_violation(
    written: dict[str, Path], browser: Browser, axe: str, pictures: Path, name: str
) -> None:
    for label, size, dark in (("phone-dark", PHONE, True), ("desk-light", DESKTOP, False)):
        opened(browser, written[name], size, dark=dark)
        wide = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide == [size[0], size[0]], f"{name}, {label}: {wide}"
        browser.whole_picture(pictures / f"{name.replace(' ', '-')}-{label}.png")
        assert violations(browser, axe) == [], f"{name}, {label}"
    assert browser.errors() == []


def test_legends_stand_below_their_charts_on_a_phone_and_above_on_a_desk(
    written: dict[str, Path], browser: Browser
) -> None:
    places = """return Array.from(document.querySelectorAll('.plot')).filter(b => b.querySelector('.legend')).map(b => {
      var legend = b.querySelector('.legend').getBoundingClientRect(), plot = b.querySelector('.gridlayer')
      return [legend.top, legend.bottom, plot.getBoundingClientRect().top, plot.getBoundingClientRect().bottom] })"""
    opened(browser, written["history"], PHONE, dark=False)
    on_a_phone: list[list[float]] = browser.run(places)
    assert on_a_phone
    assert all(top >= bottom - 1 for top, _, _, bottom in on_a_phone)
    opened(browser, written["history"], DESKTOP, dark=False)
    assert all(bottom <= top + 1 for _, bottom, top, _ in browser.run(places))


def test_a_click_on_a_day_shows_its_forecast_and_the_keyboard_does_as_well(
    written: dict[str, Path], browser: Browser
) -> None:
    opened(browser, written["history"], DESKTOP, dark=False)
    said = "return document.getElementById('said').textContent"
    shown: dict[str, Any] = browser.run("return pages.figures['hits'].data[3]")
    day = shown["customdata"][40]
    browser.run(
        "document.getElementById('hits').emit('plotly_click', {points: [{customdata: arguments[0]}]})",
        day,
    )
    assert f"Forecast of {day}: in 14 days" in browser.run(said)
    browser.run("document.getElementById('after').focus()")
    browser.press(ENTER)
    assert browser.run("return document.getElementById('day').value") > day
    assert day not in browser.run(said)


def test_every_chart_is_a_stop_of_the_keyboard_and_says_its_numbers(
    written: dict[str, Path], browser: Browser, axe: str
) -> None:
    stops = "return Array.from(document.querySelectorAll('.plot')).map(b => [b.tabIndex, b.getAttribute('aria-label')])"
    for name in ("daily", "fan chart", "leaderboard", "history", "portfolio"):
        opened(browser, written[name], DESKTOP, dark=False)
        charts = browser.run(stops)
        assert charts, name
        assert all(stop == 0 and "chart of " in said for stop, said in charts), (name, charts)
        browser.run("document.querySelectorAll('details.numbers').forEach(one => { one.open = true })")
        # A details element says that it was opened a moment later.
        rows = browser.run(
            "return new Promise(done => setTimeout(() => done(Array.from(document.querySelectorAll("
            "'details.numbers tbody')).map(one => one.rows.length)), 300))"
        )
        assert len(rows) == len(charts), name
        assert all(n > 1 for n in rows), (name, rows)
        assert violations(browser, axe) == [], f"{name}, with its numbers"
    opened(browser, written["fan chart"], DESKTOP, dark=False)
    browser.run("document.getElementById('fan').focus()")
    for key in (HOME, RIGHT):
        browser.press(key)
    said = browser.run("return document.getElementById('fan').said.textContent")
    at = browser.run("return pages.figures.fan.data.find(one => one.name === 'close').x[1]")
    assert said.startswith(f"{at}: close 10")
    browser.press(END)
    said = browser.run("return document.getElementById('fan').said.textContent")
    assert said.startswith("2020-05-12: 95 % band from ")
    assert "median 10" in said


def test_a_chart_below_the_first_screen_is_drawn_when_it_comes_into_view(
    written: dict[str, Path], browser: Browser
) -> None:
    browser.device(*PHONE, dark=False, phone=True)
    browser.open(written["history"].as_uri())
    until(lambda: bool(browser.run("return document.documentElement.dataset.drawn")), "the first chart is drawn")
    assert browser.run("return [!!pages.shown.hits, !!pages.shown.pit]") == [True, False]
    # Also what is not drawn yet is a stop of the keyboard, which brings it into view.
    browser.run("document.getElementById('pit').focus()")
    assert browser.run("return document.activeElement.id") == "pit"
    until(lambda: browser.run("return !!pages.shown.pit") is True, "the last chart is drawn")


def test_a_chart_is_shown_without_its_script_and_becomes_interactive_with_it(
    written: dict[str, Path], browser: Browser, pictures: Path, axe: str
) -> None:
    script = written["fan chart"].with_name("plotly.min.js")
    aside = script.rename(script.with_name("aside.js"))
    try:
        for label, size, dark in (("phone-dark", PHONE, True), ("desk-light", DESKTOP, False)):
            browser.device(*size, dark=dark, phone=size == PHONE)
            browser.open(written["fan chart"].as_uri())
            until(lambda: bool(browser.run("return document.documentElement.dataset.shown")), "it is shown")
            assert browser.run("return typeof Plotly") == "undefined"
            wide = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
            assert wide == [size[0], size[0]]
            boxes = browser.run(
                "return ['.still .field', '.still path.line', '.still .y', '.still .x', '.still .named'].map(one => "
                "{ var box = document.querySelector(one).getBoundingClientRect(); return [box.width, box.height] })"
            )
            assert all(wide > 5 and high > 5 for wide, high in boxes), boxes
            browser.whole_picture(pictures / f"fan-chart-still-{label}.png")
            assert violations(browser, axe) == []
    finally:
        aside.rename(script)
    browser.errors()  # that the script was not there
    opened(browser, written["fan chart"], DESKTOP, dark=False)
    assert browser.run("return [!!document.querySelector('.still'), !!document.querySelector('#fan .main-svg')]") == [
        False,
        True,
    ]


def test_a_page_without_charts_loads_no_script_for_them(written: dict[str, Path], browser: Browser) -> None:
    opened(browser, written["index"], DESKTOP, dark=False)
    assert browser.run("return typeof Plotly") == "undefined"


def test_the_first_stop_of_the_keyboard_leads_past_the_menu(written: dict[str, Path], browser: Browser) -> None:
    opened(browser, written["daily"], DESKTOP, dark=False)
    browser.press(TAB)
    assert browser.run("return document.activeElement.textContent") == "Skip to the content"


def test_charts_are_drawn_in_the_colours_of_the_theme(written: dict[str, Path], browser: Browser) -> None:
    colours = []
    for dark in (False, True):
        opened(browser, written["fan chart"], DESKTOP, dark=dark)
        colours.append(browser.run("return document.getElementById('fan').layout.paper_bgcolor"))
    assert colours == ["#ffffff", "#171e26"]


def test_tables_and_charts_are_downloaded_as_csv_and_png(written: dict[str, Path], browser: Browser) -> None:
    opened(browser, written["fan chart"], DESKTOP, dark=False)
    table = browser.run("return pages.csvOfTable(document.querySelector('table'))").split("\r\n")
    assert table[0].startswith("Day,Date,Median,Mean,Std,80 % from")
    assert len(table) == 1 + 14 + 1
    chart = browser.run("return pages.csvOfFigure(pages.figures.fan)").split("\r\n")
    assert chart[0] == "trace,x,y"
    assert sum(line.startswith("median,") for line in chart) == 15
    size = "{format: 'png', width: 600, height: 400}"
    browser.run(f"window.png = null; Plotly.toImage('fan', {size}).then(url => {{ window.png = url }})")
    until(lambda: bool(browser.run("return window.png")), "the picture is made")
    assert str(browser.run("return window.png")).startswith("data:image/png;base64,")
    assert browser.run("return document.querySelectorAll('.tools button').length") == 3


def test_a_page_that_nothing_renewed_says_so_by_itself(written: dict[str, Path], browser: Browser) -> None:
    page = written["daily"].parent / "daily.html"
    text = page.read_text(encoding="utf-8")
    fresh = text.replace('<main id="content">', '<main id="content"><div class="banner fresh">Fresh.</div>')
    new, old = page.with_name("new.html"), page.with_name("old.html")
    new.write_text(fresh)
    old.write_text(fresh.replace("2999-04-30T15:00:00+00:00", "2020-04-30T15:00:00+00:00"))
    for path, is_old in ((new, False), (old, True)):
        opened(browser, path, DESKTOP, dark=False)
        assert bool(browser.all("//*[@id='outdated']")) is is_old
        assert bool(browser.all("//*[contains(@class, 'fresh')]")) is not is_old
        path.unlink()
