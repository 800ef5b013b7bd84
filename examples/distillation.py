"""A small student that learns from few labels and from a teacher: a whole step of one's own, with a frozen network.

The student has 60 labels. Alone it has nothing else; with the teacher, a larger network that learned from many, it also
hears what the teacher thinks of images that nobody labelled for it.
"""

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

import trainwright as tw

SEEDS = 3
FEW, ASKED, HEAT = 60, 4, 2.0  # labels; images that the teacher is asked about beside each; temperature

pixels, labels = load_digits(return_X_y=True)
x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
test, known = order[:500], order[500:]


def build(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def distil(
    state: tw.TrainState,
    task: tw.Task,
    group: Sequence[tw.Batch],
    runtime: tw.Runtime,
    /,
    *,
    clip: float | None,
    multiplier: float,
    progress: tw.Progress,
) -> tw.Step:
    """The labels, and the teacher's softened opinion of other images (Hinton et al. 2015)."""
    teacher = state.module("teacher")

    def loss(student: nn.Module, batch: tw.Batch, progress: tw.Progress) -> tw.Loss:
        hard = cross_entropy(student(batch.inputs["x"]), batch.targets["y"], reduction="sum")
        draw = tw.Draw(0, progress.step, batch.ids)  # a function of step and sample: the same after a resume
        others = x[known[draw.integers("others", len(known), ASKED)]].flatten(0, 1)
        with torch.no_grad():
            told = log_softmax(teacher(others) / HEAT, 1)
        said = log_softmax(student(others) / HEAT, 1)
        soft = HEAT**2 * kl_div(said, told, reduction="sum", log_target=True) / ASKED
        return tw.Loss(hard + soft, parts={"labels": hard.detach(), "teacher": soft.detach()})

    return tw.train_step(state, task, group, runtime, loss=loss, clip=clip, multiplier=multiplier, progress=progress)


def fitted(net: nn.Module, ids: torch.Tensor, epochs: int, **more: object) -> float:
    """The accuracy on the test images; the last weights are judged, as few labels are too dear to choose by."""
    run = tw.fit(
        net,
        (x[ids], y[ids]),
        loss="cross_entropy",
        valid=0,
        test=(x[test], y[test]),
        epochs=epochs,
        lr=1e-2,
        schedule="cosine",
        save_every="100 epochs",
        quiet=True,
        name="distillation",
        **more,
    )
    return run.metrics["test/accuracy"]


if __name__ == "__main__":
    torch.manual_seed(0)
    teacher = build(256)
    print(f"teacher, {len(known)} labels: {fitted(teacher, known, 30):.4f}")
    teacher.eval().requires_grad_(False)
    alone, taught = [], []
    for seed in range(SEEDS):
        few = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))[:FEW]]
        for reached, more in ((alone, {}), (taught, {"step_fn": distil, "parts": {"teacher": teacher}})):
            torch.manual_seed(seed)
            reached.append(fitted(build(16), few, 200, seed=seed, **more))
        print(f"seed {seed}, {FEW} labels: alone {alone[-1]:.4f}, with the teacher {taught[-1]:.4f}")
    print(f"mean of {SEEDS}: alone {sum(alone) / SEEDS:.4f}, with the teacher {sum(taught) / SEEDS:.4f}")
