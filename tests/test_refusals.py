"""What works coordinate by coordinate says so of problems with groups, complex data or joint columns."""

import inspect

import numpy as np
import pytest

import hadaflow as hf
from hadaflow import plotting, stopping, theory
from hadaflow.convergence import quietly
from hadaflow.models import GroupProduct

RNG = np.random.default_rng(3)
A = RNG.standard_normal((12, 20)) / 12**0.5
COMPLEX = A + 1j * RNG.standard_normal((12, 20)) / 12**0.5
PROBLEMS = {
    "groups": hf.Problem(A, A[:, 0] + A[:, 1], groups=2),
    "complex data": hf.Problem(COMPLEX, COMPLEX[:, 0] + 1j * COMPLEX[:, 3]),
    "joint columns": hf.Problem(A, A[:, :2] @ np.ones((2, 3)), joint=True),
}
MODEL, NETWORK = hf.HadamardPower(2), GroupProduct(2)


def trained(problem):
    stop, record = stopping.MaxSteps(20), hf.Recorder(x=True, average=True)
    return hf.descend(problem, NETWORK, init_scale=0.1, stop=stop, record=record)


def recovered(problem):
    layout = problem.layout
    return hf.recover(
        COMPLEX if layout.complex_x else A,
        layout.y(problem.y),
        groups=None if not layout.plain else 2,
        joint=layout.columns is not None,
    )


#: Everything that takes a problem, or a result with one, and what it makes of coordinates that count together.
REFUSES = {
    "descend": lambda p: hf.descend(p, MODEL, init_scale=0.1),
    "descend_batch": lambda p: hf.descend_batch(p, MODEL, init_scale=0.1),
    "saddles": hf.saddles,
    "select": hf.select,
    "flow, positive": lambda p: hf.flow(p, hf.HadamardPower(2, sign="positive"), init_scale=0.1),
    "flow, tiny start": lambda p: hf.flow(p, hf.HadamardPower(4), init_scale=1e-10),
    "limit, positive": lambda p: hf.limit(p, hf.HadamardPower(2, sign="positive"), init_scale=0.1),
    "certify, positive": lambda p: hf.certify(p, p.layout.x(np.ones(p.shape[1])), p.layout.y(p.y), positive=True),
    "stopping.NullGradient": lambda p: hf.flow(p, MODEL, init_scale=0.1, stop=stopping.NullGradient(0.1)),
    "theory.estimate_window_inputs": theory.estimate_window_inputs,
    "theory.explain, training": lambda p: theory.explain(trained(p)),
    "theory.explain, answer": lambda p: theory.explain(recovered(p)),
}
#: The same for x that is no vector of real numbers; real groups are drawn.
REFUSES_NUMBERS = {
    "descend_batch": lambda p: hf.descend_batch(p, NETWORK, init_scale=0.1),
    "plotting.plot_path": lambda p: plotting.plot_path(trained(p), ax=plotting.blank_figure(1).axes[0]),
    "plotting.plot_support": lambda p: plotting.plot_support(trained(p), ax=plotting.blank_figure(1).axes[0]),
    "plotting.plot_training": lambda p: plotting.plot_training(trained(p), axes=plotting.blank_figure(2).axes),
    "plotting.plot_window": lambda p: plotting.plot_window(
        trained(p), np.ones(p.shape[1]), ax=plotting.blank_figure(1).axes[0]
    ),
}
TAKES = {"certify", "certify_lasso", "flow", "limit", "plotting.plot_recovery", "recover", "start_from_data"}


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("call", REFUSES.values(), ids=REFUSES)
def test_it_names_what_to_do_instead(call, kind):
    instead = r"hadaflow\.|certificate|sign='both'|stopping\.Discrepancy|plot_support|leave one of the two out"
    with pytest.raises(ValueError, match=instead):
        quietly(call, PROBLEMS[kind])


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("call", REFUSES_NUMBERS.values(), ids=REFUSES_NUMBERS)
def test_real_groups_pass_and_other_vectors_do_not(call, kind):
    if kind == "groups":
        quietly(call, PROBLEMS[kind])
        return
    with pytest.raises(ValueError, match=rf"{kind}|complex or joint"):
        quietly(call, PROBLEMS[kind])


def test_no_public_function_is_left_out():
    """A new function that takes a problem, or a result, works in groups or is listed above."""
    listed = {name.split(",")[0] for name in (*REFUSES, *REFUSES_NUMBERS)} | TAKES
    rooms = {"": hf, "theory.": theory, "plotting.": plotting}
    for prefix, room in rooms.items():
        for name in room.__all__:
            thing = getattr(room, name)
            if not inspect.isfunction(thing):
                continue
            taken = {"problem", "result", "recovery", "path"} & set(inspect.signature(thing).parameters)
            assert not taken or prefix + name in listed, name


def test_a_start_from_the_data_is_one_number_per_group():
    problem = PROBLEMS["groups"]
    scale = hf.start_from_data(problem, MODEL)
    correlation = np.linalg.norm((A.T @ problem.y).reshape(-1, 2), axis=1)
    np.testing.assert_allclose(scale**2 / scale[0] ** 2, correlation / correlation[0])
    assert hf.flow(problem, MODEL, init_scale=scale).status is hf.Status.LIMIT


def test_the_support_of_a_figure_is_made_of_whole_groups():
    ax = plotting.plot_path(trained(PROBLEMS["groups"]), ax=plotting.blank_figure(1).axes[0])
    assert ax.get_lines()
