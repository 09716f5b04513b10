"""What is done, one line a task: a file that only grows, and that no kill, full disk or stray byte can spoil.

A line is the CRC-32 of a JSON text in 8 hexadecimal digits, a blank, and the text. All lines of a batch are written by
one call, at the end of the file. So there are three ways for a file not to be whole, and a remedy for each:

- its end is torn, because the process was killed or the disk was full while it wrote: the end is cut off;
- a line is damaged: it is set aside in ``<file>.damaged``, and reported;
- it is gone: all is run again.

In each case the tasks concerned count as not done.
"""

from __future__ import annotations

import errno
import io
import json
import os
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

_DIGITS = 8  # of the checksum
_PLAIN = (type(None), bool, int, float, str)
_DECIMALS = 6  # of seconds: no need for more


@dataclass(frozen=True, slots=True)
class Entry:
    """What came of a task.

    Attributes
    ----------
    rows : list of dict
        What it measured, of plain scalars, without the columns of the task itself.
    seconds : float
        Taken for it.
    error : str
        Why it could not be done, or makes no sense if it was skipped, in one line; empty if it was done.
    traceback : str
        Of the error.
    skipped : bool
        Whether it said itself that there is nothing to measure.
    """

    rows: list[dict[str, Any]]
    seconds: float
    error: str = ""
    traceback: str = ""
    skipped: bool = False

    @property
    def failed(self) -> bool:
        """Whether it ended by an error."""
        return bool(self.error) and not self.skipped


def canonical(value: Any) -> str:
    """JSON that is the same for the same content: keys in order, floats by their shortest exact digits.

    Examples
    --------
    >>> canonical({"m": 3, "a": 0.1, "b": np.float64(2)})
    '{"a":0.1,"b":2.0,"m":3}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_scalar)


def _scalar(value: Any) -> bool | int | float:
    """NumPy's scalars that are none of Python's."""
    for kind, plain in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, kind):
            return plain(value)
    raise TypeError(f"{value!r} is no plain scalar")


def line_of(key: str, entry: Entry) -> bytes:
    """An entry as it stands in the file.

    Parameters
    ----------
    key : str
        The canonical text of the task.
    entry : Entry
        What came of it.
    """
    about: dict[str, Any] = {"rows": entry.rows, "seconds": round(entry.seconds, _DECIMALS)}
    if entry.error:
        about |= {"error": entry.error, "traceback": entry.traceback, "skipped": entry.skipped}
    text = f'{{"task":{key},{json.dumps(about, separators=(",", ":"))[1:]}'.encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def entry_of(line: bytes) -> tuple[str, Entry] | None:
    """The canonical text of the task and what came of it; None if the line is damaged."""
    head, text = line[: _DIGITS + 1], line[_DIGITS + 1 :]
    if b"%08x " % zlib.crc32(text) != head:
        return None
    try:
        about = json.loads(text)
        key, entry = canonical(about.pop("task")), Entry(**about)
        return (key, entry) if _sound(entry) else None
    except (ValueError, TypeError, KeyError, AttributeError):  # intact, but not one of ours
        return None


def _sound(entry: Entry) -> bool:
    """Whether all is of the kind that it should be."""
    rows: Any = entry.rows
    return (
        isinstance(rows, list)
        and all(isinstance(row, dict) and all(type(value) in _PLAIN for value in row.values()) for row in rows)
        and type(entry.seconds) in (int, float)
        and type(entry.error) is type(entry.traceback) is str
        and type(entry.skipped) is bool
    )


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes
    ----------
    entries : dict
        By the canonical text of the task; of several, the last.
    sound, damaged : list
        Lines that are whole, and numbers and lines that are not.
    torn : bool
        Whether the end is no whole line.
    """

    entries: dict[str, Entry]
    sound: list[bytes]
    damaged: list[tuple[int, bytes]]
    torn: bool

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file; one that does not exist is empty."""
        contents = cls({}, [], [], torn=False)
        try:
            *lines, end = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return contents
        for number, line in enumerate(lines, start=1):
            found = entry_of(line)
            if found is None:
                contents.damaged.append((number, line))
            else:
                contents.sound.append(line)
                contents.entries[found[0]] = found[1]
        return cls(contents.entries, contents.sound, contents.damaged, torn=bool(end))


class Journal:
    """The entries of a study, in memory and, with a path, in a file.

    Parameters
    ----------
    path : Path or None
        Where; None keeps them in memory alone.

    Attributes
    ----------
    entries : dict
        By the canonical text of the task.

    Notes
    -----
    One process may have it open at a time (see :func:`hadaflow.experiments.execution.alone_in`).
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.entries = path, dict[str, Entry]()
        self._file: io.FileIO | None = None

    def open(self) -> None:
        """Read what is there, mend it, and get ready to write.

        Warns
        -----
        RuntimeWarning
            If lines are damaged: which, and where they are kept.

        Raises
        ------
        OSError
            If the file cannot be read or written.
        """
        if self.path is None:
            return
        try:
            contents = Contents.of(self.path)
            self.entries = contents.entries
            if contents.damaged or contents.torn:
                self._mend(self.path, contents)
            self._file = io.FileIO(self.path, "a")  # no buffer: a write is one call of the system
        except OSError as error:
            raise OSError(
                f"the journal {self.path} cannot be used ({error.strerror or error}): move it away, or choose another "
                f"folder"
            ) from error

    @staticmethod
    def _mend(path: Path, contents: Contents) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        if contents.damaged:
            with aside.open("ab") as file:
                file.writelines(line + b"\n" for _, line in contents.damaged)
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_bytes(b"".join(line + b"\n" for line in contents.sound))
        unfinished.replace(path)
        if contents.damaged:
            numbers = [str(number) for number, _ in contents.damaged]
            more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
            warnings.warn(
                f"{path} is damaged in line {', '.join(numbers[:5])}{more}: set aside in {aside.name}; "
                f"the tasks concerned are run again, all others are kept",
                RuntimeWarning,
                stacklevel=2,
            )

    def append(self, entries: Mapping[str, Entry]) -> None:
        """Keep what came of tasks, by their canonical texts: all of them, or (OSError) none in the file."""
        if self._file is not None:
            if not os.fstat(self._file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the journal was deleted")
            _write(self._file, b"".join(line_of(key, entry) for key, entry in entries.items()))
        self.entries |= entries

    def close(self) -> None:
        """Nothing is lost without."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _write(file: io.FileIO, data: bytes) -> None:
    before = file.seek(0, io.SEEK_END)
    try:
        while data:  # once, unless the disk gets full
            data = data[file.write(data) :]
    except OSError:
        file.truncate(before)
        raise
