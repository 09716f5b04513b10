import dataclasses
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp

import hadaflow as hf
from hadaflow import files

pytest.importorskip("typer")
pytest.importorskip("rich")

from hadaflow import cli
from hadaflow.cli import _job

M, N, SPARSITY = 30, 80, 4


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((M, N))
    x = np.zeros(N)
    x[rng.choice(N, SPARSITY, replace=False)] = 1 + rng.random(SPARSITY)
    return A, x, A @ x


@pytest.fixture
def folder(tmp_path, monkeypatch, data):
    """A working directory with the data in it, on a wide and colourless terminal."""
    A, _, y = data
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")
    np.save("A.npy", A)
    np.save("y.npy", y)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Run ``hadaflow recover A.npy y.npy <options>``; give back exit code, standard output and standard error."""

    def call(*options, inputs=("A.npy", "y.npy")):
        code = cli.main(["recover", *inputs, *options])
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def no_solve(monkeypatch):
    """The work must not begin."""

    def fail(*args, **kwargs):
        pytest.fail("the solver was called")

    monkeypatch.setattr(hf, "recover", fail)


def unconverged(monkeypatch):
    solve = hf.recover

    def stop_early(*args, **kwargs):
        return dataclasses.replace(solve(*args, **kwargs), status=hf.Status.NOT_CONVERGED)

    monkeypatch.setattr(hf, "recover", stop_early)


def assert_one_error_line(err, message):
    assert err.startswith("hadaflow: error: ")
    assert err.count("\n") == 1, err
    assert message in err


# ---- what it says ------------------------------------------------------------------------------------------


def test_the_table_tells_all(run):
    code, out, err = run()
    assert code == 0
    assert err == ""
    for words in (
        f"size          {M} x {N}, A.npy and y.npy",
        f"status        {hf.Status.EXACT}",
        "l1 norm",
        "lower bound",
        "gap",
        "residual",
        f"non-zeros     {SPARSITY} of {N}",
        "unique        yes, proved  (margin",
        "passes over A",
        "events",
        "--output x.npz would save x",
    ):
        assert words in out
    assert out.isascii()


def test_an_empty_scheduler_is_no_scheduler(run):
    """As of a variable of the shell that is not set."""
    code, _, err = run("--scheduler", "")
    assert code == 2
    assert "'' is no address of a scheduler; give one such as tcp://host:8786, or local" in err


def test_the_table_of_a_limit(run):
    code, out, _ = run("--depth", "3", "--init-scale", "1e-2")
    assert code == 0
    assert f"{SPARSITY} of {N} stand out; none is exactly zero" in out
    assert "Newton steps" in out


def test_json_on_standard_output_is_nothing_but_json(run, data):
    A, _, y = data
    code, out, err = run("--json", "-")
    summary = json.loads(out)
    expected = hf.recover(A, y)
    assert (code, err) == (0, "")
    assert summary["certificate"] == pytest.approx(dataclasses.asdict(expected.certificate))
    assert summary["status"] == {"name": "EXACT", "ok": True, "message": str(hf.Status.EXACT), "hint": None}
    assert summary["versions"]["hadaflow"] == hf.__version__
    assert summary["inputs"] == {"A": "A.npy", "y": "y.npy", "weights": None}
    assert summary["outputs"] == {"output": None, "json": "-", "plot": None}
    assert summary["problem"] == {"rows": M, "columns": N, "dtype": "float64"}
    assert summary["solution"] == {"nonzeros": SPARSITY, "support_size": SPARSITY}
    assert summary["stats"].keys() == {"seconds", "passes", "newton_steps", "events", "method", "tried"}
    assert summary["stats"]["tried"] == ["saddles"]


def test_as_many_non_zeros_as_measurements_give_a_hint(run, data):
    _, _, y = data
    np.save("y.npy", y + np.random.default_rng(0).standard_normal(M))
    hint = f"as many non-zeros as measurements ({M} of {M}): y may be noisy"
    assert f"hint          {hint}" in run()[1]
    told = json.loads(run("--json", "-")[1])["status"]["hint"]
    assert told.startswith(hint)
    assert "--noise-level" in told
    assert "hf.select" in told
    assert "hint" not in run("--noise-level", "1e-9")[1]


def test_no_hint_without_reason(run, data):
    assert "hint" not in run()[1]


def test_the_hint_of_a_square_system_knows_that_it_may_be_wrong(run, data):
    A, _, _ = data
    np.save("A.npy", A[:, :M])
    assert "if y has noise, x fits it; if it has none, x is not sparse" in " ".join(run()[1].split())


def test_json_has_no_infinities(run, monkeypatch):
    solve = hf.recover

    def boundless(*args, **kwargs):
        result = solve(*args, **kwargs)
        certificate = dataclasses.replace(result.certificate, margin=-np.inf, gap=np.float64(np.nan))
        return dataclasses.replace(result, certificate=certificate)

    monkeypatch.setattr(hf, "recover", boundless)
    certificate = json.loads(run("--json", "-")[1])["certificate"]
    assert certificate["margin"] is None
    assert certificate["gap"] is None


def test_quiet_says_nothing(run):
    assert run("--quiet") == (0, "", "")


def test_not_converged_is_exit_code_1(run, monkeypatch):
    unconverged(monkeypatch)
    code, out, err = run("--output", "x.npy")
    assert (code, err) == (1, "")
    assert str(hf.Status.NOT_CONVERGED) in out
    assert files.read_vector("x.npy").shape == (N,)


@pytest.mark.parametrize("option", [["--quiet"], ["--json", "-"]], ids=" ".join)
def test_not_converged_is_never_silent(run, monkeypatch, option):
    unconverged(monkeypatch)
    code, _, err = run(*option)
    assert code == 1
    assert err.startswith(f"hadaflow: warning: {hf.Status.NOT_CONVERGED}; the end was not reached: ")


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hadaflow {hf.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["recover", "--help"]], ids=" ".join)
def test_help(capsys, arguments):
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert "Usage: hadaflow" in out
    assert err == ""


def test_every_option_has_one_line_of_help_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    cli.main(["recover", "--help"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│", "|"))]
    assert len(rows) == 15
    assert all(line[1:].strip().startswith(("-", "*")) for line in rows)


# ---- what it reads -----------------------------------------------------------------------------------------


def test_one_file_may_hold_both(run, data):
    A, _, y = data
    files.write_arrays("data.npz", {"A": A, "y": y})
    assert run(inputs=("data.npz", "data.npz"))[0] == 0


def test_a_sparse_matrix_and_a_csv_file(run, data):
    _, _, y = data
    A = sp.random(M, N, density=0.3, random_state=np.random.default_rng(0))
    sp.save_npz("A.npz", A)
    files.write_vector("y.csv", y)
    code, out, _ = run("--json", "-", inputs=("A.npz", "y.csv"))
    assert code == 0
    assert json.loads(out)["certificate"]["gap"] < 1e-8


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--positive"], {"positive": True}),
        (["--noise-level", "0.1"], {"noise_level": 0.1}),
        (["--depth", "2", "--init-scale", "0.01"], {"depth": 2, "init_scale": 0.01}),
        (["--method", "saddles"], {"method": "saddles"}),
        (["--weights", "w.csv"], {"weights": np.linspace(1, 2, N)}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_reach_the_solver(run, data, options, arguments):
    A, _, y = data
    files.write_vector("w.csv", np.linspace(1, 2, N), name="weights")
    code, _, err = run("--output", "x.npy", "--quiet", *options)
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(np.load("x.npy"), hf.recover(A, y, **arguments).x)


def test_weights_are_named_in_the_report(run):
    files.write_vector("w.csv", np.ones(N))
    assert "weighted l1 norm" in run("--weights", "w.csv")[1]


# ---- what it writes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.csv"])
def test_the_answer_is_saved(run, data, name):
    A, x, y = data
    code, out, _ = run("--output", name)
    assert code == 0
    assert f"saved         {name}" in out
    saved = files.read_vector(name, name="x")
    np.testing.assert_array_equal(saved, hf.recover(A, y).x)
    np.testing.assert_allclose(saved, x, atol=1e-12)


def test_npz_holds_the_proof_as_well(run, data):
    A, _, y = data
    run("-o", "x.npz")
    with np.load("x.npz", allow_pickle=False) as saved:
        assert set(saved.files) == {"x", "dual", "support", "summary"}
        certificate = hf.certify(hf.Problem(A, y), saved["x"], saved["dual"])
        assert json.loads(saved["summary"].item())["certificate"]["gap"] == pytest.approx(certificate.gap, abs=1e-12)
        np.testing.assert_array_equal(saved["support"], np.flatnonzero(saved["x"]))


def test_json_to_a_file(run, folder):
    code, out, _ = run("--json", "summary.json", "--depth", "2", "--init-scale", "0.01")
    assert code == 0
    assert "summary.json" in out
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["options"] == {
        "positive": False,
        "noise_level": 0.0,
        "depth": 2.0,
        "init_scale": 0.01,
        "method": "auto",
    }
    assert summary["solution"]["nonzeros"] == N


@pytest.mark.parametrize(("name", "magic"), [("p.png", b"\x89PNG"), ("p.pdf", b"%PDF"), ("p.SVG", b"<?xml")])
def test_a_picture_is_saved(run, folder, name, magic):
    pytest.importorskip("matplotlib")
    assert run("--plot", name, "--positive")[0] == 0
    assert (folder / name).read_bytes().startswith(magic)


def test_of_an_option_given_twice_the_last_one_counts(run, folder):
    assert run("--output", "a.npy", "--output", "b.npy")[0] == 0
    assert (folder / "b.npy").exists()
    assert not (folder / "a.npy").exists()


def test_force_replaces_files(run, folder):
    (folder / "x.csv").write_text("old")
    assert run("--output", "x.csv", "--force")[0] == 0
    assert files.read_vector("x.csv").shape == (N,)


# ---- what it refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recover"], "Missing argument 'A_FILE'"),
        (["recover", "A.npy"], "Missing argument 'Y_FILE'; see hadaflow recover --help"),
        (["recover", "A.npy", "y.npy", "--nonsense"], "No such option: --nonsense"),
        (["recover", "A.npy", "y.npy", "--depth", "deep"], "--depth"),
        (["recover", "A.npy", "y.npy", "--method", "magic"], "'magic' is not one of 'auto', 'saddles', 'limit'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["recover", "A.npy", "nowhere.npy"], "there is no file 'nowhere.npy'"),
        (["recover", "nowhere.npy", "y.npy"], "there is no file 'nowhere.npy'"),
        (["recover", "A.npy", "A.npy"], "A.npy holds an array of shape (30, 80), but y must be a vector"),
        (["recover", "y.npy", "y.npy"], "y.npy holds an array of shape (30,), but A needs two dimensions"),
        (
            ["recover", "y.npy", "A.npy"],
            "y.npy holds a vector and A.npy a matrix; the order is A then y: hadaflow recover A.npy y.npy",
        ),
        (["recover", "nowhere.npy", "A.npy"], "A.npy holds an array of shape (30, 80), but y must be a vector"),
        (["recover", "text.txt", "y.npy"], "text.txt has the suffix '.txt', which is not known"),
        (["recover", "transposed.npy", "y.npy"], "80 rows and 30 columns, y.npy has 30 numbers: A may be transposed"),
        (["recover", "other.npy", "y.npy"], "2 rows and 3 columns, y.npy has 30 numbers: the two do not belong"),
        (["recover", "A.npy", "y.npy", "--weights", "nowhere.npy"], "there is no file 'nowhere.npy'"),
        (["recover", "A.npy", "y.npy", "--output", "x.txt"], "use .npz, .npy, .csv"),
        (["recover", "A.npy", "y.npy", "--plot", "x.gif"], "use .png, .pdf, .svg"),
        (["recover", "A.npy", "y.npy", "--plot", "nowhere/x.png"], "there is no folder 'nowhere'; create it first"),
        (["recover", "A.npy", "y.npy", "--json", "nowhere/x.json"], "there is no folder 'nowhere'"),
        (
            ["recover", "A.npy", "y.npy", "--output", "text.csv"],
            "text.csv exists already; choose another name or add --f",
        ),
        (["recover", "A.npy", "y.npy", "--output", "A.npy", "--force"], "--output A.npy: this file has another part"),
        (["recover", "A.npy", "y.npy", "--output", "x.npy", "--json", "x.npy"], "--json x.npy: this file has another"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_one_line_before_the_work(folder, data, capsys, no_solve, arguments, message):
    A, _, _ = data
    np.save("transposed.npy", A.T)
    np.save("other.npy", np.ones((2, 3)))
    for name in ("text.txt", "text.csv"):
        (folder / name).write_text("1")
    before = sorted(folder.iterdir())
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert_one_error_line(err, message)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--noise-level", "-1"], "noise_level"),
        (["--depth", "0.5", "--init-scale", "1"], "depth"),
        (["--depth", "3"], "init_scale"),
        (["--init-scale", "0", "--depth", "3"], "init_scale"),
        (["--weights", "y.npy"], "weights"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_values_are_told_in_one_line(run, options, message):
    code, out, err = run(*options)
    assert (code, out) == (2, "")
    assert_one_error_line(err, message)


def test_bad_numbers_are_told_in_one_line(run, data):
    A, _, _ = data
    A[2, 3] = np.nan
    np.save("A.npy", A)
    code, _, err = run()
    assert code == 2
    assert_one_error_line(err, "A contains nan (first at index (2, 3))")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "hadaflow: interrupted"),
        (MemoryError(), 2, "hadaflow: error: out of memory"),
        (ValueError("two\n  lines"), 2, "hadaflow: error: two lines\n"),
    ],
    ids=["interrupt", "memory", "two lines"],
)
def test_what_ends_the_work(run, folder, monkeypatch, error, code, line):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(hf, "recover", fail)
    returned, _, err = run("--output", "x.npz")
    assert returned == code
    assert err.startswith(line)
    assert not (folder / "x.npz").exists()


def test_a_bug_shows_itself(run, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(hf, "recover", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run()


def test_matplotlib_is_missed_before_the_work(run, monkeypatch, no_solve):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run("--plot", "p.png")
    assert code == 2
    assert_one_error_line(err, "pip install 'hadaflow[plot]'")


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_without_its_extra_there_is_one_line_and_exit_code_1(module):
    program = f"import sys; sys.modules[{module!r}] = None; from hadaflow.cli import main"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"hadaflow: error: the command line needs {module}: pip install 'hadaflow[cli]'"


# ---- progress ----------------------------------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch):
    """A solver that reports and takes a while, a bar that does not wait long."""
    solve = hf.recover
    seen = []

    def dawdle(*args, progress=None, **kwargs):
        seen.append(progress)
        if progress is not None:
            for fraction in (None, 0.5):
                progress(hf.Progress("saddles", fraction, "7 jumps"))
                time.sleep(0.15)
        return solve(*args, **kwargs)

    monkeypatch.setattr(hf, "recover", dawdle)
    monkeypatch.setattr(_job, "_PROGRESS_AFTER_SECONDS", 0.05)
    monkeypatch.setenv("TERM", "xterm")
    return seen


def test_progress_on_a_terminal(run, slow, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = run()
    assert code == 0
    assert "saddles: 7 jumps" in err
    assert "saddles: 7 jumps" not in out


def test_no_progress_when_the_work_is_quick(run, slow, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(_job, "_PROGRESS_AFTER_SECONDS", 60.0)
    started = time.monotonic()
    assert run()[2] == ""
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("terminal", [True, False])
def test_no_progress_when_nobody_looks(run, slow, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert run("--quiet")[2] == ""
    assert slow == [None]


def test_the_installed_program(folder):
    program = "import sys; from hadaflow.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "recover", "A.npy", "y.npy", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"]["ok"]
