"""The day's decisions, over what the tables hold and what runs there are: no daemon, no clock, no tables."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from forecast_platform.graph.automation.daily import decide, decide_ingest
from forecast_platform.graph.automation.day_state import DayState, Decision, Pending, Rules, SeriesState
from forecast_platform.graph.automation.requests import Attempt, Request
from forecast_platform.graph.automation.training import WindowState, decide_training, training_underway

ZONE = ZoneInfo("America/Los_Angeles")
DAY = dt.timedelta(days=1)
SERIES = ("Coffee", "Sugar")
RULES = Rules(
    zone=ZONE,
    daily_time=dt.time(8),
    wait=dt.timedelta(hours=3),
    attempts=3,
    retry=dt.timedelta(minutes=10),
    series=SERIES,
    max_staleness_days=5,
)
TUESDAY = dt.date(2021, 3, 9)
EVERYTHING = frozenset((series, model, "v1.0") for series in SERIES for model in ("naive", "xgboost"))


def at(day: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(hour, minute), ZONE).astimezone(dt.timezone.utc)


def state(today: dt.date = TUESDAY, **changes: object) -> DayState:
    """All data are there, all but today is forecast."""
    due = today - DAY
    found = DayState(
        today=today,
        series=tuple(SeriesState(name, due, due - DAY, due) for name in SERIES),
        data="d1",
        versions=("v1.0",),
        missing={today: EVERYTHING},
        hopeless={},
        score_windows=(dt.date(2021, 1, 1), dt.date(2021, 1, 1)),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def late(today: dt.date = TUESDAY, days: int = 1, name: str = "Coffee") -> tuple[SeriesState, ...]:
    due = today - DAY
    return tuple(SeriesState(one, due, due - DAY, due - days * DAY if one == name else due) for one in SERIES)


def attempt(request: Request, status: str, ended: dt.datetime | None = None) -> Attempt:
    return Attempt(
        "run", request.step, request.first, request.last, request.series, request.data, request.version,
        request.models, status, ended,
    )  # fmt: skip


def steps(decision: Decision) -> list[tuple[str, dt.date, dt.date, tuple[str, ...]]]:
    return [(one.step, one.first, one.last, one.series) for one, _ in decision.requests]


def requests(decision: Decision) -> list[Request]:
    return [request for request, _ in decision.requests]


def test_nothing_is_run_before_the_day_begins() -> None:
    found = decide(RULES, state(), [], at(TUESDAY, 7, 59))
    assert not found.requests
    assert "08:00" in found.reason


def test_all_models_and_series_of_today_are_one_run() -> None:
    [request] = requests(decide(RULES, state(), [], at(TUESDAY, 8)))
    assert (request.step, request.first, request.last, request.series) == ("forecast", TUESDAY, TUESDAY, SERIES)
    assert request.models == ()
    assert request.actuals
    assert request.tags()["dagster/asset_partition_range_start"] == "2021-03-09|Coffee"
    assert request.tags()["dagster/asset_partition_range_end"] == "2021-03-09|Sugar"


def test_a_series_that_has_ended_is_left_out_and_the_others_are_run_as_ever() -> None:
    three = ("Coffee", "Rubber", "Sugar")
    rules = replace(RULES, series=three, ends={"Rubber": TUESDAY - DAY})
    due = TUESDAY - DAY
    missing = {TUESDAY: EVERYTHING, due: EVERYTHING | {("Rubber", "naive", "v1.0")}}
    today = state(series=tuple(SeriesState(name, due, due - DAY, due) for name in SERIES), missing=missing)
    now = at(TUESDAY, 8)
    found = decide(rules, today, [], now)
    assert steps(found) == [
        ("forecast", due, due, three),
        ("forecast", TUESDAY, TUESDAY, ("Coffee",)),
        ("forecast", TUESDAY, TUESDAY, ("Sugar",)),
    ]
    runs = [attempt(request, "success", now) for request in requests(found)]
    assert [step for step, *_ in steps(decide(rules, replace(today, missing={}), runs, now))] == ["score"]


def test_what_the_source_has_is_ingested_first() -> None:
    pending = Pending({"Coffee": (TUESDAY - DAY, TUESDAY - DAY), "Sugar": (TUESDAY - DAY, TUESDAY - DAY)}, "s1")
    found = decide(RULES, state(pending=pending, series=late()), [], at(TUESDAY, 8))
    assert steps(found) == [("ingest", TUESDAY - DAY, TUESDAY - DAY, SERIES)]


def test_series_that_lack_different_days_are_ingested_by_runs_of_their_own() -> None:
    pending = Pending({"Coffee": (TUESDAY - 3 * DAY, TUESDAY - DAY), "Sugar": (TUESDAY - DAY, TUESDAY - DAY)}, "s1")
    assert len(decide_ingest(RULES, pending, [], at(TUESDAY, 8)).requests) == 2


def test_the_day_goes_from_ingest_over_forecast_to_score_and_ends() -> None:
    now, runs, seen = at(TUESDAY, 8), [], []
    pending = Pending(dict.fromkeys(SERIES, (TUESDAY - DAY, TUESDAY - DAY)), "s1")
    today = state(pending=pending, series=late())
    while (found := decide(RULES, today, runs, now)).requests:
        for request, _ in found.requests:
            seen.append(request.step)
            runs.append(attempt(request, "success", now))
            if request.step == "ingest":
                today = replace(today, pending=Pending(), series=state().series)
            if request.step == "forecast":
                today = replace(today, missing={})
        now += dt.timedelta(minutes=1)
    assert seen == ["ingest", "forecast", "score"]
    assert found.reason == "2021-03-09 is complete"


def test_a_running_step_is_waited_for() -> None:
    now = at(TUESDAY, 8, 5)
    [request] = requests(decide(RULES, state(), [], now))
    found = decide(RULES, state(), [attempt(request, "open")], now)
    assert not found.requests
    assert "running" in found.reason


def test_late_data_are_waited_for_until_the_deadline() -> None:
    found = decide(RULES, state(series=late()), [], at(TUESDAY, 10, 59))
    assert not found.requests
    assert found.reason.startswith("waits for late data until 11:00 PST: Coffee (close of 2021-03-08")
    assert not found.problems


def test_after_the_deadline_the_forecast_is_made_from_the_data_there_are_and_people_are_told() -> None:
    found = decide(RULES, state(series=late()), [], at(TUESDAY, 11))
    assert steps(found) == [("forecast", TUESDAY, TUESDAY, SERIES)]
    [problem] = found.problems
    assert problem.key == "late/Coffee"
    assert problem.severity == "warning"
    assert "the close of 2021-03-08 is not in the source; the newest is 2021-03-07" in problem.what


def test_beyond_the_staleness_limit_one_run_fails_with_the_reason_and_no_more() -> None:
    reason = "data of Coffee end on 2021-03-01, 7 days before the session due; at most 5 are allowed"
    old = state(series=late(days=7), hopeless={TUESDAY: {"Coffee": reason}})
    now = at(TUESDAY, 11)
    [request] = requests(decide(RULES, old, [], now))
    failed = attempt(request, "failure", now)
    # Sugar's were made by that run.
    old = replace(old, missing={TUESDAY: frozenset(pair for pair in EVERYTHING if pair[0] == "Coffee")})
    found = decide(RULES, old, [failed], now + dt.timedelta(hours=1))
    assert "forecast" not in {request.step for request in requests(found)}
    by_key = {problem.key: problem for problem in found.problems}
    assert by_key["late/Coffee"].severity == "error"
    assert by_key["missing/v1.0"].cause == reason
    assert "backfill --start-date 2021-03-09 --end-date 2021-03-09" in by_key["missing/v1.0"].mend
    assert by_key["missing/v1.0"].because == ("late/Coffee",)
    more = replace(old, missing={TUESDAY: EVERYTHING})
    runs = [failed, attempt(replace(request, series=("Sugar",)), "failure", now)] * 3
    found = decide(RULES, more, runs, at(TUESDAY, 13))
    by_key = {problem.key: problem for problem in found.problems}
    assert by_key["missing/v1.0"].because == (), "Sugar's are missing for another reason"


def test_a_forecast_that_late_data_keep_from_being_made_within_the_limit_is_told_by_itself() -> None:
    """The close before a window is late: the late data's own problem speaks of a forecast from older ones."""
    waits = {TUESDAY: {"Coffee": "no model for window 2021-03-09: waits for the close of Coffee of 2021-03-08"}}
    missing = {TUESDAY: frozenset(pair for pair in EVERYTHING if pair[0] == "Coffee")}
    untrained, now = state(series=late(days=1), hopeless=waits, missing=missing), at(TUESDAY, 11)
    runs = [attempt(request, "failure", now) for request in requests(decide(RULES, untrained, [], now))] * 3
    by_key = {one.key: one for one in decide(RULES, untrained, runs, now + dt.timedelta(hours=1)).problems}
    assert by_key["late/Coffee"].severity == "warning"
    assert (by_key["missing/v1.0"].because, by_key["missing/v1.0"].severity) == ((), "critical")


