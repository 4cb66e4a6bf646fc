"""What a configuration says before anyone asks what it means: values with the places where they stand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from trainer import regular
from trainer.errors import UserError

LARGEST_FILE = 1 << 20  # bytes; a larger file is a text that was taken for a configuration


class Given(NamedTuple):
    """A value as it was written, and where."""

    value: Any  # text, a list, None; a Python object from a dictionary; a dict of Given for a section
    place: str


def from_dictionary(tree: Mapping[Any, Any], where: str) -> dict[str, Given]:
    found = {}
    for name, value in tree.items():
        inner = from_dictionary(value, where) if isinstance(value, Mapping) else value
        found[str(name)] = Given(inner, where)
    return found


def from_file(path: Path) -> dict[str, Given]:
    """The top level of a YAML file."""
    try:
        source = regular.read(path, LARGEST_FILE + 1)
    except OSError as error:
        why = error.strerror
        raise UserError(f"cannot read the configuration, {path}: {why}; give a configuration file") from None
    if len(source) > LARGEST_FILE:
        raise UserError(f"this is no configuration but a large file, {path}; a text is given as data.path=FILE")
    try:
        root = yaml.compose(source, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"broken YAML ({error.problem}), {path}, line {line}; correct that line") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"broken YAML ({str(error).splitlines()[0]}), {path}; write plain YAML in UTF-8") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a plain text"
        raise UserError(
            f"the configuration is {kind}, {path}; write `section: {{key: value}}`; a text is given as data.path=FILE"
        )
    return mapping(root, str(path), 2)


def mapping(node: yaml.MappingNode, where: str, depth: int) -> dict[str, Given]:
    """Keys and values of a YAML mapping, down to a depth. Raises UserError for a key that stands there twice."""
    found: dict[str, Given] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key, line = str(plain(key_node, where, 0)), key_node.start_mark.line + 1
        if key in found:
            raise UserError(f"{key} stands there twice, {where}, lines {lines[key]} and {line}; keep one")
        found[key] = Given(plain(value_node, where, depth), f"{where}, line {line}")
        lines[key] = line
    return found


def plain(node: yaml.Node, where: str, depth: int) -> Any:
    """A scalar as the text that stands in the file, None for null; a list of such; a dict of Given."""
    line = node.start_mark.line + 1
    if node.tag not in yaml.SafeLoader.yaml_constructors:
        raise UserError(f"the tag {node.tag!r} has no meaning here, {where}, line {line}; write a plain value")
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == "tag:yaml.org,2002:null" else node.value
    if depth == 0:
        raise UserError(f"brackets where one value is meant, {where}, line {line}; write `section: {{key: value}}`")
    if isinstance(node, yaml.MappingNode):
        return mapping(node, where, depth - 1)
    return [plain(item, where, depth - 1) for item in node.value]
