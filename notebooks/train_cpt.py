# Databricks notebook source
# MAGIC %md
# MAGIC # Continual pretraining on a GPU cluster
# MAGIC
# MAGIC Trains a QLoRA adapter of a small language model on the documents of a table, cell by cell, and logs it to MLflow.
# MAGIC
# MAGIC **The cluster needs** one GPU with 16 GB or more (`Standard_NC6s_v3` or newer) and Databricks Runtime 14.3 LTS ML or
# MAGIC later for GPU; access mode *Single user*. Nothing of this platform has to be installed. The same run as one command,
# MAGIC with resumption, replay, near duplicates and intervals: `forecast-platform pretrain --config cpt_config.yaml`.

# COMMAND ----------

# MAGIC %pip install "transformers>=5.20,<6" "peft>=0.20" "accelerate>=1.14" "datasets>=5" "bitsandbytes>=0.50" "mlflow>=3.17,<4"

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

# MAGIC %md
# MAGIC ## Configuration
# MAGIC The keys and values of `cpt_config.yaml`; the boxes above, which are a job's parameters, go before them where they are
# MAGIC filled in. `train_table` is a table with a column of texts, `catalog.schema.table`; without `val_table` a twentieth of
# MAGIC its documents is held out. `output_dir` is best a folder of a volume: the cluster's own disk goes with the cluster.

# COMMAND ----------

CONFIG = {
    "model": {"name": "microsoft/phi-3-mini-4k-instruct", "use_flash_attention": True},
    "training": {
        "learning_rate": 2.0e-5,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.05,
        "num_epochs": 2,
        "max_steps": -1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "max_seq_length": 2048,
        "optim": "adamw_torch",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "bf16": True,
        "save_strategy": "steps",
        "save_steps": 500,
        "save_total_limit": 3,
    },
    "qlora": {
        "enabled": True,
        "load_in_4bit": True,
        "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "lora_r": 64,
        "lora_alpha": 128,
        "lora_dropout": 0.05,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    },
    "data": {
        "train_table": None,
        "val_table": None,
        "train_file": "data/train.jsonl",
        "val_file": "data/val.jsonl",
        "replay_ratio": 0.2,
        "replay_dataset": "cerebras/SlimPajama-627B",
        "replay_max_samples": 10000,
        "text_column": "text",
    },
    "output": {"output_dir": "./outputs/cpt_model", "logging_steps": 10, "report_to": "mlflow"},
    "mlflow": {
        "experiment_name": "continual-pretraining-poc",
        "run_name": None,
        "tags": {"project": "continual-pretraining", "model_type": "causal-lm"},
    },
}

for block, key, title in (
    ("data", "train_table", "table of documents, catalog.schema.table"),
    ("data", "val_table", "table of held-out documents (empty: a twentieth of the others)"),
    ("data", "text_column", "column of the texts (empty: text)"),
    ("model", "name", "base model (empty: as below)"),
    ("output", "output_dir", "folder of the adapter, such as /Volumes/catalog/schema/volume/cpt_model"),
):
    box = "base_model" if block == "model" else key
    dbutils.widgets.text(box, "", title)
    CONFIG[block][key] = dbutils.widgets.get(box).strip() or CONFIG[block][key]

# COMMAND ----------

# MAGIC %md
# MAGIC ## Data
# MAGIC Documents from `spark.table`: white space collapsed, 100 to 50,000 characters, exact duplicates dropped, split by
# MAGIC document; general documents mixed in, so that the model keeps what it knows.

# COMMAND ----------

import random

from datasets import load_dataset

data = CONFIG["data"]


def documents(table):
    rows = spark.table(table).select(data["text_column"]).dropna().toLocalIterator()
    texts = dict.fromkeys(" ".join(row[0].split()) for row in rows)
    return [text for text in texts if 100 <= len(text) <= 50_000]


assert data["train_table"], "name the table of documents: the box or job parameter train_table, catalog.schema.table"
train_texts = documents(data["train_table"])
random.Random(42).shuffle(train_texts)
if data["val_table"]:
    val_texts = documents(data["val_table"])
    both = set(train_texts) & set(val_texts)
    assert not both, f"{len(both)} documents are in both tables: take them out of one"
else:
    held_out = max(1, len(train_texts) // 20)
    val_texts, train_texts = train_texts[:held_out], train_texts[held_out:]
if data["replay_ratio"]:
    general = load_dataset(data["replay_dataset"], split="train", streaming=True).take(data["replay_max_samples"])
    general = [" ".join(row["text"].split()) for row in general]
    wanted = int(len(train_texts) * data["replay_ratio"] / (1 - data["replay_ratio"]))
    assert general, "no general text to mix in: set data.replay_ratio to 0, or name another data set"
    train_texts += general[:wanted]
    random.Random(42).shuffle(train_texts)
print(f"{len(train_texts):,} documents to train on, {len(val_texts):,} held out")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Model
# MAGIC The base in 4 bits with a LoRA adapter on top (QLoRA). Where a model fuses its projections under other names, all of
# MAGIC its linear modules are adapted: names that match only some of them would be passed over silently.

# COMMAND ----------

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

qlora = CONFIG["qlora"]
name = CONFIG["model"]["name"]
dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
four_bits = BitsAndBytesConfig(
    load_in_4bit=qlora["load_in_4bit"],
    bnb_4bit_compute_dtype=dtype,
    bnb_4bit_quant_type=qlora["bnb_4bit_quant_type"],
    bnb_4bit_use_double_quant=qlora["bnb_4bit_use_double_quant"],
)
tokenizer = AutoTokenizer.from_pretrained(name)
options = {"dtype": dtype, "quantization_config": four_bits, "device_map": {"": 0}}
try:
    # In batches of packed rows FlashAttention would let documents see one another: transformers tells them apart in it
    # for one row a pass only.
    flash = CONFIG["model"]["use_flash_attention"] and CONFIG["training"]["per_device_train_batch_size"] == 1
    attention = "flash_attention_2" if flash else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation=attention, **options)
