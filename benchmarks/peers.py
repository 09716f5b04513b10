"""One small adapter per solver: the same problem in, one `Answer` out.

Adapters import their package when they run, so that a missing one costs its column only. Each is given the memory
layout it likes best (the conversion is not timed) and everything else it does is: splitting into positive parts,
building the model, certificates.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import scipy.sparse as sp

Solver = Callable[[Any, np.ndarray, bool], "Answer"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a solver returned; the harness judges ``x`` and ``dual`` itself.

    ``optimal`` is the solver's own claim, ``details`` whatever else it tells (plain numbers and strings).
    """

    x: np.ndarray
    dual: np.ndarray | None
    optimal: bool
    details: dict[str, Any]


@dataclass(frozen=True)
class Entrant:
    """A solver with the settings it runs under here."""

    name: str
    package: str
    settings: str
    solve: Solver
    layout: Callable[[Any], Any]

    @property
    def installed(self) -> bool:
        """Whether its package can be imported."""
        try:
            return importlib.util.find_spec(self.package) is not None
        except (ImportError, ValueError):  # a package that is blocked or half removed
            return False

    @property
    def version(self) -> str | None:
        """Version of its package, None when it is not installed."""
        return version_of(_DISTRIBUTIONS.get(self.package, self.package)) if self.installed else None


