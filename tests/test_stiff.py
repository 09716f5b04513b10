"""The stiff integrator on problems that are not ours."""

import numpy as np
import pytest
import scipy.linalg as la
from scipy.integrate import solve_ivp

from hadaflow.solvers.flow.ndf import NDF, StepError


def integrated(rhs, jacobian, start, end, relative, absolute, first_step=1e-6):
    start = np.asarray(start, dtype=float)

    def linearise(t, y):
        J = jacobian(t, y)
        return lambda c: lambda right: la.solve(np.eye(len(start)) - c * J, right)

    def error_norm(error, y, length):
        return float(np.sqrt(np.mean((error / (absolute + relative * np.abs(y))) ** 2)))

    solver, pieces = NDF(rhs, linearise, error_norm, start, first_step=first_step, end=end), []
    while solver.t < end:
        pieces.append(solver.step())
        assert solver.counts.steps < 5000
    return solver, pieces


def robertson(_, y):
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return np.array([b - a, a - b - c, c])


def robertson_jacobian(_, y):
    b, c = 1e4 * y[1], 6e7 * y[1]
    return np.array([[-0.04, 1e4 * y[2], b], [0.04, -1e4 * y[2] - c, -b], [0, c, 0]])


def van_der_pol(_, y):
    return np.array([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])


def van_der_pol_jacobian(_, y):
    return np.array([[0, 1], [-2e3 * y[0] * y[1] - 1, 1e3 * (1 - y[0] ** 2)]])


STANDARD = {
    "Robertson": (robertson, robertson_jacobian, [1, 0, 0], 4e4, np.array([1e-4, 1e-8, 1e-4])),
    "van der Pol": (van_der_pol, van_der_pol_jacobian, [2, 0], 700.0, np.array([1.0, 1.0])),
}


@pytest.mark.parametrize("name", STANDARD)
def test_standard_problems(name):
    """As accurate as was asked for, with no more right-hand sides than SciPy's BDF."""
    rhs, jacobian, start, end, units = STANDARD[name]
    exact = solve_ivp(rhs, (0, end), start, "Radau", jac=jacobian, rtol=1e-10, atol=1e-10 * units).y[:, -1]
    for tolerance in (1e-4, 1e-6):
        solver, _ = integrated(rhs, jacobian, start, end, tolerance, tolerance * units)
        other = solve_ivp(rhs, (0, end), start, "BDF", jac=jacobian, rtol=tolerance, atol=tolerance * units)
        assert np.abs((solver.y - exact) / (units + np.abs(exact))).max() < 100 * tolerance
        assert solver.counts.right_hand_sides <= other.nfev
        assert solver.counts.steps <= 1.2 * len(other.t)
        assert solver.t == end


RATES = np.array([1.0, 1e2, 1e5])


def linear(t, y):
    return -RATES * (y - np.cos(t)) - np.sin(t)


def solution(t):
    return np.cos(t) + np.exp(-RATES * t)


def test_a_linear_problem_within_its_steps_too():
    """Steps rise slowly as the tolerance falls, as those of a high order do; polynomials are as good as the ends."""
    steps, errors = [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        solver, pieces = integrated(linear, lambda t, y: -np.diag(RATES), solution(0.0), 10.0, 0.0, tolerance)
        steps.append(solver.counts.steps)
        assert solver.counts.jacobians == 1
        assert solver.counts.factorisations < steps[-1]
        start, inside, ends = 0.0, [], []
        for piece in pieces:
            times = start + (piece.time - start) * np.array([0.25, 0.5, 0.75])
            inside += [np.abs(piece(t) - solution(t)).max() for t in times]
            ends.append(np.abs(piece(piece.time) - solution(piece.time)).max())
            start = piece.time
        assert max(inside) < 3 * max(ends) + tolerance
        errors.append(max(ends))
        assert errors[-1] < 50 * tolerance
    assert errors[0] > errors[1] > errors[2]
    order = np.log(errors[0] / errors[2]) / np.log(steps[2] / steps[0])
    assert order > 3  # steps and errors of a formula of order 2 would give 2


def test_a_solution_that_blows_up_is_reported():
    with np.errstate(all="ignore"), pytest.raises(StepError, match="spacing of doubles"):
        integrated(lambda t, y: y**2, lambda t, y: np.diag(2 * y), [1.0], 2.0, 1e-6, 1e-6)
