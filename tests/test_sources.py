"""What the sources may not do."""

import ast

from conftest import ROOT


def test_no_source_runs_what_it_reads() -> None:
    modules = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "subprocess", "pty", "ctypes", "code"}
    names = {"eval", "exec", "compile", "__import__"}
    methods = {"os": "system popen execv execve spawnv fork posix_spawn", "yaml": "load unsafe_load full_load load_all"}
    sources = sorted((ROOT / "trainer").rglob("*.py"))
    assert len(sources) > 8
    excepted = {
        "runs/blas.py": {"ctypes"},  # it calls the OpenBLAS that NumPy has loaded
        # The learner's own backward pass, a file that is named on the command line, is run, in a process of its own.
        "tools/practice/execute.py": {"exec", "compile"},
        "tools/practice/process.py": {"subprocess"},
    }
    for path in sources:
        allowed = excepted.get(path.relative_to(ROOT / "trainer").as_posix(), set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                assert not {name.partition(".")[0] for name in imported} & (modules - allowed), where
            if isinstance(node, ast.Name):
                assert node.id not in names - allowed, where
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.attr not in methods.get(node.value.id, "").split(), where
            if isinstance(node, ast.Call):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert "shell" not in given, where
                if ast.unparse(node.func) == "np.load":
                    assert given.get("allow_pickle") == "False", where


def test_imports_go_one_way() -> None:
    layers = ("errors files", "config", "core", "text", "mistakes", "referee", "runs", "tools")
    height = {name: k for k, names in enumerate(layers) for name in names.split()}
    for path in (ROOT / "trainer").rglob("*.py"):
        here = height.get(path.relative_to(ROOT / "trainer").parts[0].removesuffix(".py"), len(layers))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "trainer":
                names = [node.module.split(".")[1]] if "." in node.module else [alias.name for alias in node.names]
                assert all(height.get(name, 0) <= here for name in names), f"{path}:{node.lineno}"
