"""A list of lines as ids: stripped, shuffled, equal lines side by side."""

from typing import NamedTuple

import numpy as np

from trainer.core.ops import Array

PART = 1 << 16  # lines written at a time
SPAN = 1 << 20  # characters looked at a time; a longer line is looked at alone
ROUNDS = 1000  # blanks that are taken off all lines together, one a round; a line with more is looked at alone


class Lines(NamedTuple):
    """Lines in random order, each ended by one boundary, id 0."""

    ids: Array  # (characters,) from a boundary on
    vocabulary: str  # without white space that stood only at the ends of lines
    places: Array  # (distinct lines + 1,) where each with its copies begins, and where the last ends
    total: int  # lines, blank ones apart
    stripped: int  # of them those that had white space at their ends


def arrange(ids: Array, vocabulary: str, seed: int) -> Lines:
    """Strip and shuffle the lines between the boundaries of a text; blank ones are left out.

    The distinct lines are shuffled and each is followed by its copies, so that no line stands in two splits.
    """
    starts, ends, stripped = find_lines(ids, vocabulary)
    first, copies = distinct(line_keys(ids, starts, ends))
    order = np.random.default_rng(seed).permutation(len(first))
    first, copies = first[order], copies[order]
    count = len(starts)
    starts, lengths = starts[first], ends[first] - starts[first]
    places = np.concatenate([[1], 1 + np.cumsum((lengths + 1) * copies)])  # where each distinct line begins
    shuffled = write(ids, np.repeat(starts, copies), np.repeat(lengths, copies), places[-1])
    if stripped:
        shuffled, vocabulary = drop_unused(shuffled, vocabulary)
    return Lines(shuffled, vocabulary, places, count, stripped)


def find_lines(ids: Array, vocabulary: str) -> tuple[Array, Array, int]:
    """Where lines begin and end without the white space around them, and how many had some; none is blank."""
    boundaries = np.flatnonzero(ids == 0)  # the first is the boundary at the very start
    starts, ends = boundaries[:-1] + 1, boundaries[1:]
    blank = np.array([character.isspace() for character in vocabulary])  # (V,)
    stripped = 0
    if blank[1:].any():
        before = ends - starts
        strip(ids, starts, ends, blank)
        lengths = ends - starts
        stripped = int(np.count_nonzero((lengths > 0) & (lengths < before)))
    keep = starts < ends
    if not keep.all():
        starts, ends = starts[keep], ends[keep]
    return starts, ends, stripped


def strip(ids: Array, starts: Array, ends: Array, blank: Array) -> None:
    """Move the bounds of lines inwards over what is blank, in place."""
    for bounds, step, inside in ((starts, 1, 0), (ends, -1, -1)):
        moving = np.flatnonzero(starts < ends)
        for _ in range(ROUNDS):
            moving = moving[blank[ids[bounds[moving] + inside]]]
            bounds[moving] += step
            moving = moving[starts[moving] < ends[moving]]
            if not len(moving):
                break
        for k in moving:
            line = ids[starts[k] : ends[k]][::step]  # from this bound inwards
            visible = ~blank[line]
            bounds[k] += step * int(visible.argmax() if visible.any() else len(line))


def line_keys(ids: Array, starts: Array, ends: Array) -> Array:
    """A number for each line, the same for equal lines: (n,), 64 bits.

    That of characters x is the sum of r(x[j]) * B^j modulo 2^64, with a random number r for each character: a weighted
    sum over the text, from which each line's part is divided by the power of B where it begins. Among a million lines
    two different ones share a key once in 30 million texts.
    """
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**64, int(ids.max()) + 1, np.uint64)  # (V,)
    base = int(rng.integers(0, 2**63)) * 2 + 1  # odd, so that it can be divided by
    powers, inverse = geometric(base), geometric(pow(base, -1, 2**64))
    keys = np.zeros(len(starts), np.uint64)
    first = 0
    while first < len(starts):
        begin = starts[first]
        last = max(first + 1, int(np.searchsorted(ends, begin + SPAN - 1)))
        end = ends[last - 1]
        if end - begin >= SPAN:
            keys[first] = hash(ids[begin:end].tobytes()) % 2**64
        else:
            weighted = numbers[ids[begin : end + 1]] * powers[: end + 1 - begin]
            bounds = np.stack([starts[first:last], ends[first:last]], axis=1).ravel() - begin
            sums = np.add.reduceat(weighted, bounds)[::2]  # those between a start and its end
            keys[first:last] = sums * inverse[bounds[::2]]
        first = last
    return keys


def geometric(base: int) -> Array:
    """base^0, base^1, ... modulo 2^64: (SPAN,)."""
    factors = np.full(SPAN, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def distinct(keys: Array) -> tuple[Array, Array]:
    """The first line of each kind in the order of the text, and how many lines there are of it: (d,), (d,)."""
    n = len(keys)
    ordered = np.sort(keys)
    changes = ordered[1:] != ordered[:-1]
    if changes.all():
        return np.arange(n), np.ones(n, np.intp)
    begins = np.concatenate([[0], 1 + np.flatnonzero(changes)])  # (d,) where a kind begins in this order
    copies = np.diff(begins, append=n)
    kind = np.searchsorted(ordered[begins], keys)  # (n,)
    first = np.empty(len(begins), np.intp)
    first[kind[::-1]] = np.arange(n)[::-1]  # of several lines of a kind the first is written last, and stays
    first.sort()
    return first, copies[kind[first]]


def write(ids: Array, starts: Array, lengths: Array, size: int) -> Array:
    """A boundary, then lines in this order, each with a boundary after it: (size,)."""
    written = np.zeros(size, ids.dtype)
    place = 1
    for first in range(0, len(starts), PART):
        part = slice(first, first + PART)
        whole = lengths[part] + 1  # with what stands after the line
        ends = np.cumsum(whole)
        shift = starts[part] - (ends - whole)  # from the place in this part to that in the text
        room = written[place : place + ends[-1]]
        room[...] = ids[np.arange(ends[-1]) + np.repeat(shift, whole)]
        room[ends - 1] = 0
        place += ends[-1]
    return written


def drop_unused(ids: Array, vocabulary: str) -> tuple[Array, str]:
    """The ids in a vocabulary without the characters that do not occur."""
    used = np.zeros(len(vocabulary), bool)
    for start in range(0, len(ids), SPAN):
        used[ids[start : start + SPAN]] = True
    used[0] = True
    if used.all():
        return ids, vocabulary
    kept = "".join(character for character, occurs in zip(vocabulary, used, strict=True) if occurs)
    table = (np.cumsum(used) - 1).astype(np.min_scalar_type(len(kept)))
    return table[ids], kept
