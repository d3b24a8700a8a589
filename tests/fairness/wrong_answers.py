"""Mistakes, each a small variation of one solution function, and what they must cost.

Most were seen in work of real students. A mistake that changes no result isn't here.
"""

from __future__ import annotations

from tests.fairness.answers import Answer, function

WRONG: list[Answer] = []


def _wrong(name: str, where: str, body: str, *loses: str, says: str = "", before: str = "", left: float = 0.0) -> None:
    WRONG.append(Answer(name, {where: function(where, body, before=before)}, loses, says, left))


# --- Notebook 1: relu -------------------------------------------------------------------

_wrong("absolute value", "relu", "return np.abs(z)", "test-relu", says="this is the absolute value")
_wrong("no ReLU at all", "relu", "return z", "test-relu", says="the ReLU isn't applied")
_wrong("leaky ReLU", "relu", "return np.where(z > 0, z, 0.01 * z)", "test-relu", says="this is a leaky ReLU")
_wrong("step function", "relu", "return (z > 0) * 1.0", "test-relu", says="this is a step function")
_wrong("minimum for maximum", "relu", "return np.minimum(z, 0)", "test-relu", says="the wrong way round")
_wrong("cut off at 6", "relu", "return np.clip(z, 0, 6)", "test-relu", says="values above 6 are cut off")
_wrong("cut off at 1", "relu", "return np.clip(z, 0, 1)", "test-relu", says="values above 1 are cut off")
_wrong(
    "sigmoid", "relu", "return 1 / (1 + np.exp(-np.asarray(z, dtype=float)))", "test-relu", says="the sigmoid function"
)
_wrong("softplus", "relu", "return np.logaddexp(0, z)", "test-relu", says="the softplus function")
_wrong("maximum of the whole array", "relu", "return np.maximum(z, z.max())", "test-relu")
_wrong("maximum with 1", "relu", "return np.maximum(z, 1)", "test-relu")
_wrong(
    "result stored as integers", "relu", "return np.maximum(z, 0).astype(int)", "test-relu", says="lost their decimals"
)
_wrong(
    "half precision", "relu", "return np.maximum(z, 0).astype(np.float16)", "test-relu", says="half precision (float16)"
)
_wrong(
    "in place",
    "relu",
    """
    z[z < 0] = 0
    return z
    """,
    "test-relu",
)
_wrong("in place, nothing returned", "relu", "z[z < 0] = 0", "test-relu")
_wrong("pair with the argument", "relu", "return np.maximum(z, 0), z", "test-relu")

# --- Notebook 1: softmax ----------------------------------------------------------------

