"""What the source refuses is told once a file, with the series that it keeps out, zone and link."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from forecast_platform.graph.automation.sensors import refusals
from forecast_platform.settings import build

NOW = dt.datetime(2018, 4, 3, 20, tzinfo=dt.timezone.utc)


def test_each_refused_file_is_one_problem_that_names_its_series(tmp_path: Path) -> None:
    series = [
        {"name": "Coffee", "source": "kc", "covariates": ["vix"], "regions": ["Brazil"]},
        {"name": "Sugar", "covariates": [], "regions": []},
    ]
    (tmp_path / "market").mkdir()
    settings = build(source="landing", landing=tmp_path, warehouse=tmp_path / "w", series=series, timezone="Asia/Tokyo")
    texts = [
        "market/kc (1).csv, row 3: close is not a number: 'x'",
        "market/kc (1).csv, row 9: close is not a number: 'y'",
        "macro.csv, row 2: vix is not a number: 'x'",
        "weather_Brazil.csv, row 2: temp_max_c is 77",
        "Sugar: 9 of 9 closes are 0.01 of what they were",
        "market/My File.csv: makes no series name",
    ]
    found = {problem.key: problem for problem in refusals(texts, NOW, settings)}
    assert {key: problem.affected.split(":")[0] for key, problem in found.items()} == {
        "source/market/kc (1).csv": "Coffee",
        "source/macro.csv": "Coffee",
        "source/weather_Brazil.csv": "Coffee",
        "source/Sugar": "Sugar",
        "source/market/My File.csv": "no series",
    }
    first = found["source/market/kc (1).csv"]
    assert "row 3" in first.what
    assert "row 9" in first.what
    assert first.since == "2018-04-04 05:00 JST"
    assert all(problem.link == "http://127.0.0.1:3000/automation" for problem in found.values())
