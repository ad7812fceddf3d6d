"""The recommendation's text: ours from the figures, and a language model's words where they stand up to a check.

What the model writes is untrusted: documents that it was trained on may ask it to praise something else. Its words may
only name models and figures that the registry's query returned; every other word must be an ordinary one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

from forecast_platform.language.ranking import HIGHER, LOWER, Candidate, Ranked

LONGEST = 4_000
"""Characters of a model's words that are kept at most."""

_TOKEN = re.compile(r"[A-Za-z0-9_][\w./:@+%'’-]*|\S")
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?%?")
_SENTENCE = re.compile(r"(?:^|[.!?:]\s+|\n\s*(?:[-*#>]+\s*|\d+\.\s+)*)[\"'(*_`]*$")
_COUNTED = re.compile(
    r"(?:zero|nil|nought|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty"
    r"|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|dozen|quarter)(?:s|es|th|ths|fold)?"
    r"|half|halv\w+|twice|thrice|(?:doubl|tripl|quadrupl)\w+",
    re.IGNORECASE,
)
"""Figures in words: none of them can be looked up among those that the query returned."""
_MEASURE = re.compile(r"[a-z]?\d+[a-z]?")
_ANOTHER = re.compile(r"\b(?:another|different|unlisted)\s+(?:\w+\s+)?(?:model|candidate|version)s?\b", re.I)
_NAMED = re.compile(r"\b(?:named|called|titled|dubbed|nicknamed|known\s+as)\s*:?\s*[\"'(*_`]*([\w./:@+%'’-]+)", re.I)
_SUFFIXES = ("'s", "’s", "ing", "ed", "es", "ly", "er", "est", "s", "d", "r")
_FIELD = """
accuracy accurate adapter adapters alias aliases among average averaged backtest backtests bands baseline baselines
beat beats best better bias bootstrap calibrated calibration candidate candidates champion changing choice clear
clearly coming commodity compared comparison competitive confidence consistently context corpus cost coverage criteria
criterion crps currently daily demand deployment difference document documents domain domains drift error errors
estimate estimates evaluate evaluated evaluation evidence expected fit forecast forecasting forecasts forgetting
future gain gains general good great higher highest history horizon improve improvement improves interval intervals
justification language largest latency learning less level likely limited live long loss losses lower lowest mae mape
margin market markets mase mean metric metrics model models monitor monitored monitoring months near nearest nominal
outperform outperforms overall overfitting percent percentage performance performs perplexity position precision
predict prediction predictions price prices probabilistic prod production quantile quantiles range rank ranked ranking
reasonable recent recommend recommendation recommendations recommended reduce registered registry reliable replay
retrain retrained retraining review risk risks rival rivals rmse robust safe score scored scores second series shock
shocks short shows significant significantly similar skill small smaller smallest smape span stable staging stale
strong strongest suggest suggests suitable superior supply task tasks therefore third threshold thresholds token
tokens track tracks trained training trust tuned tuning uncertain uncertainty validate validated validation version
versions volatility weak weather week weekly weeks winner within worse worst year years
"""


@cache
def ordinary_words() -> frozenset[str]:
    """Plain words: those that Python's own reference manual uses at least twice, and the field's."""
    from pydoc_data.topics import topics

    counted = Counter(re.findall(r"(?<![\w.\"'`])[a-z]{1,20}(?![\w\"'`(.]\w)", " ".join(topics.values())))
    return frozenset({word for word, count in counted.items() if count > 1} | set(_FIELD.split()))


def foreign(text: str, task: str, candidates: Iterable[Candidate]) -> list[str]:
    """What in a text is neither an ordinary word, nor the task's, nor a name or figure of the candidates, in order."""
    known = list(candidates)
    names = {name.lower() for one in known for name in _names(one)} | set(re.findall(r"[a-z0-9_]+", task.lower()))
    figures = [*_figures(known), *(float(found) for found in re.findall(r"\d+(?:\.\d+)?", task))]
    allowed_as_written = {name for one in known for name in _names(one)} | set(re.findall(r"\w+", task))
    found = _others(text, {one.name.lower() for one in known})
    for match in _TOKEN.finditer(text):
        token = match[0].strip("._:-'’*/+@")
        if not token or not re.search(r"\w", token) or token in allowed_as_written or token.lower() in names:
            continue
        if _NUMBER.fullmatch(token):
            listed = re.search(r"(?:^|\n)\s*$", text[: match.start()]) and text[match.end() - 1 : match.end()] == "."
            if not listed and not _is_figure(token, figures):
                found.append(token)
            continue
        starts = _SENTENCE.search(text[: match.start()]) is not None
        for part in re.split(r"[-/]", token):
            # A name is written with a capital, a digit, a dot or an underscore; an ordinary word with none of them.
            plain = part[:1].lower() + part[1:] if starts else part
            usual = plain.replace("'", "").isalpha() and _ordinary(plain) and not _COUNTED.fullmatch(plain)
            if part.lower() not in names and not usual:
                found.append(token)
                break
    return found


def _ordinary(word: str) -> bool:
    if not word or word in ordinary_words():
        return True
    for suffix in _SUFFIXES:
        stem = word.removesuffix(suffix)
        if stem != word and len(stem) > 2 and ({stem, f"{stem}e", stem[:-1]} & ordinary_words()):
            return True
    return False


def _others(text: str, models: set[str]) -> list[str]:
    """Where a text speaks of a model that is none of `models`, with whatever ordinary word for its name."""
    found = [match[0] for match in _ANOTHER.finditer(text)]
    for match in _NAMED.finditer(text):
        named = match[1].strip("._:-'’*/+@")
        if named and named.lower() not in models:
            found.append(named)
    return found


