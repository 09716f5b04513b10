"""Figures of training: the coordinates of x over flow time, and how well they fit."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hadaflow._validation import coordinates as checked_coordinates
from hadaflow._validation import positive_number, whole_number
from hadaflow.paths import FlowPath, PathFromStart, Trajectory
from hadaflow.plotting._curves import Curves, curves_of, window_of
from hadaflow.plotting._drawing import NUMBERS, checked_axes, checked_truth, plain_numbers, stacked_axes
from hadaflow.plotting._lines import (
    FINE_DASHES,
    MOST_LINES,
    TRUTH,
    coordinate_name,
    key_above,
    label_ends,
    marks,
    say_nothing,
    shades,
    size_axis,
    time_axis,
)
from hadaflow.plotting.palette import BLUE, ORANGE, SHADE
from hadaflow.problems import require_real_vector

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_ROUNDING = 1e-14  # relative residuals below it tell nothing
_OTHERS: dict[str, Any] = {"color": ORANGE, "linewidth": 1.6, "linestyle": (0, (4, 2)), "zorder": 3}


def plot_training(
    path: FlowPath | Trajectory,
    *,
    truth: ArrayLike | None = None,
    support: ArrayLike | None = None,
    window: tuple[float, float] | Literal["auto"] | None = "auto",
    level: float | None = None,
    coordinates: int = 12,
    axes: Sequence[Axes] | None = None,
) -> Figure | SubFigure:
    """Draw training over the logarithm of flow time: the support, the largest of the others, residual and l1 norm.

    Parameters
    ----------
    path : FlowPath or Trajectory
        What :func:`hadaflow.flow` or :func:`hadaflow.descend` returned; the latter needs
        ``record=hadaflow.Recorder(x=True)``.
    truth : array_like of shape (n,), optional
        The vector that was to be recovered, if known; drawn as thin dashed lines.
    support : array_like of int, optional
        The coordinates to draw one by one. Default: where ``truth`` is not zero, or else ``path.support()``.
    window : "auto", (start, end) or None, default "auto"
        Flow times to shade. "auto": from the first time at which each coordinate of the support is within 10 % of its
        true value (its last one, if no truth is known) until the largest of the others passes ``level``, or the end.
    level : float, optional
        Size, in units of x, from which on a coordinate off the support counts; default a tenth of the smallest one on
        it.
    coordinates : int, default 12
        Up to so many coordinates are labelled one by one.
    axes : sequence of two matplotlib Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes; save it with ``figure.savefig("path.png")``.

    Raises
    ------
    ImportError
        If matplotlib is missing; the message names the extra that brings it.
    TypeError, ValueError
        If an argument has the wrong kind or range, or the trajectory kept no x.

    Notes
    -----
    The picture begins when the largest entry has reached 1 % of its last size. Where up to ``coordinates`` lines differ
    in size by more than 100, the axis is logarithmic above the smallest. A flow is evaluated at some hundred times, a
    block at a time: about as many passes over A.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> from hadaflow.plotting import blank_figure, plot_training
    >>> path = hf.flow(hf.Problem(np.eye(2), np.array([1.0, 0.5])), hf.HadamardPower(3), init_scale=0.1)
    >>> figure = plot_training(path, axes=blank_figure(2).axes)
    >>> figure.axes[1].get_xlabel()
    'flow time'
    """
    if not isinstance(path, PathFromStart):
        kind = type(path).__name__
        raise TypeError(f"path must be what hadaflow.flow() or hadaflow.descend() returned, got {kind}")
    require_real_vector(path.problem, "plot_training", NUMBERS)
    n = len(path.x)
    known = checked_truth(truth, n)
    if support is not None:
        index = np.unique(checked_coordinates(np.asarray(support), "support", n))
    else:
        index = path.support() if known is None else np.flatnonzero(known)
    most = whole_number(coordinates, "coordinates", minimum=0)
    curves = curves_of(path, index)
    shaded = _checked_window(window, level, curves, known)
    top, bottom = stacked_axes(2, pyplot=True) if axes is None else checked_axes(axes, 2)
    if len(curves.times):
        _frame((top, bottom), curves, shaded)
        _draw_coordinates(top, curves, known, most)
        _draw_fit(bottom, curves, known, squared=path.problem.squared)
    else:
        say_nothing((top, bottom))
    _head(top, path, curves, shaded, known)
    return top.figure


def _checked_window(window: Any, level: float | None, curves: Curves, truth: Any) -> tuple[float, float] | None:
    if level is not None:
        level = positive_number(level, "level")
    if window is None:
        return None
    if isinstance(window, str) and window == "auto":
        return window_of(curves, level, curves.on[-1:] if truth is None else truth[None, curves.index])
    try:
        start, end = (positive_number(time, "window", strict=False) for time in window)
    except (TypeError, ValueError) as error:
        raise ValueError(f'window must be "auto", None or two flow times (start, end), got {window!r}') from error
    if start >= end:
        raise ValueError(f"window must start before it ends, got {window!r}")
    return start, end


# ---- how it is drawn -------------------------------------------------------------------------------------------


def _draw_coordinates(ax: Axes, curves: Curves, truth: NDArray[Any] | None, most: int) -> None:
    """The lines of the support and that of the others."""
    few = len(curves.index) <= most
    if truth is not None:
        for value in np.unique(truth[curves.index]):
            ax.axhline(value, **TRUTH, alpha=1.0 if few else 0.4, zorder=1)
    ends = curves.on[-1]
    drawn = np.argsort(-np.abs(ends), kind="stable")[:MOST_LINES]
    drawn = drawn[np.argsort(ends[drawn], kind="stable")]
    style: dict[str, Any] = {"linewidth": 1.6} if few else {"linewidth": 0.8, "rasterized": True}
    style |= marks(curves.times)
    for place, colour in zip(drawn, shades(len(drawn)), strict=True):
        ax.plot(curves.times, curves.on[:, place], color=colour, **style)
    if len(curves.index) < curves.size:
        ax.plot(curves.times, curves.off, **_OTHERS, **marks(curves.times))
    ax.axhline(0, color="black", linewidth=0.6, zorder=1)
    ax.set_ylabel("x")
    ax.margins(y=0.06)
    if not (curves.on.any() or curves.off.any() or truth is not None):
        ax.set_ylim(-1, 1)
    sizes = np.abs(ends if truth is None else truth[curves.index])
    size_axis(ax, sizes if few else sizes[:0])
    if few:
        names = [coordinate_name(int(curves.index[place])) for place in drawn]
        label_ends(ax, names, ends[drawn], shades(len(drawn)))


def _draw_fit(ax: Axes, curves: Curves, truth: NDArray[Any] | None, *, squared: bool) -> None:
    """Residual on the left axis, l1 norm on the right one."""
    ax.plot(curves.looks, curves.residual, color="black", linewidth=1.4, **marks(curves.times))
    known = curves.residual[curves.residual > 0]
    if len(known) and known.max() > 10 * known.min():
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(bottom=max(ax.get_ylim()[0], _ROUNDING))
    else:
        ax.ticklabel_format(axis="y", useOffset=False)
    ax.set_ylabel(r"$\|Ax - y\|\,/\,\|y\|$" if squared else "gradient in $Ax$, relative")
    right = ax.twinx()
    right.plot(curves.times, curves.l1_norm, color=BLUE, linewidth=1.4, **marks(curves.times))
    if truth is not None:
        right.axhline(np.abs(truth).sum(), color=BLUE, linewidth=0.8, linestyle=FINE_DASHES)
    right.set_ylabel(r"$\|x\|_1$", color=BLUE)
    right.tick_params(axis="y", colors=BLUE)
    right.spines["top"].set_visible(False)
    right.set_ylim(bottom=0)
    plain_numbers(right)


def _frame(axes: Sequence[Axes], curves: Curves, window: tuple[float, float] | None) -> None:
    """The time axis, which both panels share, and the window on it."""
    for ax in axes:
        time_axis(ax, *curves.times[[0, -1]])
        if window is not None:
            ax.axvspan(*window, color=SHADE, linewidth=0, zorder=0)
    axes[-1].set_xlabel(PathFromStart.clock)
    axes[0].figure.align_ylabels(axes)


def _head(ax: Axes, path: PathFromStart, curves: Curves, window: Any, truth: Any) -> None:
    """What this is, why it ends, and the key, above the picture."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    title = f"{path.describe()}\n{textwrap.fill(path.reason, 95)}"
    if len(curves.times) == 0:
        key_above(ax, title, [])
        return
    shown = len(curves.index)
    count = f"{shown}" if shown <= MOST_LINES else f"largest {MOST_LINES} of {shown}"
    keys: list[Any] = [Line2D([], [], color=shades(3)[1], linewidth=1.6, label=f"support ({count})")] if shown else []
    if shown < curves.size:
        keys.append(Line2D([], [], **_OTHERS, label="largest of the others"))
    if truth is not None:
        keys.append(Line2D([], [], **TRUTH, label="truth"))
    if window is not None:
        keys.append(Patch(color=SHADE, label=f"window, {window[0]:.3g} to {window[1]:.3g}"))
    key_above(ax, title, keys)
