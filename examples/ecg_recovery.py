"""Compressed sensing of a real electrocardiogram, certified.

A sensor keeps m random ±1 combinations of the 1024 samples of a heart recording, fewer than half
as many numbers as the recording has. The recording is not sparse, but its wavelet coefficients
nearly are. ``hadaflow.recover`` returns, among all coefficient vectors that agree with the
measurements, the one of smallest l1 norm, together with a proof that none is smaller. The
least-squares habit, the solution of smallest l2 norm, stands beside it.

Two problems are solved with the same measurement matrix:

- the recording itself, which is only compressible: the answer is close, never exact;
- its best k-term wavelet approximation, which is exactly sparse: the answer is exact.

Choices, so that the numbers can be judged:

- data: ``pywt.data.ecg()``. PyWavelets states neither sampling rate nor unit, so time is counted
  in samples and amplitude in the stored units;
- the mean is removed before measuring. It is an offset of the recorder, and the minimum-l2
  solution would suffer from it far more (with it, its error exceeds the signal);
- wavelet: orthogonal, periodised, as deep as PyWavelets advises. The default, sym4, is a common
  choice for electrocardiograms and was not tuned to this one; --wavelet tries another.

Run it with ``python examples/ecg_recovery.py``; it needs PyWavelets and matplotlib.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pywt
import pywt.data
from common import (
    BLUE,
    INK,
    PALE,
    STYLE,
    VERMILION,
    best_terms,
    command,
    decibels,
    options,
    orthogonal_wavelet,
    relative_error,
    save,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import hadaflow as hf

Vector = NDArray[np.float64]

RECOVERED = "hadaflow.recover"
MIN_L2 = "minimum l2"

ZOOM = (440, 680)  # one heartbeat with its P and T waves


@dataclass(frozen=True)
class Basis:
    """A periodised orthogonal wavelet basis."""

    wavelet: str
    sizes: tuple[int, ...]  # number of coefficients per scale, coarsest first

    @classmethod
    def of(cls, wavelet: str, length: int) -> Basis:
        level = pywt.dwt_max_level(length, wavelet)
        bands = pywt.wavedec(np.zeros(length), wavelet, mode="periodization", level=level)
        return cls(wavelet, tuple(len(band) for band in bands))

    def analyse(self, signals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients of signals that lie along the last axis."""
        level = len(self.sizes) - 1
        bands = pywt.wavedec(signals, self.wavelet, mode="periodization", level=level, axis=-1)
        return np.concatenate(bands, axis=-1)

    def synthesise(self, coefficients: Vector) -> Vector:
        """The signal of the coefficients; the inverse and, up to rounding, the transpose."""
        bands = np.split(coefficients, np.cumsum(self.sizes)[:-1])
        return pywt.waverec(bands, self.wavelet, mode="periodization")


@dataclass(frozen=True)
class Entry:
    """One solver's answer to one problem."""

    name: str
    x: Vector
    certificate: hf.Certificate
    seconds: float


@dataclass(frozen=True)
class Case:
    """One signal, what was measured of it, and the answers."""

    title: str
    truth: Vector  # wavelet coefficients of the signal
    recovery: hf.Recovery
    entries: tuple[Entry, ...]


def solve(title: str, A: NDArray[np.float64], truth: Vector, y: Vector) -> Case:
    """Recover the coefficients both ways, and measure both answers with the same dual vector."""
    begin = time.perf_counter()
    recovery = hf.recover(A, y)
    middle = time.perf_counter()
    smallest = np.linalg.lstsq(A, y, rcond=None)[0]
    end = time.perf_counter()
    entries = (
        Entry(RECOVERED, recovery.x, recovery.certificate, middle - begin),
        Entry(MIN_L2, smallest, hf.certify(recovery.problem, smallest, recovery.dual), end - middle),
    )
    return Case(title, truth, recovery, entries)


# ---- table ------------------------------------------------------------------------------------


def table(case: Case) -> str:
    head = (
        f"{'':18}{'l2 error':>10}{'SNR (dB)':>10}{'l1 norm':>10}{'gap':>10}{'residual':>10}"
        f"{'non-zeros':>11}{'time (s)':>10}"
    )
    lines = [case.title, head]
    for entry in case.entries:
        error, certificate = relative_error(entry.x, case.truth), entry.certificate
        lines.append(
            f"{entry.name:18}{error:10.1e}{decibels(error):10.1f}{certificate.l1_norm:10.1f}"
            f"{certificate.gap:10.1e}{certificate.residual:10.1e}"
            f"{np.count_nonzero(entry.x):11d}{entry.seconds:10.2f}"
        )
    proved = "proved to be the only one" if case.recovery.certificate.unique else "not proved unique"
    lines.append(f"hadaflow: {case.recovery.status.message} ({proved})")
    return "\n".join(lines)


# ---- figure -----------------------------------------------------------------------------------

LEGENDS = STYLE | {
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
}


