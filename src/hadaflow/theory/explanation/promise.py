"""A row of an explanation: what theory promises, what was measured, and whether they agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Relation = Literal["=", "<=", ">=", ">"]


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
        relation: Relation,
        promise: float | None,
        measured: float | None,
        *,
        unit: str,
        source: str,
        note: str = "",
        allowance: float = 0.0,
        condition: bool = False,
    ) -> Promise:
        """A row that decides itself; ``allowance`` is for rounding, in units of the two numbers.

        Inequalities between numbers that both are within the allowance of zero stay undecided, and so does what fails
        by a number that left the range of doubles.
        """
        holds = None
        if promise is None or measured is None or not math.isfinite(promise) or math.isnan(measured):
            return cls(key, quantity, relation, promise, measured, unit, holds, source, note)
        if relation in ("<=", ">=") and max(abs(promise), abs(measured)) <= allowance:
            note = f"{note} Both numbers are below what this answer resolves.".strip()
        else:
            holds = {
                "=": abs(measured - promise) <= allowance,
                "<=": measured <= promise + allowance,
                ">=": measured >= promise - allowance,
                ">": measured > promise + allowance,
            }[relation]
            if not holds and (condition or not math.isfinite(measured) or not math.isfinite(allowance)):
                holds = None
        return cls(key, quantity, relation, promise, measured, unit, holds, source, note)
