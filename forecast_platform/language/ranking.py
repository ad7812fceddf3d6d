"""Which registered model for a task: candidates ordered by stated criteria, the same order whoever asks."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from forecast_platform.language.errors import LanguageError

LOWER = (
    *("crps", "mape", "smape", "wape", "mase", "rmse", "mse", "mae", "perplexity", "eval_perplexity", "eval_loss"),
    *("log_loss", "loss", "error"),
)
"""Metrics that are better low, in the order in which one is looked for where no criterion names one."""
HIGHER = ("skill", "accuracy", "f1", "auc", "r2", "improvement", "improvement_percent")
"""Metrics that are better high, looked for after those."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_RULE = re.compile(r"\s*([A-Za-z_][\w./%-]*)\s*(<=|>=|<|>)\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*")
_ORDER = re.compile(r"\s*(lowest|highest)\s+([A-Za-z_][\w./%-]*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A version of a registered model, and what its run says of it.

    metrics: by name, each in the unit that its run logged it in.
    """

    name: str
    version: str
    aliases: tuple[str, ...] = ()
    stage: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    lineage: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A bound on a metric, in the metric's own unit."""

    metric: str
    sign: str
    bound: float

    def met(self, candidate: Candidate) -> bool | None:
        """Whether a candidate keeps it; None where it has no such metric."""
        value = candidate.metrics.get(self.metric)
        return None if value is None else _COMPARE[self.sign](value, self.bound)

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound:g}"


@dataclass(frozen=True)
class Criteria:
    """Bounds that are to be kept, then metrics to order by: (name, whether low is better)."""

    rules: tuple[Rule, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class Ranked:
    """Candidates from the best on, and the metrics that they were ordered by."""

    candidates: tuple[Candidate, ...]
    criteria: Criteria
    order: tuple[tuple[str, bool], ...]
    words: Mapping[tuple[str, str], tuple[str, ...]]
    """Of each (name, version), the task's words that stand in its name or tags."""


def parse_criteria(text: str | Sequence[str] | Mapping[str, object] | None) -> Criteria:
    """Criteria from `mape < 5, coverage_80 >= 75, lowest crps`, a list of such, or a mapping of metric to bound.

    A mapping's `max_` and `min_` prefixes say which side; without one it is the better side of the metric. Raises
    LanguageError.
    """
    if text is None:
        return Criteria()
    if isinstance(text, Mapping):
        items = [_from_mapping(str(name), value) for name, value in text.items()]
    else:
        items = [one for part in ([text] if isinstance(text, str) else text) for one in re.split(r"[,;\n]", part)]
    rules, order = [], []
    for item in items:
        if not item.strip():
            continue
        if found := _RULE.fullmatch(item):
            rules.append(Rule(found[1], found[2], float(found[3])))
        elif found := _ORDER.fullmatch(item):
            order.append((found[2], found[1].lower() == "lowest"))
        else:
            raise LanguageError(
                f"criteria: {item.strip()!r}: write a bound such as `mape < 5`, or `lowest crps`, with commas between"
            )
    return Criteria(tuple(rules), tuple(order))


def _from_mapping(name: str, value: object) -> str:
    if name.startswith("max_"):
        return f"{name[4:]} <= {value}"
    if name.startswith("min_"):
        return f"{name[4:]} >= {value}"
    return f"{name} {'<=' if low_is_better(name) else '>='} {value}"


def low_is_better(metric: str) -> bool:
    """Whether a metric is an error, by its name's parts; one of no known kind counts as one."""
    parts = set(re.split(r"[_./-]", metric.lower())) | {metric.lower()}
    return not parts & {*HIGHER, "coverage"} or bool(parts & set(LOWER))


def words_of(task: str) -> set[str]:
    """The words of a task that may tell which model is meant."""
    return {word for word in re.findall(r"[a-z0-9]+", task.lower()) if len(word) > 2} - _EMPTY


_EMPTY = {
    *("the", "and", "for", "with", "that", "this", "from", "which", "what", "model", "models", "best", "use", "need"),
    *("want", "should", "have", "our", "next", "days", "day", "using", "into", "over", "please", "recommend", "task"),
}


def _words_met(candidate: Candidate, wanted: set[str]) -> tuple[str, ...]:
    # Of names and tags alone: a description is free text that anyone may have written.
    own = " ".join([candidate.name, *candidate.tags.values()]).lower()
    return tuple(sorted(wanted & set(re.findall(r"[a-z0-9]+", own))))


def rank(candidates: Sequence[Candidate], task: str, criteria: Criteria) -> Ranked:
    """Order: bounds kept, then the task's words in name and tags, then the metrics, then name and version."""
    wanted = words_of(task)
    words = {(one.name, one.version): _words_met(one, wanted) for one in candidates}
    most = max((len(met) for met in words.values()), default=0)
    near = [one for one in candidates if len(words[one.name, one.version]) == most]
    order = criteria.order or _usual_order(near)

    def key(one: Candidate) -> tuple[object, ...]:
        unmet = sum(rule.met(one) is not True for rule in criteria.rules)
        figures = [_figure(one, metric, low) for metric, low in order]
        return (unmet, -len(words[one.name, one.version]), *figures, one.name, -_number(one.version), one.version)

    return Ranked(tuple(sorted(candidates, key=key)), criteria, order, words)


def _usual_order(candidates: Sequence[Candidate]) -> tuple[tuple[str, bool], ...]:
    """The metric that most of the candidates have, the first known kind among those."""
    held: dict[str, int] = {}
    for one in candidates:
        for metric, value in one.metrics.items():
            if math.isfinite(value):
                held[metric] = held.get(metric, 0) + 1
    kinds = [*LOWER, *HIGHER]

    def kind(metric: str) -> int | None:
        parts = re.split(r"[_./-]", metric.lower())
        return next((place for place, name in enumerate(kinds) if name == metric.lower() or name in parts), None)

    known = [(-count, place, metric) for metric, count in held.items() if (place := kind(metric)) is not None]
    return tuple((metric, low_is_better(metric)) for _, _, metric in sorted(known)[:1])


def _figure(candidate: Candidate, metric: str, low: bool) -> float:
    value = candidate.metrics.get(metric)
    if value is None or not math.isfinite(value):
        return math.inf
    return value if low else -value


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0
