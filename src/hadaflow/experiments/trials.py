"""Built-in trials: one seeded measurement each, for sweeps to call by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

import hadaflow as hf
from hadaflow._types import Sign, Vector
from hadaflow._validation import norm, one_of, positive_number, whole_number
from hadaflow.experiments.ensembles import ENSEMBLES
from hadaflow.experiments.structures import Kind, Structure

Solver = Literal["recover", "limit", "descend"]

#: Product scale of a start whose depth alone is given.
PRODUCT_SCALE = 1e-6
#: Relative l2 errors up to which a vector counts as recovered: by exact answers to exact data, and by others.
EXACTLY, NEARLY = 1e-4, 1e-2

#: How s non-zeros are drawn, by name.
VALUES: dict[str, Callable[[np.random.Generator, int], Vector]] = {
    "normal": lambda rng, s: rng.standard_normal(s),
    "signs": lambda rng, s: rng.choice([-1.0, 1.0], s),
    "uniform": lambda rng, s: rng.uniform(-1.0, 1.0, s),
}
_SOLVERS = ("recover", "limit", "descend")
_TRAINED_RESIDUAL, _MOST_STEPS = 1e-3, 50_000


def recovery(  # noqa: PLR0913 - one argument per parameter that a grid may vary
    rng: np.random.Generator,
    *,
    n: int,
    m: int | None = None,
    m_over_n: float | None = None,
    s: int | None = None,
    s_over_m: float | None = None,
    ensemble: str = "gaussian",
    sign: Sign = "both",
    values: str = "normal",
    noise: float = 0.0,
    kind: Kind = "real",
    group_size: int = 1,
    solver: Solver | None = None,
    depth: float | None = None,
    init_scale: float | None = None,
    product_scale: float | None = None,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Whether a random sparse vector, or array, is recovered from random measurements ``y = A x``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where all random numbers come from. Matrix, vector and noise are drawn before anything is solved, so that calls
        that differ in solver, depth, scale, sign or noise see the same ones.
    n : int
        Number of coordinates.
    m, m_over_n : int, float
        Number of measurements, or its ratio to n, in (0, 1]; rounded, at least 1. One of the two.
    s, s_over_m : int, float
        Number of non-zeros, at most n, or its ratio to m, in (0, 1]; rounded, at least 1. One of the two.
    ensemble : str, default "gaussian"
        How A is drawn, its columns of about unit length: "gaussian", "signs", "cosine", "sparse" or "correlated"
        (``hadaflow.experiments.ensembles``).
    sign : {"both", "positive"}, default "both"
        Non-zeros of any sign, looked for among all vectors; or their sizes, looked for among non-negative ones.
    values : {"normal", "signs", "uniform"}, default "normal"
        How the non-zeros are drawn: standard normal, signs, or uniform on [-1, 1]. The support is uniform.
    noise : float, default 0
        ``||noise||_2 / ||A x||_2``.
    kind : {"real", "complex", "joint"}, default "real"
        Real or complex A and x, or real columns of x that share their support. Of complex numbers real and imaginary
        parts are drawn alike. m, n and s count complex numbers as one, and rows of joint columns.
    group_size : int, default 1
        Neighbouring entries of x that are zero together, a divisor of n to a multiple of which s is rounded; for
        ``kind="joint"`` the number of columns. Groups, complex and joint data take ``sign="both"``, no noise, and the
        solvers "recover" and "limit".
    solver : {"recover", "limit", "descend"}, optional
        :func:`hadaflow.recover` (vanishing start, exact; given the noise level), :func:`hadaflow.limit`, or
        :func:`hadaflow.descend` with automatic steps, to a relative residual of 1e-3 or the noise, at most 50,000
        steps. Default "recover", with a depth "limit".
    depth : float, optional
        Of the model; for the last two solvers only.
    init_scale, product_scale : float, optional
        Size of the start, as one or the other; default a product scale of 1e-6. For the last two solvers only.
    tolerance : float, optional
        Relative l2 error up to which x counts as recovered. Default 1e-4 for solver "recover" without noise: answers
        that are x have errors near 1e-15, others hardly ever below 1e-4. Else 1e-2, as in the experiments on
        paper A: starts that have not vanished leave errors of any size.

    Returns
    -------
    dict
        ``measurements`` and ``nonzeros`` (m and s as they were after rounding), ``success``, ``error`` (relative l2),
        ``converged`` (whether the solver says so) and ``gap`` (relative, of the certificate; NaN for other solvers than
        "recover").

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or some exclude each other.

    Notes
    -----
    Some 10 ms at n = 200, averaged over all m and s. Source: docs/phase_diagrams.md.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.experiments.trials import recovery
    >>> outcome = recovery(np.random.default_rng(0), n=100, m_over_n=0.5, s=10)
    >>> outcome["success"], outcome["measurements"], outcome["error"] < 1e-12
    (True, 50, True)
    """
    n, m, s = _sizes(n, m, m_over_n, s, s_over_m)
    one_of(ensemble, "ensemble", ENSEMBLES)
    one_of(values, "values", VALUES)
    positive = one_of(sign, "sign", ("both", "positive")) == "positive"
    noise = positive_number(noise, "noise", strict=False)
    structure = Structure.of(kind, group_size)
    structure.check(n=n, sign=sign, noise=noise, solver=solver)
    s = structure.nonzeros(s)
    solve = solver_of(solver, depth, init_scale, product_scale, sign, structure)
    usual = EXACTLY if depth is None and noise == 0 else NEARLY
    tolerance = usual if tolerance is None else positive_number(tolerance, "tolerance")

    A = structure.matrix(rng, ENSEMBLES[ensemble], m, n)
    x = structure.vector(rng, VALUES[values], n, s)
    x = np.abs(x) if positive else x
    disturbance = rng.standard_normal(m)
    y = A @ x
    level = noise * _length(y)
    if level:
        y = y + disturbance * (level / norm(disturbance))
    found = solve(hf.Problem(A, y, **structure.options), level)
    error = _length(found.pop("x") - x) / _length(x)
    return {"measurements": m, "nonzeros": s, "success": error <= tolerance, "error": error, **found}


