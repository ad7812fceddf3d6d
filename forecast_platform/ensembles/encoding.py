"""Features as numbers, for models that take no text: fitted on a split's training rows, kept as JSON.

`tree`: numbers as they are, few categories as codes, many by their target means. `dense`: standardised with the tails
drawn in, missing ones as the median and a column that says so, few categories one-hot. `native`: for libraries that
take few categories themselves. Where a column was complete in training, these take a missing number as the median and
`tree` an unknown code as the most frequent: each library would make something else of it, lightgbm the number 0
(findings/first-missing-value.sh). Of pairs of columns that interact (crosses.py) each of these has the target means of
the pair's cells as well, what rows near a row say within its cell (nearby.py), and what columns that are alike say
beyond each other (ratios.py). `given`: a frame of everything as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.crosses import crossed
from forecast_platform.ensembles.nearby import Near, apply_near, fit_near
from forecast_platform.ensembles.ratios import Ratio, with_ratios

if TYPE_CHECKING:
    import pandas as pd

Encoding = Literal["tree", "dense", "native", "given"]
Floats32 = NDArray[np.float32]
TargetMeans = tuple[dict[str, Any], NDArray[np.float64]]
"""Of a category's levels, as JSON; and of the rows that were fitted on, from other parts of them, [n, 1 or classes]."""

_FEW = 12
"""Categories up to which they are codes or one-hot; more are replaced by smoothed means of the target."""
_CLIP = 4.0
MISSING = "\x00missing"
_NEAR = "\x00near"
PAIRED = "\x00 x "
"""Between the names of two columns; no column has it."""


