"""Matrices on disk as Dask arrays in blocks of rows: what is read for a pass need not fit into memory.

Nothing is mapped into memory. The pages of a mapped file count as memory of the process, and a Dask worker that reads
a large one that way is taken for one that runs out of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import whole_number
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
        Size of the blocks of rows that are read at a time; those of Zarr and Parquet follow their own parts. Each
        thread of a worker needs some three times that.

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
    file = Path(path).resolve()  # workers may have another working directory
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the name and the folder ({Path.cwd()})")
    opener = _OPENERS.get(file.suffix.lower())
    if opener is None:
        known = ", ".join(_OPENERS)
        raise FileFormatError(f"{path} cannot be read block by block; convert it to one of {known}")
    try:
        array = opener(file, name, block_bytes)
    except (FileFormatError, ImportError):
        raise
    except Exception as error:  # a damaged file can raise anything inside NumPy, Zarr or Arrow
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise FileFormatError(f"{path} cannot be read as {file.suffix.lower()} ({why}): write it again") from error
    if array.ndim != 2:
        raise FileFormatError(
            f"{path} holds an array of shape {array.shape}, but {name} needs two dimensions (rows, columns)"
        )
    return array


def goes_by_blocks(path: Path) -> bool:
    """Whether what is on disk can be read in no other way: a folder."""
    return path.is_dir() and path.suffix.lower() in _OPENERS


@dataclass(frozen=True)
class _Rows:
    """The rows of a ``.npy`` file, read when asked for; what Dask takes for an array."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    offset: int
    ndim: int = 2

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = key
        start, stop, _ = rows.indices(self.shape[0])
        width = self.shape[1]
        offset = self.offset + start * width * self.dtype.itemsize
        values = np.fromfile(self.path, self.dtype, count=(stop - start) * width, offset=offset)
        if len(values) < (stop - start) * width:
            raise OSError(f"{self.path} ends before its row {stop}; it is damaged, or was changed meanwhile")
        return values.reshape(stop - start, width)[:, columns]


def _open_numpy(file: Path, _: str, block_bytes: int) -> Any:
    import dask.array as da

    if file.stat().st_size == 0:
        raise FileFormatError(f"{file} is empty (0 bytes); write it again")
    mapped = np.load(file, mmap_mode="r", allow_pickle=False)
    if mapped.ndim != 2:
        return mapped
    if not mapped.flags.c_contiguous:
        remedy = "save it in row order (np.ascontiguousarray), or as .zarr"
        raise FileFormatError(f"{file} is in column order, and its rows cannot be read by themselves; {remedy}")
    reader = _Rows(str(file), mapped.dtype, mapped.shape, int(mapped.offset))
    rows = max(1, block_bytes // max(1, mapped.shape[1] * mapped.dtype.itemsize))
    about = (str(file), file.stat().st_mtime_ns, file.stat().st_size, rows)
    return da.from_array(
        reader,
        chunks=(rows, -1),
        name=f"rows-{da.core.tokenize(about)}",
        asarray=False,
        meta=np.empty((0, 0), mapped.dtype),
    )


def _open_zarr(file: Path, name: str, _: int) -> Any:
    import dask.array as da
    import zarr

    store = zarr.open(str(file), mode="r")
    if hasattr(store, "shape"):
        return da.from_zarr(str(file))
    names = sorted(store.array_keys())
    if name not in names and len(names) != 1:
        raise FileFormatError(f"{file} is a group of {len(names)} arrays and none is called {name}; rename one")
    return da.from_zarr(str(file), component=name if name in names else names[0])


def _open_parquet(file: Path, _: str, __: int) -> Any:
    """A block for each row group."""
    import dask.array as da
    from dask import delayed

    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(f"{file} needs pyarrow: pip install 'hadaflow[cli]', or save it as .npy") from error
    parts = sorted(file.glob("*.parquet")) if file.is_dir() else [file]
    if not parts:
        raise FileFormatError(f"{file} is a folder without .parquet files in it; name the right one")
    kinds = _numeric_columns(file, pq.read_schema(parts[0]))
    dtype, read = np.result_type(*kinds.values()), delayed(_read_row_group, pure=True)
    blocks = []
    for part in parts:
        about = pq.read_metadata(part)
        for k in range(about.num_row_groups):
            shape = (about.row_group(k).num_rows, len(kinds))
            blocks.append(da.from_delayed(read(str(part), k, list(kinds), dtype), shape, dtype=dtype))
    return da.concatenate(blocks)


def _numeric_columns(file: Path, schema: Any) -> dict[str, np.dtype[Any]]:
    """The columns that are no index, with their types."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    kinds = {}
    for field in schema:
        if field.name in index:
            continue
        kind = np.dtype(field.type.to_pandas_dtype())
        if kind.kind not in "fiub":
            raise FileFormatError(f"{file}, column {field.name!r}: {field.type}, not numbers; leave that column out")
        kinds[field.name] = kind
    if not kinds:
        raise FileFormatError(f"{file} holds no columns; save at least one")
    return kinds


def _read_row_group(part: str, number: int, columns: list[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Runs on a worker."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(part) as file:
        table = file.read_row_group(number, columns=columns)
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