def test_the_command_for_a_missing_forecast_of_another_version_names_version_and_models() -> None:
    both = state(versions=("v1.0", "v0.9"), missing={TUESDAY: EVERYTHING | {("Coffee", "naive", "v0.9")}})
    now = at(TUESDAY, 11)
    runs = [attempt(request, "failure", now) for request in requests(decide(RULES, both, [], now))] * 3
    found = {one.key: one.mend for one in decide(RULES, both, runs, now + dt.timedelta(hours=1)).problems}
    span = "`forecast-platform backfill --start-date 2021-03-09 --end-date 2021-03-09 --train"
    assert f"{span}`" in found["missing/v1.0"]
    assert f"{span} --model-version-tag v0.9 --models naive`" in found["missing/v0.9"]


def test_a_series_that_was_added_just_now_is_not_late_while_the_source_has_its_closes() -> None:
    monday = TUESDAY - DAY
    added = (SeriesState("Coffee", monday, monday - 3 * DAY), *state().series[1:])
    pending = Pending({"Coffee": (monday - 2000 * DAY, monday)}, "s1")
    assert decide(RULES, state(series=added, pending=pending), [], at(TUESDAY, 12)).problems == []
    [problem] = decide(RULES, state(series=added), [], at(TUESDAY, 12)).problems
    assert problem.key == "late/Coffee", "the source has nothing of it"


