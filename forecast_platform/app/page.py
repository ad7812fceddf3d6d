"""The page: upload, look, choose, train, watch, compare. Which page, file and job are shown stands in the address."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import streamlit as st

from forecast_platform.app import chat, workflows
from forecast_platform.app.client import ACTIVE, Api, ApiError
from forecast_platform.app.command import API_VARIABLE
from forecast_platform.app.figures import backtest_figure, forecast_figure

_FILES = ("forecast.csv", "forecasts.csv", "leaderboard.csv", "backtest.csv", "metrics.json", "config.json")
_JOBS = "jobs"
_PAGES = {_JOBS: "Jobs", workflows.NAME: "Workflows", chat.NAME: "Which model?"}
_PLACES = {"cluster": "Databricks", "local": "the service's machine"}
_PRESETS = ("medium_quality", "fast_training", "high_quality", "best_quality")


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Workbench", layout="wide")
    api = Api.of_visitor(os.environ.get(API_VARIABLE, "http://127.0.0.1:8000"), st.context.headers)
    page = st.query_params.get("page", _JOBS)
    try:
        with st.sidebar:
            _pages(page)
        if page == workflows.NAME:
            st.title("Workflows")
            workflows.show(api)
            return
        if page == chat.NAME:
            st.title("Which model for a task?")
            chat.show(api)
            return
        st.title("Training jobs")
        _banner(api)
        shown = st.query_params.get("job")
        with st.sidebar:
            _history(api, shown)
        if shown:
            _job(api, shown)
        else:
            _new(api)
    except ApiError as error:
        st.error(str(error))


def _pages(current: str) -> None:
    """The pages there are: beside one another as far as the side has room, then below."""
    with st.container(horizontal=True):
        for name, title in _PAGES.items():
            if st.button(title, key=f"page_{name}", disabled=name == current):
                st.query_params.from_dict({"page": name})
                st.rerun()


@st.fragment(run_every=5)
def _banner(api: Api) -> None:
    """Which jobs run now."""
    try:
        active = [job for job in api.jobs() if job["status"] in ACTIVE]
    except ApiError as error:  # a fragment draws by itself, and what it raises stays in it
        st.error(str(error))
        return
    if active:
        told = "; ".join(f"{job['job_id'][:8]} {job['status']} {job['progress']} %" for job in active)
        st.info(f"{len(active)} under way: {told}")


def _history(api: Api, shown: str | None) -> None:
    """Past jobs, to look at again."""
    st.subheader("Jobs")
    if st.button("New job", type="primary", disabled=shown is None, key="new"):
        st.query_params.clear()
        st.rerun()
    for job in api.jobs():
        label = f"{job['created_at'][:16].replace('T', ' ')}  {job['training_mode']}: {job['status']}"
        if st.button(label, key=f"job_{job['job_id']}", disabled=job["job_id"] == shown):
            st.query_params.from_dict({"job": job["job_id"]})
            st.rerun()


def _new(api: Api) -> None:
    """Upload, look at the data, choose."""
    given = st.file_uploader("A CSV (UTF-8) or Parquet file, one row a series and stamp", key="file")
    if given is not None and st.query_params.get("named") != given.file_id:
        st.query_params.from_dict({"file": api.upload(given.name, given), "named": given.file_id})
    file = st.query_params.get("file")
    if not file:
        st.caption("Or choose a job on the left.")
        return
    columns = api.look(file)["columns"]
    left, middle, right = st.columns(3)
    time_col = left.selectbox("Stamps", columns, index=_guess(columns, ("date", "ds", "time", "week", "month")))
    target = middle.selectbox("Values", columns, index=_guess(columns, ("sales", "y", "value", "target", "close"), 1))
    others = [name for name in columns if name not in (time_col, target)]
    id_col = right.selectbox("Series", [None, *others], index=_guess([None, *others], ("id", "store", "series")))
    covariates = st.multiselect("Covariates", [name for name in others if name != id_col])
    seen = api.look(file, time_col=time_col, target_col=target, id_col=id_col)
    _data(seen)
    _choose(api, {"file": file, "time_col": time_col, "target_col": target, "id_col": id_col, "covariates": covariates})


def _guess(columns: list[Any], names: tuple[str, ...], otherwise: int = 0) -> int:
    found = [k for k, name in enumerate(columns) if name and any(part in str(name).lower() for part in names)]
    return found[0] if found else min(otherwise, len(columns) - 1)


def _data(seen: dict[str, Any]) -> None:
    """Series, gaps, frequency, and a plot."""
    left, middle, right, last = st.columns(4)
    left.metric("series", seen["series"])
    middle.metric("rows", seen["rows"])
    right.metric("frequency", seen["frequency"])
    last.metric("missing rows", seen["gaps"])
    for note in seen["notes"]:
        st.caption(note)
    st.dataframe(pd.DataFrame(seen["examples"]).drop(columns=["dates", "values"]), hide_index=True)
    lines = {one["series"]: pd.Series(one["values"], pd.to_datetime(one["dates"])) for one in seen["examples"][:5]}
    st.line_chart(pd.DataFrame(lines))


def _choose(api: Api, data: dict[str, Any]) -> None:
    modes = {mode["value"]: mode for mode in api.modes()}
    usable = [value for value, mode in modes.items() if mode["available"]]
    best = next((k for k, value in enumerate(usable) if modes[value]["recommended"]), 0)
    left, middle, right = st.columns(3)
    mode = left.selectbox("Mode", usable, best, format_func=lambda value: modes[value]["name"], key="mode")
    st.caption(modes[mode]["description"])
    presets = middle.selectbox("Presets", _PRESETS)
    horizon = right.number_input("Horizon (steps)", 1, 1000, 12, key="horizon")
    seconds = left.number_input("Time limit (s)", 10, 3600, 600)
    metric = middle.selectbox("Order by", ("mase", "smape", "mape", "wql"))
    name = right.text_input("Register the best model as (optional)")
    places = api.places()
    place = middle.selectbox("Trained on", places, format_func=_PLACES.get, key="place") if len(places) > 1 else None
    if st.button("Train", type="primary", key="train"):
        config = {
            **data, "training_mode": mode, "presets": presets, "horizon": int(horizon), "time_limit": float(seconds),
            "metric": metric, "register_model": bool(name), "model_name": name or None, "models": [],
            "compute": place,
        }  # fmt: skip
        st.query_params.from_dict({"job": api.train(config)})
        st.rerun()


def _job(api: Api, job_id: str) -> None:
    """One job: its progress while it runs, then what it found."""
    job = api.job(job_id)
    st.subheader(f"{job['training_mode']} {job_id[:8]}")
    if job["status"] in ("pending", *ACTIVE):
        _progress(api, job_id)
    elif job["status"] == "completed":
        _results(api, job_id)
    else:
        (st.error if job["status"] == "failed" else st.warning)(job["error"] or job["status"])
        if st.button("Try again", key="retry"):
            api.act(job_id, "retry")
            st.rerun()
    if job["status"] not in ACTIVE and st.button("Delete", key="delete"):
        api.delete(job_id)
        st.query_params.clear()
        st.rerun()


@st.fragment(run_every=2)
def _progress(api: Api, job_id: str) -> None:
    try:
        job = api.job(job_id)
    except ApiError as error:
        st.error(str(error))
        return
    st.progress(job["progress"], f"{job['status']}: {job['current_step'] or ''} ({job['progress']} %)")
    if job["status"] not in ("pending", *ACTIVE):
        st.rerun()
    if st.button("Cancel", key="cancel", disabled=job["status"] == "cancelling"):
        try:
            api.act(job_id, "cancel")
        except ApiError as error:  # another tab was first
            st.error(str(error))
            return
        st.rerun()


def _results(api: Api, job_id: str) -> None:
    found = api.results(job_id)
    mape = "" if found["mape"] is None else f", MAPE {found['mape']:.2f} %"
    st.success(f"best: {found['best_model']}{mape}, over {found['backtest_windows']} windows")
    for note in found["notes"]:
        st.caption(note)
    st.dataframe(pd.DataFrame(found["leaderboard"]), hide_index=True)
    backtest = pd.read_csv(_stream(api, job_id, "backtest.csv"), dtype={"series": str})
    forecasts = pd.read_csv(_stream(api, job_id, "forecasts.csv"), dtype={"series": str})
    left, right = st.columns(2)
    series = left.selectbox("Series", sorted(forecasts["series"].unique()), key="series")
    model = right.selectbox("Model", [row["model"] for row in found["leaderboard"]], key="model")
    level = max(found["levels"])
    st.plotly_chart(forecast_figure(backtest, forecasts, series, model, level))
    st.plotly_chart(backtest_figure(backtest, series, model, level))
    for column, name in zip(st.columns(len(_FILES)), _FILES, strict=True):
        column.download_button(name, api.file(job_id, name), name, key=f"get_{name}")


def _stream(api: Api, job_id: str, name: str) -> Any:
    import io

    return io.BytesIO(api.file(job_id, name))


main()
