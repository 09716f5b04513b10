"""Seeded experiments: a frozen config, tidy records on disk, and figures and verdicts drawn from the records alone."""

from hadaflow.experiments.base import Experiment
from hadaflow.experiments.claims import Check, Claim, Verdict
from hadaflow.experiments.finding import find, known
from hadaflow.experiments.records import Store
from hadaflow.experiments.report import write_report
from hadaflow.experiments.runner import reproduce, run_inline

__all__ = [
    "Check",
    "Claim",
    "Experiment",
    "Store",
    "Verdict",
    "find",
    "known",
    "reproduce",
    "run_inline",
    "write_report",
]
