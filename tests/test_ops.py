"""Each operation and its local derivative against numbers worked out by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from trainer.core import ops
from trainer.core.ops import Array

ORDERS = pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray], ids=["C", "F"])
EXACT = 1e-15  # a rounding or two of numbers near 1, in float64


def close(found: Array, expected: object, atol: float = EXACT) -> None:
    np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=atol)


def printed(values: Array, digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in np.ravel(values)]


def test_the_worked_example() -> None:
    logits, target = np.array([[2.0, 1.0, 0.0]]), np.array([0])
    assert printed(np.exp(logits), 3) == ["7.389", "2.718", "1.000"]
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


@ORDERS
def test_affine(order: Callable[[Array], Array]) -> None:
    x = order(np.array([[1.0, 2.0], [3.0, 4.0], [-1.0, 0.0]]))  # (3, 2)
    W = order(np.array([[1.0, 0.0, -1.0, 2.0], [2.0, 1.0, 0.0, -1.0]]))  # (2, 4)
    b = np.array([0.5, -0.5, 0.0, 1.0])
    dy = order(np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]))  # (3, 4)
    close(ops.affine(x, W, b), [[5.5, 1.5, -1, 1], [11.5, 3.5, -3, 3], [-0.5, -0.5, 1, -1]])
    close(ops.affine_backward_input(dy, W), [[-1, 2], [0, 1], [-3, 1]])
    for out in (None, order(np.full((2, 4), 99.0))):  # what stands there is written over
        dW = ops.affine_backward_weight(x, dy, out)
        close(dW, [[1, 3, 1, 1], [2, 4, 4, 0]])
        assert out is None or dW is out
    for out in (None, np.full(4, 99.0)):
        db = ops.affine_backward_bias(dy, out)
        close(db, [1, 1, 3, -1])
        assert out is None or db is out


def test_tanh() -> None:
    z, dh = np.array([np.log(2), 0.0, -np.log(3)]), np.array([10.0, 3.0, 1.0])
    h = ops.tanh(z)  # tanh(log a) = (a² - 1) / (a² + 1)
    close(h, [0.6, 0.0, -0.8])
    close(ops.tanh_backward(dh, h), [6.4, 3.0, 0.36], 1e-14)  # of 10: ten roundings of 1
    close(dh, [10.0, 3.0, 1.0])  # the gradient that came in is not written over
    close(ops.tanh(np.array([800.0, -800.0])), [1.0, -1.0])


def test_dropout_is_a_multiplication() -> None:
    mask = np.array([[0.0, 1.25, 1.25]])  # rate 0.2
    close(ops.dropout(np.array([[4.0, 4.0, -8.0]]), mask), [[0.0, 5.0, -10.0]])
    close(ops.dropout_backward(np.array([[1.0, 2.0, -4.0]]), mask), [[0.0, 2.5, -5.0]])


def test_embedding_reads_rows() -> None:
    C, ids = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([[2, 0], [1, 1]])
    close(ops.embedding(C, ids), [[[5, 6], [1, 2]], [[3, 4], [3, 4]]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_embedding_backward_adds_up_repeated_rows(dtype: type) -> None:
    ids = np.array([[3, 0], [3, 1], [3, 3]])
    demb = np.array([[[1.0, 2.0], [10.0, 20.0]], [[0.5, 0.25], [7.0, -7.0]], [[100.0, 200.0], [4.0, 8.0]]], dtype)
    for out in (None, np.full((5, 2), 99.0, dtype)):
        dC = ops.embedding_backward(demb, ids, 5, out)
        close(dC, [[10, 20], [7, -7], [0, 0], [105.5, 210.25], [0, 0]])
        assert dC.dtype == dtype
        assert out is None or dC is out


@ORDERS
def test_softmax_cross_entropy_by_hand(order: Callable[[Array], Array]) -> None:
    logits, targets = order(np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]])), np.array([1, 2])
    p = ops.softmax(logits)
    close(p, [[1 / 8, 2 / 8, 5 / 8], [3 / 8, 3 / 8, 2 / 8]])
    close(ops.cross_entropy(logits, targets), [np.log(4), np.log(4)])
    close(ops.softmax_cross_entropy_backward(p, targets, 0.5), [[1 / 16, -3 / 8, 5 / 16], [3 / 16, 3 / 16, -3 / 8]])


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
    slope = ops.cross_entropy(np.array([[2.0 + 1e-20j, 1.0, 0.0]]), np.array([0])).imag / 1e-20
    e = np.exp([2.0, 1.0, 0.0])
    close(slope, [e[0] / e.sum() - 1])
