"""How functions of torch are called: which of their arguments they read, and what the others say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Call:
    """An operation: its name here, the tensors it reads in a fixed order, and its options."""

    op: str
    operands: Sequence[Tensor]
    options: Mapping[str, Any] = field(default_factory=dict)


FUNCTIONS = frozenset(
    ("relu", "gelu", "tanh", "sigmoid", "silu", "elu", "selu", "softplus", "mish", "leaky_relu", "exp", "log", "sqrt",
     "rsqrt", "square", "abs", "neg", "reciprocal", "logsigmoid", "hardtanh", "relu6", "hardswish", "log1p")
)  # fmt: skip
_ALIASES = {
    "__add__": "add", "__radd__": "add", "__sub__": "sub", "__rsub__": "rsub", "__mul__": "mul", "__rmul__": "mul",
    "multiply": "mul", "divide": "div", "true_divide": "div", "__truediv__": "div", "__rtruediv__": "rdiv",
    "__matmul__": "matmul", "bmm": "matmul", "mm": "matmul", "__pow__": "pow", "__neg__": "neg", "subtract": "sub",
    "log_sigmoid": "logsigmoid", "max": "amax", "__rdiv__": "rdiv",
}  # fmt: skip


def call_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    """What a call of a function means; None where its arithmetic is not known here."""
    name = _ALIASES.get(name, name)
    if name in FUNCTIONS:
        first = _given(args, kwargs, 0, "input")
        return Call(name, [first]) if isinstance(first, Tensor) and _plain(name, args, kwargs) else None
    reader = _READERS.get(name)
    return reader(args, kwargs, made) if reader else None


def _plain(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an activation is asked for with its usual options."""
    usual = {"negative_slope": 0.01, "alpha": 1.0, "beta": 1, "threshold": 20, "approximate": "none", "inplace": False,
             "min_val": -1.0, "max_val": 1.0}  # fmt: skip
    order = {"leaky_relu": ("negative_slope",), "elu": ("alpha",), "softplus": ("beta", "threshold"),
             "hardtanh": ("min_val", "max_val")}  # fmt: skip
    named = dict(zip(order.get(name, ()), args[1:], strict=False)) | dict(kwargs)
    return all(usual.get(k, v) == v for k, v in named.items() if k != "input")


def _given(args: Sequence[Any], kwargs: Mapping[str, Any], at: int, name: str, usual: Any = None) -> Any:
    return args[at] if len(args) > at else kwargs.get(name, usual)


