"""What an accelerator is used for: a GPT of 124 million parameters, and a ResNet of the size of CIFAR beside others.

    script/bench gpu                                          needs an accelerator
    script/bench gpu --device cpu --size nano --context 64 --pieces 500 --steps 30      the same code, anywhere

The GPT is trained by `trainwright train`, in bfloat16, on made-up text of as many words as GPT-2 has pieces. What it
reaches is its floating-point operations a second, by the count of Chowdhery et al. 2022 (6 for each weight and token,
and 12 layers x width x context for the attention), over the peak of large matrix products measured on the same card.
The ResNet is trained by `tw.fit`, by a loop that `torch.compile` has made, and by Lightning where it is
installed, in turn, the compile time left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import trainwright as tw
from benchmarks.speed import systems
from benchmarks.speed.works import BY_NAME, Work
from trainwright.core.events import StepDone, Stop
from trainwright.engine.abilities import clock_of
from trainwright.engine.peak import matrix_peak

RESNET = "ResNet 32x32, batch 128"
Seconds = list[float]  # of an epoch


def text(path: Path, words: int, tokens: int) -> None:
    """Words at random, each followed by one of four, so that there is something to learn; every word at least twice."""
    dice = random.Random(0)
    names = [f"w{i}" for i in range(words)]
    said = names * 2
    dice.shuffle(said)
    at = 0
    while len(said) < tokens:
        at = (at * 31 + dice.randrange(4)) % words
        said.append(names[at])
    path.write_text(" ".join(said), encoding="utf-8")


def gpt(asked: argparse.Namespace) -> None:
    """Train it through the command, and say what the passes reach."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        text(
            folder / "text.txt",
            asked.pieces + asked.pieces // 100,
            asked.steps * asked.batch * (asked.context + 1) // 4 + 40 * asked.context,
        )
        recipe = {
            "device": asked.device,
            "precision": asked.precision,
            "budget": f"{asked.steps} steps",
            "eval_every": f"{asked.steps} steps",
            "save_every": f"{asked.steps} steps",
            "batch_size": asked.batch,
            "task": {"name": "generation", "context": asked.context,
                     "tokenizer": {"name": "words", "split": "spaces", "pieces": asked.pieces}},
            "data": {"source": "documents", "path": str(folder / "text.txt"), "valid": 0.02, "test": 0},
            "model": {"name": "gpt", "size": asked.size},
            "optimizer": {"name": "adamw", "lr": 3e-4},
        }  # fmt: skip
        (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
        out = folder / "run"
        subprocess.run(
            [sys.executable, "-m", "trainwright", "train", str(folder / "recipe.json"), "--out", str(out), "--quiet"],
            check=True,
        )
        run = tw.open(out)
        events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
        per_step = [e["seconds"] for e in events if e.get("event") == "StepDone" and e["step"] > asked.steps // 3]
        model = run.model
        print(*run.manifest["plan"]["why"], sep="\n")
    weights = sum(p.numel() for p in model.parameters())
    depth = sum(1 for name, _ in model.named_modules() if name.rpartition(".")[0].endswith("blocks"))
    width = next(p for p in model.parameters() if p.ndim == 2).shape[1]
    step = statistics.median(per_step)
    rate = asked.batch * asked.context / step
    flops = 6 * weights + 12 * depth * width * asked.context
    device = torch.device(asked.device)
    kind = torch.bfloat16 if asked.precision == "bfloat16" else torch.float32
    peak = matrix_peak(device, kind, clock_of(device))
    print(
        f"GPT {asked.size}, {weights:,} parameters, {depth} layers, {asked.batch} x {asked.context} tokens, "
        f"{asked.precision}: "
        f"{1e3 * step:.1f} ms a step, {rate:,.0f} tokens/s, {rate * flops / 1e12:.2f} TFLOP/s of {peak / 1e12:.2f} "
        f"measured: {rate * flops / peak:.1%}"
    )


def ours(work: Work, epochs: int, device: str) -> Seconds:
    """`tw.fit` at its defaults; the plan comes before the first epoch."""
    x, y = work.data(work.samples)
    torch.manual_seed(0)
    per_epoch, marks = work.samples // work.batch, list[float]()

    def observe(event: Any) -> Stop | None:
        if isinstance(event, StepDone) and event.step % per_epoch == 0:
            marks.append(time.perf_counter())
        return Stop("all that is measured") if len(marks) == epochs + 1 else None

    with tempfile.TemporaryDirectory() as place:
        tw.fit(work.torch(), (x, y), loss=work.loss, valid=0.0, epochs=250, batch_size=work.batch, optimizer="adam",
               lr=work.rate, device=device, log_every=per_epoch, save_every="1000 epochs", observers=[observe],
               out=Path(place) / "run", quiet=True)  # fmt: skip
    return [b - a for a, b in pairwise(marks)]


def compiled(work: Work, epochs: int, device: str) -> Seconds:
    """A loop by hand whose network torch has compiled: data on the device, bfloat16, the fused optimizer."""
    x, y = (torch.from_numpy(a).to(device) for a in work.data(work.samples))
    torch.manual_seed(0)
    model = work.torch().to(device)
    optimizer, net = torch.optim.Adam(model.parameters(), lr=work.rate, fused=True), torch.compile(model)
    clock, seconds = clock_of(torch.device(device)), Seconds()
    for _ in range(epochs + 1):
        began = clock()
        for ids in torch.randperm(len(x), device=device).split(work.batch):
            optimizer.zero_grad()
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                loss = F.cross_entropy(net(x[ids]), y[ids])
            loss.backward()
            optimizer.step()
        seconds.append(clock() - began)
    return seconds[1:]


def lightning(work: Work, epochs: int, device: str) -> Seconds:
    """As on a CPU, in its own bfloat16."""
    there = "cpu" if device == "cpu" else "gpu"
    return systems.lightning(work, epochs + 1, accelerator=there, devices=1, precision="bf16-mixed")[1:]


SYSTEMS: dict[str, Callable[[Work, int, str], Seconds]] = {
    "Trainwright": ours,
    "compiled loop": compiled,
    "Lightning": lightning,
}


def resnet(asked: argparse.Namespace) -> None:
    """Samples a second of each system, the median epoch of each training, in an order that turns."""
    work, rates = BY_NAME[RESNET], dict[str, list[float]]()
    names = [n for n in SYSTEMS if n != "Lightning" or importlib.util.find_spec("lightning")]
    for turn in range(asked.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds = SYSTEMS[name](work, asked.epochs, asked.device)
            rates.setdefault(name, []).append(work.samples / statistics.median(seconds))
    print(f"\n{RESNET}, samples/s, median (lowest to highest)")
    for name, found in sorted(rates.items(), key=lambda item: -statistics.median(item[1])):
        print(f"{name}: {statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})")


def main() -> None:
    """Measure, and print it; a line where there is nothing to measure on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="such as cuda; cpu runs the same code, and tells nothing")
    parser.add_argument("--size", default="gpt2-124m", help="of the GPT")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pieces", type=int, default=50_257, help="that the tokenizer has")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of the ResNet that are measured")
    parser.add_argument("--only", choices=["gpt", "resnet"])
    asked = parser.parse_args()
    if asked.device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None:
            print("no accelerator is here, so nothing was measured")
            return
        asked.device = found.type
    name = torch.cuda.get_device_name() if asked.device.startswith("cuda") else asked.device
    print(f"{name}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    if asked.only != "resnet":
        gpt(asked)
    if asked.only != "gpt":
        resnet(asked)


if __name__ == "__main__":
    main()
