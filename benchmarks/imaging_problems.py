"""Pictures measured by cosine samples: what is unknown are orthonormal wavelet coefficients.

The samples, 35 % of an orthonormal DCT, are drawn at random, often at low frequencies and rarely at high ones; A is
known by products only, and A A^T = I (which only those solvers are told whose settings say so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pywt
import pywt.data
import scipy.fft as sf
from scipy.sparse.linalg import LinearOperator

SHARE = 0.35  # of the cosine samples
TERMS = 2000 / 256**2  # of the coefficients, where x is exactly sparse
PICTURES = ("camera", "ascent", "aero")
WAVELETS = ("haar", "db4")
NOISES = (0.01, 0.03, 0.1)

# The modified Shepp-Logan phantom: grey value, half axes, centre, angle in degrees.
ELLIPSES = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)


@dataclass
class Measurement:
    """A, with a count of the products that were asked of it."""

    size: int
    wavelet: str
    kept: np.ndarray
    products: int = 0
    operator: LinearOperator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.level = pywt.dwt_max_level(self.size, self.wavelet)
        bands = pywt.wavedec2(np.zeros((self.size, self.size)), self.wavelet, "periodization", self.level)
        self._slices = pywt.coeffs_to_array(bands)[1]
        shape = (len(self.kept), self.size**2)
        self.operator = LinearOperator(shape, matvec=self._forward, rmatvec=self._adjoint, dtype=np.float64)

    def coefficients(self, picture: np.ndarray) -> np.ndarray:
        """Wavelet coefficients of a picture."""
        bands = pywt.wavedec2(picture, self.wavelet, "periodization", self.level)
        return pywt.coeffs_to_array(bands)[0].ravel()

    def _forward(self, x: np.ndarray) -> np.ndarray:
        self.products += 1
        bands = pywt.array_to_coeffs(np.reshape(x, (self.size, self.size)), self._slices, "wavedec2")
        return sf.dctn(pywt.waverec2(bands, self.wavelet, "periodization"), norm="ortho").ravel()[self.kept]

    def _adjoint(self, r: np.ndarray) -> np.ndarray:
        self.products += 1
        spectrum = np.zeros(self.size**2)
        spectrum[self.kept] = np.ravel(r)
        return self.coefficients(sf.idctn(spectrum.reshape(self.size, self.size), norm="ortho"))


@dataclass(frozen=True, eq=False)
class Instance:
    """One problem: data, and the truth by which the harness judges."""

    name: str
    kind: str  # "exact", "sparse" (noisy, x exactly sparse) or "photograph" (noisy, x compressible)
    wavelet: str
    truth: np.ndarray
    y: np.ndarray
    noise: float  # norm of it
    measure: Callable[[], Measurement]  # A anew, with its count at zero

    def snr(self, x: np.ndarray) -> float:
        """Signal-to-noise ratio in dB, at most 400."""
        error = float(np.linalg.norm(np.ravel(x) - self.truth) / np.linalg.norm(self.truth))
        return -20 * float(np.log10(max(error, 1e-20))) if np.isfinite(error) else -400.0


@dataclass(frozen=True)
class Row:
    """One row of the tables: what to measure, and how noisily."""

    name: str
    kind: str
    wavelet: str
    truth: Callable[[Measurement, np.random.Generator], np.ndarray]
    noise: float = 0.0  # relative to the exact samples

    def draw(self, size: int, seed: int) -> Instance:
        """The instance of that size; samples and noise have seeds of their own."""
        kept = draw_samples(size, seed)

        def measure() -> Measurement:
            return Measurement(size, self.wavelet, kept)

        rng = np.random.default_rng((seed, 1))
        first = measure()
        truth = self.truth(first, rng)
        y = first.operator @ truth
        error = rng.standard_normal(len(y)) if self.noise else np.zeros(len(y))
        if self.noise:
            error *= self.noise * np.linalg.norm(y) / np.linalg.norm(error)
        return Instance(self.name, self.kind, self.wavelet, truth, y + error, float(np.linalg.norm(error)), measure)


@cache
def draw_samples(size: int, seed: int) -> np.ndarray:
    """Which cosine samples are taken."""
    frequency = np.hypot(*np.ogrid[:size, :size]) / size
    likelihood = (1 / (1 + (frequency / 0.1) ** 2)).ravel()
    wanted = round(SHARE * size**2)
    low, high = 0.0, 1e6
    for _ in range(100):
        scale = 0.5 * (low + high)
        low, high = (scale, high) if np.minimum(1, scale * likelihood).sum() < wanted else (low, scale)
    probability = np.minimum(1, scale * likelihood)
    rank = np.where(probability == 1, np.inf, probability / np.random.default_rng(seed).random(size**2))
    return np.sort(np.argsort(-rank, kind="stable")[:wanted])


def photograph(name: str, size: int) -> np.ndarray:
    """A photograph that comes with PyWavelets, reduced by means over blocks."""
    picture = getattr(pywt.data, name)().astype(float)
    block = len(picture) // size
    return picture.reshape(size, block, size, block).mean(axis=(1, 3))


def phantom(size: int, finer: int) -> np.ndarray:
    """The phantom, each pixel the mean of finer x finer points: 1 for sharp edges, more for smooth ones."""
    grid = (np.arange(size * finer) + 0.5) / (size * finer) * 2 - 1
    across, up = np.meshgrid(grid, -grid)
    picture = np.zeros_like(across)
    for value, a, b, x, y, degrees in ELLIPSES:
        angle = np.deg2rad(degrees)
        along = (across - x) * np.cos(angle) + (up - y) * np.sin(angle)
        beside = (up - y) * np.cos(angle) - (across - x) * np.sin(angle)
        picture[(along / a) ** 2 + (beside / b) ** 2 <= 1] += value
    return picture.reshape(size, finer, size, finer).mean(axis=(1, 3))


def _phantom(finer: int) -> Callable[[Measurement, np.random.Generator], np.ndarray]:
    def truth(measurement: Measurement, _rng: np.random.Generator) -> np.ndarray:
        coefficients = measurement.coefficients(phantom(measurement.size, finer))
        return np.where(np.abs(coefficients) > 1e-12, coefficients, 0.0)

    return truth


def _best_terms(measurement: Measurement, _rng: np.random.Generator) -> np.ndarray:
    coefficients = measurement.coefficients(phantom(measurement.size, 4))
    terms = round(TERMS * measurement.size**2)
    coefficients[np.argsort(np.abs(coefficients))[:-terms]] = 0.0
    return coefficients


def _gaussian(measurement: Measurement, rng: np.random.Generator) -> np.ndarray:
    n = measurement.size**2
    terms = round(TERMS * n)
    coefficients = np.zeros(n)
    coefficients[rng.choice(n, terms, replace=False)] = rng.standard_normal(terms)
    return coefficients


def _photograph(name: str) -> Callable[[Measurement, np.random.Generator], np.ndarray]:
    return lambda measurement, _rng: measurement.coefficients(photograph(name, measurement.size))


def _rows() -> Iterator[Row]:
    yield Row("phantom, best terms", "exact", "haar", _best_terms)
    yield Row("phantom, best terms, db4", "exact", "db4", _best_terms)
    yield Row("Gaussian coefficients", "exact", "haar", _gaussian)
    yield Row("phantom, sharp edges", "exact", "haar", _phantom(1))
    yield Row("phantom, smooth edges", "exact", "haar", _phantom(4))
    for noise in NOISES:
        yield Row(f"phantom, best terms, {100 * noise:g} %", "sparse", "haar", _best_terms, noise)
    for name in PICTURES:
        for wavelet in WAVELETS:
            for noise in NOISES:
                title = f"{name}, {wavelet}, {100 * noise:g} %"
                yield Row(title, "photograph", wavelet, _photograph(name), noise)


ROWS = {row.name: row for row in _rows()}
