"""The layers of a case as modules of PyTorch, each with its activation as a module of its own after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.doctor.activations import MAKERS, activation, name_of
from benchmarks.doctor.case import CannotBuildError
from benchmarks.doctor.inits import fill
from benchmarks.doctor.modules import Axes, Cells, Noise, Pooled, Recurrent, Repeated, Shaped

Layer = Mapping[str, Any]
_KINDS = {"conv": nn.Conv1d, "conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d}
_TURNED = {"conv1dtranspose": nn.ConvTranspose1d, "conv2dtranspose": nn.ConvTranspose2d}
_NETWORKS = {"lstm": nn.LSTM, "gru": nn.GRU, "simplernn": nn.RNN, "rnn": nn.RNN}
_IGNORED = ("input", "inputlayer", "masking", "activityregularization")


@dataclass(slots=True)
class Built:
    """A network, how its layers are filled, and what was left out."""

    modules: list[nn.Module] = field(default_factory=list)
    decays: dict[str, float] = field(default_factory=dict)  # kernel -> l2
    last: str = "linear"  # the activation the output comes from
    first: bool = False  # channels come first
    doubts: list[str] = field(default_factory=list)

    def add(self, module: nn.Module | None, x: Tensor) -> Tensor:
        """Append, and give what a batch looks like after it."""
        if module is None:
            return x
        self.modules.append(module)
        module.eval()
        with torch.no_grad():
            y: Tensor = module(x)
        module.train()
        return y


def network(
    layers: Sequence[Layer], sample: Tensor, channels_first: bool, pytorch: bool
) -> tuple[nn.Sequential, Built]:
    """Every layer in order, initialized, from a batch that looks like the data.

    Raises:
        CannotBuildError: a layer that is not known, or that does not fit the one before.
    """
    built, x = Built(first=channels_first), sample
    cells: list[int] = []
    for layer in layers:
        kind = _kind(layer)
        if kind in ("lstmcell", "grucell"):
            cells.append(int(_size(layer)))
            continue
        x, cells = _stacked(built, x, cells), []
        try:
            x = _added(built, x, kind, layer, pytorch)
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
            if isinstance(error, CannotBuildError):
                raise
            raise CannotBuildError(f"layer {dict(layer)} does not fit {tuple(x.shape)}: {str(error)[:120]}") from error
    _stacked(built, x, cells)
    return nn.Sequential(*built.modules), built


def _kind(layer: Layer) -> str:
    return str(layer.get("type", "")).lower().replace("_", "").replace("keras.layers.", "").replace(" ", "")


def _size(layer: Layer, *more: str) -> Any:
    keys = ("units", "filters", "size", "output_dim", "n", *more)
    return next(layer[key] for key in keys if layer.get(key) is not None)


def _stacked(built: Built, x: Tensor, cells: list[int]) -> Tensor:
    return built.add(Cells(x.shape[-1], cells), x) if cells else x


def _added(built: Built, x: Tensor, kind: str, layer: Layer, pytorch: bool) -> Tensor:
    if kind in _IGNORED:
        return x
    if kind in _MAKERS:
        return _MAKERS[kind](built, x, layer)
    if kind in MAKERS or kind in ("softmax", "logsoftmax"):
        return _activated(built, x, kind)
    if kind in ("bidirectional", "timedistributed") and isinstance(layer.get("layer"), dict):
        inner = {**layer["layer"], "bidirectional": kind == "bidirectional"}
        return _added(built, x, _kind(inner), inner, pytorch)
    weighty = _weighty(built, x, kind, layer)
    if weighty is None:
        raise CannotBuildError(f"layer type {layer.get('type')!r} is not known")
    x, module = weighty
    y = built.add(module, x)
    _fill(module, layer, pytorch)
    _regularized(built, layer)
    return _activated(built, y, layer.get("activation"))


def _weighty(built: Built, x: Tensor, kind: str, layer: Layer) -> tuple[Tensor, nn.Module] | None:
    """A layer with a kernel, and its input in the order of axes that it takes."""
    bias = bool(layer.get("use_bias", layer.get("bias", True)))
    if kind in ("dense", "linear", "fc"):
        if built.first and x.dim() > 2:  # Keras's works on the channels
            x = built.add(Axes(*range(2, x.dim()), 1), x)
            built.first = False
        return x, nn.Linear(x.shape[-1], int(_size(layer)), bias=bias)
    if kind in _KINDS or kind in _TURNED:
        return _convolution(built, x, kind, layer, bias)
    return None


def _convolution(built: Built, x: Tensor, kind: str, layer: Layer, bias: bool) -> tuple[Tensor, nn.Module]:
    if not built.first:
        x = built.add(Axes(x.dim() - 1, *range(1, x.dim() - 1)), x)
        built.first = True
    size, step = _pair(layer, 3, "kernel", "kernel_size"), _pair(layer, 1, "stride", "strides")
    options: dict[str, Any] = {"stride": step, "bias": bias}
    if kind in _TURNED:
        wide = _whole(size)
        padding = {"padding": wide // 2, "output_padding": _whole(step) - 1} if _same(layer) else {}
        return x, _TURNED[kind](x.shape[1], int(_size(layer)), size, **options, **padding)
    if _same(layer) and _whole(step) > 1:
        options["padding"] = _whole(size) // 2
    elif _same(layer):
        options["padding"] = "same"
    if layer.get("dilation"):
        options["dilation"] = layer["dilation"]
    return x, _KINDS[kind](x.shape[1], int(_size(layer)), size, **options)


def _pair(layer: Layer, default: int, *keys: str) -> Any:
    given = next((layer[key] for key in keys if layer.get(key) is not None), default)
    return tuple(given) if isinstance(given, list) else given


def _whole(size: Any) -> int:
    return int(size[0] if isinstance(size, tuple) else size)


def _same(layer: Layer) -> bool:
    return str(layer.get("padding", "valid")).lower() == "same"


def _activated(built: Built, x: Tensor, given: Any) -> Tensor:
    module = activation(given, 1 if built.first and x.dim() > 2 else -1)
    built.last = name_of(given).split(" ")[0].split("(")[0]
    return built.add(module, x)


def _fill(module: nn.Module, layer: Layer, pytorch: bool) -> None:
    unsaid = "torch default" if pytorch else None
    kernel = layer.get("kernel_init", layer.get("kernel_initializer", unsaid or "glorot_uniform"))
    bias = layer.get("bias_init", layer.get("bias_initializer", unsaid or "zeros"))
    with torch.no_grad():
        for name, how in (("weight", fill(kernel)), ("bias", fill(bias))):
            parameter = getattr(module, name, None)
            if parameter is not None and how is not None:
                how(parameter)


def _regularized(built: Built, layer: Layer) -> None:
    name = f"{len(built.modules) - 1}.weight"
    value = layer.get("l2", layer.get("kernel_l2"))
    if value:
        built.decays[name] = float(value)
    built.doubts += [f"{key} is left out" for key in ("l1", "activity_l1", "activity_l2", "max_norm") if layer.get(key)]


def _pool(axes: int, largest: bool) -> Any:
    kinds = {(1, True): nn.MaxPool1d, (1, False): nn.AvgPool1d, (2, True): nn.MaxPool2d, (2, False): nn.AvgPool2d}

    def added(built: Built, x: Tensor, layer: Layer) -> Tensor:
        if not built.first:
            x = built.add(Axes(x.dim() - 1, *range(1, x.dim() - 1)), x)
            built.first = True
        size = _pair(layer, 2, "size", "pool_size", "kernel")
        stride = _pair(layer, 0, "stride", "strides") or size
        return built.add(kinds[axes, largest](size, stride, ceil_mode=_same(layer)), x)

    return added


def _whole_pool(axes: int, largest: bool) -> Any:
    def added(built: Built, x: Tensor, layer: Layer) -> Tensor:
        if not built.first:
            x = built.add(Axes(x.dim() - 1, *range(1, x.dim() - 1)), x)
        built.first = False
        return built.add(Pooled(axes, largest), x)

    return added


def _flat(built: Built, x: Tensor, layer: Layer) -> Tensor:
    built.first = False
    return built.add(nn.Flatten(), x)


def _recurrent(built: Built, x: Tensor, layer: Layer) -> Tensor:
    if x.dim() == 2:
        x = built.add(Shaped((x.shape[1], 1)), x)
    kind, both = _NETWORKS[_kind(layer)], bool(layer.get("bidirectional"))
    net = kind(x.shape[-1], int(_size(layer)), batch_first=True, bidirectional=both)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "weight_ih" in name:
                nn.init.xavier_uniform_(weight)
            elif "weight_hh" in name:
                nn.init.orthogonal_(weight)
            else:
                nn.init.zeros_(weight)
                if _kind(layer) == "lstm" and "bias_ih" in name:  # Keras: the forget gate starts open
                    weight[weight.numel() // 4 : weight.numel() // 2] = 1
    y = built.add(Recurrent(net, bool(layer.get("return_sequences"))), x)
    if name_of(layer.get("activation") or "tanh") != "tanh":
        built.doubts.append(f"the activation {layer['activation']!r} inside {layer['type']} is left out: tanh")
    built.last = "tanh"
    return y


def _embedding(built: Built, x: Tensor, layer: Layer) -> Tensor:
    words = next(layer[k] for k in ("input_dim", "vocab", "vocabulary", "words") if layer.get(k))
    table = nn.Embedding(int(words), int(_size(layer, "output", "dim")))
    nn.init.uniform_(table.weight, -0.05, 0.05)
    built.last = "linear"
    return built.add(table, x.long() % int(words))


def _normalized(built: Built, x: Tensor, layer: Layer) -> Tensor:
    options = {"eps": float(layer.get("eps") or 1e-3), "momentum": 1 - float(layer.get("momentum") or 0.99)}
    built.last = "linear"
    if x.dim() == 4:
        x = x if built.first else built.add(Axes(3, 1, 2), x)
        built.first = True
        return built.add(nn.BatchNorm2d(x.shape[1], **options), x)
    if x.dim() == 3 and not built.first:
        built.doubts.append("batchnorm over (steps, features) is a layernorm here")
        return built.add(nn.LayerNorm(x.shape[-1]), x)
    return built.add(nn.BatchNorm1d(x.shape[1], **options), x)


def _dropped(kind: type[nn.Module]) -> Any:
    return lambda built, x, layer: built.add(kind(float(layer.get("rate", layer.get("p", 0.5)))), x)


_MAKERS: dict[str, Any] = {
    "activation": lambda built, x, layer: _activated(built, x, layer.get("activation", layer.get("name"))),
    **dict.fromkeys(("dropout", "alphadropout", "gaussiandropout"), _dropped(nn.Dropout)),
    "spatialdropout1d": _dropped(nn.Dropout),
    "spatialdropout2d": _dropped(nn.Dropout2d),
    **dict.fromkeys(("maxpool2d", "maxpooling2d"), _pool(2, True)),
    **dict.fromkeys(("avgpool2d", "averagepooling2d"), _pool(2, False)),
    **dict.fromkeys(("maxpool1d", "maxpooling1d"), _pool(1, True)),
    **dict.fromkeys(("avgpool1d", "averagepooling1d"), _pool(1, False)),
    **dict.fromkeys(("globalmaxpool2d", "globalmaxpooling2d"), _whole_pool(2, True)),
    **dict.fromkeys(("globalavgpool2d", "globalaveragepooling2d"), _whole_pool(2, False)),
    **dict.fromkeys(("globalmaxpool1d", "globalmaxpooling1d"), _whole_pool(1, True)),
    **dict.fromkeys(("globalavgpool1d", "globalaveragepooling1d"), _whole_pool(1, False)),
    "flatten": _flat,
    "embedding": _embedding,
    **dict.fromkeys(_NETWORKS, _recurrent),
    **dict.fromkeys(("batchnorm", "batchnormalization", "bn"), _normalized),
    **dict.fromkeys(
        ("layernorm", "layernormalization"), lambda built, x, layer: built.add(nn.LayerNorm(x.shape[-1]), x)
    ),
    "reshape": lambda built, x, layer: built.add(
        Shaped(next(layer[k] for k in ("shape", "target_shape", "size") if k in layer)), x
    ),
    "permute": lambda built, x, layer: built.add(Axes(*layer.get("dims", layer.get("order"))), x),
    "repeatvector": lambda built, x, layer: built.add(Repeated(int(_size(layer, "times"))), x),
    "gaussiannoise": lambda built, x, layer: built.add(
        Noise(float(next(layer[k] for k in ("stddev", "std", "rate") if k in layer))), x
    ),
    "zeropadding2d": lambda built, x, layer: built.add(nn.ZeroPad2d(int(_pair(layer, 1, "padding", "size"))), x),
    "upsampling2d": lambda built, x, layer: built.add(nn.Upsample(scale_factor=_pair(layer, 2, "size")), x),
}
