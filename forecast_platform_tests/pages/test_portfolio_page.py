"""The portfolio's page shows the risk of the whole, what each leg adds, and what is old or cannot be added up."""

from __future__ import annotations

import datetime as dt
import html
import re
from dataclasses import replace
from pathlib import Path

from forecast_platform.pages.portfolio import write_portfolio, write_refused
from forecast_platform_tests.pages.every_page import WHEN, book


def _text(path: Path) -> str:
    text = re.sub(r"<(script|style).*?</\1>", " ", path.read_text(encoding="utf-8"), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_page_shows_the_whole_and_what_each_leg_adds(tmp_path: Path) -> None:
    softs = book({"Coffee": 10, "Sugar": -50})
    found = softs.figures
    text = _text(write_portfolio(tmp_path, softs, when=WHEN))
    one = found[0.95]
    for amount in (one.var[0], one.cvar[0], one.sum_of_legs[0], *one.contribution[:, 0], *one.leg_cvar[:, 0]):
        assert f"{round(float(amount)):,}" in text
    for part in (
        "long 10 Coffee, short 50 Sugar",
        "USD: value at risk 95 %, 14 days",
        "100.00 US cents/lb",
        "sharp v1.0 (champion)",
        "path p is one scenario of every series",
        "Fresh.",
    ):
        assert part in text


def test_a_leg_with_old_data_is_named_loudly(tmp_path: Path) -> None:
    softs = book({"Coffee": 10, "Sugar": -50})
    old = replace(softs, figures=replace(softs.figures, behind=(0, 3)))
    path = write_portfolio(tmp_path, old, when=replace(WHEN, today=WHEN.day + dt.timedelta(days=1)))
    text = path.read_text(encoding="utf-8")
    assert text.count('<div class="banner loud" role="alert">') == 2
    assert "Sugar: newest close of Tue 28 Apr 2020, 3 sessions behind" in text
    assert "Fresh." not in text


def test_a_portfolio_that_cannot_be_added_up_says_why_in_place_of_yesterdays_figures(tmp_path: Path) -> None:
    written = write_portfolio(tmp_path, book({"Coffee": 1}), when=WHEN)
    refused = write_refused(tmp_path, "softs", "Coffee has no multiplier: set it", zone="UTC")
    assert refused == written
    assert "Coffee has no multiplier: set it" in _text(refused)
