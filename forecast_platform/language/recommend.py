"""recommend_model: which registered model for a task. A ranking that anyone can repeat; words second, and checked."""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from forecast_platform.host.databases import why_foreign
from forecast_platform.host.files import write_whole
from forecast_platform.host.mlflow_store import client_of
from forecast_platform.language import wording
from forecast_platform.language.endpoint import writer_at
from forecast_platform.language.errors import LanguageError, RegistryError, require_extra
from forecast_platform.language.ranking import Candidate, Ranked, parse_criteria, rank
from forecast_platform.language.record import for_here
from forecast_platform.language.registry import candidates
from forecast_platform.pipeline.tracking import Tracker, TrackingError
from forecast_platform.settings import Settings, load
from forecast_platform.settings.language import LanguageSettings

MOST = 10
"""Models in an answer; of more, the best ranked."""
LONGEST_TASK = 2_000
SERVER_SECONDS = 5.0
"""How long a registry's server may take to accept a connection."""
NOTHING = {"error": "No models found in registry"}

Writer = Callable[[str], str]
"""A language model: what it writes after a prompt."""

_log = logging.getLogger(__name__)


def recommend_model(
    task_description: str,
    model_names: Sequence[str] | None = None,
    cpt_model_path: str | None = "./outputs/cpt_model",
    criteria: str | Sequence[str] | Mapping[str, object] | None = None,
    mlflow_uri: str | None = None,
    *,
    settings: Settings | None = None,
    writer: Writer | None = None,
) -> dict[str, Any]:
    """The recommendation by recommendation.json's schema, or {"error": "No models found in registry"}.

    cpt_model_path: the tuned model whose words go with the ranking; where there is none, the ranking answers alone. The
    setting language.endpoint goes before it, and `writer` before both. criteria: see ranking.parse_criteria.
    mlflow_uri: the store; the platform's own where unset. Raises LanguageError, RegistryError where the store fails.
    """
    task = " ".join(task_description.split())
    if not task or len(task) > LONGEST_TASK:
        raise LanguageError(f"task: {len(task):,} characters: say in a sentence what the model is for")
    wanted = parse_criteria(criteria)
    settings = settings or load()
    client = _registry(settings) if mlflow_uri is None else _client_of(mlflow_uri)
    found, missing = candidates(client, model_names)
    if not found:
        return dict(NOTHING)
    ranked = rank(found, task, wanted)
    ranked = replace(ranked, candidates=ranked.candidates[:MOST])
    words, by = _words(task, ranked, cpt_model_path, settings.language, writer)
    return {
        "task": task,
        "models_evaluated": [_shown(one) for one in ranked.candidates],
        "recommendation": wording.text(task, ranked, missing, words),
        "acceptable": all(rule.met(ranked.candidates[0]) is True for rule in wanted.rules),
        "generated_by": by,
        "timestamp": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    }


def _registry(settings: Settings) -> Any:
    """A client of the platform's own store. Raises RegistryError."""
    from mlflow.exceptions import MlflowException

    _refuse_silent(settings.tracking_uri)
    try:
        return Tracker(for_here(settings)).client
    except (TrackingError, MlflowException) as error:
        raise RegistryError(f"the model registry does not answer: {str(error).splitlines()[0]}") from error


def _client_of(uri: str) -> Any:
    """A client of a store that is there: looking for a model makes no database. Raises LanguageError."""
    from mlflow.exceptions import MlflowException

    mend = "name the store that the models are registered in"
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///"):
        if not database.is_file():
            raise LanguageError(f"mlflow_uri {uri!r}: no such file: {mend}")
        if (why := why_foreign(database.resolve(), "registered_models", records=True)) is not None:
            raise LanguageError(f"mlflow_uri {uri!r}: {database} {why}: {mend}")
    _refuse_silent(uri)
    try:
        return client_of(uri)
    except MlflowException as error:
        raise LanguageError(f"mlflow_uri {uri!r}: {str(error).strip().splitlines()[0]}: {mend}") from error


def _refuse_silent(uri: str) -> None:
    """Raise RegistryError where nobody listens at a server's address: MLflow would ask again for 90 s."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        return
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname):
        return  # the proxy knows
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=SERVER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise RegistryError(
            f"the model registry at {parts.scheme}://{parts.hostname} does not answer ({error}): start it, or "
            "name another"
        ) from error


def _words(
    task: str, ranked: Ranked, path: str | None, settings: LanguageSettings, writer: Writer | None
) -> tuple[str | None, str]:
    """A language model's words, or None, and who generated the text."""
    name = path or "a language model"
    try:
        if writer is None and settings.endpoint is not None:
            name = f"endpoint {settings.endpoint}"
            writer = writer_at(settings)
        elif writer is None:
            if path is None or not Path(path).is_dir():
                return None, "ranking (no language model)"
            require_extra()
            from forecast_platform.language.generation import writer_of

            writer = writer_of(Path(path))
        words = writer(wording.prompt(task, ranked))[: wording.LONGEST].strip()
    except LanguageError as error:
        _log.warning("recommendation without a language model's words: %s", error)
        return None, f"ranking (language model {name} not usable: {error})"
    if not words:
        return None, f"ranking ({name} wrote nothing)"
    if strange := wording.foreign(words, task, ranked.candidates):
        shown = ", ".join(repr(one) for one in dict.fromkeys(strange[:5]))
        _log.warning("the language model's words are left out: %s are in no result of the query", shown)
        return None, f"ranking (the words of {name} were refused: they name what the query did not return)"
    return words, f"ranking, with words by {name}"


def _shown(one: Candidate) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "stage": one.stage,
        # JSON knows no NaN.
        "metrics": {name: value for name, value in one.metrics.items() if math.isfinite(value)},
        "parameters": dict(one.parameters),
        "lineage": list(one.lineage),
        "run_id": one.run_id,
    }


def write_recommendation(answer: Mapping[str, Any], path: Path) -> None:
    """Write recommendation.json, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False) + "\n", 0o644)