_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def version_of(distribution: str) -> str:
    """Version of an installed distribution, ``source`` for one that runs from a source tree."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "source"


def as_given(matrix: Any) -> Any:
    """C order or CSC, as it was drawn."""
    return matrix


def fortran(matrix: Any) -> Any:
    """Fortran order; sparse matrices stay CSC."""
    return matrix if sp.issparse(matrix) else np.asfortranarray(matrix)


def dense_fortran(matrix: Any) -> Any:
    """Fortran order; sparse matrices become dense."""
    return np.asfortranarray(matrix.toarray() if sp.issparse(matrix) else matrix)


def _relative_residual(matrix: Any, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.linalg.norm(matrix @ x - y) / np.linalg.norm(y))


# hadaflow


def solve_hadaflow(matrix: Any, y: np.ndarray, positive: bool) -> Answer:
    """`recover`, all defaults, certificate included."""
    import hadaflow as hf

    r = hf.recover(matrix, y, positive=positive)
    details = {
        "status": str(r.status),
        "claimed_gap": float(r.certificate.gap),
        "unique": bool(r.certificate.unique),
        "passes": float(r.stats.passes),
        "newton_steps": int(r.stats.newton_steps),
        "events": int(r.stats.events),
        "method": str(r.stats.method),
    }
    return Answer(r.x, r.dual, bool(r.status.ok), details)


# scikit-learn

LARS_SCALE = 1e8  # lars_path stops at an absolute penalty near 1e-7; scaling y up moves that out of the way


def solve_lars(matrix: Any, y: np.ndarray, positive: bool) -> Answer:
    """The homotopy of scikit-learn, followed to the end of the path."""
    from sklearn.linear_model import lars_path

    _, _, x = lars_path(
        matrix, y * LARS_SCALE, method="lasso", max_iter=20 * y.size, positive=positive, return_path=False
    )
    return Answer(x / LARS_SCALE, None, True, {})


# SPGL1

SPGL1_TOLERANCE = 1e-9


def solve_spgl1(matrix: Any, y: np.ndarray, positive: bool) -> Answer:
    """`spg_bp` with both tolerances at 1e-9."""
    import spgl1

    cone = {}
    if positive:
        cone = {
            "project": spgl1.norm_l1nn_project,
            "primal_norm": spgl1.norm_l1nn_primal,
            "dual_norm": spgl1.norm_l1nn_dual,
        }
    x, residual, _, info = spgl1.spg_bp(
        matrix, y, opt_tol=SPGL1_TOLERANCE, bp_tol=SPGL1_TOLERANCE, iter_lim=100 * y.size, **cone
    )
    # Exit codes 1 to 4 are the kinds of success; the residual of the last lasso points along the dual.
    return Answer(np.ravel(x), residual, int(info["stat"]) in {1, 2, 3, 4}, {"stat": int(info["stat"])})


# HiGHS

HIGHS_TOLERANCE = 1e-9


def highs(solver: str, presolve: str) -> Solver:
    """An adapter for one solver of HiGHS: minimise Σ(u + v) subject to A(u − v) = y, u, v ≥ 0."""

    def solve(matrix: Any, y: np.ndarray, positive: bool) -> Answer:
        import highspy

        model = highspy.Highs()
        options = {
            "output_flag": False,
            "threads": 1,
            "solver": solver,
            "presolve": presolve,
            "primal_feasibility_tolerance": HIGHS_TOLERANCE,
            "dual_feasibility_tolerance": HIGHS_TOLERANCE,
        }
        for option, value in options.items():
            if model.setOptionValue(option, value) != highspy.HighsStatus.kOk:
                raise ValueError(f"HiGHS refuses {option} = {value!r}")
        model.passModel(_linear_programme(matrix, y, positive))
        model.run()
        solution = model.getSolution()
        parts = np.array(solution.col_value)
        x = parts if positive else parts[: matrix.shape[1]] - parts[matrix.shape[1] :]
        status = model.getModelStatus()
        details = {"status": model.modelStatusToString(status)}
        return Answer(x, np.array(solution.row_dual), status == highspy.HighsModelStatus.kOptimal, details)

    return solve


def _linear_programme(matrix: Any, y: np.ndarray, positive: bool) -> Any:
    import highspy

    columns = sp.csc_array(matrix)
    if not positive:
        columns = sp.csc_array(sp.hstack([columns, -columns]))
    programme = highspy.HighsLp()
    m, n = columns.shape
    programme.num_row_, programme.num_col_ = m, n
    programme.col_cost_ = np.ones(n)
    programme.col_lower_ = np.zeros(n)
    programme.col_upper_ = np.full(n, highspy.kHighsInf)
    programme.row_lower_ = programme.row_upper_ = y
    programme.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    programme.a_matrix_.start_ = columns.indptr
    programme.a_matrix_.index_ = columns.indices
    programme.a_matrix_.value_ = columns.data
    return programme


# CVXPY


def solve_cvxpy(matrix: Any, y: np.ndarray, positive: bool) -> Answer:
    """The problem as it is on paper, solved by Clarabel, an interior-point method.

    With its tolerances, 1e-8: at tighter ones it takes a little longer and ends mostly as "optimal_inaccurate".
    """
    import cvxpy as cp

    x = cp.Variable(matrix.shape[1], nonneg=positive)
    fit = matrix @ x == y
    problem = cp.Problem(cp.Minimize(cp.norm1(x)), [fit])
    problem.solve(solver=cp.CLARABEL, max_threads=1)
    details = {"status": problem.status, "iterations": problem.solver_stats.num_iters}
    return Answer(x.value, -fit.dual_value, problem.status == cp.OPTIMAL, details)


# celer

# With an end penalty any smaller, or a tolerance any tighter, rounding keeps celer from stopping at all; so its
# residual ends up near the target, on either side.
CELER_END, CELER_RUNGS, CELER_TOLERANCE = 1.5e-10, 10, 5e-16
# Lassos on the way down; the first whose refit is feasible with unchanged signs is a basis-pursuit solution.
REFIT_LADDER, REFIT_TOLERANCE = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), 1e-14


def _largest_penalty(matrix: Any, y: np.ndarray, positive: bool) -> float:
    correlations = matrix.T @ y
    return float(np.max(correlations if positive else np.abs(correlations))) / y.size


def solve_celer(matrix: Any, y: np.ndarray, positive: bool) -> Answer:
    """`celer_path` down to a vanishing penalty."""
    import celer

    largest = _largest_penalty(matrix, y, positive)
    penalties = largest * np.geomspace(0.1, CELER_END, CELER_RUNGS)
    _, coefficients, *_ = celer.celer_path(
        matrix, y, "lasso", alphas=penalties, tol=CELER_TOLERANCE, max_iter=20, max_epochs=1000, positive=positive
    )
    x = coefficients[:, -1]
    return Answer(x, y - matrix @ x, True, {})


def solve_celer_refit(matrix: Any, y: np.ndarray, positive: bool) -> Answer:
    """Warm-started lassos, each refitted by least squares on its support, until the refit is a solution."""
    import celer

    largest = _largest_penalty(matrix, y, positive)
    lasso = celer.Lasso(
        fit_intercept=False, tol=REFIT_TOLERANCE, max_iter=50, max_epochs=2000, positive=positive, warm_start=True
    )
    refit, dual = np.zeros(matrix.shape[1]), y
    for rung, fraction in enumerate(REFIT_LADDER):
        lasso.alpha = largest * fraction
        lasso.fit(matrix, y)
        x = lasso.coef_
        dual = y - matrix @ x
        refit, signs_kept = _refit(matrix, y, x)
        if signs_kept and _relative_residual(matrix, refit, y) <= 1e-9:
            return Answer(refit, dual, True, {"rung": rung})
    return Answer(refit, dual, False, {"rung": len(REFIT_LADDER)})


def _refit(matrix: Any, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, bool]:
    """Least squares on the support of x, and whether no sign changed beyond rounding."""
    support = np.flatnonzero(x)
    if support.size == 0:
        return x, False
    block = matrix[:, support]
    values = np.linalg.lstsq(block.toarray() if sp.issparse(block) else block, y, rcond=None)[0]
    refit = np.zeros(x.size)
    refit[support] = values
    return refit, bool(np.all(values * np.sign(x[support]) >= -1e-9 * np.abs(values).max()))


ENTRANTS = {
    e.name: e
    for e in (
        Entrant("hadaflow", "hadaflow", "recover(A, y), defaults; certificate included", solve_hadaflow, as_given),
        Entrant(
            "lars_path",
            "sklearn",
            f"y · {LARS_SCALE:.0e}, method lasso, max_iter 20 m; Fortran order, sparse A made dense beforehand",
            solve_lars,
            dense_fortran,
        ),
        Entrant("spgl1", "spgl1", f"opt_tol = bp_tol = {SPGL1_TOLERANCE:.0e}, iter_lim 100 m", solve_spgl1, as_given),
        *(
            Entrant(
                f"highs {solver}{'' if presolve == 'on' else ', no presolve'}",
                "highspy",
                f"solver={solver}, presolve={presolve}, feasibility tolerances {HIGHS_TOLERANCE:.0e}, threads=1",
                highs(solver, presolve),
                as_given,
            )
            for solver in ("simplex", "ipm")
            for presolve in ("on", "off")
        ),
        Entrant(
            "cvxpy, clarabel",
            "cvxpy",
            "norm1(x) subject to A @ x == y, solver CLARABEL, its tolerances (1e-8), max_threads=1; building the "
            "problem included",
            solve_cvxpy,
            as_given,
        ),
        Entrant(
            "celer",
            "celer",
            f"celer_path over {CELER_RUNGS} penalties from 0.1 to {CELER_END:.1e} of the largest, "
            f"tol {CELER_TOLERANCE:.0e}; Fortran order",
            solve_celer,
            fortran,
        ),
        Entrant(
            "celer + refit",
            "celer",
            f"Lasso at {REFIT_LADDER[0]:.0e} … {REFIT_LADDER[-1]:.0e} of the largest penalty, warm-started, "
            f"tol {REFIT_TOLERANCE:.0e}, least squares on the support until feasible with unchanged signs",
            solve_celer_refit,
            fortran,
        ),
    )
}
