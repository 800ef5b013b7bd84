"""A generator of handwritten digits, trained against a critic: a whole step of one's own, with a second optimizer.

The step is made of two of Trainwright's: one moves the critic, one the generator. Both keep what such a step keeps
(micro-batches, clipping, the guard against NaN), and a checkpoint holds both networks and both optimizers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import softplus

import trainwright as tw

NOISE = 16

pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels / 8 - 1, dtype=torch.float32)  # (1797, 64) from -1 to 1
torch.manual_seed(0)
noise = torch.randn(len(images), NOISE)  # what evaluation gives the generator; training draws its own


def build_generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(NOISE, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.Tanh()
    )


def build_critic() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 128),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(128, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 1),
    )


def energy(made: Tensor, real: Tensor) -> Tensor:
    """How far a batch of made images is from real ones: smallest, in the mean, where both are distributed alike.

    The energy distance judges the generator, and picks the best one; no critic has a say in it. Source: Székely & Rizzo
    2013, "Energy statistics".
    """
    n = len(made)
    among = torch.cdist(made, made).sum(1) / max(1, n - 1)
    return torch.cdist(made, real).mean(1) - among / 2


def gan_step(
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
    """One step of the critic, then one of the generator, on the same noise."""
    generator, critic = state.model, state.module("critic")

    def made(batch: tw.Batch) -> Tensor:
        draw = tw.Draw(0, progress.step, batch.ids)  # a function of step and sample: the same in any micro-batch
        return generator(draw.normal("noise", NOISE))

    def tell_apart(critic: nn.Module, batch: tw.Batch, progress: tw.Progress) -> tw.Loss:
        with torch.no_grad():
            fakes = made(batch)
        return tw.Loss((softplus(-critic(batch.targets["y"])) + softplus(critic(fakes))).sum())

    def deceive(generator: nn.Module, batch: tw.Batch, progress: tw.Progress) -> tw.Loss:
        return tw.Loss(softplus(-critic(made(batch))).sum())

    given = {"clip": clip, "multiplier": multiplier, "progress": progress}
    first = tw.train_step(
        state, task, group, runtime, loss=tell_apart, module="critic", optimizer="critic_optimizer", **given
    )
    second = tw.train_step(state, task, group, runtime, loss=deceive, **given)
    return tw.Step(second.loss, second.norm, second.finite & first.finite, {"critic": first.loss})


def train(out: str | None = None, epochs: int = 100, resume: str | None = None) -> tuple[tw.Run, nn.Module]:
    torch.manual_seed(1)
    generator, critic = build_generator(), build_critic()
    run = tw.fit(
        generator,
        (noise, images),
        loss=energy,
        valid=0.2,
        epochs=epochs,
        optimizer={"name": "adam", "lr": 1e-3, "betas": [0.5, 0.99]},
        eval_every="10 epochs",
        save_every="10 epochs",
        step_fn=gan_step,
        parts={
            "critic": critic,
            "critic_optimizer": torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99)),
        },
        name="gan",
        out=out,
        resume=resume,
        quiet=True,
    )
    return run, generator


def seen(made: Tensor) -> tuple[float, int, float]:
    """What a classifier of real digits sees: its mean confidence, the digits it finds in 2 % or more; the energy."""
    judge = LogisticRegression(C=0.05, max_iter=500).fit(images.numpy(), labels)
    said = judge.predict_proba(made.numpy())
    shares = np.bincount(said.argmax(1), minlength=10) / len(said)
    return float(said.max(1).mean()), int((shares >= 0.02).sum()), float(energy(made, images[: len(made)]).mean())


if __name__ == "__main__":
    run, generator = train()
    torch.manual_seed(2)
    fresh = torch.randn(1000, NOISE)
    with torch.no_grad():
        for name, net in (("untrained", build_generator()), ("trained", generator.eval())):
            confidence, digits, distance = seen(net(fresh))
            print(f"{name} generator: {digits} of 10 digits, confidence {confidence:.3f}, energy {distance:.3f}")
        confidence, digits, distance = seen(images[:1000])
        print(f"real images: {digits} of 10 digits, confidence {confidence:.3f}, energy {distance:.3f}")
    print("held-out energy", {name: round(value, 3) for name, value in run.metrics.items()})
