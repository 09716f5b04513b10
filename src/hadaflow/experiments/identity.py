"""What a function is known by, so that records of another one are not taken for its own."""

from __future__ import annotations

import copyreg
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_DIGITS = 16
_DEEPEST = 60  # levels: what lies deeper in an object is no parameter of an experiment
_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_CODE = ("co_code", "co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags")
_COUNTS = ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount")
_TABLE = "co_exceptiontable"  # what is tried, and where it is caught


def name_of(function: Callable[..., Any]) -> str:
    """What files can be called after.

    Parameters
    ----------
    function : callable
        Of any kind.

    Examples
    --------
    >>> name_of(partial(max, 1)), name_of(lambda: None)
    ('max', 'lambda')
    """
    if isinstance(function, partial):
        return name_of(function.func)
    name = getattr(function, "__name__", type(function).__name__)
    return "lambda" if name == "<lambda>" else str(name)


def fingerprint(function: Callable[..., Any]) -> str:
    """Digits that change with what a function does, as far as it says so itself.

    Parameters
    ----------
    function : callable
        A function, a partial, a bound method, an object with ``__call__``.

    Returns
    -------
    str
        Of its attribute ``revision``, if there is one. Else of the code that runs (not of the file, which may have
        been edited since), of its default values, and by their content of all that it carries: what a closure has
        caught, the arguments of a partial, the attributes of an object.

    Raises
    ------
    TypeError
        If it carries something whose content cannot be read, such as an open file or a lock.

    Notes
    -----
    The code is that of the interpreter: the same in every process and after a change of comments, but another one in
    another release of Python. What the function calls by a global name is not looked at.

    Examples
    --------
    >>> def measure(rng, *, m):
    ...     return {"x": m}
    >>> fingerprint(measure) == fingerprint(partial(measure, m=1))
    False
    """
    content = hashlib.sha256()
    try:
        for part in _parts(function, ()):
            content.update(b"%d:%b" % (len(part), part))  # so that no two sequences of parts run together
    except _UnreadableError as error:
        raise TypeError(
            f"{name_of(function)} carries {error}, which cannot be told from another one: give values in fixed, or "
            f"give the function an attribute revision, a number to be raised whenever it changes"
        ) from error
    return content.hexdigest()[:_DIGITS]


class _UnreadableError(Exception):
    """Something whose content cannot be read."""


def _parts(value: Any, around: tuple[Any, ...]) -> Iterator[bytes]:
    """The content of anything, as bytes; ``around`` holds what it was found in."""
    yield type(value).__qualname__.encode()
    if any(value is outer for outer in around):
        yield b"itself"  # a function that calls itself, a list that holds itself
    elif isinstance(value, _SCALARS) and type(value) in _SCALARS:
        yield repr(value).encode("utf-8", "backslashreplace")
    elif len(around) > _DEEPEST:
        raise _UnreadableError(f"something nested more than {_DEEPEST} deep")
    elif callable(value) and not isinstance(value, type) and getattr(value, "revision", None) is not None:
        yield from _several([name_of(value), value.revision], (*around, value))
    elif isinstance(value, (set, frozenset)):  # whose order is another one in every process
        yield from sorted(b"\0".join(_parts(item, (*around, value))) for item in value)
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield from (repr((value.dtype.descr, value.shape)).encode(), hashlib.sha256(value.tobytes()).digest())
    else:
        yield from _several(_inside(value, outermost=not around), (*around, value))


def _several(values: list[Any], around: tuple[Any, ...]) -> Iterator[bytes]:
    yield b"%d" % len(values)
    for value in values:
        yield from _parts(value, around)


def _inside(value: Any, *, outermost: bool) -> list[Any]:  # noqa: PLR0911 - one for each kind
    """What something is made of."""
    if isinstance(value, FunctionType):
        return [value.__code__, value.__defaults__, value.__kwdefaults__, _caught(value)]
    if isinstance(value, CodeType):
        return [getattr(value, name, None) for name in (*_CODE, *_COUNTS, _TABLE)]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__, _methods(type(value.__self__)) if outermost else None]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return list(value)
    if type(value) is dict:
        return [*value.keys(), *value.values()]
    if isinstance(value, type):
        return [value.__module__, value.__qualname__, _methods(value) if outermost else None]
    if isinstance(value, ModuleType):
        return [value.__name__]
    if hasattr(value, "__wrapped__"):  # by something made in C, such as functools.cache
        return [value.__wrapped__]
    return [*_reduced(value), _methods(type(value)) if outermost else None]


def _caught(function: FunctionType) -> list[Any]:
    """The values that a closure has caught; those that are not there yet as nothing."""
    caught = []
    for cell in function.__closure__ or ():
        try:
            caught.append([cell.cell_contents])
        except ValueError:
            caught.append([])
    return caught


def _methods(kind: type) -> list[Any]:
    """The code of the methods of a class and of those that it is made of."""
    found: list[Any] = []
    for base in kind.__mro__:
        for name, method in sorted(vars(base).items()):
            function = getattr(method, "__func__", getattr(method, "fget", method))  # of static ones and of properties
            if isinstance(function, FunctionType):
                found.append([name, function.__code__, function.__defaults__, function.__kwdefaults__])
    return found


def _reduced(value: Any) -> list[Any]:
    """What an object says itself that it is made of, to those who want to copy it."""
    try:
        reducer = copyreg.dispatch_table.get(type(value))
        made = reducer(value) if reducer else value.__reduce_ex__(4)
    except Exception as error:  # whatever keeps it from being copied
        raise _UnreadableError(f"a {type(value).__name__}") from error
    if isinstance(made, str):
        return [getattr(value, "__module__", None), made]
    return [list(part) if isinstance(part, Iterator) else part for part in made]
