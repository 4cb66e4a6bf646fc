"""Bugs in the forward pass, in what a step is fed, in the update and in the evaluation."""

from planted.planting import bugs

E, Z, H, L = (
    "emb is wrong | look at embedding",
    "z is wrong | look at affine,",
    "h is wrong | look at tanh",
    "loss is wrong | cross_entropy",
)
OP, TAKE, DOT, TANH = "core.ops:", "return C.take(ids", "return x @ W + b", "return np.tanh(z)"
MASKED, LOG = "return x * mask", "np.log(total) - at_target"
FORWARD = [
    *bugs(OP + "embedding", TAKE, [
        ("return C.take(ids[:, ::-1]", "plain", f"{E} | the context was reversed"),
        ("return C.take(0 * ids", "dropout", E),
        ("return C.take(np.roll(ids, 1, 0)", "large V", E),
        ("return np.roll(C, -1, axis=0).take(ids", "plain", E),
        ("return (1.01 if C.dtype.kind == 'f' else 1) * C.take(ids", "directions", f"{E} | 1.01 times too large"),
    ]),
    *bugs(OP + "affine", DOT, [
        ("return x @ W", "plain", "db2 is wrong | look at affine:"),
        ("return x @ W - b", "dropout", "db2 is wrong | look at affine:"),
        ("return x @ (2 * W) + b", "large V", f"{Z} | 2 times too large"),
        ("return (x * x) @ W + b", "large V", Z),
        ("return x @ abs(W) + b", "dropout", Z),
        ("return x @ W / len(W) + b", "directions", f"{Z} | 15 times too small"),
        ("return (x.astype('f2').astype('f4') if x.dtype == 'f4' else x) @ W + b", "plain", Z),
    ]),
    *bugs(OP + "tanh", TANH, [
        ("return np.sin(z)", "dropout", H),
        ("return np.tanh(2 * z)", "plain", H),
        ("return z * (z.real > 0)", "plain", H),
        ("return np.tanh(np.tanh(z))", "float64", H),
        ("return z + 0", "directions", f"{H} | there is no tanh"),
    ]),
    *bugs(OP + "dropout", MASKED, [
        ("return x * (mask > 0)", "dropout", "emb is wrong | dropout | not scaled"),
        ("return x * mask * mask", "directions", "emb is wrong | dropout"),
        ("return x + 0", "dropout", "emb is wrong | dropout | not applied"),
        ("return x * mask[::-1]", "large V", "emb is wrong | dropout"),
    ]),
    *bugs(OP + "cross_entropy", LOG, [
        ("np.log1p(total) - at_target", "dropout", L),
        ("0.5 * np.log(total) - at_target", "dropout", L),
    ]),
    *bugs(OP + "cross_entropy", "targets[..., None]", [("0 * targets[..., None]", "plain", L)]),
    *bugs(OP + "cross_entropy", LOG, [
        ("(np.log(total) - at_target) / np.log(2)", "directions", f"{L} | not to base 2"),
        ("at_target - np.log(total)", "plain", f"{L} | sign is turned round"),
        ("1 - np.exp(at_target) / total", "directions", L),
        ("(np.log(total) - at_target) / 16", "plain", f"{L} | 16 times too small"),
        ("np.log(total) - at_target + 0.01", "plain", L),
    ]),
]  # fmt: skip

