"""Figures of supports: the non-zero coefficients by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hadaflow._types import Float, Index
from hadaflow._validation import check_finite, real_array, whole_number
from hadaflow.plotting._drawing import checked_ax, checked_truth
from hadaflow.plotting._fitted import fitted, is_estimator
from hadaflow.plotting._lines import SMALL, coordinate_name, key_above
from hadaflow.plotting.palette import BLUE, GREY, ORANGE
from hadaflow.problems import require_real_vector
from hadaflow.results import Answer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.22
_TALLEST = 40.0  # inches
_LEAST_PRINT = 3.0  # points; names that would be smaller are left out
_MOST_MARKERS = 300  # beyond this, marks are rasterised
_BLACK = "#222222"

#: Shape and colour of each kind, so that either tells them apart.
_KINDS: dict[str, dict[str, Any]] = {
    "found": {"marker": "o", "color": BLUE, "markersize": 6},
    "missed": {"marker": "x", "color": _BLACK, "markersize": 7, "markeredgewidth": 2},
    "false": {"marker": "^", "color": ORANGE, "markersize": 7},
}
_TRUTH: dict[str, Any] = {"marker": "s", "color": GREY, "markerfacecolor": "none", "markersize": 9, "linestyle": "none"}


def plot_support(
    x: Any,
    *,
    truth: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    most: int = 30,
    target: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the non-zero coefficients as dots, the largest on top; given the truth, which are missed or false.

    Parameters
    ----------
    x : array_like of shape (n,), answer or fitted estimator
        Coefficients; a result of this library, of which those in its ``support()`` count; or an object with ``coef_``.
    truth : array_like of shape (n,), optional
        The vector that was to be recovered, if known; drawn as hollow squares. Non-zeros of x that are zero there are
        triangles; those of the truth that are zero in x are crosses at zero.
    names : sequence of n str, optional
        What the coefficients are called; default ``feature_names_in_`` of an estimator, or else their numbers.
    most : int, default 30
        At most so many are drawn, the largest of either vector.
    target : int, default 0
        Which row of a ``coef_`` with several.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure, tall enough for all names.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn; save it with ``ax.figure.savefig("support.png")``.

    Raises
    ------
    ImportError
        If matplotlib is missing; the message names the extra that brings it.
    TypeError, ValueError
        If an argument has the wrong kind, length or range.

    Notes
    -----
    The title counts all coefficients, drawn or not. Names shrink with their number and are left out where nobody could
    read them. O(n log n).

    Examples
    --------
    >>> from hadaflow.plotting import blank_figure, plot_support
    >>> ax = plot_support([0.0, 2.0, -0.1], truth=[1.0, 2.0, 0.0], ax=blank_figure(1).axes[0])
    >>> ax.get_title(loc="left")
    '2 of 3 coefficients non-zero: 1 of 2 found, 1 missed, 1 false'
    """
    values, known_names = _coefficients(x, target)
    known = checked_truth(truth, len(values))
    called = known_names if names is None else _checked_names(names, len(values))
    most = whole_number(most, "most")
    rows = _Rows.of(values, np.zeros_like(values) if known is None else known, most)
    ax = checked_ax(ax, height=min(_TALLEST, 1.3 + _ROW_INCHES * max(4, len(rows.index))))
    _frame(ax, [coordinate_name(int(i), called) for i in rows.index])
    keys = _draw(ax, rows, compared=known is not None)
    key_above(ax, _title(values, known, drawn=len(rows.index)), keys)
    return ax


def _coefficients(x: Any, target: int) -> tuple[Float, Sequence[str] | None]:
    if isinstance(x, Answer):
        require_real_vector(x.problem, "plot_support", "give it sizes, such as abs(x)")
        values = np.zeros_like(x.x)
        values[x.support()] = x.x[x.support()]
        return values, None
    if is_estimator(x):
        estimated = fitted(x, "x", target)
        check_finite(estimated.coef, "coef_")
        return estimated.coef, estimated.names
    values = real_array(x, "x", 1)
    check_finite(values, "x")
    return values, None


def _checked_names(names: Sequence[str], n: int) -> list[str]:
    called = [str(name) for name in names]
    if isinstance(names, str) or len(called) != n:
        got = "one string" if isinstance(names, str) else str(len(called))
        raise ValueError(f"names must hold one name per coefficient ({n}), got {got}")
    return called


@dataclass(frozen=True, eq=False)
class _Rows:
    """The coefficients that are drawn, the largest first."""

    index: Index
    x: Float
    truth: Float

    @classmethod
    def of(cls, x: Float, truth: Float, most: int) -> _Rows:
        size = np.maximum(np.abs(x), np.abs(truth))
        order = np.argsort(-size, kind="stable")[: min(most, int(np.count_nonzero(size)))]
        return cls(order, x[order], truth[order])

    def kinds(self) -> dict[str, Any]:
        """Masks of what is found, missed and false."""
        on, true = self.x != 0, self.truth != 0
        return {"found": on & true, "missed": ~on & true, "false": on & ~true}


def _draw(ax: Axes, rows: _Rows, *, compared: bool) -> list[Any]:
    """Dots and marks of the truth; returns the entries of the key."""
    from matplotlib.lines import Line2D

    heights = np.arange(len(rows.index))
    many = len(heights) > _MOST_MARKERS
    ax.hlines(heights, rows.truth, rows.x, colors=GREY, linewidth=1.0, zorder=1, rasterized=many)
    if not compared:
        ax.plot(rows.x, heights, linestyle="none", rasterized=many, **_KINDS["found"])
        return []
    keys: list[Any] = []
    for kind, mask in rows.kinds().items():
        if mask.any():
            ax.plot(rows.x[mask], heights[mask], linestyle="none", zorder=3, rasterized=many, **_KINDS[kind])
            keys.append(Line2D([], [], linestyle="none", label=kind, **_KINDS[kind]))
    true = rows.truth != 0
    if true.any():
        ax.plot(rows.truth[true], heights[true], zorder=2, rasterized=many, **_TRUTH)
        keys.append(Line2D([], [], label="truth", **_TRUTH))
    return keys


def _frame(ax: Axes, called: Sequence[str]) -> None:
    """One row per name, from the top down, as large as they fit."""
    count = len(called)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.axvline(0, color="black", linewidth=0.6, zorder=0)
    ax.set_xlabel("coefficient")
    ax.set_ylim(max(count, 1) - 0.4, -0.6)
    ax.set_yticks([])
    ax.margins(x=0.06)
    if count == 0:
        ax.set_xlim(-1, 1)
        ax.text(0.5, 0.5, "all are zero", transform=ax.transAxes, color=GREY, ha="center", va="center")
        return
    points = ax.get_window_extent().height / ax.figure.dpi * 72 / max(count, 1)
    size = min(SMALL, 0.9 * points)
    if size >= _LEAST_PRINT:
        ax.set_yticks(range(count), called, fontsize=size)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", color=GREY, linewidth=0.4, alpha=0.5)
        ax.set_axisbelow(True)


def _title(x: Float, truth: Float | None, *, drawn: int) -> str:
    on = x != 0
    text = f"{int(on.sum())} of {len(x)} coefficients non-zero"
    shown = int(on.sum())
    if truth is not None:
        true = truth != 0
        shown = int((on | true).sum())
        counts = f"{int((on & true).sum())} of {int(true.sum())} found, {int((true & ~on).sum())} missed"
        text += f": {counts}, {int((on & ~true).sum())} false"
    return text if drawn == shown else f"{text}\nlargest {drawn} drawn"
