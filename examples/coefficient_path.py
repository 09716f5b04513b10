"""Coefficients along the saddle path of a real table, and what is read off: nothing to tune.

Ten measurements of 442 patients with all squares and products (scikit-learn ships the table), and the progress of
their diabetes a year later. Left: every coefficient from the first feature that enters to where the path was no longer
followed, with the time at which it was read off. Right: the coefficients that are not zero, by name.

Run it with ``python examples/coefficient_path.py``; it needs the extra ``demo``.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from common import command, options, save
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from hadaflow.estimators import SparseFlowRegressor
from hadaflow.plotting import plot_path, plot_support


def table():
    """Features with names, standardised, and the target."""
    data = load_diabetes(as_frame=True, scaled=False)
    powers = PolynomialFeatures(2, include_bias=False).set_output(transform="pandas")
    X = powers.fit_transform(data.data)
    X = X.drop(columns="sex^2")  # says what the sex says
    return StandardScaler().set_output(transform="pandas").fit_transform(X), data.target


def main(argv: Sequence[str] | None = None) -> None:
    chosen = options(command("Coefficient path of the diabetes table."), argv)
    X, y = table()
    model = SparseFlowRegressor().fit(X, y)
    print(f"{model.support_.sum()} of {X.shape[1]} features, R² {model.score(X, y):.2f}: {model.reason_}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    plot_path(model, read_out="average", ax=left)
    plot_support(model, ax=right)
    save(figure, chosen.output, "coefficient_path", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