class RowsOf:
    """Some rows of a frame, of which a column is taken when it is asked for: a copy of them all is as large as they."""

    def __init__(
        self, frame: pd.DataFrame, rows: NDArray[np.int64], more: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        """more: columns beyond the frame's, of these rows."""
        self.frame, self.rows, self.more = frame, rows, dict(more or {})

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [*self.frame.columns, *self.more]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> pd.Series:
        import pandas as pd

        if name in self.more:
            return pd.Series(self.more[name])
        return pd.Series(self.frame[name].to_numpy()[self.rows], copy=False)

    def assign(self, **more: NDArray[Any]) -> RowsOf:
        """The rows with further columns."""
        return RowsOf(self.frame, self.rows, {**self.more, **more})


@dataclass(frozen=True)
class Encoder:
    """How features become numbers; `state` is JSON."""

    state: dict[str, Any]

    @property
    def kind(self) -> str:
        """tree, dense, native or given."""
        return str(self.state["kind"])

    @cached_property
    def text(self) -> str:
        """The state as JSON, made once for all models that encode alike."""
        return json.dumps(self.state)

    @property
    def _crosses(self) -> list[list[str]]:
        # Models of before pairs were looked for name none.
        return list(self.state.get("crosses", ()))

    @classmethod
    def fit(
        cls, kind: Encoding, features: pd.DataFrame | RowsOf, y: NDArray[Any], n_classes: int, seed: int,
        transforms: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]] = (),
        means: dict[str, TargetMeans] | None = None, ratios: Sequence[Ratio] = (), near: Sequence[Near] = (),
    ) -> tuple[Encoder, Any]:  # fmt: skip
        """An encoder fitted on these n rows and their targets y [n], and the rows as it encodes them for fitting.

        pairs: columns that interact, found on the same rows. means: target means that an encoder of another kind has
        made of the same rows, by column; those that are made now are added.
        ratios: columns to add, found on the same rows. near: means of near rows within the first pair's cells.
        Target means of the rows themselves are made across five parts of them, so that none holds its own target.
        """
        means = {} if means is None else means
        features = with_ratios(features, ratios)
        numbers = {
            name: _number_state(features[name].to_numpy(), transforms.get(name, ()))
            for name in features.columns
            if features[name].dtype == np.float64
        }
        for ratio in ratios:
            # Where it is missing its columns are, which say so.
            numbers[ratio["name"]]["any_missing"] = False
        categories: dict[str, Any] = {}
        cross: dict[str, NDArray[np.float64]] = {}
        for name in features.columns:
            if name in numbers:
                continue
            values = features[name].to_numpy()
            counts = Counter(values.tolist())
            known = sorted(one for one in counts if one is not None)
            if len(known) <= _FEW or kind == "given":
                categories[name] = {"levels": known}
                if None not in counts:
                    categories[name]["often"] = known.index(counts.most_common(1)[0][0])
                continue
            if name not in means:
                means[name] = _target_means(values, y, n_classes, seed)
            categories[name], cross[name] = means[name]
        crosses = []
        for one, other in pairs:
            name = f"{one}{PAIRED}{other}"
            crosses.append([name, one, other])
            if name not in means:
                means[name] = _target_means(crossed(features, one, other), y, n_classes, seed)
            categories[name], cross[name] = means[name]
        state: dict[str, Any] = {
            "kind": kind,
            "columns": list(features.columns),
            "numbers": numbers,
            "categories": categories,
        }
        state |= {"crosses": crosses, "ratios": list(ratios)}
        if near:
            if _NEAR not in means:
                means[_NEAR] = fit_near(features, y, pairs[0], near, seed)
            state["near"], cross[_NEAR] = means[_NEAR]
        encoder = cls(state)
        return encoder, encoder._encoded(features, cross)

    def apply(self, features: pd.DataFrame | RowsOf) -> Any:
        """Rows as numbers, float32 [n, columns]; of `native` and `given` a frame."""
        return self._encoded(with_ratios(features, self.state.get("ratios", ())), {})

    def _encoded(self, features: pd.DataFrame | RowsOf, cross: Mapping[str, NDArray[np.float64]]) -> Any:
        import pandas as pd

        if self.kind in ("native", "given"):
            taken = {}
            # CatBoost takes a name for its text up to the first null.
            shown = {one["name"]: f"__beside_{number}" for number, one in enumerate(self.state.get("ratios", ()))}
            for name in self.state["columns"]:
                values = features[name].to_numpy()
                if name in self.state["numbers"]:
                    values = _number(self.state["numbers"][name], values)
                    taken[shown.get(name, name)] = self._filled(name, values) if self.kind == "native" else values
                elif "means" in self.state["categories"][name]:
                    means = self._means_of(name, cross, values)
                    taken |= {f"{name}__mean_{number}": means[:, number] for number in range(means.shape[1])}
                else:
                    taken[name] = pd.Series(features[name].to_numpy()).fillna(MISSING).astype(str)
            for number, (name, *_) in enumerate(self._crosses):
                taken[f"__pair_{number}"] = self._of_pair(name, features, cross)[:, 0]
            near = self._near(features, cross)
            taken |= {f"__near_{number}": near[:, number] for number in range(near.shape[1])}
            return pd.DataFrame(taken, copy=False)
        widths = [self._width(name) for name in self.state["columns"]]
        near = self._near(features, cross)
        widths += [self._width(name) for name, *_ in self._crosses]
        made = np.empty((len(features), sum(widths) + near.shape[1]), np.float32)
        at = 0
        for name in self.state["columns"]:
            values = features[name].to_numpy()
            if name in self.state["numbers"]:
                found = self._number_parts(name, values)
            elif "means" in self.state["categories"][name]:
                found = [self._means_of(name, cross, values)]
            else:
                found = self._code_parts(self.state["categories"][name], values)
            # A column at a time, in its place: all of them as float64, or twice, would take more than the table.
            for one in found:
                at = _placed(made, at, one)
        for name, *_ in self._crosses:
            at = _placed(made, at, self._of_pair(name, features, cross))
        _placed(made, at, near)
        return made

    def _width(self, name: str) -> int:
        """Columns that a column becomes."""
        dense = self.kind == "dense"
        if name in self.state["numbers"]:
            return 2 if dense and self.state["numbers"][name]["any_missing"] else 1
        state = self.state["categories"][name]
        if "means" in state:
            return len(state["rest"])
        return len(state["levels"]) if dense else 1

    def _filled(self, name: str, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers [n] without missing ones where the column had none in training."""
        state = self.state["numbers"][name]
        # Encoders of before do not say, and leave them missing.
        return np.where(np.isnan(found), state["median"], found) if state.get("complete") else found

    def _number_parts(self, name: str, values: NDArray[Any]) -> list[NDArray[np.float64]]:
        state = self.state["numbers"][name]
        found = _number(state, values)
        if self.kind == "tree":
            return [self._filled(name, found)]
        missing = np.isnan(found)
        scaled = (np.where(missing, state["median"], found) - state["median"]) / state["scale"]
        # Robust scaling with a smooth clip (Holzmüller et al. 2024, RealMLP): outliers keep their order, not size.
        parts = [scaled / np.sqrt(1 + (scaled / 3) ** 2)]
        return [*parts, missing.astype(np.float64)] if state["any_missing"] else parts

    def _code_parts(self, state: Mapping[str, Any], values: NDArray[Any]) -> list[NDArray[np.float64]]:
        found = _places(state["levels"], values)
        if self.kind == "tree":
            return [np.where(found < 0, state.get("often", np.nan), found.astype(np.float64))]
        return [(found == code).astype(np.float64) for code in range(len(state["levels"]))]

    def _of_pair(
        self, name: str, features: pd.DataFrame | RowsOf, cross: Mapping[str, NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        pair = next((one, other) for known, one, other in self._crosses if known == name)
        return self._means_of(name, cross, None if name in cross else crossed(features, *pair))

    def _near(self, features: pd.DataFrame | RowsOf, cross: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Means of near rows, [n, k]; none where the encoder was fitted without."""
        state = self.state.get("near")
        if state is None:
            return np.zeros((len(features), 0))
        return self._scaled_means(state, cross[_NEAR] if _NEAR in cross else apply_near(state, features))

    def _means_of(
        self, name: str, cross: Mapping[str, NDArray[np.float64]], values: NDArray[Any] | None
    ) -> NDArray[np.float64]:
        """Target means of the categories of rows, [n, 1 or classes]; those of the rows fitted on are in `cross`."""
        state = self.state["categories"][name]
        if values is None or name in cross:
            return self._scaled_means(state, cross[name])
        means = np.array([*state["means"], state["rest"]])
        return self._scaled_means(state, means[_places(state["levels"], values)])

    def _scaled_means(self, state: Mapping[str, Any], means: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind != "dense":
            return means
        return (means - np.asarray(state["centre"])) / np.asarray(state["spread"])


def _placed(made: Floats32, at: int, found: NDArray[Any]) -> int:
    """Put columns, [n] or [n, k], into their places from `at` on; returns the next place."""
    width = 1 if found.ndim == 1 else found.shape[1]
    made[:, at : at + width] = found.reshape(len(made), width)
    return at + width


def _places(levels: Sequence[str | None], values: NDArray[Any]) -> NDArray[np.int64]:
    """Of each value the number of its level, -1 where it is none of them; None is a missing one, [n]."""
    import pandas as pd

    known = pd.Index([MISSING if one is None else one for one in levels], dtype=object)
    texts = np.where(pd.isna(values), MISSING, values)
    return np.asarray(known.get_indexer(pd.Index(texts, dtype=object)), np.int64)


def _number_state(values: NDArray[np.float64], transforms: Sequence[str]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    known = values[np.isfinite(values)]
    if "pre_scale" in transforms and len(known) > 2 and known.std() > 0:
        from scipy.stats import yeojohnson

        state["fill"] = float(np.median(known))
        state["power"] = float(yeojohnson(known)[1])
        known = yeojohnson(np.where(np.isfinite(values), values, state["fill"]), state["power"])
    if "scale" in transforms and len(known):
        state["mean"], state["std"] = float(known.mean()), float(known.std()) or 1.0
        known = (known - state["mean"]) / state["std"]
    if "post_scale" in transforms:
        centre, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
        state["low"], state["high"] = centre - _CLIP * spread, centre + _CLIP * spread
        known = np.clip(known, state["low"], state["high"])
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75)) if len(known) else (0.0, 0.0, 1.0)
    scale = float(high - low) / 1.349 or (float(known.std()) if len(known) else 0.0) or 1.0
    complete = not np.isnan(values).any()
    lacking = not complete and "fill" not in state
    return {**state, "median": float(middle), "scale": scale, "any_missing": lacking, "complete": complete}


def _number(state: Mapping[str, Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    if "power" in state:
        from scipy.stats import yeojohnson

        values = np.asarray(yeojohnson(np.where(np.isnan(values), state["fill"], values), state["power"]))
    if "mean" in state:
        values = (values - state["mean"]) / state["std"]
    return np.clip(values, state["low"], state["high"]) if "low" in state else values


def _target_means(values: NDArray[Any], y: NDArray[Any], n_classes: int, seed: int) -> TargetMeans:
    """Smoothed target means of each category (Micci-Barreca 2001), and those of the rows, from other parts of them."""
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    kind: Any = "continuous" if not n_classes else "binary" if n_classes == 2 else "multiclass"
    parts: Any = KFold if not n_classes else StratifiedKFold
    encoder = TargetEncoder(target_type=kind, cv=parts(5, shuffle=True, random_state=seed))
    texts = np.array([MISSING if one is None else one for one in values.tolist()], object)
    means = encoder.fit_transform(texts.reshape(-1, 1), y)
    levels = [None if one == MISSING else one for one in encoder.categories_[0].tolist()]
    by_level = np.column_stack(encoder.encodings_)
    rest = np.atleast_1d(encoder.target_mean_)
    state = {
        "levels": levels,
        "means": by_level.tolist(),
        "rest": rest.tolist(),
        "centre": means.mean(axis=0).tolist(),
        "spread": np.where(means.std(axis=0) > 0, means.std(axis=0), 1.0).tolist(),
    }
    return state, means
