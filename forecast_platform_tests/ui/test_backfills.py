"""Backfills from the partition view, through the real webserver, daemon and run workers."""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import time
from collections.abc import Iterator

import pytest
from dagster import AssetKey

from forecast_platform.definitions import build_definitions
from forecast_platform.runs.preview import ui_runs
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, TRAINED_MODELS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ui.conftest import UNTRAINED
from forecast_platform_tests.ui.running import Running, keys
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import days, settings_for

pytestmark = pytest.mark.slow
log = logging.getLogger(__name__)

NAIVE = ["distributions/naive", "point_forecasts/naive"]
WALK = ["distributions/random_walk", "point_forecasts/random_walk"]
TRAINED = ["trained_models/naive"]
HOLE = ("2017-02-01", "2017-02-28")

LAUNCHED = {
    "a year": (NAIVE, keys(["Alpha"], ("2017-03-30", "2018-03-29"))),
    "with holes": (WALK, keys(["Alpha"], ("2017-01-15", "2017-03-15"), ("2017-05-01", "2017-05-10"))),
    "data to come": (["unified_data"], keys(["Alpha", "Beta"], ("2018-03-20", "2018-04-10"))),
    "beyond the data": (NAIVE, keys(["Alpha"], ("2018-03-30", "2018-05-31"))),
    "all models": ([*NAIVE, *WALK, "distributions/actuals"], keys(["Alpha", "Beta"], ("2017-01-01", "2017-01-10"))),
    "an untrained window": (NAIVE, keys(["Beta"], ("2017-11-01", "2018-02-28"))),
}
"""Backfills that have no date of a model in common: launched together, they queue as an operator's would."""


@pytest.fixture(scope="module")
def launched(running: Running) -> dict[str, str]:
    """The ids of all of LAUNCHED, over a warehouse that holds February 2017 of one model."""
    span = ("--start-date", HOLE[0], "--end-date", HOLE[1])
    running.command("backfill", "--commodity", "Alpha", "--models", "random_walk", *span)
    return {name: running.launch(*chosen) for name, chosen in LAUNCHED.items()}


def of(running: Running, asset: str, status: str, wanted: list[str]) -> set[str]:
    return running.statuses(asset)[status] & set(wanted)


def test_a_year_of_one_model_is_one_run(running: Running, launched: dict[str, str]) -> None:
    state = running.finished(launched["a year"])
    assert state.status == "COMPLETED_SUCCESS"
    [run] = state.runs
    assert (run.first, run.last) == ("2017-03-30|Alpha", "2018-03-29|Alpha")
    assert run.assets == set(NAIVE)
    assert running.done(run.id)["Alpha naive"] == (365, 0, 0)
    wanted = LAUNCHED["a year"][1]
    for asset in NAIVE:
        assert of(running, asset, "materialized", wanted) == set(wanted)


def test_dates_that_are_there_are_skipped_and_separate_ranges_are_separate_runs(
    running: Running, launched: dict[str, str]
) -> None:
    state = running.finished(launched["with holes"])
    assert state.status == "COMPLETED_SUCCESS"
    spans = {(run.first, run.last): running.done(run.id)["Alpha random_walk"] for run in state.runs}
    assert spans == {
        ("2017-01-15|Alpha", "2017-03-15|Alpha"): (32, 28, 0),
        ("2017-05-01|Alpha", "2017-05-10|Alpha"): (10, 0, 0),
    }
    wanted = LAUNCHED["with holes"][1]
    found = running.statuses("distributions/random_walk")["materialized"]
    shown = {key for key in found if "2017-01-11" <= key < "2017-06" and key.endswith("|Alpha")}
    assert shown == set(wanted) | set(keys(["Alpha"], HOLE))


def test_days_of_data_to_come_show_exactly_what_failed(running: Running, launched: dict[str, str]) -> None:
    state = running.finished(launched["data to come"])
    assert state.status == "COMPLETED_FAILED"
    assert [(run.status, run.first[11:]) for run in state.runs] == [("FAILURE", "Alpha"), ("FAILURE", "Beta")]
    wanted = LAUNCHED["data to come"][1]
    late = set(keys(["Alpha", "Beta"], ("2018-04-02", "2018-04-10")))
    assert of(running, "unified_data", "failed", wanted) == late
    assert of(running, "unified_data", "materialized", wanted) == set(wanted) - late
    told = "\n".join(running.messages(state.runs[1].id))
    assert "2018-04-02 to 2018-04-10: data of Beta end on 2018-04-01" in told


