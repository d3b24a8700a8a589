"""Right answers in many styles: each must keep every point.

What a text asks for in words is part of the question (NumPy, no loops in notebook 1, central
differences, the generator ``rng``); everything else is the student's own choice.
"""

from __future__ import annotations

import textwrap

from tests.fairness.answers import Answer, function

RIGHT: list[Answer] = []


def _right(name: str, **bodies: str) -> None:
    """A style of some functions of one notebook, given by their bodies."""
    RIGHT.append(Answer(name, {where: function(where, body) for where, body in bodies.items()}))


def _cell(name: str, **codes: str) -> None:
    """A style whose cells hold more than a function, or define it in another way."""
    RIGHT.append(Answer(name, {where: textwrap.dedent(code).strip() + "\n" for where, code in codes.items()}))


# --- Notebook 1: relu -------------------------------------------------------------------

_right("np.where", relu="return np.where(z > 0, z, 0)")
_right("times its mask", relu="return z * (z > 0)")
_right("mean with the absolute value", relu="return (z + np.abs(z)) / 2")
_right("np.clip", relu="return np.clip(z, 0, None)")
_right("np.fmax", relu="return np.fmax(z, 0.0)")
_right("copy and mask", relu="result = np.array(z)\nresult[result < 0] = 0\nreturn result")
_right("np.putmask", relu="result = z.copy()\nnp.putmask(result, z < 0, 0)\nreturn result")
_right("np.zeros_like as second argument", relu="return np.maximum(np.zeros_like(z), z)")
_right("np.select", relu="return np.select([z > 0], [z], default=0)")
_right("out=", relu="result = np.empty_like(z)\nnp.maximum(z, 0, out=result)\nreturn result")
_right("always float", relu="return np.maximum(0.0, np.asarray(z, dtype=float))")
_right("np.heaviside", relu="return z * np.heaviside(z, 0)")
_cell("lambda", relu="relu = lambda z: np.maximum(z, 0)")
_cell(
    "NumPy's function under another name",
    relu="def relu(z):\n    return positive(z)\n\n\ndef positive(z):\n    return np.maximum(z, 0)",
)
_cell(
    "annotations and a docstring",
    relu='''
    import numpy.typing as npt


    def relu(z: npt.NDArray) -> npt.NDArray:
        """The positive part.

        for every entry while z > 0
        """
        return np.maximum(z, 0)
    ''',
)
_cell(
    "class behind it",
    relu="""
    class ReLU:
        def __call__(self, z):
            return np.maximum(z, 0)


    def relu(z):
        return ReLU()(z)
    """,
)

# --- Notebook 1: softmax ----------------------------------------------------------------

_right(
    "log-sum-exp of SciPy",
    softmax="from scipy.special import logsumexp\nreturn np.exp(z - logsumexp(z, axis=1, keepdims=True))",
)
_right(
    "new axes for keepdims",
    softmax="""
    exponentials = np.exp(z - np.max(z, axis=1)[:, np.newaxis])
    return exponentials / np.sum(exponentials, axis=1)[:, None]
    """,
)
_right("transposed", softmax="e = np.exp(z.T - z.max(axis=1))\nreturn (e / e.sum(axis=0)).T")
_right("last axis", softmax="z = z - z.max(-1, keepdims=True)\nz = np.exp(z)\nz /= z.sum(-1, keepdims=True)\nreturn z")
_right(
    "einsum and reshape",
    softmax="""
    e = np.exp(z - np.amax(z, axis=1).reshape(-1, 1))
    return np.einsum("ik,i->ik", e, 1 / e.sum(axis=1))
    """,
)
_right(
    "division by a product with ones",
    softmax="e = np.exp(z - z.max(axis=1, keepdims=True))\nreturn e / (e @ np.ones((z.shape[1], z.shape[1])))",
)
_right(
    "assert and early return",
    softmax="""
    assert z.ndim == 2, "rows are samples"
    if z.shape[1] == 1:
        return np.ones_like(z)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    assert np.allclose(p.sum(axis=1), 1)
    return p
    """,
)
_right("logaddexp", softmax="return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))")
_right(
    "divide and subtract",
    softmax="e = np.exp(np.subtract(z, z.max(1, keepdims=True)))\nreturn np.divide(e, e.sum(1, keepdims=True))",
)
_right(
    "warnings as errors",
    softmax="""
    with np.errstate(all="raise", under="ignore"):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    """,
)

# --- Notebook 1: forward ----------------------------------------------------------------

