"""Paper B, coordinate by coordinate: convergence, the size of the start, the window, one entry after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hadaflow.experiments import Check, Claim
from hadaflow.experiments.catalogue._b_drawing import (
    LEVEL,
    draw_coordinates,
    draw_targets,
    draw_window,
    legend_below,
    panels,
)
from hadaflow.experiments.catalogue._b_training import ABSTRACT, CODE, THEORY, Coordinates

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REDRAW = "Two standard deviations of the gradient of an entry between two draws of the noise (the design is the same)."


def ordered(values: Sequence[float]) -> str:
    """Depths' indices in the order of their values, as words that can be compared."""
    return "increasing" if list(values) == sorted(values) else "not increasing"


def curves(records: pd.DataFrame, depth: float) -> pd.DataFrame:
    """Records of the coordinates of one depth over time."""
    return records[(records["kind"] == "curve") & (records["depth"] == depth)]


def _draw_with_window(experiment: Coordinates, ax: Axes, records: pd.DataFrame, depth: float) -> None:
    """Coordinates of one depth, the level that the others must not pass, and the window, measured and predicted."""
    numbers = experiment.numbers(records)[depth]
    draw_coordinates(ax, curves(records, depth))
    draw_targets(ax, experiment.entries)
    level = experiment.schedule(depth).product_scale ** 0.25
    ax.axhline(level, label="level, product scale^(1/4)", **LEVEL)
    draw_window(ax, numbers["start"], numbers["stop"], (numbers["predicted start"], numbers["predicted stop"]))


@dataclass(frozen=True)
class Convergence(Coordinates):
    """Gradient descent on paper B's problem: five ones among 3000 coordinates, 500 measurements by random signs, noise.

    Product scale 1e-6 at depths 2, 3 and 5, steps of 0.2 / depth^2 on the mean of squares, single precision. Drawn: the
    five entries and the largest (signed) of all others. The quick size has 200 x 800 and follows the flow instead.
    """

    name: ClassVar[str] = "convergence"
    title: ClassVar[str] = "The support comes up, the rest stays down"

    @classmethod
    def quick(cls) -> Convergence:
        return cls(rows=200, columns=800, dynamics="flow")

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        found = self.numbers(records)
        level = [
            Check.at_most(
                f"depth {depth:g}: largest of the others when the support is there, over the level",
                measured=numbers["largest other at start"] / self.schedule(depth).product_scale ** 0.25,
                bound=1,
            )
            for depth, numbers in found.items()
        ]
        ends = [found[depth]["largest other at end"] for depth in sorted(found, reverse=True)]
        claims = [
            self.claim_start(records),
            Claim(
                "When the support is there, no other coordinate exceeds product_scale^(1/4).",
                f"level: {CODE}; {THEORY}",
                level,
            ),
            self.claim_error(records),
            Claim(
                "Within such a run depth 2 overfits most: the deeper the model, the less of the noise has come up.",
                ABSTRACT,
                [
                    Check.equal(
                        "largest other at the end, from deep to shallow",
                        predicted="increasing",
                        measured=ordered(ends),
                    )
                ],
            ),
        ]
        if self.published:
            steps = zip(self.depths, (46, 817, 18_011), strict=True)
            checks = [
                Check.near(
                    f"depth {depth:g}: first step with the support within 0.1",
                    predicted=step,
                    measured=found[depth]["start"],
                    tolerance=self.redraw * step,
                )
                for depth, step in steps
            ]
            claims.append(Claim("The published settings take 46, 817 and 18011 steps.", CODE, checks, note=REDRAW))
        return claims

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = panels(figure, self.depths)
        for depth, ax in axes.items():
            _draw_with_window(self, ax, records, depth)
            ax.set_ylim(0, 1.5)
            ax.set_title(f"depth {depth:g}", loc="left")
        legend_below(figure, axes.values(), columns=3)


