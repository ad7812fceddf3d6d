"""The rows of a workflow: features, target, times and groups as its context says, from a frame."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.catalog import MEMBER
from forecast_platform.ensembles.folds import Folds, make_folds, strata_of
from forecast_platform.ensembles.grammar import Context
from forecast_platform.ensembles.grammar_parts import nearest
from forecast_platform.ensembles.metrics import Scorer

if TYPE_CHECKING:
    import pandas as pd

FORECAST_FEATURES = ("series", "day", "volatility", "spread")
"""What a row of forecasts is routed by."""
SEEN = "seen_on"
"""The column of a frame of forecasts with the day on which the outcome is seen."""
NOTES = "notes"
"""Of a frame's `attrs`: what is to be said of how it was made."""

_FEW_CLASSES = 20
"""Whole numbers with at most so many values are classes, where the file names no family of metrics."""
_MOST_CLASSES = 200
_MOSTLY_UNIQUE = 0.5
_LARGEST = float(np.finfo(np.float32).max)
"""Learners keep features in 32 bits: numbers beyond these would be infinite."""


class RowsError(ValueError):
    """The table cannot be worked on as the workflow says; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What models are fitted on.

    features: a frame of numbers (float64, nan where missing) and categories (text, None where missing).
    y: class codes int64, or numbers float64, [n]. source: position of each row in the table, [n].
    """

    features: pd.DataFrame
    y: NDArray[Any]
    classes: list[Any] | None
    source: NDArray[np.int64]
    time: NDArray[Any] | None
    groups: NDArray[Any] | None
    digest: str
    """Hash of all that is here: another table, target or choice of features has another."""
    notes: list[str] = field(default_factory=list)
    members: tuple[str, ...] = ()
    """Of forecasts: the features that are the models', which combinations are made of; no route reads them."""
    until: NDArray[Any] | None = None
    """Of forecasts: the day on which each row's outcome is seen, [n]; it is known to origins after it."""

    @property
    def routable(self) -> pd.DataFrame:
        """The features that routes may read: a row each of the workflow's, a column a feature."""
        return self.features.drop(columns=list(self.members))

    @property
    def n_classes(self) -> int:
        """Classes; 0 for a numeric target."""
        return len(self.classes) if self.classes is not None else 0

    @property
    def width(self) -> int:
        """Columns of a prediction: one a class, or one."""
        return self.n_classes or 1

    def folds(self, context: Context, groups: NDArray[Any] | None = None) -> Folds:
        """The folds that the context asks for; groups: in place of those of its column, [n].

        Raises FoldError where there are too few rows or groups.
        """
        return make_folds(
            context.fold_type[0], self.y, context.folds, context.seed,
            time=self.time, groups=self.groups if groups is None else groups, until=self.until,
        )  # fmt: skip

    def scorers(self, context: Context) -> list[Scorer]:
        """What models are ranked by, first, and reported with.

        Raises RowsError for a binary average of more or fewer than two classes.
        """
        if self.classes is None:
            return [Scorer(name) for name in context.metric.of_numbers]
        found = [Scorer(one.name, one.average) for one in context.metric.of_classes]
        for one in found:
            if one.average == "binary" and self.n_classes != 2:
                raise RowsError(f"{one.name}: binary needs two classes, the target has {self.n_classes}: name macro")
        return [*found, Scorer("log_loss")]


