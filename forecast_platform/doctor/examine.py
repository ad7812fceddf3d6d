"""`forecast-platform doctor`: is everything here that a run needs, and if not, what mends it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from urllib.parse import urlsplit

from forecast_platform.doctor.databricks import databricks
from forecast_platform.doctor.services import compose, services
from forecast_platform.doctor.sources import source
from forecast_platform.doctor.stores import dagster, folder, privacy, tables, tracking
from forecast_platform.graph.automation.notifiers import notifiers_of
from forecast_platform.host.finding import Finding
from forecast_platform.host.services import answers, is_free, serves_reports
from forecast_platform.host.severity import Severity
from forecast_platform.models import registry
from forecast_platform.plugins import registry as plugins
from forecast_platform.settings import PREFIX, Settings, SettingsError

PYTHONS = ((3, 10), (3, 13))
WORD: dict[Severity, str] = {"good": "ok", "warning": "WARN", "error": "FAIL", "critical": "FAIL"}
"""What is printed of a finding's severity."""

UI_PORT = 3000
SLOW_DEFINITIONS_SECONDS = 3.0
LOW_MEMORY_GB = 1.5

_MODULES = {
    "xgboost-cpu": "xgboost",
    "scikit-learn": "sklearn",
    "databricks-sdk": "databricks.sdk",
    "pyyaml": "yaml",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health",
}
"""Import names of distributions that are called otherwise."""

Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings, *, deep: bool = False) -> bool:
    """Print what each check finds, with the mend under each fault; False where any failed. `deep` reads all files."""
    failed = warned = 0
    for check in CHECKS:
        if deep and check is tables:
            check = partial(tables, deep=True)
        for finding in _findings(check, settings):
            print(f"{WORD[finding.severity]:<5} {finding.subject:<13} {finding.found}", flush=True)
            if finding.severity != "good":
                print(f"{'':<20}mend: {finding.mend}", flush=True)
            failed += finding.severity == "error"
            warned += finding.severity == "warning"
    print(f"\n{failed} failed, {warned} warned" if failed or warned else "\nall is well")
    return failed == 0


