"""The answer of recover, with its proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float
from hadaflow.certificates import Certificate, exact_within
from hadaflow.gauges import Gauge
from hadaflow.gauges.l1 import l1
from hadaflow.hints import as_html, fitted_noise, standing_out, stretch_of, with_hint
from hadaflow.models import Model
from hadaflow.problems import Problem
from hadaflow.results.answer import Answer
from hadaflow.results.status import Stats, Status


@dataclass(frozen=True, eq=False)
class Recovery(Answer):
    """The answer of :func:`hadaflow.recover`.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The recovered vector.
    dual : ndarray of shape (m,)
        Dual vector that proves the certificate.
    certificate : Certificate
        How good ``x`` is, proved.
    status : Status
        What happened; ``status.ok`` and ``str(status)``.
    stats : Stats
        Cost and the dynamics that gave the answer.
    problem : Problem
        The data.
    model : Model or None
        The model of a limit; None for the scale -> 0 solution.
    product_scale : float
        ``a^D`` of a limit (geometric mean over coordinates), 0 for the scale -> 0 solution.
    positive : bool
        Whether only non-negative x was looked for.
    weights : ndarray of shape (n,) or None
        Weights of the l1 norm; None if all are 1.
    noise_level : float
        What was given as size of the noise, in units of y.
    gauge : Gauge
        What x is certified to make small; by default the norm that ``positive`` and ``weights`` mean.
    hint : str or None
        Why x may have fitted noise in y, and what to call then; None where nothing speaks for it.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> r = hf.recover(np.array([[1.0, 0.5]]), np.array([2.0]))
    >>> r
    Recovery(1 x 2, EXACT, 1 non-zeros, gap ..., residual ..., unique)
    >>> r.support(), r.refit()
    (array([0]), array([2., 0.]))
    """

    x: Float
    dual: NDArray[np.float64]
    certificate: Certificate
    status: Status
    stats: Stats
    problem: Problem = field(repr=False)
    model: Model | None = None
    product_scale: float = 0.0
    positive: bool = False
    weights: NDArray[np.float64] | None = None
    noise_level: float = 0.0
    gauge: Gauge = field(default=None, repr=False)  # type: ignore[assignment]  # the next lines fill it

    def __post_init__(self) -> None:
        if self.gauge is None:
            object.__setattr__(self, "gauge", l1(self.weights, self.positive))

    call = "recover"

    def __repr__(self) -> str:
        c = self.certificate
        unique = ", unique" if c.unique else ""
        found = (
            f"Recovery({self.problem.size}, {self.status.name}, {len(self.support())} non-zeros, "
            f"gap {c.gap:.0e}, residual {c.residual:.0e}{unique})"
        )
        return with_hint(found, self.hint)

    def progress_made(self, asked: str) -> str:
        """Residual and gap compared with what was asked for, in words."""
        c = self.certificate
        residual = f"relative residual ||A x - y|| / ||y|| = {c.scaled_residual:.2g}"
        if self.model is not None:
            return f"{residual} (asked for: {asked})"
        exact = exact_within(self.problem)
        ways = f", by {', then '.join(dict.fromkeys(self.stats.tried))}" if self.stats.tried else ""
        noise = f", or noise_level = {self.noise_level:g} in units of y" if self.noise_level > 0 else ""
        gap = f"relative gap of the l1 norm {c.gap:.2g} (asked for: {exact.gap:.2g})"
        worst = f"of the worst row |A x - y| / (|A| |x| + |y|) = {c.backward_error:.2g} ({exact.backward_error:.2g})"
        return f"{residual} (asked for: {exact.residual:.2g}{noise}), {worst}, {gap}{ways}"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        n, c = len(self.x), self.certificate
        rows = {
            "status": f"{self.status.name}: {self.status}",
            "non-zeros": f"{len(self.support())} of {n}",
            "gap": f"{c.gap:.2g}",
            "residual": f"{c.residual:.2g}  (||A x - y|| / ||y||)",
            "worst row": f"{c.backward_error:.2g}  (|A x - y| / (|A| |x| + |y|), the largest)",
            "unique": "yes, proved" if c.unique else "not proved",
        }
        return as_html(f"Recovery, {self.problem.size}", rows | ({} if self.hint is None else {"hint": self.hint}))

    @cached_property
    def hint(self) -> str | None:
        """Why x may have fitted noise in y, and what to call then; None where nothing speaks for it."""
        if not self.problem.groups.single:  # entries of a group are no choices of their own
            return fitted_noise(self.status.name, self.problem.shape, nonzeros=None, residual=self.certificate.residual)
        count: int | None = int(np.count_nonzero(self.x))
        if self.model is not None:  # at depth 1 no start says what counts as non-zero
            count = standing_out(self.x, self.support()) if self.product_scale > 0 else None
        return fitted_noise(
            self.status.name,
            self.problem.shape,
            nonzeros=count,
            residual=self.certificate.residual,
            noise_level=self.noise_level,
            stretch=partial(stretch_of, self.problem, self.x),
        )
