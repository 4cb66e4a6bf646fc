"""Whole files that have to get full marks, or must not: what is changed in a right one, and what is said then."""

RIGHT = """\
dlogits = (p - y) / B
dW2 = h.T @ dlogits
db2 = dlogits.sum(0)
dh = dlogits @ W2.T
dz = dh * (1 - h**2)
dW1 = emb.T @ dz
db1 = dz.sum(0)
demb = dz @ W1.T
dC = np.zeros_like(C)
np.add.at(dC, X, demb.reshape(B, K, D))
"""
ADD_AT = "np.add.at(dC, X, demb.reshape(B, K, D))"
ALL = "dlogits, dW2, db2, dh, dz, dW1, db1, demb, dC"
FUNCTION = "def backward():\n    " + RIGHT.replace("\n", "\n    ") + f"return {ALL}\n"
CALLED = f"{FUNCTION}{ALL} = backward()\n"
IN_TORCH = """\
import torch
p, y, h, W2, emb, W1 = (torch.tensor(array) for array in (p, y, h, W2, emb, W1))
dlogits = (p - y) / B
dW2 = h.T @ dlogits
db2 = dlogits.sum(0)
dh = dlogits @ W2.T
dz = dh * (1 - h**2)
dW1 = emb.T @ dz
db1 = dz.sum(dim=0)
demb = (dz @ W1.T).view(B * K, D)
dC = torch.zeros(V, D, dtype=torch.float64)
dC.index_add_(0, torch.tensor(X).view(-1), demb)
"""
HELPERS = """\
import math
class Tape:
    kept = []
def linear(x, W, dy):
    Tape.kept.append(dy)
    return dy @ W.T, x.T @ dy, dy.sum(0)
def fill(out, value):
    out[...] = value
dlogits = np.empty((B, V))
fill(dlogits, (p - y) / B)
dh, dW2, db2 = linear(h, W2, dlogits)
dz = dh * np.vectorize(lambda x: 1 - math.tanh(x) ** 2)(z)
demb, dW1, db1 = linear(emb, W1, dz)
if __name__ == "__main__":
    dC = np.eye(V)[X.reshape(-1)].T @ demb.reshape(-1, D)
"""

# As at the head of a notebook, whatever of it is used.
TORCH_AND_NUMPY = "import numpy as np\nimport torch\n" + RIGHT.replace(
    ADD_AT, "dC.index_add_(0, X.view(-1), demb.view(-1, D))"
)
TORCH_AND_NUMPY = TORCH_AND_NUMPY.replace("np.zeros", "torch.zeros")

# The 1/B taken in dW2 and db2 in place of dlogits.
ELSEWHERE = RIGHT.replace("(p - y) / B", "p - y").replace("h.T @ dlogits", "h.T @ dlogits / B")
ELSEWHERE = ELSEWHERE.replace("dlogits.sum(0)", "dlogits.sum(0) / B")

# All right.
FULL_MARKS = [
    RIGHT, CALLED, IN_TORCH, HELPERS, TORCH_AND_NUMPY,
    "import torch\n" + RIGHT, "from numpy import *\n" + RIGHT,
    f"if True:\n    {RIGHT.replace(chr(10), chr(10) + '    ')}pass\n",
    RIGHT.replace(ADD_AT, "demb = demb.reshape(B * K, D)\nnp.add.at(dC, X.reshape(-1), demb)"),
    "p[range(n), Yb] -= 1\n" + RIGHT.replace("(p - y) / B", "p / n"),
    RIGHT + "for b, y in enumerate(Y): pass\nW2 -= 0.1 * dW2\np = h = None\n",
    "emb = emb.reshape(B, K, D)\nfor n in range(3): pass\n" + RIGHT.replace("emb.T @", "emb.reshape(B, -1).T @"),
    RIGHT.replace("dz = dh", "dhpreact = dh\ndz = dh"),
    "class Gradients:\n    dz = dh = ...\n" + RIGHT,
    RIGHT.replace("dh = dlogits @ W2.T", "dh = dz = np.empty((B, H))\ndh[:] = dlogits @ W2.T"),
    RIGHT.replace("dh = dlogits", "dh = dlogits.astype(np.float32)"),
]  # fmt: skip

