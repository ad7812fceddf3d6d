"""Which model the reader follows: versions compared, promotions and rollbacks, mirrored as MLflow's alias."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.models import registry
from forecast_platform.read.tables import FIRST_CHOICE
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import Where, revise
from forecast_platform.warehouse.schemas import CHAMPIONS, POINT_FORECASTS, TRAINED_MODELS
from forecast_platform.work.coverage import expected_dates
from forecast_platform.work.fits import account
from forecast_platform.work.platform import NoDataError, Platform

if TYPE_CHECKING:
    import pandas as pd

ALIAS = "champion"
ROLLBACK = "rollback from "
"""How `why` of a rollback's row begins; the rest names what was left, and the reason."""

DECISIVE_SHARE, DECISIVE_P, DECISIVE_DATES = 0.01, 0.05, 60
"""What a challenger must show to be promoted by itself: CRPS lower by 1 % at p < 0.05 over 60 distinct last closes; of
several, each at that level divided by their number (Bonferroni)."""


CHOICE_DAYS = 5 * 365
"""Days up to the newest scored forecast by which the first champion of a series is chosen."""


class ChampionError(ValueError):
    """The decision cannot be carried out; nothing was written."""


@dataclass(frozen=True)
class Champion:
    """One decision, as in the table."""

    series: str
    model: str
    version: str
    valid_from: dt.datetime
    by: str
    why: str

    @property
    def is_rollback(self) -> bool:
        """Whether this row went back to an earlier champion."""
        return self.why.startswith(ROLLBACK)


@dataclass(frozen=True)
class Duel:
    """Two forecasters on the dates that both have, each last known close once; A against B. CRPS over the horizon in
    the price's unit; coverage of the 80 % band and p in 0..1."""

    n_dates: int
    crps_a: float
    crps_b: float
    p_value: float
    coverage_a: float
    coverage_b: float

    @property
    def gain(self) -> float:
        """Share of A's CRPS that B saves; negative where B is worse."""
        return 1 - self.crps_b / self.crps_a if self.crps_a > 0 else float("nan")

    @property
    def sure(self) -> bool:
        """Whether the difference is one at p < 0.05."""
        return bool(self.p_value < DECISIVE_P)

    def verdict(self, name_a: str, name_b: str) -> str:
        """Which is better, by how much, how sure."""
        if self.n_dates == 0:
            return f"{name_a} and {name_b} have no scored date in common"
        better, worse, share = (name_b, name_a, self.gain) if self.gain > 0 else (name_a, name_b, -self.gain)
        if self.crps_a == self.crps_b:
            return f"{name_a} and {name_b} are the same"
        how = "a clear difference" if self.sure else "not enough to tell them apart"
        p = "p unknown: too few dates" if np.isnan(self.p_value) else f"p = {self.p_value:.3f}"
        return f"{better} is better than {worse} by {100 * share:.2f} % of CRPS over {self.n_dates} dates, {p}: {how}"


def duel(metadata: pd.DataFrame, a: tuple[str, str], b: tuple[str, str], suffix: str | None = None) -> Duel:
    """Compare (model, version) `a` with `b` over a span (None: the whole horizon) on the dates both were scored on.

    metadata: forecast_metadata rows of one series. Diebold and Mariano (1995), two-sided, with HAC variance to the
    overlap of neighbouring forecasts and the Harvey correction; coverage is that of the 80 % band.
    """
    from forecast_platform.forecasting import horizon
    from forecast_platform.forecasting.metrics import diebold_mariano
    from forecast_platform.pages.scores import ModelKey, counted, horizon_of, overlap, scored

    suffix = suffix or horizon.suffix(horizon_of(metadata))
    groups = scored(metadata, suffix) if len(metadata) else {}
    rows = [groups.get(ModelKey(*key)) for key in (a, b)]
    if rows[0] is None or rows[1] is None:
        return Duel(0, np.nan, np.nan, np.nan, np.nan, np.nan)
    common = np.intersect1d(rows[0]["forecast_date"].to_numpy(), rows[1]["forecast_date"].to_numpy())
    first, second = (frame[frame["forecast_date"].isin(common)] for frame in rows if frame is not None)
    keep = counted(first)
    if not keep.any():
        return Duel(0, np.nan, np.nan, np.nan, np.nan, np.nan)
    losses = [frame[f"crps_{suffix}"].to_numpy(np.float64)[keep] for frame in (first, second)]
    coverage = [float(frame[f"coverage_80_{suffix}"].to_numpy(np.float64)[keep].mean()) for frame in (first, second)]
    p = diebold_mariano(losses[0], losses[1], overlap(suffix)).p_value
    return Duel(int(keep.sum()), float(losses[0].mean()), float(losses[1].mean()), p, *coverage)


