"""Starts that differ by coordinate: a weighted l1 norm above depth 2, the plain one at depth 2."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import hadaflow as hf
from hadaflow._types import Float, Vector
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._a_common import RECOVERED, Planted, sparse_vector
from hadaflow.experiments.catalogue._looks import BLACK, DEPTHS, legend_above
from hadaflow.experiments.ensembles import gaussian
from hadaflow.plotting.palette import BLUE, GREY
from hadaflow.theory.l1_bounds import start_weights

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WHERE, _PRIOR = "where", "prior"
_OWN, _SHARPENED = "own", "log"


@dataclass(frozen=True)
class Starts(Experiment):
    """Where the flow ends if coordinates start at different heights.

    First, starts t c with fixed random c between 1/2 and 1, as t falls: distance of the limit from the minimiser of the
    weighted l1 norm that the theory names, found exactly by `hf.recover` with those weights. There are too few
    measurements for the plain norm, so that its minimiser is another one. Second, what that is good for: a guess of 25
    coordinates that holds four of the five non-zeros is told to the flow by starting those higher.
    """

    name: ClassVar[str] = "starts"
    paper: ClassVar[str] = "A"
    title: ClassVar[str] = "Starts that differ by coordinate"

    rows: int = 12
    columns: int = 40
    sparsity: int = 8
    trials: int = 25
    seed: int = 0
    depths: tuple[float, ...] = (3.0, 4.0)
    exponents: tuple[int, ...] = (-2, -3, -4, -6, -8, -10)
    shallow_exponents: tuple[int, ...] = (-2, -4, -6, -8, -10, -20, -40, -80, -160)
    prior_columns: int = 100
    prior_sparsity: int = 5
    prior_measurements: tuple[int, ...] = tuple(range(6, 33, 2))
    prior_trials: int = 100
    prior_guess: int = 25
    prior_lift: float = 2.0
    prior_depth: float = 3.0
    prior_scale: float = 1e-6

    @classmethod
    def quick(cls) -> Starts:
        return cls(trials=6, prior_trials=25, prior_measurements=(8, 12, 16, 20, 24, 28))

    def tasks(self) -> list[dict[str, Any]]:
        where: list[dict[str, Any]] = [{"kind": _WHERE, "at": trial} for trial in range(self.trials)]
        return where + [{"kind": _PRIOR, "at": m} for m in self.prior_measurements]

    def run(self, *, kind: str, at: int) -> Iterator[dict[str, Any]]:
        yield from self._where(at) if kind == _WHERE else self._prior(at)

    def _where(self, trial: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng([self.seed, trial])
        case = Planted(gaussian(rng, self.rows, self.columns), sparse_vector(rng, self.columns, self.sparsity))
        c = rng.uniform(0.5, 1, self.columns)
        plain = hf.recover(case.A, case.y)
        for depth in self.depths:
            weighted = hf.recover(case.A, case.y, weights=start_weights(c, depth=depth))
            about = {"depth": depth, "of": _OWN, "apart": _distance(plain.x, weighted.x)}
            for exponent in self.exponents:
                x = self._limit(case, depth, exponent, c)
                yield about | {"exponent": exponent, "distance": _distance(x, weighted.x)}
        for exponent in self.shallow_exponents:
            x = self._limit(case, 2.0, exponent, c)
            start = 10.0 ** (exponent / 2) * c
            sharpened = hf.recover(case.A, case.y, weights=np.log(1 / start))
            about = {"depth": 2.0, "exponent": exponent, "apart": _distance(plain.x, sharpened.x)}
            yield about | {"of": _OWN, "distance": _distance(x, plain.x)}
            yield about | {"of": _SHARPENED, "distance": _distance(x, sharpened.x)}

    def _limit(self, case: Planted, depth: float, exponent: float, c: Vector) -> Float:
        return hf.limit(case.problem, hf.HadamardPower(depth), init_scale=10 ** (exponent / depth) * c).x

    def _prior(self, m: int) -> Iterator[dict[str, Any]]:
        """Success with and without a guess, for the flow and for the norm that its start stands for."""
        for trial in range(self.prior_trials):
            rng = np.random.default_rng([self.seed, m, trial])
            n = self.prior_columns
            case = Planted(gaussian(rng, m, n), sparse_vector(rng, n, self.prior_sparsity))
            lift = np.where(self._guess(rng, case), self.prior_lift, 1.0)
            flow = {"flow": np.ones(n), "flow with guess": lift}
            exact = {"norm": None, "norm with guess": start_weights(lift, depth=self.prior_depth)}
            answers: dict[str, Float] = {
                way: self._limit(case, self.prior_depth, math.log10(self.prior_scale), start)
                for way, start in flow.items()
            }
            answers |= {way: hf.recover(case.A, case.y, weights=weights).x for way, weights in exact.items()}
            for way, x in answers.items():
                yield {"trial": trial, "way": way, "success": case.error(x) <= RECOVERED}

    def _guess(self, rng: np.random.Generator, case: Planted) -> NDArray[np.bool_]:
        """Coordinates thought to be non-zero: all that are but one, and others at random."""
        support = np.flatnonzero(case.x)
        held = rng.permutation(support)[1:]
        others = rng.choice(np.setdiff1d(np.arange(len(case.x)), support), self.prior_guess - len(held), replace=False)
        return np.isin(np.arange(len(case.x)), np.concatenate([held, others]))

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        where, prior = records[records["kind"] == _WHERE], records[records["kind"] == _PRIOR]
        return [self._weighted(where), self._plain(where), self._helped(prior)]

    def _weighted(self, where: pd.DataFrame) -> Claim:
        last = min(self.exponents)
        checks = []
        for depth in self.depths:
            some = where[(where["depth"] == depth) & (where["exponent"] == last)]
            checks += [
                Check.at_most(f"depth {depth:g}: median distance", measured=some["distance"].median(), bound=1e-3),
                Check.at_least(
                    f"depth {depth:g}: median distance of the plain minimiser",
                    measured=some["apart"].median(),
                    bound=0.05,
                ),
            ]
        return Claim(
            "Above depth 2 starts in the proportion c lead, as they vanish, to the minimiser of the l1 norm with "
            "weights (max c / c)^(D - 2).",
            source='proved: docs/mathematics.md, "The limit" (Weights)',
            checks=checks,
            note=f"At product scale 1e{last}; distances in the l1 norm, relative to the minimiser. The second check "
            "makes sure that the two norms tell something different.",
        )

    def _plain(self, where: pd.DataFrame) -> Claim:
        shallow = where[where["depth"] == 2]
        least = shallow[shallow["exponent"] == min(self.shallow_exponents)].groupby("of")["distance"]
        return Claim(
            "At depth 2 the same starts lead to the minimiser of the plain l1 norm: weights log(1 / a_i), which differ "
            "at any scale, tend to equal ones.",
            source='proved: docs/mathematics.md, "The limit" (Weights)',
            checks=[
                Check.at_most("median distance from the plain minimiser", measured=least.median()[_OWN], bound=1e-2),
            ],
            note=f"At product scale 1e{min(self.shallow_exponents)}. Medians, because the scale enters as w^(1 - "
            "rho): where rho is within 0.01 of 1 even this scale is not small.",
        )

    def _helped(self, prior: pd.DataFrame) -> Claim:
        fractions = prior.groupby(["way", "at"])["success"].mean().unstack("way")
        area = {way: float(np.trapezoid(fractions[way], fractions.index)) for way in fractions}
        return Claim(
            "Starting a guessed set of coordinates higher saves measurements, as many as the weighted norm that it "
            "stands for saves basis pursuit.",
            source='checked numerically; weights: docs/mathematics.md, "The limit" (Weights)',
            checks=[
                Check.at_least("measurements saved", measured=area["flow with guess"] - area["flow"], bound=1),
                Check.near(
                    "area under the success curve, in measurements",
                    predicted=area["norm with guess"],
                    measured=area["flow with guess"],
                    tolerance=1.5,
                ),
            ],
            note=f"Product scale {self.prior_scale:g} at depth {self.prior_depth:g}, where the flow from a uniform "
            "start lags basis pursuit by a little over one measurement.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        left, right = figure.subplots(1, 2)
        self._draw_distances(left, records[records["kind"] == _WHERE])
        self._draw_prior(right, records[records["kind"] == _PRIOR])

    def _draw_distances(self, ax: Axes, where: pd.DataFrame) -> None:
        median = where.groupby(["depth", "of", "exponent"])["distance"].median()
        for depth in self.depths:
            look, some = DEPTHS[depth], median[depth, _OWN]
            ax.loglog(-some.index, some, look.line, color=look.colour, marker=look.marker, markersize=4,
                      label=f"depth {depth:g}, weighted")  # fmt: skip
        for of, line, label in ((_OWN, "-", "depth 2, plain"), (_SHARPENED, ":", "depth 2, weights log(1/a)")):
            some, fill = median[2.0, of], "full" if of == _OWN else "none"
            ax.loglog(-some.index, some, line, color=BLUE, marker="o", markersize=4, fillstyle=fill, label=label)
        ticks = [-exponent for exponent in self.shallow_exponents if exponent in (-2, -4, -10, -40, -160)]
        ax.set_xticks(ticks, [f"1e-{tick}" for tick in ticks])
        ax.set_xticks([], minor=True)
        ax.set(xlabel="product scale (decades, logarithmic)", ylabel="relative ℓ1 distance (median)")
        legend_above(ax, "distance from the minimiser of", columns=2)

    def _draw_prior(self, ax: Axes, prior: pd.DataFrame) -> None:
        fractions = prior.groupby(["way", "at"])["success"].mean()
        looks = {
            "norm": (GREY, "--", "", "plain ℓ1 norm"),
            "flow": (DEPTHS[3.0].colour, "--", "s", "flow, uniform start"),
            "norm with guess": (BLACK, "-", "", "weighted ℓ1 norm"),
            "flow with guess": (DEPTHS[3.0].colour, "-", "s", "flow, guess higher"),
        }
        for way, (colour, line, marker, label) in looks.items():
            some = fractions[way]
            ax.plot(some.index, some, line, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=label)
        ax.set(xlabel="measurements m", ylabel="share of vectors recovered", ylim=(-0.03, 1.03))
        legend_above(ax, f"what a guess is worth (depth {self.prior_depth:g})", columns=2)


def _distance(x: Float, minimiser: Float) -> float:
    return float(np.abs(x - minimiser).sum() / np.abs(minimiser).sum())
