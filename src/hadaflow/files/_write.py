"""Vectors and arrays into files, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hadaflow.files._common import FileFormatError, listed, one_line

#: What :func:`write_vector` can write.
VECTOR_SUFFIXES = (".npz", ".npy", ".csv")


def write_vector(path: str | os.PathLike[str], x: ArrayLike, *, name: str = "x") -> None:
    """Write a vector, or several as the columns of a matrix, replacing the file if there is one.

    Parameters
    ----------
    path : str or path-like
        ``.npy``; ``.npz``, with one array called ``name``; or ``.csv``, with a header, and an entry or a row a line.
    x : array_like of shape (n,) or (n, k)
        What to write. In ``.csv`` the columns of a matrix are called ``name_0``, ``name_1``..., and complex numbers
        take two columns, ``name_real`` and ``name_imag``.
    name : str, default "x"
        Name of the vector inside the file.

    Raises
    ------
    FileFormatError
        If the suffix is none of these.
    OSError
        If the file cannot be written; a missing folder is a FileNotFoundError.
    """
    vector = np.asarray(x)
    if vector.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (n,) or (n, k), got {vector.shape}; pass {name}.ravel()")
    suffix = check_output(path, VECTOR_SUFFIXES, overwrite=True).suffix.lower()
    if suffix == ".npz":
        write_arrays(path, {name: vector})
    elif suffix == ".npy":
        with atomic_writer(path) as handle:
            np.save(handle, vector, allow_pickle=False)
    else:
        write_text(path, _table(vector, name))


def _table(x: NDArray[Any], name: str) -> str:
    """Rows of numbers under their names."""
    names = [name] if x.ndim == 1 else [f"{name}_{k}" for k in range(x.shape[1])]
    columns = list(x.reshape(len(x), -1).T)
    if x.dtype.kind == "c":
        names = [f"{each}_{part}" for each in names for part in ("real", "imag")]
        columns = [part for column in columns for part in (column.real, column.imag)]
    return "\n".join([",".join(names), *(",".join(map(str, row)) for row in zip(*columns, strict=True)), ""])


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write named arrays into one ``.npz`` file, replacing the file if there is one; fails as :func:`write_vector`."""
    check_output(path, (".npz",), overwrite=True)
    with atomic_writer(path) as handle:
        np.savez(handle, **arrays)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, replacing the file if there is one; OSError if that is not possible."""
    with atomic_writer(path) as handle:
        handle.write(text.encode())


def check_output(path: str | os.PathLike[str], suffixes: Collection[str] = (), *, overwrite: bool = False) -> Path:
    """Find out before the work, not after it, whether a file can be written; its path.

    Raises FileFormatError if ``path`` has none of the ``suffixes``, and the fitting kind of OSError if there is no such
    folder, if it may not be written to, or if the file exists and is not to be overwritten.
    """
    file = Path(path)
    if suffixes and file.suffix.lower() not in suffixes:
        raise FileFormatError(f"cannot write {file}: suffix {file.suffix!r} is not known here; use {listed(suffixes)}")
    if file.exists() and not file.is_file():
        raise IsADirectoryError(f"cannot write {file}: it is a folder or a device; name a file")
    if file.exists() and not overwrite:
        raise FileExistsError(f"{file} exists already; choose another name or allow overwriting")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"cannot write {file}: there is no folder {str(file.parent)!r}; create it first")
    with _scratch_file(file):
        return file


@contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary handle whose content becomes the file ``path`` when the block ends well, and vanishes otherwise."""
    file = check_output(Path(path).resolve(), overwrite=True)  # a symbolic link stays one, its target is replaced
    with _scratch_file(file) as scratch:
        try:
            with scratch.open("wb") as handle:
                yield handle
            scratch.replace(file)
        except OSError as error:
            raise OSError(f"cannot write {file}: {one_line(error)}; is the disk full?") from error


@contextmanager
def _scratch_file(file: Path) -> Iterator[Path]:
    """An empty file beside ``file``, gone in the end; made here, not by tempfile, to have ordinary permissions."""
    scratch = file.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        scratch.touch(exist_ok=False)
    except OSError as error:
        raise PermissionError(
            f"cannot write {file}: its folder does not allow it ({error.strerror}); choose another folder"
        ) from error
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)
