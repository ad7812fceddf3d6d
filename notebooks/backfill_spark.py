# Databricks notebook source
# MAGIC %md
# MAGIC # Backfill on Spark
# MAGIC
# MAGIC Forecasts a range of dates with the fitted models: chunks of dates are simulated by the cluster's workers and written
# MAGIC to Delta. Dates that are there and whose inputs are unchanged are skipped, so a lost run is simply run again.
# MAGIC
# MAGIC **The cluster needs** Databricks Runtime 17.3 LTS ML, access mode *Single user*, four workers of four cores (more for
# MAGIC many models and years), and the package's wheel as a library (`forecast-platform databricks deploy` uploads it).
# MAGIC
# MAGIC Set `compute` to `local` to use the driver alone. The exit value is JSON: what was written, unchanged, failed.

# COMMAND ----------

dbutils.widgets.text("config", "", "settings file (YAML) on the cluster")
dbutils.widgets.text("commodity", "", "series, comma-separated (empty: all)")
dbutils.widgets.text("models", "", "models, comma-separated (empty: all)")
dbutils.widgets.text("start_date", "", "first forecast date (empty: the first)")
dbutils.widgets.text("end_date", "", "last forecast date (empty: the day after the last data)")
dbutils.widgets.text("model_version_tag", "", "version tag (empty: the configured one)")
dbutils.widgets.dropdown("train", "false", ["false", "true"], "train windows that have no model first")
dbutils.widgets.dropdown("overwrite", "false", ["false", "true"], "make anew what is there")
dbutils.widgets.text("compute", "spark", "compute: spark, or local for the driver alone")
dbutils.widgets.text("secrets", "", "variables from secrets: NAME=scope/key, by spaces or commas")
dbutils.widgets.text("environment", "", "variables, as JSON")
dbutils.widgets.text("source", "", "the code that the cluster must run, as deploy says it (empty: any)")
dbutils.widgets.text("progress", "", "file in a volume that is told how far this is")

# COMMAND ----------

from forecast_platform.remote.entry import WIDGETS, run

report = run("backfill", {name: dbutils.widgets.get(name) for name in WIDGETS["backfill"]})

# COMMAND ----------

dbutils.notebook.exit(report)
