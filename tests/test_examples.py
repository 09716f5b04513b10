"""The demo does what it says: its table is read back and judged."""

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("pywt")
pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parent.parent / "examples"
ROW = re.compile(r"^(hadaflow\.recover|minimum l2)\s+(\S.*)$", re.MULTILINE)
COLUMNS = ("error", "snr", "l1_norm", "gap", "residual", "nonzeros", "seconds")


@pytest.fixture
def ecg(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("ecg_recovery")


def read(text):
    """Rows of the two tables, as (name, {column: number})."""
    return [(name, dict(zip(COLUMNS, map(float, numbers.split()), strict=True))) for name, numbers in ROW.findall(text)]


def test_ecg_demo_recovers_and_proves_it(ecg, tmp_path, capsys):
    ecg.main(["--measurements", "200", "--seed", "3", "--output", str(tmp_path / "new" / "folder")])
    rows = read(capsys.readouterr().out)
    assert [name for name, _ in rows] == ["hadaflow.recover", "minimum l2"] * 2
    real, real_l2, sparse, sparse_l2 = (row for _, row in rows)

    for ours, theirs in ((real, real_l2), (sparse, sparse_l2)):
        assert ours["gap"] <= 1e-8
        assert ours["residual"] <= 1e-10
        assert ours["error"] < theirs["error"] / 2
        assert ours["snr"] > theirs["snr"] + 6
        assert ours["l1_norm"] < theirs["l1_norm"]
    assert real["nonzeros"] <= 200  # a vertex: at most as many as measurements
    assert sparse["error"] < 1e-10  # exactly sparse, hence exactly recovered
    assert sparse["nonzeros"] == 40

    for suffix in ("png", "svg"):
        assert (tmp_path / "new" / "folder" / f"ecg_recovery.{suffix}").stat().st_size > 10_000


def test_ecg_demo_takes_another_wavelet(ecg, tmp_path, capsys):
    ecg.main(["--measurements", "150", "--wavelet", "haar", "--output", str(tmp_path)])
    (_, ours), (_, theirs), *_ = read(capsys.readouterr().out)
    assert ours["gap"] <= 1e-8
    assert ours["error"] < theirs["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measurements", "1025"], "--measurements must be from 5 to 1024, got 1025"),
        (["--seed", "-1"], "--seed must not be negative, got -1"),
        (["--wavelet", "bior2.2"], "not orthogonal"),
        (["--wavelet", "nonsense"], "--wavelet"),
    ],
)
def test_ecg_demo_refuses_bad_options(ecg, arguments, message, capsys):
    with pytest.raises(SystemExit):
        ecg.main(arguments)
    assert message in capsys.readouterr().err
