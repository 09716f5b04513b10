"""Figures of phase diagrams: fractions of successes as colours, the curve where half succeed, and the theory's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from hadaflow._types import Vector
from hadaflow.plotting._drawing import checked_ax, require_matplotlib
from hadaflow.plotting._lines import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


_MAP = "cividis"  # perceptually uniform, the same to colour-blind eyes
_MOST_IN_A_ROW = 3
_PANEL_INCHES, _ALONE_INCHES = 2.6, 4.8
_DARK = "#0b1a33"
_THEORY: dict[str, Any] = {"color": "white", "linewidth": 2.2}
_HALF: dict[str, Any] = {
    "color": "white",
    "marker": "o",
    "markersize": 5,
    "markerfacecolor": "#e08214",
    "markeredgecolor": "white",
    "markeredgewidth": 0.8,
    "linestyle": "none",
}


@runtime_checkable
class Diagram(Protocol):
    """What is drawn: measured fractions of successes, one panel for each of the other settings."""

    @property
    def panels(self) -> Sequence[Any]: ...


def plot_phase_diagram(diagram: Any, *, ax: Axes | Sequence[Axes] | None = None) -> Figure | SubFigure:
    """Draw the fraction of successes over m / n and s / m, the curve where it is one half, and the theoretical one.

    Parameters
    ----------
    diagram : PhaseDiagram or Panel
        What :func:`hadaflow.experiments.phase_diagram` returned, or one of its ``panels``.
    ax : matplotlib Axes or sequence of these, optional
        Where to draw, one per panel; default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes; save it with ``figure.savefig("phase.png")``.

    Raises
    ------
    ImportError
        If matplotlib is missing; the message names the extra that brings it.
    TypeError, ValueError
        If ``diagram`` is something else, or there is not one Axes per panel.

    Notes
    -----
    Cells are drawn around the values asked for, the measured curve at m / n as it was after rounding. Bars are a
    standard error of the fit to each side, and seen where they are longer than the marks.

    Examples
    --------
    >>> from hadaflow.experiments import phase_diagram
    >>> from hadaflow.plotting import blank_figure, plot_phase_diagram
    >>> diagram = phase_diagram(n=30, m_over_n=[0.3, 0.6], s_over_m=[0.1, 0.5, 0.9], repeats=2, jobs=1)
    >>> figure = plot_phase_diagram(diagram, ax=blank_figure(1).axes[0])
    >>> figure.axes[0].get_xlabel()
    'measurements, m / n'
    """
    if not isinstance(diagram, Diagram) or not diagram.panels:
        raise TypeError(
            f"diagram must be what hadaflow.experiments.phase_diagram() returned, got {type(diagram).__name__}"
        )
    panels = diagram.panels
    axes = _checked(ax, len(panels))
    images = [_draw(panel, one) for panel, one in zip(panels, axes, strict=True)]
    _key_and_frame(axes)
    figure = axes[0].figure
    bar = figure.colorbar(images[0], ax=axes, pad=0.015, aspect=30, ticks=[0, 0.25, 0.5, 0.75, 1], format="{x:g}")
    bar.set_label("share recovered")
    bar.outline.set_visible(False)
    return figure


def panel_axes(count: int, *, pyplot: bool) -> list[Axes]:
    """Axes for so many panels, up to three in a row, in a new figure, which pyplot shows, or knows nothing of."""
    require_matplotlib()
    columns = min(count, _MOST_IN_A_ROW)
    rows = -(-count // columns)
    inches = _ALONE_INCHES if count == 1 else _PANEL_INCHES
    options: dict[str, Any] = {"figsize": (inches * columns + 0.9, (inches + 0.45) * rows), "layout": "constrained"}
    if pyplot:
        import matplotlib.pyplot as plt

        figure: Figure = plt.figure(**options)
    else:
        from matplotlib.figure import Figure as Bare

        figure = Bare(**options)
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    for spare in axes[count:]:
        spare.remove()
    for lowest in axes[max(0, count - columns) : count]:
        lowest.tick_params(labelbottom=True)
    return axes[:count]


def _checked(ax: Axes | Sequence[Axes] | None, count: int) -> list[Axes]:
    if ax is None:
        return panel_axes(count, pyplot=True)
    given = list(ax) if isinstance(ax, (Sequence, np.ndarray)) else [ax]
    if len(given) != count:
        raise ValueError(
            f"ax must be {count} matplotlib Axes, one per panel, got {len(given)}; choose a panel with "
            f"diagram.panel(...), or make them with plt.subplots(1, {count})"
        )
    return [checked_ax(one) for one in given]


def _draw(panel: Any, ax: Axes) -> Any:
    """Colours and curves of one panel; returns what the colour bar tells of."""
    from matplotlib.patheffects import Normal, Stroke

    shares, half, theory = panel.success(), panel.half().dropna(subset="s_over_m"), panel.transition
    across, up = _edges(shares.columns.to_numpy()), _edges(shares.index.to_numpy())
    image = ax.pcolormesh(
        across,
        up,
        np.ma.masked_invalid(shares.to_numpy()),
        cmap=_MAP,
        vmin=0,
        vmax=1,
        rasterized=True,
    )
    outline = [Stroke(linewidth=_THEORY["linewidth"] + 1.6, foreground=_DARK), Normal()]
    ax.plot(theory["m_over_n"], theory["s_over_m"], **_THEORY, path_effects=outline)
    ax.errorbar(half["m_over_n"], half["s_over_m"], half["error"], **_HALF)
    ax.set_title(panel.title, loc="left", fontsize="medium")
    ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]])
    return image


def _key_and_frame(axes: Sequence[Axes]) -> None:
    """What the curves are, in the first panel, where nothing is recovered; names of the axes at the outer ones."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    keys = [
        Line2D([], [], **_HALF, label="half of the trials succeed"),
        Line2D([], [], **_THEORY, label="theory, vanishing start"),
    ]
    axes[0].legend(
        handles=keys,
        loc="upper left",
        fontsize=SMALL,
        facecolor=_DARK,
        edgecolor="none",
        framealpha=0.75,
        labelcolor="white",
        handlelength=1.8,
    )
    for ax in axes:
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        if _labelled(ax.xaxis):  # not where the panel below has the same
            ax.set_xlabel("measurements, m / n")
        if _labelled(ax.yaxis):
            ax.set_ylabel("non-zeros, s / m")


def _labelled(axis: Any) -> bool:
    """Whether its ticks show numbers; what the parameters of ticks are called differs between versions."""
    return bool(axis.get_major_ticks(1)[0].label1.get_visible())


def _edges(middles: Vector) -> Vector:
    """Borders half-way between neighbours; the outer ones as far from them as the inner ones, within [0, 1]."""
    inner = (middles[1:] + middles[:-1]) / 2
    if len(inner) == 0:
        return np.array([middles[0] / 2, min(1.0, 1.5 * middles[0])])
    return np.concatenate([[max(0.0, 2 * middles[0] - inner[0])], inner, [min(1.0, 2 * middles[-1] - inner[-1])]])
