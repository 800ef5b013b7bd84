"""The standard update rules, torch's own; how each is carried out (loops, foreach, fused) is left to torch."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from trainwright.core.errors import UserError
from trainwright.core.kinds import optimizers
from trainwright.core.span import Span
from trainwright.optim.groups import Params, decayed

Rate = Annotated[float, Field(gt=0, le=1e6), Span(1e-5, 1.0, log=True)]
Share = Annotated[float, Field(ge=0, lt=1), Span(0.0, 0.99)]
Decay = Annotated[float, Field(ge=0), Span(1e-6, 1.0, log=True)]
Small = Annotated[float, Field(gt=0)]


@optimizers.add("sgd")
def sgd(
    params: Params,
    *,
    lr: Rate = 0.01,
    momentum: Share = 0.0,
    nesterov: bool = False,
    weight_decay: Decay = 0.0,
    decay_all: bool = False,
) -> torch.optim.SGD:
    """Stochastic gradient descent, with momentum if asked.

    Args:
        lr: step size.
        momentum: share of the last update that is kept.
        nesterov: look ahead along the momentum before taking the gradient; needs momentum above 0.
        weight_decay: L2 penalty, added to the gradient.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Robbins & Monro 1951; Polyak 1964 (momentum); Nesterov 1983, in the form of Sutskever et al. 2013.
    """
    if nesterov and momentum == 0:
        raise UserError("optimizer.nesterov", "needs momentum above 0", "write momentum = 0.9, or nesterov = false")
    return torch.optim.SGD(
        decayed(params, weight_decay, decay_all), lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )


@optimizers.add("momentum")
def heavy_ball(
    params: Params,
    *,
    lr: Rate = 0.01,
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9,
    weight_decay: Decay = 0.0,
    decay_all: bool = False,
) -> torch.optim.Optimizer:
    """Gradient descent with momentum: sgd with ``momentum`` set.

    Args:
        lr: step size.
        momentum: share of the last update that is kept.
        weight_decay: L2 penalty, added to the gradient.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Polyak 1964, "Some methods of speeding up the convergence of iteration methods".
    """
    return sgd(params, lr=lr, momentum=momentum, weight_decay=weight_decay, decay_all=decay_all)


@optimizers.add("nesterov")
def nesterov(
    params: Params,
    *,
    lr: Rate = 0.01,
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9,
    weight_decay: Decay = 0.0,
    decay_all: bool = False,
) -> torch.optim.Optimizer:
    """Gradient descent with momentum that looks ahead: sgd with ``momentum`` and ``nesterov`` set.

    Args:
        lr: step size.
        momentum: share of the last update that is kept.
        weight_decay: L2 penalty, added to the gradient.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Nesterov 1983, in the form of Sutskever et al. 2013, "On the importance of initialization and momentum in
    deep learning".
    """
    return sgd(params, lr=lr, momentum=momentum, nesterov=True, weight_decay=weight_decay, decay_all=decay_all)


@optimizers.add("adam")
def adam(
    params: Params,
    *,
    lr: Rate = 1e-3,
    betas: tuple[Share, Share] = (0.9, 0.999),
    eps: Small = 1e-8,
    weight_decay: Decay = 0.0,
    amsgrad: bool = False,
    decay_all: bool = False,
) -> torch.optim.Adam:
    """Steps scaled by running means of the gradient and of its square.

    Args:
        lr: step size.
        betas: how much of the running means is kept each step: of the gradient, of its square.
        eps: added to the root of the second mean.
        weight_decay: L2 penalty, added to the gradient (adamw's decay is usually the better one).
        amsgrad: divide by the largest second mean so far.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization"; Reddi et al. 2018 (amsgrad).
    """
    return torch.optim.Adam(
        decayed(params, weight_decay, decay_all),
        lr=lr,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
    )


@optimizers.add("adamw")
def adamw(
    params: Params,
    *,
    lr: Rate = 1e-3,
    betas: tuple[Share, Share] = (0.9, 0.999),
    eps: Small = 1e-8,
    weight_decay: Decay = 0.01,
    amsgrad: bool = False,
    decay_all: bool = False,
) -> torch.optim.AdamW:
    """Adam with the weights shrunk apart from the gradient.

    Args:
        lr: step size.
        betas: how much of the running means is kept each step: of the gradient, of its square.
        eps: added to the root of the second mean.
        weight_decay: share of each weight, times the rate, taken off at every step.
        amsgrad: divide by the largest second mean so far.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization".
    """
    return torch.optim.AdamW(
        decayed(params, weight_decay, decay_all),
        lr=lr,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
    )


@optimizers.add("rmsprop")
def rmsprop(
    params: Params,
    *,
    lr: Rate = 1e-3,
    alpha: Share = 0.99,
    eps: Small = 1e-8,
    momentum: Share = 0.0,
    centered: bool = False,
    weight_decay: Decay = 0.0,
    decay_all: bool = False,
) -> torch.optim.RMSprop:
    """Steps divided by the root of a running mean of the squared gradient.

    Args:
        lr: step size.
        alpha: how much of the running mean is kept each step.
        eps: added to the root.
        momentum: share of the last update that is kept.
        centered: divide by the running deviation, not the root of the mean square.
        weight_decay: L2 penalty, added to the gradient.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Tieleman & Hinton 2012, lecture 6.5 of "Neural networks for machine learning"; Graves 2013 (centered).
    """
    return torch.optim.RMSprop(
        decayed(params, weight_decay, decay_all),
        lr=lr,
        alpha=alpha,
        eps=eps,
        momentum=momentum,
        centered=centered,
        weight_decay=weight_decay,
    )


@optimizers.add("adagrad")
def adagrad(
    params: Params,
    *,
    lr: Rate = 0.01,
    lr_decay: Decay = 0.0,
    eps: Small = 1e-10,
    initial: Decay = 0.0,
    weight_decay: Decay = 0.0,
    decay_all: bool = False,
) -> torch.optim.Adagrad:
    """Steps divided by the root of the sum of all squared gradients so far.

    Args:
        lr: step size.
        lr_decay: the step size is divided by 1 + lr_decay times the steps taken.
        eps: added to the root.
        initial: what the sums of squares begin with.
        weight_decay: L2 penalty, added to the gradient.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Duchi, Hazan & Singer 2011, "Adaptive subgradient methods".
    """
    return torch.optim.Adagrad(
        decayed(params, weight_decay, decay_all),
        lr=lr,
        lr_decay=lr_decay,
        eps=eps,
        initial_accumulator_value=initial,
        weight_decay=weight_decay,
    )
