"""Operators around another one: every member agrees with the matrix that is meant, and is metered."""

from functools import cached_property
from math import inf

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.estimators._design import Projected
from hadaflow.estimators._standardised import Standardised
from hadaflow.operators import Around, Cancelled, Composed, Metered, Operator, PassCosts, Repeated, Scaled, as_operator
from hadaflow.operators.block import dense
from hadaflow.operators.former import Former
from hadaflow.theory._rip_search import Reduced

M, N = 5, 8
A = np.random.default_rng(0).integers(-3, 4, (M, N)).astype(float)
X, R, INDEX = np.arange(1.0, N + 1), np.arange(1.0, M + 1), np.array([6, 0, 3])
FACTORS, ROWS, Q = 2.0 ** np.arange(N), 2.0 ** np.arange(M), np.ones((M, 1)) / M**0.5

#: What each member is asked for.
ASKED = {
    "matvec": lambda operator, v: operator.matvec(v),
    "rmatvec": lambda operator, v: operator.rmatvec(R),
    "columns": lambda operator, v: operator.columns(INDEX),
    "residual": lambda operator, v: operator.residual(v, R),
    "matvec_and_gram": lambda operator, v: operator.matvec_and_gram(v),
    "matvec_and_rmatvec": lambda operator, v: operator.matvec_and_rmatvec(v, R),
    "matmat": lambda operator, v: operator.matmat(np.column_stack([v, v**2])),
    "base_columns": lambda operator, v: np.kron(dense(operator.base_columns(INDEX)), np.eye(operator.repeats))[:, [0]],
    "rmatmat": lambda operator, v: operator.rmatmat(np.column_stack([R, R**2])),
    "column_squares": lambda operator, v: operator.column_squares(),
    "row_lengths": lambda operator, v: operator.row_lengths,
    "column_lengths": lambda operator, v: operator.column_lengths,
    "size_bound": lambda operator, v: operator.size_bound,
    "abs_matvec": lambda operator, v: operator.abs_matvec(v),
    "spectral_square": lambda operator, v: operator.spectral_square(),
    "sweep": lambda operator, v: operator.sweep(np.dtype(float))(v, R),
}
DESCRIBE = {"shape", "dtype", "costs", "own_threads", "cancelled", "repeats"}  # cost nothing


def test_every_member_of_an_operator_is_in_the_table():
    members = {name for name in dir(Operator) if name[0] != "_" and not isinstance(vars(Operator)[name], Former)}
    assert members | Operator.__annotations__.keys() == ASKED.keys() | DESCRIBE


# ---- the matrix that is meant --------------------------------------------------------------------------------------


def without(Q, matrix):
    return matrix - Q @ (Q.T @ matrix)


class Stacked(Around):
    """``[A, I]``: all that a new wrapper has to say."""

    def __init__(self, operator):
        super().__init__(operator)
        self.shape = (M, N + M)

    def matvec(self, v):
        return self._operator.matvec(v[:N]) + v[N:]

    def rmatvec(self, r):
        return np.concatenate([self._operator.rmatvec(r), r])

    def columns(self, index):
        return np.hstack([dense(self._operator.columns(np.arange(N))), np.eye(M)])[:, index]


#: Each wrapper, and the matrix that it stands for.
WRAPPERS = {
    "metered": (Metered, A),
    "scaled by one factor": (lambda operator: Scaled(operator, 0.25), A / 4),
    "columns scaled": (lambda operator: Scaled(operator, 0.5, FACTORS), A * FACTORS / 2),
    "rows scaled": (lambda operator: Scaled(operator, 0.5, FACTORS, ROWS), ROWS[:, None] * A * FACTORS / 2),
    "scaled twice": (lambda operator: Scaled(Scaled(operator, 0.5, FACTORS, ROWS), 2.0, None, ROWS),
                     (ROWS**2)[:, None] * A * FACTORS),
    "metered, scaled": (lambda operator: Scaled(Metered(operator), 0.5, FACTORS), A * FACTORS / 2),
    "reduced": (Reduced, None),
    "projected": (lambda operator: Projected(operator, None, Q), without(Q, A)),
    "rows weighted": (lambda operator: Projected(operator, ROWS, Q), without(Q, ROWS[:, None] * A)),
    "standardised": (lambda operator: Standardised(operator, FACTORS[:], Q, True), np.hstack([A * FACTORS, Q, -Q])),
    "stacked": (Stacked, np.hstack([A, np.eye(M)])),
}  # fmt: skip


