"""Texts: valid UTF-8, UTF-16, Latin and gzip with odd characters, or one taken for the other."""

import gzip
import random
from pathlib import Path

from trainer.config import Data
from trainer.text.corpus import load

ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "latin-1",
    "cp1252",
    "koi8-r",
    "shift_jis",
    "gb18030",
]
ODD = "\0\x1b\x7f\x85\ufeff\u2028\u202e\u200d\ufffd\ue000\U0010ffff\u0301\u00a0\t\r\f\v\x1a春ßﬁДñ🚀"
LETTERS = "abcdefgh \n\n\n"


def make(rng: random.Random) -> bytes:
    """The bytes of a text."""
    letters = LETTERS + "".join(rng.choices(ODD, k=rng.choice([0, 0, 1, 3])))
    if rng.random() < 0.05:
        letters = rng.choice(["\n", " ", "a", "", "a\n", "\r", "\r\n", "\x1a"])
    text = "".join(rng.choices(letters, k=rng.choice([0, 5, 60, 400, 4000]))) if letters else ""
    data = text.encode(rng.choice(ENCODINGS) if rng.random() < 0.3 else "utf-8", rng.choice(["replace", "ignore"]))
    if rng.random() < 0.1:
        at = rng.randrange(len(data) + 1)
        data = (
            data[:at] + rng.choice([b"\xed\xa0\x80", b"\xff", b"\xc0\x80", b"\xf5", b"\xe2\x82", b"\0\0"]) + data[at:]
        )
    if rng.random() < 0.05:  # a bomb
        data = (data[:3] or b"ab\n") * rng.choice([10**4, 300_000])
        data = gzip.compress(data, mtime=0)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        data = gzip.compress(data, mtime=0)
    if rng.random() < 0.1 and data:
        at = rng.randrange(len(data))
        data = rng.choice([data[:at], data[:at] + data, data + b"tail", data + data])
    return data


def read(path: Path, rng: random.Random) -> str:
    data = Data(
        str(path),
        rng.choice(["lines", "stream"]),
        rng.choice(["utf-8"] * 20 + ENCODINGS),
        rng.choice([(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.5, 0.0, 0.5), (0.001, 0.001, 0.998)]),
    )
    corpus = load(data, rng.choice([1, 3, 3, 50]))
    assert len(corpus.vocabulary) >= 2
    assert int(corpus.ids.max()) < len(corpus.vocabulary)
    assert corpus.warning.isprintable() or "\n" not in corpus.warning
    return "accepted"
