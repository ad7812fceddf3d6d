"""Processes that have a library imported and have opened nothing: each request is worked on by a fork of one.

A library may take seconds to import, as long as a year of forecasts. A process that has imported it waits for requests,
a folder each, and forks a child for every one, which knows nothing of another request's files. Where there is no safe
fork (only Linux has one for these libraries), a process works on one request and ends.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

_FORKS = sys.platform.startswith("linux")
_SAID = "stderr.txt"
_KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH")

Modules = tuple[str, ...]


class EndedError(RuntimeError):
    """A request's process ended without success: its exit code, and the last line that it said."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"its process ended with code {code}: {said}")


class Prepared:
    """One process that has imported `modules`; the first is asked for its function `main(folder)` by every request."""

    def __init__(self, modules: Modules) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="forecast-prepared-")
        self._said = Path(self._home.name) / _SAID
        with self._said.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-m", __name__, *modules],
                env=environment(Path(self._home.name)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def work(self, folder: Path, limit: float) -> None:
        """Let `main` work on this folder, for `limit` seconds at the most.

        Raises EndedError; subprocess.TimeoutExpired.
        """
        answer = self._asked(f"{limit} {folder}\n")
        if not answer:
            raise EndedError(self._process.wait(), _last_line(self._said))
        code = int(answer)
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(self._process.args, limit)
        if code:
            raise EndedError(code, _last_line(folder / _SAID))

    def _asked(self, request: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("a prepared process is asked over its pipes")
        with contextlib.suppress(BrokenPipeError):  # it ended: what it said tells why
            self._process.stdin.write(request)
            self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it: at once where it waits, killed where it works."""
        with self._process:
            if self._process.poll() is None:
                self._process.kill()
        self._home.cleanup()


_waiting: dict[Modules, list[Prepared]] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def prepared(modules: Modules) -> Iterator[Prepared]:
    """A process that has imported `modules`, to itself: one that waits, or another."""
    with _lock:
        one = _waiting[modules].pop() if _waiting.get(modules) else None
    one = one or Prepared(modules)
    try:
        yield one
    except BaseException:
        one.close()
        raise
    if not _FORKS:
        one.close()
        return
    with _lock:
        _waiting.setdefault(modules, []).append(one)


@atexit.register
def _close_all() -> None:
    with _lock:
        left = [one for some in _waiting.values() for one in some]
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
    main = importlib.import_module(modules[0]).main
    for name in modules[1:]:
        with contextlib.suppress(ImportError):  # a request that needs it says so
            importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for request in sys.stdin:
        limit, _, folder = request.rstrip("\n").partition(" ")
        if not _FORKS:
            answers.write(f"{_work(main, Path(folder))}\n")
            return
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, float(limit))
            os._exit(_work(main, Path(folder)))
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _work(main: object, folder: Path) -> int:
    """Run `main(folder)` with what it says in a file there; its exit code."""
    import traceback

    said = os.open(folder / _SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["HOME"] = str(folder)
    try:
        main(folder)  # type: ignore[operator]
    except BaseException:  # noqa: BLE001 - told by its last line
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


if __name__ == "__main__":
    serve(tuple(sys.argv[1:]))
