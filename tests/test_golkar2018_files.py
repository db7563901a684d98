"""The formats of the 2018 archive: what is written, and what reads it."""

from __future__ import annotations

import io
import pickle
import stat
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpgen.errors import DatasetError, UsageError
from gpgen.exact.texture import length_scale_name
from gpgen.golkar2018.gp_reading import read_gp_images, read_gp_index
from gpgen.golkar2018.gp_writing import write_gp
from gpgen.golkar2018.npy_header import HEADER_BYTES, npy_header, parse_npy_header
from gpgen.golkar2018.texture_sums import Cross
from gpgen.golkar2018.zip_reading import GuardedZip
from gpgen.io.zip_writing import ZipLayout, ZipMember


def pairs_of(count: int, classes: int, side: int) -> list[list[object]]:
    pixels = np.arange(side * side, dtype=np.float32).reshape(side, side)
    return [[pixels + i, i % classes] for i in range(count)]


def names_of(classes: int) -> dict[int, str]:
    return {label: f"{label + 1}-{label + 2}.5" for label in range(classes)}


def written(pairs: list[list[object]], names: dict[int, str]) -> bytes:
    stream = io.BytesIO()
    write_gp(stream, ((image, label) for image, label in pairs), len(pairs), names)
    return stream.getvalue()


def pickled_in_2018(value: object) -> bytes:
    """What pickle.dump wrote then: the old module's name, and 0 and 1 for a dtype's flags."""
    data = pickle.dumps(value, protocol=3)
    data = data.replace(b"numpy._core.", b"numpy.core.")
    return data.replace(b"\x89\x88\x87", b"K\x00K\x01\x87", 1)


@pytest.mark.parametrize(
    ("count", "classes", "side"), [(1, 1, 4), (4, 4, 16), (3, 2, 64), (2001, 4, 9), (300, 2, 70)]
)
def test_a_gp_file_is_byte_for_byte_what_pickle_wrote_in_2018(
    count: int, classes: int, side: int
) -> None:
    # Python 3.6.15 with NumPy 1.14.6 wrote the same file of 1203 images of 64 x 64 when this
    # was written; here its pickler's bytes are derived from today's.
    pairs, names = pairs_of(count, classes, side), names_of(classes)
    assert written(pairs, names) == pickled_in_2018([pairs, names])


def test_a_gp_file_names_only_what_old_and_new_numpy_have() -> None:
    data = written(pairs_of(3, 2, 8), names_of(2))
    assert data.startswith(b"\x80\x03")
    assert b"numpy.core.multiarray\n_reconstruct" in data
    assert b"_core" not in data


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("module", [b"numpy._core.", b"numpy.core."])
def test_files_of_old_and_new_picklers_are_read(dtype: str, module: bytes) -> None:
    pairs = [[(image * 1.5).astype(dtype), label] for image, label in pairs_of(5, 2, 20)]
    data = pickle.dumps([pairs, names_of(2)], protocol=3).replace(b"numpy._core.", module)
    index = read_gp_index(io.BytesIO(data), len(data), "x.gp")
    assert index.names == ("1-2.5", "2-3.5")
    assert list(index.labels) == [label for _, label in pairs]
    images = list(read_gp_images(io.BytesIO(data), index, "x.gp"))
    assert all(i.dtype.isnative and i.dtype.kind == "f" for i in images)
    assert np.array_equal(images, [image for image, _ in pairs])


def test_reading_images_from_a_shortened_file_is_refused() -> None:
    data = written(pairs_of(3, 2, 20), names_of(2))
    index = read_gp_index(io.BytesIO(data), len(data), "x.gp")
    for end in (index.offsets[2] + 100, index.offsets[1] - 3):
        with pytest.raises(DatasetError, match=r"x\.gp"):
            list(read_gp_images(io.BytesIO(data[:end]), index, "x.gp"))


@pytest.mark.parametrize("announced", [2, 4])
def test_another_number_of_images_than_announced_is_an_error(announced: int) -> None:
    pairs = ((image, label) for image, label in pairs_of(3, 2, 4))
    with pytest.raises(UsageError):
        write_gp(io.BytesIO(), pairs, announced, names_of(2))


def test_images_that_are_not_float32_are_not_written() -> None:
    with pytest.raises(UsageError, match="float64"):
        write_gp(io.BytesIO(), [(np.zeros((4, 4)), 0)], 1, {0: "1"})  # type: ignore[list-item]


# .npy


@pytest.mark.parametrize("size", [4, 128, 1024, 16384])
def test_the_header_is_one_that_numpy_reads(size: int) -> None:
    header = npy_header((size, size))
    assert len(header) == HEADER_BYTES
    stream = io.BytesIO(header)
    assert np.lib.format.read_magic(stream) == (1, 0)
    assert np.lib.format.read_array_header_1_0(stream) == ((size, size), False, np.dtype("<f8"))
    assert stream.tell() == HEADER_BYTES
    assert parse_npy_header(header, "x").shape == (size, size)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_headers_that_numpy_writes_are_read(dtype: str, order: str) -> None:
    stream = io.BytesIO()
    np.save(stream, np.asarray(np.ones((5, 7)), dtype=dtype, order=order))
    header = parse_npy_header(stream.getvalue()[:200], "x")
    assert header.dtype == np.dtype(dtype)
    assert (header.shape, header.fortran_order) == ((5, 7), order == "F")
    assert len(stream.getvalue()) == header.offset + header.nbytes


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1, "a"]], dtype=object),
        np.zeros((3, 3), dtype=np.int32),
        np.zeros(9),
        np.zeros((2, 2, 2)),
        np.zeros((0, 3)),
        np.zeros((2, 2), dtype=np.complex128),
        np.zeros((2, 2), dtype=[("a", "f8")]),
    ],
    ids=["objects", "integers", "1-D", "3-D", "empty", "complex", "structured"],
)
def test_arrays_that_are_no_images_are_refused(array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    with pytest.raises(DatasetError):
        parse_npy_header(stream.getvalue(), "x.npy")


@pytest.mark.parametrize(
    "fields",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999, 2), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }",
        "__import__('os').system('touch ran')",
        "(" * 9000,
        "",
    ],
)
def test_hostile_headers_are_refused(fields: str) -> None:
    header = b"\x93NUMPY\x01\x00" + len(fields).to_bytes(2, "little") + fields.encode()
    with pytest.raises(DatasetError):
        parse_npy_header(header + b"\n", "x.npy")


