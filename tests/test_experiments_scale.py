"""Vanishing scales: the flow against the saddle path, the average against the lasso."""

import math

import numpy as np
import pytest
from conftest import ROOT, code_of
from scipy.optimize import linprog
from sklearn.linear_model import Lasso

import hadaflow as hf
from hadaflow.experiments import Verdict
from hadaflow.experiments.catalogue.scale_average import AverageAndLasso
from hadaflow.experiments.catalogue.scale_saddles import SaddleToSaddle, exponent, rate

KINDS = [SaddleToSaddle, AverageAndLasso]


@pytest.fixture(scope="module")
def quick(quick_records):
    """Records of the quick sizes."""
    return {kind.name: quick_records(kind.name) for kind in KINDS}


# ---- from saddle to saddle -------------------------------------------------------------------------------------------


def test_the_clock_is_that_of_the_saddle_path():
    """One coordinate: at depth 2 it is half-way at t = log(1/w) / 4, at every depth its wait is tau = 1."""
    problem = hf.Problem(np.eye(1), np.array([1.0]))
    assert hf.saddles(problem).times[1] == pytest.approx(1.0)
    for depth, scale in ((2.0, 1e-40), (3.0, 1e-12), (4.0, 1e-12)):
        path = hf.flow(problem, hf.HadamardPower(depth), init_scale=scale ** (1 / depth), t_end=2 / rate(depth, scale))
        half = path.first(lambda snapshot: snapshot.x[0] > 0.5)
        assert half * rate(depth, scale) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("depth", [3.0, 4.0])
def test_a_coordinate_that_rests_decays_as_derived(depth):
    """One coordinate jumps first, and comes to zero with the residual: x ~ (2 D (D - 1) s t)^(-D / (2 (D - 1)))."""
    problem = hf.Problem(np.array([[1.0, 0.0], [1.1, 1.0]]), np.array([0.0, 1.0]))
    saddle = hf.saddles(problem)
    assert [np.flatnonzero(np.abs(row) > 1e-12).tolist() for row in saddle.x.toarray()] == [[], [0], [1]]
    power = depth / (2 * (depth - 1))
    totals = []
    for scale in (1e-10, 1e-12):
        sampled = SaddleToSaddle()._sample(problem, saddle, depth, scale)
        late = sampled.taus > saddle.times[-1] + 0.1 * saddle.times[-1]
        t = (sampled.taus[late] - saddle.times[-1]) / rate(depth, scale)
        law = (2 * depth * (depth - 1) * t) ** -power  # s = 1: what A_1 has beside A_2
        np.testing.assert_allclose(sampled.flow[late, 0], law, rtol=0.02)
        np.testing.assert_allclose(1 - sampled.flow[late, 1], 1.1 * law, rtol=0.02)
        totals.append(np.abs(sampled.flow - sampled.saddle).sum(axis=1) @ sampled.weights)
    measured = np.log(totals[0] / totals[1]) / np.log(100)
    assert measured == pytest.approx(exponent(depth, False), abs=0.02)
    assert abs(measured - exponent(depth, True)) > 0.05


def test_a_rest_on_the_bound_is_told_by_the_dual_state():
    """The problems that end strictly are those whose saddle path keeps a positive margin, and nothing else decides."""
    experiment = SaddleToSaddle(trials=12)
    for trial in range(12):
        problem = experiment._problem(trial)
        saddle = hf.saddles(problem)
        end = problem.operator.rmatvec(saddle.dual_at(float(saddle.times[-1])))
        off = np.abs(end[saddle.final == 0])
        [task] = [t for t in experiment.tasks() if t == {"trial": trial, "depth": 3.0}]
        row = next(iter(SaddleToSaddle(trials=12, deep_scales=(1e-6, 1e-7)).run(**task)))
        assert row["strict"] == bool(off.max() < 1 - 1e-9)
        assert row["exact"]


