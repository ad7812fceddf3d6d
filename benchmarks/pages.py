"""Sizes of the reports' pages, and how long a browser takes to show each: `python benchmarks/pages.py [FOLDER]`.

FOLDER is a reports folder; that of the settings where none is given: the quickstart makes some. Of each page: bytes of
the file; milliseconds from the request to the first text on the screen (first contentful paint), to the charts in view
as still pictures, and to the last of them as plotly draws it (those further down are drawn as they come near). Beside
it the processor time of the whole browser for that page with all its charts, which other work on the machine does not
lengthen. The first line has its start, too.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forecast_platform.settings import load
from forecast_platform_tests.pages.test_in_a_browser import DESKTOP, PHONE, opened
from forecast_platform_tests.ui.webdriver import Browser

PAINT = "return performance.getEntriesByName('first-contentful-paint').map(function (e) { return e.startTime })[0] || 0"


def spent(process: psutil.Process) -> float:
    """Processor seconds of a process and all it started."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def main(folder: Path) -> None:
    """Print a line a page and device."""
    window = Browser()
    driver = psutil.Process(window._driver.pid)
    print(
        f"{'page':<54}{'device':<9}{'bytes':>10}{'text, ms':>10}{'shown, ms':>11}{'drawn, ms':>11}{'processor, s':>14}"
    )
    try:
        for page in sorted(folder.glob("*.html")):
            for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
                before = spent(driver)
                opened(window, page, size, dark=False)
                time.sleep(0.3)
                text = window.run(PAINT)
                shown, drawn = window.run("var at = document.documentElement.dataset; return [at.shown, at.drawn]")
                used = spent(driver) - before
                print(
                    f"{page.name:<54}{device:<9}{page.stat().st_size:>10,}{text:>10.0f}{int(shown):>11}{int(drawn):>11}{used:>14.2f}"
                )
    finally:
        window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else load().reports)
