"""
An electrocardiogram from 400 random sums
=========================================

You will learn to recover a signal that is sparse in a wavelet basis from fewer measurements than it has samples, and to
read the proof that comes with the answer.

A sensor keeps 400 random ±1 sums of the 1024 samples of a heart recording. The recording is not sparse, but its wavelet
coefficients nearly are. So these are the unknowns: with the measurements ``M`` and the wavelets as columns of ``W``,
the matrix is ``A = M W``.
"""

import matplotlib.pyplot as plt
import numpy as np
import pywt
import pywt.data

import hadaflow as hf
from hadaflow.plotting import plot_recovery

recording = pywt.data.ecg() - pywt.data.ecg().mean()
W = np.vstack(pywt.wavedec(np.eye(1024), "sym4", "periodization", axis=0)).T  # orthogonal: its inverse is W.T
M = np.random.default_rng(0).choice([-1.0, 1.0], (400, 1024))
A, y = M @ W, M @ recording

r = hf.recover(A, y)
print(r)

# %%
# The answer is a solution of smallest ℓ1 norm, and the certificate says so without trusting the solver. Beside it
# stands the habit of least squares, the solution of smallest ℓ2 norm: it agrees with the measurements just as well.

smallest_l2 = np.linalg.lstsq(A, y, rcond=None)[0]


def error(x):
    return np.linalg.norm(W @ x - recording) / np.linalg.norm(recording)


print(f"smallest ℓ1 norm: off by {100 * error(r.x):.0f} %, gap {r.certificate.gap:.0e}, unique: {r.certificate.unique}")
print(f"smallest ℓ2 norm: off by {100 * error(smallest_l2):.0f} %")

figure, panels = plt.subplots(2, 1, figsize=(7.5, 5), sharex=True, sharey=True, layout="constrained")
for ax, x, colour, name in zip(panels, (r.x, smallest_l2), ("#0b5394", "#e08214"), ("ℓ1", "ℓ2"), strict=True):
    ax.plot(recording, color="#c4c4c4", linewidth=4, label="recording")
    ax.plot(W @ x, color=colour, linewidth=1.3, label="recovered")
    ax.set_title(f"smallest {name} norm: off by {100 * error(x):.0f} %", loc="left")
    ax.legend(frameon=False, loc="upper right", ncols=2)
    ax.spines[["top", "right"]].set_visible(False)
panels[1].set(xlim=(400, 720), xlabel="sample")
plt.show()

# %%
# The 10 % that are left are no failure of the solver: with 400 measurements the smaller coefficients cannot be told. A
# signal that *is* sparse comes back exactly. Here it is made of the 100 largest coefficients of the recording. In the
# lowest panel, the entries of the dual vector lie within ±1, and reach it on the support: nothing more is needed for
# the proof.

sparse = np.where(np.abs(W.T @ recording) >= np.sort(np.abs(W.T @ recording))[-100], W.T @ recording, 0.0)
exact = hf.recover(A, A @ sparse)
print(f"100 coefficients: off by {np.linalg.norm(exact.x - sparse) / np.linalg.norm(sparse):.0e}")

plot_recovery(exact, truth=sparse)
plt.show()

# %%
# Next: noise (:doc:`plot_photograph`), and a longer version with a table of all errors, ``python
# examples/ecg_recovery.py``.
