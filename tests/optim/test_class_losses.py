"""Focal, hinge, NLL, divergence and class weights: the papers' formulas in float64, in any micro-batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainwright.core.criterion import Criterion
from trainwright.core.errors import UserError
from trainwright.core.kinds import losses
from trainwright.core.schema import check
from trainwright.optim.losses import criterion_of

N, C = 11, 5
WEIGHTS = [0.2, 1.0, 3.0, 0.5, 2.0]
CUTS = [(), (1,), (2, 3, 9), (10,)]


def numbers(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(shape: tuple[int, ...], ignore: int | None = None, classes: int = C) -> Tensor:
    g = torch.Generator().manual_seed(1)
    y = torch.randint(0, classes, shape, generator=g)
    return y if ignore is None else torch.where(torch.rand(shape, generator=g) < 0.3, ignore, y)


def mean(criterion: Criterion, output: Tensor, target: Tensor, cuts: tuple[int, ...]) -> Tensor:
    """As the engine computes it: sums over micro-batches, divided once by the sum of weights."""
    total, weight = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for o, t in zip(output.tensor_split(cuts), target.tensor_split(cuts), strict=True):
        each = criterion.each(o, t)
        assert each.shape == (len(o),)
        total, weight = total + each.sum(), weight + criterion.weight(t)
    return total / weight


def made(name: str, options: dict[str, Any]) -> Criterion:
    return criterion_of({"name": name, **options})


def papers_focal(z: Tensor, y: Tensor, gamma: float, alpha: list[float] | None, ignore: int = -100) -> float:
    """Eq. 5, sample by sample, with a softmax."""
    said = [(i, int(k)) for i, k in enumerate(y) if int(k) != ignore]
    terms = []
    for i, k in said:
        p = float(z[i].exp()[k] / z[i].exp().sum())
        terms.append(-(alpha[k] if alpha else 1.0) * (1 - p) ** gamma * np.log(p))
    return float(np.sum(terms) / len(said))


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.5])
@pytest.mark.parametrize("alpha", [None, WEIGHTS])
@pytest.mark.parametrize("ignore", [None, 2])
def test_focal_is_the_papers(
    cuts: tuple[int, ...], gamma: float, alpha: list[float] | None, ignore: int | None
) -> None:
    z, y = numbers((N, C)), labels((N,), ignore)
    options: dict[str, Any] = {"gamma": gamma} | ({"alpha": alpha} if alpha else {})
    found = mean(made("focal", options | ({} if ignore is None else {"ignore_index": ignore})), z, y, cuts)
    wanted = papers_focal(z, y, gamma, alpha, -100 if ignore is None else ignore)
    assert found.item() == pytest.approx(wanted, rel=1e-12)


def test_focal_over_positions_counts_each_of_them() -> None:
    z, y = numbers((N, C, 3, 2)), labels((N, 3, 2), ignore=255)
    flat, flags = z.movedim(1, -1).reshape(-1, C), y.reshape(-1)
    found = mean(made("focal", {"ignore_index": 255}), z, y, (2, 3))
    assert found.item() == pytest.approx(papers_focal(flat, flags, 2.0, None, 255), rel=1e-12)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_binary_focal_is_the_papers(cuts: tuple[int, ...], gamma: float, alpha: float | None) -> None:
    z, y = numbers((N, 3)), (numbers((N, 3), 1) > 0).double()
    p = 1 / (1 + np.exp(-z.numpy()))
    true = np.where(y.numpy() == 1, p, 1 - p)
    factor = 1.0 if alpha is None else np.where(y.numpy() == 1, alpha, 1 - alpha)
    wanted = float(np.mean(-factor * (1 - true) ** gamma * np.log(true)))
    options: dict[str, Any] = {"gamma": gamma} | ({"alpha": alpha} if alpha else {})
    assert mean(made("binary_focal", options), z, y, cuts).item() == pytest.approx(wanted, rel=1e-12)


def test_without_focus_the_focal_losses_are_cross_entropy() -> None:
    z, y, yes = numbers((N, C)), labels((N,)), (numbers((N, C), 3) > 0).double()
    torch.testing.assert_close(mean(made("focal", {"gamma": 0.0}), z, y, (4,)), F.cross_entropy(z, y))
    found = mean(made("binary_focal", {"gamma": 0.0}), z, yes, (4,))
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(z, yes))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [50.0, 200.0, 1e4])
def test_certain_outputs_have_finite_gradients(gamma: float, size: float) -> None:
    z = torch.tensor([[size, -size, 0.0], [-size, size, 0.0]], requires_grad=True)
    each = made("focal", {"gamma": gamma}).each(z, torch.tensor([0, 0]))
    binary = made("binary_focal", {"gamma": gamma}).each(z, torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]))
    (each.sum() + binary.sum()).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert each[0] == 0
    assert each[1] == 2 * size


@pytest.mark.parametrize("cuts", CUTS)
def test_hinge_is_scikit_learns(cuts: tuple[int, ...]) -> None:
    from sklearn.metrics import hinge_loss

    z, y = numbers((N, C)), labels((N,))
    wanted = hinge_loss(y.numpy(), z.numpy(), labels=list(range(C)))
    assert mean(made("hinge", {}), z, y, cuts).item() == pytest.approx(wanted, rel=1e-12)
    binary, score = labels((N,), classes=2), numbers((N,), 2)
    wanted = hinge_loss(binary.numpy(), score.numpy())
    assert mean(made("binary_hinge", {}), score, binary, cuts).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("margin", [0.3, 2.0])
def test_binary_hinge_is_torchs_embedding_hinge_of_the_signed_score(margin: float) -> None:
    z, y = numbers((N, 3)), (numbers((N, 3), 1) > 0).double()
    signed = (2 * y - 1) * z
    wanted = F.hinge_embedding_loss(signed, -torch.ones_like(z), margin=margin)
    torch.testing.assert_close(mean(made("binary_hinge", {"margin": margin}), z, y, (2, 5)), wanted)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("squared", [False, True])
def test_hinge_is_the_papers_with_margin_positions_and_what_does_not_count(
    cuts: tuple[int, ...], squared: bool
) -> None:
    z, y = numbers((N, C, 4)), labels((N, 4), ignore=-100)
    terms = []
    for i in range(N):
        for t in range(4):
            if (k := int(y[i, t])) != -100:
                best = max(float(z[i, c, t]) for c in range(C) if c != k)
                terms.append(max(0.0, 0.7 + best - float(z[i, k, t])) ** (2 if squared else 1))
    found = mean(made("hinge", {"margin": 0.7, "squared": squared}), z, y, cuts)
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_hinge_of_two_classes_is_torchs_margin_loss_doubled() -> None:
    z, y = numbers((N, 2)), labels((N,), classes=2)
    torch.testing.assert_close(mean(made("hinge", {}), z, y, (3,)), 2 * F.multi_margin_loss(z, y))  # it divides by C


@pytest.mark.parametrize("cuts", CUTS)
def test_class_weights_mean_torchs(cuts: tuple[int, ...]) -> None:
    z, y, weight = numbers((N, C)), labels((N,), ignore=-100), torch.tensor(WEIGHTS, dtype=torch.float64)
    options = {"class_weights": WEIGHTS, "label_smoothing": 0.1}
    wanted = F.cross_entropy(z, y, weight, label_smoothing=0.1)
    torch.testing.assert_close(mean(made("cross_entropy", options), z, y, cuts), wanted, rtol=1e-12, atol=1e-12)
    logs = z.log_softmax(1)
    found = mean(made("nll", {"class_weights": WEIGHTS}), logs, y, cuts)
    torch.testing.assert_close(found, F.nll_loss(logs, y, weight), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean(made("nll", {}), logs, y, cuts), F.nll_loss(logs, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
@pytest.mark.parametrize("weights", [WEIGHTS[:3], [*WEIGHTS, 1.0]])
def test_as_many_weights_as_classes_or_it_is_told(name: str, weights: list[float]) -> None:
    criterion = made(name, {"class_weights": weights})
    criterion.weight(labels((N,)))  # a batch is weighed before the model has said how many outputs it has
    with pytest.raises(UserError, match=rf"{len(weights)} class weights for 5 outputs"):
        criterion.each(numbers((N, C)).log_softmax(1), labels((N,)))


def test_as_many_alphas_as_classes_or_it_is_told() -> None:
    with pytest.raises(UserError, match="3 class weights for 5 outputs"):
        made("focal", {"alpha": WEIGHTS[:3]}).each(numbers((N, C)), labels((N,)))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("cross_entropy", {"class_weights": [0.0, 0.0]}, r"loss\.class_weights: .* no class that counts"),
        ("cross_entropy", {"class_weights": [1.0, float("inf")]}, r"loss\.class_weights: .*inf"),
        ("focal", {"alpha": [0.0, 0.0]}, r"loss\.alpha"),
        ("cross_entropy", {"class_weights": "even"}, "or 'balanced'"),
        ("cross_entropy", {"class_weights": [1.0, -1.0]}, r"loss\.class_weights"),
        ("focal", {"gamma": -1.0}, "out of range"),
        ("binary_focal", {"alpha": 1.5}, "out of range"),
        ("hinge", {"margin": 0.0}, "out of range"),
        ("kl", {"target": "odds"}, r"loss\.target"),
    ],
)
def test_options_that_make_no_sense_are_told(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        losses[name](**check(losses[name], options, "loss"))


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("shape", [(N, C), (N, C, 3)])
def test_kl_is_torchs_whatever_form_the_target_has(cuts: tuple[int, ...], shape: tuple[int, ...]) -> None:
    z, teacher = numbers(shape), numbers(shape, 7)
    logs = teacher.log_softmax(1)
    wanted = F.kl_div(z.log_softmax(1), logs.exp(), reduction="sum") / (N * int(np.prod(shape[2:])))
    for form, target in (("probabilities", logs.exp()), ("log_probabilities", logs), ("logits", teacher)):
        found = mean(made("kl", {"target": form}), z, target, cuts)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        found = mean(made("kl", {"target": form}), z.log_softmax(1), target, cuts)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_kl_of_a_certain_target_is_cross_entropy_and_its_gradient_too() -> None:
    y = labels((N,))
    sure = F.one_hot(y, C).double()
    for form, target in (("probabilities", sure), ("log_probabilities", sure.log())):
        z, same = numbers((N, C)).requires_grad_(), numbers((N, C)).requires_grad_()
        value, wanted = mean(made("kl", {"target": form}), z, target, (3,)), F.cross_entropy(same, y)
        torch.testing.assert_close(value, wanted)
        torch.autograd.backward([value, wanted])
        torch.testing.assert_close(z.grad, same.grad)


@pytest.mark.parametrize("form", ["probabilities", "log_probabilities"])
def test_a_target_in_another_form_is_told(form: str) -> None:
    with pytest.raises(UserError, match=rf"does not hold {form.replace('_', '-')}"):
        made("kl", {"target": form}).each(numbers((N, C)), numbers((N, C), 2) - 1)
    with pytest.raises(UserError, match="class numbers: 'cross_entropy'"):
        made("kl", {"target": form}).each(numbers((N, C)), labels((N,)))


def test_logits_given_to_nll_are_told() -> None:
    with pytest.raises(UserError, match="end the model with a log-softmax"):
        made("nll", {}).each(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    criterion = made("nll", {})
    assert criterion.each(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)).shape == (
        0,
    )  # an empty batch tells nothing
    with pytest.raises(UserError, match="end the model with a log-softmax"):
        criterion.each(numbers((4, C)), labels((4,)))


@pytest.mark.parametrize("name", ["focal", "hinge"])
def test_probabilities_as_targets_are_told_where_they_have_no_meaning(name: str) -> None:
    with pytest.raises(UserError, match="class numbers"):
        made(name, {}).each(numbers((N, C)), numbers((N, C)).softmax(1))


@pytest.mark.parametrize("name", ["focal", "hinge", "nll", "kl", "binary_focal", "binary_hinge"])
def test_half_precision_is_compared_in_single_precision(name: str) -> None:
    z = torch.zeros(4, 2, dtype=torch.bfloat16).log_softmax(1)
    target: dict[str, Tensor] = {"kl": torch.full((4, 2), 0.5)}
    classes = torch.zeros(4, 2) if name.startswith("binary") else torch.zeros(4, dtype=torch.int64)
    assert made(name, {}).each(z, target.get(name, classes)).dtype == torch.float32


def test_balanced_weights_make_every_class_weigh_the_same() -> None:
    y = torch.tensor([0] * 6 + [1] * 3 + [3] * 1)
    criterion = made("cross_entropy", {"class_weights": "balanced"})
    criterion.learn(torch.bincount(y).tolist())
    assert float(criterion.weight(y)) == pytest.approx(len(y))  # the training part weighs what it did
    assert [float(criterion.weight(y[y == k])) for k in (0, 1, 3)] == pytest.approx([10 / 3] * 3)
    assert criterion.each(numbers((10, 6)), y).shape == (10,)  # a model may have outputs for classes never met


def test_balanced_weights_leave_out_what_does_not_count() -> None:
    y = torch.tensor([0, 0, 0, 1, 255, 255])
    criterion = made("cross_entropy", {"class_weights": "balanced", "ignore_index": 255})
    criterion.learn(torch.bincount(y).tolist())
    assert float(criterion.weight(y)) == pytest.approx(4)
    z = numbers((6, 2))
    wanted = F.cross_entropy(z, y, torch.tensor([4 / 6, 2.0], dtype=z.dtype), ignore_index=255)
    torch.testing.assert_close(mean(criterion, z, y, (2, 5)), wanted)


def test_balanced_weights_that_nobody_told_the_counts_are_told() -> None:
    criterion = made("nll", {"class_weights": "balanced"})
    with pytest.raises(UserError, match=r"loss\.class_weights: 'balanced' needs to know how often"):
        criterion.each(numbers((N, C)).log_softmax(1), labels((N,)))
