"""A workflow over a warehouse: each task done once for its inputs, its tables written, its state kept."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from forecast_platform.ensembles import store as keeping
from forecast_platform.ensembles.by_route import folds_of
from forecast_platform.ensembles.folds import Folds
from forecast_platform.ensembles.forecasts import forecast_frame, open_rows, write_votes
from forecast_platform.ensembles.gpu import asks_gpu
from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.ensembles.memory import Memory
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.plan import Plan, plan_of
from forecast_platform.ensembles.rows import Rows, make_rows
from forecast_platform.ensembles.signed import Signer
from forecast_platform.ensembles.store import FAILED, FINISHED, RUNNING, FileStore, State, States
from forecast_platform.ensembles.tasks import perform
from forecast_platform.ensembles.workshop import ENGINE, Workshop
from forecast_platform.host.disk import full_disk
from forecast_platform.host.memory import LARGE, give_back_memory
from forecast_platform.host.progress import silent
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

MODEL = "model"
"""What the last step of every workflow is called: the deployable model and the report."""


class EarlierTaskError(RuntimeError):
    """A task cannot begin: one that it waits for is not finished for these inputs."""


@dataclass(frozen=True)
class Done:
    """What became of a task: its outcome, and whether it was computed now or found."""

    outcome: Outcome
    fresh: bool
    tables: tuple[str, ...] = ()


def followed(workflow: Workflow) -> dict[str, Any]:
    """What of a workflow's context its results follow from, as JSON has it."""
    return workflow.context.model_dump(mode="json", exclude={"timeout", "compute", "register_"})


class Run:
    """A workflow in a platform's warehouse. One object serves one process; the table is read once."""

    def __init__(
        self, platform: Platform, workflow: Workflow, frame: pd.DataFrame | None = None, run_id: str | None = None
    ) -> None:
        """run_id: whose run this is, for the tasks' states."""
        self.platform, self.workflow, self.run_id = platform, workflow, run_id
        self.plan: Plan = plan_of(workflow)
        self.store = FileStore(platform.settings, workflow.context.slug)
        self.states = States(platform.warehouse, workflow.context)
        self._frame = frame
        self._memory = Memory()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The source, a row an example, a column a feature or the target. Raises FileNotFoundError, RowsError, and
        ForecastsError where it is made of forecasts that are not there."""
        if self._frame is not None:
            return self._frame
        if self.workflow.context.source.forecasts is not None:
            return forecast_frame(self.platform, self.workflow.context)
        return keeping.source_frame(self.platform.warehouse, self.platform.settings, self.workflow.context)

    @cached_property
    def rows(self) -> Rows:
        """The rows that are worked on. Raises RowsError."""
        made = make_rows(self.frame, self.workflow.context)
        if self.frame.size >= LARGE:
            give_back_memory()
        return made

    @cached_property
    def folds(self) -> dict[str, Folds]:
        """The folds, and holdouts where tasks have made them. Raises FoldError, RouteError."""
        return {"folds": folds_of(self.rows, self.workflow)}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Of each task, and of the model, the hash of what it follows from: rows, parameters, code, versions of the
        libraries, earlier tasks."""
        from forecast_platform.ensembles.catalog import libraries

        context = followed(self.workflow)
        shared = [ENGINE, self.rows.digest, context, libraries()]
        # What was asked for, not what a machine has: whoever plans and whoever fits come to the same.
        gpu = asks_gpu(self.workflow.context)
        found: dict[str, str] = {}
        for name in self.plan.order:
            task = self.workflow.task(name)
            asked = ["gpu"] if gpu and task.kind != "route" else []
            needs = [found[one] for one in self.plan.needs[name]]
            found[name] = _hash([*shared, task.model_dump(mode="json"), needs, *asked])
        made_of = [*shared, "model", [found[one] for one in self.plan.order]]
        if self.workflow.context.source.forecasts is not None:
            # A day without a new close has new forecasts to vote on all the same.
            made_of.append(open_rows(self.frame).to_csv())
        found[MODEL] = _hash(made_of)
        return found

    def finished(self, name: str, states: Mapping[str, State] | None = None) -> Outcome | None:
        """The outcome of a task that is finished for these inputs; None where it has to be done.

        states: of the tasks, where they were read before.
        """
        state = (self.states.read() if states is None else states).get(name)
        if state is None or state.state != FINISHED or state.input_hash != self.hashes[name]:
            return None
        if self.store.digest(f"tasks/{name}") != state.artifact_sha256:
            return None
        return keeping.get_outcome(self.store, name)

    def perform(self, name: str, tell: Callable[[int, int, str], None] = silent, *, again: bool = False) -> Done:
        """Do one task, or find it done: what it needs must be finished. Keeps its outcome, tables and state.

        Two runs of this machine never do one task at once. again: also where it is finished for these inputs. Raises
        EarlierTaskError, TaskTimeoutError, and the errors of rows, folds, routes and combinations; the state then says
        why.
        """
        with self.store.lock(f"tasks/{name}"):
            # Another run of this workflow does it at the same time: wait, and find it done.
            return self._performed(name, tell, again=again)

    def _performed(self, name: str, tell: Callable[[int, int, str], None], *, again: bool) -> Done:
        states = self.states.read()
        if again:
            # Fits that are gone from the store are made anew.
            self._memory = Memory()
        elif (found := self.finished(name, states)) is not None:
            return Done(found, False)
        earlier = {}
        for above in self.plan.above(name):
            outcome = self.finished(above, states)
            if outcome is None:
                raise EarlierTaskError(
                    f"{name} waits for {above}, which is not finished for these inputs: run it first"
                )
            earlier[above] = outcome
        with _Kept(self, name, states.get(name)) as finish:
            outcome = perform(self.workshop(tell), self.workflow, self.plan, name, earlier)
            if self.rows.features.size >= LARGE:
                give_back_memory()
            tables = self._tables(outcome)
            finish(outcome, keeping.put_outcome(self.store, outcome))
        return Done(outcome, True, tables)

    def workshop(self, tell: Callable[[int, int, str], None] = silent) -> Workshop:
        """A workshop over these rows, whose fits are kept."""
        timeout = self.workflow.context.timeout
        settings = self.platform.settings
        return Workshop(
            self.workflow.context,
            self.rows,
            self.folds,
            self.store,
            settings.workers,
            time.monotonic() + timeout,
            tell,
            self._memory,
            Signer(settings),
        )

    def outcomes(self, states: Mapping[str, State] | None = None) -> dict[str, Outcome]:
        """The outcomes of the tasks that are finished for these inputs, in running order.

        states: of the tasks, where they were read before.
        """
        states = self.states.read() if states is None else states
        found = {name: self.finished(name, states) for name in self.plan.order}
        return {name: one for name, one in found.items() if one is not None}

    def _tables(self, outcome: Outcome) -> tuple[str, ...]:
        context, warehouse = self.workflow.context, self.platform.warehouse
        if outcome.cells is not None:
            return (keeping.write_clustered(warehouse, context, self.rows, outcome, self.frame),)
        if context.source.forecasts is not None:
            return (write_votes(warehouse, context, self.frame, self.rows, outcome),)
        return (keeping.write_predictions(warehouse, context, self.rows, outcome),)


