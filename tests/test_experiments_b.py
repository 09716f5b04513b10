"""The experiments on paper B: their claims hold on their quick size, fail on falsified records, and can be drawn."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hadaflow.experiments import Verdict, known, run_inline
from hadaflow.experiments.catalogue import _b_training as training
from hadaflow.experiments.catalogue.b_coordinates import (
    Convergence,
    EarlyStoppingCoordinate,
    InitializationEffects,
)
from hadaflow.experiments.catalogue.b_errors import EarlyStoppingError
from hadaflow.experiments.catalogue.b_image import Image, digit
from hadaflow.experiments.catalogue.b_incremental import IncrementalLearning
from hadaflow.experiments.catalogue.b_kernel import KernelRegime, ridge

KINDS = [
    Convergence,
    InitializationEffects,
    EarlyStoppingCoordinate,
    EarlyStoppingError,
    IncrementalLearning,
    KernelRegime,
    Image,
]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def records_of(quick_records):
    """The records of the quick size of a kind."""
    return lambda kind: quick_records(kind.name)


def verdicts(kind, records):
    return [claim.verdict for claim in kind.quick().claims(records)]


# ---- all of them -----------------------------------------------------------------------------------------------------


def test_the_seven_figures_of_the_paper_are_there():
    names = [name for name, kind in known().items() if kind.paper == "B"]
    assert set(names) == {kind.name for kind in KINDS}
    assert len(names) == 7


# ---- claims can fail -------------------------------------------------------------------------------------------------


def with_number(records, quantity, value, depth=None):
    """Records in which a number of one depth, or of all, is another one."""
    changed = records.copy()
    column = "quantity" if "quantity" in records else "kind"
    rows = changed[column] == quantity
    if depth is not None:
        rows &= changed["depth"] == depth
    assert rows.any()
    changed.loc[rows, "value"] = value(changed.loc[rows, "value"]) if callable(value) else value
    return changed


#: Kind, quantity, its false value, depth, claim that then fails.
FALSIFIED = [
    (Convergence, "start", lambda v: 1.5 * v, 3.0, 0),
    (Convergence, "largest other at start", 0.04, 2.0, 1),
    (Convergence, "best error", lambda v: 1.2 * v, 5.0, 2),
    (Convergence, "largest other at end", 1.0, 5.0, 3),
    (InitializationEffects, "best error", 1.0, 10.0, 0),
    (EarlyStoppingCoordinate, "stop", 300.0, 4.0, 0),
    (EarlyStoppingCoordinate, "start", 100.0, 2.0, 1),
    (EarlyStoppingCoordinate, "stop", lambda v: 2 * v, 3.0, 2),
    (EarlyStoppingCoordinate, "best error", 0.2, 2.0, 3),
    (EarlyStoppingCoordinate, "start", lambda v: 1.2 * v, 3.0, 4),
    (EarlyStoppingError, "error", lambda v: v + 3.0, 4.0, 1),
    (EarlyStoppingError, "stop", lambda v: 2 * v, 3.0, 2),
    (IncrementalLearning, "0.5 of entry 4", 1e5, 3.0, 0),
    (IncrementalLearning, "0.5 of entry 1", lambda v: 0.4 * v, 2.0, 1),
    (IncrementalLearning, "0.9 of entry 1", 1e6, 5.0, 2),
    (KernelRegime, "ridge", lambda v: v - 1.0, None, 0),
    (KernelRegime, "least squares", lambda v: v + 1.0, None, 1),
    (Image, "error", 0.9, 2.0, 0),
    (Image, "error at the limit", 0.01, 3.0, 1),
    (Image, "error", 0.01, 5.0, 2),
]


@each
def test_claims_fail_on_falsified_records(kind, records_of):
    for falsified, quantity, value, depth, claim in FALSIFIED:
        if falsified is kind:
            changed = with_number(records_of(kind), quantity, value, depth)
            assert verdicts(kind, changed)[claim] is Verdict.FAILS, quantity
    if kind is EarlyStoppingCoordinate:  # what was not reached is not decided
        changed = with_number(records_of(kind), "stop", math.nan, 3.0)
        assert verdicts(kind, changed)[2] is Verdict.OPEN


def test_the_window_of_the_error_has_to_grow(records_of):
    """Depths exchanged: the claim that it grows with depth fails."""
    records = records_of(EarlyStoppingError).replace({"depth": {2.0: 4.0, 4.0: 2.0}})
    assert verdicts(EarlyStoppingError, records)[0] is Verdict.FAILS


def test_published_numbers_are_expected_of_published_settings_only():
    assert Convergence().published
    assert replace(Convergence(), dynamics="flow").published
    assert not Convergence.quick().published
    assert EarlyStoppingCoordinate.quick().published


# ---- what they are made of -------------------------------------------------------------------------------------------


def test_data_are_those_of_the_published_stream():
    truth = np.r_[np.ones(5), np.zeros(195)]
    data = training.measure(42, 100, truth, 0.5, sparsity=5)
    rng = np.random.RandomState(42)
    np.testing.assert_array_equal(data.problem.A, 2.0 * rng.binomial(1, 0.5, (100, 200)) - 1)
    np.testing.assert_allclose(data.problem.y, data.problem.A @ truth + 0.5 * rng.standard_normal(100))
    np.testing.assert_allclose(data.problem.y - data.problem.A @ truth, data.noise, atol=1e-12)
    np.testing.assert_allclose(data.noise_correlations, data.problem.A.T @ data.noise / 100)
    fit = np.linalg.lstsq(data.problem.A[:, :5], data.problem.y, rcond=None)[0]
    assert data.oracle_error == pytest.approx(np.sum((fit - 1) ** 2))
    single = training.measure(42, 100, truth, 0.5, sparsity=5, single=True)
    assert single.problem.dtype == np.float32
    assert signs_share(training.signs(np.random.RandomState(0), 200, 200, 0.25)) == pytest.approx(0.25, abs=0.01)


def signs_share(A):
    assert set(np.unique(A)) == {-1.0, 1.0}
    return np.mean(A == 1)


@pytest.mark.parametrize("depth", [2.0, 3.0])
def test_flow_and_descent_measure_the_same(depth):
    """With short steps; the flow stands in for millions of them in the quick sizes."""
    data = training.measure(1, 60, np.r_[np.ones(3), np.zeros(87)], 0.3, sparsity=3)
    schedule = training.Schedule(depth, 1e-4, 0.005, 2000 if depth == 2 else 4000)
    descent, flow = (training.train(data, schedule, dynamics) for dynamics in ("descent", "flow"))
    np.testing.assert_allclose(np.interp(descent.steps, flow.steps, flow.error), descent.error, atol=0.12)
    half = [curves.first(curves.leading[:, 0] >= 0.5) for curves in (descent, flow)]
    assert half[0] == pytest.approx(half[1], rel=0.02)
    assert descent.largest[-1] == pytest.approx(flow.largest[-1], rel=0.02)


def test_descent_that_diverges_is_not_recorded():
    data = training.measure(1, 20, np.r_[np.ones(2), np.zeros(28)], 0.3, sparsity=2)
    with pytest.raises(RuntimeError, match="ended early"):
        training.train(data, training.Schedule(2.0, 1.0, 10.0, 500), "descent")


def test_ridge_is_that_of_another_library():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((60, 20)), rng.standard_normal(20)
    y = A @ x + 3 * rng.standard_normal(60)
    one = ridge(A, y, np.array([0.3]), folds=5, seed=0)
    np.testing.assert_allclose(one, Ridge(alpha=60 * 0.3, fit_intercept=False).fit(A, y).coef_, rtol=1e-10)
    penalties = np.geomspace(1e-3, 1e3, 25)
    order = np.random.default_rng(7).permutation(60)
    losses = np.zeros(25)
    for held_out in np.array_split(order, 5):
        kept = np.setdiff1d(np.arange(60), held_out)
        for i, penalty in enumerate(penalties):
            fit = Ridge(alpha=48 * penalty, fit_intercept=False).fit(A[kept], y[kept])
            losses[i] += np.sum((fit.predict(A[held_out]) - y[held_out]) ** 2)
    best = Ridge(alpha=60 * penalties[losses.argmin()], fit_intercept=False).fit(A, y).coef_
    np.testing.assert_allclose(ridge(A, y, penalties, folds=5, seed=7), best, rtol=1e-8)


def test_pictures_are_enlarged_digits():
    picture = digit(0, 28)
    assert picture.shape == (28, 28)
    assert picture.min() == 0
    assert 0.9 < picture.max() <= 1
    assert 0.1 < np.mean(picture > 0) < 0.25
    np.testing.assert_array_equal(picture[6:22:2, 6:22:2], picture[7:22:2, 7:22:2])
    assert picture[:6].sum() == picture[:, 22:].sum() == 0


def test_recorded_pixels_are_the_picture(records_of):
    records = records_of(Image)
    records = records[records["picture"] == 0]
    truth = records[(records["kind"] == "truth") & (records["depth"] == 2.0)].sort_values("pixel")["value"]
    np.testing.assert_array_equal(truth, digit(0, 28).ravel())
    found = records[(records["kind"] == "found") & (records["depth"] == 2.0)].sort_values("pixel")["value"]
    error = records[(records["kind"] == "error") & (records["depth"] == 2.0)]["value"].item()
    assert np.linalg.norm(found.to_numpy() - truth.to_numpy()) / np.linalg.norm(truth) == pytest.approx(error)
    assert found.min() > 0  # the positive model


# ---- the paper's sizes -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [Convergence, InitializationEffects, IncrementalLearning, KernelRegime], ids=lambda kind: kind.name
)
def test_claims_hold_in_full_size(kind):
    """A minute together; the other two take some minutes each and run with `hadaflow reproduce`."""
    experiment = kind()
    for claim in experiment.claims(run_inline(experiment)):
        assert claim.verdict is Verdict.HOLDS, claim
