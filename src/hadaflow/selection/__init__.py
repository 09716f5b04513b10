"""Choosing a sparse model along the saddle path, without data held out."""

from hadaflow.selection._criterion import Criterion, criterion_prices
from hadaflow.selection._select import Selection, select

__all__ = ["Criterion", "Selection", "criterion_prices", "select"]
