"""Paper B over many draws: the kernel regime, compared with ridge regression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hadaflow._types import Vector
from hadaflow.experiments import Check, Claim
from hadaflow.experiments.catalogue._b_drawing import legend_below, panels
from hadaflow.experiments.catalogue._b_training import CODE, Data, measure
from hadaflow.experiments.catalogue._looks import BLACK
from hadaflow.experiments.catalogue.b_errors import Errors, draw_band, median_error
from hadaflow.plotting.palette import ORANGE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class KernelRegime(Errors):
    """From a start that is large (product scale 1000), nothing is sparse: 500 x 100, dense truth, noise 25, 30 draws.

    The path then is that of a linear model: it comes down to the level of ridge regression with cross-validated penalty
    (5 folds, 1000 penalties) and drifts on to least squares. Drawn: median and quartiles of log2 of the squared error,
    of the path and of both. The quick size has 8 draws and follows the flow.
    """

    name: ClassVar[str] = "kernel-regime"
    title: ClassVar[str] = "From a large start the path is that of ridge regression"

    rows: int = 500
    columns: int = 100
    noise: float = 25.0
    product_scale: float = 1000.0
    step_size: float = 1e-7
    iterations: tuple[int, ...] = (5000, 300, 100)
    truth_seed: int = 42
    folds: int = 5
    penalties: int = 1000

    @classmethod
    def quick(cls) -> KernelRegime:
        return cls(repeats=8, dynamics="flow", penalties=200)

    def _data(self, repeat: int) -> Data:
        truth = np.random.RandomState(self.truth_seed).standard_normal(self.columns)
        return measure(self.spacing * repeat, self.rows, truth, self.noise, sparsity=0)

    def _references(self, data: Data) -> dict[str, float]:
        A, y = np.asarray(data.problem.A), data.problem.y.astype(np.float64)
        fits = {
            "least squares": np.linalg.lstsq(A, y, rcond=None)[0],
            "ridge": ridge(A, y, np.geomspace(1e-3, 1e3, self.penalties), folds=self.folds, seed=self.truth_seed),
        }
        return {name: float(np.log2(np.sum((fit - data.truth) ** 2))) for name, fit in fits.items()}

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        bands = {depth: self._band(records, depth) for depth in self.depths}
        of_ridge, of_fit = self._values(records, "ridge"), self._values(records, "least squares")
        ridge_level, fit_level = float(np.median(of_ridge)), float(np.median(of_fit))
        claims = [
            Claim(
                "From a large start the path passes a point as good as ridge regression with the best penalty.",
                "from paper B's figures, as its code draws them",
                [
                    Check.near(
                        f"depth {depth:g}: smallest median along the path, log2",
                        predicted=ridge_level,
                        measured=band.median.min(),
                        tolerance=median_error(of_ridge),
                    )
                    for depth, band in bands.items()
                ],
                note="Tolerance: two standard deviations of the median of ridge.",
            ),
            Claim(
                "Then it overfits, and ends at least squares.",
                'proved: docs/mathematics.md, "The limit" (the only least-squares point is that of least squares)',
                [
                    Check.near(
                        f"depth {depth:g}: median at the end, log2",
                        predicted=fit_level,
                        measured=band.median[-1],
                        tolerance=0.06,
                    )
                    for depth, band in bands.items()
                ],
                note="The run ends before the limit: a twentieth of a bit was left in the reference numbers.",
            ),
        ]
        if self._published:
            expected = {"ridge": 5.70, "least squares": 7.26}
            checks = [
                Check.near(f"{name}: median", predicted=level, measured=np.median(v), tolerance=1.414 * median_error(v))
                for (name, level), v in zip(expected.items(), (of_ridge, of_fit), strict=True)
            ]
            for (depth, band), best in zip(bands.items(), (5.665, 5.666, 5.685), strict=True):
                i = band.best
                sampling = 2 * 1.253 * (band.high[i] - band.low[i]) / 1.349 / math.sqrt(self.repeats) * math.sqrt(2)
                checks.append(
                    Check.near(
                        f"depth {depth:g}: smallest median", predicted=best, measured=band.median[i], tolerance=sampling
                    )
                )
            claims.append(
                Claim(
                    "The published settings: ridge 5.70, least squares 7.26, paths 5.665, 5.666 and 5.685 at best.",
                    CODE,
                    checks,
                    note="Two standard deviations of the difference of two medians of 30.",
                )
            )
        return claims

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = panels(figure, self.depths)
        looks = {"least squares": (ORANGE, (0, (5, 2))), "ridge": (BLACK, (0, (1, 1.5)))}
        for depth, ax in axes.items():
            draw_band(ax, self._band(records, depth))
            for name, (colour, line) in looks.items():
                low, median, high = np.quantile(self._values(records, name), [0.25, 0.5, 0.75])
                ax.axhspan(low, high, color=colour, alpha=0.15, linewidth=0)
                ax.axhline(median, color=colour, linestyle=line, linewidth=1.6, label=f"{name} (band: quartiles)")
            ax.set_ylim(5.2, 8)
            ax.set_title(f"depth {depth:g}", loc="left")
        legend_below(figure, axes.values(), columns=2)


def ridge(A: Vector, y: Vector, penalties: Vector, *, folds: int, seed: int) -> Vector:
    """Ridge regression ``min ||A x - y||^2 / m + penalty ||x||^2`` with the penalty chosen by cross-validation."""
    order = np.random.default_rng(seed).permutation(len(y))
    losses = np.zeros(len(penalties))
    for held_out in np.array_split(order, folds):
        kept = np.setdiff1d(order, held_out)
        fits = _ridge_path(A[kept], y[kept], penalties)
        losses += np.sum((A[held_out] @ fits - y[held_out, None]) ** 2, axis=0)
    return _ridge_path(A, y, penalties[[losses.argmin()]])[:, 0]


def _ridge_path(A: Vector, y: Vector, penalties: Vector) -> Vector:
    """Solutions for all penalties, one per column, from one decomposition."""
    u, s, vt = np.linalg.svd(A, full_matrices=False)
    return np.asarray(vt.T @ ((s * (u.T @ y))[:, None] / (s[:, None] ** 2 + len(y) * penalties)))
