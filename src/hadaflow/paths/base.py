"""What every path can tell about itself: plots, warnings, estimators and theory ask these members, not the class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float
from hadaflow.certificates import Certificate
from hadaflow.gauges import Gauge, GroupNorm
from hadaflow.models import Model
from hadaflow.models.branches import Scale
from hadaflow.paths.reading import Reading
from hadaflow.results import Answer, Outcome

ReadOut = Literal["iterate", "average"]


class Path(Outcome, ABC):
    """x as a function of time, as far as it is known.

    Attributes
    ----------
    clock : str
        What its time is called.
    piecewise_constant : bool
        Whether x jumps, and stays as it is between two jumps.
    product_scale : float
        ``a^D`` of the start; 0 where it has vanished.
    read_outs : tuple of {"iterate", "average"}
        What :meth:`reading` can read.
    """

    clock: ClassVar[str] = "flow time"
    piecewise_constant: ClassVar[bool] = False

    if TYPE_CHECKING:  # declared read-only, so that a subclass may store it or compute it

        @property
        def product_scale(self) -> float: ...

    # ---- its end -------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def end(self) -> Float:
        """x where the path ends, shape (n,)."""

    @property
    @abstractmethod
    def last_time(self) -> float:
        """When it ends; infinite if it was followed to its limit."""

    @property
    @abstractmethod
    def steps_taken(self) -> int:
        """Steps or jumps until then."""

    # ---- at one time ---------------------------------------------------------------------------------------

    @abstractmethod
    def state_at(self, time: float, read_out: ReadOut = "iterate") -> Float:
        """A read-out at one time, shape (n,): that of the last known time where this one is not known."""

    @abstractmethod
    def dual_at(self, time: float) -> NDArray[np.float64]:
        """The dual state at one time, the integral of ``y - A x`` until then, shape (m,)."""

    # ---- as a whole ----------------------------------------------------------------------------------------

    @abstractmethod
    def describe(self) -> str:
        """What kind of path it is, in a few words."""

    @property
    def read_outs(self) -> tuple[ReadOut, ...]:
        """What :meth:`reading` can read."""
        return "iterate", "average"

    @abstractmethod
    def reading(self, read_out: ReadOut = "iterate", *, until: float = 0.0) -> Reading:
        """A read-out at the times that show what happens, from a little before the first change that can be seen.

        A path that stays at its end for ever is read up to ``until`` at least.
        """


class PathFromStart(Answer, Path):
    """A path of training from a given start; its last iterate is an answer.

    Attributes
    ----------
    model : Model
        The model.
    init_scale : float or ndarray of shape (n,)
        What every factor entry started with.
    reason : str
        Why it ends, with the numbers that decided.
    certificate : Certificate
        How far the last iterate is from what the model makes small.
    """

    if TYPE_CHECKING:

        @property
        def model(self) -> Model: ...
        @property
        def init_scale(self) -> Scale: ...
        @property
        def reason(self) -> str: ...
        @property
        def certificate(self) -> Certificate: ...

    @property
    def end(self) -> Float:
        """x where the path ends, shape (n,)."""
        return self.x

    @property
    def gauge(self) -> Gauge:
        """What its certificates are about: what the model makes small; of groups the sum of their norms."""
        groups = self.problem.groups
        return self.model.gauge if groups.single else GroupNorm(groups)

    @property
    def ended(self) -> bool:
        """Whether it was followed to its limit."""
        return bool(np.isinf(self.last_time))

    @abstractmethod
    def average_at(self, time: float) -> Float:
        """The running average of x until one time, shape (n,)."""

    @abstractmethod
    def penalty_at(self, time: float) -> float:
        """``||A^T dual||_inf / time``: lambda of the lasso that the average until then approximates."""

    def progress_made(self, asked: str) -> str:
        """Why it ended and how well it fits compared with what was asked for, in words."""
        return f"{self.reason}; {self.relative_residual_in_words(self.x)} (asked for: {asked})"

    def _described(self, kind: str) -> str:
        return f"{kind}, {self.model.describe()}, product scale {self.product_scale:.3g}"
