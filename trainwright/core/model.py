"""The few contracts a task may ask of a model.

A model says at registration which it speaks; tasks ask the contract, never the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from trainwright.core.decoding import Decoding

Cache: TypeAlias = Any  # what a decoder remembers between steps; only its model knows the inside


class TokenModel(Protocol):
    """Writes a sequence token by token."""

    @property
    def context(self) -> int | None:
        """Tokens of a sequence at most; None for any number."""
        ...

    def start(self, **inputs: Tensor) -> Cache:
        """A cache for N sequences, with whatever they are conditioned on.

        A language model is given ``tokens`` (N, T), padded behind, and their ``lengths`` (N,), all but the last token
        of each prompt; T is 0 where there is nothing before that. A translator is given the source sentences.
        """
        ...

    def step(self, token: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """(N,) the newest tokens -> (N, vocab) logits of the next ones, and the cache that now knows them.

        The cache that was given may be changed in place, and is used no more. No gradient is kept.
        """
        ...

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        """Another cache with the sequences ``rows`` (M,) of it, as beam search picks them."""
        ...


@runtime_checkable
class NatsModel(Protocol):
    """A language model that also tells the loss itself, so that the logits of a large vocabulary never exist at once.

    ``tells_nats`` says whether it does now. Called with the true ``truth`` (N, T) beside its inputs, and ``nothing``,
    an id that is not counted, it gives the summed nats (0-d) and those of each token (N * T,), without a graph, instead
    of logits.
    """

    tells_nats: bool


def tells_nats(model: nn.Module) -> bool:
    """Whether a model can be asked for its loss, and nobody listens, who would expect logits."""
    # what is wrapped for ranks; a module of somebody's own around it knows of no ``truth``, and may change the logits
    own = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    if not (isinstance(own, NatsModel) and own.tells_nats) or torch._C._len_torch_function_stack():
        return False
    return not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class FrameWriter(Protocol):
    """Writes a sequence of frames, such as which keys of a piano sound; its forward tells the nats of each frame.

    It is called with ``frames`` (N, T, K) of 0 and 1, padded behind, and their ``lengths`` (N,), and gives (N, T).
    """

    def start(self, *, frames: Tensor, lengths: Tensor) -> Cache:
        """What is known of N sequences (N, T, K), padded behind, with (N,) ``lengths``, any of which may be 0."""
        ...

    def write(self, cache: Cache, how: Decoding, dice: Tensor) -> Tensor:
        """The next frame (N, K) of each, chosen by (N, K) numbers in [0, 1)."""
        ...

    def read(self, frame: Tensor, cache: Cache) -> Cache:
        """What is known with the newest frames (N, K); the cache that was given is used no more."""
        ...


class FrameModel(Protocol):
    """Gives one output per frame of a shortened sequence."""

    def lengths(self, lengths: Tensor) -> Tensor:
        """(N,) input lengths -> (N,) output lengths."""
        ...


class Pyramid(Protocol):
    """Gives maps of features at several scales."""

    strides: tuple[int, ...]  # input pixels per cell of each map


class Members(Protocol):
    """An ensemble within one network: its outputs carry an axis of members at dim 1, (N, members, …)."""

    members: int


def by_member(output: Tensor) -> Tensor:
    """(N, M, C): what each member says, one of them where a model has no such axis and gives (N, C) or (N,)."""
    # shape[0], not len: a length would be a constant when the model is traced for export
    return output if output.ndim == 3 else output.reshape(output.shape[0], 1, -1)


class Latent(Protocol):
    """Has a code between encoder and decoder.

    Called with ``x`` (N, …), and in training with ``dice`` (N, latent), standard normal numbers, it gives what it says
    (N, …), the codes (N, latent), and nats between their distribution and a standard normal one (N,), 0 for points.
    """

    latent: str  # "point", or "normal" where codes are distributions

    def encode(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, latent) code."""
        ...

    def decode(self, code: Tensor) -> Tensor:
        """(N, latent) -> (N, …) reconstruction."""
        ...


class Noted(Protocol):
    """Has something to say of how it was built, such as a layer that was left to the loss."""

    notes: tuple[str, ...]
