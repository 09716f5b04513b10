"""Members of operators whose names have changed."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from hadaflow._renamed import renamed


class Former:
    """A member of before: reading it warns, and gives what the new one says; setting it is an error.

    Parameters
    ----------
    new : str
        Where it is now, as seen from the operator.
    read : callable, optional
        What makes of an operator the value of before; by default it is what ``new`` leads to.
    """

    def __init__(self, new: str, read: Callable[[Any], Any] | None = None) -> None:
        self.new, self.read = new, read or attrgetter(new)

    def __set_name__(self, owner: type, name: str) -> None:
        self.old = name

    def __get__(self, operator: Any, kind: type) -> Any:
        return (
            self if operator is None else renamed(f"Operator.{self.old}", f"Operator.{self.new}", self.read(operator))
        )

    def __set__(self, operator: Any, value: object) -> None:
        raise self.ignored(type(operator))

    def ignored(self, cls: type) -> TypeError:
        """What to tell the author of an operator class that sets this member."""
        member = self.new.partition(".")[0]
        return TypeError(
            f"{cls.__name__}.{self.old} would be ignored: it is now Operator.{self.new}; set {member} instead"
        )


def reject_former(cls: type) -> None:
    """Raise TypeError if a subclass of Operator defines a member of before, which nothing asks for any more."""
    for name in vars(cls):
        for base in cls.__mro__[1:]:
            member = vars(base).get(name)
            if isinstance(member, Former):
                raise member.ignored(cls)
