"""When to stop: small rule objects, combined with ``|`` (either) and ``&`` (both at once).

A rule is configuration only. A run asks it for a watch, which sees one :class:`hadaflow.Moment` after the other and
answers with a :class:`Verdict` once it is met.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import callback, check_finite, positive_number, real_array, whole_number
from hadaflow.moments import Moment
from hadaflow.operators import Operator, as_operator
from hadaflow.problems import Problem


@dataclass(frozen=True)
class Verdict:
    """Why a run stops.

    Attributes
    ----------
    reason : str
        In words, with the numbers that decided.
    budget : bool
        Whether a budget ran out (steps, seconds), rather than a goal being reached.
    choice : Moment or None
        The moment to return, where it is not the present one.
    """

    reason: str
    budget: bool = False
    choice: Moment | None = None


#: Sees one moment after the other, in order of time.
Watch = Callable[[Moment], Verdict | None]


class Rule(ABC):
    """When to stop. Subclass it, or pass a function of a :class:`hadaflow.Moment` to :class:`When`.

    Attributes
    ----------
    instant : bool
        Whether the answer depends on the present moment alone. In continuous time such a rule stops at the exact time.
    budget : bool
        Whether the rule limits effort instead of telling that a goal is reached.
    """

    instant: bool = True
    budget: bool = False

    @abstractmethod
    def watch(self, problem: Problem) -> Watch:
        """A fresh watch for one run on ``problem``."""

    def __or__(self, other: Rule) -> Rule:
        return _Either(_rules(self, _Either) + _rules(other, _Either))

    def __and__(self, other: Rule) -> Rule:
        return _Both(_rules(self, _Both) + _rules(other, _Both))


class _Instant(Rule):
    """A rule about one moment."""

    def watch(self, problem: Problem) -> Watch:
        def look(moment: Moment) -> Verdict | None:
            return Verdict(self.reason(moment), self.budget) if self.holds(moment) else None

        return look

    @abstractmethod
    def holds(self, moment: Moment) -> bool: ...

    @abstractmethod
    def reason(self, moment: Moment) -> str: ...


@dataclass(frozen=True)
class MaxSteps(_Instant):
    """A budget of steps."""

    steps: int
    budget = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole_number(self.steps, "steps", minimum=0))

    def holds(self, moment: Moment) -> bool:
        return moment.step >= self.steps

    def reason(self, moment: Moment) -> str:
        return f"{self.steps} steps were taken"


@dataclass(frozen=True)
class MaxSeconds(_Instant):
    """A budget of wall time, in seconds."""

    seconds: float
    budget = True

    def __post_init__(self) -> None:
        positive_number(self.seconds, "seconds")

    def holds(self, moment: Moment) -> bool:
        return moment.seconds >= self.seconds

    def reason(self, moment: Moment) -> str:
        return f"{self.seconds:g} seconds have passed"


@dataclass(frozen=True)
class MaxTime(_Instant):
    """Flow time: that of gradient flow on ``1/2 ||A x - y||^2`` in the shared factors."""

    time: float

    def __post_init__(self) -> None:
        positive_number(self.time, "time")

    def holds(self, moment: Moment) -> bool:
        return moment.time >= self.time

    def reason(self, moment: Moment) -> str:
        return f"flow time {self.time:g} was reached"


@dataclass(frozen=True)
class Residual(_Instant):
    """``||A x - y|| <= tolerance * ||y||``."""

    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        positive_number(self.tolerance, "tolerance")

    def holds(self, moment: Moment) -> bool:
        return moment.relative_residual <= self.tolerance

    def reason(self, moment: Moment) -> str:
        return f"relative residual {moment.relative_residual:.3g} is within {self.tolerance:g}"


@dataclass(frozen=True)
class Discrepancy(_Instant):
    """The discrepancy principle: ``||A x - y||_2 <= factor * noise_level`` with ``noise_level ~ ||noise||_2``."""

    noise_level: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        positive_number(self.noise_level, "noise_level")
        positive_number(self.factor, "factor")

    def holds(self, moment: Moment) -> bool:
        return moment.residual_norm <= self.factor * self.noise_level

    def reason(self, moment: Moment) -> str:
        return f"residual {moment.residual_norm:.4g} is within the noise level {self.factor * self.noise_level:.4g}"


@dataclass(frozen=True)
class CertificateGap(_Instant):
    """The iterate fits, and its l1 norm is near a proved bound: relative residual and gap within ``tolerance``."""

    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        positive_number(self.tolerance, "tolerance")

    def holds(self, moment: Moment) -> bool:
        return moment.relative_residual <= self.tolerance and moment.l1_gap <= self.tolerance

    def reason(self, moment: Moment) -> str:
        return f"l1 norm within {moment.l1_gap:.3g} of its bound, relative residual {moment.relative_residual:.3g}"


@dataclass(frozen=True)
class LassoGap(_Instant):
    """The average is proved to be within ``tolerance * 1/2 ||y||^2`` of a lasso solution at ``penalty`` or below."""

    penalty: float
    tolerance: float = 1e-2

    def __post_init__(self) -> None:
        positive_number(self.penalty, "penalty")
        positive_number(self.tolerance, "tolerance")

    def holds(self, moment: Moment) -> bool:
        return moment.penalty <= self.penalty and moment.lasso_gap <= self.tolerance

    def reason(self, moment: Moment) -> str:
        return f"average within {moment.lasso_gap:.3g} of the lasso at penalty {moment.penalty:.4g}"


@dataclass(frozen=True)
class NullGradient(Rule):
    """No gradient left that noise alone would not make: ``max_i |A_i^T (A x - y)| / ||A_i||`` within the level.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise in one measurement; the level is ``sigma * sqrt(2 log n)``.
    column_norms : array_like of shape (n,), optional
        ``||A_i||``; computed from the columns of a matrix, needed for a LinearOperator.
    """

    sigma: float
    column_norms: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        positive_number(self.sigma, "sigma")

    def watch(self, problem: Problem) -> Watch:
        lengths = _column_norms(problem.operator, self.column_norms)
        level = self.sigma * math.sqrt(2 * math.log(max(2, problem.shape[1])))
        present = np.where(lengths > 0, lengths, np.inf)

        def look(moment: Moment) -> Verdict | None:
            largest = float((np.abs(moment.gradient) / present).max())
            if largest > level:
                return None
            return Verdict(f"largest gradient {largest:.4g} is within what noise makes, {level:.4g}")

        return look


@dataclass(frozen=True, eq=False)
class When(_Instant):
    """Any condition: ``condition(moment)`` is true."""

    condition: Callable[[Moment], Any]
    name: str = "the given condition"

    def __post_init__(self) -> None:
        if self.condition is None:
            raise TypeError("condition must be callable, got None")
        callback(self.condition, "condition")

    def holds(self, moment: Moment) -> bool:
        return bool(self.condition(moment))

    def reason(self, moment: Moment) -> str:
        return f"{self.name} holds"


@dataclass(frozen=True)
class StableSupport(Rule):
    """The support has not changed while flow time grew by ``factor``, and is not empty."""

    factor: float = 3.0
    instant = False

    def __post_init__(self) -> None:
        positive_number(self.factor, "factor", minimum=1.0)

    def watch(self, problem: Problem) -> Watch:
        since, support = 0.0, np.empty(0, dtype=np.intp)

        def look(moment: Moment) -> Verdict | None:
            nonlocal since, support
            if not np.array_equal(moment.support, support):
                since, support = moment.time, moment.support
            if len(support) == 0 or moment.time < self.factor * since or since == 0:
                return None
            return Verdict(f"the support ({len(support)} coordinates) is the same since time {since:.4g}")

        return look


@dataclass(frozen=True)
class Plateau(Rule):
    """The path is flat in log-time: x moved by at most ``tolerance * max |x|`` while flow time grew by ``factor``."""

    factor: float = 2.0
    tolerance: float = 1e-2
    instant = False

    def __post_init__(self) -> None:
        positive_number(self.factor, "factor", minimum=1.0)
        positive_number(self.tolerance, "tolerance")

    def watch(self, problem: Problem) -> Watch:
        since, anchor = 0.0, np.zeros(problem.shape[1], dtype=problem.dtype)

        def look(moment: Moment) -> Verdict | None:
            nonlocal since, anchor
            size = float(np.abs(moment.x).max(initial=0.0))
            if since == 0 or float(np.abs(moment.x - anchor).max(initial=0.0)) > self.tolerance * size:
                since, anchor = moment.time, moment.x
                return None
            if len(moment.support) == 0 or moment.time < self.factor * since:
                return None
            return Verdict(f"x has moved by less than {self.tolerance:g} of its size since time {since:.4g}")

        return look


@dataclass(frozen=True, eq=False)
class Validation(Rule):
    """Smallest error on held-out data: ``||A x - y||`` there has not improved while flow time grew by ``patience``.

    The run returns the moment of the smallest error, not the last one.

    Parameters
    ----------
    A, y : array_like
        Held-out measurements of the same x, shapes (k, n) and (k,).
    patience : float, default 2
        Factor in flow time to wait for an improvement.
    """

    A: Any
    y: Any
    patience: float = 2.0
    instant = False

    def __post_init__(self) -> None:
        positive_number(self.patience, "patience", minimum=1.0)
        operator, y = as_operator(self.A), real_array(self.y, "y", 1)
        check_finite(y, "y")
        if len(y) != operator.shape[0]:
            raise ValueError(f"y must have one entry per row of A: A has shape {operator.shape}, y has length {len(y)}")
        object.__setattr__(self, "A", operator)
        object.__setattr__(self, "y", y.astype(np.float64))

    def watch(self, problem: Problem) -> Watch:
        if self.A.shape[1] != problem.shape[1]:
            raise ValueError(f"validation data have {self.A.shape[1]} columns, the problem {problem.shape[1]}")
        best: Moment | None = None
        smallest = math.inf

        def look(moment: Moment) -> Verdict | None:
            nonlocal best, smallest
            error = float(np.linalg.norm(self.A.matvec(moment.x.astype(np.float64)) - self.y))
            if best is None or error < smallest:
                best, smallest = moment, error
                return None
            if moment.time < self.patience * best.time or best.time == 0:
                return None
            return Verdict(f"smallest validation error {smallest:.4g} at time {best.time:.4g}", choice=best)

        return look


@dataclass(frozen=True)
class _Either(Rule):
    rules: tuple[Rule, ...]

    @property
    def instant(self) -> bool:  # type: ignore[override]
        return all(rule.instant for rule in self.rules)

    @property
    def budget(self) -> bool:  # type: ignore[override]
        return all(rule.budget for rule in self.rules)

    def watch(self, problem: Problem) -> Watch:
        watches = [rule.watch(problem) for rule in self.rules]

        def look(moment: Moment) -> Verdict | None:
            verdicts = [verdict for watch in watches if (verdict := watch(moment)) is not None]
            return min(verdicts, key=lambda verdict: verdict.budget, default=None)

        return look


@dataclass(frozen=True)
class _Both(Rule):
    rules: tuple[Rule, ...]

    @property
    def instant(self) -> bool:  # type: ignore[override]
        return all(rule.instant for rule in self.rules)

    @property
    def budget(self) -> bool:  # type: ignore[override]
        return all(rule.budget for rule in self.rules)

    def watch(self, problem: Problem) -> Watch:
        watches = [rule.watch(problem) for rule in self.rules]

        def look(moment: Moment) -> Verdict | None:
            verdicts = [watch(moment) for watch in watches]
            met = [verdict for verdict in verdicts if verdict is not None]
            if len(met) < len(verdicts):
                return None
            choice = next((verdict.choice for verdict in met if verdict.choice is not None), None)
            return Verdict(" and ".join(verdict.reason for verdict in met), all(v.budget for v in met), choice)

        return look


def _rules(rule: object, kind: type) -> tuple[Rule, ...]:
    """The parts of a combination of the same kind, else the rule alone."""
    if not isinstance(rule, Rule):
        raise TypeError(f"stopping rules combine with stopping rules, got {rule!r}")
    return rule.rules if isinstance(rule, kind) else (rule,)  # type: ignore[attr-defined]


def _column_norms(operator: Operator, given: Any) -> NDArray[np.float64]:
    m, n = operator.shape
    if given is not None:
        lengths = real_array(given, "column_norms", 1).astype(np.float64)
        if len(lengths) != n:
            raise ValueError(f"column_norms must have one entry per column of A ({n}), got {len(lengths)}")
        return lengths
    if operator.column_cost(1) >= 1:
        raise ValueError("NullGradient needs column_norms for a LinearOperator: its columns are not at hand")
    lengths = np.empty(n)
    step = max(1, (1 << 22) // m)
    for i in range(0, n, step):
        block = operator.columns(np.arange(i, min(n, i + step)))
        lengths[i : i + step] = np.sqrt(np.asarray((block * block).sum(axis=0)).ravel())
    return lengths
