"""What an experiment says about a theorem: claims, and the checks that decide them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """What the records say about a claim; the value of a member is its message."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not decided"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Check:
    """One number compared with its prediction, and what decides between them.

    Make one with :meth:`near`, :meth:`at_most`, :meth:`at_least` or :meth:`equal`.

    Attributes
    ----------
    label : str
        What was measured, and where.
    predicted, measured : float or str
        The two numbers (or counts, or words).
    criterion : str
        The threshold in words, as the report shows it.
    holds : bool or None
        None where a number is missing or the check was declared undecided.
    """

    label: str
    predicted: float | str
    measured: float | str
    criterion: str
    holds: bool | None

    @classmethod
    def near(cls, label: str, *, predicted: float, measured: float, tolerance: float, decided: bool = True) -> Check:
        """Whether ``|measured - predicted| <= tolerance``."""
        holds = abs(measured - predicted) <= tolerance
        return cls._of(label, predicted, measured, f"within {tolerance:.3g}", holds, decided, tolerance)

    @classmethod
    def at_most(cls, label: str, *, measured: float, bound: float, decided: bool = True) -> Check:
        """Whether ``measured <= bound``."""
        return cls._of(label, bound, measured, "at most", measured <= bound, decided)

    @classmethod
    def at_least(cls, label: str, *, measured: float, bound: float, decided: bool = True) -> Check:
        """Whether ``measured >= bound``."""
        return cls._of(label, bound, measured, "at least", measured >= bound, decided)

    @classmethod
    def equal(cls, label: str, *, predicted: float | str, measured: float | str, decided: bool = True) -> Check:
        """Whether both are the same: counts, orderings, words."""
        return cls._of(label, predicted, measured, "equal", predicted == measured, decided)

    @classmethod
    def _of(
        cls,
        label: str,
        predicted: float | str,
        measured: float | str,
        criterion: str,
        holds: bool,
        decided: bool,
        *further: float,
    ) -> Check:
        known = not any(_missing(value) for value in (predicted, measured, *further))
        return cls(label, predicted, measured, criterion, bool(holds) if known and decided else None)

    @property
    def verdict(self) -> Verdict:
        """What this check alone says."""
        if self.holds is None:
            return Verdict.OPEN
        return Verdict.HOLDS if self.holds else Verdict.FAILS


def _missing(value: float | str) -> bool:
    return not isinstance(value, str) and math.isnan(value)


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, and the checks that the records were put to.

    Attributes
    ----------
    statement : str
        What is claimed, with its assumptions, in words.
    source : str
        Where it stands, and what kind of statement it is: proved, checked numerically, from a paper, an open hint.
    checks : sequence of Check
        What decides.
    note : str
        Why the thresholds are what they are, and anything else a reader should know.
    """

    statement: str
    source: str
    checks: Sequence[Check] = field(default=())
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Fails if any check fails; holds if there are checks and all hold; else not decided."""
        verdicts = {check.verdict for check in self.checks}
        if Verdict.FAILS in verdicts:
            return Verdict.FAILS
        return Verdict.HOLDS if verdicts == {Verdict.HOLDS} else Verdict.OPEN
