"""Pickles, arrays and zips made to harm: refused with one line, nothing run, nothing written."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import stat
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpgen.errors import DatasetError
from gpgen.golkar2018 import gp_unpickler
from gpgen.golkar2018.gp_unpickler import ALLOWED
from gpgen.golkar2018.gp_writing import write_gp
from gpgen.golkar2018.import_source import open_source

SUSPECT = ("os.", "subprocess.", "pickle.", "exec", "compile", "import", "socket.", "ctypes.")
_watching = False
_seen: list[str] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        mode = arguments[1]
        if isinstance(mode, str) and set(mode) & set("wax+"):
            _seen.append(f"{event} {arguments}")
    elif event.startswith(SUSPECT):
        _seen.append(f"{event} {arguments}")


sys.addaudithook(_audit)
b"a".decode("cp437")  # the names in zips; Python imports its codecs when they are first used


@contextlib.contextmanager
def nothing_runs() -> Iterator[None]:
    """Fail if anything is imported, compiled, unpickled, started or opened for writing."""
    global _watching
    _seen.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    # A folder is listed to look into it; nothing else of os is needed for reading.
    assert [event for event in _seen if not event.startswith(("os.listdir", "os.scandir"))] == []


def check_refused(path: Path) -> str:
    """Assert that a file is refused with one line, and return that line."""
    before = {p: p.stat().st_size for p in path.parent.rglob("*")}
    with nothing_runs(), pytest.raises(DatasetError) as caught:
        list(open_source(path).images())
    assert {p: p.stat().st_size for p in path.parent.rglob("*")} == before
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    assert path.name in line or "final_size" in line
    return line


def gp(count: int = 2, classes: int = 2, side: int = 8) -> bytes:
    stream = io.BytesIO()
    pairs = ((np.full((side, side), i, dtype=np.float32), i % classes) for i in range(count))
    write_gp(stream, pairs, count, {i: f"{i + 1}-9.5" for i in range(classes)})
    return stream.getvalue()


def refuse_gp(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "x.gp"
    path.write_bytes(data)
    return check_refused(path)


def test_the_file_that_the_hostile_ones_are_made_from_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.gp").write_bytes(gp())
    with nothing_runs():
        images = list(open_source(tmp_path / "x.gp").images())
    assert len(images) == 2


# Every opcode that the format doesn't need, each with a well-formed argument.
ARGUMENTS = {
    "INT": b"1\n", "LONG": b"1L\n", "LONG1": b"\x01\x01", "LONG4": b"\x01\0\0\0\x01",
    "STRING": b"'a'\n", "BINSTRING": b"\x01\0\0\0a", "SHORT_BINSTRING": b"\x01a",
    "BINBYTES8": b"\x01" + bytes(7) + b"a", "BYTEARRAY8": b"\x01" + bytes(7) + b"a",
    "UNICODE": b"a\n", "SHORT_BINUNICODE": b"\x01a", "BINUNICODE8": b"\x01" + bytes(7) + b"a",
    "FLOAT": b"1.0\n", "BINFLOAT": bytes(8), "GET": b"0\n", "PUT": b"0\n",
    "EXT1": b"\x01", "EXT2": b"\x01\0", "EXT4": b"\x01\0\0\0", "INST": b"os\nsystem\n",
    "FRAME": bytes(8), "PERSID": b"1\n",
}  # fmt: skip
FOREIGN = [opcode for opcode in pickletools.opcodes if opcode.name not in ALLOWED]


@pytest.mark.parametrize("opcode", FOREIGN, ids=lambda opcode: opcode.name)
def test_every_opcode_that_the_format_does_not_need_is_refused(
    tmp_path: Path, opcode: pickletools.OpcodeInfo
) -> None:
    argument = ARGUMENTS.get(opcode.name, b"")
    assert (opcode.arg is None) == (argument == b"")
    data = gp()
    line = refuse_gp(tmp_path, data[:3] + opcode.code.encode("latin-1") + argument + data[3:])
    assert opcode.name in line


GLOBALS = [
    "os system", "posix system", "nt system", "subprocess Popen", "builtins eval", "builtins exec",
    "builtins getattr", "builtins __import__", "__builtin__ eval", "copyreg _reconstructor",
    "copyreg add_extension", "pickle loads", "_pickle loads", "runpy run_path", "socket socket",
    "numpy load", "numpy fromfile", "numpy.lib.npyio load", "numpy.core.multiarray scalar",
    "numpy.core.multiarray fromfile", "numpy._core.multiarray scalar", "numpy.core._reconstruct x",
    "numpy.core.multiarray _reconstructx", "numpy.core.multiarrayx _reconstruct",
    "numpy ndarray.tofile", "numpy dtypes", "numpyx ndarray", "Numpy ndarray", "numpy Ndarray",
    "numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer", "_codecs encode",
    "numpy.f2py.diagnose run", "numpy.testing._private.utils runstring", "numpy.core.umath os",
    "numpy.distutils.exec_command exec_command", "gpgen.io.files remove_tree", " ", ".. x",
]  # fmt: skip


@pytest.mark.parametrize("name", GLOBALS)
def test_every_name_but_the_four_is_refused(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.partition(" ")
    call = f"c{module}\n{attribute}\n".encode() + b"X\x09\x00\x00\x00touch ran\x85R0"
    line = refuse_gp(tmp_path, gp()[:3] + call + gp()[3:])
    assert "isn't one of the format's" in line


class Reduces:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def published_exploits() -> dict[str, object]:
    import os
    import subprocess

    image = np.zeros((4, 4), dtype=np.float32)
    return {
        "os.system": Reduces(os.system, "touch ran"),
        "os.system as an image": [[[Reduces(os.system, "touch ran"), 0]], {0: "1"}],
        "os.system as a label": [[[image, Reduces(os.system, "touch ran")]], {0: "1"}],
        "eval as a name": [[[image, 0]], {0: Reduces(eval, "open('ran', 'w')")}],
        "subprocess": Reduces(subprocess.Popen, ["touch", "ran"]),
        "np.load": Reduces(np.load, "x.npy"),
        "np.fromfile": Reduces(np.fromfile, "/etc/passwd"),
        "a pickle in a pickle": Reduces(
            pickle.loads, pickle.dumps(Reduces(os.system, "touch ran"))
        ),
        "a pickle as a name": [[[image, 0]], {0: pickle.dumps(Reduces(os.system, "touch ran"))}],
        "getattr chain": Reduces(getattr, image, "tofile"),
    }


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", list(published_exploits()))
def test_exploits_are_refused_in_every_protocol(tmp_path: Path, name: str, protocol: int) -> None:
    refuse_gp(tmp_path, pickle.dumps(published_exploits()[name], protocol=protocol))


def old(value: object) -> bytes:
    return pickle.dumps(value, protocol=3).replace(b"numpy._core.", b"numpy.core.")


def image_of(dtype: object = np.float32, shape: tuple[int, ...] = (4, 4)) -> np.ndarray:
    return np.zeros(shape, dtype=dtype)


def with_itself() -> list[object]:
    value: list[object] = [image_of(), 0]
    value.append(value)
    return value


SHARED = image_of()
WRONG_VALUES: dict[str, object] = {
    "nothing": None,
    "a number": 7,
    "a tuple": ([[image_of(), 0]], {0: "1"}),
    "a third element": [[[image_of(), 0]], {0: "1"}, 3],
    "no images": [[], {0: "1"}],
    "no names": [[[image_of(), 0]], {}],
    "images alone": [[image_of()], {0: "1"}],
    "pairs of three": [[[image_of(), 0, 0]], {0: "1"}],
    "a list that holds itself": [[with_itself()], {0: "1"}],
    "objects": [[[np.array([[Reduces(print, "ran")]], dtype=object), 0]], {0: "1"}],
    "objects without content": [[[np.empty((2, 2), dtype=object), 0]], {0: "1"}],
    "integers": [[[image_of(np.int32), 0]], {0: "1"}],
    "complex numbers": [[[image_of(np.complex64), 0]], {0: "1"}],
    "texts": [[[np.full((2, 2), "ab"), 0]], {0: "1"}],
    "records": [[[image_of([("a", "f4")]), 0]], {0: "1"}],
    "dates": [[[image_of("M8[s]"), 0]], {0: "1"}],
    "half precision": [[[image_of(np.float16), 0]], {0: "1"}],
    "one axis": [[[image_of(shape=(16,)), 0]], {0: "1"}],
    "three axes": [[[image_of(shape=(2, 2, 2)), 0]], {0: "1"}],
    "no pixels": [[[image_of(shape=(0, 4)), 0]], {0: "1"}],
    "a side too long": [[[image_of(shape=(1, 16385)), 0]], {0: "1"}],
    "different shapes": [[[image_of(), 0], [image_of(shape=(5, 5)), 0]], {0: "1"}],
    "different types": [[[image_of(), 0], [image_of(np.float64), 0]], {0: "1"}],
    "an image twice": [[[SHARED, 0], [SHARED, 0]], {0: "1"}],
    "fortran order": [[[np.asfortranarray(np.ones((4, 5), "f4")), 0]], {0: "1"}],
    "a label without name": [[[image_of(), 1]], {0: "1"}],
    "a negative label": [[[image_of(), -1]], {0: "1"}],
    "a true label": [[[image_of(), True]], {0: "1", 1: "2"}],
    "a NumPy label": [[[image_of(), np.int64(0)]], {0: "1"}],
    "names from 1": [[[image_of(), 1]], {1: "1"}],
    "names from true": [[[image_of(), 0]], {False: "1"}],
    "equal names": [[[image_of(), 0]], {0: "1", 1: "1"}],
    "a path as name": [[[image_of(), 0]], {0: "../../etc/passwd"}],
    "a line as name": [[[image_of(), 0]], {0: "1\n"}],
    "an escape as name": [[[image_of(), 0]], {0: "\x1b[2J"}],
    "foreign digits as name": [[[image_of(), 0]], {0: "\u0661"}],
    "a long name": [[[image_of(), 0]], {0: "1" * 300}],
    "names of names": [[[image_of(), 0]], {0: {0: "1"}}],
    "too many names": [[[image_of(), 0]], {i: str(i) for i in range(5000)}],
}


@pytest.mark.parametrize("name", list(WRONG_VALUES))
def test_what_is_not_a_list_of_images_and_class_names_is_refused(tmp_path: Path, name: str) -> None:
    refuse_gp(tmp_path, old(WRONG_VALUES[name]))


PREFIX = b"\x80\x03]q\x00(]q\x01(]q\x02("
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
FLOAT32 = (
    b"cnumpy\ndtype\nX\x02\0\0\0f4K\x00K\x01\x87R"
    b"(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
)
END = b"K\x00ee}K\x00X\x01\0\0\x001se."


def array(shape: bytes, payload: bytes, dtype: bytes = FLOAT32) -> bytes:
    return PREFIX + ARRAY + b"(K\x01" + shape + dtype + b"\x89" + payload + b"tb" + END


def binbytes(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


MALFORMED = {
    "empty": b"",
    "text": b"hello",
    "zeros": bytes(1000),
    "cut in an opcode": gp()[:50],
    "cut in the pixels": gp()[:200],
    "cut before the end": gp()[:-1],
    "a second pickle behind": gp() + gp(),
    "a byte behind": gp() + b"\0",
    "protocol 4": b"\x80\x04" + gp()[2:],
    "a second PROTO": gp()[:3] + b"\x80\x03" + gp()[3:],
    "an unknown opcode": b"\x80\x03\xff.",
    "a huge shape": array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", binbytes(bytes(64))),
    "a shape of more than there is": array(b"M\x00\x40M\x00\x40\x86", binbytes(bytes(64))),
    "a shape of less than there is": array(b"K\x01K\x01\x86", binbytes(bytes(64))),
    "a negative shape": array(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86", binbytes(bytes(4))),
    "a shape of truths": array(b"\x88\x88\x86", binbytes(bytes(4))),
    "a shape of texts": array(b"X\1\0\0\x004X\1\0\0\x004\x86", binbytes(bytes(64))),
    "a shape of shapes": array(b"K\x04\x85K\x04\x86", binbytes(bytes(64))),
    "4 GB announced": array(b"K\x04K\x04\x86", b"B\xff\xff\xff\xff" + bytes(64)),
    "more than an image announced": array(b"K\x04K\x04\x86", b"B\x00\x00\x00\x20" + bytes(64)),
    "a text of 4 GB announced": b"\x80\x03X\xff\xff\xff\xffa.",
    "no pixels": array(b"K\x04K\x04\x86", b"N"),
    "an array never filled in": PREFIX + ARRAY + END,
    "an array filled in twice": array(b"K\x04K\x04\x86", binbytes(bytes(64))).replace(
        END, b"(K\x01K\x04K\x04\x86" + FLOAT32 + b"\x89" + binbytes(bytes(64)) + b"tb" + END
    ),
    "an array of another class": array(b"K\x04K\x04\x86", binbytes(bytes(64))).replace(
        b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", 1
    ),
    "an array made with a shape": array(b"K\x04K\x04\x86", binbytes(bytes(64))).replace(
        b"K\x00\x85C\x01b", b"M\xff\xff\x85C\x01b", 1
    ),
    "an array made with another type": array(b"K\x04K\x04\x86", binbytes(bytes(64))).replace(
        b"C\x01b", b"C\x01O", 1
    ),
    "ndarray called": PREFIX + b"cnumpy\nndarray\nK\x04K\x04\x86\x85R" + END,
    "dtype called with objects": array(
        b"K\x04K\x04\x86", binbytes(bytes(64)), FLOAT32.replace(b"f4", b"O8")
    ),
    "dtype with metadata": array(
        b"K\x04K\x04\x86", binbytes(bytes(64)), FLOAT32.replace(b"<NNN", b"<NN}")
    ),
    "dtype never built": array(b"K\x04K\x04\x86", binbytes(bytes(64)), FLOAT32.split(b"(")[0]),
    "dtype of native order": array(
        b"K\x04K\x04\x86", binbytes(bytes(64)), FLOAT32.replace(b"\0<", b"\0=")
    ),
    "a list built": b"\x80\x03]K\x01b.",
    "a text called": b"\x80\x03X\x01\0\0\0aK\x01\x85R.",
    "a stack that runs dry": b"\x80\x03\x87.",
    "no mark": b"\x80\x03e.",
    "an append through a mark": b"\x80\x03](K\x01a.",
    "nothing to append to": b"\x80\x03(K\x01e.",
    "an append to a name": b"\x80\x03cnumpy\ndtype\n(K\x01e.",
    "an empty memo": b"\x80\x03h\x05.",
    "an item without a value": b"\x80\x03}(K\x01u.",
    "a list as a key": b"\x80\x03}]K\x01s.",
    # Its hash overflows the C stack.
    "a tuple in a million tuples as a key": b"\x80\x03}N" + b"\x85" * 1_000_000 + b"Ns.",
    # Its hash takes 2^100 steps.
    "a tuple of twice itself as a key": b"\x80\x03}N" + b"q\0h\0\x86" * 100 + b"Ns.",
    # Python's unpickler in C fills 32 GB with its memo.
    "a memo of 2^31": b"\x80\x03Nr\xff\xff\xff\x7f.",
    "a call of a call": PREFIX + ARRAY + b"K\x00\x85R" + END,
    "a call without arguments": PREFIX + b"cnumpy\nndarray\nNR" + END,
    "a name filled in": PREFIX + b"cnumpy\nndarray\nK\x01\x85b" + END,
    "a second dictionary": b"\x80\x03](]}}e.",
    "a second image of fewer pixels": array(b"K\x04K\x04\x86", binbytes(bytes(64))).replace(
        END,
        b"K\x00e](" + array(b"K\x04K\x04\x86", binbytes(bytes(60))).removeprefix(PREFIX),
    ),
    "values left over": b"\x80\x03]].",
    "a mark left over": b"\x80\x03](.",
    "a name without an end": b"\x80\x03c" + b"a" * 10_000,
    "a million opcodes": b"\x80\x03" + b"N" * 1_000_001 + b".",
    "lists in lists": b"\x80\x03" + b"]" * 1000 + b"a" * 999 + b".",
}


@pytest.mark.parametrize("name", list(MALFORMED))
def test_what_no_pickler_writes_is_refused(tmp_path: Path, name: str) -> None:
    refuse_gp(tmp_path, MALFORMED[name])


def test_those_were_made_from_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "x.gp").write_bytes(array(b"K\x04K\x04\x86", binbytes(bytes(64))))
    assert open_source(tmp_path / "x.gp").shape == (4, 4)


OPCODE_BYTES = 100_000
FILLING = {
    "lists": b"]" * OPCODE_BYTES,
    "marks": b"(" * OPCODE_BYTES,
    "tuples": b"N" + b"\x85" * OPCODE_BYTES,
    "dictionaries": b"}" * OPCODE_BYTES,
    "texts": (b"X\0\1\0\0" + "\N{OX}".encode() * 64) * 1000,
    "records": b"cnumpy\nndarray\nq\0K\0\x85q\1" + b"h\0h\1R" * 20_000,
    "what is memoized": b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(20_000)),
}


@pytest.mark.parametrize("name", list(FILLING))
def test_an_opcode_byte_takes_at_most_100_bytes_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(gp_unpickler, "MAX_OPCODE_BYTES", OPCODE_BYTES)
    path = tmp_path / "x.gp"
    path.write_bytes(b"\x80\x03" + FILLING[name] + b".")
    with peak_memory() as peak:
        with pytest.raises(DatasetError, match="too long"):
            open_source(path)
        assert peak() < 100 * OPCODE_BYTES


def test_images_are_read_one_at_a_time(tmp_path: Path) -> None:
    image = np.zeros((1024, 1024), dtype=np.float32)
    with (tmp_path / "x.gp").open("wb") as file:
        write_gp(file, ((image, 0) for _ in range(25)), 25, {0: "1"})
    with peak_memory() as peak:
        assert sum(1 for _ in open_source(tmp_path / "x.gp").images()) == 25
        assert peak() < 3 * image.nbytes


@contextlib.contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Yield what tells how many bytes Python and NumPy have held at most."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_as_images(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = bytearray(gp())
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.gp"
    path.write_bytes(good)
    with nothing_runs(), contextlib.suppress(DatasetError):
        assert all(image.shape == (8, 8) for image in open_source(path).images())


# Zips


def npy(size: int = 4) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((size, size)))
    return stream.getvalue()


GOOD = "gp-samples/final_size-4_corr-9.5_v1.npy"
ZEROS = bytes(2_000_000)


def member(name: str, **fields: object) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def zip_of(*members: tuple[zipfile.ZipInfo | str, bytes], method: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for info, data in members:
            archive.writestr(info, data)
    return stream.getvalue()


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Change a field in the last header that has a signature."""
    place = data.rindex(signature) + offset
    return data[:place] + value + data[place + len(value) :]


