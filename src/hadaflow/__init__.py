"""Sparse recovery by gradient flow on overparameterised models."""

from typing import TYPE_CHECKING, Any

from hadaflow import recording, steps, stopping
from hadaflow.adjoint import DotTest, dot_test
from hadaflow.certificates import Certificate, LassoCertificate, certify, certify_lasso
from hadaflow.dynamics import descend, descend_batch, flow, limit, saddles
from hadaflow.models import HadamardPower, Model
from hadaflow.moments import Moment
from hadaflow.paths import FlowPath, SaddlePath, Trajectory
from hadaflow.problems import Problem
from hadaflow.recording import History, Recorder
from hadaflow.recovery import recover
from hadaflow.results import Limit, Progress, Recovery, Stats, Status
from hadaflow.starts import start_from_data

if TYPE_CHECKING:
    from hadaflow import theory

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "DotTest",
    "FlowPath",
    "HadamardPower",
    "History",
    "LassoCertificate",
    "Limit",
    "Model",
    "Moment",
    "Problem",
    "Progress",
    "Recorder",
    "Recovery",
    "SaddlePath",
    "Stats",
    "Status",
    "Trajectory",
    "certify",
    "certify_lasso",
    "descend",
    "descend_batch",
    "dot_test",
    "flow",
    "limit",
    "recording",
    "recover",
    "saddles",
    "start_from_data",
    "steps",
    "stopping",
    "theory",
]


def __getattr__(name: str) -> Any:
    """Load ``hadaflow.theory`` when it is first asked for: it needs parts of SciPy that nothing else does."""
    if name == "theory":
        from importlib import import_module

        return import_module("hadaflow.theory")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
