"""Where does gradient flow end? At the start's own notion of the simplest solution of A x = y."""

from __future__ import annotations

from hadaflow._validation import callback, instance, positive_number, whole_number
from hadaflow.convergence import reported
from hadaflow.models import Model
from hadaflow.models.branches import Scale
from hadaflow.problems import Problem, require_squared
from hadaflow.results import Limit, ProgressCallback
from hadaflow.solvers.newton.continuation import Effort
from hadaflow.solvers.newton.end import end_of_flow


def limit(
    problem: Problem,
    model: Model,
    *,
    init_scale: Scale,
    tolerance: float = 1e-12,
    max_steps: int = 200,
    progress: ProgressCallback | None = None,
) -> Limit:
    """The end point, t -> infinity, of gradient flow on ``1/2 ||A x - y||^2`` from the given start.

    It is ``x = B(A^T nu)`` with ``A x = y``; equivalently the minimiser of the model's potential ``sum_i Q(x_i)``
    over all solutions. For y outside the range of the model the flow ends at a least-squares point, found likewise.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n).
    model : Model
        Overparameterised model, for example ``HadamardPower(depth=3)``.
    init_scale : float or array_like of shape (n,)
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``; one per coordinate for a non-uniform
        start.
    tolerance : float, default 1e-12
        Relative: both ``||A x - y|| / ||y||`` and the mismatch ``|x - B(A^T nu)|`` relative to the largest entry
        of x must fall below it.
    max_steps : int, default 200
        Newton steps allowed.
    progress : callable, optional
        Called with a :class:`hadaflow.Progress` after every Newton step.

    Returns
    -------
    Limit
        ``status`` is ``LIMIT``, ``LEAST_SQUARES`` or ``NOT_CONVERGED``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Warns
    -----
    ConvergenceWarning
        If the status is ``NOT_CONVERGED``.

    Notes
    -----
    Primal-dual Newton with continuation in the scale. Each of typically 20 to 40 steps forms and factors an m x m
    matrix, O(m^2 n + m^3); where that is too large, conjugate gradients with products only. Slacks to the barrier
    are variables of their own, so that tiny scales cost large entries no digits. Entries off the support are accurate
    relative to the largest entry, not to themselves: below product scales of about 1e-9 ask
    ``hadaflow.theory.limit_error`` for them. Source: docs/mathematics.md, "The limit"; papers A and C.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> end = hf.limit(problem, hf.HadamardPower(depth=3), init_scale=1e-2 ** (1 / 3))
    >>> np.round(end.x, 8)
    array([0.97965253, 0.04069493])
    """
    instance(problem, Problem, "problem")
    require_squared(problem, "limit")
    instance(model, Model, "model")
    callback(progress, "progress")
    tolerance = positive_number(tolerance, "tolerance")
    max_steps = whole_number(max_steps, "max_steps")
    check_signs(problem, model)
    mirror = model.mirror(init_scale, problem.groups.count or problem.shape[1])
    end = end_of_flow(problem, mirror, Effort(tolerance, max_steps, progress))
    return reported(end, f"{tolerance:.2g} of both")


def check_signs(problem: Problem, model: Model) -> None:
    """Raise ValueError where a model knows one direction only, but the problem has groups."""
    if not problem.groups.single and model.has_mirror and not model.bind(1.0).odd:
        raise ValueError(
            f"{model!r} knows one sign, but a group, or a complex number, has directions: take sign='both'"
        )
