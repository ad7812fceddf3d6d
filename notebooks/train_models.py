# Databricks notebook source
# MAGIC %md
# MAGIC # Train models
# MAGIC
# MAGIC Fits the configured models on training windows and keeps them in `commodity.forecast.trained_models`. A window that
# MAGIC has a current fit is skipped, so the notebook may be run again at any time.
# MAGIC
# MAGIC **The cluster needs** Databricks Runtime 17.3 LTS ML, access mode *Single user*, and the package's wheel as a library
# MAGIC (`forecast-platform databricks deploy` uploads it). A single node is enough: four cores fit one window of one model in
# MAGIC seconds to a minute, and workers are not used.
# MAGIC
# MAGIC Without dates, the window that contains today is trained; without a version tag either, in every version that
# MAGIC readers follow or may go back to. The exit value is JSON: what was written, unchanged, failed.

# COMMAND ----------

dbutils.widgets.text("config", "", "settings file (YAML) on the cluster")
dbutils.widgets.text("commodity", "", "series, comma-separated (empty: all)")
dbutils.widgets.text("models", "", "models, comma-separated (empty: all)")
dbutils.widgets.text("start_date", "", "first date (empty: today's window)")
dbutils.widgets.text("end_date", "", "last date (empty: today)")
dbutils.widgets.text(
    "model_version_tag", "", "version tag (empty: the configured one; without dates, those readers follow)"
)
dbutils.widgets.dropdown("overwrite", "false", ["false", "true"], "make anew what is there")
dbutils.widgets.text("compute", "", "compute (empty: the configured one)")
dbutils.widgets.text("secrets", "", "variables from secrets: NAME=scope/key, by spaces or commas")
dbutils.widgets.text("environment", "", "variables, as JSON")
dbutils.widgets.text("source", "", "the code that the cluster must run, as deploy says it (empty: any)")
dbutils.widgets.text("progress", "", "file in a volume that is told how far this is")

# COMMAND ----------

from forecast_platform.remote.entry import WIDGETS, run

report = run("train", {name: dbutils.widgets.get(name) for name in WIDGETS["train"]})

# COMMAND ----------

dbutils.notebook.exit(report)
