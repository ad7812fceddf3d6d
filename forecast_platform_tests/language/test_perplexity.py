"""Perplexity: known answers, the context rule, intervals, verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_platform.language.errors import LanguageError
from forecast_platform.language.perplexity import (
    Losses,
    bootstrap,
    compare,
    general_verdict,
    interval,
    uniform,
    verdict,
    windows,
)


def test_a_model_that_is_uniform_over_a_vocabulary_has_it_as_perplexity() -> None:
    found = uniform(1234, [2, 17, 300])
    assert found.perplexity == pytest.approx(1234)
    assert found.predictions.tolist() == [1, 16, 299]
    assert found.figures(bootstrap(3))["interval"] == pytest.approx([1234, 1234])


@given(st.integers(2, 400), st.integers(2, 64))
def test_each_prediction_is_counted_once_and_knows_half_a_context(length: int, context: int) -> None:
    counted = np.zeros(length, int)
    for number, (start, stop, first) in enumerate(windows(length, context)):
        assert stop - start <= context
        counted[first:stop] += 1
        if number:
            assert first - start >= context // 2
    assert counted.tolist() == [0] + [1] * (length - 1)


def test_perplexity_is_over_tokens_not_over_documents() -> None:
    found = Losses(np.array([10.0, 90.0]), np.array([1, 99]))
    assert found.mean == 1.0
    assert found.figures(bootstrap(2))["std_loss"] == pytest.approx((10 - 90 / 99) / 2)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    inside = 0
    for seed in range(200):
        losses = generator.gamma(4, 0.5, 80)
        low, high = interval(Losses(losses, np.ones(80, np.int64)).drawn(bootstrap(80, seed)[:300]))
        inside += low <= math.exp(2.0) <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_base_and_tuned_model_are_compared_on_the_same_draws() -> None:
    predictions = np.full(40, 50)
    base = Losses(np.random.default_rng(1).gamma(50, 4, 40), predictions)
    found = compare(base, Losses(base.nll - 50 * math.log(1.25), predictions))
    assert found["improvement_percent"] == pytest.approx(20)
    assert found["improvement_interval"] == pytest.approx([20, 20])
    with pytest.raises(LanguageError, match="one tokenizer for both"):
        compare(base, Losses(base.nll, predictions + 1))


def test_no_prediction_is_no_perplexity() -> None:
    with pytest.raises(LanguageError, match="two tokens at least"):
        Losses(np.array([0.0]), np.array([0]))


@pytest.mark.parametrize(
    ("percent", "said"), [(15.1, "SUCCESS"), (15.0, "PARTIAL"), (5.1, "PARTIAL"), (5.0, "MINIMAL"), (-3, "MINIMAL")]
)
def test_the_verdict_follows_the_improvement(percent: float, said: str) -> None:
    assert verdict(percent).startswith(f"{said}: ")


@pytest.mark.parametrize(("percent", "said"), [(-4, "KEPT"), (-5.1, "WORSE"), (-25, "WORSE"), (-25.1, "FORGOTTEN")])
def test_forgetting_has_a_verdict_of_its_own(percent: float, said: str) -> None:
    assert general_verdict(percent).startswith(f"{said}: ")
