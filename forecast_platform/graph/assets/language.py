"""language/<name>/corpus, adapter, evaluation, recommendation: continual pretraining, from documents to an answer."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    DefaultSensorStatus,
    Definitions,
    Failure,
    MaterializeResult,
    MetadataValue,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    asset,
    define_asset_job,
    in_process_executor,
    sensor,
)

from forecast_platform.graph.assets import shown
from forecast_platform.host.progress import reporter
from forecast_platform.language.config import Config
from forecast_platform.language.errors import LanguageError

RECOMMENDATION = "recommendation.json"


@dataclass(frozen=True)
class Pretrained:
    """What one component's assets are made of. `config` is called in each step: a file's newest state counts."""

    name: str
    config: Callable[[], Config]
    task: str
    criteria: str | None = None
    grown_by: float = 0.2

    def key(self, asset_name: str) -> AssetKey:
        """The key of one of the assets."""
        return AssetKey(["language", self.name, asset_name])

    @property
    def group(self) -> str:
        """The group that the UI shows the assets in."""
        return f"language_{self.name}"


def language_definitions(spec: Pretrained) -> Definitions:
    """The assets, their job, and the sensor that asks for it where the documents have grown."""
    assets = [_corpus(spec), _adapter(spec), _evaluation(spec), _recommendation(spec)]
    # An asset is an op too, and a code server refuses a job and an op of one name.
    job = define_asset_job(
        f"pretrain_{spec.name}",
        AssetSelection.assets(*(spec.key(name) for name in ("corpus", "adapter", "evaluation", "recommendation"))),
        description="From documents to a recommendation: corpus, adapter, evaluation, recommendation.",
        executor_def=in_process_executor,
    )
    return Definitions(assets=assets, jobs=[job], sensors=[_grown_sensor(spec, job)])


def _settings() -> Any:
    from forecast_platform.settings import load

    return load()


def _failing(error: LanguageError) -> Failure:
    # The same request fails the same way: no retry.
    return Failure(str(error), allow_retries=False)


def _corpus(spec: Pretrained) -> AssetsDefinition:
    key = spec.key("corpus")
    unseen = AssetCheckSpec("held_out_documents_are_unseen", asset=key, description="No document is in two parts.")

    @asset(
        key=key,
        description=(
            "Documents of a table or file, cleaned: nulls, too short and too long ones, exact and near duplicates are "
            "dropped and counted. Split by document; general text mixed in at the configured ratio; tokens counted and "
            "packed to the context, no document seen from another."
        ),
        check_specs=[unseen],
        **shown(spec.group, "python"),
    )
    def corpus(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.language.pages import corpus_page
        from forecast_platform.language.run import build_corpus, corpus_folder, packed_figures

        settings = _settings()
        try:
            config = spec.config()
            found, about = build_corpus(config, settings, say=context.log.info)
            packed = packed_figures(config, found)
        except LanguageError as error:
            raise _failing(error) from error
        both = found.in_two_parts()
        check = AssetCheckResult(
            check_name=unseen.name, asset_key=key, passed=both == 0, metadata={"documents_in_two_parts": both}
        )
        rows = {f"{name}_{what}": count for name, counts in about["rows"].items() for what, count in counts.items()}
        metadata = {
            "page": MetadataValue.url(corpus_page(settings, spec.name, about, packed)),
            "folder": MetadataValue.path(str(corpus_folder(config))),
            "fingerprint": found.fingerprint,
            "documents_trained_on": len(found.train),
            "documents_mixed_in": len(found.replay),
            "documents_held_out": len(found.val),
            **rows,
            **packed,
        }
        yield MaterializeResult(metadata=metadata, check_results=[check])

    return corpus


def _adapter(spec: Pretrained) -> AssetsDefinition:
    key = spec.key("adapter")
    whole = AssetCheckSpec(
        "adapter_is_whole",
        asset=key,
        description="Every file has the hash that it was written with; losses are finite.",
    )

    @asset(
        key=key,
        deps=[spec.key("corpus")],
        description=(
            "A LoRA adapter trained on the corpus, in 4 bits where that works here, as safetensors with its base's "
            "name and revision and its tokenizer's hash. A killed run goes on from its last whole checkpoint."
        ),
        check_specs=[whole],
        pool="language",
        **shown(spec.group, "pytorch", "mlflow"),
    )
    def adapter(context: AssetExecutionContext) -> MaterializeResult:
        from forecast_platform.language import corpus as corpora
        from forecast_platform.language.pages import adapter_page
        from forecast_platform.language.run import corpus_folder
        from forecast_platform.language.training import train

        settings = _settings()
        try:
            config = spec.config()
            found = train(
                config,
                corpora.read(corpus_folder(config)),
                settings,
                progress=reporter(context.log.info),
                say=context.log.info,
            )
        except LanguageError as error:
            raise _failing(error) from error
        log = found["training_log"]
        shown = [line for line in log if line["train_loss"] is not None][:: max(1, len(log) // 20)]
        curve = "| step | loss |\n|---|---|\n" + "\n".join(
            f"| {one['step']} | {one['train_loss']:.4f} |" for one in shown
        )
        return MaterializeResult(
            metadata={
                "page": MetadataValue.url(adapter_page(settings, spec.name, found)),
                "folder": MetadataValue.path(found["artifacts"]["model_path"]),
                "quantization": found["params"]["quantization"],
                "run_id": found["run_id"],
                "minutes": found["duration_minutes"],
                "loss_curve": MetadataValue.md(curve),
                **found["final_metrics"],
            },
            check_results=[_whole(whole.name, key, Path(found["artifacts"]["model_path"]), log)],
        )

    return adapter


def _whole(name: str, key: AssetKey, folder: Path, log: Sequence[Mapping[str, Any]]) -> AssetCheckResult:
    from forecast_platform.language.adapter import described

    odd = [
        f"{what} {line[what]} at step {line['step']}"
        for line in log
        for what in ("train_loss", "eval_loss")
        if line.get(what) is not None and not math.isfinite(line[what])
    ]
    try:
        said = odd[0] if odd else f"{len(described(folder)['files'])} files as they were written"
    except LanguageError as error:
        odd, said = [str(error)], str(error)
    return AssetCheckResult(check_name=name, asset_key=key, passed=not odd, description=said)


def _evaluation(spec: Pretrained) -> AssetsDefinition:
    key = spec.key("evaluation")
    better = AssetCheckSpec("domain_is_predicted_better", asset=key, description="Held-out perplexity fell by 5 %.")
    kept = AssetCheckSpec("general_text_is_kept", asset=key, description="General perplexity rose by 25 % at most.")

    @asset(
        key=key,
        deps=[spec.key("corpus"), spec.key("adapter")],
        description=(
            "Perplexity of base and tuned model on held-out domain and general text, averaged over tokens, with "
            "bootstrap intervals over documents; five generations side by side; a verdict on each."
        ),
        check_specs=[better, kept],
        pool="language",
        **shown(spec.group, "pytorch"),
    )
    def evaluation(context: AssetExecutionContext) -> MaterializeResult:
        from forecast_platform.language import corpus as corpora
        from forecast_platform.language.evaluation import RESULTS, evaluate, write_results
        from forecast_platform.language.pages import evaluation_page
        from forecast_platform.language.run import corpus_folder

        settings = _settings()
        try:
            config = spec.config()
            found = corpora.read(corpus_folder(config))
            folder = Path(config.output.output_dir).expanduser()
            results = evaluate(folder, found.val, found.general, settings=settings, say=context.log.info)
        except LanguageError as error:
            raise _failing(error) from error
        write_results(results, folder / RESULTS)
        summary = results["summary"]
        general = summary.get("general_verdict")
        checks = [
            _verdict(better.name, key, not summary["verdict"].startswith("MINIMAL"), summary["verdict"]),
            _verdict(kept.name, key, not (general or "").startswith("FORGOTTEN"), general or "not measured"),
        ]
        figures = {
            f"{kind}_perplexity_{which}": results[f"{kind}_perplexity"][which]["perplexity"]
            for kind in ("domain", "general")
            if f"{kind}_perplexity" in results
            for which in ("base", "cpt")
        }
        side_by_side = "\n\n".join(
            f"**{one['prompt']}**\n\n- base: {one['base_response']}\n- tuned: {one['cpt_response']}"
            for one in results["generation_comparisons"]
        )
        return MaterializeResult(
            metadata={
                "page": MetadataValue.url(evaluation_page(settings, spec.name, results)),
                "results": MetadataValue.path(str(folder / RESULTS)),
                "notes": summary["notes"],
                "generations": MetadataValue.md(side_by_side),
                **figures,
            },
            check_results=checks,
        )

    return evaluation


def _verdict(name: str, key: AssetKey, passed: bool, said: str) -> AssetCheckResult:
    return AssetCheckResult(
        check_name=name, asset_key=key, passed=passed, severity=AssetCheckSeverity.WARN, description=said
    )


def _recommendation(spec: Pretrained) -> AssetsDefinition:
    key = spec.key("recommendation")
    acceptable = AssetCheckSpec("criteria_are_kept", asset=key, description="The first candidate keeps every bound.")

    @asset(
        key=key,
        deps=[spec.key("evaluation")],
        description=(
            "Which registered model to use for the configured task: a ranking by stated criteria over the MLflow "
            "registry, and the tuned model's words where they name nothing else."
        ),
        check_specs=[acceptable],
        **shown(spec.group, "mlflow"),
    )
    def recommendation(context: AssetExecutionContext) -> MaterializeResult:
        from forecast_platform.language.pages import recommendation_page
        from forecast_platform.language.recommend import recommend_model, write_recommendation

        settings = _settings()
        try:
            config = spec.config()
            folder = Path(config.output.output_dir).expanduser()
            answer = recommend_model(spec.task, cpt_model_path=str(folder), criteria=spec.criteria, settings=settings)
        except LanguageError as error:
            raise _failing(error) from error
        if "error" in answer:
            raise Failure(f"{answer['error']}: train a model first", allow_retries=False)
        write_recommendation(answer, folder / RECOMMENDATION)
        best = answer["models_evaluated"][0]
        return MaterializeResult(
            metadata={
                "page": MetadataValue.url(recommendation_page(settings, spec.name, answer)),
                "file": MetadataValue.path(str(folder / RECOMMENDATION)),
                "recommendation": MetadataValue.md(answer["recommendation"]),
                "model": f"{best['name']} version {best['version']}",
                "models_evaluated": len(answer["models_evaluated"]),
                "generated_by": answer["generated_by"],
            },
            check_results=[_verdict(acceptable.name, key, answer["acceptable"], answer["generated_by"])],
        )

    return recommendation


def _grown_sensor(spec: Pretrained, job: Any) -> SensorDefinition:
    @sensor(
        name=f"language_{spec.name}_grown",
        job=job,
        default_status=DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=3600,
        description=f"Trains anew when the documents have grown by {100 * spec.grown_by:g} %. Off until switched on.",
    )
    def documents_grown(context: SensorEvaluationContext) -> RunRequest | SkipReason:
        from forecast_platform.language.growth import grown, rows_now, rows_then

        try:
            config = spec.config()
            then = rows_then(config)
            if then is None:
                return SkipReason("no corpus yet: materialize it once")
            now = rows_now(config, _settings())
        except LanguageError as error:
            return SkipReason(str(error))
        if not grown(now, then, spec.grown_by):
            return SkipReason(f"{now:,} rows; the corpus was made of {then:,}")
        return RunRequest(run_key=f"{spec.name}-{then}-{now}")

    return documents_grown
