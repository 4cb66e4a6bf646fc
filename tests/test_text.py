"""Text in any alphabet becomes the ids that a plain loop over its characters gives; what is no text is told."""

import gzip
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from trainer.config import Data, read
from trainer.errors import UserError
from trainer.text import oddities
from trainer.text.corpus import Corpus, load, opening, sample_positions, windows

HALVES = (0.5, 0.25, 0.25)
LETTERS = "abcé я漢🚀\U0010ffff\u0301 \t\u00a0\u3000\u2028\x0b\x85"
MODES = pytest.mark.parametrize("mode", ["lines", "stream"])


@pytest.fixture
def text(tmp_path: Path) -> Any:
    """Content -> the corpus that is loaded from a file of it, with settings of `data`."""

    def load_content(content: str | bytes, context: int = 3, **settings: Any) -> Corpus:
        path = tmp_path / "t"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load(Data(str(path), **settings), context)

    return load_content


def characters(corpus: Corpus) -> str:
    return "".join(corpus.vocabulary[i] for i in corpus.ids)


def parts(corpus: Corpus) -> dict[str, list[str]]:
    """The lines of each split."""
    found = {name: characters(corpus)[start:end] for name, (start, end) in corpus.splits.items()}
    return {name: part.removesuffix("\n").split("\n") for name, part in found.items()}


# Characters, lines and splits


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(LETTERS, max_size=9), min_size=9, max_size=40),
    st.integers(0, 3),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_text_is_what_a_plain_loop_makes_of_it(text: Any, written: list[str], seed: int, newline: str) -> None:
    lines = [line.strip() for line in written if line.strip()]
    distinct = list(dict.fromkeys(lines))
    assume(len(distinct) >= 4 and len(set("".join(lines))) > 1)

    corpus = text(newline.join(written), split=HALVES, split_seed=seed)
    order = [distinct[k] for k in np.random.default_rng(seed).permutation(len(distinct))]
    assert characters(corpus) == "\n" + "".join(f"{line}\n" * lines.count(line) for line in order)
    assert corpus.vocabulary == "\n" + "".join(sorted(set("".join(lines))))
    assert (sorted(corpus.listed), corpus.characters) == (sorted(lines), characters(corpus))
    whole = pairwise([0, round(len(distinct) / 2), round(len(distinct) * 0.75), len(distinct)])
    for found, (start, end) in zip(parts(corpus).values(), whole, strict=True):
        assert list(dict.fromkeys(found)) == order[start:end]

    stream = text(newline.join(written), 1, mode="stream", split=(1, 0, 0))
    assert characters(stream) == "\n".join(written)
    assert stream.vocabulary == "".join(sorted({*"\n", *"".join(written)}))


@MODES
def test_a_fingerprint_is_that_of_the_characters_as_they_are_learned(text: Any, mode: str) -> None:
    def of(content: str | bytes, encoding: str = "utf-8", split_seed: int = 0) -> Any:
        settings = {"mode": mode, "encoding": encoding, "split": HALVES, "split_seed": split_seed}
        return text(content, 2, **settings).fingerprint

    names = "anna\nbob\nclaraé\nida漢\n"
    found = {of(names, split_seed=1), of("\ufeff" + names), of(names.replace("\n", "\r\n"))}
    found |= {of(names.encode(encoding), encoding) for encoding in ("utf-16", "gb18030")}
    assert found == {of(names)}
    assert (of(names + "\n \n") == of(" " + names) == of(names)) == (mode == "lines")
    assert of("bob\nanna\nclaraé\nida漢\n") != of(names) != of(names + "mo\n")


def test_a_share_of_zero_leaves_its_split_out(text: Any) -> None:
    for n in (20, 21):
        for split in [(1, 0, 0), (0.9, 0.1, 0), (0.9, 0, 0.1), (0.7, 0.3, 0)]:
            found = text("ab" * n, 0, mode="stream", split=split).splits
            assert [*found] == [name for name, share in zip(("train", "val", "test"), split, strict=True) if share]
            assert [0, *(end for _, end in found.values())] == [*(start for start, _ in found.values()), 2 * n]


def test_a_streams_splits_are_contiguous_and_each_begins_with_a_context_of_its_own(text: Any) -> None:
    a, b = (text("abcdefghij" * 10, 4, mode="stream", split=(0.6, 0.3, 0.1), split_seed=seed) for seed in (0, 1))
    assert a.splits == b.splits == {"train": (4, 60), "val": (64, 90), "test": (94, 100)}


