"""A process that has a library imported and has opened nothing: each request is worked on by a fork of it.

A library may take seconds to import, as long as a year of forecasts. A process that has imported it waits for requests,
a folder each, and forks a child for every one, which knows nothing of another request's files; as many at once as are
asked for. Where there is no safe fork (only Linux has one for these libraries), each request has a process to itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

_FORKS = sys.platform.startswith("linux")
_SAID, _EXIT = "stderr.txt", "exit.txt"
_KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH")
_LONGEST_PAUSE = 0.05
"""Seconds between two looks for an answer."""

Modules = tuple[str, ...]
Main = Callable[[Path], object]


class EndedError(RuntimeError):
    """A request's process ended without success: its exit code, and the last line that it said."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"its process ended with code {code}: {said}")


def work(modules: Modules, folder: Path, limit: float) -> None:
    """Let the first module's `main(folder)` run, for `limit` seconds at the most, in a process that has the others.

    The folder is this request's own. Raises EndedError; subprocess.TimeoutExpired.
    """
    if _FORKS:
        _process_of(modules).work(folder, limit)
        return
    alone = _Prepared(modules)
    try:
        alone.work(folder, limit)
    finally:
        alone.close()


class _Prepared:
    """One process that has imported `modules`."""

    def __init__(self, modules: Modules) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="forecast-prepared-")
        self._said = Path(self._home.name) / _SAID
        self._lock = threading.Lock()
        with self._said.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-m", __name__, *modules],
                env=environment(Path(self._home.name)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
            )

    @property
    def ended(self) -> bool:
        """Whether it can be asked no more."""
        return self._process.poll() is not None

    def work(self, folder: Path, limit: float) -> None:
        """See the function."""
        requests: IO[str] | None = self._process.stdin
        with self._lock, contextlib.suppress(BrokenPipeError):  # it ended: what it said tells why
            if requests is not None:
                requests.write(f"{limit} {folder}\n")
                requests.flush()
        answer, pause = folder / _EXIT, 0.002
        while not answer.is_file():
            if self.ended and not answer.is_file():
                raise EndedError(self._process.returncode, _last_line(self._said))
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
        code = int(answer.read_text(encoding="ascii"))
        if _FORKS and code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(self._process.args, limit)
        if code:
            raise EndedError(code, _last_line(folder / _SAID))

    def close(self) -> None:
        """End it, and with it what still works."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._home.cleanup()


_waiting: dict[Modules, _Prepared] = {}
_lock = threading.Lock()


def _process_of(modules: Modules) -> _Prepared:
    """This process's one that has imported `modules`."""
    with _lock:
        found = _waiting.get(modules)
        if found is not None and found.ended:
            found.close()
            found = None
        if found is None:
            found = _waiting[modules] = _Prepared(modules)
        return found


@atexit.register
def _close_all() -> None:
    with _lock:
        left = list(_waiting.values())
        _waiting.clear()
    for one in left:
        one.close()


def environment(home: Path) -> Mapping[str, str]:
    """What such a process may know of this one's environment; its threads are one, as everywhere."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _last_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "no message"


def serve(modules: Modules) -> None:
    """The process: import, then a fork a request, until nobody can ask any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends it
    main: Main = importlib.import_module(modules[0]).main
    for name in modules[1:]:
        with contextlib.suppress(ImportError):  # a request that needs it says so
            importlib.import_module(name)
    if not _FORKS:
        folder = Path(sys.stdin.readline().rstrip("\n").partition(" ")[2])
        _answer(folder, _run(main, folder))
        return
    import select

    # A child's garbage collector would write to every object that was imported, and so copy all their pages.
    gc.collect()
    gc.freeze()
    at_work: dict[int, Path] = {}
    given = b""
    while True:
        if select.select([0], [], [], 0.01 if at_work else None)[0]:
            some = os.read(0, 1 << 16)
            if not some:
                break
            *lines, given = (given + some).split(b"\n")
            for line in lines:
                limit, _, name = line.decode().partition(" ")
                at_work[_forked(main, Path(name), float(limit))] = Path(name)
        for child in list(at_work):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                _answer(at_work.pop(child), os.waitstatus_to_exitcode(status))
    for child in at_work:
        os.kill(child, signal.SIGKILL)


def _forked(main: Main, folder: Path, limit: float) -> int:
    """The id of a child that works on a folder, and is ended by its own alarm where it takes too long."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit)
        os._exit(_run(main, folder))
    return child


def _answer(folder: Path, code: int) -> None:
    # Whole for whoever waits, but not synced: it tells of a process that a crash of the machine ends too.
    temporary = folder / f"{_EXIT}.tmp"
    with contextlib.suppress(FileNotFoundError):  # nobody waits any more
        temporary.write_text(str(code), encoding="ascii")
        temporary.replace(folder / _EXIT)


def _run(main: Main, folder: Path) -> int:
    """Run `main(folder)` with what it says in a file there; its exit code."""
    import traceback

    said = os.open(folder / _SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["HOME"] = str(folder)
    try:
        main(folder)
    except BaseException:  # noqa: BLE001 - told by its last line
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


if __name__ == "__main__":
    serve(tuple(sys.argv[1:]))
