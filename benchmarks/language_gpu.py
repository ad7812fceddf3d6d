"""A hundred million random weights on an accelerator: LoRA in 4 bits against bf16, ours against plain Trainer.

python benchmarks/language_gpu.py [--steps 40] [--width 768] [--layers 14]    (with the extra `language`)

Each side runs in a process of its own and sees the same packed rows. Without a GPU it runs on the processor, where the
figures say nothing of one; --width 64 --layers 2 then shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = {
    "ours, 4 bits": (True, True),
    "ours, full": (True, False),
    "plain Trainer, 4 bits": (False, True),
    "plain Trainer, full": (False, False),
}
"""Whether a side is our trainer, and whether its base is in 4 bits."""
CONTEXT, ROWS = 512, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=14)
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
        (folder / "texts.json").write_text(json.dumps(texts))
        blank_model(folder / "base", texts, layers=options.layers, width=options.width)
        for side in SIDES:
            command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--folder", str(folder)]
            command += ["--steps", str(options.steps)]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
            if done.returncode:
                raise SystemExit(f"{side}:\n{done.stderr[-3000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{found['device']}: {side:24} ({found['quantization']}, {found['parameters']}) "
                f"{found['tokens'] / found['seconds']:10,.0f} tokens/s, peak {found['memory_gb']:.2f} GB",
                flush=True,
            )


def one_side(side: str, folder: Path, steps: int) -> dict:
    from functools import partial

    import torch
    from transformers import AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

    from forecast_platform.language.metrics_file import short
    from forecast_platform.language.packing import pack
    from forecast_platform.language.sample import configuration
    from forecast_platform.language.tokens import tokenise
    from forecast_platform.language.trainer import PackedTrainer, Rows, collated, memory_gb
    from forecast_platform.language.training import prepared

    ours, four_bits = SIDES[side]
    config = configuration(
        folder / "base", folder / "out", training={"max_seq_length": CONTEXT}, qlora={"load_in_4bit": four_bits}
    )
    made = prepared(config, lambda text: None)
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "base"))
    tokens = tokenise(json.loads((folder / "texts.json").read_text()), tokenizer)
    on_gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=steps,
        per_device_train_batch_size=ROWS,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        report_to="none",
        save_strategy="no",
        logging_steps=10_000,
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=1,
    )
    rows = Rows(pack(tokens.lengths, CONTEXT), tokens, tokenizer.pad_token_id)
    began = {"at": 0.0}

    class Clock(TrainerCallback):
        """Counts from the second step on: the first compiles and allocates."""

        def on_step_end(self, args, state, control, **kwargs) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            if state.global_step == 1:
                began["at"] = time.perf_counter()
            began["end"] = time.perf_counter()

    if ours:
        batch = partial(collated, pad=tokenizer.pad_token_id)
    else:

        def batch(found: list) -> dict:
            whole = collated(found, tokenizer.pad_token_id)
            del whole["rows"]
            return whole

    kind = PackedTrainer if ours else Trainer
    trainer = kind(model=made.model, args=arguments, train_dataset=rows, data_collator=batch, callbacks=[Clock()])
    trainer.train()
    return {
        "tokens": round((steps - 1) * ROWS * CONTEXT * rows.packed.filled),
        "seconds": began["end"] - began["at"],
        "memory_gb": memory_gb(),
        "quantization": made.base.quantization,
        "parameters": short(made.total),
        "device": torch.cuda.get_device_name(0) if on_gpu else "processor",
    }


if __name__ == "__main__":
    main()
