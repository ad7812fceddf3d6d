"""Dagster components: a few lines of YAML that become assets, checks and jobs."""
