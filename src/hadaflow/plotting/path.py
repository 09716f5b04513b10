"""Figures of paths: coefficients over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hadaflow._types import Index
from hadaflow._validation import coordinates as checked_coordinates
from hadaflow._validation import one_of, positive_number, whole_number
from hadaflow.paths import Path, Reading, ReadOut
from hadaflow.paths.reading import thinned
from hadaflow.plotting._drawing import NUMBERS, checked_ax, checked_truth
from hadaflow.plotting._fitted import Fitted, fitted, is_estimator, of_features, path_of
from hadaflow.plotting._lines import (
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
from hadaflow.plotting.palette import GREY
from hadaflow.problems import require_real_vector
from hadaflow.snapshots import default_threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_OTHERS = 200
_MOST_STEPS = 2000  # of the others' lines
_OTHERS: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "alpha": 0.6}
_STOP: dict[str, Any] = {"color": "black", "linewidth": 1.2, "linestyle": (0, (1, 1.5))}


def plot_path(
    path: Any,
    *,
    truth: ArrayLike | None = None,
    support: ArrayLike | None = None,
    at: float | None = None,
    read_out: ReadOut = "iterate",
    coordinates: int = 12,
    target: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw coefficients over the logarithm of time: those of the support coloured and named, the others grey.

    Parameters
    ----------
    path : SaddlePath, FlowPath, Trajectory or fitted estimator
        What :func:`hadaflow.saddles`, :func:`hadaflow.flow` or :func:`hadaflow.descend` returned (the last needs
        ``record=hadaflow.Recorder(x=True)``), or an object with such a path, or one per target, as ``path_`` and with
        ``coef_``; its ``feature_names_in_`` and ``stop_time_`` are used if it has them.
    truth : array_like of shape (n,), optional
        The vector that was to be recovered, if known, in the units of the path; drawn as thin dashed lines.
    support : array_like of int, optional
        The coordinates to colour. Default: where ``truth`` or else ``coef_`` is not zero; without these the support at
        time ``at``; without that the largest ``coordinates`` of the support at the end.
    at : float, optional
        A time to mark, in the clock of the path: where it was stopped. Default: ``stop_time_`` of an estimator.
    read_out : {"iterate", "average"}, default "iterate"
        What to draw: x itself, or its running average.
    coordinates : int, default 12
        Up to so many coordinates of the support are named, those that are largest in the end.
    target : int, default 0
        Which path of an estimator that has several.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn; save it with ``ax.figure.savefig("path.png")``.

    Raises
    ------
    ImportError
        If matplotlib is missing; the message names the extra that brings it.
    TypeError, ValueError
        If an argument has the wrong kind or range, or a trajectory did not keep what is to be drawn.

    Notes
    -----
    A saddle path is drawn in rescaled time, each plateau exactly as long as it lasts; the others in flow time. At most
    300 lines of the support and the 200 largest of the others are drawn, rasterised where they are many. Cost: a flow
    is evaluated at some hundred times, about two passes over A each; its average by quadrature, some thousand passes.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> from hadaflow.plotting import blank_figure, plot_path
    >>> path = hf.saddles(hf.Problem(np.eye(2), np.array([2.0, 1.0])))
    >>> ax = plot_path(path, at=0.7, ax=blank_figure(1).axes[0])
    >>> ax.get_title(loc="left"), ax.get_xlabel()
    ('saddle path, 2 jumps', 'rescaled time')
    """
    estimated = fitted(path, "path", target) if is_estimator(path) else None
    followed = _checked_path(path if estimated is None else path_of(path, target))
    require_real_vector(followed.problem, "plot_path", NUMBERS)
    size = followed.problem.shape[1]
    features = np.arange(size) if estimated is None else estimated.features_on(size)
    n = len(features) if estimated is None else len(estimated.coef)
    known = checked_truth(truth, n)
    chosen = None if support is None else np.unique(checked_coordinates(np.asarray(support), "support", n))
    if estimated is not None:
        estimated = estimated.on_path(features)
        known = None if known is None else of_features(known, features)
        chosen = None if chosen is None else np.flatnonzero(np.isin(features, chosen))
    stop = (estimated.stop if estimated else None) if at is None else positive_number(at, "at")
    read_out = "average" if one_of(read_out, "read_out", ("iterate", "average")) == "average" else "iterate"
    most = whole_number(coordinates, "coordinates", minimum=0)
    limit = MOST_LINES
    if chosen is None and known is None and estimated is None and stop is None:  # where it ends: long after most stop
        limit = most
    if chosen is None:
        chosen = _support(followed, known, estimated, stop, read_out)
    reading = followed.reading(read_out, until=1.1 * stop if stop else 0.0)
    drawing = _Drawing.of(reading, chosen, limit, most, estimated.names if estimated else None)
    ax = checked_ax(ax)
    title = followed.describe() + (", running average" if read_out == "average" else "")
    if len(reading.times) == 0:
        say_nothing([ax])
        key_above(ax, title, [])
        return ax
    first, last = reading.times[[0, -1]]
    time_axis(ax, min(first, stop / 1.1 if stop else first), max(last, 1.1 * stop if stop else last))
    ax.set_xlabel(followed.clock)
    ax.set_ylabel("x" if read_out == "iterate" else "running average of x")
    drawing.draw(ax, known, stop)
    key_above(ax, title, drawing.keys(known, f"{_word(followed, estimated, at)} at {stop:.3g}" if stop else ""))
    return ax


