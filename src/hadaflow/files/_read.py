"""Matrices and vectors from files, by suffix."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow.files._common import FileFormatError, listed, one_line
from hadaflow.files._tables import is_number, read_table

#: From this size on, a ``.npy`` file is mapped into memory instead of read.
MAP_FROM_BYTES = 64 * 2**20


def read_matrix(path: str | os.PathLike[str], *, name: str = "A") -> Any:
    """The matrix in a file.

    Parameters
    ----------
    path : str or path-like
        A file of one of these kinds:

        - ``.npy``: mapped into memory when large, never unpickled;
        - ``.npz``: one array, or one called ``name``, or what ``scipy.sparse.save_npz`` wrote;
        - ``.mtx``: Matrix Market; sparse stays sparse;
        - ``.mat``: MATLAB up to version 7; one variable, or one called ``name``;
        - ``.csv``, ``.tsv``: a row a line, also with blanks between; the first line may be names, not numbers;
        - ``.parquet``: one column a column; needs the extra ``hadaflow[cli]``.
    name : str, default "A"
        Which array to take where a file holds several.

    Returns
    -------
    ndarray or scipy.sparse.csc_array, shape (m, n)
        With the dtype of the file; complex where ``.npy``, ``.npz``, ``.mtx`` or ``.mat`` holds complex numbers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file does not hold one matrix of numbers, or cannot be read.
    """
    value = _load(path, name)
    if value.ndim != 2:
        needs = f"{name} needs two dimensions (rows, columns); reshape it and save it again"
        raise FileFormatError(f"{path} holds an array of shape {value.shape}, but {needs}")
    return sp.csc_array(value) if sp.issparse(value) else value


def read_vector(path: str | os.PathLike[str], *, name: str = "y") -> NDArray[Any]:
    """The vector in a file.

    Parameters
    ----------
    path : str or path-like
        A file of any kind that :func:`read_matrix` reads. In files, and only there, a single column ``(m, 1)`` and
        a single row ``(1, m)`` count as vectors.
    name : str, default "y"
        Which array to take where a file holds several.

    Returns
    -------
    ndarray of shape (m,)
        With the dtype of the file.

    Raises
    ------
    FileNotFoundError, FileFormatError
        As :func:`read_matrix`, or if the file does not hold one vector.
    """
    value = _load(path, name)
    if value.ndim not in (1, 2) or (value.ndim == 2 and 1 not in value.shape):
        needs = f"{name} must be a vector: save one column of it"
        raise FileFormatError(f"{path} holds an array of shape {value.shape}, but {needs}")
    dense = value.toarray() if sp.issparse(value) else value
    return np.asarray(dense.ravel())


def _load(path: str | os.PathLike[str], name: str) -> Any:
    """What is in the file, dense or sparse, known to be numbers, real or complex, and not empty."""
    file = Path(path)
    try:
        return _checked(file, _reader(file)(file, name))
    except (FileFormatError, FileNotFoundError):
        raise
    except MemoryError as error:
        raise FileFormatError(f"{file} does not fit into memory, or is damaged; keep a large matrix as .npy") from error
    except PermissionError as error:
        raise FileFormatError(f"{file} may not be read; give yourself the permission to read it") from error
    except Exception as error:  # a damaged file can raise anything inside NumPy, SciPy, zlib or Arrow
        kind, why = file.suffix.lower(), f"{one_line(error)}); it may be damaged or have the wrong suffix"
        raise FileFormatError(f"{file} cannot be read as {kind} ({why}: write it again") from error


def _reader(file: Path) -> Callable[[Path, str], Any]:
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(file)!r}; check the name and the folder ({Path.cwd()})")
    if not file.is_file():
        raise FileFormatError(f"{file} is a folder or a device, not a file; name the file inside it")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise FileFormatError(f"{file} has the suffix {file.suffix!r}, which is not known; use {listed(_READERS)}")
    if file.stat().st_size == 0:
        raise FileFormatError(f"{file} is empty (0 bytes); write it again")
    return reader


def _checked(file: Path, value: Any) -> Any:
    if value.dtype.kind not in "fiubc":
        raise FileFormatError(f"{file} holds {value.dtype}, not numbers; convert it to float and save it again")
    if 0 in value.shape:
        raise FileFormatError(f"{file} holds no numbers (shape {value.shape}); write it again with some")
    return value


def _read_numpy(file: Path, name: str) -> Any:
    """Both of NumPy's formats, by what the file holds rather than by its suffix."""
    with file.open("rb") as handle:  # opened here, since NumPy leaves a damaged archive open
        if handle.read(2) == b"PK":
            handle.seek(0)
            archive = np.load(handle, allow_pickle=False)
            if {"format", "shape", "data"} <= set(archive.files):
                handle.seek(0)
                return sp.load_npz(handle)
            return archive[_pick(file, archive.files, name)]
    return np.load(file, mmap_mode="r" if file.stat().st_size >= MAP_FROM_BYTES else None, allow_pickle=False)