_right(
    "np.dot and np.add",
    forward="""
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    z2 = np.add(np.dot(X, W1), b1)
    a2 = relu(z2)
    z3 = a2.dot(W2) + b2
    a3 = softmax(z3)
    return dict(z2=z2, a2=a2, z3=z3, a3=a3)
    """,
)
_right(
    "einsum",
    forward="""
    z2 = np.einsum("nd,dh->nh", X, params["W1"]) + params["b1"]
    a2 = np.maximum(z2, 0)
    z3 = np.einsum("nh,hk->nk", a2, params["W2"]) + params["b2"]
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
)
_right(
    "bias as a further feature",
    forward="""
    one = np.ones((len(X), 1))
    z2 = np.hstack([X, one]) @ np.vstack([params["W1"], params["b1"]])
    a2 = relu(z2)
    z3 = np.hstack([a2, one]) @ np.vstack([params["W2"], params["b2"]])
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
)
_right(
    "extra keys and another order",
    forward="""
    cache = {"X": X}
    cache["z2"] = np.matmul(X, params["W1"]) + params["b1"].reshape(1, -1)
    cache["a2"] = relu(cache["z2"])
    cache["z3"] = np.matmul(cache["a2"], params["W2"]) + params["b2"].reshape(1, -1)
    cache["a3"] = softmax(cache["z3"])
    cache["scores"] = cache["a3"]
    return dict(reversed(cache.items()))
    """,
)
_right(
    "Fortran order",
    forward="""
    z2 = np.asfortranarray(X @ params["W1"] + params["b1"])
    a2 = np.asfortranarray(relu(z2))
    z3 = np.asfortranarray(a2 @ params["W2"] + params["b2"])
    return {"z2": z2, "a2": a2, "z3": z3, "a3": np.asfortranarray(softmax(z3))}
    """,
)
_right(
    "loop over the layers",
    forward="""
    values, a = {}, X
    for layer, activation in ((2, relu), (3, softmax)):
        z = a @ params[f"W{layer - 1}"] + params[f"b{layer - 1}"]
        a = activation(z)
        values[f"z{layer}"], values[f"a{layer}"] = z, a
    return values
    """,
)
_right(
    "comprehension over the names, float64",
    forward="""
    X = np.asarray(X, dtype=np.float64)
    W1, b1, W2, b2 = (np.asarray(params[name], dtype=np.float64) for name in ("W1", "b1", "W2", "b2"))
    z2 = X @ W1 + b1
    a2 = relu(z2)
    z3 = a2 @ W2 + b2
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
)
_right(
    "nested function",
    forward="""
    def layer(values, number):
        return values @ params[f"W{number}"] + params[f"b{number}"]

    a2 = relu(z2 := layer(X, 1))
    a3 = softmax(z3 := layer(a2, 2))
    return {"z2": z2, "a2": a2, "z3": z3, "a3": a3}
    """,
)
_cell(
    "class for a layer",
    forward="""
    class Linear:
        def __init__(self, W, b):
            self.W, self.b = W, b

        def __call__(self, x):
            return x @ self.W + self.b


    def forward(params, X):
        layers = [Linear(params["W1"], params["b1"]), Linear(params["W2"], params["b2"])]
        z2 = layers[0](X)
        a2 = relu(z2)
        z3 = layers[1](a2)
        return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
)
_right(
    "all arrays transposed and back",
    forward="""
    z2 = (params["W1"].T @ X.T + params["b1"][:, None]).T
    a2 = relu(z2)
    z3 = (params["W2"].T @ a2.T + params["b2"][:, None]).T
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
)
_right(
    "values in Python's lists",
    forward="""
    z2 = X @ params["W1"] + params["b1"]
    a2 = relu(z2)
    z3 = a2 @ params["W2"] + params["b2"]
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3).tolist()}
    """,
)

# --- Notebook 1: softmax_cross_entropy and loss -----------------------------------------

_right(
    "one-hot matrix",
    softmax_cross_entropy="""
    Y = np.eye(z3.shape[1])[y]
    shifted = z3 - z3.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.sum(Y * log_p) / z3.shape[0]
    """,
)
_right(
    "SciPy's logsumexp",
    softmax_cross_entropy="""
    from scipy.special import logsumexp
    return np.mean(logsumexp(z3, axis=1) - z3[range(len(y)), y])
    """,
)
_right(
    "logaddexp",
    softmax_cross_entropy="""
    rows = np.indices(y.shape)[0]
    return float(np.average(np.logaddexp.reduce(z3, axis=1) - z3[rows, y]))
    """,
)
_right(
    "sum of differences to the true logit",
    softmax_cross_entropy="""
    m = z3.max(axis=1)
    true = z3[np.arange(z3.shape[0]), y]
    return ((m - true) + np.log(np.exp(z3 - m[:, None]).sum(axis=1))).mean(axis=0)
    """,
)
_right(
    "add.at for the one-hot matrix, einsum for the sum",
    softmax_cross_entropy="""
    n = y.shape[0]
    Y = np.zeros(z3.shape)
    np.add.at(Y, (np.arange(n), y), 1)
    shifted = z3 - z3.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return np.float64((log_sums.sum() - np.einsum("ik,ik->", Y, shifted)) / n)
    """,
)
_right(
    "comparison for the one-hot matrix",
    softmax_cross_entropy="""
    is_true = y[:, None] == np.arange(z3.shape[1])
    shifted = z3 - z3.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[is_true])
    """,
)
_right(
    "array of no axes returned",
    softmax_cross_entropy="""
    shifted = z3 - z3.max(axis=1, keepdims=True)
    return np.array(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]))
    """,
)
_cell(
    "helper in the same cell",
    softmax_cross_entropy="""
    def log_softmax(z):
        shifted = z - z.max(axis=1, keepdims=True)
        return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


    def softmax_cross_entropy(z3, y):
        rows = np.arange(len(y))
        return -log_softmax(z3)[rows, y].mean()
    """,
)
_right(
    "norms",
    loss="""
    squares = np.linalg.norm(params["W1"]) ** 2 + np.linalg.norm(params["W2"], "fro") ** 2
    return softmax_cross_entropy(forward(params, X)["z3"], y) + reg * squares
    """,
)
_right(
    "vdot and einsum",
    loss="""
    W1, W2 = params["W1"], params["W2"]
    data = softmax_cross_entropy(forward(params, X)["z3"], y)
    return data + reg * (np.vdot(W1, W1) + np.einsum("ij,ij->", W2, W2))
    """,
)
_right(
    "generator over the weights",
    loss="""
    data = softmax_cross_entropy(forward(params, X)["z3"], y)
    return data + reg * sum(np.square(params[name]).sum() for name in ("W1", "W2"))
    """,
)
_right(
    "loop over the keys that begin with W",
    loss="""
    total = softmax_cross_entropy(forward(params, X)["z3"], y)
    for name, array in params.items():
        if name.startswith("W"):
            total += reg * (array * array).sum()
    return total
    """,
)
_right(
    "probabilities, then -log",
    loss="""
    probabilities = forward(params, X)["a3"]
    data = -np.log(probabilities[np.arange(len(y)), y]).mean()
    return data + reg * (params["W1"].ravel() @ params["W1"].ravel() + np.power(params["W2"], 2).sum())
    """,
)
_right(
    "everything once more in the loss",
    loss="""
    N = X.shape[0]
    hidden = np.maximum(0, X.dot(params["W1"]) + params["b1"])
    scores = hidden.dot(params["W2"]) + params["b2"]
    scores = scores - np.max(scores, axis=1, keepdims=True)
    probs = np.exp(scores) / np.sum(np.exp(scores), axis=1, keepdims=True)
    data_loss = np.sum(-np.log(probs[np.arange(N), y])) / N
    reg_loss = reg * np.sum(params["W1"] * params["W1"]) + reg * np.sum(params["W2"] * params["W2"])
    return data_loss + reg_loss
    """,
)
_right(
    "no regularisation asked, none computed",
    loss="""
    data = softmax_cross_entropy(forward(params, X)["z3"], y)
    if reg == 0:
        return data
    return data + reg * np.sum([np.sum(params[name] ** 2) for name in ["W1", "W2"]])
    """,
)
_right(
    "trace",
    loss="""
    W1, W2 = params["W1"], params["W2"]
    return softmax_cross_entropy(forward(params, X)["z3"], y) + reg * (np.trace(W1.T @ W1) + np.trace(W2 @ W2.T))
    """,
)
_right(
    "reduce over the two weights",
    loss="""
    from functools import reduce
    squares = reduce(lambda total, name: total + np.sum(params[name] ** 2), ("W1", "W2"), 0.0)
    return softmax_cross_entropy(forward(params, X)["z3"], y) + reg * squares
    """,
)

# --- Notebook 2 -------------------------------------------------------------------------

_right(
    "by cases",
    dJ_dz3_symbolic="""
    total = sp.exp(z[0]) + sp.exp(z[1]) + sp.exp(z[2])
    gradient = [sp.exp(z[0]) / total, sp.exp(z[1]) / total, sp.exp(z[2]) / total]
    gradient[y] -= 1
    return gradient
    """,
)
_right(
    "one over a sum",
    dJ_dz3_symbolic="""
    return [1 / sum(sp.exp(other - own) for other in z) - sp.KroneckerDelta(k, y) for k, own in enumerate(z)]
    """,
)
_right(
    "column matrix, simplified",
    dJ_dz3_symbolic="""
    e = sp.Matrix([sp.exp(logit) for logit in z])
    p = e / sum(e)
    p[y] = p[y] - 1
    return sp.simplify(p)
    """,
)
_right("fancy index, in place", grad_z3="a3[np.arange(a3.shape[0]), y] -= 1\na3 /= a3.shape[0]\nreturn a3")
_right("identity matrix", grad_z3="return (a3 - np.eye(a3.shape[1])[y]) / a3.shape[0]")
_right(
    "identity matrix's rows, taken",
    grad_z3="return np.multiply(a3 - np.take(np.identity(a3.shape[-1]), y, axis=0), 1.0 / y.size)",
)
_right("comparison", grad_z3="return (a3 - (np.arange(a3.shape[1]) == y[:, None])) / len(a3)")
_right("np.subtract.at", grad_z3="g = a3.copy()\nnp.subtract.at(g, (np.arange(len(y)), y), 1)\nreturn g / len(y)")
_right(
    "loop over the samples",
    grad_z3="""
    gradient = []
    for row, label in zip(a3, y):
        one_hot = [1.0 if k == label else 0.0 for k in range(len(row))]
        gradient.append((row - np.array(one_hot)) / len(y))
    return np.array(gradient)
    """,
)
_right(
    "loops over samples and classes",
    grad_z3="""
    N, K = a3.shape
    gradient = np.empty((N, K))
    for i in range(N):
        for k in range(K):
            gradient[i, k] = (a3[i, k] - (k == y[i])) / N
    return gradient
    """,
)
_right(
    "einsum for every product",
    grad_W2='return np.einsum("nh,nk->hk", a2, dz3)',
    grad_b2='return np.einsum("nk->k", dz3)',
    grad_a2='return np.einsum("nk,hk->nh", dz3, W2)',
    grad_z2="return np.where(z2 > 0, da2, 0)",
    grad_W1='return np.einsum("nd,nh->dh", X, dz2)',
    grad_b1='return np.einsum("nh->h", dz2)',
)
_right(
    "np.dot and matmul",
    grad_W2="return np.dot(a2.T, dz3)",
    grad_b2="return np.sum(dz3, axis=0)",
    grad_a2="return np.matmul(dz3, np.transpose(W2))",
    grad_z2="da2[z2 <= 0] = 0\nreturn da2",
    grad_W1="return X.T.dot(dz2)",
    grad_b1="return np.add.reduce(dz2, axis=0)",
)
_right(
    "products with ones, transposes of transposes",
    grad_W2="return (dz3.T @ a2).T",
    grad_b2="return np.ones(dz3.shape[0]) @ dz3",
    grad_a2="return (W2 @ dz3.T).T",
    grad_W1="return np.tensordot(X, dz2, axes=(0, 0))",
    grad_b1="return dz2.T @ np.ones(len(dz2))",
)
_right(
    "sums of outer products",
    grad_W2="return sum(np.outer(a, d) for a, d in zip(a2, dz3))",
    grad_b2="return sum(dz3)",
    grad_a2="return np.array([W2 @ row for row in dz3])",
    grad_W1="total = 0\nfor x, d in zip(X, dz2):\n    total = total + x[:, None] * d[None, :]\nreturn total",
    grad_b1="return [column.sum() for column in dz2.T]",
)
_right("ReLU'(0) = 1", grad_z2="return da2 * (z2 >= 0)")
_right("ReLU'(0) = 1/2", grad_z2="return da2 * np.heaviside(z2, 0.5)")
_right("float mask", grad_z2="mask = np.zeros(z2.shape)\nmask[z2 > 0] = 1.0\nreturn np.multiply(da2, mask)")
_right("mask of the activations", grad_z2="a2 = np.maximum(z2, 0)\nreturn np.where(a2 == 0, 0.0, da2)")
_right("sign of the activations", grad_z2="return da2 * np.sign(np.maximum(z2, 0))")
_right("masked array, filled", grad_z2="return np.ma.masked_array(da2, mask=z2 <= 0).filled(0)")
_right(
    "mean of the outer products, N multiplied in again",
    grad_W1="N = len(X)\nreturn N * np.mean(X[:, :, None] * dz2[:, None, :], axis=0)",
)
_right(
    "one function for all",
    backward="""
    N = X.shape[0]
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    hidden = np.maximum(0, X.dot(W1) + b1)
    scores = hidden.dot(W2) + b2
    exp_scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    dscores = exp_scores / np.sum(exp_scores, axis=1, keepdims=True)
    dscores[range(N), y] -= 1
    dscores /= N
    grads = {}
    grads["W2"] = np.dot(hidden.T, dscores)
    grads["b2"] = np.sum(dscores, axis=0)
    dhidden = np.dot(dscores, W2.T)
    dhidden[hidden <= 0] = 0
    grads["W1"] = np.dot(X.T, dhidden)
    grads["b1"] = np.sum(dhidden, axis=0)
    grads["W2"] += reg * W2 * 2
    grads["W1"] += reg * W1 * 2
    return grads
    """,
)
_right(
    "extra keys, another order",
    backward="""
    values = forward(params, X)
    grads = {"z3": grad_z3(values["a3"], y)}
    grads["a2"] = grad_a2(grads["z3"], params["W2"])
    grads["z2"] = grad_z2(grads["a2"], values["z2"])
    grads["b1"] = grad_b1(grads["z2"]).reshape(-1)
    grads["b2"] = grad_b2(grads["z3"])
    grads["W2"] = grad_W2(values["a2"], grads["z3"])
    grads["W1"] = grad_W1(X, grads["z2"])
    for name in ("W1", "W2"):
        grads[name] = grads[name] + reg * (params[name] + params[name])
    return grads
    """,
)
_right(
    "mean at the end",
    backward="""
    values = forward(params, X)
    N = len(y)
    error = values["a3"].copy()
    error[np.arange(N), y] -= 1.0
    hidden_error = (error @ params["W2"].T) * (values["a2"] > 0)
    return {
        "b2": error.mean(axis=0),
        "W2": values["a2"].T @ error / N + 2 * reg * params["W2"],
        "b1": hidden_error.mean(axis=0),
        "W1": X.T @ hidden_error / N + 2 * reg * params["W1"],
    }
    """,
)
_right(
    "dict comprehension for the regularisation",
    backward="""
    v = forward(params, X)
    dz3 = grad_z3(v["a3"], y)
    dz2 = grad_z2(grad_a2(dz3, params["W2"]), v["z2"])
    data = {"W1": grad_W1(X, dz2), "b1": grad_b1(dz2), "W2": grad_W2(v["a2"], dz3), "b2": grad_b2(dz3)}
    strength = {"W1": reg, "W2": reg, "b1": 0, "b2": 0}
    return {name: data[name] + 2 * strength[name] * params[name] for name in params}
    """,
)
_right(
    "sample by sample",
    backward="""
    v = forward(params, X)
    grads = {name: np.zeros(array.shape) for name, array in params.items()}
    for i in range(len(y)):
        d = v["a3"][i].copy()
        d[y[i]] -= 1
        h = params["W2"] @ d * (v["z2"][i] > 0)
        grads["W2"] += np.outer(v["a2"][i], d) / len(y)
        grads["b2"] += d / len(y)
        grads["W1"] += np.outer(X[i], h) / len(y)
        grads["b1"] += h / len(y)
    grads["W1"] += 2 * reg * params["W1"]
    grads["W2"] += 2 * reg * params["W2"]
    return grads
    """,
)

# --- Notebook 3 -------------------------------------------------------------------------

_right(
    "np.nditer, in place and put back",
    numerical_gradient="""
    grad = np.zeros_like(x)
    it = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    while not it.finished:
        ix = it.multi_index
        oldval = x[ix]
        x[ix] = oldval + h
        fxph = f(x)
        x[ix] = oldval - h
        fxmh = f(x)
        x[ix] = oldval
        grad[ix] = (fxph - fxmh) / (2 * h)
        it.iternext()
    return grad
    """,
)
_right(
    "flat index on a copy",
    numerical_gradient="""
    point = np.array(x, dtype=float)
    gradient = []
    for i in range(point.size):
        value = point.flat[i]
        point.flat[i] = value + h
        above = f(point)
        point.flat[i] = value - h
        gradient.append((above - f(point)) / h / 2)
        point.flat[i] = value
    return np.reshape(gradient, x.shape)
    """,
)
_right(
    "unit arrays",
    numerical_gradient="""
    def quotient(i):
        step = np.zeros(x.size)
        step[i] = h
        step = step.reshape(x.shape)
        return (f(x + step) - f(x - step)) / (2 * h)

    return np.array([quotient(i) for i in range(x.size)]).reshape(x.shape)
    """,
)
_right(
    "np.vectorize and ndenumerate",
    numerical_gradient="""
    gradient = np.empty(np.shape(x))
    for index, value in np.ndenumerate(x):
        above, below = x.copy(), x.copy()
        above[index], below[index] = value + h, value - h
        gradient[index] = 0.5 * (f(above) - f(below)) / h
    return gradient
    """,
)
_right(
    "halves",
    numerical_gradient="""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        plus = np.copy(x)
        plus[index] += h
        minus = np.copy(x)
        minus[index] -= h
        gradient[index] = f(plus) / (2 * h) - f(minus) / (2 * h)
    return gradient
    """,
)
_right("NumPy scalar", relative_error="return (np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))).max()")
_right(
    "arrays made first, list of quotients",
    relative_error="""
    a, b = np.ravel(a), np.ravel(b)
    return max(abs(p - q) / max(1e-8, abs(p) + abs(q)) for p, q in zip(a, b))
    """,
)
_right(
    "np.clip for the lower limit",
    relative_error="return np.max(np.abs(np.subtract(b, a)) / np.clip(np.abs(a) + np.abs(b), 1e-8, None))",
)
_right(
    "np.where for the lower limit",
    relative_error="""
    total = np.abs(a) + np.abs(b)
    return np.amax(abs(a - b) / np.where(total < 1e-8, 1e-8, total))
    """,
)
_right(
    "params changed and put back",
    check_gradients="""
    errors = dict()
    for name in grads:
        kept = params[name]

        def f(W):
            params[name] = W
            return loss_fn(params)

        numerical = numerical_gradient(f, kept.copy())
        params[name] = kept
        errors[name] = relative_error(numerical, grads[name])
    return errors
    """,
)
_right(
    "in place, dict comprehension",
    check_gradients="""
    return {
        name: relative_error(numerical_gradient(lambda _: loss_fn(params), params[name]), grads[name])
        for name in sorted(params)
    }
    """,
    numerical_gradient="""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        values = []
        for sign in (1, -1):
            x[index] = kept + sign * h
            values.append(f(x))
        x[index] = kept
        gradient[index] = (values[0] - values[1]) / (2 * h)
    return gradient
    """,
)

_POINT = """
rng = np.random.default_rng(0)
params, X, y = toy_problem()
biased = {name: array + 0.3 * rng.standard_normal(array.shape) for name, array in params.items()}
other_X, other_y = rng.standard_normal((9, 4)), np.arange(9) % 3
"""
_right(
    "one point for all",
    wrong_gradients=_POINT + "return dict.fromkeys('BCF', (biased, other_X, other_y, 0.2))",
)
_right(
    "lists, another network, more samples",
    wrong_gradients="""
    params = {"W1": np.ones((2, 3)), "b1": np.ones(3), "W2": np.eye(3, 2), "b2": np.zeros(2)}
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 1, 1])
    return {name: [params, X, y, 1] for name in ("F", "C", "B")}
    """,
)
_right(
    "found by trying",
    wrong_gradients=_POINT
    + """
