"""Three families of two series in one code location: runs, partitions, checks, pages, commands and the same bits."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from dagster import AssetKey, DagsterInstance

from forecast_platform.cli.main import main
from forecast_platform.definitions import build_definitions
from forecast_platform.graph.checks.catalog import platform_checks
from forecast_platform.graph.keys import FORECAST, JOBS, Keys, family_of, model_of
from forecast_platform.housekeeping.health import Fact, condensed, health
from forecast_platform.pages.daily_page import daily_page
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import by_partition, ingest
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.settings import Settings, build, load
from forecast_platform.warehouse.schemas import FORECAST_RUNS, UNIFIED_DATA
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome
from forecast_platform_tests.desk import write_desk, write_settings

pytestmark = pytest.mark.slow

NAMES = ["Coffee", "Corn", "Gold", "Wheat", "Sugar", "Silver"]
GROUPS = {"softs": ["Coffee", "Sugar"], "grains": ["Corn", "Wheat"]}
FIRST, LAST, TODAY = dt.date(2014, 1, 2), dt.date(2018, 3, 29), dt.date(2018, 3, 30)
Run = Callable[..., tuple[int, str]]


def values(**changes: object) -> dict[str, object]:
    return {
        "models": ["naive"],
        "lookback_years": 3,
        "start_date": "2018-01-01",
        "end_date": "2018-03-31",
        "n_paths": 200,
        "groups": GROUPS,
        **changes,
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing files of six series, ingested and trained; Wheat has the prices of Coffee."""
    root = tmp_path_factory.mktemp("groups")
    write_desk(root / "landing", NAMES, span=(FIRST, LAST))
    shutil.copy(root / "landing/market/coffee.csv", root / "landing/market/wheat.csv")
    platform = Platform.from_settings(settings_of(root))
    assert not ingest(platform, NAMES, platform.settings.history_start, TODAY).rejections
    for name in NAMES:
        for model in platform.settings.models:
            assert not train(platform, name, model, [dt.date(2018, 1, 1)]).failed
    return root


def settings_of(root: Path, **changes: object) -> Settings:
    from forecast_platform_tests.desk import desk_settings

    return build(**{**desk_settings(root, NAMES), **values(**changes)})


