"""`forecast-platform doctor` on healthy and on broken installations: what it says, the mend, and the exit code."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from forecast_platform.cli.main import main
from forecast_platform.doctor import examine, services, stores
from forecast_platform.host.home import shipped_file
from forecast_platform.settings import load
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import CHAMPIONS

CLOSES = "date,close\n2022-12-28,10.0\n2022-12-29,11.0\n2022-12-30,12.0\n"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh warehouse that the settings of this process name."""
    folder = tmp_path / "warehouse"
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(folder))
    for name in ("DAGSTER_HOME", "FORECAST_PLATFORM_CONFIG", "FORECAST_PLATFORM_SOURCE", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.delenv(name, raising=False)
    load.cache_clear()
    yield folder
    load.cache_clear()


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    """Run these checks alone: the others have tests of their own."""

    def choose(*checks: examine.Check) -> None:
        monkeypatch.setattr(examine, "CHECKS", checks)

    return choose


def landing(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> Path:
    market = folder / "landing" / "market"
    market.mkdir(parents=True)
    for name, text in files.items():
        (market / f"{name}.csv").write_text(text)
    monkeypatch.setenv("FORECAST_PLATFORM_SOURCE", "landing")
    monkeypatch.setenv("FORECAST_PLATFORM_LANDING", str(folder / "landing"))
    return folder / "landing"


def lines(capsys: pytest.CaptureFixture[str], level: str) -> list[str]:
    """Each finding of a level with the mend below it, on one line."""
    found = re.sub(r"\n {20}mend: ", " | ", capsys.readouterr().out).splitlines()
    return [line for line in found if line.startswith(level)]


@pytest.mark.slow
def test_a_fresh_installation_with_the_sample_is_well_and_nothing_is_written(
    warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "FAIL" not in said
    assert "WTI accepted" in said
    assert "WTI: 2019-01-03, 0 sessions late" in said
    assert re.search(r"ok +definitions +\d+ assets in \d", said) or "WARN  definitions" in said
    assert "not there yet: unified_data" in said
    assert not warehouse.exists()
    assert list(warehouse.parent.iterdir()) == []


def test_a_warehouse_with_a_table_and_an_instance_is_well(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(stores.folder, stores.tables, stores.tracking, stores.dagster)
    data = CHAMPIONS.arrow_schema().empty_table()
    DeltaWarehouse(warehouse)._create(CHAMPIONS, data.schema)
    home = warehouse / "_dagster"
    home.mkdir()
    shutil.copy(shipped_file("dagster.yaml"), home)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "commodity.forecast.champions: version 0, 0 files, schema as defined" in said
    assert "events in batched SQLite" in said
    assert "opens, 0 runs" in said
    assert list(warehouse.glob(".doctor-*")) == []


def test_a_file_in_the_warehouse_s_place_fails(warehouse: Path, capsys: pytest.CaptureFixture[str], only) -> None:
    only(stores.folder)
    warehouse.write_text("")
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert f"{warehouse} is a file, not a folder" in found
    assert "| move it away, or set FORECAST_PLATFORM_WAREHOUSE" in found


def test_too_little_free_disk_fails(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(stores.folder)
    monkeypatch.setenv("FORECAST_PLATFORM_MIN_FREE_GB", "1000000")
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert "1e+06 GB are to stay free" in found
    assert "| free some space, or lower FORECAST_PLATFORM_MIN_FREE_GB" in found


def test_an_unknown_exchange_fails_and_names_close_matches(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(examine.configuration)
    monkeypatch.setenv(
        "FORECAST_PLATFORM_SERIES", '[{"name": "WTI", "covariates": ["vix"], "regions": [], "exchange": "XNYSE"}]'
    )
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert "exchange 'XNYSE' is no calendar" in found
    assert "XNYS" in found
    assert "| set `exchange` of WTI to a known code" in found


def test_a_notifier_without_its_address_warns(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(examine.configuration)
    monkeypatch.setenv("FORECAST_PLATFORM_NOTIFIERS", '["log", "slack"]')
    assert main(["doctor"]) == 0
    [found] = lines(capsys, "WARN")
    assert "slack needs FORECAST_PLATFORM_SLACK_WEBHOOK_URL | set it in the environment of the daemon" in found


def test_a_refused_file_fails_its_series_and_no_other(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(examine.source)
    folder = landing(tmp_path, monkeypatch, coffee=CLOSES, sugar=CLOSES.replace("11.0", "eleven"))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    [found] = [line for line in said.splitlines() if line.startswith("FAIL")]
    assert "refused: market/sugar.csv, row 3" in found
    assert "(keeps out Sugar)" in found
    assert f"mend: correct that file in {folder}" in said
    assert "Coffee accepted" in said


def test_a_file_that_is_still_being_written_warns_and_does_not_fail(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(examine.source)
    landing(tmp_path, monkeypatch, coffee=CLOSES.rstrip("\n"))
    assert main(["doctor"]) == 0
    [found] = lines(capsys, "WARN")
    assert "market/coffee.csv: still being written: its last line has no end" in found
    assert "(keeps out Coffee) | run doctor again then" in found


def test_old_closes_warn_and_do_not_fail(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(examine.source)
    landing(tmp_path, monkeypatch, coffee=CLOSES)
    assert main(["doctor"]) == 0
    young, found = lines(capsys, "WARN")
    assert "coffee.csv: changed 0 s ago: it may still be being written" in young
    assert re.search(r"Coffee: 2022-12-30, \d+ sessions late: later dates than 2023-01-05 get no forecast", found)
    assert "set `end_date: 2022-12-31` of the series (FORECAST_PLATFORM_END_DATE where all have)" in found


def test_series_that_are_equally_late_are_one_line_with_one_mend(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(examine.source)
    landing(tmp_path, monkeypatch, coffee=CLOSES, sugar=CLOSES, cocoa=CLOSES)
    assert main(["doctor"]) == 0
    late = [line for line in lines(capsys, "WARN") if "sessions late" in line]
    assert len(late) == 1
    assert re.search(r"Cocoa, Coffee, Sugar: 2022-12-30|Coffee, Sugar, Cocoa: 2022-12-30", late[0])
    assert "closes of cocoa, coffee, sugar" in late[0].lower() or "closes of coffee, sugar, cocoa" in late[0]


def test_a_missing_landing_folder_names_the_setting(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(examine.source)
    monkeypatch.setenv("FORECAST_PLATFORM_SERIES", '[{"name": "Coffee"}]')
    folder = landing(tmp_path, monkeypatch)
    shutil.rmtree(folder)
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert f"{folder}: no such folder" in found
    assert "| set FORECAST_PLATFORM_LANDING" in found


def test_an_unbatched_instance_warns(warehouse: Path, capsys: pytest.CaptureFixture[str], only) -> None:
    only(stores.dagster)
    home = warehouse / "_dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert main(["doctor"]) == 0
    [found] = lines(capsys, "WARN")
    assert "events are written one by one" in found
    assert f"| cp {shipped_file('dagster.yaml')} {home / 'dagster.yaml'}" in found


def test_an_instance_that_cannot_open_fails(warehouse: Path, capsys: pytest.CaptureFixture[str], only) -> None:
    only(stores.dagster)
    home = warehouse / "_dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(shipped_file("dagster.yaml").read_text() + "\nno_such_key: 1\n")
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert "instance" in found
    assert f"{home / 'dagster.yaml'}" in found


def test_a_corrupted_table_log_fails_and_names_the_table(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only
) -> None:
    only(stores.tables)
    store = DeltaWarehouse(warehouse)
    store._create(CHAMPIONS, CHAMPIONS.arrow_schema())
    [log] = (store.path(CHAMPIONS) / "_delta_log").glob("*.json")
    log.write_text("{ not json")
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert f"commodity.forecast.champions: _delta_log/{0:020d}.json is cut short or overwritten" in found
    assert found.endswith("| run `forecast-platform repair`")


def test_a_table_of_another_schema_fails_and_names_the_columns(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only
) -> None:
    only(stores.tables)
    schema = CHAMPIONS.arrow_schema()
    other = schema.remove(schema.get_field_index("why")).append(schema.field("by").with_name("reason"))
    DeltaWarehouse(warehouse)._create(CHAMPIONS, other)
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert "columns missing ['why'], unknown ['reason']" in found


def test_a_broken_mlflow_store_fails(warehouse: Path, capsys: pytest.CaptureFixture[str], only) -> None:
    only(stores.tracking)
    (warehouse / "_mlflow").mkdir(parents=True)
    (warehouse / "_mlflow" / "mlflow.db").write_text("this is no database, " * 100)
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert "mlflow.db" in found
    assert "| restore" in found


def test_a_check_that_breaks_does_not_hide_the_others(
    warehouse: Path, capsys: pytest.CaptureFixture[str], only
) -> None:
    def broken(_settings):
        raise RuntimeError("unforeseen")
        yield

    only(broken, examine.clock)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "RuntimeError: unforeseen" in said
    assert "ok    clock" in said


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The units of deploy/ as they are installed: their environment file and programs under a folder of this test's."""
    folder, place = tmp_path / "system", tmp_path / "installed"
    folder.mkdir()
    monkeypatch.setattr(services, "UNITS", folder)
    for path in (services.DEPLOY / "systemd").glob("*.service"):
        text = path.read_text().replace("/opt/forecast-platform", str(place)).replace("/etc/", f"{place}/")
        (folder / path.name).write_text(text)
    for program in ("forecast-platform", "dagster", "dagster-daemon", "dagster-webserver"):
        (place / "bin").mkdir(parents=True, exist_ok=True)
        (place / "bin" / program).touch()
    (place / "forecast-platform").mkdir()
    return place


def test_units_that_run_with_another_warehouse_or_instance_than_the_shell_warn(
    warehouse: Path, units: Path, capsys: pytest.CaptureFixture[str], only
) -> None:
    only(examine.services)
    file = units / "forecast-platform" / "environment"
    file.write_text(f"FORECAST_PLATFORM_WAREHOUSE={warehouse}\nDAGSTER_HOME={warehouse / '_dagster'}\n")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "7 systemd units" in said
    assert "all is well" in said
    shutil.copy(services.DEPLOY / "systemd" / "environment.example", file)
    assert main(["doctor"]) == 0
    found = lines(capsys, "WARN")
    assert len(found) == 14
    assert "| export DAGSTER_HOME=/var/lib/forecast-platform/dagster in this shell" in found[1]


def test_units_without_environment_or_program_fail(
    warehouse: Path, units: Path, capsys: pytest.CaptureFixture[str], only
) -> None:
    only(examine.services)
    (units / "bin" / "dagster-daemon").unlink()
    assert main(["doctor"]) == 1
    found = lines(capsys, "FAIL")
    assert len(found) == 8
    assert f"environment is not there | copy deploy/systemd/environment.example to {units}" in found[0]
    assert any(f"forecast-platform-daemon.service: no {units / 'bin' / 'dagster-daemon'}" in line for line in found)


def test_a_compose_file_that_was_begun_says_what_is_missing(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(examine.compose)
    monkeypatch.setattr(services, "DEPLOY", tmp_path)
    assert main(["doctor"]) == 0
    assert "compose" not in capsys.readouterr().out
    (tmp_path / "settings.yaml").mkdir()
    assert main(["doctor"]) == 1
    password, token, settings = lines(capsys, "FAIL")
    assert "does not set FORECAST_PLATFORM_WEB_TOKEN | write FORECAST_PLATFORM_WEB_TOKEN=<at least" in token
    assert "does not set DAGSTER_PG_PASSWORD | write DAGSTER_PG_PASSWORD=<password> into it" in password
    assert "is a folder (docker makes one where it finds no file) | put your settings there" in settings
    (tmp_path / ".env").write_text("DAGSTER_PG_PASSWORD=one\nFORECAST_PLATFORM_WEB_TOKEN=sixteen or more\n")
    (tmp_path / "settings.yaml").rmdir()
    (tmp_path / "settings.yaml").write_text("source: landing\nlanding: /home/me/landing\n")
    assert main(["doctor"]) == 1
    [found] = lines(capsys, "FAIL")
    assert "landing is /home/me/landing; in the containers it is /landing" in found
    (tmp_path / "settings.yaml").write_text("source: landing\nlanding: /landing\n")
    assert main(["doctor"]) == 0
    assert "docker compose" in capsys.readouterr().out