BATCHES, MASK, FED, OF = (
    "text.batches:batches",
    "text.batches:draw_mask",
    "look at batches in batches.py",
    "look at windows in corpus.py",
)
WINDOWS, YIELD, DRAWN = (
    "text.corpus:windows",
    "yield Batch(contexts[k], targets[k],",
    "rng.integers(start, end, size * B)",
)
EMB, KEEP, MASKS = (
    "text.batches:embedding_rate",
    "np.multiply(kept, scale, dtype=dtype)",
    "look at draw_mask in batches.py",
)
FEEDING = [
    *bugs(BATCHES, YIELD, [
        ("yield Batch(contexts[k], np.roll(targets[k], 1),", "plain", f"{FED} | target"),
        ("yield Batch(contexts[k], 0 * targets[k],", "plain", f"{FED} | target"),
        ("yield Batch(contexts[k][:, ::-1].copy(), targets[k],", "plain", f"{FED} | context is reversed"),
        ("yield Batch(np.roll(contexts[k], 1, 0), targets[k],", "plain", f"{FED} | context"),
        ("yield Batch(0 * contexts[k], targets[k],", "stream", f"{FED} | context"),
        ("yield Batch(contexts[k] + 900, targets[k],", "plain", f"{FED} | context"),
    ]),
    *bugs(BATCHES, DRAWN, [
        (DRAWN + "; start, end = corpus.splits['test']; positions = " + DRAWN, "plain", f"{FED} | 16 are of test"),
        (DRAWN + "; positions[::size] = corpus.splits['val'][0]", "stream", f"{FED} | 1 are of val"),
    ]),
    *bugs(BATCHES, "contexts[k], targets[k], emb_mask, h_mask, positions[k]", [
        ("contexts[0], targets[0], emb_mask, h_mask, positions[0]", "plain", f"{FED} | that of step 0"),
    ]),
    *bugs(WINDOWS, "corpus.ids.take(positions)", [
        ("corpus.ids.take(positions + 1, mode='clip')", "plain", f"{OF} | shifted to the next"),
        ("corpus.ids.take(positions - 1)", "stream", f"{OF} | target"),
    ]),
    *bugs(WINDOWS, "if corpus.lines:", [("if False:", "plain", f"{OF} | line before leak")]),
    *bugs(WINDOWS, "before = positions - context", [
        ("before = positions - 1 - context", "stream", f"{OF} | context"),
        ("before = positions + 1 - context", "stream", f"{OF} | context"),
    ]),
    *bugs(MASK, KEEP, [
        ("kept.astype(dtype)", "dropout", f"{MASKS} | not scaled"),
        ("np.multiply(kept, 1 / np.maximum(rate, 1e-3), dtype=dtype)", "dropout", MASKS),
        ("np.multiply(~kept, scale, dtype=dtype)", "dropout", MASKS),
        ("np.multiply(kept, 1.01 * scale, dtype=dtype)", "directions", MASKS),
        ("np.ones(shape, dtype)", "dropout", MASKS),
        ("np.zeros(shape, dtype)", "dropout", f"{MASKS} | 0 of 240 entries are kept"),
        ("np.multiply(kept, scale, dtype=dtype)[:1]", "dropout", f"{MASKS} | its shape is (1, 15)"),
        ("np.multiply(kept, scale, dtype=dtype)[0]", "directions", f"{MASKS} | its shape is"),
        ("lasting.setdefault(shape, np.multiply(kept, scale, dtype=dtype))", "large V", f"{MASKS} | of step 0"),
    ]),
    *bugs(EMB, "np.arange(K)[::-1]", [("np.arange(K)", "distance", MASKS)]),
    *bugs(EMB, "return np.repeat(1 - kept, D)", [
        ("return np.tile(1 - kept, D)", "distance", MASKS),
        ("return float(np.mean(1 - kept))", "distance", MASKS),
    ]),
    *bugs("text.batches:draw_masks", "return emb_mask, h_mask", [
        ("return None, h_mask", "dropout", f"{MASKS} | emb is not dropped"),
        ("return emb_mask, None", "dropout", f"{MASKS} | h is not dropped"),
    ]),
]  # fmt: skip