@MODES
@pytest.mark.parametrize("context", [1, 3, 10])
def test_windows_equal_a_plain_loop(text: Any, mode: str, context: int) -> None:
    corpus = text("春眠不覺曉\n處處聞啼鳥\n夜來風雨聲\n花落知多少\na\n" * 8, context, mode=mode, split=HALVES)
    whole = characters(corpus)
    for start, end in corpus.splits.values():
        contexts, targets = windows(corpus, np.arange(start, end), context)
        assert targets.tolist() == corpus.ids[start:end].tolist()
        for position, found in zip(range(start, end), contexts, strict=True):
            before = whole[:position] if mode == "stream" else "\n" * context + whole[:position].rpartition("\n")[2]
            assert "".join(corpus.vocabulary[k] for k in found) == before[-context:]


@pytest.mark.parametrize("lines", [5000, 40_000])
def test_a_sample_of_positions_has_each_column_of_a_list_alike(text: Any, lines: int) -> None:
    corpus = text("".join(f"{k * 7919 % 999_983:09}\n" for k in range(lines)))
    start, end = corpus.splits["train"]
    drawn, again, other = (sample_positions(corpus, "train", 20_000, seed) for seed in (0, 0, 1))
    assert abs(np.bincount((drawn - start) % 10, minlength=10) - 2000).max() < 5 * 2000**0.5
    assert (len(drawn), start <= drawn[0], drawn[-1] < end, (np.diff(drawn) > 0).all()) == (20_000, True, True, True)
    assert drawn.tolist() == again.tolist() != other.tolist()
    assert sample_positions(corpus, "val", end, 0).tolist() == [*range(*corpus.splits["val"])]


@pytest.mark.parametrize(
    ("content", "context", "before"),
    [
        ("one two.\nmore\n\nthree four\n\nfive", 3, "e\n\n"),  # before a paragraph
        ("one\n\ntwo, three, four\n\n\n  five", 12, "ree, four\n\n\n"),  # the first with a whole context before it
        ("one two\nthree\nfour", 5, " two\n"),  # before a line
        ("one two three four", 5, "one t"),
        (" " * 300 + "one two three four", 5, "one t"),
        ("\n" * 300 + "one two\n\nthree\n", 4, "wo\n\n"),
        (" " * 50 + "ab", 8, " " * 6 + "ab"),
    ],
)
def test_what_stands_before_a_beginning(text: Any, content: str, context: int, before: str) -> None:
    assert opening(text(content, context, mode="stream", split=(1, 0, 0)), context) == before
    assert opening(text("ab\nc\n", split=(0.5, 0.5, 0)), 3) == ""
    of_training = text("abc def ghi\n\njk lm", 3, mode="stream", split=(0.4, 0.6, 0))
    assert opening(of_training, 3) == "abc"


# What is no text


NAMES = gzip.compress(b"anna\nbob\n" * 99, mtime=0)  # else each process has other names for the tests


