"""What a model owes the library: its factors, and the mirror map that carries their gradient flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._validation import positive_scale
from hadaflow.gauges import L1, Gauge
from hadaflow.groups import Groups
from hadaflow.models.branches import Array, Scale
from hadaflow.models.mirror import Mirror

_WIDEST = 301 * 2.302585092994046  # largest |log| of a product scale: between 1e-300 and 1e300, with some room


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


class Model:
    """An overparameterised model acting on each coordinate by itself.

    Subclass it to add a model. Gradient descent uses ``start``, ``forward`` and ``pull_back``; everything else asks the
    mirror that :meth:`bind` returns. A model may have one side alone. Functions of arrays are written against the
    array-API namespace of their argument and keep its dtype.
    """

    def describe(self) -> str:
        """What it is called in titles: by default the name of its class."""
        return type(self).__name__

    @property
    def signed(self) -> bool:
        """Whether x may have either sign; a model of non-negative x says no."""
        return not self.has_mirror or self.bind(1.0).signed

    # ---- factors -------------------------------------------------------------------------------------------

    def for_groups(self, groups: Groups) -> Model:
        """The model whose factors belong to these groups of coordinates: itself, where each is a group of its own.

        Raises
        ------
        ValueError
            If there are others, and the model has factors for single coordinates alone.
        """
        if groups.single:
            return self
        raise ValueError(
            f"{self!r} has factors for each coordinate by itself, but the problem has groups, complex data or joint "
            f"columns: descend with hadaflow.models.GroupProduct, or ask hadaflow.flow"
        )

    def largest_rate(self, factors: Factors, gradient: Factors) -> float:
        """Largest rate at which a factor changes, relative to its size: what the steps of descent keep small.

        A factor that underflowed to zero stays there, and does not count.
        """
        rate = largest_quotient(gradient.u, factors.u)
        return rate if factors.v is None else max(rate, largest_quotient(gradient.v, factors.v))

    def start(self, init_scale: Scale, like: Array) -> Factors:
        """Factors at time zero, every entry at ``init_scale``; shape, namespace and dtype of ``like``."""
        raise TypeError(f"{self!r} has no factors (it does not define start): hadaflow.descend cannot train it")

    def forward(self, factors: Factors) -> Array:
        """The vector x of the factors."""
        raise NotImplementedError

    def pull_back(self, factors: Factors, gradient: Array) -> Factors:
        """Gradient in the factors, given the gradient of the loss in x."""
        raise NotImplementedError

    # ---- mirror --------------------------------------------------------------------------------------------

    def bind(self, init_scale: Scale) -> Mirror:
        """The mirror map from this start, a positive float or an array of such; nothing is checked.

        A model whose gradient flow is no mirror flow leaves it out; then :func:`hadaflow.descend` alone can train it.
        """
        raise TypeError(f"{self!r} has no mirror map (it does not define bind): only hadaflow.descend can train it")

    def mirror(self, init_scale: object, n: int) -> Mirror:
        """The mirror map of n coordinates from a start that is checked here, for every model and every dynamics.

        Raises
        ------
        TypeError
            If ``init_scale`` is neither a number nor a vector of numbers, or the model has no mirror map.
        ValueError
            If it is not positive and finite, has another length than n, or leads out of the range of doubles.
        """
        scale = positive_scale(init_scale, "init_scale", n)
        message = f"init_scale {init_scale!r} takes {self!r} out of the range of doubles: take one nearer to 1"
        try:
            with np.errstate(all="ignore"):
                mirror = self.bind(scale)
                sizes = [np.asarray(branch.log_size, dtype=np.float64) for branch in mirror.branches]
                rates = [np.asarray(branch.rate, dtype=np.float64) for branch in mirror.branches]
        except (ArithmeticError, ValueError) as error:
            raise ValueError(f"{message} ({error})") from error
        inside = all((np.abs(size) <= _WIDEST).all() for size in sizes)
        if not inside or not all(((rate > 0) & np.isfinite(rate)).all() for rate in rates):
            raise ValueError(f"{message} (product scales lie between 1e-300 and 1e300)")
        return mirror

    @property
    def has_mirror(self) -> bool:
        """Whether gradient flow on the factors is a mirror flow of x: whether the model defines :meth:`bind`."""
        return type(self).bind is not Model.bind

    def checked(self, init_scale: object, n: int) -> Scale:
        """A start for n coordinates as a float or a vector, checked as :meth:`mirror` does; raises what that raises."""
        if self.has_mirror:
            self.mirror(init_scale, n)
        return positive_scale(init_scale, "init_scale", n)

    @property
    def gauge(self) -> Gauge:
        """What a uniform start makes small as it vanishes."""
        return L1(sign="both" if self.signed else "positive")

    def product_scale(self, init_scale: Scale, n: int) -> float:
        """Size of one branch of x at the start: ``a^D`` of ``x = u^D - v^D``; geometric mean over n coordinates.

        What counts as support is decided by it (:meth:`hadaflow.Limit.support`). In units of x. Of a model whose
        mirror is affine, or that has none, it is the size of what the first factors alone make of their start.
        """
        if self.has_mirror and not (mirror := self.bind(init_scale)).affine:
            return mirror.product_scale
        start = self.start(init_scale, np.zeros(n))
        alone = np.abs(self.forward(Factors(start.u, None if start.v is None else 0 * start.v)))
        return float(np.exp(np.log(alone).mean())) if alone.all() else 0.0

    # ---- the map of a start, in one call -------------------------------------------------------------------

    def mirror_map(self, theta: Array, init_scale: Scale) -> Array:
        """B(theta): where the flow is when its dual state is ``theta``."""
        return self.bind(init_scale).x(theta)

    def slope(self, theta: Array, init_scale: Scale) -> Array:
        """B'(theta)."""
        return self.bind(init_scale).slope(theta)

    def inverse(self, x: Array, init_scale: Scale) -> Array:
        """The theta with B(theta) = x."""
        return self.bind(init_scale).theta(x)

    def potential(self, x: Array, init_scale: Scale) -> Array:
        """Q(x), entrywise, with Q' = B^-1 and Q(B(0)) = 0: the flow minimises the sum of Q over its limits."""
        return self.bind(init_scale).potential(x)

    def conjugate(self, theta: Array, init_scale: Scale) -> Array:
        """Q*(theta), entrywise: the antiderivative of B that vanishes at 0 (up to the constant of Q)."""
        return self.bind(init_scale).conjugate(theta)


def largest_quotient(change: Array, size: Array) -> float:
    """The largest of ``|change| / |size|``, entrywise, where the size is not zero."""
    size = np.abs(size)
    return float(np.divide(np.abs(change), size, out=np.zeros_like(size), where=size > 0).max(initial=0.0))
