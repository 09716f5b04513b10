"""What a user writes goes wherever the library's own goes.

A model, a loss, an operator, a gauge and rules of one's own, through every public function that takes such a thing. The
classes are those that the pages on adding one write.
"""

import inspect

import numpy as np
import pytest
from conftest import code_of, planted
from scipy.sparse.linalg import LinearOperator

import hadaflow as hf
from hadaflow import stopping
from hadaflow.convergence import quietly

M, N = 20, 40
CASE = planted(M, N, 3, seed=5)
STOP = stopping.Residual(2e-3) | stopping.MaxSteps(20_000)


def classes_of(page):
    names = {}
    for block in code_of(page):
        exec(block, names)
    return names


@pytest.fixture(scope="module")
def written():
    """The classes of the pages, by name."""
    pages = ("model", "gauge", "loss", "rule")
    return {name: thing for page in pages for name, thing in classes_of(f"docs/adding_a_{page}.md").items()}


class Forgetful(LinearOperator):
    """An operator with its two products and nothing else; it counts them."""

    def __init__(self, A):
        super().__init__(np.float64, A.shape)
        self.A, self.products = A, 0

    def _matvec(self, v):
        self.products += 1
        return self.A @ v.ravel()

    def _rmatvec(self, r):
        self.products += 1
        return self.A.T @ r.ravel()


# ---- models --------------------------------------------------------------------------------------------------

TAKES_A_MODEL = {
    "limit": lambda model: hf.limit(hf.Problem(CASE.A, CASE.y), model, init_scale=1e-2),
    "flow": lambda model: hf.flow(hf.Problem(CASE.A, CASE.y), model, init_scale=1e-2),
    "flow, proximal": lambda model: hf.flow(
        hf.Problem(CASE.A, CASE.y), model, init_scale=1e-2, method="proximal", stop=stopping.Residual(1e-3)
    ),
    "descend": lambda model: hf.descend(hf.Problem(CASE.A, CASE.y), model, init_scale=0.1, step=0.02, stop=STOP),
    "descend_batch": lambda model: hf.descend_batch(
        hf.Problem(CASE.A, CASE.y), model, init_scale=np.full((N, 1), 0.1), step=0.02, stop=STOP
    )[0],
}


@pytest.mark.parametrize("call", TAKES_A_MODEL.values(), ids=TAKES_A_MODEL)
@pytest.mark.parametrize("name", ["HadamardProduct", "ScaledCube", "SparsePlusDense", "InfiniteDepth"])
def test_a_model_of_ones_own(written, name, call):
    model = written[name](*{"ScaledCube": (2.0,), "SparsePlusDense": (0.1,)}.get(name, ()))
    if name in ("SparsePlusDense", "InfiniteDepth") and "descend" in inspect.getsource(call).split(":")[0]:
        with pytest.raises(TypeError, match="has no factors"):
            call(model)
        return
    result = call(model)
    assert result.status.ok
    assert np.linalg.norm(CASE.A @ result.x - CASE.y) <= 2e-3 * np.linalg.norm(CASE.y)
    assert set(result.support()) >= set(np.flatnonzero(CASE.x))
    assert result.product_scale > 0


# ---- losses --------------------------------------------------------------------------------------------------

TAKES_A_LOSS = {
    "flow": lambda problem, model: hf.flow(problem, model, init_scale=0.1, stop=stopping.Residual(0.05)),
    "flow, proximal": lambda problem, model: hf.flow(
        problem, model, init_scale=0.1, method="proximal", stop=stopping.Residual(0.05)
    ),
    "descend": lambda problem, model: hf.descend(
        problem, model, init_scale=0.1, stop=stopping.Residual(0.05) | stopping.MaxSteps(20_000)
    ),
    "descend_batch": lambda problem, model: hf.descend_batch(
        problem, model, init_scale=np.full((N, 1), 0.1), stop=stopping.Residual(0.05) | stopping.MaxSteps(20_000)
    )[0],
}
SQUARES_ALONE = {
    "limit": lambda problem: hf.limit(problem, hf.HadamardPower(3), init_scale=0.1),
    "saddles": hf.saddles,
    "certify": lambda problem: hf.certify(problem, CASE.x, CASE.y),
    "certify_lasso": lambda problem: hf.certify_lasso(problem, CASE.x, 0.1),
    "select": hf.select,
    "start_from_data": lambda problem: hf.start_from_data(problem, hf.HadamardPower(2)),
}


