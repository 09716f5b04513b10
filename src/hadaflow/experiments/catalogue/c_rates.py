"""How fast does the error vanish with the scale? Slopes, and bounds from both sides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._c_common import (
    ABSTRACT,
    PROVED,
    ROUNDING,
    SMALL,
    Instance,
    anything,
    minimal,
    planted,
)
from hadaflow.experiments.catalogue._looks import BLACK, DEPTHS, legend_above
from hadaflow.theory.approximation_error import predicted_exponent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SLOPE, _CURVE, _RANDOM = "slope", "curve", "random"


@dataclass(frozen=True)
class ErrorRates(Experiment):
    """Error of the limit against product scale, with predicted slopes and bounds from both sides.

    Two families of Gaussian matrices: 5 x 10 with 2 non-zeros, and 8 x 20 with 3 (for two of those the l1-minimiser is
    another vector, with 8). Slopes are fitted over two windows of scales, e^-60 to e^-45 and e^-650 to e^-600: the
    first in which corrections to the leading term are small is taken. Then the bounds are tried on many instances of
    random size, depth and scale, with x of any sign and with non-negative x. On the left the instance at which the two
    constants differ most.
    """

    name: ClassVar[str] = "error-rates"
    paper: ClassVar[str] = "C"
    title: ClassVar[str] = "The rate at which the error vanishes"

    small_seeds: tuple[int, ...] = (100, 101, 102, 103, 105, 106)
    larger_seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    depths: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0)
    curve_scales: tuple[float, ...] = tuple(-2.0 - 2.0 * k for k in range(30))
    windows: tuple[tuple[float, float], ...] = ((-60.0, -45.0), (-650.0, -600.0))
    batches: int = 40
    batch: int = 50
    random_depths: tuple[float, ...] = (2.0, 2.3, 3.0, 4.0, 7.0)
    seed: int = 0

    @classmethod
    def quick(cls) -> ErrorRates:
        return cls(curve_scales=tuple(-4.0 - 8.0 * k for k in range(8)), batches=2)

    def tasks(self) -> list[dict[str, Any]]:
        families = (("5x10", self.small_seeds), ("8x20", self.larger_seeds))
        table = [{"family": family, "number": seed} for family, seeds in families for seed in seeds]
        return table + [{"family": _RANDOM, "number": batch} for batch in range(self.batches)]

    def run(self, *, family: str, number: int) -> Iterator[dict[str, Any]]:
        if family == _RANDOM:
            yield from self._batch(number)
            return
        m, n, sparsity = (5, 10, 2) if family == "5x10" else (8, 20, 3)
        instance = minimal(planted(np.random.default_rng(number), m, n, sparsity, 2.0))
        constants = instance.constants
        about = {"rho": constants.rho, "rho_tilde": constants.rho_tilde.upper}
        for depth in self.depths:
            for log_scale in self.curve_scales:
                found = instance.compared_with_bounds(depth, log_scale)
                yield about | {"kind": _CURVE, "depth": depth, "log_scale": log_scale} | found
            for low, high in self.windows:
                yield about | {"kind": _SLOPE, "depth": depth, "log_scale": low} | _slope(instance, depth, low, high)

    def _batch(self, number: int) -> Iterator[dict[str, Any]]:
        rng, made = np.random.default_rng([self.seed, number]), 0
        while made < self.batch:
            instance = anything(rng, "both" if made % 2 == 0 else "positive")
            if instance is not None:
                made += 1
                depth, log_scale = float(rng.choice(self.random_depths)), float(rng.uniform(-300, 2))
                found = instance.compared_with_bounds(depth, log_scale)
                yield {"kind": _RANDOM, "depth": depth, "log_scale": log_scale, "rho": instance.constants.rho} | found

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        slopes = _decided(records)
        shallow = slopes[slopes["depth"] == 2]
        return [*self._shallow(shallow), self._deep(slopes[slopes["depth"] > 2]), _signed(shallow), _bounded(records)]

    def _shallow(self, slopes: pd.DataFrame) -> list[Claim]:
        note = (
            f"A slope counts as decided where the correction to the leading term, product scale to the power of the "
            f"smaller of 1 - rho and the gap in the certificate, is below {SMALL:g} at the upper end of its window. "
            f"Then the slope may differ from its limit by about that share of that power: less than the tolerance."
        )
        claims = []
        for statement, some, decided in (
            ("Depth 2: the error vanishes like the product scale to the power 1 - rho.", slopes[slopes["small"]], True),
            (
                "The same for instances whose corrections are not small at any scale tried.",
                slopes[~slopes["small"]],
                False,
            ),
        ):
            checks = [
                Check.near(
                    f"{row.family}, seed {row.number}",
                    predicted=predicted_exponent(2, row.rho),
                    measured=row.slope,
                    tolerance=0.01,
                    decided=decided,
                )
                for row in some.itertuples()
            ]
            if checks:
                claims.append(Claim(statement, source=f"{PROVED}; rates {ABSTRACT}", checks=checks, note=note))
        return claims

    def _deep(self, slopes: pd.DataFrame) -> Claim:
        checks = [
            Check.at_most(
                f"depth {depth:g}: largest deviation of a slope from 1",
                measured=float((some["slope"] - 1).abs().max()),
                bound=0.005,
                decided=bool(some["small"].all()),
            )
            for depth, some in slopes.groupby("depth")
        ]
        return Claim(
            "Above depth 2 the error vanishes linearly with the product scale, whatever rho.",
            source=f"{PROVED}; rates {ABSTRACT}",
            checks=checks,
            note="Corrections are of the order of the product scale to the power (D - 2) / D: below 1e-6 there.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        shown = max(self.small_seeds, key=lambda seed: _contrast(records, seed))
        self._draw_curves(left, records[(records["family"] == "5x10") & (records["number"] == shown)])
        _draw_slopes(right, _decided(records))

    def _draw_curves(self, ax: Axes, records: pd.DataFrame) -> None:
        """One instance, bounds as bands around errors, at depths 2, 3 and 5."""
        curves = records[records["kind"] == _CURVE].sort_values("log_scale")
        for depth in self.depths[:3]:
            one, look = curves[curves["depth"] == depth], DEPTHS[depth]
            scale = np.exp(one["log_scale"])
            upper = one["upper"].replace(math.inf, math.nan)
            ax.fill_between(scale, one["lower"], upper, color=look.colour, alpha=0.16, linewidth=0)
            ax.loglog(scale, one["error"], look.line, color=look.colour, marker=look.marker, markersize=4,
                      markevery=max(1, len(one) // 8), linewidth=1.2, label=f"depth {depth:g}")  # fmt: skip
        two = curves[curves["depth"] == 2]
        rho, start, ends = float(two["rho"].iloc[0]), two.iloc[0], np.array([two["log_scale"].min(), -8.0])
        for power, line, label in (
            (1 - rho, (0, (6, 2)), f"slope 1 − ρ = {1 - rho:.2f}"),
            (1 - float(two["rho_tilde"].iloc[0]), (0, (1, 2)), "slope with the plain constant"),
        ):
            values = 0.1 * start["error"] * np.exp(power * (ends - ends[0]))
            ax.loglog(np.exp(ends), values, color=BLACK, linewidth=1.2, linestyle=line, label=label)
        ax.set(xlabel="product scale", ylabel="ℓ1 error, and its bounds (shaded)")
        legend_above(ax, columns=2)


def _slope(instance: Instance, depth: float, low: float, high: float) -> dict[str, float]:
    """Slope of the error over a window, how large corrections still are there, and the error over its leading term."""
    logs = np.linspace(low, high, 4)
    errors = np.array([math.log(instance.error(depth, log).total) for log in logs])
    leading = instance.leading(depth, low)
    return {
        "slope": float(np.polyfit(logs, errors, 1)[0]),
        "correction": math.exp(high * leading.correction_exponent),
        "over_leading": math.exp(errors[0]) / leading.total,
    }


def _decided(records: pd.DataFrame) -> pd.DataFrame:
    """For each instance and depth the slope of the first window with small corrections, else of the last."""
    slopes = records[records["kind"] == _SLOPE].sort_values("log_scale", ascending=False)
    slopes = slopes.assign(small=slopes["correction"] < SMALL).sort_values("small", ascending=False, kind="stable")
    first = slopes[slopes["small"]].drop_duplicates(["family", "number", "depth"])
    last = slopes.drop_duplicates(["family", "number", "depth"], keep="last")
    both = [first, last[~last["small"]]]
    import pandas as pd

    return pd.concat(both).drop_duplicates(["family", "number", "depth"]).sort_values(["depth", "family", "number"])


def _contrast(records: pd.DataFrame, seed: int) -> float:
    """How far rho and the plain constant are apart."""
    some = records[(records["family"] == "5x10") & (records["number"] == seed)]
    return float((some["rho_tilde"] - some["rho"]).max())


def _signed(slopes: pd.DataFrame) -> Claim:
    apart = slopes[slopes["small"] & (slopes["rho_tilde"] - slopes["rho"] > 0.05)]
    far = (apart["slope"] - (1 - apart["rho_tilde"])).abs().min() if len(apart) else math.nan
    near = (apart["slope"] - (1 - apart["rho"])).abs().max() if len(apart) else math.nan
    return Claim(
        "The exponent is that of the signed constant rho, not that of the plain null-space constant rho tilde.",
        source=f"{PROVED}; that paper C means the same rho is an open hint",
        checks=[
            Check.at_most("largest distance of a slope from 1 - rho", measured=float(near), bound=0.01),
            Check.at_least("smallest distance of a slope from 1 - rho tilde", measured=float(far), bound=0.04),
        ],
        note="Over instances at which the two constants differ by more than 0.05.",
    )


def _bounded(records: pd.DataFrame) -> Claim:
    some = records[records["kind"] != _SLOPE]
    random = some[some["kind"] == _RANDOM]
    slack = 1 + ROUNDING
    checks = [
        Check.equal(
            f"{label}: violations in {len(some)} trials, {len(random)} of them random",
            predicted=0,
            measured=int((some[small] > some[large] * slack).sum()),
        )
        for label, small, large in (
            ("upper bound off the support", "off_support", "upper_off"),
            ("its explicit form", "off_support", "explicit_off"),
            ("its form by one linear programme", "off_support", "certified_off"),
            ("upper bound of the whole error", "error", "upper"),
            ("lower bound off the support", "lower", "largest"),
        )
    ]
    return Claim(
        "Upper and lower bounds hold at every scale, for every depth from 2 on, whole or not.",
        source=PROVED,
        checks=checks,
        note="Random instances: 3 to 8 rows, up to 10 more columns, entries over two decades, product scales e^-300 to "
        "e^2, half of them with non-negative x and the positive model.",
    )


def _draw_slopes(ax: Axes, slopes: pd.DataFrame) -> None:
    """Measured slopes against 1 - rho; hollow where corrections are not small."""
    two, deep = slopes[slopes["depth"] == 2], slopes[slopes["depth"] > 2]
    ax.plot([0, 1], [0, 1], color=BLACK, linewidth=0.8, label="slope = 1 − ρ")
    apart = two[two["rho_tilde"] - two["rho"] > 0.05]
    ax.plot(
        1 - apart["rho_tilde"].clip(upper=1),
        apart["slope"],
        "x",
        color=BLACK,
        markersize=5,
        label="at 1 − plain constant",
    )
    for small, face in ((True, DEPTHS[2.0].colour), (False, "white")):
        some = two[two["small"] == small]
        if len(some):
            label = "depth 2" if small else "depth 2, not decided"
            ax.plot(1 - some["rho"], some["slope"], "o", markersize=6, markerfacecolor=face,
                    markeredgecolor=DEPTHS[2.0].colour, label=label)  # fmt: skip
    ax.plot(1 - deep["rho"], deep["slope"], "s", color=DEPTHS[3.0].colour, markersize=4, label="depths above 2")
    ax.set(xlabel="1 − constant", ylabel="measured slope", xlim=(-0.03, 1.03), ylim=(-0.03, 1.08))
    legend_above(ax, columns=2)