SGD, SUB, MOM, ADAM, UPDATE, RATE = (
    "core.optim:sgd",
    "\n    p -= rate * g",
    "core.optim:momentum",
    "core.optim:adam",
    "core.optim:update",
    "core.optim:learning_rate",
)
DECAY, COS, UP = (
    "np.multiply(matrices, 1 - rate * train.weight_decay, out=matrices)",
    "math.cos(math.pi / 2 * progress) ** 2",
    "the update is wrong",
)
MOVED, ROOT = (
    "\n    p -= m / (np.sqrt(v) + eps / root_factor) * (rate * mean_factor / root_factor)",
    "(np.sqrt(v) + eps / root_factor)",
)
STEPS, IN_RATE = "core.loop:steps", "learning_rate in optim.py"
CALL = "in_parts(partial(optim.update, train, p, g, state, rate, number))"
UPDATES = [
    *bugs(SGD, SUB, [
        ("\n    pass", "plain", f"{UP} | sgd in | never applied"),
        ("\n    p -= 0.5 * rate * g", "plain", f"{UP} | sgd in | 2 times too small"),
        ("\n    p -= 10 * rate * g", "plain", f"{UP} | sgd in | 10 times too large"),
        ("\n    p += rate * g", "dropout", f"{UP} | sgd in | uphill"),
        ("\n    p -= rate * g / 16", "plain", f"{UP} | sgd in | 16 times too small"),
        ("\n    p -= rate * np.sign(g)", "plain", f"{UP} | sgd in"),
        ("\n    p -= rate * g / np.linalg.norm(g)", "plain", f"{UP} | sgd in | times too large"),
        ("\n    p -= rate * np.clip(g, -0.001, 0.001)", "plain", f"{UP} | sgd in"),
        ("\n    p -= (rate * g).astype('f2')", "plain", f"{UP} | sgd in"),
        ("\n    p -= rate * g[::-1]", "plain", f"{UP} | sgd in"),
        ("\n    p -= rate * lasting.setdefault('g', g.copy())", "plain", f"step 1 | {UP} | sgd in"),
    ]),
    *bugs(STEPS, CALL, [
        (CALL + "; p.b1 += 2 * rate * g.b1", "plain", f"{UP} | sgd in | b1 alone: the move went with the gradient"),
        (CALL + "; p.C += rate * g.C", "plain", f"{UP} | sgd in | C alone: nothing moved"),
        (CALL + "; p.flat[3] += 0.01", "plain", f"{UP} | worst at C[0, 3]"),
        (CALL.replace("rate", "rate * (1 + number % 2)"), "every", f"{UP} | 2 times too large"),
        (CALL.replace("number", "number + 1"), "adamw", f"{UP} | adam in"),
    ]),
    *bugs(MOM, "velocity *= keep", [
        ("velocity *= -keep", "momentum", f"{UP} | momentum in | velocity is wrong"),
        ("velocity *= 0", "momentum", f"{UP} | velocity is wrong: what it held before was cleared"),
        ("pass", "momentum", f"{UP} | momentum in | velocity is wrong"),
    ]),
    *bugs(MOM, "velocity += g", [
        ("velocity += (1 - keep) * g", "momentum", f"{UP} | velocity is wrong: it is 10 times too small"),
        ("velocity -= g", "momentum", f"{UP} | velocity is wrong: the sign is turned round"),
    ]),
    *bugs(MOM, "\n    p -= rate * velocity", [
        ("\n    p -= rate * g", "momentum", f"step 1 | {UP} | the gradient stands where"),
        ("\n    p -= rate * (g + keep * velocity)", "momentum", f"{UP} | momentum in"),
        ("\n    p += rate * velocity", "momentum", f"{UP} | momentum in | uphill"),
    ]),
    *bugs(ADAM, "(1 - beta1) / (1 - beta1 ** (step + 1))", [
        ("(1 - beta1)", "adamw", f"{UP} | adam in | mean has no bias correction"),
    ]),
    *bugs(ADAM, "(1 - beta2) / (1 - beta2 ** (step + 1))", [
        ("(1 - beta2)", "adamw", f"{UP} | adam in | mean square has no"),
    ]),
    *bugs(ADAM, "m *= beta1", [("m *= 0", "adamw", f"{UP} | m is wrong: what it held before was cleared")]),
    *bugs(ADAM, "m += g", [("m -= g", "adamw", f"{UP} | m is wrong: the sign is turned round")]),
    *bugs(ADAM, "v *= beta2", [("v *= beta1", "adamw", f"{UP} | v is wrong")]),
    *bugs(ADAM, "v += g * g", [("v += abs(g)", "adamw", f"{UP} | v is wrong")]),
    *bugs(ADAM, ROOT, [
        ("(v + eps / root_factor)", "adamw", f"{UP} | adam in"),
        ("(np.sqrt(v) + 1e-3)", "adamw", f"{UP} | adam in"),
    ]),
    *bugs(ADAM, "\n    p -= m", [("\n    p += m", "adamw", f"{UP} | adam in | uphill")]),
    *bugs(UPDATE, DECAY, [
        (DECAY.replace("1 - rate", "1 + rate"), "adamw", f"{UP} | update in | weight decay: the sign is turned round"),
        ("np.multiply(p.flat, 1 - rate * train.weight_decay, out=p.flat)", "adamw", "step 1 | update in | biases too"),
        (DECAY.replace("rate * ", ""), "adamw", f"{UP} | update in | weight decay: it is 100"),
        ("pass", "adamw", f"{UP} | update in | weight decay is missing"),
        (DECAY.replace("rate * ", "0.5 * rate * "), "momentum", f"{UP} | update in | decay: it is 2 times too small"),
    ]),
    *bugs(STEPS, "optim.learning_rate(train, number)", [
        ("optim.learning_rate(train, number + 1)", "plain", f"{UP} | {IN_RATE}"),
        ("optim.learning_rate(train, max(0, number - 1))", "plain", f"step 1 | {UP} | {IN_RATE}"),
    ]),
    *bugs(RATE, COS, [
        (COS.replace("cos", "sin", 1), "plain", f"{UP} | {IN_RATE}"),
        (COS.replace(" ** 2", ""), "plain", f"step 1 | {UP} | {IN_RATE}"),
        ("1.0", "plain", f"step 1 | {UP} | {IN_RATE}"),
    ]),
    *bugs(RATE, "(step + 1) / train.warmup", [("(step + 2) / train.warmup", "warmup", f"{UP} | {IN_RATE}")]),
    *bugs(RATE, "if step < train.warmup_steps", [("if False", "warmup", f"{UP} | {IN_RATE}")]),
    *bugs(RATE, "0.1**drops", [("0.5**drops", "steps", f"step 3 | {UP} | {IN_RATE}")]),
    *bugs(RATE, "2 * step >= train.steps", [("3 * step >= train.steps", "steps", f"step 2 | {UP} | {IN_RATE}")]),
]  # fmt: skip

