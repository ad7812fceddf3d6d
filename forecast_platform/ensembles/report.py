"""The report of a workflow: its tasks and their times, leaderboards, routes, weights, importances, calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.bundles import Fitted
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.packaging import best_end, predictor_of
from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.store import State
from forecast_platform.pages import page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.index import write_index

_IMPORTANCE_ROWS, _FEWEST_IMPORTANCE_ROWS, _IMPORTANCE_BATCH = 400, 100, 6_000
"""Held-out rows that features are shuffled among; at least so many, where the features are many; predicted at once."""
_SHOWN_FEATURES = 20
_BINS = 10
_COLOURS = {"finished": page.GOOD, "failed": page.BAD, "running": page.WARN, "waiting": page.EMPTY}


def report_path(run: Run) -> Path:
    """Where a workflow's page is."""
    return run.platform.settings.reports / _file_name(run)


def _file_name(run: Run) -> str:
    return page.file_name("ensemble", run.workflow.context.name)


def write_report(run: Run, outcomes: Mapping[str, Outcome], known: dict[tuple[str, int], Fitted]) -> Path:
    """Write the page of a workflow among the reports; returns its path.

    known: fits that were loaded before, by key and split. Raises OSError, and PackageError where the workflow ends in
    routes alone.
    """
    context = run.workflow.context
    end = best_end(run, outcomes)
    scorers = run.rows.scorers(context)
    primary = scorers[0]
    best = _best_single(outcomes, primary)
    figures = [
        (f"{end.scores[primary.label]:.4g}", f"{primary.label}, {end.task} (what is deployed)"),
        (f"{best['scores'][primary.label]:.4g}", f"{primary.label}, best single model: {best['name']}"),
        (f"{len(run.rows.y):,}", "rows"),
        (f"{len(run.rows.features.columns)}", "features"),
    ]
    verdicts = [one for one in outcomes.values() if one.unrouted is not None]
    banners = [
        page.banner(f"{one.task}:", one.verdict)
        for one in verdicts
        if one.unrouted is not None and one.unrouted["gain"] < 0
    ]
    states = run.states.read()
    content = [
        page.cards(figures),
        *banners,
        _tasks(run, outcomes, states),
        _ends(outcomes, [one.label for one in scorers], best, primary.label),
        _boards(outcomes, [one.label for one in scorers], primary.label),
        _routes(outcomes),
        _importance(run, outcomes, end, known),
        _calibration(run, end),
        _notes(run, outcomes),
    ]
    settings = run.platform.settings
    path = page.write_page(
        settings.reports,
        _file_name(run),
        title=f"Ensemble {context.name}",
        subtitle=f"{'.'.join(context.source.place)}, target {context.source.target}; folds: {run.folds['folds'].kind}",
        content=content,
        about={"kind": "ensemble", "workflow": context.name},
        zone=settings.timezone,
    )
    write_index(settings.reports, settings.timezone)
    return path


def _best_single(outcomes: Mapping[str, Outcome], primary: Any) -> dict[str, Any]:
    singles = [row for one in outcomes.values() for row in one.members if "scores" in row]
    order = primary.best_first([row["scores"][primary.label] for row in singles])
    return singles[order[0]]


def _tasks(run: Run, outcomes: Mapping[str, Outcome], states: Mapping[str, State]) -> str:
    levels = run.plan.levels
    figure = Figure(layout={"showlegend": False, "margin": {"l": 10, "r": 10, "t": 10, "b": 10}})
    place = {}
    for x, names in enumerate(levels):
        for number, name in enumerate(names):
            place[name] = (x, -(number - (len(names) - 1) / 2))
    for name, needs in run.plan.needs.items():
        for other in needs:
            line = {"color": page.MUTED, "width": 1.2}
            xs, ys = zip(place[other], place[name], strict=True)
            figure.add_scatter(x=list(xs), y=list(ys), mode="lines", line=line, hoverinfo="skip")
    state_of = {name: states[name].state if name in states else "waiting" for name in place}
    seconds = {name: outcomes[name].seconds if name in outcomes else float("nan") for name in place}
    figure.add_scatter(
        x=[place[name][0] for name in place],
        y=[place[name][1] for name in place],
        mode="markers+text",
        marker={"size": 26, "color": [_COLOURS[state_of[name]] for name in place]},
        text=[f"{name}<br>{_number(seconds[name], '.1f')} s" for name in place],
        textposition="bottom center",
        hoverinfo="text",
    )
    figure.layout |= {
        "xaxis": {"visible": False, "range": [-0.6, len(levels) - 0.4]},
        "yaxis": {"visible": False, "range": [-max(map(len, levels)) / 2 - 0.7, max(map(len, levels)) / 2 + 0.2]},
    }
    columns = {"Task": "", "Type": "", "State": "", "Seconds": "number", "Processor s": "number", "Fits": "number"}
    rows = [
        [name, run.workflow.task(name).task, state_of[name], _number(seconds[name], ".1f"),
         _number(outcomes[name].cpu_seconds if name in outcomes else math.nan, ".1f"),
         outcomes[name].fits if name in outcomes else ""]
        for name in run.plan.order
    ]  # fmt: skip
    return page.section(
        "Tasks",
        page.plot(figure, "tasks", 130 + 70 * max(map(len, levels))),
        page.table(columns, rows),
        note="A fit is one base model on one split; tasks that need the same one share it, so later tasks fit few.",
    )


