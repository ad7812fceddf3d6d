"""The day of several groups: each is decided by itself, and what people are told is of all of them together."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from forecast_platform.graph.automation.daily import decide, decide_ingest
from forecast_platform.graph.automation.day_state import DayState, Decision, Pending, Rules, SeriesState
from forecast_platform.graph.automation.messages import Message, Problem
from forecast_platform.graph.automation.problems import AlertBook
from forecast_platform.graph.automation.requests import Attempt, Request, run_request
from forecast_platform.graph.automation.training import WindowState, decide_training
from forecast_platform.settings.groups import SeriesGroup
from forecast_platform_tests.graph.automation.test_daily import DAY, RULES, TUESDAY, at, attempt

ALL = ("Coffee", "Corn", "Sugar", "Wheat", "Gold")
GROUPS = (
    SeriesGroup("", ("Gold",)),
    SeriesGroup("softs", ("Coffee", "Sugar")),
    SeriesGroup("grains", ("Corn", "Wheat")),
)
GROUPED: Rules = replace(RULES, series=ALL, groups=GROUPS)
DUE = TUESDAY - DAY


def state(**changes: object) -> DayState:
    """All data are there, all but today is forecast."""
    found = DayState(
        today=TUESDAY,
        series=tuple(SeriesState(name, DUE, DUE - DAY, DUE) for name in ALL),
        data="all",
        data_of={"": "d0", "softs": "d1", "grains": "d2"},
        versions=("v1.0",),
        missing={TUESDAY: frozenset((name, "naive", "v1.0") for name in ALL)},
        hopeless={},
        score_windows=(dt.date(2021, 1, 1), dt.date(2021, 1, 1)),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def without(*names: str) -> dict[dt.date, frozenset[tuple[str, str, str]]]:
    """Today's forecasts are missing but those of these series."""
    return {TUESDAY: frozenset((name, "naive", "v1.0") for name in ALL if name not in names)}


def late(*names: str) -> tuple[SeriesState, ...]:
    return tuple(SeriesState(name, DUE, DUE - DAY, DUE - DAY if name in names else DUE) for name in ALL)


def asked(found: Decision) -> dict[str, Request]:
    """The requests by their job; each job at most once."""
    requests = [request for request, _ in found.requests]
    assert len({request.job for request in requests}) == len(requests)
    return {request.job: request for request in requests}


def test_each_group_is_one_run_of_its_own_job_over_its_own_data() -> None:
    found = asked(decide(GROUPED, state(), [], at(TUESDAY, 8)))
    assert {job: (one.series, one.data) for job, one in found.items()} == {
        "forecast": (("Gold",), "d0"),
        "forecast_softs": (("Coffee", "Sugar"), "d1"),
        "forecast_grains": (("Corn", "Wheat"), "d2"),
    }
    run = run_request(found["forecast_softs"], 0, ("naive",))
    assert run.job_name == "forecast_softs"
    assert run.tags["dagster/asset_partition_range_start"] == "2021-03-09|Coffee"
    assert run.tags["dagster/asset_partition_range_end"] == "2021-03-09|Sugar"
    assert [key.to_user_string() for key in run.asset_selection or ()] == [
        "softs/distributions/naive",
        "softs/point_forecasts/naive",
        "softs/distributions/actuals",
    ]


def test_neighbours_of_other_groups_are_never_one_range() -> None:
    pending = Pending(dict.fromkeys(ALL, (DUE, DUE)), "s1")
    found = asked(decide_ingest(GROUPED, pending, [], at(TUESDAY, 8)))
    assert {job: one.series for job, one in found.items()} == {
        "ingest": ("Gold",),
        "ingest_softs": ("Coffee", "Sugar"),
        "ingest_grains": ("Corn", "Wheat"),
    }


def test_a_late_series_holds_its_own_group_and_no_other() -> None:
    found = decide(GROUPED, state(series=late("Corn")), [], at(TUESDAY, 8))
    assert set(asked(found)) == {"forecast", "forecast_softs"}
    assert "; grains: waits for late data until 11:00 PST: Corn (close of 2021-03-08" in found.reason


