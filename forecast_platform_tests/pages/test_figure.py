"""Figures are plain data that plotly's own classes accept, attribute by attribute."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.pages import charts, page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.leaderboard import leaderboard
from forecast_platform.pages.scores import ModelKey


def _accepted(figure: Figure) -> None:
    """Raises ValueError where plotly knows no such attribute, or not with this value."""
    import plotly.graph_objects as go

    html = page.plot(figure, "one", 300)
    found = re.search(r'data-plot="one">(.*)</script>', html)
    assert found
    go.Figure(json.loads(found.group(1)))


def test_plotly_accepts_every_figure_of_a_report(metadata: pd.DataFrame) -> None:
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=n) for n in range(40)]
    made = np.ones((1, 40), bool)
    _accepted(charts.hit_rate_bars(leaderboard(metadata)))
    _accepted(charts.pit_histograms(metadata)[0])
    _accepted(charts.coverage_map(days, [ModelKey("naive", "v1.0")], made, ~made))


def test_panels_of_several_rows_do_not_overlap(metadata: pd.DataFrame) -> None:
    rows = [metadata[metadata["model_name"] == "naive"].assign(model_name=f"model_{n}") for n in range(6)]
    figure, panels = charts.pit_histograms(pd.concat(rows))
    _accepted(figure)
    assert panels == 2
    names = ["", "2", "3", "4", "5", "6"]
    boxes = [(*figure.layout[f"xaxis{n}"]["domain"], *figure.layout[f"yaxis{n}"]["domain"]) for n in names]
    for place, (left, right, low, high) in enumerate(boxes):
        assert 0 <= left < right <= 1 + 1e-9
        assert -1e-9 <= low < high <= 1 + 1e-9
        for other in boxes[place + 1 :]:
            apart = other[0] >= right or other[1] <= left or other[2] >= high or other[3] <= low
            assert apart, (boxes[place], other)
    assert [figure.layout[f"yaxis{n}"].get("matches") for n in names] == [None, "y", "y", None, "y4", "y4"]


def test_unknown_numbers_are_gaps_and_numpy_is_written_as_numbers() -> None:
    figure = Figure()
    figure.add_scatter(x=np.array(["a", "b"]), y=np.array([1.5, np.nan], np.float32), size=np.int64(3))
    assert json.loads(figure.to_json())["data"] == [{"type": "scatter", "x": ["a", "b"], "y": [1.5, None], "size": 3}]


@pytest.mark.parametrize("wrong", [{"nothing_of_the_kind": 1}, {"mode": "zigzag"}])
def test_plotly_refuses_what_it_does_not_know(wrong: dict[str, object]) -> None:
    figure = Figure()
    figure.add_scatter(x=[1], y=[1], **wrong)
    with pytest.raises(ValueError):
        _accepted(figure)


def test_a_page_is_written_without_importing_plotly(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from forecast_platform.pages import page\n"
        "from forecast_platform.pages.figure import Figure\n"
        "page.write_page(Path(sys.argv[1]), 'a.html', title='t', subtitle='', about={},"
        " content=[page.plot(Figure(), 'a', 100)])\n"
        "assert 'plotly' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert (tmp_path / page.PLOTLY_FILE).stat().st_size > 1_000_000
