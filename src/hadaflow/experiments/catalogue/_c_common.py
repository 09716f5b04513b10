"""What the experiments on paper C share: instances, the error of a limit beside what is known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import hadaflow as hf
from hadaflow._types import Sign, Vector
from hadaflow.theory.approximation_error import certified_error_bound, error_lower_bound, error_upper_bound
from hadaflow.theory.leading_error import LeadingError, leading_error
from hadaflow.theory.limit_error import LimitError, limit_error
from hadaflow.theory.null_space import NullSpaceConstants, null_space_constants

#: Corrections to the leading term of the error below this share of it count as small: a slope is then decided.
SMALL = 0.05
#: Rounding that a comparison with a bound allows.
ROUNDING = 1e-9

PROVED = 'proved: docs/mathematics.md, "The error off the support"'
ABSTRACT = "from paper C's abstract"


@dataclass(frozen=True, eq=False)
class Instance:
    """A matrix, the l1-minimiser of its measurements, and the null-space constants there."""

    A: Vector
    x: Vector
    sign: Sign = "both"

    @cached_property
    def constants(self) -> NullSpaceConstants:
        support = np.flatnonzero(self.x)
        return null_space_constants(self.A, support, np.sign(self.x[support]), sign=self.sign)

    def error(self, depth: float, log_scale: float) -> LimitError:
        """How far the limit is from x."""
        return limit_error(self.A, self.x, depth=depth, product_scale=math.exp(log_scale), sign=self.sign)

    def leading(self, depth: float, log_scale: float) -> LeadingError:
        """What that tends to."""
        return leading_error(self.A, self.x, depth=depth, product_scale=math.exp(log_scale), sign=self.sign)

    def compared_with_bounds(self, depth: float, log_scale: float) -> dict[str, float]:
        """The error and its bounds: on all of it, on its part off the support, and below its largest entry there."""
        scale: dict[str, Any] = {"depth": depth, "product_scale": math.exp(log_scale)}
        found = self.error(depth, log_scale)
        upper = error_upper_bound(self.x, self.constants, **scale)
        explicit = error_upper_bound(self.x, self.constants, form="explicit", **scale)
        certified = certified_error_bound(self.A, self.x, sign=self.sign, **scale)
        end, sigma = self.x + found.error, self.constants.signs
        kept = bool((sigma * end[self.constants.support] > 0).all())
        return {
            "error": found.total,
            "off_support": found.off_support,
            "largest": found.off_support_max,
            "upper": upper.total,
            "explicit": explicit.total,
            "upper_off": upper.off_support,
            "explicit_off": explicit.off_support,
            "certified_off": certified.off_support,
            "lower": error_lower_bound(end, self.constants, **scale) if kept else 0.0,
        }


def planted(rng: np.random.Generator, m: int, n: int, sparsity: int, largest: float) -> Instance:
    """A Gaussian matrix; then signs, then sizes from 0.5 up, on the leading coordinates."""
    A = rng.standard_normal((m, n)) / math.sqrt(m)
    x = np.zeros(n)
    x[:sparsity] = rng.choice([-1.0, 1.0], sparsity)
    x[:sparsity] *= rng.uniform(0.5, largest, sparsity)
    return Instance(A, x)


def minimal(instance: Instance) -> Instance:
    """The same measurements with the l1-minimiser that belongs to them."""
    return Instance(instance.A, np.asarray(hf.recover(instance.A, instance.A @ instance.x).x, dtype=np.float64))


def anything(rng: np.random.Generator, sign: Sign) -> Instance | None:
    """A random instance of random size, sizes over two decades; None where x is not the only minimiser."""
    m = int(rng.integers(3, 9))
    n, sparsity = m + int(rng.integers(1, 11)), int(rng.integers(1, min(4, m)))
    x = np.zeros(n)
    x[rng.choice(n, sparsity, replace=False)] = 10 ** rng.uniform(-1, 1, sparsity)
    if sign == "both":
        x *= rng.choice([-1.0, 1.0], n)
    instance = Instance(rng.standard_normal((m, n)), x, sign)
    return instance if instance.constants.unique else None


def with_kernel(direction: list[float], x: list[float]) -> Instance:
    """A matrix whose kernel is one line."""
    _, _, basis = np.linalg.svd(np.atleast_2d(np.asarray(direction)))
    return Instance(basis[1:], np.asarray(x, dtype=np.float64))
