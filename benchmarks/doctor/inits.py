"""The initializers of Keras, and PyTorch's own, by the names a case gives them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import init

from benchmarks.doctor.case import CannotBuildError

Fill = Callable[[Tensor], Any]

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_NUMBERS = re.compile(NUMBER)

FILLS: dict[str, Fill] = {
    "glorot_uniform": init.xavier_uniform_,
    "xavier_uniform": init.xavier_uniform_,
    "glorot_normal": init.xavier_normal_,
    "xavier_normal": init.xavier_normal_,
    "he_uniform": lambda t: init.kaiming_uniform_(t, nonlinearity="relu"),
    "kaiming_uniform": lambda t: init.kaiming_uniform_(t, nonlinearity="relu"),
    "he_normal": lambda t: init.kaiming_normal_(t, nonlinearity="relu"),
    "kaiming_normal": lambda t: init.kaiming_normal_(t, nonlinearity="relu"),
    "lecun_normal": lambda t: init.kaiming_normal_(t, nonlinearity="linear"),
    "lecun_uniform": lambda t: init.kaiming_uniform_(t, nonlinearity="linear"),
    "variance_scaling": lambda t: init.kaiming_normal_(t, nonlinearity="linear"),
    "random_uniform": lambda t: init.uniform_(t, -0.05, 0.05),
    "uniform": lambda t: init.uniform_(t, -0.05, 0.05),
    "random_normal": lambda t: init.normal_(t, 0, 0.05),
    "normal": lambda t: init.normal_(t, 0, 0.05),
    "truncated_normal": lambda t: init.trunc_normal_(t, 0, 0.05, -0.1, 0.1),
    "random_normal_1": lambda t: init.normal_(t, 0, 1),
    "random_uniform_1": lambda t: init.uniform_(t, -1, 1),
    "zeros": init.zeros_,
    "zero": init.zeros_,
    "ones": init.ones_,
    "one": init.ones_,
    "orthogonal": init.orthogonal_,
    "identity": init.eye_,
}


def fill(name: Any) -> Fill | None:
    """How a weight is filled; None leaves what PyTorch has done.

    Raises:
        CannotBuildError: no such initializer.
    """
    if isinstance(name, (int, float)):
        return constant(float(name))
    if isinstance(name, dict):
        return fill(" ".join(str(part) for part in name.values()))
    text = str(name).strip().lower()
    if text in FILLS:
        return FILLS[text]
    if "torch" in text or "default" in text or "pytorch" in text:
        return None
    numbers = [float(found) for found in _NUMBERS.findall(re.sub(r"random_\w+_1\b", "", text))]
    return _of_numbers(text, numbers)


def constant(value: float) -> Fill:
    """Every entry the same."""
    return lambda t: init.constant_(t, value)


def _of_numbers(text: str, numbers: list[float]) -> Fill:
    """``constant 0.1``, ``normal(0, 0.01)``, ``uniform(-1, 1)``, ``uniform 0.2``."""
    if "const" in text and numbers:
        return constant(numbers[0])
    if "uniform" in text and numbers:
        low, high = (numbers[0], numbers[1]) if len(numbers) > 1 else (-abs(numbers[0]), abs(numbers[0]))
        return lambda t: init.uniform_(t, low, high)
    if ("normal" in text or text.startswith("n(")) and numbers:
        mean, deviation = (numbers[0], numbers[1]) if len(numbers) > 1 else (0.0, numbers[0])
        return lambda t: init.normal_(t, mean, deviation)
    if re.fullmatch(r"u\(.*\)", text) and len(numbers) == 2:
        return lambda t: init.uniform_(t, numbers[0], numbers[1])
    for known in sorted(FILLS, key=len, reverse=True):  # HeNormal(), tf.keras.initializers.he_normal
        if known.replace("_", "") in re.sub(r"[_\W]", "", text):
            return FILLS[known]
    raise CannotBuildError(f"initializer {text!r} is not known")
