"""The door: arguments are checked, and the question is sent where it belongs."""

from __future__ import annotations

from typing import Any, Literal

from hadaflow._validation import callback, flag, one_of, positive_number
from hadaflow.certificates import gauge_of
from hadaflow.convergence import reported
from hadaflow.gauges import Gauge
from hadaflow.models import HadamardPower
from hadaflow.models.branches import Scale
from hadaflow.problems import Problem
from hadaflow.recovery._from_start import from_start
from hadaflow.recovery._options import METHODS, options_of
from hadaflow.recovery._vanishing_start import vanishing_start
from hadaflow.results import ProgressCallback, Recovery


def recover(  # noqa: PLR0913  # a public door: each is a choice of its own
    A: Any,
    y: Any,
    *,
    depth: float | None = None,
    init_scale: Scale | None = None,
    positive: bool = False,
    weights: Any = None,
    gauge: Gauge | None = None,
    groups: Any = None,
    joint: bool = False,
    real: bool = False,
    noise_level: float = 0.0,
    method: Literal["auto", "saddles", "limit"] = "auto",
    progress: ProgressCallback | None = None,
) -> Recovery:
    """Recover a sparse x from measurements ``y = A x``, with a certificate.

    By default the answer is where gradient flow on an overparameterised model ends as its start vanishes: a
    minimiser of ``||x||_1`` subject to ``A x = y``, exact to rounding, with exact zeros. With ``depth`` and
    ``init_scale`` it is where the flow from that very start ends.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, scipy LinearOperator, or dask.array.Array
        Measurement matrix or operator, real or complex; a Dask array for what is larger than memory
        (:func:`hadaflow.blocks.open_matrix`).
    y : array_like of shape (m,), or (m, k) with ``joint``
        Measurements, real or complex. Of complex data x is complex, and ``|x_i|`` its modulus.
    depth : float, optional
        Number of factors of ``x = u^D - v^D``: 1 or any real number >= 2. Needs ``init_scale``.
    init_scale : float or array_like of shape (n,), optional
        Starting value of every factor entry, in units of ``x^(1/depth)``. Needs ``depth``.
    positive : bool, default False
        Only non-negative x (model ``x = u^D``).
    weights : array_like of shape (n,), optional
        Minimise ``sum_i w_i |x_i|`` instead, w > 0; one weight per group where there are groups. For the scale -> 0
        solution only: with ``init_scale`` give one start per coordinate.
    gauge : Gauge, optional
        What to minimise in place of an l1 norm (:mod:`hadaflow.gauges`); not together with positive or weights. For the
        scale -> 0 solution only.
    groups : int, array_like of shape (n,) or sequence of int arrays, optional
        Coordinates that are zero, or not, together: a size of consecutive ones, a label for each coordinate, or lists
        of coordinates. Then ``sum_g w_g ||x_g||_2`` is minimised.
    joint : bool, default False
        Whether the k columns of y belong to one support: x then has shape (n, k), and
        ``sum_i w_i ||(x_i1, ..., x_ik)||_2`` is minimised.
    real : bool, default False
        Whether x is real though A and y are complex.
    noise_level : float, default 0
        Bound on ``||noise||_2`` in units of y: stop on the first plateau of the saddle path with
        ``||A x - y||_2 <= noise_level`` (for a LinearOperator beyond 5000 rows on the first that leaps come upon). For
        the scale -> 0 solution only.
    method : {"auto", "saddles", "limit"}, default "auto"
        How the scale -> 0 solution is found: along the saddle path; or by a limit at small scale, whose dual state
        starts a short saddle path that ends exactly; "auto" begins with the first and changes over once the second is
        estimated to be less work. Where A is a LinearOperator "auto" leaps along the path first, with products only.
    progress : callable, optional
        Called now and then with a :class:`hadaflow.Progress`.

    Returns
    -------
    Recovery
        ``x``, ``certificate``, ``status``, ``support()``, ``refit()``, ``stats``; and a ``hint`` where x looks like
        fitted noise.

    Raises
    ------
    TypeError
        If an argument is not real-valued data or not of the kind asked for.
    ValueError
        If a shape or range is wrong, an entry is NaN or infinite, or options exclude each other.

    Warns
    -----
    ConvergenceWarning
        If the status is ``INEXACT`` or ``NOT_CONVERGED``.

    See Also
    --------
    recover_each : the same for many right-hand sides.
    saddles : the whole path whose end this is.
    limit : the end of the flow from a given start.
    certify : the certificate of any x and dual vector.

    Notes
    -----
    A few to some dozen passes over A on easy instances, plus O(k) jumps of O(w k + k^2) for k non-zeros and a
    working set of w columns; Newton steps of O(m^2 n + m^3) where the path is long. A LinearOperator is asked for some
    100 to 300 products if well conditioned, whatever its size; uniqueness is proved if that takes no more, and at most
    500 (else ask :func:`certify`), and beyond 5000 rows an end that 4000 products do not prove minimal is handed over
    ``INEXACT``, with its gap. With complex data, groups or joint columns that holds wherever A has more than 5000 rows
    or 25 million entries, as real numbers; a smaller one is made a matrix where leaps do not suffice. A Dask array
    takes two passes per look of the walk at A, some 10 to 30 in all on easy instances, and a working set of columns is
    brought here. Scale-free: ``recover(c A, d y)`` is ``d / c`` times ``recover(A, y)``, bit for bit if c and d are
    powers of two. The data are never written to.
    Source: papers A and B (model and flow), docs/mathematics.md, "The saddle path", "The limit" and "Leaps".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((50, 200))
    >>> x = np.zeros(200)
    >>> x[[3, 77, 120]] = [2.0, -1.0, 0.5]
    >>> r = hf.recover(A, A @ x)
    >>> r.support(), r.status.name, r.certificate.unique
    (array([  3,  77, 120]), 'EXACT', True)
    """
    problem = Problem(A, y, groups=groups, joint=joint, real=real)
    if (depth is None) != (init_scale is None):
        given, missing = ("depth", "init_scale") if init_scale is None else ("init_scale", "depth")
        raise ValueError(f"{given} needs {missing} as well: together they fix the start of the flow")
    if depth is None or init_scale is None:
        options = options_of(
            problem,
            positive=positive,
            weights=weights,
            gauge=gauge,
            noise_level=noise_level,
            method=method,
            progress=progress,
        )
        return reported(vanishing_start(problem, options))
    positive = flag(positive, "positive")
    callback(progress, "progress")
    method = one_of(method, "method", METHODS)  # type: ignore[assignment]
    noise_level = positive_number(noise_level, "noise_level", strict=False)
    gauge_of(weights, positive, gauge, problem)
    if weights is not None or gauge is not None or noise_level > 0 or method != "auto":
        raise ValueError(
            "weights, gauge, noise_level and method belong to the scale -> 0 solution: leave out depth and init_scale"
        )
    model = HadamardPower(depth, "positive" if positive else "both")
    return reported(from_start(problem, model, init_scale, positive, progress), "1e-08, and x = B(A^T nu) to 1e-12")
