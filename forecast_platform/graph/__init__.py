"""Everything in Dagster's terms."""
