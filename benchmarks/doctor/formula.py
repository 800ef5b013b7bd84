"""Formulas as people write them, ``.05*(15.7x - 7.27x^2)`` or ``sin(x) + x0*x1``, worked out on arrays."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.doctor.case import CannotBuildError

Array = NDArray[Any]
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
}
_COMPARED: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_SAME = ("sin", "cos", "tan", "exp", "sqrt", "log", "tanh", "abs", "sign", "floor")
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _SAME},
    "ln": np.log,
    "max": np.maximum,
    "min": np.minimum,
    "round": np.round,
}


def worked_out(text: str, names: Mapping[str, Array]) -> Array:
    """The value of a formula.

    Args:
        text: with ``^`` for powers; a number or a bracket beside a name is multiplied.
        names: what its names stand for.

    Raises:
        CannotBuildError: it is not a formula, or names what is not there.
    """
    written = _spelled(text)
    try:
        value = _value(ast.parse(written, mode="eval").body, {"pi": np.pi, "e": np.e, **names})
    except (SyntaxError, KeyError, TypeError, ValueError, IndexError) as error:
        raise CannotBuildError(f"{text!r} is not a formula that is understood here") from error
    return np.asarray(value, np.float64)


def _spelled(text: str) -> str:
    written = text.strip().rstrip(".;, ").lower().replace("^", "**").replace("×", "*").replace("·", "*")
    written = re.sub(r"\b(?:column|feature|col)\s*(\d+)", r"x\1", written)
    written = re.sub(r"\b([a-z])\s*\[\s*(\d+)\s*\]", r"\1\2", written)
    written = re.sub(r"(?<![\w.])(\d+\.?\d*|\.\d+)\s*(?=[a-df-z(]|e[a-z])", r"\1*", written)
    return re.sub(r"\)\s*(?=[\w(])(?!\s*(?:and|or|if|mod|%))", ")*", re.sub(r"\bmod\b", "%", written))


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner, names)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _value(inner, names)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _COMPARED[type(op)](_value(left, names), _value(right, names))
        case ast.BoolOp(op=op, values=values):
            return (np.logical_and if isinstance(op, ast.And) else np.logical_or).reduce(
                [_value(value, names) for value in values]
            )
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(arg, names) for arg in args))
    raise ValueError(ast.dump(node))
