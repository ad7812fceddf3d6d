"""What every model must do, asked through the contract and its tags only; the project's own models are held to it.

Each check raises ContractError, which says what of the contract the model breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Dates, History
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.forecasting.trailing import LEVELS, MemberScores, quantile_losses
from forecast_platform.models.base import BasePaths, CombinedFitted, FittedModel, Model, Paths, TrainingWindow
from forecast_platform.models.naive import Naive
from forecast_platform.models.random_walk import RandomWalk
from forecast_platform.models.saved import Saved, load, saved_from
from forecast_platform.models.tags import ModelSpec, canonical
from forecast_platform.testing.histories import changed_from, random_history

N_PATHS = 40
SEED = 7
WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
ORIGINS = np.arange(np.datetime64("2018-01-01"), np.datetime64("2018-03-15"))


class ContractError(AssertionError):
    """A model breaks the contract; the message says which part, and how."""


@cache
def synthetic() -> History:
    """Returns with momentum, so that a mean is there to be learned, and covariates; no roll days, no holidays."""
    return random_history(seed=3, momentum=0.3, covariates=True, name="Synthetic")


class Subject:
    """A model under examination, fitted once; what its tags declare decides what is asked of it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tags = model.tags

    @cached_property
    def fitted(self) -> FittedModel:
        """Its fit on the synthetic history."""
        return self.fit(synthetic())

    def fit(self, history: History, window: TrainingWindow = WINDOW) -> FittedModel:
        """Its fit on what `history` holds before the window's end."""
        return self.model.fit(history.before(window.end), window)

    def paths(
        self,
        history: History,
        origins: Dates,
        n_paths: int = N_PATHS,
        *,
        fitted: FittedModel | None = None,
        horizon: int = DEFAULT,
    ) -> Paths:
        """Its paths, float32 [n_origins, n_paths, horizon], in the price's unit; a combination is given members that
        are the naive model and the random walk, in turn."""
        fitted = fitted or self.fitted
        shocks = Shocks(SEED, fitted.n_slots)
        if not isinstance(fitted, CombinedFitted):
            return fitted.simulate(history, origins, horizon, n_paths, shocks)
        chosen = self.base(history, origins, fitted.window, n_paths, horizon)
        return fitted.simulate_from(chosen, history, origins, horizon, n_paths, shocks)

    def base(
        self, history: History, origins: Dates, window: TrainingWindow, n_paths: int = N_PATHS, horizon: int = DEFAULT
    ) -> BasePaths:
        """What a combination is given: its members' paths for the origins [n], as `BasePaths` says."""
        members = [_member(place % 2, window) for place in range(len(self.model.of))]
        shocks = Shocks(SEED, members[0].n_slots)
        base = np.stack([member.simulate(history, origins, horizon, n_paths, shocks) for member in members])
        there = np.ones((len(members), len(origins)), bool)
        weights = None
        if self.model.scored_days:
            scores = _member_scores(members, history, window, origins.max())
            weights = self.model.member_weights(scores, there, history, origins, window)
        return BasePaths(self.model.of, base, there, weights)

    def same(self, one: Paths, other: Paths) -> bool:
        """Whether two computations of the same paths [n_origins, n_paths, horizon] agree: to the bit, or within the
        declared tolerance."""
        if one.shape != other.shape:
            return False
        if self.tags.tolerance == 0.0:
            return bool(np.array_equal(one, other))
        return bool(np.allclose(one, other, rtol=self.tags.tolerance, atol=0.0))

    def stored(self, fitted: FittedModel) -> Saved:
        """The fit as it is kept."""
        return saved_from(self.model, fitted)

    def load(self, saved: Saved) -> FittedModel:
        """The fit read back."""
        kind = type(self.model)
        said = canonical(self.model.params)
        return load(
            ModelSpec(kind.name, kind.name, kind.__module__, kind.__qualname__, said, self.model.of), saved, WINDOW
        )


def check_model(model: type[Model], params: Mapping[str, Any] | None = None, of: Sequence[str] = ()) -> None:
    """Hold a model class to the contract, with these hyperparameters and members.

    Takes a fit of three years, a few of shorter histories, and some thousand simulated dates. Raises ContractError at
    the first part that the model breaks, ValueError where the hyperparameters are not allowed.
    """
    if model.tags.combines and not of:
        of = ("first", "second", "third")
    subject = Subject(model(params, of))
    for name, check in CHECKS.items():
        try:
            check(subject)
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(f"{model.name}: {_said(name)}: {type(error).__name__}: {error}") from error


