"""Secrets kept out of whatever is written or said: by the name they stand under, by their form, and by their value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "[hidden]"

_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_WORDS = {"key", "apikey", "token", "secret", "password", "passwd", "credential", "credentials", "authorization"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # of api_key, apiKey, X-API-Key
_SHORTEST = 6  # characters of a value that is looked for by itself: shorter ones stand in ordinary words
_LOGIN = re.compile(r"(?<=:/)(/?)[^/\s\"'@?#]+@")  # https://user:password@; a Path makes one slash of two
_NAMED = re.compile(r"(?P<name>[\w.\-]+)(?P<mark>\s?=\s?)(?P<value>[^\s\"'&;,)\]}…\\]+)")
_HEADER = re.compile(r"(?i)\b(bearer|basic|token) +(?=[^\s\"']*\d)[A-Za-z0-9._~+/=\-]{6,}")

Hide = Callable[[str], str]


def is_secret(name: str) -> bool:
    """Whether what stands under a name is a secret: ``api_key``, ``X-Auth-Token``; not ``max_tokens`` or ``keys``."""
    return any(word.lower() in _WORDS for word in _WORD.findall(name))


def redacted(text: str) -> str:
    """The text without passwords in addresses, ``name=value`` of secrets, tokens of headers, and the environment's."""
    return _replaced(_by_form(text), _environment())


def hiding(known: Iterable[str]) -> Hide:
    """`redacted`, and without these secrets, wherever they stand."""
    pieces = {piece for value in known for piece in (value, *_pieces(value)) if HIDDEN not in piece}
    values = sorted((p for p in pieces if len(p) >= _SHORTEST), key=len, reverse=True)
    return lambda text: _replaced(redacted(text), values)


def secrets_of(value: Any, where: str, named: bool) -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every secret in plain data, also of those that `without_secrets` took out.

    Args:
        value: the data.
        where: its own key.
        named: whether its keys are names of options, so that the name tells what is a secret.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            key = f"{where}.{name}" if where else str(name)
            if named and isinstance(inner, str) and inner and is_secret(str(name)):
                yield key, inner
            else:
                yield from secrets_of(inner, key, named)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from secrets_of(inner, f"{where}.{i}", named)
    elif isinstance(value, str) and (HIDDEN in value or _by_form(value) != value or value in _environment()):
        yield where, value


def without_secrets(value: Any, named: bool) -> Any:
    """Plain data with `HIDDEN` in the place of every secret that `secrets_of` tells."""
    if isinstance(value, Mapping):
        secret = {k for k, v in value.items() if named and isinstance(v, str) and v and is_secret(str(k))}
        return {k: HIDDEN if k in secret else without_secrets(v, named) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(v, named) for v in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if value in _environment() else _by_form(value)


def each_text(value: Any, hide: Hide) -> Any:
    """Plain data with every text, but no key, as ``hide`` leaves it."""
    if isinstance(value, Mapping):
        return {k: each_text(v, hide) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [each_text(v, hide) for v in value]
    return hide(value) if isinstance(value, str) else value


def _pieces(value: str) -> Iterator[str]:
    """What may stand alone of ``Bearer TOKEN``, of a login in an address, and of ``name=value``."""
    if " " in value:
        yield value.rpartition(" ")[2]
    for login in _LOGIN.finditer(value):
        yield from login[0].strip("/@").partition(":")[2:]
    for found in _NAMED.finditer(value):
        if _unnamed(found) != found[0]:
            yield found["value"]


def _by_form(text: str) -> str:
    text = _LOGIN.sub(rf"\1{HIDDEN}@", text)
    text = _HEADER.sub(rf"\1 {HIDDEN}", text)
    return _NAMED.sub(_unnamed, text)


def _unnamed(found: re.Match[str]) -> str:
    """``api_key=…`` without its value; ``max_tokens=512`` as it is, and ``key=value``, as help texts write it."""
    name = found["name"].rpartition(".")[2]
    secret = is_secret(name) and name.lower() != "key" and not found["value"].startswith(HIDDEN[:-1])
    return f"{found['name']}{found['mark']}{HIDDEN}" if secret else found[0]


def _environment() -> list[str]:
    """What environment variables of such names hold, the longest first; not paths and not single short words."""
    values = {v for name, v in os.environ.items() if _VARIABLE.search(name)}
    found = [v for v in values if len(v) >= _SHORTEST and not v.startswith(("/", "~", "."))]
    return sorted(found, key=len, reverse=True)


def _replaced(text: str, known: list[str]) -> str:
    for value in known:
        text = text.replace(value, HIDDEN)
    return text