def _read_matrix_market(file: Path) -> Any:
    """SciPy's reader, behind guards against the damage at which it takes the whole process down."""
    rows, columns, *_ = scipy.io.mminfo(file)
    if 0 in (rows, columns):  # it divides by zero
        raise FileFormatError(f"{file} holds no numbers (shape {(rows, columns)}); write it again with some")
    with file.open("rb") as handle:
        while chunk := handle.read(2**20):
            last = chunk
            if b"\0" in chunk:  # it takes a null character for the end of its buffer
                raise FileFormatError(f"{file} is damaged (it contains null characters); write it again")
    # It reads on beyond the end of a last line that stops within a number.
    if not last.endswith(b"\n") and not is_number(last.split()[-1].decode(errors="replace")):
        raise FileFormatError(f"{file} is damaged (its last line is cut off); write it again")
    return _with_arrays(scipy.io.mmread, file)


def _read_matlab(file: Path, name: str) -> Any:
    try:
        variables = [variable for variable, _, _ in scipy.io.whosmat(file)]
    except NotImplementedError as error:
        remedy = f"save it in MATLAB with save('{file.name}', '{name}', '-v7')"
        raise FileFormatError(f"{file} is a MATLAB v7.3 (HDF5) file; {remedy}") from error
    wanted = _pick(file, variables, name)
    return _with_arrays(scipy.io.loadmat, file, variable_names=[wanted])[wanted]


def _with_arrays(reader: Callable[..., Any], file: Path, **options: Any) -> Any:
    """Read with sparse arrays where the reader knows them: SciPy 1.18 warns who does not choose, 1.13 has no choice."""
    if "spmatrix" in inspect.signature(reader).parameters:
        options["spmatrix"] = False
    return reader(file, **options)


def _pick(file: Path, names: Collection[str], wanted: str) -> str:
    """The array called ``wanted``, or else the only one."""
    if wanted in names:
        return wanted
    if len(names) == 1:
        return next(iter(names))
    if not names:
        raise FileFormatError(f"{file} holds no array; save {wanted} in it")
    raise FileFormatError(
        f"{file} holds several arrays ({listed(names)}) and none is called {wanted}; rename one or save it alone"
    )


def _read_parquet(file: Path) -> NDArray[Any]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise FileFormatError(f"{file} needs pyarrow: pip install 'hadaflow[cli]', or save it as .npy") from error
    table = pyarrow.parquet.read_table(file)
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    columns = []
    for label in (label for label in table.column_names if label not in index):
        column = table[label]
        if column.null_count:
            raise FileFormatError(f"{file}, column {label!r}: {column.null_count} values missing; fill or drop them")
        values = column.to_numpy()
        if values.dtype.kind not in "fiub":
            raise FileFormatError(f"{file}, column {label!r}: {column.type}, not numbers; leave that column out")
        columns.append(values)
    if not columns:
        raise FileFormatError(f"{file} holds no columns; save at least one")
    return np.column_stack(columns)


_READERS: dict[str, Callable[[Path, str], Any]] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".mtx": lambda file, _: _read_matrix_market(file),
    ".mat": _read_matlab,
    ".csv": lambda file, _: read_table(file),
    ".tsv": lambda file, _: read_table(file),
    ".parquet": lambda file, _: _read_parquet(file),
}