def _findings(check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others find
        name = getattr(check, "__name__", "tables").lstrip("_")
        yield Finding(name, "error", f"{type(error).__name__}: {error}", "mend what the message names, then look again")


def python(_settings: Settings) -> Iterator[Finding]:
    """A supported Python."""
    oldest, newest = (".".join(map(str, edge)) for edge in PYTHONS)
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        yield Finding("python", "good", found)
    else:
        mend = f"install Python {oldest} to {newest} and run `python{newest} tasks.py doctor`"
        yield Finding("python", "error", f"{found}; supported are {oldest} to {newest}", mend)


def packages(_settings: Settings) -> Iterator[Finding]:
    """Every dependency is there, at a version that our own metadata allow. Nothing is imported."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(text) for text in requires("forecast-platform") or ()]
    except PackageNotFoundError:
        mend = "in the checkout: python -m pip install --no-deps -e ."
        yield Finding("packages", "error", "forecast-platform itself is not installed", mend)
        return
    base = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = []
    for one in base:
        if reason := _unmet(one.name, lambda text, one=one: one.specifier.contains(text, prereleases=True)):  # type: ignore[misc]
            wrong.append(one)
            one.marker = None
            mend = f"python -m pip install '{one}'"
            yield Finding("packages", "error", f"{one.name}: {reason}, needed is {one.specifier or 'any'}", mend)
    if not wrong:
        pins = ", ".join(f"{name} {version(name)}" for name in ("dagster", "pandas", "deltalake", "mlflow"))
        yield Finding("packages", "good", f"{len(base)} as required ({pins})")


def _unmet(name: str, allowed: Callable[[str], bool]) -> str | None:
    try:
        found = version(name)
    except PackageNotFoundError:
        return "not installed"
    if not allowed(found):
        return f"{found} is installed"
    module = _MODULES.get(name, name.replace("-", "_"))
    return None if find_spec(module) else f"{found} is installed, but there is no module {module}"


def configuration(settings: Settings) -> Iterator[Finding]:
    """The settings (they have loaded), who is told of problems, and each series' exchange calendar."""
    from forecast_platform.sources.base import SourceError
    from forecast_platform.sources.calendars import sessions

    overridden = sorted(name for name in os.environ if name.startswith(PREFIX))
    origin = ", ".join(overridden) if overridden else "defaults"
    found = f"source {settings.source}, {len(settings.series)} series, {len(settings.models)} models (from {origin})"
    yield Finding("settings", "good", found)
    try:
        notifiers_of(settings)
    except SettingsError as error:
        yield Finding(
            "alerts", "warning", str(error), "set it in the environment of the daemon: else only its log is told"
        )
    today = settings.today()
    known = []
    for series in settings.series:
        try:
            sessions(series.calendar, today, today + dt.timedelta(days=30))
            known.append(f"{series.name} on {series.calendar}")
        except SourceError as error:
            mend = (
                f"set `exchange` of {series.name} to a known code in the YAML file that {PREFIX}CONFIG names "
                "(python -c 'import exchange_calendars as e; print(e.get_calendar_names())' lists them)"
            )
            yield Finding("calendars", "error", f"{series.name}: {error}", mend)
    if known:
        yield Finding("calendars", "good", ", ".join(known))


def models(settings: Settings) -> Iterator[Finding]:
    """Which models are configured and registered, and which of them lack their library."""
    lacking = []
    for name in settings.models:
        model = registry.model_of(settings.model_spec(name))
        if reason := registry.missing(model, name):
            yield Finding("models", "error", reason.partition(": ")[0], reason.partition("install it with ")[2])
        elif model.tags.needs_gpu and shutil.which("nvidia-smi") is None:
            mend = "run it where a GPU is (setting compute), or take it out of models"
            yield Finding("models", "warning", f"model {name!r} needs a GPU, and no driver is seen here", mend)
    for name in registry.names():
        reason = registry.missing(registry.model_class(name), name)
        lacking += [f"{reason}"] if reason and name not in settings.models else []
    yield Finding("models", "good", f"configured: {', '.join(settings.models)}")
    for reason in lacking:
        yield Finding("models", "good", f"not installed: {reason}")


def plugin(settings: Settings) -> Iterator[Finding]:
    """What the plugins registered, and why those that could not be loaded could not."""
    broken = plugins.load(settings.plugins)
    for name in settings.plugins:
        if name in broken:
            what, _, mend = broken[name].rpartition(": ")
            yield Finding("plugins", "error", f"{name}: {what or broken[name]}", mend)
        else:
            yield Finding("plugins", "good", f"{name}: {', '.join(plugins.registered(name))}")


def definitions(_settings: Settings) -> Iterator[Finding]:
    """The asset graph loads, timed in a process of its own."""
    code = (
        "import time; start = time.perf_counter(); from forecast_platform.definitions import defs; "
        "count = len(list(defs.resolve_all_asset_keys())); print(time.perf_counter() - start, count)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        mend = "python -c 'import forecast_platform.definitions' shows where"
        yield Finding("definitions", "error", f"do not load: {reason}", mend)
        return
    seconds, count = done.stdout.split()[-2:]
    found = f"{count} assets in {float(seconds):.1f} s"
    if float(seconds) <= SLOW_DEFINITIONS_SECONDS:
        yield Finding("definitions", "good", found)
    else:
        mend = "python -X importtime -c 'import forecast_platform.definitions' shows why, where the machine is not busy"
        yield Finding("definitions", "warning", f"{found}, over {SLOW_DEFINITIONS_SECONDS:g} s: each run pays it", mend)


def ports(settings: Settings) -> Iterator[Finding]:
    """The ports of `forecast-platform up` are free, or it uses them already."""
    if is_free("127.0.0.1", UI_PORT):
        yield Finding("port", "good", f"{UI_PORT} is free for the UI")
    elif found := answers("127.0.0.1", UI_PORT):
        yield Finding("port", "good", f"{UI_PORT} serves a Dagster UI already (webserver {found})")
    else:
        mend = "forecast-platform up --port 3010"
        yield Finding("port", "warning", f"{UI_PORT}, the UI's, is taken by another program", mend)
    address = urlsplit(settings.reports_url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    if is_free(host, port):
        yield Finding("port", "good", f"{port} is free for the reports")
    elif serves_reports(settings.reports_url):
        yield Finding("port", "good", f"{port} serves the reports already")
    else:
        mend = f"set {PREFIX}REPORTS_URL to a free address, such as http://127.0.0.1:3011"
        yield Finding("port", "warning", f"{host}:{port}, the reports', is taken or not of this machine", mend)


def machine(settings: Settings) -> Iterator[Finding]:
    """Memory and cores."""
    import psutil

    cores, memory = os.cpu_count() or 1, psutil.virtual_memory()
    found = f"{cores} cores, {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory available"
    if memory.available < LOW_MEMORY_GB * 1e9:
        mend = f"close other programs, or set {PREFIX}WORKERS=1 and run one model at a time (--models)"
        yield Finding("machine", "warning", f"{found}: a run needs about {LOW_MEMORY_GB} GB", mend)
    elif settings.workers > cores:
        mend = f"set {PREFIX}WORKERS={cores}"
        yield Finding("machine", "warning", f"{found}, but {settings.workers} workers", mend)
    else:
        yield Finding("machine", "good", f"{found}, {settings.workers} workers")


def clock(settings: Settings) -> Iterator[Finding]:
    """Which day it is for the platform."""
    now = dt.datetime.now(dt.timezone.utc)
    yield Finding("clock", "good", f"{now:%Y-%m-%d %H:%M} UTC; today is {settings.today()} in {settings.timezone}")


CHECKS: tuple[Check, ...] = (
    python,
    packages,
    configuration,
    models,
    plugin,
    source,
    folder,
    privacy,
    tables,
    tracking,
    dagster,
    databricks,
    definitions,
    ports,
    services,
    compose,
    machine,
    clock,
)
