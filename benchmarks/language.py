"""Continual pretraining against its plain parts, side by side in one run: tokens a second, memory, tokenising.

python benchmarks/language.py [--steps 12] [--rounds 5] [--megabytes 100]    (with the extra `language`)

The sides take turns, and of each the best round counts, the one that others disturbed least; peak memory is of a
process of its own. All see the same documents of uneven length, model, batch of rows and optimizer; a side's tokens are
those of documents, not padding. Ratios are of processor time (of the clock where there is a GPU); the callback that
tells figures as they happen, and MLflow, are left out. Forgetting with and without replay is language_proof.py's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDES = ("ours, packed", "plain Trainer, packed rows", "plain Trainer, unpacked")
CONTEXT, ROWS = 512, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one_side(options.side, options.folder, options.steps)))
        return
    from forecast_platform.language.sample import DOMAIN, blank_model, docstrings

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [" ".join(text.split()) for text in docstrings(DOMAIN)]
        # Uneven as mail and notes are: many short pieces beside whole documents.
        generator = np.random.default_rng(1)
        texts = [text[: int(generator.integers(100, 4000) ** 2 / 4000) + 100] for text in texts]
        (folder / "texts.json").write_text(json.dumps(texts))
        blank_model(folder / "base", texts)
        rounds = [{side: one_side(side, folder, options.steps) for side in SIDES} for _ in range(options.rounds)]
        found = {
            side: max((one[side] for one in rounds), key=lambda one: one["tokens"] / one["processor"]) for side in SIDES
        }
        for side in SIDES:
            found[side]["peak_mb"] = in_a_process(side, folder, 4)["peak_mb"]
        print(f"training: {options.steps} steps of {ROWS} rows of {CONTEXT} tokens, best of {options.rounds}")
        for side, one in found.items():
            print(
                f"  {side:28} {one['tokens'] / one['seconds']:9,.0f} tokens/s "
                f"({one['tokens'] / one['processor']:9,.0f} a processor second), peak {one['peak_mb']:,.0f} MB"
            )
        ours, plain, unpacked = (found[side] for side in SIDES)
        ratio(ours, plain, "tokens a processor second, ours over plain Trainer", "at least 1.0")
        ratio(ours, unpacked, "tokens a processor second, packed over unpacked", "at least 1.5")
        print(f"  peak memory, ours over plain: {ours['peak_mb'] / plain['peak_mb']:.2f} (at most 1.05)")
        tokenising(folder, texts, options.megabytes)


def ratio(one: dict, other: dict, what: str, wanted: str) -> None:
    import torch

    clock = "seconds" if torch.cuda.is_available() else "processor"
    value = (one["tokens"] / one[clock]) / (other["tokens"] / other[clock])
    print(f"  {what}: {value:.2f} ({wanted})")


def in_a_process(side: str, folder: Path, steps: int) -> dict:
    command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--folder", str(folder), "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode:
        raise SystemExit(f"{side}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def one_side(side: str, folder: Path, steps: int) -> dict:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    from forecast_platform.language.packing import IGNORED, one_by_one, pack, used
    from forecast_platform.language.tokens import tokenise
    from forecast_platform.language.trainer import PackedTrainer, Rows, collated

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "base"))
    model = AutoModelForCausalLM.from_pretrained(str(folder / "base"), attn_implementation="sdpa")
    tokens = tokenise(json.loads((folder / "texts.json").read_text()), tokenizer)
    packed = (one_by_one if side == SIDES[2] else pack)(tokens.lengths, CONTEXT)
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=steps,
        per_device_train_batch_size=ROWS,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        save_strategy="no",
        logging_steps=10_000,
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=1,
    )
    pad = tokenizer.pad_token_id
    rows = Rows(packed, tokens, pad)
    seen = 0

    def plain(batch: list) -> dict:
        # As a plain collator does it: rows padded to the longest, an attention mask where there is padding.
        nonlocal seen
        seen += sum(used(packed, one["row"]) for one in batch)
        found = collated(batch, pad)
        del found["rows"]
        if side == SIDES[2]:
            del found["position_ids"]
            found["attention_mask"] = torch.tensor(
                [
                    [1] * len(one["input_ids"]) + [0] * (found["input_ids"].shape[1] - len(one["input_ids"]))
                    for one in batch
                ]
            )
        assert (found["labels"] != IGNORED).any()
        return found

    def ours(batch: list) -> dict:
        nonlocal seen
        seen += sum(used(packed, one["row"]) for one in batch)
        return collated(batch, pad)

    if side == SIDES[0]:
        trainer = PackedTrainer(model=model, args=arguments, train_dataset=rows, data_collator=ours)
    else:
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=plain)
    began, processor = time.perf_counter(), time.process_time()
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "tokens": seen,
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - processor,
        "peak_mb": peak,
    }


def tokenising(folder: Path, texts: list[str], megabytes: float) -> None:
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoTokenizer

    from forecast_platform.language.packing import pack
    from forecast_platform.language.tokens import tokenised

    disable_progress_bars()
    size = sum(len(text.encode()) for text in texts)
    many = [f"{place} {text}" for place in range(max(1, round(megabytes * 1e6 / size))) for text in texts]
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "base"))
    tokenizer(["warm"])
    began, processor = time.perf_counter(), time.process_time()
    tokens = tokenised(many, tokenizer, folder / "tokens")
    packed = pack(tokens.lengths, CONTEXT)
    ours = time.perf_counter() - began, time.process_time() - processor
    source = Dataset.from_dict({"text": many})
    began, processor = time.perf_counter(), time.process_time()
    source.map(
        lambda rows: tokenizer(rows["text"], add_special_tokens=False),
        batched=True,
        remove_columns=["text"],
        cache_file_name=str(folder / "mapped.arrow"),
    )
    plain = time.perf_counter() - began, time.process_time() - processor
    print(f"tokenising and packing {sum(map(len, many)) / 1e6:.1f} MB: {packed.tokens:,} tokens, {len(packed):,} rows")
    print(f"  ours {ours[0]:6.1f} s ({ours[1]:6.1f} s processor)   datasets.map {plain[0]:6.1f} s ({plain[1]:6.1f} s)")
    print(f"  ratio of processor time: {ours[1] / plain[1]:.2f} (at most 1.2)")


if __name__ == "__main__":
    main()
