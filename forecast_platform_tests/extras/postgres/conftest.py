"""A Postgres server of Debian's package, started for these tests as an account without privileges."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.skip("no Postgres server here: apt-get install postgresql")
    return found[-1].parent


def _account() -> dict[str, object]:
    """Postgres refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip("root may not run Postgres, and there is no account `postgres` or `nobody`")


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[int, str]]:
    """A port on 127.0.0.1 and the password of the user `dagster`, who owns the database `dagster`."""
    programs, account = _programs(), _account()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not pytest's, which is closed to other accounts
    password = secrets.token_hex(16)
    (folder / "password").write_text(password)
    if account:
        for path in (folder, folder / "password"):
            os.chown(path, account["user"], account["group"])  # type: ignore[arg-type]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = None
    try:
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "dagster", "-A", "scram-sha-256", "-E", "UTF8",
             "--pwfile", folder / "password", "--no-sync"],
            check=True, capture_output=True, cwd=folder, **account,
        )  # fmt: skip
        log = (folder / "log").open("wb")
        running = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-p", str(port), "-c", "listen_addresses=127.0.0.1",
             "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"],
            stdout=log, stderr=log, cwd=folder, **account,
        )  # fmt: skip
        asked = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "dagster", "dagster"]
        for _ in range(120):
            made = subprocess.run(asked, env={"PGPASSWORD": password}, capture_output=True, text=True, cwd=folder)
            if made.returncode == 0:
                break
            if running.poll() is not None:
                break
            time.sleep(0.25)
        assert made.returncode == 0, made.stderr + (folder / "log").read_text()
        yield port, password
    finally:
        if running is not None:
            running.terminate()
            running.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def instance_in(server: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], DagsterInstance]:
    """Opens the instance that `deploy/dagster.postgres.yaml` configures, over that server."""
    port, password = server
    monkeypatch.setenv("DAGSTER_PG_HOST", "127.0.0.1")
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", password)

    def opened(folder: Path) -> DagsterInstance:
        folder.mkdir(parents=True, exist_ok=True)
        configured = yaml.safe_load((DEPLOY / "dagster.postgres.yaml").read_text())
        configured["storage"]["postgres"]["postgres_db"]["port"] = port
        (folder / "dagster.yaml").write_text(yaml.safe_dump(configured))
        return DagsterInstance.from_config(str(folder))

    return opened
