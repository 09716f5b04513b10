"""Matrices on disk, read block by block."""

import time

import dask
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

import hadaflow as hf
from hadaflow.blocks import open_matrix
from hadaflow.files import FileFormatError


@pytest.fixture(autouse=True)
def _here():
    with dask.config.set(scheduler="synchronous"):
        yield


def matrix(m=40, n=90, dtype=np.float64):
    return np.random.default_rng(0).standard_normal((m, n)).astype(dtype)


def save_parquet(path, A, **options):
    import pandas as pd

    pd.DataFrame(A, columns=[f"c{k}" for k in range(A.shape[1])]).to_parquet(path, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, ">f4", np.bool_])
@pytest.mark.parametrize("block_bytes", [1, 700, 10**9])
def test_npy_in_blocks(tmp_path, dtype, block_bytes):
    A = matrix().astype(dtype)
    np.save(tmp_path / "A.npy", A)
    array = open_matrix(tmp_path / "A.npy", block_bytes=block_bytes)
    assert array.dtype == A.dtype
    assert max(array.chunks[0]) == max(1, min(40, block_bytes // (90 * A.itemsize)))
    np.testing.assert_array_equal(array.compute(), A)
    np.testing.assert_array_equal(array[3:17, 5:9].compute(), A[3:17, 5:9])


@pytest.mark.parametrize("kind", ["npy", "zarr", "zarr group", "zarr group of one", "parquet", "folder of parquet"])
def test_recovers_from_every_kind(tmp_path, kind):
    A = matrix()
    x = np.zeros(90)
    x[[3, 50]] = 1.0, -2.0
    suffix = kind.split()[-1] if "parquet" in kind else kind.split()[0]
    path = tmp_path / f"A.{suffix}"
    if kind == "npy":
        np.save(path, A)
    elif kind == "zarr":
        zarr.create_array(str(path), data=A, chunks=(9, 30))
    elif kind.startswith("zarr"):
        group = zarr.open_group(str(path), mode="w")
        group.create_array("A" if kind == "zarr group" else "odd", data=A, chunks=(9, 90))
        if kind == "zarr group":
            group.create_array("other", data=A[:3])
    elif kind == "parquet":
        save_parquet(path, A, row_group_size=10)
    else:
        path.mkdir()
        for k in range(4):
            save_parquet(path / f"part.{k}.parquet", A[10 * k : 10 * k + 10])
    r = hf.recover(open_matrix(path), A @ x)
    assert r.certificate.proves()
    np.testing.assert_allclose(r.x, x, atol=1e-12)


def test_nothing_is_read_before_it_is_needed(tmp_path):
    np.save(tmp_path / "A.npy", matrix())
    array = open_matrix(tmp_path / "A.npy")
    with (tmp_path / "A.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(OSError, match="was changed since it was opened"):
        array.compute()
    np.save(tmp_path / "A.npy", matrix())
    array = open_matrix(tmp_path / "A.npy")
    time.sleep(0.01)  # for the clock of the file system
    np.save(tmp_path / "A.npy", -matrix())
    with pytest.raises(OSError, match="was changed since it was opened"):
        array.compute()


def test_any_slice_is_that_of_numpy(tmp_path):
    A = matrix()
    np.save(tmp_path / "A.npy", A)
    array = open_matrix(tmp_path / "A.npy", block_bytes=7 * 90 * 8)
    for key in (np.s_[::2], np.s_[1::3, ::-1], np.s_[4:33:5, 3], np.s_[3], np.s_[::-1], np.s_[[5, 1]]):
        np.testing.assert_array_equal(array[key].compute(), A[key])


def test_parts_of_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    A = matrix()
    for k in range(40):
        save_parquet(tmp_path / f"part.{k}.parquet", A[k : k + 1])
    folder = tmp_path.rename(tmp_path.with_suffix(".parquet"))
    np.testing.assert_array_equal(open_matrix(folder).compute(), A)


def test_parts_of_several_types_and_parts_that_do_not_go_together(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "A.parquet"
    folder.mkdir()
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int8())}), folder / "p0.parquet")
    pq.write_table(pa.table({"a": [0.5, 300.0]}), folder / "p1.parquet")
    np.testing.assert_array_equal(open_matrix(folder).compute(), [[1.0], [2.0], [0.5], [300.0]])
    pq.write_table(pa.table({"a": [0.5], "b": [1.0]}), folder / "p2.parquet")
    with pytest.raises(FileFormatError, match=r"p2\.parquet has other columns than p0\.parquet"):
        open_matrix(folder)
    pq.write_table(pa.table({"a": pa.array(["1"])}), folder / "p2.parquet")
    with pytest.raises(FileFormatError, match=r"p2\.parquet, column 'a': string, not numbers"):
        open_matrix(folder)
    pq.write_table(pa.table({"a": [0.5]}), folder / "p2.parquet")
    array = open_matrix(folder)
    pq.write_table(pa.table({"a": [0.5, 1.0]}), folder / "p2.parquet")
    with pytest.raises(OSError, match=r"p2\.parquet was changed since it was opened"):
        array.compute()