def test_a_problem_with_late_data_stays_one_problem_over_the_night() -> None:
    """Before today's deadline the day before's is what counts: it must not be told again each day."""
    outage = late(days=4)
    night = decide(RULES, state(series=outage), [], at(TUESDAY, 3))
    assert [problem.key for problem in night.problems] == ["late/Coffee"]
    normal = decide(RULES, state(series=late(days=1)), [], at(TUESDAY, 3))
    assert not normal.problems


def test_on_a_sunday_no_new_close_is_waited_for() -> None:
    sunday, friday = dt.date(2021, 3, 7), dt.date(2021, 3, 5)
    series = tuple(SeriesState(name, friday, friday, friday) for name in SERIES)
    assert steps(decide(RULES, state(sunday, series=series), [], at(sunday, 8))) == [
        ("forecast", sunday, sunday, SERIES)
    ]


@pytest.mark.parametrize(
    "day", [dt.date(2021, 3, 13), dt.date(2021, 3, 14), dt.date(2021, 11, 6), dt.date(2021, 11, 7)]
)
def test_the_day_begins_and_ends_its_wait_by_the_clock_on_the_wall_when_clocks_change(day: dt.date) -> None:
    assert RULES.local(RULES.start(day)).time() == dt.time(8)
    assert RULES.deadline(day) - RULES.start(day) == dt.timedelta(hours=3)
    assert not decide(RULES, state(day), [], at(day, 7, 59)).requests
    assert decide(RULES, state(day), [], at(day, 8)).requests
    offset = RULES.local(RULES.start(day)).utcoffset()
    assert offset == dt.timedelta(hours=-7 if day in (dt.date(2021, 3, 14), dt.date(2021, 11, 6)) else -8)


