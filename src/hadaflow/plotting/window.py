"""Figures of when to stop: the error against a known truth over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hadaflow._span import fitted
from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.paths import FlowPath, Path, Reading, SaddlePath, Trajectory
from hadaflow.plotting._drawing import NUMBERS, checked_ax, checked_truth
from hadaflow.plotting._lines import key_above, marks, plain_decades, say_nothing, time_axis
from hadaflow.plotting.palette import BLUE, ORANGE, SHADE
from hadaflow.problems import Problem, require_real_vector

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_NEAR = 1.5  # times the least error: what counts as the window
_ROUNDING = 1e-12  # relative errors below it tell nothing
_ITERATE: dict[str, Any] = {"color": BLUE, "linewidth": 1.6}
_AVERAGE: dict[str, Any] = {"color": ORANGE, "linewidth": 1.6, "linestyle": (0, (4, 2))}
_ORACLE: dict[str, Any] = {"color": "black", "linewidth": 1.0, "linestyle": (0, (6, 2, 1, 2))}


def plot_window(path: SaddlePath | FlowPath | Trajectory, truth: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw the error ``||x - truth||_2`` of iterate and running average over time, and the window in which to stop.

    Shaded are the times at which the error of the iterate is at most 1.5 times its least one. A horizontal line is the
    error of least squares on the true support, which nobody knows beforehand (left out for another loss).

    Parameters
    ----------
    path : SaddlePath, FlowPath or Trajectory
        What :func:`hadaflow.saddles`, :func:`hadaflow.flow` or :func:`hadaflow.descend` returned. The last needs
        ``record=hadaflow.Recorder(x=True)``; its average is drawn if that was kept as well.
    truth : array_like of shape (n,)
        The vector that was to be recovered.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn; save it with ``ax.figure.savefig("window.png")``.

    Raises
    ------
    ImportError
        If matplotlib is missing; the message names the extra that brings it.
    TypeError, ValueError
        If ``path`` is something else or kept no x, ``truth`` is not a real vector of length n, or ``ax`` is no Axes.

    Notes
    -----
    Errors are in units of x. On a saddle path the window is exact; elsewhere it is known to the spacing of the times
    that are looked at, some hundred for a flow. Errors below 1e-12 of the truth are rounding and not drawn. Cost: that
    of both read-outs (see :func:`plot_path`), and ``2 m k^2`` operations for a truth of k non-zeros.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> from hadaflow.plotting import blank_figure, plot_window
    >>> path = hf.saddles(hf.Problem(np.eye(2), np.array([2.0, 0.1])))
    >>> ax = plot_window(path, [2.0, 0.0], ax=blank_figure(1).axes[0])
    >>> [text.get_text() for text in ax.get_legend().get_texts()][-1]
    'within 1.5 × the least, 0.5 to 10'
    """
    if not isinstance(path, Path):
        raise TypeError(
            f"path must be what hadaflow.saddles(), hadaflow.flow() or hadaflow.descend() returned, "
            f"got {type(path).__name__}"
        )
    require_real_vector(path.problem, "plot_window", NUMBERS)
    known = checked_truth(truth, path.problem.shape[1])
    if known is None:
        raise TypeError("truth must be a vector of real numbers, got None")
    known = known.astype(np.float64)
    size = norm(known)
    iterate = _Errors.of(path.reading("iterate"), known)
    average = _Errors.of(path.reading("average"), known) if "average" in path.read_outs else None
    ax = checked_ax(ax)
    if len(iterate.times) == 0:
        say_nothing([ax])
        key_above(ax, path.describe(), [])
        return ax
    time_axis(ax, *iterate.times[[0, -1]])
    ax.set_xlabel(path.clock)
    ax.set_ylabel(r"$\|x - \mathrm{truth}\|_2$")
    oracle = _oracle_error(path.problem, known) if path.problem.squared else None
    keys = _draw(ax, iterate, average, oracle, size)
    key_above(ax, path.describe(), keys)
    return ax


@dataclass(frozen=True, eq=False)
class _Errors:
    """The error of a read-out over time."""

    times: Vector  # (k,)
    values: Vector  # (k,)
    stepwise: bool

    @classmethod
    def of(cls, reading: Reading, truth: Vector) -> _Errors:
        values = np.zeros(len(reading.times))
        missed = norm(np.delete(truth, reading.columns))
        for part, block in reading.blocks():
            values[part] = np.hypot(np.linalg.norm(block - truth[reading.columns], axis=1), missed)
        return cls(reading.times, values, reading.stepwise)

    @property
    def least(self) -> float:
        return float(self.values.min())

    def window(self, slack: float) -> list[tuple[float, float]]:
        """Start and end of each stretch of times at which the error is near its least."""
        near = self.values <= _NEAR * self.least + slack
        if self.stepwise:
            near[-1] = False  # the last time only says where the picture ends
        edges = np.flatnonzero(np.diff(np.concatenate([[False], near, [False]]).astype(np.int8)))
        starts, ends = edges[::2], edges[1::2] - (0 if self.stepwise else 1)
        return [(float(self.times[i]), float(self.times[j])) for i, j in zip(starts, ends, strict=True)]


def _draw(ax: Axes, iterate: _Errors, average: _Errors | None, oracle: float | None, size: float) -> list[Any]:
    """Lines and window; returns the entries of the key."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    window = iterate.window(_ROUNDING * size)
    ax.broken_barh(
        [(start, end - start) for start, end in window],
        (0, 1),
        transform=ax.get_xaxis_transform(),
        color=SHADE,
        linewidth=0,
        zorder=0,
    )
    keys: list[Any] = []
    shown: list[float] = []
    for errors, style, name in ((iterate, _ITERATE, "iterate"), (average, _AVERAGE, "running average")):
        if errors is None:
            continue
        steps = {"drawstyle": "steps-post"} if errors.stepwise else marks(errors.times)
        ax.plot(errors.times, errors.values, **style, **steps)
        keys.append(Line2D([], [], **style, label=f"{name}, least {errors.least:.3g}"))
        shown.extend(errors.values)
    if oracle is not None:
        exact = oracle <= _ROUNDING * size
        keys.append(
            Line2D([], [], **_ORACLE, label=f"least squares on the support, {'exact' if exact else f'{oracle:.3g}'}")
        )
        if not exact:
            ax.axhline(oracle, **_ORACLE)
            shown.append(oracle)
    keys.append(Patch(color=SHADE, label=f"within {_NEAR:g} × the least, {_in_words(window, iterate.times[-1])}"))
    _error_axis(ax, np.array(shown), size)
    return keys


def _in_words(window: list[tuple[float, float]], last: float) -> str:
    first, end = window[0][0], window[-1][1]
    span = f"{first:.3g} to {end:.3g}" if end < last else f"from {first:.3g} on"
    return span + (f" in {len(window)} parts" if len(window) > 1 else "")


def _error_axis(ax: Axes, values: Vector, size: float) -> None:
    """Logarithmic, around all that is not rounding."""
    telling = values[values > _ROUNDING * (size or values.max())]
    low, high = (float(telling.min()), float(telling.max())) if len(telling) else (0.1, 1.0)
    room = max((high / low) ** 0.06, 1.1)
    ax.set_yscale("log", nonpositive="clip")
    ax.set_ylim(low / room, high * room)
    plain_decades(ax.yaxis, *ax.get_ylim())


def _oracle_error(problem: Problem, truth: Vector) -> float:
    """Of least squares on the true support."""
    support = np.flatnonzero(truth)
    if len(support) == 0:
        return 0.0
    return norm(fitted(problem.operator.columns(support), problem.y.astype(np.float64)) - truth[support])
