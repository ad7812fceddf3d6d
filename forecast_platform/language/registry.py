"""Candidates for a recommendation: the registered models of an MLflow store, with what their runs recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forecast_platform.language.errors import RegistryError
from forecast_platform.language.ranking import Candidate
from forecast_platform.settings.parts import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIASES = ("champion", "production", "prod", "staging")
"""The aliases that say which version of a model is meant, the first that is set."""
_LINEAGE = (
    "data_version",
    "model_version",
    "window",
    "base_model",
    "base_revision",
    "tokenizer_sha256",
    "corpus_sha256",
)
_OURS = "forecast_platform."


def candidates(client: MlflowClient, names: Sequence[str] | None = None) -> tuple[list[Candidate], dict[str, str]]:
    """One version of each registered model, and the names asked for that are not there, each with the nearest.

    The version is the one with an alias of ALIASES, else the newest. Raises RegistryError where the store fails.
    """
    from mlflow.exceptions import MlflowException

    try:
        models = _all(client)
        known = {model.name: model for model in models}
        wanted = list(known) if names is None else [name for name in names if name in known]
        missing = {} if names is None else {name: did_you_mean(name, known) for name in names if name not in known}
        found = [_candidate(client, known[name]) for name in dict.fromkeys(wanted)]
    except MlflowException as error:
        raise RegistryError(f"the model registry does not answer: {str(error).splitlines()[0]}") from error
    return [one for one in found if one is not None], missing


def _all(client: MlflowClient) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = client.search_registered_models(max_results=100, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _candidate(client: MlflowClient, model: Any) -> Candidate | None:
    # latest_versions' own aliases are empty in MLflow 3; the model's are filled.
    aliases: Mapping[str, str] = {alias: str(version) for alias, version in dict(model.aliases or {}).items()}
    chosen = next((aliases[alias] for alias in ALIASES if alias in aliases), None)
    if chosen is not None:
        version = client.get_model_version(model.name, chosen)
    else:
        # One condition and no order: Unity Catalog's registry takes no more.
        versions = client.search_model_versions(f"name = '{_quoted(model.name)}'", max_results=1000)
        if not versions:
            return None
        version = max(versions, key=lambda one: int(one.version))
    own = tuple(sorted(alias for alias, number in aliases.items() if number == str(version.version)))
    stage = str(getattr(version, "current_stage", "") or "")
    run = client.get_run(version.run_id).data if version.run_id else None
    tags = {**(model.tags or {}), **(run.tags if run else {}), **(version.tags or {})}
    shown = {name: str(value) for name, value in tags.items() if not name.startswith(("mlflow.", _OURS))}
    return Candidate(
        name=str(model.name),
        version=str(version.version),
        aliases=own,
        stage=", ".join(own) or ("" if stage == "None" else stage),
        metrics={name: float(value) for name, value in sorted((run.metrics if run else {}).items())},
        parameters=dict(run.params) if run else {},
        tags=shown,
        run_id=version.run_id or None,
        lineage=tuple(f"{name} {shown[name]}" for name in _LINEAGE if name in shown),
    )


def _quoted(name: str) -> str:
    return name.replace("'", "''")
