"""Incidents: all that is needed to take a step again that was not finite, in a folder of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.errors import CheckpointError, UserError
from trainwright.engine import checkpoint
from trainwright.engine.guard import Trouble
from trainwright.engine.packing import pack
from trainwright.engine.randomness import take_randomness
from trainwright.engine.state import Weights
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import INCIDENTS

FORMAT = 1
_MOST = 3  # of a run
_BYTES = 1 << 30  # of one, with the weights; where they are more, the weights are left out


def keep(trouble: Trouble, places: Sequence[str], pieces: Pieces, folder: Path) -> str:
    """Write an incident; its folder relative to the run, or nothing where there are enough or the disk refuses.

    Every rank must call it, with the state and the randomness as they were before the step; the first one writes.
    """
    runtime = pieces.runtime
    home = folder / INCIDENTS
    number = 1 + max((int(p.name) for p in home.iterdir() if p.name.isdecimal()), default=0) if home.is_dir() else 1
    number = int(runtime.ranks.gather_json(number)[0])
    if number > _MOST or not trouble.first:
        return ""
    batches = _of_all_ranks(trouble.group, pieces)
    dice = runtime.ranks.gather_json(take_randomness(runtime.device))
    modules = {name: part.state_dict() for name, part in pieces.state.parts.items() if isinstance(part, Weights)}
    if not runtime.first:
        return ""
    room = _BYTES - sum(_size(b) for rank in batches for b in rank)
    kept = sum(_size(m) for m in modules.values()) <= room
    facts = {**_facts(trouble, places, pieces), "weights": {"sha256": digest(modules["model"]), "kept": kept}}
    content = {"incident": facts, "randomness": {"ranks": dice}, "batch": {"ranks": batches if room > 0 else []}}
    with suppress(OSError):  # a disk that takes no more does not stop a training
        checkpoint.put(pack({**content, **(modules if kept else {})}), home / f"{number:04d}", trouble.step)
        return f"{INCIDENTS}/{number:04d}"
    return ""


def read_incident(path: Path) -> dict[str, Any]:
    """The content of an incident, verified; UserError where there is none."""
    if not path.is_dir():
        there = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        what = f"is no incident; there are: {', '.join(there)}" if there else "is no incident"
        raise UserError(str(path), what, "name a folder such as runs/…/incidents/0001")
    try:
        content = checkpoint.load(path)
    except CheckpointError as error:
        raise UserError(str(path), f"cannot be read: {error}") from None
    if content.get("incident", {}).get("format") != FORMAT:
        raise UserError(str(path), "is no incident", "name a folder such as runs/…/incidents/0001")
    return content


def digest(weights: Mapping[str, Any]) -> str:
    """The sha256 of a module's weights and buffers, by their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        if isinstance(tensor, Tensor):
            value = tensor.detach().cpu().contiguous()
            found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return found.hexdigest()


def batch_of(kept: Mapping[str, Any]) -> Batch:
    """The inverse of what a batch is kept as."""
    parts: dict[str, dict[str, Tensor]] = {"inputs": {}, "targets": {}}
    for name, tensor in kept.items():
        kind, _, rest = name.partition("/")
        if kind in parts:
            parts[kind][rest] = tensor
    return Batch(parts["inputs"], parts["targets"], kept["weight"], kept["ids"], int(kept["size"]))


def _as_tensors(batch: Batch) -> dict[str, Tensor]:
    inputs = {f"inputs/{k}": v for k, v in batch.inputs.items()}
    targets = {f"targets/{k}": v for k, v in batch.targets.items()}
    whole = {**inputs, **targets, "weight": batch.weight, "ids": batch.ids, "size": torch.tensor(batch.size)}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in whole.items()}


def _of_all_ranks(group: Sequence[Batch], pieces: Pieces) -> list[list[dict[str, Tensor]]]:
    """The micro-batches of every rank; only the first one may write."""
    mine = [_as_tensors(batch) for batch in group]
    ranks = pieces.runtime.ranks
    if ranks.world == 1:
        return [mine]
    flat = {f"{i}:{name}": t.clone() for i, batch in enumerate(mine) for name, t in batch.items()}
    data = torch.frombuffer(bytearray(bytes_of(flat)), dtype=torch.uint8)
    found: list[list[dict[str, Tensor]]] = []
    for part in ranks.gather(data):
        batches: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors_of(bytes(part.numpy())).items():
            number, _, name = key.partition(":")
            batches.setdefault(int(number), {})[name] = tensor
        found.append([batches[i] for i in sorted(batches)])
    return found


def _size(tensors: Mapping[str, Any]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values() if isinstance(t, Tensor))


def _facts(trouble: Trouble, places: Sequence[str], pieces: Pieces) -> dict[str, Any]:
    config, runtime, state = pieces.config, pieces.runtime, pieces.state
    model = runtime.ranks.bare(state.model)
    return {
        "format": FORMAT,
        "step": trouble.step,
        "what": trouble.what,
        "loss": trouble.loss,
        "norm": trouble.norm,
        "records": list(trouble.records),
        "suspects": list(trouble.suspects),
        "places": list(places),
        "recipe": "../../config.toml",
        "penalties": [config.l1, config.l2],
        "own_step": config.step["name"] != "standard",
        "progress": [trouble.progress.step, trouble.progress.steps, trouble.progress.epoch],
        "draw": {"seed": config.seed, "epoch": trouble.progress.epoch},
        "multiplier": trouble.multiplier,
        "scale": state.scaler.scale if state.scaler else 1.0,
        "precision": runtime.precision,
        "device": str(runtime.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "resting": [name for name, m in model.named_modules() if name and not m.training],
        "still": [name for name, p in model.named_parameters() if not p.requires_grad],
    }