def _names(candidate: Candidate) -> set[str]:
    """What may be named of a candidate: itself, and of its metrics and aliases those of plain words.

    Whoever logs a run chooses its metrics' and parameters' names, its tags and descriptions: they may name anything.
    """
    told = {name for name in (*candidate.metrics, *candidate.aliases) if _plain(name)}
    return {name for name in {candidate.name, f"v{candidate.version}", *told} if name and not name.isspace()}


def _plain(name: str) -> bool:
    """Whether a metric's or an alias' name is of ordinary words and numbers alone, such as crps_14d."""
    parts = [part for part in re.split(r"[_./%\s-]+", name) if part]
    usual = [_MEASURE.fullmatch(part) or _ordinary(part) for part in parts]
    return name in (*LOWER, *HIGHER) or (bool(parts) and all(usual))


def _figures(candidates: Iterable[Candidate]) -> list[float]:
    found = []
    for one in candidates:
        found += [value for value in one.metrics.values() if math.isfinite(value)]
        texts = [one.version, *one.parameters.values(), *one.metrics, one.name]
        found += [float(number) for text in texts for number in re.findall(r"\d+(?:\.\d+)?", text)]
    return found


def _is_figure(token: str, figures: Iterable[float]) -> bool:
    """Whether a written number is one of the figures, rounded to as many places as it is written with."""
    plain = token.replace(",", "").removesuffix("%").lstrip("+")
    value = float(plain)
    mantissa, _, exponent = plain.lower().partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    scales = (1.0, 100.0) if token.endswith("%") else (1.0,)
    return any(abs(abs(figure) * scale - abs(value)) <= 0.5 * unit + 1e-9 for figure in figures for scale in scales)


def facts(ranked: Ranked) -> str:
    """What a language model is told: names, versions and figures. No description, which anyone may have written."""
    lines = []
    for place, one in enumerate(ranked.candidates, 1):
        figures = ", ".join(f"{name} {value:.6g}" for name, value in sorted(one.metrics.items()))
        lines.append(f"{place}. {one.name} version {one.version}: {figures or 'no metrics'}")
    return "\n".join(lines)


def prompt(task: str, ranked: Ranked) -> str:
    """What the language model is asked."""
    best = ranked.candidates[0]
    return (
        f"Task: {task}\nRegistered models, best first:\n{facts(ranked)}\n"
        f"Explain in a few sentences why {best.name} version {best.version} is recommended for the task. "
        "Name only the models and figures above.\nJustification:"
    )


def text(task: str, ranked: Ranked, missing: Mapping[str, str], words: str | None = None) -> str:
    """The recommendation as markdown: its four parts, every name and figure from the query."""
    best = ranked.candidates[0]
    lines = [
        "## Recommendation",
        "",
        f"Use **{best.name}** version {best.version}{_shown(best)} for: {_inline(task)}",
        "",
        "## Justification",
        "",
        _ordered_by(ranked),
        "",
    ]
    for place, one in enumerate(ranked.candidates, 1):
        met = ranked.words[one.name, one.version]
        figures = [f"{metric} {one.metrics[metric]:.6g}" for metric, _ in ranked.order if metric in one.metrics]
        told = [*figures, *([f"the task's words {', '.join(met)}"] if met else [])]
        lines.append(f"{place}. {one.name} version {one.version}: {'; '.join(told) or 'no figure to order it by'}")
    if words:
        lines += ["", "In the language model's words (its names and figures checked against the above):", ""]
        lines += [f"> {line}" for line in words.splitlines()]
    lines += ["", "## Acceptance Criteria", "", *_criteria(ranked)]
    return "\n".join([*lines, "", "## Risks/Considerations", "", *_risks(ranked, missing)])


def _ordered_by(ranked: Ranked) -> str:
    steps = ["bounds kept"] if ranked.criteria.rules else []
    words = ["the task's words in name and tags"]
    figures = [f"{metric} ({'lower' if low else 'higher'} is better)" for metric, low in ranked.order]
    steps += [*figures, *words] if ranked.criteria.order else [*words, *figures]
    return f"Ordered by {', then '.join(steps)}."


def _criteria(ranked: Ranked) -> list[str]:
    best = ranked.candidates[0]
    if not ranked.criteria.rules:
        return ["- none was given; state some, such as `mape < 5`"]
    lines = []
    for rule in ranked.criteria.rules:
        met, value = rule.met(best), best.metrics.get(rule.metric)
        state = "kept" if met else "NOT kept" if value is not None else "NOT known: the run has no such metric"
        lines.append(f"- {rule}: {state}{'' if value is None else f' ({value:.6g})'}")
    return lines


def _risks(ranked: Ranked, missing: Mapping[str, str]) -> list[str]:
    best = ranked.candidates[0]
    lines = [f"- no registered model {name!r}{meant}" for name, meant in missing.items()]
    if any(rule.met(best) is not True for rule in ranked.criteria.rules):
        lines.append("- no candidate keeps every bound: this is the nearest, not an acceptable one")
    without = [one.name for one in ranked.candidates if any(metric not in one.metrics for metric, _ in ranked.order)]
    if not ranked.order:
        lines.append("- no candidate has a metric of a known kind: the order is by words and names alone")
    elif without:
        lines.append(f"- without {ranked.order[0][0]}, and so ordered last: {', '.join(dict.fromkeys(without))}")
    if not best.aliases:
        lines.append(f"- version {best.version} has no alias: nobody has promoted it")
    lines.append("- figures of different runs may be of different data: compare those of one series and span")
    return lines


def _shown(candidate: Candidate) -> str:
    return f" ({', '.join(candidate.aliases)})" if candidate.aliases else ""


def _inline(value: str) -> str:
    return " ".join(value.split())
