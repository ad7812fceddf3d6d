"""A small real run for tests, benchmarks and sample_outputs/: text that installed packages ship, and a tiny base.

General text are the docstrings of scikit-learn, the domain those of statsmodels. No package carries a causal language
model's weights, so the base is a LLaMA of two layers that is pretrained on the general text first.
`python -m forecast_platform.language.sample sample_outputs [BASE]` makes the sample outputs.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from forecast_platform.language import corpus as corpora
from forecast_platform.language.cleaning import Cleaner
from forecast_platform.language.config import Config, parse
from forecast_platform.language.corpus import Corpus, split
from forecast_platform.language.documents import Documents, from_file
from forecast_platform.language.errors import LanguageError, require_extra

GENERAL, DOMAIN = "sklearn", "statsmodels"
SHORTEST = 300
BASE_STEPS, STEPS = 400, 300
"""Steps of the run behind sample_outputs/: minutes on two cores. benchmarks/language_proof.py trains longer."""
_VOCABULARY = 1_024
_END, _PAD = "<|end|>", "<|pad|>"


def docstrings(package: str) -> list[str]:
    """The docstrings of more than 300 characters in a package's files, by file and place. Raises LanguageError."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise LanguageError(f"{package} is not installed: it ships the sample's text")
    root = Path(next(iter(found.submodule_search_locations)))
    texts = []
    for path in sorted(root.rglob("*.py")):
        if "tests" in path.relative_to(root).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                if len(text) > SHORTEST:
                    texts.append(text)
    return texts


def general_text() -> tuple[Sequence[str], Sequence[str]]:
    """The general documents that the base learns, and a twentieth that it never sees, to measure forgetting on."""
    texts, _ = Cleaner().clean(docstrings(GENERAL), GENERAL)
    return split(texts, 0.05)


def blank_model(folder: Path, texts: Sequence[str], *, layers: int = 2, width: int = 64, context: int = 512) -> Path:
    """Write a LLaMA with random weights and a byte-pair tokenizer of 1,024 made from the texts; returns its folder.

    Raises LanguageError without the libraries of the extra `language`.
    """
    require_extra()
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = decoders.ByteLevel()
    rules.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            special_tokens=[_END, _PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, eos_token=_END, pad_token=_PAD)
    torch.manual_seed(42)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=context,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        )
    )
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def configuration(base: Path, target: Path, **blocks: Mapping[str, Any]) -> Config:
    """The sample's configuration: that of cpt_config.yaml but for the size of things."""
    found: dict[str, dict[str, Any]] = {
        "model": {"name": str(base)},
        "training": {
            "learning_rate": 3.0e-3,
            "max_steps": 250,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "max_seq_length": 256,
            "save_steps": 100,
        },
        "qlora": {
            "load_in_4bit": False,
            "lora_r": 16,
            "lora_alpha": 32,
            "lora_dropout": 0.0,
            "target_modules": ["all-linear"],
        },
        "data": {"train_file": None, "val_file": None, "replay_ratio": 0.2, "val_ratio": 0.05},
        "output": {"output_dir": str(target), "logging_steps": 20},
    }
    for name, values in blocks.items():
        found[name] = {**found.get(name, {}), **values}
    return parse(found, "sample")


def sample_corpus(folder: Path, config: Config, domain: Sequence[str], general: Sequence[str] | None = None) -> Corpus:
    """The corpus of these texts, by way of files as any user's."""
    folder.mkdir(parents=True, exist_ok=True)
    corpora.write_lines(folder / "domain.jsonl", domain)
    replay: Documents | None = None
    if general is not None:
        corpora.write_lines(folder / "general.jsonl", general)
        replay = from_file(folder / "general.jsonl", "text", config.data.replay_max_samples)
    data = config.data.model_copy(update={"train_file": str(folder / "domain.jsonl")})
    return corpora.build(data, _no_table, replay)


def _no_table(name: str, column: str, limit: int | None) -> Documents:
    raise LanguageError(f"table {name}: the sample has none")


def pretrained_base(folder: Path, steps: int, settings: Any, say: Callable[[str], Any] = print) -> Path:
    """A base that has learnt the general text: a blank LLaMA trained whole for `steps` steps; returns its folder.

    Raises LanguageError as `training.train`.
    """
    from forecast_platform.language.training import train

    general, _ = general_text()
    blank = blank_model(folder / "blank", general)
    config = configuration(
        blank,
        folder / "base",
        training={"learning_rate": 4.0e-3, "max_steps": steps, "save_steps": 200},
        qlora={"enabled": False},
        data={"replay_ratio": 0.0},
        output={"report_to": "none"},
    )
    train(config, sample_corpus(folder / "general", config, general), settings, say=say)
    return folder / "base"


def sample_outputs(target: Path, base: Path | None = None, say: Callable[[str], Any] = print) -> None:
    """Run everything on the sample and keep the three files that others read.

    base: what `pretrained_base` made before; made anew where none is named. Raises LanguageError and RegistryError as
    the steps that it runs.
    """
    from forecast_platform.language.evaluation import RESULTS, evaluate, write_results
    from forecast_platform.language.recommend import recommend_model, write_recommendation
    from forecast_platform.language.training import METRICS, train
    from forecast_platform.settings import Settings

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        settings = Settings(warehouse=work / "warehouse")
        base = base or pretrained_base(work / "general-base", BASE_STEPS, settings, say)
        config = configuration(base, work / "cpt_model", training={"max_steps": STEPS, "save_steps": STEPS // 2})
        seen, unseen = general_text()
        found = sample_corpus(work / "data", config, docstrings(DOMAIN), seen)
        train(config, found, settings, say=say)
        results = evaluate(work / "cpt_model", found.val, unseen, settings=settings, say=say)
        write_results(results, work / RESULTS)
        answer = recommend_model(
            "Predict the next words of statistics documentation",
            cpt_model_path=str(work / "cpt_model"),
            criteria="domain_perplexity < 60",
            settings=settings,
        )
        write_recommendation(answer, work / "recommendation.json")
        target.mkdir(parents=True, exist_ok=True)
        for path in (work / "cpt_model" / METRICS, work / RESULTS, work / "recommendation.json"):
            # Where the run was made is no part of what it says.
            text = path.read_text(encoding="utf-8").replace(str(base), "general-base")
            text = text.replace(f"{work.as_uri()}/", "file:///sample/").replace(f"{work}/", "")
            (target / path.name).write_text(text, encoding="utf-8")
        say(json.dumps(results["summary"], indent=2))


if __name__ == "__main__":
    sample_outputs(*(map(Path, sys.argv[1:3]) if len(sys.argv) > 1 else [Path("sample_outputs")]))
