"""Training as a path: noisy measurements of a sparse vector, fitted by gradient flow far beyond the noise.

500 random ±1 measurements, with noise of deviation 0.5, of 3000 coordinates of which five are one, the others zero. The
flow at depth 3 finds the five early, and for a long while nothing else: whoever stops in this window has the vector,
whoever goes on fits the noise. The figure shades the window, from when all five are within 10 % of the truth until
another coordinate passes 0.05.

Run it with ``python examples/training_path.py``; it needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from common import command, options, save

import hadaflow as hf
from hadaflow.plotting import blank_figure, plot_training

DEPTH, PRODUCT_SCALE = 3, 1e-6
NOISE, NONZEROS, LEVEL = 0.5, 5, 0.05


def main(argv: Sequence[str] | None = None) -> None:
    parser = command("Draw training from noisy measurements of a sparse vector.", seed_of="the measurements and noise")
    parser.add_argument("--measurements", type=int, default=500, metavar="M")
    parser.add_argument("--coordinates", type=int, default=3000, metavar="N")
    chosen = options(parser, argv)

    rng = np.random.default_rng(chosen.seed)
    x = np.zeros(chosen.coordinates)
    x[:NONZEROS] = 1.0
    A = rng.choice([-1.0, 1.0], size=(chosen.measurements, chosen.coordinates))
    problem = hf.Problem(A, A @ x + NOISE * rng.standard_normal(chosen.measurements))

    path = hf.flow(problem, hf.HadamardPower(DEPTH), init_scale=PRODUCT_SCALE ** (1 / DEPTH))
    found = path.first(lambda moment: (np.abs(moment.x[:NONZEROS] - 1) < 0.1).all())
    for name, t in [("all found", found), ("limit", path.t_end)]:
        error = np.linalg.norm(path(t) - x) / np.linalg.norm(x)
        print(f"{name:<10} at time {t:<8.4g} relative error {error:.3f}")

    figure = plot_training(path, truth=x, level=LEVEL, axes=blank_figure(2).axes)
    save(figure, chosen.output, "training_path", dpi=150)


if __name__ == "__main__":
    main()
