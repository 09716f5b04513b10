"""Where in the plane of measurements and non-zeros recovery sets in, beside the weak threshold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import hadaflow as hf
from hadaflow._types import Sign, Vector
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._a_common import RECOVERED, Planted, binomial_error, sparse_vector
from hadaflow.experiments.catalogue._looks import BLACK
from hadaflow.experiments.ensembles import gaussian
from hadaflow.theory.measurements import MeasurementsNeeded, measurements_needed, recovery_probability

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_EXACT = 0.0  # stands for the vanished start where others have their depth
_NORMAL_ERROR = 0.1  # of the theory's normal approximation, down to two measurements


@dataclass(frozen=True)
class TransitionPlane(Experiment):
    """Share of vectors recovered from m Gaussian measurements of s non-zeros among n coordinates, for all m and s.

    Basis pursuit and limits of the flow at depths 2 and 3 from one product scale, on the same instances; for vectors of
    both signs, and for basis pursuit on non-negative ones. Drawn with the weak threshold: where the statistical
    dimension of the descent cone equals m.
    """

    name: ClassVar[str] = "transition-plane"
    paper: ClassVar[str] = "A"
    title: ClassVar[str] = "The plane of measurements and non-zeros"
    figsize: ClassVar[tuple[float, float]] = (7.5, 7.0)

    n: int = 100
    steps: int = 24
    trials: int = 25
    depths: tuple[float, ...] = (2.0, 3.0)
    product_scale: float = 1e-6
    seed: int = 0

    @classmethod
    def quick(cls) -> TransitionPlane:
        return cls(n=60, steps=8, trials=8)

    @property
    def _fractions(self) -> list[float]:
        """The grid of m / n and of s / m: centres of equal cells."""
        return [(k + 0.5) / self.steps for k in range(self.steps)]

    def tasks(self) -> list[dict[str, Any]]:
        return [{"m": m} for m in sorted({max(2, round(fraction * self.n)) for fraction in self._fractions})]

    def run(self, *, m: int) -> Iterator[dict[str, Any]]:
        for s in sorted({_nonzeros(m, fraction) for fraction in self._fractions}):
            for sign in ("both", "positive"):
                counts = self._count(m, s, sign == "positive")
                for depth, count in counts.items():
                    yield {"s": s, "sign": sign, "depth": depth, "share": count / self.trials}

    def _count(self, m: int, s: int, positive: bool) -> dict[float, int]:
        """Vectors recovered, by depth."""
        counts = dict.fromkeys((_EXACT, *(() if positive else self.depths)), 0)
        for trial in range(self.trials):
            rng = np.random.default_rng([self.seed, m, s, trial])
            case = Planted(gaussian(rng, m, self.n), sparse_vector(rng, self.n, s, positive=positive))
            for depth in counts:
                counts[depth] += case.error(self._answer(case, depth, positive)) <= RECOVERED
        return counts

    def _answer(self, case: Planted, depth: float, positive: bool) -> Any:
        if depth == _EXACT:
            return hf.recover(case.A, case.y, positive=positive).x
        return hf.limit(case.problem, hf.HadamardPower(depth), init_scale=self.product_scale ** (1 / depth)).x

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        grids = self._grids(records)
        flows = {depth: grids[_name(depth, "both")] for depth in self.depths}
        exact = grids[_name(_EXACT, "both")]
        lost = {depth: float((exact - grid).mean() / exact.mean()) for depth, grid in flows.items()}
        return [
            Claim(
                "Basis pursuit recovers below the weak threshold and fails above it, for vectors of both signs and for "
                "non-negative ones; between, with the probability that the statistical dimension predicts.",
                source='checked numerically: docs/mathematics.md, "How many measurements"',
                checks=[
                    Check.at_most(
                        f"share of cells off the predicted probability, {sign}",
                        measured=self._fraction_off(records, sign),
                        bound=0.02,
                    )
                    for sign in ("both", "positive")
                ],
                note=f"Allowed in a cell: three binomial standard deviations of {self.trials} trials, half a trial, "
                "and 0.1 for the normal approximation, whose spread is too small for few measurements and for dense "
                "vectors. One cell in fifty may be off.",
            ),
            Claim(
                f"From a product scale of {self.product_scale:g} the flow recovers nearly all of that region at depth "
                "3, and loses much of it at depth 2.",
                source="from paper A's abstract (the theory predicts the recovery rate); numbers: checked numerically",
                checks=[
                    Check.at_most("depth 3: share of the region lost", measured=lost[3.0], bound=0.1),
                    Check.at_least("depth 2: share of the region lost", measured=lost[2.0], bound=0.2),
                ],
                note="The region: mean share of successes over the plane. A tenth is what counts as nearly all.",
            ),
        ]

    def _fraction_off(self, records: pd.DataFrame, sign: Sign) -> float:
        """Share of the cells of basis pursuit whose frequency is not the predicted one."""
        cells = records[(records["sign"] == sign) & (records["depth"] == _EXACT)]
        off = []
        for m, s, recovered in zip(cells["m"], cells["s"], cells["share"], strict=True):
            predicted = recovery_probability(int(m), self.n, int(s), sign=sign)
            off.append(abs(recovered - predicted) > binomial_error(predicted, self.trials) + _NORMAL_ERROR)
        return float(np.mean(off))

    def _grids(self, records: pd.DataFrame) -> dict[str, Vector]:
        """Shares of successes as pictures, s / m by m / n; where m is small, several cells show the same s."""
        grids = {}
        measurements = [task["m"] for task in self.tasks()]
        for (depth, sign), some in records.groupby(["depth", "sign"]):
            recovered = some.set_index(["m", "s"])["share"]
            grids[_name(float(depth), str(sign))] = np.array(
                [[recovered[m, _nonzeros(m, part)] for m in measurements] for part in self._fractions]
            )
        return grids

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = figure.subplots(2, 2, sharex=True, sharey=True, gridspec_kw={"wspace": 0.06})
        grids = self._grids(records)
        titles = {
            _name(_EXACT, "both"): "basis pursuit",
            _name(_EXACT, "positive"): "basis pursuit, x ≥ 0",
            _name(3.0, "both"): f"flow, depth 3, scale {self.product_scale:g}",
            _name(2.0, "both"): f"flow, depth 2, scale {self.product_scale:g}",
        }
        for ax, (name, title) in zip(axes.flat, titles.items(), strict=True):
            image = ax.imshow(
                grids[name], origin="lower", extent=(0, 1, 0, 1), vmin=0, vmax=1, cmap="cividis", aspect="auto"
            )
            sign: Sign = "positive" if name.endswith("positive") else "both"
            curve = [(needed.transition, s) for s, needed in self._threshold(sign)]
            m, s = np.array(curve).T
            ax.plot(m / self.n, s / m, color=BLACK, linewidth=4)
            ax.plot(m / self.n, s / m, color="white", linewidth=1.8, linestyle="--")
            ax.set(title=title, xlim=(0, 1), ylim=(0, 1))
        for ax in axes[1]:
            ax.set_xlabel("measurements per coordinate m / n")
        for ax in axes[:, 0]:
            ax.set_ylabel("non-zeros per measurement s / m")
        figure.colorbar(image, ax=axes, label="share recovered (dashed: theory, one half)", shrink=0.6)

    def _threshold(self, sign: Sign) -> Iterator[tuple[int, MeasurementsNeeded]]:
        for s in range(1, self.n):
            yield s, measurements_needed(self.n, s, sign=sign)


def _name(depth: float, sign: str) -> str:
    return f"{depth:g} {sign}"


def _nonzeros(m: int, fraction: float) -> int:
    return max(1, round(fraction * m))