evidence = {}
for name in "ABCDEF":
    got = candidate_gradients(name, biased, other_X, other_y, 0.2)
    errors = check_gradients(lambda p: loss(p, other_X, other_y, 0.2), biased, got)
    if max(errors.values()) > 1e-3:
        evidence[name] = biased, other_X, other_y, 0.2
return evidence
""",
)

# --- Notebook 4 -------------------------------------------------------------------------

_DRAW = "rng = np.random.default_rng(rng)\n"
_right("permutation", sample_batch=_DRAW + "rows = rng.permutation(len(X))[:batch_size]\nreturn X[rows], y[rows]")
_right(
    "choice without replacement",
    sample_batch=_DRAW
    + """rows = rng.choice(X.shape[0], min(batch_size, X.shape[0]), replace=False)
return X[rows, :], y[rows]""",
)
_right(
    "choice with replacement",
    sample_batch=_DRAW
    + """if len(X) <= batch_size:
    return X.copy(), y.copy()
mask = rng.choice(np.arange(len(X)), batch_size)
return np.take(X, mask, axis=0), np.take(y, mask)""",
)
_right(
    "window of neighbours",
    sample_batch=_DRAW
    + """first = rng.integers(max(len(X) - batch_size, 0) + 1)
return X[first : first + batch_size], y[first : first + batch_size]""",
)
_right(
    "shuffled together, a list returned",
    sample_batch=_DRAW
    + """order = np.arange(len(y))
