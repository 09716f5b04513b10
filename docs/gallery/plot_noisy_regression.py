"""
Regression with many useless columns, beside LassoCV
====================================================

You will learn to fit a noisy table with more columns than rows without choosing anything, and what that changes
compared with a cross-validated lasso.

200 rows, 600 columns of which ten matter, and noise: the coefficients are ±1, the noise has standard deviation 1, and
neighbouring columns are correlated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LassoCV

from hadaflow.estimators import SparseFlowRegressor
from hadaflow.plotting import plot_path

rng = np.random.default_rng(0)
X = rng.standard_normal((200, 600))
for column in range(1, 600):
    X[:, column] = 0.5 * X[:, column - 1] + 0.75**0.5 * X[:, column]
truth = np.zeros(600)
truth[rng.choice(600, 10, replace=False)] = rng.choice([-1.0, 1.0], 10)
y = X @ truth + rng.standard_normal(200)

# %%
# Both fits are one line. The regressor has no penalty, no folds and no seed; it says why it chose what it chose.

flow = SparseFlowRegressor().fit(X, y)
lasso = LassoCV(cv=5).fit(X, y)
print(flow.reason_)

# %%
# The lasso keeps the ten columns as well, but shrinks them all, and to make up for it takes many that mean nothing. On
# the support that the flow found, it is least squares.

figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
for ax, model, name in zip(panels, (flow, lasso), ("SparseFlowRegressor", "LassoCV"), strict=True):
    found, false = np.count_nonzero(model.coef_[truth != 0]), np.count_nonzero(model.coef_[truth == 0])
    error = np.linalg.norm(model.coef_ - truth)
    print(f"{name}: {found} of 10 found, {false} false, error {error:.2f}")
    kept = np.flatnonzero(model.coef_)
    ax.vlines(np.flatnonzero(truth), 0, truth[truth != 0], color="#c4c4c4", linewidth=5, label="truth")
    ax.plot(kept, model.coef_[kept], "o", color="#0b5394", markersize=4, label="estimate")
    ax.axhline(0, color="#222222", linewidth=0.8)
    ax.set_title(f"{name}: {false} false, error {error:.2f}", loc="left", fontsize=10)
    ax.set_xlabel("column")
    ax.spines[["top", "right"]].set_visible(False)
panels[0].legend(frameon=False)
plt.show()

# %%
# Where the choice was made: coefficients along the path, coloured those that were kept. Before the dotted line
# something is missing, after it noise comes in.

plot_path(flow, truth=truth)
plt.show()

# %%
# One data set proves nothing: :doc:`/comparison` sums up 64 settings and more estimators, those that are better
# included. With *weak* signals everywhere LassoCV predicts better; :doc:`/estimators` says which estimator you want.