# Zips


def write_zip(path: Path, contents: dict[str, bytes]) -> None:
    layout = ZipLayout([(name, len(data)) for name, data in contents.items()])
    crcs = [zlib.crc32(data) for data in contents.values()]
    with path.open("wb") as file:
        file.truncate(layout.size)
        # Backwards, since any order will do.
        for member, crc in reversed(list(zip(layout.members, crcs, strict=True))):
            file.seek(member.start)
            file.write(member.header(crc) + contents[member.name])
        file.seek(layout.directory_start)
        file.write(layout.directory(crcs))
    assert path.stat().st_size == layout.size


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,9}/[a-z]{1,9}", fullmatch=True), st.binary(), max_size=5
    )
)
def test_python_reads_the_zips(tmp_path_factory: pytest.TempPathFactory, contents: dict) -> None:
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    write_zip(path, contents)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == stat.S_IFREG | 0o644


def test_numbers_beyond_32_bits_are_in_zip64_fields(tmp_path: Path) -> None:
    # The zip is sparse: 5 GB of zeros, a small member after them, and nothing on the disk.
    path, big = tmp_path / "x.zip", 5 * 2**30
    layout = ZipLayout([("a/zeros", big), ("a/last", 5)])
    crcs = [0x12345678, zlib.crc32(b"hello")]
    with path.open("wb") as file:
        file.truncate(layout.size)
        for member, crc, data in zip(layout.members, crcs, (b"", b"hello"), strict=True):
            file.seek(member.start)
            file.write(member.header(crc) + data)
        file.seek(layout.directory_start)
        file.write(layout.directory(crcs))
    with zipfile.ZipFile(path) as archive:
        assert [info.file_size for info in archive.infolist()] == [big, 5]
        assert archive.read("a/last") == b"hello"
        with archive.open("a/zeros") as zeros:
            assert zeros.read(100) == bytes(100)
    assert layout.members[0].offset == 30 + len("a/zeros") + 20


@pytest.mark.slow
def test_many_members_are_counted_in_zip64_fields(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    write_zip(path, {f"{i}": b"" for i in range(70_000)})
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 70_000


def test_a_member_is_named_in_ascii() -> None:
    with pytest.raises(UnicodeEncodeError):
        ZipMember("ä", 1, 0).header(0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_guarded_reading_gives_the_same_bytes(tmp_path: Path, method: int) -> None:
    data = np.random.default_rng(0).standard_normal(50_000).tobytes()
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.mkdir("a")
        archive.writestr("a/b.npy", data)
    with GuardedZip(tmp_path / "x.zip") as guarded:
        assert guarded.members == {"a/b.npy": len(data)}
        with guarded.open("a/b.npy") as stream:
            assert stream.read(100) + stream.read(len(data)) == data
            assert stream.read(10) == b""


# Crosses


def test_the_papers_classes_are_numbered_and_named_as_in_the_archive() -> None:
    cross = Cross.parse("9.5-10+80-140", (0.75, 1.25))
    assert cross.name == "GP_9.5-10+80-140"
    assert cross.classes == ("9.5-80", "10-80", "9.5-140", "10-140")


def test_names_are_sorted_by_number() -> None:
    cross = Cross.parse("100-20+9.5-30", (1, 1))
    assert cross.classes == ("9.5-100", "9.5-20", "30-100", "20-30")


@pytest.mark.parametrize(
    ("text", "per_class"),
    [("9.5-10+80-140", 25), ("1-2+3-4+5-6", 12), ("1-2-3", 50), ("1+2+3", 50)],
)
def test_no_sample_is_dealt_twice_and_none_is_left_that_could_be_dealt(
    text: str, per_class: int
) -> None:
    lists = text.count("+") + 1
    cross = Cross.parse(text, (1.0,) * lists)
    counts = {v: 50 for choices in cross.length_scales for v in choices}
    assert cross.images_per_class(counts) == per_class
    dealt = [
        key
        for label in range(cross.class_count)
        for image in range(per_class)
        for key in cross.samples_of(label, image, per_class)
    ]
    base = len(cross.length_scales[0])
    assert len(set(dealt)) == len(dealt) == cross.class_count * per_class * lists
    assert {number for _, number in dealt} == set(range(per_class * base ** (lists - 1)))


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("1-2+3", (1.0, 1.0)),
        ("1-2+2-3", (1.0, 1.0)),
        ("1-2+3-4", (1.0,)),
        ("1-1", (1.0,)),
        ("", ()),
        ("a-b", (1.0,)),
        ("1-+2", (1.0, 1.0)),
        ("../1", (1.0,)),
    ],
)
def test_lists_that_cannot_be_crossed_are_refused(text: str, weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        Cross.parse(text, weights)


def test_length_scales_are_written_as_the_authors_do() -> None:
    assert [length_scale_name(v) for v in (9.5, 10.0, 140)] == ["9.5", "10", "140"]
