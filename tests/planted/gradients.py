"""Bugs in the backward operations, in the chain of them, and in the sum over the threads."""

from planted.planting import bugs

SCE, INPUT, WEIGHT = "softmax_cross_entropy_backward", "affine_backward_input", "affine_backward_weight"
BIAS, TANH, EMBED = "affine_backward_bias", "tanh_backward", "embedding_backward"
LOGITS, DH, DZ = f"dlogits is wrong | {SCE}", f"dh is wrong | {INPUT}", f"dz is wrong | {TANH}"
DW2, DB2, DC = f"dW2 is wrong | {WEIGHT}", f"db2 is wrong | {BIAS}", f"dC is wrong | {EMBED}"
SUM, DROP, WROTE = "p - y does not sum to zero", "dz is wrong | dropout_backward", "wrote into what it was given"
OP = "core.ops:"
PY = "return (probs - y) * share"
SLOPE = "return dh * (1 - h * h)"
MASKED, DX = "return upstream * mask", "return upstream @ W.T"
ENTRIES, PLACES = "entries.reshape(-1), demb.reshape(-1))", "reshape(V, D), ids)"
OPERATIONS = [
    *bugs(OP + SCE, PY, [
        ("return probs * share", "plain", f"{SUM} | {SCE}"),
        ("return (probs + y) * share", "plain", f"{SUM} | {SCE}"),
        ("return -y * share", "dropout", f"{SUM} | {SCE}"),
        ("return (probs - 0.9 * y) * share", "dropout", f"{SUM} | {SCE}"),
        ("return (probs - np.roll(y, 1, 0)) * share", "dropout", f"{LOGITS} | neighbouring row"),
        ("return (probs - np.roll(y, 1, 1)) * share", "large V", LOGITS),
        ("return (y - probs) * share", "dropout", f"{LOGITS} | sign is turned round"),
        ("return probs - y", "plain", f"{LOGITS} | 1/B of the mean is missing"),
        ("return (probs - y) * share * share", "plain", f"{LOGITS} | 16 times too small"),
        ("return (probs - y) / probs.shape[1]", "plain", f"{LOGITS} | divided by V, not by B"),
        ("return ((probs - y) * share).astype('f2').astype('f4')", "plain", SCE),
        ("return ((probs - y) * share).astype('f4').astype('f8')", "float64", SCE),
        ("return (probs - y) * np.nan", "plain", SCE),
        ("return (probs - y) / 0.0", "plain", SCE),
        ("return (probs - y) * share * probs * (1 - probs)", "plain", SCE),
    ]),
    *bugs(OP + "softmax", "return exps /", [("return 1.01 * exps /", "plain", f"{SUM} | look at softmax,")]),
    *bugs(OP + "softmax", "(exps, axis=-1", [("(exps, axis=0", "dropout", f"{SUM} | look at softmax,")]),
    *bugs(OP + "softmax", "return exps / np", [("return exps / 1; np", "plain", f"{SUM} | look at softmax,")]),
    *bugs(OP + "softmax", "exps = np.exp(", [("exps = np.exp2(", "plain", "dlogits is wrong | look at softmax,")]),
    *bugs(OP + INPUT, DX, [
        ("return -upstream @ W.T", "dropout", f"{DH} | sign is turned round"),
        ("return upstream @ abs(W.T)", "dropout", DH),
        ("return upstream @ W.T.astype('f2').astype('f4')", "dropout", DH),
        ("return 2 * upstream @ W.T", "directions", f"{DH} | 2 times too large"),
        ("return upstream @ W[:, ::-1].T", "plain", DH),
        ("return upstream @ W", "widths", DH),
        ("return upstream @ W.T * np.inf", "directions", DH),
        ("return 0 * upstream @ W.T", "dropout", f"{DH} | all zero"),
        ("return (upstream - upstream.mean(0)) @ W.T", "dropout", DH),
    ]),
    *bugs(OP + WEIGHT, "(x.T,", [
        ("(-x.T,", "dropout", f"{DW2} | sign is turned round"),
        ("(0.5 * x.T,", "threads", f"{DW2} | 2 times too small"),
        ("(x.T / len(x),", "directions", f"{DW2} | 1/B was taken once more"),
    ]),
    *bugs(OP + WEIGHT, "(x.T, upstream", [("(x[-1:].T, upstream[-1:]", "dropout", f"{DW2} | one example alone")]),
    *bugs(OP + WEIGHT, "(x.T,", [
        ("(np.roll(x, 1, 0).T,", "plain", DW2),
        ("(abs(x.T),", "directions", DW2),
    ]),
    *bugs(OP + WEIGHT, "(x.T, upstream", [("(upstream.T, x", "widths", f"{DW2} | transposed")]),
    *bugs(OP + WEIGHT, "(x.T,", [
        ("(x.T.astype('f2').astype('f4'),", "dropout", DW2),
        ("(x.T * np.nan,", "plain", DW2),
    ]),
    *bugs(OP + BIAS, ", upstream, out", [
        (", upstream / len(upstream), out", "dropout", DB2),
        (", -upstream, out", "dropout", f"{DB2} | sign is turned round"),
        (", upstream[-1:].repeat(len(upstream), 0) / len(upstream), out", "plain", f"{DB2} | one example alone"),
        (", abs(upstream), out", "directions", DB2),
        (", 0 * upstream, out", "directions", f"{DB2} | all zero"),
        (", upstream[:, ::-1], out", "plain", DB2),
        (", upstream * 1.001, out", "dropout", DB2),
    ]),
    *bugs(OP + TANH, SLOPE, [
        ("return dh * (1 - h)", "dropout", f"{DZ} | square is missing"),
        ("return dh * (1 + h * h)", "large V", f"{DZ} | plus for minus"),
        ("return dh * (h * h - 1)", "directions", f"{DZ} | sign"),
        ("return dh * h * (1 - h)", "plain", f"{DZ} | logistic"),
        ("return dh.copy()", "plain", f"{DZ} | slope of tanh is missing"),
        ("return 1 - h * h", "directions", f"{DZ} | local slope alone"),
        ("return dh * (1 - np.tanh(h) ** 2)", "plain", f"{DZ} | taken twice"),
        ("return dh * (1 - h * h) ** 2", "float64", f"{DZ} | taken twice"),
        ("return dh * (1 - np.arctanh(h) ** 2)", "dropout", DZ),
        ("return dh / (1 - h * h)", "threads", f"{DZ} | divided"),
        ("return dh * (h > 0)", "plain", f"{DZ} | ReLU"),
        ("return dh * (1 - h * h) / 0.0", "plain", DZ),
        ("return dh * (1 - 0.999 * h * h)", "plain", DZ),
    ]),
    *bugs(OP + "dropout_backward", MASKED, [
        ("return upstream + 0", "dropout", DROP),
        ("return upstream * mask * mask", "directions", DROP),
        ("return upstream * (mask > 0)", "dropout", DROP),
        ("return upstream * mask[::-1]", "large V", DROP),
    ]),
    *bugs(OP + EMBED, f"np.add.at(dC.reshape(-1), {ENTRIES}", [("dC[ids] = demb", "dropout", f"{DC} | overwritten")]),
    *bugs(OP + EMBED, ENTRIES, [
        (ENTRIES + "; dC /= np.maximum(1, np.bincount(ids.reshape(-1), minlength=V))[:, None]", "plain", DC),
    ]),
    *bugs(OP + EMBED, PLACES, [
        ("reshape(V, D), np.roll(ids, 1, 0))", "dropout", DC),
        ("reshape(V, D), ids[:, ::-1])", "large V", f"{DC} | context reversed"),
        ("reshape(V, D), 0 * ids)", "dropout", DC),
    ]),
    *bugs(OP + EMBED, ENTRIES, [
        ("entries[:, -1].reshape(-1), demb[:, -1].reshape(-1))", "directions", f"{DC} | one place"),
        ("entries.reshape(-1), -demb.reshape(-1))", "directions", f"{DC} | sign"),
        (ENTRIES + "; dC += 1e-6", "large V", DC),
        (ENTRIES + "; dC *= np.nan", "plain", DC),
    ]),
    *bugs(OP + EMBED, "dC[...] = 0", [("pass", "dropout", DC)]),
    *bugs(OP + EMBED, PLACES, [("reshape(V, D), lasting.setdefault('ids', ids))", "dropout", DC)]),
]  # fmt: skip

