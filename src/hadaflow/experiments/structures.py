"""What is zero or not as a whole: single numbers, groups, complex numbers, rows of joint columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hadaflow._validation import one_of, whole_number
from hadaflow.theory.measurements import transition_sparsity

Kind = Literal["real", "complex", "joint"]
KINDS = ("real", "complex", "joint")


@dataclass(frozen=True)
class Structure:
    """A kind of data, and the size of its groups. Make one with :meth:`of`.

    Attributes
    ----------
    kind : {"real", "complex", "joint"}
        Real numbers, complex numbers, or real columns that share their support.
    group_size : int
        Neighbouring columns of A that are zero together; with ``kind="joint"`` the number of joint columns.
    """

    kind: Kind = "real"
    group_size: int = 1

    @classmethod
    def of(cls, kind: str, group_size: Any) -> Structure:
        """Check both."""
        kind, size = one_of(kind, "kind", KINDS), whole_number(group_size, "group_size")
        if kind == "joint" and size == 1:
            raise ValueError("kind='joint' needs group_size: the number of columns, at least 2")
        return cls(kind, size)  # type: ignore[arg-type]

    @property
    def plain(self) -> bool:
        """Whether these are single real numbers."""
        return self.kind == "real" and self.group_size == 1

    @property
    def columns(self) -> int:
        """Columns of A to a group."""
        return 1 if self.kind == "joint" else self.group_size

    @property
    def per_row(self) -> int:
        """Real numbers that a row of A measures, and that an entry (a row, if joint) of x has."""
        return {"real": 1, "complex": 2, "joint": self.group_size}[self.kind]

    @property
    def label(self) -> str:
        """In words, for titles."""
        if self.kind == "joint":
            return f"{self.group_size} joint columns"
        groups = f"groups of {self.group_size}" if self.group_size > 1 else ""
        return f"complex {groups}".strip() if self.kind == "complex" else groups

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of :class:`hadaflow.Problem` and :func:`hadaflow.recover`."""
        if self.kind == "joint":
            return {"joint": True}
        return {} if self.group_size == 1 else {"groups": self.group_size}

    def check(self, *, n: int, sign: str = "both", noise: float = 0.0, solver: str | None = None) -> None:
        """Complain of what goes with single real numbers only."""
        if n % self.columns:
            raise ValueError(f"group_size must divide n = {n}, got {self.group_size}")
        if not self.plain and (sign != "both" or noise > 0 or solver == "descend"):
            raise ValueError(
                f"{self.label}: leave out sign='positive', noise and solver='descend', which single real numbers take"
            )

    def nonzeros(self, s: int) -> int:
        """The nearest number that whole groups have, at least one group."""
        return max(1, round(s / self.columns)) * self.columns

    def matrix(self, rng: np.random.Generator, draw: Callable[..., Any], m: int, n: int) -> Any:
        """A, by a function ``draw(rng, m, n)``: complex data take two, as real and imaginary part."""
        if self.kind != "complex":
            return draw(rng, m, n)
        return (draw(rng, m, n) + 1j * draw(rng, m, n)) / math.sqrt(2)

    def vector(self, rng: np.random.Generator, draw: Callable[..., Any], n: int, s: int) -> Any:
        """x of n entries (rows, if joint), s of them not zero, by a function ``draw(rng, s)``."""
        values = draw(rng, s * self.per_row).reshape(s // self.columns, -1)
        x = np.zeros((n // self.columns, self.columns * self.per_row))
        x[rng.choice(len(x), len(values), replace=False)] = values
        if self.kind == "joint":
            return x
        return x.ravel().view(np.complex128) if self.kind == "complex" else x.ravel()

    def transition(self, m: int, n: int, sign: Any = "both") -> float:
        """:func:`hadaflow.theory.transition_sparsity` of m rows and n columns of A, in entries of x."""
        size = self.columns * self.per_row
        groups = transition_sparsity(m * self.per_row, n // self.columns, sign=sign, group_size=size)
        return groups * self.columns


#: Single real numbers.
PLAIN = Structure()