def test_damage_is_told_with_the_place(tmp_path):
    A = matrix()
    zarr.create_array(str(tmp_path / "A.zarr"), data=A, chunks=(9, 30))
    assert open_matrix(tmp_path / "A.zarr").chunks == ((40,), (90,))
    assert open_matrix(tmp_path / "A.zarr", block_bytes=2 * 9 * 90 * 8 + 1).chunks == ((18, 18, 4), (90,))
    array = open_matrix(tmp_path / "A.zarr", block_bytes=1)
    assert array.chunks == ((9, 9, 9, 9, 4), (90,))
    np.testing.assert_array_equal(array[5:20, 7:50].compute(), A[5:20, 7:50])
    chunk = tmp_path / "A.zarr" / "c" / "1" / "2"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(
        FileFormatError, match=r"A\.zarr: rows 9 to 18 cannot be read \(.*\); it is damaged, or gone: write"
    ):
        hf.recover(array, A @ np.eye(90)[3])
    save_parquet(tmp_path / "A.parquet", A, row_group_size=10)
    array, content = open_matrix(tmp_path / "A.parquet"), bytearray((tmp_path / "A.parquet").read_bytes())
    content[200:400] = bytes(200)
    (tmp_path / "A.parquet").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"A\.parquet: row group 0 cannot be read"):
        hf.recover(array, A @ np.eye(90)[3])


def test_shards_are_blocks(tmp_path):
    A = matrix()
    zarr.create_array(str(tmp_path / "A.zarr"), data=A, chunks=(5, 30), shards=(20, 90))
    array = open_matrix(tmp_path / "A.zarr", block_bytes=1)
    assert array.chunks == ((20, 20), (90,))
    np.testing.assert_array_equal(array.compute(), A)


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_no_rows_are_told(tmp_path, kind):
    if kind == "npy":
        np.save(tmp_path / "A.npy", np.empty((0, 5)))
    else:
        zarr.create_array(str(tmp_path / "A.zarr"), data=np.empty((0, 5)), chunks=(1, 5))
    with pytest.raises(ValueError, match=r"A is empty \(shape \(0, 5\)\)"):
        hf.recover(open_matrix(tmp_path / f"A.{kind}"), np.empty(0))


def test_one_line_for_each_mistake(tmp_path):
    np.save(tmp_path / "vector.npy", np.ones(3))
    np.save(tmp_path / "columns.npy", np.asfortranarray(matrix()))
    np.save(tmp_path / "object.npy", np.array([[None]]), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", np.eye(2))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("1 2 3")
    (tmp_path / "text.parquet").write_text("1 2 3")
    (tmp_path / "empty.zarr").mkdir()
    sp.save_npz(tmp_path / "sparse.npz", sp.eye_array(3))
    group = zarr.open_group(str(tmp_path / "two.zarr"), mode="w")
    for name in ("B", "C"):
        group.create_array(name, data=matrix())
    zarr.open_group(str(tmp_path / "bare.zarr"), mode="w")
    (tmp_path / "none.parquet").mkdir()
    import pandas as pd

    pd.DataFrame({"a": [1.0, None]}).to_parquet(tmp_path / "gaps.parquet")
    with pytest.raises(FileFormatError, match="column 'a': 1 values missing in row group 0; fill or drop them"):
        open_matrix(tmp_path / "gaps.parquet").compute()
    pd.DataFrame({"a": [1.0], "name": ["x"]}).to_parquet(tmp_path / "words.parquet")
    for name, told in {
        "vector.npy": "needs two dimensions",
        "columns.npy": "column order.*save it in row order",
        "object.npy": "cannot be read as .npy",
        "archive.npy": "is an archive of several arrays",
        "empty.npy": "is empty",
        "text.npy": "cannot be read as .npy",
        "text.parquet": "cannot be read as .parquet",
        "empty.zarr": "cannot be read as .zarr",
        "sparse.npz": r"cannot be read block by block; convert it to one of \.npy, \.zarr, \.parquet",
        "two.zarr": "group of 2 arrays, none of which is called A",
        "words.parquet": "column 'name': .*not numbers",
        "bare.zarr": "is a group of no array",
        "none.parquet": "without .parquet files",
    }.items():
        with pytest.raises(FileFormatError, match=told) as caught:
            open_matrix(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        open_matrix(tmp_path / "none.npy")
    with pytest.raises(TypeError, match="path must be a path, got None"):
        open_matrix(None)
    with pytest.raises(FileFormatError, match="'' cannot be read block by block"):
        open_matrix("")
    with pytest.raises(ValueError, match="block_bytes"):
        open_matrix(tmp_path / "vector.npy", block_bytes=0)
