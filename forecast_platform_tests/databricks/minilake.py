"""minilake, an independent emulator of a workspace, from the package index in an environment of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REQUIREMENT = "minilake==1.9.*"
START_SECONDS = 60


@dataclass(frozen=True)
class Minilake:
    """A running emulator."""

    host: str
    data: Path

    def script(self, source: str, name: str) -> str:
        """Put a Python file into its workspace; returns the file's path there.

        The script finds /Volumes and /dbfs where the emulator keeps them: it runs as a plain process, without mounts.
        """
        folder = self.data / "workspace" / "Shared"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(_MOUNTS.format(root=str(self.data / "dbfs")) + source)
        return f"/Shared/{name}"


_MOUNTS = """\
import builtins, os
def _at(path, root={root!r}):
    text = os.fspath(path) if not isinstance(path, int) else ""
    if text.startswith("/dbfs/"):
        return root + text[len("/dbfs"):]
    return root + text if text.startswith("/Volumes/") else path
def _mapped(function):
    return lambda path, *rest, **more: function(_at(path), *rest, **more)
builtins.open = _mapped(builtins.open)
for _name in ("mkdir", "makedirs", "listdir", "stat", "remove"):
    setattr(os, _name, _mapped(getattr(os, _name)))
"""


@contextmanager
def serving(python: Path, folder: Path) -> Iterator[Minilake]:
    """Run the emulator on loopback; its tasks are processes with this interpreter."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    data = folder / "minilake"
    data.mkdir(parents=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "MINILAKE_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MINILAKE_DATA_DIR": str(data),
        "MINILAKE_JOB_EXECUTOR": "subprocess",
        "MINILAKE_NOTEBOOK": "0",
        "MINILAKE_CLUSTER_START_DELAY": "0.1",
    }
    log = folder / "minilake.log"
    with log.open("w") as out:
        command = [str(python.parent / "minilake"), "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
        try:
            host = f"http://127.0.0.1:{port}"
            _wait(host, process, log)
            yield Minilake(host, data)
        finally:
            process.terminate()
            process.wait(20)


def _wait(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{host}/_minilake/health", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"minilake does not answer on {host}: {log.read_text()[-2000:]}")