def overlapping() -> bytes:
    """Two members that share one header and its data, as in D. Fifield's bombs."""
    data = zip_of((GOOD, npy()), ("gp-samples/final_size-4_corr-9.5_v2.npy", npy()))
    return patched(data, b"PK\1\2", 42, bytes(4))


def renamed(name: bytes) -> bytes:
    stand_in = b"n" * len(name)
    return zip_of((GOOD, npy()), (stand_in.decode(), b"x")).replace(stand_in, name)


LINK = (stat.S_IFLNK | 0o777) << 16
ZIPS: dict[str, Callable[[], bytes]] = {
    "no zip": lambda: b"PK\3\4" + bytes(100),
    "an absolute path": lambda: zip_of((GOOD, npy()), ("/etc/cron.d/x", b"x")),
    "a parent's path": lambda: zip_of((GOOD, npy()), ("../../x.npy", b"x")),
    "a parent's path inside": lambda: zip_of((GOOD, npy()), ("a/../../x.npy", b"x")),
    "a sample in a parent's path": lambda: zip_of((f"../{GOOD}", npy())),
    "a backslash": lambda: renamed(rb"..\..\x.npy"),
    "a drive": lambda: zip_of((GOOD, npy()), ("C:/x.npy", b"x")),
    "a zero byte": lambda: renamed(b"good.npy\0.exe"),
    "a line break": lambda: renamed(b"a\nb.npy"),
    "an escape": lambda: renamed(b"\x1b[2Jb.npy"),
    "a long name": lambda: zip_of((GOOD, npy()), ("a" * 300, b"x")),
    "a symbolic link": lambda: zip_of((member(GOOD, external_attr=LINK), b"/etc/passwd")),
    "a link beside": lambda: zip_of((GOOD, npy()), (member("a", external_attr=LINK), b"/")),
    "a device": lambda: zip_of(
        (GOOD, npy()), (member("a", external_attr=(stat.S_IFCHR | 0o666) << 16), b"")
    ),
    "a member twice": lambda: zip_of((GOOD, npy()), (GOOD[:-4] + ".NPY", npy())),
    "a bomb": lambda: zip_of((GOOD, ZEROS), method=zipfile.ZIP_DEFLATED),
    "a bomb beside": lambda: zip_of((GOOD, npy()), ("z", ZEROS), method=zipfile.ZIP_DEFLATED),
    "a bzip2 bomb": lambda: zip_of((GOOD, ZEROS), method=zipfile.ZIP_BZIP2),
    "lzma": lambda: zip_of((GOOD, npy()), method=zipfile.ZIP_LZMA),
    "an overlap": overlapping,
    "an encrypted member": lambda: patched(zip_of((GOOD, npy())), b"PK\1\2", 8, b"\x01\0"),
    "a false CRC": lambda: patched(zip_of((GOOD, npy())), b"PK\1\2", 16, b"abcd"),
    "a false length": lambda: patched(zip_of((GOOD, npy())), b"PK\1\2", 24, b"\xff\xff\0\0"),
    "a length of 4 GB": lambda: patched(
        zip_of((GOOD, npy()), method=zipfile.ZIP_DEFLATED), b"PK\1\2", 24, b"\xfe\xff\xff\xff"
    ),
    "a member beyond the end": lambda: patched(zip_of((GOOD, npy())), b"PK\1\2", 42, b"\0\0\1\0"),
    "a header of another name": lambda: zip_of((GOOD, npy())).replace(b"_v1", b"_v2", 1),
    "a directory of 4 GB": lambda: patched(
        zip_of((GOOD, npy())), b"PK\5\6", 12, b"\xf0\xff\xff\xff"
    ),
    "a cut directory": lambda: zip_of((GOOD, npy()))[:-30],
    "too many members": lambda: zip_of(*((str(i), b"") for i in range(20_001))),
    "nothing of use": lambda: zip_of(("readme.txt", b"hello")),
    "two .gp files": lambda: zip_of(("a.gp", gp()), ("b.gp", gp())),
    "samples and a .gp file": lambda: zip_of((GOOD, npy()), ("b.gp", gp())),
    "a sample twice": lambda: zip_of((GOOD, npy()), ("final_size-4_corr-9.50_v1.npy", npy())),
    "samples of two sizes": lambda: zip_of((GOOD, npy()), (GOOD.replace("v1", "v2"), npy(5))),
    "a sample longer than it says": lambda: zip_of((GOOD, npy() + b"x")),
    "a sample shorter than it says": lambda: zip_of((GOOD, npy()[:-1])),
    "a sample of objects": lambda: zip_of((GOOD, npy().replace(b"'<f8'", b"'|O' "))),
    "a hostile .gp file": lambda: zip_of(("a.gp", old(Reduces(print, "ran")))),
    "a zip in a zip": lambda: zip_of((GOOD, zip_of((GOOD, npy())))),
}


