"""Practice files: valid Python that gives wrong gradients, raises, ends the process, recurses, or changes what is
given."""

import random
from pathlib import Path

from trainer.tools.practice import process
from trainer.tools.practice.point import BLANKS, exercise
from trainer.tools.practice.screen import screen

RIGHT = {
    "dlogits": "(p - y) / B", "dW2": "h.T @ dlogits", "db2": "dlogits.sum(axis=0)", "dh": "dlogits @ W2.T",
    "dz": "dh * (1 - h * h)", "dW1": "emb.T @ dz", "db1": "dz.sum(axis=0)", "demb": "dz @ W1.T",
    "dC": "np.zeros_like(C)",
}  # fmt: skip
VALUES = [
    "None", "...", "0", "1j", "'x'", "[]", "[[1, 2], [3]]", "{}", "lambda: 0", "np", "int", "np.float64('nan')",
    "np.zeros(0)",
    "np.zeros((10**9, 0))", "np.array('x')", "np.array([object()])", "np.ma.masked_array(dh)", "np.matrix(W2)",
    "h[:1]", "h.T",
    "np.broadcast_to(0.0, h.shape)", "h.astype(complex)", "h.astype('U5')", "np.full_like(h, np.inf)", "W2 @ 'x'",
    "h @ h",
    "1 / 0", "undefined", "h.nothing", "h[10**6]", "dz", "(dz := dh)", "open('nothing')", "range(10**9)",
    "np.empty_like(h)",
    "type('T', (), {'__array__': lambda self, *a, **k: 1 / 0})()", "type('T', (), {'__eq__': lambda *a: 1 / 0})()",
    "type('T', (), {'shape': property(lambda self: 1 / 0)})()", "type('T', (np.ndarray,), {})(h.shape)",
    "memoryview(b'x')",
    "np.lib.stride_tricks.as_strided(h, (3, 3), (0, 0))", "h.view(np.recarray)", "__import__('decimal').Decimal(1)",
]  # fmt: skip
STATEMENTS = [
    "pass", "import sys; sys.exit(3)", "raise SystemExit", "raise KeyboardInterrupt",
    "raise Exception('\\x1b[2J\\n' * 99)",
    "def f(): return f()\nf()", "import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)",
    "import os; os.close(1)",
    "print('x' * 10**6)", "print('\\x1b[2J\\ud800')", "h[:] = 0", "h = 3", "B = 0", "del h", "del dz",
    "W2.resize(1)", "p.shape = -1",
    "h.flags.writeable = False", "for h in range(3): pass", "with open('gone'): pass", "class dz: pass",
    "def dh(): pass",
    "import dh", "from numpy import *", "np = None", "np.random.seed = None", "globals().clear()", "__name__ = 3",
    "import sys; sys.stdout = None", "import sys; sys.modules.clear()", "import builtins; del builtins.len",
    "x = [1] * 10**6",
    "import threading; threading.Thread(target=print).start()", "import atexit; atexit.register(print)", "raise 3",
    "class E(Exception):\n    def __str__(self): return 1 / 0\nraise E", "class E(BaseException): pass\nraise E()",
    "assert False", "async def f(): await f()", "match h:\n    case _: dz = 1", "try: dz = dh\nfinally: dz *= 0",
    "dz: int = 3",
    "dz, dh = dh, dz", "*dz, = h", "dz = dh = db1 = np.zeros(3)", "exec('dz = 1')", "eval('1 +')", "lambda: (yield)",
    "import numpy; numpy.ndarray = None", "import numpy as np; np.asarray = None", "import gc; gc.collect()",
    "dz += undefined",
]  # fmt: skip
BROKEN = ["def", "dz = (", "return 3", "yield", "\tx", "x = 'a", "dz = 1 1", "\0", "é = 1", "break", "(" * 300,
    "1" + "+1" * 3000,
    "# coding: nothing", "# coding: utf-16", "x = " + "9" * 5000, "if 1:\npass", "nonlocal x", "f(**{}, *[])", "\x0c",
]  # fmt: skip


def make(rng: random.Random) -> bytes:
    """The bytes of a practice file."""
    lines = []
    chosen = set(rng.sample([*RIGHT], rng.choice([1, 1, 2, 2, 4, 9])))
    for name, right in ((name, formula) for name, formula in RIGHT.items() if name in chosen):
        kind = rng.random()
        wrong = rng.choice(VALUES) if kind < 0.15 else rng.choice([*RIGHT.values()])
        formula = wrong if kind < 0.22 else right
        if kind < 0.97:
            lines.append(f"{name}{rng.choice([' = ', ' = ', ' = ', ' += ', '[:] = '])}{formula}")
        if rng.random() < 0.12:
            lines.append(rng.choice(STATEMENTS))
    if rng.random() < 0.1:
        rng.shuffle(lines)
    if rng.random() < 0.07:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(BROKEN))
    if rng.random() < 0.002:
        lines.append("while True: pass")
    data = rng.choice(["\n"] * 9 + ["\r\n"]).join(lines).encode(errors="surrogatepass")
    return rng.choice(
        [data] * 20 + [b"\xef\xbb\xbf" + data, data.decode().encode("utf-16"), data + b"\xff", b"", data[:-5]]
    )


def read(path: Path, rng: random.Random) -> str:
    found = process.judged(str(path), seconds=0.5)
    said = screen(found, exercise(), rng.choice([0, 1, 2]))
    assert all(line.isprintable() for line in said.split("\n")), said
    assert found.right() <= len(BLANKS)
    return "stopped" if found.stopped else "judged"
