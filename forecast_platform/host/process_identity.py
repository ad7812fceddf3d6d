"""Which process something belongs to, so that one that was killed can be told from one that still works on it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def this_process() -> str:
    """host:pid:start of this process."""
    return of(os.getpid())


def of(pid: int) -> str:
    """host:pid:start of a process of this host. Raises psutil.NoSuchProcess."""
    return f"{platform.node()}:{pid}:{_start(pid)}"


def nobody() -> str:
    """The owner of what its process has left, and goes on without."""
    return f"{platform.node()}:0:0"


def here(owner: str) -> bool:
    """Whether the process is one of this host."""
    return owner.rsplit(":", 2)[0] == platform.node()


def alive(owner: str) -> bool:
    """Whether the process that `owner` names runs still; one on another host cannot be known, so it counts as alive."""
    import psutil

    if not here(owner):
        return True
    _, pid, started = owner.rsplit(":", 2)
    try:
        if not started.isdigit():
            return _start(int(pid)) == started
        # Seconds since 1970: of another system than Linux, or of an earlier version.
        return abs(psutil.Process(int(pid)).create_time() - float(started)) < 2
    except psutil.NoSuchProcess:
        return False


def namespace() -> str:
    """Among which processes a number names one: those of this container, or of the machine. Empty on other systems than
    Linux."""
    return str(Path("/proc/self/ns/pid").readlink()) if sys.platform == "linux" else ""


def _start(pid: int) -> str:
    """What no other process of the same number has. On Linux the boot and the clock ticks since: the time at which a
    process began, in seconds since 1970, is another one there once the system's clock was set."""
    import psutil

    if sys.platform != "linux":
        return f"{psutil.Process(pid).create_time():.0f}"
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    # Its name, in brackets, may hold anything; the start is the twentieth field after it (proc_pid_stat(5)).
    fields = told.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):  # it has ended, and nobody has asked how
        raise psutil.NoSuchProcess(pid)
    return f"{boot}-{fields[19]}"
