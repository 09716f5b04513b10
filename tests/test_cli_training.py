import json
import sys
import time

import numpy as np
import pytest

import hadaflow as hf
from hadaflow import files, stopping

pytest.importorskip("typer")
pytest.importorskip("rich")

from hadaflow import cli
from hadaflow.cli import _job

M, N, SPARSITY = 30, 80, 3
both_commands = pytest.mark.parametrize("command", ["descend", "flow"])
START = ["--depth", "2", "--init-scale", "1e-3"]
MODEL = hf.HadamardPower(2)


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((M, N)) / np.sqrt(M)
    x = np.zeros(N)
    x[rng.choice(N, SPARSITY, replace=False)] = [1.0, -2.0, 1.5]
    return hf.Problem(A, A @ x + 0.01 * rng.standard_normal(M))


@pytest.fixture
def run(terminal, capsys, problem):
    """Run ``hadaflow <command> A.npy y.npy <options>``; give back exit code, standard output and standard error."""
    np.save("A.npy", problem.operator.columns(np.arange(N)))
    np.save("y.npy", problem.y)

    def call(command, *options):
        code = cli.main([command, "A.npy", "y.npy", *options])
        return (code, *capsys.readouterr())

    return call


def summary_of(run, *arguments):
    code, out, err = run(*arguments, "--json", "-")
    assert (code, err) == (0, "")
    return json.loads(out)


def interruption(after):
    """A rule that raises what Ctrl-C raises, once flow time is past ``after``."""

    def fail(snapshot):
        if snapshot.time > after:
            raise KeyboardInterrupt
        return False

    return stopping.When(fail)


# ---- what it runs ----------------------------------------------------------------------------------------------


def test_descend_is_descend(run, problem):
    summary = summary_of(run, "descend", *START, "--step", "0.01", "--max-steps", "3000", "--output", "x.npz")
    expected = hf.descend(problem, MODEL, init_scale=1e-3, step=0.01, stop=stopping.MaxSteps(3000))
    with np.load("x.npz", allow_pickle=False) as saved:
        for name in ("x", "average", "dual"):
            np.testing.assert_allclose(saved[name], getattr(expected, name), rtol=1e-9, atol=1e-15)
        np.testing.assert_array_equal(saved["support"], expected.support())
        assert saved["times"][-1] == summary["training"]["time"] == pytest.approx(expected.time)
        assert saved["steps"][-1] == summary["training"]["steps"] == 3000
        assert len(saved["residual"]) == len(saved["l1_norm"]) == len(saved["support_size"]) == len(saved["times"])
        assert json.loads(saved["summary"].item()) == summary
    assert summary["status"]["reason"] == "3000 steps were taken"
    assert summary["certificate"]["gap"] == pytest.approx(expected.certificate.gap)
    assert summary["lasso"]["penalty"] == pytest.approx(expected.penalty)
    assert summary["lasso"]["gap"] == pytest.approx(expected.lasso_certificate.gap)
    assert summary["solution"] == {"nonzeros": N, "support_size": len(expected.support())}


def test_flow_is_flow(run, problem):
    summary = summary_of(run, "flow", *START, "--t-end", "20", "--tolerance", "1e-8", "--output", "x.npz")
    expected = hf.flow(problem, MODEL, init_scale=1e-3, t_end=20, tolerance=1e-8)
    with np.load("x.npz", allow_pickle=False) as saved:
        np.testing.assert_allclose(saved["x"], expected.x, rtol=1e-9)
        np.testing.assert_allclose(saved["average"], expected.average(20.0), rtol=1e-9)
        np.testing.assert_allclose(saved["dual"], expected.dual(20.0), rtol=1e-9)
        assert saved["times"][-1] == 20
    assert summary["training"] == {"init_scale": 1e-3, "steps": expected.stats.events, "time": 20}
    assert summary["lasso"]["penalty"] == pytest.approx(expected.penalty(20.0))


def test_flow_ends_at_its_limit(run, problem):
    summary = summary_of(run, "flow", *START, "--output", "x.npy", "--average", "average.csv")
    np.testing.assert_allclose(np.load("x.npy"), hf.limit(problem, MODEL, init_scale=1e-3).x, atol=1e-12)
    assert summary["status"]["name"] == "LIMIT"
    assert summary["training"]["time"] is None
    assert summary["lasso"]["gap"] < 1e-3
    average = files.read_vector("average.csv")
    assert 0 < np.abs(average - np.load("x.npy")).max() < 0.1


