"""The everyday tasks, with nothing but Python 3.10 to 3.13: `python3 tasks.py quickstart`, `python3 tasks.py test`.

Each task makes the environment in .venv from requirements.lock first, unless it is there and up to date.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
IN_VENV = "Scripts/python.exe" if os.name == "nt" else "bin/python"
VENV = ROOT / ".venv"
PYTHON = VENV / IN_VENV
EXTRAS = ROOT / "deploy" / "locks"
"""What an extra pins beyond requirements.lock, or in its place: NAME.txt for each that has tests of its own."""
OLDEST, NEWEST = (3, 10), (3, 13)
BUILDS = ("torch==", "nvidia-", "cuda-", "triton==")
"""What differs between torch's builds for a CPU and for a GPU, which are other files of one version: it has no hashes,
and torch is installed with what its build depends on."""
HEADER = "# Beyond requirements.lock, or in place of what it pins; `python3 tasks.py lock` adds the hashes."
NO_TESTS = 5
"""pytest's exit code where a selection holds no test."""

DOCS = {
    "docs/tables.md": "forecast_platform.warehouse.reference",
    "docs/architecture.md": "forecast_platform_tests.house",
    "docs/configuration.md": "forecast_platform.settings.reference",
}
"""Pages written from the code, and the modules that write them."""
PARTS = {
    "docs/architecture.md": (
        "<!-- written by `python3 tasks.py docs` from forecast_platform_tests/house.py -->\n",
        "<!-- end -->\n",
    )
}
"""Pages of which only what stands between these lines is written."""


class TaskError(Exception):
    """A task cannot be done; the message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one task; returns its exit code."""
    names = "\n".join(f"  {name:<12}{task.__doc__}" for name, task in TASKS.items())
    parser = argparse.ArgumentParser(
        prog="tasks.py",
        description=f"tasks:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="What follows the task's name is handed on: python3 tasks.py test -k calendar",
    )
    parser.add_argument("task", choices=TASKS, metavar="TASK")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...")
    options = parser.parse_args(arguments)
    try:
        install()
        return TASKS[options.task](options.rest)
    except TaskError as error:
        sys.stderr.write(f"tasks.py: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def quickstart(rest: Sequence[str]) -> int:
    """ingest, train, forecast and evaluate the sample; then says how to open the UI"""
    code = command("quickstart", rest)
    if code == 0:
        say("next: `python3 tasks.py up`, then open http://127.0.0.1:3000")
    return code


def up(rest: Sequence[str]) -> int:
    """the UI with its daemon, and the reports; Ctrl-C stops them"""
    return command("up", rest)


def doctor(rest: Sequence[str]) -> int:
    """check installation, settings, warehouse, tracking, disk"""
    return command("doctor", rest)


def test(rest: Sequence[str]) -> int:
    """the quick tests, two at a time"""
    return run_pytest("-n", "2", "--dist", "worksteal", *rest)


def slow(rest: Sequence[str]) -> int:
    """the slow tests, three files at a time: they start servers, and wait for them more than they compute"""
    shared = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]
    code = run_pytest("-m", "slow and not year and not long", *shared, *rest)
    if code == NO_TESTS:
        say("no test is marked slow in this selection")
        return 0
    return code


def long(rest: Sequence[str]) -> int:
    """a hundred series, the runtime's libraries: minutes each, before a release"""
    return run_pytest("-m", "long", *rest)


def year(rest: Sequence[str]) -> int:
    """the automation through 385 simulated days: half an hour, before a release"""
    return run_pytest("-m", "year", *rest)


def extra(rest: Sequence[str]) -> int:
    """the tests of one extra in an environment of its own: python3 tasks.py extra prophet"""
    known = sorted(path.stem for path in EXTRAS.glob("*.txt"))
    if not rest or rest[0] not in known:
        raise TaskError(f"which extra? {', '.join(known) or 'none has tests of its own'}")
    name = rest[0]
    python = install(ROOT / f".venv-{name}", EXTRAS / f"{name}.txt")
    return run_pytest("-m", "extra", f"forecast_platform_tests/extras/{name}", *rest[1:], python=python)


def check(rest: Sequence[str]) -> int:
    """ruff (lint and format) and mypy"""
    chosen = list(rest) or ["."]
    checks = [["ruff", "check", "-q", *chosen], ["ruff", "format", "--check", "-q", *chosen], ["mypy"]]
    failed = []
    for one in checks:
        if run([str(PYTHON), "-m", *one]) != 0:
            failed.append(" ".join(one[:2]).strip())
    if failed:
        raise TaskError(f"{', '.join(failed)} failed; `python3 tasks.py format` mends what can be mended")
    return 0


