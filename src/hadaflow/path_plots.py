"""Pictures of training: the coordinates of x over flow time, and how well they fit."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from hadaflow._drawing import (
    BLUE,
    GREY,
    ORANGE,
    checked_axes,
    checked_truth,
    plain_numbers,
    stacked_axes,
    thinned,
)
from hadaflow._validation import Index, coordinates as checked_coordinates, norm, positive_number, whole_number
from hadaflow.paths import FlowPath, Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Vector = NDArray[np.float64]

_PANELS: dict[str, Any] = {"sharex": True, "height_ratios": (3, 2)}
_GRID = 300  # times, evenly spread in log-time, at which a flow is looked at
_KNOTS = 300  # steps of its integrator, beside these: nothing sudden falls between them
_RESIDUALS = 200  # of these times get a residual, which takes a product each
_BLOCK = 2**22  # entries of x at a time
_MOST_LINES = 300
_VISIBLE = 1e-2  # share of the final size from which on something is seen
_NEAR = 0.1  # relative: the window opens when all of the support is as near as that
_WIDE = 100.0  # a larger ratio of sizes is drawn on a logarithmic axis
_SMALL_FONT = 9.0  # points
_DASHES = (0, (4, 2))
_FINE_DASHES = (0, (6, 3))


def plot_path(
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
    >>> from hadaflow.path_plots import blank_figure, plot_path
    >>> path = hf.flow(hf.Problem(np.eye(2), np.array([1.0, 0.5])), hf.HadamardPower(3), init_scale=0.1)
    >>> figure = plot_path(path, axes=blank_figure().axes)
    >>> figure.axes[1].get_xlabel()
    'flow time'
    """
    if not isinstance(path, (FlowPath, Trajectory)):
        kind = type(path).__name__
        raise TypeError(f"path must be what hadaflow.flow() or hadaflow.descend() returned, got {kind}")
    n = len(path.x)
    known = checked_truth(truth, n)
    if support is not None:
        index = np.unique(checked_coordinates(np.asarray(support), "support", n))
    else:
        index = path.support() if known is None else np.flatnonzero(known)
    most = whole_number(coordinates, "coordinates", minimum=0)
    curves = _curves(path, index)
    shaded = _checked_window(window, level, curves, known)
    top, bottom = stacked_axes(2, pyplot=True, **_PANELS) if axes is None else checked_axes(axes, 2)
    _draw_coordinates(top, curves, known, shaded, most)
    _draw_fit(bottom, curves, known, shaded)
    _name_x(bottom)
    _head(top, path)
    return top.figure


def blank_figure() -> Figure:
    """A figure with two stacked axes that pyplot knows nothing of: for writing files without a display."""
    figure: Figure = stacked_axes(2, pyplot=False, **_PANELS)[0].figure  # type: ignore[assignment]
    return figure


# ---- what is drawn ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Curves:
    """Everything over flow time that the picture shows."""

    index: Index  # the support
    times: Vector  # (k,)
    on: Vector  # (k, s): the support
    off: Vector  # (k,): largest size off it
    l1_norm: Vector  # (k,)
    looks: Index  # places in times that have a residual
    residual: Vector  # relative, there