# What stands in place of what, and then the word on some gradients, and what is said of the first. The others are
# right, or right from what came in, or raise because of its shape.
FAULTS = [
    ("dh = ", "W2 -= 0.1 * dW2\ndh = ", "dh WRONG", "W2, which had moved already, line 4: W2 -= 0.1 * dW2"),
    ("dW2 = ", "h *= h\ndW2 = ", "dW2 WRONG, dz WRONG", "h, which had moved already, line 2: h *= h"),
    ("dlogits = ", "y[0] = 0\ndlogits = ", "dlogits WRONG", "y, which had moved already, line 1: y[0] = 0"),
    ("dlogits = ", "for b, y in enumerate(Y): pass\ndlogits = ", "dlogits WRONG", "y, which had moved already"),
    ("dz = dh * (1 - h**2)", "dz = dh\ndz *= 1 - h**2", "dh WRONG",
     "line 6 changed dh: dz and dh are one array begin with dh.copy()"),
    ("dz.sum(0)", "dz.sum(0)\ndW1 *= 0.5", "dW1 WRONG", "it was right before line 8 it is 2 times too small"),
    ("dz.sum(0)", "dz.sum(0)\ndh = None", "dh TYPE", "it was right before line 8; it is None"),
    ("dh = dlogits @ W2.T", "dh = db1 @ W2.T", "dh ERROR", "db1 is made further down, in line 7"),
    ("dh = dlogits @ W2.T", "dh = bnraw * dlogits @ W2.T", "dh ERROR", "this model has no batch norm"),
    ("dh * (1 - h**2)", "...", "dz to do", ""),
    ("dlogits.sum(0)", "dlogits.sum(1)", "db2 SHAPE", "summed over the wrong axis"),
    ("dz.sum(0)", "dW1.sum(0, keepdims=True)", "db1 SHAPE", "keepdims?, and is otherwise wrong too: these are"),
    ("dz @ W1.T", "(dz @ W1.T).sum()", "demb SHAPE", "one number; the sum ran over everything"),
    ("dh * (1 - h**2)", "dh * (1 - h**2),", "dz SHAPE", "comma at the end of the line? It is otherwise"),
    ("dz.sum(0)", "dz.sum(0) / np.zeros(H)", "db1 WRONG", "64 of 64 entries are not finite, the first at [0]"),
    (ADD_AT, ADD_AT + "\ndC = dC * 1j", "dC TYPE", "it was right before line 11; it is of type complex128"),
    ("dz.sum(0)", "dz.sum", "db1 TYPE", "are its brackets missing?"),
    ("dz.sum(0)", "[[1, 2], [3]]", "db1 TYPE", "are its rows of one length?"),
    ("(p - y) / B", "((p - y) / B)[::-1]", "dlogits WRONG, db2 right", "its rows stand in reverse order"),
    ("dh * (1 - h**2)", "dh * (1 - h**2) * (1 + 1e-7)  # float32", "dz WRONG", "off by 1e-07 of its size, as if"),
    ("dz.sum(0)", "dz.sum(0).astype(np.float16)", "db1 WRONG", "had been rounded to half precision"),
    ("dh * (1 - h**2)", "(dh * (1 - h)).astype(np.float32)", "dz WRONG", "the square is missing"),
    ("dh * (1 - h**2)", "dh * (1 - h**3)", "dz WRONG", "no known mistake"),
    ("dz.sum(0)", "dz.mean(0, keepdims=True).astype(np.float32)", "db1 SHAPE", "too: these are the numbers of dz.mean"),
    (ADD_AT, ADD_AT + "\ndC[10] += 1e-12", "dC WRONG", "rows of characters that no context holds are not zero"),
    (ADD_AT, ADD_AT + "\nfor g in (dW2, dC): g[:] = 0", "dW2 WRONG, dC WRONG",
     "it was right before line 11 it is all zero"),
    (ADD_AT, "X[:] = X[:, ::-1]\n" + ADD_AT, "dC WRONG", "but for X, which had moved already, line 10: X[:]"),
    ("demb = dz @ W1.T", "dembcat = dh @ W1.T\ndemb = dembcat.reshape(B, K, D)", "demb WRONG", "wrote dh @ W1.T"),
    (ADD_AT, ADD_AT + "\ndel dz", "dz to do", ""),
    (ADD_AT, "dC[X] += demb.reshape(B, K, D)", "dC WRONG", "the numbers of dC[X] += demb: NumPy adds each"),
    ("dh * (1 - h**2)", "sys.exit()", "dz ERROR", "name 'sys' is not defined"),
    ("dz = dh * (1 - h**2)", "dz = exit()", "dz ERROR", ""),
    ("dz = dh * (1 - h**2)", "def f(): return f()\ndz = f()", "dz ERROR", "RecursionError"),
    ("dz = dh * (1 - h**2)", "def f(x):\n    y = x * 2\n    return y @ W1\ndz = f(dh)", "dz ERROR",
     "W1 (30, 64), y (32, 64)"),
    ("demb = dz @ W1.T", "dembcat = dz @ W1.T\ndemb = dembcat[:, ::-1]", "demb WRONG", "columns stand in reverse"),
    ("dz @ W1.T", "W1 @ dz.T", "demb SHAPE", "it is transposed and otherwise right"),
    (RIGHT, CALLED.replace("(1 - h**2)", "(1 - h)"), "dz WRONG", "the square is missing"),
    ("dz = dh * (1 - h**2)", "if B:\n    dz = dh * (1 - h)\n    print(dz.mean())", "dz WRONG", "you wrote dh · (1"),
    (RIGHT, ELSEWHERE, "dlogits WRONG, dW2 right, db2 right",
     "the 1/B of the mean is missing; it is taken in dW2 and db2 instead"),
]  # fmt: skip
