"""What `forecast-platform doctor` finds of the ways to keep it running: systemd units, and the compose file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from forecast_platform.host.finding import Finding
from forecast_platform.host.home import instance_home
from forecast_platform.settings import PREFIX, Settings

UNITS = Path("/etc/systemd/system")
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
"""The checkout's; an installed package has none."""

_NEEDED = {"DAGSTER_PG_PASSWORD": "<password>", f"{PREFIX}WEB_TOKEN": "<at least 16 characters>"}
"""Variables that the compose file reads."""


def services(settings: Settings) -> Iterator[Finding]:
    """The systemd units of deploy/, where they are installed: the settings they run with are those of this shell."""
    units = sorted(UNITS.glob("forecast-platform*.service")) if UNITS.is_dir() else []
    if not units:
        yield Finding("services", "good", "no systemd unit installed; deploy/ has units and a compose file")
        return
    for unit in units:
        text = unit.read_text()
        for name in re.findall(r"^EnvironmentFile=-?(.+)$", text, re.MULTILINE):
            yield from _environment(settings, unit.name, Path(name.strip()))
        for command in re.findall(r"^Exec\w+=(\S+)", text, re.MULTILINE):
            if not Path(command).exists():
                mend = "install the package there, or mend the path"
                yield Finding("services", "error", f"{unit.name}: no {command}", mend)
    yield Finding("services", "good", f"{len(units)} systemd units: {', '.join(unit.stem for unit in units)}")


def _environment(settings: Settings, unit: str, file: Path) -> Iterator[Finding]:
    """A unit's environment file is there, and names the warehouse and the instance that this shell uses."""
    if not file.is_file():
        mend = f"copy deploy/systemd/environment.example to {file} and set it"
        yield Finding("services", "error", f"{unit}: {file} is not there", mend)
        return
    try:
        text = file.read_text()
    except PermissionError:
        yield Finding("services", "warning", f"{unit}: {file} is not for this account to read", "look as root")
        return
    for variable, own in ((f"{PREFIX}WAREHOUSE", settings.warehouse), ("DAGSTER_HOME", instance_home(settings))):
        named = re.findall(rf"^{variable}=(.+)$", text, re.MULTILINE)
        if named and Path(named[-1].strip()) != own:
            value = named[-1].strip()
            found = f"{unit} runs with {variable} {value}, this shell with {own}"
            yield Finding("services", "warning", found, f"export {variable}={value} in this shell")


def compose(_settings: Settings) -> Iterator[Finding]:
    """What the compose file of deploy/ reads is there, where somebody has begun to set it up."""
    import yaml

    password, file = DEPLOY / ".env", DEPLOY / "settings.yaml"
    if not (password.exists() or file.exists()):
        return
    faults = 0
    given = password.read_text() if password.is_file() else ""
    for name, value in _NEEDED.items():
        if not re.search(rf"^{name}=\S", given, re.MULTILINE):
            faults += 1
            yield Finding("compose", "error", f"{password} does not set {name}", f"write {name}={value} into it")
    if not file.is_file():
        faults += 1
        what = "is a folder (docker makes one where it finds no file)" if file.is_dir() else "is not there"
        mend = f"put your settings there as a file; {{}} for the sample{', after removing the folder' * file.is_dir()}"
        yield Finding("compose", "error", f"{file} {what}", mend)
    else:
        chosen = yaml.safe_load(file.read_text()) or {}
        if chosen.get("source") == "landing" and str(chosen.get("landing")) != "/landing":
            faults += 1
            found = f"{file}: landing is {chosen.get('landing')}; in the containers it is /landing"
            yield Finding(
                "compose", "error", found, f"set `landing: /landing` there, and LANDING=<folder> in {password}"
            )
    if not faults:
        yield Finding(
            "compose", "good", f"{file} and {password} are set; docker compose -f {DEPLOY / 'compose.yaml'} up -d"
        )
