# Databricks notebook source
# MAGIC %md
# MAGIC # Daily inference
# MAGIC
# MAGIC Brings the prices up to date, forecasts one date for every series and model with the fitted models, completes actuals
# MAGIC and scores. A date whose inputs are unchanged is skipped.
# MAGIC
# MAGIC **The cluster needs** Databricks Runtime 17.3 LTS ML, access mode *Single user*, and the package's wheel as a library
# MAGIC (`forecast-platform databricks deploy` uploads it). One small node is enough for one date.
# MAGIC
# MAGIC Without a date, today is forecast, and the days before it that were missed; without a version tag either, every
# MAGIC version that readers follow or may go back to. The exit value is JSON: what was written, unchanged, failed.

# COMMAND ----------

dbutils.widgets.text("config", "", "settings file (YAML) on the cluster")
dbutils.widgets.text("commodity", "", "series, comma-separated (empty: all)")
dbutils.widgets.text("models", "", "models, comma-separated (empty: all)")
dbutils.widgets.text("start_date", "", "forecast date (empty: today, and days missed before it)")
dbutils.widgets.text("end_date", "", "the same date, or empty")
dbutils.widgets.text(
    "model_version_tag", "", "version tag (empty: the configured one; without a date, those readers follow)"
)
dbutils.widgets.dropdown("train", "false", ["false", "true"], "train windows that have no model first")
dbutils.widgets.dropdown("overwrite", "false", ["false", "true"], "make anew what is there")
dbutils.widgets.text("compute", "", "compute (empty: the configured one)")
dbutils.widgets.text("secrets", "", "variables from secrets: NAME=scope/key, by spaces or commas")
dbutils.widgets.text("environment", "", "variables, as JSON")
dbutils.widgets.text("source", "", "the code that the cluster must run, as deploy says it (empty: any)")
dbutils.widgets.text("progress", "", "file in a volume that is told how far this is")

# COMMAND ----------

from forecast_platform.remote.entry import WIDGETS, run

report = run("infer", {name: dbutils.widgets.get(name) for name in WIDGETS["infer"]})

# COMMAND ----------

dbutils.notebook.exit(report)
