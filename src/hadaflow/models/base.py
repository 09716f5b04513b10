"""What a model owes the dynamics: two views of the same map.

Factors view
    ``start``, ``forward`` and ``pull_back``: what gradient descent on the factors needs.
Mirror view
    ``mirror_map`` B with its ``slope``, ``inverse``, ``potential`` and ``conjugate``: along gradient flow
    ``x = B(theta)`` entrywise with ``theta' = -grad F(x)``. The limit solver asks for ``branches``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import positive_scale

#: An array of any array-API namespace (NumPy, torch, CuPy, JAX ...).
Array = Any
#: One start for all coordinates, or one per coordinate.
Scale = float | Array

_LARGEST = 700.0  # log of a product scale that a double holds


@dataclass(frozen=True)
class Factors:
    """Parameters of a model.

    Attributes
    ----------
    u : ndarray of shape (n,)
        The first factors.
    v : ndarray of shape (n,) or None
        The second ones, of signed models.
    """

    u: Array
    v: Array | None


@dataclass(frozen=True)
class Branches:
    """The increasing half of a mirror map in logarithms, as the limit solver uses it.

    With one non-negative branch per sign, ``x = p - q`` and ``p = phi(s_plus)``, ``q = phi(s_minus)``, where a
    slack ``s = rest - (+/-) z`` shrinks as the scaled dual ``z`` grows, and::

        log phi(s) = level - s                       (exponential: exponent is infinite)
        log phi(s) = level - exponent * log(s)       (s > 0; a barrier at s = 0)

    Parameters
    ----------
    exponent : float
        ``D / (D - 2)``, infinite at depth 2.
    level : float
        Log of the reference product scale.
    rest : ndarray of shape (n,)
        Slack of each coordinate at the start.
    dual_scale : float
        ``theta = dual_scale * z``.
    signed : bool
        Whether the second branch exists.
    """

    exponent: float
    level: float
    rest: NDArray[np.float64]
    dual_scale: float
    signed: bool

    @property
    def start(self) -> NDArray[np.float64]:
        """Log of one branch at the start, where the slack is ``rest``; shape (n,)."""
        if math.isinf(self.exponent):
            return np.asarray(self.level - self.rest)
        return np.asarray(self.level - self.exponent * np.log(self.rest))


class Model(ABC):
    """An overparameterised model acting on each coordinate by itself.

    Subclass it to add a model: the dynamics use nothing else. Functions of arrays are written against the
    array-API namespace of their argument and keep its dtype; ``init_scale`` is a float or an array that
    broadcasts against it, positive and finite: the dynamics check it before they pass it on.
    """

    @property
    def signed(self) -> bool:
        """Whether x may have either sign, as an odd mirror map gives it; a model of non-negative x says no."""
        return True

    @abstractmethod
    def start(self, init_scale: Scale, like: Array) -> Factors:
        """Factors at time zero, every entry at ``init_scale``; shape, namespace and dtype of ``like``."""

    @abstractmethod
    def forward(self, factors: Factors) -> Array:
        """The vector x of the factors."""

    @abstractmethod
    def pull_back(self, factors: Factors, gradient: Array) -> Factors:
        """Gradient in the factors, given the gradient of the loss in x."""

    @abstractmethod
    def mirror_map(self, theta: Array, init_scale: Scale) -> Array:
        """B(theta): where the flow is when its dual state is ``theta``."""

    @abstractmethod
    def slope(self, theta: Array, init_scale: Scale) -> Array:
        """B'(theta)."""

    @abstractmethod
    def inverse(self, x: Array, init_scale: Scale) -> Array:
        """The theta with B(theta) = x."""

    @abstractmethod
    def potential(self, x: Array, init_scale: Scale) -> Array:
        """Q(x), entrywise, with Q' = B^-1 and Q(B(0)) = 0: the flow minimises the sum of Q over its limits."""

    @abstractmethod
    def conjugate(self, theta: Array, init_scale: Scale) -> Array:
        """Q*(theta), entrywise: the antiderivative of B that vanishes at 0 (up to the constant of Q)."""

    @abstractmethod
    def branches(self, init_scale: Scale, n: int) -> Branches | None:
        """The mirror map for the limit solver; None where it is affine.

        ``init_scale`` is a float, or a float64 vector of shape (n,); it is positive and finite.
        """

    def product_scale(self, init_scale: Scale, n: int) -> float:
        """Size of one branch of x at the start: ``a^D`` of ``x = u^D - v^D``; geometric mean over n coordinates.

        What counts as support is told by it (:meth:`hadaflow.Limit.support`). In units of x. By default it is read off
        the branches; of an affine model, which has none, it is what the first factors alone make of their start.
        """
        branches = self.branches(init_scale, n)
        if branches is not None:
            return math.exp(min(_LARGEST, float(branches.start.mean())))
        start = self.start(init_scale, np.zeros(n))
        alone = np.abs(self.forward(Factors(start.u, None if start.v is None else 0 * start.v)))
        return math.exp(min(_LARGEST, float(np.log(alone).mean()))) if alone.all() else 0.0


def started(model: Model, init_scale: object, n: int) -> tuple[Scale, Branches | None]:
    """The init scale of a run on n coordinates, checked, and the branches of the model there.

    Whatever a run begins with passes through here, so that every model and every dynamics refuses the same.

    Raises
    ------
    TypeError
        If ``init_scale`` is neither a number nor a vector of numbers.
    ValueError
        If it is not positive and finite, has another length than n, or leads out of the range of doubles.
    """
    scale = positive_scale(init_scale, "init_scale", n)
    told = f"init_scale {init_scale!r} takes {model!r} out of the range of doubles: take one nearer to 1"
    with np.errstate(all="ignore"):
        try:
            branches = model.branches(scale, n)
        except (ArithmeticError, ValueError) as error:
            if "init_scale" in str(error):
                raise
            raise ValueError(f"{told} ({error})") from error
        if branches is not None and not np.isfinite(branches.start).all():
            raise ValueError(told)
    return scale, branches
