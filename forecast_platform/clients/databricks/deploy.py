"""Upload: the package as a wheel, the notebooks, the settings file, and a record of what was deployed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from forecast_platform import __version__
from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.settings import PREFIX

TRAINING_NOTEBOOKS = tuple(f"train_{mode}" for mode in ("autogluon", "statsforecast", "neuralforecast", "mmf"))
"""Of training jobs (docs/jobs.md)."""
NOTEBOOKS = ("train_models", "daily_inference", "backfill_spark")
ENSEMBLE_TASK = "ensemble_task"
SERVICES = tuple(
    f"{task}_service"
    for task in (
        "route_cluster", "route_feature", "route_external", "stack_top_any", "stack_top_alg", "stack_top_n_alg",
        "stack_blend", "stack_classwise", "boost", "vote_top_alg", "vote_mix", "vote_weight",
    )
)  # fmt: skip
"""What existing workspaces call the notebooks of tasks: each is ENSEMBLE_TASK, with its own task as the default."""
RECORD = "deployment.json"
_SECRET = re.compile(
    r"(?:(token|secret|password|api_?key|webhook_url)[\"']?\s*:\s*(?!null\b|~)[^\s#]|://[^/\s:@]+:[^/\s@]+@)",
    re.IGNORECASE,
)
"""What a line with a secret looks like: by its name, or a URL with a password."""
_HERE = Path(__file__).resolve().parents[2]
SOURCE = "source"
SOURCE_VARIABLE = "FORECASTS_SOURCE"
"""The parameter of a run, and the variable of a shipped step, that say which code it must be (see `source_of`)."""

NOT_ON_CLUSTERS = ("pyspark", "dagster-pyspark", "dagster-databricks", "dagster-webserver")
"""Requirements that a cluster does not get. A runtime's Spark is its own: a pyspark from the package index, which the
dagster libraries among these ask for too, would take its place, and ends a serverless session at once."""


@dataclass(frozen=True)
class Deployment:
    """What a workspace folder holds, as paths that a cluster sees."""

    folder: str
    wheel: str
    version: str
    config: str | None
    source: str = ""
    """What the wheel's Python files come to, as `source_of` says it."""


def deploy(connection: Connection, say: Callable[[str], None], *, wheel: Path | None = None) -> Deployment:
    """Upload everything a run needs; what is there is replaced, except wheels, which are kept by their content.

    Raises DatabricksError where a part cannot be found or seems to hold a secret.
    """
    options = connection.options
    folder = options.folder
    name, content = (wheel.name, wheel.read_bytes()) if wheel else build_wheel()
    path = ship_wheel(connection, name, content)
    say(f"wheel      {path} ({len(content):,} bytes)")
    for notebook in (*NOTEBOOKS, *TRAINING_NOTEBOOKS):
        _upload(connection, f"{folder}/{notebook}", notebook_source(notebook), "SOURCE")
        say(f"notebook   {folder}/{notebook}")
    ensemble = notebook_source(ENSEMBLE_TASK)
    _upload(connection, f"{folder}/{ENSEMBLE_TASK}", ensemble, "SOURCE")
    for service in SERVICES:
        own = ensemble.replace(b'text("task_id", ""', f'text("task_id", "{service}"'.encode())
        _upload(connection, f"{folder}/{service}", own, "SOURCE")
    say(f"notebook   {folder}/{ENSEMBLE_TASK}, and as {SERVICES[0]} to {SERVICES[-1]}")
    config = None
    if options.config:
        config = f"/Workspace{folder}/settings.yaml"
        _upload(connection, f"{folder}/settings.yaml", settings_file(Path(options.config)), "RAW")
        say(f"settings   {folder}/settings.yaml")
    source = source_of(wheel_files(content))
    deployed = Deployment(folder, path, __version__, config, source)
    _upload(connection, f"{folder}/{RECORD}", json.dumps(asdict(deployed)).encode(), "RAW")
    return deployed


def wheel_path(folder: str, name: str, content: bytes) -> str:
    """Where a wheel is kept, as a cluster sees it."""
    # A cluster keeps a wheel by its path: the same path with another content would not be installed again.
    return f"/Workspace{folder}/wheels/{hashlib.blake2b(content, digest_size=8).hexdigest()}/{name}"


def ship_wheel(connection: Connection, name: str, content: bytes) -> str:
    """Upload a wheel, unless the same is there; its path as a cluster sees it."""
    from databricks.sdk.errors import NotFound

    path = wheel_path(connection.options.folder, name, content)
    target = path.removeprefix("/Workspace")

    def there() -> bool:
        try:
            return bool(connection.client.workspace.get_status(target))
        except NotFound:
            return False

    if not connection.call(f"looking for {target}", there):
        home = target.rpartition("/")[0]
        connection.call(f"making {home}", lambda: connection.client.workspace.mkdirs(home))
        _upload(connection, target, content, "RAW")
    return path


def deployment(connection: Connection) -> Deployment:
    """What was deployed last. Raises DatabricksError where nothing was."""
    from databricks.sdk.errors import NotFound
    from databricks.sdk.service.workspace import ExportFormat

    path = f"{connection.options.folder}/{RECORD}"

    def read() -> bytes | None:
        try:
            exported = connection.client.workspace.export(path, format=ExportFormat.AUTO)
        except NotFound:
            return None
        return base64.b64decode(exported.content or "")

    content = connection.call(f"reading {path}", read)
    if content is None:
        raise DatabricksError(
            f"nothing is deployed in {connection.options.folder} on {connection.host}: run "
            "`forecast-platform databricks deploy` first"
        )
    return Deployment(**json.loads(content))


