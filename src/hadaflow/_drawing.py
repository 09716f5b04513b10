"""What all pictures share: colours, figures, titles. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from hadaflow._validation import check_finite, real_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that stay apart in grey print and for colour-blind eyes; shapes tell them apart as well.
BLUE, ORANGE, GREY = "#0b5394", "#e08214", "#8c8c8c"

_FIGURE: dict[str, Any] = {"figsize": (7.5, 7.5), "layout": "constrained"}


def require_matplotlib() -> None:
    """The one place that knows which extra brings matplotlib."""
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'hadaflow[plot]'") from error


def stacked_axes(count: int, *, pyplot: bool, **options: Any) -> list[Axes]:
    """Axes one above the other in a new figure, which pyplot shows, or knows nothing of; ``options`` of subplots."""
    require_matplotlib()
    if pyplot:
        import matplotlib.pyplot as plt

        return list(plt.subplots(count, **_FIGURE, **options)[1])
    from matplotlib.figure import Figure

    return list(Figure(**_FIGURE).subplots(count, **options))


def checked_axes(axes: Sequence[Axes], count: int) -> Sequence[Axes]:
    """The axes of the caller, as many as are needed."""
    if len(axes) != count:
        number = {2: "two", 3: "three"}[count]
        raise ValueError(
            f"axes must be {number} matplotlib Axes, got {len(axes)}; make them with plt.subplots({count})"
        )
    return axes


def checked_truth(truth: ArrayLike | None, n: int) -> NDArray[Any] | None:
    """The true x, if it is known, as a finite vector of n entries."""
    if truth is None:
        return None
    known = real_array(truth, "truth", 1)
    if len(known) != n:
        raise ValueError(f"truth must have one entry per entry of x ({n}), got {len(known)}")
    check_finite(known, "truth")
    return known


def plain_numbers(ax: Axes) -> None:
    """Numbers on the y axis with their own powers of ten: one for the whole axis would stand where the title is."""
    ax.yaxis.set_major_formatter(lambda value, _: _tick(value, *ax.get_ylim()))


def _tick(value: float, low: float, high: float) -> str:
    exact = value if abs(value) > 1e-6 * max(abs(low), abs(high)) else 0.0
    return f"{exact:.4g}".replace("-", "\N{MINUS SIGN}")
