"""Pages for people: fan charts, leaderboards, the daily page."""