def _require(subject: Subject, condition: object, text: str) -> None:
    if not condition:
        raise ContractError(f"{type(subject.model).name}: {text}")


def paths_are_finite_float32_of_the_contract_s_shape(subject: Subject) -> None:
    """[n_origins, n_paths, horizon], float32, no NaN."""
    paths = subject.paths(synthetic(), ORIGINS)
    wanted = (len(ORIGINS), N_PATHS, DEFAULT)
    _require(subject, paths.shape == wanted, f"simulate gives shape {paths.shape}, not {wanted}")
    _require(subject, paths.dtype == np.float32, f"simulate gives {paths.dtype}, not float32")
    _require(subject, np.isfinite(paths).all(), "simulate gives paths that are not finite")


def an_origin_s_bits_do_not_depend_on_chunks_order_or_storage(subject: Subject) -> None:
    """Alone or beside others, in any order, fitted here or read back: the same paths, within the tolerance."""
    history = synthetic()
    whole = subject.paths(history, ORIGINS)
    chunks = [subject.paths(history, part) for part in np.array_split(ORIGINS, [1, 4, 40])]
    _require(subject, subject.same(np.concatenate(chunks), whole), "an origin's paths depend on those beside it")
    order = np.random.default_rng(0).permutation(len(ORIGINS))
    _require(
        subject,
        subject.same(subject.paths(history, ORIGINS[order]), whole[order]),
        "paths depend on the origins' order",
    )
    saved = subject.stored(subject.fitted)
    _require(subject, subject.stored(subject.fitted) == saved, "saved twice, the fit is not the same text and files")
    back = subject.load(saved)
    if subject.tags.kept != "pickle":  # those stay in the process that opens them
        _require(subject, subject.stored(back) == saved, "saved, read and saved again, the fit is another one")
    _require(
        subject,
        subject.same(subject.paths(history, ORIGINS, fitted=back), whole),
        "the fit that is read back simulates other paths than the one that was saved",
    )


def fewer_paths_are_the_first_of_more_paths(subject: Subject) -> None:
    """Path p does not depend on how many there are, unless the paths are drawn from quantiles."""
    if subject.tags.gives == "quantiles":
        return
    more = subject.paths(synthetic(), ORIGINS[:5], 3 * N_PATHS)
    few = subject.paths(synthetic(), ORIGINS[:5])
    _require(subject, subject.same(few, more[:, :N_PATHS]), "a path depends on how many are simulated")


def a_longer_horizon_keeps_the_first_days_bits(subject: Subject) -> None:
    """Of 7, 20 and 60 days the first are those of 14, and the spread goes on growing; paths of quantiles need not."""
    if subject.tags.gives == "quantiles":
        return
    origins = ORIGINS[:12]
    usual = subject.paths(synthetic(), origins)
    for horizon in (7, 20, 60):
        made = subject.paths(synthetic(), origins, horizon=horizon)
        wanted = (len(origins), N_PATHS, horizon)
        _require(subject, made.shape == wanted, f"a horizon of {horizon} days gives shape {made.shape}, not {wanted}")
        shared = min(horizon, DEFAULT)
        same = subject.same(made[:, :, :shared], usual[:, :, :shared])
        _require(subject, same, f"the first days' paths depend on whether {horizon} or {DEFAULT} are simulated")
        spread = made.astype(np.float64).std(axis=1).mean(axis=0)
        grows = horizon <= DEFAULT or 1.05 * spread[DEFAULT - 1] < spread[-1] < 4 * spread[DEFAULT - 1]
        _require(subject, grows, f"the spread does not go on growing to {horizon} days")


def forecast_never_reads_data_on_or_after_the_forecast_date(subject: Subject) -> None:
    """Later data changed, or cut off: the paths of earlier origins stay, those of later ones change."""
    day = np.datetime64("2018-02-07")
    before = subject.paths(synthetic(), ORIGINS)
    after = subject.paths(changed_from(synthetic(), day), ORIGINS)
    early = day >= ORIGINS
    _require(subject, subject.same(after[early], before[early]), f"a forecast of {day} or before reads data of then on")
    same = (after[~early] == before[~early]).all(axis=(1, 2)).any()
    _require(subject, not same, "a forecast does not change with the data that it may know")
    short = subject.paths(synthetic().before(day), ORIGINS[early])
    _require(subject, subject.same(short, before[early]), "a forecast depends on whether later days are there")


