"""Mode mmf against its table contract, with a stand-in that writes exactly its scoring table, on an embedded Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecast_platform.training_jobs.backtest import train, windows_of
from forecast_platform.training_jobs.config import JobError
from forecast_platform.training_jobs.leaderboard import leaderboard
from forecast_platform.training_jobs.modes.mmf import with_runner
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.training import check
from forecast_platform_tests.training_jobs.tables import asked, panel_of, weekly


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A session of an embedded Spark of its own, whatever other tests in this process have opened."""
    pytest.importorskip("pysail")
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer()
    server.start()
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
    yield session
    session.stop()
    server.stop()


class StandIn:
    """Last value and drift as two models; one series is lost, as MMF loses those that fail."""

    def __init__(self, lose: str = "") -> None:
        self.lose, self.calls = lose, []

    def __call__(self, spark: Any, train_data: Any, scoring_output: str, run_id: str, **more: Any) -> str:
        self.calls.append({**more, "output": scoring_output})
        frame = train_data.toPandas()
        rows = []
        for series, part in frame.groupby("series"):
            if series == self.lose:
                continue
            values = part.sort_values("ds")["y"].to_numpy()
            step = np.arange(1, more["prediction_length"] + 1)
            for model, slope in (("Last", 0.0), ("Drift", (values[-1] - values[0]) / (len(values) - 1))):
                target = np.clip(values[-1] + slope * step, 0, None)
                rows.append((series, [str(k) for k in step], target.tolist(), b"\x80", run_id, model))
        names = ["series", "date", "target", "model_pickle", "run_id", "model"]
        # An earlier run's rows are in the table too: both of its tables are appended to.
        rows.append((rows[0][0], ["1"], [-1.0], b"", "another", "Last"))
        found = spark.createDataFrame(pd.DataFrame(rows, columns=names))
        found.write.saveAsTable(scoring_output)
        return run_id


def trained(spark: Any, stand_in: StandIn, rows: list[dict[str, Any]]) -> Any:
    panel, config = panel_of(asked(rows, training_mode="mmf", models=["Last", "Drift"]))
    methods, notes = with_runner(config, spark, stand_in, "default")
    assert "points alone" in notes[0]
    windows = windows_of(panel, config)
    return panel, windows, config, *train(panel, config, methods, windows, Progress())


def test_its_models_stand_in_the_leaderboard_on_the_same_windows(spark: Any) -> None:
    stand_in = StandIn()
    panel, windows, config, found, notes = trained(spark, stand_in, weekly(2, 40))
    assert notes == []
    assert {row["model"] for row in leaderboard(found, windows, config)} == {"SeasonalNaive", "Last", "Drift"}
    last = next(one for one in found if one.name == "Last")
    assert last.forecast.points[:, 0] == pytest.approx([panel.series(k)[-1] for k in range(2)])
    naive = next(one for one in found if one.name == "SeasonalNaive")
    assert last.forecast.quantiles == pytest.approx(naive.forecast.quantiles), "the same points, the same spread"
    assert [call["freq"] for call in stand_in.calls] == ["W"] * 4, "one call a window, for both models"
    left = [row["tableName"] for row in spark.sql("SHOW TABLES").collect()]
    assert not [name for name in left if name.startswith("training_job")]


def test_a_series_that_it_lost_is_a_failure_that_is_named(spark: Any) -> None:
    *_, found, notes = trained(spark, StandIn(lose="s000001"), weekly(2, 40))
    assert [one.fallbacks for one in found] == [0, 4, 4]
    assert "series 's1': MMF gave no forecast for it" in notes[0]


def test_a_series_with_negative_values_is_not_clipped_in_silence(spark: Any) -> None:
    rows = [row | {"sales": row["sales"] - 110} for row in weekly(1, 40)]
    *_, notes = trained(spark, StandIn(), rows)
    assert "it has negative values, and MMF clips its forecasts at 0" in notes[0]


def test_without_a_cluster_the_mode_says_which_notebook_to_use() -> None:
    panel, config = panel_of(asked(training_mode="mmf"))
    with pytest.raises(JobError, match=r"training_mode: mode mmf runs on a Databricks cluster .* notebooks/train_mmf"):
        check(panel, config)
