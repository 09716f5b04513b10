"""Public names that have changed: the old ones work for two releases, and warn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


def renamed(old: str, new: str, value: T, *, stacklevel: int = 3) -> T:
    """``value``, after a FutureWarning that ``old`` is now called ``new``; ``stacklevel`` points at the user's line."""
    warnings.warn(
        f"{old} is now called {new}; the old name will be removed in 0.3", FutureWarning, stacklevel=stacklevel
    )
    return value


def renamed_argument(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function take keywords under their old names too, with a warning: ``@renamed_argument(old="new")``."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            given: dict[str, Any] = kwargs
            for old in names.keys() & given.keys():
                new = names[old]
                if new in given:
                    raise TypeError(f"{old} is now called {new}: give only {new} to {function.__name__}")
                given[new] = renamed(f"the argument {old} of {function.__name__}", new, given.pop(old))
            return function(*args, **kwargs)

        return call

    return decorate
