"""A shell that is logged in to the workspace, with the platform deployed there: for the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform import settings
from forecast_platform.cli.main import main
from forecast_platform_tests.databricks_workspace import Workspace

FOLDER = "/Shared/forecast_platform"


def log_in(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a shell that is logged in to the workspace."""
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "local"))
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS", "0.1")
    settings.load.cache_clear()


class Shell:
    """Runs commands, keeps what they print; no output ever holds the token."""

    def __init__(self, capsys: pytest.CaptureFixture[str], workspace: Workspace) -> None:
        self.capsys, self.workspace = capsys, workspace

    def __call__(self, *arguments: str) -> tuple[int, str]:
        settings.load.cache_clear()
        code = main(["databricks", *arguments])
        captured = self.capsys.readouterr()
        text = captured.out + captured.err
        assert self.workspace.token not in text
        return code, text


def notebook(workspace: Workspace, name: str, code: str) -> None:
    """Put other code in place of a deployed notebook: these tests are about runs, not forecasts."""
    path = workspace.local(f"{FOLDER}/{name}")
    path.write_text(f"# Databricks notebook source\n{code}\n")


def ready(shell: Shell, workspace: Workspace) -> Workspace:
    """The workspace with the platform deployed, its notebooks of no work."""
    assert shell("deploy")[0] == 0
    notebook(workspace, "backfill_spark", "dbutils.notebook.exit('{}')")
    notebook(workspace, "train_models", "dbutils.notebook.exit('{}')")
    return workspace
