"""The order of a workflow's tasks: names that exist, no circles, and what each task builds on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forecast_platform.ensembles.grammar import Task, Workflow


@dataclass(frozen=True)
class Plan:
    """Tasks in the order in which they can run, and by name those that each waits for."""

    order: tuple[str, ...]
    needs: dict[str, tuple[str, ...]]

    def above(self, name: str) -> list[str]:
        """Every task that `name` builds on, directly or not, in running order."""
        found, left = set(), list(self.needs[name])
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += self.needs[one]
        return [one for one in self.order if one in found]

    @property
    def ends(self) -> list[str]:
        """Tasks that nothing else waits for, in running order."""
        waited = {one for needs in self.needs.values() for one in needs}
        return [name for name in self.order if name not in waited]

    @property
    def levels(self) -> list[list[str]]:
        """Tasks by how many wait before them: those of one level can run at once."""
        depth: dict[str, int] = {}
        for name in self.order:
            depth[name] = 1 + max((depth[one] for one in self.needs[name]), default=-1)
        return [[name for name in self.order if depth[name] == level] for level in range(max(depth.values()) + 1)]


def circle(needs: dict[str, Sequence[str]]) -> list[str] | None:
    """A circle of names that wait for one another, its first again at its end; None where there is none."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str] | None:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return None
        for other in needs.get(name, ()):
            if (found := visit(other, [*trail, name])) is not None:
                return found
        done.add(name)
        return None

    for name in needs:
        if (found := visit(name, [])) is not None:
            return found
    return None


def plan_of(workflow: Workflow) -> Plan:
    """The plan of a workflow that `reading` took: its names exist, and there is no circle.

    A vote without `depends_on` waits for every task before it in the file, so that it votes over all base models that
    the workflow has made.
    """
    needs: dict[str, tuple[str, ...]] = {}
    for number, task in enumerate(workflow.tasks):
        needs[task.name] = tuple(dict.fromkeys(task.waits_for or _implied(task, workflow.tasks[:number])))
    order: list[str] = []
    left = list(needs)
    while left:
        ready = next(name for name in left if all(one in order for one in needs[name]))
        order.append(ready)
        left.remove(ready)
    return Plan(tuple(order), needs)


def _implied(task: Task, earlier: Sequence[Task]) -> list[str]:
    return [one.name for one in earlier if one.kind in ("stack", "boost")] if task.kind == "vote" else []
