"""How many measurements do groups, complex numbers and joint columns take? Measured beside the theory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from hadaflow.experiments import Check, Claim, Experiment
from hadaflow.experiments._halfway import Crossing, halfway
from hadaflow.experiments.catalogue._looks import BLACK, ORDER, Look, legend_above
from hadaflow.experiments.structures import Structure
from hadaflow.experiments.trials import recovery
from hadaflow.plotting.palette import GREY
from hadaflow.theory.measurements import MeasurementsNeeded, measurements_needed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUPS, _COMPLEX, _JOINT, _FEW = "groups", "complex", "joint, many rows", "joint, few rows"
_LOOKS = dict(zip((_GROUPS, _COMPLEX, _JOINT, _FEW), ORDER, strict=True))
_NEAR = 0.1  # of J


class Case(NamedTuple):
    """What is recovered: so many entries to a group, columns, and groups that are not zero."""

    name: str
    structure: Structure
    sparsity: int

    @property
    def group_size(self) -> int:
        """Real coordinates of a group."""
        return self.structure.columns * self.structure.per_row

    @property
    def label(self) -> str:
        return f"{self.structure.label or 'single numbers'}, {self.sparsity} not zero"


@dataclass(frozen=True)
class GroupRecovery(Experiment):
    """Recovery of a few groups out of many from Gaussian measurements, around the number that theory predicts.

    Each trial draws a Gaussian matrix, a random support of groups and normal entries on them, and asks `hf.recover`
    for the smallest sum of lengths: of groups of real numbers, of complex numbers and groups of them, and of rows of
    joint columns. The number of measurements is a share of J, the bound on the statistical dimension of the descent
    cone: of real numbers measured, which a row has two of for complex data, and one for each joint column. Half of the
    trials succeed where a logistic curve in log(m), fitted to the single trials, is one half.
    """

    name: ClassVar[str] = "group-recovery"
    paper: ClassVar[str] = "groups"
    title: ClassVar[str] = "How many measurements groups need"
    figsize: ClassVar[tuple[float, float]] = (8.6, 4.4)

    groups: int = 60
    sparsity: int = 6
    many: int = 24
    group_sizes: tuple[int, ...] = (1, 2, 4, 8, 16)
    complex_sizes: tuple[int, ...] = (1, 2, 4)
    columns: tuple[int, ...] = (2, 4, 8)
    shares: tuple[float, ...] = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.45)
    trials: int = 60
    seed: int = 0

    @classmethod
    def quick(cls) -> GroupRecovery:
        return cls(
            groups=40,
            many=20,
            group_sizes=(1, 4),
            complex_sizes=(1,),
            columns=(4,),
            shares=(0.75, 0.9, 1.0, 1.1, 1.3),
            trials=10,
        )

    @property
    def cases(self) -> list[Case]:
        structures = [
            *((_GROUPS, Structure("real", size), self.sparsity) for size in self.group_sizes),
            *((_COMPLEX, Structure("complex", size), self.sparsity) for size in self.complex_sizes),
            *((_JOINT, Structure("joint", size), self.many) for size in self.columns),
            *((_FEW, Structure("joint", size), self.sparsity) for size in self.columns),
        ]
        return [Case(*about) for about in structures]

    def tasks(self) -> list[dict[str, Any]]:
        return [{"case": case, "share": share} for case in range(len(self.cases)) for share in self.shares]

    def run(self, *, case: int, share: float) -> Iterator[dict[str, Any]]:
        name, structure, sparsity = one = self.cases[case]
        most = self._needed(one).at_most
        m = round(share * most / structure.per_row)
        for trial in range(self.trials):
            outcome = recovery(
                np.random.default_rng([self.seed, case, m, trial]),
                n=self.groups * structure.columns,
                m=m,
                s=sparsity * structure.columns,
                kind=structure.kind,
                group_size=structure.group_size,
            )
            about = {"name": name, "group_size": one.group_size, "sparsity": sparsity, "trial": trial}
            yield about | {"m": m, "of_bound": m * structure.per_row / most, "success": bool(outcome["success"])}

    def _needed(self, case: Case) -> MeasurementsNeeded:
        return measurements_needed(self.groups, case.sparsity, group_size=case.group_size)

    # ---- what the records say ------------------------------------------------------------------------------------

    def claims(self, records: pd.DataFrame) -> list[Claim]:
        few = [case for case in self.cases if case.name == _FEW and case.group_size > case.sparsity / 2]
        return [self._half(records), self._fewer(), self._late(records, few)]

    def _half(self, records: pd.DataFrame) -> Claim:
        checks = [
            Check.near(case.label, predicted=1, measured=_half_of_bound(records, case).at, tolerance=_NEAR)
            for case in self.cases
            if case.name != _FEW and (case.name != _JOINT or 3 * case.group_size <= case.sparsity)
        ]
        return Claim(
            "Half of the draws are recovered within 10 % of J: from as many real measurements for groups, half as many "
            "complex ones, and 1/k of that for k joint columns with 3 k rows that are not zero or more.",
            source='checked numerically: docs/mathematics.md, "How many measurements" (groups: Amelunxen et al.)',
            checks=checks,
            note="Measurements at which half succeed, in units of J. Theory has groups succeed half the time up to 2 % "
            "before J; for complex and joint data, whose rows measure more than one number, it is an extrapolation.",
        )

    def _fewer(self) -> Claim:
        counts = [self._needed(case).at_most / case.group_size for case in self.cases if case.name == _GROUPS]
        drop = max(after / before for before, after in itertools.pairwise(counts))
        return Claim(
            "The larger the groups, the fewer measurements a non-zero number takes.",
            source='the formula of docs/mathematics.md, "How many measurements", evaluated',
            checks=[
                Check.at_most("largest J per coordinate, in units of that of smaller groups", measured=drop, bound=1)
            ],
            note="The same number of groups, of growing size. That the formula holds is the claim above.",
        )

    def _late(self, records: pd.DataFrame, few: list[Case]) -> Claim:
        checks = [
            Check.at_least(case.label, measured=_half_of_bound(records, case).at, bound=1 + _NEAR / 2) for case in few
        ]
        return Claim(
            "Joint columns with few rows that are not zero need more than J: measured by one matrix, columns are not "
            "as good as groups with measurements of their own.",
            source='checked numerically: docs/mathematics.md, "How many measurements"',
            checks=checks,
            note=f"The same units, with {self.sparsity} rows that are not zero and more than half as many columns.",
        )

    # ---- figure --------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        left, right = figure.subplots(1, 2)
        self._draw_rates(left, records)
        self._draw_halves(right, records)

    def _draw_rates(self, ax: Axes, records: pd.DataFrame) -> None:
        ax.axvspan(1 - _NEAR, 1 + _NEAR, color=GREY, alpha=0.15, linewidth=0)
        for name, look in _LOOKS.items():
            cases = [case for case in self.cases if case.name == name]
            for place, case in enumerate(cases):
                found = _of(records, case).groupby("of_bound")["success"].mean()
                label = name if place == 0 else None
                ax.plot(found.index, found, look.line, color=look.colour, marker=look.marker, markersize=3.5,
                        linewidth=1.1, label=label)  # fmt: skip
        ax.set(xlabel="real measurements / J", ylabel="share of draws recovered", ylim=(-0.03, 1.03))
        legend_above(ax, "a line for each group size", columns=2)

    def _draw_halves(self, ax: Axes, records: pd.DataFrame) -> None:
        sizes = [case.group_size for case in self.cases]
        grid = range(1, max(sizes) + 1)
        for sparsity, line in ((self.sparsity, "-"), (self.many, "--")):
            needed = [measurements_needed(self.groups, sparsity, group_size=d).at_most for d in grid]
            label = f"J, {sparsity} of {self.groups} groups"
            ax.plot(grid, np.array(needed) / grid / sparsity, line, color=BLACK, linewidth=1.2, label=label)
        for name, look in _LOOKS.items():
            self._draw_points(ax, records, name, look)
        ax.set_xscale("log", base=2)
        ticks = sorted(set(sizes))
        ax.set_xticks(ticks, [str(size) for size in ticks])
        ax.set_xticks([], minor=True)
        ax.set(xlabel="real coordinates of a group", ylabel="measurements per non-zero, half recovered", ylim=(0, None))
        legend_above(ax, "half recovered, and J", columns=2)

    def _draw_points(self, ax: Axes, records: pd.DataFrame, name: str, look: Look) -> None:
        cases = [case for case in self.cases if case.name == name]
        found = [_half_of_bound(records, case) for case in cases]
        unit = [self._needed(case).at_most / case.group_size / case.sparsity for case in cases]
        heights = [one.at * scale for one, scale in zip(found, unit, strict=True)]
        errors = [one.at * one.error * scale for one, scale in zip(found, unit, strict=True)]
        ax.errorbar([case.group_size for case in cases], heights, errors, linestyle="none", color=look.colour,
                    marker=look.marker, markersize=5, label=name)  # fmt: skip


def _of(records: pd.DataFrame, case: Case) -> pd.DataFrame:
    chosen = (records["name"] == case.name) & (records["group_size"] == case.group_size)
    return records[chosen]


def _half_of_bound(records: pd.DataFrame, case: Case) -> Crossing:
    """Measurements with which half succeed, in units of J, and the relative error of that."""
    some = _of(records, case)
    # Failures are what grows with the argument there.
    crossing = halfway(-np.log(some["of_bound"].to_numpy(dtype=np.float64)), some["success"].to_numpy(dtype=np.bool_))
    return Crossing(math.exp(-crossing.at), crossing.error)
