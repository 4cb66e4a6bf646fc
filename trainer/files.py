"""Files: read and written as a whole, YAML, and one line for what the disk refuses."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Any

import yaml

from trainer.errors import UserError


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root; ~ is the home folder."""
    return Path(os.path.expanduser(path)).absolute()


def require_regular(path: str | Path) -> None:
    """Raise OSError for what is no regular file: a pipe or a device may be waited for, or read, for ever."""
    if not S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is a folder or a device, no regular file")


def read(path: str | os.PathLike[str], what: str, advice: str) -> bytes:
    """The bytes of a regular file. Raises UserError, which says what could not be read, and why."""
    place = absolute(path)
    try:
        require_regular(place)
        return place.read_bytes()
    except (OSError, ValueError) as error:  # the latter for what no path can hold, as a NUL
        raise UserError(f"cannot read {what}, {place}: {getattr(error, 'strerror', error)}; {advice}") from None


class Loader(yaml.BaseLoader):
    """YAML in which every scalar is text, no key stands twice, and nothing stands for what is written elsewhere."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: list[Any] = []
        for name, _ in node.value:
            if name.value in names:
                raise yaml.MarkedYAMLError(problem=f"{name.value} stands there twice", problem_mark=name.start_mark)
            names.append(name.value)
        return super().construct_mapping(node, deep)

    def fetch_alias(self) -> None:  # a few lines of them can stand for more than any memory holds
        raise yaml.MarkedYAMLError(problem="* is the sign of an alias", problem_mark=self.get_mark())


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """What a file of the configuration holds: dictionaries and lists of text. Raises UserError."""
    data = read(path, "the configuration", "give a configuration, or a text as data.path=FILE")
    try:
        return Loader(data).get_single_data() or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why, *_ = str(getattr(error, "problem", error)).splitlines()
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        advice = "write plain YAML in UTF-8, and a path that has \\ in single quotes"
        raise UserError(f"broken YAML ({why}), {absolute(path)}{line}; {advice}") from None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in one line which file could not be written: raises UserError for an OSError."""
    try:
        yield
    except OSError as error:
        advice = "make room or its folder, give write permission or another place"
        raise UserError(f"cannot write ({error.strerror or error}), {path.absolute()}; {advice}") from None


def refuse_what_is_in_the_way(path: Path) -> None:
    """Raise UserError where something stands that is no regular file, or where there is no folder to write into."""
    with naming(path):
        try:
            require_regular(path)
        except FileNotFoundError:
            os.stat(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: at every moment it is the old one or the new one, whole. Raises UserError."""
    refuse_what_is_in_the_way(path)
    aside = path.parent / f".{path.name}.tmp"
    with naming(path):
        try:
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        if os.name == "posix":  # the name, too, has to reach the disk
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
