"""Where to start: init scales that follow from the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hadaflow._renamed import renamed_argument
from hadaflow._validation import instance, positive_number
from hadaflow.models import HadamardPower
from hadaflow.problems import Problem, require_squared


@renamed_argument(share="fraction")
def start_from_data(
    problem: Problem, model: HadamardPower, *, fraction: float = 0.1, noise_level: float = 0.0
) -> NDArray[np.float64]:
    """Init scales that are larger where the data point: product scales ``fraction * |A^T y|_i / ||A||^2``.

    Of groups, and complex numbers, the norm takes the place of the modulus: one init scale for each.

    For *compressible* x, such as the wavelet coefficients of a photograph, of which none is exactly zero: with the flow
    stopped at the noise level it recovers them better than the constrained l1 norm does. Not for *exactly sparse* x: a
    start of this kind keeps what it points at. There ``recover(A, y, noise_level=...)`` does best, or a uniform small
    scale.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n).
    model : HadamardPower
        The model to be started, of depth at least 2.
    fraction : float, default 0.1
        Product scale relative to one gradient step of length ``1 / ||A||^2``.
    noise_level : float, default 0
        ``||noise||_2``: product scales are at least what noise alone gives,
        ``fraction * noise_level / (||A|| sqrt(n))``.

    Returns
    -------
    ndarray of shape (n,), or (G,) for G groups
        ``init_scale`` for :func:`hadaflow.flow`, :func:`hadaflow.descend` and :func:`hadaflow.limit`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or ``A^T y = 0``.

    Notes
    -----
    Some fifteen products with A, for its norm. Found by experiment (photographs, 20 to 60 % of the samples, 0.1 to 30 %
    noise), not a theorem.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem, model = hf.Problem(np.eye(2), np.array([4.0, 1.0])), hf.HadamardPower(2)
    >>> np.round(hf.start_from_data(problem, model) ** 2, 2)
    array([0.4, 0.1])
    """
    instance(problem, Problem, "problem")
    require_squared(problem, "start_from_data")
    instance(model, HadamardPower, "model")
    if model.depth < 2:
        raise ValueError("start_from_data needs a model of depth at least 2: at depth 1 the start hardly matters")
    fraction = positive_number(fraction, "fraction")
    noise_level = positive_number(noise_level, "noise_level", strict=False)
    with np.errstate(over="ignore", invalid="ignore"):
        correlation = problem.groups.norms(problem.operator.rmatvec(problem.y.astype(np.float64)))
        square = problem.operator.spectral_square()
    top = float(correlation.max())
    if top == 0:
        raise ValueError("A^T y = 0: the data point nowhere, and x = 0 fits them best")
    if not (np.isfinite(top) and 0 < square < np.inf):
        raise ValueError("A^T y or ||A||^2 is out of the range of doubles: divide A and y by their sizes")
    floor = max(noise_level * (square / problem.shape[1]) ** 0.5, 1e-12 * top)
    scale: NDArray[np.float64] = (fraction * np.maximum(correlation, floor) / square) ** (1 / model.depth)
    return scale