def test_a_range_beyond_the_data_shows_exactly_what_failed(running: Running, launched: dict[str, str]) -> None:
    state = running.finished(launched["beyond the data"])
    assert state.status == "COMPLETED_FAILED"
    [run] = state.runs
    wanted = LAUNCHED["beyond the data"][1]
    failed, good = of(running, NAIVE[0], "failed", wanted), of(running, NAIVE[0], "materialized", wanted)
    assert failed | good == set(wanted)
    assert not failed & good
    told = "\n".join(running.messages(run.id))
    assert "2018-04-05 to 2018-05-31: data of Alpha end on 2018-03-29, 6 to " in told
    assert "days before the last session due; at most 5 are allowed" in told
    assert "ingest newer data or raise max_staleness_days" in told
    # The failed dates are one block at the end, from the first whose newest price is too old.
    assert min(failed) > max(good) > "2018-03-30"
    assert {point.split("|")[0] for point in of(running, NAIVE[1], "failed", wanted)} == {
        key.split("|")[0] for key in failed
    }


def test_all_models_at_once_are_one_run_a_series(running: Running, launched: dict[str, str]) -> None:
    state = running.finished(launched["all models"])
    assert state.status == "COMPLETED_SUCCESS"
    assets, wanted = LAUNCHED["all models"]
    assert [(run.first, run.last) for run in state.runs] == [
        ("2017-01-01|Alpha", "2017-01-10|Alpha"),
        ("2017-01-01|Beta", "2017-01-10|Beta"),
    ]
    # What `plan --ui` says beforehand.
    definitions = build_definitions(settings_for(running.warehouse.parent, start_date=dt.date(2017, 1, 1)))
    planned = ui_runs(
        definitions, [AssetKey(name.split("/")) for name in assets], days("2017-01-01", "2017-01-10"), ["Alpha", "Beta"]
    )
    assert [(run.assets, run.first, run.last) for run in planned] == [
        (run.assets, run.first, run.last) for run in state.runs
    ]
    for run, series in zip(state.runs, ("Alpha", "Beta"), strict=True):
        assert run.assets == set(assets)
        assert running.done(run.id) == {f"{series} {name}": (10, 0, 0) for name in ("naive", "random_walk", "actuals")}
    for asset in assets:
        assert of(running, asset, "materialized", wanted) == set(wanted)


def test_a_failed_chunk_is_named_and_retrying_runs_just_what_failed(running: Running, launched: dict[str, str]) -> None:
    wanted = LAUNCHED["an untrained window"][1]
    state = running.finished(launched["an untrained window"])
    assert state.status == "COMPLETED_FAILED"
    [run] = state.runs
    failed = set(keys(["Beta"], (UNTRAINED, "2018-02-28")))
    assert of(running, NAIVE[0], "failed", wanted) == failed
    assert of(running, NAIVE[0], "materialized", wanted) == set(wanted) - failed
    told = "\n".join(running.messages(run.id))
    assert f"2018-01-01 to 2018-02-28: no trained_models/naive v1.0 for Beta, window {UNTRAINED}" in told

    trained = running.finished(running.launch(TRAINED, [f"{UNTRAINED}|Beta"]))
    assert trained.status == "COMPLETED_SUCCESS"
    answer = running.ask(
        "mutation($params: ReexecutionParams!) { reexecutePartitionBackfill(reexecutionParams: $params) "
        "{ __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
        params={"parentRunId": state.id, "strategy": "FROM_FAILURE"},
    )
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    retried = running.finished(answer["backfillId"])
    assert retried.status == "COMPLETED_SUCCESS"
    [again] = retried.runs
    assert (again.first, again.last) == ("2018-01-01|Beta", "2018-02-28|Beta")
    assert running.done(again.id)["Beta naive"] == (59, 0, 0)
    assert of(running, NAIVE[0], "failed", wanted) == set()
    assert of(running, NAIVE[0], "materialized", wanted) == set(wanted)


@pytest.fixture
def stopped_worker() -> Iterator[list[int]]:
    """Ids of processes that a test stopped; they go on at its end at the latest."""
    stopped: list[int] = []
    yield stopped
    for process in stopped:
        try:
            os.kill(process, signal.SIGCONT)
        except ProcessLookupError:
            continue


