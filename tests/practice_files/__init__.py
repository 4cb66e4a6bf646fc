"""Learners' files: whole ones, and tables of what stands in them in place of right lines; how, their heads say."""

from pathlib import Path

HERE = Path(__file__).parent


def example(name: str) -> str:
    """A whole file."""
    return (HERE / "examples" / f"{name}.txt").read_text("utf-8")


def blocks(table: str) -> list[list[str]]:
    """What stands between empty lines, in two: the first line, and those below it."""
    _, *found = (HERE / f"{table}.txt").read_text("utf-8").strip().split("\n\n")
    return [block.split("\n", 1) for block in found]


def changed(table: str, right: str) -> list[tuple[str, str, str]]:
    """Right files with another line: on which gradients there is a word, what is said, and the file."""
    found = []
    for head, lines in blocks(table):
        which, _, words = head.partition(": ")
        was, now = lines.split("->")
        found.append((which, words, right.replace(was, now.strip("\n") + "\n", 1) if was else now))
    return found


def in_torch(text: str) -> str:
    """The lecture in the words of PyTorch."""
    for numpy, torch in {
        "np.zeros_like": "torch.zeros_like",
        "np.ones_like": "torch.ones_like",
        "keepdims": "keepdim",
        ".copy()": ".clone()",
        "np.eye(V)[logits.argmax(1)]": "F.one_hot(logits.max(1).indices, num_classes=logits.shape[1])",
        "dembcat.reshape(emb.shape)": "dembcat.view(emb.shape)",
    }.items():
        text = text.replace(numpy, torch)
    return text


RIGHT, LECTURE = example("nine_lines"), example("lecture")
SPELLINGS = blocks("right")  # link, lines
WRONG = [(*head.split(": ", 1), lines) for head, lines in blocks("wrong")]  # link, sentence, lines
PAIRS = [(*head.split(": ", 1), lines) for head, lines in blocks("pairs")]  # link, both sentences, lines
FAULTS, SLIPS = changed("faults", RIGHT), changed("slips", LECTURE)

INDENTED = RIGHT.replace("\n", "\n    ")
ALL = "dlogits, dW2, db2, dh, dz, dW1, db1, demb, dC"
FUNCTION = f"def backward():\n    {INDENTED}return {ALL}\n"
ADD_AT = "np.add.at(dC, X, demb.reshape(B, K, D))"
# As at the head of a notebook, whatever of it is used.
TORCH_AND_NUMPY = "import numpy as np\nimport torch\n" + RIGHT.replace("np.zeros", "torch.zeros").replace(
    ADD_AT, "dC.index_add_(0, X.view(-1), demb.view(-1, D))"
)
FULL_MARKS = [
    RIGHT, f"{FUNCTION}{ALL} = backward()\n", example("in_torch"), example("helpers"), TORCH_AND_NUMPY,
    "import torch\n" + RIGHT, "from numpy import *\n" + RIGHT, f"if True:\n    {INDENTED}pass\n",
    RIGHT.replace(ADD_AT, "demb = demb.reshape(B * K, D)\nnp.add.at(dC, X.reshape(-1), demb)"),
    "p[range(n), Yb] -= 1\n" + RIGHT.replace("(p - y) / B", "p / n"),
    RIGHT + "for b, y in enumerate(Y): pass\nW2 -= 0.1 * dW2\np = h = None\n",
    "emb = emb.reshape(B, K, D)\nfor n in range(3): pass\n" + RIGHT.replace("emb.T @", "emb.reshape(B, -1).T @"),
    RIGHT.replace("dz = dh", "dhpreact = dh\ndz = dh"),
    "class Gradients:\n    dz = dh = ...\n" + RIGHT,
    RIGHT.replace("dh = dlogits @ W2.T", "dh = dz = np.empty((B, H))\ndh[:] = dlogits @ W2.T"),
    RIGHT.replace("dh = dlogits", "dh = dlogits.astype(np.float32)"),
]  # fmt: skip
