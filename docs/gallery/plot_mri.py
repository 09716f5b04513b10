"""
A head from a third of its MRI samples
======================================

You will learn to recover a complex picture from few Fourier samples, and to tell what is exact about the answer from
what the samples cannot know.

An MRI scanner measures the two-dimensional Fourier transform of a picture, its *k-space*, sample by sample: with fewer
samples the patient is out of the tube sooner. The picture is complex, since the magnetic field is never quite even. The
slice here was measured in a scanner and comes with Matplotlib; only its moduli were kept, so a smooth phase is put
back. The unknowns are its 16384 wavelet coefficients, of which few are large.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pywt
from matplotlib.cbook import get_sample_data
from scipy.fft import fft2, fftshift, ifft2
from scipy.sparse.linalg import LinearOperator

import hadaflow as hf

SIZE, WAVELET = 128, {"wavelet": "db4", "mode": "periodization"}
with get_sample_data("s1045.ima.gz") as file:
    slice_ = np.frombuffer(file.read(), ">u2").reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
down, right = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
picture = slice_ * np.exp(1j * (1.2 * down - 0.8 * right + 0.6 * down * right + 0.5 * right**2))

# %%
# The operator is two functions: from wavelet coefficients to the samples that were kept, low frequencies rather than
# high ones, and its adjoint, which :func:`hadaflow.dot_test` checks. Applied to the samples, the adjoint is also the
# usual quick look: the *zero-filled* picture takes all that was not measured to be zero.

coefficients, places = pywt.coeffs_to_array(pywt.wavedec2(picture, **WAVELET))
coefficients = coefficients.ravel()
frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE))).ravel()
late = np.maximum(frequency, 0.025) * np.random.default_rng(0).random(SIZE**2)
kept = np.sort(np.argsort(late)[: round(0.35 * SIZE**2)])  # the lower, the likelier


def synthesise(x):
    bands = pywt.array_to_coeffs(x.reshape(SIZE, SIZE), places, output_format="wavedec2")
    return pywt.waverec2(bands, **WAVELET)


def measure(x):
    return fft2(synthesise(x), norm="ortho").ravel()[kept]


def back_project(samples):
    spectrum = np.zeros(SIZE**2, complex)
    spectrum[kept] = samples
    back = ifft2(spectrum.reshape(SIZE, SIZE), norm="ortho")
    return pywt.coeffs_to_array(pywt.wavedec2(back, **WAVELET))[0].ravel()


A = LinearOperator((len(kept), SIZE**2), matvec=measure, rmatvec=back_project, dtype=complex)
print("adjoint:", hf.dot_test(A).passed)

measured = np.full(SIZE**2, np.nan)
measured[kept] = np.log10(np.abs(A @ coefficients))
figure, panels = plt.subplots(1, 3, figsize=(9.5, 3.1), layout="constrained")
panels[0].imshow(np.abs(picture), cmap="gray")
panels[0].set_title("picture: modulus", loc="left", fontsize=10)
phase = panels[1].imshow(np.ma.masked_where(np.abs(picture) < 5, np.angle(picture)), cmap="cividis")
panels[1].set_title("picture: phase (radians)", loc="left", fontsize=10)
figure.colorbar(phase, ax=panels[1], shrink=0.8)
panels[2].imshow(fftshift(measured.reshape(SIZE, SIZE)), cmap="gray")
panels[2].set_facecolor("#b8cfe5")
panels[2].set_title(f"k-space: {len(kept)} of {SIZE**2} samples", loc="left", fontsize=10)
for ax in panels:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
plt.show()

# %%
# First a picture that *is* sparse, made of the 2000 largest coefficients. It comes back to the last digits, phase
# included: nothing is lost by measuring a third. Then the picture as it is. None of its coefficients is zero, and
# ``recover`` warns that no exact end was found; how good its answer is, the certificate says all the same.


def decibels(x, truth):
    return -20 * np.log10(np.linalg.norm(x - truth) / np.linalg.norm(truth))


largest = np.argsort(np.abs(coefficients))[-2000:]
sparse = np.zeros_like(coefficients)
sparse[largest] = coefficients[largest]
exact = hf.recover(A, A @ sparse)
with warnings.catch_warnings(action="ignore", category=hf.ConvergenceWarning):
    real = hf.recover(A, A @ coefficients)

figure, panels = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
for row, r, truth, name in zip(panels, (exact, real), (sparse, coefficients), ("sparse", "as it is"), strict=True):
    print(f"{name}: {r.status.name}, gap {r.certificate.gap:.0e}, after {r.stats.passes:.0f} products")
    for place, way, x in ((0, "zero-filled", back_project(A @ truth)), (2, "recovered", r.x)):
        quality = decibels(x, truth)
        print(f"{name}: {way}, {quality:.1f} dB")
        row[place].imshow(np.abs(synthesise(x)), cmap="gray", vmin=0, vmax=slice_.max())
        row[place].set_title(f"{way}: {quality:.1f} dB", loc="left", fontsize=10)
        row[place + 1].imshow(np.abs(synthesise(x - truth)), cmap="gray", vmin=0, vmax=0.15 * slice_.max())
        row[place + 1].set_title("its error", loc="left", fontsize=10)
    row[0].set_ylabel(name)
for ax in panels.flat:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
plt.show()

# %%
# White is 15 % of the brightest pixel. The edges, which zero-filling blurs, are there again; a faint noise is left. Is
# the solver to blame? The gap says no: the ℓ1 norm of the answer is within a thousandth of the smallest that any
# picture with these samples can have, and the true picture's is far from it.

smallest = real.certificate.lower_bound
print(f"recovered: at most {100 * (real.certificate.l1_norm / smallest - 1):.2f} % above the smallest ℓ1 norm")
print(f"picture:   at least {100 * (np.abs(coefficients).sum() / real.certificate.l1_norm - 1):.0f} % above it")

# %%
# So what is missing is in the samples and the wavelets: more samples, or a transform in which heads have fewer large
# coefficients, would help, and a more patient solver would not. The samples here have no noise; ``noise_level`` is for
# real data so far. Groups, several columns, and real pictures from complex samples: :doc:`/groups`; noise in a real
# picture: :doc:`plot_photograph`.