@pytest.fixture(scope="module")
def inferred(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """The world after `infer` of a day of every group; with its exit code and what it printed."""
    root = tmp_path_factory.mktemp("inferred") / "platform"
    shutil.copytree(world, root)
    write_settings(root, NAMES, **values())
    with pytest.MonkeyPatch.context() as patch:
        run = runner(root, patch)
        code, told = run("infer", "--date", str(TODAY))
    return root, code, told


def runner(root: Path, patch: pytest.MonkeyPatch) -> Run:
    """Commands over the platform under `root`, in this process."""
    import contextlib
    import io

    patch.setenv("FORECAST_PLATFORM_CONFIG", str(root / "desk.yaml"))
    patch.setenv("DAGSTER_HOME", str(root / "dagster"))

    def call(*arguments: str) -> tuple[int, str]:
        load.cache_clear()
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = main(arguments)
        load.cache_clear()
        return code, told.getvalue()

    return call


@pytest.fixture
def run(inferred: tuple[Path, int, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(inferred[0], monkeypatch)


@contextmanager
def instance_of(root: Path) -> Iterator[DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(root / "dagster"))
        with DagsterInstance.get() as instance:
            yield instance


def test_the_day_is_one_run_a_group_recorded_under_the_group_s_keys(inferred: tuple[Path, int, str]) -> None:
    root, code, told = inferred
    assert code == 0, told
    assert "softs/distributions/naive: 2 written, 0 unchanged, 0 failed, 400 rows" in told
    with instance_of(root) as instance:
        jobs = sorted(run.job_name for run in instance.get_runs())
        assert jobs == ["forecast", "forecast_grains", "forecast_softs"]
        for key, series in (
            (["softs", "distributions", "naive"], ("Coffee", "Sugar")),
            (["grains", "point_forecasts", "naive"], ("Corn", "Wheat")),
            (["distributions", "actuals"], ("Gold", "Silver")),
        ):
            assert instance.get_materialized_partitions(AssetKey(key)) == {f"{TODAY}|{name}" for name in series}


def test_the_ready_signal_is_written_once_for_all_runs_of_a_command(inferred: tuple[Path, int, str]) -> None:
    warehouse = Platform.from_settings(settings_of(inferred[0])).warehouse
    [row] = warehouse.read(FORECAST_RUNS).to_pylist()
    assert (row["forecast_date"], row["status"], row["n_series"]) == (TODAY, "complete", 6)
    assert warehouse.version(FORECAST_RUNS) == 1, "made, and written once"


def test_series_of_different_groups_share_their_shocks(inferred: tuple[Path, int, str]) -> None:
    reader = Reader(settings_of(inferred[0]))
    for model in ("naive",):
        coffee, wheat, corn = (reader.paths(name, model, TODAY, TODAY)[TODAY] for name in ("Coffee", "Wheat", "Corn"))
        assert np.array_equal(coffee, wheat), "the same prices and the same shocks, in two groups"
        assert not np.array_equal(coffee, corn)


def test_the_bits_are_those_of_one_family_without_groups(world: Path, inferred: tuple[Path, int, str]) -> None:
    alone = Platform.from_settings(settings_of(world, groups={}))
    grouped, plain = Reader(settings_of(inferred[0])), Reader(alone.settings, alone.warehouse)
    for name in NAMES:
        assert forecast(alone, name, "naive", [TODAY]).written
        ours, theirs = (one.paths(name, "naive", TODAY, TODAY)[TODAY] for one in (grouped, plain))
        assert np.array_equal(ours, theirs), name


def test_checks_look_at_their_group_and_are_found_by_health(inferred: tuple[Path, int, str]) -> None:
    root = inferred[0]
    settings = settings_of(root)
    by_asset = {key.asset_key.to_user_string() for checks in platform_checks(settings) for key in checks.check_keys}
    assert {"unified_data", "softs/unified_data", "grains/trained_models/naive", "distributions/naive"} <= by_asset
    with instance_of(root) as instance:
        for keys, series in ((Keys("softs"), ("Coffee", "Sugar")), (Keys(), ("Gold", "Silver"))):
            [run] = [run for run in instance.get_runs() if run.job_name == keys.job(FORECAST)]
            evaluations = [
                entry.dagster_event.event_specific_data
                for entry in instance.all_logs(run.run_id)
                if entry.dagster_event and entry.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
            ]
            assert {one.asset_key for one in evaluations} == set(
                keys.of_job(FORECAST, settings.models, actuals=False)
            ), "every check of the group's assets and no other's"
            text = " ".join(one.description or "" for one in evaluations)
            assert {name for name in NAMES if name in text} == set(series)
            assert all(one.passed for one in evaluations if one.check_name != "on_time")


def test_commands_take_groups_series_and_all(run: Run) -> None:
    code, told = run("coverage", "--group", "softs", "--models", "naive")
    assert code == 1
    assert [name for name in NAMES if f"\n{name}, v1.0" in told] == ["Coffee", "Sugar"]
    assert "Corn" in run("coverage", "--commodity", "all")[1]
    code, told = run("backfill", "--commodity", "Sugar", "Corn", "--models", "naive", "--start-date", str(TODAY))
    assert code == 0, told
    for name in ("Corn", "Sugar"):
        assert f"forecast {name}: {TODAY} to {TODAY}: nothing has changed, no run is needed" in told
    assert "softs/forecast_metadata/naive: 1 written" in told
    assert "grains/forecast_metadata/naive: 1 written" in told
    assert run("coverage", "--group", "metals") == (
        2,
        "forecast-platform: group 'metals' is not configured; known: grains, softs\n",
    )


def test_the_plan_names_the_runs_of_each_group_in_the_ui(run: Run) -> None:
    code, told = run("plan", "--models", "naive", "--start-date", str(TODAY), "--end-date", str(TODAY), "--ui")
    assert code == 0, told
    assert "distributions and point_forecasts of softs: 1 run\n  2018-03-30|Coffee to 2018-03-30|Sugar" in told
    assert "distributions and point_forecasts: 1 run\n  2018-03-30|Gold to 2018-03-30|Silver" in told


def test_the_daily_page_is_an_overview_with_a_page_a_group(inferred: tuple[Path, int, str]) -> None:
    platform = Platform.from_settings(settings_of(inferred[0]))
    assert daily_page(platform, health, TODAY).address.endswith(f"/daily_{TODAY}.html")
    folder = platform.settings.reports
    overview, softs = (folder / f"daily_{name}{TODAY}.html" for name in ("", "softs_"))
    text = overview.read_text()
    assert all(name in text for name in NAMES)
    assert "6 series in 3 groups" in text
    for name in ("softs", "grains", "rest"):
        assert f'href="daily_{name}_{TODAY}.html"' in text
        assert (folder / f"daily_{name}_{TODAY}.html").is_file()
    # That of the newest day stays the one that is shown: infer made it, on the day after.
    newest = folder / f"daily_{TODAY + dt.timedelta(days=1)}.html"
    assert (folder / "daily.html").read_text().count("Coffee") == newest.read_text().count("Coffee") > 0
    assert "Sugar: the next 14 days" in softs.read_text()
    assert "Corn" not in softs.read_text()
    assert f'href="daily_{TODAY}.html"' in softs.read_text()
    index = (folder / "index.html").read_text()
    assert f'href="daily_{TODAY}.html"' in index
    assert "daily_softs" not in index, "reached from the overview"


def test_the_page_is_asked_for_once_after_the_last_group_s_scores(world: Path) -> None:
    from dagster import (
        DagsterEvent,
        DagsterEventType,
        DagsterRunStatus,
        RunRequest,
        SkipReason,
        build_run_status_sensor_context,
    )
    from dagster._core.test_utils import create_run_for_test

    sensor = build_definitions(settings_of(world)).get_repository_def().get_sensor_def("daily_page_after_score")
    with DagsterInstance.ephemeral() as instance:
        done, other, backfill = (
            create_run_for_test(instance, job_name=job, status=status, tags=tags)
            for job, status, tags in (
                ("score_softs", DagsterRunStatus.SUCCESS, {}),
                ("score_grains", DagsterRunStatus.STARTED, {}),
                ("score", DagsterRunStatus.STARTED, {"dagster/backfill": "b"}),
            )
        )

        def asked() -> object:
            event = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, done.job_name)
            return sensor(build_run_status_sensor_context("after_score", event, instance, done))

        found = asked()
        assert isinstance(found, SkipReason)
        assert "score_grains is under way" in str(found.skip_message)
        instance.report_run_failed(other)
        assert isinstance(asked(), RunRequest), f"{backfill.run_id} is a backfill's, which nobody waits for"


def test_one_health_report_is_of_all_groups(inferred: tuple[Path, int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = inferred[0]
    monkeypatch.setenv("DAGSTER_HOME", str(root / "dagster"))
    facts = {fact.name: fact for fact in health(settings_of(root)).facts}
    assert "the oldest of 3 groups" in facts["last forecast"].text
    assert facts["last score"].severity == "warning"
    assert {f"data {name}" for name in NAMES} <= facts.keys()


def test_facts_of_a_hundred_series_are_few_lines_and_hide_nothing_that_is_wrong() -> None:
    facts = [
        Fact(f"data S{n}", "error" if n < 12 else "warning" if n == 50 else "good", f"text {n}") for n in range(100)
    ]
    found = condensed("data", facts)
    assert (found[0].severity, found[0].text) == ("good", "87 of 100 are as they ought to be")
    assert [fact.name for fact in found[1:-1]] == [f"data S{n}" for n in range(10)]
    assert (found[-1].severity, found[-1].text) == ("error", "3 more are not: S10, S11, S50")
    assert condensed("data", facts[:40]) == facts[:40]


def test_a_group_that_grows_full_is_told_a_year_before(tmp_path: Path) -> None:
    series = [{"name": f"S{number}"} for number in range(30)]  # 3,333 days: to 2027-02-15
    settings = build(series=series, source="sample", end_date=None, warehouse=tmp_path)
    for today, warned in ((dt.date(2025, 6, 1), False), (dt.date(2026, 6, 1), True)):
        at = dt.datetime.combine(today, dt.time(18), dt.timezone.utc)
        found = [fact for fact in health(settings.with_clock(lambda at=at: at)).facts if "partitions" in fact.name]
        assert bool(found) == warned
    assert "30 series are 100,000 partitions an asset on 2027-02-15" in found[0].text


def test_keys_and_jobs_of_the_group_without_a_name_are_those_of_a_platform_without_groups() -> None:
    keys = Keys()
    assert [keys.job(job) for job in JOBS] == ["ingest", "train", "forecast", "score"]
    plain, prefixed = build_definitions(build()), build_definitions(build(groups={"energy": ["WTI"]}))
    names = {key.to_user_string() for key in plain.resolve_asset_graph().get_all_asset_keys()}
    assert {"unified_data", "distributions/naive", "forecast_metadata/xgboost"} <= names
    grouped = {key.to_user_string() for key in prefixed.resolve_asset_graph().get_all_asset_keys()}
    of_all = {name for name in names if name == "daily_page" or name.startswith("training_jobs/")}
    assert grouped == of_all | {f"energy/{name}" for name in names - of_all}
    boxes = {prefixed.resolve_asset_graph().get(AssetKey(name.split("/"))).group_name for name in grouped}
    assert boxes == {"energy", "reports", "training_jobs"}, "one box a group in the lineage"


@pytest.mark.parametrize("group", ["", "softs"])
def test_family_and_model_are_read_off_a_key_of_any_group(group: str) -> None:
    keys = Keys(group)
    assert (family_of(keys.trained_models("xgboost")), model_of(keys.trained_models("xgboost"))) == (
        "trained_models",
        "xgboost",
    )
    assert (family_of(keys.unified_data), model_of(keys.unified_data)) == ("unified_data", "")
    assert (family_of(AssetKey("daily_page")), model_of(AssetKey("daily_page"))) == ("", "")


def test_the_lookback_is_one_partition_that_brings_all_its_days(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "landing", tmp_path / "landing")
    settings = settings_of(tmp_path, models=("naive",))
    with DagsterInstance.ephemeral() as instance:
        done = (
            build_definitions(settings)
            .resolve_job_def("ingest_softs")
            .execute_in_process(
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": "2017-12-31|Coffee",
                    "dagster/asset_partition_range_end": "2018-01-02|Coffee",
                },
                asset_selection=[Keys("softs").unified_data],
            )
        )
        assert done.success
        assert instance.get_materialized_partitions(Keys("softs").unified_data) == {
            f"{day}|Coffee" for day in ("2017-12-31", "2018-01-01", "2018-01-02")
        }
    days = Platform.from_settings(settings).warehouse.read(UNIFIED_DATA, ["date"])["date"].to_pylist()
    assert (min(days), max(days)) == (settings.history_start, dt.date(2018, 1, 2))
    assert len(days) == (max(days) - min(days)).days + 1


def test_the_lookback_is_there_where_its_last_day_is() -> None:
    end = dt.date(2017, 12, 31)
    early, late = dt.date(2015, 1, 1), dt.date(2018, 1, 1)
    young = Outcome("Coffee", "", written={end, late}, failed={early: "data of Coffee begin on 2016-01-01"}, rows=2)
    assert by_partition(young, end) == Outcome("Coffee", "", written={end, late}, rows=2)
    revised = Outcome("Coffee", "", written={early}, skipped={end, late}, rows=1)
    assert by_partition(revised, end) == Outcome("Coffee", "", written={end}, skipped={late}, rows=1)
    none = Outcome("Coffee", "", written={late}, failed={early: "begin", end: "begin"})
    assert by_partition(none, end) == Outcome("Coffee", "", written={late}, failed={end: "begin"})
