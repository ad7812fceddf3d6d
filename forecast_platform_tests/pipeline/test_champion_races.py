"""Of two decisions on a champion at once one is written, and the other says that it lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.pipeline import champions
from forecast_platform.pipeline.champions import ChampionError
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import settings_for


@pytest.mark.parametrize("when", ["before the table is looked at", "between look and write"])
def test_of_two_decisions_at_once_the_second_says_that_it_lost(
    small: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    first, second = (Platform.from_settings(settings_for(small)) for _ in range(2))

    def after_the_other(inner: Callable[..., Any]) -> Callable[..., Any]:
        def called(*about: Any) -> Any:
            monkeypatch.undo()
            champions.promote(first, "Alpha", "random_walk", "v1.1", "lower CRPS", force=True, by="bea")
            return inner(*about)

        return called

    place, name = (champions, "account") if when.startswith("before") else (second.warehouse, "replace")
    monkeypatch.setattr(place, name, after_the_other(getattr(place, name)))
    with pytest.raises(ChampionError, match=r"bea made random_walk v1.1 the champion meanwhile \(lower CRPS\)"):
        champions.promote(second, "Alpha", "random_walk", "v1.0", "a hunch", force=True)
    assert [row.by for row in champions.decisions(second, "Alpha")] == ["bea"]
    with pytest.raises(ChampionError, match="meanwhile"):
        champions.promote(second, "Alpha", "naive", "v1.0", "what was known before", force=True, known=())
    champions.promote(second, "Alpha", "naive", "v1.0", "looked at again", force=True, by="ann")
    assert [row.by for row in champions.decisions(first, "Alpha")] == ["bea", "ann"]