def test_the_distance_is_that_of_a_plain_sum():
    """Against a fine rectangle rule on a grid that knows nothing of the integrator's steps."""
    experiment = SaddleToSaddle.quick()
    problem = experiment._problem(0)
    saddle = hf.saddles(problem)
    row = next(r for r in experiment.run(trial=0, depth=2.0) if r["kind"] == "distance" and r["scale"] == 1e-8)
    end, k = 1.25 * saddle.times[-1], rate(2, 1e-8)
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=1e-4, t_end=end / k, tolerance=1e-8)
    taus = (np.arange(20_000) + 0.5) * end / 20_000
    plateaus = np.array([saddle(tau) for tau in taus])
    distance = np.abs(path(taus / k) - plateaus).sum() / np.abs(plateaus).sum()
    assert row["value"] == pytest.approx(distance, rel=1e-3)


def test_scales_at_which_the_comparison_would_be_circular_are_refused():
    with pytest.raises(ValueError, match="takes the saddle path itself"):
        list(SaddleToSaddle(deep_scales=(1e-30, 1e-40)).run(trial=0, depth=3.0))
    problem = SaddleToSaddle()._problem(0)
    path = hf.flow(problem, hf.HadamardPower(3), init_scale=1e-14 ** (1 / 3), t_end=1.0 / rate(3, 1e-14))
    assert len(path.times) > 3 * len(hf.saddles(problem).times)  # it was integrated


def test_a_distance_with_a_floor_would_be_noticed(quick):
    worse = quick["saddle-to-saddle"].copy()
    worse.loc[worse["kind"] == "distance", "value"] += 0.5
    verdicts = [claim.verdict for claim in SaddleToSaddle.quick().claims(worse)]
    assert verdicts[:2] == [Verdict.FAILS, Verdict.FAILS]


# ---- the average and the lasso ---------------------------------------------------------------------------------------


def test_the_excess_is_that_over_an_independent_solver(quick):
    records = quick["average-and-lasso"]
    experiment = AverageAndLasso.quick()
    rng = np.random.default_rng([experiment.seed, 0])
    m, n = experiment.rows, experiment.columns
    A = rng.choice([-1.0, 1.0], size=(m, n)) / math.sqrt(m)
    truth = (np.arange(n) < experiment.sparsity).astype(float)
    problem = hf.Problem(A, A @ truth + experiment.noise * rng.standard_normal(m))
    some = records[(records["trial"] == 0) & (records["depth"] == 2) & (records["scale"] == 1e-5)]
    for penalty, excess in zip(some["penalty"], some["excess"], strict=True):
        solver = Lasso(alpha=penalty / m, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A, problem.y)
        best = hf.certify_lasso(problem, solver.coef_, penalty).objective
        k = rate(2, 1e-5)
        path = hf.flow(problem, hf.HadamardPower(2), init_scale=1e-5**0.5, t_end=1 / penalty / k)
        average = hf.certify_lasso(problem, path.average(1 / penalty / k), penalty).objective
        assert excess == pytest.approx((average - best) / best, rel=1e-3, abs=2e-4)
        assert excess >= (average - best) / best - 1e-9  # an upper bound of it


def test_the_saddle_average_is_exactly_the_lasso_until_a_coordinate_leaves(quick):
    saddle = quick["average-and-lasso"].query("depth == 0")
    assert (~saddle["left"].astype(bool)).any()
    assert saddle.loc[~saddle["left"].astype(bool), "excess"].max() < 1e-12


def test_the_ends_are_minimal(quick):
    experiment = SaddleToSaddle.quick()
    problem = experiment._problem(1)
    n = problem.shape[1]
    least = linprog(np.ones(2 * n), A_eq=np.hstack([problem.A, -problem.A]), b_eq=problem.y).fun
    assert np.abs(hf.saddles(problem).final).sum() == pytest.approx(least, rel=1e-9)


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_numbers_of_the_page():
    page = (ROOT / "docs" / "vanishing_scale.md").read_text(encoding="utf-8")
    names = {}
    exec(code_of("docs/vanishing_scale.md")[0], names)
    x, lasso, flow = names["x"], names["lasso"], names["flow"]
    assert (x[:5].min().round(2), x[:5].max().round(2)) == (0.92, 1.05)
    assert (lasso[:5].min().round(2), lasso[:5].max().round(2)) == (0.41, 0.71)
    assert hf.certify_lasso(names["problem"], lasso, 0.4).gap < 1e-13
    assert np.abs(flow.x - x).max() < 1e-6
    for kind in KINDS:
        assert f"images/reproduce/{kind.name}.png" in page
