"""Text in any alphabet becomes the same ids as a plain loop over its characters gives, whatever the block size."""

import hashlib
from itertools import chain, pairwise, product
from pathlib import Path

import numpy as np
import pytest

from trainer import text
from trainer.config import Data
from trainer.errors import UserError
from trainer.text import Corpus, evenly, load, stands_in, to_ids, windows

ALPHABETS = {
    "latin": "anna\nbob\nclara\n",
    "cyrillic": "анна\nборис\nвера\nглеб\n",
    "chinese": "春眠不覺曉\n處處聞啼鳥\n夜來風雨聲\n花落知多少\n",
    "emoji": "😀😃\n🚀a\n👩‍🚀é\n\U0010ffff\n",
    "mixed": "aé\nя\n漢\n🚀x\n",
}
BLOCKS = [3, 4, 5, 7, 64, 1 << 18]  # 3 bytes are a byte-order mark, and less than an emoji


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def plain_lines(content: str) -> list[str]:
    """The lines of a text by Python's own means, blank ones left out."""
    return [line for line in content.split("\n") if line.strip()]


def characters(corpus: Corpus) -> str:
    return "".join(corpus.vocabulary[i] for i in corpus.ids)


def lines_of(corpus: Corpus) -> list[str]:
    """The lines between the boundaries, in the corpus's order."""
    assert corpus.ids[0] == corpus.ids[-1] == 0
    return characters(corpus)[1:-1].split("\n")


@pytest.fixture(params=BLOCKS)
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    size: int = request.param
    monkeypatch.setattr(text, "BLOCK", size)
    return size


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.usefixtures("block")
def test_lines_and_streams_equal_a_plain_loop(tmp_path: Path, alphabet: str) -> None:
    content = (ALPHABETS[alphabet] + "\n") * 4
    expected = plain_lines(content)
    for mark, newline in product(("", "\ufeff"), ("\n", "\r\n", "\r")):
        path = write(tmp_path / "t", mark + content.replace("\n", newline))

        corpus = load(Data(path, split=(0.5, 0.25, 0.25)), 2)
        assert corpus.vocabulary == "\n" + "".join(sorted(set("".join(expected))))
        assert sorted(lines_of(corpus)) == sorted(expected)
        assert corpus.lines

        corpus = load(Data(path, "stream", split=(0.5, 0.25, 0.25)), 2)
        assert corpus.vocabulary == "".join(sorted(set(content)))
        assert characters(corpus) == content
        assert not corpus.lines
        assert corpus.fingerprint == hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.usefixtures("block")
def test_blank_lines_are_left_out_and_spaces_within_lines_are_kept(tmp_path: Path) -> None:
    content = "\n\n  \nab\n \t \nb a\n\n\n c\n\u3000\n\u00a0\nlast"  # no end of line at the end
    corpus = load(Data(write(tmp_path / "t", content), split=(0.5, 0.25, 0.25)), 3)
    assert sorted(lines_of(corpus)) == [" c", "ab", "b a", "last"]
    assert len(corpus.ids) == 1 + sum(len(line) + 1 for line in lines_of(corpus))


def test_only_line_feeds_part_lines(tmp_path: Path) -> None:
    content = "a\u2028b\nc\x0bd\ne\x85f\ng\x0ch\n"
    corpus = load(Data(write(tmp_path / "t", content), split=(0.5, 0.25, 0.25)), 3)
    assert sorted(lines_of(corpus)) == sorted(content.split("\n")[:-1])


@pytest.mark.usefixtures("block")  # of 5 bytes: the second begins with a mark
def test_a_mark_counts_only_at_the_beginning(tmp_path: Path) -> None:
    corpus = load(Data(write(tmp_path / "t", "\ufeffab\ufeffcabc"), "stream", split=(0.4, 0.3, 0.3)), 1)
    assert characters(corpus) == "ab\ufeffcabc"


@pytest.mark.parametrize(("distinct", "dtype"), [(2, np.uint8), (254, np.uint8), (300, np.uint16), (65536, np.uint32)])
def test_ids_take_the_smallest_type(tmp_path: Path, distinct: int, dtype: type) -> None:
    letters = "".join(chr(0x10000 + k) for k in range(distinct)) * 2
    corpus = load(Data(write(tmp_path / "t", letters * (20 if distinct < 5 else 1)), "stream"), 1)
    assert (corpus.ids.dtype, len(corpus.vocabulary)) == (dtype, distinct)
    assert characters(corpus)[: distinct * 2] == letters