recovery.revision = 1  # type: ignore[attr-defined]  # raised when it draws or measures something else

#: Trials by the name that a sweep calls them.
TRIALS: dict[str, Callable[..., Mapping[str, Any]]] = {"recovery": recovery}


# ---- parts -----------------------------------------------------------------------------------------------------------


def _sizes(
    n: int, m: int | None, m_over_n: float | None, s: int | None, s_over_m: float | None
) -> tuple[int, int, int]:
    """The numbers of coordinates, measurements and non-zeros."""
    n = whole_number(n, "n")
    m = _size("m", m, "m_over_n", m_over_n, n)
    s = _size("s", s, "s_over_m", s_over_m, m)
    if s > n:
        raise ValueError(f"s must be at most n = {n}, got {s}: it counts non-zeros among n coordinates")
    return n, m, s


def _size(name: str, count: int | None, ratio_name: str, ratio: float | None, whole: int) -> int:
    if (count is None) == (ratio is None):
        given = "neither" if count is None else "both"
        raise ValueError(f"give one of {name} and {ratio_name}, got {given}")
    if count is not None:
        return whole_number(count, name)
    fraction = positive_number(ratio, ratio_name)
    if fraction > 1:
        raise ValueError(f"{ratio_name} must lie in (0, 1], got {fraction:g}; a number beyond that is given as {name}")
    return max(1, round(fraction * whole))


def solver_of(
    solver: Solver | None,
    depth: float | None,
    init_scale: float | None,
    product_scale: float | None,
    sign: Sign,
    structure: Structure,
) -> Callable[[hf.Problem, float], dict[str, Any]]:
    """What solves a problem of a known noise level; checked before anything is drawn."""
    name = one_of(solver or ("recover" if depth is None else "limit"), "solver", _SOLVERS)
    if name == "recover":
        if not depth is init_scale is product_scale is None:
            raise ValueError(
                "depth, init_scale and product_scale do not go with solver='recover', whose start vanishes; "
                "leave them out, or choose solver='limit' or 'descend'"
            )
        if not structure.plain:
            return lambda problem, _: _answered(hf.recover(problem.A, problem.layout.y(problem.y), **structure.options))
        positive = sign == "positive"
        return lambda problem, level: _answered(hf.recover(problem.A, problem.y, positive=positive, noise_level=level))
    if depth is None:
        raise ValueError(f"solver={name!r} needs a depth: 1, or a number of at least 2")
    model = hf.HadamardPower(depth, sign)
    start = _start(model.depth, init_scale, product_scale)
    if name == "limit":
        return lambda problem, _: _limit(problem, model, start)
    return lambda problem, level: _descend(problem, level, model, start)


def _start(depth: float, init_scale: float | None, product_scale: float | None) -> float:
    """The init scale that is meant."""
    if init_scale is not None:
        if product_scale is not None:
            raise ValueError("init_scale and product_scale exclude each other: product scale = init_scale^depth")
        return positive_number(init_scale, "init_scale")
    scale = PRODUCT_SCALE if product_scale is None else positive_number(product_scale, "product_scale")
    return float(scale ** (1 / depth))


def _length(z: Any) -> float:
    """Of all of its entries together."""
    return norm(np.ravel(z).view(np.float64))


def _answered(answer: hf.Recovery) -> dict[str, Any]:
    return {"x": answer.x, "converged": answer.status.ok, "gap": answer.certificate.gap}


def _limit(problem: hf.Problem, model: hf.HadamardPower, init_scale: float) -> dict[str, Any]:
    end = hf.limit(problem, model, init_scale=init_scale)
    return {"x": end.x, "converged": end.status.ok, "gap": math.nan}


def _descend(problem: hf.Problem, level: float, model: hf.HadamardPower, init_scale: float) -> dict[str, Any]:
    size = norm(problem.y)
    target = max(_TRAINED_RESIDUAL, level / size)
    stop = hf.stopping.Residual(target) | hf.stopping.MaxSteps(_MOST_STEPS)
    run = hf.descend(problem, model, init_scale=init_scale, stop=stop)
    if run.status is hf.Status.INTERRUPTED:  # half a run is no measurement
        raise KeyboardInterrupt
    residual = norm(problem.operator.matvec(run.x.astype(np.float64)) - problem.y)
    return {"x": run.x, "converged": residual <= target * size * (1 + 1e-9), "gap": math.nan}
