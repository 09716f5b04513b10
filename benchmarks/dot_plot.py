"""One dot a solver and problem: time on a logarithmic axis, a panel a size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Hue by package, shape by variant; hadaflow is the only dark dot.
LOOKS = {
    "hadaflow": ("#111111", "D"),
    "lars_path": ("#0072B2", "o"),
    "spgl1": ("#009E73", "s"),
    "highs simplex": ("#D55E00", "^"),
    "highs simplex, no presolve": ("#D55E00", "v"),
    "highs ipm": ("#E69F00", "<"),
    "highs ipm, no presolve": ("#E69F00", ">"),
    "cvxpy, clarabel": ("#56B4E9", "p"),
    "celer": ("#CC79A7", "P"),
    "celer + refit": ("#CC79A7", "X"),
}
OTHER = ("#777777", ".")


def draw(header: dict[str, Any], grouped: list[list[dict[str, Any]]], path: Path) -> None:
    """Draw the picture of a run."""
    panels: dict[str, list[list[dict[str, Any]]]] = {}
    for row in sorted(grouped, key=lambda row: (row[0]["m"] * row[0]["n"], row[0]["hard"])):
        first = row[0]
        name = f"{first['m']} × {first['n']}" + (f", s = {first['s']} (hard)" if first["hard"] else "")
        panels.setdefault(name, []).append(row)
    heights = [len(rows) + 1.6 for rows in panels.values()]
    figure = Figure(figsize=(8.5, 0.27 * sum(heights) + 1.4), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, rows) in zip(axes, panels.items(), strict=True):
        _panel(axis, name, rows, header["limit"])
    axes[-1].set_xlabel("seconds (log scale)")
    handles = [
        Line2D([], [], color=LOOKS.get(name, OTHER)[0], marker=LOOKS.get(name, OTHER)[1], linestyle="", label=name)
        for name in header["entrants"]
    ]
    hollow = Line2D([], [], color="#555555", marker="o", fillstyle="none", linestyle="", label="missed the target")
    over = Line2D([], [], color="#555555", linestyle=":", label=f"limit, {header['limit']:g} s")
    figure.legend(handles=[*handles, hollow, over], loc="outside upper center", ncols=4, frameon=False, fontsize=8.5)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _panel(axis: Any, name: str, rows: list[list[dict[str, Any]]], limit: float) -> None:
    for height, row in enumerate(rows):
        axis.axhline(height, color="#e4e4e4", linewidth=0.8, zorder=0)
        for record in row:
            seconds = limit if record["status"] == "over limit" else record["seconds"]
            if seconds is None:
                continue
            colour, marker = LOOKS.get(record["entrant"], OTHER)
            axis.plot(
                seconds,
                height,
                color=colour,
                marker=marker,
                markersize=6,
                fillstyle="full" if record["target_met"] else "none",
                zorder=4 if record["entrant"] == "hadaflow" else 3,
                clip_on=False,
            )
    axis.axvline(limit, color="#555555", linestyle=":", linewidth=1)
    axis.set_xscale("log")
    axis.set_yticks(range(len(rows)), [row[0]["title"] for row in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_title(name, loc="left", fontsize=9.5, fontweight="bold")
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
