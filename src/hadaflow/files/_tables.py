"""Numbers as text, and the line to blame where there are others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hadaflow.files._common import FileFormatError


def read_table(file: Path) -> NDArray[np.float64]:
    """Numbers as text, read by NumPy; only when that fails are the lines looked at one by one."""
    skip, separator = _sniff(file)
    try:
        return np.loadtxt(file, delimiter=separator, skiprows=skip, ndmin=2, quotechar='"', encoding="utf-8-sig")
    except ValueError:
        _explain(file, skip, separator)
        raise


def _sniff(file: Path) -> tuple[int, str | None]:
    """How many lines to skip, and what stands between the numbers, judged by the first lines that are not comments."""
    (number, line), *below = [*islice(_lines(file), 2)] or [(0, "")]
    separator = _separator(file, line)
    fields = _fields(line, separator)
    names = [field for field in fields if field and not is_number(field)]
    if fields and not names:
        return number - 1, separator
    if not below:
        raise FileFormatError(f"{file} holds no numbers; it needs at least one line of them")
    if separator is None:  # names with blanks between them, or in them where a single number is below
        separator = _separator(file, below[0][1])
        fields = [line] if is_number(below[0][1]) and fields[0] == names[0] else fields
    if any(is_number(field.replace(",", ".")) for field in fields):
        remedy = "keep only numbers, with decimal points, below at most one header line"
        raise _at(file, number, f"names and numbers mixed (such as {_short(names[0])}); {remedy}")
    if not fields[0]:
        raise _at(file, number, "the first column has no name: row numbers? save without them (pandas: index=False)")
    return number, separator


def _separator(file: Path, line: str) -> str | None:
    """What stands between the fields; None for white space, which is what :func:`numpy.savetxt` writes."""
    return next((mark for mark in (";,\t" if file.suffix.lower() == ".csv" else "\t") if mark in line), None)


def _explain(file: Path, skip: int, separator: str | None) -> None:
    """Raise the error that names the first bad line; return if every line looks well."""
    rows = ((number, _fields(line, separator)) for number, line in _lines(file) if number > skip)
    width = 0
    for number, fields in rows:
        width = width or len(fields)
        for column, field in enumerate(fields, start=1):
            if not is_number(field):
                what = f"{_short(field)} is not a number" if field else "nothing there"
                raise _at(file, number, f"column {column}: {what}; mend it, or leave that line or column out")
        if len(fields) != width:
            what = f"{len(fields)} numbers where the lines above have {width}"
            raise _at(file, number, f"{what}; make all lines equally long")


def _at(file: Path, number: int, what: str) -> FileFormatError:
    return FileFormatError(f"{file}, line {number}: {what}")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are neither blank nor comments, with their numbers."""
    with file.open(encoding="utf-8-sig") as handle:
        for number, line in enumerate(handle, start=1):
            content = line.partition("#")[0].strip(" \r\n")
            if content:
                yield number, content


def _fields(line: str, separator: str | None) -> list[str]:
    return [field.strip().strip('"') for field in line.split(separator)]


def _short(field: str) -> str:
    return repr(field if len(field) <= 30 else f"{field[:27]}...")


def is_number(field: str) -> bool:
    """Whether Python reads it as a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True
