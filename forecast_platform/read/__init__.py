"""The reader that trading programs use: paths, point forecasts, risk and portfolios, without Dagster.

    from forecast_platform.read import Reader
    reader = Reader()
    latest = reader.latest("Coffee", "xgboost")
    latest.paths                    # float32 [n_paths, horizon], closes from latest.forecast_date on
    latest.value_at_risk(0.95, day_ahead=10)
    reader.portfolio({"Coffee": 10, "Sugar": -50}).risk(horizon=10)

Rows with leakage and failed forecasts are never returned. A forecast that has not seen the newest session due is
refused, unless asked for (`max_age`, `strict`). What is asked for and not there is an error, never an empty result.
"""

from __future__ import annotations

from forecast_platform.forecasting.portfolio import expected_shortfall, value_at_risk
from forecast_platform.read.asking import Date
from forecast_platform.read.forecast import Forecast, Paths
from forecast_platform.read.freshness import NoForecastError, StaleForecastError, StaleForecastWarning
from forecast_platform.read.portfolio import Leg, Portfolio, PortfolioError, PortfolioFigures
from forecast_platform.read.reader import Reader
from forecast_platform.read.results import ByDate, Odds, PathsByDate, Quantiles, Risk, RiskByDate

__all__ = [
    "ByDate",
    "Date",
    "Forecast",
    "Leg",
    "NoForecastError",
    "Odds",
    "Paths",
    "PathsByDate",
    "Portfolio",
    "PortfolioError",
    "PortfolioFigures",
    "Quantiles",
    "Reader",
    "Risk",
    "RiskByDate",
    "StaleForecastError",
    "StaleForecastWarning",
    "expected_shortfall",
    "value_at_risk",
]
