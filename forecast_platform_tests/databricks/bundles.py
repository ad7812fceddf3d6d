"""The bundle as `databricks bundle deploy -t prod` leaves it in the workspace: its files, its wheel, its jobs."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from forecast_platform.cli.main import main
from forecast_platform.clients.databricks.monitor import ENDED, life_of, result_of
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.waiting import until

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run

ROOT = Path(__file__).resolve().parents[2]
TARGET = "prod"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def resolved(value: Any, tree: dict[str, Any]) -> Any:
    """`value` with every `${a.b}` replaced by what `tree` holds there; KeyError where it holds nothing."""
    if isinstance(value, dict):
        return {name: resolved(inside, tree) for name, inside in value.items()}
    if isinstance(value, list):
        return [resolved(inside, tree) for inside in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        # Alone, a reference keeps its type: a number of workers stays a number.
        return resolved(_at(whole[1], tree), tree)
    return _REFERENCE.sub(lambda found: str(resolved(_at(found[1], tree), tree)), value)


def _at(path: str, tree: dict[str, Any]) -> Any:
    found: Any = tree
    for name in path.split("."):
        found = found[name]
    return found


class Bundle:
    """The deployed bundle; `variables` are what `--var` gives."""

    def __init__(self, workspace: Workspace, folder: Path, **variables: str) -> None:
        self.workspace, self.client = workspace, workspace.client()
        source = yaml.safe_load((ROOT / "databricks.yml").read_text())
        given = {name: variables.get(name, about.get("default")) for name, about in source["variables"].items()}
        assert None not in given.values(), f"variables without a value: {given}"
        user = self.client.current_user.me().user_name
        root = source["targets"][TARGET]["workspace"]["root_path"]
        tree = {
            **source,
            "bundle": {**source["bundle"], "target": TARGET},
            "var": given,
            "workspace": {"current_user": {"userName": user}, "file_path": f"{root}/files"},
        }
        self.root = resolved(root, tree)
        self.wheel = self._ship_wheel(source["artifacts"]["package"]["build"], folder)
        for pattern in source["sync"]["include"]:
            for path in sorted(folder.glob(pattern)):
                self._upload(f"{self.root}/files/{path.relative_to(folder)}", path.read_bytes())
        for path in sorted((ROOT / "notebooks").glob("*.py")):
            self._upload(f"{self.root}/files/notebooks/{path.name}", path.read_bytes())
        self.settings = {
            name: self._placed(resolved(job, tree), folder) for name, job in source["resources"]["jobs"].items()
        }
        self.jobs = {name: self._create(settings) for name, settings in self.settings.items()}

    def _upload(self, path: str, content: bytes) -> None:
        from databricks.sdk.service.workspace import ImportFormat

        self.client.workspace.mkdirs(path.rpartition("/")[0].removeprefix("/Workspace"))
        self.client.workspace.upload(path, io.BytesIO(content), format=ImportFormat.AUTO, overwrite=True)

    def _ship_wheel(self, build: str, folder: Path) -> str:
        """Build the artifact with the bundle's own command, as the tool does, and upload it."""
        program, *arguments, target = build.split()
        assert program == "forecast-platform"
        assert main([*arguments, str(folder / target)]) == 0
        [wheel] = (folder / target).glob("*.whl")
        path = f"{self.root}/artifacts/.internal/{wheel.name}"
        self._upload(path, wheel.read_bytes())
        return path

    def _placed(self, job: dict[str, Any], folder: Path) -> dict[str, Any]:
        """A job whose paths of the checkout are paths of the workspace."""
        for task in job["tasks"]:
            for library in task.get("libraries", ()):
                assert [path.name for path in folder.glob(library["whl"])] == [self.wheel.rpartition("/")[2]]
                library["whl"] = self.wheel
            if "notebook_task" in task:
                relative = task["notebook_task"]["notebook_path"]
                assert (ROOT / relative).is_file()
                task["notebook_task"]["notebook_path"] = f"{self.root}/files/{relative.removesuffix('.py')}"
        return job

    def _create(self, settings: dict[str, Any]) -> int:
        from databricks.sdk.service.jobs import JobSettings

        job = JobSettings.from_dict(settings)
        made = self.client.jobs.create(**{name: value for name, value in vars(job).items() if value is not None})
        return made.job_id or 0

    def start(self, name: str, **parameters: Any) -> int:
        """Run a job now, as its schedule does or `databricks bundle run`; its run's id."""
        return int(self.client.jobs.run_now(self.jobs[name], **parameters).bind()["run_id"])

    def end(self, run_id: int) -> Run:
        """The run, when it is over."""

        def look() -> Run | None:
            run = self.client.jobs.get_run(run_id)
            return run if life_of(run) in ENDED else None

        return until(look, f"the end of run {run_id}")

    def run(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Run a job to its end, which must be success; what it reports."""
        run = self.end(self.start(name, **parameters))
        [task] = run.tasks or []
        output = self.client.jobs.get_run_output(task.run_id or 0)
        assert result_of(run) == "SUCCESS", (run.state, output.error_trace)
        told = output.notebook_output.result if output.notebook_output else (output.logs or "").splitlines()[-1]
        return dict(json.loads(told or "{}"))
