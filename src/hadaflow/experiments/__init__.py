"""Seeded experiments: tidy records on disk, of a config or of a grid, and what is read off the records alone."""

from hadaflow.experiments.base import Experiment, Skip, Study
from hadaflow.experiments.claims import Check, Claim, Verdict
from hadaflow.experiments.execution import Step
from hadaflow.experiments.finding import find, known
from hadaflow.experiments.on_dask import WorkerLostError
from hadaflow.experiments.phase import PhaseDiagram, phase_diagram
from hadaflow.experiments.records import Store
from hadaflow.experiments.report import write_report
from hadaflow.experiments.runner import reproduce, run_inline
from hadaflow.experiments.sweep_study import Sweep
from hadaflow.experiments.sweeps import SweepResult, sweep

__all__ = [
    "Check",
    "Claim",
    "Experiment",
    "PhaseDiagram",
    "Skip",
    "Step",
    "Store",
    "Study",
    "Sweep",
    "SweepResult",
    "Verdict",
    "WorkerLostError",
    "find",
    "known",
    "phase_diagram",
    "reproduce",
    "run_inline",
    "sweep",
    "write_report",
]
