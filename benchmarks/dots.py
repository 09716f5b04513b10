"""What the figures of benchmarks share: one row a problem, one dot an entrant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Looks = Mapping[str, tuple[str, str]]
OTHER = ("#777777", ".")


def panel(axes: Any, labels: list[str], title: str, size: float = 8) -> None:
    """Thin lines for the rows, named on the left from the top down."""
    for height in range(len(labels)):
        axes.axhline(height, color="#e4e4e4", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold")
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def dot(axes: Any, at: float, height: int, name: str, looks: Looks, *, hollow: bool = False, size: float = 6) -> None:
    """The dot of an entrant; hadaflow's lie above the others."""
    colour, marker = looks.get(name, OTHER)
    fill, order = "none" if hollow else "full", 4 if name.startswith("hadaflow") else 3
    style = {"color": colour, "marker": marker, "markersize": size, "fillstyle": fill, "zorder": order}
    axes.plot(at, height, clip_on=False, **style)


def finish(
    figure: Figure, path: Path, names: Iterable[str], looks: Looks, more: Iterable[Line2D] = (), dpi=130
) -> None:
    """The legend above, and the file."""
    dots = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=name)
        for name, (colour, marker) in ((name, looks.get(name, OTHER)) for name in names)
    ]
    figure.legend(handles=[*dots, *more], loc="outside upper center", ncols=4, frameon=False, fontsize=8.5)
    figure.savefig(path, dpi=dpi, metadata={"Software": None})
