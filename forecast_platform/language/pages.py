"""A page for each asset of continual pretraining: corpus, training, evaluation, recommendation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from forecast_platform.pages import page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.index import LANGUAGE_STEPS, write_index
from forecast_platform.settings import Settings

_COUNTS = ("rows", "kept", "nulls", "too_short", "too_long", "exact_duplicates", "near_duplicates")
_PARTS = {
    "train": "domain, trained on",
    "replay": "general, mixed in",
    "val": "domain, held out",
    "general": "general, held out",
}


def corpus_page(settings: Settings, name: str, about: Mapping[str, Any], packed: Mapping[str, Any]) -> str:
    """Write the page of a corpus: what became of each source's rows, its parts, how it is packed; its address."""
    figures = [
        (f"{packed['tokens']:,}", "tokens that are trained on"),
        (f"{packed['rows']:,}", "packed rows"),
        (f"{packed['filled_percent']:.1f} %", "of their places filled"),
        (f"{about['files']['val']['documents']:,}", "documents held out"),
    ]
    kinds = dict.fromkeys(["Source", *(one.replace("_", " ") for one in _COUNTS)], "number") | {"Source": ""}
    rows = [[source, *(f"{counts[one]:,}" for one in _COUNTS)] for source, counts in about["rows"].items()]
    parts = [
        [_PARTS[part], f"{one['documents']:,}", f"{one['characters']:,}", one["sha256"][:16]]
        for part, one in about["files"].items()
    ]
    content = [
        page.cards(figures),
        page.section("Rows", page.table(kinds, rows), note="What became of every row that was read."),
        page.section(
            "Parts",
            page.table({"Part": "", "Documents": "number", "Characters": "number", "SHA-256": ""}, parts),
            note="Split by document; no document is in two parts, exactly or nearly.",
        ),
    ]
    return _written(settings, name, "corpus", f"fingerprint {about['fingerprint'][:16]}", content)


def adapter_page(settings: Settings, name: str, metrics: Mapping[str, Any]) -> str:
    """Write the page of a training: its loss curve, learning rate and figures; its address."""
    final, log = metrics["final_metrics"], metrics["training_log"]
    figures = [
        (f"{final['eval_perplexity']:.2f}", "perplexity, held out"),
        (f"{final['total_steps']:,}", "steps"),
        (final["trainable_percent"], f"of {final['total_parameters']} parameters trained"),
        (metrics["params"]["quantization"], "the base is kept in"),
        (f"{metrics['duration_minutes']:.1f}", "minutes"),
    ]
    loss, rate = Figure(layout={"yaxis": {"title": "Loss (nats a token)"}, "xaxis": {"title": "Step"}}), Figure()
    trained = [line for line in log if line["train_loss"] is not None]
    held = [line for line in log if "eval_loss" in line]
    for lines, key, label, colour in (
        (trained, "train_loss", "trained on", page.MUTED),
        (held, "eval_loss", "held out", page.ACCENT),
    ):
        loss.add_scatter(
            x=[line["step"] for line in lines],
            y=[line[key] for line in lines],
            mode="lines+markers" if key == "eval_loss" else "lines",
            name=label,
            line={"color": colour},
        )
    rate.add_scatter(
        x=[line["step"] for line in trained],
        y=[line["learning_rate"] for line in trained],
        mode="lines",
        line={"color": page.MUTED},
    )
    rate.layout |= {"yaxis": {"title": "Learning rate"}, "xaxis": {"title": "Step"}}
    settings_rows = [[key.replace("_", " "), _shown(value)] for key, value in metrics["params"].items()]
    content = [
        page.cards(figures),
        page.section("Loss", page.plot(loss, "loss", 360), page.plot(rate, "rate", 200)),
        page.section("Settings", page.table({"Setting": "", "Value": "text"}, settings_rows)),
    ]
    return _written(settings, name, "adapter", f"on {metrics['model_name']}, run {metrics['run_id']}", content)


