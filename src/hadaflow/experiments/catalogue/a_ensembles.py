"""Matrices that are not Gaussian: where recovery sets in with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import hadaflow as hf
from hadaflow._types import Vector
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._a_common import RECOVERED, Planted, binomial_error, sparse_vector
from hadaflow.experiments.catalogue._looks import BLACK, TEAL, Look, legend_above
from hadaflow.experiments.ensembles import cosine, gaussian, signs
from hadaflow.plotting.palette import BLUE, GREY, ORANGE
from hadaflow.theory.measurements import measurements_needed, recovery_probability

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EXACT, _FLOW = "basis pursuit", "flow"
_NORMAL_ERROR = 0.05  # of the theory's normal approximation at this n


def _fourier(rng: np.random.Generator, m: int, n: int) -> Vector:
    """Real and imaginary rows of the Fourier transform at random frequencies, neither the mean nor the highest one."""
    frequencies = 1 + rng.choice((n - 1) // 2, m // 2, replace=False)
    phases = 2 * math.pi * np.outer(frequencies, np.arange(n)) / n
    return np.concatenate([np.cos(phases), np.sin(phases)]) * math.sqrt(2 / m)


_ENSEMBLES: dict[str, Callable[[np.random.Generator, int, int], Vector]] = {
    "Gaussian": gaussian,
    "random signs": signs,
    "cosine rows": cosine,
    "Fourier rows": _fourier,
}
_LOOKS = {
    "Gaussian": Look(BLACK, "x", ""),
    "random signs": Look(BLUE, "o", ""),
    "cosine rows": Look(ORANGE, "s", ""),
    "Fourier rows": Look(TEAL, "^", ""),
}


@dataclass(frozen=True)
class Ensembles(Experiment):
    """The share of sparse vectors recovered, for four kinds of random matrices beside the theory for the Gaussian one.

    Independent normal entries; independent signs; random rows of the orthogonal cosine transform; real and imaginary
    rows of the Fourier transform at random frequencies, two measurements each. Eight normal entries among 128
    coordinates; basis pursuit, and the limit of the flow at depth 3.
    """

    name: ClassVar[str] = "ensembles"
    paper: ClassVar[str] = "A"
    title: ClassVar[str] = "Other matrices, the same transition"

    n: int = 128
    sparsity: int = 8
    measurements: tuple[int, ...] = tuple(range(16, 61, 4))
    trials: int = 200
    depth: float = 3.0
    product_scale: float = 1e-6
    seed: int = 0

    @classmethod
    def quick(cls) -> Ensembles:
        return cls(measurements=(20, 26, 30, 34, 40, 50), trials=25)

    def tasks(self) -> list[dict[str, Any]]:
        return [{"ensemble": ensemble, "m": m} for ensemble in _ENSEMBLES for m in self.measurements]

    def run(self, *, ensemble: str, m: int) -> Iterator[dict[str, Any]]:
        model, a = hf.HadamardPower(self.depth), self.product_scale ** (1 / self.depth)
        number = list(_ENSEMBLES).index(ensemble)
        for trial in range(self.trials):
            rng = np.random.default_rng([self.seed, number, m, trial])
            case = Planted(_ENSEMBLES[ensemble](rng, m, self.n), sparse_vector(rng, self.n, self.sparsity))
            answers = {
                _EXACT: hf.recover(case.A, case.y).x,
                _FLOW: hf.limit(case.problem, model, init_scale=a).x,
            }
            for way, x in answers.items():
                yield {"trial": trial, "way": way, "success": case.error(x) <= RECOVERED}

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        fractions = records.groupby(["way", "ensemble", "m"])["success"].mean()
        return [self._universal(fractions), self._flow(fractions)]

    def _universal(self, fractions: pd.Series) -> Claim:
        checks = []
        for ensemble in _ENSEMBLES:
            apart = []
            for m, fraction in fractions[_EXACT, ensemble].items():
                predicted = recovery_probability(m, self.n, self.sparsity)
                apart.append(abs(fraction - predicted) / (binomial_error(predicted, self.trials) + _NORMAL_ERROR))
            label = f"{ensemble}: largest deviation from the Gaussian theory, in what is allowed"
            checks.append(Check.at_most(label, measured=max(apart), bound=1))
        return Claim(
            "Random signs, cosine rows and Fourier rows recover like Gaussian matrices do: success follows the "
            "theory that is made for these alone.",
            source="open hint (universality is an observation of Donoho and Tanner); checked numerically",
            checks=checks,
            note=f"Basis pursuit. Allowed: three binomial standard deviations of {self.trials} trials, half a trial, "
            f"and {_NORMAL_ERROR} for the normal approximation at this n.",
        )

    def _flow(self, fractions: pd.Series) -> Claim:
        transition = measurements_needed(self.n, self.sparsity).transition
        checks = []
        for ensemble in _ENSEMBLES:
            lost = fractions[_EXACT, ensemble] - fractions[_FLOW, ensemble]
            checks.append(
                Check.at_most(
                    f"{ensemble}: measurements more than basis pursuit",
                    measured=float(np.trapezoid(lost.to_numpy(), lost.index.to_numpy())),
                    bound=0.1 * transition,
                )
            )
        return Claim(
            f"So does the flow at depth {self.depth:g} from product scale {self.product_scale:g}.",
            source="checked numerically",
            checks=checks,
            note="Area between the curves of success; a tenth of the transition is allowed.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        fractions = records.groupby(["way", "ensemble", "m"])["success"].mean()
        titles = {_EXACT: "basis pursuit", _FLOW: f"flow, depth {self.depth:g}, scale {self.product_scale:g}"}
        axes = figure.subplots(1, 2, sharey=True)
        for ax, (way, title) in zip(axes, titles.items(), strict=True):
            self._draw_one(ax, fractions[way], title)
        axes[0].set_ylabel("share of vectors recovered")

    def _draw_one(self, ax: Axes, fractions: pd.Series, title: str) -> None:
        grid = range(min(self.measurements), max(self.measurements) + 1)
        predicted = [recovery_probability(m, self.n, self.sparsity) for m in grid]
        ax.plot(grid, predicted, color=GREY, linewidth=3, alpha=0.6, label="Gaussian theory")
        for ensemble, look in _LOOKS.items():
            some = fractions[ensemble]
            ax.plot(some.index, some, look.marker, color=look.colour, markersize=4.5, label=ensemble)
        ax.set(xlabel="measurements m", ylim=(-0.03, 1.03))
        legend_above(ax, title, columns=2)
