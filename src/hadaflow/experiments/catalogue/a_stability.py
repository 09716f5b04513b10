"""Noise, and vectors that are not quite sparse: how the error grows, and what stopping early saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import hadaflow as hf
from hadaflow._types import Float, Vector
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._looks import TEAL, legend_above
from hadaflow.experiments.ensembles import gaussian
from hadaflow.plotting.palette import BLUE, GREY, ORANGE
from hadaflow.theory.l1_bounds import recovery_error_bound
from hadaflow.theory.null_space import null_space_constants

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOISE, _TAIL = "noise", "tail"
_LIMIT, _STOPPED, _DESCENT = "limit", "stopped", "descent"


@dataclass(frozen=True)
class Stability(Experiment):
    """Errors of the flow with noise of growing size, and on vectors whose sorted entries fall like a power.

    Sixty Gaussian measurements of 100 coordinates. With noise the flow's limit, which fits the noise as well, is
    compared with the saddle path and with gradient descent, both stopped when the residual is down to the noise.
    Without noise, entries of size i^(-p) for several p are recovered by the limit, and the error is compared with that
    of the best approximation by five entries. The bound needs the null-space constant of the five largest entries,
    which is computed for each matrix.
    """

    name: ClassVar[str] = "stability"
    paper: ClassVar[str] = "A"
    title: ClassVar[str] = "Noise and compressible vectors"

    rows: int = 60
    columns: int = 100
    sparsity: int = 5
    trials: int = 25
    seed: int = 0
    depth: float = 3.0
    product_scale: float = 1e-6
    noise: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
    powers: tuple[float, ...] = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)

    @classmethod
    def quick(cls) -> Stability:
        return cls(trials=5, noise=(1e-3, 1e-2, 1e-1), powers=(1.0, 1.5, 2.5))

    def tasks(self) -> list[dict[str, Any]]:
        return [{"trial": trial} for trial in range(self.trials)]

    def run(self, *, trial: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng([self.seed, trial])
        A = gaussian(rng, self.rows, self.columns)
        order = rng.permutation(self.columns)
        signs = rng.choice([-1.0, 1.0], self.columns)
        support = np.sort(order[: self.sparsity])
        rho = null_space_constants(A, support, signs[support]).rho_tilde.upper
        sparse = np.zeros(self.columns)
        sparse[support] = signs[support] * rng.uniform(0.5, 1.5, self.sparsity)
        direction = rng.standard_normal(self.rows)
        direction /= np.linalg.norm(direction)
        for level in self.noise:
            noise = level * float(np.linalg.norm(A @ sparse)) * direction
            for row in self._noisy(A, sparse, noise, rho):
                yield {"kind": _NOISE, "level": level, "rho": rho} | row
        for power in self.powers:
            x = np.empty(self.columns)
            x[order] = np.arange(1, self.columns + 1) ** -power
            yield {"kind": _TAIL, "level": power, "rho": rho} | self._compressible(A, signs * x, support, rho)

    def _noisy(self, A: Vector, x: Vector, noise: Vector, rho: float) -> Iterator[dict[str, Any]]:
        y, size = A @ x + noise, float(np.linalg.norm(noise))
        problem, model, a = hf.Problem(A, y), hf.HadamardPower(self.depth), self.product_scale ** (1 / self.depth)
        end = hf.limit(problem, model, init_scale=a).x
        explained = float(np.abs(hf.recover(A, noise).x).sum())  # the smallest l1 norm that explains the noise
        bound = self._bound(A, y, end, rho, noise=explained)
        descent = hf.descend(problem, model, init_scale=a, stop=hf.stopping.Discrepancy(size)).x
        answers = {_LIMIT: end, _STOPPED: hf.recover(A, y, noise_level=size).x, _DESCENT: descent}
        for way, found in answers.items():
            # The bound is about solutions of A x = y: stopped runs have none.
            yield {"way": way, "size": size, "bound": bound if way == _LIMIT else np.nan} | _errors(found, x)

    def _compressible(self, A: Vector, x: Vector, support: NDArray[np.intp], rho: float) -> dict[str, Any]:
        a = self.product_scale ** (1 / self.depth)
        end = hf.limit(hf.Problem(A, A @ x), hf.HadamardPower(self.depth), init_scale=a).x
        tail = float(np.abs(np.delete(x, support)).sum())
        bound = self._bound(A, A @ x, end, rho, tail=tail)
        return {"way": _LIMIT, "size": tail, "bound": bound} | _errors(end, x)

    def _bound(self, A: Vector, y: Vector, end: Float, rho: float, *, noise: float = 0.0, tail: float = 0.0) -> float:
        if rho >= 1:
            return np.inf
        excess = max(0.0, float(np.abs(end).sum() - np.abs(hf.recover(A, y).x).sum()))
        return recovery_error_bound(excess=excess, null_space_constant=rho, noise=noise, tail=tail)

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        noisy, smooth = records[records["kind"] == _NOISE], records[records["kind"] == _TAIL]
        return [self._bounded(noisy, smooth), self._proportional(noisy), self._stopped(noisy), self._tail(smooth)]

    def _bounded(self, noisy: pd.DataFrame, smooth: pd.DataFrame) -> Claim:
        ends = noisy[noisy["way"] == _LIMIT]
        return Claim(
            "The l1 error of the limit is at most [(1 + rho)(excess + 2 tail) + (3 + rho) noise] / (1 - rho) with the "
            "null-space constant rho of the largest entries and the smallest l1 norm that explains the noise.",
            source='proved: docs/mathematics.md, "How small the start has to be" (recovery)',
            checks=[
                Check.at_most("noise: largest error over its bound", measured=_worst(ends), bound=1),
                Check.at_most("compressible vectors: largest error over its bound", measured=_worst(smooth), bound=1),
                Check.at_least(
                    "share of matrices with rho below 1", measured=float((ends["rho"] < 1).mean()), bound=0.8
                ),
            ],
            note="Where rho is 1 or more the bound is infinite. It holds for all vectors with this support at once, "
            "and is wide for a single one.",
        )

    def _proportional(self, noisy: pd.DataFrame) -> Claim:
        checks = []
        for way in (_LIMIT, _STOPPED, _DESCENT):
            median = noisy[noisy["way"] == way].groupby("level")[["size", "l2"]].median()
            slope = np.log(median["l2"].iloc[-1] / median["l2"].iloc[0]) / np.log(median.index[-1] / median.index[0])
            checks.append(
                Check.near(f"{way}: slope of log error in log noise", predicted=1, measured=slope, tolerance=0.1)
            )
        return Claim(
            "With noise the error grows in proportion to it, whether the flow is stopped or not.",
            source="at most proportional, where rho is below 1: proved, as above; that paper A says so: open hint",
            checks=checks,
            note="Between the smallest and the largest noise. What the start adds, of the order of the product "
            "scale, is below the smallest noise.",
        )

    def _stopped(self, noisy: pd.DataFrame) -> Claim:
        table = noisy.pivot_table(index=["trial", "level"], columns="way", values="l2")
        checks = [
            Check.at_most(
                f"{label}: median error over that of the limit",
                measured=float((table[way] / table[_LIMIT]).median()),
                bound=0.8,
            )
            for way, label in ((_STOPPED, "saddle path"), (_DESCENT, "gradient descent"))
        ]
        return Claim(
            "Stopping when the residual is down to the noise saves a good part of the error.",
            source="checked numerically",
            checks=checks,
            note="In l2. A fifth is what counts as a good part.",
        )

    def _tail(self, smooth: pd.DataFrame) -> Claim:
        ratio = smooth["l1"] / smooth["size"]
        return Claim(
            "On compressible vectors the l1 error of the limit is about that of the best approximation by "
            f"{self.sparsity} entries.",
            source='proved up to a constant: docs/mathematics.md, "How small the start has to be" (recovery); size: '
            "checked numerically",
            checks=[
                Check.at_most("median error over that of the best five", measured=float(ratio.median()), bound=1),
                Check.at_most("largest", measured=ratio.max(), bound=2),
            ],
            note="The limit uses as many entries as there are measurements, not five, and so often does better.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        left, right = figure.subplots(1, 2)
        self._draw_noise(left, records[records["kind"] == _NOISE])
        self._draw_tail(right, records[records["kind"] == _TAIL])

    def _draw_noise(self, ax: Axes, noisy: pd.DataFrame) -> None:
        looks = {
            _LIMIT: (BLUE, "o", "-", "limit"),
            _STOPPED: (ORANGE, "s", "--", "stopped saddle path"),
            _DESCENT: (TEAL, "^", "-.", "stopped descent"),
        }
        for way, (colour, marker, line, label) in looks.items():
            median = noisy[noisy["way"] == way].groupby("level")["l1"].median()
            ax.loglog(median.index, median, line, color=colour, marker=marker, markersize=4, label=label)
        bound = noisy[noisy["way"] == _LIMIT].groupby("level")["bound"].median()
        ax.loglog(bound.index, bound, color=GREY, label="bound for the limit")
        ax.set(xlabel="noise ‖e‖₂ relative to ‖Ax‖₂", ylabel="ℓ1 error (median)")
        legend_above(ax, "noise", columns=2)

    def _draw_tail(self, ax: Axes, smooth: pd.DataFrame) -> None:
        ax.loglog(smooth["size"], smooth["l1"], "o", color=BLUE, markersize=3, label="limit")
        median = smooth.groupby("level")[["size", "bound"]].median()
        ax.loglog(median["size"], median["bound"], color=GREY, label="bound (median)")
        ends = np.array([smooth["size"].min(), smooth["size"].max()])
        ax.loglog(ends, ends, ":", color=ORANGE, label="error of the best five")
        ax.set(xlabel="ℓ1 norm of all but the five largest entries", ylabel="ℓ1 error")
        legend_above(ax, "compressible vectors", columns=2)


def _errors(found: Float, x: Vector) -> dict[str, float]:
    return {"l1": float(np.abs(found - x).sum()), "l2": float(np.linalg.norm(found - x))}


def _worst(rows: pd.DataFrame) -> float:
    return float((rows["l1"] / rows["bound"]).max())
