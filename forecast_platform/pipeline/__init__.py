"""What the assets do, without Dagster: ingest, train, forecast, score, each resumable and honest about its keys."""
