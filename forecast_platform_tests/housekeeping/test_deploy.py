"""What deploy/ ships fits the code: nothing listens beyond loopback, every file that is named is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import tasks
from forecast_platform.host.web_guard import Asked, access_for, decide
from forecast_platform.settings import build

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted([*(DEPLOY / "systemd").glob("*.service"), *(DEPLOY / "systemd").glob("*.timer")])


@pytest.fixture
def services() -> dict[str, dict[str, object]]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def test_compose_publishes_ports_on_loopback_alone(services: dict[str, dict[str, object]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_serves_the_ui_read_only_and_waits_for_what_it_needs(services: dict[str, dict[str, object]]) -> None:
    assert "--read-only" in services["webserver"]["command"]
    for name in ("webserver", "daemon"):
        for code in ("code", "workflows"):
            assert services[name]["depends_on"][code]["condition"] == "service_healthy"
    assert sum("dagster-daemon" in service.get("command", []) for service in services.values()) == 1


def test_what_compose_serves_stands_behind_the_guard(services: dict[str, dict[str, object]]) -> None:
    for name in ("webserver", "reports", "health"):
        assert services[name]["command"][:2] == ["forecast-platform", name]
        assert "FORECAST_PLATFORM_WEB_TOKEN" in services[name]["environment"]


def test_every_image_is_one_exact_version(services: dict[str, dict[str, object]]) -> None:
    bases = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.M)
    for image in [*bases, services["postgres"]["image"]]:
        assert re.search(r":\d+\.\d+(\.\d+)?-\w+|@sha256:[0-9a-f]{64}$", image), image


def test_what_is_installed_into_the_image_is_what_the_lock_has_hashes_of() -> None:
    text = re.sub(r"\\\n(\s*#.*\n)*", " ", (DEPLOY / "Dockerfile").read_text())
    installed = re.findall(r"pip\S* install (?:--no-cache-dir )?([^&\n]*)", text)
    hashed = "--no-deps --require-hashes -r"
    assert [" ".join(one.split()) for one in installed] == [
        f"{hashed} requirements.lock", f"{hashed} postgres.txt", "--no-deps ."
    ]  # fmt: skip
    for lock, least in ((ROOT / "requirements.lock", 201), (DEPLOY / "locks" / "postgres.txt", 3)):
        pins = re.findall(r"^\S+==\S+.*(?:\n +--hash=\S+(?: \\)?)*", lock.read_text(), re.M)
        assert len(pins) >= least
        assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def test_what_the_databricks_app_sets_lets_its_proxy_in_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in yaml.safe_load((ROOT / "app.yaml").read_text())["env"]:
        if one["name"].startswith("FORECAST_PLATFORM_"):
            monkeypatch.setenv(one["name"], one["value"])
    access = access_for(build(), "0.0.0.0")
    head = {"host": ("workbench.example.databricksapps.com",), "x-forwarded-user": ("ann",)}
    assert decide(Asked("GET", "/", head, peer="10.1.2.3"), access) is None
    assert decide(Asked("GET", "/", head, peer="8.8.8.8"), access).status == 401
    assert decide(Asked("GET", "/", {**head, "host": ("elsewhere.example",)}, peer="10.1.2.3"), access).status == 421


def test_what_units_write_is_for_their_account_alone() -> None:
    assert [path.name for path in UNITS if path.suffix == ".service" and "\nUMask=0077\n" not in path.read_text()] == []


def test_compose_and_workspace_name_the_same_code_servers(services: dict[str, dict[str, object]]) -> None:
    servers = [
        one["grpc_server"] for one in yaml.safe_load((DEPLOY / "workspace.docker.yaml").read_text())["load_from"]
    ]
    for server in servers:
        assert server["host"] in services
        assert str(server["port"]) in " ".join(services[server["host"]]["command"])
        assert str(server["port"]) in services[server["host"]]["healthcheck"]["test"]


@pytest.mark.parametrize("file", ["workspace.docker.yaml", "systemd/workspace.yaml"])
def test_every_layout_serves_the_code_locations_of_the_plain_workspace(file: str) -> None:
    plain = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    served = yaml.safe_load((DEPLOY / file).read_text())["load_from"]
    names = [one["python_module"]["location_name"] for one in plain]
    assert [one["grpc_server"]["location_name"] for one in served] == names


def test_the_units_serve_what_their_workspace_names() -> None:
    texts = "".join(path.read_text() for path in UNITS)
    for one in yaml.safe_load((DEPLOY / "systemd" / "workspace.yaml").read_text())["load_from"]:
        server = one["grpc_server"]
        assert re.search(rf"^ExecStart=.* --host {server['host']} --port {server['port']}$", texts, re.M), server


def test_the_postgres_instance_differs_from_the_shipped_one_in_storage_alone() -> None:
    shipped = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    postgres = yaml.safe_load((DEPLOY / "dagster.postgres.yaml").read_text())
    assert "postgres" in postgres.pop("storage")
    for storage in ("event_log_storage", "run_storage", "schedule_storage"):
        shipped.pop(storage)
    assert postgres == shipped


def test_the_image_copies_only_files_that_are_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+)$", (DEPLOY / "Dockerfile").read_text(), re.M)
    for line in copied:
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name


def test_units_bind_to_loopback_and_exclude_one_another() -> None:
    texts = {path.name: path.read_text() for path in UNITS}
    assert not [name for name, text in texts.items() if "0.0.0.0" in text]
    one = texts["forecast-platform.service"]
    for part in ("code", "workflows", "webserver", "daemon"):
        assert f"forecast-platform-{part}.service" in re.search(r"^Conflicts=(.*)$", one, re.M)[1]
        assert "Conflicts=forecast-platform.service" in texts[f"forecast-platform-{part}.service"]


def test_units_pass_systemds_own_check(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    for path in UNITS:
        # The programs are not installed under that path here.
        (tmp_path / path.name).write_text(re.sub(r"/opt/forecast-platform/bin/[\w-]+", "/bin/true", path.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))], capture_output=True, text=True
    )
    complaints = [line for line in done.stderr.splitlines() if "forecast-platform" in line]
    assert not complaints


@pytest.mark.parametrize(
    "command", ["health", "backup", "restore", "migrate", "maintain", "daily-page", "webserver", "reports", "workflows"]
)
def test_the_commands_that_units_and_pages_name_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from forecast_platform.cli.main import main

    with pytest.raises(SystemExit) as found:
        main([command, "--help"])
    assert found.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("extra", sorted(path.name for path in (DEPLOY / "locks").glob("*.txt")))
def test_what_an_extra_pins_has_hashes_but_for_builds_of_torch(extra: str) -> None:
    path = DEPLOY / "locks" / extra
    pins = tasks.blocks(path)
    assert path.read_text().startswith(tasks.HEADER)
    assert all(re.match(r"[\w.-]+==[\w.]+( ; .+)?$", pin) for pin in pins), "one version each"
    assert [pin for pin, text in pins.items() if "--hash=sha256:" not in text and not pin.startswith("torch==")] == []
