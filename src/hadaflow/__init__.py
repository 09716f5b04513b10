"""Sparse recovery by gradient flow on overparameterised models."""

from typing import TYPE_CHECKING, Any

from hadaflow import gauges, losses, recording, steps, stopping
from hadaflow._renamed import renamed
from hadaflow.adjoint import DotTest, dot_test
from hadaflow.certificates import Certificate, Certificates, LassoCertificate, certify, certify_lasso
from hadaflow.convergence import ConvergenceWarning
from hadaflow.dynamics.descent import descend, descend_batch
from hadaflow.dynamics.flow import flow
from hadaflow.dynamics.limit import limit
from hadaflow.dynamics.saddles import saddles
from hadaflow.models import HadamardPower, Model
from hadaflow.paths import FlowPath, SaddlePath, Trajectory
from hadaflow.problems import Problem
from hadaflow.recording import History, Recorder
from hadaflow.recovery import recover, recover_each
from hadaflow.results import Limit, Progress, Recoveries, Recovery, Stats, Status
from hadaflow.snapshots import Snapshot
from hadaflow.starts import start_from_data

if TYPE_CHECKING:
    from hadaflow import theory
    from hadaflow.selection import Criterion, Selection, criterion_prices, select

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "Certificates",
    "ConvergenceWarning",
    "Criterion",
    "DotTest",
    "FlowPath",
    "HadamardPower",
    "History",
    "LassoCertificate",
    "Limit",
    "Model",
    "Problem",
    "Progress",
    "Recorder",
    "Recoveries",
    "Recovery",
    "SaddlePath",
    "Selection",
    "Snapshot",
    "Stats",
    "Status",
    "Trajectory",
    "certify",
    "certify_lasso",
    "criterion_prices",
    "descend",
    "descend_batch",
    "dot_test",
    "flow",
    "gauges",
    "limit",
    "losses",
    "recording",
    "recover",
    "recover_each",
    "saddles",
    "select",
    "start_from_data",
    "steps",
    "stopping",
    "theory",
]


#: Names that are loaded when they are first asked for: they need parts of SciPy that nothing else does.
_LAZY = {
    "Criterion": "hadaflow.selection",
    "Selection": "hadaflow.selection",
    "criterion_prices": "hadaflow.selection",
    "select": "hadaflow.selection",
    "theory": "hadaflow.theory",
}


#: Names of before, which warn and will go: old name to new name.
_RENAMED = {
    "Costs": "planning.Costs",
    "Moment": "Snapshot",
    "Plan": "planning.Plan",
    "plan": "planning.plan",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _RENAMED:
        room, _, member = f"hadaflow.{_RENAMED[name]}".rpartition(".")
        return renamed(f"hadaflow.{name}", f"{room}.{member}", getattr(import_module(room), member))
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "theory":
        return import_module("hadaflow.theory")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
