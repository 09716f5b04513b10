"""Where the bounds are attained: kernels that are one line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._c_common import ABSTRACT, PROVED, ROUNDING, with_kernel
from hadaflow.experiments.catalogue._looks import BLACK, DEPTHS, legend_above

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TIGHT, _SPREAD = "tight", "spread"
_VISIBLE = 1e-13  # less is rounding
_LESS, _MORE, _REST = 0.9, 0.4, 1.0  # the kernel vector (-0.9, 0.4, 1): rho 0.5, rho_minus 0.9


@dataclass(frozen=True)
class Tightness(Experiment):
    """Two families in which the kernel of A is a line, so that the upper bounds cannot be improved.

    First the kernel vector (-r, 1/m, ..., 1/m) with x = (g, 0, ..., 0): all null-space constants are r, and the error
    over its upper bound should tend to 1 as the scale vanishes. Then (-0.9, 0.4, 1) with x = (k, 1, 0), where the
    largest entry of x is k times the smallest, and the bound of depth 2 contains k to the power rho_minus = 0.9:
    attained in this order of the two entries, far from attained in the other.
    """

    name: ClassVar[str] = "tightness"
    paper: ClassVar[str] = "C"
    title: ClassVar[str] = "Examples that attain the upper bounds"

    # r, m, g of the first family
    shares: tuple[float, ...] = (0.5, 0.5, 0.9, 0.2, 0.7)
    parts: tuple[int, ...] = (1, 4, 1, 3, 20)
    sizes: tuple[float, ...] = (1.0, 2.0, 1.0, 0.1, 5.0)
    depths: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0)
    log_scales: tuple[float, ...] = tuple(-2.5 * k for k in range(1, 37))
    ratios: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
    spread_scale: float = -200.0

    @classmethod
    def quick(cls) -> Tightness:
        return cls(log_scales=tuple(-7.5 * k for k in range(1, 13)), ratios=(1.0, 3.0, 10.0, 100.0))

    def tasks(self) -> list[dict[str, Any]]:
        return [{"kind": _TIGHT, "number": k} for k in range(len(self.shares))] + [{"kind": _SPREAD, "number": 0}]

    def run(self, *, kind: str, number: int) -> Iterator[dict[str, Any]]:
        if kind == _SPREAD:
            yield from self._spread()
            return
        r, m, g = self.shares[number], self.parts[number], self.sizes[number]
        instance = with_kernel([-r, *[1 / m] * m], [g, *[0.0] * m])
        for depth in self.depths:
            for log_scale in self.log_scales:
                found = instance.compared_with_bounds(depth, log_scale)
                constant = found["error"] / math.exp(log_scale * (1 - r if depth == 2 else 1))
                yield {"depth": depth, "log_scale": log_scale, "constant": constant} | found

    def _spread(self) -> Iterator[dict[str, Any]]:
        """The constant of depth 2 off the support, in both orders of the two entries."""
        unit = math.exp(self.spread_scale * (1 - (_LESS - _MORE)))
        for ratio in self.ratios:
            for order, x in (("large first", [ratio, 1.0, 0.0]), ("small first", [1.0, ratio, 0.0])):
                found = with_kernel([-_LESS, _MORE, _REST], x).compared_with_bounds(2.0, self.spread_scale)
                constants = {"constant": found["off_support"] / unit, "bound_constant": found["explicit_off"] / unit}
                yield {"depth": 2.0, "log_scale": self.spread_scale, "ratio": ratio, "order": order} | constants | found

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        return [self._attained(records), self._constants(records), self._ratio(records)]

    def _attained(self, records: pd.DataFrame) -> Claim:
        tight = records[records["kind"] == _TIGHT]
        last = tight[tight["log_scale"] == min(self.log_scales)]
        checks = []
        for depth, some in last.groupby("depth"):
            worst = float((some["error"] / some["explicit"]).min())
            checks.append(Check.at_least(f"depth {depth:g}: error over bound", measured=worst, bound=0.999))
        above = float((tight["error"] / tight["explicit"]).max())
        checks.append(Check.at_most("error over bound at any scale", measured=above, bound=1 + ROUNDING))
        return Claim(
            "The upper bounds are asymptotically tight: on these examples the error over its bound tends to 1.",
            source=f"{PROVED}; that there are such examples {ABSTRACT}",
            checks=checks,
            note=f"Smallest ratio of {len(self.shares)} examples at product scale e^{min(self.log_scales):g}; at "
            "depth 2 with r = 0.9 it still lacks e^-9 = 0.0001.",
        )

    def _constants(self, records: pd.DataFrame) -> Claim:
        tight = records[(records["kind"] == _TIGHT) & (records["log_scale"] == min(self.log_scales))]
        checks = []
        for depth, some in tight.groupby("depth"):
            predicted = [self._constant(float(depth), int(k)) for k in some["number"]]
            worst = float(np.abs(some["constant"] / predicted - 1).max())
            checks.append(Check.at_most(f"depth {depth:g}: largest relative deviation", measured=worst, bound=1e-3))
        return Claim(
            "There the error over w^(1 - r) tends to (1 + r) m g^r at depth 2, and over w to "
            "(1 + r) m [(1 - r)^-c - (1 + r)^-c], c = D / (D - 2), above.",
            source=PROVED,
            checks=checks,
        )

    def _constant(self, depth: float, number: int) -> float:
        r, m, g = self.shares[number], self.parts[number], self.sizes[number]
        if depth == 2:
            return float((1 + r) * m * g**r)
        power = depth / (depth - 2)
        return float((1 + r) * m * ((1 - r) ** -power - (1 + r) ** -power))

    def _ratio(self, records: pd.DataFrame) -> Claim:
        spread = records[records["kind"] == _SPREAD]
        checks = []
        for order, power in (("large first", _LESS), ("small first", -_MORE)):
            some = spread[spread["order"] == order]
            slope = float(np.polyfit(np.log(some["ratio"]), np.log(some["constant"]), 1)[0])
            checks.append(Check.near(f"{order}: power of k", predicted=power, measured=slope, tolerance=1e-3))
        first = spread[spread["order"] == "large first"]
        ratio = float((first["constant"] / first["bound_constant"]).min())
        checks.append(Check.at_least("large first: error over bound", measured=ratio, bound=0.999))
        return Claim(
            "The factor k^rho_minus in the bound of depth 2, k the ratio of the largest entry of x to the smallest, "
            "cannot be dropped; but it depends on which entry is large, and one linear programme with x in it tells.",
            source=PROVED,
            checks=checks,
            note=f"At product scale e^{self.spread_scale:g}; corrections are of the order of its square root.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        left, right = figure.subplots(1, 2)
        self._draw_gaps(left, records[(records["kind"] == _TIGHT) & (records["number"] == 0)])
        _draw_spread(right, records[records["kind"] == _SPREAD])

    def _draw_gaps(self, ax: Axes, records: pd.DataFrame) -> None:
        """What the error lacks of its bound: the ratio itself would soon be a line at 1."""
        for depth, some in records.groupby("depth"):
            look, one = DEPTHS[float(depth)], some.sort_values("log_scale")
            gap = (1 - one["error"] / one["explicit"]).where(np.isfinite(one["explicit"]))
            ax.loglog(np.exp(one["log_scale"]), gap.where(gap > _VISIBLE), look.line, color=look.colour,
                      marker=look.marker, markersize=4, linewidth=1.2, label=f"depth {depth:g}")  # fmt: skip
        ax.set(xlabel="product scale", ylabel="1 − error / upper bound", xticks=[1e-30, 1e-20, 1e-10, 1.0])
        legend_above(ax, columns=2)


def _draw_spread(ax: Axes, records: pd.DataFrame) -> None:
    for order, marker, look in (("large first", "o", DEPTHS[2.0]), ("small first", "s", DEPTHS[3.0])):
        some = records[records["order"] == order].sort_values("ratio")
        label = "x = (k, 1, 0)" if order == "large first" else "x = (1, k, 0)"
        ax.loglog(some["ratio"], some["constant"], marker, color=look.colour, markersize=6, label=label)
    bound = records[records["order"] == "large first"].sort_values("ratio")
    ax.loglog(bound["ratio"], bound["bound_constant"], color=BLACK, linewidth=1.0, label="bound, k to the power 0.9")
    ax.set(xlabel="largest entry over smallest, k", ylabel="error off the support / √scale")
    legend_above(ax, columns=2)
