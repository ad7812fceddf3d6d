"""A command starts a run where anything would change or anything is not known as good, and else none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from forecast_platform.cli.main import main
from forecast_platform.graph import partitions
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.report import result
from forecast_platform.graph.keys import Keys
from forecast_platform.runs import unchanged
from forecast_platform.runs.launch import Launcher
from forecast_platform.settings import load
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.cli.test_cli import environment
from forecast_platform_tests.worlds import settings_for

pytestmark = pytest.mark.slow

SPAN = ["--models", "naive", "--start-date", "2018-02-01", "--end-date", "2018-02-10"]
NONE_NEEDED = "nothing has changed, no run is needed"
Backfill = Callable[..., str]


@pytest.fixture
def backfill(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Backfill:
    """Forecast ten dates of one series and model; returns what is printed."""
    for name, value in environment(small).items():
        monkeypatch.setenv(name, value)
    load.cache_clear()

    def call(*more: str) -> str:
        capsys.readouterr()
        assert main(["backfill", "--commodity", "Alpha", *SPAN, "--no-score", *more]) == 0
        return capsys.readouterr().out

    return call


def _runs(root: Path) -> int:
    with dg.DagsterInstance.from_config(str(root / "dagster")) as instance:
        return len(instance.get_runs())


def test_a_rerun_starts_a_run_only_for_what_is_missing_stale_or_not_known_as_good(
    backfill: Backfill, small: Path
) -> None:
    assert NONE_NEEDED not in backfill()
    runs = _runs(small)
    assert f"forecast Alpha: 2018-02-01 to 2018-02-10: {NONE_NEEDED}" in backfill()
    assert _runs(small) == runs

    platform = Platform.from_settings(settings_for(small))
    gone = keys_of("Alpha", "naive", "v1.0", [dt.date(2018, 2, 3)], by_month=False)
    platform.warehouse.replace(POINT_FORECASTS, POINT_FORECASTS.arrow_schema().empty_table(), gone)
    assert NONE_NEEDED not in backfill()
    assert NONE_NEEDED in backfill()

    gone = keys_of("Alpha", "actuals", "actuals", [dt.date(2018, 2, 3)], by_month=True)
    platform.warehouse.replace(DISTRIBUTIONS, DISTRIBUTIONS.arrow_schema().empty_table(), gone)
    assert "distributions/actuals: 1 written" in backfill()
    assert NONE_NEEDED in backfill()
    assert NONE_NEEDED not in backfill("--overwrite")


def test_partitions_that_dagster_does_not_show_are_run_again(backfill: Backfill, small: Path) -> None:
    backfill()
    with dg.DagsterInstance.from_config(str(small / "dagster")) as instance:
        instance.wipe_assets([Keys().point_forecasts("naive")])
        assert not instance.get_materialized_partitions(Keys().point_forecasts("naive"))
    assert "0 written, 10 unchanged" in backfill()
    with dg.DagsterInstance.from_config(str(small / "dagster")) as instance:
        assert str(partitions.key("2018-02-03", "Alpha")) in instance.get_materialized_partitions(
            Keys().point_forecasts("naive")
        )


def test_a_check_that_holds_an_error_of_this_series_is_made_again(backfill: Backfill, small: Path) -> None:
    backfill()
    for series, severity, again in (
        ("Beta", "error", False),
        ("Alpha", "warning", False),
        ("Alpha", "error", True),
    ):
        _report(small, series, severity)
        assert (NONE_NEEDED not in backfill()) is again, (series, severity)


def _report(small: Path, series: str, severity: str) -> None:
    """A check of the paths that failed of this series."""
    key = dg.AssetCheckKey(Keys().distributions("naive"), "plausible_paths")
    finding = Target(series, "naive", "v1.0", "v1.0").bad("the spread is odd", "look at it", severity)
    found = result(key, [finding])
    with dg.DagsterInstance.from_config(str(small / "dagster")) as instance:
        instance.report_runless_asset_event(
            AssetCheckEvaluation(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=False,
                metadata=found.metadata,
                severity=found.severity,
            )
        )


def test_series_with_the_same_new_days_are_ingested_in_one_run_and_a_bad_one_is_found(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(small).items():
        monkeypatch.setenv(name, value)
    load.cache_clear()
    infer = ["infer", "--models", "naive", "--date"]
    for name in ("alpha", "beta"):
        file = small / "landing" / "market" / f"{name}.csv"
        file.write_text(file.read_text() + "2018-04-02,50,50,50,50,1\n")
    assert main([*infer, "2018-04-03"]) == 0
    told = capsys.readouterr().out
    assert "ingest Alpha, Beta: " in told
    assert told.count("ingest ") == 1


def test_a_run_that_lacks_paths_is_not_planned_before_it_begins(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(small)
    monkeypatch.setattr(unchanged, "plan", None)  # calling it would fail
    span = dt.date(2018, 2, 1), dt.date(2018, 2, 10)
    instance, platform = Launcher(settings).instance, Platform.from_settings(settings)
    assert not unchanged.nothing_to_forecast(instance, platform, ["Alpha"], ["naive"], "v1.0", *span)
