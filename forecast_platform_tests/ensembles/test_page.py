"""The page of ensembles: its example runs as it stands, and it names every task, parameter and base model."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.cli.main import main
from forecast_platform.ensembles.catalog import BASES, BOOSTS
from forecast_platform.ensembles.grammar import PARAMETERS
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.host.signed_webhook import signature

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ensembles.md").read_text(encoding="utf-8")


def test_the_page_names_every_task_parameter_and_base_model() -> None:
    for task, parameters in PARAMETERS.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{task}` |")]
        assert all(name in row for name in parameters if name != "meta"), task
    assert all(f"`{name}`" in PAGE for name in (*BASES, *BOOSTS) if not name.endswith("_log"))


def test_every_workflow_of_the_page_is_read() -> None:
    texts = [one for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.S) if one.startswith("obsrv:")]
    assert [read_workflow(one).context.name for one in texts] == ["credit_risk_ensemble", "pool_of_points"]


def test_the_page_s_check_of_a_webhook_takes_what_is_ours_and_nothing_else() -> None:
    [snippet] = re.findall(r"```python\n(import base64.*?)```", PAGE, re.S)
    found: dict = {}
    exec(snippet, found)
    now = int(time.time())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now)}
    headers["webhook-signature"] = signature("a secret of ours", "msg_1", now, b"{}")
    assert found["is_ours"]("a secret of ours", headers, b"{}")
    assert not found["is_ours"]("a secret of ours", headers, b"[]")
    assert not found["is_ours"]("another secret", headers, b"{}")
    old = {**headers, "webhook-timestamp": str(now - 900)}
    old["webhook-signature"] = signature("a secret of ours", "msg_1", now - 900, b"{}")
    assert not found["is_ours"]("a secret of ours", old, b"{}")


@pytest.mark.slow
def test_the_page_s_example_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    income, debt = rng.lognormal(10, 0.5, 200), rng.random(200)
    late = np.where(debt * 1.5 + rng.normal(0, 0.3, 200) > income / 25_000, "default", "paid")
    frame = pd.DataFrame({"income": income, "debt": debt, "region": rng.choice(["n", "s"], 200), "default_label": late})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    frame.to_parquet("training_data.parquet")
    example = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    Path("workflow.yaml").write_text(example)
    commands = re.search(r"```\n(forecast-platform ensemble check.*?)```", PAGE, flags=re.DOTALL)
    assert commands is not None
    for line in commands[1].splitlines():
        words = line.partition("#")[0].split()[1:]
        assert main(words) == 0, line
    frame.drop(columns="default_label").to_parquet("new_rows.parquet")
    code = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    names: dict = {}
    exec(code, names)
    assert (names["found"]["prediction"] == late).mean() > 0.7
