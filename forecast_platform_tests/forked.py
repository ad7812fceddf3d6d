"""Processes that begin where an interpreter's imports have ended: forked from one that has imported the libraries.

What a process does, how it is told to end and what it leaves are the same, whether or not it began with an
interpreter's start, which is most of a short command's time. `Forks` starts the one that is forked from with the first
process that is asked for. Standalone, since it runs in that process, too.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DROPPED = ("FORECAST_PLATFORM_", "DAGSTER_", "DATABRICKS_", "SPARK_")
"""Variables that the process that is forked does not have: each of its children is given its own."""

MLFLOW = ("mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store")
CALENDAR = "import exchange_calendars as x; x.get_calendar('XNYS', start='2000-01-01', end='2029-12-31')"
"""What `sources.calendars` builds for these tests' days, which the library keeps."""


class Forked:
    """A process, as `subprocess.Popen` has it; its output is in files."""

    def __init__(self, program: Sequence[str]) -> None:
        self.args = list(program)
        self.pid = 0
        self.returncode: int | None = None
        self.started, self.ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it goes on."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once there is one. Raises subprocess.TimeoutExpired."""
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, while it goes on."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Forks:
    """Starts processes from one that has imported `modules`, and then run the text of `first`."""

    def __init__(self, modules: Sequence[str], first: str = "") -> None:
        self._modules, self._first = modules, first
        self._turn = threading.Lock()
        self._channel: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._asked: Forked | None = None
        self._known: dict[int, Forked] = {}

    def start(
        self,
        program: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        files: tuple[int, int, int],
        session: bool = False,
        made: Forked | None = None,
    ) -> Forked:
        """Start a program, as Python's command line has it: a file, `-m` and a module, or `-c` and its text; arguments.

        files: of its standard input, output and errors; session: it leads a session of its own.
        """
        made = made or Forked(program)
        asked = {"program": list(program), "env": dict(env), "cwd": str(cwd), "session": session}
        with self._turn:
            channel = self._channel or self._begin()
            self._asked = made
            line = json.dumps(asked).encode() + b"\n"
            sent = socket.send_fds(channel, [line], list(files))
            channel.sendall(line[sent:])
            if not made.started.wait(600):
                raise RuntimeError(f"the process that is forked does not answer: {self._modules}")
        return made

    def _begin(self) -> socket.socket:
        here, there = socket.socketpair()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno()), self._first, *self._modules],
            env={**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        there.close()
        self._channel = here
        threading.Thread(target=self._listen, args=(here,), daemon=True).start()
        return here

    def _listen(self, channel: socket.socket) -> None:
        with channel.makefile("rb") as lines:
            for line in lines:
                told: dict[str, int] = json.loads(line)
                if "started" in told:
                    one = self._asked
                    assert one is not None
                    one.pid = told["started"]
                    self._known[one.pid] = one
                    one.started.set()
                else:
                    one = self._known.pop(told["ended"])
                    one.returncode = told["code"]
                    one.ended.set()
        for one in self._known.values():  # their end can no more be told
            one.returncode = -signal.SIGKILL
            one.ended.set()


COMMANDS = Forks(
    (
        *("forecast_platform.cli.main", "forecast_platform.pipeline.inference", "forecast_platform.graph.automation"),
        *("forecast_platform.graph.assets.training_jobs", "forecast_platform.graph.checks.catalog"),
        *("forecast_platform.graph.assets.forecast", "forecast_platform.graph.launchers.resources"),
        *("forecast_platform.pipeline.training", "pandas", "pyarrow.dataset", "deltalake", "scipy.stats", "sqlalchemy"),
        *("exchange_calendars", *MLFLOW),
    ),
    CALENDAR,
)
"""For `forecast-platform`'s commands. Not with the definitions: their import reads the settings, which are each one's
own."""


class Program(Forked):
    """A program over the platform's code in a process of its own; what it prints, errors too, is kept."""

    def __init__(self, *program: str, env: Mapping[str, str], cwd: Path = ROOT) -> None:
        super().__init__(program)
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 - read once it has ended
        with Path(os.devnull).open("rb") as nothing:
            files = (nothing.fileno(), self._told.fileno(), self._told.fileno())
            COMMANDS.start(program, env=env, cwd=cwd, files=files, made=self)

    def told(self, timeout: float | None = None) -> str:
        """All that it printed, once it has ended. Raises subprocess.TimeoutExpired."""
        self.wait(timeout)
        self._told.seek(0)
        return self._told.read().decode(errors="replace")


class Command(Program):
    """A command of forecast-platform."""

    def __init__(self, *arguments: str, env: Mapping[str, str], cwd: Path = ROOT) -> None:
        super().__init__("-m", "forecast_platform.cli", *arguments, env=env, cwd=cwd)


def serve(channel: socket.socket, first: str, modules: Iterable[str]) -> dict[str, Any] | None:
    """Fork for each that is asked for until nobody can ask any more (None); in the fork, returns what was asked for."""
    for name in modules:
        with suppress(ImportError):
            importlib.import_module(name)
    exec(first, {})
    gc.collect()
    gc.freeze()
    awake, wake = os.pipe()
    for end in (awake, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([channel, awake], [], [])
        if awake in ready:
            os.read(awake, 4096)
            _reap(channel)
        if channel not in ready:
            continue
        data, files, _, _ = socket.recv_fds(channel, 65536, 3)
        while data and not data.endswith(b"\n"):
            data += channel.recv(65536)
        if not data:
            return None
        asked = json.loads(data)
        led, leads = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            if asked["session"]:
                os.setsid()
            for number in (awake, wake, led, leads):
                os.close(number)
            channel.close()
            return {**asked, "files": files}
        # Told of once it leads its session, which whoever asked may end as a whole.
        os.close(leads)
        os.read(led, 1)
        for number in (*files, led):
            os.close(number)
        channel.sendall(json.dumps({"started": pid}).encode() + b"\n")


def _reap(channel: socket.socket) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
            channel.sendall(json.dumps({"ended": ended[0], "code": code}).encode() + b"\n")


def become(asked: dict[str, Any]) -> None:
    """Be the program that was asked for."""
    for target, source in enumerate(asked["files"]):
        os.dup2(source, target)
        os.close(source)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), line_buffering=at_once)  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(open(2, "wb", closefd=False), line_buffering=True)  # noqa: SIM115
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    added = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.path[:0] = added
    if any(Path(part, "sitecustomize.py").is_file() for part in added):  # as an interpreter does when it starts
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    kind, *rest = asked["program"]
    if kind in ("-m", "-c"):
        sys.path.insert(0, asked["cwd"])
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<text>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    # The folder of this file, where a name of a library may be another's.
    sys.path.pop(0)
    given = serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3:])
    if given is not None:
        become(given)
