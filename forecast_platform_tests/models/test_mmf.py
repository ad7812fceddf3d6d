"""The adapter to Many Model Forecasting, against a stand-in that writes exactly its tables and does what it does."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast_platform.forecasting.shocks import Shocks, pool_dates
from forecast_platform.models import mmf
from forecast_platform.testing import random_history

HORIZON, BACKTEST = 5, 60


class Folder:
    """Tables as Parquet files in a folder; what is read is noted."""

    def __init__(self, root: Path) -> None:
        self.root, self.columns = root, set()

    def write(self, name: str, rows: pa.Table) -> None:
        pq.write_table(rows, self.root / f"{name}.parquet")

    def append(self, name: str, rows: pa.Table) -> None:
        path = self.root / f"{name}.parquet"
        pq.write_table(pa.concat_tables([pq.read_table(path), rows]) if path.exists() else rows, path)

    def read(self, name: str, columns: Sequence[str], run_id: str) -> pa.Table:
        self.columns |= set(columns)
        return pq.read_table(self.root / f"{name}.parquet", columns=list(columns), filters=[("run_id", "=", run_id)])


class StandIn:
    """`run_forecast` of mmf_sa by its contract: the last value, missing as 0, cut at 0, failures only logged."""

    def __init__(self, folder: Folder, run_id: str = "run-1", fails: Sequence[str] = ()) -> None:
        self.folder, self.run_id, self.fails = folder, run_id, fails
        self.asked: dict[str, object] = {}

    def __call__(
        self, spark: object, train_data: str, group_id: str, date_col: str, target: str, **given: object
    ) -> str:
        self.asked = given
        rows = pq.read_table(self.folder.root / f"{train_data}.parquet").to_pandas()
        h, back = given["prediction_length"], given["backtest_length"]
        fixed = {
            "model_pickle": pickle.dumps("never read"),
            "run_id": self.run_id,
            "run_date": dt.date(2018, 1, 1),
        }
        evaluation, scoring = [], []
        for name, series in rows.groupby(group_id):
            if name in self.fails:
                continue
            values, days = series[target].fillna(0.0).to_numpy(), series[date_col].to_numpy().astype("datetime64[D]")
            for model in given["active_models"]:
                more = {"model": model, "use_case": "test", "model_uri": f"models:/{model}/1", **fixed}
                for start in range(len(days) - back, len(days) - h + 1):
                    window = {
                        "backtest_window_start_date": days[start].item(),
                        "metric_name": "smape",
                        "metric_value": 0.1,
                    }
                    forecast = np.full(h, max(values[start - 1], 0.0))
                    evaluation.append(
                        {"group_id": name, **window, "forecast": forecast, "actual": values[start : start + h], **more}
                    )
                ahead = days[-1] + 1 + np.arange(h)
                scoring.append(
                    {
                        "group_id": name,
                        "date": ahead.astype(dt.date).tolist(),
                        "target": np.full(h, max(values[-1], 0.0)),
                        **more,
                    }
                )
        self.folder.append(given["evaluation_output"], pa.Table.from_pylist(evaluation))
        self.folder.append(given["scoring_output"], pa.Table.from_pylist(scoring))
        return self.run_id


def series(name: str, seed: int) -> object:
    return random_history(seed=seed, start="2017-01-01", end="2017-12-01", name=name)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def ran(folder: Folder, histories: Sequence[object], **changes: object) -> mmf.Result:
    stand_in = StandIn(folder, **changes)
    return mmf.run(
        stand_in,
        None,
        folder,
        histories,
        prefix="mmf",
        models=["StatsForecastAutoEts"],
        horizon=HORIZON,
        backtest=BACKTEST,
    )


def test_a_run_s_forecasts_are_read_by_its_id_and_its_pickles_never(folder: Folder) -> None:
    histories = [series("Alpha", 1), series("Beta", 2)]
    ran(folder, [histories[0], replace(histories[1], close=histories[1].close * 2)], run_id="run-0")
    result = ran(folder, histories, run_id="run-1")
    assert set(result.forecasts) == {("Alpha", "StatsForecastAutoEts"), ("Beta", "StatsForecastAutoEts")}
    beta = result.forecasts["Beta", "StatsForecastAutoEts"]
    assert np.allclose(beta.points, histories[1].close[-1]), "not the earlier run's"
    assert beta.dates[0] == histories[1].dates[-1] + 1
    assert beta.errors.shape == (BACKTEST - HORIZON + 1, HORIZON)
    assert "model_pickle" not in folder.columns
    assert (result.missing, result.told()) == ((), [])


def test_a_series_that_went_in_and_did_not_come_out_is_named(folder: Folder) -> None:
    result = ran(folder, [series("Alpha", 1), series("Beta", 2)], fails=["Beta"])
    assert result.missing == ("Beta",)
    assert result.told() == ["mmf gave no forecast of Beta: look at its log for the reason"]


def test_prices_below_zero_go_in_shifted_and_come_out_in_their_unit(folder: Folder) -> None:
    oil = series("WTI", 3)
    oil = replace(oil, close=oil.close - oil.close[-1] - 3.0)
    result = ran(folder, [oil, series("Alpha", 1)])
    rows = pq.read_table(folder.root / "mmf_train.parquet").to_pandas()
    assert (rows["target"] > 0).all()
    assert rows["target"].notna().all()
    assert np.allclose(result.forecasts["WTI", "StatsForecastAutoEts"].points, -3.0)
    assert not result.floored


def test_days_that_were_cut_at_zero_are_told(folder: Folder) -> None:
    history = series("Alpha", 1)
    ran(folder, [history])
    rows = pq.read_table(folder.root / "mmf_scoring.parquet").to_pylist()
    rows[0]["target"] = [1.0, 0.5, 0.0, 0.0, 0.0]
    folder.write("mmf_scoring", pa.Table.from_pylist(rows))
    result = mmf.read(folder, "mmf", "run-1", [history])
    assert result.told() == [
        "mmf cut 3 days of StatsForecastAutoEts's forecast of Alpha at 0: they are not used as they are"
    ]
    with pytest.raises(ValueError, match="'Alpha', which did not go in"):
        mmf.read(folder, "mmf", "run-1", [series("Beta", 2)])


def test_points_and_past_errors_become_joint_paths(folder: Folder) -> None:
    one = series("Alpha", 1)
    two = replace(one, series="Beta", close=3.0 * one.close)
    result = ran(folder, [one, two])
    pool = pool_dates(np.datetime64("2017-01-01"), np.datetime64("2017-12-01"))
    slots = Shocks(1, len(pool)).slots(np.array(["2017-12-01"], "datetime64[D]"), 2000, 1)[0, 0]
    made = [mmf.paths(result.forecasts[name, "StatsForecastAutoEts"], pool, slots) for name in ("Alpha", "Beta")]
    errors = result.forecasts["Alpha", "StatsForecastAutoEts"].errors
    assert made[0].shape == (2000, HORIZON)
    assert np.allclose(np.median(made[0], axis=0), one.close[-1] + np.median(errors, axis=0), atol=0.5)
    assert made[0][:, -1].std() > 1.5 * made[0][:, 0].std()
    assert np.corrcoef(made[0][:, -1], made[1][:, -1])[0, 1] > 0.99, "series that move together stay together"
    few = replace(result.forecasts["Alpha", "StatsForecastAutoEts"], windows=pool[:5], errors=errors[:5])
    with pytest.raises(ValueError, match="5 backtest windows: errors of at least 20"):
        mmf.paths(few, pool, slots)
    with pytest.raises(ValueError, match="freq 'B': mmf takes H, D, W, M"):
        mmf.run(StandIn(folder), None, folder, [one], prefix="x", models=["a"], horizon=5, freq="B")
