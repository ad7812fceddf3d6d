"""The commands of continual pretraining: prepare, pretrain, perplexity, recommend."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forecast_platform.cli.terminal import say
from forecast_platform.settings import Settings

DEMO = (
    "Forecast coffee prices two weeks ahead",
    "Calibrated bands for the risk of a position",
    "A language model that knows our documents",
)
"""Tasks that `recommend --demo` asks about."""


def register(commands: Any) -> None:
    """Add the commands of this module to the command line's subparsers."""
    one = _command(commands, "prepare", prepare, "documents of a table or file as a cleaned, split corpus")
    one.add_argument("--output-dir", default="data", metavar="FOLDER", help="where train.jsonl and val.jsonl go")
    one.add_argument("--val-ratio", type=float, default=0.05, metavar="SHARE", help="share that is held out")
    one.add_argument("--limit", type=int, metavar="ROWS", help="read no more rows than these")
    one.add_argument("--source", metavar="FILE", help="JSONL or Parquet instead of the table DATABRICKS_TABLE")

    one = _command(commands, "pretrain", pretrain, "train an adapter on a corpus; a killed run goes on when run again")
    one.add_argument("--config", required=True, metavar="FILE", help="cpt_config.yaml")

    one = _command(commands, "perplexity", perplexity, "base against tuned model on held-out text, and a verdict")
    one.add_argument("--base-model", metavar="NAME", help="the base, where it is not where it was")
    one.add_argument("--cpt-model", default="./outputs/cpt_model", metavar="FOLDER", help="what pretrain wrote")
    one.add_argument("--eval-file", metavar="FILE", help="held-out documents (default: the corpus' own)")
    one.add_argument("--general-file", metavar="FILE", help="held-out general text (default: the corpus' own)")
    one.add_argument("--output", default="evaluation_results.json", metavar="FILE", help="where the results go")

    one = _command(commands, "recommend", recommend, "which registered model for a task, by figures")
    one.add_argument("--task", help="what the model is for")
    one.add_argument("--cpt-model", default="./outputs/cpt_model", metavar="FOLDER", help="whose words go with it")
    one.add_argument("--criteria", help="such as 'mape < 5, lowest crps'")
    one.add_argument("--demo", action="store_true", help="answer three example tasks")
    one.add_argument("--output", default="recommendation.json", metavar="FILE", help="where the answer goes")
    one.add_argument("--mlflow-uri", metavar="URI", help="the registry's store (default: the platform's)")


def _command(commands: Any, name: str, operation: Callable[..., bool], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text)

    def run(options: argparse.Namespace, settings: Settings) -> int:
        from forecast_platform.language.errors import LanguageError

        try:
            return 0 if operation(settings, options) else 1
        except LanguageError as error:
            print(f"forecast-platform: {error}", file=sys.stderr)
            return 1

    parser.set_defaults(command=run)
    return parser


def prepare(settings: Settings, options: argparse.Namespace) -> bool:
    """Write the corpus of a file, or of the table that the environment names.

    Raises LanguageError where nothing says what to read.
    """
    from forecast_platform.language.config import parse
    from forecast_platform.language.errors import LanguageError
    from forecast_platform.language.run import build_corpus

    folder = Path(options.output_dir)
    data: dict[str, Any] = {"val_file": None, "val_ratio": options.val_ratio, "replay_dataset": None}
    data["text_column"] = os.environ.get("TEXT_COLUMN", "text")
    if options.source:
        data["train_file"] = options.source
    else:
        table = os.environ.get("DATABRICKS_TABLE")
        if not table:
            raise LanguageError("prepare: neither --source FILE nor the variable DATABRICKS_TABLE says what to read")
        data |= {"train_table": table, "train_file": None}
        data |= {"catalog": os.environ.get("DATABRICKS_CATALOG"), "schema": os.environ.get("DATABRICKS_SCHEMA")}
    config = parse({"data": data}, "prepare")
    corpus, _ = build_corpus(config, settings, limit=options.limit, folder=folder, say=say)
    for name, texts in (("train", corpus.train), ("val", corpus.val)):
        say(f"{folder / name}.jsonl: {len(texts):,} documents")
    return True


def pretrain(settings: Settings, options: argparse.Namespace) -> bool:
    """Build the corpus and train on it. Raises LanguageError."""
    from tqdm import tqdm

    from forecast_platform.language.config import read_config
    from forecast_platform.language.errors import require_extra
    from forecast_platform.language.run import build_corpus
    from forecast_platform.language.training import METRICS, train

    config = read_config(Path(options.config))
    require_extra()
    corpus, _ = build_corpus(config, settings, say=say)
    with tqdm(unit="step", disable=None) as bar:

        def progress(done: int, total: int, what: str) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = train(config, corpus, settings, progress=progress, say=say)
    final = found["final_metrics"]
    say(
        f"{final['total_steps']} steps, held-out perplexity {final['eval_perplexity']:.2f}; "
        f"{Path(config.output.output_dir) / METRICS}"
    )
    return True


def perplexity(settings: Settings, options: argparse.Namespace) -> bool:
    """Measure a trained model, print the verdict and write the results.

    Raises LanguageError where there are no held-out documents.
    """
    from forecast_platform.language import corpus as corpora
    from forecast_platform.language.errors import LanguageError
    from forecast_platform.language.evaluation import evaluate, write_results
    from forecast_platform.language.run import held_out

    model = Path(options.cpt_model)
    domain: Sequence[str] = []
    general: Sequence[str] = []
    if (model / "corpus" / corpora.MANIFEST).is_file():
        kept = corpora.read(model / "corpus")
        domain, general = kept.val, kept.general
    if options.eval_file:
        domain = held_out(Path(options.eval_file))
    elif not domain:
        raise LanguageError(f"{model}: no corpus beside it: name held-out documents (--eval-file)")
    if options.general_file:
        general = held_out(Path(options.general_file))
    results = evaluate(model, domain, general, base_model=options.base_model, settings=settings, say=say)
    write_results(results, Path(options.output))
    summary = results["summary"]
    say(f"{summary['verdict']}\n{summary.get('general_verdict', '')}\n{summary['notes']}\n{options.output}")
    return True


def recommend(settings: Settings, options: argparse.Namespace) -> bool:
    """Print and write a recommendation; False where the registry holds no model.

    Raises LanguageError without a task, RegistryError where the registry does not answer.
    """
    from forecast_platform.language.errors import LanguageError
    from forecast_platform.language.recommend import recommend_model, write_recommendation

    if not options.task and not options.demo:
        raise LanguageError("recommend: say what the model is for (--task), or --demo")
    answer: dict[str, Any] = {}
    for task in [options.task] if options.task else DEMO:
        answer = recommend_model(
            task,
            cpt_model_path=options.cpt_model,
            criteria=options.criteria,
            mlflow_uri=options.mlflow_uri,
            settings=settings,
        )
        if "error" in answer:
            print(f"forecast-platform: {answer['error']}: train some first", file=sys.stderr)
            return False
        say(f"{answer['recommendation']}\n\n({answer['generated_by']})\n")
    write_recommendation(answer, Path(options.output))
    return True
