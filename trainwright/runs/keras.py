"""Keras 3 models on Keras's torch backend, as modules like any other.

Such a model is an nn.Module, but not quite as others are: it learns only when it is called with ``training=True``,
whatever its mode; it names its weights by a counter of the process; it keeps statistics and seeds as parameters; and
it computes on a device of its own choice.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from trainwright.core.errors import UserError

_CONTEXT = ("training", "mask")  # arguments of a Keras call that are no inputs


def adapted(model: Any) -> Any:
    """A Keras model in its adapter; anything else as it is.

    UserError for a Keras model of another backend, or one whose weights are not made yet.
    """
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Layer):
        return model
    if keras.backend.backend() != "torch":
        what = f"is a Keras model on the backend '{keras.backend.backend()}'"
        raise UserError("model", what, 'set os.environ["KERAS_BACKEND"] = "torch" before keras is imported')
    if not model.built or not model.variables:
        what = "is a Keras model whose weights are not made yet, as the shape of its input is not known"
        raise UserError("model", what, "begin it with keras.Input(shape), or call it once on a few samples")
    return Keras(model)


def original(module: nn.Module) -> nn.Module:
    """The model that is in the adapter; a module that is in none as it is."""
    return module.model if isinstance(module, Keras) else module


@final
class Keras(nn.Module):
    """A built Keras model as torch expects a module: the mode decides, names do not depend on what was built before.

    Its parameters are the variables that are trainable when it is made, and stay so where they are frozen later; all
    others (statistics of norms, seeds of dropout) are its buffers.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: nn.Module = model
        called = inspect.signature(model.call).parameters.values()
        inputs = [
            p for p in called if p.name not in _CONTEXT and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        self.packed = len(inputs) == 1  # several inputs travel in a list or a dict
        self._names = _names([v.path for v in model.variables])
        self._trainable = [v.value.requires_grad for v in model.variables]

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """What the Keras model gives for (N, …) inputs in order, or by name."""
        import keras

        device = next(self.parameters()).device
        place = "cpu" if device.type == "cpu" else f"{device.type}:{device.index or 0}"
        with keras.device(place):
            if named and not self.packed:
                return self.model(**named, training=self.training)
            if self.packed and len(inputs) != 1:
                return self.model(dict(named) if named else list(inputs), training=self.training)
            return self.model(*inputs, training=self.training)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The trainable variables, such as ``dense_1/kernel``."""
        yield from _under(prefix, self._kept(trainable=True))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All other variables."""
        yield from _under(prefix, self._kept(trainable=False))

    def state_dict(  # type: ignore[override]
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Every variable by its name."""
        out = {} if destination is None else destination
        out.update({f"{prefix}{n}": v if keep_vars else v.detach() for n, v in self._all().items()})
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """The inverse; RuntimeError names what is missing, unknown, or of another shape."""
        mine = self._all()
        if differing := mine.keys() ^ state_dict.keys():
            raise RuntimeError(f"the variables of the Keras model differ: {', '.join(sorted(differing))}")
        for name, value in state_dict.items():
            if mine[name].shape != value.shape:
                raise RuntimeError(f"{name} has the shape {tuple(mine[name].shape)}, not {tuple(value.shape)}")
        for name, value in state_dict.items():
            mine[name].data.copy_(value)

    def _all(self) -> dict[str, Any]:
        return {**self._kept(trainable=True), **self._kept(trainable=False)}

    def _kept(self, trainable: bool) -> dict[str, Any]:
        """Name -> the tensor of each variable that learns, or of each that does not."""
        variables: Any = self.model.variables
        known = zip(self._names, self._trainable, variables, strict=True)
        return {name: v.value for name, learns, v in known if learns is trainable}


def _names(paths: list[str]) -> list[str]:
    """Paths of variables as they would be in a fresh process: sequential_4/dense_9/kernel is sequential/dense/kernel.

    Keras numbers layers of a kind by a counter of the process; here it begins anew, in the order of the variables.
    """
    known: dict[str, dict[str, int]] = {}
    names = []
    for path in paths:
        *layers, last = path.split("/")
        pieces = []
        for layer in layers:
            kind = re.sub(r"_\d+$", "", layer)
            number = known.setdefault(kind, {}).setdefault(layer, len(known[kind]))
            pieces.append(f"{kind}_{number}" if number else kind)
        names.append("/".join([*pieces, last]))
    return names


def _under(prefix: str, kept: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((f"{prefix}.{name}" if prefix else name, value) for name, value in kept.items())
