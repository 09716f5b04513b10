"""One dot an estimator and cell: error over the oracle's on a logarithmic axis, a panel a size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dots
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

# Hue and shape by estimator; those of hadaflow are the only dark ones.
LOOKS = {
    "hadaflow": ("#111111", "D"),
    "hadaflow CV": ("#111111", "d"),
    "LassoCV": ("#0072B2", "o"),
    "OMP CV": ("#D55E00", "^"),
    "relaxed lasso": ("#56B4E9", "s"),
    "adaptive lasso": ("#009E73", "v"),
    "MCP CV": ("#CC79A7", "P"),
    "abess": ("#E69F00", "X"),
    "abess to 50": ("#E69F00", "p"),
    "abess CV": ("#F0E442", "X"),
}


def draw(sizes: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Draw the picture of a run."""
    most = max(len(rows) for rows in sizes.values())
    figure = Figure(figsize=(5.6 * len(sizes) + 1, 0.19 * most + 1.7), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False)[0]
    for axes, (size, rows) in zip(panels, sizes.items(), strict=True):
        _panel(axes, size.replace("x", " × "), rows)
    names = dict.fromkeys(name for rows in sizes.values() for row in rows for name in row.records)
    dots.finish(figure, path, names, LOOKS, dpi=110)


def _panel(axes: Any, title: str, rows: Sequence[Any]) -> None:
    dots.panel(axes, [_label(row.labels) for row in rows], title, size=7)
    for height, row in enumerate(rows):
        if height and row.labels[0] != rows[height - 1].labels[0]:
            axes.axhline(height - 0.5, color="#999999", linewidth=0.8, zorder=0)
        for name in row.records:
            dots.dot(axes, row.mean(name), height, name, LOOKS, size=5)
    axes.axvline(1, color="#555555", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([1, 2, 3, 5, 10, 20])
    axes.set_xlabel("error / error of the oracle (log scale)")


def _label(labels: Sequence[str]) -> str:
    design, k, sigma = labels
    return f"{design}, k = {k}, σ = {sigma}"
