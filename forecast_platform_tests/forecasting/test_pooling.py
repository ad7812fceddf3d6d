from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.metrics import diebold_mariano
from forecast_platform.forecasting.pooling import Losses, pooled_skill

DAYS = np.datetime64("2010-01-01") + np.arange(800)


def losses(seed: int, gain: float, *, level: float = 100.0, days: np.ndarray = DAYS, common: float = 0.0) -> Losses:
    """A series whose model saves `gain` of naive's loss, with noise of its own and `common` noise of the day."""
    own, shared = np.random.default_rng(seed), np.random.default_rng(99).standard_normal(len(days))
    reference = level * (1.0 + 0.2 * own.standard_normal(len(days)))
    noise = 0.3 * own.standard_normal(len(days)) + common * shared
    return Losses(days, reference * (1.0 - gain) + level * noise, reference, np.full(len(days), level))


def test_one_series_of_constant_price_is_its_plain_skill_and_test() -> None:
    one = losses(1, 0.05)
    found = pooled_skill([one], 5)
    assert found.skill == pytest.approx(1 - one.loss.mean() / one.reference.mean(), rel=1e-12)
    assert found.p_value == pytest.approx(diebold_mariano(one.loss, one.reference, 5).p_value, rel=1e-9)
    assert (found.n_dates, found.n_series) == (800, 1)
    assert found.low < found.skill < found.high
    # The interval holds zero exactly where the test does not reject at 5 %.
    assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05)


def test_a_series_counts_alike_whatever_its_unit_and_each_year_whatever_its_price() -> None:
    cheap, dear = losses(1, 0.0, level=1.0), losses(2, 0.1, level=1000.0)
    both = pooled_skill([cheap, dear], 5)
    alone = [pooled_skill([one], 5).skill for one in (cheap, dear)]
    assert both.skill == pytest.approx(np.mean(alone), abs=1e-9)
    years = [losses(3, 0.0, level=10.0, days=DAYS[:400]), losses(4, 0.1, level=50.0, days=DAYS[400:])]
    whole = Losses(*(np.concatenate([getattr(year, name) for year in years]) for name in Losses._fields))
    assert pooled_skill([whole], 5).skill == pytest.approx(0.05, abs=0.02)


def test_more_series_narrow_the_interval_only_where_their_noise_is_their_own() -> None:
    def width(common: float) -> list[float]:
        found = [pooled_skill([losses(seed, 0.02, common=common) for seed in range(n)], 1) for n in (1, 16)]
        return [one.high - one.low for one in found]

    alone, many = width(0.0)
    assert many == pytest.approx(alone / 4, rel=0.2)
    alone, many = width(2.0)
    assert many > 0.9 * alone


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    hits = []
    for seed in range(200):
        found = pooled_skill([losses(1000 * seed + k, 0.03, days=DAYS[:200]) for k in range(3)], 1)
        hits.append(found.low <= 0.03 <= found.high)
    assert 0.90 <= np.mean(hits) <= 0.99


def test_series_with_other_dates_are_averaged_where_they_are() -> None:
    early, late = losses(1, 0.1, days=DAYS[:400]), losses(2, 0.1, days=DAYS[200:])
    found = pooled_skill([early, late], 5)
    assert found.n_dates == 800
    assert found.skill == pytest.approx(0.1, abs=0.03)


def test_a_price_that_passes_zero_does_not_decide() -> None:
    one = losses(1, 0.05)
    level = one.level.copy()
    level[100] = 1e-9
    assert pooled_skill([one._replace(level=level)], 5).skill == pytest.approx(0.05, abs=0.05)


def test_unknown_losses_are_left_out_and_nothing_gives_nan() -> None:
    one = losses(1, 0.05)
    loss = one.loss.copy()
    loss[::2] = np.nan
    assert pooled_skill([one._replace(loss=loss)], 5).n_dates == 400
    empty = pooled_skill([], 5)
    assert empty.n_dates == 0
    assert np.isnan(empty.skill)
    assert pooled_skill([one._replace(reference=np.zeros(800))], 5).n_series == 0
