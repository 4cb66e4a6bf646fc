"""What the sources may not do: run what they read, import upwards."""

import ast

from conftest import ROOT

PACKAGE = ROOT / "trainer"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
RUN = (
    "pickle marshal shelve subprocess ctypes eval exec __import__ os.system os.popen os.fork"
    " yaml.Loader yaml.FullLoader yaml.UnsafeLoader yaml.full_load yaml.unsafe_load"
)
ALLOWED = {
    "mistakes/table.py": {"eval"},  # its own formulas, which stand in it
    "runs/threads.py": {"ctypes"},  # it calls the OpenBLAS that NumPy has loaded
    "tools/children.py": {"pickle", "subprocess"},  # a sweep's own processes, and the errors that they hand back
    # The learner's own backward pass, a file that is named on the command line, is run, in a process of its own.
    "tools/practice/source.py": {"exec"},
    "tools/practice/process.py": {"subprocess"},
}
LAYERS = ("errors", "files", "rules", "config", "core", "text", "mistakes", "referee", "runs", "tools")


def test_no_source_runs_what_it_reads() -> None:
    assert len(SOURCES) > 30
    for name, source in SOURCES.items():
        nodes = list(ast.walk(ast.parse(source)))
        used = {ast.unparse(node) for node in nodes if isinstance(node, ast.Name | ast.Attribute)}
        used |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert used & set(RUN.split()) <= ALLOWED.get(name, set()), name
        assert source.count("np.load(") == source.count("allow_pickle=False"), name


def test_imports_go_one_way() -> None:
    for name, source in SOURCES.items():
        here = name.partition("/")[0].removesuffix(".py")
        above = LAYERS[LAYERS.index(here) + 1 :] if here in LAYERS else ()
        for node in ast.walk(ast.parse(source)):
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                package, module, *_ = f"{node.module}.{alias.name}".split(".")
                assert package != "trainer" or module not in above, f"{name}:{node.lineno}"