def _checked_path(path: object) -> Path:
    if isinstance(path, Path):
        return path
    raise TypeError(
        f"path must be what hadaflow.saddles(), hadaflow.flow() or hadaflow.descend() returned, or a fitted estimator "
        f"with such a path_, got {type(path).__name__}"
    )


def _support(
    path: Path, truth: NDArray[Any] | None, estimated: Fitted | None, stop: float | None, read_out: ReadOut
) -> Index:
    """What counts as the support if the caller does not say."""
    if truth is not None:
        return np.flatnonzero(truth)
    if estimated is not None and len(estimated.coef) == path.problem.shape[1]:
        x = estimated.coef
    elif stop is not None:
        x = path.state_at(stop, read_out)
    else:
        x = path.end
    groups = path.problem.groups
    size = groups.norms(x)
    return np.flatnonzero(groups.spread(size > default_threshold(size, path.product_scale)))


def _word(path: Path, estimated: Fitted | None, at: float | None) -> str:
    """What is marked: an estimator may have found its model by a search that began on the path."""
    if estimated is None or estimated.stop is None or at is not None or not path.piecewise_constant:
        return "stopped"
    read: tuple[ReadOut, ReadOut] = ("iterate", "average")
    there = any(np.array_equal(estimated.coef != 0, path.state_at(estimated.stop, one) != 0) for one in read)
    return "stopped" if there else "best plateau"


@dataclass(frozen=True, eq=False)
class _Drawing:
    """What is drawn: of the support by where its lines end, and of the others."""

    reading: Reading
    size: int  # of the support, drawn or not
    on: Index  # (s,)
    lines: NDArray[np.float64]  # (k, s), last values ascending
    named: Index  # places among these
    names: Sequence[str]
    moving: int  # others that do not stay zero
    off: NDArray[np.float64]  # (k, .)

    @classmethod
    def of(cls, reading: Reading, support: Index, limit: int, most: int, names: Sequence[str] | None) -> _Drawing:
        lines = reading.of(support)
        ends = lines[-1] if len(lines) else np.zeros(len(support))
        order = np.argsort(-np.abs(ends), kind="stable")[:limit]
        order = order[np.argsort(ends[order], kind="stable")]
        on, lines = support[order], lines[:, order]
        largest = np.sort(np.argsort(-np.abs(ends[order]), kind="stable")[:most])
        peaks = np.where(np.isin(reading.columns, on), 0.0, reading.peaks())
        moving = int(np.count_nonzero(peaks))
        others = reading.columns[np.sort(np.argsort(-peaks, kind="stable")[: min(moving, _MOST_OTHERS)])]
        called = [coordinate_name(int(i), names) for i in on[largest]]
        return cls(reading, len(support), on, lines, largest, called, moving, reading.of(others))

    def draw(self, ax: Axes, truth: NDArray[Any] | None, stop: float | None) -> None:
        few, times = len(self.on) <= max(len(self.named), 12), self.reading.times
        if truth is not None:
            for value in np.unique(truth[self.on]):
                ax.axhline(value, **TRUTH, alpha=1.0 if few else 0.4, zorder=1)
        self._draw_others(ax)
        style: dict[str, Any] = {"linewidth": 1.6} if few else {"linewidth": 0.9, "rasterized": True}
        style |= {"drawstyle": "steps-post"} if self.reading.stepwise else marks(times)
        colours = shades(len(self.on))
        for line, colour in zip(self.lines.T, colours, strict=True):
            ax.plot(times, line, color=colour, **style)
        ax.axhline(0, color="black", linewidth=0.6, zorder=1)
        if stop:
            ax.axvline(stop, **_STOP)
        ax.margins(y=0.06)
        named = self.lines[:, self.named]
        size_axis(ax, np.abs(named).max(axis=0) if truth is None else np.abs(truth[self.on[self.named]]))
        ax.autoscale_view(scalex=False)
        label_ends(ax, self.names, named[-1], [colours[k] for k in self.named])

    def _draw_others(self, ax: Axes) -> None:
        """One artist for all of them."""
        from matplotlib.collections import LineCollection

        kept = thinned(len(self.reading.times), _MOST_STEPS)
        times, off = self.reading.times[kept], self.off[kept]
        if self.reading.stepwise:
            times, off = np.repeat(times, 2)[1:], np.repeat(off, 2, axis=0)[:-1]
        lines = [np.column_stack([times, line]) for line in off.T]
        if lines:
            ax.add_collection(LineCollection(lines, rasterized=True, zorder=1.5, **_OTHERS))

    def keys(self, truth: NDArray[Any] | None, stop: str) -> list[Any]:
        from matplotlib.lines import Line2D

        keys = []
        if len(self.on):
            count = f"{self.size}" if self.size == len(self.on) else f"largest {len(self.on)} of {self.size}"
            keys.append(Line2D([], [], color=shades(3)[1], linewidth=1.6, label=f"support ({count})"))
        if self.moving:
            drawn = self.off.shape[1]
            count = f"{self.moving}" if self.moving == drawn else f"largest {drawn} of {self.moving}"
            keys.append(Line2D([], [], **_OTHERS, label=f"others ({count})"))
        if truth is not None:
            keys.append(Line2D([], [], **TRUTH, label="truth"))
        if stop:
            keys.append(Line2D([], [], **_STOP, label=stop))
        return keys
