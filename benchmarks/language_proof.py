"""The proof of continual pretraining on real text: a base learns general text, then a domain, with replay and without.

python benchmarks/language_proof.py [--base-steps 600] [--steps 400] [--folder FOLDER]    (with the extra `language`)

The base is a LLaMA of two layers that learns the docstrings of scikit-learn; the domain are those of statsmodels.
Wanted: held-out domain perplexity falls by 30 % at least, that of unseen general text rises by less than 25 % with
replay, and by less than half of its rise without. Exit code 1 where one is not met. In a folder that is kept, a run
that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from forecast_platform.language.evaluation import evaluate
from forecast_platform.language.sample import (
    DOMAIN,
    configuration,
    docstrings,
    general_text,
    pretrained_base,
    sample_corpus,
)
from forecast_platform.language.training import train
from forecast_platform.settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.folder is not None:
        return proof(options.folder, options.base_steps, options.steps)
    with tempfile.TemporaryDirectory() as name:
        return proof(Path(name), options.base_steps, options.steps)


def proof(folder: Path, base_steps: int, steps: int) -> int:
    began, processor = time.perf_counter(), time.process_time()

    def say(text: str) -> None:
        print(
            f"{time.perf_counter() - began:6.0f} s ({time.process_time() - processor:4.0f} s processor)  {text}",
            flush=True,
        )

    settings = Settings(warehouse=folder / "warehouse")
    base = pretrained_base(folder / "general", base_steps, settings, say)
    domain, (general, unseen) = docstrings(DOMAIN), general_text()
    found = {}
    for name, ratio in (("replay .2", 0.2), ("no replay", 0.0)):
        config = configuration(
            base,
            folder / name.replace(" ", "-"),
            training={"max_steps": steps},
            data={"replay_ratio": ratio},
            output={"report_to": "none"},
        )
        corpus = sample_corpus(folder / f"data-{ratio}", config, domain, general)
        train(config, corpus, settings, say=say)
        found[name] = evaluate(Path(config.output.output_dir), corpus.val, unseen, say=say)
        say(f"{name}: {found[name]['summary']['notes']}")
    fall = found["replay .2"]["domain_perplexity"]["improvement_percent"]
    rise = {name: -one["general_perplexity"]["improvement_percent"] for name, one in found.items()}
    wanted = {
        f"domain perplexity falls by {fall:.1f} %: at least 30": fall >= 30,
        f"general perplexity rises by {rise['replay .2']:.1f} %: less than 25": rise["replay .2"] < 25,
        f"that is less than half of the {rise['no replay']:.1f} % without replay": rise["replay .2"]
        < rise["no replay"] / 2,
    }
    for text, met in wanted.items():
        say(f"{'met    ' if met else 'NOT MET'}  {text}")
    return 0 if all(wanted.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
