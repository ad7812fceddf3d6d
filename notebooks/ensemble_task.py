# Databricks notebook source
# MAGIC %md
# MAGIC # One task of a workflow of ensembles
# MAGIC
# MAGIC Does one task of a workflow in the `obsrv` grammar (`docs/ensembles.md`) over a table of Unity Catalog, writes its
# MAGIC table and keeps its state; a task that is finished for the same inputs is not done again.
# MAGIC
# MAGIC `config` is the task (or a whole workflow, beginning with `obsrv:`) and `context` the workflow's context, both YAML or
# MAGIC JSON; `catalog`, `schema`, `table` and `target` go before what the context says of its source. The exit value is JSON.

# COMMAND ----------

# MAGIC %pip install --quiet "forecast-platform[ensembles]"

# COMMAND ----------

dbutils.widgets.text("workflow_id", "", "name of the workflow")
dbutils.widgets.text("task_id", "", "the task")
dbutils.widgets.text("config", "{}", "the task, or a whole workflow")
dbutils.widgets.text("context", "{}", "the workflow's context")
dbutils.widgets.text("catalog", "", "catalog of the table")
dbutils.widgets.text("schema", "", "its schema")
dbutils.widgets.text("table", "", "the table")
dbutils.widgets.text("target", "", "the column that is predicted")

# COMMAND ----------

from forecast_platform.remote.ensemble_task import WIDGETS, run_ensemble_task

report = run_ensemble_task({name: dbutils.widgets.get(name) for name in WIDGETS})

# COMMAND ----------

dbutils.notebook.exit(report)
