"""Nothing is said that is not so: seeded problems of many kinds, judged in extended precision.

The families, the references and the judge are those of `benchmarks/correctness.py`, which also keeps the record.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from scipy.optimize import linprog, nnls

import hadaflow as hf

NAMES = [
    "gaussian", "units", "rows_in_units", "block_of_rows", "columns_in_units", "both_in_units", "square", "tall",
    "tiny", "methods", "operators", "operators_constrained", "amplitudes", "single_precision", "limits",
    "equal_columns", "near_columns", "near_rows", "equal_rows", "contradicting_rows", "low_rank", "hilbert",
    "vandermonde", "signs", "integers", "ties", "sums_of_columns", "cosines", "zeros", "noise_wide", "noise_square",
    "noise_wide_rows_in_units", "nearly_consistent", "noise_tall", "noise_tall_near_columns", "noise_rows_in_units",
    "noise_level", "deconvolution", "rounded_data", "positive", "positive_inconsistent", "exponentials",
    "exponentials_sum_to_one", "positive_near_columns", "positive_weights", "weights", "free_columns",
    "free_columns_dense_noise", "huge_columns", "sparse", "sparse_noise", "paths", "paths_near_columns", "paths_noise",
]  # fmt: skip
BENIGN = ["gaussian", "units", "tall", "operators", "equal_columns", "integers", "signs", "rounded_data", "noise_wide"]
QUICK, ALL = range(3), range(100)  # seeds of each family; ALL makes more than 5000 problems

extended = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="numpy.longdouble is no longer than float64 here: it cannot judge"
)
pytestmark = extended


@pytest.fixture
def judging(bench):
    """A function that gives a module of the sweep."""
    return lambda part: bench(f"correctness_{part}")


def verdicts(judging, name, seeds):
    check = judging("judge").check
    return [check(name, seed) for seed in seeds]


def claims_that_are_not_so(found):
    return [f"{v.family}:{v.seed} {v.status}: {', '.join(v.wrong)}" for v in found if v.false]


def test_every_family_is_tested(judging):
    assert sorted(judging("problems").FAMILIES) == sorted(NAMES)


@pytest.mark.parametrize("part", range(4))
def test_nothing_is_said_that_is_not_so(judging, part):
    found = [verdict for name in NAMES[part::4] for verdict in verdicts(judging, name, QUICK)]
    assert claims_that_are_not_so(found) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_that_is_not_so_in_a_hundred_draws(judging, name):
    found = verdicts(judging, name, ALL)
    assert claims_that_are_not_so(found) == []
    known = [v for v in found if v.status == "EXACT"]
    assert sum(v.reference == "closed" for v in known) >= 0.8 * len(known)  # else little was judged


def test_what_is_easy_is_answered(judging):
    """A solver that says nothing would say nothing wrong."""
    found = [verdict for name in BENIGN for verdict in verdicts(judging, name, range(5))]
    assert [f"{v.family}:{v.seed} {v.status}" for v in found if not v.ok] == []


def test_the_record_kept_here_has_no_claim_that_is_not_so(judging):
    header, found = judging("report").read(ROOT / "benchmarks" / "results" / "correctness.jsonl.gz")
    assert len(found) == header["count"] >= 5000
    assert {v["family"] for v in found} == set(NAMES)
    assert [v for v in found if v["wrong"]] == []


# --- the judge sees ------------------------------------------------------------------------------------------------


def judged(judging, drawn, answer):
    return judging("judge").judge(drawn, answer)


def solved(judging, name, seed, status="EXACT"):
    """A right answer of the status asked for."""
    drawn = judging("problems").draw(name, seed)
    answer = judging("judge").solve(drawn)
    assert answer.status.name == status
    assert judged(judging, drawn, answer).wrong == []
    return drawn, answer


def test_a_row_that_does_not_fit_is_seen_however_small_it_is(judging):
    drawn, r = solved(judging, "gaussian", 0)
    big = drawn.A * np.where(np.arange(len(drawn.y)) < 5, 1e12, 1.0)[:, None]
    drawn = judging("drawing").planted_in(big, drawn.planted)
    x = drawn.planted.copy()
    x += 1e-3 * np.linalg.svd(big[:5])[2][-1]  # changes the small rows alone
    assert "a row does not fit" in judged(judging, drawn, replace(r, x=x)).wrong


def test_a_longer_solution_is_seen(judging):
    drawn, r = solved(judging, "gaussian", 0)
    longer = r.x + 0.1 * np.linalg.svd(drawn.A)[2][-1]
    assert "a shorter point fits" in judged(judging, drawn, replace(r, x=longer)).wrong


def test_least_squares_that_is_none_is_seen(judging):
    drawn, r = solved(judging, "noise_tall", 1, "LEAST_SQUARES")
    assert "another point fits better" in judged(judging, drawn, replace(r, x=r.x * (1 + 1e-4))).wrong
    drawn, r = solved(judging, "positive_inconsistent", 0, "LEAST_SQUARES")
    assert "another point fits better" in judged(judging, drawn, replace(r, x=r.x * (1 + 1e-2))).wrong


def test_least_squares_of_what_can_be_solved_is_seen(judging):
    drawn, r = solved(judging, "gaussian", 0)
    said = judged(judging, drawn, replace(r, status=hf.Status.LEAST_SQUARES)).wrong
    assert "called least squares where solutions are" in said


def test_a_second_minimiser_is_seen(judging):
    A = np.array([[1.0, 1.0, 0.2]])
    drawn = judging("drawing").Drawn(A, np.array([1.0]))
    r = hf.recover(A, drawn.y)
    assert judged(judging, drawn, r).wrong == []
    said = judged(judging, drawn, replace(r, certificate=replace(r.certificate, unique=True))).wrong
    assert said == ["not the only one"]


@pytest.mark.parametrize("name", ["equal_columns", "sums_of_columns"])
def test_a_second_minimiser_is_seen_behind_rounding(judging, name):
    """A twin is as good only to rounding where its column was multiplied or added up."""
    found = []
    for seed in range(10):
        drawn = judging("problems").draw(name, seed)
        r = hf.recover(drawn.A, drawn.y)
        if not r.certificate.unique:
            r = replace(r, certificate=replace(r.certificate, unique=True))
            found.append("not the only one" in judged(judging, drawn, r).wrong)
    assert sum(found) >= 5


def test_short_columns_are_no_second_minimiser(judging):
    """What they do is lost in the rounding of the rows; that does not make them free."""
    rng = np.random.default_rng(8)
    A = rng.standard_normal((12, 4)) * [1.0, 1.0, 1.0, 1e-12]
    drawn = judging("drawing").planted_in(A, np.array([1.0, -2.0, 0.5, 3.0]))
    r = hf.recover(A, drawn.y)
    assert r.certificate.unique
    assert judged(judging, drawn, r).wrong == []


def test_a_bound_that_is_none_is_seen(judging):
    drawn, r = solved(judging, "gaussian", 0)
    high = replace(r.certificate, lower_bound=r.certificate.l1_norm * 1.01)
    said = judged(judging, drawn, replace(r, certificate=high)).wrong
    assert said == ["bound not proved by its dual", "bound above a solution"]


def test_a_residual_above_the_noise_is_seen(judging):
    drawn, r = solved(judging, "noise_level", 0, "NOISE_LEVEL")
    assert "above the noise level" in judged(judging, drawn, replace(r, x=0 * r.x)).wrong


def test_a_path_that_ends_elsewhere_is_seen(judging):
    drawn, path = solved(judging, "paths_noise", 0, "LEAST_SQUARES")
    assert "path and end differ" in judged(judging, drawn, replace(path, final=path.final * 1.001)).wrong


# --- the references are right --------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [False, True])
def test_the_shortest_norm_is_that_of_the_linear_programme(judging, positive):
    rng = np.random.default_rng(5)
    A, w = rng.standard_normal((12, 30)), rng.uniform(0.5, 2, 30)
    y = A @ np.abs(rng.standard_normal(30))
    known = judging("reference").shortest(A, y, w, positive=positive)
    matrix, cost = (A, w) if positive else (np.hstack([A, -A]), np.concatenate([w, w]))
    assert known.closed
    assert known.norm == pytest.approx(linprog(cost, A_eq=matrix, b_eq=y).fun, rel=1e-7)
    assert judging("reference").row_excess(A, known.x, y) < 1  # better than float64 could


def test_the_best_fits_are_those_of_lapack_and_of_lawson_and_hanson(judging):
    rng = np.random.default_rng(6)
    A, y = rng.standard_normal((20, 8)), rng.standard_normal(20)
    best_fits = judging("reference").best_fits
    np.testing.assert_allclose(best_fits(A, y, positive=False)[0], np.linalg.lstsq(A, y)[0], rtol=1e-10)
    np.testing.assert_allclose(best_fits(A, y, positive=True)[0], nnls(A, y)[0], rtol=1e-10, atol=1e-14)


def test_least_squares_in_extended_precision(judging):
    """Columns a billionth apart: float64 keeps no digit of such a solution's last ones."""
    rng = np.random.default_rng(7)
    A = rng.standard_normal((10, 4))
    A[:, 3] = A[:, 2] + 1e-9 * rng.standard_normal(10)
    x = np.array([1.0, -2.0, 0.5, 0.25], dtype=np.longdouble)
    found = judging("reference").least_squares(A.astype(np.longdouble), A @ x)
    np.testing.assert_allclose(found.astype(float), x.astype(float), rtol=1e-8)


