"""Residual networks: the published sizes, pictures of every size, blocks that begin as nothing, and learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.schema import check

resnet = models["resnet"]


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("depth", "published"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_large_ones_have_the_published_number_of_parameters(depth: int, published: int) -> None:
    with torch.device("meta"):
        assert parameters(resnet(channels=3, size=(224, 224), outputs=1000, depth=depth)) == published


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)  # He et al. 2016, table 6
def test_small_ones_have_the_published_number_of_parameters(depth: int, millions: float) -> None:
    with torch.device("meta"):
        net = resnet(channels=3, size=(32, 32), outputs=10, depth=depth)
    assert parameters(net) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize(
    ("depth", "side", "stages"),
    [
        (18, 224, [(64, 56), (128, 28), (256, 14), (512, 7)]),
        (50, 224, [(256, 56), (512, 28), (1024, 14), (2048, 7)]),
        (18, 32, [(64, 32), (128, 16), (256, 8), (512, 4)]),
        (20, 32, [(16, 32), (32, 16), (64, 8)]),
    ],
)
def test_stages_have_the_published_maps_and_sizes(depth: int, side: int, stages: list[tuple[int, int]]) -> None:
    with torch.device("meta"):
        net, x = resnet(channels=3, size=(side, side), outputs=10, depth=depth), torch.empty(2, 3, side, side)
        x, found = net.stem(x), []
        for block in net.blocks:
            x = block(x)
            found.append((x.shape[1], x.shape[2]))
    assert list(dict.fromkeys(found)) == stages


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 18, 34, 50])
def test_the_depth_counts_the_layers_with_weights(depth: int) -> None:
    net = resnet(channels=1, size=(8, 8), outputs=2, depth=depth, width=2)
    layers = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in n]
    assert len(layers) == depth


@pytest.mark.parametrize("depth", [8, 18, 50])
@pytest.mark.parametrize("stem", ["auto", "small", "large"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (33, 17), (64, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_go_in_and_outputs_come_out(
    depth: int, stem: str, height: int, width: int, channels: int
) -> None:
    net = resnet(channels=channels, size=(height, width), outputs=3, depth=depth, width=4, stem=stem)
    assert net(torch.randn(2, channels, height, width)).shape == (2, 3)


def test_small_images_keep_their_pixels_at_the_stem_and_large_ones_do_not() -> None:
    def kernel(side: int) -> tuple[int, ...]:
        return tuple(resnet(channels=3, size=(side, side), outputs=2, depth=8, width=2).stem[0].kernel_size)

    assert [kernel(side) for side in (28, 32, 64, 65, 224)] == [(3, 3), (3, 3), (3, 3), (7, 7), (7, 7)]


@pytest.mark.parametrize("depth", [8, 50])
def test_each_block_begins_by_passing_on_its_shortcut(depth: int) -> None:
    net = resnet(channels=1, size=(8, 8), outputs=2, depth=depth, width=4)
    x = net.stem(torch.randn(4, 1, 8, 8))
    for block in net.blocks:
        assert torch.equal(block(x), block.shortcut(x).relu())
        x = block(x)
    assert float(net.head(x.mean((2, 3))).detach().std()) < 0.5


def test_every_weight_learns_once_the_gains_have_moved() -> None:
    torch.manual_seed(0)
    net = resnet(channels=1, size=(8, 8), outputs=2, depth=14, width=4)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.randn(8, 1, 8, 8)), torch.arange(8) % 2).backward()
        optimizer.step()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())


def test_a_batch_of_one_small_image_trains() -> None:
    net = resnet(channels=1, size=(8, 8), outputs=2, depth=18, width=2)
    net(torch.randn(1, 1, 8, 8)).sum().backward()
    assert bool(net(torch.randn(1, 1, 8, 8)).isfinite().all())


def test_dropout_acts_only_in_training() -> None:
    net = resnet(channels=1, size=(8, 8), outputs=2, depth=8, width=8, dropout=0.5)
    x = torch.randn(4, 1, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_mistakes_are_told() -> None:
    given = {"channels": 1, "size": [8, 8], "outputs": 2}
    with pytest.raises(UserError, match=r"model\.depth: 19 is not valid; write .*18"):
        check(resnet, {**given, "depth": 19}, "model")
    with pytest.raises(UserError, match=r"model\.stem"):
        check(resnet, {**given, "stem": "tiny"}, "model")
    with pytest.raises(UserError, match=r"built for images \(1, 8, 8\), but was given \(3, 8, 8\)"):
        resnet(channels=1, size=(8, 8), outputs=2, depth=8)(torch.randn(1, 3, 8, 8))


def test_it_learns_the_digits_in_a_few_dozen_steps(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "task": "image_classification",
        "data": {"source": "embedded", "set": "digits", "valid": 0.1, "test": 0.2},
        "model": {"name": "resnet", "depth": 8},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "schedule": "cosine",
        "batch_size": 64,
        "budget": "60 steps",
    }
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.baselines["constant"]["accuracy"] < 0.2
    assert run.metrics["test/accuracy"] > 0.8
