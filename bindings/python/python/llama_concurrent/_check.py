"""Checks arguments against their annotations, so that errors name the argument before it reaches the native part."""

from __future__ import annotations

import builtins
import collections.abc
import os
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping
from functools import cache
from numbers import Integral
from typing import Any

_WORDS: dict[Any, str] = {
    bool: "True or False",
    int: "an int",
    float: "a number",
    str: "a str",
    type: "a class",
    type(None): "None",
    os.PathLike: "a path",
    Callable: "a function",
}


class _Impossible(Exception):
    """The right type with an invalid value; the message lists the valid ones."""


def check(owner: object, values: Mapping[str, Any], refusal: type[Exception], most: int, **closer: int) -> None:
    """Raises for the first value that is not what its annotation in a class or function promises: `TypeError` where the type
    is wrong, `refusal` where the value cannot be. Whole numbers are 0 to `most`, or to what `closer` has for their name; other
    limits are the engine's."""
    for name, (hint, harmless) in _hints(owner).items():
        if name not in values or type(values[name]) in harmless:
            continue
        value = values[name]
        try:
            if not _fits(value, hint, closer.get(name, most)):
                raise TypeError(f"{name} is {_shown(value)}, but must be {_words(hint)}")
        except _Impossible as impossible:
            raise refusal(f"{name} is {_shown(value)}, but must be {impossible}") from None


@cache
def _hints(owner: Any) -> dict[str, tuple[Any, set[type]]]:
    """By name the annotation, and the types of it whose values need no look, because this is done for every request."""
    hints = typing.get_type_hints(owner)
    harmless = (bool, float, type(None))
    return {name: (hint, {kind for kind in harmless if kind in _arms(hint)}) for name, hint in hints.items()}


def _arms(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _fits(value: Any, hint: Any, most: int) -> bool:
    parts = typing.get_args(hint)
    match typing.get_origin(hint) or hint:
        case typing.Union | types.UnionType:
            return any(_fits(value, part, most) for part in parts)
        case typing.Literal:
            if isinstance(value, str) and value not in parts:
                raise _Impossible(_words(hint))
            return isinstance(value, str)
        case builtins.bool:
            return type(value).__name__ in ("bool", "bool_")  # the latter is NumPy's
        case builtins.int:
            if isinstance(value, Integral) and not 0 <= int(value) <= most:
                raise _Impossible("0 or more" if value < 0 and most == sys.maxsize else f"0 to {most}")
            return isinstance(value, Integral)
        case builtins.float:
            return _is_number(value)
        case builtins.str:
            return isinstance(value, str) and _is_unicode(value)
        case os.PathLike:  # before str in annotations: any text is a path, also one that is no Unicode
            return isinstance(value, (str, os.PathLike)) and _is_path(value)
        case collections.abc.Callable:
            return callable(value)
        case collections.abc.Mapping:
            return isinstance(value, Mapping) and all(
                _fits(part, kind, most) for pair in value.items() for part, kind in zip(pair, parts)
            )
        case collections.abc.Collection:
            is_list = isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))
            return is_list and all(_fits(part, parts[0], most) for part in value)
        case typing.Any:
            return True
        case kind:
            return isinstance(value, kind)


def _is_unicode(value: str) -> bool:
    try:
        return value.encode() is not None
    except UnicodeEncodeError:
        raise _Impossible("valid Unicode") from None


def _is_path(value: str | os.PathLike[str]) -> bool:
    try:
        return isinstance(os.fspath(value), str) and os.fsencode(value) is not None
    except UnicodeEncodeError:
        raise _Impossible("a path that the system can have") from None


def _is_number(value: Any) -> bool:
    try:
        return hasattr(value, "__float__") and float(value) is not None
    except OverflowError:
        raise _Impossible("a number that a float can hold") from None
    except (TypeError, ValueError):
        return False


def _words(hint: Any) -> str:
    """What an annotation promises."""
    parts = typing.get_args(hint)
    match typing.get_origin(hint) or hint:
        case typing.Union | types.UnionType:
            return " or ".join(map(_words, parts))
        case typing.Literal:
            return " or ".join(map(repr, parts))
        case collections.abc.Mapping:
            return "a dict from {} to {}".format(*(getattr(part, "__name__", "object") for part in parts))
        case collections.abc.Collection:
            return f"a list of {parts[0].__name__}"
        case kind:
            return _WORDS[kind]


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # an int of very many digits, and what is a caller's own
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."