@pytest.mark.parametrize("call", TAKES_A_LOSS.values(), ids=TAKES_A_LOSS)
def test_a_loss_of_ones_own(written, call):
    problem = hf.Problem(CASE.A, CASE.y, loss=written["Huber"](0.5))
    result = call(problem, hf.HadamardPower(3))
    assert result.status is hf.Status.STOPPED
    first = np.linalg.norm(problem.loss.gradient(np.zeros(M), CASE.y))
    assert np.linalg.norm(problem.loss.gradient(CASE.A @ result.x, CASE.y)) == pytest.approx(0.05 * first, rel=0.2)


@pytest.mark.parametrize("call", SQUARES_ALONE.values(), ids=SQUARES_ALONE)
def test_what_is_about_squares_says_so(written, call):
    with pytest.raises(ValueError, match=r"squared loss only.*Huber"):
        call(hf.Problem(CASE.A, CASE.y, loss=written["Huber"](0.5)))


# ---- operators -----------------------------------------------------------------------------------------------

TAKES_AN_OPERATOR = {
    "recover": lambda A: hf.recover(A, CASE.y).x,
    "recover_each": lambda A: hf.recover_each(A, CASE.y[:, None])[0].x,
    "recover, saddles": lambda A: hf.recover(A, CASE.y, method="saddles").x,
    "recover, limit": lambda A: hf.recover(A, CASE.y, method="limit").x,
    "recover, from a start": lambda A: hf.recover(A, CASE.y, depth=3, init_scale=1e-3).x,
    "recover, noise": lambda A: hf.recover(A, CASE.y, noise_level=1e-3).x,
    "saddles": lambda A: hf.saddles(hf.Problem(A, CASE.y)).final,
    "limit": lambda A: hf.limit(hf.Problem(A, CASE.y), hf.HadamardPower(3), init_scale=1e-3).x,
    "flow": lambda A: hf.flow(hf.Problem(A, CASE.y), hf.HadamardPower(3), init_scale=1e-2, t_end=20.0).x,
    "descend": lambda A: (
        hf.descend(hf.Problem(A, CASE.y), hf.HadamardPower(2), init_scale=0.1, step=1e-3, stop=stopping.MaxSteps(500)).x
    ),
    "descend_batch": lambda A: (
        hf.descend_batch(
            hf.Problem(A, CASE.y),
            hf.HadamardPower(2),
            init_scale=np.full((N, 1), 0.1),
            step=1e-3,
            stop=stopping.MaxSteps(50),
        )[0].x
    ),
    "certify": lambda A: hf.certify(hf.Problem(A, CASE.y), CASE.x, CASE.y).gap,
    "certify_lasso": lambda A: hf.certify_lasso(hf.Problem(A, CASE.y), CASE.x, 0.1).gap,
    "select": lambda A: hf.select(hf.Problem(A, CASE.y)).x,
    "start_from_data": lambda A: hf.start_from_data(hf.Problem(A, CASE.y), hf.HadamardPower(2)),
    "dot_test": lambda A: hf.dot_test(A).passed,
}


@pytest.mark.parametrize("call", TAKES_AN_OPERATOR.values(), ids=TAKES_AN_OPERATOR)
def test_an_operator_of_ones_own(call):
    operator = Forgetful(CASE.A)
    found = quietly(call, operator)
    assert operator.products > 0
    np.testing.assert_allclose(found, quietly(call, CASE.A), rtol=1e-5, atol=1e-7)


# ---- gauges --------------------------------------------------------------------------------------------------

