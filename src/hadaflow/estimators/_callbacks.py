"""Callbacks of scikit-learn, from the version on that has them; before, estimators go without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

__all__ = ["CallbackSupportMixin", "subtasks", "with_callbacks"]

Item = TypeVar("Item")

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """The method as it is."""
        return method


def subtasks(estimator: Any, items: list[Item], name: str, X: Any = None, y: Any = None) -> Iterator[Item]:
    """The items one by one, each reported to the callbacks of the estimator as a task of its own."""
    if not hasattr(estimator, "_init_callback_context"):
        yield from items
        return
    told = {"estimator": estimator, "X": X, "y": y}
    context = estimator._init_callback_context(max_subtasks=len(items))
    context.call_on_fit_task_begin(**told)
    for k, item in enumerate(items):
        subcontext = context.subcontext(task_name=f"{name} {k}")
        subcontext.call_on_fit_task_begin(**told)
        yield item
        subcontext.call_on_fit_task_end(**told)
    context.call_on_fit_task_end(**told)
