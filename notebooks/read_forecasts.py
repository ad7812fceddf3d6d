# Databricks notebook source
# MAGIC %md
# MAGIC # Reading forecasts
# MAGIC What a trading program does each morning: the newest forecast of a series, its bands, and the risk of a position.
# MAGIC Needs the package installed and a warehouse with forecasts (`forecast-platform quickstart` makes one).

# COMMAND ----------

import numpy as np

from forecast_platform.read import Reader

reader = Reader()
series = reader.settings.series_names[0]
print("series:", ", ".join(reader.settings.series_names), "  champion of", series, "is", reader.champion(series))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The newest forecast: its simulated paths, day by day of the horizon

# COMMAND ----------

latest = reader.latest(series)
print(
    latest.forecast_date, latest.model, latest.version, "data to", latest.data_cutoff_date, "paths", latest.paths.shape
)
for level in (0.025, 0.1, 0.5, 0.9, 0.975):
    print(f"{level:>6}", np.round(latest.quantile(level), 2))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Risk of ten units held over the whole horizon
# MAGIC VaR is the loss exceeded with probability 1 - level; CVaR the mean loss beyond it.

# COMMAND ----------

for level, figures in reader.risk(series, levels=(0.95, 0.99), position=10).items():
    print(f"{level:.0%}  VaR {figures['var']:.2f}  CVaR {figures['cvar']:.2f}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## A probability: does the close of day 10 lie above today's?

# COMMAND ----------

last_close = reader.last_close(series, latest.last_observed_date)
print(f"P(close on day 10 > {last_close:.2f}) = {(latest.paths[:, 9] > last_close).mean():.3f}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Point forecasts as a frame

# COMMAND ----------

frame = reader.points(series, start=latest.forecast_date)
print(frame[["target_date", "forecast_median", "lower_80", "upper_80", "actual_close"]].to_string(index=False))
