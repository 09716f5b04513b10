"""What all pictures share: colours, figures, titles. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from hadaflow._validation import check_finite, real_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 7.5
#: What to do where x is no vector of real numbers, and no line, no dot stands for an entry of it.
NUMBERS = "draw numbers made of it, such as abs(path(times))"
#: By number of panels: one; a pair that shares its axis; three.
_LAYOUTS: dict[int, dict[str, Any]] = {
    1: {"figsize": (_WIDTH, 4.8)},
    2: {"figsize": (_WIDTH, 7.5), "sharex": True, "height_ratios": (3, 2)},
    3: {"figsize": (_WIDTH, 7.5)},
}


def require_matplotlib() -> None:
    """The one place that knows which extra brings matplotlib."""
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'hadaflow[plot]'") from error


def blank_figure(panels: int = 3) -> Figure:
    """A figure with stacked axes that pyplot knows nothing of: for writing files without a display.

    Parameters
    ----------
    panels : {1, 2, 3}, default 3
        How many: 3 for :func:`plot_recovery`, 2 for :func:`plot_training`, 1 for the others.

    Returns
    -------
    matplotlib.figure.Figure
        Hand its ``axes`` (or ``axes[0]``) to a picture, then save it with ``figure.savefig("picture.png")``.

    Raises
    ------
    ImportError
        If matplotlib is missing; the message names the extra that brings it.
    ValueError
        If ``panels`` is another number.

    Examples
    --------
    >>> from hadaflow.plotting import blank_figure
    >>> len(blank_figure(2).axes)
    2
    """
    if panels not in tuple(_LAYOUTS):
        raise ValueError(f"panels must be 1, 2 or 3, got {panels!r}")
    figure: Figure = stacked_axes(panels, pyplot=False)[0].figure  # type: ignore[assignment]
    return figure


def stacked_axes(count: int, *, pyplot: bool, height: float | None = None) -> list[Axes]:
    """Axes one above the other in a new figure, which pyplot shows, or knows nothing of; its height in inches."""
    require_matplotlib()
    options = dict(_LAYOUTS[count])
    usual = options.pop("figsize")
    size = usual if height is None else (_WIDTH, height)
    if pyplot:
        import matplotlib.pyplot as plt

        figure: Figure = plt.figure(figsize=size, layout="constrained")
    else:
        from matplotlib.figure import Figure as Bare

        figure = Bare(figsize=size, layout="constrained")
    return list(figure.subplots(count, squeeze=False, **options)[:, 0])


def checked_ax(ax: Axes | None, *, height: float | None = None) -> Axes:
    """The axes of the caller, or those of a new figure."""
    if ax is None:
        return stacked_axes(1, pyplot=True, height=height)[0]
    require_matplotlib()
    from matplotlib.axes import Axes as Kind

    if not isinstance(ax, Kind):
        raise TypeError(f"ax must be one matplotlib Axes, got {type(ax).__name__}; make it with plt.subplots()")
    return ax


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