@dataclass(frozen=True)
class InitializationEffects(Coordinates):
    """The same problem from a start that is too large: product scale 2e-3 at depths 2, 3 and 10.

    Each of the 3000 coordinates begins to fit noise at once; together they keep the support from coming up. The quick
    size has 200 x 800 and follows the flow instead of descent.
    """

    name: ClassVar[str] = "initialization-effects"
    title: ClassVar[str] = "Larger depth tolerates a larger start"

    depths: tuple[float, ...] = (2.0, 3.0, 10.0)
    product_scales: tuple[float, ...] = (2e-3, 2e-3, 2e-3)
    step_sizes: tuple[float, ...] = (0.1 / 4, 0.2 / 9, 0.2 / 100)
    iterations: tuple[int, ...] = (1000, 2000, 5000)

    @classmethod
    def quick(cls) -> InitializationEffects:
        return cls(rows=200, columns=800, dynamics="flow")

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        found = self.numbers(records)
        deep_first = [found[depth] for depth in sorted(self.depths, reverse=True)]
        orders = {
            "best squared error": [numbers["best error"] for numbers in deep_first],
            "squared error at the end": [numbers["last error"] for numbers in deep_first],
            "what the support lacks at the best moment": [1 - numbers["support at best"] for numbers in deep_first],
        }
        claims = [
            Claim(
                "From a start that is too large for depth 2, deeper models still find the support: errors grow from "
                "the deepest model to the shallowest.",
                ABSTRACT,
                [
                    Check.equal(f"{name}, from deep to shallow", predicted="increasing", measured=ordered(values))
                    for name, values in orders.items()
                ],
            )
        ]
        if self.published:
            tolerance = math.sqrt(2 * self.sparsity * self.noise**2 / self.rows)
            checks = [
                Check.near(
                    f"depth {depth:g}: best l2 error",
                    predicted=math.sqrt(error),
                    measured=math.sqrt(found[depth]["best error"]),
                    tolerance=tolerance,
                )
                for depth, error in zip(self.depths, (0.177, 0.023, 0.0031), strict=True)
            ]
            reached = "never" if math.isnan(found[2.0]["start"]) else "reached"
            checks.append(Check.equal("depth 2: the support within 0.1", predicted="never", measured=reached))
            claims.append(
                Claim(
                    "The published settings give squared errors of 0.177, 0.023 and 0.0031 at best.",
                    CODE,
                    checks,
                    note="Tolerance: size of the difference between two draws of the noise on the support.",
                )
            )
        return claims

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = panels(figure, self.depths)
        for depth, ax in axes.items():
            numbers = self.numbers(records)[depth]
            draw_coordinates(ax, curves(records, depth))
            draw_targets(ax, self.entries)
            ax.set_ylim(0, 1.5)
            ax.set_title(f"depth {depth:g}: best squared error {numbers['best error']:.3f}", loc="left")
        legend_below(figure, axes.values(), columns=3)


@dataclass(frozen=True)
class EarlyStoppingCoordinate(Coordinates):
    """The window for early stopping: 100 x 200, five ones, the same start 0.005 of each factor at depths 2, 3 and 4.

    The window begins when all entries of the support are within 0.1 of 1, and ends when one of the others passes
    product_scale^(1/4). At depth 4 this takes 3.2 million steps of size 0.01. The quick size is the same problem along
    the flow.
    """

    name: ClassVar[str] = "early-stopping-coordinate"
    title: ClassVar[str] = "The window for early stopping grows with depth"

    rows: int = 100
    columns: int = 200
    depths: tuple[float, ...] = (2.0, 3.0, 4.0)
    product_scales: tuple[float, ...] = (0.005**2, 0.005**3, 0.005**4)
    step_sizes: tuple[float, ...] = (0.01, 0.01, 0.01)
    iterations: tuple[int, ...] = (3000, 50_000, 3_200_000)
    single: bool = False

    @classmethod
    def quick(cls) -> EarlyStoppingCoordinate:
        return cls(dynamics="flow")

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        found = self.numbers(records)
        sizes = [numbers["stop"] - numbers["start"] for _, numbers in sorted(found.items())]
        claims = [
            Claim(
                "The window, in steps of one size, grows with depth.",
                f"{ABSTRACT}; {THEORY}",
                [
                    Check.equal("window from shallow to deep", predicted="increasing", measured=ordered(sizes)),
                    *(
                        Check.at_least(f"depth {depth:g}: stop over start", measured=n["stop"] / n["start"], bound=1)
                        for depth, n in found.items()
                    ),
                ],
            ),
            self.claim_start(records),
            self._claim_stop(records),
            self.claim_error(records),
        ]
        if self.published:
            checks = [
                Check.near(
                    f"depth {depth:g}: first step of the window",
                    predicted=step,
                    measured=found[depth]["start"],
                    tolerance=self.redraw * step,
                )
                for depth, step in zip(self.depths, (232, 4249, 318_020), strict=True)
            ]
            note = REDRAW + " The last step depends on the largest of the noise, which is another one."
            claims.append(Claim("The published settings open the window at 232, 4249 and 318020.", CODE, checks, note))
        return claims

    def _claim_stop(self, records: pd.DataFrame) -> Claim:
        checks = []
        for depth, numbers in self.numbers(records).items():
            error = math.sqrt(self.sparsity / self.rows) * numbers["start"] / numbers["pull of noise"]
            checks.append(
                Check.near(
                    f"depth {depth:g}: steps until one of the others passes the level",
                    predicted=round(numbers["predicted stop"]),
                    measured=numbers["stop"],
                    tolerance=error,
                )
            )
        return Claim(
            "The window ends after as many steps as one coordinate alone takes under the largest pull of this noise.",
            THEORY,
            checks,
            note="Until the support is there, its entries pull the others as well, by about sqrt(k / n): a standard "
            "deviation of that, over as long as it lasts, is the tolerance.",
        )

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = panels(figure, self.depths)
        for depth, ax in axes.items():
            _draw_with_window(self, ax, records, depth)
            numbers = self.numbers(records)[depth]
            ax.set_ylim(0, 1.6)
            ax.set_title(f"depth {depth:g}: a window of {numbers['stop'] - numbers['start']:,.0f} steps", loc="left")
        legend_below(figure, axes.values(), columns=3)
