"""What docs/comparison.md says that no record tells: its beginning, and what hadaflow and the others are for."""

INTRODUCTION = """\
<!-- Written by benchmarks/comparison.py from benchmarks/results: change these. -->

# Beside others

*Would another package serve me better?*

For some problems, yes. This page sums up the records of [our benchmarks](measured/index.md), rows that others win
included, and says what hadaflow does not do. They were run by its authors, each on one machine, with one thread where
nothing else is said and with settings that the records name. Ratios within a table can be trusted, those of a few
milliseconds to about a half. `make bench` and its kind run them on yours.
"""

LIMITS = """\
## What it does not do

- **Overlapping groups, low rank, total variation**, and other penalties than a weighted ℓ1 or group norm: skglm,
  PyProximal, CVXPY. Total variation only where x is sparse in some basis that you can name.
- **Constraints** other than `A x = y` and `x ≥ 0`: HiGHS for linear ones, CVXPY for others.
- **A lasso or elastic net at given penalties**: celer, skglm, scikit-learn. `hf.certify_lasso` judges their answers.
- **GPUs**: none. It runs on NumPy, and on Dask for matrices larger than memory.
- **Losses** in `recover`: the squared one. `flow` and `descend` take others, logistic among them.
- **x that is not sparse** in any basis: no ℓ1 minimiser finds it, whoever computes it.
- **Streams, or many y at once** with one factorisation: `recover` pays for each.

## What the others are for

| package | what it has that hadaflow has not | in the records as |
| --- | --- | --- |
| celer | the lasso at a penalty, by working sets; groups, logistic | celer, celer + refit |
| skglm | many penalties and losses, among them MCP, SCAD, groups | MCP CV |
| SPGL1 | the lasso with a bound on the ℓ1 norm; complex data; groups | spgl1, SPGL1, SPGL1 bpdn |
| scikit-learn | everything around the fit; elastic net | lars_path, LassoCV, OMP CV |
| HiGHS | any linear programme, integers; an exact vertex with its basis | highs simplex, highs ipm |
| CVXPY | any convex problem, written as it is on paper, and a choice of solvers | cvxpy, clarabel |
| abess | best subsets, a support size of your choice; other families | abess |
| PyLops, PyProximal | operators, proximal algorithms for any penalty | FISTA, Douglas-Rachford |

What hadaflow is for, and none of these: training itself as a path, at any depth, scale and time, its limit, and
its theorems as functions. celer and HiGHS return dual values too; a certificate of uniqueness they do not.
"""
