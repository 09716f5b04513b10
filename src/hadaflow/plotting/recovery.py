"""Figures of answers with their proofs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.plotting._drawing import checked_axes, checked_truth, plain_numbers, stacked_axes
from hadaflow.plotting.palette import BLUE, GREY, ORANGE
from hadaflow.problems import require_single
from hadaflow.results import Recovery

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_ROUNDING = 1e-12  # a relative residual below this shows nothing but rounding
_MOST_MARKERS = 300  # beyond this, stems lose their heads
_TITLE_WIDTH = 115  # letters on a line
_MOST_STEMS = 4000  # beyond this, only the extremes of each neighbourhood are drawn: no pixel changes
_INSTEAD = "give plot_support its sizes, such as abs(recovery.x)"


def plot_recovery(
    recovery: Recovery,
    *,
    truth: ArrayLike | None = None,
    axes: Sequence[Axes] | None = None,
) -> Figure | SubFigure:
    """Draw an answer with its proof: x, the residual and the dual certificate, one above the other.

    Parameters
    ----------
    recovery : Recovery
        What :func:`hadaflow.recover` returned.
    truth : array_like of shape (n,), optional
        The vector that was to be recovered, if known; drawn as open squares.
    axes : sequence of three matplotlib Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes; save it with ``figure.savefig("recovery.png")``.

    Raises
    ------
    ImportError
        If matplotlib is missing; the message names the extra that brings it.
    TypeError, ValueError
        If ``recovery`` is something else, ``truth`` is not a real vector as long as x, or there are not three axes.

    Notes
    -----
    A residual of rounding alone is drawn on the scale of y. The third panel shows ``A^T dual`` (over the weights)
    divided by its largest size. Where x is a minimiser of the l1 norm, it touches the lines at +1 and -1 on the
    support, with the sign of x, and stays between them elsewhere; for non-negative x, +1 is the only bound. One pass
    over A each way; at most a few thousand line segments whatever the size, rasterised in vector formats.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> from hadaflow.plotting import blank_figure, plot_recovery
    >>> recovery = hf.recover(np.array([[1.0, 2.0, 0.5]]), np.array([4.0]))
    >>> figure = plot_recovery(recovery, axes=blank_figure().axes)
    >>> figure.axes[0].get_ylabel()
    'x'
    """
    if not isinstance(recovery, Recovery):
        raise TypeError(f"recovery must be what hadaflow.recover() returned, got {type(recovery).__name__}")
    require_single(recovery.problem, "plot_recovery", _INSTEAD)
    known = checked_truth(truth, len(recovery.x))
    top, middle, bottom = stacked_axes(3, pyplot=True) if axes is None else checked_axes(axes, 3)
    _draw_x(top, recovery, known)
    _draw_residual(middle, recovery)
    _draw_certificate(bottom, recovery)
    return top.figure


def _draw_x(ax: Axes, recovery: Recovery, truth: NDArray[Any] | None) -> None:
    x, certificate = recovery.x, recovery.certificate
    if truth is not None:
        _stems(ax, truth, ORANGE, "s", size=7, hollow=True, label="truth")
    on = np.zeros_like(x)
    on[recovery.support()] = x[recovery.support()]
    _stems(ax, x - on, BLUE, "", size=0)  # what a limit leaves everywhere gets no heads
    _stems(ax, on, BLUE, "o", size=3.5, label="recovered")
    _frame(ax, len(x), "coordinate (n = {})", "x")
    line = "l1 norm" if recovery.weights is None else "weighted l1 norm"
    line += f" {certificate.l1_norm:.6g}, relative gap {certificate.gap:.2g}"
    if truth is not None:
        error = norm(x - truth) / (norm(truth) or 1.0)
        line += f"\nrelative error {error:.2g}"  # beside the legend, which needs the room
        _legend(ax)
    _title(ax, f"{textwrap.fill(str(recovery.status), _TITLE_WIDTH)}\n{line}")


def _draw_residual(ax: Axes, recovery: Recovery) -> None:
    problem = recovery.problem
    residual = problem.operator.matvec(recovery.x.astype(np.float64)) - problem.y
    _stems(ax, residual, "black", "o", size=2.5)
    _frame(ax, len(residual), "measurement (m = {})", "$Ax - y$")
    title = rf"residual, $\|Ax - y\|\,/\,\|y\|$ = {recovery.certificate.residual:.2g}"
    if recovery.certificate.residual < _ROUNDING:  # stems have no heads where there is nothing to see
        ax.plot(np.arange(len(residual)), residual, ".", color="black", markersize=2, rasterized=True)
    if not residual.any():
        ax.set_yticks([0.0])
    elif recovery.certificate.residual < _ROUNDING:
        largest = float(np.abs(problem.y).max())
        ax.set_ylim(-largest, largest)
        title += ": rounding, on the scale of y"
    _title(ax, title)


def _draw_certificate(ax: Axes, recovery: Recovery) -> None:
    slopes, bounds = _scaled_dual(recovery)
    support = recovery.support()
    off = np.delete(np.arange(len(slopes)), support)
    if len(off) <= _MOST_STEMS:
        ax.plot(off, slopes[off], ".", color=GREY, markersize=4 if len(off) <= _MOST_MARKERS else 2)
    else:
        _band(ax, off, slopes[off])
    drawn = support[_telling(slopes[support])]
    small = len(drawn) > _MOST_MARKERS
    ax.plot(drawn, slopes[drawn], "D", color=BLUE, markersize=2 if small else 4, label="support", rasterized=small)
    _frame(ax, len(slopes), "coordinate (n = {})", r"$A^T$dual, scaled")
    for bound in bounds:
        _draw_bound(ax, bound)
    shown = np.concatenate([bound if np.isfinite(bound).all() else np.append(slopes, 0.0) for bound in bounds])
    ax.set_ylim(float(shown.min()) - 0.2, float(shown.max()) + 0.2)
    proof = ": x is the only minimiser" if recovery.certificate.unique else ""
    _title(ax, f"dual certificate, margin {recovery.certificate.margin:.2g} off the support{proof}")
    _legend(ax)


def _scaled_dual(recovery: Recovery) -> tuple[Vector, list[Vector]]:
    """The dual state over the weights, its largest size 1, and its bounds above and below; infinite for none."""
    gauge, theta = recovery.gauge, recovery.problem.operator.rmatvec(recovery.dual)
    unit = gauge.unit()[0]
    weights = np.ones_like(theta) if unit is None else unit
    sizes = gauge.sizes(theta)
    top = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    bounds = [gauge.meets(np.full_like(theta, side)) / weights for side in (1.0, -1.0)]
    return theta / weights / (top if top > 0 else 1.0), bounds


def _draw_bound(ax: Axes, bound: Vector) -> None:
    """One line where all coordinates have the same bound, else a step for each; nothing where there is none."""
    style: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": "--"}
    if (bound == bound[0]).all():
        if np.isfinite(bound[0]):
            ax.axhline(float(bound[0]), **style)
        return
    ax.plot(np.arange(len(bound)), np.where(np.isfinite(bound), bound, np.nan), drawstyle="steps-mid", **style)


def _stems(
    ax: Axes, values: NDArray[Any], colour: str, marker: str, *, size: float, hollow: bool = False, label: str = ""
) -> None:
    """Lines from zero to each value that is not zero, with heads while there is room for them."""
    where = _telling(values)
    heights = values[where]
    many = len(where) > _MOST_MARKERS
    width = (2.5 if hollow else 0.7) if many else (0.0 if hollow else 1.2)
    ax.vlines(where, 0, heights, colors=colour, linewidth=width, rasterized=many, label=label if many else "")
    if size and not many:
        face = "none" if hollow else colour
        ax.plot(where, heights, marker, color=colour, markerfacecolor=face, markersize=size, label=label)


def _telling(values: NDArray[Any]) -> NDArray[np.intp]:
    """Where to draw: all entries but zeros or, of too many, the lowest and the highest of each neighbourhood."""
    where = np.flatnonzero(values)
    if len(where) <= _MOST_STEMS:
        return where
    blocks = np.array_split(where, _MOST_STEMS // 2)
    chosen = [block[f(values[block])] for block in blocks for f in (np.argmin, np.argmax)]
    return np.unique(chosen)


def _band(ax: Axes, where: NDArray[np.intp], values: NDArray[Any]) -> None:
    """The range of the values in each of many narrow neighbourhoods, as one filled band."""
    parts = [(w.mean(), v.min(), v.max()) for w, v in zip(_split(where), _split(values), strict=True)]
    middle, low, high = np.array(parts).T
    ax.fill_between(middle, low, high, color=GREY, linewidth=0, rasterized=True)


def _split(array: NDArray[Any]) -> list[NDArray[Any]]:
    return np.array_split(array, _MOST_STEMS // 4)


def _frame(ax: Axes, length: int, xlabel: str, ylabel: str) -> None:
    """Axis lines, limits and labels that all panels share."""
    ax.axhline(0, color="black", linewidth=0.6)
    pad = max(0.5, 0.01 * length)
    ax.set_xlim(-pad, length - 1 + pad)
    if length <= 10:
        ax.set_xticks(range(length))
    ax.set_xlabel(xlabel.format(length))
    ax.set_ylabel(ylabel)
    plain_numbers(ax)
    ax.spines[["top", "right"]].set_visible(False)


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="left", fontsize="medium")


def _legend(ax: Axes) -> None:
    """On the line of the title, at its right end, where it can hide nothing."""
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=2,
        frameon=False,
        borderaxespad=0.0,
        handletextpad=0.2,
        columnspacing=1.2,
    )