rng.shuffle(order)
return [X[order[:batch_size]], y[order[:batch_size]]]""",
)
_right(
    "random keys sorted",
    sample_batch=_DRAW + "rows = np.argsort(rng.random(len(X)))[:batch_size]\nreturn X[rows], y[rows]",
)
_right(
    "rows sorted after the draw",
    sample_batch=_DRAW
    + """rows = np.sort(rng.permutation(len(X))[:batch_size])
return X[rows], y[rows]""",
)
_right(
    "in double precision, labels in a small type",
    sample_batch=_DRAW
    + """rows = rng.permutation(len(X))[:batch_size]
return X[rows].astype(np.float64), y[rows].astype(np.int32)""",
)
_right("probabilities", predict='return np.argmax(forward(params, X)["a3"], axis=1)')
_right(
    "without forward",
    predict="""
    hidden = np.maximum(X.dot(params["W1"]) + params["b1"], 0)
    return np.argmax(hidden.dot(params["W2"]) + params["b2"], axis=-1)
    """,
)
_right("list of integers", predict='return [int(np.argmax(row)) for row in forward(params, X)["z3"]]')
_right("sorted scores", predict='return np.argsort(forward(params, X)["z3"], axis=1)[:, -1].astype(np.int32)')
_TRAIN = """
rng = np.random.default_rng(rng)
params = {name: np.array(array) for name, array in params.items()}
loss_history, train_history, val_history = [], [], []
iterations_per_epoch = max(X.shape[0] // batch_size, 1)
for it in range(num_iters):
    X_batch, y_batch = sample_batch(X, y, batch_size, rng)
    loss_history.append(loss(params, X_batch, y_batch, reg))
    grads = backward(params, X_batch, y_batch, reg)
    for name in params:
        params[name] -= learning_rate * grads[name]
    if (it + 1) % iterations_per_epoch == 0:
        train_history.append(np.mean(predict(params, X[:1000]) == y[:1000]))
        val_history.append((predict(params, X_val) == y_val).mean())
        learning_rate *= learning_rate_decay
return params, {"loss": loss_history, "train_accuracy": train_history, "val_accuracy": val_history}
"""
_right("in place, NumPy scalars in the history", train=_TRAIN)
_right(
    "arrays in the history, extra keys",
    train=_TRAIN.replace('{"loss": loss_history', '{"rate": learning_rate, "loss": np.array(loss_history)'),
)
_right(
    "two loops, epochs and iterations",
    train="""
    rng = np.random.default_rng(rng)
    W1, b1, W2, b2 = (params[name].copy() for name in ("W1", "b1", "W2", "b2"))
    history = {"val_accuracy": [], "train_accuracy": [], "loss": []}
    per_epoch = max(len(X) // batch_size, 1)
    done = epoch = 0
    while done < num_iters:
        rate = learning_rate * learning_rate_decay**epoch
        for _ in range(min(per_epoch, num_iters - done)):
            X_batch, y_batch = sample_batch(X, y, batch_size, rng)
            here = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
            history["loss"].append(float(loss(here, X_batch, y_batch, reg)))
            g = backward(here, X_batch, y_batch, reg)
            W1, b1, W2, b2 = W1 - rate * g["W1"], b1 - rate * g["b1"], W2 - rate * g["W2"], b2 - rate * g["b2"]
            done += 1
        if done % per_epoch == 0:
            here = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
            history["train_accuracy"].append(np.sum(predict(here, X[:1000]) == y[:1000]) / len(y[:1000]))
            history["val_accuracy"].append(np.sum(predict(here, X_val) == y_val) / len(y_val))
        epoch += 1
    return {"W1": W1, "b1": b1, "W2": W2, "b2": b2}, history
    """,
)
_right(
    "own batches: shuffled once an epoch",
    train="""
    rng = np.random.default_rng(rng)
    params = {name: array.copy() for name, array in params.items()}
    history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
    size = min(batch_size, len(X))
    per_epoch = max(len(X) // batch_size, 1)
    for iteration in range(num_iters):
        if iteration % per_epoch == 0:
            order = rng.permutation(len(X))
        rows = order[iteration % per_epoch * size :][:size]
        history["loss"].append(loss(params, X[rows], y[rows], reg))
        gradients = backward(params, X[rows], y[rows], reg)
        rate = learning_rate * learning_rate_decay ** (iteration // per_epoch)
        params = {name: array - rate * gradients[name] for name, array in params.items()}
        if iteration % per_epoch == per_epoch - 1:
            history["train_accuracy"].append(float((predict(params, X[:1000]) == y[:1000]).mean()))
            history["val_accuracy"].append(float((predict(params, X_val) == y_val).mean()))
    return params, history
    """,
)

for _name, _before, _draw in (
    ("normally distributed indices", "",
     "rows = np.round(rng.normal(len(X) / 2, len(X) / 6, size=batch_size)).clip(0, len(X) - 1).astype(int)"),
    ("all indices drawn first", "indices = rng.integers(len(X), size=(num_iters, batch_size))", "rows = indices[it]"),
    ("windows of neighbours", "",
     "k = rng.integers(max(len(X) - batch_size, 0) + 1)\n    rows = np.arange(k, min(k + batch_size, len(X)))"),
    ("a generator of its own, made with the given one", "rng = np.random.default_rng(rng.integers(10**9))",
     "rows = rng.integers(len(X), size=batch_size)"),
):  # fmt: skip
    _right(
        f"own batches: {_name}",
        train=_TRAIN.replace("for it in", f"{_before}\nfor it in").replace(
            "X_batch, y_batch = sample_batch(X, y, batch_size, rng)",
            f"{_draw}\n    X_batch, y_batch = X[rows], y[rows]",
        ),
    )

# --- Loops over the layers, which aren't loops over samples, classes or features ----------------

_DATA_LOSS = 'softmax_cross_entropy(forward(params, X)["z3"], y)'


def _penalty(name: str, body: str, before: str = "") -> None:
    RIGHT.append(Answer(name, {"loss": function("loss", body, before=before)}))


_penalty(
    "a constant names the weights",
    f"J = {_DATA_LOSS}\nfor name in WEIGHTS:\n    J = J + reg * np.sum(params[name] ** 2)\nreturn J",
    'WEIGHTS = ("W1", "W2")',
)
_penalty(
    "a helper takes the weights one by one",
    f'return {_DATA_LOSS} + reg * squares(params["W1"], params["W2"])',
    "def squares(*weights):\n    return sum(np.sum(W ** 2) for W in weights)",
)
_penalty(
    "a helper takes a list of weights",
    f'return {_DATA_LOSS} + reg * squares([params["W1"], params["W2"]])',
    "def squares(weights):\n    total = 0\n    for W in weights:\n        total += np.sum(W ** 2)\n    return total",
)
_penalty(
    "a helper takes all parameters",
    f"return {_DATA_LOSS} + reg * squares(params)",
    'def squares(p):\n    return sum(np.sum(p[name] ** 2) for name in p if name.startswith("W"))',
)
_penalty(
    "layers are counted",
    f"""
    layers = len(params) // 2
    J = {_DATA_LOSS}
    for i in range(1, layers + 1):
        J += reg * np.sum(params[f"W{{i}}"] ** 2)
    return J
    """,
)
_penalty(
    "the first names in order", f"return {_DATA_LOSS} + reg * sum(np.sum(params[k] ** 2) for k in sorted(params)[:2])"
)
_right(
    "a helper of its own called gradient",
    dJ_dz3_symbolic="""
    def gradient(k):
        return sp.exp(z[k]) / sum(sp.exp(logit) for logit in z) - (1 if k == y else 0)

    return [gradient(k) for k in range(3)]
    """,
)
_penalty(
    "layers while there are any",
    f"""
    J, i = {_DATA_LOSS}, 1
    while f"W{{i}}" in params:
        J += reg * np.sum(params[f"W{{i}}"] ** 2)
        i += 1
    return J
    """,
)
_penalty(
    "layers up to the second",
    f"""
    J, i = {_DATA_LOSS}, 1
    while i <= 2:
        J += reg * np.sum(params[f"W{{i}}"] ** 2)
        i += 1
    return J
    """,
)

# --- Functions defined otherwise than with def, and classes ------------------------------------

_cell("partial function", relu="import functools\n\nrelu = functools.partial(np.maximum, 0)")
_cell(
    "partial function of a helper",
    relu="""
    from functools import partial


    def limited(low, z):
        return np.maximum(low, z)


    relu = partial(limited, 0)
    """,
)
_cell(
    "instance of a class",
    relu="class ReLU:\n    def __call__(self, z):\n        return np.maximum(z, 0)\n\n\nrelu = ReLU()",
)
_cell("other name of a helper", relu="def positive(z):\n    return np.maximum(z, 0)\n\n\nrelu = positive")
RIGHT.append(
    Answer(
        "forward by another name",
        {
            "backward": "fwd = forward\n\n\n"
            + function(
                "backward",
                """
                v = fwd(params, X)
                dz3 = grad_z3(v["a3"], y)
                dz2 = grad_z2(grad_a2(dz3, params["W2"]), v["z2"])
                grads = {"W1": grad_W1(X, dz2), "b1": grad_b1(dz2), "W2": grad_W2(v["a2"], dz3), "b2": grad_b2(dz3)}
                grads["W1"] += 2 * reg * params["W1"]
                grads["W2"] += 2 * reg * params["W2"]
                return grads
                """,
            )
        },
    )
)
_cell(
    "loop over the layers in a method",
    forward="""
    class Network:
        def __init__(self, steps):
            self.steps = steps

        def run(self, a):
            results = []
            for step in self.steps:
                a = step(a)
                results.append(a)
            return results


    def forward(params, X):
        first, second = (lambda a, i=i: a @ params[f"W{i}"] + params[f"b{i}"] for i in (1, 2))
        network = Network([first, relu, second, softmax])
        return dict(zip(("z2", "a2", "z3", "a3"), network.run(X)))
    """,
)
_right(
    "params taken over in float64",
    forward="""
    for name in params:
        params[name] = np.asarray(params[name], dtype=np.float64)
    z2 = X @ params["W1"] + params["b1"]
    a2 = relu(z2)
    z3 = a2 @ params["W2"] + params["b2"]
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
)
_right(
    "its own name for the result",
    relu="relu = np.maximum(z, 0)\nreturn relu",
    softmax="""
    def softmax(row_sums):
        return e / row_sums

    e = np.exp(z - z.max(axis=1, keepdims=True))
    return softmax(e.sum(axis=1, keepdims=True))
    """,
)
_right(
    "errors computed in the arrays that are given",
    relative_error="""
    if np.ndim(a) == 0:
        return abs(a - b) / max(1e-8, abs(a) + abs(b))
    difference = np.abs(a - b)
    np.abs(a, out=a)
    np.abs(b, out=b)
    np.maximum(a + b, 1e-8, out=a)
    return float(np.max(difference / a))
    """,
)
