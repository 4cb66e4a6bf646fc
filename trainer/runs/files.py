"""Files that are whole at every moment, and one line for what the disk refuses."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer import regular
from trainer.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: runs work, two writers are not kept apart
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from writing this run: a lock on the folder itself, whatever becomes of its files.

    Raises UserError if another process has it.
    """
    if fcntl is None:
        yield
        return
    with naming(folder):
        number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        where = folder.absolute()
        raise UserError(f"another process is writing this run, {where}; wait for it or stop it") from None
    finally:
        os.close(number)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in one line which file could not be written: raises UserError for an OSError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write ({error.strerror or error}), {path.absolute()}; {advice(error)}") from None


def advice(error: OSError) -> str:
    """What to do about a file that cannot be written."""
    if error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTDIR, errno.EINVAL):
        return "move away what stands in its place, or give another"
    if error.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.EILSEQ):
        return "give another place"
    return "make room or give the folder write permission, then try again; a run goes on with --resume"


def refuse_what_is_in_the_way(path: Path) -> None:
    """Raise UserError where something stands that is no regular file, or where there is no folder to write into."""
    with naming(path):
        try:
            regular.refuse_others(path)
        except FileNotFoundError:
            os.stat(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: at every moment it is the old one or the new one, whole."""
    refuse_what_is_in_the_way(path)
    aside = path.parent / f".{path.name}.tmp"
    with naming(path):
        try:
            aside.unlink(missing_ok=True)  # what a kill has left, or a link to another file
            with open(aside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # the name, too, has to reach the disk
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
