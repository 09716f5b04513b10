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
def folder(terminal, data):
    """A working directory with the data in it."""
    A, _, y = data
    np.save("A.npy", A)
    np.save("y.npy", y)
    return terminal


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


def test_the_table_says_all(run):
    code, out, err = run()
    assert (code, err) == (0, "")
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
    assert "hint" not in out
    code, out, _ = run("--depth", "3", "--init-scale", "1e-2")
    assert code == 0
    assert f"{SPARSITY} of {N} stand out; none is exactly zero" in out
    assert "Newton steps" in out
    assert run("--quiet") == (0, "", "")
    code, _, err = run("--scheduler", "")  # as of a variable of the shell that is not set
    assert code == 2
    assert "'' is no address of a scheduler; give one such as tcp://host:8786, or local" in err


def test_json_on_standard_output_is_nothing_but_json(run, data):
    A, _, y = data
    code, out, err = run("--json", "-")
    summary = json.loads(out)
    expected = hf.recover(A, y)
    assert (code, err) == (0, "")
    assert summary["certificate"] == pytest.approx(dataclasses.asdict(expected.certificate))
    assert summary["status"] == {"name": "EXACT", "ok": True, "message": str(hf.Status.EXACT), "hint": None}
    assert summary["versions"]["hadaflow"] == hf.__version__
    assert summary["inputs"] == {"A": "A.npy", "y": "y.npy", "weights": None, "groups": None}
    assert summary["outputs"] == {"output": None, "json": "-", "plot": None}
    assert summary["problem"] == {"rows": M, "columns": N, "dtype": "float64"}
    assert summary["solution"] == {"nonzeros": SPARSITY, "support_size": SPARSITY}
    assert summary["stats"].keys() == {"seconds", "passes", "newton_steps", "events", "method", "tried"}
    assert summary["stats"]["tried"] == ["saddles"]


def test_as_many_non_zeros_as_measurements_give_a_hint(run, data):
    A, _, y = data
    np.save("y.npy", y + np.random.default_rng(0).standard_normal(M))
    hint = f"as many non-zeros as measurements ({M} of {M}): y may be noisy"
    assert f"hint          {hint}" in run()[1]
    reported = json.loads(run("--json", "-")[1])["status"]["hint"]
    assert reported.startswith(hint)
    assert "--noise-level" in reported
    assert "hf.select" in reported
    assert "hint" not in run("--noise-level", "1e-9")[1]
    np.save("y.npy", y)
    np.save("A.npy", A[:, :M])  # the hint of a square system knows that it may be wrong
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


def test_not_converged_is_exit_code_1_and_never_silent(run, monkeypatch):
    unconverged(monkeypatch)
    code, out, err = run("--output", "x.npy")
    assert (code, err) == (1, "")
    assert str(hf.Status.NOT_CONVERGED) in out
    assert files.read_vector("x.npy").shape == (N,)
    for option in (["--quiet"], ["--json", "-"]):
        code, _, err = run(*option)
        assert code == 1
        assert err.startswith(f"hadaflow: warning: {hf.Status.NOT_CONVERGED}; the end was not reached: ")


