"""A scalar and a vector for each group: ``x_g = u_g^(D-1) v_g``, the network of papers on group sparsity."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hadaflow._types import Vector
from hadaflow._validation import positive_number
from hadaflow.groups import Groups
from hadaflow.models.base import Factors, Model, largest_quotient
from hadaflow.models.branches import Scale
from hadaflow.models.hadamard_power import power


@dataclass(frozen=True)
class GroupProduct(Model):
    """The network ``x_g = u_g^(D-1) v_g`` with a scalar u and a vector v for each group, trained by ``descend``.

    Gradient flow of ``F(x)``, ``u' = -(D - 1) u^(D-2) <v, g>`` and ``v' = -u^(D-1) g`` with ``g`` the gradient of F in
    the group, from ``u = a`` and ``v = 0``. It keeps ``u^2 - (D - 1) |v|^2 = a^2``. Where each group holds a single
    coordinate it is a mirror flow of x. For larger groups it is none: no network of scalars and vectors has the radial
    mirror flow that :func:`hadaflow.flow` and :func:`hadaflow.limit` follow, and this one ends elsewhere, in general
    not near the smallest sum of the norms of groups, however small the start. It agrees with a radial map as long as
    each group keeps its direction, as where the columns of A are orthogonal.

    Parameters
    ----------
    depth : float, default 2
        Number of factors D, any real number >= 2: ``D - 1`` times u, once v.

    Raises
    ------
    TypeError, ValueError
        If ``depth`` is not a finite number >= 2.

    Notes
    -----
    Factors of a run: ``u`` of shape (G,), one for each group, and ``v`` of shape (n,); a complex number is a group of
    two coordinates, real part first. O(n) per call. Source: Li, Nguyen, Hegde and Wong 2023 (arXiv 2301.12540) for the
    network; docs/mathematics.md, "Groups".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.eye(4), np.array([3.0, 4.0, 0.0, 0.0]), groups=2)
    >>> run = hf.descend(problem, hf.models.GroupProduct(2), init_scale=1e-2)
    >>> run.x.round(3), run.support()
    (array([3., 4., 0., 0.]), array([0, 1]))
    """

    depth: float = 2.0
    _groups: Groups = field(default_factory=Groups, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", positive_number(self.depth, "depth", minimum=2.0, strict=False))

    def describe(self) -> str:
        return f"scalar times vector, depth {self.depth:g}"

    def for_groups(self, groups: Groups) -> GroupProduct:
        bound = replace(self)
        object.__setattr__(bound, "_groups", groups)
        return bound

    def start(self, init_scale: Scale, like: Vector) -> Factors:
        count = self._groups.count or len(like)
        u = np.zeros((count, *like.shape[1:]), dtype=like.dtype, order="F") + init_scale
        return Factors(u.astype(like.dtype, copy=False), np.zeros_like(like))

    def forward(self, factors: Factors) -> Vector:
        return np.asarray(self._groups.spread(power(factors.u, self.depth - 1)) * factors.v)

    def pull_back(self, factors: Factors, gradient: Vector) -> Factors:
        assert factors.v is not None
        inner = self._groups.sums(factors.v * gradient).astype(gradient.dtype, copy=False)
        du = (self.depth - 1) * power(factors.u, self.depth - 2) * inner
        return Factors(du, np.asarray(self._groups.spread(power(factors.u, self.depth - 1)) * gradient))

    def largest_rate(self, factors: Factors, gradient: Factors) -> float:
        """Both relative to u, which is never smaller than the start, nor than ``sqrt(D - 1) |v|``."""
        assert gradient.v is not None
        along = largest_quotient(gradient.u, factors.u)
        return max(along, largest_quotient(self._groups.norms(gradient.v), factors.u))

    def product_scale(self, init_scale: Scale, n: int) -> float:
        """``a^D``, geometric mean over the groups: the size of a group whose v has grown to the start of its u."""
        return float(np.exp(self.depth * np.mean(np.log(init_scale))))
