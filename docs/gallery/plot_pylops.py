"""
A PyLops operator: spikes behind a wavelet
==========================================

You will learn to recover from an operator that you compose in PyLops, gaps in the data included; nothing has to be
converted.

A seismic trace is a series of spikes, the reflections of layers, convolved with a wavelet that blurs neighbours into
each other. Here it has 300 samples, of which every third was lost.
"""

import matplotlib.pyplot as plt
import numpy as np
import pylops
from pylops.utils.wavelets import ricker

import hadaflow as hf

rng = np.random.default_rng(0)
spikes = np.zeros(300)
spikes[np.sort(rng.choice(np.arange(20, 280, 5), 12, replace=False))] = rng.choice([-1, 1], 12) * rng.uniform(
    0.3, 1, 12
)

wavelet, _, centre = ricker(np.arange(15) * 0.004, f0=25)
blur = pylops.signalprocessing.Convolve1D(300, h=wavelet, offset=centre)
kept = np.flatnonzero(np.arange(300) % 3)
A = pylops.Restriction(300, kept) @ blur
y = A @ spikes

# %%
# ``A`` goes in as it is. Without noise the spikes come back exactly, with a proof.

exact = hf.recover(A, y)
print(exact.status.message)
print(f"error {np.linalg.norm(exact.x - spikes) / np.linalg.norm(spikes):.0e}, gap {exact.certificate.gap:.0e}")

# %%
# With noise, say how large it is: the path is followed to where the residual is within it.

noise = 0.03 * rng.standard_normal(len(y))
noisy = hf.recover(A, y + noise, noise_level=np.linalg.norm(noise))
least_squares = (A.H * A + 1e-2 * pylops.Identity(300)) / (A.H * (y + noise))

figure, panels = plt.subplots(3, 1, figsize=(8, 6), sharex=True, layout="constrained")
panels[0].plot(kept, y + noise, ".", color="#222222", markersize=3)
panels[0].set_title("measured: two of three samples, with noise", loc="left", fontsize=10)
for ax, found, name in zip(
    panels[1:], (noisy.x, least_squares), ("hadaflow", "regularised least squares"), strict=True
):
    error = np.linalg.norm(found - spikes) / np.linalg.norm(spikes)
    print(f"{name}: error {error:.2f}")
    ax.vlines(np.flatnonzero(spikes), 0, spikes[spikes != 0], color="#c4c4c4", linewidth=5)
    ax.vlines(np.arange(300), 0, found, color="#0b5394", linewidth=1.2)
    ax.set_title(f"{name}: error {error:.2f}", loc="left", fontsize=10)
for ax in panels:
    ax.axhline(0, color="#222222", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
panels[2].set_xlabel("sample")
plt.show()

# %%
# An operator of your own that is not PyLops' needs ``matvec`` and ``rmatvec``, and :func:`hadaflow.dot_test`:
# :doc:`plot_photograph`.
