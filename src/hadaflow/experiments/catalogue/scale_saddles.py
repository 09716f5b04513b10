"""From saddle to saddle: how fast training comes to jump as its start vanishes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

import hadaflow as hf
from hadaflow._types import Vector
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._looks import legend_above
from hadaflow.plotting.palette import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Gauss-Legendre on [0, 1], used between the steps of the integrator.
_NODES, _WEIGHTS = (0.5 * (np.polynomial.legendre.leggauss(4)[0] + 1), 0.5 * np.polynomial.legendre.leggauss(4)[1])
_ON_BOUND = 1e-9  # of the dual state, how near 1 counts as 1
_SHARPEST = 6e7  # condition of the mirror map below which flow() integrates and does not take the saddle path itself


def rate(depth: float, product_scale: float) -> float:
    """k in ``tau = k t``: rescaled time per flow time."""
    if depth == 2:
        return 4 / math.log(1 / product_scale)
    return float(depth * (depth - 2) * product_scale ** (1 - 2 / depth))


def exponent(depth: float, strict: bool) -> float:
    """Power of the product scale at which the distance falls, for depth > 2."""
    return (depth - 2) / depth if strict else (depth - 2) / (2 * (depth - 1))


class _Sampled(NamedTuple):
    """Flow and saddle path at the nodes of a quadrature in rescaled time."""

    taus: Vector
    weights: Vector
    flow: Vector
    saddle: Vector


@dataclass(frozen=True)
class SaddleToSaddle(Experiment):
    """Flow from tiny starts against the saddle path of `hf.saddles`, both in rescaled time.

    Small random problems: a Gaussian matrix, a sparse vector of random signs with sizes from 0.5 to 2. The flow is
    integrated in the dual state at every scale: at depth 2 down to product scales that no factor could hold in double
    precision; above it at moderate ones only, since beyond them `hf.flow` takes the saddle path itself and would be
    compared with itself. The distance is the l1 norm of the difference, integrated over rescaled time up to a quarter
    beyond the last jump, in units of the same integral of the saddle path; nothing is left out.
    """

    name: ClassVar[str] = "saddle-to-saddle"
    paper: ClassVar[str] = "scale"
    title: ClassVar[str] = "From saddle to saddle as the start vanishes"
    figsize: ClassVar[tuple[float, float]] = (7.5, 6.6)

    rows: int = 6
    columns: int = 12
    sparsity: int = 2
    trials: int = 20
    seed: int = 0
    shown: int = 2
    scales: tuple[float, ...] = (1e-8, 1e-30, 1e-100, 1e-200)
    deep_depths: tuple[float, ...] = (3.0, 4.0)
    deep_scales: tuple[float, ...] = (1e-6, 1e-9, 1e-12, 1e-14)
    tolerance: float = 1e-7

    @classmethod
    def quick(cls) -> SaddleToSaddle:
        return cls(trials=4, seed=2, shown=0, scales=(1e-8, 1e-30, 1e-100), deep_depths=(3.0,))

    def tasks(self) -> list[dict[str, Any]]:
        depths = (2.0, *self.deep_depths)
        return [{"trial": trial, "depth": depth} for trial in range(self.trials) for depth in depths]

    def run(self, *, trial: int, depth: float) -> Iterator[dict[str, Any]]:
        problem = self._problem(trial)
        saddle = hf.saddles(problem)
        last = float(saddle.times[-1])
        face = np.abs(problem.operator.rmatvec(saddle.dual_at(last))) > 1 - _ON_BOUND
        about: dict[str, Any] = {
            "exact": saddle.status is hf.Status.EXACT,
            "jumps": len(saddle.times) - 1,
            "strict": int(face.sum()) == np.count_nonzero(saddle.final),
        }
        for scale in self.scales if depth == 2 else self.deep_scales:
            sampled = self._sample(problem, saddle, depth, scale)
            about["scale"] = scale
            gap = np.abs(sampled.flow - sampled.saddle).sum(axis=1)
            distance = float(gap @ sampled.weights / (np.abs(sampled.saddle).sum(axis=1) @ sampled.weights))
            yield about | {"kind": "distance", "value": distance}
            for event, delay in enumerate(_delays(saddle, sampled), start=1):
                yield about | {"kind": "delay", "event": event, "value": delay}
            if depth == 2 and trial == self.shown and scale in (max(self.scales), min(self.scales)):
                yield from _curves(about, sampled, saddle)

    def _problem(self, trial: int) -> hf.Problem:
        rng = np.random.default_rng(self.seed + trial)
        A = rng.standard_normal((self.rows, self.columns)) / math.sqrt(self.rows)
        x = np.zeros(self.columns)
        support = rng.choice(self.columns, self.sparsity, replace=False)
        x[support] = rng.choice([-1, 1], self.sparsity) * rng.uniform(0.5, 2, self.sparsity)
        return hf.Problem(A, A @ x)

    def _sample(self, problem: hf.Problem, saddle: hf.SaddlePath, depth: float, scale: float) -> _Sampled:
        kappa = math.inf if depth == 2 else depth / (depth - 2)
        if depth > 2 and kappa * (float(np.abs(saddle.final).max()) / scale) ** (1 / kappa) > _SHARPEST:
            raise ValueError(f"at depth {depth:g} and product scale {scale:g} flow() takes the saddle path itself")
        k, end = rate(depth, scale), 1.25 * float(saddle.times[-1])
        path = hf.flow(
            problem,
            hf.HadamardPower(depth),
            init_scale=scale ** (1 / depth),
            t_end=end / k,
            tolerance=self.tolerance,
        )
        edges = np.unique(np.concatenate([np.minimum(path.times * k, end), saddle.times, [end]]))
        spans = np.diff(edges)
        taus = (edges[:-1, None] + spans[:, None] * _NODES).ravel()
        return _Sampled(
            taus,
            (spans[:, None] * _WEIGHTS).ravel(),
            path(np.minimum(taus / k, path.t_end)).astype(np.float64),
            saddle.x[np.searchsorted(saddle.times, taus, side="right") - 1].toarray(),
        )

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        distances = records[records["kind"] == "distance"]
        delays = records[records["kind"] == "delay"]
        return [
            _logarithmic(distances[distances["depth"] == 2], delays[delays["depth"] == 2]),
            *(_algebraic(distances[distances["depth"] == depth], depth) for depth in self.deep_depths),
            Claim(
                "The saddle path ends at a solution of smallest l1 norm, proved by its own dual state.",
                source='proved: docs/mathematics.md, "The saddle path"',
                checks=[
                    Check.equal(
                        "problems whose end is certified", predicted=self.trials, measured=_certified(distances)
                    )
                ],
            ),
        ]

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = figure.subplot_mosaic([["path", "path"], ["two", "deep"]])
        _draw_paths(axes["path"], records[records["kind"] == "curve"])
        distances = records[records["kind"] == "distance"]
        _draw_logarithmic(axes["two"], distances[distances["depth"] == 2])
        _draw_algebraic(axes["deep"], distances[distances["depth"] > 2])


def _delays(saddle: hf.SaddlePath, sampled: _Sampled) -> Iterator[float]:
    """For each jump, when the coordinate that jumps farthest is half-way there; relative to the time of the jump."""
    plateaus = saddle.x.toarray()
    for k in range(1, len(saddle.times)):
        step = plateaus[k] - plateaus[k - 1]
        i = int(np.abs(step).argmax())
        ahead = (sampled.flow[:, i] - (plateaus[k, i] + plateaus[k - 1, i]) / 2) * np.sign(step[i])
        crossed = np.flatnonzero((ahead[:-1] < 0) & (ahead[1:] >= 0))
        if len(crossed) == 0:
            yield math.nan
            continue
        before, after = ahead[crossed], ahead[crossed + 1]
        taus = sampled.taus[crossed] + np.diff(sampled.taus)[crossed] * before / (before - after)
        yield float((np.abs(taus - saddle.times[k])).min() / saddle.times[k])


def _curves(about: dict[str, Any], sampled: _Sampled, saddle: hf.SaddlePath) -> Iterator[dict[str, Any]]:
    """Coordinates that are ever seen, on about 300 of the quadrature's times."""
    seen = np.flatnonzero(np.abs(saddle.x.toarray()).max(axis=0) > 1e-9)
    grid = np.linspace(0, sampled.taus[-1], 300)
    for i in seen:
        values = np.interp(grid, sampled.taus, sampled.flow[:, i])
        for tau, value in zip(grid, values, strict=True):
            plateau = float(saddle(float(tau))[i])
            yield about | {"kind": "curve", "coordinate": int(i), "tau": float(tau), "value": value, "plateau": plateau}


