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
from hadaflow._validation import Index, norm, positive_number, whole_number
from hadaflow._validation import coordinates as checked_coordinates
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
_MARGIN = 0.05  # share of the width before that
_NEAR = 0.1  # relative: the window opens when all of the support is as near as that
_SLIVER = 1e-2  # share of the width: a narrower window is none
_WIDE = 100.0  # a larger ratio of sizes is drawn on a logarithmic axis
_DECADES = 30.0  # a smaller ratio of times is labelled in plain numbers
_ROUNDING = 1e-14  # relative residuals below it tell nothing
_SMALL = 9.0  # points
_SHADE = "#dfe9f3"
_FINE_DASHES = (0, (6, 3))
_OTHERS: dict[str, Any] = {"color": ORANGE, "linewidth": 1.6, "linestyle": (0, (4, 2)), "zorder": 3}


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
    if len(curves.times):
        _frame((top, bottom), curves, shaded)
        _draw_coordinates(top, curves, known, most)
        _draw_fit(bottom, curves, known)
    else:
        _say_nothing((top, bottom))
    _head(top, path, curves, shaded, known)
    return top.figure


def blank_figure() -> Figure:
    """A figure with two stacked axes that pyplot knows nothing of: for writing files without a display."""
    figure: Figure = stacked_axes(2, pyplot=False, **_PANELS)[0].figure  # type: ignore[assignment]
    return figure


