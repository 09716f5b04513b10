"""What all results can tell about themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hadaflow._span import fitted
from hadaflow._types import Float, Index, Mask
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
            p = problem.operator.matvec(problem.layout.real_x(x).astype(np.float64))
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
            Keep ``|x_i| > threshold``, in units of x; of x in groups, those of larger norm. Default: the geometric mean
            of product scale and largest entry, ``sqrt(a^D max |x|)``; 0 for the scale -> 0 solution, whose zeros are
            exact.

        Returns
        -------
        ndarray of int, shape (k,)
        """
        groups, layout = self.problem.groups, self.problem.layout
        return layout.rows(np.flatnonzero(groups.spread(self._standing_out(threshold))))

    def active_groups(self, threshold: float | None = None) -> Index:
        """Numbers of the groups that count as non-zero, ascending; of single coordinates, these: :meth:`support`.

        Parameters
        ----------
        threshold : float, optional
            As in :meth:`support`, for the norms of groups.

        Returns
        -------
        ndarray of int
            In the order in which groups first appear.
        """
        return np.flatnonzero(self._standing_out(threshold))

    def _standing_out(self, threshold: float | None) -> Mask:
        """Which groups are larger than a threshold, shape (G,)."""
        sizes = self.problem.groups.norms(self.problem.layout.real_x(self.x))
        if threshold is None:
            threshold = default_threshold(sizes, self.product_scale)
        else:
            threshold = positive_number(threshold, "threshold", strict=False)
        return np.asarray(sizes > threshold)

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
        layout, k = self.problem.layout, self.problem.operator.repeats
        x = np.zeros_like(layout.real_x(self.x))
        rows = layout.coordinates(self.support(threshold))[::k] // k
        if len(rows):
            target = self.problem.y.astype(np.float64)
            found = fitted(self.problem.operator.base_columns(rows), target if k == 1 else target.reshape(-1, k))
            x.reshape(-1, k)[rows] = found.reshape(-1, k)
        return layout.x(x)
