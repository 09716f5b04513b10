"""Choosing groups of coordinates: the path of group lassos proposes, an information criterion for groups decides."""

from hadaflow.selection.groupwise.choice import GroupCriterion, GroupSelection, select_groups
from hadaflow.selection.groupwise.data import GroupedData
from hadaflow.selection.groupwise.lassos import Lasso, Lassos
from hadaflow.solvers.groupwise.penalised import FINE

__all__ = ["FINE", "GroupCriterion", "GroupSelection", "GroupedData", "Lasso", "Lassos", "select_groups"]
