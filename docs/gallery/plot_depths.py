"""
What depth does to training: depths 2 to 5
==========================================

You will learn to follow gradient flow on models of different depths, and to see the two things that depth changes: how
sharp the jumps are, and how near the end is to the sparsest solution.

The data are 20 measurements of 50 coordinates, three of which are not zero. All models start at the same product scale,
``x = u^D − v^D`` with ``u^D = v^D = 1e-6``.
"""

import matplotlib.pyplot as plt
import numpy as np

import hadaflow as hf
from hadaflow.plotting import plot_path

rng = np.random.default_rng(0)
A, x = rng.standard_normal((20, 50)) / 20**0.5, np.zeros(50)
x[:3] = [1.0, -0.7, 0.4]
problem, scale = hf.Problem(A, A @ x), 1e-6

# %%
# A flow is evaluated at any time, so there is nothing to choose but the start.

paths = {depth: hf.flow(problem, hf.HadamardPower(depth), init_scale=scale ** (1 / depth)) for depth in (2, 3, 4, 5)}

figure, panels = plt.subplots(2, 2, figsize=(9, 6.5), sharey=True, layout="constrained")
for ax, path in zip(panels.flat, paths.values(), strict=True):
    plot_path(path, truth=x, ax=ax)
    ax.set_xlim(1, 1e4)
plt.show()

# %%
# Every depth learns one coordinate after the other, the largest first. The deeper the model, the longer it waits, and
# the more suddenly a coordinate comes.
#
# Where the flow ends depends on the depth too. :func:`hadaflow.limit` goes there at once, from any start, so the
# distance from the sparse vector can be drawn against it.

scales = np.geomspace(1e-9, 1e-2, 8)
figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for depth, marker in zip((2, 3, 4, 5), "os^D", strict=True):
    model = hf.HadamardPower(depth)
    errors = [np.linalg.norm(hf.limit(problem, model, init_scale=w ** (1 / depth)).x - x) for w in scales]
    ax.loglog(scales, errors, marker=marker, markersize=4, label=f"depth {depth}")
    print(f"depth {depth}: from {errors[-1]:.1e} to {errors[0]:.1e}")
ax.set(xlabel="product scale", ylabel="distance of the limit from x")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Above depth 2 the error falls in proportion to the product scale. At depth 2 it falls with a smaller power, which the
# matrix decides (:doc:`plot_own_matrix` computes it). More: :doc:`/concepts/depth_and_scale`.
