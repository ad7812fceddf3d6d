#!/usr/bin/env bash
# transformers: a tokenizer made for one's own texts, saved beside a small language model of Qwen2's architecture.
# Guess: AutoTokenizer.from_pretrained(folder) makes the tokens that were made by what save_pretrained wrote there:
# tokenizer.json holds the rules whole, and tokenizer_config.json names the class that reads them as they are.
# Behaviour: with a config.json of model_type qwen2 it is Qwen2Tokenizer, whatever the folder says. It takes vocabulary and
# merges and puts its own rules of splitting in place of the file's: a tokenizer that keeps numbers in groups of three, or
# whole, gives single digits. Decoding gives the text back, nothing is said, and the model reads prices in tokens that it
# never saw so. Beside LLaMA's, Mistral's or Qwen3's config.json the file is read as it is; for qwen2 only
# PreTrainedTokenizerFast.from_pretrained does so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3
FOLDER="$folder" HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore - <<'PYTHON'
import os
import sys

import tokenizers
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

print("transformers", transformers.__version__, "tokenizers", tokenizers.__version__)
TEXT = "Crude oil settled at 78.65 on 20250314, gold at 2345.10."
bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
ways = {
    "in threes": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"), bytes_]),
    "whole": bytes_,
}
same = {}
for numbers, splitting in ways.items():
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer, rules.decoder = splitting, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    rules.train_from_iterator(
        [TEXT] * 50,
        trainers.BpeTrainer(vocab_size=400, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False),
    )
    made = PreTrainedTokenizerFast(tokenizer_object=rules, eos_token="<end>", pad_token="<end>")
    print("numbers", numbers + ":", made.tokenize(TEXT)[-9:])
    for model_type in ("llama", "mistral", "qwen3", "qwen2"):
        where = os.path.join(os.environ["FOLDER"], numbers.split()[-1], model_type)
        made.save_pretrained(where)
        AutoConfig.for_model(model_type).save_pretrained(where)
        found = AutoTokenizer.from_pretrained(where)
        plain = PreTrainedTokenizerFast.from_pretrained(where)
        ids = found(TEXT)["input_ids"]
        back = found.decode(ids) == TEXT and plain(TEXT)["input_ids"] == made(TEXT)["input_ids"]
        same[numbers, model_type] = ids == made(TEXT)["input_ids"]
        print(f"  {model_type}: {type(found).__name__}, {'the same' if same[numbers, model_type] else 'other'} tokens", end="")
        print("" if same[numbers, model_type] else f": {found.tokenize(TEXT)[-9:]}; text back and plain class right: {back}")
        same[numbers, model_type] = same[numbers, model_type], back
as_found = all(back and right == (kind != "qwen2") for (_, kind), (right, back) in same.items())
print("as found" if as_found else "this has changed")
sys.exit(not as_found)
PYTHON
