"""Workflows for whoever asks over the API: check, keep, run, look, cancel, export. A user sees their own alone."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.ensembles.packaging import PackageError
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import fixed, read_workflow, written
from forecast_platform.ensembles.rows import RowsError
from forecast_platform.ensembles.running import MODEL
from forecast_platform.ensembles.store import FAILED, KEPT_DATA, State, States, aware
from forecast_platform.ensembles.submissions import NameTakenError, Submission, Submissions
from forecast_platform.ensembles.yaml_lines import Problem, WorkflowError, read_document
from forecast_platform.host.admission import OPEN, WrongStateError
from forecast_platform.host.files import write_whole
from forecast_platform.runs import workflows
from forecast_platform.runs.training_jobs import TrainingJobs, UnavailableError
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.config import JobError
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    from forecast_platform.graph.workflow_runs import Step

_SOURCE = ("obsrv", "context", "source")
_PATH = (*_SOURCE, "path")
_OF_FILES = "ensembles"
"""The catalog of what workflows over files leave."""
_TABLE_PART = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LONGEST = 200_000
"""Characters of a workflow's text at most."""


@dataclass(frozen=True)
class Checked:
    """What was found in a text: the workflow, or its faults and what `ensemble check --fix` would write."""

    workflow: Workflow | None
    problems: list[Problem]
    fixed: str | None = None
    fixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskState:
    """A task as it stands in the last attempt; times are ISO 8601 in UTC."""

    task: str
    type: str
    needs: tuple[str, ...]
    state: str
    started_at: str | None = None
    finished_at: str | None = None
    attempts: int = 0
    error: str | None = None
    run_id: str | None = None
    report: str | None = None