def evaluation_page(settings: Settings, name: str, results: Mapping[str, Any]) -> str:
    """Write the page of an evaluation: perplexities with their intervals, and texts side by side; its address."""
    summary = results["summary"]
    kinds = [kind for kind in ("domain", "general") if f"{kind}_perplexity" in results]
    rows = []
    for kind in kinds:
        found = results[f"{kind}_perplexity"]
        base, tuned = found["base"], found["cpt"]
        fell = f"{found['improvement_percent']:+.1f} %"
        counts = [f"{base['num_samples']:,}", f"{base['total_tokens']:,}"]
        both = [_with_interval(base), _with_interval(tuned)]
        rows.append([f"{kind} text", *counts, *both, fell, _pair(found["improvement_interval"], " %")])
    columns = {"Held out": "", "Documents": "number", "Predictions": "number", "Base": "number", "Tuned": "number"}
    columns |= {"Improvement": "number", "95 % interval": "number"}
    texts = [[one["prompt"], one["base_response"], one["cpt_response"]] for one in results["generation_comparisons"]]
    lost = str(summary.get("general_verdict", "")).startswith("FORGOTTEN")
    little = summary["verdict"].startswith("MINIMAL")
    content = [
        page.banner("Domain:", summary["verdict"], "" if little else "fresh"),
        page.banner("General:", summary.get("general_verdict", "forgetting was not measured"), "loud" if lost else ""),
        page.section("Perplexity", page.table(columns, rows), note=summary["notes"]),
        page.section(
            "The same prompts",
            page.table({"Prompt": "text", "Base": "text", "Tuned": "text"}, texts, stack=True),
            note="Fixed prompts and seeds; a sample of what each writes, no measure of it.",
        ),
    ]
    return _written(settings, name, "evaluation", f"{results['cpt_model']} against {results['base_model']}", content)


def recommendation_page(settings: Settings, name: str, answer: Mapping[str, Any]) -> str:
    """Write the page of a recommendation: its text, and every candidate's figures; its address."""
    models = answer["models_evaluated"]
    metrics = sorted({metric for one in models for metric in one["metrics"]})
    columns = {"": "number", "Model": "", "Version": "", "Alias": ""} | dict.fromkeys(metrics, "number")
    rows = [
        [place, one["name"], one["version"], one["stage"], *(_figure(one["metrics"].get(metric)) for metric in metrics)]
        for place, one in enumerate(models, 1)
    ]
    content = [
        *([] if answer["acceptable"] else [page.banner("Not acceptable:", "no candidate keeps every bound")]),
        *_sections(answer["recommendation"]),
        page.section("Candidates", page.table(columns, rows, {0: "reference"}), note=f"By {answer['generated_by']}."),
    ]
    return _written(settings, name, "recommendation", answer["task"], content)


def _sections(markdown: str) -> list[page.Html]:
    """The headed parts of our own markdown as boxes; everything in them is text."""
    found = []
    for part in re.split(r"^## ", markdown, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        lines = []
        for line in filter(None, map(str.strip, body.splitlines())):
            kind, text = ("blockquote", line[2:]) if line.startswith("> ") else ("p", line)
            shown = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", page.escape(text))
            lines.append(f"<{kind}>{shown}</{kind}>")
        found.append(page.section(title, *lines))
    return found


def _written(settings: Settings, name: str, step: str, subtitle: str, content: Sequence[str]) -> str:
    others = {other: page.file_name("language", name, other) for other in LANGUAGE_STEPS if other != step}
    # A link to a page that a later step has yet to write would lead nowhere.
    links = {other: file for other, file in others.items() if (settings.reports / file).is_file()}
    written = page.write_page(
        settings.reports,
        page.file_name("language", name, step),
        title=f"Language model {name}: {step}",
        subtitle=subtitle,
        content=content,
        about={"kind": "language", "name": name, "step": step},
        links=links,
        zone=settings.timezone,
    )
    write_index(settings.reports, settings.timezone)
    return f"{settings.reports_url}/{written.name}"


def _with_interval(figures: Mapping[str, Any]) -> str:
    return f"{figures['perplexity']:.2f} ({_pair(figures['interval'])})"


def _pair(interval: Sequence[float], unit: str = "") -> str:
    low, high = interval
    return f"{low:.2f} to {high:.2f}" if not unit else f"{low:+.1f} to {high:+.1f}{unit}"


def _figure(value: float | None) -> object:
    return "" if value is None or not math.isfinite(value) else page.Amount(f"{value:.6g}", value)


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
