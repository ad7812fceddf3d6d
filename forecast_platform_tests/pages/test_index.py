"""The entry page lists what is in the folder, newest first, and pages are replaced whole."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from forecast_platform.host.files import write_whole
from forecast_platform.pages import page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.index import write_index


def _page(folder: Path, kind: str, name: str, **about: str) -> None:
    page.write_page(folder, name, title=name, subtitle="", content=[], about={"kind": kind, **about})


def test_index_lists_boards_and_the_newest_fan_chart_of_each_model(tmp_path: Path) -> None:
    _page(tmp_path, "leaderboard", "leaderboard_Coffee.html", series="Coffee")
    for day in ("2020-01-03", "2020-01-10", "2019-12-31"):
        name = page.file_name("fan-chart", "Coffee", "naive", "v1.0", day)
        _page(tmp_path, "fan_chart", name, series="Coffee", model="naive", version="v1.0", date=day)
    _page(tmp_path, "fan_chart", "fan_sugar.html", series="Sugar", model="xgboost", version="v2", date="2020-01-04")
    (tmp_path / "foreign.html").write_text("<html>not ours</html>", encoding="utf-8")
    text = write_index(tmp_path).read_text(encoding="utf-8")
    targets = re.findall(r'<a href="([^"]+)"', text)
    assert set(targets) >= {"leaderboard_Coffee.html", "fan_sugar.html"}
    assert all((tmp_path / target).is_file() for target in targets)
    assert text.index("2020-01-10") < text.index("2020-01-03") < text.index("2019-12-31")
    assert "foreign" not in text
    assert "http" not in text


def test_only_the_newest_pages_of_a_model_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=n) for n in range(40)]
    for model in ("naive", "naive_2"):
        for day in days:
            name = page.file_name("fan-chart", "Coffee", model, "v1.0", str(day))
            _page(tmp_path, "fan_chart", name, series="Coffee", model=model, version="v1.0", date=str(day))
    opened: list[Path] = []
    read = page.read_about
    monkeypatch.setattr(page, "read_about", lambda path: opened.append(path) or read(path))
    text = write_index(tmp_path).read_text(encoding="utf-8")
    assert len(opened) == 2 * 15
    assert text.count(str(days[-1])) == text.count(str(days[-15])) == 4
    assert str(days[-16]) not in text


def test_an_empty_folder_gets_an_index_too(tmp_path: Path) -> None:
    text = write_index(tmp_path / "new").read_text(encoding="utf-8")
    assert "No reports yet" in text


def test_about_survives_characters_that_html_would_read(tmp_path: Path) -> None:
    _page(tmp_path, "leaderboard", "a.html", series="<\"&'>")
    about = page.read_about(tmp_path / "a.html")
    assert about is not None
    assert about["series"] == "<\"&'>"


@pytest.mark.parametrize("part", ["../../etc", "a/b", "a b?c#d", ""])
def test_file_names_stay_in_the_folder(part: str) -> None:
    name = page.file_name("fan-chart", part)
    assert re.fullmatch(r"[A-Za-z0-9._-]+\.html", name)
    assert ".." not in name


def test_a_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.html"]


def test_plotly_is_written_once(tmp_path: Path) -> None:
    _page(tmp_path, "leaderboard", "a.html", series="Coffee")
    first = (tmp_path / page.PLOTLY_FILE).stat().st_mtime_ns
    _page(tmp_path, "leaderboard", "b.html", series="Sugar")
    assert (tmp_path / page.PLOTLY_FILE).stat().st_mtime_ns == first


def test_text_in_a_figure_cannot_end_its_script() -> None:
    figure = Figure()
    figure.add_bar(x=["</script><b>"], y=[1])
    text = page.plot(figure, "one", 300)
    assert text.count("</script>") == 1
    assert text.endswith("</script>")


def test_cells_are_escaped_and_html_passes() -> None:
    text = page.table({"A": "text"}, [["<i>"], [page.Html("<i>")], [dt.date(2020, 1, 2)]])
    assert "&lt;i&gt;" in text
    assert "<i>" in text
    assert "2020-01-02" in text
