"""The experiments on paper C: what their quick runs say, and that they could say otherwise."""

import math

import numpy as np
import pytest

from hadaflow.experiments import Verdict
from hadaflow.experiments.catalogue._c_common import anything, minimal, planted, with_kernel
from hadaflow.experiments.catalogue.c_depths import DepthComparison
from hadaflow.experiments.catalogue.c_gaussian import Gaussian
from hadaflow.experiments.catalogue.c_rates import ErrorRates
from hadaflow.experiments.catalogue.c_tightness import Tightness

KINDS = {"error-rates": ErrorRates, "tightness": Tightness, "gaussian": Gaussian, "depth-comparison": DepthComparison}


@pytest.fixture(scope="module")
def records(quick_records):
    """Records of the quick sizes."""
    return {name: quick_records(name) for name in KINDS}


def verdicts(name, records):
    return [claim.verdict for claim in KINDS[name].quick().claims(records)]


def test_the_open_claim_is_about_the_one_certificate_without_a_gap(records):
    claim = ErrorRates.quick().claims(records["error-rates"])[1]
    assert [check.label for check in claim.checks] == ["5x10, seed 106"]
    assert claim.checks[0].holds is None


def test_a_wrong_exponent_is_noticed(records):
    table = records["error-rates"].copy()
    shallow = (table["depth"] == 2) & (table["kind"] == "slope")
    table.loc[shallow, "slope"] = 1 - table.loc[shallow, "rho_tilde"]
    said = verdicts("error-rates", table)
    assert said[0] is Verdict.FAILS
    assert said[3] is Verdict.FAILS


@pytest.mark.parametrize(
    ("smaller", "larger"), [("off_support", "upper_off"), ("lower", "largest"), ("error", "upper")]
)
def test_one_violated_bound_is_noticed(records, smaller, larger):
    table = records["error-rates"].copy()
    row = table.index[(table["kind"] == "random") & np.isfinite(table[larger])][0]
    table.loc[row, smaller] = 1.01 * table.loc[row, larger] + 1e-300
    assert verdicts("error-rates", table)[-1] is Verdict.FAILS


def test_a_bound_that_is_not_attained_is_noticed(records):
    table = records["tightness"].copy()
    table["explicit"] *= 1.01
    table["bound_constant"] *= 1.01
    said = verdicts("tightness", table)
    assert said[0] is Verdict.FAILS
    assert said[2] is Verdict.FAILS


def test_a_depth_without_advantage_is_noticed(records):
    for name, column in (("gaussian", "error"), ("depth-comparison", "error")):
        table = records[name].copy()
        table.loc[table["depth"] == 2, column] = 0.0
        assert Verdict.FAILS in verdicts(name, table)


def test_random_instances_are_unique_minimisers_and_many_are_found():
    rng = np.random.default_rng(0)
    made = [anything(rng, sign) for sign in ("both", "positive") for _ in range(20)]
    found = [instance for instance in made if instance is not None]
    assert len(found) > 15
    assert all(instance.constants.unique for instance in found)
    assert {instance.sign for instance in found} == {"both", "positive"}


def test_minimal_replaces_the_planted_vector_where_it_is_not_minimal():
    case = planted(np.random.default_rng(2), 8, 20, 3, 2.0)
    better = minimal(case)
    assert np.abs(better.x).sum() < np.abs(case.x).sum()
    np.testing.assert_allclose(better.A @ better.x, case.A @ case.x)
    assert 1 - better.constants.rho == pytest.approx(0.1601, abs=5.1e-5)


def test_kernel_is_what_was_asked_for():
    instance = with_kernel([-0.9, 0.4, 1.0], [10.0, 1.0, 0.0])
    np.testing.assert_allclose(instance.A @ [-0.9, 0.4, 1.0], 0, atol=1e-15)
    row = instance.compare_with_bounds(2.0, -90.0)
    assert row["off_support"] * math.exp(45) == pytest.approx(7.943, abs=6e-4)
