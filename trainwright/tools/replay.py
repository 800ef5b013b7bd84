"""A step that was not finite, taken again under a magnifying glass: what failed first, where, and for which records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.task import Progress, Task
from trainwright.engine.guard import unsound_rows
from trainwright.engine.origins import Layer, Made, Origins, Range, range_of
from trainwright.engine.randomness import give_randomness, randomness_kept
from trainwright.engine.runtime import Runtime, find_device
from trainwright.engine.step import penalize
from trainwright.runs.figures import aligned, number
from trainwright.runs.gathered import open_source
from trainwright.runs.incidents import batch_of, digest, read_incident
from trainwright.runs.predict import reopened
from trainwright.runs.recipe import read
from trainwright.runs.run import open_run

_SHOWN = 12  # layers, and records
_BY_PENALTIES = ", by the penalties l1 and l2; without them all is finite"


@dataclass(frozen=True, slots=True)
class Pass:
    """The step in one precision."""

    precision: str
    failed: str  # "the loss is NaN"; nothing where all is finite
    first: tuple[str, ...]  # what stopped being finite first, and what followed from it, in words
    module: str  # in whose forward or backward pass; empty outside all
    op: str
    layers: tuple[Layer, ...]  # every call of a module, in order
    gradients: Mapping[str, float]  # of each weight: the share of its gradient that is finite


@dataclass(frozen=True, slots=True)
class Replay:
    """What taking the step again has shown."""

    incident: str
    step: int
    what: str  # as the run has it
    same_state: bool  # the weights are those of the step, by their sha256
    repeats: bool
    passes: tuple[Pass, ...]  # in the run's precision, and in float32 where that is another
    cured: bool | None  # by float32; None where the run's precision is that
    rows: tuple[int, ...]  # the guilty records
    places: tuple[str, ...]  # of them in the data
    how: str  # they were found
    notes: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)  # those that are not finite

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For a person."""
        here = self.passes[0]
        out = [f"incident {self.incident}: step {self.step:,}, {self.what}"]
        same = "the weights are those of the step" if self.same_state else "the weights are NOT those of the step"
        out.append(f"state    {same} (by their sha256)")
        again = f"yes: {here.failed}" if self.repeats else f"no: in {here.precision} loss and gradient are finite"
        out.append(f"repeats  {again}")
        out += [f"weight   {name} {what}" for name, what in list(self.weights.items())[:_SHOWN]]
        out += [f"{'first' if not i else 'then':<8} {text}" for i, text in enumerate(here.first)]
        if self.how:
            out.append(f"rows     {_listed(self.rows, self.places)}; {self.how}")
        if self.cured is not None:
            out.append(f"float32  {'cures it' if self.cured else 'does not cure it'}")
        out += [f"note     {note}" for note in self.notes]
        return [*out, "", *_table(here.layers)]


def replay(incident: str | Path, model: nn.Module | None = None, *, loss: Any = None) -> Replay:
    """Take the step of an incident again, and find what was not finite first.

    Args:
        incident: a folder such as ``runs/…/incidents/0001``.
        model: the module, built as it was for training, where the run trained the user's own.
        loss: of such a run, where it was a function.
    """
    path = Path(incident).expanduser()
    content = read_incident(path)
    facts = content["incident"]
    task, net, place = _opened(path.parent.parent, model, loss)
    notes = []
    if not facts["weights"]["kept"] or not content["batch"]["ranks"]:
        raise UserError(str(path), "holds no weights or no batch: they were too large to keep", "train the step again")
    if facts["own_step"]:
        notes.append("the run's step is not the usual one; what is taken again is the loss of its task")
    net.load_state_dict(content["model"])
    same = digest(net.state_dict()) == facts["weights"]["sha256"]
    device = _device(facts["device"], notes)
    ranks = [[batch_of(b) for b in rank] for rank in content["batch"]["ranks"]]
    again = _Again(task, net, facts, content["randomness"]["ranks"], device)
    passes = [again.whole(ranks, facts["precision"])]
    if facts["precision"] in ("float16", "bfloat16"):
        passes.append(again.whole(ranks, "float32"))
    broken = {n: f"holds {what}" for n, p in net.named_parameters() if (what := _unsound(p))}
    whole = broken or not passes[0].failed or passes[0].failed.endswith(_BY_PENALTIES)
    rows, how = ((), "") if whole else again.guilty(ranks)
    return Replay(
        path.name,
        facts["step"],
        facts["what"],
        same,
        bool(passes[0].failed),
        tuple(passes),
        None if len(passes) < 2 or not passes[0].failed else not passes[1].failed,
        rows,
        tuple(place(r) for r in rows[:_SHOWN]),
        how,
        tuple(notes),
        broken,
    )