@pytest.mark.parametrize("name", list(ZIPS))
def test_hostile_zips_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(ZIPS[name]())
    check_refused(path)


def test_those_zips_were_made_from_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of((GOOD, npy()), ("readme.txt", b"hello")))
    assert len(list(open_source(tmp_path / "x.zip").images())) == 1


def test_a_deflated_member_that_grows_beyond_its_length_is_refused(tmp_path: Path) -> None:
    data = zip_of((GOOD, npy(64)), method=zipfile.ZIP_DEFLATED)
    short = struct.pack("<I", len(npy(4)))
    path = tmp_path / "x.zip"
    path.write_bytes(patched(data, b"PK\1\2", 24, short))
    check_refused(path)


def test_a_directory_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    size, path = 9 << 20, tmp_path / "x.zip"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, size, 0, 0)
    path.write_bytes(b"PK\1\2" + bytes(size - 4) + end)
    with peak_memory() as peak:
        with pytest.raises(DatasetError, match=f"a directory of {size} bytes"):
            open_source(path)
        assert peak() < 1e6


def test_there_are_more_than_forty_kinds() -> None:
    kinds = len(FOREIGN) + len(GLOBALS) + len(published_exploits()) + len(WRONG_VALUES)
    assert kinds + len(MALFORMED) + len(ZIPS) > 150
