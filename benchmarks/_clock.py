"""The system's clock, which jumps for one process: a library that is loaded before all others adds seconds to it.

It is the clock of Python, Rust, C++ and SQLite alike. Files' times are the kernel's and do not jump: to who looks at
them they are as of before the jump, or as a file server's whose clock is another. The monotonic clock is as it was.
(libfaketime does this, too; its package holds a binary of one processor alone, and files' times jump with it.)
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static volatile long long added;

__attribute__((constructor)) static void begin(void) {
  const char *text = getenv("CHAOS_CLOCK");
  if (text) added = atoll(text);
}

void chaos_jump(long long seconds) { added += seconds; }

int clock_gettime(clockid_t id, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, at);
  if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += added;
  return code;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) { at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000; }
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""


def ready(folder: Path) -> bool:
    """Whether the clock of this process and its forks can be made to jump; begins this program anew for it, once.

    folder: a temporary one, for the library; it is left to the program that is begun.
    """
    if _library() is not None:
        return True
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return False
    place = Path(os.environ.setdefault("CHAOS_LIBRARY", str(folder.with_name(f"{folder.name}-clock.so"))))
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(place), "-ldl"],
        input=_SOURCE, text=True, capture_output=True,
    )  # fmt: skip
    if made.returncode:
        return False
    shutil.rmtree(folder)
    # Does not return.
    return os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(place)})


def jump(seconds: int) -> None:
    """Add seconds to the clock of this process, and of those that it starts."""
    library = _library()
    if library is None:
        raise RuntimeError("the clock cannot jump: ready() was not asked, or said so")
    library.chaos_jump(ctypes.c_longlong(seconds))
    os.environ["CHAOS_CLOCK"] = str(int(os.environ.get("CHAOS_CLOCK", "0")) + seconds)


def done() -> None:
    """Remove the library that this program was begun anew with."""
    if place := os.environ.get("CHAOS_LIBRARY"):
        Path(place).unlink(missing_ok=True)


def _library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "chaos_jump") else None
