"""The page of workflows: paste or upload YAML, see its faults in place and its DAG, run it, watch, open what it found.

What is written and which workflow is shown stand in the address, so that a reload shows the same.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import streamlit as st

from forecast_platform.app.client import ACTIVE, Api, ApiError
from forecast_platform.app.workflow_client import WorkflowApi

NAME = "workflows"
"""Value of the address's `page`."""
_COLOURS = {
    "waiting": "#eeeeee", "running": "#7fb0f5", "finished": "#9ad29a", "failed": "#f2a0a0", "interrupted": "#f3cf8e",
}  # fmt: skip
_LONGEST_IN_ADDRESS = 6000
_EXAMPLE = """\
obsrv:
  context:
    name: my_first_workflow
    metric: {classification: [auc, accuracy]}
    source: {path: ID_OF_THE_UPLOAD, target: target}
  job:
    - task: stack_top_any
      stack: {top_n: 3}
    - task: vote_weight
"""


def show(api: Api) -> None:
    """Draw the page."""
    workflows = WorkflowApi(api.url, api.headers)
    shown = st.query_params.get("workflow")
    with st.sidebar:
        _history(workflows, shown)
    if shown:
        _one(workflows, shown)
    else:
        _new(workflows)


def _go(**where: str) -> None:
    st.query_params.from_dict({"page": NAME, **where})
    st.rerun()


def _history(workflows: WorkflowApi, shown: str | None) -> None:
    """The visitor's workflows, to look at again."""
    st.subheader("Workflows")
    if st.button("New workflow", type="primary", disabled=shown is None, key="new_workflow"):
        _go()
    for one in workflows.listed():
        if st.button(
            f"{one['name']}: {one['status']}",
            key=f"workflow_{one['workflow_id']}",
            disabled=one["workflow_id"] == shown,
        ):
            _go(workflow=one["workflow_id"])


def packed(text: str) -> str:
    """A text as a value of the address."""
    return base64.urlsafe_b64encode(zlib.compress(text.encode("utf-8", "replace"), 9)).decode()


def unpacked(given: str | None) -> str:
    """The text of an address; empty where it holds none."""
    try:
        return zlib.decompress(base64.urlsafe_b64decode(given or ""), bufsize=_LONGEST_IN_ADDRESS).decode()
    except (ValueError, zlib.error):
        return ""


def _new(workflows: WorkflowApi) -> None:
    """Write or upload, check, see the DAG, run."""
    left, right = st.columns(2)
    table = left.file_uploader("The table: CSV (UTF-8) or Parquet", key="table")
    if table is not None and st.query_params.get("named") != table.file_id:
        st.query_params["table"] = workflows.upload(table.name, table)
        st.query_params["named"] = table.file_id
    if found := st.query_params.get("table"):
        left.caption(f"Name it in the workflow: `source: {{path: {found}, target: ...}}`")
    given = right.file_uploader("The workflow, as a YAML file", type=["yaml", "yml"], key="yaml_file")
    before = unpacked(st.query_params.get("yaml")) or _EXAMPLE.replace("ID_OF_THE_UPLOAD", found or "ID_OF_THE_UPLOAD")
    if given is not None and st.query_params.get("given") != given.file_id:
        before = given.getvalue().decode("utf-8", "replace")
        st.query_params["given"] = given.file_id
        st.session_state.pop("yaml", None)
    text = st.text_area("The workflow", before, height=360, key="yaml")
    told = packed(text)
    if len(told) > _LONGEST_IN_ADDRESS:
        # Not an older text in place of this one.
        st.query_params.pop("yaml", None)
        st.caption("Too long for the address: a reload of this page does not show this text again. Keep it in a file.")
    elif st.query_params.get("yaml") != told:
        st.query_params["yaml"] = told
    checked = workflows.check(text)
    if not checked["valid"]:
        _faults(text, checked)
        return
    st.success(f"{checked['name']}: {len(checked['tasks'])} tasks, nothing wrong")
    tasks = [{**task, "state": "waiting"} for task in checked["tasks"]]
    st.graphviz_chart(dag([*tasks, {"task": "model", "needs": [task["task"] for task in tasks], "state": "waiting"}]))
    with st.expander("With every default"):
        st.code(checked["completed"], "yaml")
    if st.button("Run", type="primary", key="run"):
        workflow_id = workflows.create(text)
        workflows.act(workflow_id, "submit")
        _go(workflow=workflow_id)


