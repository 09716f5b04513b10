"""Phase diagrams: the trials, the curve where half succeed, the theory beside it, the picture and the command."""

import math
import re

import numpy as np
import pytest
from conftest import code_of
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import minimize

import hadaflow as hf
from hadaflow.experiments import ensembles, phase_diagram, trials
from hadaflow.experiments._halfway import halfway
from hadaflow.experiments.panel import Panel
from hadaflow.experiments.trials import recovery
from hadaflow.plotting import plot_phase_diagram
from hadaflow.plotting.phase import panel_axes
from hadaflow.theory import measurements_needed, recovery_probability, transition_sparsity

pytest.importorskip("matplotlib")
pd = pytest.importorskip("pandas")
for module in ("cloudpickle", "filelock", "joblib", "pyarrow"):
    pytest.importorskip(module)


def rng():
    return np.random.default_rng(7)


# ---- one trial ---------------------------------------------------------------------------------------------------


@pytest.fixture
def problems(monkeypatch):
    """The data of every problem that a trial makes."""
    seen, kind = [], hf.Problem

    def spy(A, y):
        seen.append((A.copy(), y.copy()))
        return kind(A, y)

    monkeypatch.setattr(trials.hf, "Problem", spy)
    return seen


@pytest.mark.parametrize("ensemble", ensembles.ENSEMBLES)
def test_all_solvers_see_the_same_draws(problems, ensemble):
    for start in (
        {},
        {"depth": 2},
        {"depth": 3, "product_scale": 1e-4},
        {"solver": "descend", "depth": 2, "init_scale": 0.01},
    ):
        recovery(rng(), n=20, m=10, s=2, ensemble=ensemble, **start)
    for A, y in problems[1:]:
        np.testing.assert_array_equal(A, problems[0][0])
        np.testing.assert_array_equal(y, problems[0][1])


def test_noise_and_sign_leave_the_other_draws_alone(problems):
    recovery(rng(), n=20, m=10, s=3)
    recovery(rng(), n=20, m=10, s=3, noise=0.3)
    recovery(rng(), n=20, m=10, s=3, sign="positive")
    (A, y), (same, noisy), (also, positive) = problems
    np.testing.assert_array_equal(same, A)
    np.testing.assert_array_equal(also, A)
    assert np.linalg.norm(noisy - y) == pytest.approx(0.3 * np.linalg.norm(y))
    assert np.linalg.norm(positive - y) > 0.1


def test_sizes_are_rounded_and_told():
    told = recovery(rng(), n=30, m_over_n=0.34, s_over_m=0.01)
    assert (told["measurements"], told["nonzeros"]) == (10, 1)
    assert set(told) == {"measurements", "nonzeros", "success", "error", "converged", "gap"}
    assert all(type(value) in {bool, float, int} for value in told.values())


def test_easy_vectors_are_recovered_and_hopeless_ones_are_not():
    for solver in ["recover", "limit", "descend"]:
        for sign in ["both", "positive"]:
            start = {} if solver == "recover" else {"depth": 3.0}
            easy = recovery(rng(), n=40, m=30, s=2, sign=sign, solver=solver, values="signs", **start)
            hopeless = recovery(rng(), n=40, m=6, s=6, sign=sign, solver=solver, values="signs", **start)
            assert easy["success"]
            assert easy["converged"]
            assert not hopeless["success"]
            assert hopeless["error"] > 0.1
            assert math.isnan(easy["gap"]) == (solver != "recover")


def test_the_tolerance_decides():
    options = {"n": 40, "m": 30, "s": 2, "depth": 2.0, "product_scale": 1e-3}
    error = recovery(rng(), **options)["error"]
    assert 1e-12 < error < 0.1
    assert recovery(rng(), **options, tolerance=2 * error)["success"]
    assert not recovery(rng(), **options, tolerance=error / 2)["success"]


def test_default_tolerances():
    """Exact answers have to be exact; others to be near."""
    assert (trials.EXACTLY, trials.NEARLY) == (1e-4, 1e-2)
    noisy = {"n": 40, "m": 30, "s": 1, "noise": 3e-3, "values": "signs"}
    told = recovery(rng(), **noisy)
    assert 1e-4 < told["error"] < 1e-2
    assert told["success"]
    assert not recovery(rng(), **noisy, tolerance=1e-4)["success"]


