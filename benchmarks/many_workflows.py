"""Many small workflows submitted at once over HTTP, with everything that an operator starts.

    python benchmarks/many_workflows.py [--workflows 50] [--users 5]

Each user submits their share, trying again where a limit says to wait. Prints how many were open at once against the
limits, how many completed, and whether a run of one succeeded twice; fails where any of that is wrong. The CI's slow
test (forecast_platform_tests/api/test_workflow_service.py) has a tenth of it, with kills.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from forecast_platform.graph.workflow_runs import WORKFLOW_TAG
from forecast_platform_tests.api import service as tested
from forecast_platform_tests.api.test_workflows import text
from forecast_platform_tests.api.workflow_crowd import SEED, drawn
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ui.running import Running

A_USER, IN_ALL = 3, 10
_LOG = 20_000
"""Characters of the service's log that are shown where it failed."""
_RUNS = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"


def main() -> None:
    """Submit all, wait for all, and say what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=50)
    parser.add_argument("--users", type=int, default=5)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    names = [f"user{number:02d}" for number in range(options.users)]
    tested.TOKENS.clear()
    tested.TOKENS.update({name: name * 3 for name in names})
    tested.Service.probe = names[0]
    asked = drawn(random.Random(options.seed), names, options.workflows)
    data = io.BytesIO()
    classes().to_parquet(data)
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        variables = tested.environment(root) | {
            "FORECAST_PLATFORM_TRAINING_JOBS__TOKENS": str(tested.TOKENS).replace("'", '"'),
            "FORECAST_PLATFORM_WORKERS": "1",
            "MAX_JOBS_PER_USER": str(A_USER),
            "MAX_TOTAL_JOBS": str(IN_ALL),
        }
        running, api = Running.start(root, variables), tested.Service(root, variables)
        try:
            _measure(running, api, names, asked, data.getvalue())
        except BaseException:
            sys.stderr.write((root / "api.log").read_text(errors="replace")[-_LOG:])
            raise
        finally:
            api.process.terminate()
            api.process.wait(20)
            running.stop()


def _measure(running: Running, api: Any, names: list[str], asked: list[Any], data: bytes) -> None:
    began, most = time.perf_counter(), 0

    def one(number: int, user: str, tasks: tuple[dict[str, Any], ...]) -> tuple[str, dict[str, Any]]:
        file = api.patient(user, "POST", "/uploads", data=data)["file"]
        given = {"yaml": text(file, *tasks, name=f"many_{number}")}
        made = api.patient(user, "POST", "/workflows", seconds=7200, json=given)["workflow_id"]
        api.patient(user, "POST", f"/workflows/{made}/submit", seconds=7200)
        while True:
            found = api.patient(user, "GET", f"/workflows/{made}", seconds=7200)
            if found["status"] not in tested.OPEN:
                return made, found
            time.sleep(2)

    with ThreadPoolExecutor(len(asked)) as threads:
        waiting = [threads.submit(one, number, *each) for number, each in enumerate(asked)]
        while not all(each.done() for each in waiting):
            open_now = [
                sum(each["status"] in tested.OPEN for each in api.patient(name, "GET", "/workflows")["workflows"])
                for name in names
            ]
            if max(open_now) > A_USER or sum(open_now) > IN_ALL:
                raise SystemExit(f"a limit was passed: {open_now}")
            most = max(most, sum(open_now))
            time.sleep(1)
        ended = dict(each.result() for each in waiting)
    wall = time.perf_counter() - began
    runs = running.ask(_RUNS)["results"]
    done = Counter(
        tag["value"] for run in runs if run["status"] == "SUCCESS" for tag in run["tags"] if tag["key"] == WORKFLOW_TAG
    )
    statuses = Counter(found["status"] for found in ended.values())
    print(
        f"{len(asked)} workflows of {len(names)} users: {wall:.0f} s wall, {wall / len(asked):.1f} s each; "
        f"at most {most} open at once (limits {A_USER} a user, {IN_ALL} in all); {dict(statuses)}; "
        f"run twice {sum(count > 1 for count in done.values())}"
    )
    for found in ended.values():
        if found["status"] != "completed":
            print(json.dumps(found, indent=1))
    if statuses["completed"] < len(asked) or set(done.values()) != {1}:
        raise SystemExit("not every workflow was completed once")


if __name__ == "__main__":
    main()