def current_deployment(connection: Connection) -> Deployment:
    """What was deployed last, which must be the code that runs here. Raises DatabricksError with the mend."""
    deployed = deployment(connection)
    if deployed.source != source_of(package_files()):
        raise DatabricksError(
            f"what is deployed in {connection.options.folder} on {connection.host} (forecast-platform "
            f"{deployed.version}) is not the code that runs here ({__version__}): run `forecast-platform databricks "
            "deploy`, so that both sides make the same forecasts"
        )
    return deployed


def package_files() -> dict[str, bytes]:
    """The package's files as they are here, by their path in a wheel."""
    return {
        f"forecast_platform/{path.relative_to(_HERE).as_posix()}": path.read_bytes()
        for path in sorted(_HERE.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def wheel_files(content: bytes) -> dict[str, bytes]:
    """The files of a wheel."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def source_of(files: Mapping[str, bytes]) -> str:
    """A hash of the package's Python files: the same for the same code, however its wheel was built."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(files):
        # The notebooks are beside the package in a checkout, and inside it in what a build tool makes.
        inside = name.startswith("forecast_platform/") and not name.startswith("forecast_platform/notebooks/")
        if inside and name.endswith(".py"):
            found.update(f"{name}\x1f{len(files[name])}\x1f".encode() + files[name])
    return found.hexdigest()


def settings_file(path: Path) -> bytes:
    """The settings for the cluster.

    Raises DatabricksError where the file cannot be read, or seems to hold a secret, which a workspace file must not.
    """
    try:
        text = path.expanduser().read_text()
    except OSError as error:
        raise DatabricksError(f"databricks.config = {str(path)!r}: {error.strerror}") from error
    hit = _SECRET.search(text)
    if hit:
        raise DatabricksError(
            f"{path} seems to hold a secret ({hit[1] or 'a URL with a password'}): keep it in a Databricks secret "
            "scope; what names it, databricks.secrets (NAME: scope/key), is a setting of the machine that submits, "
            f"{PREFIX}DATABRICKS__SECRETS, and not of this file"
        )
    return text.encode()


def notebook_source(name: str) -> bytes:
    """A notebook of the project: beside the package in a checkout, inside it once installed.

    Raises DatabricksError where it is in neither.
    """
    for folder in (_HERE.parent / "notebooks", _HERE / "notebooks"):
        if (folder / f"{name}.py").is_file():
            return (folder / f"{name}.py").read_bytes()
    raise DatabricksError(f"notebook {name}.py is not in {_HERE.parent / 'notebooks'}: install the package again")


def other_code(wanted: str | None) -> str | None:
    """Why this process, which is not the code that was `wanted`, must not do a run's work; None where it may."""
    if not wanted or wanted == (found := source_of(package_files())):
        return None
    return (
        f"this cluster runs another forecast-platform ({found}) than the one that was deployed for this run "
        f"({wanted}): a library stays installed until its cluster is restarted, so restart it, and run this again"
    )


def build_wheel() -> tuple[str, bytes]:
    """The package as it is here, as a wheel: (file name, content). The same source gives the same bytes.

    Made without a build tool, which a machine that only operates the platform need not have: it is a pure Python
    package. Its requirements are those of the installed distribution, less NOT_ON_CLUSTERS. Raises DatabricksError
    where none is installed.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    from packaging.requirements import Requirement

    try:
        about = distribution("forecast-platform")
    except PackageNotFoundError as error:
        raise DatabricksError("forecast-platform is not installed here: pip install -e . first") from error
    files = package_files()
    # A cluster that has a version installed does not install it again: other code is another version.
    version = f"{__version__}+{source_of(files)[:12]}"
    info = f"forecast_platform-{version}.dist-info"
    for name in ("dagster.yaml", "workspace.yaml"):
        if (_HERE.parent / name).is_file():
            files.setdefault(f"forecast_platform/{name}", (_HERE.parent / name).read_bytes())
    wanted = [need for need in about.requires or () if Requirement(need).name not in NOT_ON_CLUSTERS]
    needs = "".join(f"Requires-Dist: {need}\n" for need in wanted)
    # What a notebook installs beyond them: `<wheel>[automl]`.
    needs += "".join(f"Provides-Extra: {extra}\n" for extra in about.metadata.get_all("Provides-Extra") or ())
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: forecast-platform\nVersion: {version}\n{needs}".encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: forecast-platform\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{info}/entry_points.txt"] = (
        b"[console_scripts]\nforecast-platform = forecast_platform.cli.main:main\n"
        b"forecast-platform-task = forecast_platform.remote.entry:main\n"
    )
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return f"forecast_platform-{version}-py3-none-any.whl", buffer.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _upload(connection: Connection, path: str, content: bytes, kind: str) -> None:
    from databricks.sdk.service.workspace import ImportFormat, Language

    connection.call(
        f"uploading {path}",
        lambda: connection.client.workspace.import_(
            path,
            content=base64.b64encode(content).decode(),
            format=ImportFormat(kind),
            language=Language.PYTHON if kind == "SOURCE" else None,
            overwrite=True,
        ),
    )