def below(kind):
    return {kind} | {name for sub in kind.__subclasses__() for name in below(sub)}


def test_every_wrapper_is_in_the_table():
    made = {type(make(as_operator(A))) for make, _ in WRAPPERS.values()}
    assert below(Around) - {Around, Composed, Repeated} == made  # Repeated has other rows: tests/test_groups.py


def parts(answer):
    """The arrays of an answer."""
    return [part.toarray() if sp.issparse(part) else np.asarray(part) for part in
            (answer if isinstance(answer, tuple) else (answer,))]  # fmt: skip


@pytest.mark.parametrize("kind", [np.asarray, np.float32, sp.csr_array], ids=["dense", "float32", "sparse"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_every_member_is_that_of_the_matrix(name, kind):
    make, matrix = WRAPPERS[name]
    wrapped = make(as_operator(kind(A)))
    matrix = A * wrapped.over_unit(1.0) if matrix is None else matrix
    plain, v = as_operator(matrix), np.arange(1.0, matrix.shape[1] + 1)
    for member, ask in ASKED.items():
        for found, exact in zip(parts(ask(wrapped, v)), parts(ask(plain, v)), strict=True):
            assert found.dtype == np.float64
            tiny = 1e-12 * np.abs(exact).max()
            if member == "size_bound":
                assert found >= plain.column_lengths.max() * (1 - 1e-12)
            elif member == "abs_matvec" and isinstance(wrapped, Projected):
                assert (found >= exact - tiny).all()  # what was taken out counts
            elif member != "row_lengths" or not isinstance(wrapped, Projected):
                np.testing.assert_allclose(found, exact, rtol=1e-6, atol=tiny, err_msg=member)


# ---- the meter -----------------------------------------------------------------------------------------------------


class Witness(Operator):
    """A with a count of its own, of what it is really asked for."""

    def __init__(self, costs):
        self.shape, self.dtype, self.costs, self.passes = A.shape, A.dtype, costs, 0.0

    def _taken(self, passes, value):
        self.passes += passes
        return value

    def matvec(self, v):
        return self._taken(1, A @ v)

    def rmatvec(self, r):
        return self._taken(1, A.T @ r)

    def columns(self, index):
        return self._taken(self.costs.of_columns(len(index)), A[:, index].copy())

    def residual(self, x, r):
        return self._taken(self.costs.pair, (r - A @ x, A.T @ (r - A @ x)))

    def matvec_and_rmatvec(self, v, r):
        return self._taken(self.costs.pair, (A @ v, A.T @ r))

    def rmatmat(self, r):
        return self._taken(r.shape[1] if self.costs.matrix_free else 1, A.T @ r)


COSTS = {
    "matrix": PassCosts.of_matrix(N),
    "products": PassCosts(),
    "far": PassCosts(1.0, inf, 1.0, matrix_free=False, local=False),
}


@pytest.mark.parametrize("costs", COSTS.values(), ids=COSTS)
def test_the_meter_sees_every_request(costs):
    for member, ask in ASKED.items():
        witness = Witness(costs)
        meter = Metered(witness)
        found, expected = ask(meter, X), ask(Witness(costs), X)
        np.testing.assert_equal(found, expected)
        assert meter.passes == pytest.approx(witness.passes, abs=1e-12), member
        assert meter.passes > 0
        seen = meter.passes
        assert Metered(witness).passes == 0
        if isinstance(vars(Operator)[member], cached_property):
            ask(Metered(witness), X)  # kept by the inner operator
            assert witness.passes == seen


def test_sizes_known_before_are_not_counted():
    operator = as_operator(A)  # rows are measured where A is checked
    meter = Metered(operator)
    np.testing.assert_array_equal(meter.row_lengths, operator.row_lengths)
    assert meter.size_bound == operator.size_bound
    assert meter.passes == 0
    assert meter.column_lengths.shape == (N,)
    assert meter.passes == 1


# ---- what cancelled ------------------------------------------------------------------------------------------------


def test_rounding_of_projected_columns_is_that_of_the_columns_before():
    inner = Projected(as_operator(A), None, Q)
    whole = np.linalg.norm(A, axis=0)
    np.testing.assert_allclose(inner.cancelled.before(inner.column_lengths), whole)
    np.testing.assert_allclose(inner.cancelled.terms(X), whole @ X)
    np.testing.assert_array_equal(inner.row_lengths, as_operator(A).row_lengths)
    np.testing.assert_allclose(inner.abs_matvec(X), abs(without(Q, A)) @ X + whole @ X)
    scaled = Scaled(Scaled(Metered(inner), 0.5, FACTORS, ROWS), -2.0, None, ROWS)
    np.testing.assert_allclose(scaled.cancelled.terms(X), whole @ (X * FACTORS) * ROWS**2)
    np.testing.assert_allclose(scaled.abs_matvec(X), inner.abs_matvec(X * FACTORS) * ROWS**2)
    np.testing.assert_allclose(Scaled(inner, -2.0).cancelled.before(X), 2 * whole)
    np.testing.assert_array_equal(scaled.cancelled.before(X), X)  # of rows multiplied since, it is not known
    assert Scaled(as_operator(A), 2.0).cancelled == Cancelled()


# ---- members of before ---------------------------------------------------------------------------------------------


FORMER = {
    "matrix_free": ("costs", False),
    "resident": ("costs", True),
    "at_hand": ("costs", True),
    "pair_passes": ("costs", 2.0),
    "column_cost": ("costs", lambda member: member(2) == 0.25),
    "image_and_pull": ("matvec_and_gram", lambda member: len(member(X)) == 2),
    "hidden_terms": ("cancelled", lambda member: member(X) == 0.0),
    "source_lengths": ("cancelled", lambda lengths: lengths is as_operator(A).column_lengths or lengths.shape == (N,)),
    "column_rounding": ("cancelled", lambda member: (member(X) == np.finfo(float).eps * X).all()),
}  # fmt: skip


def test_former_members_warn_where_they_are_read_and_are_errors_where_they_are_set():
    assert {name for name, member in vars(Operator).items() if isinstance(member, Former)} == FORMER.keys()
    for old, (new, expected) in FORMER.items():
        with pytest.warns(FutureWarning, match=f"Operator.{old} is now called Operator.{new}"):
            member = getattr(as_operator(A), old)
        assert expected(member) if callable(expected) else member == expected
        message = f"Own.{old} would be ignored: it is now Operator.{new}.*; set {new} instead"
        with pytest.raises(TypeError, match=message):
            type("Own", (Witness,), {old: True})
        own = type("Own", (Witness,), {})(PassCosts())
        with pytest.raises(TypeError, match=message):
            setattr(own, old, True)


def test_recover_through_a_wrapper_of_ones_own():
    x = np.zeros(N + M)
    x[[2, N + 1]] = 2.0, -3.0
    found, plain = (hf.recover(B, np.hstack([A, np.eye(M)]) @ x) for B in
                    (Stacked(as_operator(A)), np.hstack([A, np.eye(M)])))  # fmt: skip
    assert found.status is plain.status is hf.Status.EXACT
    np.testing.assert_allclose(found.x, plain.x, atol=1e-12)
    free = Scaled(as_operator(aslinearoperator(A)), 0.5, FACTORS)
    np.testing.assert_allclose(free.abs_matvec(X), as_operator(aslinearoperator(A)).abs_matvec(X * FACTORS / 2))