def _linear(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call:
    found = [_given(args, kwargs, 0, "input"), _given(args, kwargs, 1, "weight"), _given(args, kwargs, 2, "bias")]
    return Call("linear", [t for t in found if t is not None])


def _conv(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    x, weight, bias = (_given(args, kwargs, i, n) for i, n in enumerate(("input", "weight", "bias")))
    axes = weight.ndim - 2
    if x.ndim != weight.ndim or _given(args, kwargs, 6, "groups", 1) != 1:
        return None
    stride, dilation = (_each(_given(args, kwargs, i, n, 1), axes) for i, n in ((3, "stride"), (5, "dilation")))
    padding = _given(args, kwargs, 4, "padding", 0)
    if padding == "same":
        spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        before = [s // 2 for s in spans]
    else:
        before = [0] * axes if padding == "valid" else _each(padding, axes)
    options = {"stride": stride, "dilation": dilation, "before": before}
    return Call("conv", [t for t in (x, weight, bias) if t is not None], options)


def _pool(op: str) -> Callable[..., Call | None]:
    def read(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
        x = _given(args, kwargs, 0, "input")
        axes = made.ndim - 2
        kernel = _each(_given(args, kwargs, 1, "kernel_size"), axes)
        stride = _each(_given(args, kwargs, 2, "stride") or kernel, axes)
        before = _each(_given(args, kwargs, 3, "padding", 0), axes)
        more = [_given(args, kwargs, 4, "dilation", 1)] if op == "max_pool" else []
        if made.ndim != x.ndim or any(set(_each(d, axes)) != {1} for d in more) or (op == "avg_pool" and any(before)):
            return None
        return Call(op, [x], {"kernel": kernel, "stride": stride, "before": before})

    return read


def _two(op: str) -> Callable[..., Call | None]:
    """Two tensors, or a tensor and a number."""

    def read(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
        a, b = _given(args, kwargs, 0, "input"), _given(args, kwargs, 1, "other")
        if kwargs.get("alpha", 1) != 1 or kwargs.get("rounding_mode"):
            return None
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            pair = [b, a] if op in ("rsub", "rdiv") else [a, b]
            return Call({"rsub": "sub", "rdiv": "div"}.get(op, op), pair)
        if op == "rdiv" or not isinstance(b, int | float):
            return None
        times, plus = {"add": (1, b), "sub": (1, -b), "rsub": (-1, b), "mul": (b, 0), "div": (1 / b if b else 0, 0)}[op]
        return Call("scale", [a], {"times": times, "plus": plus})

    return read


def _power(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    power = _given(args, kwargs, 1, "exponent")
    return Call("pow", [args[0]], {"power": power}) if isinstance(power, int | float) else None


def _addcmul(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    return Call("addcmul", list(args[:3])) if kwargs.get("value", 1) == 1 else None


def _over_axis(op: str) -> Callable[..., Call | None]:
    def read(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
        axis = _given(args, kwargs, 1, "dim")
        return None if axis is None else Call(op, [_given(args, kwargs, 0, "input")], {"axis": int(axis) % made.ndim})

    return read


def _over_axes(op: str) -> Callable[..., Call | None]:
    def read(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
        x = _given(args, kwargs, 0, "input")
        axes = _given(args, kwargs, 1, "dim")
        if isinstance(axes, Tensor):
            return None
        asked = range(x.ndim) if axes is None or axes == () else [axes] if isinstance(axes, int) else axes
        return Call(op, [x], {"axes": sorted(a % x.ndim for a in asked)})

    return read


def _norm(op: str) -> Callable[..., Call | None]:
    def read(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
        x, shape = _given(args, kwargs, 0, "input"), _given(args, kwargs, 1, "normalized_shape")
        gain = _given(args, kwargs, 2, "weight")
        shift = _given(args, kwargs, 3, "bias") if op == "layer_norm" else None
        eps = _given(args, kwargs, 4 if op == "layer_norm" else 3, "eps")
        options = {"last": len(shape), "eps": torch.finfo(x.dtype).eps if eps is None else eps,
                   "gain": gain is not None, "shift": shift is not None}  # fmt: skip
        return Call(op, [t for t in (x, gain, shift) if t is not None], options)

    return read


def _batch_norm(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    names = ("input", "running_mean", "running_var", "weight", "bias")
    x, mean, var, gain, shift = (_given(args, kwargs, i, n) for i, n in enumerate(names))
    if _given(args, kwargs, 5, "training", False) or mean is None:
        return None
    options = {"eps": _given(args, kwargs, 7, "eps", 1e-5), "gain": gain is not None, "shift": shift is not None}
    return Call("batch_norm", [t for t in (x, mean, var, gain, shift) if t is not None], options)


def _embedding(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call:
    found = [_given(args, kwargs, i, name) for i, name in enumerate(("input", "weight"))]
    return Call("embedding", found, {"padding": _given(args, kwargs, 2, "padding_idx")})


def _bag(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    ids, weight = _given(args, kwargs, 0, "input"), _given(args, kwargs, 1, "weight")
    if (
        ids.ndim != 2
        or _given(args, kwargs, 6, "mode") != "sum"
        or _given(args, kwargs, 8, "per_sample_weights") is not None
    ):
        return None
    return Call("embedding_bag", [ids, weight], {"padding": _given(args, kwargs, 10, "padding_idx", -1)})


def _where(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    whole = len(args) == 3 and all(isinstance(a, Tensor) for a in args)
    return Call("where", list(args)) if whole else None


def _clamp(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    low, high = _given(args, kwargs, 1, "min"), _given(args, kwargs, 2, "max")
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return None
    return Call("clamp", [_given(args, kwargs, 0, "input")], {"low": low, "high": high})


def _joined(op: str) -> Callable[..., Call | None]:
    def read(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call:
        parts, axis = _given(args, kwargs, 0, "tensors"), _given(args, kwargs, 1, "dim", 0)
        return Call(op, list(parts), {"axis": axis % made.ndim})

    return read


def _masked(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    x, mask, value = (_given(args, kwargs, i, n) for i, n in enumerate(("input", "mask", "value")))
    return Call("mask", [x], {"mask": mask.expand(made.shape), "to": float(value)}) if x.shape == made.shape else None


def _cross_entropy(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
    logits, truth = _given(args, kwargs, 0, "input"), _given(args, kwargs, 1, "target")
    plain = _given(args, kwargs, 2, "weight") is None and not kwargs.get("label_smoothing", 0.0)
    if not plain or truth.is_floating_point() or kwargs.get("reduction") != "none" or logits.ndim != 2:
        return None
    return Call("cross_entropy", [logits, truth], {"ignored": kwargs.get("ignore_index", -100)})


def _errors(op: str) -> Callable[..., Call | None]:
    def read(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Call | None:
        a, b = _given(args, kwargs, 0, "input"), _given(args, kwargs, 1, "target")
        more = kwargs.get("weight") is not None or kwargs.get("pos_weight") is not None
        return Call(op, [a, b]) if kwargs.get("reduction") == "none" and not more and a.shape == b.shape else None

    return read


def _each(value: Any, axes: int) -> list[int]:
    return [int(value)] * axes if isinstance(value, int) else [int(v) for v in value] * (axes if len(value) == 1 else 1)


_READERS: dict[str, Callable[[Sequence[Any], Mapping[str, Any], Tensor], Call | None]] = {
    "linear": _linear,
    **dict.fromkeys(("conv1d", "conv2d"), _conv),
    **{f"{op}_pool{n}d": _pool(f"{op}_pool") for op in ("max", "avg") for n in (1, 2)},
    **{op: _two(op) for op in ("add", "sub", "rsub", "mul", "div", "rdiv")},
    "matmul": lambda args, kwargs, made: Call("matmul", list(args[:2])) if min(a.ndim for a in args[:2]) > 1 else None,
    "pow": _power,
    "addcmul": _addcmul,
    **{op: _over_axis(op) for op in ("softmax", "log_softmax")},
    **{op: _over_axes(op) for op in ("mean", "sum", "amax")},
    **{op: _norm(op) for op in ("layer_norm", "rms_norm")},
    "batch_norm": _batch_norm,
    "embedding": _embedding,
    "embedding_bag": _bag,
    "where": _where,
    "clamp": _clamp,
    "clamp_min": _clamp,
    **{op: _joined(op) for op in ("cat", "stack")},
    "masked_fill": _masked,
    "cross_entropy": _cross_entropy,
    **{op: _errors(op) for op in ("mse_loss", "l1_loss")},
    "binary_cross_entropy_with_logits": _errors("binary_cross_entropy_with_logits"),
}