def format_(rest: Sequence[str]) -> int:
    """format and mend what ruff can mend"""
    chosen = list(rest) or ["."]
    fixed = run([str(PYTHON), "-m", "ruff", "check", "-q", "--fix", *chosen])
    return run([str(PYTHON), "-m", "ruff", "format", "-q", *chosen]) or fixed


def bench(rest: Sequence[str]) -> int:
    """the benchmarks, or the one named: python3 tasks.py bench bookkeeping"""
    known = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("*.py")) if not path.stem.startswith("_")}
    chosen = [rest[0]] if rest else list(known)
    for name in chosen:
        if name not in known:
            raise TaskError(f"no benchmark {name!r}; there are {', '.join(known)}")
        say(f"== {name}")
        if code := run([str(PYTHON), str(known[name]), *rest[1:]]):
            return code
    return 0


def docs(rest: Sequence[str]) -> int:
    """write the pages that come from the code: tables and configuration"""
    for page, module in DOCS.items():
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
        done = subprocess.run([str(PYTHON), "-m", module], cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise TaskError(f"{page}: {module} failed:\n{done.stderr}")
        path = ROOT / page
        if page in PARTS:
            begin, end = PARTS[page]
            before, _, rest_of_page = path.read_text(encoding="utf-8").partition(begin)
            text = f"{before}{begin}{done.stdout}{end}{rest_of_page.partition(end)[2]}"
        else:
            text = done.stdout
        path.write_text(text, encoding="utf-8")
        say(f"wrote {page}")
    return 0


def lock(rest: Sequence[str]) -> int:
    """resolve pyproject.toml into requirements.lock anew, and what the extras pin beyond it (needs uv)"""
    tool = uv()
    if tool is None:
        raise TaskError("uv is not installed: `pip install uv`, then again")
    resolve = [
        *("pip", "compile", "--universal", "--python-version", "3.10", "pyproject.toml"),
        *("--extra", "dev", "--extra", "feeds", "--extra", "excel", "--extra", "sail"),
        *("--generate-hashes", "--no-emit-index-url", "--no-annotate", "-q"),
        *("--custom-compile-command", "python3 tasks.py lock"),
    ]
    if code := run([tool, *resolve, "-o", "requirements.lock", *rest]):
        return code
    for pins in sorted(EXTRAS.glob("*.txt")):
        lock_extra(tool, pins)
    return 0


def lock_extra(tool: str, pins: Path) -> None:
    """Write into an extra's pins what they need beyond requirements.lock, and the hashes of all but torch's builds.

    What stands there stays as it is; whoever wants another version changes the pin first.
    """
    base, chosen = blocks(ROOT / "requirements.lock"), list(blocks(pins))
    # Where a pin is for some Pythons, there is another for the rest; else one Python stands for all.
    python = ["--universal", "--python-version", "3.10"] if ";" in "".join(chosen) else ["--python-version", "3.11"]
    with tempfile.TemporaryDirectory() as folder:
        override, everything, found = (Path(folder) / name for name in ("override.txt", "all.txt", "found.txt"))
        override.write_text("\n".join(chosen))
        everything.write_text("\n".join([*base, *chosen]))
        options = ["--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "-q"]
        if run([tool, "pip", "compile", *python, *options, "--override", override, "-o", found, everything]):
            raise TaskError(f"{pins.name}: what it pins does not go with requirements.lock (see above)")
        known = {pin.partition(";")[0].strip() for pin in base}
        hashed = [
            text
            for pin, text in blocks(found).items()
            if not pin.startswith(BUILDS) and (pin in chosen or pin.partition(";")[0].strip() not in known)
        ]
    builds = [pin for pin in chosen if pin.startswith(BUILDS)]
    pins.write_text("\n".join([HEADER, *hashed, *builds]) + "\n", encoding="utf-8")
    say(f"wrote {pins.relative_to(ROOT)}")


def blocks(path: Path) -> dict[str, str]:
    """The requirements of a lock: by the pin itself, its lines with the hashes."""
    found: dict[str, str] = {}
    pin = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            pin = line.rstrip(" \\")
            found[pin] = line
        elif line.strip().startswith("--hash"):
            found[pin] += f"\n{line}"
    return found


TASKS: dict[str, Callable[[Sequence[str]], int]] = {
    "quickstart": quickstart,
    "up": up,
    "doctor": doctor,
    "test": test,
    "slow": slow,
    "year": year,
    "long": long,
    "extra": extra,
    "check": check,
    "format": format_,
    "bench": bench,
    "docs": docs,
    "lock": lock,
}


def install(venv: Path = VENV, pins: Path | None = None) -> Path:
    """Make an environment hold what requirements.lock says, what `pins` says instead or beside, and this checkout.

    Nothing to do where it does already. Returns its Python.
    """
    python, marker, wanted = venv / IN_VENV, venv / ".installed", fingerprint(pins)
    if marker.is_file() and python.exists() and marker.read_text() == wanted:
        return python
    started = time.perf_counter()
    tool = uv()
    if not python.exists():
        create(tool, venv)
    locks = "requirements.lock" if pins is None else f"requirements.lock and {pins.relative_to(ROOT)}"
    say(f"installing from {locks} into {venv.name} with {'uv' if tool else 'pip'} (about 1.7 GB, once)")
    installer = [tool, "pip", "install", "-q", "--python", str(python)] if tool else pip(python)
    # The lock is whole; where pip looks at dependencies, it takes `gql[requests]` for one that has no hash.
    steps = [["--no-deps", "--require-hashes", "-r", "requirements.lock"], ["--no-deps", "-e", "."]]
    with tempfile.TemporaryDirectory() as folder:
        if pins is not None:
            extra, hashed = blocks(pins), Path(folder) / pins.name
            hashed.write_text("\n".join(text for pin, text in extra.items() if not pin.startswith(BUILDS)))
            steps.insert(1, ["--no-deps", "--require-hashes", "-r", str(hashed)])
            if builds := [pin for pin in extra if pin.startswith(BUILDS)]:
                steps.append(builds)
        install_steps(installer, steps)
    marker.write_text(wanted)
    say(f"installed in {time.perf_counter() - started:.0f} s")
    return python


def install_steps(installer: Sequence[str], steps: Sequence[Sequence[str]]) -> None:
    """Install one after another. Raises TaskError at the first that fails."""
    for what in steps:
        if run([*installer, *what]):
            raise TaskError(
                f"installing {' '.join(what)} failed (see above): look at the network and the disk "
                f"({shutil.disk_usage(ROOT).free / 1e9:.1f} GB free), then run it again"
            )


def create(tool: str | None, venv: Path) -> None:
    """Make the virtual environment with a supported Python."""
    interpreter = supported_python()
    made = run(
        [tool, "venv", "-q", "--python", interpreter, str(venv)] if tool else [interpreter, "-m", "venv", str(venv)]
    )
    if made or not (venv / IN_VENV).exists():
        shutil.rmtree(venv, ignore_errors=True)
        raise TaskError(
            f"{interpreter} could not make {venv}: install Python's venv module (Debian and Ubuntu: "
            "`apt install python3-venv`) or uv"
        )


def supported_python() -> str:
    """This Python where it is supported, else one of the right version on PATH."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A version manager's shim is on PATH for versions that it does not have.
        if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
            return found
    raise TaskError(
        f"Python {sys.version.split()[0]} is not supported: 3.{OLDEST[1]} to 3.{NEWEST[1]} are, and none is on PATH. "
        f"Install one, then run it with that: `python3.{NEWEST[1]} tasks.py ...`"
    )


def pip(python: Path) -> list[str]:
    """The environment's pip, for where uv is not installed."""
    return [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--use-pep517"]


def uv() -> str | None:
    """uv, which installs several times faster than pip, where it is there and works."""
    found = shutil.which("uv")
    if found and subprocess.run([found, "--version"], capture_output=True, cwd=ROOT).returncode == 0:
        return found
    return None


def fingerprint(pins: Path | None) -> str:
    """What the installation depends on."""
    digest = hashlib.sha256()
    for path in (ROOT / "requirements.lock", ROOT / "pyproject.toml", *([pins] if pins else ())):
        if not path.is_file():
            raise TaskError(f"{path} is missing: this is not a whole checkout")
        digest.update(path.read_bytes())
    return f"{digest.hexdigest()} {ROOT}"


def command(name: str, rest: Sequence[str]) -> int:
    """A command of forecast-platform."""
    return run([str(PYTHON), "-m", "forecast_platform.cli", name, *rest])


def run_pytest(*arguments: str, python: Path | None = None) -> int:
    """pytest in the checkout, with one thread a process."""
    # They interrupt processes, which inherit it where this was started with interrupts ignored (in the background).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run([str(python or PYTHON), "-m", "pytest", "-q", *arguments], threads=1)


def run(arguments: Sequence[str], *, threads: int | None = None) -> int:
    """Run a program in the checkout; `threads` bounds what numerical libraries start in each process."""
    environment = dict(os.environ)
    # A virtual environment that happens to be active must not be taken for ours.
    environment.pop("VIRTUAL_ENV", None)
    # Without bytecode every process compiles 2,500 modules anew, three to four seconds each time.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # uv does not read pip's settings: where pip is told of builds on this disk (torch's for a CPU), uv is too.
    if links := environment.get("PIP_FIND_LINKS"):
        environment.setdefault("UV_FIND_LINKS", links)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment.setdefault(name, str(threads))
    process = subprocess.Popen(list(arguments), cwd=ROOT, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The program got the interrupt too, and ends in its own way.
            continue


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
