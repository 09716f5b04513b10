"""Draw the figures of the concept pages.

Run it with ``python docs/concepts/figures.py``; it rewrites docs/images/concepts within seconds, the same each time. It
needs matplotlib and, for the lasso beside the average, scikit-learn. The last figure shows benchmark results. Where
this file is alone, without the rest of the repository, that one is left out and the others go to the current folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from sklearn.linear_model import Lasso

import hadaflow as hf
from hadaflow.plotting import plot_window
from hadaflow.theory import leading_error, limit_error, signal_time, stopping_window

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = ROOT / "docs" / "images" / "concepts"
RESULTS = ROOT / "benchmarks" / "results"
RECORDS = ("basis_pursuit.md", "regression.md")  # of the last figure

# As in the other pictures, and two more; apart in grey print and for colour-blind eyes.
BLUE, ORANGE, GREY, INK, TEAL = "#0b5394", "#e08214", "#8c8c8c", "#222222", "#2a9d8f"
OF_DEPTH = {2: (ORANGE, "o"), 3: (BLUE, "s"), 4: (TEAL, "^")}
STYLE = {
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "svg.hashsalt": "hadaflow",
}


class Data(NamedTuple):
    """What was measured, and of what."""

    A: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]


# ---- the problems of the pages; their snippets draw the same --------------------------------------------------------


def training_data() -> Data:
    """Twenty measurements of fifty coordinates."""
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((20, 50)) / 20**0.5, np.zeros(50)
    x[:3] = [1.0, -0.7, 0.4]
    return Data(A, x, A @ x)


def small_data() -> Data:
    """Five measurements of ten coordinates; the matrix of docs/paper_c.md."""
    rng = np.random.default_rng(101)
    A, x = rng.standard_normal((5, 10)) / np.sqrt(5), np.zeros(10)
    x[:2] = [2.0, 1.2]
    return Data(A, x, A @ x)


def noisy_data() -> Data:
    """A hundred noisy measurements of two hundred coordinates, five of them one."""
    rng = np.random.default_rng(0)
    A, x = rng.choice([-1.0, 1.0], (100, 200)), np.zeros(200)
    x[:5] = 1.0
    return Data(A, x, A @ x + 0.5 * rng.standard_normal(100))


def three_data() -> Data:
    """Forty measurements of eighty coordinates, three of them not zero."""
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((40, 80)) / 40**0.5, np.zeros(80)
    x[:3] = [3.0, -2.0, 1.0]
    return Data(A, x, A @ x)


def signs_data(m: int) -> Data:
    """So many measurements of two hundred coordinates, eight of them plus or minus one."""
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((m, 200)), np.zeros(200)
    x[rng.choice(200, 8, replace=False)] = rng.choice([-1.0, 1.0], 8)
    return Data(A, x, A @ x)


# ---- one figure a page ----------------------------------------------------------------------------------------------


def one_state_one_map() -> Figure:
    """The mirror map of three depths; factors that were integrated beside what the map makes of the dual state."""
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    share = np.linspace(-1, 1, 401)
    for depth, (colour, _) in OF_DEPTH.items():
        model, a = hf.HadamardPower(depth), 1e-4 ** (1 / depth)
        theta = share * float(model.inverse(np.array(1.0), a))
        left.plot(share, model.mirror_map(theta, a), color=colour, label=f"depth {depth}")
    left.set(xlabel="θ, over the θ of x = 1", ylabel="x = B(θ)", title="The map, from product scale 1e-4")
    left.legend(loc="upper left")

    data, a, depth = training_data(), 0.05, 3
    n, end = len(data.x), 40.0
    times = np.linspace(0, end, 41)

    def velocity(_: float, w: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = w[:n], w[n:]
        pull = depth * data.A.T @ (data.y - data.A @ (u**depth - v**depth))
        return np.concatenate([pull * u ** (depth - 1), -pull * v ** (depth - 1)])

    factors = solve_ivp(velocity, (0, end), np.full(2 * n, a), t_eval=times, rtol=1e-9, atol=1e-12).y
    path = hf.flow(hf.Problem(data.A, data.y), hf.HadamardPower(depth), init_scale=a, t_end=end)
    fine = np.linspace(0, end, 400)
    colours = [BLUE, ORANGE, TEAL] + [GREY] * (n - 3)
    for i in reversed(range(n)):
        right.plot(fine, path(fine)[:, i], color=colours[i], lw=1.6 if i < 3 else 0.6)
        if i < 3:
            right.plot(times, factors[i] ** depth - factors[n + i] ** depth, ".", color=colours[i], ms=7)
    right.plot([], [], ".", color=INK, label="100 factors, integrated")
    right.plot([], [], color=INK, label="B(Aᵀν) of 20 numbers ν")
    right.set(xlabel="flow time t", ylabel="x", title="Training, followed both ways", ylim=(None, 1.6))
    right.legend(loc="upper left")
    return figure


def depth_and_scale() -> Figure:
    """The error of the limit, and the time to wait for a coordinate, against the product scale."""
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    data = small_data()
    scales = np.geomspace(1e-10, 1e-1, 10)
    for depth, (colour, marker) in OF_DEPTH.items():
        errors = [limit_error(data.A, data.x, depth=depth, product_scale=w).total for w in scales]
        theory = [leading_error(data.A, data.x, depth=depth, product_scale=w).total for w in scales]
        left.loglog(scales, theory, "--", color=colour, lw=1)
        left.loglog(scales, errors, marker, color=colour, ms=5, label=f"depth {depth}")
        waits = [signal_time(depth=depth, init_scale=w ** (1 / depth), signal=1.0) for w in scales]
        right.loglog(scales, waits, f"-{marker}", color=colour, ms=5, label=f"depth {depth}")
    left.plot([], [], "--", color=INK, lw=1, label="theory, leading term")
    left.set(xlabel="product scale w = a^D", ylabel="‖limit − ℓ1 minimiser‖₁", title="What a small start buys")
    right.set(xlabel="product scale w = a^D", ylabel="flow time to 90 % of x = 1", title="What it costs")
    left.legend(loc="lower right")
    right.legend(loc="upper right")
    return figure


def early_stopping() -> Figure:
    """Coordinates on and off the support, and the error of both read-outs, over flow time."""
    figure = Figure(figsize=(8.0, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.2))
    data, depth, w = noisy_data(), 3, 1e-6
    path = hf.flow(hf.Problem(data.A, data.y), hf.HadamardPower(depth), init_scale=w ** (1 / depth), t_end=100.0)
    times = np.geomspace(0.08, 100, 400)
    x = path(times)
    top.semilogx(times, x[:, 5:], color=GREY, lw=0.5)
    top.semilogx(times, x[:, :5], color=BLUE, lw=1.6)
    top.plot([], [], color=BLUE, label="the five coordinates that are one")
    top.plot([], [], color=GREY, label="the 195 that are zero")
    top.set(ylabel="x", ylim=(-0.5, 1.9), title="100 noisy measurements of 200 coordinates, depth 3")
    top.legend(loc="upper left", ncols=2)

    plot_window(path, data.x, ax=bottom)
    noise = data.y - data.A @ data.x
    off = np.abs(data.A.T @ noise)[5:].max() / 100
    on = np.abs(data.A.T @ data.y)[:5].min() / 100
    guess = stopping_window(depth=depth, init_scale=w ** (1 / depth), signal=on, noise=off, column_square=100)
    for time, name in [(guess.start, "theory: start"), (guess.stop, "theory: stop")]:
        bottom.axvline(time, color=INK, lw=0.9, ls=(0, (4, 3)))
        bottom.annotate(
            name, (time, 0.94), (4, 0), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9
        )
    bottom.set(xlim=(0.08, 100))
    return figure


def limit_and_saddles() -> Figure:
    """Flows of falling scales beside the saddle path; its running average beside the lasso."""
    figure = Figure(figsize=(8.0, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    data = three_data()
    problem = hf.Problem(data.A, data.y)
    saddles = hf.saddles(problem)
    end, depth = 3.2, 3
    taus = np.linspace(0, end, 500)
    for w, colour in [(1e-2, "#f4c58f"), (1e-4, ORANGE), (1e-8, BLUE)]:
        a = w ** (1 / depth)
        rate = depth * (depth - 2) * a ** (depth - 2)
        path = hf.flow(problem, hf.HadamardPower(depth), init_scale=a, t_end=end / rate)
        left.plot(taus, path(taus / rate)[:, :3], color=colour, lw=1.6)
        left.plot([], [], color=colour, label=f"flow, w = 1e{np.log10(w):.0f}")
    left.step(taus, [saddles(tau)[:3] for tau in taus], where="post", color=INK, lw=1.2, ls=(0, (3, 2)))
    left.plot([], [], color=INK, lw=1.2, ls=(0, (3, 2)), label="saddle path")
    left.set(xlabel="rescaled time τ", ylabel="x", title="Iterates, depth 3", ylim=(-2.6, 5.6))
    left.legend(loc="upper left", ncols=2)

    most = float(np.abs(data.A.T @ data.y).max())
    penalties = np.geomspace(most, most / 50, 300)
    averages = np.array([saddles.average(1 / penalty) for penalty in penalties])
    right.semilogx(penalties, averages[:, 3:], color=GREY, lw=0.6)
    right.semilogx(penalties, averages[:, :3], color=BLUE)
    some = penalties[::20]
    m = len(data.y)
    lasso = [Lasso(alpha=p / m, fit_intercept=False, tol=1e-10).fit(data.A, data.y).coef_[:3] for p in some]
    right.semilogx(some, lasso, "o", color=ORANGE, ms=5, mfc="none", mew=1.4)
    right.plot([], [], color=BLUE, label="average of the saddle path at τ = 1/λ")
    right.plot([], [], "o", color=ORANGE, mfc="none", mew=1.4, label="a lasso solver")
    right.invert_xaxis()
    right.set(xlabel="penalty λ, falling", title="Running averages")
    right.legend(loc="upper left")
    return figure


def certificates() -> Figure:
    """What the dual of an answer does on the support and off it, where the truth is found and where it is not."""
    figure = Figure(figsize=(8.0, 5.6), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for ax, m in zip(axes, (50, 25), strict=True):
        data = signs_data(m)
        answer = hf.recover(data.A, data.y)
        reach = np.abs(data.A.T @ answer.dual)
        _stems(ax, reach / reach.max(), answer.support(), np.flatnonzero(data.x))
        right = set(answer.support()) == set(np.flatnonzero(data.x))
        ax.set(ylabel="|Aᵀν|", ylim=(0, 1.32), xlim=(-1, 200), yticks=(0, 0.5, 1))
        ax.set_title(
            f"{m} measurements: the smallest ℓ1 norm, proved; {'' if right else 'not '}the vector that was measured"
        )
    axes[1].set_xlabel("coordinate")
    axes[0].legend(loc="upper left", ncols=3, bbox_to_anchor=(0, 1.02), borderaxespad=0.2)
    return figure


def _stems(ax: Axes, reach: NDArray[np.float64], support: NDArray[np.intp], truth: NDArray[np.intp]) -> None:
    ax.axhline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
    off = np.setdiff1d(np.arange(len(reach)), support)
    ax.vlines(off, 0, reach[off], color=GREY, lw=1, label="zeros of the answer")
    ax.vlines(support, 0, reach[support], color=BLUE, lw=2)
    ax.plot(support, reach[support], "o", color=BLUE, ms=5, label="its non-zeros")
    ax.plot(truth, np.full(len(truth), 1.07), "v", color=ORANGE, ms=5, label="where the truth is not zero")


def choosing_a_solver() -> Figure:
    """Measured times of solvers without noise, and errors of estimators with noise, from the records."""
    figure = Figure(figsize=(8.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    rows = [row for row in table("basis_pursuit.md", "## Summary") if row[0] != "hadaflow"]
    for k, (_, tried, met, _, *ratios) in enumerate(reversed(rows)):
        median, least, most = (float(ratio) for ratio in ratios)
        left.plot([least, most], [k, k], color=GREY, lw=1.2)
        left.plot(median, k, "o", color=BLUE)
        left.text(2e3, k, f"{met} of {tried}", fontsize=9, va="center")
    left.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
    left.text(2e3, len(rows) - 0.4, "met target", fontsize=9)
    left.axvline(1, color=ORANGE, lw=1.2)
    left.set(
        xscale="log",
        xlim=(0.1, 4e4),
        xticks=(0.1, 1, 10, 100, 1000),
        xlabel="time / hadaflow.recover's: median, range",
        title="No noise: time",
    )

    for name, error, *others in table("regression.md", "## 200 × 600: averages over 48 cells"):
        seconds = float(others[-3])
        ours = name.startswith("hadaflow")
        right.loglog(seconds, float(error), "D" if ours else "o", color=BLUE if ours else GREY)
        shift, align = _PLACES.get(name, ((6, -3), "left"))
        right.annotate(name, (seconds, float(error)), shift, textcoords="offset points", ha=align, fontsize=9)
    right.set(xlabel="CPU seconds a fit", ylabel="error / oracle's", title="Noise: error and time")
    right.set(xlim=(3e-3, 5.0), ylim=(1.7, 5.3), yticks=(2, 3, 4, 5), yticklabels=("2", "3", "4", "5"))
    right.minorticks_off()
    return figure


_PLACES: dict[str, Any] = {
    "LassoCV": ((0, 6), "center"),
    "adaptive lasso": ((6, -9), "left"),
    "hadaflow CV": ((-7, -7), "right"),
    "relaxed lasso": ((0, -14), "center"),
}


def table(page: str, title: str) -> list[list[str]]:
    """The rows, without the header, of the first table under a title of a page of results."""
    lines = (RESULTS / page).read_text(encoding="utf-8").split(f"{title}\n", 1)[1].splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("|"))
    last = next(k for k, line in enumerate(lines) if k > first and not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first + 2 : last]]


FIGURES = (one_state_one_map, depth_and_scale, early_stopping, limit_and_saddles, certificates, choosing_a_solver)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw the figures of the concept pages.")
    parser.add_argument("--output", type=Path, default=IMAGES if IMAGES.exists() else Path(), metavar="FOLDER")
    folder = parser.parse_args(argv).output
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for draw in FIGURES:
            if draw is choosing_a_solver and (missing := [page for page in RECORDS if not (RESULTS / page).exists()]):
                print(f"{draw.__name__}: left out, no {' and no '.join(missing)} in {RESULTS}")
                continue
            file = folder / f"{draw.__name__}.png"
            draw().savefig(file, dpi=130, facecolor="white", metadata={"Software": None})
            print(file)


if __name__ == "__main__":
    main()
