"""Models whose library forecasts quantiles of the days' moves, in units of the platform's own conditional volatility.

    r[k] = (y[k] - y[k - 1]) / sqrt(v[k]),   y and v the random walk's; 0 on a roll day

The library is fitted once on a window's r, and gives quantiles of the r of STEPS sessions after each origin; sessions
beyond have the last step's. `joint_paths` makes paths of r of them, on the ranks that r had from a drawn date on, and
the framework adds them up: sqrt(v) r, with v fed forward along each path. So a library that knows nothing of volatility
still widens and narrows with the market, and what it adds is the shape and the mean of the days.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import weakref
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats, History
from forecast_platform.forecasting.quantile_paths import MOST_STEPS, error_ranks, joint_paths
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.base import FittedModel, TrainingWindow, require_sessions
from forecast_platform.models.folder_files import FolderFiles, read_files, write_files
from forecast_platform.models.innovations import InnovationsModel, Steps, fitted_transform, without_rolls
from forecast_platform.models.mean_path import by_session
from forecast_platform.models.random_walk import RandomWalkFitted

LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
STEPS = 10
"""Sessions that the library forecasts: those of two weeks."""

RANKS = "ranks.npy"

MINIMUM_SESSIONS = 300


class ScaledReturnsFitted(RandomWalkFitted):
    """State: as the random walk's; `context`, how many r the library is shown; the `spread` of r by LEVELS; `files`,
    the library's fitted model and RANKS by relative path, which is no part of the JSON."""

    @property
    def ranks(self) -> Floats:
        """The ranks that r had after each date of the pool, float32 [n_slots, MOST_STEPS], in (0, 1)."""
        if "ranks" in self.state:  # a fit of an earlier version
            found: Floats = self.state["ranks"]
            return found
        stored: Floats = np.load(io.BytesIO(self.state["files"][RANKS]), allow_pickle=False)
        return stored

    @abstractmethod
    def step_quantiles(self, contexts: Floats) -> Floats:
        """Quantiles of LEVELS of the STEPS sessions after each context, r [n, context] to r [n, STEPS, n_levels].

        Rows do not depend on one another, but for the model's tolerance.
        """

    def scaled_returns(self, history: History) -> Floats:
        """r by observed session, [n_observed], moves in units of their conditional standard deviation; the first,
        before which no close is known, is 0."""
        filtered = self.filter(history)
        moves = without_rolls(history, filtered.innovations)
        found: Floats = np.nan_to_num(moves / np.sqrt(self.variances(history, filtered)[:-1]))
        return found

    def standardised(
        self, history: History, origins: Dates, known: NDArray[np.intp], steps: Steps, n_paths: int, shocks: Shocks
    ) -> Floats:
        """See `InnovationsFitted`: one call of the library for all origins."""
        length = int(self.state["context"])
        r = np.concatenate([np.zeros(length), self.scaled_returns(history)])
        different, place = by_session(known)
        contexts = r[different[:, None] + np.arange(length)]
        quantiles = self.step_quantiles(contexts)
        n_steps = steps.column.shape[1]
        ahead = np.minimum(np.arange(n_steps), STEPS - 1)
        slots = shocks.slots(origins, n_paths, 1)[:, 0]
        paths = joint_paths(quantiles[place][:, ahead], LEVELS, self.ranks, slots)
        return np.moveaxis(paths, 1, 2)

    def to_json(self) -> str:
        """See `FittedModel`: without the files."""
        return type(self)(self.window, {k: v for k, v in self.state.items() if k != "files"})._plain()

    def _plain(self) -> str:
        return super().to_json()

    def save(self, folder: Path) -> None:
        """See `FittedModel`."""
        write_files(self.state["files"], folder)

    def files_folder(self) -> Path:
        """Where the files lie for as long as this is used: where they were read from, or a folder made of them."""
        files = self.state["files"]
        if isinstance(files, FolderFiles):
            return files.folder
        folder = Path(tempfile.mkdtemp(prefix="forecast-library-"))
        weakref.finalize(self, shutil.rmtree, folder, True)
        write_files(files, folder)
        return folder


class ScaledReturnsModel(InnovationsModel):
    """A library's model of r. A subclass says `fit_library` and its fitted type."""

    algorithm_version: ClassVar[int] = 2
    continues: ClassVar[tuple[int, ...]] = (1,)

    @property
    def context(self) -> int:
        """How many r the library is shown before an origin."""
        return 64

    @property
    def mean_alone(self) -> bool:
        """Whether the library's model says the mean of r only, or its quantiles cannot be used."""
        return False

    @abstractmethod
    def fit_library(self, r: Floats, folder: Path) -> None:
        """Fit on r [n], with one thread and fixed seeds, and leave in `folder` what can be loaded again."""

    def fit(self, history: History, window: TrainingWindow) -> FittedModel:
        """See `Model.fit`; at least 300 observed sessions."""
        require_sessions(history, MINIMUM_SESSIONS, self.name)
        kind: Any = self.fitted_type
        state: dict[str, Any] = {"scale": fitted_transform(history).scale, "context": self.context}
        plain: ScaledReturnsFitted = kind(window, state).calibrated(history)
        r = plain.scaled_returns(history)
        ahead = np.concatenate([r, np.full(MOST_STEPS, np.nan)])
        windows = np.lib.stride_tricks.sliding_window_view(ahead, MOST_STEPS)[: len(r)]
        ranks = error_ranks(windows[1:], history.observed_dates[1:], window.pool)
        with tempfile.TemporaryDirectory(prefix="forecast-library-") as made:
            folder = Path(made)
            self.fit_library(r[1:], folder)
            # A file of its own: as text it would be most of the fit, read and decoded wherever a row of it is.
            np.save(folder / RANKS, ranks.astype(np.float32), allow_pickle=False)
            files = read_files(folder)
        # What r is spread by where the library says only its mean.
        spread = np.quantile(r[1:] - r[1:].mean(), LEVELS)
        known = {"spread": spread, "mean_alone": self.mean_alone, "files": files}
        return kind(window, {**plain.state, **known})

    def load_folder(self, text: str, folder: Path, window: TrainingWindow) -> FittedModel:
        """See `Model`."""
        kind: Any = self.fitted_type
        loaded = self.load(text, window)
        return kind(window, {**loaded.state, "files": FolderFiles(folder)})