def make_rows(frame: pd.DataFrame, context: Context) -> Rows:
    """The rows of a table, sampled, with their features and target. Raises RowsError."""
    source = context.source
    for name, what in ((source.target, "target"), (context.time_col, "time_col"), (context.group_col, "group_col")):
        if name is not None and name not in frame.columns:
            raise RowsError(
                f"{what} {name!r} is no column of the table: {nearest(name, list(map(str, frame.columns)))}"
            )
    notes: list[str] = list(frame.attrs.get(NOTES, ()))
    place = np.flatnonzero(frame[source.target].notna().to_numpy())
    if lost := len(frame) - len(place):
        why = "whose outcome is not known are forecast" if source.forecasts else "without a target are left out"
        notes.append(f"{lost:,} rows {why}")
    if context.time_col is not None:
        known = frame[context.time_col].notna().to_numpy()[place]
        if not known.all():
            notes.append(f"{int((~known).sum()):,} rows without a time are left out")
        place = place[known]
    if len(place) < 20:
        raise RowsError(f"{len(place)} rows have a target: 20 are the least")
    y, classes = _target(_typed(frame[source.target].iloc[place]), context, notes)
    time = None if context.time_col is None else _time(_typed(frame[context.time_col].iloc[place]))
    kept = _sampled(y, time, context, notes)
    place, y = place[kept], y[kept]
    if classes is not None:
        present = np.unique(y)
        classes, y = [classes[one] for one in present], np.searchsorted(present, y)
    # All rows are not copied to be looked at.
    features = _features(frame if len(place) == len(frame) else frame.iloc[place], context, notes)
    time = None if time is None else time[kept]
    groups = None if context.group_col is None else frame[context.group_col].iloc[place].astype(str).to_numpy()
    digest = _digest(features, y, classes, time, groups)
    members: tuple[str, ...] = ()
    until: NDArray[Any] | None = None
    if source.forecasts is not None:
        members = tuple(member_columns(features))
        until = frame[SEEN].iloc[place].to_numpy("datetime64[D]")
    rows = Rows(features, y, classes, place, time, groups, digest, notes, members, until)
    rows.scorers(context)
    return rows


def member_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame of forecasts that hold the models' forecasts."""
    return [str(name) for name in frame.columns if str(name).startswith(MEMBER)]


def prepared(frame: pd.DataFrame, columns: list[str], kinds: dict[str, str]) -> pd.DataFrame:
    """New rows as `Rows.features` has them: these columns, of these kinds. Raises RowsError: one is missing, or holds
    texts in place of numbers."""
    import pandas as pd

    missing = [name for name in columns if _origin(name, kinds) not in frame.columns]
    if missing:
        raise RowsError(f"the rows have no column {_origin(missing[0], kinds)!r}, which the model was fitted on")
    found: dict[str, Any] = {}
    for name in columns:
        kind = kinds[name]
        values = frame[_origin(name, kinds)]
        if kind == "number":
            try:
                found[name] = _numbers(values)
            except (ValueError, TypeError) as error:
                raise RowsError(f"the column {name!r} was of numbers when the model was fitted: {error}") from error
        elif kind == "category":
            found[name] = _texts(values)
        else:
            found[name] = _part_of_time(values, kind)
    return pd.DataFrame(found, columns=columns)


def kinds_of(features: pd.DataFrame) -> dict[str, str]:
    """Of each feature (column): number, category, or the part of a time that it is."""
    found = {}
    for name in features.columns:
        origin, _, part = name.rpartition("__")
        is_time = bool(origin) and part in _TIME_PARTS and name in features.attrs.get("times", ())
        number = features[name].dtype == np.float64
        found[name] = part if is_time else "number" if number else "category"
    return found


_TIME_PARTS = ("day", "weekday", "month", "hour")


def _origin(name: str, kinds: dict[str, str]) -> str:
    return name if kinds[name] in ("number", "category") else name.rpartition("__")[0]


