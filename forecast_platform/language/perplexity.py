"""Perplexity from documents' losses: averaged over tokens, with intervals by a bootstrap over documents.

The context rule: a document of n tokens (the end-of-text token included, none put before the first) has n - 1
predictions, each counted once. One longer than the context is read in windows that overlap by half of it, so that every
prediction after the first window knows at least half a context. Batches, their order and padding change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.language.config import SEED
from forecast_platform.language.errors import LanguageError

DRAWS = 2_000
LEVEL = 0.95

SUCCESS = "SUCCESS: Significant domain adaptation achieved"
PARTIAL = "PARTIAL: Moderate domain adaptation, consider more training"
MINIMAL = "MINIMAL: Little domain adaptation, check data/hyperparameters"

KEPT = "KEPT: General text is predicted about as well as before"
WORSE = "WORSE: General text is predicted less well, consider more replay"
FORGOTTEN = "FORGOTTEN: Much of the general text is unlearnt, raise replay_ratio or lower learning_rate"


@dataclass(frozen=True)
class Losses:
    """Summed negative log-likelihood in nats, float64 [documents], over `predictions`, int64 [documents]."""

    nll: NDArray[np.float64]
    predictions: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.nll) == 0 or self.predictions.sum() == 0:
            raise LanguageError("no prediction to measure: a document needs two tokens at least")

    @property
    def mean(self) -> float:
        """Loss a prediction, in nats."""
        return float(self.nll.sum() / self.predictions.sum())

    @property
    def perplexity(self) -> float:
        """exp of the loss a prediction (Jelinek, Mercer, Bahl and Baker, 1977)."""
        return math.exp(self.mean)

    def figures(self, draws: NDArray[np.int64]) -> dict[str, Any]:
        """The figures of evaluation_results.json; std_loss, in nats, is over documents' own mean losses. draws: of
        `bootstrap`, int64 [draws, documents]."""
        each = self.nll / np.maximum(self.predictions, 1)
        return {
            "perplexity": self.perplexity,
            "avg_loss": self.mean,
            "std_loss": float(each[self.predictions > 0].std()),
            "num_samples": len(self.nll),
            "total_tokens": int(self.predictions.sum()),
            "interval": interval(self.drawn(draws)),
        }

    def drawn(self, draws: NDArray[np.int64]) -> NDArray[np.float64]:
        """The perplexity of each draw of documents, float64 [draws]."""
        return np.exp(self.nll[draws].sum(axis=1) / np.maximum(self.predictions[draws].sum(axis=1), 1))


def windows(length: int, context: int) -> list[tuple[int, int, int]]:
    """(start, stop, first prediction's token) of the windows that a document of `length` tokens is read in."""
    if length < 2:
        return []
    found = [(0, min(length, context), 1)]
    while (stop := found[-1][1]) < length:
        start = stop - context // 2
        found.append((start, min(length, start + context), stop))
    return found


def bootstrap(documents: int, seed: int = SEED) -> NDArray[np.int64]:
    """Documents drawn with replacement (Efron, 1979), int64 [DRAWS, documents]: the same for each model that is
    compared."""
    return np.random.default_rng(seed).integers(0, documents, (DRAWS, documents))


def interval(values: NDArray[np.float64]) -> list[float]:
    """The ends of the central 95 % of bootstrapped values [draws], in their unit: the percentile interval (Efron,
    1982)."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def compare(base: Losses, tuned: Losses) -> dict[str, Any]:
    """Both models' figures on the same documents, and by how many percent perplexity fell, with its interval.

    Raises LanguageError where they were measured on other tokens.
    """
    if not np.array_equal(base.predictions, tuned.predictions):
        raise LanguageError("base and tuned model were measured on other tokens: use one tokenizer for both")
    draws = bootstrap(len(base.nll))
    improved = 100 * (1 - tuned.drawn(draws) / base.drawn(draws))
    return {
        "base": base.figures(draws),
        "cpt": tuned.figures(draws),
        "improvement_percent": 100 * (1 - tuned.perplexity / base.perplexity),
        "improvement_interval": interval(improved),
    }


def verdict(improvement_percent: float) -> str:
    """What an improvement of domain perplexity amounts to: above 15 %, above 5 %, or less."""
    return SUCCESS if improvement_percent > 15 else PARTIAL if improvement_percent > 5 else MINIMAL


def general_verdict(improvement_percent: float) -> str:
    """What became of general text: a rise of perplexity up to 5 %, up to 25 %, or more."""
    return KEPT if improvement_percent >= -5 else WORSE if improvement_percent >= -25 else FORGOTTEN


def uniform(vocabulary: int, lengths: Sequence[int]) -> Losses:
    """The losses of a model that knows nothing: log of the vocabulary a prediction, its perplexity the vocabulary."""
    predictions = np.maximum(np.asarray(lengths, np.int64) - 1, 0)
    return Losses(predictions * math.log(vocabulary), predictions)
