"""What a sweep is made of, checked: each mistake is told with its name, the allowed ones and the remedy."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice, product
from typing import Any

import numpy as np

from hadaflow.experiments.base import writable

Scalar = bool | int | float | str
Axis = tuple[Scalar, ...]

#: A column of the records.
REPEAT = "repeat"
#: Columns of the tables of what failed or was skipped.
_TOLD = ("error", "traceback", "reason")
#: Repetitions of all cells: each takes some 500 bytes of memory.
MOST = 10_000_000


def check_name(name: object) -> str:
    """What files can be called after."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"name must be letters, digits, - and _, got {name!r}: files are called after it")
    return name


def check_grid(grid: object) -> dict[str, Axis]:
    """The axes of a grid as tuples of Python's own scalars."""
    if not isinstance(grid, Mapping):
        raise TypeError(f"grid must map names of parameters to their values, got {type(grid).__name__}")
    if not grid:
        raise ValueError("grid is empty: name at least one parameter, with its values")
    return {_parameter(name, "grid"): _axis(name, values) for name, values in grid.items()}


def _axis(name: str, values: object) -> Axis:
    label = f"grid.{name}"
    if isinstance(values, np.ndarray) and values.ndim < 2:
        values = values.tolist()
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, (Iterable, Sequence)):
        raise TypeError(f"{label} must be a list of values, got {values!r}; give [{values!r}] or put it into fixed")
    axis = tuple(check_scalar(value, label) for value in islice(values, MOST + 1))
    if len(axis) > MOST:
        raise ValueError(f"{label} holds more than {MOST:,} values, which is more than a sweep may have: take fewer")
    if not axis:
        raise ValueError(f"{label} is empty: give at least one value")
    seen = set[Scalar]()
    for value in axis:  # 1, 1.0 and True are one
        if value in seen:
            raise ValueError(f"{label} holds {value!r} twice: leave one out")
        seen.add(value)
    _check_column(axis, label)
    return axis


def _check_column(axis: Axis, label: str) -> None:
    """Raise TypeError or ValueError unless values can stand in one column of a table, digit by digit."""
    kinds = {type(value) for value in axis}
    if len(kinds) > 1 and kinds != {int, float}:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"{label} holds values of several kinds ({names}): write all of them as strings")
    for value in axis:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{label} must fit into 64 bits, got {_short(value)}; give it as a float or a string")
        if isinstance(value, int) and float in kinds and int(float(value)) != value:
            raise ValueError(f"{label} has {value} beside floats, which cannot hold all its digits: give a float")
        if isinstance(value, str) and not writable(value):
            raise ValueError(f"{label} has {value!r}, which is no text: half a surrogate pair is in it")


def _short(number: int) -> str:
    """A number that may have more digits than anybody, or Python, wants to print."""
    return str(number) if abs(number) < 10**30 else f"one of {number.bit_length()} bits"


def size_of(grid: Mapping[str, Axis]) -> int:
    """Number of cells."""
    return math.prod(map(len, grid.values()))


def check_size(grid: Mapping[str, Axis], repeats: int) -> None:
    """Raise ValueError if there are more repetitions than a table of them has room for."""
    cells = size_of(grid)
    if cells * repeats > MOST:
        raise ValueError(
            f"grid and repeats make {cells * repeats:,} repetitions ({cells:,} cells, {repeats:,} of each), "
            f"at most {MOST:,} are allowed: take fewer values, or fewer repeats"
        )


def check_fixed(fixed: object, grid: Mapping[str, Axis]) -> dict[str, Scalar]:
    """The parameters that are the same in all cells."""
    if not isinstance(fixed, Mapping):
        raise TypeError(f"fixed must map names of parameters to a value each, got {type(fixed).__name__}")
    for name in fixed:
        if name in grid:
            raise ValueError(f"{name!r} is in grid and in fixed: leave it out of one of them")
    return {_parameter(name, "fixed"): check_scalar(value, f"fixed.{name}") for name, value in fixed.items()}


def check_paired(paired: object, names: Iterable[str]) -> tuple[str, ...]:
    """The parameters along which random numbers are shared."""
    if isinstance(paired, str) or not isinstance(paired, Iterable):
        raise TypeError(f"paired must be a list of names of parameters, got {paired!r}")
    names, chosen = list(names), list(paired)
    for name in chosen:
        if name not in names:
            raise ValueError(f"paired names {name!r}, which is no parameter of the sweep; {nearest(name, names)}")
    return tuple(dict.fromkeys(chosen))


def check_seed(seed: object) -> int:
    """A whole number of any size."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be a whole number, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    return int(seed)


def check_scalar(value: object, label: str) -> Scalar:
    """A value of a parameter as Python's own."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float, str)):
        kind = "a nested table" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(value)
        raise TypeError(f"{label} must hold numbers, strings or bools, got {kind}")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"{label} must not be NaN, which equals nothing, itself included")
    return value


def _parameter(name: object, label: str) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{label} has {name!r}, which cannot be the name of a parameter")
    if name == REPEAT:
        raise ValueError(f"{label} has {name!r}, which is the number of the repetition; choose another name")
    if name in _TOLD and label == "grid":
        raise ValueError(f"{label} has {name!r}, which is a column of what failed or was skipped; choose another name")
    return name


def cells_of(grid: Mapping[str, Axis]) -> list[dict[str, Scalar]]:
    """All combinations, the last parameter changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def check_parameters(function: Callable[..., Any], name: str, given: Iterable[str]) -> None:
    """Raise TypeError unless a function takes a generator and, by keyword, the parameters that are given."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # made in C, without one
        return
    given, parameters = list(given), list(signature.parameters.values())
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in (*by_place, inspect.Parameter.VAR_POSITIONAL):
        raise TypeError(f"{name} must take a random generator first: def {name}(rng, ...)")
    rest = parameters[1:] if parameters[0].kind in by_place else parameters
    named = [p for p in rest if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)]
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in rest):
        taken = [p.name for p in named]
        for unknown in given:
            if unknown not in taken:
                raise TypeError(f"{name} takes no parameter {unknown!r}; {nearest(unknown, taken)}")
    for parameter in named:
        if parameter.default is inspect.Parameter.empty and parameter.name not in given:
            raise TypeError(f"{name} needs {parameter.name!r}: give its values in grid, or one in fixed")


def nearest(name: object, names: Iterable[str]) -> str:
    """What could have been meant, and what there is."""
    names = list(names)
    near = get_close_matches(str(name), names, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{meant}There is {', '.join(map(repr, names))}" if names else "there is none"
