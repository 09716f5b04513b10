"""What reading and writing share: the error, and how it puts things."""

from __future__ import annotations

from collections.abc import Collection


class FileFormatError(ValueError):
    """A file that does not hold what was asked of it, or whose suffix is not known."""


def listed(names: Collection[str]) -> str:
    """The first eight names, with commas."""
    return ", ".join([*list(names)[:8], *(["..."] if len(names) > 8 else [])])


def one_line(error: BaseException) -> str:
    """The message of ``error`` as one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