class SubmittedWorkflows:
    """The submitted workflows of one platform. Every method with a `user` sees that user's alone."""

    def __init__(self, settings: Settings, jobs: TrainingJobs) -> None:
        """jobs: whose instance, uploads and switch are used."""
        self.settings, self.jobs = settings, jobs
        self.store = Submissions(settings)

    def check(self, text: str) -> Checked:
        """Read a text without keeping anything."""
        try:
            return Checked(_read(text), [])
        except WorkflowError as error:
            problems = error.problems
        try:
            mended, told = fixed(text)
        except WorkflowError:
            return Checked(None, problems)
        return Checked(None, problems, mended if told else None, tuple(told))

    def create(self, user: str, text: str) -> Submission:
        """Keep a workflow that is checked; it becomes assets, and runs, once it is submitted.

        A source is a table of the warehouse, or a file that the user uploaded: `source: {path: <the upload's id>}`.
        Raises WorkflowError, NameTakenError, WrongStateError, LimitReachedError, UnavailableError.
        """
        self.jobs.require_enabled()
        workflow = _read(text)
        upload = self._upload_of(user, text, workflow)
        self._require_free(workflow)
        return self.store.create(user, workflow, text, upload)

    def _upload_of(self, user: str, text: str, workflow: Workflow) -> str | None:
        """The upload that is the source. Raises WorkflowError where the source is not the user's to read."""
        source = workflow.context.source
        named = [one for one in (source.catalog, source.schema_, source.table) if one is not None]
        document = read_document(text)
        if bad := [one for one in named if not _TABLE_PART.fullmatch(one)]:
            raise WorkflowError([document.problem(_SOURCE, f"{bad[0]!r} is no name of a catalog, schema or table")])
        if source.path is None:
            # Who is let through to the API is not let through to what was made of others' files and jobs.
            made = (source.catalog or "").lower() == _OF_FILES or (source.table or "").lower().startswith(
                "training_job_"
            )
            if source.forecasts is None and made:
                raise WorkflowError([document.problem(_SOURCE, f"{'.'.join(source.place)} may be another user's")])
            return None
        try:
            if not self.store.uses(source.path, user):
                self.jobs.upload_file(user, source.path)
        except JobError:
            said = f"there is no upload {source.path!r}: POST the file to /api/v2/uploads, and name its id here"
            raise WorkflowError([document.problem(_PATH, said)]) from None
        return source.path

    def _require_free(self, workflow: Workflow) -> None:
        """A file of this name that nobody submitted is the operator's. Raises NameTakenError."""
        slug = workflow.context.slug
        there = self.store.of_slug(slug)
        if there is not None:
            self._settled(there)
        elif (workflows.folder_of(self.settings) / f"{slug}.yaml").is_file():
            raise NameTakenError(f"context.name {workflow.context.name!r} is taken: rename the workflow")

    def submit(self, user: str, workflow_id: str) -> Submission:
        """Admit a workflow to the queue, and make it assets; also again: what is finished is not computed anew.

        Raises UnknownJobError, WrongStateError, LimitReachedError, UnavailableError, and WorkflowError where its text
        does not read any more.
        """
        self.jobs.require_enabled()
        one = self.store.get(workflow_id, user)
        self.jobs.require_daemon()
        if one.status in OPEN:
            raise WrongStateError(f"workflow {workflow_id} is {one.status} already")
        text = one.text
        if one.upload is not None:
            # The same text in a warehouse that was moved or copied.
            data = self._kept_data(user, one.upload).relative_to(self.settings.warehouse)
            mark = read_document(text).marks[_PATH]
            text = f'{text[: mark.start]}"{data.as_posix()}"{text[mark.end :]}'
        # First the file: once it is admitted, what stands there is run.
        folder = workflows.folder_of(self.settings)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{one.slug}.yaml"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            write_whole(file, text, 0o644)
        return self.store.submit(workflow_id, user)

    def _data(self, upload: str) -> Path:
        """Where the data of an upload are kept for good. Raises UnknownJobError for what is no id."""
        return self.settings.warehouse.joinpath(*KEPT_DATA, self.jobs.uploads.path(upload).name)

    def _kept_data(self, user: str, upload: str) -> Path:
        """An upload's data, with the suffix that says what they are; uploads themselves go after a day."""
        base = self._data(upload)
        for suffix in (".parquet", ".csv"):
            if (there := base.with_suffix(suffix)).is_file():
                return there
        path = self.jobs.upload_file(user, upload)
        with path.open("rb") as stream:
            suffix = ".parquet" if stream.read(4) == b"PAR1" else ".csv"
        base.parent.mkdir(parents=True, exist_ok=True)
        half = base.with_suffix(".half")
        shutil.copyfile(path, half)
        return half.rename(base.with_suffix(suffix))

    def get(self, user: str, workflow_id: str) -> Submission:
        """A workflow as it is now. Raises UnknownJobError."""
        return self._settled(self.store.get(workflow_id, user))

    def listed(self, user: str, status: str | None, limit: int) -> tuple[list[Submission], int]:
        """A user's newest workflows, at most `limit` (a count), and how many there are in all."""
        for one in self.store.outbox():
            if one.user_id == user:
                self._settled(one)
        return self.store.listed(user, status, limit)

    def _settled(self, one: Submission) -> Submission:
        """In line with Dagster where that can be asked; else as the store has it: a poll never fails for it."""
        from forecast_platform.graph.workflow_runs import settle

        if one.status not in OPEN:
            return one
        try:
            return settle(self.jobs.instance, self.store, one)
        except (UnavailableError, sqlite3.OperationalError, OSError):
            return one

    def step_of(self, one: Submission, tasks: list[TaskState]) -> str:
        """What is being done: in the queue, its place."""
        if one.status == "submitting":
            return f"queued, place {self.store.place(one)}"
        from forecast_platform.graph.workflow_runs import INTERRUPTED

        names = [task.task for task in tasks if task.state == "running"]
        if one.status in OPEN:
            names += [f"{task.task} ({INTERRUPTED})" for task in tasks if task.state == INTERRUPTED]
        return ", ".join(names)

    def tasks(self, one: Submission) -> list[TaskState]:
        """The tasks in running order, then the model, as they stand in the last attempt.

        Raises WorkflowError where its text does not read any more.
        """
        from forecast_platform.graph.workflow_runs import INTERRUPTED, WHY_INTERRUPTED, Step, steps_of

        workflow = read_workflow(one.text)
        plan = plan_of(workflow)
        steps: dict[str, Step] = {}
        states: dict[str, State] = {}
        if one.attempt and one.status != "pending":
            steps = steps_of(self.jobs.instance, workflow, one)
        reported = self.settings.training_jobs.webhook_url is not None or self.settings.compute.startswith("databricks")
        if reported or any(step.state == "failed" for step in steps.values()):
            states = States(Platform.from_settings(self.settings).warehouse, workflow.context).read()
        since = dt.datetime.fromisoformat(one.submitted_at) if one.submitted_at else None
        rows = [(name, workflow.task(name).task, plan.needs[name]) for name in plan.order]
        found = []
        for name, kind, needs in [*rows, (MODEL, MODEL, tuple(plan.order))]:
            step = steps.get(name) or Step("waiting")
            error = _error_of(states.get(name), step, since) if step.state == "failed" else None
            error = WHY_INTERRUPTED if step.state == INTERRUPTED else error
            began_at, ended_at = _iso(step.started_at), _iso(step.finished_at)
            about = states.get(name)
            ended = about is not None and step.state in ("finished", "failed") and about.run_id is not None
            run_id = about.run_id if about is not None and ended else step.run_id
            report = about.report if about is not None and ended else None
            found.append(
                TaskState(name, kind, needs, step.state, began_at, ended_at, step.attempts, error, run_id, report)
            )
        return found

    def cancel(self, user: str, workflow_id: str) -> Submission:
        """Cancel a workflow, now or as soon as that can be done. Raises UnknownJobError, WrongStateError."""
        self._settled(self.store.get(workflow_id, user))
        return self._settled(self.store.cancel(workflow_id, user))

    def delete(self, user: str, workflow_id: str) -> None:
        """Remove a workflow that does not run: its assets, fits, data and runs; its tables and MLflow runs stay.

        Raises UnknownJobError, WrongStateError.
        """
        from forecast_platform.ensembles.store import FileStore

        one = self._settled(self.store.get(workflow_id, user))
        self.store.remove(workflow_id, user)
        (workflows.folder_of(self.settings) / f"{one.slug}.yaml").unlink(missing_ok=True)
        shutil.rmtree(FileStore(self.settings, one.slug).root, ignore_errors=True)
        if one.upload is not None and not self.store.uses(one.upload):
            for path in self._data(one.upload).parent.glob(f"{self._data(one.upload).name}.*"):
                path.unlink(missing_ok=True)
        if one.submitted_at is not None:
            from forecast_platform.graph.workflow_runs import forget_runs

            forget_runs(self.jobs.instance, workflow_id)

    def _completed(self, user: str, workflow_id: str) -> Workflow:
        one = self.get(user, workflow_id)
        if one.status != "completed":
            raise WrongStateError(f"workflow {workflow_id} is {one.status}: results are there once it is completed")
        return read_workflow((workflows.folder_of(self.settings) / f"{one.slug}.yaml").read_text(encoding="utf-8"))

    def results(self, user: str, workflow_id: str) -> dict[str, Any]:
        """What a completed workflow found. Raises UnknownJobError, WrongStateError."""
        workflow = self._completed(user, workflow_id)
        try:
            return workflows.results(self.settings, workflow)
        except (workflows.WorkflowRunError, FileNotFoundError, RowsError):
            raise WrongStateError(f"the table of workflow {workflow_id} has changed since: submit it again") from None

    def report(self, user: str, workflow_id: str) -> str:
        """A completed workflow's page. Raises UnknownJobError, WrongStateError."""
        self.results(user, workflow_id)
        try:
            return workflows.report(self.settings, self._completed(user, workflow_id)).read_text(encoding="utf-8")
        except PackageError as error:
            raise WrongStateError(str(error)) from None

    def model(self, user: str, workflow_id: str) -> bytes:
        """A completed workflow's model: an MLflow model folder, zipped. Raises UnknownJobError, WrongStateError."""
        try:
            return workflows.model_zip(self.settings, self._completed(user, workflow_id))
        except PackageError as error:
            raise WrongStateError(str(error)) from None


def completed_text(workflow: Workflow) -> str:
    """A workflow as YAML with every default."""
    return written(workflow)


def _read(text: str) -> Workflow:
    """Raises WorkflowError, also for what is no text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WorkflowError([Problem(1, 1, "", f"the text is not Unicode ({error}): send it as UTF-8")]) from None
    if len(text) > _LONGEST:
        raise WorkflowError([Problem(1, 1, "", f"{len(text):,} characters; at most {_LONGEST:,}")])
    return read_workflow(text)


def _error_of(state: State | None, step: Step, began: dt.datetime | None) -> str | None:
    """Why a task failed, where it said so in this run or, of one done elsewhere, since the attempt began."""
    if state is None or state.state != FAILED:
        return None
    own = state.run_id is not None and state.run_id == step.run_id
    return state.error if own or began is None or aware(state.started_at) >= began else None


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