def _ends(outcomes: Mapping[str, Outcome], labels: Sequence[str], best: dict[str, Any], primary: str) -> str:
    columns = {"Model": "", **dict.fromkeys(labels, "number"), f"95 % interval of {primary}": "number"}
    columns |= {"Better than its best model by": "number"}
    rows = []
    for one in outcomes.values():
        if one.node is not None:
            scores = [_number(one.scores[label]) for label in labels]
            rows.append([one.task, *scores, _pair(one.intervals[primary]), _gain(one)])
    scores = [_number(best["scores"][label]) for label in labels]
    rows.append([f"best single: {best['name']}", *scores, _pair(best["interval"]), ""])
    return page.section(
        "Ensembles against the best single model",
        page.table(columns, rows, {len(rows) - 1: "reference"}),
        note="Every score is of rows that neither the base models nor the combination were fitted on. The best single "
        "model was chosen on these rows, which flatters it. Intervals are delete-a-group jackknife over 20 blocks; "
        "that of a difference is of both on the same rows, and where it holds zero neither is surely better.",
    )


def _gain(one: Outcome) -> str:
    """How much better a task is than the best of its models, with the interval of the difference."""
    if one.against_best is None:
        return ""
    found = one.against_best
    return f"{_number(found['gain'], '+.3g')} ({_pair(found['interval'])}), {found['name']}"


def _boards(outcomes: Mapping[str, Outcome], labels: Sequence[str], primary: str) -> str:
    found = []
    for one in outcomes.values():
        if not one.members:
            continue
        columns = {"Model": "", "Algorithm": "", **dict.fromkeys(labels, "number")}
        columns |= {f"95 % of {primary}": "number", "Chosen": "", "Weight": "number", "Fit s": "number"}
        rows = [
            [row["name"], row["algorithm"], *(_number(row["scores"][label]) for label in labels),
             _pair(row["interval"]), "yes" if row["chosen"] else "",
             _weight(row), _number(row["seconds"], ".1f")]
            for row in one.members
        ]  # fmt: skip
        found.append(page.Html(f"<h3>{page.escape(one.task)}</h3>") + page.table(columns, rows))
    return page.section("Base models by task", *found) if found else ""


def _weight(row: Mapping[str, Any]) -> str:
    """A member's weight; where each route has its own, one a route."""
    if row.get("by_route"):
        return ", ".join(f"{cell}: {_number(weight, '.3f')}" for cell, weight in row["by_route"].items())
    return _number(math.nan if row["weight"] is None else row["weight"], ".3f")


def _routes(outcomes: Mapping[str, Outcome]) -> str:
    routes = [one for one in outcomes.values() if one.cells is not None]
    if not routes:
        return ""
    rows = [[one.task, number, f"{size:,}"] for one in routes for number, size in enumerate(one.sizes)]
    compared = [one for one in outcomes.values() if one.unrouted is not None]
    said = []
    for one in compared:
        kind = "good" if one.unrouted is not None and one.unrouted["gain"] > 0 else "bad"
        said.append(f'<li class="{kind}">{page.escape(f"{one.task}: {one.verdict}")}</li>')
    return page.section(
        "Routes",
        page.Html(f"<ul>{''.join(said)}</ul>"),
        page.table({"Route": "", "Part": "number", "Rows": "number"}, rows),
        note="Routed and unrouted are compared on the same folds; gain is positive where routing is better.",
    )


