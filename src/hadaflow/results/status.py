"""What happened to a run, how it gets on, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """What happened; the value of a member is its message.

    Attributes
    ----------
    EXACT
        Ok. x minimises ``sum_i w_i |x_i|`` (over ``x >= 0`` where that was asked for) among all solutions of
        ``A x = y``. Checked on the answer itself, by its certificate: a relative gap of at most 1e-8, or a proof that x
        is the only solution; a relative residual of at most 1e-9, rows brought to one length; and in every row, so that
        those in small units count like others, one of at most 1e3 units of what that row rounds (of a LinearOperator:
        1e-12 of a bound on its terms). In float32 1.2e-4 stands for these numbers.
    LIMIT
        Ok. x is where gradient flow from the given start ends, and solves ``A x = y``. Checked: a residual of at most
        1e-8, of all rows together and of each relative to its size, and ``x = B(A^T nu)`` to the tolerance.
    NOISE_LEVEL
        Ok. x is the first plateau of the saddle path (with products only, the first that leaps come upon) whose
        residual ``||A x - y||_2`` is at most the noise level that was given. Checked: that residual.
    LEAST_SQUARES
        Ok, if that is what you want. No x fits y; it minimises ``||A x - y||_2`` over all x, or ``x >= 0`` where
        only those were asked for, and among all such points it is the one of smallest (weighted) l1 norm (from a given
        start: the one where its flow ends). Rows count as long as they are given. Checked: ``||A x - y||`` is within
        1e-8 of a proved lower bound on that of all x, rounding of the residual aside (``certificate.fit_gap``), and the
        gap among the x with the same ``A x`` is at most 1e-8, or there is no other such x. Where y has noise such an x
        may fit it: see ``hint``.
    INEXACT
        Not ok. x solves ``A x = y``, and its certificate does not prove that it is minimal to 1e-8: A is
        ill-conditioned, or x not sparse enough. ``certificate.gap`` says how far it can be from the minimum.
    STOPPED
        Ok. A stopping rule, or the end time, was met; ``reason`` says which, and its numbers.
    INTERRUPTED
        Not ok. Ctrl-C; x is what was reached until then.
    DIVERGED
        Not ok. Steps of gradient descent were too long: the residual grew a millionfold. x is the last point before.
    NOT_CONVERGED
        Not ok. Steps or jumps ran out, or rounding lost the way, before the answer was reached. Nothing is promised of
        x; the certificate, or ``residual`` and ``reason``, say how far it got, and ``stats.tried`` by which ways.
    """

    EXACT = "a minimiser of the l1 norm among all solutions of A x = y, exact to rounding"
    LIMIT = "the end of gradient flow from the given start: A x = y holds"
    NOISE_LEVEL = "stopped on the first plateau whose residual is within the noise level"
    LEAST_SQUARES = (
        "no x fits y: this one minimises ||A x - y||_2 (among x >= 0, if such were asked for), and of all such points "
        "it has the smallest l1 norm (a limit: the smallest potential)"
    )
    INEXACT = "a solution of A x = y that is not proved minimal (ill-conditioned or not sparse enough): see its gap"
    STOPPED = "a stopping rule was met; see reason"
    INTERRUPTED = "interrupted by the user; this is what was done until then"
    DIVERGED = "the steps were too long: the residual grew without bound; this is the last point before; see reason"
    NOT_CONVERGED = "stopped before the answer was reached; see stats and certificate for how far it got"

    @property
    def message(self) -> str:
        return self.value

    @property
    def ok(self) -> bool:
        """Whether the run reached what it was asked for."""
        return self not in (Status.INEXACT, Status.INTERRUPTED, Status.DIVERGED, Status.NOT_CONVERGED)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Progress:
    """One report of a running computation.

    Attributes
    ----------
    stage : str
        Which dynamics is at work.
    fraction : float or None
        Fraction of the work done, where it is known.
    message : str
        The state in words.
    """

    stage: str
    fraction: float | None
    message: str


#: Called now and then with a :class:`Progress`; what it returns is ignored.
ProgressCallback = Callable[[Progress], object]


@dataclass(frozen=True)
class Stats:
    """What a run cost.

    Attributes
    ----------
    seconds : float
        Wall time.
    passes : float
        How often A was read: one per product with a vector or a block, ``k / n`` for k extracted columns of a
        matrix, k for k columns of a LinearOperator.
    newton_steps : int
        Linear systems of the limit solver, over all that was tried.
    events : int
        Jumps or leaps along the saddle path, over all that was tried.
    method : str
        The dynamics that gave the answer.
    tried : tuple of str
        All dynamics that were tried, in order; the last need not be the one that gave the answer.
    """

    seconds: float = 0.0
    passes: float = 0.0
    newton_steps: int = 0
    events: int = 0
    method: str = ""
    tried: tuple[str, ...] = ()
