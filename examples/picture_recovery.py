"""A photograph from a third of its cosine samples, noisy, with products by A only.

A camera keeps 35 % of the cosine transform (the DCT of JPEG) of a picture of 256 x 256 pixels, with 3 % noise.
Neither the picture nor its transform is sparse, but its wavelet coefficients are *compressible*: a few are large, most
are small, hardly any is zero. As a matrix, samples by coefficients, A would take 12 GB; here it is two functions, one
for ``A x`` and one for ``A^T r``, in a SciPy LinearOperator, and that is all hadaflow asks for:

    problem, model = hf.Problem(A, y), hf.HadamardPower(depth=4)
    start = hf.start_from_data(problem, model, noise_level=noise)
    path = hf.flow(problem, model, init_scale=start, method="proximal", stop=hf.stopping.Discrepancy(noise))

The flow explains the large coefficients first. It stops where what is left unexplained, ``||A x - y||``, is as large as
the noise. The picture of before is the back-projection ``A^T y``: what is not measured is taken to be zero.

The second part leaves out the noise and all but the largest coefficients. Then x is *exactly sparse*, and
``hf.recover(A, y)`` returns it exactly, together with a proof that no other solution has a smaller l1 norm.

Choices, so that the numbers can be judged:

- data: ``pywt.data.camera()`` (or ``ascent``, ``aero``), reduced to the size asked for by means over blocks;
- samples: at random, often where frequencies are low and rarely where they are high, as pictures have it;
- noise: Gaussian, of 3 % of the norm of the exact samples. The method is told its norm and nothing else;
- wavelet: orthogonal, periodised, as deep as PyWavelets advises. The default, db4, is a common one; --wavelet tries
  another.

Run it with ``python examples/picture_recovery.py``; it needs PyWavelets and matplotlib.
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
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.sparse.linalg import LinearOperator

import hadaflow as hf

Array = NDArray[np.float64]

PICTURES = ("camera", "ascent", "aero")
SIZES = (64, 128, 256, 512)
WHITE = 255.0  # the largest value a pixel can have

# What to magnify: left, top and width of a 2:1 window, in shares of the picture.
DETAIL = {"camera": (0.3, 0.19, 0.38), "ascent": (0.6, 0.57, 0.38), "aero": (0.32, 0.3, 0.38)}


@dataclass(frozen=True)
class Basis:
    """A periodised orthogonal wavelet basis for square pictures."""

    wavelet: str
    size: int

    @property
    def level(self) -> int:
        return pywt.dwt_max_level(self.size, self.wavelet)

    def analyse(self, picture: Array) -> Array:
        """The coefficients of a picture, as one vector."""
        bands = pywt.wavedec2(picture, self.wavelet, mode="periodization", level=self.level)
        return pywt.coeffs_to_array(bands)[0].ravel()

    def synthesise(self, coefficients: Array) -> Array:
        """The picture of the coefficients; the inverse and, up to rounding, the transpose."""
        square = coefficients.reshape(self.size, self.size)
        sizes = [self.size >> level for level in range(self.level, 0, -1)]  # of the bands, coarsest first
        bands = [square[: sizes[0], : sizes[0]]]
        bands += [(square[k : 2 * k, :k], square[:k, k : 2 * k], square[k : 2 * k, k : 2 * k]) for k in sizes]
        return pywt.waverec2(bands, self.wavelet, mode="periodization")


def cosine_samples(basis: Basis, kept: NDArray[np.intp]) -> LinearOperator:
    """A: wavelet coefficients to those cosine samples of their picture that are kept."""
    n = basis.size

    def measure(coefficients: Array) -> Array:
        return dctn(basis.synthesise(coefficients), norm="ortho").ravel()[kept]

    def back_project(samples: Array) -> Array:
        spectrum = np.zeros(n * n)
        spectrum[kept] = samples
        return basis.analyse(idctn(spectrum.reshape(n, n), norm="ortho"))

    return LinearOperator((len(kept), n * n), matvec=measure, rmatvec=back_project, dtype=np.float64)


def draw_samples(size: int, share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Which cosine samples to keep: the lower the frequency, the likelier, and the lowest for certain."""
    frequency = np.hypot(*np.ogrid[:size, :size]) / size
    likelihood = (1 / (1 + (frequency / 0.1) ** 2)).ravel()
    wanted = round(share * size * size)
    # Scaled until the probabilities min(1, scale likelihood) add up to the number of samples wanted.
    low, high = 0.0, 1e6
    for _ in range(100):
        scale = 0.5 * (low + high)
        low, high = (scale, high) if np.minimum(1, scale * likelihood).sum() < wanted else (low, scale)
    probability = np.minimum(1, scale * likelihood)
    rank = np.where(probability == 1, np.inf, probability / rng.random(size * size))
    return np.sort(np.argsort(-rank, kind="stable")[:wanted])


