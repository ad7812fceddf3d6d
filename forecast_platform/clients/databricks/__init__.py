"""A Databricks workspace: its connection, files, deployments and runs."""
