"""Words of PyTorch in a learner's file, where an array of NumPy has others."""

import ast

WORDS = {  # of a tensor, or arguments
    "view": "x.reshape(...)",
    "keepdim": "keepdims",
    "dim": "axis",
    "clone": "x.copy()",
    "float": "x.astype(float)",
    "double": "x.astype(float)",
    "unsqueeze": "x[:, None]",
    "permute": "x.transpose(...)",
    "contiguous": "np.ascontiguousarray(x)",
    "t": "x.T",
    "mm": "x @ y",
    "matmul": "x @ y",
    "pow": "x ** n",
    "exp": "np.exp(x)",
    "tanh": "np.tanh(x)",
    "index_add_": "np.add.at(x, rows, y)",
    "zero_": "x[...] = 0",
    "one_hot": "np.eye(V)[Y], which is y",
}
MODULES = {"torch": "np", "F": "np"}


def hint(error: BaseException, tree: ast.Module, number: int) -> str:
    """What NumPy says in place of the word that raised the error in this line, or ""."""
    match error:
        case NameError():
            words, known = {str(error.name)}, MODULES
        case AttributeError():
            words, known = {str(error.name)}, WORDS
        case TypeError():
            nodes = [node for node in ast.walk(tree) if getattr(node, "lineno", 0) == number]
            words = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"view"}
            words |= {node.arg or "" for node in nodes if isinstance(node, ast.keyword)} & {"dim", "keepdim"}
            known = WORDS
        case _:
            return ""
    return ", ".join(f"PyTorch's `{word}` is `{known[word]}` in NumPy" for word in known if word in words)
