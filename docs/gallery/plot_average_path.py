r"""
The average along training is the lasso path
============================================

You will learn to get all lasso solutions from one path without a lasso solver, and what the path itself has that the
lasso has not.

As the start vanishes, training becomes a path of plateaus and jumps (:func:`hadaflow.saddles`). Its running average up
to the rescaled time ``τ`` solves the lasso with the penalty ``1 / τ``,

.. math::

   \min_x \; \tfrac12 \lVert A x - y \rVert^2 + \tfrac1\tau \lVert x \rVert_1,

as long as no coordinate has come back to zero. The data are 100 noisy measurements of 200 coordinates, five of which
are one.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import lasso_path

import hadaflow as hf
from hadaflow.plotting import plot_path, plot_window

rng = np.random.default_rng(0)
A = rng.choice([-1.0, 1.0], (100, 200)) / 10
x = np.repeat([1.0, 0.0], [5, 195])
problem = hf.Problem(A, A @ x + 0.05 * rng.standard_normal(100))
path = hf.saddles(problem)

# %%
# Coordinate descent at thirty penalties, and the averages at the thirty times. scikit-learn divides the squared error
# by the number of rows, so its penalty is ours divided by 100.

penalties = np.geomspace(1.4, 0.16, 30)
lasso = lasso_path(A, problem.y, alphas=penalties / 100, tol=1e-10)[1].T
averages = np.array([path.average(1 / penalty) for penalty in penalties])
print(f"largest difference: {np.abs(averages - lasso).max():.0e}")

figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
plot_path(path, truth=x, read_out="average", ax=panels[0])
panels[0].plot(1 / penalties[::2], lasso[::2, :5], ".", color="#222222", markersize=4)
panels[0].set_xlabel("rescaled time = 1 / penalty")
panels[0].text(0.97, 0.3, "lines: average; dots: lasso", transform=panels[0].transAxes, ha="right")
plot_path(path, truth=x, ax=panels[1])
for ax in panels:
    ax.set_xlim(0.6, 20)
plt.show()

# %%
# Both find the five coordinates in the same order. But the lasso, like the average, has them shrunk; the iterate, to
# the right, jumps to nearly their size at once. A certificate judges any lasso solution, whoever computed it:

certificate = hf.certify_lasso(problem, path.average(1 / 0.4), penalty=0.4)
print(f"relative gap to the smallest objective: {certificate.gap:.0e}")

# %%
# So the read-out is a choice. With noise and signals that stand out of it, the iterate within its window is as good as
# least squares on the true support.

plot_window(path, x)
plt.show()

# %%
# The proof, and what happens when a coordinate comes back to zero: :doc:`/vanishing_scale`.