def _target(values: pd.Series, context: Context, notes: list[str]) -> tuple[NDArray[Any], list[Any] | None]:
    import pandas as pd

    metric, name = context.metric, context.source.target
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if metric.classification and not metric.regression:
        classes = True
    elif metric.regression and not metric.classification:
        if not numeric:
            raise RowsError(
                f"target {name!r} is no number, and the metrics are of regression: name classification ones"
            )
        classes = False
    else:
        whole = numeric and bool((values == values.round()).all())
        classes = not numeric or (whole and values.nunique() <= _FEW_CLASSES)
        family = "classes" if classes else "numbers"
        notes.append(f"the target {name} is taken as {family}: name one family of metrics to say otherwise")
    if not classes:
        if context.calibrate != "none":
            raise RowsError(f"calibrate is of probabilities, and the target {name!r} is a number: leave it out")
        numbers = values.to_numpy(np.float64)
        if not np.isfinite(numbers).all():
            raise RowsError(f"target {name!r} holds infinite values: remove those rows")
        return numbers, None
    place, met = pd.factorize(values)
    found: list[Any] = met.tolist()
    known = sorted(found) if len({type(one) for one in found}) == 1 else sorted(found, key=str)
    if len(known) < 2:
        raise RowsError(f"target {name!r} has one value, {known[0]!r}: there is nothing to tell apart")
    if len(known) > _MOST_CLASSES:
        raise RowsError(
            f"target {name!r} has {len(known):,} classes, {_MOST_CLASSES} are the most: name regression metrics if it "
            "is a number"
        )
    if len({str(one) for one in known}) < len(known):
        raise RowsError(f"target {name!r} has labels that are written alike, such as 1 and '1': give them one type")
    codes = {one: code for code, one in enumerate(known)}
    return np.array([codes[one] for one in found], np.int64)[place], known


def _time(values: pd.Series) -> NDArray[Any]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(np.float64)
    try:
        return pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
    except (ValueError, TypeError) as error:
        raise RowsError(f"time_col {values.name!r} cannot be read as times: {error}") from error