@both_commands
def test_stops_reach_the_library(run, problem, command):
    for options, rule in (
        ("--residual 0.1", stopping.Residual(0.1)),
        ("--noise-level 0.5", stopping.Discrepancy(0.5)),
        ("--sigma 0.3", stopping.NullGradient(0.3)),
        ("--residual 0.1 --noise-level 0.5", stopping.Residual(0.1) | stopping.Discrepancy(0.5)),
    ):
        expected = getattr(hf, command)(problem, MODEL, init_scale=1e-3, stop=rule)
        status = summary_of(run, command, *START, *options.split())["status"]
        assert (status["reason"], status["name"]) == (expected.reason, "STOPPED")


@both_commands
def test_validation_keeps_the_best_snapshot(run, problem, command):
    rng = np.random.default_rng(8)
    A = rng.standard_normal((20, N)) / np.sqrt(M)
    y = A @ hf.limit(problem, MODEL, init_scale=1e-6).x + 0.3 * rng.standard_normal(20)
    files.write_arrays("more.npz", {"A": A, "y": y})
    summary = summary_of(run, command, *START, "--validation", "more.npz", "more.npz")
    expected = getattr(hf, command)(problem, MODEL, init_scale=1e-3, stop=stopping.Validation(A, y))
    assert summary["status"]["reason"] == expected.reason
    assert "validation error" in expected.reason
    assert summary["inputs"]["validation_A"] == summary["inputs"]["validation_y"] == "more.npz"


def test_positive_mean_and_depth_reach_the_library(run, problem):
    options = ["--depth", "3", "--init-scale", "0.05", "--positive", "--loss", "mean", "--step", "0.1"]
    summary_of(run, "descend", *options, "--max-steps", "500", "--output", "x.npy")
    model = hf.HadamardPower(3, sign="positive")
    expected = hf.descend(
        problem, model, init_scale=0.05, step=0.1, loss_scale=2 / problem.shape[0], stop=stopping.MaxSteps(500)
    )
    np.testing.assert_allclose(np.load("x.npy"), expected.x, rtol=1e-9)
    assert (expected.x > 0).all()


def test_a_descent_of_which_nothing_is_asked_ends_at_a_tiny_residual(run):
    summary = summary_of(run, "descend", "--depth", "2")
    assert summary["status"]["reason"].endswith("is within 1e-08")
    assert summary["certificate"]["residual"] <= 1e-8


@both_commands
def test_the_default_start_knows_no_units(run, problem, command):
    A = problem.operator.columns(np.arange(N))
    starts = []
    for c, d in [(1.0, 1.0), (1e4, 1e-3)]:
        np.save("A.npy", c * A)
        np.save("y.npy", d * problem.y)
        starts.append(summary_of(run, command, "--residual", "0.5")["training"]["init_scale"] ** 3)
    assert starts[1] == pytest.approx(starts[0] * 1e-7)
    best = np.abs(A.T @ problem.y).argmax()
    assert starts[0] == pytest.approx(1e-6 * abs(A[:, best] @ problem.y) / (A[:, best] @ A[:, best]))


@both_commands
def test_zero_data_stay_zero(run, command):
    np.save("y.npy", np.zeros(M))
    summary = summary_of(run, command, "--output", "x.npz", "--average", "average.npz")
    with np.load("average.npz") as saved:
        np.testing.assert_array_equal(saved["average"], 0)
    assert summary["lasso"] == dict.fromkeys(["penalty", "objective", "lower_bound", "gap"])


# ---- what it says ----------------------------------------------------------------------------------------------


@both_commands
def test_the_table_says_all(run, command):
    code, out, err = run(command, "--noise-level", "0.5", "--output", "x.npz")
    assert (code, err) == (0, "")
    shown = " ".join(out.split())
    for words in (
        f"size {M} x {N}, A.npy and y.npy",
        f"status {hf.Status.STOPPED}",
        "is within the noise level 0.5",
        "at depth 3",
        "l1 norm",
        "lower bound",
        "residual",
        f"of {N} stand out",
        "of the lasso at penalty",
        "flow time",
        "passes over A",
        "saved x.npz",
    ):
        assert words in shown
    assert out.isascii()
    assert run(command, "--noise-level", "0.5", "--quiet") == (0, "", "")


