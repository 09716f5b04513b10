"""Sparse recovery by gradient flow on overparameterised models."""

from hadaflow.certificates import Certificate, LassoCertificate, certify, certify_lasso
from hadaflow.dynamics import limit, saddles
from hadaflow.models import HadamardPower, Model
from hadaflow.operators import DotTest, dot_test
from hadaflow.problems import Problem
from hadaflow.recovery import recover
from hadaflow.results import Limit, Progress, Recovery, SaddlePath, Stats, Status

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "DotTest",
    "HadamardPower",
    "LassoCertificate",
    "Limit",
    "Model",
    "Problem",
    "Progress",
    "Recovery",
    "SaddlePath",
    "Stats",
    "Status",
    "certify",
    "certify_lasso",
    "dot_test",
    "limit",
    "recover",
    "saddles",
]