def decisions(platform: Platform, series: str) -> list[Champion]:
    """Every decision on a series, oldest first."""
    return _decisions(platform, [series])[series]


def _decisions(platform: Platform, series: Sequence[str]) -> dict[str, list[Champion]]:
    """The decisions on each series, oldest first, from one look at the table."""
    found: dict[str, list[Champion]] = {name: [] for name in series}
    for row in platform.warehouse.read(CHAMPIONS, where={"commodity": list(series)}).to_pylist():
        made = Champion(
            row["commodity"], row["model_name"], row["model_version"], row["valid_from"], row["by"], row["why"]
        )
        found[made.series].append(made)
    return {name: sorted(rows, key=lambda row: row.valid_from) for name, rows in found.items()}


def standing(rows: Sequence[Champion]) -> list[Champion]:
    """The promotions still in force, oldest first: the last is the champion, the one before it a rollback's aim."""
    stack: list[Champion] = []
    for row in rows:
        if row.is_rollback and len(stack) > 1:
            stack.pop()
        else:
            stack.append(row)
    return stack


def champion(platform: Platform, series: str) -> tuple[str, str]:
    """Model and version the reader follows: the newest decision; the first configured model where there is none."""
    return _newest(platform, decisions(platform, series))


def _newest(platform: Platform, rows: Sequence[Champion]) -> tuple[str, str]:
    if rows:
        return rows[-1].model, rows[-1].version
    return platform.settings.models[0], platform.settings.model_version