def test_interrupted_training_is_no_measurement(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hf.stopping.Residual, "holds", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recovery(rng(), n=20, m=10, s=2, solver="descend", depth=2)


def test_impossible_trials_are_told():
    for options, message in [
        ({"m": 5, "m_over_n": 0.5, "s": 1}, "give one of m and m_over_n, got both"),
        ({"s": 1}, "give one of m and m_over_n, got neither"),
        ({"m": 5}, "give one of s and s_over_m, got neither"),
        ({"m": 5, "s": 11}, "s must be at most n = 10, got 11"),
        ({"m": 0, "s": 1}, "m must be a finite number >= 1"),
        ({"m_over_n": 1.5, "s": 1}, r"m_over_n must lie in \(0, 1\], got 1.5"),
        ({"m_over_n": 0.5, "s_over_m": 0}, "s_over_m must be a finite number > 0"),
        ({"m": 5, "s": 1, "ensemble": "normal"}, "ensemble must be one of 'gaussian'"),
        ({"m": 11, "s": 1, "ensemble": "cosine"}, "m must be at most n = 10 for ensemble='cosine', got 11"),
        ({"m": 5, "s": 1, "values": "ones"}, "values must be one of"),
        ({"m": 5, "s": 1, "sign": "negative"}, "sign must be one of"),
        ({"m": 5, "s": 1, "noise": -1}, "noise must be a finite number >= 0"),
        ({"m": 5, "s": 1, "tolerance": 0}, "tolerance must be a finite number > 0"),
        ({"m": 5, "s": 1, "solver": "lasso"}, "solver must be one of"),
        ({"m": 5, "s": 1, "solver": "recover", "depth": 2}, "do not go with solver='recover'"),
        ({"m": 5, "s": 1, "product_scale": 1e-3}, "do not go with solver='recover'"),
        ({"m": 5, "s": 1, "solver": "limit"}, "solver='limit' needs a depth"),
        ({"m": 5, "s": 1, "depth": 1.5}, "depth"),
        ({"m": 5, "s": 1, "depth": 2, "init_scale": 1, "product_scale": 1}, "exclude each other"),
    ]:
        with pytest.raises(ValueError, match=message):
            recovery(rng(), n=10, **options)


# ---- matrices ----------------------------------------------------------------------------------------------------


def test_columns_have_about_unit_length():
    for name in ensembles.ENSEMBLES:
        A = ensembles.ENSEMBLES[name](rng(), 60, 90)
        squares = (A**2).sum(axis=0)
        assert A.shape == (60, 90)
        assert squares.mean() == pytest.approx(1, rel=0.05)
        assert 0.3 < squares.min() <= squares.max() < 2.5


def test_what_the_matrices_are():
    m, n = 60, 90
    np.testing.assert_allclose(np.abs(ensembles.signs(rng(), m, n)), 1 / math.sqrt(m))
    cosine = ensembles.cosine(rng(), m, n)
    np.testing.assert_allclose(cosine @ cosine.T, n / m * np.eye(m), atol=1e-12)
    assert (np.count_nonzero(ensembles.sparse(rng(), m, n), axis=0) == 8).all()
    assert (np.count_nonzero(ensembles.sparse(rng(), 3, n), axis=0) == 3).all()
    A = ensembles.correlated(rng(), 20_000, 4)
    np.testing.assert_allclose(A.T @ A, 0.5 ** np.abs(np.subtract.outer(range(4), range(4))), atol=0.03)


# ---- the curve where half succeed --------------------------------------------------------------------------------


def logistic_trials(seed, at=0.4, slope=30.0, each=20):
    x = np.repeat(np.linspace(0.025, 0.975, 20), each)
    p = 1 / (1 + np.exp(slope * (x - at)))
    return x, np.random.default_rng(seed).random(len(x)) < p


def test_fit_maximises_the_penalised_likelihood():
    for seed in range(5):
        x, success = logistic_trials(seed)

        def penalised(coefficients, x=x, success=success):
            log_odds = coefficients[0] + coefficients[1] * x
            p = 1 / (1 + np.exp(-log_odds))
            design = np.column_stack([np.ones_like(x), x])
            information = design.T @ ((p * (1 - p))[:, None] * design)
            likelihood = np.where(success, np.log1p(-p), np.log(p)).sum()
            return -(likelihood + 0.5 * np.linalg.slogdet(information)[1])

        a, b = minimize(penalised, (-8.0, 20.0), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
        assert halfway(x, success).at == pytest.approx(-a / b, abs=1e-6)


def test_standard_error_is_that_of_repetition():
    found = [halfway(*logistic_trials(seed)) for seed in range(300)]
    spread = np.std([crossing.at for crossing in found])
    assert np.mean([crossing.error for crossing in found]) == pytest.approx(spread, rel=0.15)
    assert np.mean([crossing.at for crossing in found]) == pytest.approx(0.4, abs=4 * spread / math.sqrt(300))


def test_separable_trials_are_crossed_in_the_middle_of_the_gap():
    x = np.repeat([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 20)
    crossing = halfway(x, x < 0.35)
    assert crossing.at == pytest.approx(0.35, abs=1e-6)
    assert 0 < crossing.error < 0.03
    almost = halfway(x, np.where(np.arange(len(x)) == 59, False, x < 0.35)).at
    assert 0.3 < almost < 0.35


def test_where_the_data_do_not_tell_the_crossing_is_unknown():
    for x, success in [
        ([0.1, 0.2, 0.3], [True, True, True]),
        ([0.1, 0.2, 0.3], [False, False, False]),
        ([0.1, 0.1, 0.1], [True, False, True]),
        ([0.1, 0.2, 0.3, 0.4], [False, False, True, True]),
        (np.repeat([0.1, 0.2, 0.3], 10), np.arange(30) < 29),
    ]:
        assert np.isnan(halfway(np.array(x), np.array(success))).all()


@given(
    success=st.lists(st.booleans(), min_size=8, max_size=40),
    shift=st.floats(-3, 3),
    stretch=st.floats(0.01, 100),
)
@example(success=[False, True, True, True, False, True, False, False, True, False], shift=0.0, stretch=3.0)  # flat
def test_the_crossing_moves_with_the_data(success, shift, stretch):
    x, told = np.arange(len(success)) % 7 * 0.1, np.array(success)
    there, moved = halfway(x, told), halfway(shift + stretch * x, told)
    if math.isnan(there.at) or math.isnan(moved.at):  # at the very edge, rounding decides
        assert math.isnan(there.at) == math.isnan(moved.at) or abs(there.at - 0.3) > 0.299
    else:
        assert moved.at == pytest.approx(shift + stretch * there.at, abs=1e-5 * stretch + 1e-9)


# ---- a panel -----------------------------------------------------------------------------------------------------


def made_up(n=200, shift=0.0, *, tolerance=None):
    """A panel whose vectors are recovered below the theory's transition, moved by ``shift``, and not above it."""
    grid = (np.arange(20) + 0.5) / 20
    rows = []
    for share in grid:
        m = round(share * n)
        for ratio in grid:
            s = max(1, round(ratio * m))
            good = s / m < transition_sparsity(m, n) / m + shift
            rows += [
                {
                    "m_over_n": share,
                    "s_over_m": ratio,
                    "measurements": m,
                    "nonzeros": s,
                    "success": good,
                    "error": 1e-3 * (not good),
                }
            ] * 4
    choice = {"ensemble": "gaussian", "solver": "recover", "depth": None}
    return Panel(choice, pd.DataFrame(rows), n, "both", tolerance)


def test_the_theory_is_the_transition_at_this_very_n():
    half = made_up().half().set_index("measurements")
    assert half["transition"][105] == pytest.approx(transition_sparsity(105, 200) / 105)
    assert math.isnan(half["transition"][5])  # fewer than one non-zero needs
    assert measurements_needed(200, 1).transition > 5
    curve = made_up().transition
    np.testing.assert_allclose(np.interp(0.525, *curve.to_numpy().T), half["transition"][105])
    assert curve["m_over_n"].max() < 1


def test_crossings_of_drawn_successes_are_not_biased():
    """Of trials that succeed with the theory's probability, where s is so small that their curve is skewed."""
    m, n = 15, 200
    counts = np.repeat(np.arange(1, m + 1), 4000)
    chances = np.array([recovery_probability(m, n, int(s)) for s in range(1, m + 1)])[counts - 1]
    success = rng().random(len(counts)) < chances
    rows = {"m_over_n": m / n, "s_over_m": counts / m, "measurements": m, "nonzeros": counts, "success": success}
    choice = {"ensemble": "gaussian", "solver": "recover", "depth": None}
    (crossing,) = Panel(choice, pd.DataFrame(rows), n, "both", None).half().to_dict("records")
    assert crossing["transition"] == pytest.approx(transition_sparsity(m, n) / m)
    assert abs(crossing["deviation"]) < 0.004
    assert crossing["error"] < 0.001


def test_the_deviation_is_that_of_the_curves():
    for shift in [0.0, 0.1]:
        deviation = made_up(shift=shift).deviation()
        assert deviation.mean == pytest.approx(shift, abs=0.02)
        assert deviation.largest <= shift + 0.026  # half a cell
        assert deviation.columns >= 18


def test_a_tolerance_is_applied_afterwards():
    assert made_up().success().to_numpy().min() == 0
    assert made_up(tolerance=1e-2).success().to_numpy().min() == 1
    lost = made_up(tolerance=1e-2)
    assert lost.half()["s_over_m"].isna().all()
    assert math.isnan(lost.deviation().largest)
    assert lost.deviation().columns == 0


# ---- a diagram ---------------------------------------------------------------------------------------------------

SMALL = {"n": 30, "m_over_n": 4, "s_over_m": [0.1, 0.3, 0.6], "repeats": 3, "jobs": 1}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Panels for a vanishing start and two depths, with their folder."""
    folder = tmp_path_factory.mktemp("phase")
    return phase_diagram(**SMALL, depth=[None, 2, 3], folder=folder), folder


def test_panels_share_their_draws(small):
    """So that depths are compared on the same matrices and vectors."""
    diagram, _ = small
    exact, deep = diagram.panel(depth=None), diagram.panel(depth=3)
    assert len(diagram.panels) == 3
    keys = ["measurements", "nonzeros", "repeat"]
    pd.testing.assert_frame_equal(exact.records[keys], deep.records[keys])
    sure = exact.records["success"] & deep.records["success"]
    assert sure.any()
    for row in exact.records[sure].head(3).to_dict("records"):
        again = phase_diagram(**SMALL | {"m_over_n": [row["m_over_n"]], "s_over_m": [row["s_over_m"]]}, depth=3)
        alone = again.records.loc[row["repeat"]]
        there = deep.records.query("m_over_n == @row['m_over_n'] and s_over_m == @row['s_over_m']")
        assert alone["error"] == there["error"].iloc[row["repeat"]]


def test_the_draws_do_not_depend_on_the_start(problems):
    options = SMALL | {"m_over_n": [0.5], "s_over_m": [0.2], "repeats": 2}
    phase_diagram(**options)
    phase_diagram(**options, depth=[2, 3], product_scale=[1e-3, 1e-6])
    assert len(problems) == 2 + 8
    ys = {y.tobytes() for _, y in problems}
    assert len(ys) == 2


def test_shares_are_means_of_successes(small):
    panel = small[0].panel(depth=2)
    table = panel.success()
    assert table.index.tolist() == SMALL["s_over_m"]
    assert table.columns.tolist() == [0.125, 0.375, 0.625, 0.875]
    cell = panel.records.query("m_over_n == 0.875 and s_over_m == 0.1")
    assert table.loc[0.1, 0.875] == cell["success"].mean()
    assert table.loc[0.1, 0.875] > table.loc[0.6, 0.125]


def test_curves_are_at_the_actual_sizes(small):
    half = small[0].half(depth=None)
    assert half["measurements"].tolist() == [4, 11, 19, 26]
    np.testing.assert_allclose(half["m_over_n"], half["measurements"] / 30)
    known = half["s_over_m"].dropna()
    assert len(known) >= 2
    assert known.between(0.1, 0.6).all()


def test_a_vanishing_start_recovers_most(small):
    shares = [panel.records["success"].mean() for panel in small[0].panels]
    assert shares[0] >= shares[2] > shares[1]


def test_a_panel_has_to_be_the_only_one_meant(small):
    diagram, _ = small
    with pytest.raises(ValueError, match=r"must mean one of 3, got 3; there are \{'ensemble': 'gaussian'"):
        diagram.success()
    with pytest.raises(ValueError, match="got 0"):
        diagram.deviation(depth=4)


def test_what_is_in_the_folder_is_not_run_again(small, monkeypatch):
    diagram, folder = small
    assert all(path.is_file() and path.suffix == ".parquet" for path in diagram.paths)
    calls = []
    monkeypatch.setattr(trials.hf, "limit", lambda *_, **__: calls.append("limit"))
    monkeypatch.setattr(trials.hf, "recover", lambda *_, **__: calls.append("recover"))
    again = phase_diagram(**SMALL, depth=[None, 2, 3], folder=folder, tolerance=1e-6)
    assert calls == []
    pd.testing.assert_frame_equal(again.records, diagram.records)
    assert again.panel(depth=2).success().to_numpy().sum() < diagram.panel(depth=2).success().to_numpy().sum()


def test_a_larger_diagram_runs_what_is_new_alone(tmp_path, problems):
    options = SMALL | {"m_over_n": [0.5], "folder": tmp_path}
    first = phase_diagram(**options, depth=2)
    assert len(problems) == 9
    more = phase_diagram(**options | {"repeats": 4}, depth=[2, 3])
    assert len(problems) == 9 + 3 + 12
    pd.testing.assert_frame_equal(
        more.panel(depth=2).records.query("repeat < 3").reset_index(drop=True), first.records, check_exact=True
    )


def test_fresh_forgets_once(tmp_path):
    options = SMALL | {"m_over_n": [0.5], "repeats": 1, "depth": [None, 3], "folder": tmp_path}
    first = phase_diagram(**options)
    again = phase_diagram(**options, fresh=True)
    assert all(path.is_file() for path in again.paths)
    pd.testing.assert_frame_equal(first.records, again.records)


def test_records_are_the_same_with_any_workers(small):
    two = phase_diagram(**SMALL | {"jobs": 2}, depth=[None, 2, 3])
    pd.testing.assert_frame_equal(two.records, small[0].records, check_exact=True)


@pytest.mark.slow
def test_records_are_the_same_on_dask(small):
    distributed = pytest.importorskip("distributed")
    import joblib

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        there = phase_diagram(**SMALL | {"jobs": None}, depth=[None, 2, 3])
    pd.testing.assert_frame_equal(there.records, small[0].records, check_exact=True)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_measured_transition_is_the_theoretical_one(sign):
    diagram = phase_diagram(n=100, m_over_n=[0.3, 0.7], s_over_m=20, repeats=6, sign=sign, jobs=1)
    deviation = diagram.deviation()
    assert deviation.columns == 2
    assert deviation.largest <= 0.05  # three standard errors


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["both", "positive"])
def test_measured_transition_at_full_size(sign):
    diagram = phase_diagram(sign=sign)
    assert diagram.deviation().largest <= 0.03
    assert diagram.deviation().columns >= 18


def test_mistakes_are_told_before_any_work(monkeypatch):
    for options, message in [
        ({"n": 1}, "n must be a finite number >= 2"),
        ({"m_over_n": [0.5, 1.5]}, r"m_over_n must hold numbers in \(0, 1\], got 1.5"),
        ({"s_over_m": []}, r"s_over_m must hold numbers in \(0, 1\], got none"),
        ({"s_over_m": 0}, "s_over_m must be a finite number >= 1"),
        ({"s_over_m": 1.5}, "s_over_m must be a whole number, got 1.5"),
        ({"m_over_n": [0.5, 0.5]}, "0.5 twice"),
        ({"repeats": 0}, "repeats must be a finite number >= 1"),
        ({"ensemble": ["gaussian", "normal"]}, "ensemble must be one of"),
        ({"sign": "negative"}, "sign must be one of"),
        ({"values": "ones"}, "values must be one of"),
        ({"noise": -1}, "noise must be"),
        ({"tolerance": 0}, "tolerance must be a finite number > 0"),
        ({"depth": []}, "depth must be None, a number or some of these"),
        ({"depth": 1.5}, "depth must be"),
        ({"depth": [None, 2], "solver": "recover"}, "do not go with solver='recover'"),
        ({"solver": "limit"}, "solver='limit' needs a depth"),
        ({"product_scale": 1e-3}, "a scale needs a depth beside it"),
        ({"depth": 2, "product_scale": 1, "init_scale": 1}, "exclude each other"),
        ({"depth": 2, "product_scale": 0}, "product_scale must be a finite number > 0"),
    ]:
        monkeypatch.setattr(trials.hf, "Problem", None)
        with pytest.raises(ValueError, match=message):
            phase_diagram(**SMALL | options)


def test_trials_that_fail_are_told(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr(trials.hf, "limit", fail)
    with pytest.raises(RuntimeError, match=r"no trial with .* could be made: RuntimeError: no luck"):
        phase_diagram(**SMALL, depth=2)


# ---- the picture -------------------------------------------------------------------------------------------------


def test_the_picture_shows_shares_and_both_curves(small):
    panel = small[0].panel(depth=None)
    (ax,) = panel_axes(1, pyplot=False)
    figure = plot_phase_diagram(panel, ax=ax)
    figure.canvas.draw()
    (mesh,) = ax.collections[:1]
    np.testing.assert_array_equal(mesh.get_array(), panel.success())
    theory, marks = ax.lines[:2]
    np.testing.assert_array_equal(np.column_stack(theory.get_data()), panel.transition)
    np.testing.assert_array_equal(
        np.column_stack(marks.get_data()), panel.half().dropna(subset="s_over_m")[["m_over_n", "s_over_m"]]
    )
    assert ax.get_title(loc="left") == "Gaussian matrices\nvanishing start"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "half of the trials succeed",
        "theory, vanishing start",
    ]
    assert figure.axes[1].get_ylabel() == "share recovered"


def test_cells_lie_around_the_values_asked_for(small):
    (ax,) = panel_axes(1, pyplot=False)
    plot_phase_diagram(small[0].panels[0], ax=ax)
    across, up = ax.collections[0].get_coordinates()[0, :, 0], ax.collections[0].get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(across, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(up, [0, 0.2, 0.45, 0.75])
    assert ax.get_ylim() == pytest.approx((0, 0.75))


def test_one_axes_per_panel(small):
    diagram, _ = small
    axes = panel_axes(3, pyplot=False)
    figure = diagram.plot(ax=axes)
    assert [ax.get_title(loc="left").split("\n")[1] for ax in axes] == [
        "vanishing start",
        "depth 2, product scale 1e-6",
        "depth 3, product scale 1e-6",
    ]
    assert [ax.get_ylabel() != "" for ax in axes] == [True, False, False]
    assert figure is axes[0].figure
    with pytest.raises(ValueError, match="ax must be 3 matplotlib Axes, one per panel, got 1; choose a panel with"):
        diagram.plot(ax=axes[0])
    with pytest.raises(TypeError, match="ax must be one matplotlib Axes, got str"):
        diagram.plot(ax=["a", "b", "c"])
    with pytest.raises(TypeError, match=r"phase_diagram\(\) returned, got DataFrame"):
        plot_phase_diagram(diagram.records)


def test_panels_are_named_where_nothing_is_below_or_beside(small):
    diagram, _ = small
    axes = panel_axes(5, pyplot=False)
    for ax in axes:
        plot_phase_diagram(diagram.panels[0], ax=ax)
    assert [ax.get_xlabel() != "" for ax in axes] == [False, False, True, True, True]
    assert [ax.get_ylabel() != "" for ax in axes] == [True, False, False, True, False]


def test_a_new_figure_is_pyplots(small, plt):
    assert plt.fignum_exists(small[0].plot().number)


def test_one_column_can_be_drawn():
    diagram = phase_diagram(**SMALL | {"m_over_n": [0.5]}, solver="descend", depth=2, init_scale=1e-2)
    (ax,) = panel_axes(1, pyplot=False)
    diagram.plot(ax=ax).canvas.draw()
    assert ax.get_title(loc="left") == "Gaussian matrices\ndescent, depth 2, init scale 0.01"
    assert ax.get_xlim() == pytest.approx((0.25, 0.75))


# ---- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(terminal, capsys):
    """Run ``hadaflow phase-diagram`` in a folder of its own; exit code, standard output and standard error."""
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    from hadaflow import cli

    def call(*options):
        sizes = ("--n", "30", "--grid", "4", "--repeats", "2", "--jobs", "1")
        code = cli.main(["phase-diagram", *sizes, *options])
        return (code, *capsys.readouterr())

    return call


def test_the_command_writes_figure_and_records(command, tmp_path):
    code, out, err = command("--depth", "vanishing", "--depth", "2", "--scale", "1e-4", "--seed", "3", "-o", "out")
    assert (code, err) == (0, "")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert {"phase_diagram.png", "phase_diagram.svg"} <= set(files)
    tables = [pd.read_parquet(path) for path in (tmp_path / "out").glob("*.parquet")]
    expected = phase_diagram(
        n=30, m_over_n=4, s_over_m=4, repeats=2, depth=[None, 2], product_scale=1e-4, seed=3, jobs=1
    )
    assert sum(map(len, tables)) == len(expected.records) == 64
    crossing = expected.half(depth=None).iloc[2]
    assert f"{crossing['s_over_m']:.3f} +- {crossing['error']:.3f}" in out
    assert f"{crossing['transition']:.3f}" in out
    assert f"at most {expected.deviation(depth=2).largest:.3f}" in out
    assert "Gaussian matrices, depth 2, product scale 0.0001" in out
    for name in files:
        assert name.startswith(".") or name.endswith("jsonl") or name in out


def test_the_command_goes_on(command, monkeypatch):
    assert command("--quiet", "--positive", "--ensemble", "signs")[0] == 0
    monkeypatch.setattr(trials.hf, "recover", None)
    assert command("--quiet", "--positive", "--ensemble", "signs") == (0, "", "")
    code, out, _ = command("--positive", "--ensemble", "signs")
    assert code == 0
    assert "Random signs, non-negative x, vanishing start" in out


def test_mistakes_are_one_line(command, tmp_path):
    for options, message in [
        (["--depth", "two"], "--depth must be vanishing, 1 or a number of at least 2, got 'two'"),
        (["--ensemble", "normal"], "ensemble must be one of 'gaussian'"),
        (["--scale", "1e-3"], "a scale needs a depth beside it"),
        (["--grid", "0"], "--grid must be a finite number >= 1"),
        (["--repeats", "0"], "repeats must be a finite number >= 1"),
        (["--output", "file"], "file"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--jobs and --scheduler exclude each other"),
    ]:
        (tmp_path / "file").write_text("in the way")
        code, out, err = command(*options)
        assert (code, out) == (2, "")
        assert err.startswith("hadaflow: error: ")
        assert err.count("\n") == 1
        assert message in err


def test_failed_trials_are_counted(command, monkeypatch):
    recover, calls = hf.recover, []

    def at_times(*arguments, **options):
        calls.append(1)
        if len(calls) % 8 == 0:
            raise RuntimeError("no luck")
        return recover(*arguments, **options)

    monkeypatch.setattr(trials.hf, "recover", at_times)
    code, _, err = command()
    assert code == 1
    assert "4 of 32 trials failed, the first by RuntimeError: no luck" in err
    monkeypatch.undo()


# ---- the page ----------------------------------------------------------------------------------------------------


def test_the_page_works(plt):
    (code,) = code_of("docs/phase_diagrams.md")
    names = {}
    exec(code, names)
    told = float(re.search(r"largest +# (\S+) on", code)[1])
    assert names["exact"].deviation().largest == pytest.approx(told, abs=0.005)
    assert names["figure"].axes