def test_lines_are_shuffled_by_split_seed(tmp_path: Path) -> None:
    lines = [f"{k:03}" for k in range(200)]
    path = write(tmp_path / "t", "\n".join(lines))

    def parts(seed: int) -> dict[str, list[str]]:
        corpus = load(Data(path, split_seed=seed), 3)
        found = {n: characters(corpus)[slice(*corpus.splits[n])] for n in ("train", "val", "test")}
        return {name: part.removesuffix("\n").split("\n") for name, part in found.items()}

    first = parts(0)
    assert {name: len(part) for name, part in first.items()} == {"train": 160, "val": 20, "test": 20}
    assert sorted(chain(*first.values())) == lines  # disjoint, and nothing is left out
    assert first == parts(0)
    assert first != parts(1)
    assert first["train"] != sorted(first["train"])


def test_a_streams_splits_are_contiguous(tmp_path: Path) -> None:
    path = write(tmp_path / "t", "abcdefghij" * 10)
    a, b = (load(Data(path, "stream", (0.6, 0.3, 0.1), seed), 4) for seed in (0, 1))
    # The first targets of a part need a whole context of their own, so that no part reads another.
    assert a.splits == b.splits == {"train": (4, 60), "val": (64, 90), "test": (94, 100)}
    assert [end - start for start, end in a.splits.values()] == [56, 26, 6]


def test_every_character_of_a_lines_corpus_is_predicted_once(tmp_path: Path) -> None:
    corpus = load(Data(write(tmp_path / "t", ALPHABETS["cyrillic"] * 5), split=(0.5, 0.3, 0.2)), 3)
    bounds = [bound for name in ("train", "val", "test") for bound in corpus.splits[name]]
    assert bounds[0] == 1
    assert bounds[1::2] == [*bounds[2::2], len(corpus.ids)]
    for start, _ in corpus.splits.values():
        assert corpus.ids[start - 1] == 0  # a split begins with a line


@pytest.mark.parametrize("context", [1, 2, 3, 5, 40])
def test_windows_of_lines_equal_a_plain_loop(tmp_path: Path, context: int) -> None:
    corpus = load(Data(write(tmp_path / "t", ALPHABETS["latin"] * 8)), context)
    expected = []
    for line in lines_of(corpus):
        ids = [0] * context + [corpus.vocabulary.index(c) for c in line] + [0]
        expected += [(ids[k : k + context], ids[k + context]) for k in range(len(line) + 1)]
    contexts, targets = windows(corpus, np.arange(1, len(corpus.ids)), context)
    assert [*zip(contexts.tolist(), targets.tolist(), strict=True)] == expected
    assert contexts.flags.c_contiguous
    some = np.array([9, 1, len(corpus.ids) - 1, 9])
    assert windows(corpus, some, context)[0].tolist() == [expected[k - 1][0] for k in some]


@pytest.mark.parametrize("context", [1, 3, 10])
def test_windows_of_a_stream_equal_a_plain_loop(tmp_path: Path, context: int) -> None:
    corpus = load(Data(write(tmp_path / "t", ALPHABETS["chinese"] * 6), "stream", (0.4, 0.3, 0.3)), context)
    ids = corpus.ids.tolist()
    for start, end in corpus.splits.values():
        contexts, targets = windows(corpus, np.arange(start, end), context)
        assert contexts.tolist() == [ids[k - context : k] for k in range(start, end)]
        assert targets.tolist() == ids[start:end]


