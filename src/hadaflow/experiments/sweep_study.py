"""What a sweep runs: a function, a grid, a number of repetitions, and the random numbers of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

import hadaflow as hf
from hadaflow._validation import whole_number
from hadaflow.experiments.base import Row, Study, Task, digest
from hadaflow.experiments.finding import function_of
from hadaflow.experiments.identity import fingerprint, name_of
from hadaflow.experiments.journal import canonical
from hadaflow.experiments.sweep_arguments import (
    REPEAT,
    Axis,
    Scalar,
    cells_of,
    check_fixed,
    check_grid,
    check_name,
    check_paired,
    check_parameters,
    check_seed,
    check_size,
    size_of,
)


@dataclass(frozen=True)
class Sweep(Study):
    """A function, a grid and a number of repetitions: what :func:`sweep` runs. Make one with :meth:`of`.

    Attributes
    ----------
    name : str
        Names the files.
    function : callable
        What is measured.
    source : str
        Digits that the function is known by, see :func:`hadaflow.experiments.identity.fingerprint`.
    grid : dict
        Names and values of the parameters that change.
    repeats : int
        Of each cell.
    fixed : dict
        The other parameters.
    seed : int
        Of all random numbers.
    paired : tuple of str
        Parameters along which cells share their random numbers.
    """

    name: str
    function: Callable[..., Any]
    source: str
    grid: Mapping[str, Axis]
    repeats: int
    fixed: Mapping[str, Scalar]
    seed: int
    paired: tuple[str, ...]

    needs_all: ClassVar[bool] = False

    @classmethod
    def of(
        cls,
        experiment: Callable[..., Any] | str,
        grid: Mapping[str, Iterable[Any]],
        *,
        repeats: int = 1,
        fixed: Mapping[str, Any] | None = None,
        seed: int = 0,
        paired: Sequence[str] = (),
        home: Path | None = None,
    ) -> Self:
        """Check everything. Parameters as of :func:`sweep`; ``home`` is what the path of a file is relative to."""
        if not (callable(experiment) or isinstance(experiment, str)):
            raise TypeError(f"experiment must be a function or a string that names one, got {experiment!r}")
        axes = check_grid(grid)
        others = check_fixed({} if fixed is None else fixed, axes)
        repeats = whole_number(repeats, "repeats")
        check_size(axes, repeats)
        pairs, seed = check_paired(paired, [*axes, *others]), check_seed(seed)
        function = function_of(experiment, home) if isinstance(experiment, str) else experiment
        name = experiment.rpartition(":")[2] if isinstance(experiment, str) else name_of(experiment)
        check_parameters(function, name, [*axes, *others])
        return cls(check_name(name), function, fingerprint(function), axes, repeats, others, seed, pairs)

    @property
    def known_as(self) -> str:
        return self.name

    @property
    def identity(self) -> str:
        """Wider grids, more repeats and other fixed values add to the records of a sweep, and spoil none."""
        return digest([self.name, self.source, self.seed, sorted(self.paired), hf.__version__])

    @property
    def config_hash(self) -> str:
        return digest([self.identity, list(self.grid.items()), self.repeats, dict(self.fixed)])

    @property
    def config(self) -> dict[str, Any]:
        lists = {name: list(values) for name, values in self.grid.items()}
        return {
            "experiment": self.name,
            "grid": lists,
            "fixed": dict(self.fixed),
            "repeats": self.repeats,
            "seed": self.seed,
            "paired": list(self.paired),
        }

    @property
    def columns(self) -> list[str]:
        """The first ones of the records."""
        return [*self.grid, REPEAT]

    @property
    def total(self) -> int:
        """Number of tasks."""
        return size_of(self.grid) * self.repeats

    def tasks(self) -> list[Task]:
        return [
            {**cell, **self.fixed, REPEAT: repeat} for cell in cells_of(self.grid) for repeat in range(self.repeats)
        ]

    def columns_of(self, task: Task) -> Task:
        return {name: task[name] for name in self.columns}

    def detached(self) -> tuple[Self, Callable[..., Any]]:
        return replace(self, function=_detached), self.function

    def attached(self, function: Callable[..., Any]) -> Self:
        return replace(self, function=function)

    def run(self, /, *, repeat: int, **parameters: Any) -> Iterable[Row]:
        measured = self.function(self.rng(parameters, repeat), **parameters)
        if isinstance(measured, Mapping):
            return [measured]
        rows = list(measured) if isinstance(measured, Iterable) and not isinstance(measured, str) else [measured]
        for row in rows:
            if not isinstance(row, Mapping):
                raise TypeError(
                    f"{self.name} must return a dict of plain scalars, or several of them, got {type(row).__name__}"
                )
        return rows

    def rng(self, parameters: Mapping[str, Any], repeat: int) -> np.random.Generator:
        """The random numbers of a repetition: a child of the seed that depends on nothing but the cell and its number.

        It is what ``SeedSequence(seed).spawn`` would make, with the hash of the cell in the place of a running number.
        """
        own = {name: value for name, value in parameters.items() if name not in self.paired}
        words = np.frombuffer(hashlib.sha256(canonical(own).encode()).digest()[:16], dtype="<u4")
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(*words.tolist(), repeat)))


def _detached(*_: Any, **__: Any) -> Any:
    """Stands for a function that travels apart."""
    raise AssertionError("the function of this sweep was not attached")
