"""Losses: sums over weights give torch's own mean, whatever the micro-batches; shapes never broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import UserError
from trainwright.core.kinds import losses
from trainwright.optim.losses import criterion_of, first_tensor, is_known, wants_probabilities

C = 5


def numbers(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(shape: tuple[int, ...], ignore: int | None = None) -> Tensor:
    g = torch.Generator().manual_seed(1)
    y = torch.randint(0, C, shape, generator=g)
    return y if ignore is None else torch.where(torch.rand(shape, generator=g) < 0.3, ignore, y)


def mean(criterion: Criterion, output: Tensor, target: Tensor, cuts: tuple[int, ...]) -> Tensor:
    """As the engine computes it: sums over micro-batches, divided once by the sum of weights."""
    total, weight = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for o, t in zip(output.tensor_split(cuts), target.tensor_split(cuts), strict=True):
        each = criterion.each(o, t)
        assert each.shape == (len(o),)
        total, weight = total + each.sum(), weight + criterion.weight(t)
    return total / weight


WEIGHT = torch.tensor([0.2, 1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
PROBABILITIES = torch.softmax(numbers((11, C), 5), 1)
CASES: list[tuple[nn.Module, Tensor, Tensor]] = [
    (nn.CrossEntropyLoss(), numbers((11, C)), labels((11,))),
    (nn.CrossEntropyLoss(weight=WEIGHT), numbers((11, C)), labels((11,))),
    (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2), numbers((11, C)), labels((11,))),
    (nn.CrossEntropyLoss(ignore_index=2), numbers((11, C)), labels((11,), ignore=2)),
    (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.1), numbers((11, C)), labels((11,), ignore=-100)),
    (nn.CrossEntropyLoss(ignore_index=255), numbers((11, C, 3, 2)), labels((11, 3, 2), ignore=255)),
    (nn.CrossEntropyLoss(weight=WEIGHT), numbers((11, C)), PROBABILITIES),
    (nn.CrossEntropyLoss(label_smoothing=0.1), numbers((11, C)), PROBABILITIES),
    (nn.NLLLoss(weight=WEIGHT, ignore_index=1), numbers((11, C)).log_softmax(1), labels((11,), ignore=1)),
    (nn.MSELoss(), numbers((11, 3)), numbers((11, 3), 1)),
    (nn.L1Loss(), numbers((11, 3, 2)), numbers((11, 3, 2), 1)),
    (nn.HuberLoss(delta=0.3), numbers((11,)), numbers((11,), 1)),
    (nn.SmoothL1Loss(beta=0.3), numbers((11, 2)), numbers((11, 2), 1)),
    (nn.BCEWithLogitsLoss(), numbers((11, 3)), (numbers((11, 3), 1) > 0).double()),
    (
        nn.BCEWithLogitsLoss(weight=WEIGHT[:3], pos_weight=WEIGHT[1:4]),
        numbers((11, 3)),
        (numbers((11, 3), 1) > 0).double(),
    ),
    (nn.BCELoss(weight=WEIGHT[:3]), numbers((11, 3)).sigmoid(), (numbers((11, 3), 1) > 0).double()),
]


@pytest.mark.parametrize(
    ("module", "output", "target"), CASES, ids=lambda x: str(x) if isinstance(x, nn.Module) else ""
)
@pytest.mark.parametrize("cuts", [(), (1,), (2, 3, 9), (10,)])
def test_torchs_modules_mean_torchs_number_in_any_micro_batches(
    module: nn.Module, output: Tensor, target: Tensor, cuts: tuple[int, ...]
) -> None:
    criterion = criterion_of(module)
    torch.testing.assert_close(mean(criterion, output, target, cuts), module(output, target), rtol=1e-12, atol=1e-12)
    assert is_known(module)


@pytest.mark.parametrize(
    ("name", "options", "reference"),
    [
        ("cross_entropy", {"label_smoothing": 0.1}, nn.CrossEntropyLoss(label_smoothing=0.1)),
        ("cross_entropy", {"ignore_index": 3}, nn.CrossEntropyLoss(ignore_index=3)),
        ("mse", {}, nn.MSELoss()),
        ("mae", {}, nn.L1Loss()),
        ("huber", {"delta": 0.4}, nn.HuberLoss(delta=0.4)),
        ("binary_cross_entropy", {}, nn.BCEWithLogitsLoss()),
    ],
)
def test_losses_by_name_agree_with_torch(name: str, options: dict[str, Any], reference: nn.Module) -> None:
    classes = name == "cross_entropy"
    output = numbers((9, C))
    target = labels((9,)) if classes else (numbers((9, C), 1) > 0).double()
    criterion = criterion_of({"name": name, **options})
    torch.testing.assert_close(mean(criterion, output, target, (4,)), reference(output, target), rtol=1e-12, atol=1e-12)


def test_every_loss_gives_the_gradient_of_torchs_mean() -> None:
    for module, output, target in CASES:
        mine, theirs = output.clone().requires_grad_(), output.clone().requires_grad_()
        mean(criterion_of(module), mine, target, (3,)).backward()
        module(theirs, target).backward()
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_a_sum_at_once_is_that_of_the_samples_and_so_is_its_gradient() -> None:
    at_once = 0
    for module, output, target in CASES:
        criterion = criterion_of(module)
        mine, theirs = output.clone().requires_grad_(), output.clone().requires_grad_()
        total, shares = criterion.summed(mine, target)
        each = criterion.each(theirs, target)
        at_once += shares is None
        torch.testing.assert_close(total, each.sum(), rtol=1e-12, atol=1e-12)
        total.backward()
        each.sum().backward()
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-12, atol=1e-12)
        with torch.no_grad():
            shares = criterion.summed(mine, target)[1]
        assert shares is not None
        assert torch.equal(shares, each.detach())
    assert 0 < at_once < len(CASES)


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss])
def test_torchs_functions_mean_torchs_number(function: Callable[..., Tensor]) -> None:
    output, target = numbers((7, 2)), numbers((7, 2), 1)
    criterion = criterion_of(function)
    assert is_known(function)
    torch.testing.assert_close(mean(criterion, output, target, (2,)), function(output, target))


def test_functions_of_classes_are_known_too() -> None:
    output, target = numbers((7, C)), labels((7,))
    assert criterion_of(F.cross_entropy).expects == "classes"
    torch.testing.assert_close(
        mean(criterion_of(F.cross_entropy), output, target, (2,)), F.cross_entropy(output, target)
    )
    assert wants_probabilities(F.binary_cross_entropy)
    assert wants_probabilities(nn.BCELoss())
    assert not wants_probabilities(nn.BCEWithLogitsLoss())


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_cross_entropy"])
@given(n=st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_a_column_and_a_row_of_the_same_length_are_aligned_never_broadcast(name: str, n: int) -> None:
    criterion = losses[name]()
    column, row = numbers((n, 1)), (numbers((n,), 1) > 0).double()
    expected = criterion.each(column.flatten(), row)
    assert torch.equal(criterion.each(column, row), expected)
    assert torch.equal(criterion.each(column.flatten(), row.unsqueeze(1)), expected)


@pytest.mark.parametrize(("output", "target"), [((4, 1), (5,)), ((4, 3), (4,)), ((4, 3), (4, 2)), ((4,), (1, 4))])
def test_shapes_that_do_not_agree_are_named_both(output: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(UserError) as caught:
        losses["mse"]().each(torch.zeros(output), torch.zeros(target))
    assert str(output) in str(caught.value)
    assert str(target) in str(caught.value)


def test_a_column_of_labels_is_aligned() -> None:
    criterion = losses["cross_entropy"]()
    output, target = numbers((6, C)), labels((6,))
    assert torch.equal(criterion.each(output, target.unsqueeze(1)), criterion.each(output, target))
    assert torch.equal(criterion.each(output, target.to(torch.int32)), criterion.each(output, target))


@pytest.mark.parametrize(
    ("output", "target", "said"),
    [
        (torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64), "one output per sample"),
        (torch.zeros(4), torch.zeros(4, dtype=torch.int64), "one output per sample"),
        (torch.zeros(4, 3), torch.zeros(4), "float32 numbers, not classes"),
        (torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.int64), "(4, 2)"),
    ],
)
def test_cross_entropy_says_what_its_target_must_be(output: Tensor, target: Tensor, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")):
        losses["cross_entropy"]().each(output, target)


def test_half_precision_outputs_are_compared_in_single_precision() -> None:
    output, target = torch.full((1, 4000), 300.0, dtype=torch.float16), torch.zeros(1, 4000)
    assert losses["mse"]().each(output, target).item() == 90000  # beyond float16


@pytest.mark.parametrize("n", [1, 4])
def test_a_callable_may_return_one_number_per_sample_or_their_mean(n: int) -> None:
    output, target = numbers((n, 2)), numbers((n, 2), 1)
    each = criterion_of(lambda o, t: (o - t).square().mean(1))
    whole = criterion_of(lambda o, t: (o - t).square().mean())
    assert not is_known(each.each)
    torch.testing.assert_close(each.each(output, target), F.mse_loss(output, target, reduction="none").mean(1))
    torch.testing.assert_close(whole.each(output, target).sum() / n, F.mse_loss(output, target))
    assert whole.each(output, target).shape == (n,)


def test_a_callable_that_broadcasts_or_returns_no_tensor_is_told() -> None:
    with pytest.raises(UserError, match=r"shape \(4, 4\) for 4 samples"):
        criterion_of(lambda o, t: (o - t).square()).each(torch.zeros(4, 1), torch.zeros(4))
    with pytest.raises(UserError, match="returned float"):
        criterion_of(lambda o, t: 0.5).each(torch.zeros(4, 1), torch.zeros(4))


def test_a_loss_module_of_ones_own_keeps_its_meaning() -> None:
    class Doubled(nn.MSELoss):
        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            return 2 * super().forward(input, target)

    output, target = numbers((4, 2)), numbers((4, 2), 1)
    assert not is_known(Doubled())
    torch.testing.assert_close(mean(criterion_of(Doubled()), output, target, ()), 2 * F.mse_loss(output, target))


def test_what_cannot_be_a_loss_is_told() -> None:
    with pytest.raises(UserError, match="did you mean 'cross_entropy'"):
        criterion_of("cross_entrpy")
    with pytest.raises(UserError, match=r"task\.loss\.delta"):
        criterion_of({"name": "huber", "delta": -1.0}, "task.loss")
    with pytest.raises(UserError, match="reduction='sum'"):
        criterion_of(nn.MSELoss(reduction="sum"))
    with pytest.raises(UserError, match="is no loss"):
        criterion_of(3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="weights of its own"):
        criterion_of(nn.Bilinear(2, 2, 1))
    with pytest.raises(UserError, match="belongs to one batch"):
        criterion_of(nn.BCEWithLogitsLoss(weight=torch.ones(4))).each(torch.zeros(4), torch.zeros(4))


def test_a_criterion_passes_through() -> None:
    criterion = losses["mse"]()
    assert criterion_of(criterion) is criterion


def test_the_first_tensor_is_found_in_what_models_return() -> None:
    x = torch.ones(2)
    for given_ in (x, (x, torch.zeros(2)), {"logits": x, "hidden": torch.zeros(2)}, {"out": (x,)}):
        assert first_tensor(given_) is x
    for nothing in (None, (), {}, "text", ("text",)):
        with pytest.raises(UserError, match="without a tensor"):
            first_tensor(nothing)


def test_the_weight_of_a_batch_is_right_whatever_was_written_into_that_of_another() -> None:
    samples(torch.zeros(4)).mul_(3)
    losses.make("cross_entropy", {}).weight(torch.zeros(4, dtype=torch.int64)).add_(1)
    assert float(samples(torch.zeros(4))) == 4.0
    assert float(losses.make("cross_entropy", {}).weight(torch.zeros(4, dtype=torch.int64))) == 4.0
