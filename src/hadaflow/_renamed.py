"""Public names that have changed: the old ones work for two releases, and warn."""

from __future__ import annotations

import warnings
from typing import TypeVar

T = TypeVar("T")


def renamed(old: str, new: str, value: T, *, stacklevel: int = 3) -> T:
    """``value``, after a FutureWarning that ``old`` is now called ``new``; ``stacklevel`` points at the user's line."""
    warnings.warn(
        f"{old} is now called {new}; the old name will be removed in 0.3", FutureWarning, stacklevel=stacklevel
    )
    return value
