"""Files whose whole content can be read: regular ones. A pipe or a device may be waited for, or read, for ever."""

import errno
import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG


def mode(path: str | Path) -> int:
    """The type and permissions of a file. Raises OSError, also for a path that the file system cannot hold."""
    try:
        return os.stat(path).st_mode
    except UnicodeEncodeError:
        why = "this locale has no such characters, write PYTHONUTF8=1 before the command"
        raise OSError(errno.EILSEQ, why) from None
    except ValueError as error:  # a NUL
        raise OSError(errno.EINVAL, str(error)) from None


def refuse_others(path: str | Path) -> None:
    """Raise OSError for what is there and is no regular file, or cannot be looked at."""
    found = mode(path)
    if S_ISDIR(found):
        raise IsADirectoryError(errno.EISDIR, "Is a directory, no regular file")
    if not S_ISREG(found):
        raise OSError(errno.EINVAL, "it is no regular file")


def read(path: str | Path, most: int = -1) -> bytes:
    """The bytes of a regular file, at most so many. Raises OSError."""
    refuse_others(path)
    with open(path, "rb") as file:
        return file.read(most)


def text(path: str | Path, most: int = -1) -> str:
    """The text of a regular file, what is no UTF-8 replaced; nothing if it cannot be read."""
    try:
        return read(path, most).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""
