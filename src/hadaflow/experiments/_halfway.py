"""Where successes turn into failures: the crossing of a logistic curve with one half."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hadaflow._types import Vector

_MOST_STEPS = 100
_ENOUGH = 1e-8  # of a step, in units of the spread of the data
_LONGEST = 5.0  # of a step, in log odds
_FLAT = 1e-6  # change of the log odds over all the data that is rounding


class Crossing(NamedTuple):
    """Where the probability of success is one half, with its standard error; NaN where the data do not tell."""

    at: float
    error: float


_UNKNOWN = Crossing(math.nan, math.nan)


def halfway(x: Vector, success: NDArray[np.bool_]) -> Crossing:
    """Fit ``P(success) = 1 / (1 + exp(a + b x))`` with b > 0 to single trials; ``x = -a / b``.

    Parameters
    ----------
    x : ndarray of shape (k,)
        Where each trial was made.
    success : ndarray of shape (k,)
        How it ended.

    Returns
    -------
    Crossing
        NaN if all trials ended alike, if success grows with x, or if the fit crosses beyond the trials.

    Notes
    -----
    Maximum likelihood with Firth's penalty ``1/2 log det(information)``, which takes off the bias of order 1/k and is
    finite for separable data, where the plain fit is not: these it crosses in the middle of the gap. Error to first
    order. Fisher scoring, O(k) a step. Source: Firth, "Bias reduction of maximum likelihood estimates" (Biometrika 80,
    1993); Heinze and Schemper (Statistics in Medicine 21, 2002).
    """
    points, place = np.unique(x, return_inverse=True)
    trials = np.bincount(place).astype(np.float64)
    failures = np.bincount(place, weights=~success).astype(np.float64)
    if not 0 < failures.sum() < len(x) or len(points) < 2:
        return _UNKNOWN
    middle, spread = float(points.mean()), float(np.ptp(points))
    design = np.column_stack([np.ones_like(points), (points - middle) / spread])
    beta, covariance = _fitted(design, trials, failures)
    if not beta[1] > _FLAT:
        return _UNKNOWN
    at = -beta[0] / beta[1]
    slope = np.array([1.0, at]) / beta[1]
    crossing = Crossing(float(middle + spread * at), float(spread * math.sqrt(slope @ covariance @ slope)))
    return crossing if points[0] <= crossing.at <= points[-1] else _UNKNOWN


def _fitted(design: Vector, trials: Vector, failures: Vector) -> tuple[Vector, Vector]:
    """Coefficients of the log odds of failure, and their covariance."""
    beta = np.zeros(2)
    value, score, covariance = _looked_at(beta, design, trials, failures)
    for _ in range(_MOST_STEPS):
        step = covariance @ score
        step *= min(1.0, _LONGEST / (float(np.abs(design @ step).max()) or 1.0))
        for _ in range(30):  # halve it until the likelihood grows
            trial = _looked_at(beta + step, design, trials, failures)
            if trial[0] >= value:
                break
            step = step / 2
        else:
            break
        beta = beta + step
        value, score, covariance = trial
        if np.abs(step).max() <= _ENOUGH * np.abs(beta).max():
            break
    return beta, covariance


def _looked_at(beta: Vector, design: Vector, trials: Vector, failures: Vector) -> tuple[float, Vector, Vector]:
    """Penalised log likelihood, its modified score, and the inverse of the information."""
    log_odds = design @ beta
    p = expit(log_odds)
    weight = trials * p * (1 - p)
    information = design.T @ (weight[:, None] * design)
    sign, log_det = np.linalg.slogdet(information)
    if not sign > 0 or not math.isfinite(log_det):
        return -math.inf, np.zeros(2), np.eye(2)
    covariance = np.linalg.inv(information)
    leverage = weight * np.einsum("ij,jk,ik->i", design, covariance, design)
    likelihood = float(failures @ log_odds - trials @ np.logaddexp(0, log_odds)) + log_det / 2
    return likelihood, design.T @ (failures - trials * p + leverage * (0.5 - p)), covariance
