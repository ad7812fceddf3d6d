"""Dagster's step launcher: steps that are shipped to a Databricks cluster."""