FORWARD, BACKWARD = "core.model:forward", "core.model:backward"
Z, L, IN_MODEL = (
    "z is wrong | look at forward in model.py",
    "logits is wrong | look at forward in model.py",
    "backward in model.py",
)
CHAIN = [
    *bugs(FORWARD, "p.W1, p.b1", [("p.W1, 0 * p.b1", "plain", "z is wrong | bias is missing | forward in model.py")]),
    *bugs(FORWARD, "(h, p.W2", [
        ("(tanh, p.W2", "dropout", L),
        ("(np.roll(h, 1, 0), p.W2", "plain", L),
    ]),
    *bugs(FORWARD, "activate(tanh, batch.h_mask)", [
        ("activate(tanh, batch.h_mask > 0)", "dropout", "h is wrong | not scaled"),
        ("activate(tanh, None)", "dropout", "h is wrong | not applied"),
    ]),
    *bugs(BACKWARD, "(a.h, dlogits", [
        ("(a.tanh, dlogits", "dropout", f"dW2 is wrong | {IN_MODEL}"),
        ("(np.arctanh(a.h), dlogits", "plain", f"dW2 is wrong | {IN_MODEL}"),
    ]),
    *bugs(BACKWARD, "(dlogits, p.W2)", [
        ("(dlogits, np.sign(p.W2))", "plain", f"dh is wrong | {IN_MODEL}"),
        ("(dlogits, p.W2 - g.W2)", "plain", f"dh is wrong | {IN_MODEL} | W2 had moved already"),
    ]),
    *bugs(BACKWARD, "(dtanh, a.tanh)", [("(dtanh, a.h)", "dropout", f"dz is wrong | {IN_MODEL}")]),
    *bugs(BACKWARD, "dh if batch.h_mask is None else", [("dh if True else", "dropout", f"dz is wrong | {IN_MODEL}")]),
    *bugs(BACKWARD, "(dz, out=g.b1)", [
        ("(dh, out=g.b1)", "plain", f"db1 is wrong | {IN_MODEL} | slope of tanh was skipped"),
        ("(dz[1:], out=g.b1)", "plain", f"db1 is wrong | {IN_MODEL}"),
    ]),
    *bugs(BACKWARD, "(a.emb, dz,", [
        ("(a.emb, dh,", "plain", f"dW1 is wrong | {IN_MODEL} | slope of tanh was skipped"),
    ]),
    *bugs(BACKWARD, "(dz, p.W1)", [
        ("(dh, p.W1)", "dropout", f"demb is wrong | {IN_MODEL} | slope of tanh was skipped"),
        ("(dz, p.W1[::-1])", "large V", f"demb is wrong | {IN_MODEL}"),
    ]),
    *bugs(BACKWARD, "demb if batch.emb_mask is None else", [
        ("demb if True else", "dropout", f"dC is wrong | {IN_MODEL}"),
    ]),
    *bugs(BACKWARD, "batch.contexts, V,", [
        ("np.roll(batch.contexts, 1, 0), V,", "dropout", f"dC is wrong | {IN_MODEL}"),
    ]),
    *bugs(BACKWARD, "return Inner", [
        ("np.clip(g.flat, -1e-3, 1e-3, out=g.flat); return Inner", "plain", f"dW2 is wrong | {IN_MODEL}"),
        ("g.flat *= -1; return Inner", "plain", f"dW2 is wrong | {IN_MODEL} | sign"),
        ("g.flat[...] += 0.1 * p.flat; return Inner", "plain", f"dW2 is wrong | {IN_MODEL} | weight decay"),
    ]),
    *bugs(BACKWARD, "out=g.W1)", [("out=g.W1 + 0)", "plain", f"dW1 is wrong | {IN_MODEL} | all zero")]),
    *bugs(OP + TANH, "return dh", [
        ("h *= 0.5; return dh", "plain", f"tanh_backward {WROTE}: look at line 3 of planted.py: h *= 0.5"),
    ]),
    *bugs(OP + "dropout_backward", "return upstream", [
        ("upstream *= 0.5; return upstream", "dropout", f"dropout_backward {WROTE}"),
    ]),
    *bugs(OP + WEIGHT, "return np", [("x *= 0.5; return np", "plain", f"affine_backward_weight {WROTE}")]),
    *bugs(OP + BIAS, "return np", [("upstream *= 2; return np", "plain", f"affine_backward_bias {WROTE}")]),
    *bugs(OP + INPUT, "return upstream", [("W *= 0.99; return upstream", "dropout", f"affine_backward_input {WROTE}")]),
    *bugs(OP + "embedding", "return C", [("C *= 0.99; return C", "dropout", f"embedding {WROTE}")]),
    *bugs(OP + "dropout", "return x", [("mask *= 2; return x", "dropout", f"dropout {WROTE}")]),
]  # fmt: skip