def test_windows_take_positions_of_any_alphabet_size(tmp_path: Path) -> None:
    letters = "".join(chr(0x4E00 + k) for k in range(70_000 // 4))
    corpus = load(Data(write(tmp_path / "t", letters * 2), "stream"), 2)
    contexts, targets = windows(corpus, np.array([17_499]), 2)
    assert (contexts.tolist(), targets.tolist()) == ([[17_497, 17_498]], [17_499])


def test_positions_are_evenly_spaced(tmp_path: Path) -> None:
    corpus = load(Data(write(tmp_path / "t", "ab" * 500), "stream"), 1)
    start, end = corpus.splits["train"]
    assert evenly(corpus, "train", 10_000).tolist() == list(range(start, end))
    some = evenly(corpus, "train", 50)
    gaps = {b - a for a, b in pairwise(some.tolist())}
    assert (len(some), some[0], some[-1]) == (50, start, end - 1)
    assert gaps <= {(end - 1 - start) // 49, (end - 1 - start) // 49 + 1}


@pytest.mark.parametrize(
    ("content", "byte"),
    [
        (b"\xff", 0),
        (b"abc\nd\xe9f\n", 5),
        (b"\xef\xbb\xbfab\xff", 5),
        ("яя".encode() + b"\xd0", 4),  # cut in the middle of a character, at the end
        ("ab漢".encode() + b"\xf0\x9f\x92\nabc", 5),
        (b"a\r\nb\r\n" * 30 + b"\x80", 180),
        (b"\xed\xa0\x80", 0),  # half of a surrogate pair
    ],
)
@pytest.mark.usefixtures("block")
def test_what_is_not_utf_8_is_named_by_its_byte(tmp_path: Path, content: bytes, byte: int) -> None:
    path = write(tmp_path / "t", content)
    for mode in ("lines", "stream"):
        with pytest.raises(UserError, match=rf"not UTF-8, {path}, byte {byte};"):
            load(Data(path, mode), 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("\ufeff", "is empty"),
        ("\n\r\n \n\t\n", "holds only blank lines"),
        ("aaaa\na\n", "one distinct character"),
        ("ab\0c\n", "binary"),
    ],
)
@pytest.mark.usefixtures("block")
def test_texts_without_anything_to_learn(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(Data(write(tmp_path / "t", content)), 3)


@pytest.mark.parametrize(
    ("content", "data", "context", "split"),
    [
        ("abcabc", {"mode": "stream"}, 10, "train"),
        ("ab" * 50, {"mode": "stream"}, 10, "val"),
        ("ab" * 50, {"mode": "stream", "split": (0.8, 0.15, 0.05)}, 10, "test"),
        ("ab\nc\n", {}, 3, "val"),
        ("ab\nc\nd\n", {}, 3, "test"),
        ("ab\n" * 20, {"split": (1.0, 0.0, 0.0)}, 3, "val"),
        ("ab\n" * 20, {"split": (0.9, 0.1, 0.0)}, 3, "test"),
        ("ab\n" * 20, {"split": (0.0, 0.5, 0.5)}, 3, "train"),
    ],
)
def test_an_empty_split_is_named(
    tmp_path: Path, content: str, data: dict[str, object], context: int, split: str
) -> None:
    path = write(tmp_path / "t", content)
    with pytest.raises(UserError, match=f"the {split} split is empty"):
        load(Data(path, **data), context)  # type: ignore[arg-type]


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load(Data(str(tmp_path / "none")), 3)
    with pytest.raises(UserError, match="is a folder"):
        load(Data(str(tmp_path)), 3)


@pytest.mark.parametrize("mode", ["lines", "stream"])
@pytest.mark.parametrize(("lines", "what"), [(21, "grown"), (20.25, "grown"), (19, "shrunk"), (0, "shrunk")])
def test_a_text_that_changes_while_it_is_read(
    mode: str, lines: float, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t", "abc\n" * 20)
    survey = text.survey

    def then_change(*arguments: object) -> object:
        found = survey(*arguments)  # type: ignore[arg-type]
        write(tmp_path / "t", ("abc\n" * 21)[: round(4 * lines)])
        return found

    monkeypatch.setattr(text, "survey", then_change)
    with pytest.raises(UserError, match=f"has {what} while it was read"):
        load(Data(path, mode=mode), 3)


def test_to_ids_names_the_character_it_does_not_know() -> None:
    assert to_ids("cab", "\nabc", "prompt").tolist() == [3, 1, 2]
    assert to_ids("", "\nabc", "prompt").tolist() == []
    with pytest.raises(UserError, match=r"the prompt has 'é', .*use only \\nabc"):
        to_ids("aéb", "\nabc", "prompt")


@pytest.mark.parametrize("many", [False, True], ids=["one byte", "two bytes"])
def test_stands_in_finds_whole_lines_of_the_training_split(tmp_path: Path, many: bool) -> None:
    # With more than 255 characters ids take two bytes, and a match may begin only between two ids.
    extra = "".join(f"{chr(0x4E00 + k)}{chr(0x4E01 + k)}\n" for k in range(600)) if many else ""
    path = write(tmp_path / "t", "anna\nannabel\nbob\nclara\nida\nmo\n" * 3 + extra)
    corpus = load(Data(path, split=(0.5, 0.25, 0.25)), 3)
    start, end = corpus.splits["train"]
    train = set(characters(corpus)[start:end].removesuffix("\n").split("\n"))
    for line in [*lines_of(corpus), "ann", "nna", "a", "bobo", "annab", "", "ab"]:
        assert stands_in(line, corpus) == (line in train), line
    assert len(train) > 2


def test_stands_in_sees_a_line_that_begins_within_another_match() -> None:
    # In bytes 0000 0500 0001 0100 0000 0101 0000, where 0000 0101 0000 stands askew, and over its end true to the ids.
    vocabulary = "\n" + "".join(chr(0x4E00 + k) for k in range(300))
    ids = np.array([0, 5, 256, 1, 0, 257, 0], np.uint16)
    corpus = Corpus(ids, vocabulary, True, {"train": (1, len(ids))}, "")
    assert stands_in(vocabulary[257], corpus)
    assert not stands_in(vocabulary[256], corpus)
