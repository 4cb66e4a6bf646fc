"""Files that are whole at every moment, and one line for what the disk refuses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import UserError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in one line which file could not be written: raises UserError for an OSError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write ({error.strerror}), {path.absolute()}; make room or give the folder write permission,"
            " then try again; a run goes on with --resume"
        ) from None


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: at every moment it is the old one or the new one, whole."""
    aside = path.with_name(f".{path.name}.tmp")
    with naming(path):
        try:
            with open(aside, "wb") as file:
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
