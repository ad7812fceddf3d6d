"""The contract of a model: fit once on the data before a window, then simulate any number of dates at once."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats, History
from forecast_platform.forecasting.shocks import Shocks, pool_dates
from forecast_platform.forecasting.trailing import MemberScores
from forecast_platform.models.tags import Hyperparameters, ModelTags, checked_params

Paths = NDArray[np.float32]

Covariates = Literal["none", "weather_or_series", "series"]
"""Which covariates a model reads: none, the series' weather (its configured ones where it has no weather),
or all that are configured for the series."""

Reads = tuple[Literal["range", "rolls", "second_contract"], ...]
"""What a model reads beside closes and covariates, where a series has it: each day's high and low, the schedule of its
rolls, the close of its second contract."""


@dataclass(frozen=True)
class TrainingWindow:
    """The span a model is fitted on. `end` is the first day of use: data strictly before it are read."""

    start: np.datetime64
    end: np.datetime64

    @property
    def pool(self) -> Dates:
        """The dates whose residuals the paths draw from, datetime64[D] [n_slots]: the same for every series and model
        of the window."""
        return pool_dates(self.start, self.end)


@dataclass(frozen=True)
class FittedModel(ABC):
    """A model with frozen parameters. Holds nothing but `window` and `state`: what is stored is what simulates."""

    window: TrainingWindow
    state: Mapping[str, Any]
    """Parameters and state arrays (numpy arrays, numbers, strings, lists, dicts of these): JSON in the table."""

    @abstractmethod
    def simulate(self, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks) -> Paths:
        """Simulated closes, float32 [n_origins, n_paths, horizon], in the price's unit.

        `[o, p, h]` is path p's close on origins[o] + h days (h from 0: the forecast date itself). `history` starts
        at window.start and may reach beyond an origin: an implementation reads only what
        `history.known_sessions(origins)` allows, and filters the whole history once with frozen parameters.
        Days on which the exchange is shut repeat the close before them. The result for one origin must not
        depend on the other origins in the call.
        """

    @abstractmethod
    def training_metrics(self) -> dict[str, float]:
        """In-sample figures worth tracking (sigma, AIC, orders ...), for MLflow and trained_models.parameters."""

    def to_json(self) -> str:
        """The fitted model as JSON text, the same text for the same model."""
        return json.dumps(_encode(dict(self.state)), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def save(self, folder: Path) -> None:
        """Write into the empty `folder` what JSON cannot hold, for models whose tag `kept` is folder or pickle.

        The same files for the same model: they are part of its content address.

        Raises NotImplementedError unless a subclass has it: models are kept as JSON.
        """
        raise NotImplementedError(f"{type(self).__name__} is kept as JSON: it has no save")

    @property
    def n_slots(self) -> int:
        """How many dates the residual pool has: what `Shocks` must be made with."""
        return len(self.window.pool)


@dataclass(frozen=True)
class BasePaths:
    """Other models' forecasts of the same series, version and dates, which a combination is made of."""

    members: tuple[str, ...]
    paths: Paths
    """Simulated closes, float32 [n_members, n_origins, n_paths, horizon], in the order of `members`."""
    there: NDArray[np.bool_]
    """Whether the member has forecast the origin, [n_members, n_origins]; where not, its paths are NaN."""
    weights: Floats | None = None
    """What `Model.member_weights` gave for these origins, [n_members, n_origins]."""


class CombinedFitted(FittedModel):
    """A fitted model that is made of other models' forecasts."""

    @abstractmethod
    def simulate_from(
        self, base: BasePaths, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks
    ) -> Paths:
        """As `simulate`, from the members' forecasts beside the history: float32 [n_origins, n_paths, horizon], in the
        price's unit. Every origin has at least one member."""

    def simulate(self, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks) -> Paths:
        """Raises TypeError: there is nothing to simulate without the members' forecasts."""
        raise TypeError(f"{type(self).__name__} is made of other models' forecasts: use simulate_from")


