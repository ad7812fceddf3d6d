"""Connections to what is outside this process: Spark and Databricks."""
