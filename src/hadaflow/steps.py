"""How long the steps of gradient descent are: small rule objects.

A rule is configuration only. A run asks it for a :class:`Stepper`, which sees each state before the step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from hadaflow._renamed import renamed
from hadaflow._types import Float
from hadaflow._validation import positive_number
from hadaflow.models import Factors, HadamardPower, Model
from hadaflow.operators import Operator


class Stepper(ABC):
    """A step rule at work on one run.

    Attributes
    ----------
    adaptive : bool, default True
        Whether ``accept`` judges each step. False: every step is accepted; ``accept`` is not called.
    """

    adaptive: bool = True

    @abstractmethod
    def size(self, factors: Factors, gradient: Factors) -> float | Float:
        """Length of the next step (one per coordinate allowed), from the factors and the gradient in them."""

    def accept(self, before: float, after: float, slope: float) -> bool:
        """Whether the step just taken is accepted; by default it always is.

        Parameters
        ----------
        before, after : float
            The loss before and after it.
        slope : float
            ``<gradient, step>``: how much the loss would have fallen had it been linear.
        """
        return True


class _Unrelated(Stepper):
    """A stepper that somebody wrote without subclassing :class:`Stepper`."""

    def __init__(self, stepper: Any) -> None:
        self.size = stepper.size  # type: ignore[method-assign]
        if hasattr(stepper, "judges"):
            self.adaptive = renamed("Stepper.judges", "Stepper.adaptive", bool(stepper.judges))
        elif hasattr(stepper, "adaptive"):
            self.adaptive = bool(stepper.adaptive)
        if self.adaptive:
            self.accept = stepper.accept  # type: ignore[method-assign]

    def size(self, factors: Factors, gradient: Factors) -> float | Float:
        raise NotImplementedError  # replaced by that of the other object


def as_stepper(stepper: Any) -> Stepper:
    """``stepper`` with all members of :class:`Stepper`; the old name ``judges`` of ``adaptive`` works and warns."""
    return stepper if isinstance(stepper, Stepper) else _Unrelated(stepper)


class StepRule(ABC):
    """How long the steps are. Subclass it to add a rule."""

    @abstractmethod
    def stepper(self, operator: Operator, speed: Float, model: Model, init_scale: Any, scaling: float) -> Stepper:
        """A fresh stepper.

        Parameters
        ----------
        operator : Operator
            A.
        speed : ndarray of shape (n,)
            ``A^T y``, or more generally the s below.
        model : Model
            The model.
        init_scale : float or ndarray
            Start of the factors.
        scaling : float
            The loss is ``scaling * 1/2 ||A x - y||^2``. Any other loss is at most its value at zero plus ``scaling *
            (1/2 ||A x||^2 - <s, x>)`` with s for ``speed``; infinite if its curvature knows no bound.
        """


@dataclass(frozen=True)
class Constant(StepRule):
    """The same step throughout, as papers A and B run it. Nothing keeps it from diverging when it is too long.

    Parameters
    ----------
    size : float
        Step on the factors, for the loss as scaled.
    """

    size: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", positive_number(self.size, "step"))

    def stepper(self, operator: Operator, speed: Float, model: Model, init_scale: Any, scaling: float) -> Stepper:
        return _ConstantStepper(self.size)


@dataclass
class _ConstantStepper(Stepper):
    length: float
    adaptive = False

    def size(self, factors: Factors, gradient: Factors) -> float:
        return self.length


@dataclass(frozen=True)
class Auto(StepRule):
    """Steps as long as is safe: the loss never rises, no factor changes its sign, and the flow is followed closely.

    A step changes no factor by more than the fraction ``max_change``, and is taken back and halved unless the loss
    falls by at least 0.8 of ``step * ||gradient||^2``. After a step that stood the next one may be a tenth longer.

    Parameters
    ----------
    max_change : float, default 0.1
        Largest relative change of a factor in one step. Smaller steps follow the flow more closely: at depth 4 the
        dual state, and with it ``penalty``, comes out some 15 % larger than the flow's with 0.1, and 3 % with 0.02.

    Notes
    -----
    Why it cannot fail (proved): as long as no factor changes by more than the fraction c, the curvature of the loss
    along the step is at most ``L = (1 + c)^(2D - 2) b ||A||^2 max_i B'_i + (D - 1) G``, with B' the slope of the mirror
    map, b the curvature of the loss (1 for the squared, 1/4 for the logistic loss) and G the largest relative rate of a
    factor, and a step of at most ``1 / L`` lowers the loss by at least half of
    ``step * ||gradient||^2``, one of at most ``0.4 / L`` by 0.8 of it (asked for so that steps do not swing
    across a valley). The halving ends, no lower than half the smaller of ``0.4 / L`` and ``c / G``: the spectral norm
    of A and the size of x bound the step from below, though neither has to be known.
    docs/mathematics.md, "Gradient descent".
    """

    max_change: float = 0.1

    def __post_init__(self) -> None:
        change = positive_number(self.max_change, "max_change")
        if change >= 1:
            raise ValueError(f"max_change must lie between 0 and 1, got {self.max_change!r}")

    def stepper(self, operator: Operator, speed: Float, model: Model, init_scale: Any, scaling: float) -> Stepper:
        return _AutoStepper(model, self.max_change, float(np.finfo(operator.dtype).eps))


@dataclass
class _AutoStepper(Stepper):
    model: Model
    change: float
    rounding: float
    longest: float = math.inf

    def size(self, factors: Factors, gradient: Factors) -> float:
        rate = self.model.largest_rate(factors, gradient)
        length = min(self.longest, self.change / rate if rate > 0 else math.inf)
        if not math.isfinite(length):
            length = 1.0  # no gradient, nothing moves
        self.longest = length
        return length

    def accept(self, before: float, after: float, slope: float) -> bool:
        if after <= before - 0.8 * slope + 8 * self.rounding * abs(before):
            self.longest *= 1.1
            return True
        self.longest *= 0.5
        return False


@dataclass(frozen=True)
class Increasing(StepRule):
    """Steps that double, coordinate by coordinate, for coordinates that stay small.

    The rule of Vaskevicius, Kanade and Rebeschini (2019): large coordinates are learned first; after each phase those
    below a threshold, which halves from phase to phase, take steps twice as long. A coordinate is small when *both* its
    factors are, so that negative coordinates count like positive ones.

    Parameters
    ----------
    phase : float, default 10
        Length of a phase in units of ``log(1 / init_scale)``, rounded up. The theory asks for 640; in practice 10 do.

    Raises
    ------
    ValueError
        Where it is used with a model of another depth than 2: at larger depth coordinates wait so long before they grow
        that those which are still small tell nothing. Or with a loss whose curvature has no bound.

    Notes
    -----
    With h the mean squared column norm of A times the loss scaling (of a LinearOperator estimated by 16 products) and
    ``X = 2 scaling max |A^T y| / (3 h)``, an estimate of ``max |x|`` from one probe step: the first step is
    ``1 / (10 h X)``; phase c >= 2 ends with doubled steps where ``max(u^2, v^2) <= 2^(-1-c) X``. Source: the paper
    above and its published code, corrected for signs; their theory is about the squared loss. For another loss h counts
    ``curvature_bound`` times.
    """

    phase: float = 10.0

    def __post_init__(self) -> None:
        positive_number(self.phase, "phase")

    def stepper(self, operator: Operator, speed: Float, model: Model, init_scale: Any, scaling: float) -> Stepper:
        if not (isinstance(model, HadamardPower) and model.depth == 2):
            raise ValueError(f"the increasing step rule is one for HadamardPower of depth 2, got {model!r}")
        if not math.isfinite(scaling):
            raise ValueError(
                "the increasing step rule sets its steps by the curvature of the loss, and this one has no finite "
                'curvature_bound: take step="auto"'
            )
        n = operator.shape[1]
        curvature = scaling * float(operator.column_squares().mean())
        top = float(np.abs(speed).max(initial=0.0))
        if curvature <= 0 or top <= 0:  # nothing to tell a size from
            return Auto().stepper(operator, speed, model, init_scale, scaling)
        size = 2 * scaling * top / (3 * curvature)
        waiting = math.log(size**0.5 / float(np.min(init_scale)))
        length = math.ceil(self.phase * math.ceil(max(1.0, waiting)))
        return _IncreasingStepper(np.full(n, 1 / (10 * curvature * size)), size, length)


@dataclass
class _IncreasingStepper(Stepper):
    lengths: Float
    largest: float
    phase: int
    taken: int = 0
    adaptive = False

    def size(self, factors: Factors, gradient: Factors) -> Float:
        number, at = divmod(self.taken, self.phase)
        if at == 0 and number >= 2:
            small = (2.0 ** (-1 - number) * self.largest) ** 0.5
            still = np.abs(factors.u) <= small
            if factors.v is not None:
                still &= np.abs(factors.v) <= small
            self.lengths = np.where(still, 2 * self.lengths, self.lengths)
        self.taken += 1
        return self.lengths


def as_rule(step: object) -> StepRule:
    """A step rule, from itself, a number or ``"auto"``."""
    if isinstance(step, StepRule):
        return step
    if isinstance(step, str):
        if step != "auto":
            raise ValueError(f'step must be a number, "auto" or a rule out of hadaflow.steps, got {step!r}')
        return Auto()
    return Constant(positive_number(step, "step"))