THREADS, ADD, PART = (
    "runs.threads:gradients",
    "g.flat += other.flat",
    "(p, own, batch.rows(part), share)",
)
PARTS = "look at gradients in threads.py"
SHARE = "share = 1 / len(batch.targets)"
SUMS = [
    *bugs(THREADS, ADD, [
        ("pass", "threads", f"dW2 is wrong | {PARTS}"),
        ("g.flat[...] = other.flat", "threads", f"dW2 is wrong | {PARTS}"),
        ("g.flat += 2 * other.flat", "threads", f"dW2 is wrong | {PARTS}"),
        ("g.flat -= other.flat", "threads", f"dW2 is wrong | {PARTS}"),
        (ADD + "; g.flat /= 2", "threads", f"dW2 is wrong | {PARTS} | halved"),
        (ADD + "; g.flat += 0.01 * p.flat", "threads", f"dW2 is wrong | {PARTS} | weight decay"),
        (ADD + "; g.flat[7] *= 1.001", "threads", f"dC is wrong | {PARTS}"),
        ("g.flat[...] += other.flat.astype('f2')", "threads", PARTS),
    ]),
    *bugs(THREADS, PART, [
        (PART.replace("share", "share * (1 + (own is not g))"), "threads", f"dlogits is wrong | {PARTS}"),
        (PART.replace("own", "g"), "threads", PARTS),
    ]),
    *bugs(THREADS, "batch, 1 / len(batch.targets))", [
        ("batch, 1.0)", "plain", f"dlogits is wrong | {PARTS} | 1/B of the mean is missing"),
    ]),
    *bugs(THREADS, SHARE, [
        (SHARE + " / threads", "threads", f"dlogits is wrong | {PARTS} | halved"),
    ]),
]  # fmt: skip