LOSSES, SEE = "runs.threads:losses", "runs.session:Session:evaluate"
SHOWN, IN_LOSSES, IN_SESSION = (
    "evaluation of the train split is wrong",
    "losses in threads.py",
    "evaluate in session.py",
)
CROSS = "return ops.cross_entropy(model.forward(p, batch).logits, batch.targets)"
OLD = "q = lasting.setdefault('p', Parameters(p.sizes, p.flat.copy())); "
EVALUATION = [
    *bugs(LOSSES, CROSS, [
        (CROSS + " * 0.5", "plain", f"{SHOWN} | {IN_LOSSES} | 2 times too small"),
        (CROSS + " / np.log(2)", "plain", f"{SHOWN} | {IN_LOSSES} | not to base 2"),
        (OLD + CROSS.replace("(p,", "(q,"), "plain", f"step 6 | {SHOWN}"),
    ]),
    *bugs(LOSSES, "positions[first : first + size], K)", [
        ("positions[first : first + size] - 1, K)", "stream", f"{SHOWN} | {IN_LOSSES}"),
    ]),
    *bugs(LOSSES, "first + size], K))", [
        ("first + size], K), h_mask=np.full((len(positions), H), 0.7, p.flat.dtype))", "dropout", SHOWN),
    ]),
    *bugs(LOSSES, "return np.concatenate(found)", [
        ("return np.concatenate(found)[:-1]", "plain", f"{SHOWN} | {IN_LOSSES}"),
        ("return np.concatenate([each[:1] for each in found])", "plain", f"{SHOWN} | {IN_LOSSES}"),
    ]),
    *bugs(SEE, "float(losses.mean(", [
        ("float(losses[: len(losses) // 2].mean(", "plain", f"{SHOWN} | {IN_SESSION}"),
        ("-float(losses.mean(", "plain", f"{SHOWN} | {IN_SESSION}"),
    ]),
    *bugs(SEE, "(self.corpus, split,", [
        ("(self.corpus, 'train',", "plain", "evaluation of the val split is wrong | of train"),
        ("(self.corpus, split if most < 1e5 else 'train',", "plain", "evaluation of the val split is wrong | of train"),
    ]),
    *bugs(SEE, "losses = threads.losses(", [
        ("positions = positions + 1; losses = threads.losses(", "plain", f"{SHOWN} | distinct"),
    ]),
]  # fmt: skip
