"""Spark sessions by setting: embedded (sail), this machine's JVM, a cluster, or Spark Connect."""

from __future__ import annotations

import atexit
import logging
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any, Literal

from forecast_platform.host.deferred_interrupts import telling
from forecast_platform.settings import Settings
from forecast_platform.settings.unity import in_volume

Writer = Literal["spark", "workers", "driver"]

UNKNOWN_CORES = 8
"""Cores that a Spark Connect cluster is taken to have where spark.cores is unset: it cannot be asked."""

log = logging.getLogger(__name__)

_CANCEL_SECONDS = 15.0
_EXECUTOR_SECONDS, _SETTLED_SECONDS = 60.0, 1.0
"""How long a cluster's first executor is waited for, and how long none may come after the last."""
_EMBEDDED, _FIRST, _REMOTE = (5, 2_000), (8, 5_000), (15, 10_000)
"""Tries of a call, and milliseconds between two at most: 5 s, 25 s and 2 min in all; pyspark's own are 10 min."""

_CONFIG = {"spark.sql.session.timeZone": "UTC"}
_CLASSIC_CONFIG = {"spark.sql.execution.arrow.pyspark.enabled": "true"}
"""Spark Connect always uses Arrow; Databricks' serverless compute refuses to be told so, as it does most settings."""
_REFUSED = "CONFIG_NOT_AVAILABLE"
_sail: Any = None
_sessions: dict[str, Any] = {}
_counted: set[str] = set()
"""Applications whose executors were waited for."""


class SparkUnavailableError(RuntimeError):
    """No Spark session can be had; the message says why and what to install or set."""


def master_of(settings: Settings) -> str:
    """The master that the settings mean: `auto` resolved."""
    if settings.spark.master != "auto":
        return settings.spark.master
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return "databricks"
    # 4: how often a lost task is tried; a plain local[*] gives up at the first loss.
    return "sail" if find_spec("pysail") is not None else "local[*,4]"


def writer_of(settings: Settings) -> Writer:
    """Who writes the paths: `auto` resolved to what works without being told what is shared."""
    if settings.spark.writer != "auto":
        return settings.spark.writer
    if is_sail(settings):
        return "spark"
    if settings.tables == "unity_catalog":
        # What workers hand over goes through a folder, which a laptop and a cluster do not share.
        return "spark" if in_volume(settings.warehouse) and settings.warehouse.is_dir() else "driver"
    return "workers" if master_of(settings).startswith("local") else "driver"


def is_sail(settings: Settings) -> bool:
    """Whether the session is this process's embedded engine; with Unity Catalog only where it is asked for."""
    if settings.tables == "unity_catalog" and settings.spark.master == "auto":
        return False
    return master_of(settings) == "sail"


def session_on(master: str, settings: Settings) -> Any:
    """The process's session on a master, as `master_of` names it. Raises SparkUnavailableError."""
    if master == "sail":
        with _keeping_interrupts():
            return connect(_sail_address(), settings, _EMBEDDED)
    if master.startswith("sc://"):
        return connect(master, settings)
    if master == "databricks":
        return cluster_session(settings)
    return _classic(master, settings)


def cores_of(session: Any, settings: Settings) -> int:
    """Cores that the session's tasks can use."""
    if settings.spark.cores is not None:
        return settings.spark.cores
    if is_sail(settings):
        return os.cpu_count() or 1
    if _is_connect(session):
        return UNKNOWN_CORES
    context = session.sparkContext
    if not context.master.startswith("local") and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        _await_executors(context)
    return int(context.defaultParallelism)


def _await_executors(context: Any) -> None:
    """Wait, once a session, until the executors of a cluster have registered: before, it seems to have two cores."""
    if context.applicationId in _counted:
        return
    end = time.monotonic() + _EXECUTOR_SECONDS
    cores, since = 0, time.monotonic()
    while time.monotonic() < end:
        # The driver is one of those that are counted here.
        found = int(context.defaultParallelism) if context._jsc.sc().getExecutorMemoryStatus().size() > 1 else 0
        if found != cores:
            cores, since = found, time.monotonic()
        elif cores and time.monotonic() - since >= _SETTLED_SECONDS:
            _counted.add(context.applicationId)
            return
        time.sleep(0.1)
    # Once is enough: a cluster that gives nothing now may do so only when there is a job.
    _counted.add(context.applicationId)
    if not cores:
        log.warning(
            "no executor of %s has registered within %.0f s: the cluster is busy, or gives this application nothing; "
            "its own page tells why. Work is cut for %s cores; set spark.cores to what it will have",
            context.master,
            _EXECUTOR_SECONDS,
            context.defaultParallelism,
        )


