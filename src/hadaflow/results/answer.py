"""What all results can tell about themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hadaflow._span import fitted
from hadaflow._types import Float, Index
from hadaflow._validation import norm, positive_number
from hadaflow.problems import Problem
from hadaflow.results.status import Stats, Status
from hadaflow.snapshots import default_threshold


class Outcome(ABC):
    """What a public function found, and how far it got.

    Attributes
    ----------
    call : str
        The function that made it.
    status : Status
        What happened.
    stats : Stats
        Cost.
    problem : Problem
        The data.
    """

    call: ClassVar[str]

    if TYPE_CHECKING:  # declared read-only, so that a subclass may store it or compute it

        @property
        def status(self) -> Status: ...
        @property
        def stats(self) -> Stats: ...
        @property
        def problem(self) -> Problem: ...

    @abstractmethod
    def progress_made(self, asked: str) -> str:
        """How far it got compared with what was asked for, in words."""

    def relative_residual_in_words(self, x: Float) -> str:
        """``||dF/dp||`` at x compared with that at 0; of the squared loss that is the relative residual."""
        if not np.isfinite(x).all():
            return "x out of the range of doubles"
        problem = self.problem
        with np.errstate(all="ignore"):
            p = problem.operator.matvec(x.astype(np.float64))
            residual = norm(np.asarray(problem.loss.gradient(p, problem.y.astype(np.float64))))
        name = "||A x - y|| / ||y||" if problem.squared else "||dF/dp|| compared with that at x = 0"
        return f"relative residual {name} = {residual / (norm(problem.negative_gradient_at_zero) or 1.0):.2g}"


class Answer(Outcome):
    """What every result with an ``x`` can tell about it.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The answer.
    problem : Problem
        The data.
    product_scale : float
        ``a^D`` of the flow that led to x, 0 where its start had vanished.
    """

    if TYPE_CHECKING:

        @property
        def x(self) -> Float: ...
        @property
        def product_scale(self) -> float: ...

    def support(self, threshold: float | None = None) -> Index:
        """Indices of the entries that count as non-zero, ascending.

        Parameters
        ----------
        threshold : float, optional
            Keep ``|x_i| > threshold``, in units of x. Default: the geometric mean of product scale and largest entry,
            ``sqrt(a^D max |x|)``; 0 for the scale -> 0 solution, whose zeros are exact.

        Returns
        -------
        ndarray of int, shape (k,)
        """
        if threshold is None:
            threshold = default_threshold(self.x, self.product_scale)
        else:
            threshold = positive_number(threshold, "threshold", strict=False)
        return np.flatnonzero(np.abs(self.x) > threshold)

    def refit(self, threshold: float | None = None) -> Float:
        """Least squares on the support: ``argmin ||A z - y||_2`` over z supported there, shape (n,).

        Parameters
        ----------
        threshold : float, optional
            As in :meth:`support`.

        Notes
        -----
        ``2 m k^2`` operations for k coordinates on the support (minimum-norm solution if its columns are dependent).
        """
        index, x = self.support(threshold), np.zeros_like(self.x)
        if len(index):
            x[index] = fitted(self.problem.operator.columns(index), self.problem.y.astype(np.float64))
        return x