def test_version_and_help(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hadaflow {hf.__version__}\n"
    for arguments in ([], ["--help"], ["-h"], ["recover", "--help"]):
        assert cli.main(arguments) == 0
        out, err = capsys.readouterr()
        assert "Usage: hadaflow" in out
        assert err == ""


def test_every_option_has_one_line_of_help_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    cli.main(["recover", "--help"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│", "|"))]
    assert len(rows) == 18
    assert all(line[1:].strip().startswith(("-", "*")) for line in rows)


# ---- what it reads -----------------------------------------------------------------------------------------


def test_other_kinds_of_files(run, data):
    """One for both; a sparse matrix and a CSV file."""
    A, _, y = data
    files.write_arrays("data.npz", {"A": A, "y": y})
    assert run(inputs=("data.npz", "data.npz"))[0] == 0
    sp.save_npz("A.npz", sp.random(M, N, density=0.3, random_state=np.random.default_rng(0)))
    files.write_vector("y.csv", y)
    code, out, _ = run("--json", "-", inputs=("A.npz", "y.csv"))
    assert code == 0
    assert json.loads(out)["certificate"]["gap"] < 1e-8


def test_options_reach_the_solver(run, data):
    A, _, y = data
    weights = np.linspace(1, 2, N)
    files.write_vector("w.csv", weights, name="weights")
    for options, arguments in (
        (["--positive"], {"positive": True}),
        (["--noise-level", "0.1"], {"noise_level": 0.1}),
        (["--depth", "2", "--init-scale", "0.01"], {"depth": 2, "init_scale": 0.01}),
        (["--method", "saddles"], {"method": "saddles"}),
        (["--weights", "w.csv"], {"weights": weights}),
    ):
        assert run("--output", "x.npy", "--quiet", "--force", *options)[::2] == (0, "")
        np.testing.assert_array_equal(np.load("x.npy"), hf.recover(A, y, **arguments).x)
    assert "weighted l1 norm" in run("--weights", "w.csv")[1]


# ---- what it writes ----------------------------------------------------------------------------------------


def test_the_answer_is_saved(run, data):
    A, x, y = data
    expected = hf.recover(A, y)
    for name in ("x.npz", "x.npy", "x.csv"):
        code, out, _ = run("--output", name)
        assert code == 0
        assert f"saved         {name}" in out
        saved = files.read_vector(name, name="x")
        np.testing.assert_array_equal(saved, expected.x)
        np.testing.assert_allclose(saved, x, atol=1e-12)
    with np.load("x.npz", allow_pickle=False) as saved:  # with the proof
        assert set(saved.files) == {"x", "dual", "support", "summary"}
        certificate = hf.certify(hf.Problem(A, y), saved["x"], saved["dual"])
        assert json.loads(saved["summary"].item())["certificate"]["gap"] == pytest.approx(certificate.gap, abs=1e-12)
        np.testing.assert_array_equal(saved["support"], np.flatnonzero(saved["x"]))


def test_json_to_a_file(run, folder):
    code, out, _ = run("--json", "summary.json", "--depth", "2", "--init-scale", "0.01")
    assert code == 0
    assert "summary.json" in out
    summary = json.loads((folder / "summary.json").read_text())
    options = {"positive": False, "joint": False, "real": False, "groups": None}
    options |= {"noise_level": 0.0, "depth": 2.0, "init_scale": 0.01, "method": "auto"}
    assert summary["options"] == options
    assert summary["solution"]["nonzeros"] == N


def test_complex_joint_and_grouped_data(run, data):
    A, x, _ = data
    np.save("A.npy", A + 1j * A[::-1])
    np.save("y.npy", (A + 1j * A[::-1]) @ (1j * x))
    assert run("--output", "x.npy")[0] == 0
    np.testing.assert_allclose(np.load("x.npy"), 1j * x, atol=1e-12)
    np.save("y.npy", (A + 1j * A[::-1]) @ x)
    assert run("--real", "--output", "x.csv")[0] == 0
    np.testing.assert_allclose(files.read_vector("x.csv"), x, atol=1e-12)
    np.save("A.npy", A)
    np.savetxt("Y.csv", A @ np.column_stack([x, -2 * x]), delimiter=",")
    code, out, _ = run("--joint", "--output", "X.npz", inputs=("A.npy", "Y.csv"))
    assert code == 0
    assert f"{M} x {N}, 2 columns" in out
    np.testing.assert_allclose(np.load("X.npz")["x"], np.column_stack([x, -2 * x]), atol=1e-12)
    np.save("y.npy", A @ np.where(np.arange(N) < 4, 1.0, 0.0))
    np.savetxt("labels.csv", np.arange(N) // 4)
    for groups in ("4", "labels.csv"):
        code, out, _ = run("--groups", groups)
        assert code == 0
        assert f"4 of {N}, in 1 of {N // 4} groups" in out
    code, _, error = run("--groups", "7")
    assert code == 2
    assert "groups=7 must divide" in error


def test_a_figure_is_saved(run, folder):
    pytest.importorskip("matplotlib")
    for name, magic in (("p.png", b"\x89PNG"), ("p.pdf", b"%PDF"), ("p.SVG", b"<?xml")):
        assert run("--plot", name, "--positive")[0] == 0
        assert (folder / name).read_bytes().startswith(magic)


def test_the_last_of_two_options_counts_and_force_replaces_files(run, folder):
    assert run("--output", "a.npy", "--output", "b.npy")[0] == 0
    assert (folder / "b.npy").exists()
    assert not (folder / "a.npy").exists()
    (folder / "x.csv").write_text("old")
    assert run("--output", "x.csv", "--force")[0] == 0
    assert files.read_vector("x.csv").shape == (N,)


# ---- what it refuses ---------------------------------------------------------------------------------------


def test_mistakes_are_reported_in_one_line_before_the_work(folder, data, capsys, no_solve):
    np.save("transposed.npy", data[0].T)
    np.save("other.npy", np.ones((2, 3)))
    for name in ("text.txt", "text.csv"):
        (folder / name).write_text("1")
    before = sorted(folder.iterdir())
    for arguments, message in MISTAKES.items():
        assert cli.main(arguments.split()) == 2, arguments
        out, err = capsys.readouterr()
        assert out == ""
        assert_one_error_line(err, message)
        assert sorted(folder.iterdir()) == before


#: The command line, and words of the message.
MISTAKES = {
    "recover": "Missing argument 'A_FILE'",
    "recover A.npy": "Missing argument 'Y_FILE'; see hadaflow recover --help",
    "recover A.npy y.npy --nonsense": "No such option: --nonsense",
    "recover A.npy y.npy --depth deep": "--depth",
    "recover A.npy y.npy --method magic": "'magic' is not one of 'auto', 'saddles', 'limit'",
    "nonsense": "No such command 'nonsense'",
    "recover A.npy nowhere.npy": "there is no file 'nowhere.npy'",
    "recover nowhere.npy y.npy": "there is no file 'nowhere.npy'",
    "recover A.npy A.npy": "A.npy holds an array of shape (30, 80), but y must be a vector",
    "recover y.npy y.npy": "y.npy holds an array of shape (30,), but A needs two dimensions",
    "recover y.npy A.npy": "y.npy holds a vector and A.npy a matrix; the order is A then y: "
    "hadaflow recover A.npy y.npy",
    "recover nowhere.npy A.npy": "A.npy holds an array of shape (30, 80), but y must be a vector",
    "recover text.txt y.npy": "text.txt has the suffix '.txt', which is not known",
    "recover transposed.npy y.npy": "80 rows and 30 columns, y.npy has 30 numbers: A may be transposed",
    "recover other.npy y.npy": "2 rows and 3 columns, y.npy has 30 numbers: the two do not belong",
    "recover A.npy y.npy --weights nowhere.npy": "there is no file 'nowhere.npy'",
    "recover A.npy y.npy --output x.txt": "use .npz, .npy, .csv",
    "recover A.npy y.npy --plot x.gif": "use .png, .pdf, .svg",
    "recover A.npy y.npy --plot nowhere/x.png": "there is no folder 'nowhere'; create it first",
    "recover A.npy y.npy --json nowhere/x.json": "there is no folder 'nowhere'",
    "recover A.npy y.npy --output text.csv": "text.csv exists already; choose another name or add --f",
    "recover A.npy y.npy --output A.npy --force": "--output A.npy: this file has another part",
    "recover A.npy y.npy --output x.npy --json x.npy": "--json x.npy: this file has another",
}


def test_bad_values_are_reported_in_one_line(run, data):
    for options, message in (
        ("--noise-level -1", "noise_level"),
        ("--depth 0.5 --init-scale 1", "depth"),
        ("--depth 3", "init_scale"),
        ("--init-scale 0 --depth 3", "init_scale"),
        ("--weights y.npy", "weights"),
    ):
        code, out, err = run(*options.split())
        assert (code, out) == (2, "")
        assert_one_error_line(err, message)
    data[0][2, 3] = np.nan
    np.save("A.npy", data[0])
    code, _, err = run()
    assert code == 2
    assert_one_error_line(err, "A contains nan (first at index (2, 3))")


def test_what_ends_the_work(run, folder, monkeypatch):
    def ended_by(error):
        def fail(*args, **kwargs):
            raise error

        monkeypatch.setattr(hf, "recover", fail)
        return run("--output", "x.npz")

    for error, code, line in (
        (KeyboardInterrupt(), 130, "hadaflow: interrupted"),
        (MemoryError(), 2, "hadaflow: error: out of memory"),
        (ValueError("two\n  lines"), 2, "hadaflow: error: two lines\n"),
    ):
        returned, _, err = ended_by(error)
        assert returned == code
        assert err.startswith(line)
        assert not (folder / "x.npz").exists()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        ended_by(ZeroDivisionError("a bug"))


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
    # None when the work is quick.
    monkeypatch.setattr(_job, "_PROGRESS_AFTER_SECONDS", 60.0)
    started = time.monotonic()
    assert run()[2] == ""
    assert time.monotonic() - started < 30
    # And none when nobody looks.
    slow.clear()
    for terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        assert run("--quiet")[2] == ""
    assert slow == [None, None]


def test_the_installed_program(folder):
    program = "import sys; from hadaflow.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "recover", "A.npy", "y.npy", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"]["ok"]
