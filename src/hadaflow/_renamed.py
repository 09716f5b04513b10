"""Public names that have changed: the old ones work for two releases, and warn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def renamed(old: str, new: str, value: T, *, stacklevel: int = 3) -> T:
    """``value``, after a FutureWarning that ``old`` is now called ``new``; ``stacklevel`` points at the user's line."""
    warnings.warn(
        f"{old} is now called {new}; the old name will be removed in 0.3", FutureWarning, stacklevel=stacklevel
    )
    return value


def renamed_arguments(**new_names: str) -> Callable[[F], F]:
    """A decorator for functions of keywords: ``old="new"`` lets the old keyword stand for the new one, and warns."""

    def accepting_old_names(function: F) -> F:
        @wraps(function)
        def accepting(*args: Any, **options: Any) -> Any:
            for old, new in new_names.items():
                if old in options:
                    if new in options:
                        raise TypeError(f"{function.__name__} got {new} and {old}, its old name: give {new} alone")
                    options[new] = renamed(old, new, options.pop(old))
            return function(*args, **options)

        return cast("F", accepting)

    return accepting_old_names
