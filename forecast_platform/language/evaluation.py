"""evaluation_results.json: perplexity of base and tuned model on unseen text, what each writes, and a verdict."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forecast_platform.host.files import write_whole
from forecast_platform.language import adapter
from forecast_platform.language.cleaning import digest, normalised
from forecast_platform.language.config import SEED, parse
from forecast_platform.language.errors import LanguageError, require_extra
from forecast_platform.language.generation import PROMPTS, generate
from forecast_platform.language.perplexity import Losses, compare, general_verdict, verdict
from forecast_platform.language.scoring import losses
from forecast_platform.language.tokens import Tokens, tokenise
from forecast_platform.settings import Settings

RESULTS = "evaluation_results.json"
_log = logging.getLogger(__name__)


def evaluate(
    folder: Path,
    domain: Sequence[str],
    general: Sequence[str] = (),
    *,
    base_model: str | None = None,
    settings: Settings | None = None,
    say: Callable[[str], Any] = _log.info,
) -> dict[str, Any]:
    """Measure a trained model against its base on held-out documents; the results by LANGUAGE's schema.

    domain, general: texts that were not trained on. base_model: the base's folder where it has moved. settings: whose
    MLflow the figures go to, beside the training's. Raises LanguageError for a document that was trained on.
    """
    require_extra()
    about = adapter.described(folder)
    domain, general = [normalised(text) for text in domain], [normalised(text) for text in general]
    if not domain:
        raise LanguageError("evaluation: no held-out document: name a file that has some (--eval-file)")
    refuse_seen(folder, {"held-out domain text": domain, "held-out general text": general})
    context = int(about["configuration"]["training"]["max_seq_length"])
    base = adapter.base_of(folder, base_model, say)
    tokens = {"domain": tokenise(domain, base.tokenizer), "general": tokenise(general, base.tokenizer)}
    before = _measured(base.model, tokens, context, say, "base")
    written = [generate(base.model, base.tokenizer, prompt, seed=SEED + place) for place, prompt in enumerate(PROMPTS)]
    model = adapter.tuned(folder, base)
    after = _measured(model, tokens, context, say, "tuned")
    rewritten = [generate(model, base.tokenizer, prompt, seed=SEED + place) for place, prompt in enumerate(PROMPTS)]
    found: dict[str, Any] = {
        "base_model": base.name,
        "cpt_model": str(folder),
        "evaluation_date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    }
    for kind in before:
        found[f"{kind}_perplexity"] = compare(before[kind], after[kind])
    found["generation_comparisons"] = [
        {"prompt": prompt, "base_response": old, "cpt_response": new}
        for prompt, old, new in zip(PROMPTS, written, rewritten, strict=True)
    ]
    found["summary"] = summary(found, context, base.quantization)
    if settings is not None and about.get("mlflow_run_id"):
        _recorded(settings, str(about["mlflow_run_id"]), found)
    return found


def refuse_seen(folder: Path, texts: Mapping[str, Sequence[str]]) -> None:
    """Raise LanguageError where a text is one of the documents that the model in `folder` was trained on."""
    seen = adapter.documents_seen(folder)
    for what, documents in texts.items():
        known = [place for place, text in enumerate(documents, 1) if digest(text) in seen]
        if known:
            raise LanguageError(
                f"{what}: {len(known)} of {len(documents)} documents were trained on, the first is document {known[0]} "
                f"({documents[known[0] - 1][:40]!r}...): measure on documents that were held out"
            )


def _measured(
    model: Any, tokens: Mapping[str, Tokens], context: int, say: Callable[[str], Any], which: str
) -> dict[str, Losses]:
    found = {}
    for kind, documents in tokens.items():
        if len(documents.offsets) > 1:
            found[kind] = losses(model, documents, context)
            say(f"{which} model, {kind} text: perplexity {found[kind].perplexity:.2f}")
    return found


def summary(found: Mapping[str, Any], context: int, quantization: str) -> dict[str, Any]:
    """The block `summary` of figures that are there."""
    domain = found["domain_perplexity"]
    low, high = domain["improvement_interval"]
    told = {
        "domain_perplexity_improvement": f"{domain['improvement_percent']:.1f}%",
        "verdict": verdict(domain["improvement_percent"]),
    }
    notes = [
        f"Domain perplexity {domain['base']['perplexity']:.2f} to {domain['cpt']['perplexity']:.2f}, an improvement of "
        f"{domain['improvement_percent']:.1f} % (95 % interval {low:.1f} to {high:.1f})."
    ]
    if "general_perplexity" in found:
        general = found["general_perplexity"]
        low, high = (-value for value in reversed(general["improvement_interval"]))
        told["general_verdict"] = general_verdict(general["improvement_percent"])
        notes.append(
            f"General perplexity {general['base']['perplexity']:.2f} to {general['cpt']['perplexity']:.2f}, a change "
            f"of {-general['improvement_percent']:+.1f} % (95 % interval {low:+.1f} to {high:+.1f})."
        )
    else:
        notes.append("Forgetting was not measured: no general text was held out.")
    notes.append(
        f"Averaged over tokens; a document of n tokens, its end included, has n - 1 predictions; windows of {context} "
        f"tokens that overlap by half. Intervals by a bootstrap over documents. Base in {quantization}."
    )
    return {**told, "notes": " ".join(notes)}


def _recorded(settings: Settings, run_id: str, found: Mapping[str, Any]) -> None:
    from forecast_platform.language.record import Record

    values = {}
    for kind in ("domain", "general"):
        if (block := found.get(f"{kind}_perplexity")) is not None:
            values[f"{kind}_perplexity"] = block["cpt"]["perplexity"]
            values[f"{kind}_perplexity_base"] = block["base"]["perplexity"]
            values[f"{kind}_improvement_percent"] = block["improvement_percent"]
    config = parse(adapter.described(Path(found["cpt_model"]))["configuration"])
    record = Record(settings, config.mlflow.experiment_name, None, {}, run_id)
    record.figures(0, values)
    record.finish()


def write_results(found: Mapping[str, Any], path: Path) -> None:
    """Write evaluation_results.json, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n", 0o644)
