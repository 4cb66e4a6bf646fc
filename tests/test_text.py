"""Text in any alphabet becomes the same ids as a plain loop over its characters gives, whatever the block size."""

import gzip
import hashlib
import io
import re
import unicodedata
from collections import Counter
from itertools import chain, pairwise, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trainer.config import Data, read
from trainer.errors import UserError
from trainer.text import corpus as text
from trainer.text import lines, reading
from trainer.text.corpus import Corpus, evenly, load, standing, to_ids, windows
from trainer.text.oddities import show
from trainer.text.splits import cut

ALPHABETS = {
    "latin": "anna\nbob\nclara\ndora\n",
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
    """The lines of a text by Python's own means, without the white space around them, blank ones left out."""
    return [line.strip() for line in content.split("\n") if line.strip()]


def characters(corpus: Corpus) -> str:
    return "".join(corpus.vocabulary[i] for i in corpus.ids)


def parts(corpus: Corpus) -> dict[str, list[str]]:
    """The lines of each split."""
    found = {name: characters(corpus)[start:end] for name, (start, end) in corpus.splits.items()}
    return {name: part.removesuffix("\n").split("\n") for name, part in found.items()}


def lines_of(corpus: Corpus) -> list[str]:
    """The lines between the boundaries, in the corpus's order."""
    assert corpus.ids[0] == corpus.ids[-1] == 0
    return characters(corpus)[1:-1].split("\n")


@pytest.fixture(params=BLOCKS)
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    size: int = request.param
    monkeypatch.setattr(reading, "BLOCK", size)
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
def test_white_space_at_the_ends_of_lines_is_no_part_of_them(tmp_path: Path) -> None:
    content = "\n\n  \nab\n \t \nb a\t\n\n\n c \u00a0\n\u3000\n\u00a0\n\u2028 last"  # no end of line at the end
    corpus = load(Data(write(tmp_path / "t", content), split=(0.5, 0.25, 0.25)), 3)
    assert sorted(lines_of(corpus)) == ["ab", "b a", "c", "last"]
    assert corpus.vocabulary == "\n abclst"  # without the tab and the no-break space, which stood at ends alone
    assert (corpus.line_count, corpus.distinct_lines, corpus.stripped, corpus.warning) == (4, 4, 3, "")
    assert corpus.reads_differently


@pytest.mark.parametrize("blanks", [1, 3, 4, 5, 50])
def test_any_number_of_blanks_is_stripped(tmp_path: Path, blanks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ROUNDS", 4)
    content = "".join(f"{' ' * (k % (blanks + 1))}line {k}{chr(9) * (k * 7 % (blanks + 1))}\n \n" for k in range(60))
    corpus = load(Data(write(tmp_path / "t", content)), 3)
    assert sorted(lines_of(corpus)) == sorted(plain_lines(content))
    assert corpus.vocabulary == "\n 0123456789eiln"


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
    content = [f"{k:03}" for k in range(200)]
    path = write(tmp_path / "t", "\n".join(content))

    def split(seed: int) -> dict[str, list[str]]:
        return parts(load(Data(path, split_seed=seed), 3))

    first = split(0)
    assert {name: len(part) for name, part in first.items()} == {"train": 160, "val": 20, "test": 20}
    assert sorted(chain(*first.values())) == content  # disjoint, and nothing is left out
    assert first == split(0)
    assert first != split(1)
    assert first["train"] != sorted(first["train"])
    order = np.random.default_rng(0).permutation(200)  # as it was before equal lines were kept together
    assert [*first["train"], *first["val"], *first["test"]] == [content[k] for k in order]


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_equal_lines_stand_together_in_one_split(tmp_path: Path, copies: int) -> None:
    once = [f"{k:02}" for k in range(40)]
    content = [line for line in once for _ in range(copies)] if copies < 3 else once * 3
    path = write(tmp_path / "t", "\n".join(content) + "\n 07 \n")  # and one once more
    corpus, found = load(Data(path), 3), parts(load(Data(path), 3))
    assert (corpus.line_count, corpus.distinct_lines) == (40 * copies + 1, 40)
    assert Counter(chain(*found.values())) == Counter([*content, "07"])
    assert {name: len(set(part)) for name, part in found.items()} == {"train": 32, "val": 4, "test": 4}
    order = np.random.default_rng(0).permutation(40)
    together = [line for k in order for line in [once[k]] * (copies + (k == 7))]
    assert [*found["train"], *found["val"], *found["test"]] == together
    assert corpus.reads_differently


def test_what_version_1_read_alike(tmp_path: Path) -> None:
    corpus = load(Data(write(tmp_path / "t", "\n".join(f"{k} x" for k in range(40)) + "\n\n \n")), 3)
    assert not corpus.reads_differently
    assert not load(Data(write(tmp_path / "t", " ab \n" * 40), "stream"), 3).reads_differently


@pytest.mark.parametrize("span", [1, 5, 16, 1 << 20])
def test_lines_of_any_length_are_compared_whole(tmp_path: Path, span: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SPAN", span)
    rng = np.random.default_rng(1)
    content = ["".join(rng.choice([*"abc"], rng.integers(1, 12))) for _ in range(300)]
    corpus = load(Data(write(tmp_path / "t", "\n".join(content))), 3)
    assert Counter(lines_of(corpus)) == Counter(content)
    assert corpus.distinct_lines == len(set(content)) < 300
    found = parts(corpus)
    assert not set(found["train"]) & {*found["val"], *found["test"]}


@pytest.mark.parametrize("mode", ["lines", "stream"])
@pytest.mark.parametrize("n", [20, 21, 23])
@pytest.mark.parametrize("split", [(1, 0, 0), (0.9, 0.1, 0), (0.9, 0, 0.1), (0.7, 0.2999995, 0), (0.999999, 0, 0)])
def test_a_share_of_zero_leaves_its_split_out(
    mode: str, n: int, split: tuple[float, float, float], tmp_path: Path
) -> None:
    content = "ab" * (n // 2) if mode == "stream" else "".join(f"{k}a\n" for k in range(n))
    corpus = load(Data(write(tmp_path / "t", content), mode, split=split), 1)
    assert list(corpus.splits) == [name for name, share in zip(("train", "val", "test"), split, strict=True) if share]
    assert max(end for _, end in corpus.splits.values()) == len(corpus.ids)


def test_a_streams_splits_are_contiguous(tmp_path: Path) -> None:
    path = write(tmp_path / "t", "abcdefghij" * 10)
    a, b = (load(Data(path, "stream", split=(0.6, 0.3, 0.1), split_seed=seed), 4) for seed in (0, 1))
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
    corpus = load(Data(write(tmp_path / "t", ALPHABETS["latin"] * 8), split=(0.5, 0.25, 0.25)), context)
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
    corpus = load(Data(write(tmp_path / "t", ALPHABETS["chinese"] * 6), "stream", split=(0.4, 0.3, 0.3)), context)
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


def test_no_rounding_gives_a_share_of_zero_an_example() -> None:
    n = 10_000_001
    assert cut(n, (0.9, 0.1, 0)) == [9_000_001, n, n]
    assert cut(n, (0.7, 0.2999995, 0)) == [7_000_001, n, n]  # the shares add up to 1 within a millionth
    assert cut(n, (0.9999995, 0, 0)) == [n, n, n]
    assert cut(n, (0.9, 0, 0.1)) == [9_000_001, 9_000_001, n]


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
        ("a \n a\n", "one distinct character"),
        ("ab\0c\n", "byte 2; give a text file"),
        ("é" * 10 + "\0c\n", "byte 20; give a text file"),
    ],
)
@pytest.mark.usefixtures("block")
def test_texts_without_anything_to_learn(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(Data(write(tmp_path / "t", content)), 3)


FRENCH = "Où est le café ? Là-bas, près du théâtre ; ça coûte très cher à Noël.\n" * 3
RUSSIAN = "Мороз и солнце; день чудесный! Ещё ты дремлешь, друг прелестный.\n" * 3
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n" * 3
CHINESE = "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n" * 3
KOREAN = "나 보기가 역겨워 가실 때에는 말없이 고이 보내 드리오리다\n" * 3
GREEK = "Άνδρα μοι έννεπε, Μούσα, πολύτροπον, ός μάλα πολλά\n" * 3


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (FRENCH, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (KOREAN, "euc_kr"),
        (GREEK, "cp1253"),
        (RUSSIAN, "iso8859-5"),
        ("Café naïve, élève, über\n" * 9, "cp437"),
        ("“Hello” – he said… it’s\n" * 9, "cp1252"),
    ],
)
def test_another_encoding_is_guessed_and_read(tmp_path: Path, content: str, encoding: str) -> None:
    path = write(tmp_path / "t", content.encode(encoding))
    with pytest.raises(UserError, match=rf"not UTF-8, .*, byte \d+; it reads like .*: give data.encoding={encoding}$"):
        load(Data(path, "stream"), 3)
    corpus = load(Data(path, "stream", encoding), 3)
    assert characters(corpus) == content
    with pytest.raises(UserError, match=r"not UTF-16|not ASCII"):
        load(Data(path, "stream", "ascii"), 3)


@pytest.mark.parametrize("content", [FRENCH, CHINESE], ids=["french", "chinese"])
@pytest.mark.parametrize(
    ("encoding", "mark", "named"),
    [
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
        ("utf-16-le", b"\xff\xfe", "utf-16"),
        ("utf-16-be", b"\xfe\xff", "utf-16"),
        ("utf-32-le", b"\xff\xfe\0\0", "utf-32"),
    ],
)
@pytest.mark.usefixtures("block")
def test_wide_encodings_are_named_and_read(
    tmp_path: Path, content: str, encoding: str, mark: bytes, named: str
) -> None:
    path = write(tmp_path / "t", mark + content.encode(encoding))
    corpus = load(Data(path, "stream", named), 3)
    assert characters(corpus) == content
    if reading.BLOCK > 1000:
        with pytest.raises(
            UserError, match=f"the text is {named.upper()} and not UTF-8, .*; give data.encoding={named}$"
        ):
            load(Data(path, "stream"), 3)


ZIP = b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0"
OTHER_KINDS = {
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "a Word document": ZIP + b"\x13\0word/document.xml",
    "an Excel workbook": ZIP + b"\x0f\0xl/workbook.xml",
    "an e-book": ZIP + b"\x08\0mimetypeapplication/epub+zip",
    "an OpenDocument file": ZIP + b"\x08\0mimetypeapplication/vnd.oasis.opendocument.text",
    "a zip archive": ZIP + b"\x05\0a.txt",
    "a PNG image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "a JPEG image": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "an old Word or Excel document": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0",
    "an RTF document": b"{\\rtf1\\ansi hello}",
    "a bzip2 archive": b"BZh91AY&SY\0\0",
    "an xz archive": b"\xfd7zXZ\0\0\x04",
    "a program": b"\x7fELF\x02\x01\x01\0",
    "a gzip file within another": gzip.compress(gzip.compress(b"a")),
}


@pytest.mark.parametrize("what", OTHER_KINDS)
def test_another_kind_of_file_is_named(tmp_path: Path, what: str) -> None:
    path = write(tmp_path / "t.txt", OTHER_KINDS[what])
    with pytest.raises(UserError, match=f"the text is {what}.*, {path}; [a-z]"):
        load(Data(path), 3)


@pytest.mark.parametrize("content", ["%PD anna\n", "PK\nbob\n", "GIF\nmo\n", "BZh\nann\n", "Rar!\nbe\n", "MZ\nanna\n"])
def test_a_text_that_begins_like_another_kind_is_a_text(tmp_path: Path, content: str) -> None:
    assert load(Data(write(tmp_path / "t", content * 20), "stream"), 3).vocabulary


@pytest.mark.parametrize(
    ("content", "data", "context", "says", "overrides"),
    [
        (
            "abcabc",
            {"mode": "stream"},
            10,
            "the train split is empty (6 characters for a context of 10)",
            "model.context=1 ",
        ),
        ("ab" * 50, {"mode": "stream"}, 10, "the val split is empty (100 characters", "data.split=["),
        ("ab" * 50, {"mode": "stream", "split": (0.8, 0.15, 0.05)}, 10, "the test split is empty", "data.split=["),
        ("ab" * 12, {"mode": "stream"}, 10, "the train split is empty", "data.split=["),
        ("ab" * 6, {"mode": "stream"}, 10, "the train split is empty", "data.split=[1,0,0]"),
        ("ab", {"mode": "stream"}, 3, "the train split is empty", "model.context=1 data.split=[1,0,0]"),
        ("ab\nc\n", {}, 3, "the val split is empty (2 lines)", "data.split=[0.5,0.5,0.0]"),
        ("ab\nc\nd\n", {}, 3, "the test split is empty (3 lines)", "data.split=[0.4,0.3,0.3]"),
        ("ab\nc\nd\ne\n", {}, 3, "the test split is empty (4 lines)", "data.split=["),
        ("ab\n" * 20, {}, 3, "the train split is empty", "data.split=[1,0,0]"),
        ("ab\nc\n" * 20, {}, 3, "the val split is empty (40 lines, 2 distinct)", "data.split=[0.5,0.5,0.0]"),
        ("a long line " * 90, {}, 3, "the train split is empty (1 line of 1,081 characters)", "data.mode=stream"),
    ],
)
def test_an_empty_split_is_named_with_the_override_that_works(
    tmp_path: Path, content: str, data: dict[str, object], context: int, says: str, overrides: str
) -> None:
    path = write(tmp_path / "t", content)
    with pytest.raises(UserError) as caught:
        load(Data(path, **data), context)  # type: ignore[arg-type]
    found = str(caught.value)
    assert overrides in found
    advice = [word.rstrip(",") for word in found.split("; give ")[1].split() if "=" in word]
    tree = {"data": {"path": path, **data}, "model": {"context": context}}
    for override in advice:
        section, key, value = override.replace("=", ".", 1).split(".", 2)
        tree[section][key] = value
    config = read(tree)
    assert load(config.data, config.model.context).splits["train"]


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


def test_a_prompt_in_the_other_unicode_form_is_told() -> None:
    composed = unicodedata.normalize("NFC", "é")
    with pytest.raises(UserError, match=r"the prompt has 'e': the text .* another Unicode form, NFC; write it so"):
        to_ids(unicodedata.normalize("NFD", "été"), "\nt" + composed, "prompt")
    with pytest.raises(UserError, match="another Unicode form, NFD"):
        to_ids(unicodedata.normalize("NFC", "été"), "\nte\u0301", "prompt")


@pytest.mark.parametrize("many", [False, True], ids=["one byte", "two bytes"])
def test_where_a_line_stands(tmp_path: Path, many: bool) -> None:
    extra = "".join(f"{chr(0x4E00 + k)}{chr(0x4E01 + k)}\n" for k in range(600)) if many else ""
    path = write(tmp_path / "t", "anna\nannabel\nbob\nclara\nida\nmo\nbo\nnn\n" * 3 + extra)
    corpus = load(Data(path, split=(0.5, 0.25, 0.25)), 3)
    found = parts(corpus)
    texts = [*set(lines_of(corpus)), "ann", "nna", "a", "bobo", "annab", "", "ab", "xyz", "anna\nbob"]
    for line, split in zip(texts, standing(texts, corpus), strict=True):
        assert [split] == ([name for name, part in found.items() if line in part] or [""]), line
    assert set(standing(texts, corpus)) == {"train", "val", "test", ""}


# Several files, compressed ones, standard input


@pytest.mark.usefixtures("block")
def test_the_same_bytes_are_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = ("\ufeff" + ALPHABETS["mixed"] * 9).encode()
    plain = write(tmp_path / "t.txt", content)
    compressed = write(tmp_path / "t.gz", gzip.compress(content[:20]) + gzip.compress(content[20:]))  # two members
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))
    first, second, third = (load(Data(path, "stream", split=(0.5, 0.25, 0.25)), 2) for path in (plain, compressed, "-"))
    for other in (second, third):
        assert (first.ids == other.ids).all()
        assert (first.vocabulary, first.fingerprint) == (other.vocabulary, other.fingerprint)
    assert load(Data((plain,), "stream", split=(0.5, 0.25, 0.25)), 2).fingerprint == first.fingerprint


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r"])
@pytest.mark.usefixtures("block")
def test_a_files_end_is_a_lines_end_and_its_mark_is_dropped(tmp_path: Path, ending: str) -> None:
    texts = ["anna\nbob" + ending, "\ufeffclara" + ending, "", "mo\nida" + ending]
    paths = tuple(write(tmp_path / f"{k}.txt", content) for k, content in enumerate(texts))
    expected = "anna\nbob\nclara\nmo\nida" + ("\n" if ending else "")
    corpus = load(Data(paths, "stream", split=(0.4, 0.3, 0.3)), 2)
    assert characters(corpus) == expected
    corpus = load(Data(paths, split=(0.4, 0.3, 0.3)), 2)
    assert sorted(lines_of(corpus)) == sorted(plain_lines(expected))


