"""The same model and training loop, on random ids, as users of other frameworks would write it.

Each training function gives steps per second at a shape (V, K, D, H, B), plain or as configs/names-best.yaml has it.
"""

import time
from typing import Any

import numpy as np
from ours import first_step, rate

RATE, BEST_RATE, DECAY, DROPOUT, FARTHEST = 0.1, 1e-3, 0.02, 0.2, 0.7
Shape = tuple[int, ...]


def examples(shape: Shape) -> tuple[Any, Any]:
    """Random contexts (n, K) and targets (n,)."""
    ids = np.random.default_rng(0).integers(0, shape[0], (200_000, shape[1] + 1))  # (n, K + 1)
    return ids[:, :-1].copy(), ids[:, -1].copy()


def kept(shape: Shape) -> Any:
    """The share of each entry of emb that dropout keeps, the less the farther back: (K*D,)."""
    _, K, D, _, _ = shape
    distance = np.arange(K)[::-1] / (K - 1)  # (K,)
    return np.repeat(1 - FARTHEST * distance, D).astype(np.float32)


def torch_training(shape: Shape, threads: int, best: bool = False) -> float:
    """PyTorch, eager."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    V, K, D, H, B = shape
    X, Y, keep = map(torch.from_numpy, (*examples(shape), kept(shape)))
    C, inner, outer, drop = nn.Embedding(V, D), nn.Linear(K * D, H), nn.Linear(H, V), nn.Dropout(DROPOUT)
    parameters = [*C.parameters(), *inner.parameters(), *outer.parameters()]
    optimizer: Any = torch.optim.SGD(parameters, lr=RATE)
    if best:
        optimizer = torch.optim.AdamW(parameters, lr=BEST_RATE, weight_decay=DECAY)

    def run(steps: int) -> None:
        for _ in range(steps):
            rows = torch.randint(0, len(X), (B,))
            emb = C(X[rows]).flatten(1)
            if best:
                emb = emb * (torch.bernoulli(keep.expand(B, -1)) / keep)
            h = torch.tanh(inner(emb))
            loss = nn.functional.cross_entropy(outer(drop(h) if best else h), Y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return rate(run)


def jax_training(shape: Shape, best: bool = False) -> float:
    """JAX: a hundred steps are one compiled scan. It has a thread for each processor of the process."""
    import jax
    import jax.numpy as jnp

    V, K, D, H, B = shape
    X, Y, keep = map(jnp.asarray, (*examples(shape), kept(shape)))
    shapes = {"C": (V, D), "W1": (K * D, H), "b1": (H,), "W2": (H, V), "b2": (V,)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    p = {n: 0.1 * jax.random.normal(key, s) for key, (n, s) in zip(keys, shapes.items(), strict=True)}

    def loss(p: Any, x: Any, y: Any, emb_mask: Any, h_mask: Any) -> Any:
        emb = p["C"][x].reshape(B, K * D) * emb_mask
        logits = (jnp.tanh(emb @ p["W1"] + p["b1"]) * h_mask) @ p["W2"] + p["b2"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()

    def adamw(p: Any, m: Any, v: Any, t: Any, g: Any) -> Any:
        m = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, m, g)
        v = jax.tree.map(lambda v, d: 0.999 * v + 0.001 * d * d, v, g)

        def moved(a: Any, m: Any, v: Any) -> Any:
            direction = m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
            return a - BEST_RATE * (direction + (DECAY * a if a.ndim == 2 else 0))

        return jax.tree.map(moved, p, m, v), m, v

    def step(state: Any, key: Any) -> Any:
        p, m, v, t = state
        for_rows, for_emb, for_h = jax.random.split(key, 3)
        rows = jax.random.randint(for_rows, (B,), 0, len(X))
        emb_mask = h_mask = jnp.float32(1)
        if best:
            emb_mask = jax.random.bernoulli(for_emb, keep, (B, K * D)) / keep
            h_mask = jax.random.bernoulli(for_h, 1 - DROPOUT, (B, H)) / (1 - DROPOUT)
        value, g = jax.value_and_grad(loss)(p, X[rows], Y[rows], emb_mask, h_mask)
        if best:
            return (*adamw(p, m, v, t, g), t + 1), value
        return (jax.tree.map(lambda a, d: a - RATE * d, p, g), m, v, t), value

    @jax.jit
    def scan(state: Any, key: Any) -> Any:
        key, drawn = jax.random.split(key)
        return *jax.lax.scan(step, state, jax.random.split(drawn, 100)), key

    zeros = jax.tree.map(jnp.zeros_like, p)
    state: list[Any] = [(p, zeros, zeros, jnp.float32(1)), jax.random.key(1)]

    def run(steps: int) -> None:
        for _ in range(steps // 100):
            state[0], _, state[1] = scan(*state)
        state[0][-1].block_until_ready()

    return rate(run)


def gradcheck(shape: Shape, fast: bool = False, times: int = 1) -> float:
    """Mean seconds of PyTorch's gradcheck on one core: of every entry, or `fast`, along one direction a parameter."""
    import torch

    at, _ = first_step(shape)
    x, y = torch.tensor(at.batch.contexts), torch.tensor(at.batch.targets)
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