# ---- what is drawn ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Curves:
    """Everything over flow time that the picture shows."""

    size: int  # n
    index: Index  # the support
    times: Vector  # (k,)
    on: Vector  # (k, s): the support
    off: Vector  # (k,): largest size off it
    l1_norm: Vector  # (k,)
    looks: Vector  # times at which the residual is known
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
    first = int(np.searchsorted(times, _begin(times, np.maximum(off, np.abs(on).max(axis=1, initial=0.0)), path)))
    looks = looks[looks >= first]
    return _Curves(
        len(path.x), index, times[first:], on[first:], off[first:], l1_norm[first:], times[looks], residual[looks]
    )


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
    steps = np.append(steps[thinned(len(steps), _KNOTS)], min(path.t_end, path.times[-1]))
    if steps[-1] == 0:
        return steps[:0], lambda part: path(steps[:0][part])
    parts = np.array_split(steps, -(-len(steps) * len(path.x) // _BLOCK))
    begin = _begin(steps, np.concatenate([np.abs(path(part)).max(axis=1) for part in parts]), path)
    steps = steps[steps > begin]
    if _jumps_at_the_end(path):
        steps = np.append(steps, steps[-1] * (steps[-1] / begin) ** _MARGIN)
    grid = np.geomspace(begin, steps[-1], _GRID).clip(begin, steps[-1])
    times = np.unique(np.concatenate([grid, steps, np.nextafter(steps, 0.0)]))  # just before: it may jump there
    return times, lambda part: path(times[part])


def _jumps_at_the_end(path: FlowPath) -> bool:
    """Whether the last step is a jump, which needs some room behind it to be seen."""
    if path.t_end < np.inf:
        return False
    jump = np.abs(path.x - path(np.nextafter(path.times[-1], 0.0))).max()
    return bool(jump > _VISIBLE * np.abs(path.x).max())


def _begin(times: Vector, sizes: Vector, path: FlowPath | Trajectory) -> float:
    """A little before the largest entry first has the visible share of its last size."""
    if len(times) == 0:
        return 0.0
    first = times[(sizes >= _VISIBLE * np.abs(path.x).max()).argmax()]
    return float(first * (first / times[-1]) ** _MARGIN * (1 - 1e-9))


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
    first, last = float(curves.times[start]), float(curves.times[end])
    wide = np.log(last / first) > _SLIVER * np.log(curves.times[-1] / curves.times[0])
    return (first, last) if near.any() and wide else None


# ---- how it is drawn -------------------------------------------------------------------------------------------


def _draw_coordinates(ax: Axes, curves: _Curves, truth: NDArray[Any] | None, most: int) -> None:
    """The lines of the support and that of the others."""
    few = len(curves.index) <= most
    if truth is not None:
        for value in np.unique(truth[curves.index]):
            ax.axhline(value, color=GREY, linewidth=0.8, linestyle=_FINE_DASHES, alpha=1.0 if few else 0.4, zorder=1)
    ends = curves.on[-1]
    drawn = np.argsort(-np.abs(ends), kind="stable")[:_MOST_LINES]
    drawn = drawn[np.argsort(ends[drawn], kind="stable")]
    style: dict[str, Any] = {"linewidth": 1.6} if few else {"linewidth": 0.8, "rasterized": True}
    style |= _marks(curves.times)
    for place, colour in zip(drawn, _shades(len(drawn)), strict=True):
        ax.plot(curves.times, curves.on[:, place], color=colour, **style)
    if len(curves.index) < curves.size:
        ax.plot(curves.times, curves.off, **_OTHERS, **_marks(curves.times))
    ax.axhline(0, color="black", linewidth=0.6, zorder=1)
    ax.set_ylabel("x")
    ax.margins(y=0.06)
    if not (curves.on.any() or curves.off.any() or truth is not None):
        ax.set_ylim(-1, 1)
    sizes = np.abs(ends if truth is None else truth[curves.index])
    sizes = sizes[sizes > 0]
    if few and len(sizes) > 1 and sizes.max() > _WIDE * sizes.min():
        ax.set_yscale("symlog", linthresh=float(sizes.min()))
        ax.yaxis.get_major_locator().set_params(numticks=9)  # type: ignore[call-arg]
    else:
        plain_numbers(ax)
    if few:
        _label_ends(ax, {f"$x_{{{curves.index[place]}}}$": float(ends[place]) for place in drawn}, _shades(len(drawn)))


def _label_ends(ax: Axes, ends: dict[str, float], colours: list[Any]) -> None:
    """A name to the right of each line, moved up or down as far as their heights ask for; ``ends`` ascend."""
    if not ends:
        return
    ax.autoscale_view()
    places = np.array([[0.0, value] for value in ends.values()])
    heights = ax.transAxes.inverted().transform(ax.transData.transform(places))[:, 1]
    points = ax.get_window_extent().height / ax.figure.dpi * 72
    spread = np.arange(len(heights)) * min(1.35 * _SMALL / points, 1 / max(1, len(heights) - 1))
    spots = isotonic_regression(heights - spread).x.clip(0, 1 - spread[-1]) + spread
    for (name, value), spot, colour in zip(ends.items(), spots, colours, strict=True):
        ax.annotate(
            name,
            xy=(1.0, value),
            xycoords=ax.get_yaxis_transform(),
            xytext=(1.03, spot),
            textcoords=ax.transAxes,
            color=colour,
            fontsize=_SMALL + 1,
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _draw_fit(ax: Axes, curves: _Curves, truth: NDArray[Any] | None) -> None:
    """Residual on the left axis, l1 norm on the right one."""
    ax.plot(curves.looks, curves.residual, color="black", linewidth=1.4, **_marks(curves.times))
    known = curves.residual[curves.residual > 0]
    if len(known) and known.max() > 10 * known.min():
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(bottom=max(ax.get_ylim()[0], _ROUNDING))
    else:
        ax.ticklabel_format(axis="y", useOffset=False)
    ax.set_ylabel(r"$\|Ax - y\|\,/\,\|y\|$")
    right = ax.twinx()
    right.plot(curves.times, curves.l1_norm, color=BLUE, linewidth=1.4, **_marks(curves.times))
    if truth is not None:
        right.axhline(np.abs(truth).sum(), color=BLUE, linewidth=0.8, linestyle=_FINE_DASHES)
    right.set_ylabel(r"$\|x\|_1$", color=BLUE)
    right.tick_params(axis="y", colors=BLUE)
    right.spines["top"].set_visible(False)
    right.set_ylim(bottom=0)
    plain_numbers(right)


def _frame(axes: Sequence[Axes], curves: _Curves, window: tuple[float, float] | None) -> None:
    """The time axis, which both panels share, and the window on it."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xscale("log")
        first, last = curves.times[[0, -1]]
        ax.set_xlim(*((first, last) if first < last else (first / 2, 2 * last)))
        _tick_times(ax)
        if window is not None:
            ax.axvspan(*window, color=_SHADE, linewidth=0, zorder=0)
    axes[-1].set_xlabel("flow time")
    axes[0].figure.align_ylabels(axes)


def _tick_times(ax: Axes) -> None:
    """Powers of ten over many decades; over fewer, plain numbers, as many as fit."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    first, last = ax.get_xlim()
    if last > _DECADES * first:
        return
    few = last <= 10 * first
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if few else LogLocator(subs=(1, 2, 3, 5)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def _say_nothing(axes: Sequence[Axes]) -> None:
    for ax in axes:
        ax.set_axis_off()
    axes[0].text(0.5, 0.5, "nothing has moved", transform=axes[0].transAxes, color=GREY, ha="center", va="center")


def _head(ax: Axes, path: FlowPath | Trajectory, curves: _Curves, window: Any, truth: Any) -> None:
    """What this is, why it ends, and the key, above the picture."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kind = (
        "gradient flow"
        if isinstance(path, FlowPath)
        else f"gradient descent, {path.steps} step{'s' * (path.steps != 1)}"
    )
    scale = path.setting.product_scale if isinstance(path, FlowPath) else path.product_scale
    depth = getattr(path.model, "depth", None)
    model = type(path.model).__name__ if depth is None else f"depth {depth:g}"
    reason = textwrap.fill(path.reason, 95)
    ax.set_title(f"{kind}, {model}, product scale {scale:.3g}\n{reason}", loc="left", fontsize="medium", pad=24)
    if len(curves.times) == 0:
        return
    shown = len(curves.index)
    count = f"{shown}" if shown <= _MOST_LINES else f"largest {_MOST_LINES} of {shown}"
    keys: list[Any] = [Line2D([], [], color=_shades(3)[1], linewidth=1.6, label=f"support ({count})")] if shown else []
    if shown < curves.size:
        keys.append(Line2D([], [], **_OTHERS, label="largest of the others"))
    if truth is not None:
        keys.append(Line2D([], [], color=GREY, linewidth=0.8, linestyle=_FINE_DASHES, label="truth"))
    if window is not None:
        keys.append(Patch(color=_SHADE, label=f"window, {window[0]:.3g} to {window[1]:.3g}"))
    ax.legend(
        handles=keys,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        frameon=False,
        borderaxespad=0.2,
        fontsize=_SMALL,
        handlelength=2.2,
        columnspacing=1.6,
    )


def _marks(times: Vector) -> dict[str, Any]:
    """Dots where there are too few moments for lines to tell them."""
    return {"marker": "o", "markersize": 3.5} if len(times) <= 8 else {}


def _shades(count: int) -> list[Any]:
    """Colours from dark to light, as far as they stand out from white."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.78, count) if count != 1 else [0.25]))