def photograph(name: str, size: int) -> Array:
    """A photograph that comes with PyWavelets, reduced to size x size by means over blocks."""
    picture = getattr(pywt.data, name)().astype(float)
    block = len(picture) // size
    return picture.reshape(size, block, size, block).mean(axis=(1, 3))


def snr(x: Array, truth: Array) -> float:
    """Signal-to-noise ratio in dB."""
    return decibels(relative_error(x, truth))


def psnr(x: Array, truth: Array) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = float(np.sqrt(np.mean((x - truth) ** 2)))
    return float(20 * np.log10(WHITE / max(error, np.finfo(float).tiny)))


@dataclass(frozen=True)
class Scan:
    """One photograph, what was measured of it, and what came back."""

    basis: Basis
    kept: NDArray[np.intp]
    noise_level: float
    truth: Array  # wavelet coefficients of the photograph
    before: Array  # those of the back-projection
    path: hf.FlowPath  # its end is the answer
    beyond: hf.FlowPath  # the same flow, had it not been stopped
    seconds: float

    @property
    def versions(self) -> tuple[tuple[str, Array], ...]:
        return ("Original", self.truth), ("Before: back-projection", self.before), ("After: hadaflow.flow", self.path.x)


def scan(basis: Basis, picture: Array, share: float, noise: float, rng: np.random.Generator) -> Scan:
    """Measure a picture with noise, and recover it."""
    truth = basis.analyse(picture)
    kept = draw_samples(basis.size, share, rng)
    A = cosine_samples(basis, kept)
    exact = A @ truth
    error = rng.standard_normal(len(exact))
    error *= noise * np.linalg.norm(exact) / np.linalg.norm(error)
    y, noise_level = exact + error, float(np.linalg.norm(error))

    begin = time.perf_counter()
    problem, model = hf.Problem(A, y), hf.HadamardPower(depth=4)
    start = hf.start_from_data(problem, model, noise_level=noise_level)
    stop = hf.stopping.Discrepancy(noise_level)
    path = hf.flow(problem, model, init_scale=start, method="proximal", stop=stop)
    seconds = time.perf_counter() - begin

    # For the picture only: who knows the original can see how good each moment is, and what a later stop would give.
    watch = {"snr": lambda now: snr(now.x, truth), "residual": lambda now: now.residual_norm / noise_level}
    record = hf.Recorder(every=1, metrics=watch)
    later = hf.stopping.MaxSteps(len(path.times) + 10)
    beyond = hf.flow(problem, model, init_scale=start, method="proximal", stop=later, record=record)
    return Scan(basis, kept, noise_level, truth, A.T @ y, path, beyond, seconds)


# ---- tables -----------------------------------------------------------------------------------


