"""``hadaflow sweep``: a TOML file in, records out, and one line for every mistake."""

import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from hadaflow.cli import main
from hadaflow.experiments import sweep
from hadaflow.experiments.sweep_config import read_config

MEASURE = """
def measure(rng, *, m, depth, n=7):
    if m == 13:
        raise ArithmeticError("bad luck")
    return {"x": m * rng.standard_normal(), "n": n}
"""
CONFIG = """
experiment = "measure.py:measure"
repeats = 3
seed = 5
paired = ["depth"]

[grid]
m = [50, 100]
depth = { from = 2, to = 5, count = 4 }

[fixed]
n = 200
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config in a folder of its own, so that paths in it have to be relative to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "measure.py").write_text(MEASURE)
    file = tmp_path / "below" / "config.toml"
    file.write_text(CONFIG)
    return file


def test_a_config_is_run(config, tmp_path, capsys):
    call = ["sweep", "below/config.toml", "--jobs", "1"]
    assert main(call) == 0
    shown = capsys.readouterr()
    assert re.search(r"cells +8\b", shown.out)
    assert re.search(r"repetitions +24, 24 of them run now", shown.out)
    assert re.search(r"The records: sweep-config/measure-[0-9a-f]{12}\.parquet", " ".join(shown.out.split()))
    assert shown.err == ""
    (path,) = (tmp_path / "sweep-config").glob("*.parquet")
    records = pd.read_parquet(path)
    grid = {"m": [50, 100], "depth": [2, 3, 4, 5]}
    same = sweep(
        f"{tmp_path}/below/measure.py:measure",
        grid,
        repeats=3,
        fixed={"n": 200},
        seed=5,
        paired=["depth"],
        jobs=1,
    )
    pd.testing.assert_frame_equal(records, same.records)
    # The same command finds it all done; a longer one does the rest; --fresh everything.
    assert main(call) == 0
    assert "24, 0 of them run now" in capsys.readouterr().out
    config.write_text(CONFIG.replace("repeats = 3", "repeats = 4"))
    assert main(call) == 0
    assert "32, 8 of them run now" in capsys.readouterr().out
    assert main([*call, "--fresh", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_dry_run_tells_the_plan_and_does_nothing(config, tmp_path, capsys):
    call = ["sweep", str(config), "-o", "out", "-j", "1"]
    assert main([*call, "--dry-run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "grid m (2), depth (4) cells 8 repetitions of each 3 done already 0 left to do 24" in shown
    assert not (tmp_path / "out").exists()
    assert main(call) == 0
    config.write_text(CONFIG.replace("50, 100", "50, 75, 100"))
    capsys.readouterr()
    assert main([*call, "--dry-run"]) == 0
    assert "done already 24 left to do 12" in " ".join(capsys.readouterr().out.split())
    assert main([*call, "--dry-run", "--fresh"]) == 0
    assert "done already 0 left to do 36" in " ".join(capsys.readouterr().out.split())


def test_failures_are_told(config, capsys):
    config.write_text(CONFIG.replace("50, 100", "50, 13"))
    call = ["sweep", str(config), "-q", "-j", "1"]
    words = (
        "hadaflow: warning: 12 of 24 repetitions failed, the first (m=13, depth=2, repeat=0) by "
        "ArithmeticError: bad luck; --retry-failed runs them again\n"
    )
    for more in ([], [], ["--retry-failed"]):
        assert main(call + more) == 1
        assert capsys.readouterr().err == words
    config.with_name("measure.py").write_text(MEASURE.replace("bad luck", "other luck"))
    assert main(call) == 1
    assert "other luck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[1, 2]", [1, 2]),
        ("[1, 2.5]", [1, 2.5]),
        ("[true, false]", [True, False]),
        ("{ from = 2, to = 5, count = 4 }", [2, 3, 4, 5]),
        ("{ from = 2.0, to = 5, count = 4 }", [2.0, 3.0, 4.0, 5.0]),
        ("{ from = 0, to = 1, count = 3 }", [0.0, 0.5, 1.0]),
        ("{ from = 2, to = 9, step = 3 }", [2, 5, 8]),
        ('{ from = 1e-4, to = 1, count = 3, scale = "log" }', [1e-4, 1e-2, 1.0]),
        ('{ from = 1, to = 100, count = 3, scale = "log" }', [1, 10, 100]),
    ],
)
def test_axes(config, text, values):
    config.write_text(CONFIG.replace("[50, 100]", text))
    axis = list(read_config(config).grid["m"])
    assert axis == pytest.approx(values) if not isinstance(values[0], str) else axis == values
    assert [type(value) for value in axis] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("repeats", "repeat", "unknown key 'repeat'; did you mean 'repeats'? There is 'experiment', 'grid', 'repeats'"),
        ("repeats = 3", "repeats = true", "repeats must be a number, got True"),
        ("repeats = 3", "repeats = ", "config.toml: Invalid value (at line 3"),
        ('experiment = "measure.py:measure"', "", "the key 'experiment' is missing"),
        ("[grid]", "[other]", "unknown key 'other'"),
        ("[grid]", "grid = 3\n[fixed.a]", "grid must map names of parameters to their values, got int"),
        ("m = [50, 100]", "m = 50", "grid.m must be a list of values, got 50; give [50] or put it into fixed"),
        ("m = [50, 100]", "m = [2026-11-21]", "grid.m must hold numbers, strings or bools, got datetime"),
        ("m = [50, 100]", "m.a = { from = 1, to = 2 }", "unknown key 'grid.m.a'; There is 'from', 'to', 'count'"),
        ("m = [50, 100]", "m = [2, true]", "grid.m holds values of several kinds (bool and int)"),
        ("m = [50, 100]", f"m = [1.5, {2**60 + 1}]", "beside floats, which cannot hold all its digits"),
        ("m = [50, 100]", "m = { from = -1e308, to = 1e308, count = 3 }", "grid.m: floats cannot hold 3 values"),
        (
            "m = [50, 100]",
            f"m = {{ from = 1, to = 1{'0' * 400}, count = 3 }}",
            "grid.m.to must be a finite number, got",
        ),
        ("m = [50, 100]", "m = { from = 1, to = 1000000000000, step = 1 }", "grid.m holds more than 10,000,000 values"),
        ("m = [50, 100]", "m = { from = 1, to = 2, count = 1000000000000 }", "grid.m.count must be at most 10,000,000"),
        ("n = 200", "m = 200", "'m' is in grid and in fixed: leave it out of one of them"),
        ("n = 200", "k = 200", "measure takes no parameter 'k'"),
        ("paired = [", 'paired = ["dept", ', "paired names 'dept', which is no parameter of the sweep; did you mean"),
        ("seed = 5", "seed = 'x'", "seed must be a whole number, got 'x'"),
        ("count = 4", "count = 1", "grid.depth.count must be a whole number of at least 2, got 1"),
        ("count = 4", "cuont = 4", "unknown key 'grid.depth.cuont'; did you mean 'count'?"),
        (", count = 4", "", "grid.depth needs count or step"),
        ("count = 4", "count = 4, step = 1", "grid.depth needs count or step, and not both"),
        ("count = 4", "step = 0.5", "grid.depth.step is for whole numbers"),
        ("count = 4", 'count = 4, scale = "cubic"', "grid.depth.scale must be 'linear' or 'log', got 'cubic'"),
        ("from = 2", "from = 0, scale = 'log'", "grid.depth.from must be positive where the scale is 'log', got 0"),
        ("from = 2", "from = 5", "grid.depth.from must lie below grid.depth.to, got 5 and 5"),
        ("from = 2", "from = 'x'", "grid.depth.from must be a finite number, got 'x'"),
        ("measure.py:measure", "measure.py:measures", "measure.py has no function 'measures'; it has 'measure'"),
        ("measure.py:measure", "missing.py:measure", "missing.py: no such file or directory"),
        ("measure.py:measure", "recovry", "experiment 'recovry' is unknown: give 'recovery', "),
        ("measure.py:measure", "", "is unknown"),
    ],
)  # and what test_sweeps.py has: they are checked by the same functions
def test_mistakes_are_one_line(config, tmp_path, capsys, old, new, words):
    assert old in CONFIG
    config.write_text(CONFIG.replace(old, new, 1))
    assert main(["sweep", str(config)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("hadaflow: error: ")
    assert shown.err.count("\n") == 1
    assert words in shown.err
    assert not (tmp_path / "sweep-config").exists()


def test_other_mistakes_are_one_line(config, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    broken = config.with_name("measure.py")
    for arguments, words in [
        (["missing.toml"], "missing.toml"),
        ([str(tmp_path)], "directory"),
        (["binary.toml"], "binary.toml: it is no text in UTF-8 (byte 1 is not): save it as that"),
        ([str(config), "-o", "file", "-j", "1"], "/file (File exists): choose another folder"),
        ([str(config), "-j", "0"], "jobs must be"),
        ([str(config), "-j", "2", "--scheduler", "tcp://127.0.0.1:1"], "--jobs and --scheduler exclude each other"),
        ([str(config), "--scheduler", "no address"], "address"),
        ([str(config), "--scheduler", ""], "'' is no address"),
        ([str(config.parent)], ": is a directory"),
    ]:
        assert main(["sweep", *arguments]) == 2
        shown = capsys.readouterr().err
        assert words in shown
        assert shown.count("\n") == 1
    broken.write_text("def f(:")
    assert main(["sweep", str(config)]) == 2
    assert "measure.py cannot be loaded: SyntaxError" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_damage_is_told_in_one_line(config, tmp_path, capsys):
    call = ["sweep", str(config), "-q", "-j", "1"]
    assert main(call) == 0
    (journal,) = (tmp_path / "sweep-config").glob("*.jsonl")
    text = journal.read_bytes()
    journal.write_bytes(text[:20] + b"?" + text[21:])
    assert main(call) == 0
    shown = capsys.readouterr().err
    assert re.fullmatch(r"hadaflow: warning: .*\.jsonl is damaged in line 1: set aside in .*\n", shown)


def test_a_worker_that_dies_is_told(config, capsys):
    config.with_name("measure.py").write_text("import os\ndef measure(rng, *, m, depth, n):\n    os._exit(1)\n")
    assert main(["sweep", str(config), "-j", "2"]) == 1
    told = capsys.readouterr().err
    assert "hadaflow: error: a worker process died" in told
    assert "the same call goes on" in told


@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_a_cluster_changes_nothing(config, tmp_path, capsys):
    pytest.importorskip("distributed")
    assert main(["sweep", str(config), "-q", "-j", "1", "-o", "here"]) == 0
    assert main(["sweep", str(config), "-q", "--scheduler", "local", "-o", "there"]) == 0
    assert capsys.readouterr() == ("", "")
    here, there = (pd.read_parquet(path) for path in sorted(tmp_path.glob("*here/*.parquet")))
    pd.testing.assert_frame_equal(here, there, check_exact=True)


def test_lines_tell_now_and_then_how_long_it_goes_on(config, monkeypatch, capsys):
    monkeypatch.setattr("hadaflow.cli._running._NOW_AND_THEN", -1.0)
    assert main(["sweep", str(config), "-j", "1"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 24
    assert re.fullmatch(r"\[6/24\] measure: 0\.\d s, about \d\.\d s left", told[5])


@pytest.mark.parametrize(
    ("workers", "sent"),
    [(("-j", "1"), signal.SIGINT), (("-j", "1"), signal.SIGTERM), (("--scheduler", "local"), signal.SIGINT)],
)
def test_signals_keep_what_is_done(config, tmp_path, workers, sent):
    config.with_name("measure.py").write_text(
        MEASURE.replace("    return", "    import time\n    time.sleep(0.01 if m == 50 else 60)\n    return")
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "hadaflow", "sweep", str(config), *workers, "-o", "out"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and not any(p.read_bytes() for p in (tmp_path / "out").glob("*.jsonl")):
        time.sleep(0.02)
    os.killpg(running.pid, sent) if sent == signal.SIGINT else running.send_signal(sent)  # as a terminal sends them
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told == "hadaflow: what is done is kept in out: the same command goes on\nhadaflow: interrupted\n"