def test_a_backfill_canceled_in_the_middle_keeps_what_it_wrote_and_is_completed_by_another(
    running: Running, stopped_worker: list[int]
) -> None:
    # A chunk for each window: June, then July to December. One run a series, of which the second is still queued.
    wanted = keys(["Alpha", "Beta"], ("2017-06-01", "2017-12-31"))
    table = running.warehouse.joinpath(*DISTRIBUTIONS.name.split("."), "_delta_log")
    commits, idle = len(list(table.glob("*.json"))), running.workers()
    backfill_id = running.launch(WALK, wanted)
    [process] = until(lambda: running.workers() - idle, "start of a run")
    stopped_worker.append(process)
    until(lambda: len(list(table.glob("*.json"))) > commits, "first chunk", pause=0.002)
    # The rest of the run takes under a second and the daemon looks every thirty: hold it while it is canceled.
    os.kill(process, signal.SIGSTOP)
    started = time.monotonic()
    canceled = running.ask(
        "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }", id=backfill_id
    )
    assert canceled["__typename"] == "CancelBackfillSuccess"

    def told() -> bool:
        return {"CANCELING", "CANCELED"} == {run.status for run in running.backfill(backfill_id).runs}

    until(told, "cancel of both runs", told=lambda: str([run.status for run in running.backfill(backfill_id).runs]))
    log.info(f"runs told to stop {time.monotonic() - started:.0f} s after the backfill was canceled")
    # The daemon records that first and tells the process then, which shows nowhere.
    time.sleep(5)
    os.kill(process, signal.SIGCONT)
    state = running.finished(backfill_id)
    assert state.status == "CANCELED"
    assert [run.status for run in state.runs] == ["CANCELED", "CANCELED"]
    for status in ("materialized", "materializing", "failed"):
        assert not of(running, WALK[0], status, wanted), f"{status} after a cancel"

    rest = running.finished(running.launch(WALK, wanted))
    assert rest.status == "COMPLETED_SUCCESS"
    (some, kept, _), (every, none, _) = sorted(
        (counts for run in rest.runs for counts in running.done(run.id).values()), key=lambda counts: counts[0]
    )
    assert (every, none) == (214, 0), "the run that was queued wrote nothing"
    assert kept >= 30, "what the canceled run wrote is there"
    assert some + kept == 214
    log.info(f"of 214 dates, the run that was canceled had written {kept}")
    for asset in WALK:
        assert of(running, asset, "materialized", wanted) == set(wanted)


def test_a_selection_that_dagster_expands_downstream_computes_nothing_again(running: Running) -> None:
    year = ("2017-01-01", "2017-12-31")
    span = ("--start-date", year[0], "--end-date", year[1])
    running.command("backfill", "--commodity", "Alpha", "--models", "naive", *span)
    before = _stored(running)
    day = "2016-12-31|Alpha"
    chosen = {
        "unified_data": (day, day),
        "trained_models/naive": ("2017-01-01|Alpha", "2017-07-01|Alpha"),
        **dict.fromkeys(NAIVE, (f"{year[0]}|Alpha", f"{year[1]}|Alpha")),
    }
    expanded, exact = running.launch(list(chosen), [day]), running.launch_exactly(chosen)
    state = running.finished(exact)
    assert state.status == "COMPLETED_SUCCESS", [running.messages(run.id) for run in state.runs]
    assert state.counts["unified_data"] == (1, 1, 0)
    assert state.counts["trained_models/naive"] == (2, 2, 0)
    assert [state.counts[asset] for asset in NAIVE] == [(365, 365, 0)] * 2
    done = sorted(counts for run in state.runs for counts in running.done(run.id).values())
    assert done == [(0, 1, 0), (0, 2, 0), (0, 365, 0)]
    # The lookback is one partition, which the windows of its three years are fitted on: Dagster takes all six, of which
    # the data reach three. Whether it goes on to all their days, or to the lookback's next day alone, depends on the
    # order in which the webserver visits a set, which differs by process.
    state = running.finished(expanded)
    assert state.counts["unified_data"] == (1, 1, 0)
    assert state.counts["trained_models/naive"] == (6, 3, 3)
    [training] = [run for run in state.runs if run.assets == set(TRAINED)]
    assert (training.status, running.done(training.id)) == ("FAILURE", {"Alpha naive": (0, 3, 3)})
    assert "2018-07-01" in "\n".join(running.messages(training.id))
    after = _stored(running)
    assert {key: after[key] for key in before} == before


def _stored(running: Running) -> dict[tuple[str, ...], object]:
    """When each fit of Alpha and each of its forecasts was made."""
    warehouse = Platform.from_settings(settings_for(running.warehouse.parent)).warehouse
    fits = warehouse.read(TRAINED_MODELS, ["model_name", "training_cutoff_date", "created_at"], {"commodity": "Alpha"})
    columns = ["model_name", "forecast_date", "generation_timestamp"]
    paths = warehouse.read(DISTRIBUTIONS, columns, {"commodity": "Alpha", "path_id": 0, "model_name": "naive"})
    return {
        (kind, *(str(value) for value in list(row.values())[:2])): list(row.values())[2]
        for kind, rows in (("fit", fits), ("paths", paths))
        for row in rows.to_pylist()
    }