def test_new_data_of_one_group_start_no_other_group_s_run_again() -> None:
    now = at(TUESDAY, 8)
    runs = [attempt(request, "success", now) for request in asked(decide(GROUPED, state(), [], now)).values()]
    later = state(missing={}, data="other", data_of={"": "d0", "softs": "d9", "grains": "d2"})
    found = asked(decide(GROUPED, later, runs, now + dt.timedelta(minutes=5)))
    assert set(found) == {"forecast_softs", "score", "score_grains"}, "the others go on to their scores"


def test_a_group_that_scores_does_not_wait_for_one_that_forecasts() -> None:
    now = at(TUESDAY, 8)
    forecasts = asked(decide(GROUPED, state(), [], now))
    runs = [attempt(one, "open" if job == "forecast_grains" else "success", now) for job, one in forecasts.items()]
    found = decide(GROUPED, state(missing=without("Gold", "Coffee", "Sugar")), runs, now)
    assert set(asked(found)) == {"score", "score_softs"}
    assert "grains: forecast 2021-03-09 to 2021-03-09 is running" in found.reason


def test_what_is_missing_is_one_problem_and_told_though_another_group_is_at_work() -> None:
    after = at(TUESDAY, 12)
    given_up = [
        Attempt(f"r{n}", "forecast", TUESDAY, TUESDAY, ("Coffee", "Sugar"), "d1", "v1.0", (), "failure", after)
        for n in range(3)
    ]
    [open_run] = [one for job, one in asked(decide(GROUPED, state(), [], after)).items() if job == "forecast_grains"]
    runs = [*given_up, attempt(open_run, "open", after)]
    found = decide(GROUPED, state(missing=without("Gold")), runs, after)
    [problem] = found.problems
    assert problem.affected == "Coffee/naive, Sugar/naive", "grains are being forecast"
    assert found.keep == {problem.key}
    settled = decide(GROUPED, state(missing=without("Gold", "Corn", "Wheat")), given_up, after)
    assert [one.key for one in settled.problems] == [problem.key]


def test_windows_are_trained_by_each_group_s_job() -> None:
    pairs = frozenset((name, "naive", "v1.0") for name in ("Gold", "Coffee", "Sugar", "Wheat"))
    window = WindowState(
        dt.date(2021, 1, 1), {"v1.0": pairs}, {"Sugar": "waits"}, "w", {"": "w0", "softs": "w1", "grains": "w2"}
    )
    found = asked(decide_training(GROUPED, [window], [], at(TUESDAY, 8)))
    assert {job: (one.series, one.data) for job, one in found.items()} == {
        "train": (("Gold",), "w0"),
        "train_softs": (("Coffee",), "w1"),
        "train_grains": (("Wheat",), "w2"),
    }


def test_a_feed_that_brings_none_of_a_hundred_series_is_one_message(tmp_path: object) -> None:
    class Kept:
        def __init__(self) -> None:
            self.messages: list[Message] = []

        def send(self, message: Message) -> None:
            self.messages.append(message)

    names = [f"S{number:02d}" for number in range(100)]
    book = AlertBook(tmp_path / "_alerts", lambda: at(TUESDAY, 12))  # type: ignore[operator]
    problems = {
        name: Problem(f"late/{name}", f"{name}: no close", "11:00", f"forecasts of {name}", "no prices", "look there")
        for name in names
    }
    other = Problem("tick/alerts", "alerts failed", "10:00", "alerts", "not known", "read the log", "critical")
    book.report("daily", problems.values())
    book.report("ticks", [other])
    kept = Kept()
    assert book.deliver([("kept", kept)]) == []
    many, single = sorted(kept.messages, key=lambda one: "kind" not in one.problem.what)
    assert many.title == "ERROR: 100 problems of the kind 'late'"
    assert "- S19: no close\nand 80 more" in many.problem.what
    assert (many.problem.cause, many.problem.mend) == ("no prices", "look there"), "the same of all, said once"
    assert single.problem == other
    assert book.deliver([("kept", kept)]) == []
    assert len(kept.messages) == 2, "each told once"
    book.report("daily", [problems["S07"]])
    book.deliver([("kept", kept)])
    assert kept.messages[-1].title == "RESOLVED: 99 problems of the kind 'late'"
    assert [one.key for one in book.open_problems("daily")] == ["late/S07"]
