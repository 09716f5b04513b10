"""A row of an explanation: what theory promises, what was measured, and whether they agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

Relation = Literal["=", "<=", ">=", ">"]
BEYOND = "its numbers are beyond the range of doubles; divide A and y by their sizes"


@dataclass(frozen=True)
class Comparison:
    """A number that theory promises and the number measured; ``allowance`` is for rounding, in units of both."""

    relation: Relation
    promise: float | None
    measured: float | None
    allowance: float = 0.0

    @property
    def numbers(self) -> tuple[float, float] | None:
        """Both numbers, if both are there."""
        if (
            self.promise is None
            or self.measured is None
            or not math.isfinite(self.promise)
            or math.isnan(self.measured)
        ):
            return None
        return self.promise, self.measured

    @property
    def resolved(self) -> bool:
        """Whether an inequality is between numbers that are more than the allowance; if both are there at all."""
        if self.numbers is None or self.relation in ("=", ">"):
            return True
        return max(map(abs, self.numbers)) > self.allowance

    #: What a row that is not resolved adds to its note.
    unresolved: ClassVar[str] = "Both numbers are below what this answer resolves."

    def holds(self, *, condition: bool) -> bool | None:
        """Whether the relation holds; None where that cannot be said.

        So it is where a number is missing, where a condition is not met, and where the relation fails by a number that
        left the range of doubles.
        """
        if self.numbers is None:
            return None
        (promise, measured), allowance = self.numbers, self.allowance
        holds = {
            "=": abs(measured - promise) <= allowance,
            "<=": measured <= promise + allowance,
            ">=": measured >= promise - allowance,
            ">": measured > promise + allowance,
        }[self.relation]
        if not holds and (condition or not math.isfinite(measured) or not math.isfinite(allowance)):
            return None
        return holds


@dataclass(frozen=True)
class Promise:
    """One row: a number that theory promises or asks for, and the number measured.

    Attributes
    ----------
    key : str
        Short name for programs, unique within an explanation.
    quantity : str
        What is measured, in words.
    relation : {"=", "<=", ">=", ">"}
        How the measured number should stand to the promised one.
    promise : float or None
        The number of the theory; None if it has none here.
    measured : float or None
        The number of this answer.
    unit : str
        Unit of both; "" for pure numbers.
    holds : bool or None
        Whether the relation holds. None where a number is missing or infinite, and where the row is a *condition*
        that is not met: then something sufficient is missing, and nothing is wrong with the answer.
    source : str
        What kind of statement it is and where it comes from, in short.
    note : str
        Assumptions and consequences.
    """

    key: str
    quantity: str
    relation: Relation
    promise: float | None
    measured: float | None
    unit: str
    holds: bool | None
    source: str
    note: str = ""

    @classmethod
    def of(
        cls,
        key: str,
        quantity: str,
        compared: Comparison,
        *,
        unit: str,
        source: str,
        note: str = "",
        condition: bool = False,
    ) -> Promise:
        """A row that decides itself; a ``condition`` that is not met leaves it undecided."""
        numbers = (compared.relation, compared.promise, compared.measured)
        if compared.resolved:
            return cls(key, quantity, *numbers, unit, compared.holds(condition=condition), source, note)
        return cls(key, quantity, *numbers, unit, None, source, f"{note} {compared.unresolved}".strip())
