"""
In a scikit-learn pipeline
==========================

You will learn to put a sparse regression with nothing to tune behind your preprocessing, to judge it by
cross-validation, and to read which features it kept and why.

The table is scikit-learn's own: ten measurements of 442 patients, and the progress of their diabetes a year later. With
their products they make 55 features.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LassoCV
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from hadaflow.estimators import SparseFlowRegressor
from hadaflow.plotting import plot_support

table = load_diabetes(as_frame=True, scaled=False)


def pipeline(estimator):
    products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    return make_pipeline(StandardScaler(), products, StandardScaler(), estimator).set_output(transform="pandas")


# %%
# An estimator like any other: it can be fitted, scored, cloned and searched. Within each fold the pipeline chooses
# anew, so the test part is new to all. LassoCV predicts a little better here, with more than twice as many features.

for estimator in (SparseFlowRegressor(), LassoCV(max_iter=10_000)):
    scores = cross_val_score(pipeline(estimator), table.data, table.target, cv=5)
    kept = np.count_nonzero(pipeline(estimator).fit(table.data, table.target)[-1].coef_)
    print(f"{type(estimator).__name__:20} R² {scores.mean():.3f}, {kept} of 55 features")

# %%
# On the whole table. What was kept, by the names that the pipeline gave them, and why; and what each patient was
# predicted by a fit that had not seen the patient:

model = pipeline(SparseFlowRegressor()).fit(table.data, table.target)
print(model[-1].reason_)

figure, panels = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
plot_support(model[-1], ax=panels[0])
held_out = cross_val_predict(model, table.data, table.target, cv=5)
panels[1].plot(table.target, held_out, ".", color="#0b5394", markersize=4)
panels[1].axline((150, 150), slope=1, color="#8c8c8c", linestyle="--")
panels[1].set(xlabel="progress of the disease", ylabel="predicted, held out")
panels[1].spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# New patients are predicted in the units of the target.

print(model.predict(table.data[:3]).round(), table.target[:3].to_numpy())

# %%
# Weights of rows, intercept, several targets, classes: :doc:`/estimators`.
