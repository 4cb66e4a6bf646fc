"""Each operation and its local derivative against numbers worked out by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from trainer.core import ops
from trainer.core.ops import Array

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

    p = ops.softmax(logits)
    assert printed(p, 3) == ["0.665", "0.245", "0.090"]
    assert printed(ops.cross_entropy(logits, target), 2) == ["0.41"]

    dlogits = ops.softmax_cross_entropy_backward(p, target, 1.0)
    assert printed(dlogits, 3) == ["-0.335", "0.245", "0.090"]
    assert abs(dlogits.sum()) < EXACT

    after = logits - 1.0 * dlogits
    assert printed(after, 3) == ["2.335", "0.755", "-0.090"]
    assert printed(ops.softmax(after), 3) == ["0.772", "0.159", "0.068"]
    assert printed(ops.cross_entropy(after, target), 2) == ["0.26"]


def test_mul_hands_each_factor_the_other_value() -> None:
    x, W = np.array([[3.0]]), np.array([[-2.0]])
    close(ops.affine(x, W, np.zeros(1)), [[-6.0]])
    close(ops.affine_backward_input(np.array([[5.0]]), W), [[-10.0]])
    close(ops.affine_backward_weight(x, np.array([[5.0]])), [[15.0]])


def test_add_passes_the_gradient_through() -> None:
    close(ops.affine(np.array([[3.0]]), np.array([[1.0]]), np.array([4.0])), [[7.0]])
    close(ops.affine_backward_bias(np.array([[5.0]])), [5.0])
    close(ops.affine_backward_bias(np.array([[5.0, 1.0], [-2.0, 0.5]])), [3.0, 1.5])


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
    close(ops.affine_backward_bias(dy, out(4)), [1, 1, 3, -1])


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
    out = np.full((2, 2, 2), 99.0)
    assert ops.embedding(C, ids, out) is out
    close(out, expected)


@pytest.mark.parametrize("given", [False, True], ids=["no out", "out"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_embedding_backward_adds_up_repeated_rows(given: bool, dtype: type) -> None:
    ids = np.array([[3, 0], [3, 1], [3, 3]])
    demb = np.array([[[1.0, 2.0], [10.0, 20.0]], [[0.5, 0.25], [7.0, -7.0]], [[100.0, 200.0], [4.0, 8.0]]], dtype)
    out = np.full((5, 2), 99.0, dtype) if given else None  # what stands there is written over
    dC = ops.embedding_backward(demb, ids, 5, out)
    assert out is None or dC is out
    assert dC.dtype == dtype
    close(dC, [[10, 20], [7, -7], [0, 0], [105.5, 210.25], [0, 0]])


@ORDERS
@pytest.mark.parametrize("given", [False, True], ids=["no out", "out"])
def test_softmax_cross_entropy_by_hand(order: Order, given: bool) -> None:
    logits = order(np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]))  # p = 1/8, 2/8, 5/8; 3/8, 3/8, 2/8
    before, room = logits.copy(), order(np.full((2, 3), 99.0)) if given else None
    p = ops.softmax(logits, room)
    assert room is None or p is room
    close(p, [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]])
    targets = np.array([1, 2])
    close(ops.cross_entropy(logits, targets), [np.log(4), np.log(4)])
    out = order(np.full((2, 3), 99.0)) if given else None
    dlogits = ops.softmax_cross_entropy_backward(p, targets, 0.5, out)
    assert out is None or dlogits is out
    close(dlogits, [[0.0625, -0.375, 0.3125], [0.1875, 0.1875, -0.375]])
    close(p, [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]])  # what was given is as it was
    np.testing.assert_array_equal(logits, before)


def test_cross_entropy_of_leading_axes() -> None:
    logits = np.log([[[1.0, 1.0], [3.0, 1.0]], [[1.0, 3.0], [1.0, 1.0]]])  # (2, 2, 2)
    close(ops.cross_entropy(logits, np.array([[0], [1]])), np.log([[2, 4 / 3], [4 / 3, 2]]))


@ORDERS
@pytest.mark.parametrize("shape", [(1, 5), (4, 2), (7, 300)])
def test_softmax_cross_entropy_backward_finds_every_target(order: Order, shape: tuple[int, int]) -> None:
    B, V = shape
    rng = np.random.default_rng(1)
    p, targets = rng.random((B, V)), rng.integers(0, V, B)
    p = order(p / p.sum(axis=1, keepdims=True))
    expected = (p - np.eye(V)[targets]) / B
    for out in (None, order(np.empty((B, V)))):
        close(ops.softmax_cross_entropy_backward(p, targets, 1 / B, out), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_stay_finite(dtype: type) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [-1e4, 1e4, 0.0]], dtype)
    targets = np.array([1, 0, 2, 1])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses = ops.cross_entropy(logits, targets)
        dlogits = ops.softmax_cross_entropy_backward(ops.softmax(logits), targets, 1.0)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(losses, [2e4, np.log(3), np.log(3), 0], rtol=eps)
    third = 1 / 3
    close(dlogits, [[1, -1, 0], [third - 1, third, third], [third, third, third - 1], [0, 0, 0]], eps)


def test_the_loss_of_a_complex_step_keeps_its_slope() -> None:
    h = 1e-20
    slope = ops.cross_entropy(np.array([[2.0 + 1j * h, 1.0, 0.0]]), np.array([0])).imag / h
    e = np.exp([2.0, 1.0, 0.0])
    close(slope, [e[0] / e.sum() - 1])
