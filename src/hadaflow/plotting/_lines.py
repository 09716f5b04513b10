"""How lines over time are drawn in all pictures of paths: the clock, colours, names at the ends, the key."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import isotonic_regression

from hadaflow._types import Vector
from hadaflow.plotting._drawing import plain_numbers
from hadaflow.plotting.palette import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


MOST_LINES = 300  # of one kind, one by one
SMALL = 9.0  # points
FINE_DASHES = (0, (6, 3))
TRUTH: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": FINE_DASHES}

_WIDE = 100.0  # a larger ratio of sizes is drawn on a logarithmic axis
_DECADES = 30.0  # a smaller ratio of times is labelled in plain numbers
_LONGEST_NAME = 20  # characters


def time_axis(ax: Axes, first: float, last: float) -> None:
    """Logarithmic time from first to last, or around the only snapshot there is."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xscale("log")
    ax.set_xlim(*((first, last) if first < last else (first / 2, 2 * last)))
    plain_decades(ax.xaxis, *ax.get_xlim())


def plain_decades(axis: Axis, first: float, last: float) -> None:
    """On a logarithmic axis: powers of ten over many decades; over fewer, plain numbers, as many as fit."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    if last > _DECADES * first:
        return
    few = last <= 10 * first
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if few else LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:.6g}")
    axis.set_minor_formatter(NullFormatter())


def size_axis(ax: Axes, sizes: Vector) -> None:
    """The axis of x: linear, or logarithmic above the smallest of these sizes if they lie far apart."""
    sizes = sizes[sizes > 0]
    if len(sizes) > 1 and sizes.max() > _WIDE * sizes.min():
        ax.set_yscale("symlog", linthresh=float(sizes.min()))
        ax.yaxis.get_major_locator().set_params(numticks=9)  # type: ignore[call-arg]
    else:
        plain_numbers(ax)


def shades(count: int) -> list[Any]:
    """Colours from dark to light, as far as they stand out from white."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.78, count) if count != 1 else [0.25]))


def marks(times: Vector) -> dict[str, Any]:
    """Dots where there are too few snapshots for lines to tell them."""
    return {"marker": "o", "markersize": 3.5} if len(times) <= 8 else {}


def coordinate_name(coordinate: int, names: Sequence[str] | None = None) -> str:
    """How a coordinate is called: by the caller's name, shortened and free of mathematics, or by its number."""
    if names is None:
        return f"$x_{{{coordinate}}}$"
    return textwrap.shorten(names[coordinate], _LONGEST_NAME, placeholder="…").replace("$", r"\$")


def label_ends(ax: Axes, names: Sequence[str], ends: Vector, colours: Sequence[Any]) -> None:
    """A name to the right of each line, moved up or down as far as their heights ask for; ``ends`` ascend."""
    if len(names) == 0:
        return
    ax.autoscale_view()
    places = np.column_stack([np.zeros(len(ends)), ends])
    heights = ax.transAxes.inverted().transform(ax.transData.transform(places))[:, 1]
    points = ax.get_window_extent().height / ax.figure.dpi * 72
    spread = np.arange(len(heights)) * min(1.35 * SMALL / points, 1 / max(1, len(heights) - 1))
    spots = isotonic_regression(heights - spread).x.clip(0, 1 - spread[-1]) + spread
    for name, value, spot, colour in zip(names, ends, spots, colours, strict=True):
        ax.annotate(
            name,
            xy=(1.0, value),
            xycoords=ax.get_yaxis_transform(),
            xytext=(1.03, spot),
            textcoords=ax.transAxes,
            color=colour,
            fontsize=SMALL + 1,
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


def key_above(ax: Axes, title: str, keys: Sequence[Any]) -> None:
    """What the picture shows and, below that, what its lines are: above the axes, where they cover nothing."""
    columns = _columns_of_key(ax, [str(key.get_label()) for key in keys])
    rows = -(-len(keys) // columns)
    ax.set_title(title, loc="left", fontsize="medium", pad=8 + 16 * rows)
    if not keys:
        return
    ax.legend(
        handles=list(keys),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        fontsize=SMALL,
        handlelength=2.2,
        columnspacing=1.6,
    )


def _columns_of_key(ax: Axes, labels: Sequence[str]) -> int:
    """As many as fit, a little to the right of the axes included: a guess, since nothing has been laid out yet."""
    room = 1.1 * ax.get_window_extent().width / ax.figure.dpi
    for columns in range(len(labels), 1, -1):
        longest = [max(map(len, column)) for column in np.array_split(np.array(labels, dtype=object), columns)]
        if SMALL / 72 * (0.53 * sum(longest) + 4.4 * columns) <= room:
            return columns
    return 1


def say_nothing(axes: Sequence[Axes]) -> None:
    """For a path on which nothing happens."""
    for ax in axes:
        ax.set_axis_off()
    axes[0].text(0.5, 0.5, "nothing has moved", transform=axes[0].transAxes, color=GREY, ha="center", va="center")