class Model(ABC):
    """One forecasting method. A subclass is a file; registering it makes its assets, checks and tests exist."""

    name: ClassVar[str]
    description: ClassVar[str]
    algorithm_version: ClassVar[int] = 1
    """Raised by hand whenever the same data would give other paths: stored keys of another version are refused."""
    continues: ClassVar[tuple[int, ...]] = ()
    """Earlier algorithm versions whose fits this code still simulates to the bit: their windows go on under their own
    version until they are trained anew."""
    covariates: ClassVar[Covariates] = "none"
    reads: ClassVar[Reads] = ()
    tags: ClassVar[ModelTags] = ModelTags()
    hyperparameters: ClassVar[Hyperparameters] = {}
    kind: ClassVar[str] = "python"
    """The icon of its assets in the UI: a library's name where Dagster knows it."""
    fitted_type: ClassVar[type[FittedModel]]

    def __init__(self, params: Mapping[str, Any] | None = None, of: Sequence[str] = ()) -> None:
        """`params`: hyperparameters, checked; `of`: the models whose forecasts it reads. Raises ValueError."""
        if bool(of) != self.tags.combines:
            what = "is made of no other models" if of else "is made of other models: name them in `of`"
            raise ValueError(f"{self.name} {what}")
        self.params = checked_params(self.name, self.hyperparameters, params or {})
        self.of = tuple(of)

    @abstractmethod
    def fit(self, history: History, window: TrainingWindow) -> FittedModel:
        """Fit on `history`, which starts no earlier than window.start and ends before window.end.

        Raises ValueError, naming the series and what is missing, where the history cannot carry a fit.
        """

    @property
    def scored_days(self) -> int:
        """Days before an origin over which it is to be known how good the members were; 0 where that is not read."""
        return 0

    def member_weights(
        self, scores: MemberScores, there: NDArray[np.bool_], history: History, origins: Dates, window: TrainingWindow
    ) -> Floats:
        """Weights of the members, [n_members, n_origins], for a combination whose `scored_days` is not 0.

        Each column is non-negative with sum 1, and 0 where the member is not `there`, [n_members, n_origins]. They
        are known on the origin: of `scores` only targets before it are read. Called without a fit, before one is
        opened: what it gives is part of what a forecast is made of.

        Raises NotImplementedError unless a subclass has it: models read no scores.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no scores of its members")

    def path_members(self, there: NDArray[np.bool_], weights: Floats | None, n_paths: int) -> NDArray[np.intp] | None:
        """Position of the member whose path p is path p of the combination, [n_origins, n_paths], for one that takes
        its members' paths as they are; None for one that makes paths of all of them.

        there: bool [n_members, n_origins], at least one member an origin; weights: what `member_weights` gave. Called
        without a fit, before paths are read: of each member only these are, and `CombinedFitted.simulate_from`, which
        is not called then, gives the same to the bit.
        """
        return None

    def version_of(self, fitted_with: int) -> int:
        """The algorithm version of the paths that a fit of version `fitted_with` gives today."""
        return fitted_with if fitted_with in self.continues else self.algorithm_version

    def load(self, text: str, window: TrainingWindow) -> FittedModel:
        """The fitted model that `FittedModel.to_json` wrote."""
        return self.fitted_type(window=window, state=_decode(json.loads(text)))

    def load_folder(self, text: str, folder: Path, window: TrainingWindow) -> FittedModel:
        """The fitted model of `FittedModel.to_json` and the files that `FittedModel.save` wrote.

        The files are those that were written: their hashes were checked. They stay until the model is gone. For models
        whose tag `kept` is folder or pickle; the latter are called in a process of their own.

        Raises NotImplementedError unless a subclass has it: models are kept as JSON.
        """
        raise NotImplementedError(f"{type(self).__name__} is kept as JSON: it has no load_folder")


def model_id(
    series: str, model: str, version: str, algorithm_version: int, window_start: str, text: str, identity: str = ""
) -> str:
    """A content address: two fits with the same bits and settings (`ModelSpec.identity`) have one id, 16 hex digits."""
    parts = [series, model, version, str(algorithm_version), window_start, text, *([identity] if identity else [])]
    key = "\x1f".join(parts)
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def reads_of(history: History) -> Reads:
    """What of `Reads` a history has."""
    found = {"range": history.high, "rolls": history.schedule, "second_contract": history.close_2}
    return tuple(name for name, there in found.items() if there is not None)  # type: ignore[misc]


def require_sessions(history: History, minimum: int, model: str) -> Floats:
    """The observed closes [n_observed], in the price's unit, or a ValueError that says how many there are and how many
    the model needs."""
    closes = history.observed_close
    if len(closes) < minimum:
        raise ValueError(
            f"{model} for {history.series}: {len(closes)} observed sessions from {history.dates[0]} to "
            f"{history.dates[-1]}, at least {minimum} are needed; ingest an earlier history or start later"
        )
    return closes


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"__array__": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if "__array__" in value:
            return np.array(value["__array__"], dtype=value["dtype"])
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value
