"""One dot a solver and problem: time on a logarithmic axis, a panel a size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dots
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
    more = [
        Line2D([], [], color="#555555", marker="o", fillstyle="none", linestyle="", label="missed the target"),
        Line2D([], [], color="#555555", linestyle=":", label=f"limit, {header['limit']:g} s"),
    ]
    dots.finish(figure, path, header["entrants"], LOOKS, more)


def _panel(axis: Any, name: str, rows: list[list[dict[str, Any]]], limit: float) -> None:
    dots.panel(axis, [row[0]["title"] for row in rows], name)
    for height, row in enumerate(rows):
        for record in row:
            seconds = limit if record["status"] == "over limit" else record["seconds"]
            if seconds is not None:
                dots.dot(axis, seconds, height, record["entrant"], LOOKS, hollow=not record["target_met"])
    axis.axvline(limit, color="#555555", linestyle=":", linewidth=1)
    axis.set_xscale("log")