# --- drawing, running, reporting -----------------------------------------------------------------------------------


def test_problems_are_seeded(judging):
    draw = judging("problems").draw
    for name in NAMES:
        first, again, other = draw(name, 3), draw(name, 3), draw(name, 4)
        np.testing.assert_array_equal(first.A, again.A)
        np.testing.assert_array_equal(first.y, again.y)
        assert first.A.shape != other.A.shape or (first.A != other.A).any() or (first.y != other.y).any(), name
        assert first.y.shape == (len(first.A),), name
        assert np.isfinite(first.A).all(), name


def test_a_sweep_keeps_a_record_and_writes_a_page(judging, tmp_path, capsys):
    judging("judge")
    sweep = importlib.import_module("correctness")
    records = tmp_path / "correctness.jsonl.gz"
    chosen = ["--count", "6", "--families", "gaussian", "tall", "--workers", "1", "--output", str(records)]
    with warnings.catch_warnings():
        assert sweep.main(chosen) == 0
    header, found = judging("report").read(records)
    assert header["count"] == 6
    assert [(v["family"], v["seed"]) for v in found] == [
        (name, seed) for seed in range(3) for name in ("gaussian", "tall")
    ]
    page = (tmp_path / "correctness.md").read_text(encoding="utf-8")
    assert "not so: **0**" in page
    assert "| gaussian | 3 | 100% | EXACT 3 | 100% | 0 |" in page
    false = {**found[0], "wrong": ["a row does not fit"]}
    assert "- `gaussian:0` EXACT: a row does not fit" in judging("report").page(header, [false])
    assert sweep.main(["--one", "gaussian:0"]) == 0
    assert "EXACT" in capsys.readouterr().out