def test_damaged_compressed_texts(tmp_path: Path) -> None:
    whole = gzip.compress(b"anna\nbob\n" * 1000)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], whole[:5], bytes(damaged), whole + b"rubbish"):
        with pytest.raises(UserError, match="the compressed text is damaged"):
            load(Data(write(tmp_path / "t.gz", content)), 3)


def test_standard_input_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (None, SimpleNamespace(isatty=lambda: True)):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(UserError, match="no text on standard input"):
            load(Data("-"), 3)
    with pytest.raises(UserError, match="standard input is given twice"):
        load(Data(("-", "-")), 3)
    with pytest.raises(UserError, match="no regular file, /dev/null; pipe it"):
        load(Data("/dev/null"), 3)


# What is probably not meant


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("a\tb\nc\td e\n", "lines", "2 × tab will be learned as characters; replace them"),
        ("a\u00a0b\nc\ufeff\n", "lines", "1 × no-break space, 1 × byte-order mark will be learned"),
        ("a \u3000b\u200cc\u200d\n", "lines", ""),  # Chinese, Persian, emoji
        ("ab\t\n c \n", "lines", ""),  # stripped
        ("ab \n c\t\t\nd", "stream", "2 × tab, 2 × white space at the end of a line will be learned"),
        ("a\ufffdb\n", "lines", "1 × replacement character will be learned"),
        ("a\x07b\n", "lines", "1 × U\\+0007 will be learned"),
        ("caf\u00e9\ncafe\u0301\nede\u0301\n", "lines", "2 letters are written as letter and accent"),
        ("cafe\u0301\n", "lines", ""),  # all in one form
        ("\uac01\n\u1100\u1161\u11a8\n\uac00\n", "lines", "1 letters are written"),
    ],
)
def test_what_is_probably_not_meant_is_counted(tmp_path: Path, content: str, mode: str, says: str) -> None:
    ballast = "".join(f"x{k}\n" for k in range(20))
    warning = load(Data(write(tmp_path / "t", ballast + content), mode), 1).warning
    assert "\n" not in warning
    if says:
        assert re.search(says, warning)
    else:
        assert warning == ""


def test_the_vocabulary_is_shown_with_names_for_what_cannot_be_seen() -> None:
    assert show("\nab") == "ab, newline"
    assert show("\t a\u00a0é\u0301\ufeff") == "aé◌\u0301, tab, space, no-break space, byte-order mark"
    assert show("".join(map(chr, range(0x4E00, 0x4E00 + 100)))) == "".join(map(chr, range(0x4E00, 0x4E50))) + "..."


def test_an_encoding_that_demands_a_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "t", "anna\nbob!\n" * 9)
    for encoding in ("utf-16", "utf-32"):
        with pytest.raises(UserError, match=f"the text is not {encoding.upper()}.*, {path}.*; "):
            load(Data(path, encoding=encoding), 3)
