"""Named arrays in one .npz file with a checksum, and back, believing nothing that the file says of itself.

What is read takes at most three times the size of the file in memory: each array is as large as the bytes that stand
there for it, no two arrays share bytes, and nothing is compressed or executed.
"""

import hashlib
import io
import math
import zipfile

import numpy as np
from numpy.lib import format as npy

from trainer.core.ops import Array


def pack(arrays: dict[str, Array]) -> bytes:
    """The bytes of a file that holds these arrays and their checksum."""
    room = io.BytesIO()
    np.savez(room, **arrays, checksum=np.frombuffer(checksum(arrays), np.uint8))  # type: ignore[arg-type]
    return room.getvalue()


def unpack(data: bytes) -> tuple[dict[str, Array], bool]:
    """The arrays in a file, and whether they are those of its checksum. Raises ValueError and the like for damage."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        declared = sum(member.file_size for member in members)
        if declared > len(data) or any(member.compress_type for member in members):
            raise ValueError("members that are compressed, or lie over each other")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError("two members of one name")
            arrays[name] = array_in(archive.read(member))
    stored = arrays.pop("checksum").tobytes()
    return arrays, stored == checksum(arrays)


def array_in(data: bytes) -> Array:
    """The array in a .npy file. Raises ValueError if it is not exactly what the header says."""
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version != (1, 0):
        raise ValueError("another version of the .npy format")
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if dtype.hasobject or dtype.itemsize * math.prod(shape) != len(data) - file.tell():
        raise ValueError("another size than the header says")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")


def checksum(arrays: dict[str, Array]) -> bytes:
    """SHA-256 over the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    return digest.digest()
