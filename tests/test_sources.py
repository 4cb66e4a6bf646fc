"""What the sources may not do: import upwards."""

import ast

from conftest import ROOT

PACKAGE = ROOT / "trainer"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
LAYERS = ("errors", "files", "config", "core", "text", "mistakes", "referee", "runs", "tools")


def test_imports_go_one_way() -> None:
    for name, source in SOURCES.items():
        here = name.partition("/")[0].removesuffix(".py")
        above = LAYERS[LAYERS.index(here) + 1 :] if here in LAYERS else ()
        for node in ast.walk(ast.parse(source)):
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                package, module, *_ = f"{node.module}.{alias.name}".split(".")
                assert package != "trainer" or module not in above, f"{name}:{node.lineno}"
