"""
What you know beforehand: weights and signs
===========================================

You will learn to tell a recovery what you know about ``x`` apart from its sparsity, and how many measurements that
saves.

Twelve of 200 coordinates are not zero, and all are positive. With 40 measurements that is too many for the smallest ℓ1
norm alone.
"""

import matplotlib.pyplot as plt
import numpy as np

import hadaflow as hf

rng = np.random.default_rng(0)
A, x = rng.standard_normal((40, 200)), np.zeros(200)
x[rng.choice(60, 12, replace=False)] = rng.uniform(0.5, 2.0, 12)
y = A @ x

# %%
# ``positive=True`` minimises over ``x ≥ 0``. With ``weights`` the sum of ``w_i |x_i|`` is smallest; here we believe
# that the first 60 coordinates are likelier than the others, and let the others cost three times as much. Both can be
# said at once.

weights = np.where(np.arange(200) < 60, 1.0, 3.0)
answers = {
    "sparse": hf.recover(A, y),
    "sparse, x ≥ 0": hf.recover(A, y, positive=True),
    "sparse, weights": hf.recover(A, y, weights=weights),
    "sparse, x ≥ 0, weights": hf.recover(A, y, positive=True, weights=weights),
}

figure, panels = plt.subplots(2, 2, figsize=(9, 5), sharex=True, sharey=True, layout="constrained")
for ax, (name, r) in zip(panels.flat, answers.items(), strict=True):
    error = np.linalg.norm(r.x - x) / np.linalg.norm(x)
    print(f"{name:24} error {error:.0e}, gap {r.certificate.gap:.0e}, unique {r.certificate.unique}")
    ax.vlines(np.flatnonzero(x), 0, x[x != 0], color="#c4c4c4", linewidth=4)
    ax.plot(r.support(), r.x[r.support()], "o", color="#0b5394", markersize=4)
    ax.axhline(0, color="#222222", linewidth=0.8)
    ax.set_title(f"{name}: error {error:.0e}", loc="left", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Every answer is optimal for what was asked, and proved to be; only the question was not always the right one. That is
# what a certificate tells and what it does not.
#
# Over many draws: the share of vectors recovered, against the number of measurements.

counts, trials = np.arange(15, 61, 5), 10
shares = {name: [] for name in answers}
for m in counts:
    hits = dict.fromkeys(answers, 0)
    for _ in range(trials):
        A, x = rng.standard_normal((m, 200)), np.zeros(200)
        x[rng.choice(60, 12, replace=False)] = rng.uniform(0.5, 2.0, 12)
        for name in answers:
            known = {"positive": "≥" in name, "weights": weights if "weights" in name else None}
            hits[name] += np.allclose(hf.recover(A, A @ x, **known).x, x, atol=1e-6)
    for name, hit in hits.items():
        shares[name].append(hit / trials)

figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (name, share), marker in zip(shares.items(), "os^D", strict=True):
    ax.plot(counts, share, marker=marker, label=name)
    print(f"{name:24} half recovered from {counts[np.greater_equal(share, 0.5).argmax()]} measurements")
ax.set(xlabel="measurements of 200 unknowns, 12 of them not zero", ylabel="share recovered")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