except (ImportError, ValueError) as error:
    print("without FlashAttention:", error)
    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="sdpa", **options)
model.config.use_cache = False
model = prepare_model_for_kbit_training(model, gradient_checkpointing_kwargs={"use_reentrant": False})
own = {key.rpartition(".")[2] for key, module in model.named_modules() if "Linear" in type(module).__name__}
targets = qlora["target_modules"] if set(qlora["target_modules"]) <= own else "all-linear"
model = get_peft_model(
    model,
    LoraConfig(
        r=qlora["lora_r"],
        lora_alpha=qlora["lora_alpha"],
        lora_dropout=qlora["lora_dropout"],
        target_modules=targets,
        task_type="CAUSAL_LM",
    ),
)
print("adapted:", targets)
model.print_trainable_parameters()

# COMMAND ----------

# MAGIC %md
# MAGIC ## Tokens
# MAGIC Each document ends with the end of text. Documents are packed into rows of the context, first fit by decreasing
# MAGIC length; positions begin anew with each piece, so that attention stays within it, and nobody predicts its first token.

# COMMAND ----------

context = CONFIG["training"]["max_seq_length"]


def packed(texts):
    pieces = []
    for text in texts:
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        pieces += [ids[start : start + context] for start in range(0, len(ids), context)]
    rows = []
    for piece in sorted(pieces, key=len, reverse=True):
        # The last rows have the most room: looking at a few of them keeps this linear.
        row = next((row for row in rows[-64:] if len(row["input_ids"]) + len(piece) <= context), None)
        if row is None:
            row = {"input_ids": [], "position_ids": [], "labels": []}
            rows.append(row)
        row["input_ids"] += piece
        row["position_ids"] += range(len(piece))
        row["labels"] += [-100, *piece[1:]]
    return rows


def batch(rows):
    longest = max(len(row["input_ids"]) for row in rows)
    filling = {"input_ids": tokenizer.eos_token_id, "labels": -100}
    found = {key: [] for key in rows[0]}
    for row in rows:
        missing = longest - len(row["input_ids"])
        found["position_ids"].append([*row["position_ids"], *range(missing)])
        for key, value in filling.items():
            found[key].append([*row[key], *[value] * missing])
    return {key: torch.tensor(value) for key, value in found.items()}


train_rows, val_rows = packed(train_texts), packed(val_texts)
print(f"{sum(len(row['input_ids']) for row in train_rows):,} tokens in {len(train_rows):,} rows of {context}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Training
# MAGIC `Trainer` with MLflow: loss and learning rate are in the experiment as they happen; the run goes on from the last
# MAGIC checkpoint where there is one.

# COMMAND ----------

import glob
import json
import os

import mlflow
from transformers import Trainer, TrainingArguments


def newest_whole(folder):
    found = glob.glob(os.path.join(folder, "checkpoint-*"))
    for path in sorted(found, key=lambda path: int(path.rpartition("-")[2]), reverse=True):
        try:
            # Written last: what lacks it was cut off.
            with open(os.path.join(path, "trainer_state.json")) as stream:
                json.load(stream)
            return path
        except (OSError, ValueError):
            print("left out, not whole:", path)
    return None


training, output = CONFIG["training"], CONFIG["output"]
experiment = CONFIG["mlflow"]["experiment_name"]
user = spark.sql("SELECT current_user()").first()[0]
mlflow.set_experiment(experiment if experiment.startswith("/") else f"/Users/{user}/{experiment}")
arguments = TrainingArguments(
    output_dir=output["output_dir"],
    learning_rate=training["learning_rate"],
    lr_scheduler_type=training["lr_scheduler_type"],
    warmup_steps=training["warmup_ratio"],  # below 1 it is a share of the steps
    num_train_epochs=training["num_epochs"],
    max_steps=training["max_steps"],
    per_device_train_batch_size=training["per_device_train_batch_size"],
    gradient_accumulation_steps=training["gradient_accumulation_steps"],
    optim=training["optim"],
    weight_decay=training["weight_decay"],
    max_grad_norm=training["max_grad_norm"],
    bf16=training["bf16"] and dtype == torch.bfloat16,
    fp16=dtype == torch.float16,
    save_strategy=training["save_strategy"],
    save_steps=training["save_steps"],
    save_total_limit=training["save_total_limit"],
    logging_steps=output["logging_steps"],
    report_to=output["report_to"],
    remove_unused_columns=False,
    seed=42,
)
trainer = Trainer(model=model, args=arguments, train_dataset=train_rows, eval_dataset=val_rows, data_collator=batch)
with mlflow.start_run(run_name=CONFIG["mlflow"]["run_name"], tags=CONFIG["mlflow"]["tags"]):
    trainer.train(resume_from_checkpoint=newest_whole(output["output_dir"]))
    trainer.save_model(output["output_dir"])
    tokenizer.save_pretrained(output["output_dir"])
    mlflow.log_params({"model_name": name, "lora_r": qlora["lora_r"], "replay_ratio": data["replay_ratio"]})
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        mlflow.log_artifact(os.path.join(output["output_dir"], file), "adapter")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Verification
# MAGIC The adapter, its configuration and the tokenizer have to be there. `forecast-platform perplexity` measures what the
# MAGIC training did to held-out domain text and to general text.

# COMMAND ----------

for file in sorted(os.listdir(output["output_dir"])):
    path = os.path.join(output["output_dir"], file)
    print(f"{os.path.getsize(path) / 1e6:10.1f} MB  {file}")
