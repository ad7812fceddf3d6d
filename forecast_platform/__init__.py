"""Probabilistic commodity forecasts as a Dagster asset graph: train once, infer many."""

__version__ = "0.2.0"
