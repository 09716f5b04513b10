"""Which depth comes closest? At equal product scale, and at equal start of the factors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hadaflow._types import Vector
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._c_common import PROVED, SMALL, Instance, planted, with_kernel
from hadaflow.experiments.catalogue._looks import ORDER, Look, legend_above

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PRODUCT, _FACTOR, _LINE = "product", "factor", "line"


@dataclass(frozen=True)
class DepthComparison(Experiment):
    """Error of the limit against depth, at equal product scale (as paper C compares) and at equal start of the factors.

    The same start a of the factors means the product scale a^D: deeper models then start much nearer to zero, which
    adds to what depth gains otherwise. Gaussian 40 x 100 matrices with 5 non-zeros; bands are ranges over instances.
    The constant in front of the scale grows as the l1 phase transition is approached, that is as rho tends to 1, and at
    depth 3 most of all depths shown: seen on kernels that are a line, where rho is what one likes.
    """

    name: ClassVar[str] = "depth-comparison"
    paper: ClassVar[str] = "C"
    title: ClassVar[str] = "Depth at equal product scale and at equal factor scale"
    figsize: ClassVar[tuple[float, float]] = (7.5, 4.4)

    rows: int = 40
    columns: int = 100
    sparsity: int = 5
    trials: int = 20
    first_seed: int = 0
    depths: tuple[float, ...] = (2.0, 2.25, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    product_scales: tuple[float, ...] = (1e-2, 1e-4, 1e-6)
    factor_scales: tuple[float, ...] = (0.3, 0.1, 0.03)
    line_depths: tuple[float, ...] = (3.0, 4.0, 6.0, 20.0)
    line_rhos: tuple[float, ...] = (0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
    line_scale: float = 1e-60

    @classmethod
    def quick(cls) -> DepthComparison:
        return cls(trials=3)

    def tasks(self) -> list[dict[str, Any]]:
        return [{"part": "gaussian", "seed": self.first_seed + k} for k in range(self.trials)] + [
            {"part": _LINE, "seed": 0}
        ]

    def run(self, *, part: str, seed: int) -> Iterator[dict[str, Any]]:
        if part == _LINE:
            yield from self._lines()
            return
        instance = planted(np.random.default_rng(seed), self.rows, self.columns, self.sparsity, 1.5)
        rho = instance.constants.rho
        if rho >= 1:
            yield {"kind": "skipped", "rho": rho}
            return
        for depth in self.depths:
            for w in self.product_scales:
                found = _relative(instance, depth, math.log(w))
                yield {"kind": _PRODUCT, "rho": rho, "depth": depth, "scale": w, "error": found}
            for a in self.factor_scales:
                found = _relative(instance, depth, depth * math.log(a))
                yield {"kind": _FACTOR, "rho": rho, "depth": depth, "scale": a, "error": found}

    def _lines(self) -> Iterator[dict[str, Any]]:
        for rho in self.line_rhos:
            instance = with_kernel([-rho, 1.0], [1.0, 0.0])
            for depth in self.line_depths:
                error = instance.error(depth, math.log(self.line_scale)).off_support
                row = {"kind": _LINE, "rho": rho, "depth": depth, "scale": self.line_scale}
                yield row | {"error": error / self.line_scale}

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        return [self._equal_product(records), self._equal_factor(records), self._near_transition(records)]

    def _equal_product(self, records: pd.DataFrame) -> Claim:
        checks = []
        for w in self.product_scales:
            wide = _by_depth(records, _PRODUCT, w)
            whole = [depth for depth in self.depths if depth >= 3]
            wins = int((wide[whole].max(axis=1) < wide[2.0]).sum())
            label = f"product scale {w:g}: instances at which depth 2 is worst"
            checks.append(Check.equal(label, predicted=len(wide), measured=wins))
        return Claim(
            "At equal product scale depth 2 is worst of the whole depths, and the gap widens as the scale falls.",
            source="checked numerically; paper C's abstract reports the same of its experiments",
            checks=[*checks, self._widening(records)],
        )

    def _widening(self, records: pd.DataFrame) -> Check:
        gains = [float((wide[2.0] / wide[3.0]).median()) for wide in self._wides(records)]
        rising = all(later > earlier for earlier, later in itertools.pairwise(gains))
        label = "median of depth 2 over depth 3: " + ", ".join(f"{gain:.3g}" for gain in gains)
        return Check.equal(label, predicted="rises", measured="rises" if rising else "does not rise")

    def _wides(self, records: pd.DataFrame) -> list[pd.DataFrame]:
        return [_by_depth(records, _PRODUCT, w) for w in sorted(self.product_scales, reverse=True)]

    def _equal_factor(self, records: pd.DataFrame) -> Claim:
        checks = []
        for a in self.factor_scales:
            wide = _by_depth(records, _FACTOR, a)
            falling = int((wide.diff(axis=1).iloc[:, 1:] < 0).all(axis=1).sum())
            label = f"factor scale {a:g}: instances at which every step in depth helps"
            checks.append(Check.equal(label, predicted=len(wide), measured=falling))
        return Claim(
            "At equal start of the factors the error falls with every step in depth.",
            source="checked numerically; for vanishing scales it follows from the rates, as the product scale is a^D",
            checks=checks,
        )

    def _near_transition(self, records: pd.DataFrame) -> Claim:
        lines = records[records["kind"] == _LINE]
        checks = []
        for depth, some in lines.groupby("depth"):
            # The correction at rho near 1: (w / x)^((D - 2) / D) has to be small beside 1 - rho.
            settled = some[self.line_scale ** ((depth - 2) / depth) < SMALL * 1e-3 * (1 - some["rho"])]
            worst = float(np.abs(settled["error"] / _constant(float(depth), settled["rho"].to_numpy()) - 1).max())
            label = f"depth {depth:g}: deviation from (1 - rho)^-c - (1 + rho)^-c"
            checks.append(Check.at_most(label, measured=worst, bound=1e-3))
        near = lines[lines["rho"] == max(self.line_rhos)].sort_values("depth")["error"]
        order = "falls" if near.is_monotonic_decreasing else "does not fall"
        checks.append(Check.equal("constant at the largest rho, against depth", predicted="falls", measured=order))
        return Claim(
            "Above depth 2 the error over the product scale tends to (1 - rho)^-c - (1 + rho)^-c, c = D / (D - 2): "
            "near the l1 phase transition, rho near 1, all depths suffer, and depth 3 most of those shown.",
            source=PROVED,
            checks=checks,
            note="Kernel (-rho, 1), x = (1, 0): off the support.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        left, middle, right = figure.subplots(1, 3)
        for ax, kind, scales, letter in (
            (left, _PRODUCT, self.product_scales, "w"),
            (middle, _FACTOR, self.factor_scales, "a"),
        ):
            for look, scale in zip(ORDER, scales, strict=False):
                self._draw_depths(ax, _by_depth(records, kind, scale), look, f"{letter} = {scale:g}")
            ax.set(xlabel="depth", xscale="log", yscale="log")
            ax.set_xticks([2, 3, 4, 6, 8], ["2", "3", "4", "6", "8"])
            ax.minorticks_off()
        left.set_ylabel("relative ℓ1 error")
        self._draw_lines(right, records[records["kind"] == _LINE])
        for ax, title in ((left, "equal product scale"), (middle, "equal factor scale"), (right, "near ρ = 1")):
            legend_above(ax, title, columns=1)

    def _draw_depths(self, ax: Axes, wide: pd.DataFrame, look: Look, label: str) -> None:
        ax.fill_between(wide.columns, wide.min(), wide.max(), color=look.colour, alpha=0.15, linewidth=0)
        ax.plot(wide.columns, wide.median(), look.line, color=look.colour, marker=look.marker, markersize=4,
                linewidth=1.2, label=label)  # fmt: skip

    def _draw_lines(self, ax: Axes, lines: pd.DataFrame) -> None:
        for look, depth in zip(ORDER, self.line_depths, strict=False):
            some = lines[lines["depth"] == depth].sort_values("rho")
            ax.loglog(1 - some["rho"], some["error"], look.marker, color=look.colour, markersize=4)
            rho = 1 - np.geomspace(1 - max(self.line_rhos), 1 - min(self.line_rhos), 60)
            ax.loglog(
                1 - rho, _constant(depth, rho), look.line, color=look.colour, linewidth=1.2, label=f"depth {depth:g}"
            )
        ax.set(xlabel="1 − ρ", ylabel="error off the support / w")


def _relative(instance: Instance, depth: float, log_scale: float) -> float:
    return instance.error(depth, log_scale).total / float(np.abs(instance.x).sum())


def _by_depth(records: pd.DataFrame, kind: str, scale: float) -> pd.DataFrame:
    """Errors at one scale: an instance a row, a depth a column."""
    some = records[(records["kind"] == kind) & (records["scale"] == scale)]
    return some.pivot_table(index="seed", columns="depth", values="error")


def _constant(depth: float, rho: Vector) -> Vector:
    power = depth / (depth - 2)
    value: Vector = (1 - rho) ** -power - (1 + rho) ** -power
    return value