def cancel(session: Any) -> None:
    """Stop what still runs for an interrupted step. Not waited for long: the step is to end, whatever Spark does."""
    thread = threading.Thread(target=_cancel, args=(session,), name="spark cancel", daemon=True)
    thread.start()
    thread.join(_CANCEL_SECONDS)
    if thread.is_alive():
        log.warning("Spark does not say within %.0f s that it stopped what still ran for this step", _CANCEL_SECONDS)


def _cancel(session: Any) -> None:
    try:
        if hasattr(session, "interruptAll"):
            session.interruptAll()
        else:
            session.sparkContext.cancelAllJobs()
    except Exception as error:  # noqa: BLE001 - whatever it is, the interrupt is what the caller is told of
        log.warning("Spark did not stop what still ran for this step: %s", str(error).partition("\n")[0])


def interruptible(session: Any) -> AbstractContextManager[None]:
    """Within this, an interrupt cancels Spark's jobs before it goes its way: a call of the JVM holds it back until the
    job has ended."""
    return telling(lambda _: cancel(session))


def interrupt_in(error: Exception) -> BaseException | None:
    """The interrupt that an error hides, if any: pyspark raises the end of a cancelled job in its place."""
    found: BaseException | None = error
    while isinstance(found, Exception):
        found = found.__context__
    return found


def _classic(master: str, settings: Settings) -> Any:
    from pyspark.sql import SparkSession

    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise SparkUnavailableError(
            f"spark.master is {master!r}, but there is no Java: install Java 17, or the extra `sail` and set "
            "spark.master to sail"
        )
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(master).appName("forecast_platform")
    settled = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        # A worker that outlives its task keeps its imports; numpy and xgboost threads would fight over the cores.
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        **_CONFIG,
        **_CLASSIC_CONFIG,
        **settings.spark.config,
    }
    for name, value in settled.items():
        builder = builder.config(name, value)
    with _keeping_interrupts():
        return builder.getOrCreate()


def cluster_session(settings: Settings) -> Any:
    """The session that a Databricks cluster gives to the code it runs. Raises SparkUnavailableError."""
    if find_spec("pyspark") is None:
        raise SparkUnavailableError(
            f"this is Databricks ({os.environ['DATABRICKS_RUNTIME_VERSION']}), but {sys.executable} has no pyspark: "
            "use the cluster's own Python"
        )
    from pyspark.sql import SparkSession

    return settled(SparkSession.getActiveSession() or SparkSession.builder.getOrCreate(), settings)


def connect(address: str, settings: Settings, patience: tuple[int, int] = _REMOTE) -> Any:
    """The process's session on a Spark Connect server, which is waited for with `patience` where it is silent; on
    first contact for half a minute. Raises SparkUnavailableError."""
    session = _sessions.get(address)
    if session is not None and not session.is_stopped:
        try:
            return settled(session, settings)
        except Exception as error:  # noqa: BLE001 - a new session tells whether it is the server
            log.warning("the session on %s is lost, a new one is made: %s", _public(address), _reason(error))
            _end(session)
    from pyspark.sql import SparkSession

    silence_expected_errors()
    # getOrCreate would return the process's session on another server, where there is one.
    try:
        session = SparkSession.builder.remote(address).create()
    except ValueError:
        # Its text may hold the address's token.
        raise SparkUnavailableError(
            f"spark.master (or SPARK_REMOTE) {_public(address)!r} is no address of a Spark Connect server: "
            "sc://HOST:PORT, with parameters sc://HOST:PORT/;token=..."
        ) from None
    _wait_at_most(session, min(patience, _FIRST))
    leave_quietly(session)
    try:
        settled(session, settings)
    except SparkUnavailableError:
        _end(session)
        raise
    except Exception as error:
        _end(session)
        raise SparkUnavailableError(
            f"no session on {_public(address)}: {_reason(error)}; start the Spark Connect server, or correct "
            "spark.master (or SPARK_REMOTE) and spark.config"
        ) from error
    _wait_at_most(session, patience)
    _sessions[address] = session
    return session


