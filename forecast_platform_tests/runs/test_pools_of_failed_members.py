"""A member's step that fails for one series keeps no pool from being made of what there is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.pipeline.training import train
from forecast_platform.runs.operations import Operations
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, TRAINED_MODELS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import settings_for

DAY = dt.date(2018, 2, 1)
MEMBERS = ("naive", "random_walk")


def test_a_run_whose_member_fails_makes_the_pools_of_the_others_and_names_it(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(small / "dagster"))
    pools = [
        {"name": "strict", "type": "combine", "of": list(MEMBERS)},
        {"name": "lenient", "type": "combine", "of": list(MEMBERS), "missing": "skip"},
        {"name": "above", "type": "combine", "of": ["strict", "naive"]},
    ]
    settings = settings_for(small, models=[*MEMBERS, *pools])
    platform = Platform.from_settings(settings)
    for series in settings.series_names:
        for pool in ("strict", "lenient", "above"):
            train(platform, series, pool, [dt.date(2018, 1, 1)])
    lost = {"commodity": "Alpha", "model_name": "random_walk", "training_cutoff_date": dt.date(2017, 12, 31)}
    rows = platform.warehouse.read(TRAINED_MODELS, where=lost)
    platform.warehouse.replace(TRAINED_MODELS, rows.slice(0, 0), lost)

    said: list[str] = []
    operations = Operations(settings, said.append, "v1.0")
    assert not operations.forecast(settings.series_names, settings.models, DAY, DAY, together=True)
    columns = ["commodity", "model_name"]
    there = platform.warehouse.read(DISTRIBUTIONS, columns, {"forecast_date": DAY, "path_id": 0}).to_pylist()
    made = {(row["commodity"], row["model_name"]) for row in there} - {
        (one, "actuals") for one in settings.series_names
    }
    assert made == {(one, name) for one in settings.series_names for name in settings.models} - {
        ("Alpha", "random_walk"), ("Alpha", "strict"), ("Alpha", "above"),
    }  # fmt: skip
    told = "\n".join(said)
    assert "Alpha strict: 2018-02-01: no forecast of random_walk v1.0 for Alpha on 2018-02-01, which strict is" in told
    assert "pooled without random_walk: 2018-02-01" in told
    assert [title for title, *_ in operations.finished] == 3 * ["forecast Alpha, Beta"], (
        "members, pools, pools of pools"
    )
    operations.launcher.instance.dispose()