@pytest.mark.parametrize(
    ("content", "settings", "says"),
    [
        (b"\xef\xbb\xbfab\xff", {}, "cannot read {} as UTF-8: 'utf-8' codec can't decode byte 0xff in "
         "position 5: invalid start byte; write it as UTF-8, or train with data.encoding=cp1252 or the like"),
        (b"a\r\nb\r\n" * 30 + b"\xed\xa0\x80", {}, "position 180"),  # half of a surrogate pair
        ("café\n", {"encoding": "ascii"}, "cannot read {} as ASCII: "),
        ("anna\n".encode("utf-16"), {}, "it is UTF-16, or no text: write it as UTF-8, or train with data.encoding="),
        ("anna\n".encode("utf-16-le"), {}, "{} as UTF-8: it has bytes of zero; it is UTF-16, or no text: write"),
        ("anna\né" * 8, {"encoding": "utf-16"}, "{} as UTF-16: no byte of it is zero; it is UTF-8: train with data"),
        *((damaged, {}, "it is a damaged .gz: get it once more")
          for damaged in (NAMES[:-20], NAMES + b"rubbish", NAMES[:-6] + b"\xff" * 6)),
        *((blank, {}, "not two distinct characters, {}; ") for blank in ("", "\ufeff", "\n\r\n \n\t\n", "aa\na\n")),
        ("aaaa", {"mode": "stream"}, "not two distinct characters, {}; "),
        ("abcabc", {"mode": "stream"}, "the train split is empty, {}; give more text, "
         "data.split=[1,0,0], which trains on all of it, or less than model.context=10"),
        ("ab\n" * 20, {}, "the val split is empty, {}; give more text, data.split=[1,0,0]"),
        ("a long line " * 90, {}, "or data.mode=stream, if it is running text"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_told_with_what_to_do(
    text: Any, tmp_path: Path, content: str | bytes, settings: dict[str, str], says: str
) -> None:
    with pytest.raises(UserError) as caught:
        text(content, 10, **settings)
    assert says.format(tmp_path / "t") in str(caught.value)
    assert str(tmp_path / "t") in str(caught.value)


def test_a_path_with_a_backslash_and_one_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text(r'data: {path: "D:\texts\new.txt"}')
    with pytest.raises(UserError, match=r"YAML reads .t in double quotes as a tab: write the path in single quotes"):
        load(read(tmp_path / "c.yaml").data, 3)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "home.txt").write_text("ab\nc\nd\ne\n")
    assert len(load(Data("~/home.txt", split=HALVES), 3).listed) == 4


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(isatty=lambda: True)])
def test_standard_input_that_holds_no_text(stdin: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(UserError, match="no text on standard input; pipe a file into the program"):
        load(Data("-"), 2)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r"])
def test_a_files_end_is_a_lines_end_and_its_mark_is_dropped(tmp_path: Path, ending: str) -> None:
    contents = "anna\nbob" + ending, "\ufeffclara" + ending, "", "mo\n\ufeffida" + ending
    for k, content in enumerate(contents):
        (tmp_path / f"{k}").write_bytes(content.encode())
    corpus = load(Data(tuple(str(tmp_path / f"{k}") for k in range(4)), "stream", split=HALVES), 2)
    assert characters(corpus) == "anna\nbob\nclara\nmo\n\ufeffida" + ("\n" if ending else "")


# What is probably not meant


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("a\tb\nc\td e\n", "lines", "in the text 2 × tab will be learned as characters; replace them"),
        ("a\u00a0b\nc\ufeff\n", "lines", "1 × no-break space, 1 × byte-order mark will be learned"),
        ("a \u3000b\u200cc\u200d\n", "lines", ""),  # Chinese, Persian, emoji
        ("ab\t\n c \n\u00a0\n", "lines", ""),  # stripped
        ("a\ufffdb\x07\n", "lines", "1 × U+0007, 1 × replacement character will be learned"),
    ],
)
def test_what_will_probably_not_be_meant_is_told(text: Any, content: str, mode: str, says: str) -> None:
    warnings = text("".join(f"x{k}\n" for k in range(20)) + content, mode=mode).warnings
    assert says in "; ".join(warnings) if says else warnings == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name,sex\nemma,F\n" * 4, "looks like a table; to learn one column alone, the second: cut -d, -f2 FILE"),
        ("emma\tF\t3\n\nbob\tM\t2\n" * 4, "cut -f2 FILE"),
        ('a;"b;c"\nd;e\nf;g\n', "cut -d';' -f2 FILE"),
        ('{"a": 1}\n{"a": 2}\n{"b": 3}\n', "looks like JSON, an object a line; to learn one field alone: jq"),
        (">sp|P1\nMKV\nLLA\n>sp|P2\nMK\n", "looks like FASTA, whose records may take several lines"),
        ("O rose, thou art sick!\nThe invisible worm,\nThat flies in the night,\nIn the storm\n", ""),
        ("> I have said\n> so before\nno\n", ""),
        ("ab" * 50_000 + "\n", ""),  # in a moment, however long its first line
    ],
)
def test_records_are_told(content: str, says: str) -> None:
    found = "; ".join(oddities.warnings(content))
    assert says in found if says else found == ""


def test_what_cannot_be_seen_is_shown_by_its_name() -> None:
    assert oddities.show("\n\t") == "newline, tab"
    assert oddities.show("\nab") == "ab, newline"
    assert oddities.show("\t a\u00a0é\u0301\ufeff") == "aé\u0301, tab, space, no-break space, byte-order mark"
    assert oddities.show("".join(map(chr, range(0x4E00, 0x4E64)))) == "".join(map(chr, range(0x4E00, 0x4E50))) + "..."
    blank = "\ufe0f\u3164\u2800\u115f\uffa0\u034f\u17b4\u180b\U000e0100\u200b\u2060\x07\ufffd"
    assert oddities.INVISIBLE.sub("", blank) == ""
    assert not oddities.INVISIBLE.findall("a漢\u0301👩ﷺ\u06dd⟨\ua8f9␢")
    assert oddities.legible("\u3164\ufe0f") == "(hangul filler, variation selector-16)"
    assert oddities.legible("a\ufe0f\x1b") == "a\ufe0f\\x1b"
    assert oddities.legible("") == ""
