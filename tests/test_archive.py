"""What a checkpoint's container says of itself is not believed."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Trainer, assert_one_line, folder, fresh

from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs import archive
from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")


def test_arrays_come_back_as_they_were() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "F": np.asfortranarray(np.eye(3, 4)), "none": np.zeros((0, 5))}
    found, right = archive.unpack(archive.pack(arrays))
    assert right
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return room.getvalue()


def npy(array: Array, shape: str | None = None) -> bytes:
    """A .npy file, whose header may tell another shape."""
    room = io.BytesIO()
    np.save(room, array)
    data = room.getvalue()
    if shape is None:
        return data
    (length,) = struct.unpack("<H", data[8:10])
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}".ljust(length - 1) + "\n"
    return data[:10] + header.encode() + data[10 + length :]


def overlapping(size: int, members: int) -> bytes:
    """One array of so many bytes that stands under many names."""
    data = bytearray(zipped({"a0.npy": npy(np.zeros(size, np.uint8))}))
    start = data.rindex(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    entry = bytes(data[start:end])
    entries = b"".join(entry.replace(b"a0.npy", b"a%d.npy" % k) for k in range(members))
    tail = bytearray(data[end:])
    tail[8:12] = struct.pack("<HH", members, members)
    tail[12:16] = struct.pack("<I", len(entries))
    return bytes(data[:start]) + entries + bytes(tail)


HOSTILE = {
    "a shape far beyond the bytes": zipped({"a.npy": npy(np.zeros(4), f"({2**40},)")}),
    "a shape short of the bytes": zipped({"a.npy": npy(np.zeros(4), "(3,)")}),
    "a negative shape": zipped({"a.npy": npy(np.zeros(4), "(-4,)")}),
    "compressed": zipped({"a.npy": npy(np.zeros(10**6, np.uint8))}, zipfile.ZIP_DEFLATED),
    "objects": zipped({"a.npy": npy(np.zeros(4)).replace(b"<f8", b"|O8")}),
    "one name twice": zipped({"a.npy": npy(np.zeros(4)), "a": npy(np.zeros(4))}),
    "members over each other": overlapping(10**6, 9),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_container_that_lies_is_one_line_and_takes_no_memory(case: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(HOSTILE[case])
    tracemalloc.start()
    with pytest.raises(UserError, match="not a checkpoint, or a damaged one"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 3 * len(HOSTILE[case]) + 10**6


def test_what_is_no_regular_file_is_not_waited_for() -> None:
    for path in ("/dev/zero", "/dev/stdin", "."):
        with pytest.raises(UserError, match="no regular file"):
            load(path)


def test_a_damaged_best_checkpoint_is_told_of_and_written_anew(trainer: Trainer) -> None:
    assert trainer(*fresh("run", "train.schedule=constant"))[0] == 0
    best = folder("run") / "best.npz"
    best.write_bytes(best.read_bytes()[:-100])
    status, _, err = trainer("--resume", "runs/run", "train.steps=40")
    assert status == 0
    assert "warning: not a checkpoint, or a damaged one" in err
    assert load(best).best_loss is not None


def test_a_second_writer_is_refused_even_when_the_log_was_deleted(trainer: Trainer) -> None:
    from trainer.runs.files import held

    assert trainer(*fresh("run", "train.schedule=constant"))[0] == 0
    with held(folder("run")):
        (folder("run") / "metrics.jsonl").unlink()
        assert_one_line(trainer("--resume", "runs/run", "train.steps=40"), 2, "another process is writing this run")
