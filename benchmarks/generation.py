"""How fast a GPT writes with its key-value cache and without one, and whether both write the same.

script/bench generation                          the sizes micro and small, context 256, one text and 16 at once
script/bench generation --size mini --context 512
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainwright.core.decoding import Decoding, Prompts, choose, written
from trainwright.models.gpt import GPT

VOCAB, GREEDY = 96, Decoding(temperature=0)


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", help="of the model, such as micro; may be repeated")
    parser.add_argument("--context", type=int, default=256, help="tokens that the model looks back on")
    parser.add_argument("--prompt", type=int, action="append", help="tokens to go on from; may be repeated")
    parser.add_argument("--batch", type=int, action="append", help="texts at once; may be repeated")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    asked = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; seconds are processor time per thread")
    rows = []
    for size in asked.size or ["micro", "small"]:
        for batch in asked.batch or [1, 16]:
            for prompt in asked.prompt or [1, asked.context * 3 // 4]:
                rows.append(measured(size, asked.context, prompt, batch))
                print(told(rows[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def measured(size: Any, context: int, prompt: int, batch: int) -> dict[str, Any]:
    """Tokens per second with the cache and without, of the same texts, from a prompt to the end of the context."""
    torch.manual_seed(0)
    model = GPT(vocab=VOCAB, context=context, size=size).eval()
    prompts, tokens = Prompts(torch.randint(0, VOCAB, (batch, prompt)), torch.full((batch,), prompt)), context - prompt
    quick, fast = timed(lambda: torch.stack(list(written(model, prompts, tokens, GREEDY)), 1))
    slow, long = timed(lambda: without_cache(model, prompts.tokens, tokens))
    same = float((quick == slow).float().mean())
    rates = {"cache": batch * tokens / fast, "none": batch * tokens / long}
    return {"size": size, "context": context, "batch": batch, "prompt": prompt, **rates, "same": same}


@torch.no_grad()
def without_cache(model: GPT, prompt: Tensor, tokens: int) -> Tensor:
    """The same texts, with the whole window computed anew for each token."""
    window, said = prompt, []
    for _ in range(tokens):
        said.append(choose(model(window)[:, -1], GREEDY, torch.zeros(len(prompt))))
        window = torch.cat([window, said[-1][:, None]], 1)
        if window.shape[1] > model.context:
            window = window[:, -(model.context // 2) :]
    return torch.stack(said, 1)


def timed(act: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What it gives, and the seconds of processor time that a thread took, best of two."""
    took = []
    for _ in range(2):
        began = time.process_time()
        made = act()
        took.append((time.process_time() - began) / torch.get_num_threads())
    return made, min(took)


def told(row: dict[str, Any]) -> str:
    """A line."""
    times = row["cache"] / row["none"]
    which = f"{row['size']}, context {row['context']}, {row['batch']} at once from {row['prompt']}"
    rates = f"{row['cache']:,.0f} tokens/s with the cache, {row['none']:,.0f} without"
    return f"{which}: {rates}: {times:.1f} times; {row['same']:.2%} of the tokens are the same"


if __name__ == "__main__":
    main()
