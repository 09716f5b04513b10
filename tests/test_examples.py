"""The demos do what they say: their tables are read back and judged."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from conftest import refuses

import hadaflow as hf

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


def test_ecg_demo_refuses_bad_options(ecg, capsys):
    for option, value, message in [
        ("--measurements", "1025", "--measurements must be from 5 to 1024, got 1025"),
        ("--seed", "-1", "--seed must not be negative, got -1"),
        ("--wavelet", "bior2.2", "not orthogonal"),
        ("--wavelet", "nonsense", "--wavelet"),
    ]:
        assert message in refuses(ecg.main, capsys, option, value)


@pytest.fixture
def picture(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("picture_recovery")


def numbers_after(name, text):
    """The numbers of the row of that name."""
    return [float(number) for number in re.search(rf"^{re.escape(name)}\s+(.*)$", text, re.MULTILINE)[1].split()]


def test_picture_demo_stops_at_the_noise_and_improves(picture, tmp_path, capsys):
    picture.main(["--size", "64", "--noise", "0.3", "--output", str(tmp_path / "new" / "folder")])
    out = capsys.readouterr().out
    before_snr, before_psnr, *_ = numbers_after("Before: back-projection", out.replace("–", "0"))
    snr, psnr, residual, products, _ = numbers_after("After: hadaflow.flow", out)
    assert snr > before_snr + 1
    assert psnr - before_psnr == pytest.approx(snr - before_snr, abs=0.02)
    assert residual == pytest.approx(1, abs=1e-3)
    assert products < 200

    exact, gap, residual, nonzeros, *_ = numbers_after("hadaflow.recover", out)
    assert exact > 150  # exactly sparse, hence exactly recovered
    assert gap <= 1e-8
    assert residual <= 1e-10
    assert nonzeros == round(0.087 * round(0.35 * 64 * 64))
    assert (tmp_path / "new" / "folder" / "picture_recovery.png").stat().st_size > 50_000


@pytest.mark.parametrize("wavelet", ["haar", "sym4"])
def test_the_operator_of_the_picture_demo_is_its_wavelets_cosines(picture, wavelet):
    import pywt

    rng = np.random.default_rng(0)
    basis = picture.Basis(wavelet, 32)
    image = rng.standard_normal((32, 32))
    np.testing.assert_allclose(basis.synthesise(basis.analyse(image)), image, atol=1e-10)
    bands = pywt.wavedec2(image, wavelet, mode="periodization", level=basis.level)
    assert np.sum(basis.analyse(image) ** 2) == pytest.approx(sum(np.sum(np.square(band)) for band in bands))

    kept = picture.draw_samples(32, 0.4, rng)
    assert len(np.unique(kept)) == round(0.4 * 32 * 32)
    assert kept[0] == 0  # the mean is always measured
    A = picture.cosine_samples(basis, kept)
    assert hf.dot_test(A).passed
    np.testing.assert_allclose(A @ basis.analyse(image), scipy.fft.dctn(image, norm="ortho").ravel()[kept], atol=1e-10)


def test_picture_demo_refuses_bad_options(picture, capsys):
    for option, value, message in [
        ("--size", "100", "--size"),
        ("--picture", "nobody", "--picture"),
        ("--seed", "-1", "--seed must not be negative, got -1"),
        ("--noise", "0", "--noise must be from 0.001 to 0.5, got 0"),
        ("--share-of-samples", "1.5", "--share-of-samples must be from 0.05 to 1, got 1.5"),
        ("--wavelet", "bior2.2", "not orthogonal"),
    ]:
        assert message in refuses(picture.main, capsys, option, value)


def test_coefficient_path_demo_says_what_it_read_off(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)
    demo = importlib.import_module("coefficient_path")
    demo.main(["--output", str(tmp_path)])
    count, of, r2 = re.match(r"(\d+) of (\d+) features, R² ([\d.]+): ", capsys.readouterr().out).groups()
    assert int(of) == 64
    assert 2 <= int(count) <= 40
    assert 0.5 < float(r2) < 0.6  # least squares on all features has 0.6, on the ten of the table 0.52
    assert (tmp_path / "coefficient_path.png").stat().st_size > 20_000