class _Kept:
    """Within this a task's state is `running`; what ends it is written."""

    def __init__(self, run: Run, name: str, before: State | None) -> None:
        self.run, self.name, self.before = run, name, before

    def __enter__(self) -> Callable[[Outcome, str], None]:
        run, name, before = self.run, self.name, self.before
        wanted = run.hashes[name]
        attempts = before.attempts + 1 if before is not None and before.input_hash == wanted else 1
        self.state = State(RUNNING, wanted, attempts, _now(), run_id=run.run_id)
        self.began = time.perf_counter()
        run.states.write(name, self.state)
        return self._finish

    def _finish(self, outcome: Outcome, digest: str) -> None:
        small = {key: value for key, value in outcome.to_dict().items() if key not in ("node", "routers", "bases")}
        if small["unrouted"]:
            small["unrouted"] = {key: value for key, value in small["unrouted"].items() if key != "node"}
        self.state = replace(
            self.state,
            state=FINISHED,
            finished_at=_now(),
            seconds=outcome.seconds,
            cpu_seconds=outcome.cpu_seconds,
            fits=outcome.fits,
            result=json.dumps(small, sort_keys=True),
            artifact_sha256=digest,
        )
        self.run.states.write(self.name, self.state)

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if error is None:
            return
        said = why_it_ended(error)
        spent = time.perf_counter() - self.began
        self.run.states.write(
            self.name, replace(self.state, state=FAILED, finished_at=_now(), seconds=spent, error=said)
        )


def why_it_ended(error: BaseException) -> str:
    """What a state says of the error that ended a task."""
    if not isinstance(error, Exception):
        return "interrupted: finished fits are kept; run it again"
    return full_disk(error) or f"{type(error).__name__}: {error}"


def _hash(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)
