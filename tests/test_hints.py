"""What an answer says of itself where it looks like fitted noise, and what warns where it is not what was asked for."""

import json
import pickle
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import planted
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.convergence import quietly
from hadaflow.experiments import sweep
from hadaflow.hints import fitted_noise, stretch_of

CALLS = ("noise_level=", "hf.select(hf.Problem(A, y))")


def pulses(m, n, width):
    """Spikes on a grid of n places, seen through a Gaussian pulse at m."""
    t, s = np.linspace(0, 1, m)[:, None], np.linspace(0, 1, n)
    A = np.exp(-0.5 * ((t - s) / width) ** 2)
    x = np.zeros(n)
    x[[n // 5, n // 2, 3 * n // 4]] = [1.0, 2.0, -1.0]
    return A, x


def noisy(y, share, seed=0):
    noise = np.random.default_rng(seed).standard_normal(len(y))
    noise *= share * np.linalg.norm(y) / np.linalg.norm(noise)
    return y + noise, float(np.linalg.norm(noise))


def ill():
    """A problem whose end is out of reach: a square system behind a wide pulse, with 2 % of noise."""
    A, x = pulses(100, 100, 0.03)
    return A, noisy(A @ x, 0.02)[0]


# ---- hints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.03, 0.01])
@pytest.mark.parametrize("m", [100, 150, 60])
def test_noise_behind_a_pulse_gets_a_hint_and_none_once_its_level_is_known(m, width):
    A, x = pulses(m, 100, width)
    y, level = noisy(A @ x, 0.02)
    r = quietly(hf.recover, A, y)
    assert r.hint is not None
    assert all(call in r.hint for call in CALLS)
    known = hf.recover(A, y, noise_level=level)
    assert (known.status.name, known.hint) == ("NOISE_LEVEL", None)


def test_rounded_data_get_a_hint():
    case = planted(50, 200, 5)
    r = hf.recover(case.A, np.round(10 * case.y))
    assert r.status is hf.Status.EXACT
    assert r.hint.startswith("as many non-zeros as measurements (50 of 50): y may be noisy")
    path = hf.saddles(r.problem)
    assert path.hint == r.hint
    for limit in (
        hf.recover(case.A, r.problem.y, depth=3, init_scale=1e-3),
        hf.limit(r.problem, hf.HadamardPower(3), init_scale=1e-3),
    ):
        assert "entries stand out, with 50 measurements: y may be noisy" in limit.hint


@pytest.mark.parametrize("shape", [(40, 120), (40, 40), (60, 40), (400, 1000)])
def test_exact_sparse_data_get_none(shape):
    m, n = shape
    for seed in range(10):
        positive = bool(seed % 2)
        case = planted(m, n, m // 8, seed=seed, positive=positive)
        unit = 10.0 ** (40 * (seed - 5))
        r = hf.recover(case.A, unit * case.y, positive=positive)
        assert (r.status.name, r.hint) == ("EXACT", None), seed
        assert hf.limit(hf.Problem(case.A, case.y), hf.HadamardPower(3), init_scale=1e-3).hint is None, seed
        assert hf.saddles(r.problem, positive=positive).hint is None, seed


def test_exact_spikes_behind_a_pulse_get_none():
    for width in (0.01, 0.03):
        A, x = pulses(100, 100, width)
        r = hf.recover(A, A @ x)
        np.testing.assert_allclose(r.x, x, atol=1e-6)
        assert r.hint is None


def test_entries_that_cancel_get_a_hint():
    """Two columns of y that differ by a ten-thousandth make anything of it."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((30, 60))
    A[:, 1:20] = A[:, [0]] + 1e-6 * rng.standard_normal((30, 19))
    y = rng.standard_normal(30)
    for unit in (1e-200, 1.0, 1e200):
        stretch = stretch_of(hf.Problem(unit * A, y), np.where(np.arange(60) < 20, 1e6, 0.0) / unit)
        assert stretch == pytest.approx(1e6 * np.linalg.norm(A[:, :20], axis=0).sum() / np.linalg.norm(y))
    assert "cancel" in fitted_noise("EXACT", (30, 60), nonzeros=20, stretch=lambda: 1e5)
    assert fitted_noise("EXACT", (30, 60), nonzeros=20, stretch=lambda: 1e2) is None
    assert stretch_of(hf.Problem(aslinearoperator(A), y), np.ones(60)) == 0  # whose columns would cost products


def test_least_squares_get_a_hint_where_something_is_left():
    case = planted(60, 20, 4)
    y, level = noisy(case.y, 0.1)
    r = hf.recover(case.A, y)
    assert r.status is hf.Status.LEAST_SQUARES
    assert r.hint.startswith("no x fits y (a residual of 0.0")
    assert "this one minimises ||A x - y||_2 (among x >= 0" in str(r.status)
    below = hf.recover(case.A, y, noise_level=0.1 * level)
    assert below.status is hf.Status.LEAST_SQUARES
    assert "give a larger one" in below.hint
    assert fitted_noise("LEAST_SQUARES", (60, 200), nonzeros=10, residual=1e-12) is None
    assert fitted_noise("LEAST_SQUARES", (60, 200), nonzeros=60, residual=1e-12) is not None


@pytest.mark.parametrize("status", ["STOPPED", "NOISE_LEVEL", "INTERRUPTED", "DIVERGED"])
def test_no_hint_where_nothing_was_fitted_to_the_end(status):
    assert fitted_noise(status, (50, 100), nonzeros=50, residual=0.1) is None


def test_toy_problems_and_a_linear_model_get_none():
    assert hf.recover([[1.0, 0.5]], [2.0]).hint is None
    case = planted(20, 40, 2)
    assert hf.recover(case.A, case.y, depth=1, init_scale=1.0).hint is None


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not any(value and "#" in value for _, value in attrs)  # no colours of its own

    def handle_data(self, data):
        self.words.append(data)


def test_a_notebook_shows_status_and_hint_with_everything_escaped():
    A, y = ill()
    r = quietly(hf.recover, A, y)
    assert f"hint: {r.hint}" in repr(r)
    cells = Cells()
    cells.feed(r._repr_html_())
    assert r.hint in cells.words
    assert f"{r.status.name}: {r.status}" in cells.words
    assert set(cells.tags) == {"table", "caption", "tbody", "tr", "th", "td"}
    exact = hf.recover(A, A[:, 3])
    assert "hint" not in exact._repr_html_()
    assert "hint" not in repr(exact)
    assert pickle.loads(pickle.dumps(r)).hint == r.hint


# ---- warnings ----------------------------------------------------------------------------------------------------

EASY = planted(20, 40, 3)
PROBLEM, DEEP = hf.Problem(EASY.A, EASY.y), hf.HadamardPower(3)
FEW = hf.stopping.Residual(1e-9) | hf.stopping.MaxSteps(5)

NOT_OK = {
    "recover": (lambda: hf.recover(*ill()), r"recover: NOT_CONVERGED.*residual .* \(asked for: 1e-09\).*relative gap"),
    "limit": (
        lambda: hf.limit(PROBLEM, DEEP, init_scale=0.01, max_steps=2),
        r"limit: NOT_CONVERGED.*residual .* = .*asked for: 1e-12 of both.*in 2 Newton steps.*max_steps=",
    ),
    "saddles": (
        lambda: hf.saddles(PROBLEM, max_events=1),
        r"saddles: NOT_CONVERGED.*residual.*in 1 jumps.*max_events=",
    ),
    "flow": (lambda: hf.flow(PROBLEM, DEEP, init_scale=0.1, max_steps=3), r"flow: NOT_CONVERGED.*3 steps.*residual"),
    "descend": (
        lambda: hf.descend(PROBLEM, DEEP, init_scale=0.1, stop=FEW),
        r"descend: NOT_CONVERGED.*5 steps were taken.*residual .* = .*\(tolerance=1e-09\) \| MaxSteps",
    ),
    "descend, too long a step": (
        lambda: hf.descend(PROBLEM, DEEP, init_scale=0.5, step=100.0),
        r'descend: DIVERGED.*\(1\) take step="auto"',
    ),
    "descend_batch": (
        lambda: hf.descend_batch(PROBLEM, DEEP, init_scale=[0.5, 0.1], step=[100.0, "auto"], stop=FEW),
        r"descend_batch: DIVERGED.*2 of 2 runs are not ok: run 0 DIVERGED.*run 1 NOT_CONVERGED",
    ),
}


@pytest.mark.parametrize("name", NOT_OK)
def test_what_is_not_ok_warns_once_on_the_line_of_the_call(name):
    call, words = NOT_OK[name]
    with pytest.warns(hf.ConvergenceWarning, match=words) as caught:
        call()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert issubclass(hf.ConvergenceWarning, UserWarning)
    assert "What may help: (1) " in str(caught[0].message)


def test_a_flow_to_a_limit_out_of_reach_warns_once():
    with pytest.warns(hf.ConvergenceWarning) as caught:
        hf.flow(hf.Problem(*ill()), hf.HadamardPower(2), init_scale=1e-3, max_steps=5)
    assert [str(warning.message).partition(":")[0] for warning in caught] == ["flow"]


def test_what_is_ok_or_was_interrupted_does_not_warn():
    class Interrupt:
        seen = 0

        def __call__(self, progress):
            raise KeyboardInterrupt

    hf.recover(EASY.A, EASY.y, noise_level=0.1)
    tall = planted(30, 10, 2)
    hf.recover(tall.A, noisy(tall.y, 0.1)[0])  # LEAST_SQUARES
    hf.descend(PROBLEM, DEEP, init_scale=0.1, stop=hf.stopping.MaxSteps(3))
    stopped = hf.flow(PROBLEM, DEEP, init_scale=0.1, progress=Interrupt())
    assert stopped.status in (hf.Status.INTERRUPTED, hf.Status.LIMIT)


def test_those_who_keep_the_status_are_not_warned():
    def measure(rng, *, width):
        return {"ok": hf.recover(*ill()).status.ok}

    assert not sweep(measure, {"width": [1, 2]}, repeats=1, jobs=1).records["ok"].any()
    problem = hf.Problem(*ill())
    hf.select(problem)
    with pytest.warns(hf.ConvergenceWarning):
        hf.recover(*ill())  # and after them all is as it was


def test_a_filter_by_class_is_enough():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hf.ConvergenceWarning)
        assert not hf.saddles(PROBLEM, max_events=1).status.ok


# ---- what was tried ----------------------------------------------------------------------------------------------


def test_stats_count_all_that_was_tried(monkeypatch):
    """The sums over the ways, in order, whichever of them gave the answer."""
    from hadaflow.recovery import _strategies

    taken = []

    def counted(strategy):
        def run(unit, options):
            taken.append(strategy.run(unit, options))
            return taken[-1]

        return replace(strategy, run=run)

    monkeypatch.setattr(_strategies, "_TABLE", [counted(strategy) for strategy in _strategies._TABLE])
    r = quietly(hf.recover, *ill())
    assert len(taken) > 1
    assert [name for name in r.stats.tried if name != "least squares"] == [attempt.method for attempt in taken]
    assert r.stats.newton_steps == sum(attempt.newton_steps for attempt in taken) > 0
    assert r.stats.events >= sum(attempt.events for attempt in taken)
    assert r.stats.method in r.stats.tried
    json.dumps(r.stats.tried)


def test_stats_of_one_way():
    assert hf.recover(EASY.A, EASY.y).stats.tried == ("saddles",)
    assert hf.recover(EASY.A, EASY.y, depth=3, init_scale=0.01).stats.tried == ("limit",)
    assert hf.saddles(PROBLEM).stats.tried == ("saddles",)
    assert hf.descend(PROBLEM, DEEP, init_scale=0.1, stop=hf.stopping.MaxSteps(3)).stats.tried == ("descend",)
    assert hf.flow(PROBLEM, DEEP, init_scale=0.1, t_end=1.0).stats.tried == ("flow",)


@pytest.mark.parametrize("status", hf.Status)
def test_every_status_says_what_it_promises(status):
    _, _, rest = hf.Status.__doc__.partition(f"\n    {status.name}\n")
    words = rest.strip().lower()
    assert words.startswith("ok" if status.ok else "not ok")