def test_a_crashed_run_is_tried_again_after_a_wait_and_given_up_in_the_end() -> None:
    now = at(TUESDAY, 8)
    [request] = requests(decide(RULES, state(), [], now))
    runs = [attempt(request, "failure", now)]
    waiting = decide(RULES, state(), runs, now + dt.timedelta(minutes=5))
    assert "tried again at 08:10" in waiting.reason
    [(again, tried)] = decide(RULES, state(), runs, now + dt.timedelta(minutes=10)).requests
    assert again == request
    assert tried == 1
    runs += [attempt(request, "failure", now), attempt(request, "failure", now)]
    late_in_the_day = decide(RULES, state(), runs, now + dt.timedelta(hours=6))
    assert "forecast" not in {one.step for one in requests(late_in_the_day)}


def test_the_same_data_are_not_forecast_again_and_a_revised_price_is() -> None:
    now = at(TUESDAY, 9)
    [request] = requests(decide(RULES, state(), [], now))
    runs = [attempt(request, "success", now)]
    done = state(missing={})
    assert {one.step for one in requests(decide(RULES, done, runs, now))} == {"score"}
    revised = replace(done, data="d2")
    [again] = requests(decide(RULES, revised, runs, now))
    assert (again.step, again.data) == ("forecast", "d2")
    assert again.key != request.key


def test_rows_that_were_taken_away_after_a_good_run_are_made_again() -> None:
    now = at(TUESDAY, 9)
    [request] = requests(decide(RULES, state(), [], now))
    [(again, tried)] = decide(RULES, state(), [attempt(request, "success", now)], now).requests
    assert again == request
    assert tried == 1


def test_missing_days_are_caught_up_with_today_in_one_run() -> None:
    missing = {TUESDAY - n * DAY: EVERYTHING for n in range(3)}
    assert steps(decide(RULES, state(missing=missing), [], at(TUESDAY, 8))) == [
        ("forecast", TUESDAY - 2 * DAY, TUESDAY, SERIES)
    ]


def test_missing_days_whose_data_are_there_are_caught_up_while_today_waits() -> None:
    lacking = frozenset({("Sugar", "naive", "v1.0")})
    waiting = state(series=late(), missing={TUESDAY - 4 * DAY: lacking, TUESDAY: EVERYTHING})
    [request] = requests(decide(RULES, waiting, [], at(TUESDAY, 8)))
    assert (request.first, request.last) == (TUESDAY - 4 * DAY, TUESDAY - 4 * DAY)
    assert (request.series, request.models) == (("Sugar",), ("naive",))


def test_missing_days_without_data_wait_for_them() -> None:
    missing = {TUESDAY - DAY: EVERYTHING, TUESDAY: EVERYTHING}
    found = decide(
        RULES, state(missing=missing, hopeless={TUESDAY - DAY: dict.fromkeys(SERIES, "too old")}), [], at(TUESDAY, 8)
    )
    assert steps(found) == [("forecast", TUESDAY, TUESDAY, SERIES)]


def test_a_series_without_data_keeps_no_other_from_being_caught_up() -> None:
    missing = {TUESDAY - 2 * DAY: EVERYTHING, TUESDAY - DAY: EVERYTHING, TUESDAY: EVERYTHING}
    old = {day: {"Coffee": "too old"} for day in missing}
    found = decide(RULES, state(series=late(days=9), missing=missing, hopeless=old), [], at(TUESDAY, 11))
    assert [one for one in steps(found) if one[2] < TUESDAY] == [
        ("forecast", TUESDAY - 2 * DAY, TUESDAY - DAY, ("Sugar",))
    ]
    assert [(one.series, one.last) for one in requests(found)][-1] == (SERIES, TUESDAY)


def test_beside_a_series_without_data_the_others_of_today_are_tried_as_often_as_ever() -> None:
    old = state(series=late(days=9), hopeless={TUESDAY: {"Coffee": "too old"}})
    now = at(TUESDAY, 11)
    [request] = requests(decide(RULES, old, [], now))
    assert request.series == SERIES
    runs = [attempt(request, "failure", now)]
    for tried in (1, 2):
        now += dt.timedelta(minutes=45)
        found = decide(RULES, old, runs, now).requests
        assert [(one.series, one.last, number) for one, number in found] == [(("Sugar",), TUESDAY, tried)]
        runs.append(attempt(found[0][0], "failure", now))
    assert "forecast" not in {one.step for one in requests(decide(RULES, old, runs, now + dt.timedelta(hours=3)))}