def table(done: Scan) -> str:
    """What the noisy measurements give."""
    lines = [f"{'':26}{'SNR (dB)':>10}{'PSNR (dB)':>11}{'residual / noise':>18}{'products':>10}{'time (s)':>10}"]
    A, y = done.path.problem.operator, done.path.problem.y
    for name, x in done.versions[1:]:
        residual = np.linalg.norm(A.matvec(x) - y) / done.noise_level
        ours = x is done.path.x
        cost = f"{done.path.stats.passes:10.0f}{done.seconds:10.2f}" if ours else f"{1:10d}{'–':>10}"
        lines.append(f"{name:26}{snr(x, done.truth):10.2f}{psnr(x, done.truth):11.2f}{residual:18.3f}{cost}")
    return "\n".join([*lines, f"stopped: {done.path.reason}"])


def sparse_table(recovery: hf.Recovery, truth: Array) -> str:
    """What the exact measurements of an exactly sparse vector give."""
    certificate = recovery.certificate
    return (
        f"{'':16}{'SNR (dB)':>10}{'gap':>10}{'residual':>10}{'non-zeros':>11}{'products':>10}{'time (s)':>10}\n"
        f"{'hadaflow.recover':16}{snr(recovery.x, truth):10.1f}{certificate.gap:10.1e}{certificate.residual:10.1e}"
        f"{np.count_nonzero(recovery.x):11d}{recovery.stats.passes:10.0f}{recovery.stats.seconds:10.2f}\n"
        f"hadaflow: {recovery.status.message}"
    )


# ---- figure -----------------------------------------------------------------------------------

MARGIN, GAP, SIDE = 0.25, 0.25, 3.9  # inches; SIDE is that of a picture
WIDTH, HEIGHT = 2 * MARGIN + 2 * GAP + 3 * SIDE, 10.6


def draw(done: Scan, name: str) -> Figure:
    """The original, before and after, each with a detail; what was measured; the way there."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    for column, (title, coefficients) in enumerate(done.versions):
        left = MARGIN + column * (SIDE + GAP)
        whole = place(figure, left, HEIGHT - 0.65 - SIDE, SIDE, SIDE)
        detail = place(figure, left, HEIGHT - 0.8 - 1.5 * SIDE, SIDE, SIDE / 2)
        draw_picture(whole, detail, done.basis.synthesise(coefficients), DETAIL[name], (INK, VERMILION, BLUE)[column])
        whole.set_title(title, pad=24)
        remark = f"{name}, {done.basis.size} × {done.basis.size} pixels"
        if column:
            remark = f"SNR {snr(coefficients, done.truth):.1f} dB    PSNR {psnr(coefficients, done.truth):.1f} dB"
        whole.text(0, 1.02, remark, transform=whole.transAxes)
    draw_mask(place(figure, MARGIN + 0.35, 0.7, SIDE - 1.25, SIDE - 1.25), done)
    draw_path(place(figure, MARGIN + SIDE + GAP + 0.4, 0.7, 2 * SIDE + GAP - 1.1, SIDE - 1.25), done)
    return figure


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches."""
    return figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def draw_picture(whole: Axes, detail: Axes, picture: Array, window: tuple[float, float, float], colour: str) -> None:
    """The picture, and below it the part in the frame."""
    left, top, width = (round(share * len(picture)) for share in window)
    height = width // 2
    for axes in (whole, detail):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=WHITE, interpolation="nearest", aspect="auto")
        axes.set(xticks=(), yticks=())
    whole.spines[:].set_visible(False)
    whole.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, lw=2))
    detail.set(xlim=(left - 0.5, left + width - 0.5), ylim=(top + height - 0.5, top - 0.5))
    detail.spines[:].set(visible=True, color=colour, linewidth=2.5)


def draw_mask(axes: Axes, done: Scan) -> None:
    """Which cosine samples were taken."""
    size = done.basis.size
    taken = np.zeros(size * size)
    taken[done.kept] = 1
    axes.imshow(taken.reshape(size, size), cmap=ListedColormap(["#ececec", INK]), interpolation="nearest")
    axes.set(xticks=(), yticks=(), xlabel="horizontal frequency →", ylabel="← vertical frequency")
    axes.spines[:].set_visible(False)
    axes.set_title(f"Measured: {100 * taken.mean():.0f} % of the cosines")


