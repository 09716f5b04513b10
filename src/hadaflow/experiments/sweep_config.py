"""A sweep as a TOML file."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hadaflow.experiments.sweep_arguments import MOST, nearest
from hadaflow.experiments.sweep_study import Sweep

_NEEDED = ("experiment", "grid")
_KEYS = (*_NEEDED, "repeats", "seed", "paired", "fixed")
_LARGEST = sys.float_info.max
_RANGE = ("from", "to", "count", "step", "scale")


def read_config(path: Path) -> Sweep:
    """The sweep that a file describes; its keys are the arguments of :func:`hadaflow.experiments.sweep`.

    Parameters
    ----------
    path : Path
        The TOML file. A path in ``experiment`` is relative to its folder. Values in ``[grid]`` are lists, or ranges
        ``{from, to, count}``, evenly spaced or with ``scale = "log"``, or ``{from, to, step}`` of whole numbers.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If there is a mistake in it: which, where, and what to do.
    OSError
        If it cannot be read.
    """
    text = path.read_bytes()
    try:
        given = tomllib.loads(_text(text))
        _check_keys(given, _KEYS, _NEEDED, "")
        grid = given["grid"]
        if isinstance(grid, dict):
            grid = {name: _values(values, f"grid.{name}") for name, values in grid.items()}
        return Sweep.of(given.pop("experiment"), **{**given, "grid": grid}, home=path.parent)
    except (ValueError, TypeError) as error:  # of the decoding, too
        raise ValueError(f"{path.name}: {error}") from error


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8 (byte {error.start + 1} is not): save it as that") from error


def _check_keys(given: Mapping[str, Any], known: Iterable[str], needed: Iterable[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"unknown key {where + key!r}; {nearest(key, known)}")
    for key in needed:
        if key not in given:
            raise ValueError(f"the key {where + key!r} is missing")


def _values(values: Any, where: str) -> Any:
    """A list as it is, a range as a list."""
    if not isinstance(values, dict):
        return values
    _check_keys(values, _RANGE, ("from", "to"), f"{where}.")
    if ("count" in values) == ("step" in values):
        raise ValueError(f"{where} needs count or step, and not both: {{ from = 1, to = 10, count = 4 }}")
    first, last = (_number(values[key], f"{where}.{key}") for key in ("from", "to"))
    if first >= last:
        raise ValueError(f"{where}.from must lie below {where}.to, got {first!r} and {last!r}; or give a list")
    scale = values.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise ValueError(f"{where}.scale must be 'linear' or 'log', got {scale!r}")
    whole = isinstance(first, int) and isinstance(last, int)
    if "step" in values:
        step = values["step"]
        if not whole or type(step) is not int or step < 1 or scale == "log":
            raise ValueError(f"{where}.step is for whole numbers, evenly spaced: give count instead")
        axis = range(int(first), int(last) + 1, step)
        return list(axis[: MOST + 1])  # that is too many, and told as such
    return _spaced(first, last, values["count"], scale, where, whole=whole)


def _spaced(first: float, last: float, count: Any, scale: str, where: str, *, whole: bool) -> list[float]:
    if type(count) is not int or count < 2:
        raise ValueError(f"{where}.count must be a whole number of at least 2, got {count!r}")
    if count > MOST:
        raise ValueError(f"{where}.count must be at most {MOST:,}, got {count:,}")
    if scale == "log" and first <= 0:
        raise ValueError(f"{where}.from must be positive where the scale is 'log', got {first!r}")
    with np.errstate(all="ignore"):
        space = np.geomspace if scale == "log" else np.linspace
        spaced = space(float(first), float(last), count)
    if not np.isfinite(spaced).all() or not (np.diff(spaced) > 0).all():
        raise ValueError(
            f"{where}: floats cannot hold {count} values spaced so from {first!r} to {last!r}: give a list"
        )
    if whole and (spaced == np.round(spaced)).all():  # 50 to 100 by 6 are sizes, and sizes are no floats
        return [int(value) for value in spaced]
    return [float(value) for value in spaced]


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        got = "one beyond what a float can hold" if isinstance(value, int) else repr(value)
        raise ValueError(f"{where} must be a finite number, got {got}")
    return value
