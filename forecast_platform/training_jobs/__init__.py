"""An ad-hoc training job: a table goes in; a backtest, a leaderboard and a forecast come out. Knows no Dagster."""
