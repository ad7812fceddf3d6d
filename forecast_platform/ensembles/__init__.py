"""Workflows of tabular ensembles in the `obsrv` grammar: read, planned and run, without Dagster."""
