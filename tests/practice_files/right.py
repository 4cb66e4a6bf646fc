"""Right ways to write the nine links."""

BY_LINK = {
    "logits": [
        "dlogits = (p - y) / B",
        "dlogits = p.copy()\ndlogits[np.arange(B), Y] -= 1\ndlogits /= B",
        "dlogits = -(y - p) * (1.0 / n)",
        "e = np.exp(logits)\nq = e / e.sum(1, keepdims=True)\nq[range(n), Yb] -= 1\ndlogits = q / n",
        "dp = -y / p / B\ndlogits = p * (dp - (dp * p).sum(1, keepdims=True))",
        "dlogits = np.zeros((B, V))\nfor b in range(B):\n    for v in range(V):\n"
        "        dlogits[b, v] = (p[b, v] - (v == Y[b])) / B",
        "dlogits = np.array([(np.diag(q) - np.outer(q, q)) @ (-t / q) for q, t in zip(p, y)]) / B",
        "p[range(B), Y] -= 1\ndlogits = p / B",
        "dlogits = np.where(np.arange(V) == Y[:, None], p - 1, p) / np.float64(B)",
        "p, y, h, W2, emb, W1 = (a.astype(np.float32) for a in (p, y, h, W2, emb, W1))\ndlogits = (p - y) / B",
    ],
    "W2": [
        "dW2 = h.T @ dlogits",
        "dW2 = (dlogits.T @ h).T",
        "dW2 = np.einsum('bh,bv->hv', h, dlogits)",
        "dW2 = (h[:, :, None] * dlogits[:, None, :]).sum(0)",
        "dW2 = np.zeros_like(W2)\nfor b in range(B):\n    dW2 += h[b][:, None] * dlogits[b]",
        "dW2 = np.empty((H, V))\nnp.matmul(h.T, dlogits, out=dW2)",
    ],
    "b2": [
        "db2 = dlogits.sum(0)",
        "db2 = np.zeros(V)\nfor row in dlogits:\n    db2 += row",
        "db2 = B * dlogits.mean(axis=0)",
        "db2 = dlogits.sum(0, keepdims=True).reshape(-1)",
        "db2 = [sum(dlogits[b][v] for b in range(B)) for v in range(V)]",
    ],
    "h": [
        "dh = dlogits @ W2.T",
        "dh = np.einsum('bv,hv->bh', dlogits, W2)",
        "dh = np.array([W2 @ row for row in dlogits])",
        "dh = np.zeros((n, H))\nfor v in range(V):\n    dh += dlogits[:, v:v+1] * W2[:, v]",
        "dh = (dlogits.astype(np.float32) @ W2.T.astype(np.float32))",
    ],
    "z": [
        "dz = dh * (1 - h**2)",
        "dz = dh / np.cosh(z)**2",
        "dz = dh - dh * h * h",
        "dhpreact = (1.0 - h**2) * dh\ndz = dhpreact",
        "dz = dh.copy()\ndz *= (1 - h) * (1 + h)",
        "dz = np.array(dh)\nfor i in range(B):\n    for j in range(H):\n        dz[i, j] *= 1 - np.tanh(z[i, j])**2",
        "s = 1 / (1 + np.exp(-2 * z))\ndz = 4 * s * (1 - s) * dh",
        "h32 = h.astype(np.float32)\ndz = dh * (1 - h32 * h32)",
        "dz = np.empty_like(dh)\nnp.multiply(dh, 1 - np.square(h), out=dz)",
    ],
    "W1": [
        "dW1 = emb.T @ dz",
        "e = C[X]\ndW1 = np.einsum('bkd,bh->kdh', e, dz).reshape(K * D, H)",
        "dW1 = np.zeros_like(W1)\nfor b in range(B):\n    dW1 += np.outer(C[X[b]].reshape(-1), dz[b])",
        "dW1 = np.vstack([C[X[:, k]].T @ dz for k in range(K)])",
        "dW1 = np.ascontiguousarray(np.dot(dz.T, embcat).T)",
    ],
    "b1": [
        "db1 = dz.sum(0)",
        "db1 = np.zeros(H)\nfor i in range(B):\n    db1 = db1 + dz[i]",
    ],
    "emb": [
        "demb = dz @ W1.T",
        "demb = (dz @ W1.T).reshape(B, K, D)",
        "demb = np.stack([dz @ W1[k * D:(k + 1) * D].T for k in range(K)], axis=1)",
        "dembcat = (W1 @ dz.T).T\ndemb = dembcat.reshape(B, K, D)",
    ],
    "C": [
        "dC = np.zeros_like(C)\nnp.add.at(dC, X, demb.reshape(B, K, D))",
        "dC = np.eye(V)[X.reshape(-1)].T @ demb.reshape(-1, D)",
        "dC = np.zeros((V, D))\nfor i, x in enumerate(X.ravel()):\n    dC[x] += demb.reshape(-1, D)[i]",
        "dC = np.zeros_like(C)\nflat = dC.ravel()\nd = demb.reshape(-1, D)\nfor i, x in enumerate(X.reshape(-1)):\n"
        "    flat[x * D:(x + 1) * D] += d[i]",
        "d = demb.reshape(B, K, D)\ndC = np.array([d[X == v].sum(0) for v in range(V)])",
        "ids = X.reshape(-1)\ndC = np.stack([np.bincount(ids, demb.reshape(-1, D)[:, j], V) for j in range(D)], 1)",
    ],
}  # fmt: skip
RIGHT = [(link, lines) for link, several in BY_LINK.items() for lines in several]
