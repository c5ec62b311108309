"""Trains bulla-demo on generated conversations; resumable, one CPU core with AMX or AVX-512 bf16 is enough.

    python tokenizer.py && python train.py --steps 5000 --work checkpoints
    torchrun --nproc-per-node 2 train.py …      # two processes, each its own data, gradients averaged
"""

import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import random
import time

import numpy as np
import safetensors.torch
import tokenizers
import torch
import torch.distributed as dist
import torch.nn.functional as F

import data
import network
import tokenizer

SHARD = 4096  # conversations generated, sorted by length and cut into batches at a time


def shard(index, folder, batch_tokens):
    """The batches of shard `index`: (ids, learn mask) arrays of near-equal lengths, padded on the right."""
    encoder = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    rng = random.Random(f"train-{index}")
    rows = [tokenizer.encode(encoder, data.conversation(rng)) for _ in range(SHARD)]
    rows = sorted((row for row in rows if len(row[0]) <= 1024), key=lambda row: len(row[0]))
    batches, group = [], []
    for row in rows + [None]:
        if group and (row is None or (len(group) + 1) * len(row[0]) > batch_tokens):
            width = len(group[-1][0])
            ids, learn = np.full((len(group), width), tokenizer.PAD), np.zeros((len(group), width), bool)
            for i, (a, b) in enumerate(group):
                ids[i, : len(a)], learn[i, : len(b)] = a, b
            batches.append((ids, learn))
            group = []
        group.append(row)
    rng.shuffle(batches)
    return batches


def stream(first, stride, folder, batch_tokens):
    """Endless batches of every `stride`-th shard from `first` on; the next is made by another process meanwhile."""
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        ahead = pool.submit(shard, first, folder, batch_tokens)
        while True:
            batches, first = ahead.result(), first + stride
            ahead = pool.submit(shard, first, folder, batch_tokens)
            for ids, learn in batches:
                yield first, torch.from_numpy(ids), torch.from_numpy(learn)


def save(master, folder):
    """Writes the Hugging Face folder: configuration and bf16 weights."""
    folder = pathlib.Path(folder)
    weights = {name: p.detach().to(torch.bfloat16).contiguous() for name, p in master.items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(network.CONFIG, indent=2) + "\n")
    generation = {"do_sample": False, "eos_token_id": tokenizer.END, "pad_token_id": tokenizer.PAD, "max_new_tokens": 200}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def main():
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--folder", default="bulla-demo")
    cli.add_argument("--work", default="checkpoints")
    cli.add_argument("--steps", type=int, default=5000)
    cli.add_argument("--warm-up", type=int, default=150)
    cli.add_argument("--lr", type=float, default=3e-3)
    cli.add_argument("--batch-tokens", type=int, default=4096)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--stop-at", type=int, default=0, help="stop after this step of the schedule")
    cli.add_argument("--minutes", type=float, default=0, help="schedule by wall-clock time instead of --steps")
    args = cli.parse_args()
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if world > 1:
        dist.init_process_group("gloo")
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    work = pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)

    # The optimiser keeps fp32 weights; the network computes with their bf16 copies.
    net = network.Llama()
    master = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    net = net.bfloat16()
    matrices = [p for name, p in master.items() if p.dim() == 2 and "embed" not in name]
    rest = [p for name, p in master.items() if p.dim() != 2 or "embed" in name]
    optimisers = [
        torch.optim.Muon(matrices, lr=args.lr, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    step, first, tokens, seconds = 0, 0, 0, 0.0
    latest = work / "latest.pt"
    if latest.exists():
        state = torch.load(latest)
        step, first, tokens, seconds = state["step"], state["shard"], state["tokens"], state["seconds"]
        for name, p in master.items():
            p.data.copy_(state["master"][name])
        for optimiser, saved in zip(optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(master[name])
    trunk = torch.compile(net.model, dynamic=True)

    shown, began, losses = time.time(), time.time(), []
    used = seconds
    for first, ids, learn in stream(first + rank, world, args.folder, args.batch_tokens):
        seconds = used + time.time() - began
        if world > 1:  # the first process's clock decides for all
            clock = torch.tensor([seconds], dtype=torch.float64)
            dist.broadcast(clock, 0)
            seconds = clock.item()
        done = seconds / 60 / args.minutes if args.minutes else step / args.steps
        if done >= 1 or (args.stop_at and step >= args.stop_at):
            break
        rate = args.lr * min(1.0, (step + 1) / args.warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        hidden = trunk(ids[:, :-1], *network.positions(ids.shape[1] - 1, torch.bfloat16))
        wanted = learn[:, 1:].reshape(-1).nonzero().squeeze(1)
        logits = F.linear(hidden.reshape(-1, network.HIDDEN)[wanted], net.model.embed_tokens.weight).float()
        loss = F.cross_entropy(logits, ids[:, 1:].reshape(-1)[wanted])
        loss.backward()
        for name, p in net.named_parameters():
            master[name].grad = p.grad.float()
            p.grad = None
        if world > 1:
            flat = torch.cat([p.grad.flatten() for p in master.values()])
            dist.all_reduce(flat)
            for p, part in zip(master.values(), flat.div_(world).split([p.numel() for p in master.values()])):
                p.grad.copy_(part.view_as(p))
        norm = torch.nn.utils.clip_grad_norm_(master.values(), 1.0)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        with torch.no_grad():
            for name, p in net.named_parameters():
                p.copy_(master[name])
        step, tokens = step + 1, tokens + world * ids.numel()
        losses.append(loss.item())
        if step % 25 == 0 and rank == 0:
            speed = world * len(losses) * args.batch_tokens / (time.time() - shown)
            print(f"step {step} loss {sum(losses) / len(losses):.4f} norm {norm:.2f} lr {rate:.5f} tokens {tokens} tokens/s {speed:.0f} minutes {seconds / 60:.1f}", flush=True)
            shown, losses = time.time(), []
        if step % 250 == 0 and rank == 0:
            state = {"step": step, "shard": first, "tokens": tokens, "seconds": seconds, "master": master, "optimisers": [o.state_dict() for o in optimisers]}
            torch.save(state, work / "next.pt")
            os.replace(work / "next.pt", latest)
            save(master, args.folder)
    if rank:
        return
    save(master, args.folder)
    print(f"done: step {step}, tokens {tokens}, minutes {seconds / 60:.1f}", flush=True)


if __name__ == "__main__":
    main()