def fit_never_reads_data_on_or_after_the_window_s_end(subject: Subject) -> None:
    """The fit of a history that is another one from the window's end on is the same, to the bit."""
    again = subject.fit(changed_from(synthetic(), WINDOW.end))
    _require(
        subject,
        subject.tags.tolerance > 0.0 or subject.stored(again) == subject.stored(subject.fitted),
        "the same training data give another fit: it reads beyond its window, or draws without a fixed seed",
    )


def dates_with_different_data_have_different_forecasts(subject: Subject) -> None:
    """Each session's close is news."""
    weekdays = ORIGINS[np.is_busday(ORIGINS)]
    paths = subject.paths(synthetic(), weekdays)
    _require(
        subject,
        not (paths[1:] == paths[:-1]).all(axis=(1, 2)).any(),
        "two origins with different data are forecast alike",
    )


def days_on_which_the_exchange_is_shut_hold_the_close_before_them(subject: Subject) -> None:
    """From a Saturday the weekend is the last close, and the next one's days repeat Friday's."""
    saturday = np.datetime64("2018-02-03")
    paths = subject.paths(synthetic(), np.array([saturday]))[0]
    last = np.float32(synthetic().close[np.searchsorted(synthetic().dates, saturday) - 1])
    _require(subject, (paths[:, :2] == last).all(), "days before the next session do not hold the last close")
    _require(subject, (paths[:, 2] != last).any(), "the next session's close is the last one")
    held = np.array_equal(paths[:, 7], paths[:, 6]) and np.array_equal(paths[:, 8], paths[:, 6])
    _require(subject, held, "a weekend inside the horizon does not hold Friday's close")


def spread_grows_with_trading_days_only(subject: Subject) -> None:
    """From Monday to Friday the spread grows, over the weekend it stays; over two weeks about as time's root."""
    monday = ORIGINS[np.is_busday(ORIGINS, "1000000")]
    paths = subject.paths(synthetic(), monday, 1000).astype(np.float64)
    spread = paths.std(axis=1).mean(axis=0)
    _require(subject, (np.diff(spread[:5]) > 0).all(), f"the spread does not grow with the sessions: {spread[:5]}")
    _require(subject, spread[5] == spread[4], "the spread grows over a weekend")
    ratio = spread[11] / spread[0]
    _require(subject, 1.8 < ratio < 6.0, f"two weeks' spread is {ratio:.2f} times a day's, not 1.8 to 6")


def mean_of_the_paths_stays_near_the_last_close(subject: Subject) -> None:
    """Within one and a half spreads, on a series whose returns are small."""
    paths = subject.paths(synthetic(), ORIGINS, 1000).astype(np.float64)
    last = synthetic().close[np.searchsorted(synthetic().dates, ORIGINS) - 1]
    distance = np.abs(paths.mean(axis=1) - last[:, None]) / paths.std(axis=1).clip(0.005 * last[:, None])
    _require(subject, distance.max() < 1.5, f"the paths' mean is {distance.max():.1f} spreads from the last close")


def too_short_a_history_names_the_series(subject: Subject) -> None:
    """Thirty days carry no fit, and the error says of which series."""
    if subject.tags.combines:
        return
    window = TrainingWindow(WINDOW.end - np.timedelta64(30, "D"), WINDOW.end)
    _refused(subject, synthetic().since(window.start).before(window.end), window, "a history of thirty days")


def a_constant_price_names_the_series(subject: Subject) -> None:
    """A price that does not move carries no fit, and the error says of which series."""
    if subject.tags.combines:
        return
    training = synthetic().before(WINDOW.end)
    _refused(subject, replace(training, close=np.full(len(training), 5.0)), WINDOW, "a constant price")


def shocks_of_another_window_are_refused(subject: Subject) -> None:
    """ValueError that names n_slots: residuals would be looked up under other dates. Raises ContractError without."""
    if subject.tags.kept == "pickle":
        return
    fitted = subject.fitted
    history, origins, shocks = synthetic(), ORIGINS[:1], Shocks(SEED, 17)
    try:
        if isinstance(fitted, CombinedFitted):
            n = len(subject.model.of)
            paths, there = np.ones((n, 1, 10, DEFAULT), np.float32), np.ones((n, 1), bool)
            base = BasePaths(subject.model.of, paths, there, there / n if subject.model.scored_days else None)
            fitted.simulate_from(base, history, origins, DEFAULT, 10, shocks)
        else:
            fitted.simulate(history, origins, DEFAULT, 10, shocks)
    except ValueError as error:
        _require(subject, "n_slots" in str(error), f"refuses another window's shocks without naming n_slots: {error}")
        return
    raise ContractError(f"{type(subject.model).name}: simulates with the shocks of another window: check n_slots")


