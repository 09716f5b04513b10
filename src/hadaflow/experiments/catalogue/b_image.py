"""Paper B on pictures: non-negative x from biased random signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import hadaflow as hf
from hadaflow._types import Float
from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments.catalogue._b_training import ABSTRACT, signs
from hadaflow.stopping import MaxSteps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Image(Experiment):
    """Pictures of digits from half as many measurements as pixels, with non-negative models x = u^D.

    Paper B uses MNIST; here scikit-learn's bundled 8 x 8 digits stand in, pixels doubled and centred on a canvas of
    28 x 28 = 784, about a sixth of it not zero. The 392 measurements have entries +1 with probability 0.25 and else -1,
    so that columns are strongly correlated; there is no noise. Depths 2, 3 and 5 from product scale 1e-3, 10000 steps
    of 0.005 / depth^2 on the mean of squares; drawn is the last iterate. The quick size has two pictures and follows
    the flow.
    """

    name: ClassVar[str] = "image"
    paper: ClassVar[str] = "B"
    title: ClassVar[str] = "Digits (8 x 8, enlarged) from biased measurements"
    figsize: ClassVar[tuple[float, float]] = (7.5, 5.8)

    pictures: int = 3
    side: int = 28
    rows: int = 392
    share: float = 0.25
    depths: tuple[float, ...] = (2.0, 3.0, 5.0)
    product_scale: float = 1e-3
    step_size: float = 5e-3
    iterations: int = 10_000
    seed: int = 42
    dynamics: str = "descent"

    @classmethod
    def quick(cls) -> Image:
        return cls(pictures=2, dynamics="flow")

    def tasks(self) -> list[dict[str, Any]]:
        return [{"picture": picture, "depth": depth} for picture in range(self.pictures) for depth in self.depths]

    def run(self, *, picture: int, depth: float) -> Iterator[dict[str, Any]]:
        truth: Float = digit(picture, self.side).ravel()
        A = signs(np.random.RandomState(self.seed), self.rows, len(truth), self.share)
        problem = hf.Problem(A, A @ truth)
        found = self._trained(problem, depth)
        for kind, x in (("truth", truth), ("found", found)):
            for pixel, value in enumerate(x.tolist()):
                yield {"kind": kind, "pixel": pixel, "value": value}
        end = hf.limit(problem, hf.HadamardPower(depth, sign="positive"), init_scale=self._start(depth)).x
        linear = np.linalg.lstsq(A, problem.y, rcond=None)[0]
        for kind, x in (("error", found), ("error at the limit", end), ("error of least l2 norm", linear)):
            error = float(np.linalg.norm(x - truth) / np.linalg.norm(truth))
            yield {"kind": kind, "pixel": -1, "value": error}

    def _start(self, depth: float) -> float:
        return float(self.product_scale ** (1 / depth))

    def _trained(self, problem: hf.Problem, depth: float) -> Float:
        model, step = hf.HadamardPower(depth, sign="positive"), self.step_size / depth**2
        start = self._start(depth)
        if self.dynamics == "flow":
            return hf.flow(problem, model, init_scale=start, t_end=self.iterations * 2 * step / self.rows).x
        stop = MaxSteps(self.iterations)
        run = hf.descend(problem, model, init_scale=start, step=step, loss_scale=2 / problem.shape[0], stop=stop)
        if run.steps != self.iterations:
            raise RuntimeError(f"descent at depth {depth:g} ended early: {run.reason}")
        return run.x

    def _errors(self, records: pd.DataFrame, kind: str) -> pd.DataFrame:
        """Relative errors, a row per picture and a column per depth."""
        return records[records["kind"] == kind].pivot(index="picture", columns="depth", values="value")

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        errors, limits = self._errors(records, "error"), self._errors(records, "error at the limit")
        linear = self._errors(records, "error of least l2 norm")
        slower = int((errors.diff(axis=1).iloc[:, 1:] > 0).all(axis=1).sum())
        return [
            Claim(
                "From half as many biased measurements as pixels, every depth comes nearer to the picture than the "
                "solution of smallest l2 norm.",
                ABSTRACT + " (correlated designs); the comparison is ours",
                [
                    Check.at_most(
                        f"depth {depth:g}: largest error over that of smallest l2 norm",
                        measured=float((errors[depth] / linear[depth]).max()),
                        bound=1,
                    )
                    for depth in self.depths
                ],
            ),
            Claim(
                "The pictures are the only non-negative ones that fit: followed to its limit, every depth finds them.",
                "measured here",
                [
                    Check.at_most(
                        f"depth {depth:g}: largest relative error at the limit",
                        measured=float(limits[depth].max()),
                        bound=1e-6,
                    )
                    for depth in self.depths
                ],
                note="So what the pictures show is not which solution is found, but how far 10000 steps have come.",
            ),
            Claim(
                "With steps of 0.005 / depth^2 the deeper model has come less far.",
                'measured here; waiting times: docs/mathematics.md, "Early stopping"',
                [Check.equal("pictures whose error grows with depth", predicted=self.pictures, measured=slower)],
            ),
        ]

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        axes = figure.subplots(self.pictures, 1 + len(self.depths), squeeze=False)
        errors = self._errors(records, "error")
        for row in range(self.pictures):
            for column, depth in enumerate((None, *self.depths)):
                ax = axes[row, column]
                kind, of = ("truth", self.depths[0]) if depth is None else ("found", depth)
                some = records[(records["kind"] == kind) & (records["picture"] == row) & (records["depth"] == of)]
                pixels = some.sort_values("pixel")["value"].to_numpy().reshape(self.side, self.side)
                ax.imshow(pixels, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
                ax.set_xticks([]), ax.set_yticks([])
                if row == 0:
                    ax.set_title("picture" if depth is None else f"depth {depth:g}", fontsize=12)
                if depth is not None:
                    ax.set_xlabel(f"relative error {errors.loc[row, depth]:.2f}", fontsize=10)


def digit(number: int, side: int) -> Float:
    """One of scikit-learn's digits, pixels doubled and centred on a canvas; values from 0 to 1."""
    from sklearn.datasets import load_digits

    picture = np.kron(load_digits().images[number] / 16, np.ones((2, 2)))
    canvas, edge = np.zeros((side, side)), (side - len(picture)) // 2
    canvas[edge : edge + len(picture), edge : edge + len(picture)] = picture
    return canvas
