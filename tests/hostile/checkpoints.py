"""Checkpoints: right archives with a right checksum over wrong contents, and archives whose parts contradict each
other."""

import io
import json
import random
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np

from hostile import odd
from trainer import config
from trainer.core import optim
from trainer.core.model import NAMES, Sizes, initial
from trainer.core.ops import Array
from trainer.runs import archive, opening
from trainer.runs.checkpoint import Checkpoint, load, save
from trainer.runs.sampling import stream

ROOM: dict[str, bytes] = {}


def base(kind: str) -> bytes:
    """The bytes of a right checkpoint."""
    if kind not in ROOM:
        path = Path(f"base-{kind}.npz")
        save(path, right(kind))
        ROOM[kind] = path.read_bytes()
    return ROOM[kind]


def right(kind: str) -> Checkpoint:
    mode, optimizer = kind.split()
    tree = {
        "data": {"path": "text.txt", "mode": mode},
        "model": {"context": 2, "embedding": 2, "hidden": 3},
        "train": {"optimizer": optimizer, "steps": 9},
    }
    settings = config.build(tree, "here")
    p = initial(Sizes(5, 2, 2, 3), "float32", np.random.default_rng(0))
    tally = {"sum_to_zero": {"run": 3, "failed": 0, "worst": 0.5, "where": "step 0"}}
    state = optim.initial_state(settings.train, p)
    opening = "ab" if mode == "stream" else ""
    return Checkpoint(settings, "\nabcd", p, state, 4, 2.0, 3, 1.5, checks=tally, opening=opening, places=["/text.txt"])


def make(rng: random.Random) -> bytes:
    """The bytes of a checkpoint."""
    data = base(rng.choice(["lines sgd", "stream adamw"]))
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file)
    del arrays["checksum"]
    meta = json.loads(arrays.pop("meta").tobytes())
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        meta = odd.changed(meta, rng)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        name = rng.choice([*arrays])
        change_array(arrays, name, rng)
    text = json.dumps(meta, ensure_ascii=rng.random() < 0.9).encode(errors="surrogatepass")
    if rng.random() < 0.05:
        text = rng.choice(
            [b"", b"[" * 5000, b"{}", b"\xff", b'{"format": 2, "format": 1}', text + b"x", b" " + text, b"NaN"]
        )
    arrays["meta"] = np.frombuffer(text, np.uint8)
    if rng.random() < 0.03:
        arrays["meta"] = arrays["meta"].astype(rng.choice(["u2", "S1", "f8"]))
    try:
        arrays["checksum"] = np.frombuffer(archive.checksum(arrays), np.uint8)
    except (TypeError, ValueError):  # not of every type
        arrays["checksum"] = np.zeros(32, np.uint8)
    members = {name + ".npy": npy(array, rng) for name, array in arrays.items()}
    return zipped(members, rng)


def change_array(arrays: dict[str, Array], name: str, rng: random.Random) -> None:
    """Give an array another type, shape, order or content, or take it out, or add one."""
    array = arrays[name]
    kind = rng.randrange(9)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[rng.choice(["surprise", "optimizer_", "optimizer_m", "../../x", "C", "", "\x1b", "a" * 300])] = array
    elif kind == 2:
        types = [
            "f8",
            "f2",
            "c8",
            "i4",
            "u1",
            "S4",
            "U4",
            "V8",
            ">f4",
            "?",
            "M8[s]",
            "m8[ns]",
            [("a", "f4"), ("b", "i2")],
        ]
        arrays[name] = np.zeros(array.shape, rng.choice(types))
    elif kind == 3:
        arrays[name] = array.reshape(rng.choice([(-1,), (1, -1), (-1, 1), array.shape[::-1], (*array.shape, 1)]))
    elif kind == 4:
        shape = rng.choice([(), (0,), (1,), (0, 10**9), (7, 7), tuple([1] * 32), (array.size + 1,)])
        arrays[name] = np.zeros(shape, array.dtype)
    elif kind == 5:
        arrays[name] = np.asfortranarray(array)
    elif array.dtype.kind == "f":
        arrays[name] = np.full_like(array, rng.choice([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45, 0.0, 700.0]))


def npy(array: Array, rng: random.Random) -> bytes:
    """A .npy file, whose header may say something else than what is there."""
    room = io.BytesIO()
    np.save(room, array, allow_pickle=False)
    data = room.getvalue()
    if rng.random() > 0.02:
        return data
    (length,) = struct.unpack("<H", data[8:10])
    shape = rng.choice(
        ["(4,)", "(-4,)", "(2**60,)", f"({2**62},)", "()", "(4.0,)", "(True,)", "None", "((4,),)", "(" * 90]
    )
    kind = rng.choice(["<f4", "|O", "|V0", "<U0", "<f16", "evil", "<f4,<i8", "|S4"])
    fortran = rng.choice(["False", "True", "None", "__import__('os')"])
    header = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    header = rng.choice([header, header[:-3], "{}", "[1]", header + " + {}", header.replace("'shape'", "'size'")])
    version = rng.choice([b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\x09"])
    return (
        data[:6] + version + data[8:10] + header.encode()[: length - 1].ljust(length - 1) + b"\n" + data[10 + length :]
    )


def zipped(members: dict[str, bytes], rng: random.Random) -> bytes:
    """A zip archive of these, in which something may be twice, compressed, over each other, or said wrongly."""
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w") as file:
        if rng.random() < 0.02:
            file.comment = rng.randbytes(40)
        for name, data in members.items():
            method = (
                rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]) if rng.random() < 0.01 else 0
            )
            file.writestr(zipfile.ZipInfo(name), data, method)  # dated 1980, whenever it is made
        if rng.random() < 0.03:
            twice = rng.choice([*members])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # zipfile tells of names that are there twice
                name = rng.choice([twice, twice.removesuffix(".npy"), "extra", "dir/"])
                file.writestr(zipfile.ZipInfo(name), members[twice])
    data = bytearray(room.getvalue())
    if rng.random() < 0.1:
        contradict(data, rng)
    return bytes(data)


def contradict(data: bytearray, rng: random.Random) -> None:
    """Change a number of the directory: a place, a size, a checksum, a flag, a method, a length."""
    entries = [at for at in range(len(data) - 46) if data[at : at + 4] == b"PK\x01\x02"]
    at = rng.choice(entries)
    place, form = rng.choice(
        [(8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"), (28, "<H"), (30, "<H"), (42, "<I")]
    )
    (before,) = struct.unpack_from(form, data, at + place)
    most = 2 ** (8 * struct.calcsize(form)) - 1
    other = struct.unpack_from("<I", data, rng.choice(entries) + 42)[0]  # the place of another member
    struct.pack_into(form, data, at + place, rng.choice([0, 1, before ^ 1, before + 7, most, other]) & most)


def read(path: Path, rng: random.Random) -> str:
    checkpoint = load(path)
    said = repr(checkpoint) + opening.describe(checkpoint, path)
    assert len(said) < 10_000
    again = path.with_suffix(".again")
    save(again, checkpoint)
    assert load(again).parameters.flat.tobytes() == checkpoint.parameters.flat.tobytes()
    checkpoint, _ = opening.open_run(str(path))
    with np.errstate(all="ignore"):
        text = "".join(stream(checkpoint, length=5))
    assert len(text) <= 5
    assert set(NAMES) == set(checkpoint.sizes.shapes())
    return "accepted"
