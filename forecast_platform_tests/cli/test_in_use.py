"""infer and coverage follow the models and dates in use, and ask for nothing that the data do not allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform.settings import load
from forecast_platform_tests.cli import test_cli
from forecast_platform_tests.cli.test_cli import Run

pytestmark = pytest.mark.slow

run = test_cli.run
"""One command in this process, over the trained small platform."""


def test_infer_and_coverage_follow_the_models_and_dates_in_use(
    run: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_MODELS", '["naive", "random_walk", "auto_ets"]')
    load.cache_clear()
    page = small / "warehouse" / "_reports" / "daily.html"
    code, told = run("daily-page")
    assert code == 0, told
    assert "\nNO FORECAST: Alpha; Beta: run `forecast-platform infer`.\n" in told
    assert "OLD DATA: Alpha: newest close of Thu 29 Mar 2018, that of " in told
    [address, file] = told.splitlines()[-2:]
    assert address.startswith("page of ")
    assert address.endswith(".html")
    assert file == f"file: {page.with_name(address.rpartition('/')[2])}"
    code, told = run("infer")
    assert code == 0, told
    # The page of before the forecast does not stay.
    assert "The newest forecasts: Alpha of Fri 30 Mar 2018; Beta of Fri 30 Mar 2018." in told
    assert "The newest forecasts: Alpha of Fri 30 Mar 2018" in page.read_text(encoding="utf-8")
    assert f"look at it: {page}; or forecast-platform up, then http://127.0.0.1:3001/daily_" in told
    assert (
        "data end on 2018-03-29: this is the forecast of 2018-03-30, the last that is fresh; to say so once, set "
        "`end_date: 2018-03-30` of the series, or FORECAST_PLATFORM_END_DATE=2018-03-30 where those of all have"
    ) in told
    assert "not in use, since never trained: auto_ets (name them with --models, or train them)" in told
    assert "Alpha by naive v1.0 (default, nobody promoted one), forecast of 2018-03-30, 200 paths over 14 days" in told
    assert "2018-04-12" in told  # the last target date of what is printed
    assert "by now:     the newest forecast of Alpha by naive v1.0 is for 2018-03-30" in told
    assert "Reader().latest('Alpha', max_age=None)" in told
    code, told = run("coverage")
    assert code == 0, told
    assert "1  2018-03-30  2018-03-30  none" in told
    code, told = run("coverage", "--models", "auto_ets")
    assert code == 1
    # What was shown is what the line below it reads, also where a newer one is there.
    code, told = run("infer", "--date", "2018-03-28", "--models", "random_walk")
    assert code == 0, told
    assert "Reader().latest('Alpha', 'random_walk', on='2018-03-28')" in told


def test_each_series_is_forecast_by_the_models_that_were_trained_for_it(run: Run) -> None:
    version = ("--model-version-tag", "v2.0")
    for who in (["--models", "naive"], ["--models", "random_walk", "--commodity", "Alpha"]):
        code, told = run("train", *who, *version, "--start-date", "2018-01-01", "--end-date", "2018-03-30")
        assert code == 0, told
    code, told = run("infer", *version)
    assert code == 0, told
    assert "not in use for Beta, since never trained: random_walk" in told
    assert "Alpha by naive v2.0" in told
    assert "Beta by naive v2.0" in told
    code, told = run("coverage", *version)
    assert code == 0, told
    assert [line.split()[0] for line in told.splitlines() if line.endswith("  none")] == [
        "naive",
        "random_walk",
        "naive",
    ]


def test_no_model_is_asked_for_where_the_data_allow_no_forecast(run: Run) -> None:
    code, told = run("infer", "--date", "2018-07-03")
    assert code == 1
    assert "data of Alpha, Beta end on 2018-03-29: too old for a forecast of 2018-07-03" in told
    assert "ask for --date 2018-03-30" in told
    assert "train" not in told
    code, told = run("backfill", "--start-date", "2018-03-29", "--end-date", "2018-07-03", "--commodity", "Alpha")
    assert code == 1
    assert "data of Alpha end on 2018-03-29: windows that begin after 2018-04-04 can be neither trained nor" in told
    assert "train them" not in told
