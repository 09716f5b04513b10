"""The end of gradient flow from a given start."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float
from hadaflow.hints import fitted_noise, standing_out, stretch_of, with_hint
from hadaflow.problems import Problem
from hadaflow.results.answer import Answer
from hadaflow.results.status import Stats, Status


@dataclass(frozen=True, eq=False)
class Limit(Answer):
    """Where gradient flow from a given start ends.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The end point. No entry is exactly zero.
    dual : ndarray of shape (m,)
        nu with ``x = B(A^T nu)``: the integral of the residual along the flow. At tiny product scales x holds more
        digits than ``B(A^T nu)`` can give.
    status : Status
        ``LIMIT``, ``LEAST_SQUARES`` or ``NOT_CONVERGED``.
    stats : Stats
        Cost.
    residual : float
        ``||A x - y|| / ||y||`` (of the projected y in the least-squares case).
    mismatch : float
        Largest ``|x_i - B(A^T nu)_i|`` relative to the largest entry of x, measured in the slack variables.
    problem : Problem
        The data.
    product_scale : float
        ``a^D`` of the start (geometric mean over coordinates); 0 at depth 1, which makes nothing sparse.
    hint : str or None
        Why x may have fitted noise in y, and what to call then; None where nothing speaks for it.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> end = hf.limit(hf.Problem(np.array([[1.0, 0.2]]), [1.0]), hf.HadamardPower(3), init_scale=1e-3)
    >>> end.x.round(6), end.support(), end.refit()
    (array([1., 0.]), array([0]), array([1., 0.]))
    """

    x: Float
    dual: NDArray[np.float64]
    status: Status
    stats: Stats
    residual: float
    mismatch: float
    problem: Problem = field(repr=False)
    product_scale: float = 0.0

    call = "limit"

    def __repr__(self) -> str:
        steps = self.stats.newton_steps
        found = f"{len(self.x)} coordinates, {self.status.name}, residual {self.residual:.0e}, {steps} Newton steps"
        return with_hint(f"Limit({found})", self.hint)

    def progress_made(self, asked: str) -> str:
        """Residual and mismatch compared with what was asked for, in words."""
        found = f"relative residual ||A x - y|| / ||y|| = {self.residual:.2g}, mismatch {self.mismatch:.2g}"
        return f"{found} of max |x| (asked for: {asked}), in {self.stats.newton_steps} Newton steps"

    @cached_property
    def hint(self) -> str | None:
        """Why x may have fitted noise in y, and what to call then; None where nothing speaks for it."""
        if not self.problem.groups.single:
            return fitted_noise(self.status.name, self.problem.shape, nonzeros=None)
        count = standing_out(self.x, self.support()) if self.product_scale > 0 else None
        stretch = partial(stretch_of, self.problem, self.x)
        return fitted_noise(self.status.name, self.problem.shape, nonzeros=count, stretch=stretch)
