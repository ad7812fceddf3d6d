# Databricks notebook source
# MAGIC %md
# MAGIC # A training job: StatsForecast
# MAGIC
# MAGIC Statistical models, each series by itself.
# MAGIC Reads the job's table, backtests every model on the same windows, forecasts from all data with intervals, and keeps
# MAGIC results, leaderboard and predictor in MLflow (`docs/jobs.md`).
# MAGIC
# MAGIC `config` is the `config` of the job API as JSON, for example
# MAGIC `{"time_col": "week", "target_col": "sales", "id_col": "store", "horizon": 12}`; `data_table` is a table of Unity
# MAGIC Catalog. The exit value is JSON: the leaderboard, the best model, the MLflow run.

# COMMAND ----------

dbutils.widgets.text("package", "forecast-platform==0.2.0", "what pip installs")
package = dbutils.widgets.get("package")

# COMMAND ----------

# MAGIC %pip install --quiet $package

# COMMAND ----------

dbutils.widgets.text("job_id", "", "job (empty: a new one)")
dbutils.widgets.text("config", "{}", "config, as JSON")
dbutils.widgets.text("data_table", "", "table of the data, catalog.schema.table")
dbutils.widgets.text("folder", "", "folder for results, in a volume (empty: of the warehouse)")
dbutils.widgets.text("user_id", "", "whose job it is")
dbutils.widgets.text("tracking_uri", "", "MLflow (empty: this workspace)")
dbutils.widgets.text("experiment", "", "MLflow experiment (empty: /Shared/forecast_platform/jobs/<job_id>)")
dbutils.widgets.text("settings", "", "settings file (YAML) on the cluster (empty: defaults)")

# COMMAND ----------

from forecast_platform.remote.training_job import WIDGETS, run_training_job

report = run_training_job("statsforecast", {name: dbutils.widgets.get(name) for name in WIDGETS}, spark)

# COMMAND ----------

dbutils.notebook.exit(report)
