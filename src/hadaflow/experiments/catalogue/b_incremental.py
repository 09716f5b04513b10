"""Paper B, coordinate by coordinate: one entry after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hadaflow.experiments import Check, Claim
from hadaflow.experiments.catalogue._b_drawing import (
    draw_coordinates,
    draw_targets,
    legend_below,
    panels,
)
from hadaflow.experiments.catalogue._b_training import ABSTRACT, CODE, THEORY, Coordinates
from hadaflow.experiments.catalogue.b_coordinates import REDRAW, curves, ordered

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class IncrementalLearning(Coordinates):
    """Entries of size 1, 2, 3 and 4 among 3000 coordinates, 500 measurements, noise; product scale 1e-4.

    Larger entries are learned first, and the stages separate more sharply at larger depth. The quick size has 200 x 800
    and follows the flow.
    """

    name: ClassVar[str] = "incremental-learning"
    title: ClassVar[str] = "Larger entries first, one after the other"

    entries: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    product_scales: tuple[float, ...] = (1e-4, 1e-4, 1e-4)
    step_sizes: tuple[float, ...] = (1e-3, 1e-3, 1e-3)
    iterations: tuple[int, ...] = (2500, 6000, 15_000)

    @classmethod
    def quick(cls) -> IncrementalLearning:
        return cls(rows=200, columns=800, dynamics="flow")

    def _half_way(self, numbers: dict[str, float]) -> list[float]:
        return [numbers[f"0.5 of entry {i + 1}"] for i in range(self.sparsity)]

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        found = self.numbers(records)
        order = [
            Check.equal(
                f"depth {depth:g}: half-way steps from the largest entry to the smallest",
                predicted="increasing",
                measured=ordered(
                    [step for _, step in sorted(zip(self.entries, self._half_way(numbers), strict=True), reverse=True)]
                ),
            )
            for depth, numbers in found.items()
        ]
        blur = [
            (n["0.9 of entry 1"] - n["0.1 of entry 1"]) / n["0.5 of entry 1"]
            for _, n in sorted(found.items(), reverse=True)
        ]
        claims = [
            Claim("Larger entries are learned first.", ABSTRACT + " (incremental learning)", order),
            self._claim_times(found),
            Claim(
                "The stages separate more sharply at larger depth: the smallest entry takes a smaller share of its "
                "half-way time to come from a tenth to nine tenths.",
                "from paper B's figures, as its code draws them",
                [Check.equal("that share, from deep to shallow", predicted="increasing", measured=ordered(blur))],
            ),
        ]
        if self.published:
            steps = ((1334, 584, 406, 327), (3913, 1638, 1098, 861), (9470, 3935, 2629, 2055))
            checks = [
                Check.near(
                    f"depth {depth:g}: largest relative deviation from {' / '.join(map(str, expected))}",
                    predicted=0,
                    measured=float(np.abs(np.array(self._half_way(found[depth])) / expected - 1).max()),
                    tolerance=self.redraw,
                )
                for depth, expected in zip(self.depths, steps, strict=True)
            ]
            claims.append(Claim("Half-way steps of the published settings, entries 1 to 4.", CODE, checks, note=REDRAW))
        return claims

    def _claim_times(self, found: dict[float, dict[str, float]]) -> Claim:
        scatter = np.array([self.scatter(entry) for entry in self.entries])
        checks = []
        for depth, numbers in found.items():
            ratios = np.array(self._half_way(numbers)) / self.predicted(depth)
            worst = float((np.abs(1 / ratios - 1) / scatter).max())
            checks.append(
                Check.at_most(f"depth {depth:g}: largest deviation, in standard deviations", measured=worst, bound=3)
            )
        return Claim(
            "Each entry is half-way when one coordinate alone would be: times fall like one over its size.",
            THEORY,
            checks,
            note="In units of the standard deviation of the pull on that entry at the start, through a random design; "
            f"it is {100 * scatter[0]:.0f} % for the smallest entry and {100 * scatter[-1]:.0f} % for the largest.",
        )

    def predicted(self, depth: float) -> list[float]:
        """Half-way steps of single coordinates."""
        return [self.schedule(depth).steps_to(entry, 0.5, self.rows) for entry in self.entries]

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = panels(figure, self.depths)
        for depth, ax in axes.items():
            draw_coordinates(ax, curves(records, depth))
            draw_targets(ax, self.entries)
            ax.plot(
                self.predicted(depth),
                np.array(self.entries) / 2,
                marker="o",
                markersize=7,
                fillstyle="none",
                color="#222222",
                linestyle="none",
                label="half-way, as predicted",
            )
            ax.set_ylim(0, 5.5)
            ax.set_title(f"depth {depth:g}", loc="left")
        legend_below(figure, axes.values(), columns=2)
