"""Accuracy of a Hugging Face folder on held-out cases, greedy decoding with transformers.

    python evaluate.py --folder bulla-demo --cases held-out.jsonl
    python evaluate.py --folder bulla-demo --generate 1000 --seed 5    # fresh held-out cases
"""

import argparse
import collections
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import data


def answers(model, tokenizer, texts, batch=32):
    """The model's greedy answer to each text, as a single user message."""
    tokenizer.padding_side = "left"
    out = [""] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        prompts = [tokenizer.apply_chat_template([{"role": "user", "content": texts[i]}], add_generation_prompt=True, tokenize=False) for i in part]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=200, do_sample=False)
        for i, row in zip(part, ids[:, inputs["input_ids"].shape[1] :]):
            out[i] = tokenizer.decode(row, skip_special_tokens=True)
    return out


def main():
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--folder", default="bulla-demo")
    cli.add_argument("--cases", default="held-out.jsonl")
    cli.add_argument("--generate", type=int, default=0, help="make this many held-out cases instead of reading --cases")
    cli.add_argument("--seed", type=int, default=5)
    cli.add_argument("--failures", type=int, default=10, help="how many failures to print")
    args = cli.parse_args()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.bfloat16).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    if args.generate:
        cases = list(data.held_out_cases(args.generate, args.seed))
    else:
        cases = [json.loads(row) for row in open(args.cases, encoding="utf-8")]
    exact, fields, right = 0, collections.Counter(), collections.Counter()
    lines = refused = not_json = 0
    for case, got in zip(cases, answers(model, tokenizer, [case["text"] for case in cases])):
        exact += got == case["expected"]
        wanted = json.loads(case["expected"])
        try:
            read = json.loads(got)
        except ValueError:
            read, not_json = {}, not_json + 1
        if "error" in wanted:
            refused += read == wanted
        else:
            lines += 1
            for name in data.FIELDS:
                fields[name] += 1
                right[name] += name in read and read[name] == wanted[name]
        if got != case["expected"] and args.failures > 0:
            args.failures -= 1
            print(f"text     {case['text']!r}\nexpected {case['expected']}\ngot      {got}\n")
    print(f"exact match {exact}/{len(cases)} = {exact / len(cases):.1%}; not JSON {not_json}; other text refused {refused}/{len(cases) - lines}")
    for name in data.FIELDS:
        print(f"{name:12} {right[name]}/{fields[name]} = {right[name] / max(1, fields[name]):.1%}")


if __name__ == "__main__":
    main()
