"""The commands of docs/jobs.md, as somebody types them, against the API."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from forecast_platform_tests.api.desk import Desk
from forecast_platform_tests.training_jobs.tables import weekly

ROOT = Path(__file__).parents[2]
CSV = "week,store,sales\n" + "".join(f"{row['week']},{row['store']},{row['sales']}\n" for row in weekly(2, 60))


def commands() -> list[list[str]]:
    """The curl commands of the page, each as its words, without comments."""
    text = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```\n(curl .*?)```", text, re.DOTALL)
    return [shlex.split(one, comments=True) for one in re.split(r"\n(?=curl )", block)]


def request_of(words: list[str], file: str, job_id: str) -> tuple[str, str, dict[str, Any]]:
    """Method, path and content of a curl command."""
    words = [word.replace("<id>", file).replace("<job_id>", job_id) for word in words[1:]]
    sent: dict[str, Any] = {}
    if "-F" in words:
        sent["files"] = {"file": (words[words.index("-F") + 1].partition("@")[2], CSV, "text/csv")}
    if "-d" in words:
        name, _, value = words[words.index("-H") + 1].partition(": ")
        sent |= {"headers": {name: value}, "content": words[words.index("-d") + 1]}
    [address] = [word for word in words if word.startswith("localhost:8000/api/v2")]
    return words[words.index("-X") + 1] if "-X" in words else "GET", address.partition("/api/v2")[2], sent


@pytest.mark.slow
def test_the_runbook_s_commands_take_a_file_to_its_forecast(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path)
    desk.beat()
    file = job_id = ""
    answers = []
    for words in commands():
        method, path, sent = request_of(words, file, job_id)
        reply = desk.client.request(method, f"/api/v2{path}", **sent)
        assert reply.is_success, (words, reply.text)
        answers.append(reply.text)
        file = file or json.loads(reply.text)["file"]
        job_id = job_id or (json.loads(reply.text).get("job_id", "") if path == "/jobs" else "")
        if path.endswith("/submit"):
            [request] = desk.tick()
            assert desk.run(request)
    assert len(answers) == 6
    assert json.loads(answers[3])["status"] == "completed"
    assert answers[5].startswith("series,date,model,forecast")
    assert answers[5].count("\n") == 1 + 2 * 12