@dataclass(slots=True)
class _Again:
    """The step of an incident, as often as it takes."""

    task: Task[Any]
    model: nn.Module
    facts: Mapping[str, Any]
    dice: Sequence[Mapping[str, Any]]
    device: torch.device

    @property
    def penalties(self) -> tuple[float, float]:
        """Factors of l1 and l2; an incident of an older version does not tell them."""
        l1, l2 = self.facts.get("penalties", (0.0, 0.0))
        return l1, l2

    def whole(self, ranks: Sequence[Sequence[Batch]], precision: str) -> Pass:
        """Forward and backward of every micro-batch, every operation looked at."""
        runtime = Runtime(self.device, precision)  # type: ignore[arg-type]
        origins = Origins(self._ready(runtime))
        with randomness_kept(self.device), origins.watching():
            loss, made = self._loss_and_gradient(ranks, runtime, origins)
        grads = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        failed, first = _verdict(loss, made, grads, origins)
        if not failed and any(self.penalties):
            penalize(self.model, runtime, self.facts["scale"], *self.penalties)
            failed, first = _verdict(loss, made, grads, origins)
            failed += _BY_PENALTIES if failed else ""
        return Pass(
            precision,
            failed,
            tuple(m.told() for m in first) if first else _without_origin(failed, grads),
            first[0].module if first else "",
            first[0].op if first else "",
            tuple(origins.layers),
            {n: range_of(g).finite for n, g in grads.items()},
        )

    def guilty(self, ranks: Sequence[Sequence[Batch]]) -> tuple[tuple[int, ...], str]:
        """The records that fail alone, and how they were found."""
        batches = [b for rank in ranks for b in rank if b.size]
        own = {int(i) for b in batches for i in b.ids[unsound_rows(b)]}
        if own:
            return tuple(sorted(own)), "their own numbers are not finite"
        if not all(_can_be_cut(b) for b in batches):
            return (), "its rows cannot be taken alone: some tensors of the batch are not cut by rows"
        norms = [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        total = sum(b.size for b in batches)
        alone = "found by taking ever smaller parts of the batch alone"
        alone += ", with the running statistics of its batch norms" if norms else ""
        found = [int(i) for b in batches for i in self._bad_rows(b)]
        if 2 * len(found) > total > 1:
            many = f"{len(found)} of {total} records fail alone, so the cause is hardly one of them"
            return tuple(sorted(found)), f"{many}; {alone}"
        if not found:
            return (), f"no record fails alone: it is what they make together; {alone}"
        return tuple(sorted(found)), alone

    def _bad_rows(self, batch: Batch) -> list[int]:
        if not self._fails(batch):
            return []
        if batch.size == 1:
            return [int(batch.ids[0])]
        half = len(batch.ids) // 2
        rows = torch.arange(len(batch.ids))
        return [*self._bad_rows(_cut(batch, rows[:half])), *self._bad_rows(_cut(batch, rows[half:]))]

    def _fails(self, batch: Batch) -> bool:
        runtime = Runtime(self.device, self.facts["precision"])
        model = self._ready(runtime)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        with randomness_kept(self.device):
            loss, _ = self._loss_and_gradient([[batch]], runtime, None)
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        return not bool(loss.isfinite()) or not bool(torch.nn.utils.get_total_norm(grads).isfinite())

    def _ready(self, runtime: Runtime) -> nn.Module:
        model = self.model.to(self.device, runtime.dtype).train()
        model.zero_grad(set_to_none=True)
        for name, module in model.named_modules():
            if name in self.facts["resting"]:
                module.training = False
        for name, weight in model.named_parameters():
            weight.requires_grad_(name not in self.facts["still"])
        return model

    def _loss_and_gradient(
        self, ranks: Sequence[Sequence[Batch]], runtime: Runtime, origins: Origins | None
    ) -> tuple[Tensor, Made | None]:
        """The mean loss, and what made it where it is not finite."""
        progress = Progress(*self.facts["progress"])
        weight = sum(float(b.weight) for rank in ranks for b in rank) or 1.0
        loss = torch.zeros((), dtype=torch.float64)
        made: Made | None = None
        buffers = {n: b.detach().clone() for n, b in self.model.named_buffers()}
        try:
            for rank, batches in enumerate(ranks):
                give_randomness(self.dice[rank], self.device)
                for batch in batches:
                    with runtime.autocast():
                        found = self.task.loss(self.model, runtime.take(batch), progress)
                    made = made or (origins.of(found.sum) if origins and not bool(found.sum.isfinite()) else None)
                    loss = loss + found.sum.detach().cpu().double() * (batch.size > 0) / weight
                    if found.sum.requires_grad:
                        wide = found.sum.to(torch.promote_types(found.sum.dtype, torch.float32))
                        (wide * (float(batch.size > 0) * self.facts["scale"] / weight)).backward()
        finally:
            with torch.no_grad():
                for name, buffer in self.model.named_buffers():
                    buffer.copy_(buffers[name])
        return loss, made


def _verdict(loss: Tensor, made: Made | None, grads: Mapping[str, Tensor], origins: Origins) -> tuple[str, list[Made]]:
    """What is not finite, and where that began."""
    if not bool(loss.isfinite()):
        return f"the loss is {'NaN' if bool(loss.isnan()) else 'infinite'}", made.chain() if made else []
    bad = [n for n, g in grads.items() if not bool(g.isfinite().all())]
    if bad:
        backward = [m for m in origins.made if m.phase == "backward"]
        nan = next((m for m in backward if m.kind == "NaN"), None)
        chain = nan.chain() if nan else backward[0].chain() if backward else []
        return f"the gradient of {bad[0]} is not finite" + (f", and of {len(bad) - 1} more" if bad[1:] else ""), chain
    if grads and not bool(torch.nn.utils.get_total_norm(list(grads.values())).isfinite()):
        return "every gradient is finite, but their norm overflows", []
    return "", []


def _without_origin(failed: str, grads: Mapping[str, Tensor]) -> tuple[str, ...]:
    if "norm" not in failed:
        return ()
    name, size = max(((n, float(g.abs().max())) for n, g in grads.items()), key=lambda pair: pair[1])
    return (f"the largest gradient is {size:.3g}, in {name}",)


def _opened(run: Path, model: nn.Module | None, loss: Any) -> tuple[Task[Any], nn.Module, Any]:
    """Task, model and places of records, without the data."""
    opened = open_run(run)
    if opened.manifest["kind"] == "own" and opened.manifest["supervised"]["loss"] is None and loss is None:
        said = f'in Python, write tw.replay("{run}/incidents/…", model=net, loss=…)'
        raise UserError(str(run), "this run's loss is a function of yours, which its files cannot name", said)
    task, net = reopened(run, model, loss)
    return task, net, _places(run) if opened.manifest["kind"] == "recipe" else lambda record: f"record {record}"


def _places(run: Path) -> Callable[[int], str]:
    """Where the records of a recipe's data lie; only their numbers where the data is gone."""

    def place(record: int) -> str:
        try:
            where = open_source(read(run), lambda what, done, total: None).where(record)
        except (TrainwrightError, OSError):
            return f"record {record}"
        return where if where == f"record {record}" else f"record {record} ({where})"

    return place


def _device(name: str, notes: list[str]) -> torch.device:
    try:
        return find_device(name)
    except UserError:
        notes.append(f"taken again on the CPU; the run was on {name}, which is not here")
        return torch.device("cpu")


def _can_be_cut(batch: Batch) -> bool:
    return all(t.ndim and len(t) == len(batch.ids) for t in (*batch.inputs.values(), *batch.targets.values()))


def _cut(batch: Batch, rows: Tensor) -> Batch:
    """Some rows of a batch; its weight by their share."""
    inputs = {k: v[rows] for k, v in batch.inputs.items()}
    targets = {k: v[rows] for k, v in batch.targets.items()}
    weight = batch.weight * (len(rows) / len(batch.ids))
    return replace(batch, inputs=inputs, targets=targets, weight=weight, ids=batch.ids[rows], size=len(rows))


def _unsound(weight: Tensor) -> str:
    if bool(weight.isfinite().all()):
        return ""
    return "NaN" if bool(weight.isnan().any()) else "infinity"


def _listed(rows: Sequence[int], places: Sequence[str]) -> str:
    if not rows:
        return "none"
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return ", ".join(places) + more if places else ", ".join(map(str, rows[:_SHOWN])) + more


def _table(layers: Sequence[Layer]) -> list[str]:
    """The ranges of every module's output and of the gradient that came back to it."""
    titles = ["module", "output from", "to", "finite", "gradient from", "to", "finite"]
    return aligned([titles, *([layer.name, *_cells(layer.output), *_cells(layer.gradient)] for layer in layers)])


def _cells(found: Range | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    share = f"{found.finite:.0%}" if found.finite in (0, 1) else f"{found.finite:.3%}"
    return [number(found.low), number(found.high), share]
