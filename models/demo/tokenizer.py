"""Builds the tokenizer of bulla-demo and its chat template.

Words, single digits, single spaces and single signs are cut apart before byte-level BPE, so that a word
has the same tokens wherever it stands: in the middle of a line or right behind a quote in the JSON. That
is what makes copying learnable for a model this small. Every UTF-8 text can be encoded.
"""

import json
import pathlib
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import data

SPECIAL = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
PAD, SYSTEM, USER, ASSISTANT, END = range(5)
ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
VOCABULARY = 1536
CUT = r""""[a-z_]+":|",|\p{L}+|\p{N}|\s|[^\p{L}\p{N}\s]"""
DEFAULT_SYSTEM = "Read the invoice line and return its fields as JSON."
TEMPLATE = (
    "{%- if not messages or messages[0]['role'] not in ['system', 'developer'] -%}"
    "{{- '<|system|>" + DEFAULT_SYSTEM + "<|end|>' -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] in ['system', 'developer'] -%}{{- '<|system|>' -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- '<|assistant|>' -}}"
    "{%- else -%}{{- '<|user|>' -}}{%- endif -%}"
    "{{- message['content'] | trim -}}{{- '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def build(lines=40_000, seed=7) -> Tokenizer:
    """Trains the tokenizer on generated training conversations."""
    rng = random.Random(seed)
    texts = (content for _ in range(lines) for _, content in data.conversation(rng))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CUT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
    )
    return tokenizer


def encode(tokenizer, messages):
    """Token ids of a conversation as the chat template writes it, and which of them are to be learnt."""
    ids, learn = [], []
    if messages[0][0] != "system":
        messages = [("system", DEFAULT_SYSTEM)] + messages
    for role, content in messages:
        body = tokenizer.encode(content.strip()).ids + [END]
        ids += [ROLES[role]] + body
        learn += [False] + [role == "assistant"] * len(body)
    return ids, learn


def save(tokenizer, folder):
    """Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1024, "clean_up_tokenization_spaces": False, "add_bos_token": False,
        "eos_token": "<|end|>", "pad_token": "<|pad|>", "chat_template": TEMPLATE,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|end|>", "pad_token": "<|pad|>"}, indent=2) + "\n")


if __name__ == "__main__":
    save(build(), "bulla-demo")