def _slopes(distances: pd.DataFrame, of_scale: Any) -> Vector:
    """Slope of the log distance between the two smallest scales, one per trial."""
    table = distances.pivot(index="trial", columns="scale", values="value").sort_index(axis=1)
    fine, coarse = table.columns[:2]
    return np.asarray(np.log(table[fine] / table[coarse]) / (of_scale(fine) - of_scale(coarse)))


def _certified(distances: pd.DataFrame) -> int:
    return int(distances.groupby("trial")["exact"].all().sum())


def _logarithmic(distances: pd.DataFrame, delays: pd.DataFrame) -> Claim:
    table = distances.pivot(index="trial", columns="scale", values="value").sort_index(axis=1)
    shrinking = table.to_numpy()[:, :-1] / table.to_numpy()[:, 1:]
    median = delays.groupby("scale")["value"].median().sort_index()
    found = delays.groupby("scale")["value"].apply(lambda value: float(value.notna().mean()))
    slope = float(np.median(_slopes(distances, lambda scale: np.log(np.log(1 / scale)))))
    return Claim(
        "At depth 2 the flow tends to the saddle path as its start vanishes, in tau = 4 t / log(1 / product scale); "
        "the distance falls like 1 / log(1 / product scale) only.",
        source="from Pesme and Flammarion (abstract; data in general position); rate: proved in part and checked "
        'numerically, docs/mathematics.md, "How fast the saddle path is reached"',
        checks=[
            Check.at_most(
                "largest distance, in units of that at the next larger scale", measured=shrinking.max(), bound=1
            ),
            Check.near(
                "median slope of log distance in log log(1 / scale)", predicted=-1, measured=slope, tolerance=0.3
            ),
            Check.at_most(
                "median delay of jumps at the smallest scale, in units of that at the largest",
                measured=float(median.iloc[0] / median.iloc[-1]),
                bound=1.5 * math.log(1 / median.index[-1]) / math.log(1 / median.index[0]),
            ),
            Check.at_least("share of jumps found at the smallest scale", measured=found.iloc[0], bound=0.9),
        ],
        note="The slope is between the two smallest scales; terms of relative size log log / log, and plateaus shorter "
        "than a jump, are behind the tolerance. Delays: 1 / log, with half as much again for the same reason.",
    )


