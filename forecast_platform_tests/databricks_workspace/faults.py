"""What goes wrong: the API's own errors, and those that a test asks for."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Any, Literal


class ApiError(Exception):
    """An error of the API, with Databricks' own code; becomes the response's body."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    @property
    def body(self) -> dict[str, Any]:
        return {"error_code": self.code, "message": self.message}


def not_found(message: str) -> ApiError:
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", message)


def exists(message: str) -> ApiError:
    return ApiError(400, "RESOURCE_ALREADY_EXISTS", message)


def invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


@dataclass
class Fault:
    """A disturbed request: those whose path matches `path` (a shell pattern), `times` of them after the first `after`.

    `throttle` answers 429 with Retry-After, `error` answers `status`, `drop` closes the connection unheard, and
    `drop_after` closes it after the request was carried out, so that the client cannot know that it was; `late` carries
    it out and holds the answer back for `seconds`, or until the faults are cleared.
    """

    kind: Literal["throttle", "error", "drop", "drop_after", "late"]
    path: str = "*"
    method: str = "*"
    times: int = 1
    after: int = 0
    status: int = 503
    code: str = "TEMPORARILY_UNAVAILABLE"
    message: str = "The service at this path is temporarily under maintenance. Please try again later."
    retry_after: float = 1.0
    seconds: float = 0.0
    seen: int = 0

    def error(self) -> ApiError:
        if self.kind == "throttle":
            message = "Too many requests; the limit of this workspace is exceeded."
            return ApiError(429, "RESOURCE_EXHAUSTED", message, retry_after=self.retry_after)
        return ApiError(self.status, self.code, self.message)


@dataclass
class RunFault:
    """A disturbed run: applied to the next `times` tasks (with this key, where one is given).

    queued: it waits `seconds` in the job's queue. slow_start: the cluster takes `seconds` to start. cluster: it never
    starts, for the reason `code`. library: a library cannot be installed. lost: the driver dies `seconds` into the
    task. timeout: it is ended `seconds` into the task, whatever its own limit. skipped: the run is never started. task:
    the task raises. forgotten: the workspace no longer knows the run, `seconds` after it was submitted.
    """

    kind: Literal["queued", "slow_start", "cluster", "library", "lost", "timeout", "skipped", "task", "forgotten"]
    task_key: str | None = None
    times: int = 1
    seconds: float = 0.0
    code: str = "CLOUD_PROVIDER_LAUNCH_FAILURE"
    message: str = "A cloud provider error was encountered while setting up the cluster."


@dataclass
class Faults:
    """The faults that stand; safe to use from the server's threads."""

    requests: list[Fault] = field(default_factory=list)
    runs: list[RunFault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault | RunFault) -> None:
        """Ask for a fault: a copy, since it is used up, and a test's parameters serve several tests."""
        with self._lock:
            if isinstance(fault, Fault):
                self.requests.append(replace(fault))
            else:
                self.runs.append(replace(fault))

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self.requests.clear()
            self.runs.clear()

    def hold(self, fault: Fault) -> None:
        """Return after the fault's seconds, or when it no longer stands."""
        until = time.monotonic() + fault.seconds
        while time.monotonic() < until and fault in self.requests:
            time.sleep(0.02)

    def for_request(self, method: str, path: str) -> Fault | None:
        """The fault that meets this request, used up once."""
        with self._lock:
            for fault in self.requests:
                if not fnmatch(path, fault.path) or fault.method not in ("*", method):
                    continue
                fault.seen += 1
                if fault.after < fault.seen <= fault.after + fault.times:
                    return fault
            return None

    def for_task(self, kind: str, task_key: str) -> RunFault | None:
        """The fault of this kind that meets this task, used up once."""
        with self._lock:
            for fault in self.runs:
                if fault.kind == kind and fault.times > 0 and fault.task_key in (None, task_key):
                    fault.times -= 1
                    return fault
            return None
