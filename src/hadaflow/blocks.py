"""Matrices on disk as Dask arrays in blocks of rows: what is read for a pass need not fit into memory.

Nothing is mapped into memory. The pages of a mapped file count as memory of the process, and a Dask worker that reads
a large one that way is taken for one that runs out of it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hadaflow._extras import require
from hadaflow._validation import file_path, whole_number
from hadaflow.files import FileFormatError

_BLOCK_BYTES = 64 * 2**20


def open_matrix(path: str | os.PathLike[str], *, name: str = "A", block_bytes: int = _BLOCK_BYTES) -> Any:
    """A matrix on disk as a Dask array, of which nothing is read yet.

    Parameters
    ----------
    path : str or path-like
        Where Dask's workers find it, too:

        - ``.npy``, in row order;
        - ``.zarr``: a folder with one array, or a group with one called ``name``;
        - ``.parquet``: a file, or a folder of files, one column a column.
    name : str, default "A"
        Which array to take where a folder holds several.
    block_bytes : int, default 64 MiB
        Size of the blocks of rows that are read at a time. Those of Zarr are whole chunks, or shards, one at least;
        those of Parquet its row groups. Each thread of a worker needs some three times that.

    Returns
    -------
    dask.array.Array of shape (m, n)
        For :func:`hadaflow.recover` and everything else that takes an ``A``.

    Raises
    ------
    ImportError
        Without Dask, or without what it needs for that kind of file.
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it does not hold one matrix, or cannot be read block by block.

    Notes
    -----
    What is opened is the file as it is now: one that was changed meanwhile raises OSError when it is read. Chunks that
    are missing in a Zarr array are zeros, as they are for Zarr.

    Examples
    --------
    >>> import tempfile, numpy as np, hadaflow as hf
    >>> from hadaflow.blocks import open_matrix
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/A.npy", np.eye(4)[:3])
    ...     A = open_matrix(f"{folder}/A.npy")
    ...     hf.recover(A, [1.0, 2.0, 3.0]).x
    array([1., 2., 3., 0.])
    """
    whole_number(block_bytes, "block_bytes")
    try:
        import dask.array  # noqa: F401
    except ImportError as error:
        raise ImportError("a matrix larger than memory needs Dask: pip install 'hadaflow[dask]'") from error
    file = file_path(path, "path").absolute()  # workers may have another working directory
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the name and the folder ({Path.cwd()})")
    opener = _OPENERS.get(file.suffix.lower())
    if opener is None:
        known = ", ".join(_OPENERS)
        raise FileFormatError(f"{str(path)!r} cannot be read block by block; convert it to one of {known}")
    with _damage_reported(f"{path} cannot be read as {file.suffix.lower()}", ": write it again"):
        array = opener(file, name, block_bytes)
    if array.ndim != 2:
        raise FileFormatError(
            f"{path} holds an array of shape {array.shape}, but {name} needs two dimensions (rows, columns)"
        )
    return array


def goes_by_blocks(path: Path) -> bool:
    """Whether what is on disk can be read in no other way: a folder."""
    return path.is_dir() and path.suffix.lower() in _OPENERS


@contextmanager
def _damage_reported(what: str, remedy: str = "; it is damaged, or gone: write it again") -> Iterator[None]:
    """A damaged file can raise anything inside NumPy, Zarr or Arrow: say which, and where."""
    try:
        yield
    except (FileFormatError, ImportError):
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise FileFormatError(f"{what} ({why}){remedy}") from error


@dataclass(frozen=True)
class _Rows:
    """The rows of a ``.npy`` file, as it was when it was opened."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    offset: int
    size: int
    changed: int  # in ns
    host: str

    @classmethod
    def of(cls, file: Path, mapped: np.memmap[Any, Any]) -> Self:
        about = file.stat()
        shape = (mapped.shape[0], mapped.shape[1])
        return cls(
            str(file), mapped.dtype, shape, int(mapped.offset), about.st_size, about.st_mtime_ns, platform.node()
        )

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Some rows."""
        about = Path(self.path).stat()
        # Elsewhere there may be a copy, younger or older.
        changed = platform.node() == self.host and about.st_mtime_ns != self.changed
        if changed or about.st_size != self.size:
            raise OSError(f"{self.path} was changed since it was opened, or is another file here: open it again")
        width = self.shape[1]
        offset = self.offset + start * width * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, (stop - start) * width, offset=offset).reshape(stop - start, width)


def _read_rows(rows: _Rows, block_info: Any = None) -> NDArray[Any]:
    """Runs on a worker."""
    (start, stop), _ = block_info[None]["array-location"]
    return rows.read(start, stop)


def _open_numpy(file: Path, _: str, block_bytes: int) -> Any:
    import dask.array as da

    if file.stat().st_size == 0:
        raise FileFormatError(f"{file} is empty (0 bytes); write it again")
    mapped = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.memmap):
        raise FileFormatError(f"{file} is an archive of several arrays; save A alone, with numpy.save")
    if mapped.ndim != 2:
        return mapped
    if not mapped.flags.c_contiguous:
        remedy = "save it in row order (np.ascontiguousarray), or as .zarr"
        raise FileFormatError(f"{file} is in column order, and its rows cannot be read by themselves; {remedy}")
    (m, n), itemsize = mapped.shape, mapped.dtype.itemsize
    step = max(1, min(m, block_bytes // max(1, n * itemsize)))
    chunks = tuple(min(step, m - start) for start in range(0, m, step)) or (0,)
    rows, meta = _Rows.of(file, mapped), np.empty((0, 0), mapped.dtype)
    return da.map_blocks(_read_rows, rows, chunks=(chunks, (n,)), dtype=mapped.dtype, meta=meta)


@dataclass(frozen=True)
class _Array:
    """A Zarr array: its folder, and its name in a group."""

    path: str
    name: str | None

    def open(self) -> Any:
        import zarr

        store = zarr.open(self.path, mode="r")
        return store if self.name is None else store[self.name]


def _read_zarr(array: _Array, block_info: Any = None) -> NDArray[Any]:
    """Runs on a worker."""
    (start, stop), _ = block_info[None]["array-location"]
    with _damage_reported(f"{array.path}: rows {start} to {stop} cannot be read"):
        return np.asarray(array.open()[start:stop])


def _open_zarr(file: Path, name: str, block_bytes: int) -> Any:
    require("zarr", extra="dask", what="Zarr arrays")
    import dask.array as da
    import zarr

    store, array = zarr.open(str(file), mode="r"), _Array(str(file), None)
    if not hasattr(store, "shape"):
        names = sorted(store.array_keys())
        if name not in names and len(names) != 1:
            held = f"{len(names)} arrays, none of which is called {name}: rename one" if names else "no array"
            raise FileFormatError(f"{file} is a group of {held}")
        array = _Array(str(file), name if name in names else names[0])
        store = array.open()
    if store.ndim != 2:
        return store
    (m, n), height = store.shape, int((getattr(store, "shards", None) or store.chunks)[0])
    step = height * max(1, block_bytes // max(1, height * n * store.dtype.itemsize))
    chunks = tuple(min(step, m - start) for start in range(0, m, step)) or (0,)
    meta = np.empty((0, 0), store.dtype)
    return da.map_blocks(_read_zarr, array, chunks=(chunks, (n,)), dtype=store.dtype, meta=meta)


def _open_parquet(file: Path, _: str, __: int) -> Any:
    """A block for each row group."""
    import dask.array as da
    from dask import delayed
    from dask.utils import natural_sort_key

    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(f"{file} needs pyarrow: pip install 'hadaflow[cli]', or save it as .npy") from error
    # Parts are numbered by whoever wrote them: part.10 comes after part.9.
    parts = sorted(file.glob("*.parquet"), key=lambda part: natural_sort_key(part.name)) if file.is_dir() else [file]
    if not parts:
        raise FileFormatError(f"{file} is a folder without .parquet files in it; name the right one")
    kinds = [_numeric_columns(part, pq.read_schema(part)) for part in parts]
    for part, found in zip(parts, kinds, strict=True):
        if list(found) != list(kinds[0]):
            raise FileFormatError(f"{part} has other columns than {parts[0].name}; write all parts alike")
    dtype = np.result_type(*(kind for found in kinds for kind in found.values()))
    blocks, read = [], delayed(_read_row_group, pure=True)
    for part in parts:
        about = pq.read_metadata(part)
        for k in range(about.num_row_groups):
            shape = (about.row_group(k).num_rows, len(kinds[0]))
            blocks.append(da.from_delayed(read(str(part), k, shape[0], list(kinds[0]), dtype), shape, dtype=dtype))
    return da.concatenate(blocks)


def _numeric_columns(file: Path, schema: Any) -> dict[str, np.dtype[Any]]:
    """The columns that are no index, with their types."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    kinds = {}
    for field in schema:
        if field.name in index:
            continue
        try:
            kind = np.dtype(field.type.to_pandas_dtype())
        except (NotImplementedError, TypeError):  # what NumPy has no type for
            kind = np.dtype(object)
        if kind.kind not in "fiub":
            raise FileFormatError(f"{file}, column {field.name!r}: {field.type}, not numbers; leave that column out")
        if field.name in kinds:
            raise FileFormatError(f"{file} has two columns called {field.name!r}; rename one")
        kinds[field.name] = kind
    if not kinds:
        raise FileFormatError(f"{file} holds no columns; save at least one")
    return kinds


def _read_row_group(part: str, number: int, rows: int, columns: list[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Runs on a worker."""
    import pyarrow.parquet as pq

    with _damage_reported(f"{part}: row group {number} cannot be read"), pq.ParquetFile(part) as file:
        table = file.read_row_group(number, columns=columns) if number < file.num_row_groups else None
    if table is None or table.num_rows != rows:
        raise OSError(f"{part} was changed since it was opened: open it again")
    for name in columns:
        if table[name].null_count:
            missing = f"{table[name].null_count} values missing in row group {number}"
            raise FileFormatError(f"{part}, column {name!r}: {missing}; fill or drop them")
    block = np.empty((table.num_rows, len(columns)), dtype)
    for k, name in enumerate(columns):
        block[:, k] = table[name].to_numpy()
    return block


_OPENERS: dict[str, Callable[[Path, str, int], Any]] = {
    ".npy": _open_numpy,
    ".zarr": _open_zarr,
    ".parquet": _open_parquet,
}