def importance(
    run: Run, outcomes: Mapping[str, Outcome], end: Outcome, known: dict[tuple[str, int], Fitted]
) -> list[tuple[str, float]]:
    """By feature how much the primary metric, in its unit, loses where it is shuffled among held-out rows of the first
    split, most first (Breiman 2001), by that split's own models.

    known: fits that were loaded before, by key and split. Raises PackageError and FoldError as `predictor_of`.
    """
    import pandas as pd

    assert end.node is not None  # noqa: S101 - of a model
    predictor = predictor_of(run, outcomes, known)
    scorer = run.rows.scorers(run.workflow.context)[0]
    number = next(i for i, one in enumerate(run.folds["folds"].splits) if len(one.valid))
    rng = np.random.default_rng(run.workflow.context.seed)
    held = run.folds["folds"].splits[number].valid
    shown = max(_FEWEST_IMPORTANCE_ROWS, _IMPORTANCE_BATCH // len(run.rows.features.columns))
    held = np.sort(rng.permutation(held)[: min(_IMPORTANCE_ROWS, shown)])
    features, y = run.rows.features.iloc[held].reset_index(drop=True), run.rows.y[held]
    base: NDArray[np.float64] | None = None
    found = []
    # Many features at once: models predict a long table in little more time than a short one. A row that drew its own
    # value back is predicted as it was.
    for names in _parts(list(features.columns), max(1, _IMPORTANCE_BATCH // len(held))):
        drawn = {name: features[name].to_numpy()[rng.permutation(len(held))] for name in names}
        moved = {name: _moved(features[name].to_numpy(), values) for name, values in drawn.items()}
        taken = [*([] if base is not None else [np.arange(len(held))]), *moved.values()]
        ends = np.cumsum([len(one) for one in taken])
        places = np.concatenate(taken)
        columns = {name: features[name].to_numpy()[places] for name in features.columns}
        for (name, rows), end_of in zip(moved.items(), ends[-len(moved) :], strict=True):
            columns[name][end_of - len(rows) : end_of] = drawn[name][rows]
        made = np.zeros((0, 1))
        if len(places):
            made = predictor.predict(end.node, pd.DataFrame(columns, copy=False), number)
        parts = np.split(made, ends[:-1])
        if base is None:
            base, *parts = parts
            whole = scorer(y, base)
        for (name, rows), part in zip(moved.items(), parts, strict=True):
            predicted = base.copy()
            predicted[rows] = part
            found.append((name, scorer.gain(whole, scorer(y, predicted))))
    return sorted(found, key=lambda one: -one[1])


def _moved(values: NDArray[Any], drawn: NDArray[Any]) -> NDArray[np.int64]:
    """Rows that have drawn another value than their own, which may be a missing one."""
    import pandas as pd

    return np.flatnonzero((drawn != values) & ~(pd.isna(drawn) & pd.isna(values)))


def _parts(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _importance(run: Run, outcomes: Mapping[str, Outcome], end: Outcome, known: dict[tuple[str, int], Fitted]) -> str:
    found = importance(run, outcomes, end, known)[:_SHOWN_FEATURES][::-1]
    figure = Figure(layout={"margin": {"l": 160, "r": 16, "t": 10, "b": 40}})
    figure.add_bar(
        x=[value for _, value in found], y=[name for name, _ in found], orientation="h", marker={"color": page.ACCENT}
    )
    label = run.rows.scorers(run.workflow.context)[0].label
    return page.section(
        "Feature importance",
        page.plot(figure, "importance", 60 + 22 * len(found)),
        note=f"What {label} loses where a feature is shuffled among up to {_IMPORTANCE_ROWS} held-out rows, predicted "
        "by models that have not seen them. Features that say the same share it.",
    )


def reliability(y: NDArray[Any], predicted: NDArray[np.float64], code: int) -> list[tuple[float, float, int]]:
    """Of a class' probabilities in ten equal-sized bins: mean probability, share that is of the class, rows. y: class
    codes [n]; predicted: probabilities by class, [n, classes]."""
    order = np.argsort(predicted[:, code], kind="stable")
    found = []
    for part in np.array_split(order, _BINS):
        if len(part):
            found.append((float(predicted[part, code].mean()), float((y[part] == code).mean()), len(part)))
    return found


def _calibration(run: Run, end: Outcome) -> str:
    assert end.predicted is not None  # noqa: S101 - of a model
    known = np.flatnonzero(np.isfinite(end.predicted).all(axis=1))
    y, predicted = run.rows.y[known], end.predicted[known]
    figure = Figure(layout={"margin": {"l": 60, "r": 16, "t": 10, "b": 50}})
    if run.rows.classes is None:
        shown = known[:: max(1, len(known) // 2000)]
        x = end.predicted[shown, 0]
        figure.add_scatter(
            x=x, y=run.rows.y[shown], mode="markers", marker={"size": 4, "color": page.ACCENT, "opacity": 0.4}
        )
        ends = [float(x.min()), float(x.max())]
        title = {"xaxis": {"title": {"text": "predicted"}}, "yaxis": {"title": {"text": "actual"}}}
    else:
        codes = [1] if run.rows.n_classes == 2 else list(range(run.rows.n_classes))
        for code in codes:
            points = reliability(y, predicted, code)
            figure.add_scatter(
                x=[one[0] for one in points], y=[one[1] for one in points], mode="lines+markers",
                name=str(run.rows.classes[code]),
            )  # fmt: skip
        ends = [0.0, 1.0]
        title = {"xaxis": {"title": {"text": "probability"}}, "yaxis": {"title": {"text": "share that is so"}}}
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"dash": "dash", "color": page.INK}, name="exact")
    figure.layout |= title
    return page.section(
        "Calibration",
        page.plot(figure, "calibration", 380),
        note=f"Of {end.task}, on rows that were not fitted on: along the dashed line probabilities hold what they say.",
    )


def _notes(run: Run, outcomes: Mapping[str, Outcome]) -> str:
    notes = [*run.rows.notes, *(f"{one.task}: {note}" for one in outcomes.values() for note in one.notes)]
    if not notes:
        return ""
    return page.section("Notes", page.Html("<ul>" + "".join(f"<li>{page.escape(one)}</li>" for one in notes) + "</ul>"))


def _pair(pair: Sequence[float]) -> str:
    return f"{_number(pair[0])} to {_number(pair[1])}"


def _number(value: float, form: str = ".4g") -> str:
    return "–" if math.isnan(value) else f"{value + 0.0:{form}}"  # no -0
