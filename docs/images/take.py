"""Takes the pictures of the reports for README and docs: `.venv/bin/python docs/images/take.py FOLDER [NAME=PAGE...]`.

FOLDER is the reports folder of a real run, as .forecast_platform/warehouse/_reports after the quickstart. NAME=PAGE
takes a picture of another page than the last by name: `history=history_Coffee_xgboost_v1.0.html`. Needs chromium and
chromedriver. Look at each picture before it is committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from forecast_platform_tests.pages.test_in_a_browser import opened  # noqa: E402 - needs the path above
from forecast_platform_tests.ui.webdriver import Browser  # noqa: E402

MOST_BYTES = 200_000
PICTURES = {
    "daily-page": ("daily.html", 900),
    "fan-chart": ("fan-chart_*.html", 900),
    "leaderboard": ("leaderboard_*.html", 860),
    "history": ("history_*.html", 880),
    "portfolio": ("portfolio_*.html", 1180),
}
"""Name of a picture: the page (the last by name where several match), and how much of it is shown, in pixels."""


def main(folder: Path, chosen: dict[str, str]) -> int:
    """Take every picture whose page is there; returns 1 where one is too large."""
    window, code = Browser(), 0
    try:
        for name, (pattern, height) in PICTURES.items():
            pages = sorted(folder.glob(chosen.get(name, pattern)))
            if not pages:
                sys.stdout.write(f"{name}: no {pattern} in {folder}: left as it is\n")
                continue
            opened(window, pages[-1], (1180, height), dark=False)
            file = HERE / f"{name}.png"
            window.picture(file)
            size = file.stat().st_size
            sys.stdout.write(f"{name}: {pages[-1].name}, {size:,} bytes{'' if size <= MOST_BYTES else ': too large'}\n")
            code |= size > MOST_BYTES
    finally:
        window.close()
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), dict(one.split("=", 1) for one in sys.argv[2:])))
