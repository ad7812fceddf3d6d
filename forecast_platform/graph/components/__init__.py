"""Dagster components: what a user's own project declares in YAML."""