def test_a_champion_of_another_version_is_forecast_with_its_own_models() -> None:
    both = state(
        versions=("v1.0", "v0.9"),
        missing={TUESDAY: EVERYTHING | {("Coffee", "naive", "v0.9")}},
        models_of={"v0.9": ("naive",)},
    )
    found = requests(decide(RULES, both, [], at(TUESDAY, 8)))
    assert [(one.version, one.models) for one in found] == [("v1.0", ()), ("v0.9", ("naive",))]
    # Two runs at a time must not write the same actuals.
    assert [one.actuals for one in found] == [True, False]


def test_a_file_being_written_is_waited_for_but_not_past_the_deadline() -> None:
    writing = state(pending=Pending(unsettled="market/coffee.csv changed less than 20 s ago"))
    assert not decide(RULES, writing, [], at(TUESDAY, 8)).requests
    assert decide(RULES, writing, [], at(TUESDAY, 11)).requests


def test_a_source_that_has_ended_needs_no_day() -> None:
    ended = replace(RULES, end_date=dt.date(2019, 1, 4))
    assert "ended" in decide(ended, state(), [], at(TUESDAY, 8)).reason


def test_what_is_missing_is_not_told_while_work_on_it_goes_on() -> None:
    yesterday = {TUESDAY - DAY: EVERYTHING, TUESDAY: EVERYTHING}
    found = decide(RULES, state(missing=yesterday), [], at(TUESDAY, 8))
    assert not found.problems
    assert found.keep == {"missing/v1.0"}


NEW_YEAR = dt.date(2022, 1, 1)
LACKING = {"v1.0": EVERYTHING}


def window(**waits: str) -> WindowState:
    return WindowState(NEW_YEAR, LACKING, waits, "w1")


def test_at_midnight_of_new_year_training_waits_for_the_last_session() -> None:
    waits = {name: f"waits for the close of {name} of 2021-12-31" for name in SERIES}
    found = decide_training(RULES, [window(**waits)], [], at(NEW_YEAR, 0))
    assert not found.requests
    assert "waits for the close of Coffee of 2021-12-31" in found.reason


def test_a_window_is_trained_in_one_run_once_its_last_session_is_there() -> None:
    [request] = requests(decide_training(RULES, [window()], [], at(NEW_YEAR, 5)))
    assert (request.step, request.first, request.last, request.series) == ("train", NEW_YEAR, NEW_YEAR, SERIES)
    assert request.models == ("naive", "xgboost")


def test_a_series_whose_data_are_there_is_not_held_up_by_another() -> None:
    [request] = requests(decide_training(RULES, [window(Coffee="waits")], [], at(NEW_YEAR, 5)))
    assert request.series == ("Sugar",)


def test_the_newest_window_is_trained_first() -> None:
    older = WindowState(dt.date(2021, 7, 1), LACKING, {}, "w0")
    found = requests(decide_training(RULES, [older, window()], [], at(NEW_YEAR, 5)))
    assert [one.first for one in found] == [NEW_YEAR, dt.date(2021, 7, 1)]


def test_the_forecast_waits_for_training_under_way_until_the_deadline() -> None:
    word = training_underway(RULES, [window()], [], at(NEW_YEAR, 8))
    assert word
    waiting = state(NEW_YEAR, training=word)
    assert not decide(RULES, waiting, [], at(NEW_YEAR, 8)).requests
    assert decide(RULES, waiting, [], at(NEW_YEAR, 11)).requests


def test_a_model_that_cannot_be_trained_does_not_hold_up_the_others() -> None:
    now = at(NEW_YEAR, 8)
    [request] = requests(decide_training(RULES, [window()], [], now))
    runs = [attempt(request, "failure", now)] * 3
    assert training_underway(RULES, [window()], runs, now + dt.timedelta(hours=1)) == ""
    assert "given up" in decide_training(RULES, [window()], runs, now + dt.timedelta(hours=1)).reason