def _algebraic(distances: pd.DataFrame, depth: float) -> Claim:
    checks = []
    for strict, label in ((True, "end is strict"), (False, "a coordinate comes to rest at its bound")):
        some = distances[distances["strict"] == strict]
        slope = float(np.median(_slopes(some, np.log))) if len(some) else math.nan
        problems = some["trial"].nunique()
        checks.append(
            Check.near(
                f"median exponent of {problems} problems: {label}",
                predicted=exponent(depth, strict),
                measured=slope,
                tolerance=0.03,
            )
        )
    return Claim(
        f"At depth {depth:g} the same path is reached at a power of the product scale: (D - 2) / D where the dual "
        "state ends below its bound off the support, (D - 2) / (2 (D - 1)) where a coordinate comes to zero together "
        "with the residual, for then nothing is left that drives it.",
        source='checked numerically, argument in docs/mathematics.md, "How fast the saddle path is reached"',
        checks=[check for check in checks if not math.isnan(float(check.measured))],
        note="Between the two smallest scales. The two exponents are 0.08 (depth 3) and 0.17 (depth 4) apart: the "
        "tolerance tells them from each other.",
    )


def _draw_paths(ax: Axes, curves: pd.DataFrame) -> None:
    looks = {curves["scale"].max(): (ORANGE, "--", 1.2), curves["scale"].min(): (BLUE, "-", 1.4)}
    for scale, (colour, line, width) in looks.items():
        label = f"flow, product scale {scale:.0e}"
        for _, one in curves[curves["scale"] == scale].groupby("coordinate"):
            ax.plot(one["tau"], one["value"], color=colour, linestyle=line, linewidth=width, label=label)
            label = ""
    label = "saddle path"
    for _, one in curves[curves["scale"] == curves["scale"].min()].groupby("coordinate"):
        ax.step(one["tau"], one["plateau"], color=GREY, linestyle=":", linewidth=1.6, where="post", label=label)
        label = ""
    ax.set(xlabel="rescaled time τ", ylabel="coordinates of x")
    legend_above(ax, "One problem at depth 2", columns=3)


def _draw_logarithmic(ax: Axes, distances: pd.DataFrame) -> None:
    for _, one in distances.groupby("trial"):
        ordered = one.sort_values("scale")
        ax.loglog(np.log(1 / ordered["scale"]), ordered["value"], color=BLUE, linewidth=0.7, alpha=0.4)
    median = distances.groupby("scale")["value"].median()
    logs = np.log(1 / median.index.to_numpy())
    ax.loglog(logs, median, color=BLUE, marker="o", linewidth=1.8, label="median of all problems")
    ax.loglog(logs, median.iloc[0] * logs[0] / logs, color=GREY, linestyle="--", label="1 / log(1 / product scale)")
    ax.set_xticks(logs, [f"1e{math.log10(scale):.0f}" for scale in median.index])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="product scale", ylabel="relative distance")
    legend_above(ax, "Depth 2: logarithmic", columns=1)


def _draw_algebraic(ax: Axes, distances: pd.DataFrame) -> None:
    looks = {True: (BLUE, "o", "-", "strict end"), False: (ORANGE, "s", "--", "rest on a bound")}
    for (depth, strict), some in distances.groupby(["depth", "strict"]):
        colour, marker, line, label = looks[bool(strict)]
        median = some.groupby("scale")["value"].median()
        power = exponent(float(depth), bool(strict))
        text = f"depth {depth:g}, {label}: slope {power:.2f}"
        fill = "full" if depth == distances["depth"].min() else "none"
        ax.loglog(median.index, median, color=colour, marker=marker, fillstyle=fill, linestyle="none", label=text)
        predicted = median.iloc[0] * (median.index / median.index[0]) ** power
        ax.loglog(median.index, predicted, color=colour, linestyle=line, linewidth=1)
    ax.invert_xaxis()
    ax.set(xlabel="product scale", ylabel="median relative distance")
    legend_above(ax, "Above depth 2: a power", columns=1)