def _curves(path: FlowPath | Trajectory, index: Index) -> _Curves:
    times, rows = _moments(path)
    others = np.ones(len(path.x), dtype=bool)
    others[index] = False
    operator, y = path.problem.operator, path.problem.y.astype(np.float64)
    looks = thinned(len(times), _RESIDUALS)
    on, off, l1_norm, residual = np.zeros((len(times), len(index))), *(np.zeros(len(times)) for _ in range(3))
    step = max(1, _BLOCK // len(path.x))
    for i in range(0, len(times), step):
        block = rows(slice(i, i + step)).astype(np.float64)
        on[i : i + step] = block[:, index]
        off[i : i + step] = np.abs(block[:, others]).max(axis=1, initial=0.0)
        l1_norm[i : i + step] = np.abs(block).sum(axis=1)
        for k in looks[(looks >= i) & (looks < i + step)]:
            residual[k] = norm(operator.matvec(block[k - i]) - y) / (norm(y) or 1.0)
    first = _first_seen(np.maximum(off, np.abs(on).max(axis=1, initial=0.0)), path)
    looks = looks[looks >= first]
    arrays = (array[first:] for array in (times, on, off, l1_norm))
    return _Curves(index, *arrays, times[looks], residual[looks])


def _moments(path: FlowPath | Trajectory) -> tuple[Vector, Callable[[slice], Any]]:
    """The times to look at, and the iterates there, as rows."""
    if isinstance(path, Trajectory):
        history = path.history
        if history.x is None:
            raise ValueError("the trajectory kept no x: run descend with record=hadaflow.Recorder(x=True)")
        kept = history.times > 0
        x = history.x[kept]
        return history.times[kept], lambda part: x[part]
    steps = path.times[(path.times > 0) & (path.times < path.t_end)]
    end = min(path.t_end, path.times[-1])
    steps = np.append(steps[thinned(len(steps), _KNOTS)], end if end > 0 else [])
    if len(steps) == 0:
        return steps, lambda part: np.empty((0, len(path.x)))
    parts = np.array_split(steps, -(-len(steps) * len(path.x) // _BLOCK))
    first = _first_seen(np.concatenate([np.abs(path(part)).max(axis=1) for part in parts]), path)
    start, steps = steps[max(0, first - 1)], steps[first:]
    grid = np.geomspace(start, end, _GRID).clip(start, end)
    times = np.unique(np.concatenate([grid, steps, np.nextafter(steps, 0.0)]))  # just before: it may jump there
    return times, lambda part: path(times[part])


def _first_seen(sizes: Vector, path: FlowPath | Trajectory) -> int:
    """Where the largest entry first has the visible share of its last size; 0 if it never does."""
    return int((sizes >= _VISIBLE * np.abs(path.x).max()).argmax()) if len(sizes) else 0


def _checked_window(window: Any, level: float | None, curves: _Curves, truth: Any) -> tuple[float, float] | None:
    if level is not None:
        level = positive_number(level, "level")
    if window is None:
        return None
    if isinstance(window, str) and window == "auto":
        return _window(curves, level, curves.on[-1:] if truth is None else truth[None, curves.index])
    try:
        start, end = (positive_number(time, "window", strict=False) for time in window)
    except (TypeError, ValueError) as error:
        raise ValueError(f'window must be "auto", None or two flow times (start, end), got {window!r}') from error
    if start >= end:
        raise ValueError(f"window must start before it ends, got {window!r}")
    return start, end


def _window(curves: _Curves, level: float | None, target: NDArray[Any]) -> tuple[float, float] | None:
    """From when all of the support is near the target (one row) to when one of the others passes the level."""
    sizes = np.abs(target[target != 0])
    if len(curves.times) == 0 or len(sizes) == 0:
        return None
    level = _NEAR * float(sizes.min()) if level is None else level
    near = (np.abs(curves.on - target) <= _NEAR * np.abs(target))[:, target[0] != 0].all(axis=1)
    start = int(near.argmax())
    passed = curves.off[start:] > level
    end = start + int(passed.argmax()) if passed.any() else len(passed) + start - 1
    return (float(curves.times[start]), float(curves.times[end])) if near.any() and end > start else None


# ---- how it is drawn -------------------------------------------------------------------------------------------


def _draw_coordinates(ax: Axes, curves: _Curves, truth: NDArray[Any] | None, most: int) -> None:
    """The lines of the support and that of the others, with their names."""
    few = len(curves.index) <= most
    if truth is not None:
        for value in np.unique(truth[curves.index]):
            ax.axhline(value, color=GREY, linewidth=0.8, linestyle=_FINE_DASHES, zorder=1, alpha=1.0 if few else 0.4)
    ends = curves.on[-1] if len(curves.times) else np.zeros(len(curves.index))
    drawn = np.sort(np.argsort(-np.abs(ends), kind="stable")[:_MOST_LINES])
    drawn = drawn[np.argsort(ends[drawn], kind="stable")]
    colours = _shades(len(drawn))
    style: dict[str, Any] = {"linewidth": 1.6} if few else {"linewidth": 0.9, "alpha": 0.8, "rasterized": True}
    for place, colour in zip(drawn, colours, strict=True):
        ax.plot(curves.times, curves.on[:, place], color=colour, **style, **_marks(curves.times))
    if len(curves.others):
        off = {"color": ORANGE, "linewidth": 1.6, "linestyle": _DASHES, "zorder": 3}
        ax.plot(curves.times, curves.off, **off, **_marks(curves.times))
    ax.axhline(0, color="black", linewidth=0.6, zorder=1)
    ax.set_ylabel("x")
    ax.margins(y=0.05)