TAKES_A_GAUGE = {
    "recover": lambda gauge, y: hf.recover(CASE.A, y, gauge=gauge).x,
    "recover_each": lambda gauge, y: hf.recover_each(CASE.A, np.column_stack([y, y, y]), gauge=gauge)[1].x,
    "recover, operator": lambda gauge, y: hf.recover(Forgetful(CASE.A), y, gauge=gauge).x,
    "saddles": lambda gauge, y: hf.saddles(hf.Problem(CASE.A, y), gauge=gauge).final,
}


@pytest.mark.parametrize("call", TAKES_A_GAUGE.values(), ids=TAKES_A_GAUGE)
def test_a_gauge_of_ones_own(written, call):
    """Two free coordinates, signs that alternate: the planted x of that kind comes back, certified."""
    gauge = written["TrendAndLines"](N, 2)
    x = gauge.signs(CASE.x) * np.abs(CASE.x)
    x[:2] = [-3.0, 2.0]
    found = call(gauge, CASE.A @ x)
    np.testing.assert_allclose(found, x, atol=1e-10)
    problem = hf.Problem(CASE.A, CASE.A @ x)
    dual = hf.saddles(problem, gauge=gauge).dual
    assert hf.certify(problem, found, dual, gauge=gauge).gap < 1e-10
    assert hf.certify_lasso(problem, x, 1.0, gauge=gauge).penalty == 1.0


# ---- rules and metrics ---------------------------------------------------------------------------------------

TAKES_RULES = {
    "descend": lambda written, options: hf.descend(
        hf.Problem(CASE.A, CASE.y), hf.HadamardPower(2), init_scale=0.1, step=written["Shrinking"](0.02), **options
    ),
    "descend_batch": lambda written, options: hf.descend_batch(
        hf.Problem(CASE.A, CASE.y),
        hf.HadamardPower(2),
        init_scale=np.full((N, 1), 0.1),
        step=written["Shrinking"](0.02),
        **options,
    )[0],
    "flow": lambda _, options: hf.flow(hf.Problem(CASE.A, CASE.y), hf.HadamardPower(2), init_scale=0.1, **options),
    "flow, proximal": lambda _, options: hf.flow(
        hf.Problem(CASE.A, CASE.y), hf.HadamardPower(2), init_scale=0.1, method="proximal", **options
    ),
}


@pytest.mark.parametrize("call", TAKES_RULES.values(), ids=TAKES_RULES)
def test_rules_and_metrics_of_ones_own(written, call):
    half = stopping.When(lambda snapshot: snapshot.l1_norm > 0.5 * np.abs(CASE.x).sum())
    stop = written["LossRises"](3) | half | stopping.MaxSteps(50_000)
    record = hf.Recorder(every=1, metrics={"largest": lambda snapshot: np.abs(snapshot.x).max()})
    result = call(written, {"stop": stop, "record": record})
    assert result.status is hf.Status.STOPPED
    assert np.abs(result.x).sum() == pytest.approx(0.5 * np.abs(CASE.x).sum(), rel=0.5)
    assert result.history["largest"][-1] == pytest.approx(np.abs(result.x).max())


# ---- and nothing is left out ---------------------------------------------------------------------------------


def test_every_public_function_that_takes_such_a_thing_is_here():
    """A new function finds its place in the tables above."""
    functions = {
        name: inspect.signature(thing).parameters
        for name in hf.__all__
        if inspect.isfunction(thing := getattr(hf, name))
    }
    tables = {"model": TAKES_A_MODEL, "gauge": TAKES_A_GAUGE, "stop": TAKES_RULES}
    for argument, table in tables.items():
        takers = {name for name, parameters in functions.items() if argument in parameters}
        known = {name.split(",")[0] for name in table} | {"certify", "certify_lasso", "start_from_data"}
        assert takers <= known, argument
    problems = {name for name, parameters in functions.items() if {"problem", "A"} & set(parameters)}
    assert problems <= {name.split(",")[0] for name in TAKES_AN_OPERATOR} | {"plan"}
    assert problems <= {name.split(",")[0] for name in (*TAKES_A_LOSS, *SQUARES_ALONE)} | {
        "plan",
        "recover",
        "recover_each",
        "dot_test",
    }
