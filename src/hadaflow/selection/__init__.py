"""Choosing a sparse model along the saddle path, without data held out."""

from hadaflow.selection._select import Selection, select
from hadaflow.selection.criterion import Criterion, criterion_prices

__all__ = ["Criterion", "Selection", "criterion_prices", "select"]
