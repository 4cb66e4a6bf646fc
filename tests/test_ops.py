"""Each operation and its local derivative against numbers worked out by hand."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from trainer import ops
from trainer.ops import Array

Order = Callable[[Array], Array]
ORDERS = pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray], ids=["C", "F"])
EXACT = 1e-15  # a rounding or two of numbers near 1, in float64


def close(found: Array, expected: object, atol: float = EXACT) -> None:
    np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=atol)


def printed(values: Array, digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in np.ravel(values)]


def test_the_worked_example() -> None:
    logits, target = np.array([[2.0, 1.0, 0.0]]), np.array([0])
    assert printed(np.exp(logits), 3) == ["7.389", "2.718", "1.000"]
    assert printed(np.exp(logits).sum(), 3) == ["11.107"]

    shifted, exps, total = ops.softmax(logits)
    p = exps / total
    assert printed(p, 3) == ["0.665", "0.245", "0.090"]
    assert printed(ops.cross_entropy(shifted, total, target), 2) == ["0.41"]

    dlogits = ops.softmax_cross_entropy_backward(exps, total, target, 1.0)
    assert printed(dlogits, 3) == ["-0.335", "0.245", "0.090"]
    assert abs(dlogits.sum()) < EXACT

    after = logits - 1.0 * dlogits
    assert printed(after, 3) == ["2.335", "0.755", "-0.090"]
    shifted, exps, total = ops.softmax(after)
    assert printed(exps / total, 3) == ["0.772", "0.159", "0.068"]
    assert printed(ops.cross_entropy(shifted, total, target), 2) == ["0.26"]


def test_mul_hands_each_factor_the_other_value() -> None:
    x, W = np.array([[3.0]]), np.array([[-2.0]])
    close(ops.affine(x, W, np.zeros(1)), [[-6.0]])
    close(ops.affine_backward_input(np.array([[5.0]]), W), [[-10.0]])
    close(ops.affine_backward_weight(x, np.array([[5.0]])), [[15.0]])


def test_add_passes_the_gradient_through() -> None:
    close(ops.affine(np.array([[3.0]]), np.array([[1.0]]), np.array([4.0])), [[7.0]])
    close(ops.affine_backward_bias(np.array([[5.0]]), np.ones(1)), [5.0])
    close(ops.affine_backward_bias(np.array([[5.0, 1.0], [-2.0, 0.5]]), np.ones(2)), [3.0, 1.5])


@pytest.mark.parametrize("given", [False, True], ids=["no out", "out"])
@ORDERS
def test_affine(given: bool, order: Order) -> None:
    x = order(np.array([[1.0, 2.0], [3.0, 4.0], [-1.0, 0.0]]))  # (3, 2)
    W = order(np.array([[1.0, 0.0, -1.0, 2.0], [2.0, 1.0, 0.0, -1.0]]))  # (2, 4)
    dy = order(np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]))  # (3, 4)

    def out(*shape: int) -> Array | None:
        return np.full(shape, 99.0) if given else None

    b = np.array([0.5, -0.5, 0.0, 1.0])
    close(ops.affine(x, W, b, out(3, 4)), [[5.5, 1.5, -1, 1], [11.5, 3.5, -3, 3], [-0.5, -0.5, 1, -1]])
    close(ops.affine_backward_input(dy, W, out(3, 2)), [[-1, 2], [0, 1], [-3, 1]])
    close(ops.affine_backward_weight(x, dy, out(2, 4)), [[1, 3, 1, 1], [2, 4, 4, 0]])
    close(ops.affine_backward_bias(dy, np.ones(3), np.full(4, 99.0) if given else None), [1, 1, 3, -1])


def test_affine_takes_a_bias_for_each_example() -> None:
    x, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]])
    close(ops.affine(x, np.array([[1.0], [10.0]]), b), [[26.0], [49.0]])


def test_tanh() -> None:
    z = np.array([np.log(2), 0.0, -np.log(3)])  # tanh(log a) = (a² - 1) / (a² + 1)
    h = ops.tanh(z)
    close(h, [0.6, 0.0, -0.8])
    close(ops.tanh_backward(np.array([10.0, 3.0, 1.0]), h), [6.4, 3.0, 0.36], 1e-14)  # of 10: ten roundings of 1
    dh = np.array([10.0, 3.0, 1.0])
    out = np.full(3, 99.0)
    assert ops.tanh_backward(dh, h, out) is out
    close(out, [6.4, 3.0, 0.36], 1e-14)
    close(dh, [10.0, 3.0, 1.0])  # the gradient that came in is not written over
    close(ops.tanh(np.array([800.0, -800.0])), [1.0, -1.0])


def test_dropout_is_a_multiplication() -> None:
    mask = np.array([[0.0, 1.25, 1.25]])  # rate 0.2
    close(ops.dropout(np.array([[4.0, 4.0, -8.0]]), mask), [[0.0, 5.0, -10.0]])
    close(ops.dropout_backward(np.array([[1.0, 2.0, -4.0]]), mask), [[0.0, 2.5, -5.0]])


def test_embedding_reads_rows() -> None:
    C = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    ids = np.array([[2, 0], [1, 1]])
    expected = [[[5, 6], [1, 2]], [[3, 4], [3, 4]]]
    close(ops.embedding(C, ids), expected)
    close(ops.embedding(np.stack([C, 10 * C]), ids), np.stack([expected, 10 * np.array(expected)]))
    out = np.full((2, 2, 2), 99.0)
    assert ops.embedding(C, ids, out) is out
    close(out, expected)


@pytest.mark.parametrize("dense", [True, False], ids=["one-hot product", "segments"])
def test_embedding_backward_adds_up_repeated_rows(dense: bool) -> None:
    ids = np.array([3, 0, 3, 1, 3])
    demb = np.array([[1.0, 2.0], [10.0, 20.0], [0.5, 0.25], [7.0, -7.0], [100.0, 200.0]])
    ways = (np.eye(5), np.full((5, 5), 99.0)) if dense else ()
    out = np.full((5, 2), 99.0)  # what stands there is written over, rows that were not read become zero
    assert ops.embedding_backward(demb, ids, out, *ways) is out
    close(out, [[10, 20], [7, -7], [0, 0], [101.5, 202.25], [0, 0]])
    ops.embedding_backward(demb[:1], ids[:1] * 0 + 4, out, *((np.eye(5), np.empty((1, 5))) if dense else ()))
    close(out, [[0, 0], [0, 0], [0, 0], [0, 0], [1, 2]])


def test_embedded_affine_backward_by_hand() -> None:
    C = np.array([[1.0], [10.0]])  # V = 2, D = 1
    W = np.array([[2.0, 3.0], [5.0, 7.0]])  # K = 2, H = 2
    ids = np.array([[0, 0], [1, 0], [1, 1]])
    dz = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    dC, dW = np.full((2, 1), 99.0), np.full((2, 2), 99.0)
    ops.embedded_affine_backward(dz, ids, C, W, dC, dW, np.eye(2), np.empty((6, 2)), np.empty((2, 2, 2)))
    # emb is [[1, 1], [10, 1], [10, 10]]; demb = dz @ W.T is [[2, 5], [3, 7], [8, 19]]
    close(dW, [[11, 30], [11, 21]])
    close(dC, [[2 + 5 + 7], [3 + 8 + 19]])


@ORDERS
@pytest.mark.parametrize("given", [False, True], ids=["no out", "out"])
def test_softmax_cross_entropy_by_hand(order: Order, given: bool) -> None:
    logits = order(np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]))  # p = 1/8, 2/8, 5/8; 3/8, 3/8, 2/8
    rooms = [order(np.full((2, 3), 99.0)) for _ in range(2)] + [np.full(2, 99.0)] if given else []
    shifted, exps, total = ops.softmax(logits, *rooms)
    targets = np.array([1, 2])
    close(exps / total[:, None], [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]])
    close(ops.cross_entropy(shifted, total, targets), [np.log(4), np.log(4)])
    out = order(np.full((2, 3), 99.0)) if given else None
    dlogits = ops.softmax_cross_entropy_backward(exps, total, targets, 0.5, out)
    close(dlogits, [[0.0625, -0.375, 0.3125], [0.1875, 0.1875, -0.375]])
    assert out is None or dlogits is out
    ways = (np.eye(3), np.full((2, 3), 99.0)) if given else (np.eye(3),)
    close(ops.softmax_cross_entropy_backward(exps, total, targets, 0.5, out, *ways), dlogits)


@ORDERS
@pytest.mark.parametrize("shape", [(1, 5), (4, 2), (7, 300)])
def test_softmax_cross_entropy_backward_finds_every_target(order: Order, shape: tuple[int, int]) -> None:
    B, V = shape
    rng = np.random.default_rng(1)
    exps, targets = order(rng.random((B, V))), rng.integers(0, V, B)
    total = exps.sum(axis=1)
    expected = (exps / total[:, None] - np.eye(V)[targets]) / B
    for out, eye in product((None, order(np.empty((B, V)))), (None, np.eye(V))):
        close(ops.softmax_cross_entropy_backward(exps, total, targets, 1 / B, out, eye), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_stay_finite(dtype: type) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [-1e4, 1e4, 0.0]], dtype)
    targets = np.array([1, 0, 2, 1])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        shifted, exps, total = ops.softmax(logits)
        losses = ops.cross_entropy(shifted, total, targets)
        dlogits = ops.softmax_cross_entropy_backward(exps, total, targets, 1.0)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(losses, [2e4, np.log(3), np.log(3), 0], rtol=eps)
    third = 1 / 3
    close(dlogits, [[1, -1, 0], [third - 1, third, third], [third, third, third - 1], [0, 0, 0]], eps)


def test_the_softmax_of_a_complex_step_keeps_its_slope() -> None:
    h = 1e-20
    shifted, _, total = ops.softmax(np.array([[2.0 + 1j * h, 1.0, 0.0]]))
    slope = ops.cross_entropy(shifted, total, np.array([0])).imag / h
    e = np.exp([2.0, 1.0, 0.0])
    close(slope, [e[0] / e.sum() - 1])
