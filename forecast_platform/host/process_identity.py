"""Which process something belongs to, so that one that was killed can be told from one that still works on it."""

from __future__ import annotations

import os
import platform


def this_process() -> str:
    """host:pid:start of this process."""
    import psutil

    return f"{platform.node()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


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
        return abs(psutil.Process(int(pid)).create_time() - float(started)) < 2
    except psutil.NoSuchProcess:
        return False
