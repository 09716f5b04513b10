"""What theory promises compared with what was measured: every number against another computation."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import minimal_l1, planted
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.theory.explanation import Explanation, explain
from hadaflow.theory.explanation import rows as promise_rows
from hadaflow.theory.explanation.promise import Comparison, Promise
from hadaflow.theory.l1_bounds import l1_excess_bound
from hadaflow.theory.measurements import measurements_needed
from hadaflow.theory.null_space import null_space_constants


def noisy(m=100, n=200, sigma=0.5, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.choice([-1.0, 1.0], (m, n))
    return hf.Problem(A, A[:, :5].sum(axis=1) + sigma * rng.standard_normal(m))


SMALL = planted(25, 60, 3, seed=2)


def results():
    """One of each kind."""
    problem = noisy()
    small = hf.Problem(SMALL.A, SMALL.y)
    rng = np.random.default_rng(0)
    return {
        "exact": hf.recover(SMALL.A, SMALL.y),
        "weighted": hf.recover(SMALL.A, SMALL.y, weights=rng.uniform(0.5, 2, 60)),
        "positive": hf.recover(SMALL.A, SMALL.A @ np.abs(SMALL.x), positive=True),
        "dense solution": hf.recover(SMALL.A, rng.standard_normal(25)),
        "zero": hf.recover(SMALL.A, 0 * SMALL.y),
        "least squares": hf.recover(SMALL.A.T, rng.standard_normal(60)),
        "float32": hf.recover(SMALL.A.astype(np.float32), SMALL.y.astype(np.float32), depth=3, init_scale=1e-2),
        "sparse": hf.recover(sp.csr_array(SMALL.A), SMALL.y, depth=4, init_scale=1e-1),
        "operator": hf.recover(aslinearoperator(SMALL.A), SMALL.y),
        "depth 2": hf.recover(SMALL.A, SMALL.y, depth=2, init_scale=1e-4),
        "depth 3": hf.recover(SMALL.A, SMALL.y, depth=3, init_scale=1e-2),
        "tiny": hf.recover(SMALL.A, SMALL.y, depth=3, init_scale=1e-30),
        "large": hf.recover(SMALL.A, SMALL.y, depth=3, init_scale=0.9),
        "positive limit": hf.recover(SMALL.A, SMALL.A @ np.abs(SMALL.x), depth=3, init_scale=1e-2, positive=True),
        "depth 1": hf.recover(SMALL.A, SMALL.y, depth=1, init_scale=1e-2),
        "weights of a start": hf.recover(SMALL.A, SMALL.y, depth=3, init_scale=np.linspace(0.01, 0.03, 60)),
        "flow to its limit": hf.flow(small, hf.HadamardPower(3), init_scale=1e-2),
        "flow": hf.flow(problem, hf.HadamardPower(3), init_scale=0.01, t_end=0.6),
        "training": hf.descend(problem, hf.HadamardPower(2), init_scale=0.005, stop=hf.stopping.MaxSteps(100)),
        "noise": hf.recover(problem.A, problem.y, noise_level=5.5),
    }


@pytest.fixture(scope="module")
def explained():
    return {name: (result, explain(result)) for name, result in results().items()}


# ---- all kinds -------------------------------------------------------------------------------------------------------


def test_no_promise_is_broken_and_tables_say_what_programs_see(explained):
    for name, (_, explanation) in explained.items():
        text = str(explanation)
        assert explanation.holds, (name, text)
        assert explanation.rows, name
        assert max(map(len, text.splitlines())) <= 100, (name, text)
        assert text.splitlines()[2].split() == ["quantity", "promise", "measured", "holds", "source"]
        table = json.loads(json.dumps(explanation.to_dict()))
        assert list(table) == [row.key for row in explanation.rows]
        assert len(table) == len(explanation.rows), "keys are unique"
        markup = explanation._repr_html_()
        for row in explanation.rows:
            assert row.quantity in text
            assert explanation[row.key] is row
            assert table[row.key]["measured"] == row.measured
            assert row.quantity.replace("&", "&amp;").replace("<", "&lt;") in markup
            # Nothing holds without two numbers.
            missing = row.promise is None or row.measured is None or not math.isfinite(row.promise)
            assert not (missing and row.holds is not None)


def test_a_window_says_what_has_grown_outside_the_support():
    rng = np.random.default_rng(7)
    A, x = rng.choice([-1.0, 1.0], (60, 150)), np.zeros(150)
    x[:6] = rng.uniform(0.5, 3, 6)
    path = hf.flow(
        hf.Problem(A, A @ x + 0.3 * rng.standard_normal(60)), hf.HadamardPower(3), init_scale=0.01, t_end=2.0
    )
    other = np.delete(np.abs(path.x), hf.theory.estimate_window_inputs(path.problem).support)
    level = 1e-6**0.25
    assert (other > level).any()
    note = explain(path)["window_stop"].note
    assert note == f"In x itself, {(other > level).sum()} other entries exceed the level {level:.3g}."


# ---- as the start vanishes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exact", "operator", "positive", "dense solution"])
def test_numbers_of_the_exact_answer(explained, name):
    result, explanation = explained[name]
    positive = result.positive
    y = result.problem.y
    assert explanation["l1_norm"].measured == pytest.approx(minimal_l1(SMALL.A, y, positive=positive), rel=1e-8)
    assert explanation["l1_norm"].holds
    support = np.flatnonzero(result.x)
    sign = "positive" if positive else "both"
    rho = null_space_constants(SMALL.A, support, np.sign(result.x[support]), sign=sign, method="bounds").rho
    assert explanation["separation"].measured == pytest.approx(1 - rho, abs=1e-8)
    assert explanation["separation"].holds == result.certificate.unique
    assert explanation["margin"].measured == result.certificate.margin
    needed = measurements_needed(60, len(support), sign=sign).transition
    assert explanation["measurements"].promise == needed
    assert explanation["measurements"].holds == (True if needed <= 25 else None)
    assert explanation["coherence"].measured == len(support)


def test_weights_are_those_of_the_norm(explained):
    result, explanation = explained["weighted"]
    least = minimal_l1(SMALL.A, SMALL.y, weights=result.weights)
    assert explanation["l1_norm"].measured == pytest.approx(least, rel=1e-8)
    assert "weighted" in explanation["l1_norm"].quantity
    support = np.flatnonzero(result.x)
    scaled = null_space_constants(SMALL.A / result.weights, support, np.sign(result.x[support]), method="bounds")
    assert explanation["separation"].measured == pytest.approx(1 - scaled.rho, abs=1e-8)


def test_an_answer_that_is_not_minimal_is_found_out(explained):
    result, _ = explained["exact"]
    kernel = np.linalg.svd(SMALL.A)[2][-1]
    worse = dataclasses.replace(result, x=result.x + kernel)
    worse = dataclasses.replace(worse, certificate=hf.certify(worse.problem, worse.x, worse.dual))
    table = explain(worse)
    assert table["l1_norm"].holds is None
    assert table["l1_norm"].measured > table["l1_norm"].promise
    assert "not proved minimal" in table["l1_norm"].note
    assert any("Uniqueness" in text for text in table.left_out)
    unfit = dataclasses.replace(result, certificate=hf.certify(result.problem, 2 * result.x, result.dual))
    table = explain(unfit)
    assert table["residual"].holds is False
    assert not table.holds
    assert " NO " in str(table)


def test_ties_are_not_called_unique():
    r = hf.recover(np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 3.0]]), np.array([1.0, 1.0]))
    row = explain(r)["separation"]
    assert row.holds is None
    assert row.measured == pytest.approx(0, abs=1e-9) or row.measured == -math.inf


# ---- from a given start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["depth 2", "depth 3", "sparse", "positive limit", "flow to its limit"])
def test_numbers_of_a_limit(explained, name):
    result, explanation = explained[name]
    depth, positive = result.model.depth, name == "positive limit"
    truth = np.abs(SMALL.x) if positive else SMALL.x
    y = SMALL.A @ truth
    least = minimal_l1(SMALL.A, y, positive=positive)
    excess, upper, lower = (explanation[key] for key in ("l1_excess", "error_upper", "error_lower"))
    assert excess.measured == pytest.approx(np.abs(result.x).sum() - least, abs=1e-8)
    start = {"depth": depth, "init_scale": result.product_scale ** (1 / depth)}
    bound = l1_excess_bound(l1_norm=least, n=60, sign="positive" if positive else "both", **start)
    assert excess.promise == pytest.approx(bound, rel=1e-8)
    distance = np.abs(result.x - truth).sum()
    assert np.abs(hf.recover(SMALL.A, y, positive=positive).x - truth).max() < 1e-9  # it is the minimiser
    assert [upper.measured, lower.measured] == pytest.approx([distance, distance], rel=1e-6)
    assert 0 < lower.promise <= distance <= upper.promise
    assert upper.promise < 0.1 * excess.promise + 1  # the sharper of the two statements


def test_bounds_do_not_hold_by_accident(explained, monkeypatch):
    result, _ = explained["depth 3"]
    monkeypatch.setattr(promise_rows, "l1_excess_bound", lambda **_: 1e-6)
    monkeypatch.setattr(promise_rows, "error_lower_bound", lambda *_, **__: 1e6)
    table = explain(result)
    assert table["l1_excess"].holds is False
    assert table["error_lower"].holds is False
    assert table["error_upper"].holds is True
    assert not table.holds


def test_what_rounding_hides_and_starts_too_large_stay_open(explained):
    row = explained["tiny"][1]["error_upper"]
    assert row.promise < 1e-80
    assert row.holds is None
    assert "below what this answer resolves" in row.note
    row = explained["large"][1]["l1_excess"]
    assert (row.promise, row.holds) == (math.inf, None)


def test_starts_that_differ_and_depth_one_have_no_bounds(explained):
    for name, word in (("weights of a start", "differs by coordinate"), ("depth 1", "depth 2 and more")):
        _, explanation = explained[name]
        assert "l1_excess" not in explanation.to_dict()
        assert any(word in text for text in explanation.left_out)
    scale = np.linspace(0.01, 0.03, 60)
    path = hf.flow(hf.Problem(SMALL.A, SMALL.y), hf.HadamardPower(3), init_scale=scale)
    assert any("differs by coordinate" in text for text in explain(path).left_out)
    # A single point within the data is no matter of distance.
    A = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]])
    table = explain(hf.recover(A, np.array([1.0, 1.0]), depth=3, init_scale=0.1, positive=True))
    assert "error_upper" not in table.to_dict()
    assert any("no other point" in text for text in table.left_out)


# ---- stopped ---------------------------------------------------------------------------------------------------------


def test_the_lasso_of_a_stopped_path(explained):
    path, explanation = explained["flow"]
    penalty = path.penalty(path.t_end)
    found = hf.certify_lasso(path.problem, path.average(path.t_end), penalty)
    assert explanation["lasso"].measured == pytest.approx(found.objective)
    assert explanation["lasso"].promise == pytest.approx(found.lower_bound)
    run, explanation = explained["training"]
    assert explanation["lasso"].measured == pytest.approx(run.lasso_certificate.objective)


def test_the_window_opens_and_closes():
    """For orthogonal columns the window is exact: before, within and behind it."""
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.standard_normal((150, 150)))[0]
    x = np.zeros(150)
    x[:3] = [3.0, 4.0, 5.0]
    noise = 0.05 * rng.standard_normal(150)
    problem = hf.Problem(Q, Q @ (x + noise))
    seen = []
    model = hf.HadamardPower(3)
    for time in (5.0, 40.0, 4000.0):
        path = hf.flow(problem, model, init_scale=0.01, t_end=time)
        table = explain(path)
        seen.append((table["window_start"].holds, table["window_stop"].holds))
        grown = np.abs(path.x[:3] / (x + noise)[:3]).min() >= 0.9
        quiet = np.abs(path.x[3:]).max() <= (0.01**3) ** 0.25
        assert (table["window_start"].holds is True) == grown
        assert (table["window_stop"].holds is True) == quiet
    assert seen == [(None, True), (True, True), (True, None)]
    slow = hf.flow(problem, hf.HadamardPower(3, factors="separate"), init_scale=0.01, t_end=120.0)
    table = explain(slow)
    assert table["window_start"].measured == pytest.approx(40.0)
    assert (table["window_start"].holds, table["window_stop"].holds) == (True, True)


def test_the_plateau_of_a_noise_level(explained):
    result, explanation = explained["noise"]
    path = hf.saddles(result.problem, noise_level=5.5)
    start, stop = explanation["window_start"], explanation["window_stop"]
    assert stop.measured == pytest.approx(path.times[-1])
    assert start.measured > path.times[-1]
    assert start.holds
    assert stop.holds
    assert explanation["residual"].promise is None
    assert explanation["l1_norm"].promise <= explanation["l1_norm"].measured


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_runs_that_came_to_nothing_are_not_explained():
    diverged = hf.descend(noisy(), hf.HadamardPower(1), init_scale=0.1, step=1.0, stop=hf.stopping.MaxSteps(500))
    assert diverged.status is hf.Status.DIVERGED
    table = explain(diverged)
    assert table.rows == ()
    assert "steps were too long" in table.left_out[0]
    few = hf.Problem(np.ones((3, 4)), np.ones(3))
    start = explain(hf.descend(few, hf.HadamardPower(2), init_scale=0.1, stop=hf.stopping.MaxSteps(0)))
    assert any("at the start of a run" in text for text in start.left_out)
    assert any("too few rows" in text for text in start.left_out)


# ---- cost, input -----------------------------------------------------------------------------------------------------


def test_what_takes_too_long_is_left_out_and_named(explained):
    result, _ = explained["depth 3"]
    quick = explain(result, time_limit=1e-12)
    assert [row.key for row in quick.rows] == ["residual"]
    assert any("raise time_limit" in text for text in quick.left_out)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((400, 1600))
    table = explain(hf.recover(A, A[:, 7]))
    assert table.seconds < 5
    assert table["margin"].relation == ">"
    assert table["margin"].holds
    assert any("smallest dual certificate" in text for text in table.left_out)


@pytest.mark.parametrize("kind", [np.asarray, aslinearoperator])
def test_what_is_shown_depends_on_no_clock(kind):
    """A run on a machine a million times as slow gets the same table."""
    A = kind(SMALL.A)
    for result in (
        hf.flow(hf.Problem(A, SMALL.y), hf.HadamardPower(3), init_scale=1e-2),
        hf.recover(A, SMALL.y, depth=3, init_scale=1e-2),
    ):
        stats = dataclasses.replace(result.stats, seconds=1e6 * (1 + result.stats.seconds))
        slow = explain(dataclasses.replace(result, stats=stats))
        assert str(slow) == str(explain(result))
        assert len(slow.rows) > 1


def test_inputs_are_left_as_they_are():
    A, y = SMALL.A.copy(), SMALL.y.copy()
    result = hf.recover(A, y, depth=3, init_scale=1e-2)
    x = result.x.copy()
    explain(result)
    for now, before in ((A, SMALL.A), (y, SMALL.y), (result.x, x)):
        np.testing.assert_array_equal(now, before)


def test_bad_arguments_are_named(explained):
    problem, (exact, table) = hf.Problem(SMALL.A, SMALL.y), explained["exact"]
    kinds = "result must be a Recovery, FlowPath or Trajectory"
    for call, error, message in (
        *((lambda result=result: explain(result), TypeError, kinds) for result in (None, 3.0, np.ones(3))),
        (lambda: explain(hf.limit(problem, hf.HadamardPower(3), init_scale=0.1)), TypeError, r"hadaflow\.recover"),
        (lambda: explain(hf.saddles(problem)), TypeError, "got SaddlePath"),
        (lambda: explain(exact, time_limit=0), ValueError, "time_limit must be"),
        (lambda: table["nothing"], KeyError, "there are residual"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_rows_decide_themselves():
    def row(comparison, **options):
        return Promise.of("k", "q", comparison, unit="", source="s", **options)

    for relation, promise, measured, allowance, holds in (
        ("<=", 1.0, 0.5, 0.0, True),
        ("<=", 1.0, 1.5, 0.0, False),
        ("<=", 1.0, 2.0, 0.0, False),
        ("<=", 1.0, 1.05, 0.1, True),
        ("<=", 1e-20, 1e-12, 1e-9, None),
        (">=", 1e-20, 1e-12, 1e-9, None),
        (">=", 1.0, 0.5, 0.0, False),
        (">", 0.0, 0.0, 0.0, False),
        ("=", 2.0, 2.0 + 1e-9, 1e-8, True),
        ("=", 2.0, 2.1, 1e-8, False),
        ("<=", math.inf, 1.0, 0.0, None),
        ("<=", 1.0, math.nan, 0.0, None),
        ("<=", 1.0, math.inf, 0.0, None),
        ("<=", 1.0, 2.0, math.nan, None),
        ("<=", None, 1.0, 0.0, None),
        ("<=", 1.0, None, 0.0, None),
    ):
        comparison = Comparison(relation, promise, measured, allowance=allowance)
        assert row(comparison).holds is holds, comparison
        assert row(comparison, condition=True).holds is (holds or None), comparison


def test_markup_in_a_table_is_text():
    row = Promise.of("k", "<b>", Comparison("<=", 1.0, 0.5), unit="", source="s", note="<i>")
    markup = Explanation("<s>", (row,), ("<u>",), 0.0)._repr_html_()
    for tag in ("<b>", "<i>", "<s>", "<u>"):
        assert tag not in markup


def test_the_page_shows_what_is_printed():
    page = (Path(__file__).parent.parent / "docs" / "theory.md").read_text(encoding="utf-8")
    snippet, table = re.findall(r"```(?:python)?\n(.*?)```", page, flags=re.DOTALL)
    names = {}
    exec(snippet.replace("print(explanation)", ""), names)
    shown, printed = table.split(), str(names["explanation"]).split()
    for word, now in zip(shown, printed, strict=False):
        try:
            expected = float(word)
        except ValueError:
            assert now == word
        else:  # rounding differs between machines, and so does where a bound's descent stops
            assert float(now) == pytest.approx(expected, rel=2e-3, abs=1e-12)
    for name in re.findall(r"`(\w+)`", page.split("## Reading")[0]):
        assert name == "_bounds" or hasattr(hf.theory, name), name


# ---- data at the ends of the range ---------------------------------------------------------------------------------


def test_units_at_the_ends_of_the_range_break_nothing():
    problem, model = noisy(60, 80), hf.HadamardPower(2)
    for a, b in (1e-150, 1e-250), (1e100, 1e200), (1e-200, 1e-200), (1e200, 1e100), (1e-80, 1e80):
        A, y, scale = a * problem.A, b * problem.y, b / a
        small = a * SMALL.A, b * SMALL.y
        with np.errstate(over="ignore", invalid="ignore"):  # a proof of uniqueness that recover gives up at 1e-200
            results = [hf.recover(*small), hf.recover(A, y, noise_level=5.0 * b)]
        if a > 1e-170:
            results += [hf.recover(*small, depth=d, init_scale=0.01 * scale ** (1 / d)) for d in (2, 3)]
        t_end = 0.1 / a / a / scale
        if 0 < t_end < 1e302:
            results.append(hf.flow(hf.Problem(A, y), model, init_scale=0.01 * scale**0.5, t_end=t_end))
        for explanation in map(explain, results):
            assert explanation.holds, str(explanation)
            assert explanation.rows or explanation.left_out


def test_the_lasso_row_follows_the_units():
    problem, model, rows = noisy(60, 80), hf.HadamardPower(2), []
    for f in (1.0, 2.0**400):
        path = hf.flow(hf.Problem(problem.A, f * problem.y), model, init_scale=0.01 * f**0.5, t_end=0.3 / f)
        rows.append(explain(path)["lasso"])
        assert rows[-1].holds
    assert rows[1].measured == pytest.approx(math.ldexp(rows[0].measured, 800), rel=1e-6)


def test_nearly_parallel_columns_break_nothing():
    """There a residual of 1e-11 is an error of 1e-6 in x: the allowance has to know the condition of A."""
    for seed, m, n, spread in (38, 10, 20, 1e-3), (4, 10, 20, 1e-4), (2, 20, 50, 1e-4), (12, 20, 50, 1e-4):
        rng = np.random.default_rng(seed)
        A = 1 + spread * rng.standard_normal((m, n))
        count = 2 if m == 10 else 3
        x = np.zeros(n)
        x[:count] = rng.choice([-1, 1], count) * rng.uniform(1, 2, count)
        explanation = explain(hf.recover(A, A @ x, depth=3, init_scale=1e-3))
        assert explanation.holds, (seed, str(explanation))