def settled(session: Any, settings: Settings) -> Any:
    """The session with the platform's configuration and that of the settings. Raises SparkUnavailableError where it
    does not take a part of it."""
    ours = _CONFIG if _is_connect(session) else {**_CONFIG, **_CLASSIC_CONFIG}
    for name, value in {**ours, **settings.spark.config}.items():
        try:
            session.conf.set(name, value)
        except Exception as error:
            if _REFUSED not in str(error):
                raise
            raise SparkUnavailableError(
                f"spark.config {name}: this session does not take it (serverless compute takes few settings): leave it "
                f"out, or use a cluster; {_reason(error)}"
            ) from error
    return session


def _is_connect(session: Any) -> bool:
    """Whether it speaks Spark Connect, as serverless compute and clusters of shared access do too."""
    return ".connect." in type(session).__module__


def _end(session: Any) -> None:
    """End a session whose server may be gone, without asking it. What keeps the session, such as the warehouse, sees
    that it has ended; and it is no longer the process's active one, which MLflow would ask, for minutes."""
    session.release_session_on_close = False
    session.stop()


def _wait_at_most(session: Any, patience: tuple[int, int]) -> None:
    from pyspark.sql.connect.client.retries import DefaultPolicy

    tries, longest = patience
    session.client.set_retry_policies([DefaultPolicy(max_retries=tries, max_backoff=longest)])


def _public(address: str) -> str:
    """The address without its parameters, however they are set apart, and its user: either may hold a token."""
    bare = re.split(r"/?(?:[;?,]|[\w-]+=)", address)[0]
    return re.sub(r"(?<=//)[^/]*@", "", bare)


def _reason(error: Exception) -> str:
    """The first line of an error; of a gRPC one, which has several, what it says of the details."""
    said = re.search(r'details = "([^"]*)"', str(error))
    return said.group(1) if said else str(error).strip().partition("\n")[0] or type(error).__name__


def silence_expected_errors() -> None:
    """Keep pyspark from printing a stack trace for each table that is not there yet.

    It disables that logger itself, and Dagster's logging configuration enables it again.
    """
    if "SPARK_CONNECT_LOG_LEVEL" not in os.environ:
        logging.getLogger("pyspark.sql.connect.logging").setLevel(logging.CRITICAL + 1)


def leave_quietly(session: Any) -> None:
    """Let the process end without asking the server to clean up: where it is gone, pyspark would try for minutes."""
    atexit.register(session.client.close)


def _sail_address() -> str:
    """Address of this process's embedded server, started on the first call (about a second)."""
    global _sail
    if _sail is None or not _answers(_sail):
        if find_spec("pysail") is None:
            raise SparkUnavailableError(
                "spark.master is 'sail', but pysail is not installed: install the extra `sail` "
                "(pip install 'forecast-platform[sail]'), or set spark.master to local[*,4] where Java 17 is"
            )
        os.environ.setdefault("RUST_LOG", "error")
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer()
        server.start(background=True)
        atexit.register(_stop, server)
        _sail = server
    host, port = _sail.listening_address
    return f"sc://{host}:{port}"


def _answers(server: Any) -> bool:
    """Whether the embedded server still is there: pysail says that it runs also where an interrupt has ended it."""
    if not server.running:
        return False
    try:
        socket.create_connection(server.listening_address, timeout=10).close()
    except OSError:
        return False
    return True


def _stop(server: Any) -> None:
    if server.running:
        server.stop()


@contextmanager
def _keeping_interrupts() -> Iterator[None]:
    """Put the handler of SIGINT back: sail's ends the server before its work could be cancelled, and the JVM session's
    raises KeyboardInterrupt where Dagster waits for its own, and would record a failure."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