def _sampled(y: NDArray[Any], time: NDArray[Any] | None, context: Context, notes: list[str]) -> NDArray[np.int64]:
    sample, n = context.sample, len(y)
    if sample is None or sample.size >= n:
        return np.arange(n)
    method = sample.method[0]
    notes.append(f"{sample.size:,} of {n:,} rows, {method.replace('_', ' ')}")
    if method == "time_series" and time is not None:
        return np.sort(np.argsort(time, kind="stable")[n - sample.size :])
    rng = np.random.default_rng(context.seed)
    if method == "random":
        return np.sort(rng.choice(n, sample.size, replace=False))
    # Every k-th row in the order of the strata, shuffled within each: each has its share to within a row.
    order = np.lexsort((rng.random(n), strata_of(y)))
    return np.sort(order[(np.arange(sample.size) * n) // sample.size])


def _features(frame: pd.DataFrame, context: Context, notes: list[str]) -> pd.DataFrame:
    import pandas as pd

    columns = {str(name): name for name in frame.columns}
    names = list(columns)
    chosen = context.source.features
    for name in (*(one.feature for one in chosen.include), *chosen.exclude):
        if name not in names:
            raise RowsError(f"feature {name!r} is no column of the table: {nearest(name, names)}")
    included = [one.feature for one in chosen.include]
    _refuse_choice(context, included)
    members = member_columns(frame) if context.source.forecasts is not None else []
    if members:
        if wrong := [name for name in (*included, *chosen.exclude) if name not in FORECAST_FEATURES]:
            raise RowsError(f"feature {wrong[0]!r}: of forecasts there are {', '.join(FORECAST_FEATURES)} to route by")
        included = [*(included or FORECAST_FEATURES), *members]
    left_out = {context.source.target, *chosen.exclude, *({context.time_col, context.group_col} - {None, *included})}
    found: dict[str, Any] = {}
    times: list[str] = []
    for name in included or names:
        if name in left_out:
            continue
        values = _typed(frame[columns[name]])
        if pd.api.types.is_datetime64_any_dtype(values):
            for part in _TIME_PARTS:
                found[f"{name}__{part}"] = _part_of_time(values, part)
                times.append(f"{name}__{part}")
        elif pd.api.types.is_numeric_dtype(values):
            found[name] = _numbers(values)
            if lost := int(np.isnan(found[name]).sum() - values.isna().sum()):
                notes.append(f"{name}: {lost:,} numbers beyond {_LARGEST:.0e} are taken as missing")
        else:
            texts = _texts(values)
            known = pd.Series(texts).nunique()
            if known > _MOSTLY_UNIQUE * len(frame) and known > _FEW_CLASSES:
                notes.append(f"{name} has another text in nearly every row: it is left out")
                continue
            found[name] = texts
    for one in chosen.include:
        if one.transform and (one.feature not in found or found[one.feature].dtype != np.float64):
            raise RowsError(f"feature {one.feature!r} is no number: leave out its transform, which is of numbers")
    made = pd.DataFrame(found, copy=False)
    constant = [name for name in made.columns if name not in members and _is_constant(made[name].to_numpy())]
    if constant:
        notes.append(f"of one value only, and left out: {', '.join(constant)}")
        made = made.drop(columns=constant)
    if not len(made.columns):
        raise RowsError("no feature is left: include some that vary")
    made.attrs["times"] = tuple(name for name in times if name in made.columns)
    return made


def _refuse_choice(context: Context, included: list[str]) -> None:
    """Raises RowsError for a choice of features that contradicts itself."""
    source = context.source
    if source.target in included:
        raise RowsError(f"feature {source.target!r} is the target: leave it out of features.include")
    if both := sorted(set(included) & set(source.features.exclude)):
        raise RowsError(f"feature {both[0]!r} is both included and excluded: keep one")
    if twice := sorted({name for name in included if included.count(name) > 1}):
        raise RowsError(f"feature {twice[0]!r} is included twice: name it once, with all its transforms")


def _is_constant(values: NDArray[Any]) -> bool:
    """Whether there is one value at most; that all are missing is one."""
    import pandas as pd

    if not len(values) or pd.isna(values[0]):
        return bool(pd.isna(values).all())
    return bool((values == values[0]).all())


def _typed(values: pd.Series) -> pd.Series:
    """A column that holds decimals or days as numbers or times, which they are: of a table they come as objects."""
    import pandas as pd

    if values.dtype != object:
        return values
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind == "decimal":
        return values.astype(np.float64)
    # In seconds: a day of the year 9999, which says `open` in many tables, is none of nanoseconds.
    return values.astype("datetime64[s]") if kind == "date" else values


def _numbers(values: pd.Series) -> NDArray[np.float64]:
    numbers = values.to_numpy(np.float64, na_value=np.nan) if values.dtype != bool else values.to_numpy(np.float64)
    finite = np.abs(numbers) <= _LARGEST
    # The table's own column where nothing is to be mended: a table is held once, not twice.
    return numbers if finite.all() else np.where(finite, numbers, np.nan)


def _texts(values: pd.Series) -> NDArray[Any]:
    texts = values.astype(object).to_numpy(copy=True)
    missing = values.isna().to_numpy()
    texts[~missing] = [str(one) for one in texts[~missing]]
    texts[missing] = None
    return texts


def _part_of_time(values: pd.Series, part: str) -> NDArray[np.float64]:
    import pandas as pd

    times = pd.to_datetime(_typed(values), utc=True).dt.tz_localize(None)
    if part == "day":
        # By numpy: pandas' own days would be of nanoseconds, which end in 2262.
        days = (times.to_numpy("datetime64[us]") - np.datetime64(0, "us")) / np.timedelta64(1, "D")
        return np.asarray(days, np.float64)
    return getattr(times.dt, part).to_numpy(np.float64, na_value=np.nan)


def _digest(features: pd.DataFrame, *others: Any) -> str:
    import pandas as pd

    running = hashlib.sha256("\x1f".join(features.columns).encode())
    running.update(pd.util.hash_pandas_object(features, index=False).to_numpy().tobytes())
    for other in others:
        running.update(b"\x1e")
        if isinstance(other, np.ndarray) and other.dtype != object:
            running.update(np.ascontiguousarray(other).tobytes())
        elif other is not None:
            running.update("\x1f".join(map(repr, other)).encode())
    return running.hexdigest()
