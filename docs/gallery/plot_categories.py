"""
A table of categories: whole variables, or none
===============================================

You will learn to fit a table whose columns are categories so that a variable comes in with all its levels or stays out,
and to tell when that is the right question.

The rents of 300 flats are drawn, so that the truth is known: they depend on the district, the energy class and the
floor, and on none of the seven other variables. One-hot, the ten variables make 93 features.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LassoCV
from sklearn.metrics import r2_score
from sklearn.preprocessing import OneHotEncoder

from hadaflow.estimators import SparseFlowRegressor
from hadaflow.plotting.palette import BLUE, ORANGE

LEVELS = {"district": 12, "month": 12, "energy class": 7, "built": 8, "heating": 4}
LEVELS |= {"street": 20, "kitchen": 4, "floor": 8, "landlord": 3, "agent": 15}
rng = np.random.default_rng(0)


def whole():
    return {"district": rng.normal(0, 1, 12), "energy class": np.linspace(0.8, -0.8, 7), "floor": rng.normal(0, 0.6, 8)}


def draw(rows, effects):
    table = pd.DataFrame({name: rng.integers(levels, size=rows) for name, levels in LEVELS.items()})
    return table, sum(effect[table[name]] for name, effect in effects.items())


def one_hot(table, drop=None):
    levels = [np.arange(count) for count in LEVELS.values()]
    encoder = OneHotEncoder(categories=levels, drop=drop, sparse_output=False).set_output(transform="pandas")
    return encoder.fit_transform(table)


truth = whole()
flats, signal = draw(300, truth)
rents = signal + rng.standard_normal(300)

# %%
# A label for each feature, here the name of its variable, says which belong together. Then a variable is chosen by what
# all its levels explain; without, each level is chosen by itself.

X = one_hot(flats)
variables = np.repeat(list(LEVELS), list(LEVELS.values()))
models = {
    "variable by variable": SparseFlowRegressor(feature_groups=variables),
    "level by level": SparseFlowRegressor(),
    "LassoCV": LassoCV(max_iter=10_000),
}
new_flats, new_signal = draw(2000, truth)

known = np.concatenate(
    [truth[name] - truth[name].mean() if name in truth else np.zeros(LEVELS[name]) for name in LEVELS]
)
figure, panels = plt.subplots(3, 1, figsize=(9, 7), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(panels, models.items(), strict=True):
    model.fit(X, rents)
    kept = [variable for variable in LEVELS if model.coef_[variables == variable].any()]
    score = r2_score(new_signal, model.predict(one_hot(new_flats)))
    print(f"{name}: {len(kept)} of 10 variables, {np.count_nonzero(model.coef_)} of 93 levels, R² {score:.2f}")
    means = pd.Series(model.coef_).groupby(variables).transform("mean")  # levels are compared with each other
    shown = np.isin(variables, kept)
    ax.bar(np.arange(93), known, color="#c4c4c4", label="truth")
    ax.plot(np.flatnonzero(shown), (model.coef_ - means)[shown], "o", color=BLUE, markersize=4, label="estimate")
    ax.set_title(f"{name}: {len(kept)} of 10 variables, R² {score:.2f} on new flats", loc="left", fontsize=10)
    ax.set_ylabel("effect on the rent")
    ax.spines[["top", "right"]].set_visible(False)
ends = np.cumsum([0, *LEVELS.values()]) - 0.5
for ax in panels:
    for end in ends:
        ax.axvline(end, color="#dddddd", linewidth=0.8, zorder=0)
    ax.tick_params(axis="x", length=0)
panels[0].legend(frameon=False, ncols=2, loc="upper right")
panels[2].set_xlim(ends[0], ends[-1])
panels[2].set_xticks((ends[:-1] + ends[1:]) / 2, list(LEVELS), rotation=30)
plt.show()

# %%
# The first names the three variables and follows all their levels. The second finds the extreme levels and takes the
# others of a variable to be one; the third finds something everywhere. There is another difference: leaving out one
# level of each variable as reference says the same in other coordinates, and only the first answers the same.

for name, model in models.items():
    before = model.predict(one_hot(new_flats))
    fewer = one_hot(flats, drop="first")
    if name == "variable by variable":
        model.set_params(feature_groups=[feature.split("_")[0] for feature in fewer])
    after = model.fit(fewer, rents).predict(one_hot(new_flats, drop="first"))
    print(f"{name}: predictions change by up to {np.abs(after - before).max():.0e}")

# %%
# Is it always better? No: where a single level matters, one district and one agent among many, a whole variable is a
# high price for it. Over many draws, with such effects to the right:


def single():
    return {name: 1.5 * (np.arange(LEVELS[name]) == 1) for name in ("district", "floor", "agent")}


counts, trials = (100, 200, 300, 500), 8
figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
scores = {}
for ax, effects, title in zip(panels, (whole, single), ("all levels matter", "one level of each matters"), strict=True):
    for rows in counts:
        for _ in range(trials):
            truth = effects()
            (table, signal), (new_flats, new_signal) = draw(rows, truth), draw(1000, truth)
            X, y, new = one_hot(table), signal + rng.standard_normal(rows), one_hot(new_flats)
            for name, groups in (("variable by variable", variables), ("level by level", None)):
                model = SparseFlowRegressor(feature_groups=groups).fit(X, y)
                scores.setdefault((title, name), []).append(r2_score(new_signal, model.predict(new)))
    for name, colour, marker in (("variable by variable", BLUE, "o"), ("level by level", ORANGE, "^")):
        means = np.reshape(scores[title, name], (len(counts), trials)).mean(axis=1)
        ax.plot(counts, means, color=colour, marker=marker, label=name)
        print(f"{title}, {name}: mean R²", *means.round(2))
    ax.set_title(f"three variables: {title}", loc="left", fontsize=10)
    ax.set_xlabel("rows")
    ax.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel(f"R² on new flats, mean of {trials} draws")
panels[1].legend(frameon=False, loc="lower right")
plt.show()

# %%
# So the groups say what you believe: that a variable matters, or that single levels do. With few rows the first belief
# is costly where it is wrong, and pays where it is right. Splines of one variable, lags of one sensor and several
# targets are groups as well: :doc:`/estimators`.
