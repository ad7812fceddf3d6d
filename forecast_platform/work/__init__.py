"""The work of a step on a series' keys: what every compute runs, without Dagster."""
