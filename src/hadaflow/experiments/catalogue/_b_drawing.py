"""How the experiments on paper B are drawn: one panel per depth, all alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hadaflow.experiments.catalogue._looks import BLACK
from hadaflow.plotting.palette import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADE = "#dfe9f3"

ENTRY: dict[str, Any] = {"color": BLUE, "linewidth": 1.4}
OTHERS: dict[str, Any] = {"color": ORANGE, "linewidth": 1.6, "linestyle": (0, (5, 2))}
TARGET: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (1, 2))}
LEVEL: dict[str, Any] = {"color": BLACK, "linewidth": 1.2, "linestyle": (0, (6, 2, 1, 2))}


def panels(figure: Figure, depths: Iterable[float]) -> Mapping[float, Axes]:
    """One panel per depth, one above the other, since each has a clock of its own."""
    depths = tuple(depths)
    axes = figure.subplots(len(depths), squeeze=False)[:, 0]
    for ax in axes:
        ax.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes[-1].set_xlabel("gradient steps")
    return dict(zip(depths, axes, strict=True))


def draw_coordinates(ax: Axes, curves: pd.DataFrame) -> None:
    """Entries of the support, and the largest of the others."""
    label = "entries of the support"
    for name, one in curves.groupby("quantity"):
        if str(name).startswith("entry"):
            ax.plot(one["step"], one["value"], label=label, **ENTRY)
            label = ""
    others = curves[curves["quantity"] == "largest other"]
    ax.plot(others["step"], others["value"], label="largest of the others", **OTHERS)
    ax.set_xlim(0, curves["step"].max())
    ax.set_ylabel("coordinates of x")


def draw_targets(ax: Axes, targets: Iterable[float]) -> None:
    """What the entries should come to."""
    label = "truth"
    for target in sorted(set(targets)):
        ax.axhline(target, label=label, **TARGET)
        label = ""


def draw_window(
    ax: Axes,
    start: float,
    stop: float,
    predicted: tuple[float, float],
    *,
    label: str = "its ends for one coordinate alone",
) -> None:
    """The measured window shaded between its lines, the predicted one as triangles on the upper edge."""
    low, high = ax.get_xlim()
    last = stop if math.isfinite(stop) else high
    if math.isfinite(start):
        ax.axvspan(start, last, color=SHADE, zorder=0, label="measured window")
        for edge in (start, last):
            ax.axvline(edge, color=BLACK, linewidth=0.9, zorder=1)
    inside = [edge for edge in predicted if low <= edge <= high]
    ax.plot(
        inside,
        [1.0] * len(inside),
        marker="v",
        color=BLACK,
        markersize=8,
        linestyle="none",
        clip_on=False,
        transform=ax.get_xaxis_transform(),
        label=label,
    )


def legend_below(figure: Figure, axes: Iterable[Axes], *, columns: int) -> None:
    """One legend for all panels, where it covers nothing."""
    handles: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9.5,
        handlelength=2.6,
    )
