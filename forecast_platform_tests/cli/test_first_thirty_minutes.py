"""README's first thirty minutes, from a file as investing.com exports it to a portfolio's risk: no command fails."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.cli.main import main
from forecast_platform.settings import Settings, load
from forecast_platform.sources.calendars import sessions

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
HISTORY = dt.date(2018, 12, 28)
"""The newest session of files as somebody has them on disk: years ago."""

FIRST = "2022-01-01"
"""README's first date, in place of which the tests take a later one: each window more would cost ten seconds."""


def block(heading: str, language: str) -> str:
    """The first block of a language under a heading of README."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)[0]


def export(path: Path, first: float, seed: int, last: dt.date) -> None:
    """A file as investing.com exports daily prices: newest first, months first, thousands of contracts."""
    days = sessions("XNYS", last - dt.timedelta(days=2190), last)
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(1).standard_t(5, len(days))
    close = first * np.exp(np.cumsum(0.008 * shared + 0.008 * rng.standard_t(5, len(days))))
    opened = np.concatenate([close[:1], close[:-1]])
    rows = ['\ufeff"Date","Price","Open","High","Low","Vol.","Change %"']
    for day, price, begin in reversed(list(zip(days.astype(object), close, opened, strict=True))):
        high, low = max(price, begin) * 1.004, min(price, begin) * 0.996
        change = 100 * (price / begin - 1)
        rows.append(
            f'"{day:%m/%d/%Y}","{price:,.2f}","{begin:,.2f}","{high:,.2f}","{low:,.2f}","18.20K","{change:.2f}%"'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["a history", "downloaded today"])
def test_own_prices_to_a_portfolio_s_risk_without_a_command_that_fails(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    today = Settings(source="sample").today()
    last = HISTORY if kept == "a history" else sessions("XNYS", today - dt.timedelta(days=14), today)[-1].item()
    if last == today:  # not over yet
        last = sessions("XNYS", today - dt.timedelta(days=14), today)[-2].item()
    assert FIRST in README

    def here(text: str) -> str:
        soon = last - dt.timedelta(days=60)
        for theirs, ours in {"/data/": f"{tmp_path}/", FIRST: str(soon)}.items():
            text = text.replace(theirs, ours)
        return text

    export(tmp_path / "landing" / "market" / "coffee.csv", 140.0, 2, last)
    export(tmp_path / "landing" / "market" / "sugar.csv", 14.0, 3, last)
    # There is no macro.csv and no weather.csv in the first half hour.
    (tmp_path / "platform.yaml").write_text(here(block("Your own prices", "yaml")))

    told = {}
    for line in here(block("Your own prices", "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value)
            load.cache_clear()
            continue
        assert words[0] == "forecast-platform"
        code = main(words[1:])
        said = capsys.readouterr()
        assert code == 0, f"{line}\n{said.out}{said.err}"
        told[words[1]] = said.out
    assert "investing.com" in told["source"]
    assert "by horizon" in told["evaluate"]
    day = "2018-12-29" if last == HISTORY else today
    assert f"forecast of {day}" in told["infer"]
    assert "last close" in told["infer"]
    assert "none" in told["coverage"]
    exec(compile(block("Your own prices", "python"), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert f"portfolio in USD, forecast of {day}, held to day 10 (" in printed
    assert "2,000 shared scenarios" in printed
    for leg in ("long 10 Coffee", "short 50 Sugar", "sum of legs"):
        assert leg in printed
    if kept != "a history":
        # A span that ends before the newest day leaves dates without a forecast: told once, not again as a check.
        span = ["--start-date", str(last - dt.timedelta(days=40)), "--end-date", str(last - dt.timedelta(days=30))]
        asked = ["--commodity", "Coffee", "--models", "naive", "random_walk", "--model-version-tag", "v2.0"]
        code = main(["backfill", "--train", "--no-score", *asked, *span])
        said = capsys.readouterr().out
        assert code == 0, said
        assert "on_time" not in said
        lacking = [line for line in said.splitlines() if re.search(r"\d+ dates: ", line)]
        assert [line.split()[0] for line in lacking] == ["naive", "random_walk"]
    load.cache_clear()
