"""How far above the smallest l1 norm does the flow end? Against the bound that is proved, and the rate that holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import hadaflow as hf
from hadaflow._types import Vector
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._a_common import Planted
from hadaflow.experiments.catalogue._looks import BLACK, DEPTHS, legend_above
from hadaflow.experiments.ensembles import gaussian
from hadaflow.theory.l1_bounds import l1_excess_bound, largest_init_scale
from hadaflow.theory.null_space import null_space_constants

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVE, _ASKED, _DESCENT = "curve", "asked", "descent"


@dataclass(frozen=True)
class L1Excess(Experiment):
    """Excess of the l1 norm over the smallest one, at the limits of the flow from smaller and smaller starts.

    Gaussian matrices and sparse vectors with random signs and sizes from 0.5 to 1.5 that basis pursuit recovers. Drawn
    beside each other: what happens, with the slope that the null-space constant rho predicts, and the bound that holds
    whatever the matrix. Starts are compared at equal product scale. Gradient descent with constant steps runs beside
    the limits at one scale.
    """

    name: ClassVar[str] = "l1-excess"
    paper: ClassVar[str] = "A"
    title: ClassVar[str] = "Excess of the l1 norm against the scale of the start"

    rows: int = 40
    columns: int = 100
    sparsity: int = 5
    trials: int = 25
    seed: int = 0
    depths: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0)
    exponents: tuple[int, ...] = tuple(range(-10, 0))
    asked: float = 0.1
    descents: int = 4
    descent_depths: tuple[float, ...] = (2.0, 3.0)
    descent_scale: float = 1e-2
    step_shares: tuple[float, ...] = (0.4, 0.2)
    descent_residual: float = 1e-5

    @classmethod
    def quick(cls) -> L1Excess:
        return cls(trials=5, exponents=(-10, -9, -8, -6, -4, -3, -2, -1), descents=1, descent_depths=(2.0,))

    def tasks(self) -> list[dict[str, Any]]:
        return [{"trial": trial} for trial in range(self.trials)]

    def run(self, *, trial: int) -> Iterator[dict[str, Any]]:
        case = self._case(trial)
        exact = hf.recover(case.A, case.y)
        support = exact.support()
        off = _OffSupport(case, support)
        rho = null_space_constants(case.A, support, np.sign(exact.x[support]), method="bounds").rho
        norm = float(np.abs(exact.x).sum())
        about = {"l1_norm": norm, "rho": rho, "planted": case.error(exact.x) < 1e-9}
        for depth in self.depths:
            for exponent in self.exponents:
                x = _limit(case, depth, 10 ** (exponent / depth))
                bound = l1_excess_bound(depth=depth, init_scale=10 ** (exponent / depth), l1_norm=norm, n=self.columns)
                row = {"kind": _CURVE, "depth": depth, "exponent": exponent}
                yield about | row | {"excess": off.excess(x), "bound": bound}
            a = largest_init_scale(excess=self.asked * norm, depth=depth, l1_norm=norm, n=self.columns)
            row = {"kind": _ASKED, "depth": depth, "exponent": depth * math.log10(a)}
            yield about | row | {"excess": off.excess(_limit(case, depth, a)), "bound": self.asked * norm}
        for depth in self.descent_depths if trial < self.descents else ():
            yield from (about | row for row in self._descend(case, depth))

    def _case(self, trial: int) -> Planted:
        rng = np.random.default_rng([self.seed, trial])
        A = gaussian(rng, self.rows, self.columns)
        x = np.zeros(self.columns)
        support = rng.choice(self.columns, self.sparsity, replace=False)
        x[support] = rng.choice([-1, 1], self.sparsity) * rng.uniform(0.5, 1.5, self.sparsity)
        return Planted(A, x)

    def _descend(self, case: Planted, depth: float) -> Iterator[dict[str, Any]]:
        """Distance of gradient descent from the limit, for several constant steps at once."""
        a = self.descent_scale ** (1 / depth)
        end = _limit(case, depth, a)
        # Beyond a share of 2, steps no longer descend where x is largest.
        curvature = depth**2 * np.linalg.norm(case.A, 2) ** 2 * np.abs(case.x).max() ** (2 - 2 / depth)
        runs = hf.descend_batch(
            case.problem,
            hf.HadamardPower(depth),
            init_scale=a,
            step=[float(ratio / curvature) for ratio in self.step_shares],
            stop=hf.stopping.Residual(self.descent_residual) | hf.stopping.MaxSteps(1_000_000),
        )
        for ratio, run in zip(self.step_shares, runs, strict=True):
            row = {"kind": _DESCENT, "depth": depth, "share": ratio, "distance": float(np.abs(run.x - end).sum())}
            yield row | {"excess": float(np.abs(run.x).sum() - np.abs(case.x).sum())}

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        return [self._bounded(records), self._guaranteed(records), self._rate(records), self._trained(records)]

    def _bounded(self, records: pd.DataFrame) -> Claim:
        curves = records[records["kind"] == _CURVE]
        checks = []
        for depth in self.depths:
            some = curves[curves["depth"] == depth]
            ratio = float((some["excess"] / some["bound"]).max())
            checks.append(Check.at_most(f"depth {depth:g}: largest excess over its bound", measured=ratio, bound=1))
        return Claim(
            "The excess of the l1 norm is at most delta (2 n + Q) / (1 - delta), delta = D / 2 a^(D - 2), above "
            "depth 2, and (Q log Q + 2 n / e) / (2 log(1 / a) - 1) at depth 2, for every matrix.",
            source='proved: docs/mathematics.md, "How small the start has to be"',
            checks=checks,
            note="Where the bound is infinite the ratio counts as zero.",
        )

    def _guaranteed(self, records: pd.DataFrame) -> Claim:
        asked = records[records["kind"] == _ASKED]
        checks = []
        for depth in self.depths:
            some = asked[asked["depth"] == depth]
            label = f"depth {depth:g}, product scale near 1e{some['exponent'].median():.0f}"
            ratio = float((some["excess"] / some["bound"]).max())
            checks.append(Check.at_most(f"{label}: excess over what was asked for", measured=ratio, bound=1))
        return Claim(
            f"The scale that the theorem prescribes for an excess of {self.asked:g} Q gives it: exponentially small at "
            "depth 2, a power of the accuracy above.",
            source='proved: docs/mathematics.md, "How small the start has to be"',
            checks=checks,
        )

    def _rate(self, records: pd.DataFrame) -> Claim:
        slopes = self._slopes(records)
        checks = []
        for depth in self.depths:
            some = slopes[slopes["depth"] == depth]
            predicted = 1 - some["rho"] if depth == 2 else 1.0
            off = float((some["slope"] - predicted).abs().median())
            label = f"depth {depth:g}: median distance of the slope from {'1 - rho' if depth == 2 else '1'}"
            checks.append(Check.at_most(label, measured=off, bound=0.02))
        return Claim(
            "In truth the excess falls like the product scale above depth 2, and like its power 1 - rho at depth 2, "
            "with the signed null-space constant rho of the minimiser: far faster than the bound for all matrices.",
            source='from paper C (abstract); constants: checked numerically, docs/mathematics.md, "How small the start '
            'has to be" (rates)',
            checks=checks,
            note="Slopes of the logarithms between the two smallest scales. Corrections at these scales are of "
            "relative size 1e-2 to 1e-4, and larger for single matrices with rho near 1: hence the median.",
        )

    def _slopes(self, records: pd.DataFrame) -> pd.DataFrame:
        """Slope of log excess in log product scale between the two smallest scales, by trial and depth."""
        fine, coarse = sorted(self.exponents)[:2]
        curves = records[(records["kind"] == _CURVE) & records["exponent"].isin([fine, coarse])]
        table = curves.pivot_table(index=["depth", "trial", "rho"], columns="exponent", values="excess")
        slope = (np.log10(table[coarse]) - np.log10(table[fine])) / (coarse - fine)
        return slope.rename("slope").reset_index()

    def _trained(self, records: pd.DataFrame) -> Claim:
        runs = records[records["kind"] == _DESCENT]
        checks = []
        for depth in self.descent_depths:
            table = runs[runs["depth"] == depth].pivot_table(index="trial", columns="share", values="distance")
            long, short = max(self.step_shares), min(self.step_shares)
            checks.append(
                Check.near(
                    f"depth {depth:g}: distance of long steps over that of short ones",
                    predicted=long / short,
                    measured=float((table[long] / table[short]).median()),
                    tolerance=0.1 * long / short,
                )
            )
        return Claim(
            f"At a product scale of {self.descent_scale:g} gradient descent with constant steps ends at the limit of "
            "the flow up to a distance proportional to the step.",
            source='checked numerically: docs/mathematics.md, "Gradient descent" (steps and flow)',
            checks=checks,
            note="Terms of the square of the step, and where descent stopped, are allowed a tenth.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        curves = records[records["kind"] == _CURVE]
        for depth in self.depths:
            look = DEPTHS[depth]
            some = curves[curves["depth"] == depth].groupby("exponent")[["excess", "bound"]]
            median, low, high = some.median(), some.quantile(0.1), some.quantile(0.9)
            scale = 10.0 ** median.index.to_numpy()
            left.fill_between(scale, low["excess"], high["excess"], color=look.colour, alpha=0.15, linewidth=0)
            for ax, column in ((left, "excess"), (right, "bound")):
                shown = median[column].replace(math.inf, math.nan)
                ax.loglog(scale, shown, look.line, color=look.colour, marker=look.marker, markersize=3.5,
                          linewidth=1.2, label=f"depth {depth:g}")  # fmt: skip
        self._draw_slopes(left, records, curves)
        left.set(xlabel="product scale", ylabel="excess of the ℓ1 norm")
        right.set(xlabel="product scale")
        legend_above(left, "what happens (median, 80 % of matrices)", columns=3)
        legend_above(right, "what is proved for every matrix", columns=2)

    def _draw_slopes(self, ax: Axes, records: pd.DataFrame, curves: pd.DataFrame) -> None:
        """Thin lines of the predicted slopes through the smallest scale."""
        fine, shallow = min(self.exponents), float(1 - records["rho"].median())
        label = f"slopes 1 − ρ = {shallow:.2f} and 1"
        for depth, power in ((2.0, shallow), (max(self.depths), 1.0)):
            start = curves[(curves["depth"] == depth) & (curves["exponent"] == fine)]["excess"].median()
            ends = np.array([fine, -2.0])
            ax.loglog(10**ends, start * 10 ** (power * (ends - fine)), color=BLACK, linewidth=0.8, label=label)
            label = ""


class _OffSupport:
    """Excess of the l1 norm by what a solution holds off the support, without subtracting nearly equal norms."""

    def __init__(self, case: Planted, support: NDArray[np.intp]) -> None:
        self.case, self.support = case, support
        self.inverse = np.linalg.pinv(case.A[:, support])

    def excess(self, x: Vector) -> float:
        signs = np.sign(self.case.x[self.support])
        if not np.array_equal(np.sign(x[self.support]), signs):
            return float(np.abs(x).sum() - np.abs(self.case.x).sum())
        rest = x.copy()
        rest[self.support] = 0
        return float(np.abs(rest).sum() - signs @ (self.inverse @ (self.case.A @ rest)))


def _limit(case: Planted, depth: float, init_scale: float) -> Vector:
    return np.asarray(hf.limit(case.problem, hf.HadamardPower(depth), init_scale=init_scale, tolerance=1e-14).x)
