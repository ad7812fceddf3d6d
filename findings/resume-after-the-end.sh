#!/usr/bin/env bash
# transformers' Trainer: resuming from the checkpoint of the last step, as a job does that was preempted between its last
# checkpoint and its end.
# Guess: nothing is left to do: train(resume_from_checkpoint=...) loads the weights and returns them.
# Behaviour: it trains one step more than max_steps, on a further batch, and only says so by its global_step. With a schedule
# that ends above zero the weights are others than those of the same run that nobody stopped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.24.0 accelerate==1.15.0
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore - "$folder/run" <<'PYTHON'
import sys

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

STEPS = 4
print("transformers", transformers.__version__)


def trainer():
    torch.manual_seed(1)
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=16, **sizes))
    rows = [{"input_ids": torch.arange(8) + k, "labels": torch.arange(8) + k} for k in range(20)]
    arguments = TrainingArguments(
        output_dir=sys.argv[1], max_steps=STEPS, save_steps=STEPS, per_device_train_batch_size=2, use_cpu=True,
        lr_scheduler_type="constant", learning_rate=0.01, report_to="none", disable_tqdm=True, seed=1,
    )
    return Trainer(model=model, args=arguments, train_dataset=rows)


whole = trainer()
whole.train()
resumed = trainer()
resumed.train(resume_from_checkpoint=f"{sys.argv[1]}/checkpoint-{STEPS}")
apart = max(
    float((one - other).abs().max())
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
)
print(f"max_steps {STEPS}; steps of the run: {whole.state.global_step}; steps after resuming: {resumed.state.global_step}")
print(f"largest difference of a weight: {apart:.4f}")
same = resumed.state.global_step == STEPS + 1 and apart > 0.001
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