def test_what_was_not_reached_is_exit_code_1_and_never_silent(run):
    few = hf.Status.NOT_CONVERGED
    for arguments, status, reason in (
        ("descend --residual 1e-6 --max-steps 10", few, "10 steps were taken"),
        ("flow --max-steps 10", few, "10 steps of the integrator were taken"),
        ("descend --step 50", hf.Status.DIVERGED, "the residual grew without bound"),
    ):
        code, out, err = run(*arguments.split(), "--quiet", "--force", "--output", "x.npy")
        assert (code, out) == (1, "")
        assert err.startswith(f"hadaflow: warning: {status}; {reason}")
        assert err.count("\n") == 1
        assert np.isfinite(np.load("x.npy")).all()


@both_commands
def test_every_option_has_one_line_of_help_at_80_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli.main([command, "--help"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│", "|"))]
    assert len(rows) == 20
    assert all(line[1:].strip().startswith(("-", "*")) for line in rows)


@both_commands
def test_progress_on_a_terminal(run, monkeypatch, command):
    train = getattr(hf, command)

    def dawdle(*args, progress, **kwargs):
        for _ in range(3):
            progress(hf.Progress(command, None, "step 7"))
            time.sleep(0.1)
        return train(*args, progress=progress, **kwargs)

    monkeypatch.setattr(hf, command, dawdle)
    monkeypatch.setattr(_job, "_PROGRESS_AFTER_SECONDS", 0.05)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = run(command, "--noise-level", "0.5")
    assert code == 0
    assert f"{command}: step 7" in err
    assert "step 7" not in out


# ---- what it writes --------------------------------------------------------------------------------------------


@both_commands
def test_a_figure_is_saved(run, tmp_path, command):
    pytest.importorskip("matplotlib")
    for k, options in enumerate((["--noise-level", "0.5"], ["--max-steps", "1"])):
        assert run(command, *options, "--plot", f"path{k}.png")[0] in (0, 1)
        assert (tmp_path / f"path{k}.png").read_bytes().startswith(b"\x89PNG")


@both_commands
def test_an_interrupt_saves_what_is_done(run, tmp_path, monkeypatch, command):
    train = getattr(hf, command)

    def interrupted(*args, stop, **kwargs):
        return train(*args, stop=interruption(after=1.0), **kwargs)

    monkeypatch.setattr(hf, command, interrupted)
    code, out, err = run(command, *START, "--output", "x.npz", "--json", "run.json")
    assert code == 130
    assert err == "hadaflow: interrupted\n"
    assert str(hf.Status.INTERRUPTED) in out
    assert json.loads((tmp_path / "run.json").read_text())["status"]["name"] == "INTERRUPTED"
    with np.load("x.npz") as saved:
        assert saved["x"].any()
        assert 0 < saved["times"][-1] < 2


# ---- what it refuses -------------------------------------------------------------------------------------------


MISTAKES = {
    "--validation y.npy A.npy": "the order is A then y: --validation A.npy y.npy",
    "--validation A.npy nowhere.npy": "there is no file 'nowhere.npy'",
    "--validation A.npy": "--validation",
    "--validation A.npy short.npy": "30 rows and 80 columns, short.npy has 2 numbers",
    "--validation other.npy short.npy": "validation data have 3 columns, the problem 80",
    "--average average.txt": "use .npz, .npy, .csv",
    "--average x.npy --output x.npy": "--average x.npy: this file has another part to play",
    "--plot x.gif": "use .png, .pdf, .svg",
    "--depth 1.5": "depth",
    "--init-scale 0": "init_scale",
    "--max-steps -1": "steps",
    "--residual 0": "tolerance",
    "--noise-level -1": "noise_level",
    "--sigma nan": "sigma",
}
MISTAKES_OF_ONE = {
    "descend --step long": "--step must be a number or auto, got 'long'",
    "descend --step -1": "step must be a finite number > 0",
    "descend --loss sum": "'sum' is not one of 'half', 'mean'",
    "flow --t-end 0": "t_end must be a finite number > 0",
    "flow --tolerance 0": "tolerance must be a finite number > 0",
    "flow --step 1": "No such option: --step",
}


def test_mistakes_are_reported_in_one_line(run, tmp_path):
    np.save("short.npy", np.ones(2))
    np.save("other.npy", np.ones((2, 3)))
    before = sorted(tmp_path.iterdir())
    shared = {f"{command} {line}": words for command in ("descend", "flow") for line, words in MISTAKES.items()}
    for line, message in (shared | MISTAKES_OF_ONE).items():
        code, out, err = run(*line.split())
        assert (code, out) == (2, ""), line
        assert err.startswith("hadaflow: error: ")
        assert err.count("\n") == 1
        assert message in err
        assert sorted(tmp_path.iterdir()) == before