def draw_path(axes: Axes, done: Scan) -> None:
    """SNR and residual along the flow, and where it stopped."""
    history, stop = done.beyond.history, done.path.t_end
    times, quality, residual = history.times[1:], history["snr"][1:], history["residual"][1:]
    start, at = snr(done.before, done.truth), snr(done.path.x, done.truth)
    early, late = times <= stop, times >= stop
    axes.axvspan(stop, times[-1], color="#f1f1f1", lw=0)
    axes.axhline(start, color=VERMILION, lw=1.2, ls=(0, (4, 3)))
    axes.text(times[-1] / 1.1, start - 0.7, f"back-projection, {start:.1f} dB", color=VERMILION, ha="right", va="top")
    axes.plot(np.append(times[early], stop), np.append(quality[early], at), color=BLUE, lw=2.8)
    axes.plot(np.append(stop, times[late]), np.append(at, quality[late]), color=BLUE, lw=1.8, ls=(0, (2, 1.5)))
    axes.plot(stop, at, "o", color=BLUE, ms=10, mec="white", mew=1.5, zorder=5)
    axes.annotate(
        f"stop, {at:.1f} dB", (stop, at), (0, 11), textcoords="offset points", color=BLUE, weight="bold", ha="center"
    )
    axes.set(xscale="log", xlim=(times[0], times[-1]), xlabel="flow time")
    axes.set_ylim(min(0, quality.min()), 1.3 * max(quality.max(), start))
    axes.set_ylabel("SNR (dB)", color=BLUE)
    axes.tick_params(axis="y", colors=BLUE)

    other = axes.twinx()
    other.plot(times, residual, color=INK, lw=1.6)
    other.axhline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
    other.text(times[0] * 1.15, 1.12, "the noise", color=INK)
    other.plot(stop, 1, "o", color=INK, ms=8, mec="white", mew=1.2, zorder=5)
    other.set(yscale="log", ylim=(0.7 * residual.min(), 12 * residual.max()), ylabel="residual / noise")
    other.spines["right"].set_visible(True)
    axes.set_title(f"The flow stops where the residual is the noise: {len(done.path.times) - 1} steps")


# ---- command ----------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    parser = command("Compressed sensing of a photograph.", seed_of="samples and noise")
    parser.add_argument("--picture", choices=PICTURES, default="camera", help="which photograph (default: camera)")
    parser.add_argument("--size", type=int, choices=SIZES, default=256, help="pixels a side (default: 256)")
    parser.add_argument("--wavelet", type=orthogonal_wavelet, default="db4", help="orthogonal (default: db4)")
    parser.add_argument("--share-of-samples", type=float, default=0.35, help="from 0.05 to 1 (default: 0.35)")
    parser.add_argument("--noise", type=float, default=0.03, help="relative to the samples (default: 0.03)")
    chosen = options(parser, arguments, share_of_samples=(0.05, 1), noise=(0.001, 0.5))
    rng = np.random.default_rng(chosen.seed)
    basis = Basis(chosen.wavelet, chosen.size)
    picture = photograph(chosen.picture, chosen.size)
    done = scan(basis, picture, chosen.share_of_samples, chosen.noise, rng)
    m, n = done.path.problem.shape
    print(f"{chosen.picture}: {m} noisy cosine samples ({100 * chosen.noise:g} %) of {n} pixels, {chosen.wavelet}\n")
    print(table(done), end="\n\n")

    terms = round(0.087 * m)  # 2000 of 22938 samples: few enough for l1 to find them
    sparse = best_terms(done.truth, terms)
    A = cosine_samples(basis, done.kept)
    print(f"Its best {terms}-term wavelet approximation ({snr(sparse, done.truth):.1f} dB), without noise")
    print(sparse_table(hf.recover(A, A @ sparse), sparse), end="\n\n")

    with mpl.rc_context(STYLE):
        save(draw(done, chosen.picture), chosen.output, "picture_recovery", dpi=110)


if __name__ == "__main__":
    main()
