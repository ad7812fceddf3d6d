"""The day as a state machine: from the time, the tables and the runs to what is requested next, or why nothing is.

Pure: no Dagster, no clock, no I/O. `observe.py` gathers the state, `sensors.py` turns decisions into runs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace

from forecast_platform.graph.automation.day_state import DayState, Decision, Pending, Rules
from forecast_platform.graph.automation.messages import Problem
from forecast_platform.graph.automation.requests import Attempt, Request, neighbours
from forecast_platform.work.results import ranges, ranges_text


def ingest_requests(rules: Rules, pending: Pending) -> list[Request]:
    """One run for neighbouring series of a group that lack the same days."""
    by_days: dict[tuple[dt.date, dt.date], list[str]] = {}
    for name, days in pending.days.items():
        by_days.setdefault(days, []).append(name)
    return [
        Request("ingest", first, last, segment, pending.source, group=part.group)
        for (first, last), names in sorted(by_days.items())
        for part in rules.parts()
        for segment in neighbours(part.series, names)
    ]


def decide_ingest(rules: Rules, pending: Pending, attempts: Sequence[Attempt], now: dt.datetime) -> Decision:
    """Materialize the days that the source has and unified_data has not."""
    if pending.unsettled:
        return Decision(reason=pending.unsettled)
    wanted = ingest_requests(rules, pending)
    nothing = Decision(reason="unified_data holds all of the source")
    return judged(rules, wanted, attempts, now, missing=True) if wanted else nothing


def decide(rules: Rules, state: DayState, attempts: Sequence[Attempt], now: dt.datetime) -> Decision:
    """The next step of each group's day: ingest, then wait for late data and models, then forecast, then score.

    No group waits for another's data. What is late or missing is told of all of them together.
    """
    today = state.today
    if rules.end_date is not None and today > rules.end_date:
        return Decision(reason=f"the source has ended (end_date {rules.end_date}): there is nothing to run daily")
    found, reasons, settled = Decision(), dict[str, list[str]](), set[str]()
    for part in rules.parts():
        own, tried = state.part(part), concerning(attempts, part.series)
        step = _next_step(part, own, tried, now)
        found.requests += step.requests
        if step.reason:
            reasons.setdefault(step.reason, []).append(part.group)
        if now >= rules.start(today) and not _underway(own, tried, step):
            settled.update(part.series)
    found.reason = _told(reasons, len(rules.parts()))
    found.problems += _late_problems(rules, state, now)
    if len(settled) < len(rules.series):
        found.keep = {_missing_key(version) for version in state.versions}
    judgeable = replace(
        state,
        missing={day: {pair for pair in pairs if pair[0] in settled} for day, pairs in state.missing.items()},
    )
    found.problems += _missing_problems(rules, judgeable, now)
    return found


def concerning(attempts: Sequence[Attempt], series: Sequence[str]) -> list[Attempt]:
    """The attempts at any of these series."""
    names = set(series)
    return [attempt for attempt in attempts if not names.isdisjoint(attempt.series)]


def _underway(state: DayState, attempts: Sequence[Attempt], step: Decision) -> bool:
    """Whether work that may end what is missing is running, requested or on its way."""
    mending = ("ingest", "train", "forecast")
    return (
        bool(state.training)
        or any(attempt.step in mending and attempt.status == "open" for attempt in attempts)
        or any(request.step in mending for request, _ in step.requests)
    )


def _told(reasons: Mapping[str, Sequence[str]], parts: int) -> str:
    """The reasons, each with the groups it is that of unless it is that of all."""
    return "; ".join(
        reason if len(groups) == parts else f"{', '.join(name or 'no group' for name in groups)}: {reason}"
        for reason, groups in reasons.items()
    )


def _next_step(rules: Rules, state: DayState, attempts: Sequence[Attempt], now: dt.datetime) -> Decision:
    if now < rules.start(state.today):
        return Decision(reason=f"the day is run from {rules.daily_time:%H:%M} ({rules.zone.key})")
    expired = now >= rules.deadline(state.today)
    ingest = decide_ingest(rules, state.pending, attempts, now)
    if ingest.requests:
        return ingest
    if any(attempt.step == "ingest" and attempt.status == "open" for attempt in attempts):
        return Decision(reason="ingest is running")
    if state.pending.unsettled and not expired:
        return Decision(reason=state.pending.unsettled)
    waiting = _waiting(rules, state, expired)
    return _forecast(rules, state, attempts, now, waiting)


def _waiting(rules: Rules, state: DayState, expired: bool) -> str:
    if expired:
        return ""
    late = [series for series in state.series if series.late]
    until = f"until {rules.local(rules.deadline(state.today)):%H:%M %Z}"
    if late:
        names = ", ".join(f"{one.name} (close of {one.due}; newest {one.last_observed})" for one in late)
        return f"waits for late data {until}: {names}"
    return f"waits for training {until}: {state.training}" if state.training else ""


def _forecast(rules: Rules, state: DayState, attempts: Sequence[Attempt], now: dt.datetime, waiting: str) -> Decision:
    """Forecast what is missing, and today unless it is waited for; then score."""
    decision = Decision()
    reasons = [waiting] if waiting else []
    for version in state.versions:
        with_today = not waiting and not _finished_for_today(rules, state, version, attempts)
        for wanted, most in _wanted(rules, state, version, attempts, with_today):
            part = judged(rules, wanted, attempts, now, most, missing=True)
            decision.requests += part.requests
            reasons += [part.reason] if part.reason else []
            for alone, tried in _not_begun(rules, state, version, wanted, attempts):
                decision.requests += judged(rules, [alone], tried, now, 1, missing=True).requests
    running = any(attempt.step == "forecast" and attempt.status == "open" for attempt in attempts)
    if decision.requests or running or waiting:
        decision.reason = "; ".join(reasons) or "the forecast is running"
        return decision
    score = _score(rules, state, attempts, now)
    score.reason = "; ".join([*reasons, *([score.reason] if score.reason else [])])
    return score


def _wanted(
    rules: Rules, state: DayState, version: str, attempts: Sequence[Attempt], with_today: bool
) -> Iterator[tuple[list[Request], int]]:
    """Forecasts to request of a version, and how often they may be tried (0: as the rules say).

    A date and series whose data are too old was tried on its own day; until newer data come, a run could only fail
    again. It keeps no other series from being caught up.
    """
    today, dates = state.today, dict[frozenset[str], set[dt.date]]()
    for day, pairs in state.missing.items():
        blocked = rules.ended(day).union(state.hopeless.get(day, ()))
        if day != today and any(owner == version and series not in blocked for series, _, owner in pairs):
            dates.setdefault(blocked, set()).add(day)
    ended = rules.ended(today)
    if with_today and today not in state.hopeless:
        dates.setdefault(ended, set()).add(today)
    for blocked, days in sorted(dates.items(), key=lambda item: min(item[1])):
        yield [one for span in ranges(days) for one in _forecast_requests(rules, state, version, *span, blocked)], 0
    if with_today and today in state.hopeless:
        everything = _forecast_requests(rules, state, version, today, today, ended)
        yield everything, 1
        if all(_tried(request, attempts) for request in everything):
            # It has said what is wrong with the one; the others may have failed for what passes.
            yield _forecast_requests(rules, state, version, today, today, ended.union(state.hopeless[today])), 0


def _not_begun(
    rules: Rules, state: DayState, version: str, wanted: Sequence[Request], attempts: Sequence[Attempt]
) -> Iterator[tuple[Request, list[Attempt]]]:
    """Of requests whose run failed, what is missing of models that are made of others, to be made by a run of theirs
    alone, with the attempts at that; where that fails, those that are made of these, and so on.

    Where a step fails for one series, Dagster begins none that stands below it, for no series: not for those whose
    members are all there, nor for a model that goes on without one.
    """
    for request in wanted:
        mine = [attempt for attempt in attempts if attempt.covers(request)]
        for depth in sorted(set(rules.combined.values())):
            if not mine or mine[-1].status != "failure" or any(attempt.status == "open" for attempt in mine):
                break
            left = {
                model
                for day, pairs in state.missing.items()
                for series, model, owner in pairs
                if request.first <= day <= request.last
                and series in request.series
                and owner == version
                and rules.combined.get(model, 0) >= depth
            }
            if not left or (request.models and left >= set(request.models)):
                break
            alone = replace(request, models=tuple(sorted(left)), actuals=False)
            mine = [
                attempt
                for attempt in attempts
                if attempt.covers(alone)
                and attempt.models
                and all(rules.combined.get(model, 0) >= depth for model in attempt.models)
            ]
            yield alone, mine


def _tried(request: Request, attempts: Sequence[Attempt]) -> bool:
    return any(attempt.covers(request) and attempt.status != "open" for attempt in attempts)


def _finished_for_today(rules: Rules, state: DayState, version: str, attempts: Sequence[Attempt]) -> bool:
    """Whether today has been forecast from the data there are now: nothing is missing, and a run over them ended."""
    if any(pair[2] == version for pair in state.missing.get(state.today, ())):
        return False
    requests = _forecast_requests(rules, state, version, state.today, state.today, rules.ended(state.today))
    return all(_tried(request, attempts) for request in requests)


def _forecast_requests(
    rules: Rules, state: DayState, version: str, first: dt.date, last: dt.date, blocked: Set[str] = frozenset()
) -> list[Request]:
    """The range first..last: all models and series where it holds today and only series that have ended are `blocked`,
    else those that something is missing of; in either case without `blocked` series."""
    data, actuals = state.data, version == state.versions[0]
    if first <= state.today <= last and blocked <= rules.ended(state.today):
        models = state.models_of.get(version, ())
        return [
            Request("forecast", first, last, segment, data, version, models, actuals, rules.group)
            for segment in neighbours(rules.series, set(rules.series) - blocked)
        ]
    pairs = {pair for day, found in state.missing.items() if first <= day <= last for pair in found}
    chosen = {series for series, _, owner in pairs if owner == version} - blocked
    models = tuple(sorted({model for series, model, owner in pairs if owner == version and series in chosen}))
    found = []
    for segment in neighbours(rules.series, [name for name in rules.series if name not in blocked]):
        places = [place for place, name in enumerate(segment) if name in chosen]
        if places:
            together = segment[places[0] : places[-1] + 1]
            found.append(Request("forecast", first, last, together, data, version, models, actuals, rules.group))
    return found


def _score(rules: Rules, state: DayState, attempts: Sequence[Attempt], now: dt.datetime) -> Decision:
    """The metadata of every window that gained actuals."""
    first, last = state.score_windows
    scores = [
        Request("score", first, last, rules.series, _score_data(state, version), version, group=rules.group)
        for version in state.versions
    ]
    found = judged(rules, scores, attempts, now)
    return found if found.requests or found.reason else Decision(reason=f"{state.today} is complete")


def _score_data(state: DayState, version: str) -> str:
    """Scores depend on the data and on which forecasts there are: one that was caught up is scored as well."""
    there = sorted(day for day, pairs in state.missing.items() if any(pair[2] == version for pair in pairs))
    return f"{state.data}-{len(there)}" if there else state.data


def judged(
    rules: Rules,
    wanted: Sequence[Request],
    attempts: Sequence[Attempt],
    now: dt.datetime,
    most: int = 0,
    *,
    missing: bool = False,
) -> Decision:
    """Which of the wanted runs to start now, and what the others wait for."""
    decision = Decision()
    reasons = []
    for request in wanted:
        found = rules.judge(request, attempts, now, most, missing)
        span = f"{request.step} {request.first} to {request.last}"
        if found.state == "new":
            decision.requests.append((request, found.tried))
        elif found.state == "open":
            reasons.append(f"{span} is running")
        elif found.state == "waiting" and found.retry_at is not None:
            reasons.append(f"{span} failed and is tried again at {rules.local(found.retry_at):%H:%M %Z}")
        elif found.state == "given up":
            reasons.append(f"{span} failed {found.tried} times and is given up until the data change")
    decision.reason = "; ".join(reasons)
    return decision


def _late_problems(rules: Rules, state: DayState, now: dt.datetime) -> Iterator[Problem]:
    """Series that lack the close which the last deadline that has passed was for: open until the close is there."""
    expired = now >= rules.deadline(state.today)
    day = state.today if expired else state.today - dt.timedelta(days=1)
    for series in state.series:
        due = series.due if expired else series.due_yesterday
        if series.last_observed is not None and series.last_observed >= due:
            continue
        if series.name in state.pending.days and state.pending.days[series.name][1] >= due:
            # The source has it, as it has all of a series that was added just now: what keeps it from being ingested
            # is told by the run that fails.
            continue
        stale = None if series.last_observed is None else (due - series.last_observed).days
        allowed = stale is not None and stale <= rules.max_staleness_days
        yield Problem(
            key=_late_key(series.name),
            what=f"{series.name}: the close of {due} is not in the source; the newest is {series.last_observed}",
            since=f"{rules.local(rules.deadline(day)):%Y-%m-%d %H:%M %Z}",
            affected=f"forecasts of {day} are made from data to {series.last_observed}, which is noted on each "
            f"(staleness_days {stale})"
            if allowed
            else f"no forecast of {series.name} is made while the newest close is older than max_staleness_days "
            f"({rules.max_staleness_days})",
            cause="the newest prices have not arrived",
            mend="look at what delivers the landing files; when the close is there, it is read, and what is missing "
            "is forecast by itself",
            severity="warning" if allowed else "error",
            link=f"{rules.ui_url}/automation" if rules.ui_url else "",
        )


def _late_key(series: str) -> str:
    return f"late/{series}"


def _missing_key(version: str) -> str:
    return f"missing/{version}"


def _missing_problems(rules: Rules, state: DayState, now: dt.datetime) -> Iterator[Problem]:
    """One problem a version: dates without a forecast after their deadline."""
    for version in state.versions:
        late = {
            day: {(series, model) for series, model, owner in pairs if owner == version}
            for day, pairs in state.missing.items()
            if now >= rules.deadline(day)
        }
        late = {day: found for day, found in late.items() if found}
        if not late:
            continue
        everything = set[tuple[str, str]]().union(*late.values())
        names = sorted(f"{series}/{model}" for series, model in everything)
        found = ((state.hopeless.get(day, {}), {series for series, _ in pairs}) for day, pairs in late.items())
        reasons = sorted({why[series] for why, lacking in found for series in lacking & why.keys()})
        lacking_all = {series for pairs in late.values() for series, _ in pairs}
        hopeless = {series for day in late for series in state.hopeless.get(day, {})}
        # Of these the late data's own problem says that no forecast is made.
        most = rules.max_staleness_days
        too_late = {one.name for one in state.series if one.staleness is None or one.staleness > most}
        first, last = min(late), max(late)
        models = " ".join(sorted({model for _, model in everything}))
        tag = "" if version == state.versions[0] else f" --model-version-tag {version} --models {models}"
        yield Problem(
            key=_missing_key(version),
            what=f"no {version} forecast of {ranges_text(late)}",
            since=f"{rules.local(rules.deadline(first)):%Y-%m-%d %H:%M %Z}",
            affected=", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else ""),
            cause="; ".join(reasons) or "the runs that should have made them failed, or did not start",
            mend="newer data are forecast by themselves; by hand: `forecast-platform backfill --start-date "
            f"{first} --end-date {last} --train{tag}`",
            severity="critical",
            link=f"{rules.ui_url}/automation" if rules.ui_url else "",
            # Where nothing lacks but what late data keep from being made, the late data are the problem.
            because=tuple(map(_late_key, sorted(lacking_all))) if lacking_all <= (hopeless & too_late) else (),
        )