def draw(case: Case, signal: Vector, basis: Basis) -> Figure:
    """The recording, its coefficients, both answers on one beat, and the proof."""
    recovered, smallest = (basis.synthesise(entry.x) for entry in case.entries)
    decibels_of = [decibels(relative_error(entry.x, case.truth)) for entry in case.entries]
    figure = Figure(figsize=(13.33, 7.5), layout="constrained")
    grid = figure.add_gridspec(3, 3, height_ratios=(1, 0.72, 1.1))
    whole = figure.add_subplot(grid[0, :])
    coefficients = figure.add_subplot(grid[1, :], sharex=whole)
    left = figure.add_subplot(grid[2, 0])
    right = figure.add_subplot(grid[2, 1], sharey=left)
    proof = figure.add_subplot(grid[2, 2])

    m, n = case.recovery.problem.shape
    draw_signals(whole, signal, recovered, BLUE, RECOVERED)
    whole.set_title(f"An electrocardiogram of {n} samples from {m} random ±1 measurements")
    whole.axvspan(*ZOOM, color=PALE, alpha=0.3, lw=0)
    whole.set_xlabel("")
    whole.tick_params(labelbottom=False)
    draw_coefficients(coefficients, case, basis)
    draw_signals(left, signal, recovered, BLUE, RECOVERED)
    left.set_title(f"Smallest ℓ1 norm: {decibels_of[0]:.1f} dB")
    draw_signals(right, signal, smallest, VERMILION, MIN_L2)
    right.set_title(f"Smallest ℓ2 norm: {decibels_of[1]:.1f} dB")
    right.tick_params(labelleft=False)
    right.set_ylabel("")
    for zoomed in (left, right):
        zoomed.set_xlim(*ZOOM)
    draw_proof(proof, case)
    return figure


def draw_signals(axes: Axes, signal: Vector, answer: Vector, colour: str, name: str) -> None:
    axes.plot(signal, color=PALE, lw=4.5, solid_joinstyle="round", label="recording")
    axes.plot(answer, color=colour, lw=1.5, label=name)
    axes.set(xlim=(0, len(signal)), xlabel="sample", ylabel="stored units")
    axes.legend(loc="upper right", handlelength=1.6)


def draw_coefficients(axes: Axes, case: Case, basis: Basis) -> None:
    """A disc per coefficient at its place and scale; its area is the size of the coefficient."""
    n, scales = sum(basis.sizes), len(basis.sizes)
    place = np.concatenate([(np.arange(size) + 0.5) * n / size for size in basis.sizes])
    row = np.repeat(np.arange(scales), basis.sizes)
    x = case.recovery.x
    axes.scatter(place, row, np.abs(case.truth), color=PALE, lw=0)
    axes.scatter(place, row, np.abs(x), facecolor="none", edgecolor=BLUE, lw=1.2)
    axes.set(xlabel="sample", yticks=(0, scales - 1), ylim=(scales - 0.4, -1))
    axes.set_yticklabels(("coarse", "fine"))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"Recovered wavelet coefficients: {len(case.recovery.support())} of {n} are not zero")
    key = "disc: recording    ring: recovered    area: size of the coefficient"
    axes.set_title(key, loc="right", weight="normal", size="medium")


def draw_proof(axes: Axes, case: Case) -> None:
    """The dual vector, largest entry first: it meets its bound on the support and stays below."""
    recovery = case.recovery
    support = recovery.support()
    slopes = np.abs(recovery.problem.A.T @ recovery.dual)
    slopes /= slopes.max()
    on = np.sort(slopes[support])[::-1]
    off = np.sort(np.delete(slopes, support))[::-1]
    axes.axhline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
    axes.plot(np.arange(len(on)), on, color=BLUE, lw=4, label=f"{len(on)} non-zeros")
    axes.plot(np.arange(len(on), len(slopes)), off, color="#8c8c8c", lw=2.5, label="zeros")
    axes.set(xlim=(0, len(slopes)), ylim=(0, 1.18), yticks=(0, 0.5, 1))
    axes.set(xlabel="coefficients, by size of dual", ylabel="|Aᵀν|")
    axes.set_title(f"Proof of optimality: gap {case.entries[0].certificate.gap:.0e}")
    axes.legend(loc="lower left", handlelength=1.6)


# ---- command ----------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    parser = command("Compressed sensing of an electrocardiogram.", seed_of="the measurements")
    parser.add_argument("--measurements", type=int, default=400, help="how many (default: 400)")
    parser.add_argument("--wavelet", type=orthogonal_wavelet, default="sym4", help="orthogonal (default: sym4)")
    chosen = options(parser, arguments, measurements=(5, 1024))
    signal = pywt.data.ecg().astype(float)
    signal -= signal.mean()
    n, m = len(signal), chosen.measurements
    terms = m // 5  # few enough for l1 to find them; the error in the table tells
    basis = Basis.of(chosen.wavelet, n)

    rng = np.random.default_rng(chosen.seed)
    measure = rng.choice([-1.0, 1.0], size=(m, n)) / np.sqrt(m)
    A = basis.analyse(measure)  # rows of Phi W^-1, as W is orthogonal

    truth = basis.analyse(signal)
    sparse = best_terms(truth, terms)
    kept = decibels(relative_error(sparse, truth))
    print(f"{m} random ±1 measurements of an electrocardiogram of {n} samples, {chosen.wavelet}\n")
    recording = solve("The recording itself", A, truth, measure @ signal)
    print(table(recording), end="\n\n")
    title = f"Its best {terms}-term wavelet approximation ({kept:.1f} dB)"
    print(table(solve(title, A, sparse, measure @ basis.synthesise(sparse))), end="\n\n")

    with mpl.rc_context(LEGENDS):
        save(draw(recording, signal, basis), chosen.output, "ecg_recovery", dpi=150, kinds=("png", "svg"))


if __name__ == "__main__":
    main()
