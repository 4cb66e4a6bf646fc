"""The lecture's exercise as its students write it, whole, in NumPy and in PyTorch, and with each mistake in turn."""

NUMPY = """\
dlogprobs = np.zeros_like(logprobs)
dlogprobs[range(n), Yb] = -1.0 / n
dprobs = (1.0 / probs) * dlogprobs
dcounts_sum_inv = (counts * dprobs).sum(1, keepdims=True)
dcounts = counts_sum_inv * dprobs
dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv
dcounts += np.ones_like(counts) * dcounts_sum
dnorm_logits = counts * dcounts
dlogits = dnorm_logits.copy()
dlogit_maxes = (-dnorm_logits).sum(1, keepdims=True)
dlogits += np.eye(V)[logits.argmax(1)] * dlogit_maxes
dh = dlogits @ W2.T
dW2 = h.T @ dlogits
db2 = dlogits.sum(0)
dhpreact = (1.0 - h**2) * dh
dembcat = dhpreact @ W1.T
dW1 = embcat.T @ dhpreact
db1 = dhpreact.sum(0)
demb = dembcat.reshape(emb.shape)
dC = np.zeros_like(C)
for k in range(Xb.shape[0]):
    for j in range(Xb.shape[1]):
        ix = Xb[k, j]
        dC[ix] += demb[k, j]

cmp('logprobs', dlogprobs, logprobs)
cmp('probs', dprobs, probs)
cmp('counts_sum_inv', dcounts_sum_inv, counts_sum_inv)
cmp('counts_sum', dcounts_sum, counts_sum)
cmp('counts', dcounts, counts)
cmp('norm_logits', dnorm_logits, norm_logits)
cmp('logit_maxes', dlogit_maxes, logit_maxes)
cmp('logits', dlogits, logits)
cmp('h', dh, h)
cmp('W2', dW2, W2)
cmp('b2', db2, b2)
cmp('hpreact', dhpreact, hpreact)
cmp('embcat', dembcat, embcat)
cmp('W1', dW1, W1)
cmp('b1', db1, b1)
cmp('emb', demb, emb)
cmp('C', dC, C)
"""

IN_TORCH = {
    "np.zeros_like": "torch.zeros_like",
    "np.ones_like": "torch.ones_like",
    "keepdims": "keepdim",
    ".copy()": ".clone()",
    "np.eye(V)[logits.argmax(1)]": "F.one_hot(logits.max(1).indices, num_classes=logits.shape[1])",
    "dembcat.reshape(emb.shape)": "dembcat.view(emb.shape)",
}


def in_torch(text: str) -> str:
    """The same in the words of PyTorch."""
    for numpy, torch in IN_TORCH.items():
        text = text.replace(numpy, torch)
    return text


# What stands in place of which line, and what has to be said of which gradient.
MISTAKES = [
    ("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs[range(n), Yb] = -1.0", "logprobs", "1/n of the mean is missing"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs += -1.0 / n", "logprobs", "-1 / n at all places"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs[range(n), Yb] = 1.0 / n", "logprobs", "the sign is turned round"),
    ("(1.0 / probs) * dlogprobs", "probs * dlogprobs", "probs", "the slope of log x is 1/x"),
    ("(1.0 / probs) * dlogprobs", "1.0 / probs", "probs", "the local slope alone"),
    ("(1.0 / probs) * dlogprobs", "dlogprobs / logprobs", "probs", "dlogprobs / logprobs"),
    ("(counts * dprobs).sum(1, keepdims=True)", "counts * dprobs", "counts_sum_inv", "sum over the characters, axis 1"),
    ("(counts * dprobs).sum(1, keepdims=True)", "(counts * dprobs).sum(1)", "counts_sum_inv", "keepdims?"),
    ("(counts * dprobs).sum(1, keepdims=True)", "dprobs.sum(1, keepdims=True)", "counts_sum_inv", "times counts"),
    ("(-counts_sum**-2) * dcounts_sum_inv", "counts_sum**-2 * dcounts_sum_inv", "counts_sum", "the minus is missing"),
    ("(-counts_sum**-2) * dcounts_sum_inv", "-1 / counts_sum * dcounts_sum_inv", "counts_sum", "the square is missing"),
    ("(-counts_sum**-2) * dcounts_sum_inv", "-counts_sum**-2", "counts_sum", "the local slope alone"),
    ("dcounts += np.ones_like(counts) * dcounts_sum\n", "", "counts", "the branch through counts_sum is missing"),
    ("dcounts += np.ones_like(counts) * dcounts_sum", "dcounts = np.ones_like(counts) * dcounts_sum", "counts",
     "the branch through probs is missing"),
    ("dcounts += np.ones_like(counts) * dcounts_sum", "dcounts -= np.ones_like(counts) * dcounts_sum", "counts",
     "the branches are added"),
    ("counts * dcounts", "dcounts", "norm_logits", "the slope of exp is missing"),
    ("counts * dcounts", "norm_logits * dcounts", "norm_logits", "exp is its own slope"),
    ("counts * dcounts", "dcounts / counts", "norm_logits", "the slope multiplies"),
    ("(-dnorm_logits).sum(1, keepdims=True)", "-dnorm_logits", "logit_maxes", "sum over the characters, axis 1"),
    ("(-dnorm_logits).sum(1, keepdims=True)", "(-dnorm_logits).sum(1)", "logit_maxes", "keepdims?"),
    ("dlogits = dnorm_logits.copy()", "dlogits = np.zeros_like(logits)", "logits", "the branch through norm_logits is"),
    ("dlogits = dnorm_logits.copy()", "dlogits = 2 * dnorm_logits", "logits", "doubled"),
    ("dlogits @ W2.T", "dlogits @ dW2.T", "h", "NameError: name 'dW2' is not defined"),
    ("h.T @ dlogits", "hpreact.T @ dlogits", "W2", "the layer's input is h, after tanh"),
    ("dlogits.sum(0)", "dlogits.sum(0, keepdims=True)", "b2", "keepdims?, and is otherwise right"),
    ("(1.0 - h**2) * dh", "(1.0 - h) * dh", "z", "the square is missing"),
    ("(1.0 - h**2) * dh", "(1.0 - hpreact**2) * dh", "z", "z where h belongs"),
    ("dhpreact @ W1.T", "dh @ W1.T", "emb", "the slope of tanh was skipped"),
    ("embcat.T @ dhpreact", "dhpreact.T @ embcat", "W1", "it is transposed and otherwise right"),
    ("dhpreact.sum(0)", "dhpreact.mean(0)", "b1", "a mean where a sum belongs"),
    ("dC[ix] += demb[k, j]", "dC[ix] = demb[k, j]", "C", "a repeated character was overwritten"),
    ("dC[ix] += demb[k, j]", "dC[ix] += emb[k, j]", "C", "emb for demb"),
]  # fmt: skip
