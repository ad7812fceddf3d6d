"""Pages for people: fan charts, leaderboards and their index, as files that need no network."""
