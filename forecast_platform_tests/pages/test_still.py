"""The still picture of a chart, which is there before any script: the same numbers, dates and colours as the chart."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.pages.fan_chart import write_fan_chart
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.still import still

DAY = dt.date(2022, 12, 30)


def numbers(path: str) -> np.ndarray:
    """The points of an SVG path, [n, 2]."""
    return np.array([[float(one) for one in pair.split(" ")] for pair in re.findall(r"[ML]([\d.-]+ [\d.-]+)", path)])


def lines(text: str, colour: str) -> np.ndarray:
    """The points of the line in this colour."""
    return numbers(re.findall(rf'<path class="line" d="([^"]+)" style="stroke:var\({colour}\)', text)[0])


def scale(text: str, kind: str, side: str) -> list[tuple[str, float]]:
    """Words along an axis with their places, 0 to 1000."""
    found = re.findall(rf'<span class="{kind}" style="{side}:([\d.-]+)%">([^/]*?)</span>', text)
    return [(word, 10 * float(place)) for place, word in found]


def test_a_fan_chart_s_picture_has_last_close_bands_median_and_dates_in_their_places(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).standard_normal((2000, 14)).cumsum(axis=1)
    paths = (167.3 + 3 * noise).astype(np.float32)
    days = np.arange(np.datetime64(DAY) - 60, np.datetime64(DAY))
    page = write_fan_chart(
        tmp_path,
        series="Coffee",
        model="naive",
        version="v1.0",
        forecast_date=DAY,
        paths=paths,
        history_dates=days,
        history_close=np.linspace(150.0, 167.3, len(days)),
        actuals=np.full(14, np.nan),
        data_cutoff=DAY - dt.timedelta(days=1),
        training_cutoff=dt.date(2021, 12, 31),
        last_observed=DAY - dt.timedelta(days=1),
        staleness_days=0,
        unit="US cents/lb",
    )
    text = re.search(r'<div class="still".*?</div></div></div>', page.read_text(encoding="utf-8"), re.DOTALL)[0]  # type: ignore[index]
    ticks = scale(text, "y", "top")
    assert len(ticks) >= 4
    values, places = np.array([float(word) for word, _ in ticks]), np.array([place for _, place in ticks])
    slope, at = np.polyfit(places, values, 1)

    median = at + slope * lines(text, "--accent")[:, 1]
    assert median[0] == pytest.approx(167.3, abs=0.1), "it begins at the last close"
    assert median[1:] == pytest.approx(np.median(paths, axis=0), abs=0.1)
    closes = at + slope * lines(text, "--ink")[:, 1]
    assert closes[-1] == pytest.approx(167.3, abs=0.1)
    for level, low, high in ((95, 0.025, 0.975), (80, 0.1, 0.9), (50, 0.25, 0.75)):
        band = at + slope * numbers(re.findall(rf'd="([^"]+)Z" style="fill:var\(--band{level}\)"', text)[0])[:, 1]
        assert band[1:15] == pytest.approx(np.quantile(paths, high, axis=0), abs=0.1)
        assert band[15:29][::-1] == pytest.approx(np.quantile(paths, low, axis=0), abs=0.1)
        assert f"{level} % band" in text
    # The forecast date is a line across; the dates below belong to their places.
    dated = re.findall(r'<span class="x" style="left:([\d.]+)%">(\d\d \w{3})', text)
    assert [word for _, word in dated] == sorted({word for _, word in dated}, key=[w for _, w in dated].index)
    first, begin = float(dated[0][0]), dt.datetime.strptime(f"{dated[0][1]} 2022", "%d %b %Y").date()  # noqa: DTZ007
    second, then = float(dated[1][0]), dt.datetime.strptime(f"{dated[1][1]} 2022", "%d %b %Y").date()  # noqa: DTZ007
    a_day = (second - first) / (then - begin).days
    across = re.findall(r'<line class="line" x1="([\d.]+)" x2="\1" y1="0"', text)
    assert float(across[0]) / 10 == pytest.approx(first + a_day * (DAY - begin).days, abs=0.2)
    assert "Close (US cents/lb)" in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([100.0, 110.0], {"100", "110"}),
        ([0.6512, 0.6534], {"0.6515", "0.6530"}),
        ([-37.63, 20.0], {"0", "-20"}),
        ([12_000.0, 15_000.0], {"12,000", "14,000"}),
        ([5.0, 5.0], {"5.0"}),
    ],
)
def test_values_on_the_scale_are_round_and_told_apart(values: list[float], words: set[str]) -> None:
    figure = Figure()
    figure.add_scatter(x=["2020-01-01", "2020-01-02"], y=np.array(values), mode="lines", name="close")
    told = [word for word, _ in scale(still(figure, 300), "y", "top")]
    assert len(told) == len(set(told))
    assert words <= set(told), told


def test_a_gap_is_no_line_and_a_name_is_text() -> None:
    figure = Figure()
    figure.add_scatter(
        x=["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"],
        y=np.array([1.0, np.nan, 2.0, 3.0]),
        mode="lines",
        line={"color": "var(--ink)"},
        name="<b>close</b>",
    )
    text = still(figure, 300)
    assert re.findall(r'd="(M[^"]*)"', text)[0].count("M") == 2
    assert "&lt;b&gt;close&lt;/b&gt;" in text


def test_what_is_no_course_over_dates_has_no_still_picture() -> None:
    bars, points = Figure(), Figure()
    bars.add_bar(x=["naive"], y=[1.0])
    points.add_scatter(x=[0.1, 0.2], y=[1.0, 2.0], mode="lines", name="paths")
    assert still(bars, 300) == still(points, 300) == still(Figure(), 300) == ""