def versions_to_run(platform: Platform, series: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Models and versions that the daily run must forecast for `series` (all where None): every configured model in
    the configured and the active versions, the champions, and what a rollback of them would go back to."""
    settings = platform.settings
    found = [
        (model, version) for version in (settings.model_version, *settings.active_versions) for model in settings.models
    ]
    for rows in _decisions(platform, settings.series_names if series is None else series).values():
        # A champion that is no longer configured has no asset; `promote` says so, and the reader finds old dates.
        wanted = [(row.model, row.version) for row in standing(rows)[-2:]]
        found += [pair for pair in wanted if pair[0] in settings.models]
    # A pool of an earlier version is made of its members' forecasts of that version: they run before it.
    return list(dict.fromkeys(one for pair in found for one in _with_members(settings, pair)))


def _with_members(settings: Settings, pair: tuple[str, str]) -> Iterator[tuple[str, str]]:
    for member in settings.model_spec(pair[0]).of:
        yield from _with_members(settings, (member, pair[1]))
    yield pair


def newest_forecastable(platform: Platform, series: str) -> dt.date:
    """The last date that the data allow a forecast for. Raises NoDataError."""
    dates = expected_dates(platform, series)
    if not dates:
        raise NoDataError(f"data of {series} end before the first forecast date: ingest newer data")
    return dates[-1]


def promote(
    platform: Platform,
    series: str,
    model: str,
    version: str,
    why: str,
    *,
    force: bool = False,
    by: str | None = None,
    known: Sequence[Champion] | None = None,
) -> Champion:
    """Make `model` and `version` the champion of `series`. Raises ChampionError; nothing is written then.

    Refused without a reason, where it is the champion already, (unless `force`) where it has no forecast for the
    newest date that the data allow: the reader would find an empty table; and where another decision was written after
    the `known` ones were read, on which this one rests (None: those of now).
    """
    _check_reason(why)
    if model not in platform.settings.models and not force:
        raise ChampionError(
            f"model {model!r} is not configured (configured: {', '.join(platform.settings.models)}), so no run would "
            "forecast with it: add it to the setting models, or give --force"
        )
    rows = decisions(platform, series) if known is None else known
    if rows and (rows[-1].model, rows[-1].version) == (model, version):
        raise ChampionError(f"{model} {version} is the champion of {series} already, since {_time(rows[-1])}")
    if not force:
        _require_forecast(platform, series, model, version)
    return _write(platform, rows, series, model, version, by, why.strip())


def rollback(platform: Platform, series: str, why: str = "", *, force: bool = False, by: str | None = None) -> Champion:
    """Go back to the champion before; twice goes back two. Raises ChampionError where there is none, or (unless
    `force`) where it has no forecast for the newest date that the data allow."""
    rows = decisions(platform, series)
    stack = standing(rows)
    if len(stack) < 2:
        now = f"{stack[0].model} {stack[0].version}, the first ever promoted" if stack else "none was ever promoted"
        raise ChampionError(
            f"{series} has no champion before ({now}): there is nothing to roll back to; promote another with "
            f"`forecast-platform promote --commodity {series} --model MODEL --why REASON`"
        )
    left, back = stack[-1], stack[-2]
    if not force:
        _require_forecast(platform, series, back.model, back.version)
    reason = f"{ROLLBACK}{left.model} {left.version}" + (f": {why.strip()}" if why.strip() else "")
    return _write(platform, rows, series, back.model, back.version, by, reason)


def decisive(result: Duel, challengers: int = 1) -> bool:
    """Whether a challenger (B of the duel) is better than the champion (A) beyond doubt and by enough to matter.

    challengers: how many are tried at once; the best of many equals is better than the champion by chance.
    """
    beyond_doubt = result.p_value < DECISIVE_P / challengers
    return bool(result.n_dates >= DECISIVE_DATES and result.gain >= DECISIVE_SHARE and beyond_doubt)


def auto_promote(platform: Platform, series: str) -> Champion | None:
    """Promote the best decisive challenger where the setting auto_promote says so; None where nothing changed.

    One whose CRPS is above naive's is none, however much worse the champion is.
    """
    if not platform.settings.auto_promote:
        return None
    from forecast_platform.pages.display import metadata_frame
    from forecast_platform.pages.scores import REFERENCE

    known = decisions(platform, series)
    metadata = metadata_frame(platform, series)
    current = _newest(platform, known)
    naive = (REFERENCE, platform.settings.model_version)
    duels = {pair: duel(metadata, current, pair) for pair in versions_to_run(platform, [series]) if pair != current}
    challengers = {
        pair: result
        for pair, result in duels.items()
        if decisive(result, len(duels)) and not duel(metadata, naive, pair).gain < 0
    }
    if not challengers:
        return None
    best = max(challengers, key=lambda pair: challengers[pair].gain)
    names = (" ".join(current), " ".join(best))
    try:
        return promote(platform, series, *best, f"auto_promote: {challengers[best].verdict(*names)}", known=known)
    except ChampionError:
        # A challenger without today's forecast is not ready, or someone was faster; the next score run asks again.
        return None


def review(platform: Platform, series: str) -> list[Champion]:
    """The decisions that a series' new scores call for: its first champion, and what auto_promote says; often none."""
    return [made for made in (choose_first(platform, series), auto_promote(platform, series)) if made]


def choose_first(platform: Platform, series: str) -> Champion | None:
    """Make the model with the best trailing score the champion of a series that never had one; None where it had, or
    where nothing can be chosen yet.

    The score is CRPS over the horizon, divided by the price of its date, of the configured version over the newest
    CHOICE_DAYS. Models with DECISIVE_DATES distinct last closes are candidates; they are compared on the dates that all
    of them have, which must be as many. Where none is better than naive it is naive. The choice stands until someone
    promotes another (or auto_promote does, where that is set).
    """
    if decisions(platform, series):
        return None
    from forecast_platform.pages.panel import panel
    from forecast_platform.pages.pooled import shared_skills
    from forecast_platform.pages.scores import REFERENCE

    settings = platform.settings
    frame = panel(platform, [series], settings.models)[series]
    frame = frame[frame["model_version"] == settings.model_version]
    if REFERENCE not in settings.models or frame.empty:
        return None
    newest = frame["forecast_date"].max()
    trailing = frame[frame["forecast_date"] > newest - dt.timedelta(days=CHOICE_DAYS)]
    skills, dates = shared_skills(trailing, DECISIVE_DATES)
    if len(skills) < 2 or dates < DECISIVE_DATES:
        return None
    best = max(skills, key=lambda name: (skills[name], name == REFERENCE))
    names = ", ".join(sorted(skills))
    told = f"has the best CRPS of {names} to {newest}, {100 * skills[best]:.1f} % better than {REFERENCE}"
    why = f"{FIRST_CHOICE}, nobody having promoted one: {best} {told} over {dates} dates that all of them have"
    if best == REFERENCE:
        why = (
            f"{FIRST_CHOICE}, nobody having promoted one: none of {names} is better than {REFERENCE} to {newest} over "
            f"{dates} dates that all of them have"
        )
    if lacking := [name for name in settings.models if name not in skills]:
        why += f"; not compared, with fewer than {DECISIVE_DATES} scored last closes: {', '.join(lacking)}"
    try:
        return promote(platform, series, best, settings.model_version, why, known=())
    except ChampionError:
        # Without the newest forecast the reader finds nothing, or someone was faster; the next score run asks again.
        return None


def mirror(platform: Platform, chosen: Champion) -> str | None:
    """Point MLflow's alias `champion` at the newest window's registered version; why not, where that fails.

    The alias mirrors the table and nothing reads it, so a failure is a note and no error.
    """
    from forecast_platform.pipeline.tracking import Tracker, registered_name

    where = {"commodity": chosen.series, "model_name": chosen.model, "model_version": chosen.version}
    columns = ["training_cutoff_date", "mlflow_run_id"]
    rows = platform.warehouse.read(TRAINED_MODELS, columns, {**where, "is_active": True}).to_pylist()
    tracked = [row for row in rows if row["mlflow_run_id"]]
    if not tracked:
        return f"MLflow's alias {ALIAS} was not moved: no tracked fit of {chosen.model} {chosen.version}"
    run_id = max(tracked, key=lambda row: row["training_cutoff_date"])["mlflow_run_id"]
    others = list(dict.fromkeys([*platform.settings.models, *registry.names()]))
    try:
        moved = Tracker(platform.settings).move_alias(chosen.series, chosen.model, run_id, ALIAS, others)
    except Exception as error:  # noqa: BLE001 - whatever MLflow or its database raises costs the alias alone
        return f"MLflow's alias {ALIAS} was not moved: {platform.settings.tracking_uri}: {error}"
    if not moved:
        name = registered_name(platform.settings, chosen.series, chosen.model)
        return f"MLflow's alias {ALIAS} was not moved: run {run_id} has no registered version of {name}"
    return None


def _require_forecast(platform: Platform, series: str, model: str, version: str) -> None:
    try:
        day = newest_forecastable(platform, series)
    except NoDataError as error:
        raise ChampionError(str(error)) from error
    where = {"commodity": series, "model_name": model, "model_version": version, "forecast_date": day, "day_ahead": 1}
    if platform.warehouse.read(POINT_FORECASTS, ["forecast_date"], {**where, "model_success": True}).num_rows == 0:
        tag = "" if version == platform.settings.model_version else f" --model-version-tag {version}"
        raise ChampionError(
            f"{model} {version} has no forecast of {series} for {day}, the newest date that the data allow: make it "
            f"with `forecast-platform infer --commodity {series} --models {model} --date {day}{tag}`, or give --force"
        )


def _check_reason(why: str) -> None:
    if not why.strip():
        raise ChampionError("a promotion needs a reason: --why 'what speaks for it'")
    if why.strip().startswith(ROLLBACK):
        raise ChampionError(f"--why {why!r}: '{ROLLBACK.strip()}' is how rollbacks are told; begin with other words")


def _write(
    platform: Platform, rows: Sequence[Champion], series: str, model: str, version: str, by: str | None, why: str
) -> Champion:
    """Add a decision that rests on `rows`. Raises ChampionError where there are others by now."""
    import pyarrow as pa

    now = platform.settings.now()
    if rows:
        # Two decisions within the clock's resolution must keep their order.
        now = max(now, rows[-1].valid_from + dt.timedelta(microseconds=1))
    made = Champion(series, model, version, now, by or account(), why)
    said = {"valid_from": now, "by": made.by, "why": why}
    row = {"commodity": series, "model_name": model, "model_version": version, **said}
    where = {"commodity": series}

    def added(earlier: pa.Table) -> tuple[pa.Table, Where]:
        # The decision rests on those that were read: one that another has written since would be lost from sight.
        newer = [one for one in earlier.to_pylist() if one["valid_from"] not in {known.valid_from for known in rows}]
        if newer:
            last = max(newer, key=lambda one: one["valid_from"])
            raise ChampionError(
                f"{series}: {last['by']} made {last['model_name']} {last['model_version']} the champion meanwhile "
                f"({last['why']}); nothing was written: look at it, then decide again"
            )
        return pa.Table.from_pylist([*earlier.to_pylist(), row], schema=CHAMPIONS.arrow_schema()), where

    revise(platform.warehouse, CHAMPIONS, where, added)
    return made


def _time(row: Champion) -> str:
    return f"{row.valid_from:%Y-%m-%d %H:%M} UTC"
