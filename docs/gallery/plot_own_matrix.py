"""
A theorem, checked on your own matrix
=====================================

You will learn to ask theory what it promises for a matrix and a sparse vector of your own, and to lay what is measured
beside it.

The theorem: started at the product scale ``w``, gradient flow ends at a distance from the sparsest solution that
shrinks like ``w`` above depth 2, but only like ``w^(1 − ρ)`` at depth 2. The number ``ρ < 1`` is read off the matrix,
the support and the signs by one linear programme. Put your own ``A`` and ``x`` here:
"""

import matplotlib.pyplot as plt
import numpy as np

import hadaflow as hf
from hadaflow import theory

rng = np.random.default_rng(3)
A = rng.standard_normal((40, 100)) / 40**0.5
x = np.zeros(100)
x[[5, 17, 42, 80]] = [1.0, -0.6, 1.5, 0.8]

# %%
# What theory reads off the matrix:

support = np.flatnonzero(x)
constants = theory.null_space_constants(A, support, np.sign(x[support]))
print(constants)
for depth in (2, 3):
    print(f"depth {depth}: the error shrinks like w^{theory.predicted_exponent(depth, constants.rho):.2f}")

# %%
# What happens, and what is promised at every single scale: :func:`hadaflow.theory.certified_error_bound` is proved, and
# not only in the limit. :func:`hadaflow.theory.limit_error` solves for the distance itself, so that it stays exact
# where the limit has long the digits of ``x``.

scales = np.geomspace(1e-12, 1e-2, 21)
figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
for depth, colour in ((2, "#e08214"), (3, "#0b5394")):
    at = [{"depth": depth, "product_scale": w} for w in scales]
    measured = np.array([theory.limit_error(A, x, **scale).total for scale in at])
    bound = np.array([theory.certified_error_bound(A, x, **scale).total for scale in at])
    slope = np.polyfit(np.log(scales[:8]), np.log(measured[:8]), 1)[0]
    print(f"depth {depth}: measured w^{slope:.2f}; the bound holds: {(measured <= bound).all()}")
    ax.loglog(scales, measured, "o-", color=colour, markersize=4, label=f"depth {depth}, w^{slope:.2f}")
    ax.loglog(scales, bound, "--", color=colour, linewidth=1, label="bound")
ax.set(xlabel="product scale w", ylabel="ℓ1 distance from x")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# For one answer in hand, :func:`hadaflow.theory.explain` lays promised beside measured, row by row.

print(theory.explain(hf.recover(A, A @ x, depth=3, init_scale=1e-3)))

# %%
# All theorems as functions: :doc:`/theory`; this one: :doc:`/paper_c`.
