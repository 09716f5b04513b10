"""Matrices and vectors from files, and answers back into files.

Reading goes by suffix: ``.npy``, ``.npz``, ``.mtx``, ``.mat``, ``.csv``, ``.tsv``, ``.parquet``. Whatever is wrong
with a file ends in one line that names the file and the remedy. Writing is atomic: a file is whole or not there.
"""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

#: From this size on, a ``.npy`` file is mapped into memory instead of read.
MAP_FROM_BYTES = 64 * 2**20
#: What :func:`write_vector` can write.
VECTOR_SUFFIXES = (".npz", ".npy", ".csv")


class FileFormatError(ValueError):
    """A file that does not hold what was asked of it, or whose suffix is not known."""


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
        With the dtype of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file does not hold one real matrix, or cannot be read.
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


def write_vector(path: str | os.PathLike[str], x: ArrayLike, *, name: str = "x") -> None:
    """Write a vector, replacing the file if there is one.

    Parameters
    ----------
    path : str or path-like
        ``.npy``; ``.npz``, with one array called ``name``; or ``.csv``, with the header ``name`` and a number a line.
    x : array_like of shape (n,)
        What to write.
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
    if vector.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), got {vector.shape}; pass {name}.ravel()")
    suffix = check_output(path, VECTOR_SUFFIXES, overwrite=True).suffix.lower()
    if suffix == ".npz":
        write_arrays(path, {name: vector})
    elif suffix == ".npy":
        with atomic_writer(path) as handle:
            np.save(handle, vector, allow_pickle=False)
    else:
        write_text(path, "\n".join([name, *map(str, vector), ""]))


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
        raise FileFormatError(f"cannot write {file}: suffix {file.suffix!r} is not known here; use {_listed(suffixes)}")
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
            raise OSError(f"cannot write {file}: {_one_line(error)}; is the disk full?") from error


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


def _load(path: str | os.PathLike[str], name: str) -> Any:
    """What is in the file, dense or sparse, known to be real numbers and not empty."""
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
        kind, why = file.suffix.lower(), f"{_one_line(error)}); it may be damaged or have the wrong suffix"
        raise FileFormatError(f"{file} cannot be read as {kind} ({why}: write it again") from error


def _reader(file: Path) -> Callable[[Path, str], Any]:
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(file)!r}; check the name and the folder ({Path.cwd()})")
    if not file.is_file():
        raise FileFormatError(f"{file} is a folder or a device, not a file; name the file inside it")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise FileFormatError(f"{file} has the suffix {file.suffix!r}, which is not known; use {_listed(_READERS)}")
    if file.stat().st_size == 0:
        raise FileFormatError(f"{file} is empty (0 bytes); write it again")
    return reader


def _checked(file: Path, value: Any) -> Any:
    if value.dtype.kind == "c":
        raise FileFormatError(f"{file} is complex; hadaflow works on real data: stack real and imaginary parts")
    if value.dtype.kind not in "fiub":
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
    if not last.endswith(b"\n") and not _is_number(last.split()[-1].decode(errors="replace")):
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
        f"{file} holds several arrays ({_listed(names)}) and none is called {wanted}; rename one or save it alone"
    )


def _read_table(file: Path) -> NDArray[np.float64]:
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
    names = [field for field in fields if field and not _is_number(field)]
    if fields and not names:
        return number - 1, separator
    if not below:
        raise FileFormatError(f"{file} holds no numbers; it needs at least one line of them")
    if separator is None:  # names with blanks between them, or in them where a single number is below
        separator = _separator(file, below[0][1])
        fields = [line] if _is_number(below[0][1]) and fields[0] == names[0] else fields
    if any(_is_number(field.replace(",", ".")) for field in fields):
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
            if not _is_number(field):
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


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


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


def _listed(names: Collection[str]) -> str:
    return ", ".join([*list(names)[:8], *(["..."] if len(names) > 8 else [])])


def _one_line(error: BaseException) -> str:
    """The message of ``error`` as one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."


_READERS: dict[str, Callable[[Path, str], Any]] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".mtx": lambda file, _: _read_matrix_market(file),
    ".mat": _read_matlab,
    ".csv": lambda file, _: _read_table(file),
    ".tsv": lambda file, _: _read_table(file),
    ".parquet": lambda file, _: _read_parquet(file),
}
