"""What the examples share: colours, wavelets, how errors are measured, their options and where their figures go."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe-Ito colours: told apart by colour-blind eyes, and by their lightness in grey.
INK, PALE, BLUE, VERMILION = "#222222", "#c4c4c4", "#0072b2", "#d55e00"
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
}


def best_terms(coefficients: NDArray[np.float64], terms: int) -> NDArray[np.float64]:
    """The coefficients with all but the largest set to zero."""
    kept = np.argsort(np.abs(coefficients))[-terms:]
    sparse = np.zeros_like(coefficients)
    sparse[kept] = coefficients[kept]
    return sparse


def relative_error(x: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Relative l2 error; in an orthogonal basis, coefficients and signals have the same one."""
    return float(np.linalg.norm(x - truth) / np.linalg.norm(truth))


def decibels(error: float) -> float:
    """Signal-to-noise ratio of a relative l2 error."""
    return float(-20 * np.log10(max(error, np.finfo(float).tiny)))


def orthogonal_wavelet(name: str) -> str:
    """The name, where it is that of an orthogonal wavelet."""
    import pywt

    try:
        orthogonal = pywt.Wavelet(name).orthogonal
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not orthogonal:
        raise argparse.ArgumentTypeError(f"{name!r} is not orthogonal; try haar, db4, sym4 or coif2")
    return name


def command(description: str, seed_of: str | None = None) -> argparse.ArgumentParser:
    """A parser that knows ``--output`` and, for what is drawn at random, ``--seed``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for the figure (default: demo)")
    if seed_of:
        parser.add_argument("--seed", type=int, default=0, help=f"of {seed_of} (default: 0)")
    return parser


def options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None, **ranges: Any) -> argparse.Namespace:
    """What was asked for; options out of their range, given as ``name=(least, most)``, are refused."""
    chosen = parser.parse_args(arguments)
    for name, (least, most) in ranges.items():
        value = getattr(chosen, name)
        if not least <= value <= most:
            parser.error(f"--{name.replace('_', '-')} must be from {least:g} to {most:g}, got {value:g}")
    if "seed" in chosen and chosen.seed < 0:
        parser.error(f"--seed must not be negative, got {chosen.seed}")
    return chosen


def save(figure: Figure, folder: Path, name: str, *, dpi: int, kinds: Iterable[str] = ("png",)) -> None:
    """Write the figure into the folder, which is made, and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        path = folder / f"{name}.{kind}"
        figure.savefig(path, dpi=dpi)
        print(f"wrote {path}")
