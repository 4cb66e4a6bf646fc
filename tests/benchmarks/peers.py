"""The same model, and the same training loop, as users of other frameworks would write it.

Each training function gives steps per second at a shape (V, K, D, H, B). The texts are random ids:
what a step costs does not depend on them.
"""

import time
import warnings
from typing import Any

import numpy as np
from ours import POOL, Training, configure, rate

RATE = 0.1
Shape = tuple[int, ...]


def examples(shape: Shape) -> tuple[Any, Any]:
    """Random contexts (n, K) and targets (n,)."""
    ids = np.random.default_rng(0).integers(0, shape[0], (200_000, shape[1] + 1))  # (n, K + 1)
    return ids[:, :-1].copy(), ids[:, -1].copy()


def torch_network(shape: Shape) -> Any:
    """The model as a module of PyTorch."""
    from torch import nn

    V, K, D, H, _ = shape
    return nn.Sequential(nn.Embedding(V, D), nn.Flatten(), nn.Linear(K * D, H), nn.Tanh(), nn.Linear(H, V))


def torch_training(shape: Shape, threads: int) -> float:
    """PyTorch, eager."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    X, Y = map(torch.from_numpy, examples(shape))
    network, B = torch_network(shape), shape[-1]
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

    def run(steps: int) -> None:
        for _ in range(steps):
            rows = torch.randint(0, len(X), (B,))
            loss = torch.nn.functional.cross_entropy(network(X[rows]), Y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return rate(run)


def jax_training(shape: Shape) -> float:
    """JAX: a hundred steps are one compiled scan. It has a thread for each processor of the process."""
    import jax
    import jax.numpy as jnp

    V, K, D, H, B = shape
    X, Y = map(jnp.asarray, examples(shape))
    shapes = {"C": (V, D), "W1": (K * D, H), "b1": (H,), "W2": (H, V), "b2": (V,)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    p = {n: 0.1 * jax.random.normal(key, s) for key, (n, s) in zip(keys, shapes.items(), strict=True)}

    def loss(p: Any, x: Any, y: Any) -> Any:
        h = jnp.tanh(p["C"][x].reshape(B, K * D) @ p["W1"] + p["b1"])
        logits = h @ p["W2"] + p["b2"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()

    def step(p: Any, key: Any) -> Any:
        rows = jax.random.randint(key, (B,), 0, len(X))
        value, g = jax.value_and_grad(loss)(p, X[rows], Y[rows])
        return jax.tree.map(lambda a, d: a - RATE * d, p, g), value

    @jax.jit  # type: ignore[untyped-decorator]
    def scan(p: Any, key: Any) -> Any:
        key, drawn = jax.random.split(key)
        return *jax.lax.scan(step, p, jax.random.split(drawn, 100)), key

    state = [p, jax.random.key(1)]

    def run(steps: int) -> None:
        for _ in range(steps // 100):
            state[0], _, state[1] = scan(*state)
        jax.block_until_ready(state[0])

    return rate(run)


def sklearn_training(shape: Shape) -> float:
    """scikit-learn. Its one-hot inputs cannot share an embedding: they go straight into the hidden layer."""
    from sklearn.neural_network import MLPClassifier

    V, K, _, H, B = shape
    X, Y = (array[: 100 * B] for array in examples(shape))
    inputs = np.eye(V, dtype=np.float32)[X].reshape(len(X), K * V)
    warnings.simplefilter("ignore")  # it has not converged

    def run(steps: int) -> None:
        MLPClassifier(
            (H,), activation="tanh", solver="sgd", alpha=0, batch_size=B, learning_rate_init=RATE, momentum=0,
            max_iter=steps // 100, tol=0, n_iter_no_change=10**9,
        ).fit(inputs, Y)  # fmt: skip

    return rate(run)


def gradcheck(shape: Shape, threads: int, fast: bool = False, times: int = 1) -> float:
    """Seconds of PyTorch's gradcheck of the five parameters, on the batch that ours checks.

    Every coordinate, or with `fast` one random direction through each; the mean of so many calls after the first.
    """
    import torch

    torch.set_num_threads(threads)
    at = Training(configure(shape), POOL).first()[1]
    x, y = (torch.from_numpy(a) for a in at.batch[:2])
    p = [torch.tensor(a, requires_grad=True) for a in (at.p.C, at.p.W1, at.p.b1, at.p.W2, at.p.b2)]

    def loss(C: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        h = torch.tanh(C[x].flatten(1) @ W1 + b1)
        return torch.nn.functional.cross_entropy(h @ W2 + b2, y)

    if times > 1:  # the first call is slower
        assert torch.autograd.gradcheck(loss, p, fast_mode=fast)
    began = time.perf_counter()
    for _ in range(times):
        assert torch.autograd.gradcheck(loss, p, fast_mode=fast)
    return (time.perf_counter() - began) / times


def torch_sampling(shape: Shape) -> float:
    """Characters per second of PyTorch, one text, a forward pass for each character."""
    import torch

    torch.set_num_threads(1)
    network, window = torch_network(shape), torch.zeros(1, shape[1], dtype=torch.long)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def run(characters: int) -> None:
        for _ in range(characters):
            following = torch.multinomial(torch.softmax(network(window), dim=1), 1)  # (1, 1)
            window[:] = torch.cat([window[:, 1:], following], dim=1)
            following.item()

    return rate(run)