def _faults(text: str, checked: dict[str, Any]) -> None:
    """Each fault under the line that it is in."""
    lines = text.splitlines() or [""]
    for one in checked["problems"]:
        line = lines[min(one["line"], len(lines)) - 1]
        number = f"{one['line']}: "
        place = f"{number}{line}\n{' ' * (len(number) + one['column'] - 1)}^"
        st.code(place, None)
        where = f"{one['where']}: " if one["where"] else ""
        st.error(f"line {one['line']}, column {one['column']}: {where}{one['text']}")
    if checked["fixed"]:
        st.caption("; ".join(checked["fixes"]))
        if st.button("Write it as it was meant", key="fix"):
            st.session_state.pop("yaml", None)
            _go(**{**st.query_params.to_dict(), "yaml": packed(checked["fixed"])})


def dag(tasks: list[dict[str, Any]]) -> str:
    """The tasks as a graph in DOT, coloured by their states."""
    lines = ["digraph {", "  rankdir=LR", '  node [shape=box, style="rounded,filled", fontname="sans-serif"]']
    for task in tasks:
        lines.append(f"  {json.dumps(task['task'])} [fillcolor={json.dumps(_COLOURS[task['state']])}]")
        lines += [f"  {json.dumps(other)} -> {json.dumps(task['task'])}" for other in task["needs"]]
    return "\n".join([*lines, "}"])


def _one(workflows: WorkflowApi, workflow_id: str) -> None:
    """One workflow: its tasks while it runs, then what it found."""
    one = workflows.get(workflow_id)
    st.subheader(f"{one['name']} ({workflow_id})")
    if one["status"] in ACTIVE:
        _watch(workflows, workflow_id)
        return
    _tasks(one)
    if one["status"] == "completed":
        _results(workflows, workflow_id)
    elif one["status"] != "pending":
        (st.error if one["status"] == "failed" else st.warning)(one["error"] or one["status"])
    again, change, remove = st.columns(3)
    if again.button("Run" if one["status"] == "pending" else "Run again", key="again"):
        workflows.act(workflow_id, "submit")
        st.rerun()
    if change.button("Change its text", key="change"):
        st.session_state.pop("yaml", None)
        _go(yaml=packed(workflows.text(workflow_id)))
    if remove.button("Delete", key="delete_workflow"):
        workflows.delete(workflow_id)
        _go()


@st.fragment(run_every=2)
def _watch(workflows: WorkflowApi, workflow_id: str) -> None:
    try:
        one = workflows.get(workflow_id)
    except ApiError as error:
        st.error(str(error))
        return
    st.progress(one["progress"] or 0, f"{one['status']}: {one['current_step'] or ''} ({one['progress']} %)")
    _tasks(one)
    if one["status"] not in ACTIVE:
        st.rerun()
    if st.button("Cancel", key="cancel_workflow", disabled=one["status"] == "cancelling"):
        try:
            workflows.act(workflow_id, "cancel")
        except ApiError as error:  # another tab was first
            st.error(str(error))
            return
        st.rerun()


def _tasks(one: dict[str, Any]) -> None:
    import pandas as pd

    st.graphviz_chart(dag(one["tasks"]))
    columns = ["task", "type", "state", "started_at", "finished_at", "attempts", "run_id", "error"]
    st.dataframe(pd.DataFrame(one["tasks"])[columns], hide_index=True)


def _results(workflows: WorkflowApi, workflow_id: str) -> None:
    import pandas as pd

    found = workflows.results(workflow_id)
    scores = ", ".join(f"{name} {value:.4g}" for name, value in found["result"]["scores"].items() if value is not None)
    st.success(f"deployed: {found['result']['task']}: {scores}")
    rows = [{"task": name, **task["scores"]} for name, task in found["tasks"].items()]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    for name, task in found["tasks"].items():
        for note in [task["verdict"], *task["notes"]]:
            if note:
                st.caption(f"{name}: {note}")
    left, right = st.columns(2)
    left.download_button("report.html", workflows.file(workflow_id, "report"), "report.html", key="report")
    right.download_button("model.zip", workflows.file(workflow_id, "export"), "model.zip", key="export")