def paths_that_a_combination_takes_are_those_that_it_makes(subject: Subject) -> None:
    """What `path_members` names is, taken from the members' paths, what simulate_from gives of all of them; also where
    a member is missing."""
    if not subject.tags.combines:
        return
    fitted = subject.fitted
    _require(subject, isinstance(fitted, CombinedFitted), "combines, but its fit is no CombinedFitted")
    assert isinstance(fitted, CombinedFitted)  # noqa: S101 - as was just demanded
    base = subject.base(synthetic(), ORIGINS, fitted.window)
    lacks = base.there.copy()
    lacks[0, ::3] = False
    for there in (base.there, lacks):
        shares = None if base.weights is None else np.where(there, base.weights + 1e-6, 0.0)
        weights = None if shares is None else shares / shares.sum(axis=0)
        members = subject.model.path_members(there, weights, N_PATHS)
        if members is None:
            return
        paths = np.where(there[:, :, None, None], base.paths, np.float32(np.nan))
        given = BasePaths(base.members, paths, there, weights)
        made = fitted.simulate_from(given, synthetic(), ORIGINS, DEFAULT, N_PATHS, Shocks(SEED, fitted.n_slots))
        taken = paths[members, np.arange(len(ORIGINS))[:, None], np.arange(N_PATHS)]
        _require(subject, np.array_equal(taken, made), "path_members names other paths than simulate_from makes")


def training_metrics_are_finite_numbers(subject: Subject) -> None:
    """At least one figure worth tracking."""
    figures = subject.fitted.training_metrics()
    finite = bool(figures) and all(np.isfinite(value) for value in figures.values())
    _require(subject, finite, f"training_metrics gives {figures}: finite numbers by name are wanted")


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        paths_are_finite_float32_of_the_contract_s_shape,
        an_origin_s_bits_do_not_depend_on_chunks_order_or_storage,
        fewer_paths_are_the_first_of_more_paths,
        a_longer_horizon_keeps_the_first_days_bits,
        forecast_never_reads_data_on_or_after_the_forecast_date,
        fit_never_reads_data_on_or_after_the_window_s_end,
        dates_with_different_data_have_different_forecasts,
        days_on_which_the_exchange_is_shut_hold_the_close_before_them,
        spread_grows_with_trading_days_only,
        mean_of_the_paths_stays_near_the_last_close,
        too_short_a_history_names_the_series,
        a_constant_price_names_the_series,
        shocks_of_another_window_are_refused,
        paths_that_a_combination_takes_are_those_that_it_makes,
        training_metrics_are_finite_numbers,
    )
}
"""The contract's parts by name, in the order in which they are asked."""


@cache
def _member(place: int, window: TrainingWindow) -> FittedModel:
    model: Model = (Naive, RandomWalk)[place]()
    return model.fit(synthetic().before(window.end), window)


def _member_scores(
    members: Sequence[FittedModel], history: History, window: TrainingWindow, end: np.datetime64
) -> MemberScores:
    """Losses of the members' forecasts from the window's end to before `end`, by all that the history holds."""
    origins = np.arange(window.end, max(end, window.end + ONE_DAY))
    shocks = Shocks(SEED, members[0].n_slots)
    paths = np.stack([member.simulate(history, origins, DEFAULT, N_PATHS, shocks) for member in members])
    quantiles = np.moveaxis(np.quantile(paths.astype(np.float64), LEVELS, axis=2), 0, -1)
    targets = (origins - history.dates[0]).astype(int)[:, None] + np.arange(DEFAULT)
    place = np.minimum(targets, len(history) - 1)
    known = (targets < len(history)) & history.observed[place]
    return MemberScores(origins, quantile_losses(quantiles, np.where(known, history.close[place], np.nan)))


def _refused(subject: Subject, history: History, window: TrainingWindow, what: str) -> None:
    try:
        subject.model.fit(history, window)
    except ValueError as error:
        _require(subject, history.series in str(error), f"refuses {what} without naming the series: {error}")
        return
    raise ContractError(f"{type(subject.model).name}: fits on {what}: raise ValueError that names the series")


def _said(name: str) -> str:
    return name.replace("_s_", "'s ").replace("_", " ")