_wrong(
    "softmax over columns",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=0, keepdims=True))
    return exponentials / exponentials.sum(axis=0, keepdims=True)
    """,
    "test-softmax",
    says="over the wrong axis",
)
_wrong(
    "softmax over all entries",
    "softmax",
    """
    exponentials = np.exp(z - z.max())
    return exponentials / exponentials.sum()
    """,
    "test-softmax",
    says="the sum over all entries",
)
_wrong(
    "softmax twice",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    exponentials = np.exp(probabilities)
    return exponentials / exponentials.sum(axis=1, keepdims=True)
    """,
    "test-softmax",
    says="the softmax is applied twice",
)
_wrong(
    "not normalised",
    "softmax",
    "return np.exp(z - z.max(axis=1, keepdims=True))",
    "test-softmax",
    says="aren't divided by the sum",
)
_wrong(
    "divided by the largest",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.max(axis=1, keepdims=True)
    """,
    "test-softmax",
    says="aren't divided by the sum",
)
_wrong(
    "logarithm of the softmax",
    "softmax",
    """
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    """,
    "test-softmax",
    says="these are the logarithms of the probabilities",
)
_wrong(
    "sigmoid of each logit",
    "softmax",
    "return 0.5 * (1 + np.tanh(0.5 * z))",
    "test-softmax",
    says="the sigmoid of each logit",
)
_wrong(
    "base 2",
    "softmax",
    """
    powers = 2.0 ** (z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
    """,
    "test-softmax",
    says="base 2",
)
_wrong(
    "exponentials of -z",
    "softmax",
    """
    exponentials = np.exp(z.min(axis=1, keepdims=True) - z)
    return exponentials / exponentials.sum(axis=1, keepdims=True)
    """,
    "test-softmax",
    says="the sign of the logits is wrong",
)
_wrong("logits returned", "softmax", "return z", "test-softmax", says="the softmax isn't applied")
_wrong(
    "no exponential",
    "softmax",
    "return z / z.sum(axis=1, keepdims=True)",
    "test-softmax",
    says="without taking exponentials",
)
_wrong(
    "largest logit only",
    "softmax",
    "return (z == z.max(axis=1, keepdims=True)) * 1.0",
    "test-softmax",
    says="1 at each row's largest logit",
)
_wrong(
    "small constant in the denominator",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / (exponentials.sum(axis=1, keepdims=True) + 1e-5)
    """,
    "test-softmax",
)
_wrong(
    "rounded for printing",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return np.round(exponentials / exponentials.sum(axis=1, keepdims=True), 4)
    """,
    "test-softmax",
    says="rounded to a few decimals",
)
_wrong(
    "single precision",
    "softmax",
    """
    z = z.astype(np.float32)
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
    """,
    "test-softmax",
    says="single precision (float32)",
)
_wrong(
    "overflow for large logits",
    "softmax",
    """
    exponentials = np.exp(z)
    return exponentials / exponentials.sum(axis=1, keepdims=True)
    """,
    "test-stability",
)
_wrong(
    "largest logit of the whole array subtracted",
    "softmax",
    """
    exponentials = np.exp(z - z.max())
    return exponentials / exponentials.sum(axis=1, keepdims=True)
    """,
    "test-stability",
)
_wrong(
    "logits limited to 500",
    "softmax",
    """
    exponentials = np.exp(np.clip(z, -500, 500))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
    """,
    "test-stability",
)
_wrong(
    "shifted in place",
    "softmax",
    """
    z -= z.max(axis=1, keepdims=True)
    exponentials = np.exp(z)
    return exponentials / exponentials.sum(axis=1, keepdims=True)
    """,
    "test-softmax",
)
_wrong(
    "wholly in place",
    "softmax",
    """
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z
    """,
    "test-softmax",
)

# --- Notebook 1: forward ----------------------------------------------------------------

_FORWARD = """
z2 = {z2}
a2 = {a2}
z3 = {z3}
return {{"z2": z2, "a2": a2, "z3": z3, "a3": {a3}}}
"""


def _forward(name: str, says: str = "", **changed: str) -> None:
    steps = {
        "z2": 'X @ params["W1"] + params["b1"]', "a2": "relu(z2)",
        "z3": 'a2 @ params["W2"] + params["b2"]', "a3": "softmax(z3)",
    }  # fmt: skip
    _wrong(name, "forward", _FORWARD.format(**(steps | changed)), "test-forward", says=says)


_forward("first bias left out", z2='X @ params["W1"]', says="the bias is missing")
_forward("second bias left out", z3='a2 @ params["W2"]', says="the bias is missing")
_forward("bias added twice", z2='X @ params["W1"] + 2 * params["b1"]', says="the bias is added twice")
_forward("bias subtracted", z3='a2 @ params["W2"] - params["b2"]', says="the bias is subtracted")
_forward("1 in place of the bias", z2='X @ params["W1"] + 1', says="1 is added in place of the bias")
_forward("bias reversed", z3='a2 @ params["W2"] + params["b2"][::-1]', says="the bias is added in reversed order")
_forward(
    "dropout with a factor",
    a2="relu(z2) * (np.random.default_rng(0).random(z2.shape) > 0.5) * 2",
    says="as dropout does",
)
_forward("ReLU left out", a2="z2", says="the ReLU isn't applied")
_forward(
    "ReLU on the logits too", z3='relu(a2 @ params["W2"] + params["b2"])', says="the ReLU is applied to z3 as well"
)
_forward("second layer takes z2", z3='z2 @ params["W2"] + params["b2"]')
_forward("softmax of the hidden layer", a2="softmax(z2)")
_forward("softmax twice", a3="softmax(softmax(z3))", says="the softmax is applied twice")
_forward("logits returned as scores", a3="z3", says="the softmax isn't applied")
_forward("softmax along the columns", a3="softmax(z3.T).T", says="over the wrong axis")
_forward("z2 after the ReLU", z2='relu(X @ params["W1"] + params["b1"])', says="z2 holds the values after the ReLU")
_forward("data centred first", z2='(X - X.mean(axis=0)) @ params["W1"] + params["b1"]')
_forward("data scaled first", z2='(X / np.abs(X).max()) @ params["W1"] + params["b1"]')
_forward("buffer with the data's dtype", z2='(X @ params["W1"] + params["b1"]).astype(X.dtype)')
_forward("first bias's mean only", z2='X @ params["W1"] + params["b1"].mean()')
_forward("data cast to integers", z2='X.astype(int) @ params["W1"] + params["b1"]')
_wrong(
    "transposed results",
    "forward",
    """
    z2 = X @ params["W1"] + params["b1"]
    a2 = relu(z2)
    z3 = a2 @ params["W2"] + params["b2"]
    return {"z2": z2.T, "a2": a2.T, "z3": z3.T, "a3": softmax(z3).T}
    """,
    "test-forward",
    says="this is the transpose",
)
_wrong(
    "z3 not returned",
    "forward",
    """
    z2 = X @ params["W1"] + params["b1"]
    a2 = relu(z2)
    z3 = a2 @ params["W2"] + params["b2"]
    return {"z2": z2, "a2": a2, "scores": z3, "a3": softmax(z3)}
    """,
    "test-forward",
)
_wrong(
    "only the toy problem's five rows",
    "forward",
    """
    X = X[:5]
    z2 = X @ params["W1"] + params["b1"]
    a2 = relu(z2)
    z3 = a2 @ params["W2"] + params["b2"]
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
    "test-forward",
)

# --- Notebook 1: softmax_cross_entropy --------------------------------------------------

_SHIFTED = """
shifted = z3 - z3.max(axis=1, keepdims=True)
log_sums = np.log(np.exp(shifted).sum(axis=1))
losses = log_sums - shifted[np.arange(len(y)), y]
"""


def _entropy(name: str, returned: str, *loses: str, says: str = "", before: str = _SHIFTED) -> None:
    body = f"{before.strip()}\nreturn {returned}"
    _wrong(name, "softmax_cross_entropy", body, *(loses or ("test-cross-entropy",)), says=says)


_PROBABILITIES = """
exponentials = np.exp(z3 - z3.max(axis=1, keepdims=True))
probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
"""
_entropy("sum for mean", "float(np.sum(losses))", says="summed over the samples")
_entropy("averaged twice", "float(np.mean(losses)) / len(y)", says="divided by N twice")
_entropy("averaged over classes too", "float(np.sum(losses)) / z3.size", says="divided by N * K")
_entropy("divided by the toy problem's 5", "float(np.sum(losses)) / 5")
_entropy("wrong sign", "-float(np.mean(losses))", says="the sign of the cross-entropy is wrong")
_entropy("base 2", "float(np.mean(losses)) / np.log(2)", says="the logarithm has base 2")
_entropy("base 10", "float(np.mean(losses)) / np.log(10)", says="the logarithm has base 10")
_entropy("factor 1/2", "0.5 * float(np.mean(losses))", says="the cross-entropy has a factor 1/2")
_entropy("one value for each sample", "losses", says="this is one value for each sample")
_entropy("median for mean", "float(np.median(losses))")
_entropy("the last sample only", "float(losses[-1])")
_entropy("the first sample only", "float(losses[0])", says="only the first sample counts")
_entropy("labels shifted by one", "float(np.mean(losses))", before=_SHIFTED.replace(", y]", ", y - 1]"))
_entropy(
    "logits of the last class",
    "float(np.mean(losses))",
    before=_SHIFTED.replace("shifted[np.arange(len(y)), y]", "shifted[:, -1]"),
)
_entropy(
    "all combinations of rows and labels",
    "float(np.mean(losses))",
    before=_SHIFTED.replace("shifted[np.arange(len(y)), y]", "shifted[:, y].mean(axis=1)"),
)
_entropy(
    "softmax over columns",
    "float(np.mean(losses))",
    before=_SHIFTED.replace("z3.max(axis=1, keepdims=True)", "z3.max(axis=0)").replace(
        ".sum(axis=1)", ".sum(axis=0)[y]"
    ),
    says="the softmax inside the loss is taken over the wrong axis",
)
_entropy(
    "softmax applied twice",
    "float(np.mean(losses))",
    before=f"z3 = softmax(z3)\n{_SHIFTED.strip()}",
    says="the softmax is applied twice",
)
_entropy(
    "hinge loss",
    "float((margins.sum() - len(y)) / len(y))",
    before="margins = np.maximum(0, z3 - z3[np.arange(len(y)), y][:, np.newaxis] + 1)",
    says="this is the hinge loss",
)
_entropy(
    "mean squared error",
    "float(np.mean((probabilities - np.eye(z3.shape[1])[y]) ** 2))",
    before=_PROBABILITIES,
    says="squared differences",
)
_entropy(
    "every class counted",
    "float(np.mean((log_sums[:, np.newaxis] - shifted).sum(axis=1)))",
    says="the logarithms of all classes are summed",
)
_entropy(
    "largest probability instead of the true class's",
    "float(np.mean(log_sums))",
    says="the largest probability of each row is taken",
)
_entropy(
    "logarithm left out",
    "-float(np.mean(probabilities[np.arange(len(y)), y]))",
    before=_PROBABILITIES,
    says="the logarithm is missing",
)
_entropy(
    "mean before the logarithm",
    "-float(np.log(np.mean(probabilities[np.arange(len(y)), y]) + 1e-300))",
    "test-cross-entropy",
    "test-stability",
    before=_PROBABILITIES,
)
_entropy(
    "logits of the true class left out",
    "float(np.mean(np.log(np.exp(shifted).sum(axis=1)) + z3.max(axis=1)))",
    says="the logits' own values are missing",
)
_entropy(
    "number of classes guessed from the labels",
    "float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - (shifted * np.eye(y.max() + 1)[y]).sum(axis=1)))",
    "test-cross-entropy",
)
_entropy(
    "logarithm of a probability",
    "float(np.mean(-np.log(probabilities[np.arange(len(y)), y])))",
    "test-stability",
    before=_PROBABILITIES,
)
_entropy(
    "guarded logarithm of a probability",
    "float(np.mean(-np.log(probabilities[np.arange(len(y)), y] + 1e-12)))",
    "test-stability",
    before=_PROBABILITIES,
)
_entropy(
    "limited probability",
    "float(np.mean(-np.log(np.clip(probabilities[np.arange(len(y)), y], 1e-15, 1))))",
    "test-stability",
    before=_PROBABILITIES,
)
_entropy(
    "overflow for large logits",
    "float(np.mean(np.log(np.exp(z3).sum(axis=1)) - z3[np.arange(len(y)), y]))",
    "test-stability",
    before="",
)
_entropy(
    "largest logit of the whole array subtracted",
    "float(np.mean(losses))",
    "test-stability",
    before=_SHIFTED.replace("z3.max(axis=1, keepdims=True)", "z3.max()"),
)

# --- Notebook 1: loss -------------------------------------------------------------------

_DATA = 'softmax_cross_entropy(forward(params, X)["z3"], y)'
_SQUARES = 'np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2)'


def _loss(name: str, regularisation: str, says: str = "", data: str = _DATA) -> None:
    _wrong(name, "loss", f"data_loss = {data}\nreturn data_loss + {regularisation}", "test-loss", says=says)


_loss("regularisation left out", "0 * reg", says="the regularisation is missing")
_loss("factor 1/2", f"0.5 * reg * ({_SQUARES})", says="the regularisation has a factor 1/2")
_loss("regularisation doubled", f"2 * reg * ({_SQUARES})", says="the regularisation is added twice")
_loss("hard-coded lambda", f"0.05 * ({_SQUARES})", says="a fixed strength")
_loss("hard-coded lambda of the default settings", f"0.25 * ({_SQUARES})", says="a fixed strength")
_loss("once for each sample", f"reg * len(y) * ({_SQUARES})", says="another strength than reg, which is 0.05 here")
_wrong("both terms", "loss", f"return {_DATA}, reg * ({_SQUARES})", "test-loss")
_loss("reg ignored", _SQUARES, says="reg is ignored")
_loss("reg squared", f"reg ** 2 * ({_SQUARES})", says="reg itself is squared")
_loss("regularisation averaged", f"reg * ({_SQUARES}) / len(y)", says="divided by the number of samples")
_loss("regularisation averaged and halved", f"reg * ({_SQUARES}) / (2 * len(y))", says="divided by 2 N")
_loss("regularisation subtracted", f"-reg * ({_SQUARES})", says="the regularisation is subtracted")
_loss("only W1 regularised", 'reg * np.sum(params["W1"] ** 2)', says="only W1 is regularised")
_loss("only W2 regularised", 'reg * np.sum(params["W2"] ** 2)', says="only W2 is regularised")
_loss("reg applies to W1 only", 'reg * np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2)')
_loss(
    "biases regularised",
    "reg * sum(np.sum(value ** 2) for value in params.values())",
    says="the biases are regularised too",
)
_loss(
    "biases regularised, with 1/2",
    "0.5 * reg * sum(np.sum(value ** 2) for value in params.values())",
    says="factor 1/2",
)
_loss(
    "norms not squared",
    'reg * (np.linalg.norm(params["W1"]) + np.linalg.norm(params["W2"]))',
    says="the norms aren't squared",
)
_loss("absolute values", 'reg * (np.abs(params["W1"]).sum() + np.abs(params["W2"]).sum())', says="(L1)")
_loss("weights not squared", 'reg * (params["W1"].sum() + params["W2"].sum())', says="without being squared")
_loss(
    "sum squared", 'reg * (params["W1"].sum() ** 2 + params["W2"].sum() ** 2)', says="the sum of the weights is squared"
)
_loss(
    "mean of squares", 'reg * (np.mean(params["W1"] ** 2) + np.mean(params["W2"] ** 2))', says="the mean of the squared"
)
_loss("W1 counted twice, W2 never", 'reg * 2 * np.sum(params["W1"] ** 2)')
_loss(
    "spectral norm",
    'reg * (np.linalg.norm(params["W1"], 2) ** 2 + np.linalg.norm(params["W2"], 2) ** 2)',
)
_loss(
    "cross-entropy of the probabilities",
    f"reg * ({_SQUARES})",
    data='softmax_cross_entropy(forward(params, X)["a3"], y)',
    says="the softmax is applied twice",
)
_loss("cross-entropy summed", f"reg * ({_SQUARES})", data=f"len(y) * {_DATA}", says="the cross-entropy is summed")
_loss("cross-entropy left out", f"reg * ({_SQUARES})", data="0", says="the cross-entropy is missing")
_loss("regularisation inside the mean", f"reg * ({_SQUARES})", data=f"{_DATA} / len(y)", says="divided by N twice")
_loss(
    "biases left out of the scores",
    f"reg * ({_SQUARES})",
    data='softmax_cross_entropy(relu(X @ params["W1"]) @ params["W2"], y)',
)

# --- Notebook 1: loops and libraries -----------------------------------------------------

_wrong(
    "loop over samples",
    "relu",
    """
    result = np.zeros(z.shape, dtype=z.dtype)
    for i in range(len(z)):
        result[i] = np.maximum(z[i], 0)
    return result
    """,
    "test-vectorised",
)
_wrong("list comprehension over rows", "relu", "return np.array([np.maximum(row, 0) for row in z])", "test-vectorised")
_wrong("np.vectorize", "relu", "return np.vectorize(lambda v: max(v, 0.0))(z)", "test-vectorised")
_wrong("map over rows", "relu", "return np.array(list(map(lambda row: np.maximum(row, 0), z)))", "test-vectorised")
_wrong(
    "apply_along_axis", "relu", "return np.apply_along_axis(lambda row: np.maximum(row, 0), 1, z)", "test-vectorised"
)
_wrong(
    "loop hidden in a helper",
    "relu",
    "return positive_part(z)",
    "test-vectorised",
    before="""
    def positive_part(z):
        return np.array([np.maximum(row, 0) for row in z])
    """,
)
_wrong(
    "loop in a helper's helper",
    "softmax_cross_entropy",
    "return mean_of(losses_of(z3, y))",
    "test-vectorised",
    before="""
    def mean_of(values):
        return float(np.mean(values))


    def loss_of(row, label):
        return np.log(np.exp(row - row.max()).sum()) + row.max() - row[label]


    def losses_of(z3, y):
        losses = []
        for row, label in zip(z3, y):
            losses.append(loss_of(row, label))
        return losses
    """,
)
_wrong(
    "while loop",
    "softmax_cross_entropy",
    """
    total, i = 0.0, 0
    while i < len(y):
        row = z3[i] - z3[i].max()
        total += np.log(np.exp(row).sum()) - row[y[i]]
        i += 1
    return float(total / len(y))
    """,
    "test-vectorised",
)
_wrong(
    "recursion over the rows",
    "relu",
    """
    if len(z) == 1:
        return np.maximum(z, 0)
    return np.concatenate([np.maximum(z[:1], 0), relu(z[1:])])
    """,
    "test-vectorised",
)
_wrong(
    "loop over classes",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    total = 0
    for k in range(z.shape[1]):
        total = total + exponentials[:, k]
    return exponentials / total[:, np.newaxis]
    """,
    "test-vectorised",
)
_wrong(
    "loop over enumerate",
    "forward",
    """
    z2 = np.zeros((len(X), params["W1"].shape[1]))
    for i, row in enumerate(X):
        z2[i] = row @ params["W1"] + params["b1"]
    a2 = relu(z2)
    z3 = a2 @ params["W2"] + params["b2"]
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
    """,
    "test-vectorised",
)
_wrong(
    "generator over labels",
    "softmax_cross_entropy",
    """
    shifted = z3 - z3.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float(sum(log_sums[i] - shifted[i, label] for i, label in enumerate(y)) / len(y))
    """,
    "test-vectorised",
)
_wrong(
    "np.nditer",
    "relu",
    """
    result = np.array(z)
    with np.nditer(result, op_flags=["readwrite"]) as entries:
        for entry in entries:
            entry[...] = max(entry, 0)
    return result
    """,
    "test-vectorised",
)
_wrong(
    "PyTorch does the softmax",
    "softmax",
    """
    import torch
    return torch.softmax(torch.tensor(z), dim=1).numpy()
    """,
    "test-vectorised",
)
_wrong(
    "PyTorch under another name",
    "softmax_cross_entropy",
    "return t.nn.functional.cross_entropy(t.tensor(z3), t.tensor(y)).item()",
    "test-vectorised",
    before="import torch as t",
)
_wrong(
    "SciPy's softmax", "softmax", "from scipy.special import softmax as of_rows\nreturn of_rows(z, axis=1)",
    "test-vectorised",
)  # fmt: skip
_wrong(
    "SciPy's log_softmax",
    "softmax_cross_entropy",
    "import scipy.special\nreturn -scipy.special.log_softmax(z3, axis=1)[np.arange(len(y)), y].mean()",
    "test-vectorised",
)
WRONG.append(
    Answer(
        "a partial function of SciPy's softmax",
        {
            "softmax": "from functools import partial\nfrom scipy.special import softmax as f\n\n"
            "softmax = partial(f, axis=1)\n"
        },
        ("test-vectorised",),
    )
)
_wrong(
    "the course's own function",
    "softmax",
    "return theirs(z - z.max(axis=1, keepdims=True))",
    "test-vectorised",
    before="from course_utils.mistakes.values import softmax as theirs",
)

# --- Notebook 2: the symbolic derivative ------------------------------------------------

_SUM = "total = sum(sp.exp(logit) for logit in z)\n"


def _symbolic(name: str, expression: str, says: str = "") -> None:
    body = f"{_SUM}return [{expression} for k, logit in enumerate(z)]"
    _wrong(name, "dJ_dz3_symbolic", body, "test-dJ_dz3-symbolic", says=says)


_symbolic("1 never subtracted", "sp.exp(logit) / total", "1 isn't subtracted at the true class")
_symbolic("1 subtracted from every class", "sp.exp(logit) / total - 1", "1 is subtracted from every entry")
_symbolic("sign", "(1 if k == y else 0) - sp.exp(logit) / total", "the sign is wrong")
_symbolic("1 added", "sp.exp(logit) / total + (1 if k == y else 0)", "1 is added at the true class")
_symbolic("label 0 throughout", "sp.exp(logit) / total - (1 if k == 0 else 0)")
_symbolic("derivative of the probability", "sp.exp(logit) / total * (1 - sp.exp(logit) / total)")
_symbolic("not exponentiated", "logit / sum(z) - (1 if k == y else 0)")
_symbolic("divided by the number of classes", "(sp.exp(logit) / total - (1 if k == y else 0)) / 3")

# --- Notebook 2: the steps --------------------------------------------------------------

_DELTA = "delta = np.zeros_like(a3)\ndelta[np.arange(len(y)), y] = 1\n"


def _step(name: str, where: str, body: str, says: str = "") -> None:
    _wrong(name, where, body, f"test-{where.replace('_', '-')}", says=says)


_step("not averaged", "grad_z3", _DELTA + "return a3 - delta", "the division by N is missing")
_step("averaged twice", "grad_z3", _DELTA + "return (a3 - delta) / len(y) ** 2", "happens twice")
_step("Delta missing", "grad_z3", "return a3 / len(y)", "1 isn't subtracted at the true class")
_step("Delta not averaged", "grad_z3", _DELTA + "return a3 / len(y) - delta", "1 is subtracted after the division")
_step("Delta added", "grad_z3", _DELTA + "return (a3 + delta) / len(y)", "1 is added at the true class")
_step("sign", "grad_z3", _DELTA + "return (delta - a3) / len(y)", "the sign is wrong")
_step("averaged over all entries", "grad_z3", _DELTA + "return (a3 - delta) / a3.size", "divided by N * K")
_step(
    "Delta's columns by sample",
    "grad_z3",
    "delta = np.zeros_like(a3)\ndelta[:, y] = 1\nreturn (a3 - delta) / len(y)",
    "in the columns of all labels",
)
_step("the toy problem's 5", "grad_z3", _DELTA + "return (a3 - delta) / 5")
_step(
    "label itself subtracted",
    "grad_z3",
    "return (a3 - np.asarray(y)[:, None]) / len(y)",
    "the label itself is subtracted",
)
_step("elementwise derivative of the softmax", "grad_z3", _DELTA + "return (a3 - delta) * a3 * (1 - a3) / len(y)")
_step("transposed", "grad_W2", "return dz3.T @ a2", "this is the transpose")
_step("averaged again", "grad_W2", "return a2.T @ dz3 / len(a2)", "happens twice")
_step("sign", "grad_W2", "return -a2.T @ dz3", "the sign is wrong")
_step("doubled", "grad_W2", "return 2 * a2.T @ dz3", "exactly twice")
_step("mask instead of activations", "grad_W2", "return (a2 > 0).T.astype(float) @ dz3")
_step("mean", "grad_b2", "return dz3.mean(axis=0)", "the rows are divided by N already")
_step("over the classes", "grad_b2", "return dz3.sum(axis=1)", "the sum is taken over the wrong axis")
_step("sum of everything", "grad_b2", "return np.full(dz3.shape[1], dz3.sum())", "over all entries")
_step("first row only", "grad_b2", "return dz3[0]", "the first row alone")
_step("a row", "grad_b2", "return np.sum(dz3, axis=0, keepdims=True)", "a matrix of one row")
_step("a row", "grad_b1", "return np.ones((1, len(dz2))) @ dz2", "a matrix of one row")
_step("no sum", "grad_b2", "return dz3", "the sum over the samples is missing")
_step("single number", "grad_b2", "return dz3.sum()", "over all entries")
_step("W2 not transposed", "grad_a2", "return dz3[:, : W2.shape[0]] @ W2[: dz3.shape[1], :1] * np.ones(W2.shape[0])")
_step("sign", "grad_a2", "return -dz3 @ W2.T", "the sign is wrong")
_step("averaged again", "grad_a2", "return dz3 @ W2.T / len(dz3)", "happens twice")
_step("transposed", "grad_a2", "return W2 @ dz3.T", "this is the transpose")
_step("mask missing", "grad_z2", "return da2", "the ReLU's derivative is missing")
_step("mask inverted", "grad_z2", "return da2 * (z2 < 0)", "the wrong way round")
_step("mask of the gradient", "grad_z2", "return np.maximum(da2, 0)", "the sign of the gradient that arrives")
_step("mask alone", "grad_z2", "return (z2 > 0).astype(float)", "the upstream gradient is missing")
_step("z2 for its mask", "grad_z2", "return da2 * z2", "multiplied by z2 itself")
_step("ReLU for its derivative", "grad_z2", "return da2 * np.maximum(z2, 0)", "z2's positive part")
_step("mask above 1", "grad_z2", "return da2 * (z2 > 1)")
_step("sign of z2", "grad_z2", "return da2 * np.sign(z2)")
_step("transposed", "grad_W1", "return dz2.T @ X", "this is the transpose")
_step("averaged again", "grad_W1", "return X.T @ dz2 / len(X)", "happens twice")
_step("doubled", "grad_W1", "return 2 * X.T @ dz2", "exactly twice")
_step("absolute data", "grad_W1", "return np.abs(X).T @ dz2")
_step("mean", "grad_b1", "return dz2.mean(axis=0)", "the rows are divided by N already")
_step("over the hidden units", "grad_b1", "return dz2.sum(axis=1)", "the sum is taken over the wrong axis")
_step("last row only", "grad_b1", "return dz2[-1]")
_step("no sum", "grad_b1", "return dz2", "the sum over the samples is missing")

# --- Notebook 2: backward ---------------------------------------------------------------

_BACKWARD = """
values = forward(params, X)
dz3 = grad_z3(values["a3"], y)
dz2 = grad_z2(grad_a2(dz3, params["W2"]), values["z2"])
grads = {
    "W1": grad_W1(X, dz2) + 2 * reg * params["W1"], "b1": grad_b1(dz2),
    "W2": grad_W2(values["a2"], dz3) + 2 * reg * params["W2"], "b2": grad_b2(dz3),
}
"""


def _backward(name: str, change: str, says: str = "", *, old: str = "", new: str = "") -> None:
    body = _BACKWARD.replace(old, new) if old else _BACKWARD
    _wrong(name, "backward", f"{body}{change}\nreturn grads", "test-backward", says=says)


_backward("no regularisation", "", "the regularisation is missing", old="2 * reg", new="0 * reg")
_backward("regularisation without its 2", "", "lacks its factor 2", old="2 * reg", new="reg")
_backward("regularisation twice", "", "the regularisation is added twice", old="2 * reg", new="4 * reg")
_backward("regularisation subtracted", "", "the regularisation is subtracted", old="+ 2 * reg", new="- 2 * reg")
_backward("hard-coded lambda", "", "another factor than 2 * reg", old="2 * reg", new="2 * 0.05")
_backward("hard-coded lambda of the default settings", "", "another factor than 2 * reg", old="2 * reg", new="2 * 0.25")
_backward("reg over N, without its 2", "", "another factor than 2 * reg", old="2 * reg", new="reg / len(y)")
_backward("W2 not regularised", 'grads["W2"] = grads["W2"] - 2 * reg * params["W2"]', "the regularisation is missing")
_backward("W1 not regularised", 'grads["W1"] = grads["W1"] - 2 * reg * params["W1"]', "the regularisation is missing")
_backward("b1 regularised", 'grads["b1"] = grads["b1"] + 2 * reg * params["b1"]', "the biases aren't regularised")
_backward("b2 regularised", 'grads["b2"] = grads["b2"] + 2 * reg * params["b2"]', "the biases aren't regularised")
_backward("b2 regularised without 2", 'grads["b2"] = grads["b2"] + reg * params["b2"]', "the biases aren't regularised")
_backward(
    "both biases regularised",
    'for name in ("b1", "b2"):\n    grads[name] = grads[name] + 2 * reg * params[name]',
    "the biases aren't regularised",
)
_backward("regularisation averaged", "", "isn't part of the mean", old="2 * reg", new="2 * reg / len(X)")
_backward(
    "mask left out",
    "",
    "where z2 is negative, the gradient still flows back",
    old='grad_z2(grad_a2(dz3, params["W2"]), values["z2"])',
    new='grad_a2(dz3, params["W2"])',
)
_backward("gradients of W1 and b1 missing", 'del grads["W1"], grads["b1"]')
_backward(
    "averaged once more",
    "grads = {name: value / len(X) for name, value in grads.items()}",
    "the division by N happens twice",
)
_backward("z2 for a2", "", old='grad_W2(values["a2"], dz3)', new='grad_W2(values["z2"], dz3)')
_backward(
    "bias gradients missing", 'grads["b1"] = np.zeros_like(params["b1"])\ngrads["b2"] = np.zeros_like(params["b2"])'
)

# --- Notebook 3 -------------------------------------------------------------------------

_DIFFERENCES = """
gradient = np.zeros(x.shape)
for index in np.ndindex(x.shape):
    point = x.copy()
    point[index] = x[index] + h
    above = f(point)
    point[index] = x[index] - h
    below = f(point)
    gradient[index] = (above - below) / (2 * h)
return gradient
"""


def _numerical(name: str, old: str, new: str, says: str = "") -> None:
    body = _DIFFERENCES.replace(old, new)
    _wrong(name, "numerical_gradient", body, "test-numerical-gradient", says=says)


_numerical("divided by h", "/ (2 * h)", "/ h", "x + h and x - h lie 2h apart")
_numerical("second point not moved", "x[index] - h", "x[index]", "the second point is x - h")
_numerical(
    "one-sided and consistent", "(above - below) / (2 * h)", "(above - f(x)) / h", "this is the forward difference"
)
_numerical("not divided", "/ (2 * h)", "", "isn't divided by 2h")
_numerical("h ignored", "gradient = np", "h = 1e-5\ngradient = np", "h isn't used")
_numerical("sign", "(above - below)", "(below - above)", "the sign is wrong")
_numerical("all entries moved at once", "point[index] = x[index] + h", "point = x + h")
_numerical("x not restored", "point = x.copy()", "point = x", "the second point is x - h")
_numerical(
    "result stored as float32", "np.zeros(x.shape)", "np.zeros(x.shape, dtype=np.float32)", "single precision (float32)"
)
_numerical("first row only", "np.ndindex(x.shape)", "list(np.ndindex(x.shape))[: x.shape[-1]]")


def _relative(name: str, expression: str, says: str = "") -> None:
    _wrong(name, "relative_error", f"return float({expression})", "test-relative-error", says=says)


_relative(
    "mean for maximum", "np.mean(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))", "their maximum is asked"
)
_relative(
    "no absolute value above",
    "np.max((a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))",
    "the absolute value of the difference is missing",
)
_relative("no absolute value below", "np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a + b)))")
_relative("absolute error", "np.max(np.abs(a - b))", "this is the absolute error")
_relative(
    "maximum below",
    "np.max(np.abs(a - b) / np.maximum(1e-8, np.maximum(np.abs(a), np.abs(b))))",
    "by one of |a| and |b|",
)
_relative("norms", "np.linalg.norm(a - b) / max(1e-8, np.linalg.norm(a) + np.linalg.norm(b))", "the ratio of two norms")
_relative("no floor", "np.max(np.abs(a - b) / (np.abs(a) + np.abs(b)))")
_relative(
    "floor of 1", "np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a) + np.abs(b)))", "the lower limit of |a| + |b|"
)


def _checking(name: str, body: str) -> None:
    _wrong(name, "check_gradients", body, "test-check-gradients")


_checking(
    "gradients compared with themselves",
    "return {name: relative_error(grads[name], grads[name]) for name in params}",
)
_checking(
    "W1 alone",
    """
    numerical = numerical_gradient(lambda changed: loss_fn({**params, "W1": changed}), params["W1"])
    error = relative_error(numerical, grads["W1"])
    return {name: error for name in params}
    """,
)
_checking(
    "one number for all",
    """
    errors = [
        relative_error(numerical_gradient(lambda changed: loss_fn({**params, name: changed}), array), grads[name])
        for name, array in params.items()
    ]
    return {name: max(errors) for name in params}
    """,
)
_EVIDENCE = """
rng = np.random.default_rng(0)
params, X, y = toy_problem()
biased = {{name: array + 0.3 * rng.standard_normal(array.shape) for name, array in params.items()}}
other = biased, rng.standard_normal((9, 4)), np.arange(9) % 3, 0.2
return {}
"""


def _hunted(name: str, returned: str, left: float = 0.0) -> None:
    _wrong(name, "wrong_gradients", _EVIDENCE.format(returned), "test-hunt", left=left)


_hunted("one wrong gradient missed", "dict.fromkeys('BC', other)", 2.0)
_hunted("one named too many", "dict.fromkeys('ABCF', other)", 2.0)
_hunted("all named", "dict.fromkeys('ABCDEF', other)")
_hunted("names without evidence", "['B', 'C', 'F']")
_hunted("the toy problem as evidence", "dict.fromkeys('BCF', (params, X, y, 0.05))")
_hunted("evidence for one alone", "{'B': other, 'C': (params, X, y, 0.05), 'F': (params, X, y, 0.05)}", 1.0)
_hunted("no numbers", "{'B': (biased, None, None, 0.2)}")
_hunted("nothing", "{}")

# --- Notebook 4 -------------------------------------------------------------------------


def _batch(name: str, draw: str, *loses: str, says: str = "") -> None:
    body = f"rng = np.random.default_rng(rng)\nif batch_size >= len(X):\n    return X, y\n{draw}"
    _wrong(name, "sample_batch", body, *(loses or ("test-sample-batch-random",)), says=says)


_TAKE = "return X[indices], y[indices]"
_batch(
    "only the first rows", f"indices = rng.integers(batch_size, size=batch_size)\n{_TAKE}",
    says="the indices are drawn from batch_size numbers",
)  # fmt: skip
_batch(
    "the first rows, not drawn at all", "return X[:batch_size], y[:batch_size]", says="",
)  # fmt: skip
_batch("last row never drawn", f"indices = rng.integers(len(X) - 1, size=batch_size)\n{_TAKE}")
_batch("first row never drawn", f"indices = rng.integers(1, len(X), size=batch_size)\n{_TAKE}")
_batch("first half only", f"indices = rng.integers(len(X) // 2, size=batch_size)\n{_TAKE}")
_batch("same seed in each call", f"indices = np.random.default_rng(0).integers(len(X), size=batch_size)\n{_TAKE}")
_batch("rng ignored", f"indices = np.random.default_rng().integers(len(X), size=batch_size)\n{_TAKE}")
_batch(
    "labels drawn separately",
    "return X[rng.integers(len(X), size=batch_size)], y[rng.integers(len(X), size=batch_size)]",
    "test-sample-batch",
    says="rows and labels are drawn separately",
)
_batch(
    "labels of the first rows", "return X[rng.integers(len(X), size=batch_size)], y[:batch_size]", "test-sample-batch"
)
_wrong(
    "whole set drawn with replacement",
    "sample_batch",
    """
    indices = np.random.default_rng(rng).integers(len(X), size=min(batch_size, len(X)))
    return X[indices], y[indices]
    """,
    "test-sample-batch",
)


def _prediction(name: str, expression: str, says: str = "") -> None:
    _wrong(name, "predict", f"return {expression}", "test-predict", says=says)


_HIDDEN = 'np.maximum(X @ params["W1"] + params["b1"], 0)'
_prediction(
    "without biases", '(np.maximum(X @ params["W1"], 0) @ params["W2"]).argmax(axis=1)', "the biases are left out"
)
_prediction(
    "without b1", '(np.maximum(X @ params["W1"], 0) @ params["W2"] + params["b2"]).argmax(axis=1)', "the bias b1"
)
_prediction("without b2", f'({_HIDDEN} @ params["W2"]).argmax(axis=1)', "the bias b2 is left out")
_prediction(
    "without ReLU", '((X @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]).argmax(axis=1)', "the ReLU"
)
_prediction("smallest score", 'forward(params, X)["z3"].argmin(axis=1)', "the class with the smallest score")
_prediction("over the samples", 'forward(params, X)["z3"].argmax(axis=0)')
_prediction("largest score itself", 'forward(params, X)["a3"].max(axis=1)')
_prediction("probabilities, no classes", 'forward(params, X)["a3"]')
_prediction("hidden units for classes", 'forward(params, X)["a2"].argmax(axis=1)')

_TRAIN = """
rng = np.random.default_rng(rng)
params = {name: array.copy() for name, array in params.items()}
history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
epoch = max(len(X) // batch_size, 1)
for iteration in range(num_iters):
    X_batch, y_batch = sample_batch(X, y, batch_size, rng)
    history["loss"].append(loss(params, X_batch, y_batch, reg))
    for name, gradient in backward(params, X_batch, y_batch, reg).items():
        params[name] = params[name] - learning_rate * gradient
    if (iteration + 1) % epoch == 0:
        history["train_accuracy"].append(float(np.mean(predict(params, X[:1000]) == y[:1000])))
        history["val_accuracy"].append(float(np.mean(predict(params, X_val) == y_val)))
        learning_rate *= learning_rate_decay
return params, history
"""


def _training(name: str, old: str, new: str, *loses: str, says: str = "") -> None:
    _wrong(name, "train", _TRAIN.replace(old, new), *loses, says=says)


_training(
    "uphill", "- learning_rate * gradient", "+ learning_rate * gradient", "test-train-descent",
    says="this climbs the loss",
)  # fmt: skip
_training(
    "never decays",
    "        learning_rate *= learning_rate_decay\n",
    "",
    "test-train-schedule",
    says="it doesn't decay after each",
)
_training(
    "decays after every iteration",
    "        learning_rate *= learning_rate_decay",
    "    learning_rate *= learning_rate_decay",
    "test-train-schedule",
    says="decays after every iteration",
)
_training(
    "epoch rounded up", "len(X) // batch_size", "-(-len(X) // batch_size)", "test-train-schedule", says="rounded down"
)
_training(
    "hard-coded lambda", "backward(params, X_batch, y_batch, reg)", "backward(params, X_batch, y_batch, 5e-6)",
    "test-train-descent",
)  # fmt: skip
_training(
    "loss without regularisation", "loss(params, X_batch, y_batch, reg)", "loss(params, X_batch, y_batch, 0.0)",
    "test-train-schedule", says="these are losses without regularisation",
)  # fmt: skip
_wrong(
    "same batch throughout",
    "train",
    _TRAIN.replace("    X_batch, y_batch = sample_batch(X, y, batch_size, rng)\n", "").replace(
        "for iteration", "X_batch, y_batch = sample_batch(X, y, batch_size, rng)\nfor iteration"
    ),
    "test-train-batches",
    says="the same batch is used in several iterations",
)
_training(
    "first rows only",
    "sample_batch(X, y, batch_size, rng)",
    "(X[:batch_size], y[:batch_size])",
    "test-train-batches",
    says="only the first batch_size rows",
)
_training(
    "whole set throughout", "sample_batch(X, y, batch_size, rng)", "(X, y)", "test-train-batches",
)  # fmt: skip
_training(
    "biases not trained",
    "        params[name] = params[name] - learning_rate * gradient",
    """\
        if name.startswith("W"):
            params[name] = params[name] - learning_rate * gradient""",
    "test-train-descent",
    says="b1 and b2 did not change",
)
_training(
    "one iteration too few",
    "range(num_iters)",
    "range(num_iters - 1)",
    "test-train-descent",
    says="one iteration too few",
)
_training("seed ignored", "default_rng(rng)", "default_rng()", "test-train-batches", says="")
_training(
    "accuracy of the training data twice", "predict(params, X_val) == y_val", "predict(params, X[:1000]) == y[:1000]",
    "test-train-schedule",
)  # fmt: skip
_training(
    "returns what it was given", "return params, history", "return dict.fromkeys(params), history",
    "test-train-descent", "test-train-schedule", "test-train-batches",
)  # fmt: skip

# --- More of each kind ------------------------------------------------------------------

_wrong("single precision", "relu", "return np.maximum(z, 0).astype(np.float32)", "test-relu", says="(float32)")
_wrong("shifted by its minimum", "relu", "return z - z.min()", "test-relu")
_wrong("maximum with a small number", "relu", "return np.maximum(z, 1e-3)", "test-relu")
_wrong("hyperbolic tangent", "relu", "return np.maximum(np.tanh(z), 0)", "test-relu")
_wrong(
    "single precision inside",
    "relu",
    "return np.maximum(np.float32(z), 0).astype(z.dtype)",
    "test-relu",
    says="float32",
)

_wrong(
    "z3 and a3 exchanged",
    "forward",
    _FORWARD.format(
        z2='X @ params["W1"] + params["b1"]', a2="relu(z2)", z3='a2 @ params["W2"] + params["b2"]', a3="softmax(z3)"
    ).replace('"z3": z3, "a3": softmax(z3)', '"z3": softmax(z3), "a3": z3'),
    "test-forward",
    says="z3 and a3 are exchanged",
)
_wrong(
    "logits divided by the largest",
    "softmax",
    "e = np.exp(z / z.max(axis=1, keepdims=True))\nreturn e / e.sum(axis=1, keepdims=True)",
    "test-softmax",
    says="divided by the largest of their row",
)
_wrong(
    "largest logit of each column subtracted",
    "softmax",
    "e = np.exp(z - z.max(axis=0))\nreturn e / e.sum(axis=1, keepdims=True)",
    "test-softmax",
    says="the largest logit of each column is subtracted",
)
_wrong(
    "softplus that overflows",
    "relu",
    "return np.log1p(np.exp(np.float64(z)))",
    "test-relu",
    says="the softplus function",
)
_wrong(
    "reshaped, not transposed",
    "grad_W2",
    "return a2.reshape(a2.shape[::-1]) @ dz3",
    "test-grad-W2",
    says="reshape doesn't transpose a2",
)

_wrong(
    "two copies, not put back",
    "numerical_gradient",
    """
    above, below, gradient = x.copy(), x.copy(), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above[index] += h
        below[index] -= h
        gradient[index] = (f(above) - f(below)) / (2 * h)
    return gradient
    """,
    "test-numerical-gradient",
    says="in the copies, each entry stays moved",
)
_wrong(
    "one copy, not put back, in single precision",
    "numerical_gradient",
    """
    copy, gradient = x.copy(), np.zeros(x.shape, dtype=np.float32)
    for index in np.ndindex(x.shape):
        copy[index] = x[index] + h
        above = f(copy)
        copy[index] = x[index] - h
        gradient[index] = (above - f(copy)) / (2 * h)
    return gradient
    """,
    "test-numerical-gradient",
    says="And: the values are in single precision",
)
_wrong(
    "a large step",
    "check_gradients",
    """
    errors = {}
    for name, array in params.items():
        numerical = numerical_gradient(lambda v, name=name: loss_fn({**params, name: v}), array, 0.1)
        errors[name] = relative_error(numerical, grads[name])
    return errors
    """,
    "test-check-gradients",
    says="numerical_gradient is called with the step 0.1",
)

_wrong(
    "a fixed step of 1e-3",
    "numerical_gradient",
    """
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += 1e-3
        below[index] -= 1e-3
        gradient[index] = (f(above) - f(below)) / 2e-3
    return gradient
    """,
    "test-numerical-gradient",
    says="those of a fixed small step, 0.001",
)
_wrong(
    "the array that is moved isn't used",
    "check_gradients",
    """
    return {
        name: relative_error(numerical_gradient(lambda moved: loss_fn(params), array), grads[name])
        for name, array in params.items()
    }
    """,
    "test-check-gradients",
    says="the errors are all 1",
)

_EXPONENTIALS = "exponentials = np.exp({shifted})\nreturn exponentials / exponentials.sum(axis=1, keepdims=True)"
_UNSTABLE = {
    "smallest logit of each row subtracted": "z - z.min(axis=1, keepdims=True)",
    "mean of each row subtracted": "z - z.mean(axis=1, keepdims=True)",
    "first logit of each row subtracted": "z - z[:, :1]",
    "logits limited from above": "np.minimum(z, 700)",
}
for _name, _shifted in _UNSTABLE.items():
    _wrong(_name, "softmax", _EXPONENTIALS.format(shifted=_shifted), "test-stability")
_wrong(
    "nan replaced by 0",
    "softmax",
    "e = np.exp(z)\nreturn np.nan_to_num(e / e.sum(axis=1, keepdims=True))",
    "test-stability",
)
_wrong(
    "temperature 2", "softmax", _EXPONENTIALS.format(shifted="(z - z.max(axis=1, keepdims=True)) / 2"), "test-softmax"
)
_wrong(
    "tiny constant in the denominator",
    "softmax",
    "e = np.exp(z - z.max(axis=1, keepdims=True))\nreturn e / (e.sum(axis=1, keepdims=True) + 1e-8)",
    "test-softmax",
)
_wrong(
    "probabilities limited from below",
    "softmax",
    "e = np.exp(z - z.max(axis=1, keepdims=True))\nreturn np.clip(e / e.sum(axis=1, keepdims=True), 1e-4, 1)",
    "test-softmax",
)
_wrong(
    "first row's sum for every row",
    "softmax",
    "e = np.exp(z - z.max(axis=1, keepdims=True))\nreturn e / e[0].sum()",
    "test-softmax",
)

_forward("float32 weights", z2='X @ params["W1"].astype(np.float32) + params["b1"]')
_forward("input limited to 1", z2='np.clip(X, -1, 1) @ params["W1"] + params["b1"]')
_forward("bias on the activations", z2='X @ params["W1"]', a2='relu(z2) + params["b1"]', says="the bias is missing")
_forward("dropout", a2="relu(z2) * (np.arange(z2.shape[1]) % 2)")
_forward("probabilities of the hidden layer's sum", a3="softmax(z3 - z3.mean(axis=0))")
_forward("logits scaled", z3='(a2 @ params["W2"] + params["b2"]) / np.sqrt(a2.shape[1])')

_entropy(
    "constant of 1e-3 in the logarithm",
    "float(np.mean(-np.log(probabilities[np.arange(len(y)), y] + 1e-3)))",
    "test-cross-entropy",
    "test-stability",
    before=_PROBABILITIES,
)
_entropy(
    "limited to 1e-7",
    "float(np.mean(-np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-7))))",
    "test-stability",
    before=_PROBABILITIES,
)
_entropy(
    "label smoothing",
    "float(np.mean(log_sums - 0.9 * shifted[np.arange(len(y)), y] - 0.1 * shifted.mean(axis=1)))",
)
_entropy("divided by N - 1", "float(np.sum(losses)) / max(len(y) - 1, 1)")
_entropy("divided by the number of classes", "float(np.sum(losses)) / z3.shape[1]")
_entropy("divided by the batch size of the default settings", "float(np.sum(losses)) / 200")
_entropy("largest for mean", "float(np.max(losses))")
_entropy("limited to 10", "float(np.mean(np.minimum(losses, 10)))", "test-stability")
_entropy("rounded", "round(float(np.mean(losses)), 3)", says="rounded to a few decimals")
_entropy("float32", "np.float32(np.mean(losses))", says="(float32)")
_entropy(
    "binary cross-entropy",
    "float(-np.mean(np.log(np.where(Y, probabilities, 1 - probabilities)).sum(axis=1)))",
    "test-cross-entropy",
    "test-stability",
    before=_PROBABILITIES + "Y = np.eye(z3.shape[1], dtype=bool)[y]\n",
)

_loss("default where reg is 0", f"(reg or 0.05) * ({_SQUARES})", says="a fixed strength")
_loss("reg rounded to an integer", f"int(reg) * ({_SQUARES})", says="the regularisation is missing")
_loss("at least 0.2", f"max(reg, 0.2) * ({_SQUARES})")
_loss("reg added", f"reg + {_SQUARES}")
_loss("b2 regularised", f'reg * ({_SQUARES} + np.sum(params["b2"] ** 2))')
_loss("W2 counted twice", f'reg * ({_SQUARES} + np.sum(params["W2"] ** 2))')
_loss("product of the norms", 'reg * np.sum(params["W1"] ** 2) * np.sum(params["W2"] ** 2)')
_loss("squares of the product of the weights", 'reg * np.sum((params["W1"] @ params["W2"]) ** 2)')
_loss("divided by the number of features", f"reg * ({_SQUARES})", data=f"{_DATA} * len(X) / X.shape[1]")
_loss(
    "cross-entropy of the first five rows",
    f"reg * ({_SQUARES})",
    data='softmax_cross_entropy(forward(params, X[:5])["z3"], y[:5])',
)
_loss(
    "cross-entropy of z2",
    f"reg * ({_SQUARES})",
    data='softmax_cross_entropy(forward(params, X)["a2"] @ params["W2"], y)',
)
_loss("cross-entropy doubled", f"reg * ({_SQUARES})", data=f"2 * {_DATA}")

_symbolic("probability of the true class throughout", "sp.exp(z[y]) / total - (1 if k == y else 0)")
_symbolic("a number in place of the exponential", "sp.Float(2.718) ** logit / total - (1 if k == y else 0)")
_symbolic("one class forgotten in the sum", "sp.exp(logit) / (total - sp.exp(z[2])) - (1 if k == y else 0)")

_step("divided by the number of classes", "grad_z3", _DELTA + "return (a3 - delta) / a3.shape[1]")
_step("divided by N - 1", "grad_z3", _DELTA + "return (a3 - delta) / max(len(y) - 1, 1)")
_step(
    "Delta of the first label", "grad_z3", "delta = np.zeros_like(a3)\ndelta[:, y[0]] = 1\nreturn (a3 - delta) / len(y)"
)
_step("single precision", "grad_z3", _DELTA + "return ((a3 - delta) / len(y)).astype(np.float32)", "(float32)")
_step("absolute difference", "grad_z3", _DELTA + "return np.abs(a3 - delta) / len(y)")
_step(
    "labels from the end",
    "grad_z3",
    "delta = np.zeros_like(a3)\ndelta[np.arange(len(y)), -y] = 1\nreturn (a3 - delta) / len(y)",
)
_step("half", "grad_W2", "return 0.5 * a2.T @ dz3", "exactly half")
_step("product of the sums", "grad_W2", "return np.outer(a2.sum(axis=0), dz3.sum(axis=0))")
_step("first sample only", "grad_W2", "return np.outer(a2[0], dz3[0])")
_step("single precision", "grad_W2", "return (a2.T @ dz3).astype(np.float32)", "(float32)")
_step("samples counted from the end", "grad_W2", "return a2[::-1].T @ dz3")
_step("absolute values", "grad_b2", "return np.abs(dz3).sum(axis=0)")
_step("sign", "grad_b2", "return -dz3.sum(axis=0)", "the sign is wrong")
_step("single precision", "grad_b2", "return dz3.astype(np.float32).sum(axis=0)", "(float32)")
_step("hidden units from the end", "grad_a2", "return dz3 @ W2[::-1].T")
_step("ReLU of the gradient", "grad_a2", "return np.maximum(dz3 @ W2.T, 0)")
_step("absolute weights", "grad_a2", "return dz3 @ np.abs(W2).T")
_step("doubled", "grad_a2", "return 2 * dz3 @ W2.T", "exactly twice")
_step("leaky", "grad_z2", "return np.where(z2 > 0, da2, 0.01 * da2)")
_step("all that isn't zero", "grad_z2", "return da2 * (z2 != 0)", "the ReLU's derivative is missing")
_step("derivative of the sigmoid", "grad_z2", "s = 1 / (1 + np.exp(-np.clip(z2, -30, 30)))\nreturn da2 * s * (1 - s)")
_step("twice as much at 0", "grad_z2", "return da2 * (1.0 * (z2 > 0) + 2 * (z2 == 0))")
_step("not a number at 0", "grad_z2", "return da2 * (z2 + np.abs(z2)) / (2 * z2)")
_step("averaged again", "grad_z2", "return da2 * (z2 > 0) / len(z2)", "happens twice")
_step("data cast to integers", "grad_W1", "return X.astype(int).T @ dz2")
_step("centred data", "grad_W1", "return (X - X.mean(axis=0)).T @ dz2")
_step("sign", "grad_W1", "return -X.T @ dz2", "the sign is wrong")
_step("half", "grad_W1", "return X.T @ dz2 / 2", "exactly half")
_step("sign", "grad_b1", "return -dz2.sum(axis=0)", "the sign is wrong")
_step("positive part", "grad_b1", "return np.maximum(dz2, 0).sum(axis=0)")
_step("single number", "grad_b1", "return float(dz2.sum())", "over all entries")

_backward("reg squared", "", "another factor than 2 * reg", old="2 * reg", new="2 * reg ** 2")
_backward(
    "default where reg is 0",
    "",
    "another factor than 2 * reg",
    old="values = forward",
    new="reg = reg or 0.05\nvalues = forward",
)
_backward(
    "squares of the weights", 'grads["W1"] = grads["W1"] + reg * (params["W1"] ** 2 - 2 * params["W1"])', "the squares"
)
_backward(
    "bias gradients not averaged",
    'grads["b1"], grads["b2"] = len(X) * grads["b1"], len(X) * grads["b2"]',
    "once less than those of the weights",
)
_backward(
    "bias gradients averaged twice",
    'grads["b1"], grads["b2"] = grads["b1"] / len(X), grads["b2"] / len(X)',
    "once more than those of the weights",
)
_backward(
    "rows for the biases", 'grads["b1"], grads["b2"] = grads["b1"][None], grads["b2"][None]', "a matrix of one row"
)
_backward("gradient of W1 transposed", 'grads["W1"] = grads["W1"].T', "this is the transpose")
_backward("weights changed by the gradient", "grads = {name: params[name] - value for name, value in grads.items()}")
_backward("first sample only", "", old="values = forward", new="X, y = X[:1], y[:1]\nvalues = forward")
_backward("labels shifted by one", "", old='grad_z3(values["a3"], y)', new='grad_z3(values["a3"], y - 1)')
_backward("gradients clipped", "grads = {name: np.clip(value, -1, 1) for name, value in grads.items()}")
_backward("single precision", "grads = {name: value.astype(np.float32) for name, value in grads.items()}", "(float32)")

_numerical("relative step", "gradient = np", "h = h * max(1.0, float(np.abs(x).max()))\ngradient = np")
_numerical("fixed step in the denominator", "/ (2 * h)", "/ 2e-5")
_numerical("rounded", "return gradient", "return gradient.round(6)", "rounded to a few decimals")
_wrong(
    "moved back by addition",
    "numerical_gradient",
    """
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        below = f(x)
        x[index] += h
        gradient[index] = (above - below) / (2 * h)
    return gradient
    """,
    "test-numerical-gradient",
    says="x + h - h isn't always x",
)
_wrong(
    "flat result",
    "numerical_gradient",
    """
    gradient = []
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        gradient.append((f(x + step) - f(x - step)) / (2 * h))
    return np.array(gradient)
    """,
    "test-numerical-gradient",
)

_relative("constant added below", "np.max(np.abs(a - b) / (np.abs(a) + np.abs(b) + 1e-8))")
_relative("smallest for largest", "np.min(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))")
_relative("sum for maximum", "np.sum(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))")
_relative("smaller limit", "np.max(np.abs(a - b) / np.maximum(1e-12, np.abs(a) + np.abs(b)))")
_relative("mean of both below", "np.max(2 * np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))")
_relative("relative to a", "np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a)))")
_relative("squares", "np.max((a - b) ** 2 / np.maximum(1e-8, a**2 + b**2))")

_checking(
    "absolute values compared",
    """
    errors = {}
    for name, array in params.items():
        numerical = numerical_gradient(lambda changed, name=name: loss_fn({**params, name: changed}), array)
        errors[name] = relative_error(np.abs(numerical), np.abs(grads[name]))
    return errors
    """,
)
_checking(
    "absolute error",
    """
    errors = {}
    for name, array in params.items():
        numerical = numerical_gradient(lambda changed, name=name: loss_fn({**params, name: changed}), array)
        errors[name] = float(np.max(np.abs(numerical - grads[name])))
    return errors
    """,
)
_checking(
    "the late binding of a loop's variable",
    """
    losses = {name: (lambda changed: loss_fn({**params, name: changed})) for name in params}
    name = "W1"
    return {
        key: relative_error(numerical_gradient(lambda _, key=key: losses["W1"](params["W1"]), params[key]), grads[key])
        for key in params
    }
    """,
)

_batch("one row too many", f"indices = rng.permutation(len(X))[: batch_size + 1]\n{_TAKE}", "test-sample-batch")
_batch("one row too few", f"indices = rng.permutation(len(X))[1:batch_size]\n{_TAKE}", "test-sample-batch")
_batch("global generator, seeded", f"np.random.seed(0)\nindices = np.random.choice(len(X), batch_size)\n{_TAKE}")
_batch("global generator", f"indices = np.random.choice(len(X), batch_size)\n{_TAKE}")
_batch("every second row", f"indices = 2 * rng.integers(len(X) // 2, size=batch_size)\n{_TAKE}")
_batch("labels sorted", "i = rng.permutation(len(X))[:batch_size]\nreturn X[i], np.sort(y[i])", "test-sample-batch")
_batch(
    "rows shuffled after the draw",
    "i = rng.permutation(len(X))[:batch_size]\nreturn rng.permutation(X[i]), y[i]",
    "test-sample-batch",
    says="rows and labels are drawn separately",
)
_wrong(
    "everything in single precision",
    "sample_batch",
    """
    rows = np.random.default_rng(rng).permutation(len(X))[:batch_size]
    return X[rows].astype(np.float32), y[rows]
    """,
    "test-sample-batch",
)
_batch("float16", "i = rng.permutation(len(X))[:batch_size]\nreturn X[i].astype(np.float16), y[i]", "test-sample-batch")

_prediction("classes counted from 1", 'forward(params, X)["z3"].argmax(axis=1) + 1')
_prediction("as floats", 'forward(params, X)["z3"].argmax(axis=1).astype(float)')
_prediction("one-hot", 'forward(params, X)["a3"].round()')
_prediction("of the first row", 'np.full(len(X), forward(params, X)["z3"][0].argmax())')
_prediction("second-largest score", 'np.argsort(forward(params, X)["z3"], axis=1)[:, -2]')
_prediction("largest in absolute value", 'np.abs(forward(params, X)["z3"]).argmax(axis=1)')

_training(
    "gradient of the whole set",
    "backward(params, X_batch, y_batch, reg)",
    "backward(params, X, y, reg)",
    "test-train-batches",
)
_training(
    "decays in the first epoch already",
    "history = {",
    "learning_rate *= learning_rate_decay\nhistory = {",
    "test-train-schedule",
)
_training(
    "decays twice",
    "learning_rate *= learning_rate_decay",
    "learning_rate *= learning_rate_decay**2",
    "test-train-schedule",
)
_training(
    "accuracy in percent",
    "float(np.mean(predict(params, X_val) == y_val))",
    "100 * float(np.mean(predict(params, X_val) == y_val))",
    "test-train-schedule",
)
_training("accuracy after every iteration", "if (iteration + 1) % epoch == 0", "if True", "test-train-schedule")
_training(
    "accuracy of the batch",
    "predict(params, X_val) == y_val",
    "predict(params, X_batch) == y_batch",
    "test-train-schedule",
)
_training(
    "number of errors",
    "np.mean(predict(params, X_val) == y_val)",
    "np.sum(predict(params, X_val) != y_val)",
    "test-train-schedule",
)
_training(
    "loss of the whole set, once an epoch",
    'history["loss"].append(loss(params, X_batch, y_batch, reg))',
    'history["loss"] = history["loss"] or [loss(params, X, y, reg)]',
    "test-train-schedule",
)
_training(
    "learning rate of the default settings",
    "rng = np.random.default_rng(rng)",
    "rng = np.random.default_rng(rng)\nlearning_rate = 1e-4",
    "test-train-descent",
    says="the step doesn't depend on learning_rate",
)
_training(
    "gradient averaged again",
    "- learning_rate * gradient",
    "- learning_rate * gradient / len(X_batch)",
    "test-train-descent",
    says="divided by the number of samples once more",
)
_training(
    "no regularisation in the gradient",
    "backward(params, X_batch, y_batch, reg)",
    "backward(params, X_batch, y_batch, 0.0)",
    "test-train-descent",
    says="the regularisation isn't passed on",
)
_training(
    "W1 not trained",
    "    for name, gradient in backward(params, X_batch, y_batch, reg).items():",
    "    for name, gradient in list(backward(params, X_batch, y_batch, reg).items())[1:]:",
    "test-train-descent",
    says="W1 did not change",
)
_training(
    "one iteration too many",
    "range(num_iters)",
    "range(num_iters + 1)",
    "test-train-descent",
    says="one iteration too many",
)
_training(
    "iterations counted as epochs",
    "range(num_iters)",
    "range(num_iters * epoch)",
    "test-train-descent",
    says="here it counts epochs",
)
_training(
    "labels of other rows",
    "backward(params, X_batch, y_batch, reg)",
    "backward(params, X_batch, y[: len(X_batch)], reg)",
    "test-train-batches",
    says="rows and labels of a batch don't belong together",
)
_training(
    "half a batch",
    "sample_batch(X, y, batch_size, rng)",
    "sample_batch(X, y, batch_size // 2, rng)",
    "test-train-batches",
)
_training(
    "double batches",
    "sample_batch(X, y, batch_size, rng)",
    "sample_batch(X, y, 2 * batch_size, rng)",
    "test-train-batches",
)
_training(
    "training data for validation data",
    "predict(params, X[:1000]) == y[:1000]",
    "predict(params, X_val) == y_val",
    "test-train-schedule",
)
_training(
    "seed set anew in each iteration",
    "sample_batch(X, y, batch_size, rng)",
    "sample_batch(X, y, batch_size, np.random.default_rng(0))",
    "test-train-batches",
    says="the same batch is used in several iterations",
)

# --- Several mistakes at once: each costs its own question ---------------------------------


def _several(name: str, bodies: dict[str, str], *loses: str) -> None:
    WRONG.append(Answer(name, {where: function(where, body) for where, body in bodies.items()}, loses))


_several(
    "leaky, and half the regularisation",
    {
        "relu": "return np.where(z > 0, z, 0.1 * z)",
        "loss": f"return {_DATA} + 0.5 * reg * ({_SQUARES})",
    },
    "test-relu",
    "test-loss",
)
_several(
    "columns, no bias, a sum",
    {
        "softmax": "e = np.exp(z - z.max(axis=0))\nreturn e / e.sum(axis=0)",
        "forward": """
        z2 = X @ params["W1"]
        a2 = relu(z2)
        z3 = a2 @ params["W2"]
        return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
        """,
        "softmax_cross_entropy": f"{_SHIFTED.strip()}\nreturn float(np.sum(losses))",
    },
    "test-softmax",
    "test-forward",
    "test-cross-entropy",
)
_several(
    "transposed, and biases regularised",
    {
        "forward": """
        z2 = X @ params["W1"] + params["b1"]
        a2 = relu(z2)
        z3 = a2 @ params["W2"] + params["b2"]
        return {"z2": z2.T, "a2": a2.T, "z3": z3.T, "a3": softmax(z3).T}
        """,
        "loss": f"return {_DATA} + reg * sum(np.sum(value ** 2) for value in params.values())",
    },
    "test-forward",
    "test-loss",
)
_several(
    "not averaged, no mask, no sum",
    {
        "grad_z3": _DELTA + "return a3 - delta",
        "grad_z2": "return da2",
        "grad_b1": "return dz2",
    },
    "test-grad-z3",
    "test-grad-z2",
    "test-grad-b1",
)
_several(
    "transposed, sign, and lambda hard-coded",
    {
        "grad_W2": "return dz3.T @ a2",
        "grad_a2": "return -dz3 @ W2.T",
        "backward": _BACKWARD.replace("2 * reg", "2 * 0.05") + "return grads",
    },
    "test-grad-W2",
    "test-grad-a2",
    "test-backward",
)
_several(
    "every formula transposed",
    {
        "grad_W2": "return dz3.T @ a2",
        "grad_a2": "return W2 @ dz3.T",
        "grad_W1": "return dz2.T @ X",
    },
    "test-grad-W2",
    "test-grad-a2",
    "test-grad-W1",
)
_several(
    "one-sided, and a mean",
    {
        "numerical_gradient": _DIFFERENCES.replace("x[index] - h", "x[index]"),
        "relative_error": "return float(np.mean(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))))",
    },
    "test-numerical-gradient",
    "test-relative-error",
)
_several(
    "first rows, no bias, no decay",
    {
        "sample_batch": "return X[:batch_size], y[:batch_size]",
        "predict": 'return (np.maximum(X @ params["W1"], 0) @ params["W2"]).argmax(axis=1)',
        "train": _TRAIN.replace("        learning_rate *= learning_rate_decay\n", ""),
    },
    "test-sample-batch-random",
    "test-predict",
    "test-train-schedule",
)
_several(
    "labels of other rows, classes along the samples, uphill",
    {
        "sample_batch": """
        rng = np.random.default_rng(rng)
        if batch_size >= len(X):
            return X, y
        return X[rng.permutation(len(X))[:batch_size]], y[rng.permutation(len(X))[:batch_size]]
        """,
        "predict": 'return forward(params, X)["z3"].argmax(axis=0)',
        "train": _TRAIN.replace("- learning_rate * gradient", "+ learning_rate * gradient"),
    },
    "test-sample-batch",
    "test-predict",
    "test-train-descent",
)

# --- Functions that fail: what calls them goes on with a stand-in ----------------------------

_wrong("largest of each column", "relu", "return np.max(z, 0)", "test-relu")
_wrong("largest of each row", "relu", "return np.max(z, axis=1, keepdims=True)", "test-relu")
_wrong("Python's max", "relu", "return max(z, 0)", "test-relu")
_wrong("the positive values alone", "relu", "return z[z > 0]", "test-relu")
_wrong("nothing returned", "relu", "np.maximum(z, 0)", "test-relu")
_wrong("not written", "relu", "raise NotImplementedError()", "test-relu", "test-vectorised")
_wrong(
    "sums without keepdims",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1)
    """,
    "test-softmax",
)
_wrong(
    "a function of numbers, not of arrays",
    "softmax",
    """
    import math
    return math.exp(z) / np.sum(np.exp(z), axis=1)
    """,
    "test-softmax",
    "test-stability",
)
_wrong(
    "the largest of each row, the sum of each column",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=0)
    """,
    "test-softmax",
)
_wrong("nothing returned", "softmax", "z = np.exp(z)", "test-softmax", "test-stability")
_wrong("nothing returned", "forward", "z2 = X @ params['W1'] + params['b1']", "test-forward")
_wrong("not written", "forward", "raise NotImplementedError()", "test-forward", "test-vectorised")
_wrong(
    "a name that isn't defined", "softmax_cross_entropy", "return -np.mean(np.log(a3[np.arange(len(y)), y]))",
    "test-cross-entropy", "test-stability",
)  # fmt: skip
_wrong(
    "nothing returned", "softmax_cross_entropy", f"{_SHIFTED.strip()}\nnp.mean(losses)",
    "test-cross-entropy", "test-stability",
)  # fmt: skip
for _step_name, _body in {
    "grad_z3": "a3[np.arange(len(y)), y] -= 1\na3 /= len(y)",
    "grad_W2": "return a2 @ dz3",
    "grad_b2": "np.sum(dz3, axis=0)",
    "grad_a2": "return dz3 @ W2",
    "grad_z2": "da2[z2 <= 0] = 0",
    "grad_W1": "return dz2 @ X",
    "grad_b1": "return dz2.sum(axis=2)",
}.items():
    _wrong("raises or returns nothing", _step_name, _body, f"test-{_step_name.replace('_', '-')}")
_several(
    "none of the formulas written",
    dict.fromkeys(("grad_z3", "grad_W2", "grad_b2", "grad_a2", "grad_z2", "grad_W1", "grad_b1"), "pass"),
    *(f"test-grad-{_variable}" for _variable in ("z3", "W2", "b2", "a2", "z2", "W1", "b1")),
)
_wrong("nothing returned", "numerical_gradient", "gradient = np.zeros_like(x)", "test-numerical-gradient")
_wrong("one index too many", "numerical_gradient", "return f(x[..., h:]) - f(x)", "test-numerical-gradient")
_wrong("nothing returned", "relative_error", "np.max(np.abs(a - b))", "test-relative-error")
_wrong("Python's max", "relative_error", "return max(abs(a - b))", "test-relative-error")
_wrong("nothing returned", "sample_batch", "indices = rng", "test-sample-batch", "test-sample-batch-random")
_wrong(
    "more rows than there are",
    "sample_batch",
    f"indices = np.random.default_rng(rng).choice(len(X), batch_size, replace=False)\n{_TAKE}",
    "test-sample-batch",
)
_batch("rows scaled", "i = rng.integers(len(X), size=batch_size)\nreturn X[i] / 255, y[i]", "test-sample-batch")
_wrong(
    "rows centred", "sample_batch",
    "i = np.random.default_rng(rng).permutation(len(X))[:batch_size]\nreturn X[i] - X[i].mean(), y[i]",
    "test-sample-batch",
)  # fmt: skip
_wrong("raises", "predict", 'return forward(params, X)["a3"].argmax(dim=1)', "test-predict")
_several(
    "none of the first functions written",
    {"relu": "pass", "softmax": "pass", "softmax_cross_entropy": "pass"},
    "test-relu",
    "test-softmax",
    "test-cross-entropy",
    "test-stability",
)
_batch("transposed", "i = rng.integers(len(X), size=batch_size)\nreturn X[i].T, y[i]", "test-sample-batch")
_batch("all labels", "i = rng.integers(len(X), size=batch_size)\nreturn X[i], y", "test-sample-batch")
_training(
    "losses of the whole set", 'history["loss"].append(loss(params, X_batch, y_batch, reg))',
    'history["loss"].append(loss(params, X, y, reg))', "test-train-batches", says="this isn't the loss of each",
)  # fmt: skip
_ACCURACIES = "".join(_TRAIN.splitlines(keepends=True)[-5:-2])
_wrong(
    "accuracies before the last step of an epoch",
    "train",
    _TRAIN.replace(_ACCURACIES, "    if (iteration + 1) % epoch == 0:\n").replace(
        "    for name, gradient", f"{_ACCURACIES}    for name, gradient"
    ),
    "test-train-schedule",
)

_NOT_AVERAGED = _DELTA + "return a3 - delta"
_several("one not averaged, one missing", {"grad_z3": _NOT_AVERAGED, "grad_a2": "pass"}, "test-grad-z3", "test-grad-a2")
_several(
    "one not averaged, one that raises",
    {"grad_z3": _NOT_AVERAGED, "grad_b1": "return dz2.sum(dim=0)"},
    "test-grad-z3",
    "test-grad-b1",
)
_several(
    "no mask, nothing returned", {"grad_z2": "return da2", "grad_b1": "dz2.sum(0)"}, "test-grad-z2", "test-grad-b1"
)
_wrong("summed once more", "grad_W2", "return np.sum(a2.T @ dz3, axis=0)", "test-grad-W2")
_wrong("sum over the samples forgotten", "grad_W1", "return X[:, :, None] * dz2[:, None, :]", "test-grad-W1")
_wrong("flat", "grad_W1", "return (X.T @ dz2).ravel()", "test-grad-W1")
_wrong("the true classes alone", "grad_z3", "return (a3[np.arange(len(y)), y] - 1) / len(y)", "test-grad-z3")
_wrong("mean over the samples", "grad_z3", f"{_DELTA}return np.mean(a3 - delta, axis=0)", "test-grad-z3")
_wrong(
    "gradient of the probabilities", "grad_z3",
    f"{_DELTA}return -delta / (len(y) * a3)", "test-grad-z3",
)  # fmt: skip
_wrong("the active units alone", "grad_z2", "return da2[z2 > 0]", "test-grad-z2")
_wrong("two values", "grad_z2", "return da2 * (z2 > 0), z2 > 0", "test-grad-z2")
_wrong("a column", "grad_b1", "return dz2.sum(axis=0)[:, None]", "test-grad-b1")

# --- Limits, seen where logits are large or probabilities small --------------------------------

_CLIPPED = """
z2 = X @ params["W1"] + params["b1"]
a2 = relu(z2)
z3 = np.clip(a2 @ params["W2"] + params["b2"], -50, 50)
return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
"""
_wrong("logits limited", "forward", _CLIPPED, "test-forward")
_wrong(
    "probabilities limited", "forward",
    _CLIPPED.replace("np.clip(a2 @ params[\"W2\"] + params[\"b2\"], -50, 50)", "a2 @ params[\"W2\"] + params[\"b2\"]")
    .replace("softmax(z3)}", "np.clip(softmax(z3), 1e-7, 1 - 1e-7)}"), "test-forward",
)  # fmt: skip
_wrong(
    "probabilities limited",
    "softmax",
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return np.clip(exponentials / exponentials.sum(axis=1, keepdims=True), 1e-7, 1 - 1e-7)
    """,
    "test-softmax",
)
_wrong(
    "a guarded logarithm", "loss",
    f"""
    probabilities = forward(params, X)["a3"][np.arange(len(y)), y]
    return -np.mean(np.log(probabilities + 1e-8)) + reg * ({_SQUARES})
    """, "test-loss",
)  # fmt: skip
_several(
    "columns, in a cross-entropy that is right",
    {
        "softmax": "e = np.exp(z - z.max(axis=0))\nreturn e / e.sum(axis=0)",
        "softmax_cross_entropy": "return -np.mean(np.log(softmax(z3)[np.arange(len(y)), y]))",
    },
    "test-softmax",
    "test-stability",
)

# --- The derivative by SymPy, and loops, out of sight -----------------------------------------

_COST = "J = -sp.log(sp.exp(z[y]) / sum(sp.exp(logit) for logit in z))\n"
_wrong(
    "SymPy differentiates in a helper", "dJ_dz3_symbolic", f"{_COST}return [derivative(J, a) for a in z]",
    "test-dJ_dz3-symbolic", before="def derivative(J, a):\n    return sp.diff(J, a)",
)  # fmt: skip
_wrong(
    "SymPy differentiates under another name", "dJ_dz3_symbolic", f"{_COST}return [derivative(J, a) for a in z]",
    "test-dJ_dz3-symbolic", before="from sympy import diff as derivative",
)  # fmt: skip
for _hidden in ('getattr(sp, "di" + "ff")(J, a)', 'eval("sp.di" + "ff(J, a)")', '__import__("sympy").diff(J, a)'):
    _wrong(
        f"SymPy differentiates through {_hidden}", "dJ_dz3_symbolic", f"{_COST}return [{_hidden} for a in z]",
        "test-dJ_dz3-symbolic",
    )  # fmt: skip
_wrong(
    "a helper for numbers, vectorised", "relu", "return of_number(z)", "test-vectorised",
    before="@np.vectorize\ndef of_number(v):\n    return v if v > 0 else 0 * v",
)  # fmt: skip
_wrong(
    "a lambda for numbers, vectorised", "relu", "return of_number(z)", "test-vectorised",
    before="of_number = np.vectorize(lambda v: v if v > 0 else 0 * v)",
)  # fmt: skip
_wrong(
    "rows handed to a helper one by one", "relu", "return np.array(positive(*z))", "test-vectorised",
    before="def positive(*rows):\n    return [np.maximum(row, 0) for row in rows]",
)  # fmt: skip

# --- Arguments destroyed, and what fails or is written twice, in notebooks 1 and 2 ------------------

_LONG = "z = {}.astype(np.longdouble)\n"
_wrong(
    "stable through long double", "softmax",
    _LONG.format("z") + "e = np.exp(z)\nreturn (e / e.sum(axis=1, keepdims=True)).astype(float)", "test-stability",
)  # fmt: skip
_entropy(
    "stable through long double", "float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]))",
    "test-stability", before=_LONG.format("z3"),
)  # fmt: skip
_VALUES = """
z2 = X @ params["W1"] + params["b1"]
a2 = relu(z2)
z3 = a2 @ params["W2"] + params["b2"]
"""
_AS_DICT = 'return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}'
_wrong("X doubled afterwards", "forward", f"{_VALUES}X *= 2\n{_AS_DICT}", "test-forward")
_wrong(
    "b1 overwritten", "forward", f"{_VALUES}params['b1'] = z2\n{_AS_DICT}", "test-forward",
)  # fmt: skip
_wrong("values kept in params", "forward", f"{_VALUES}params['z2'] = z2\n{_AS_DICT}", "test-forward")
_wrong(
    "weights squared in place", "loss",
    f'J = {_DATA}\nfor name in ("W1", "W2"):\n    params[name] **= 2\n    J += reg * params[name].sum()\nreturn J',
    "test-loss",
)  # fmt: skip
_wrong(
    "biases taken out of params", "loss",
    f'J = {_DATA}\nparams.pop("b1"), params.pop("b2")\nreturn J + reg * sum(np.sum(W ** 2) for W in params.values())',
    "test-loss",
)  # fmt: skip
_backward("parameters updated too", "for name in params:\n    params[name] -= 0.1 * grads[name]")
_backward(
    "weights scaled in place",
    'for name in ("W1", "W2"):\n    params[name] *= 2 * reg\n    grads[name] += params[name]',
    old="2 * reg",
    new="0 * reg",
)
_several(
    "wrong formulas that backward doesn't use",
    {
        "grad_z3": _DELTA + "return a3 - delta",
        "grad_z2": "return da2",
        "grad_W1": "return 2 * X.T @ dz2",
        "backward": """
        values = forward(params, X)
        dz3 = (values["a3"] - np.eye(values["a3"].shape[1])[y]) / len(X)
        dz2 = dz3 @ params["W2"].T * (values["z2"] > 0)
        return {
            "W1": grad_W1(X, dz2) + 2 * reg * params["W1"], "b1": grad_b1(dz2),
            "W2": grad_W2(values["a2"], dz3) + 2 * reg * params["W2"], "b2": grad_b2(dz3),
        }
        """,
    },
    "test-grad-z3",
    "test-grad-z2",
    "test-grad-W1",
)
_several(
    "a formula averaged twice, and another one in backward",
    {
        "grad_W2": "return a2.T @ dz3 / len(a2)",
        "backward": _BACKWARD.replace('grad_W2(values["a2"], dz3)', '2 * values["a2"].T @ dz3') + "return grads",
    },
    "test-grad-W2",
    "test-backward",
)
for _name, _returned in {"a tuple": "z2, a2, z3, softmax(z3)", "a list": "[z2, a2, z3, softmax(z3)]"}.items():
    _wrong(_name, "forward", f"{_VALUES}return {_returned}", "test-forward")
_wrong("the scores alone", "forward", f"{_VALUES}return softmax(z3)", "test-forward")
_wrong(
    "z3 shifted", "forward",
    f"{_VALUES}z3 -= z3.max(axis=1, keepdims=True)\n{_AS_DICT}",
    "test-forward", says="z3 has lost the largest logit",
)  # fmt: skip
_wrong(
    "lists of one array", "forward",
    f"{_VALUES}return {{'z2': [z2], 'a2': [a2], 'z3': [z3], 'a3': [softmax(z3)]}}", "test-forward",
)  # fmt: skip
_wrong(
    "parameters taken out of the dict", "forward",
    _VALUES.replace("params[", "params.pop(").replace("]", ")")
    + "return {'z2': z2, 'a2': a2, 'z3': z3, 'a3': softmax(z3)}",
    "test-forward",
)  # fmt: skip
_several(
    "params for W2, as backward knows",
    {
        "grad_a2": 'return dz3 @ W2["W2"].T',
        "backward": _BACKWARD.replace('params["W2"])', "params)", 1) + "return grads",
    },
    "test-grad-a2",
)
WRONG.append(
    Answer(
        "regularised, with parameters of its own",
        {
            "grad_W2": "def grad_W2(a2, dz3, W2, reg):\n    return a2.T @ dz3 + 2 * reg * W2\n",
            "backward": function(
                "backward",
                _BACKWARD.replace('dz3) + 2 * reg * params["W2"]', 'dz3, params["W2"], reg)') + "return grads",
            ),
        },
        ("test-grad-W2",),
    )
)
_several(
    "a tuple, which the loss unpacks",
    {
        "forward": f"{_VALUES}return z2, a2, z3, softmax(z3)",
        "loss": f"z2, a2, z3, a3 = forward(params, X)\nreturn softmax_cross_entropy(z3, y) + reg * ({_SQUARES})",
    },
    "test-forward",
)
_several(
    "the scores alone, of which the loss takes the logarithm",
    {
        "forward": f"{_VALUES}return softmax(z3)",
        "loss": f"p = forward(params, X)[np.arange(len(y)), y]\nreturn -np.mean(np.log(p)) + reg * ({_SQUARES})",
    },
    "test-forward",
)
_wrong("nan for negative values", "relu", "return z * (z > 0) / (z > 0)", "test-relu")
_wrong("minus infinity for negative values", "relu", "return np.where(z > 0, z, -np.inf)", "test-relu")
_wrong(
    "nan in a row", "softmax",
    "e = np.exp(z - z.max(axis=1, keepdims=True))\nreturn e / np.where(e < 1, e.sum(axis=1, keepdims=True), np.nan)",
    "test-softmax", "test-stability",
)  # fmt: skip
_wrong("logarithms of logits", "forward", f"{_VALUES}z3 = np.log(z3)\n{_AS_DICT}", "test-forward")
_entropy("logarithm of the logits", "np.mean(np.log(z3[np.arange(len(y)), y]))", "test-cross-entropy", "test-stability",
         before="")  # fmt: skip
_step("infinite", "grad_W2", "return a2.T @ dz3 / 0")
_step("nan where z2 is negative", "grad_z2", "return da2 * np.maximum(z2, 0) / np.maximum(z2, 0)")
_step("zeros", "grad_b2", "return np.zeros(dz3.shape[1])", "every value is zero")
_step("dz3 divided in place", "grad_W2", "dz3 /= len(dz3)\nreturn a2.T @ dz3")
WRONG.append(
    Answer(
        "an instance that raises",
        {"grad_b1": "class Sum:\n    def __call__(self, d):\n        return d.sum(dim=0)\n\n\ngrad_b1 = Sum()\n"},
        ("test-grad-b1",),
    )
)
_step("dz3 spent", "grad_W2", "gradient = a2.T @ dz3\ndz3[:] = 0\nreturn gradient")
_several(
    "an activation where z2 belongs",
    {
        "grad_z2": "return da2 * (z2 >= 0)",
        "backward": _BACKWARD.replace('values["z2"]', 'values["a2"]') + "return grads",
    },
    "test-backward",
)
WRONG[-1] = WRONG[-1]._replace(says="go on with what grad_z2 returns, for z2 itself, not a2")

_ROW_BY_ROW = "return np.array([np.maximum(row, 0) for row in z])"
_wrong(
    "loop in a method", "relu", "return ReLU()(z)", "test-vectorised",
    before=f"class ReLU:\n    def __call__(self, z):\n        {_ROW_BY_ROW}",
)  # fmt: skip
_wrong(
    "loop in a static method", "relu", "return Functions.relu(z)", "test-vectorised",
    before=f"class Functions:\n    @staticmethod\n    def relu(z):\n        {_ROW_BY_ROW}",
)  # fmt: skip
_wrong(
    "loop in the method of a base class", "relu", "return ReLU().apply(z)", "test-vectorised",
    before="""
    class Layer:
        def apply(self, z):
            return np.stack([self.of_row(row) for row in z])


    class ReLU(Layer):
        def of_row(self, row):
            return np.maximum(row, 0)
    """,
)  # fmt: skip
_DEFINED_OTHERWISE = {
    "loop behind another name": f"def positive(z):\n    {_ROW_BY_ROW}\n\n\nrelu = positive\n",
    "loop behind a partial function": (
        "from functools import partial\n\n\ndef by_rows(f, z):\n    return np.array([f(row) for row in z])\n\n\n"
        "relu = partial(by_rows, lambda row: np.maximum(row, 0))\n"
    ),
    "loop in an instance": f"class ReLU:\n    def __call__(self, z):\n        {_ROW_BY_ROW}\n\n\nrelu = ReLU()\n",
}
for _name, _code in _DEFINED_OTHERWISE.items():
    WRONG.append(Answer(_name, {"relu": _code}, ("test-vectorised",)))
for _vectorised in ("np.vectorize(of_number)", "np.frompyfunc(of_number, 1, 1)"):
    _wrong(
        f"a helper by {_vectorised}", "relu", "return positive(z).astype(float)", "test-vectorised",
        before=f"def of_number(v):\n    return v if v > 0 else 0.0 * v\n\n\npositive = {_vectorised}",
    )  # fmt: skip
_wrong(
    "loop that extends a list", "relu",
    "rows = []\nrows.extend(np.maximum(row, 0) for row in z)\nreturn np.array(rows)", "test-vectorised",
)  # fmt: skip
_wrong(
    "while over the classes", "softmax",
    """
    e = np.exp(z - z.max(axis=1, keepdims=True))
    k, total = 0, 0
    while k < z.shape[1]:
        total = total + e[:, k]
        k += 1
    return e / total[:, None]
    """,
    "test-vectorised",
)  # fmt: skip
_wrong(
    "PyTorch's functions under another name", "softmax", "return F.softmax(torch.tensor(z), dim=1).numpy()",
    "test-vectorised", before="import torch\n\nF = torch.nn.functional",
)  # fmt: skip

# --- More on training, batches and differences ------------------------------------------------

_wrong(
    "a batch for each epoch",
    "train",
    _TRAIN.replace(
        "    X_batch, y_batch = sample_batch(X, y, batch_size, rng)\n",
        """    if iteration % epoch == 0:
        rows = rng.permutation(len(X))[:batch_size]
        X_batch, y_batch = X[rows], y[rows]
""",
    ),
    "test-train-batches",
    says="the same batch is used in several iterations",
)
_training(
    "accuracies after the first step of the next epoch", "if (iteration + 1) % epoch == 0:",
    "if iteration and iteration % epoch == 0:", "test-train-schedule",
)  # fmt: skip
_batch(
    "a window that the end cuts off", "k = rng.integers(len(X))\nreturn X[k : k + batch_size], y[k : k + batch_size]",
    "test-sample-batch",
)  # fmt: skip
_batch(
    "whole batches, one after the other",
    "k = rng.integers(len(X) // batch_size) * batch_size\nreturn X[k : k + batch_size], y[k : k + batch_size]",
    "test-sample-batch-random",
)  # fmt: skip
_wrong("sizes of the differences", "numerical_gradient",
       _DIFFERENCES.replace("(above - below)", "abs(above - below)"), "test-numerical-gradient")  # fmt: skip

# --- History, generators, batches and schedules -----------------------------------------------

_SCHEDULE = "test-train-schedule"
for _name, _rows in {
    "the last batch": "predict(params, X_batch) == y_batch",
    "all rows": "predict(params, X) == y",
    "the last 1,000 rows": "predict(params, X[-1000:]) == y[-1000:]",
    "the first 100 rows": "predict(params, X[:100]) == y[:100]",
}.items():
    _training(f"training accuracy on {_name}", "predict(params, X[:1000]) == y[:1000]", _rows, _SCHEDULE)
_TRAIN_ACCURACY, _VAL_ACCURACY = _TRAIN.splitlines(keepends=True)[-4:-2]
_wrong(
    "training accuracy before the last step, validation accuracy after it",
    "train",
    _TRAIN.replace(_TRAIN_ACCURACY, "").replace(
        "    for name, gradient", f"    if (iteration + 1) % epoch == 0:\n{_TRAIN_ACCURACY}    for name, gradient"
    ),
    _SCHEDULE,
)
_training(
    "no record after the very last iteration", "if (iteration + 1) % epoch == 0:",
    "if (iteration + 1) % epoch == 0 and iteration + 1 < num_iters:", _SCHEDULE,
)  # fmt: skip
_wrong(
    "accuracies at the start of the next epoch",
    "train",
    _TRAIN.replace(_TRAIN_ACCURACY, "").replace(_VAL_ACCURACY, "").replace(
        "    X_batch,", f"    if iteration and iteration % epoch == 0:\n{_TRAIN_ACCURACY}{_VAL_ACCURACY}    X_batch,"
    ),
    _SCHEDULE,
)  # fmt: skip
_training(
    "the first epoch's accuracy for the second as well", "return params, history",
    'history["val_accuracy"][1:2] = history["val_accuracy"][:1] * (len(history["val_accuracy"]) > 1)\n'
    "return params, history", _SCHEDULE,
)  # fmt: skip
_training("takes seeds alone", "default_rng(rng)", "default_rng(int(rng))", "test-train-batches")
_training(
    "replaces a generator", "default_rng(rng)", "default_rng(rng if isinstance(rng, int) else 0)", "test-train-batches"
)
_training(
    "seed handed on in each iteration", "rng = np.random.default_rng(rng)\n", "", "test-train-batches",
    says="draw a new one in each, with one generator",
)  # fmt: skip
for _name, _generator in {
    "takes seeds alone": "np.random.default_rng(int(rng))",
    "a legacy generator": "np.random.RandomState(rng)",
    "replaces a generator": "np.random.default_rng(rng if isinstance(rng, int) else 0)",
    "copies the generator": "np.random.default_rng(__import__('copy').deepcopy(rng))",
}.items():
    _wrong(
        _name,
        "sample_batch",
        f"if batch_size >= len(X):\n    return X, y\ni = {_generator}.permutation(len(X))[:batch_size]\n"
        "return X[i], y[i]",
        "test-sample-batch-random",
    )
_training(
    "loss and gradient of two draws", "loss(params, X_batch, y_batch, reg)",
    "loss(params, *sample_batch(X, y, batch_size, rng), reg)", "test-train-batches",
)  # fmt: skip
_training(
    "loss of the first rows", "loss(params, X_batch, y_batch, reg)", "loss(params, X[:20], y[:20], reg)",
    "test-train-batches",
)  # fmt: skip
_training(
    "one sample too few", "sample_batch(X, y, batch_size, rng)", "sample_batch(X, y, batch_size - 1, rng)",
    "test-train-batches",
)  # fmt: skip
_training(
    "first sample of each batch dropped", '    history["loss"]',
    '    X_batch, y_batch = X_batch[1:], y_batch[1:]\n    history["loss"]', "test-train-batches",
)  # fmt: skip
_training(
    "batch size of the default settings", "sample_batch(X, y, batch_size, rng)", "sample_batch(X, y, 200, rng)",
    "test-train-batches",
)  # fmt: skip
_training(
    "labels drawn separately", '    history["loss"]',
    '    y_batch = y[rng.integers(len(y), size=len(y_batch))]\n    history["loss"]', "test-train-batches",
    says="rows and labels of a batch don't belong together",
)  # fmt: skip
_wrong(
    "in place",
    "train",
    _TRAIN.replace("array.copy()", "array").replace(
        "params[name] = params[name] - learning_rate", "params[name] -= learning_rate"
    ),
    "test-train-descent",
    says="the steps are made in place",
)
_training("whole epochs only", "range(num_iters)", "range(num_iters // epoch * epoch)", "test-train-descent",
          says="only whole epochs are trained")  # fmt: skip
_training("last epoch to its end", "range(num_iters)", "range(-(-num_iters // epoch) * epoch)", "test-train-descent",
          says="the last epoch is trained to its end")  # fmt: skip
_NO_DECAY = _TRAIN.replace("        learning_rate *= learning_rate_decay\n", "")
for _name, _rate in {
    "inverse of the epoch": "learning_rate / (1 + learning_rate_decay * (iteration // epoch))",
    "inverse of the iteration": "learning_rate / (1 + learning_rate_decay * iteration)",
    "exponential of the epoch": "learning_rate * np.exp(-learning_rate_decay * (iteration // epoch))",
    "decay taken off 1": "learning_rate * (1 - learning_rate_decay) ** (iteration // epoch)",
    "decay times the epoch": "learning_rate * learning_rate_decay * (iteration // epoch + 1)",
    "decay subtracted": "(learning_rate - learning_rate_decay * (iteration // epoch))",
    "part of an epoch counted": "learning_rate * learning_rate_decay ** (iteration / epoch)",
    "every second epoch": "learning_rate * learning_rate_decay ** (iteration // epoch // 2)",
}.items():
    _wrong(f"learning rate: {_name}", "train", _NO_DECAY.replace("- learning_rate *", f"- {_rate} *"), _SCHEDULE)
_wrong(
    "decays after as many iterations as there are rows", "train",
    _NO_DECAY.replace("- learning_rate *", "- learning_rate * learning_rate_decay ** (iteration // len(X)) *"),
    _SCHEDULE, says="the learning rate is the same in the first two epochs and beyond",
)  # fmt: skip
_STEP = "        params[name] = params[name] - learning_rate * gradient\n"
for _name, _update in {
    "momentum": """\
        velocity[name] = 0.9 * velocity.get(name, 0) - learning_rate * gradient
        params[name] = params[name] + velocity[name]
""",
    "Adam": """\
        velocity[name] = 0.9 * velocity.get(name, 0) + 0.1 * gradient
        squares[name] = 0.999 * squares.get(name, 0) + 0.001 * gradient**2
        mean, square = velocity[name] / (1 - 0.9 ** (iteration + 1)), squares[name] / (1 - 0.999 ** (iteration + 1))
        params[name] = params[name] - learning_rate * mean / (np.sqrt(square) + 1e-8)
""",
    "signs of the gradients": _STEP.replace("gradient", "np.sign(gradient)"),
    "gradients of length 1": _STEP.replace("gradient", "gradient / (1e-8 + np.linalg.norm(gradient))"),
    "gradients clipped": _STEP.replace("gradient", "np.clip(gradient, -0.1, 0.1)"),
}.items():
    _wrong(_name, "train", "velocity, squares = {}, {}" + _TRAIN.replace(_STEP, _update), "test-train-descent")

# --- Results of another type: what calls the function isn't to blame --------------------------

_wrong(
    "labels as floats", "sample_batch",
    "i = np.random.default_rng(rng).permutation(len(X))[:batch_size]\nreturn X[i], y[i].astype(float)",
    "test-sample-batch",
)  # fmt: skip
for _name, _returned in {
    "one array": "np.column_stack([X[i], y[i]])",
    "no labels": "X[i]",
    "the indices too": "(X[i], y[i], i)",
    "a dict": "{'X': X[i], 'y': y[i]}",
    "indices alone": "i",
}.items():
    _draw = f"i = np.random.default_rng(rng).permutation(len(X))[:batch_size]\nreturn {_returned}"
    _wrong(f"returns {_name}", "sample_batch", _draw, "test-sample-batch")
    if _name in ("the indices too", "a dict"):
        _taken = "X_batch, y_batch, _ =" if "indices" in _name else "X_batch, y_batch = (lambda b: (b['X'], b['y']))("
        _call = "sample_batch(X, y, batch_size, rng)"
        _used = f"{_taken} {_call}" if "indices" in _name else f"{_taken}{_call})"
        _several(
            f"returns {_name}, which train knows",
            {"sample_batch": _draw, "train": _TRAIN.replace(f"X_batch, y_batch = {_call}", _used)},
            "test-sample-batch",
        )
_prediction("a column", 'forward(params, X)["z3"].argmax(axis=1, keepdims=True)')
_prediction("rows of 0 and 1", 'np.eye(params["b2"].size, dtype=int)[forward(params, X)["z3"].argmax(axis=1)]')
_prediction("classes and scores", '(forward(params, X)["z3"].argmax(axis=1), forward(params, X)["z3"])')
_prediction("a dict", '{"classes": forward(params, X)["z3"].argmax(axis=1)}')
_several(
    "probabilities, of which train takes the largest",
    {
        "predict": 'return forward(params, X)["a3"]',
        "train": _TRAIN.replace("X[:1000])", "X[:1000]).argmax(axis=1)").replace("X_val)", "X_val).argmax(axis=1)"),
    },
    "test-predict",
)
_QUOTIENTS = "np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))"
_CHECK = """
errors = {}
for name, array in params.items():
    numerical = numerical_gradient(lambda changed, name=name: loss_fn({**params, name: changed}), array)
    errors[name] = float(relative_error(numerical, grads[name]))
return errors
"""
for _name, _returned in {
    "all quotients": _QUOTIENTS,
    "an array of one number": f"np.atleast_1d(np.max({_QUOTIENTS}))",
    "the place too": f"(np.max({_QUOTIENTS}), np.argmax({_QUOTIENTS}))",
}.items():
    _several(
        f"{_name}, where a number is asked for",
        {"relative_error": f"return {_returned}", "check_gradients": _CHECK},
        "test-relative-error",
    )
for _name, _returned in {
    "the step too": "gradient, h", "the value too": "gradient, f(x)", "a dict": "{'gradient': gradient}",
}.items():  # fmt: skip
    _numerical(f"returns {_name}", "return gradient", f"return {_returned}")
_several(
    "the value too, which check_gradients knows",
    {
        "numerical_gradient": _DIFFERENCES.replace("return gradient", "return gradient, f(x)"),
        "check_gradients": _CHECK.replace(", array)", ", array)[0]"),
    },
    "test-numerical-gradient",
)
_checking("a step of gradient descent", _CHECK.replace("return", "params['W1'] -= 0.1 * grads['W1']\nreturn"))
_checking("params emptied", _CHECK.replace("return", "params.clear()\nreturn"))
_wrong(
    "five points",
    "numerical_gradient",
    """
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[index] = h
        gradient[index] = (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * h)
    return gradient
    """,
    "test-numerical-gradient",
    says="a formula of higher order",
)
_wrong(
    "never put back",
    "numerical_gradient",
    """
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        old = x[index]
        x[index] = old + h
        above = f(x)
        x[index] = old - h
        gradient[index] = (above - f(x)) / (2 * h)
    return gradient
    """,
    "test-numerical-gradient",
    says="each entry stays at x - h",
)
_relative(
    "by |b| alone", "np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(b)))", "by one of |a| and |b|, the larger perhaps"
)
for _name, _error in {
    "the smaller for the larger": "np.max(np.abs(a - b) / np.minimum(1e-8, np.abs(a) + np.abs(b)))",
    "the place of the largest": "np.argmax(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))",
    "its logarithm": "np.log10(np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))))",
    "as a text": "f'{np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))):.1e}'",
}.items():
    _relative(_name, _error)
_wrong("nothing but nan", "numerical_gradient", "return np.full(x.shape, np.nan)", "test-numerical-gradient")
_checking(
    "functions in a dict, all of the last name",
    """
    losses = {}
    for name in params:
        losses[name] = lambda changed: loss_fn({**params, name: changed})
    return {key: relative_error(numerical_gradient(losses[key], params[key]), grads[key]) for key in params}
    """,
)
_wrong(
    "counted from 1, and not to the last",
    "train",
    _TRAIN.replace("range(num_iters)", "range(1, num_iters)").replace("(iteration + 1)", "iteration"),
    "test-train-descent",
    says="too few",
)
_training("an epoch of no iteration", "max(len(X) // batch_size, 1)", "len(X) // batch_size", "test-train-schedule")
_training(
    "return in the loop", "return params, history", "    return params, history",
    "test-train-descent", says="only the first iteration is made",
)  # fmt: skip
_training(
    "accuracy on the first 1000 rows of the validation data",
    "predict(params, X_val) == y_val", "predict(params, X_val[:1000]) == y_val[:1000]", "test-train-schedule",
)  # fmt: skip
_wrong(
    "shuffled once, and the same batches in each epoch",
    "train",
    _TRAIN.replace("for iteration", "order = rng.permutation(len(X))\nfor iteration").replace(
        "X_batch, y_batch = sample_batch(X, y, batch_size, rng)",
        "rows = order[iteration % epoch * batch_size :][:batch_size]\n    X_batch, y_batch = X[rows], y[rows]",
    ),
    "test-train-batches",
    says="shuffled once",
)
_batch(
    "data shuffled in place, without the labels",
    "rng.shuffle(X)\nreturn X[:batch_size], y[:batch_size]",
    "test-sample-batch",
)
_batch(
    "lists of rows and of labels",
    "rows = rng.permutation(len(X))[:batch_size]\nreturn [X[row] for row in rows], [y[row] for row in rows]",
    "test-sample-batch",
)
_training("trained in single precision", "array.copy()", "array.astype(np.float32)", "test-train-descent")

# --- Trainings that tell one property from another ----------------------------------------------

_DESCENT, _BATCHES = "test-train-descent", "test-train-batches"
_DRAW = "X_batch, y_batch = sample_batch(X, y, batch_size, rng)"
_LOOP = "for iteration in range(num_iters):"


def _drawn(name: str, before: str, draw: str, *loses: str, says: str = "") -> None:
    body = _TRAIN.replace(_LOOP, f"{before}\n{_LOOP}").replace(_DRAW, draw.replace("\n", "\n    "))
    _wrong(name, "train", body, *loses, says=says)


_training("num_iters ignored", "range(num_iters)", "range(100)", _DESCENT, says="num_iters is ignored")
_training(
    "stops when the loss stays the same", "    if (iteration + 1) % epoch == 0:",
    """    if len(history["loss"]) > 3 and abs(history["loss"][-1] - history["loss"][-2]) < 1e-8:
        break
    if (iteration + 1) % epoch == 0:""", _DESCENT, says="stops early",
)  # fmt: skip
_training(
    "stops when the validation accuracy no longer rises", "        learning_rate *= learning_rate_decay\n",
    """        learning_rate *= learning_rate_decay
        if len(history["val_accuracy"]) > 3 and history["val_accuracy"][-1] <= max(history["val_accuracy"][:-1]):
            break
""", _DESCENT, says="stops early",
)  # fmt: skip
_training("the parameters replaced by the step", "params[name] - learning_rate", "-learning_rate", _DESCENT,
          says="replaced by the step")  # fmt: skip
_training("reg squared", "backward(params, X_batch, y_batch, reg)", "backward(params, X_batch, y_batch, reg**2)",
          _DESCENT, says="reg is multiplied to the regularisation twice")  # fmt: skip
for _name, _change, _says in (
    ("centred", "X - X.mean(axis=0)", "the mean of the rows is subtracted"),
    ("cut to whole numbers", "X.astype(int)", "cut to whole numbers"),
    ("in single precision", "X.astype(np.float32)", "single precision"),
):
    _training(f"data {_name}", "history = {", f"X = {_change}\nhistory = {{", _DESCENT, says=_says)
for _name, _factor in {
    "half a cosine": "(1 + np.cos(np.pi * iteration / num_iters)) / 2",
    "warming up": "min(1, (iteration + 1) / epoch)",
}.items():
    _training(f"learning rate: {_name}", "learning_rate * gradient", f"learning_rate * {_factor} * gradient", _SCHEDULE,
              says="changes within an epoch")  # fmt: skip
_training("decay and accuracies at t % E == 0", "(iteration + 1) % epoch", "iteration % epoch", _SCHEDULE,
          says="t % E == 0")  # fmt: skip
_training(
    "smoothed losses", 'history["loss"].append(loss(params, X_batch, y_batch, reg))',
    '''value = loss(params, X_batch, y_batch, reg)
    history["loss"].append(0.9 * history["loss"][-1] + 0.1 * value if history["loss"] else value)''', _SCHEDULE,
    says="these aren't the losses of the iterations' own batches",
)  # fmt: skip
_wrong(
    "momentum, and no decay", "train",
    "velocity = {}\n" + _NO_DECAY.replace(_STEP, """\
        velocity[name] = 0.9 * velocity.get(name, 0) - learning_rate * gradient
        params[name] = params[name] + velocity[name]
"""), _DESCENT, _SCHEDULE, says="it doesn't decay after each",
)  # fmt: skip
_wrong(
    "rows of biases", "train",
    _TRAIN.replace("return params", "params = {k: v[np.newaxis] if k[0] == 'b' else v for k, v in params.items()}\n"
                   "return params"), _DESCENT, says="without keepdims",
)  # fmt: skip
_training("trained on the validation data", "sample_batch(X, y,", "sample_batch(X_val, y_val,", _BATCHES,
          says="drawn from X_val")  # fmt: skip
_ORDER = "order = rng.permutation(len(X))"
_drawn(
    "a window that slides over one shuffle", _ORDER,
    "rows = order[np.arange(iteration, iteration + batch_size) % len(X)]\nX_batch, y_batch = X[rows], y[rows]",
    _BATCHES, says="a window that slides",
)  # fmt: skip
_drawn(
    "one shuffle that begins again", _ORDER,
    "rows = order[np.arange(iteration * batch_size, (iteration + 1) * batch_size) % len(X)]\n"
    "X_batch, y_batch = X[rows], y[rows]", _BATCHES, says="shuffled once",
)  # fmt: skip
_drawn(
    "a shuffle that isn't used", _ORDER,
    "k = iteration % epoch * batch_size\nX_batch, y_batch = X[k : k + batch_size], y[k : k + batch_size]", _BATCHES,
    says="the rows come in their order",
)  # fmt: skip
_OWN = """
rng = np.random.default_rng(rng)
params = {name: array.copy() for name, array in params.items()}
history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
epoch = max(len(X) // batch_size, 1)
for iteration in range(num_iters):
    rate = learning_rate * learning_rate_decay ** (iteration // epoch)
    rows = rng.integers(len(X), size=min(batch_size, len(X)))
    W1, b1, W2, b2 = (params[name] for name in ("W1", "b1", "W2", "b2"))
    z2 = X[rows] @ W1 + b1
    a2 = np.maximum(z2, 0)
    z3 = a2 @ W2 + b2
    a3 = np.exp(z3 - z3.max(axis=1, keepdims=True))
    a3 /= a3.sum(axis=1, keepdims=True)
    own = np.arange(len(rows)), y[rows]
    history["loss"].append(-np.log(a3[own]).mean() + reg * (np.sum(W1**2) + np.sum(W2**2)))
    dz3 = a3.copy()
    dz3[own] -= 1
    dz3 /= len(rows)
    dz2 = dz3 @ W2.T
    dz2[z2 <= 0] = 0
    gradients = {"W1": X[rows].T @ dz2 + 2 * reg * W1, "b1": dz2.sum(axis=0),
                 "W2": a2.T @ dz3 + 2 * reg * W2, "b2": dz3.sum(axis=0)}
    params = {name: array - rate * gradients[name] for name, array in params.items()}
    if (iteration + 1) % epoch == 0:
        history["train_accuracy"].append(float(np.mean(predict(params, X[:1000]) == y[:1000])))
        history["val_accuracy"].append(float(np.mean(predict(params, X_val) == y_val)))
return params, history
"""
for _name, _old, _new, _question, _says in (
    ("not averaged", "dz3 /= len(rows)", "pass", _DESCENT, "summed over the batch"),
    ("averaged over all rows", "dz3 /= len(rows)", "dz3 /= len(X)", _DESCENT, "divided by len(X)"),
    ("mask of the gradient", "dz2[z2 <= 0]", "dz2[dz2 <= 0]", _DESCENT, "look at the gradients of W1 and b1"),
    ("half the penalty's gradient", "2 * reg", "reg", _DESCENT, "has half its gradient"),
    ("biases averaged", "dz3.sum(axis=0)", "dz3.mean(axis=0)", _DESCENT, "look at the gradients of b2"),
    ("half a penalty in the loss", "reg * (np.sum", "0.5 * reg * (np.sum", _SCHEDULE, "half the regularisation"),
):
    _wrong(f"own formulas: {_name}", "train", _OWN.replace(_old, _new), _question, says=_says)
_batch("labels are the indices", "i = rng.integers(len(X), size=batch_size)\nreturn X[i], i", "test-sample-batch",
       says="these are the indices of the rows")  # fmt: skip
_wrong(
    "arguments of choice exchanged", "sample_batch",
    "rows = np.random.default_rng(rng).choice(batch_size, len(X))\nreturn X[rows], y[rows]",
    "test-sample-batch", "test-sample-batch-random", says="the arguments are swapped",
)  # fmt: skip
_prediction("ReLU on the scores too", 'np.maximum(forward(params, X)["z3"], 0).argmax(axis=1)', "applied to the scores")

# --- Data on which the one property shows -----------------------------------------------------

_wrong(
    "the whole set where there are rows enough", "sample_batch",
    "if len(X) >= batch_size:\n    return X, y\ni = np.random.default_rng(rng).integers(len(X), size=batch_size)\n"
    "return X[i], y[i]",
    "test-sample-batch", says="the batch is the whole set, where batch_size rows are asked for",
)  # fmt: skip
_batch("each row with a probability", "i = rng.random(len(X)) < batch_size / len(X)\nreturn X[i], y[i]",
       "test-sample-batch")  # fmt: skip
_batch("one row, repeated", f"indices = np.full(batch_size, rng.integers(len(X)))\n{_TAKE}", says="few rows are drawn")
_batch(
    "the data themselves shuffled",
    "order = rng.permutation(len(X))\nX[:], y[:] = X[order], y[order]\nreturn X[:batch_size], y[:batch_size]",
    "test-sample-batch",
)  # fmt: skip
_batch("rows of 0 and 1 for labels", "i = rng.integers(len(X), size=batch_size)\nreturn X[i], np.eye(10)[y[i]]",
       "test-sample-batch")  # fmt: skip
_batch("single numbers", "i = rng.integers(len(X), size=batch_size)\nreturn np.take(X, i), y[i]", "test-sample-batch",
       says="these are single numbers of X")  # fmt: skip
_prediction(
    "rows of 0 and 1 as floats", '(lambda p: 1.0 * (p == p.max(axis=1, keepdims=True)))(forward(params, X)["a3"])',
    "these are rows of 0 and 1",
)  # fmt: skip
_prediction("tanh for the ReLU", '(np.tanh(forward(params, X)["z2"]) @ params["W2"] + params["b2"]).argmax(axis=1)',
            "the hidden units are tanh(z2)")  # fmt: skip
_ENDS = "aren't those with which the training ends"
for _name, _old, _new, _loses, _says in (
    ("the mean of the parameters returned", "return params,", "return {name: (array + params[name]) / 2 for name, array"
     " in given.items()},", _DESCENT, _ENDS),
    ("the given parameters returned", "return params,", "return given,", _DESCENT, _ENDS),
    ("no step in the first iteration", "learning_rate * gradient", "(iteration > 0) * learning_rate * gradient",
     _DESCENT, "no step is made in the first iteration"),
    ("gradient at the start", "backward(params,", "backward(given,", _DESCENT, "each step is the same as the first"),
    ("steps from the start", "= params[name] - learning_rate", "= given[name] - learning_rate", _DESCENT,
     "each step starts from the given parameters again"),
    ("decayed too", "- learning_rate * gradient", "* (1 - learning_rate) - learning_rate * gradient", _DESCENT,
     "a multiple of the parameters themselves"),
    ("decay an epoch late", "        learning_rate *= ", "        learning_rate *= 1 if iteration < epoch else ",
     _SCHEDULE, "the same in the first two epochs, and decays after the second"),
    ("accuracies of the unfinished epoch too", "if (iteration + 1) % epoch == 0:", "if (iteration + 1) % epoch == 0 or"
     " iteration == num_iters - 1:", _SCHEDULE, "after the last iteration too"),
    ("batches from the first 1,000 rows", "sample_batch(X, y,", "sample_batch(X[:1000], y[:1000],", _BATCHES,
     "drawn from the first 1,000 rows"),
):  # fmt: skip
    _body = _TRAIN.replace("params = {name: array", "given = params\nparams = {name: array").replace(_old, _new)
    _wrong(_name, "train", _body, _loses, says=_says)
_drawn("batches that grow", "order = rng.permutation(len(X))",
       "last = (iteration % epoch + 1) * batch_size\nX_batch, y_batch = X[order[:last]], y[order[:last]]\n"
       "if last >= epoch * batch_size:\n    order = rng.permutation(len(X))",
       _BATCHES, says="the batches grow")  # fmt: skip
_CHECK = """
errors = {}
for name in params:
    numerical = numerical_gradient(lambda array, name=name: loss_fn({**params, name: array}), params[name])
    errors[name] = relative_error(numerical, grads[name])
return errors
"""
for _name, _old, _new, _says in (
    ("names of two layers", "in params:", 'in ("W1", "b1", "W2", "b2"):', ""),
    (
        "first entries alone",
        "(numerical, grads[name])",
        "(numerical.flat[0], grads[name].flat[0])",
        "only some entries of each array are compared, the first",
    ),
    ("numerical gradients returned", "relative_error(numerical, grads[name])", "numerical", "the numerical gradients"),
):
    _wrong(_name, "check_gradients", _CHECK.replace(_old, _new), "test-check-gradients", says=_says)
for _name, _old, _new, _says in (
    ("points at a fixed distance", "x[index] {} h", "x[index] {} 1e-5", "the points are always 1e-5 from x"),
    ("column by column", "return gradient", 'return gradient.ravel().reshape(x.shape, order="F")', "column by column"),
    ("flat, and divided by h", "return gradient", "return 2 * gradient.ravel()", "the gradient is flat"),
    ("half of the distance, divided by 2h", "x[index] {} h", "x[index] {} h / 2", "divided by 2h: move x by h"),
):
    _body = _DIFFERENCES
    for _sign in "+-" if "{}" in _old else "+":
        _body = _body.replace(_old.format(_sign), _new.format(_sign))
    _wrong(_name, "numerical_gradient", _body, "test-numerical-gradient", says=_says)
_wrong("divided by twice b", "relative_error", "return np.max(np.abs(a - b) / np.maximum(1e-8, 2 * np.abs(b)))",
       "test-relative-error", says="divided by twice |a| or twice |b|")  # fmt: skip
_wrong("0.001 added", "relative_error", "return np.max(np.abs(a - b) / (np.abs(a) + np.abs(b) + 1e-3))",
       "test-relative-error", says="0.001 is added to |a| + |b|")  # fmt: skip
_wrong("mean over the classes", "grad_a2", "return dz3 @ W2.T / dz3.shape[1]", "test-grad-a2",
       says="the mean over the classes is taken")  # fmt: skip
_wrong(
    "columns guessed from the labels", "grad_z3",
    "Delta = np.zeros((len(y), y.max() + 1))\nDelta[np.arange(len(y)), y] = 1\nreturn (a3 - Delta) / len(y)",
    "test-grad-z3",
)  # fmt: skip
_wrong("classes counted from 1", "grad_z3", "return (a3 - (y[:, None] == np.arange(1, a3.shape[1] + 1))) / len(y)",
       "test-grad-z3", says="1 is subtracted one class too early")  # fmt: skip
for _name, _expressions, _says in (
    ("other classes negative", "[p - 1 if k == y else -p for k, p in enumerate(ps)]", "have the wrong sign"),
    (
        "true class not in the sum",
        "[p / (1 - ps[y]) - int(k == y) for k, p in enumerate(ps)]",
        "leaves the true class out",
    ),
    ("every class as the true one", "[-p * (1 - p) / ps[y] for p in ps]", "is taken for every class k"),
):
    _body = f"es = [sp.exp(v) for v in z]\nps = [e / sum(es) for e in es]\nreturn {_expressions}"
    _wrong(_name, "dJ_dz3_symbolic", _body, "test-dJ_dz3-symbolic", says=_says)
_wrong(
    "largest of the row everywhere", "relu", "return np.maximum(z.max(axis=1, keepdims=True), 0) + 0 * z",
    "test-relu", says="the largest value of each row",
)  # fmt: skip
_wrong("logarithm to the base 10", "softmax",
       "s = z - z.max(axis=1, keepdims=True)\nreturn np.exp(s - np.log10(np.exp(s).sum(axis=1, keepdims=True)))",
       "test-softmax", says="the logarithm of the sum has base 10")  # fmt: skip
_wrong(
    "rounded down", "softmax_cross_entropy",
    "s = z3 - z3.max(axis=1, keepdims=True)\nown = s[np.arange(len(y)), y]\n"
    "return float((np.log(np.exp(s).sum(axis=1)) - own).sum() // len(y))",
    "test-cross-entropy", says="have lost their decimals",
)  # fmt: skip
_loss("all entries of the product", 'reg * sum(np.sum(params[name].T @ params[name]) for name in ("W1", "W2"))',
      says="its diagonal alone holds the squares")  # fmt: skip
_checking(
    "gradients in their own order",
    """
    errors = {}
    for (name, array), gradient in zip(params.items(), grads.values()):
        numeric = numerical_gradient(lambda changed: loss_fn({**params, name: changed}), array)
        errors[name] = relative_error(numeric, gradient)
    return errors
    """,
)
_LARGEST = "largest = z3.max(axis=1, keepdims=True)\nlogs = largest[:, 0] + np.log(np.exp(z3 - largest).sum(axis=1))\n"
_wrong(
    "logits taken from the flat array", "softmax_cross_entropy",
    _LARGEST + "return float((logs - np.take(z3, y)).mean())", "test-cross-entropy",
)  # fmt: skip
_wrong(
    "classes counted from 1, and a guard", "softmax_cross_entropy",
    "return float(-np.log(softmax(z3)[np.arange(len(y)), y - 1] + 1e-15).mean())", "test-cross-entropy",
    "test-stability",
)  # fmt: skip
_wrong(
    "binary cross-entropy, clipped",
    "softmax_cross_entropy",
    """
    p = np.clip(softmax(z3), 1e-12, 1 - 1e-12)
    true = np.eye(z3.shape[1])[y]
    return float(-(true * np.log(p) + (1 - true) * np.log(1 - p)).sum(axis=1).mean())
    """,
    "test-cross-entropy",
    "test-stability",
)
_several(
    "probabilities for classes, and accuracies in per cent",
    {
        "predict": 'return forward(params, X)["a3"].max(axis=1)',
        "train": _TRAIN.replace("float(np.mean(predict", "100 * float(np.mean(predict"),
    },
    "test-predict",
    _SCHEDULE,
)
_KEEPING_THE_BEST = (
    _TRAIN.replace("epoch = max(", "best, best_params = -1.0, params\nepoch = max(")
    .replace(
        "        learning_rate *=",
        '        if history["val_accuracy"][-1] > best:\n'
        '            best, best_params = history["val_accuracy"][-1], dict(params)\n'
        "        learning_rate *=",
    )
    .replace("return params,", "return best_params,")
)
for _name, _text in {
    "best": _KEEPING_THE_BEST,
    "latest of the best": _KEEPING_THE_BEST.replace("> best", ">= best"),
}.items():
    _wrong(
        f"the {_name} on the validation data", "train", _text, "test-train-descent",
        says="aren't those with which the training ends",
    )  # fmt: skip

# --- More causes in notebooks 1 to 3 -----------------------------------------------------------

_SCALED = "changes the probabilities"
for _name, _change in {
    "the row's largest size": "z / np.abs(z).max(axis=1, keepdims=True)",
    "the largest of all": "z / z.max()",
    "the largest size of all": "z / np.abs(z).max()",
    "the row's length": "z / np.linalg.norm(z, axis=1, keepdims=True)",
    "the row's sum": "z / z.sum(axis=1, keepdims=True)",
    "the row's range": "(z - z.min(axis=1, keepdims=True)) / (z.max(axis=1, keepdims=True) - z.min(axis=1,"
    " keepdims=True))",
    "the row's spread": "(z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)",
}.items():
    _wrong(f"scaled by {_name}", "softmax", f"e = np.exp({_change})\nreturn e / e.sum(axis=1, keepdims=True)",
           "test-softmax", says=_SCALED)  # fmt: skip
for _name, _mark, _says in (
    ("rows of a one-hot matrix", "marks[y] = 1", "marks a whole row"),
    ("columns of a one-hot matrix", "marks[:, y] = 1", "marks a whole column"),
    ("rows of logits", "np.add.at(marks, y, 1)", "marks a whole row"),
):
    _entropy(
        _name, "float(-(marks[: len(y)] * logs).sum() / len(y))", says=_says,
        before=f"{_SHIFTED}\nlogs = shifted - log_sums[:, None]\n"
        f"marks = np.zeros((max(z3.shape[1], len(y)), z3.shape[1]))\n{_mark}",
    )  # fmt: skip
_BOTH = ("the biases are regularised too", "W1 is regularised")
for _name, _penalty, _says in (
    ("biases regularised, in the mean", "reg * sum(np.sum(p**2) for p in params.values()) / len(X)", _BOTH[0]),
    ("sizes of biases too", "reg * sum(np.abs(p).sum() for p in params.values())", _BOTH[0]),
    ("half the squares of W1 alone", 'reg / 2 * np.sum(params["W1"] ** 2)', _BOTH[1]),
    ("biases regularised, weights not", 'reg * (np.sum(params["b1"] ** 2) + np.sum(params["b2"] ** 2))',
     "in place of the weights"),
):  # fmt: skip
    _loss(_name, _penalty, says=_says)
_wrong("a pair of the loss and all values", "loss",
       f"values = forward(params, X)\nreturn {_DATA} + reg * ({_SQUARES}), values", "test-loss")  # fmt: skip
_step("only Delta averaged", "grad_z3", _DELTA + "return a3 - delta / len(y)", "only what is subtracted")
_step("1 subtracted in the rows of the labels", "grad_z3",
      "rows = np.isin(np.arange(len(y)), y)\nreturn (a3 - rows[:, None]) / len(y)", "in whole rows")  # fmt: skip
_step("each class left out of its own sum", "grad_z3", _DELTA + "return (a3 / (1 - a3) - delta) / len(y)",
      "leaves class k itself out")  # fmt: skip
_step("losses of all classes", "grad_z3", "return -np.log(a3) / len(y)", "it isn't differentiated")
_step("the samples' losses", "grad_z3",
      "return np.ones_like(a3) * -np.log(a3[np.arange(len(y)), y])[:, None] / len(y)", "the loss -log p_y")  # fmt: skip
_SQUARE = _DELTA + "d = a3 - delta\nd = a3 * (d - np.sum(a3 * d, axis=1, keepdims=True))\n"
for _name, _returned in {
    "halved": "d / len(y)", "summed": "2 * d / len(y)", "of all entries": "2 * d / a3.size", "not averaged": "d",
}.items():  # fmt: skip
    _step(f"squared error, {_name}", "grad_z3", f"{_SQUARE}return {_returned}", "the gradient of the squared error")
_step("back by the pseudo-inverse", "grad_a2", "return dz3 @ np.linalg.pinv(W2)", "(pseudo-)inverse of W2")
_symbolic("not differentiated", "sp.log(total) - logit", "it isn't differentiated")
_symbolic("the loss itself", "sp.log(total) - z[y]", "the loss -log p_y")
_symbolic("own class left out of the sum", "sp.exp(logit) / (total - sp.exp(logit)) - (1 if k == y else 0)",
          "leaves class k itself out")  # fmt: skip
_ALL_DECAY = 'grads["b1"] += FACTOR * params["b1"]\ngrads["b2"] += FACTOR * params["b2"]'
for _name, _factor in {"in the mean": "2 * reg / len(X)", "of a fixed strength": "0.05", "halved": "reg"}.items():
    _backward(f"biases regularised too, {_name}", _ALL_DECAY.replace("FACTOR", _factor),
              "the biases aren't regularised", old="2 * reg", new=_factor)  # fmt: skip
_backward("W1 not regularised, and W2 in the mean", 'grads["W1"] -= 2 * reg / len(X) * params["W1"]',
          "missing in the gradient of W1", old="2 * reg", new="2 * reg / len(X)")  # fmt: skip
_backward("W2 without its 2", 'grads["W2"] -= reg * params["W2"]', "lacks its factor 2 in the gradient of W2")
_backward("biases regularised, weights not", _ALL_DECAY.replace("FACTOR", "2 * reg"), "in place of the weights",
          old="2 * reg", new="0 * reg")  # fmt: skip
for _name, _more in {"": "", ", regularised": ' + 2 * reg * params["W2"]'}.items():
    _backward(f"back through the gradient of W2{_name}", "", "grad_a2 gets the gradient of W2",
              old='grad_a2(dz3, params["W2"])', new=f'grad_a2(dz3, grad_W2(values["a2"], dz3){_more})')  # fmt: skip
_wrong(
    "two names for x", "numerical_gradient",
    """
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        old = x[index]
        above = below = x
        above[index], below[index] = old + h, old - h
        gradient[index] = (f(above) - f(below)) / (2 * h)
        x[index] = old
    return gradient
    """,
    "test-numerical-gradient", says="is f called at two different points",
)  # fmt: skip
_numerical("quotients not kept", "gradient[index] =", "quotient =", "and each quotient kept?")
for _name, _axis in {"rows": "[index[0]]", "columns": "[..., index[-1]]"}.items():
    _wrong(
        f"whole {_name} moved", "numerical_gradient",
        _DIFFERENCES.replace("point[index]", f"point{_axis}").replace("x[index]", f"x{_axis}"),
        "test-numerical-gradient", says=f"whole {_name} of x are moved",
    )  # fmt: skip
for _name, _step_size, _divisor in (
    ("larger entries", "max(1.0, abs(x[index]))", "2 * step"), ("each entry", "(1 + abs(x[index]))", "2 * step"),
    ("larger entries, divided by 2h", "max(1.0, abs(x[index]))", "2 * h"),
):  # fmt: skip
    _wrong(
        f"a larger step for {_name}", "numerical_gradient",
        _DIFFERENCES.replace("    point = x.copy()", f"    step = h * {_step_size}\n    point = x.copy()")
        .replace("+ h", "+ step").replace("- h", "- step").replace("2 * h", _divisor),
        "test-numerical-gradient", says="the step grows with the size of the entry",
    )  # fmt: skip
_TOTAL = "total = np.abs(a) + np.abs(b)\nquotient = np.abs(np.subtract(a, b)) / np.maximum(1e-8, total)\n"
for _name, _returned, _says in (
    ("0 where both are tiny", "np.max(np.where(total > 1e-8, quotient, 0.0))", "the error counts as 0"),
    ("0 where both are close", "0.0 if np.allclose(a, b) else np.max(quotient)", "the error counts as 0"),
    ("where the difference is largest", "np.ravel(quotient)[np.argmax(np.abs(np.subtract(a, b)))]",
     "where |a - b| is largest"),
    ("where the entries are largest", "np.ravel(quotient)[np.argmax(total)]", "where |a| + |b| is largest"),
    ("limited from above, but not 0", "np.max(np.abs(np.subtract(a, b)) / np.minimum(1e-8, total + 1e-300))",
     "limits |a| + |b| from above"),
):  # fmt: skip
    _wrong(_name, "relative_error", f"{_TOTAL}return float({_returned})", "test-relative-error", says=_says)
_checking(
    "passed or not",
    """
    return {
        name: bool(relative_error(numerical_gradient(lambda v: loss_fn({**params, name: v}), params[name]), grads[name])
                   < 1e-7) for name in params
    }
    """,
)

# --- Notebook 4: chosen otherwise, decayed otherwise, measured elsewhere ----------------------


def _chosen(name: str, body: str, says: str) -> None:
    _wrong(name, "predict", body, "test-predict", says=says)


for _name, _scores, _says in (
    ("softmax over the samples", "np.exp(z - z.max(axis=0)) / np.exp(z - z.max(axis=0)).sum(axis=0)",
     "the softmax goes along axis 0"),
    ("sums of the columns", "np.exp(z - z.max(axis=1, keepdims=True)) / np.exp(z - z.max(axis=1, keepdims=True))"
     ".sum(axis=0)", "divided by the sum of their column"),
    ("largest of the columns subtracted", "z - z.max(axis=0)", "the largest score of each column is subtracted"),
):  # fmt: skip
    _chosen(_name, f'z = forward(params, X)["z3"]\nreturn ({_scores}).argmax(axis=1)', _says)
for _name, _of, _start, _condition, _update, _says in (
    ("search from 0", "z3", "0", "z[k] > best", "best = z[k]", "or a search for the largest starts at 0"),
    ("search without its best", "a3", "0", "z[k] > best", "pass", "this is the last class, for all rows"),
    ("search in the logits without its best", "z3", "0", "z[k] > best", "pass",
     "this is the last class with a score above 0"),
    ("search against class 0", "z3", "z[0]", "z[k] > best", "pass", "a larger score than class 0"),
    ("search against the class before", "z3", "0", "k and z[k] > z[k - 1]", "pass",
     "a larger score than the class before it"),
    ("search until the first above 0", "z3", "0", "z[k] > best", "break", "the first class with a score above 0"),
    ("search that finds nothing", "a3", "1", "z[k] > best", "best = z[k]", "this is class 0, for all rows"),
):  # fmt: skip
    _chosen(_name, f"""
classes = np.zeros(len(X), dtype=int)
for i, z in enumerate(forward(params, X)["{_of}"]):
    best = {_start}
    for k in range(len(z)):
        if {_condition}:
            classes[i] = k
            {_update}
return classes
""", _says)  # fmt: skip
_chosen("drawn", '''
rng = np.random.default_rng(0)
return np.array([rng.choice(len(p), p=p / p.sum()) for p in forward(params, X)["a3"]])
''', "rows that are all the same get different classes")  # fmt: skip
for _name, _rate, _says in (
    ("exp of the rest", "np.exp(-(1 - learning_rate_decay) * (iteration // epoch))", "by exp(-(1 - learning"),
    ("over the rest", "1 / (1 + (1 - learning_rate_decay) * (iteration // epoch))", "divided by 1 + (1 - learning"),
    ("four times", "learning_rate_decay ** (4 * (iteration // epoch))", "decays four times"),
    ("over 1 + epoch", "1 / (1 + iteration // epoch)", "divided by 1 + epoch"),
    ("over the root", "1 / (1 + iteration // epoch) ** 0.5", "divided by the root of 1 + epoch"),
    ("halved", "0.5 ** (iteration // epoch)", "is halved after each epoch"),
):  # fmt: skip
    _wrong(f"learning rate, {_name}", "train", _NO_DECAY.replace("- learning_rate *", f"- learning_rate * {_rate} *"),
           _SCHEDULE, says=_says)  # fmt: skip
_training("decays where the accuracy hasn't grown", "        learning_rate *= ",
          "        found = history['val_accuracy']\n"
          "        learning_rate *= 1 if len(found) < 2 or found[-1] > found[-2] else ", _SCHEDULE,
          says="whatever the accuracies are")  # fmt: skip
for _data in ("X[:1000]) == y[:1000]", "X_val) == y_val"):
    _training(f"accuracy of the batch for {_data}", _data, "X_batch) == y_batch", _SCHEDULE,
              says="this is a share of batch_size rows: it is measured on a batch")  # fmt: skip
_training("losses of batches, gradient of the whole set", "backward(params, X_batch, y_batch", "backward(params, X, y",
          _BATCHES, says="but the gradient is that of the whole set")  # fmt: skip
_training(
    "losses of batches, gradient of the first rows",
    "backward(params, X_batch, y_batch",
    "backward(params, X[:batch_size], y[:batch_size]",
    _BATCHES,
    says="but the gradient is that of other rows",
)
_training(
    "a step at the end of each epoch", "        params[name] = params[name] - learning_rate * gradient",
    "        params[name] = params[name] - learning_rate * gradient * ((iteration + 1) % epoch == 0)",
    _DESCENT, says="the parameters are changed once an epoch",
)  # fmt: skip

# --- Results in another form, other limits, and samples left out ---------------------------

_entropy("the gradient besides", "np.mean(losses), shifted", "test-cross-entropy")
_wrong("batches one after the other", "sample_batch", """
    indices = np.random.default_rng(rng).permutation(len(X))
    for start in range(0, len(X), batch_size):
        yield X[indices[start : start + batch_size]], y[indices[start : start + batch_size]]
""", "test-sample-batch")  # fmt: skip
_several(
    "divided by h, and in percent",
    {
        "numerical_gradient": _DIFFERENCES.replace("/ (2 * h)", "/ h"),
        "relative_error": "return float(100 * np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))))",
    },
    "test-numerical-gradient", "test-relative-error",
)  # fmt: skip
for _limit in ("0.5", "0.1"):
    _wrong(f"kept from {_limit} on", "relu", f"return np.where(z >= {_limit}, z, 0.0)", "test-relu",
           says=f"values between 0 and {_limit} are lost")  # fmt: skip
_wrong("scaled by the largest size or 1", "softmax", """
    e = np.exp(z / np.maximum(np.abs(z).max(axis=1, keepdims=True), 1.0))
    return e / e.sum(axis=1, keepdims=True)
""", "test-softmax", says="the logits are scaled")  # fmt: skip
for _name, _rows, _says in (
    ("first", "slice(1, None)", "the first sample is left out"),
    ("last", "slice(None, -1)", "the last sample is left out"),
    ("second", "slice(None, None, 2)", "every other sample is left out"),
):
    _wrong(f"{_name} sample left out", "grad_W1", f"rows = {_rows}\nreturn X[rows].T @ dz2[rows]", "test-grad-W1",
           says=_says)  # fmt: skip
    _wrong(f"{_name} row left out", "grad_b2", f"return dz3[{_rows}].sum(axis=0)", "test-grad-b2", says=_says)
_wrong("product reshaped", "grad_W2", "return (dz3.T @ a2).reshape(a2.shape[1], -1)", "test-grad-W2",
       says="this is the transpose, reshaped")  # fmt: skip
_wrong("mean of the active rows", "grad_b1", "return dz2.sum(axis=0) / np.maximum((dz2 != 0).sum(axis=0), 1)",
       "test-grad-b1", says="divided by the number of rows that aren't 0")  # fmt: skip
_backward("parameters for gradients", "grads = params", "these are the parameters themselves")
_backward("parameters after a step", "grads = {name: params[name] - 0.01 * grads[name] for name in params}",
          "these are the parameters after a step, to which -0.01 times")  # fmt: skip
_backward("one more throughout", "grads = {name: gradient + 0.25 for name, gradient in grads.items()}",
          "one and the same number is added to every entry")  # fmt: skip
for _name, _axis in {"columns": 0, "rows": 1}.items():
    _wrong(f"whole {_name}", "relu", f"return z * (z.sum(axis={_axis}, keepdims=True) > 0)", "test-relu",
           says=f"whole {_name} are kept or set to zero by their sum")  # fmt: skip
_wrong("data standardised", "forward", f"X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-8)\n{_VALUES}{_AS_DICT}",
       "test-forward", says="X is standardised first")  # fmt: skip
_wrong("hidden units dropped at random", "forward", f"""
{_VALUES.strip()}
a2 = a2 * (np.random.rand(*a2.shape) < 0.8) / 0.8
z3 = a2 @ params["W2"] + params["b2"]
{_AS_DICT}""", "test-forward", says="two calls with the same arguments give different values")  # fmt: skip
for _name, _squared, _says in (
    ("norms added", '(np.linalg.norm(params["W1"]) + np.linalg.norm(params["W2"])) ** 2', "the norms are added before"),
    ("first rows free", '(np.sum(params["W1"][1:] ** 2) + np.sum(params["W2"][1:] ** 2))', "the first row of each"),
):
    _wrong(f"regularisation, {_name}", "loss", f"return {_DATA} + reg * {_squared}", "test-loss", says=_says)
_backward("back through the regularisation", "", "grad_a2 gets 2 * reg * W2",
          old='grad_a2(dz3, params["W2"])', new='grad_a2(dz3, 2 * reg * params["W2"])')  # fmt: skip
_wrong("taken by columns", "numerical_gradient", """
    flat = x.flatten(order="F")
    moved = [(flat + h * unit, flat - h * unit) for unit in np.eye(flat.size)]
    quotients = [(f(above.reshape(x.shape, order="F")) - f(below.reshape(x.shape, order="F"))) / (2 * h)
                 for above, below in moved]
    return np.array(quotients).reshape(x.shape)
""", "test-numerical-gradient", says="the entries of x are taken column by column")  # fmt: skip
_numerical("spot checks", "for index in np.ndindex(x.shape):",
           "for index in list(np.ndindex(x.shape))[3:9]:", "the values that aren't zero are right")  # fmt: skip
for _name, _error, _says in (
    ("limit of the quotient", "np.fmax(1e-8, np.nanmax(np.abs(a - b) / (np.abs(a) + np.abs(b))))", "of the quotient"),
    (
        "difference squared",
        "np.max((a - b) ** 2 / np.maximum(1e-8, np.abs(a) + np.abs(b)))",
        "the difference is squared",
    ),
):
    _wrong(_name, "relative_error", f"return float({_error})", "test-relative-error", says=_says)
_wrong("given ones averaged", "check_gradients", """
    return {
        name: relative_error(numerical_gradient(lambda v, key=name: loss_fn({**params, key: v}), array),
                             grads[name] / array.size)
        for name, array in params.items()
    }
""", "test-check-gradients", says="divided by the number of their entries")  # fmt: skip
_wrong("the first three entries", "check_gradients", """
    errors = {}
    for name, array in params.items():
        numerical = numerical_gradient(lambda v, name=name: loss_fn({**params, name: v}), array)
        errors[name] = relative_error(numerical.ravel()[:3], grads[name].ravel()[:3])
    return errors
""", "test-check-gradients", says="only some entries of each array are compared")  # fmt: skip
for _name, _rows, _says in (
    ("every third row", "rows = np.arange(batch_size) * (len(X) // batch_size)", "the rows don't depend on rng"),
    (
        "a whole block",
        "start = rng.integers(len(X) // batch_size) * batch_size\nrows = slice(start, start + batch_size)",
        "indices never come",
    ),
):
    _batch(_name, f"{_rows}\nreturn X[rows], y[rows]", says=_says)
_wrong("divided by the running sums", "softmax", """
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / np.cumsum(e, axis=1)
""", "test-softmax")  # fmt: skip
_entropy("the minus binds the logit alone", "np.mean(-shifted[np.arange(len(y)), y] - log_sums)", "test-cross-entropy")
_wrong("mean of all parameters returned", "train", _TRAIN.replace("return params", "return mean").replace(
    "    if (iteration", """    if not iteration:
        mean = {name: 0 * array for name, array in params.items()}
    mean = {name: array + (params[name] - array) / (iteration + 1) for name, array in mean.items()}
    if (iteration"""), _DESCENT, says="aren't those with which the training ends")  # fmt: skip
for _where, _argument, _test in (
    ("softmax", "z", "test-softmax"), ("softmax_cross_entropy", "z3", "test-cross-entropy"),
    ("grad_a2", "W2", "test-grad-a2"), ("grad_W1", "X", "test-grad-W1"),
):  # fmt: skip
    _right = {
        "softmax": "e = np.exp(z - z.max(axis=1, keepdims=True))\nreturn e / e.sum(axis=1, keepdims=True)",
        "softmax_cross_entropy": f"{_SHIFTED}return np.mean(losses)",
        "grad_a2": "return dz3 @ W2.T",
        "grad_W1": "return X.T @ dz2",
    }[_where]  # fmt: skip
    _wrong(f"{_argument} standardised before {_where}", _where, f"""
{_argument} = ({_argument} - {_argument}.mean(axis=0)) / ({_argument}.std(axis=0) + 1e-8)
{_right}""", _test, says=f"{_argument} is standardised first" if _where != "softmax" else "")  # fmt: skip
_wrong("z standardised", "relu", "return np.maximum((z - z.mean(axis=0)) / (z.std(axis=0) + 1e-8), 0)", "test-relu",
       says="z is standardised first")  # fmt: skip
_wrong("unit columns", "grad_a2", "return dz3 @ (W2 / np.linalg.norm(W2, axis=0)).T", "test-grad-a2",
       says="W2 is divided by its length first")  # fmt: skip
_wrong("positive data", "grad_W1", "return np.maximum(X, 0).T @ dz2", "test-grad-W1",
       says="the negative values of X are set to zero first")  # fmt: skip
for _name, _numerators, _says in (
    ("0.001 more", "np.exp(z - z.max(axis=1, keepdims=True)) + 1e-3", "0.001 is added to each exponential"),
    ("sigmoids", "1 / (1 + np.exp(-z))", "these are the sigmoids of the logits, divided by their sum"),
    ("shifted logits", "z - z.max(axis=1, keepdims=True)", "their exponentials are missing"),
):
    _wrong(f"normalised, {_name}", "softmax", f"e = {_numerators}\nreturn e / e.sum(axis=1, keepdims=True)",
           "test-softmax", says=_says)  # fmt: skip
_wrong("each class alike", "softmax_cross_entropy",
       f"{_SHIFTED}weights = 1 / np.bincount(y)[y]\nreturn np.sum(weights * losses) / np.sum(weights)",
       "test-cross-entropy", says="weighted by how rare their class is")  # fmt: skip
_wrong("biases multiplied", "forward", f"""
z2 = np.einsum("nd,dh,h->nh", X, params["W1"], params["b1"])
a2 = relu(z2)
z3 = a2 @ params["W2"] + params["b2"]
{_AS_DICT}""", "test-forward", says="the product is multiplied by b1")  # fmt: skip
for _limit in ("0.5", "0.1"):
    _wrong(f"active from {_limit} on", "grad_z2", f"return da2 * (z2 >= {_limit})", "test-grad-z2",
           says=f"the mask begins at z2 = {_limit}")  # fmt: skip
_backward("da2 and z2 exchanged", "", "the gradient and z2 are exchanged",
          old='grad_z2(grad_a2(dz3, params["W2"]), values["z2"])',
          new='grad_z2(values["z2"], grad_a2(dz3, params["W2"]))')  # fmt: skip
_wrong("divided by the hidden units", "grad_W2", "return a2.T @ dz3 / a2.shape[1]", "test-grad-W2",
       says="divided by the number of columns of a2")  # fmt: skip
_numerical("1e-8 added", "/ (2 * h)", "/ (2 * h + 1e-8)", "1e-8 is added to 2h")
for _name, _error, _says in (
    (
        "95th percentile",
        "np.percentile(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)), 95)",
        "95th percentile",
    ),
    ("root of squares", "np.max(np.abs(a - b) / np.maximum(1e-8, np.hypot(a, b)))", "the root of a^2 + b^2"),
    ("b alone", "np.max(np.abs(a - b) / np.abs(b))", "divided by |b| alone"),
    ("bracket too early", "np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a)) + np.abs(b))", "added to the quotient"),
):
    _wrong(_name, "relative_error", f"return float({_error})", "test-relative-error", says=_says)
_wrong("largest so far", "check_gradients", """
    errors, worst = {}, 0.0
    for name, array in params.items():
        numerical = numerical_gradient(lambda v, name=name: loss_fn({**params, name: v}), array)
        worst = max(worst, relative_error(numerical, grads[name]))
        errors[name] = worst
    return errors
""", "test-check-gradients", says="kept from array to array")  # fmt: skip
_wrong("mean class", "predict", 'a = forward(params, X)["a3"]\nreturn np.rint(a @ np.arange(a.shape[1])).astype(int)',
       "test-predict", says="this is the mean of the classes")  # fmt: skip
_wrong("unsure", "predict", 'a = forward(params, X)["a3"]\nreturn np.where(a.max(axis=1) < 0.5, -1, a.argmax(axis=1))',
       "test-predict", says="this is -1, which is no class")  # fmt: skip
_wrong("moved array left in params", "check_gradients", """
    errors = {}
    for name in params:
        def f(moved):
            params[name] = moved
            return loss_fn(params)
        errors[name] = relative_error(numerical_gradient(f, params[name].copy()), grads[name])
    return errors
""", "test-check-gradients")  # fmt: skip

# --- Causes that were untrue, or missing ----------------------------------------------------

_wrong("uniform", "softmax", "return np.ones_like(z) / z.shape[1]", "test-softmax", "test-stability",
       says="every probability is 1 / K")  # fmt: skip
_wrong("rows kept whole", "relu", """
    out = np.zeros_like(z)
    rows, columns = np.where(z > 0)
    out[rows] = z[rows]
    return out
""", "test-relu", says="a row with a positive value is kept whole")  # fmt: skip
_wrong("at least 1e-8", "relu", "return np.maximum(z, 1e-8)", "test-relu", says="negative values become 1e-08")
_entropy("true logit added", "float(np.mean(np.log(np.exp(shifted).sum(axis=1)) + shifted[np.arange(len(y)), y]))",
         says="the logit of the true class is added to log sum exp(z)")  # fmt: skip
_entropy("sum of exponentials without its logarithm",
         "float(np.mean(np.exp(shifted).sum(axis=1) - shifted[np.arange(len(y)), y]))",
         says="the logarithm of the sum of exponentials is missing")  # fmt: skip
_entropy("labels in reversed order",
         "float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y[::-1]]))",
         says="one of the two is reversed")  # fmt: skip
_entropy("columns guessed from the labels", "-np.sum(np.eye(y.max() + 1)[y] * np.log(probabilities)) / len(y)",
         "test-cross-entropy", "test-stability", says="guessed from the labels", before=_PROBABILITIES)  # fmt: skip
_symbolic("1 subtracted elsewhere", "sp.exp(logit) / total - (0 if k == y else 1)", "every class but the true one")
_step(
    "1 subtracted elsewhere", "grad_z3", f"{_DELTA}return (a3 - (1 - delta)) / len(y)", "every class but the true one"
)
_symbolic("minus the derivative of the true probability",
          "-sp.exp(z[y]) / total * ((1 if k == y else 0) - sp.exp(logit) / total)",
          "minus the derivative of the true class's probability")  # fmt: skip
_step("true entries alone averaged", "grad_z3",
      f"{_DELTA}g = a3 - delta\ng[np.arange(len(y)), y] /= len(y)\nreturn g",
      "only the entries of the true classes are divided by N")  # fmt: skip
_step("other entries alone averaged", "grad_z3",
      f"{_DELTA}g = a3 - delta\nreturn np.where(delta > 0, g, g / len(y))",
      "the entries of the true classes aren't divided by N")  # fmt: skip
_step("first row twice", "grad_b2", "total = dz3[0].copy()\nfor row in dz3:\n    total += row\nreturn total",
      "the first sample is counted twice")  # fmt: skip
_step("first sample twice", "grad_W1", "return X.T @ dz2 + np.outer(X[0], dz2[0])", "the first sample is counted twice")
_step("integers", "grad_z3", f"{_DELTA}return ((a3 - delta) / len(y)).astype(int)", "by an array of integers")
_backward("sign of dz3", "", "on the way to dz3, the sign is wrong",
          old='grad_z3(values["a3"], y)', new='-grad_z3(values["a3"], y)')  # fmt: skip
_backward("b1 without gradient", 'grads["b1"] = 0 * grads["b1"]', "every value is zero")
_wrong("averaged for the biases alone", "backward", """
values = forward(params, X)
dz3 = len(y) * grad_z3(values["a3"], y)
dz2 = grad_z2(grad_a2(dz3, params["W2"]), values["z2"])
return {
    "W1": grad_W1(X, dz2) + 2 * reg * params["W1"], "b1": grad_b1(dz2) / len(y),
    "W2": grad_W2(values["a2"], dz3) + 2 * reg * params["W2"], "b2": grad_b2(dz3) / len(y),
}
""", "test-backward")  # fmt: skip
_numerical("curvature", "(above - below) / (2 * h)", "(above - 2 * f(x) + below) / h**2", "the second derivative")
_numerical("x in single precision", "gradient = np.zeros(x.shape)\n",
           "x = x.astype(np.float32)\ngradient = np.zeros(x.shape)\n", "x is cast to single precision")  # fmt: skip
_numerical("f itself over h", "(above - below) / (2 * h)", "f(x) / h", "all values have the same size; each")
for _name, _error, _says in (
    ("in per cent", "100 * relative_error(numerical, grads[name])", "these are in percent"),
    ("at least 0.001", "max(1e-3, relative_error(numerical, grads[name]))", ""),
):
    _wrong(_name, "check_gradients", f"""
    errors = {{}}
    for name, array in params.items():
        numerical = numerical_gradient(lambda v, name=name: loss_fn({{**params, name: v}}), array)
        errors[name] = {_error}
    return errors
    """, "test-check-gradients", says=_says)  # fmt: skip
_wrong("sum of all errors", "check_gradients", """
    total = 0.0
    for name, array in params.items():
        numerical = numerical_gradient(lambda v, name=name: loss_fn({**params, name: v}), array)
        total += relative_error(numerical, grads[name])
    return dict.fromkeys(params, total)
""", "test-check-gradients", says="the sum of all")  # fmt: skip
_batch("the first half", f"indices = rng.integers(len(X) // 2, size=batch_size)\n{_TAKE}",
       says="of 7 indices never come")  # fmt: skip
for _name, _epoch, _says in (
    ("an epoch of batch_size iterations", "batch_size", "decays after every batch_size iterations"),
    ("a broken number of iterations", "len(X) / batch_size", "Is E the whole number"),
):
    _training(_name, "max(len(X) // batch_size, 1)", _epoch, _SCHEDULE, says=_says)
_wrong("exponent of a broken number", "train", _TRAIN.replace(
    "params[name] - learning_rate * gradient",
    "params[name] - learning_rate * learning_rate_decay ** (iteration // (len(X) / batch_size)) * gradient",
).replace("        learning_rate *= learning_rate_decay\n", ""), _SCHEDULE, says="a broken number")  # fmt: skip
_training("decay subtracted from the rate", "learning_rate *= learning_rate_decay",
          "learning_rate -= learning_rate_decay", _SCHEDULE, says="is the decay subtracted from it?")  # fmt: skip
_training("accuracy as an integer", "float(np.mean(predict(params, X[:1000]) == y[:1000]))",
          "int(np.mean(predict(params, X[:1000]) == y[:1000]))", _SCHEDULE, says="this is 0")  # fmt: skip
_training("noise on the batch", "backward(params, X_batch, y_batch, reg)",
          "backward(params, X_batch + 0.01 * rng.standard_normal(X_batch.shape), y_batch, reg)",
          "test-train-descent", "test-train-batches", says="something random is in a step")  # fmt: skip
_wrong("mean with the gradient before", "train", _TRAIN.replace(
    "params[name] = params[name] - learning_rate * gradient",
    "kept[name] = (kept.get(name, gradient) + gradient) / 2\n"
    "        params[name] = params[name] - learning_rate * kept[name]",
).replace("epoch = max", "kept = {}\nepoch = max"), "test-train-descent", says="a mean of gradients")  # fmt: skip
