"""Pure functions over numpy arrays: no Dagster, no tables, no files, nothing else of this package."""
