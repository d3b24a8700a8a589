"""Both banks for notebook 5: mistakes with what they must cost, and right answers in many styles.

Most are small variations of one text.
"""

from __future__ import annotations

import textwrap

from tests.fairness.answers import Answer, function

WRONG: list[Answer] = []
RIGHT: list[Answer] = []


def _wrong(name: str, where: str, body: str, *loses: str, says: str = "", before: str = "") -> None:
    WRONG.append(Answer(name, {where: _text(where, body, before)}, loses, says))


def _several(name: str, bodies: dict[str, str], *loses: str, says: str = "") -> None:
    WRONG.append(Answer(name, {where: _text(where, body) for where, body in bodies.items()}, loses, says))


def _right(name: str, *, before: str = "", **bodies: str) -> None:
    """A style of some functions; ``before`` stands above the first of them."""
    codes = {where: _text(where, body, "" if number else before) for number, (where, body) in enumerate(bodies.items())}
    RIGHT.append(Answer(name, codes))


def _text(where: str, body: str, before: str = "") -> str:
    return function(where, body, before=before)


def _changed(text: str, old: str, new: str) -> str:
    if old not in text:
        raise ValueError(f"there is no {old!r} to be replaced")
    return text.replace(old, new)


# --- 5.a build_mlp ------------------------------------------------------------------------

_BUILD = """
modules = []
for fan_in, fan_out in zip(sizes[:-1], sizes[1:]):
    modules.append(nn.Linear(fan_in, fan_out))
    modules.append({"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation]())
return nn.Sequential(*modules[:-1])
"""
#: For models of any kind.
_COPY = """
model = build_mlp((*params["W1"].shape, len(params["b2"])), "relu")
model.to(torch.from_numpy(params["W1"]).dtype)
layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
with torch.no_grad():
    for number, layer in enumerate(layers, start=1):
        layer.weight.copy_(torch.from_numpy(params[f"W{number}"]).T)
        layer.bias.copy_(torch.from_numpy(params[f"b{number}"]))
return model
"""


def _building(name: str, old: str, new: str, *loses: str, says: str = "", copies: bool = False) -> None:
    """A variation of build_mlp; with ``copies``, params_to_torch is :data:`_COPY`."""
    bodies = {"build_mlp": _changed(_BUILD, old, new)} | ({"params_to_torch": _COPY} if copies else {})
    _several(name, bodies, "test-build-mlp", *loses, says=says)


_building(
    "always ReLU", '{"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation]()', "nn.ReLU()",
    says="the activation is relu; tanh is asked for",
)  # fmt: skip
_building("tanh and GELU exchanged", '"tanh": nn.Tanh, "gelu": nn.GELU', '"tanh": nn.GELU, "gelu": nn.Tanh',
          says="the activation is gelu; tanh is asked for")  # fmt: skip
_building("sigmoid for GELU", "nn.GELU", "nn.Sigmoid", says="the activation is sigmoid; gelu is asked for")
_building("GELU approximated", "nn.GELU", 'lambda: nn.GELU(approximate="tanh")', says="GELU's approximation by tanh")
_building("tanh for ReLU", "nn.ReLU", "nn.Tanh", says="the activation is tanh")
_building("leaky ReLU", "nn.ReLU", "nn.LeakyReLU", says="the activation is leaky_relu; relu is asked for")
_building("ELU for ReLU", "nn.ReLU", "nn.ELU", says="the activation is elu; relu is asked for")
_building("SiLU for ReLU", "nn.ReLU", "nn.SiLU", says="the activation is silu; relu is asked for")
_building("softplus for ReLU", "nn.ReLU", "nn.Softplus", says="the activation is softplus; relu is asked for")
_building(
    "always tanh", '{"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation]()', "nn.Tanh()",
    says="the activation is tanh; relu is asked for",
)  # fmt: skip
_building("GELU approximated, for ReLU", "nn.ReLU", 'lambda: nn.GELU(approximate="tanh")')
_building(
    "activation after the last layer", "modules[:-1]", "modules",
    says="there is an activation after the last layer", copies=True,
)  # fmt: skip
_building(
    "softmax after the last layer", "*modules[:-1]", "*modules[:-1], nn.Softmax(dim=1)",
    says="there is a softmax after the last layer", copies=True,
)  # fmt: skip
_building(
    "log-softmax after the last layer", "*modules[:-1]", "*modules[:-1], nn.LogSoftmax(dim=1)",
    says="there is a log-softmax after the last layer", copies=True,
)  # fmt: skip
_building(
    "no activation", "return nn.Sequential(*modules[:-1])", "return nn.Sequential(*modules[::2])",
    says="there is no activation between the layers", copies=True,
)  # fmt: skip
_building(
    "always tanh, and a softmax after the last layer",
    """{"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation]())
return nn.Sequential(*modules[:-1])""",
    "nn.Tanh())\nreturn nn.Sequential(*modules[:-1], nn.Softmax(dim=1))",
    copies=True,
)
_building(
    "one object for all layers of the same sizes", "modules.append(nn.Linear(fan_in, fan_out))",
    "modules.append(next((m for m in modules[::2] if m.weight.shape == (fan_out, fan_in)), nn.Linear(fan_in, fan_out))"
    ")",
    says="one and the same",
)  # fmt: skip
_building("no biases", "fan_in, fan_out)", "fan_in, fan_out, bias=False)", says="the layers have no biases")
_building(
    "frozen", "return nn.Sequential(*modules[:-1])", "return nn.Sequential(*modules[:-1]).requires_grad_(False)",
)  # fmt: skip
_building("not returned", "return nn.Sequential(*modules[:-1])", "nn.Sequential(*modules[:-1])")
_building("a list of modules", "return nn.Sequential(*modules[:-1])", "return modules[:-1]")
_building("dropout", "    modules.append({", "    modules.append(nn.Dropout(0.5))\n    modules.append({", copies=True)
_building(
    "batch norm",
    "    modules.append({",
    "    modules.append(nn.BatchNorm1d(fan_out))\n    modules.append({",
    copies=True,
)
_building("sigmoid after the last layer", "*modules[:-1]", "*modules[:-1], nn.Sigmoid()", copies=True)
_building("tanh after the last layer", "*modules[:-1]", "*modules[:-1], nn.Tanh()", copies=True)
_building("softmax over the batch", "*modules[:-1]", "*modules[:-1], nn.Softmax(dim=0)", copies=True)
_building(
    "activation before each layer",
    "*modules[:-1]",
    "*[modules[i + (-1) ** i] for i in range(len(modules))]",
    copies=True,
)
_building("sizes as a tuple only", "zip(sizes[:-1], sizes[1:])", "zip((sizes[0],) + sizes[1:-1], sizes[1:])")
_building("at most four layers", "modules = []", "if len(sizes) > 5:\n    sizes = sizes[:4] + sizes[-1:]\nmodules = []")
_wrong("not written", "build_mlp", "raise NotImplementedError", "test-build-mlp")
_building("one hidden layer only", "zip(sizes[:-1], sizes[1:])", "[(sizes[0], sizes[1]), (sizes[1], sizes[-1])]")
_building(
    "all hidden layers as wide as the first", "for fan_in",
    "sizes = [sizes[0], *[sizes[1]] * (len(sizes) - 2), sizes[-1]]\nfor fan_in",
)  # fmt: skip
_wrong(
    "the activation asked for in the first layer only, ReLU in others",
    "build_mlp",
    """
    chosen = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation]
    modules = [nn.Linear(sizes[0], sizes[1]), chosen()]
    for i in range(1, len(sizes) - 2):
        modules += [nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(sizes[-2], sizes[-1]))
    """,
    "test-build-mlp",
)
_wrong(
    "no activation after the second layer",
    "build_mlp",
    """
    chosen = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation]
    layers = [nn.Linear(*pair) for pair in zip(sizes, sizes[1:])]
    return nn.Sequential(layers[0], chosen(), *layers[1:])
    """,
    "test-build-mlp",
)

_building(
    "inputs and outputs exchanged", "fan_in, fan_out)", "fan_out, fan_in)", says="takes the number of inputs first"
)
_building("ReLU cut off at 6", "nn.ReLU,", "nn.ReLU6,")
_building("an activation before the first layer", "*modules[:-1]", "modules[1], *modules[:-1]")
_wrong(
    "a forward that returns nothing", "build_mlp", "return MLP(sizes)", "test-build-mlp",
    before="""
    class MLP(nn.Module):
        def __init__(self, sizes):
            super().__init__()
            self.layers = nn.Sequential(*[nn.Linear(*pair) for pair in zip(sizes, sizes[1:])])

        def forward(self, X):
            self.layers(X)
    """,
)  # fmt: skip
# Where a params_to_torch that expects three modules gets others, it goes on with a stand-in.
_INDEXED = """
model = build_mlp((*params["W1"].shape, len(params["b2"])), "relu").to(torch.from_numpy(params["W1"]).dtype)
with torch.no_grad():
    for index, number in ((0, 1), (2, 2)):
        model[index].weight.copy_(torch.from_numpy(params[f"W{number}"].T))
        model[index].bias.copy_(torch.from_numpy(params[f"b{number}"]))
return model
"""
for _name, _old, _new in (
    ("an activation before the first layer", "*modules[:-1]", "modules[1], *modules[:-1]"),
    ("no activation", "return nn.Sequential(*modules[:-1])", "return nn.Sequential(*modules[::2])"),
    ("batch normalisation", "modules.append({", "modules.append(nn.BatchNorm1d(fan_out))\n    modules.append({"),
):
    _several(
        f"{_name}, before a params_to_torch by index",
        {"build_mlp": _changed(_BUILD, _old, _new), "params_to_torch": _INDEXED}, "test-build-mlp",
    )  # fmt: skip

# --- 5.b params_to_torch --------------------------------------------------------------------


def _copying(name: str, old: str, new: str, *loses: str, says: str = "", before: str = "") -> None:
    _wrong(name, "params_to_torch", _changed(_COPY, old, new), "test-params-to-torch", *loses, says=says, before=before)


_WEIGHT = 'layer.weight.copy_(torch.from_numpy(params[f"W{number}"]).T)'
_copying("not transposed", '"]).T)', '"]))')
_copying(
    "not transposed, set as a new parameter", _WEIGHT,
    'layer.weight = nn.Parameter(torch.from_numpy(params[f"W{number}"]))', says="the weights aren't transposed",
)  # fmt: skip
_copying(
    "reshaped", '"]).T)', '"]).reshape(layer.weight.shape))', says="this is a reshape",
)  # fmt: skip
_copying(
    "frozen", "return model", "return model.requires_grad_(False)"
)  # fmt: skip
_copying(
    "made in inference mode", "return model",
    "with torch.inference_mode():\n    for layer in layers:\n        layer.bias = nn.Parameter(layer.bias.clone())\n"
    "return model",
)  # fmt: skip
_copying("float32 always", 'model.to(torch.from_numpy(params["W1"]).dtype)\n', "")
_copying("float64 always", 'model.to(torch.from_numpy(params["W1"]).dtype)', "model.double()")
_copying(
    "through float32", _WEIGHT, _WEIGHT.replace('"]).T', '"]).float().T'), says="digits of single precision (float32)"
)
_copying("biases forgotten", '        layer.bias.copy_(torch.from_numpy(params[f"b{number}"]))\n', "")
_copying(
    "biases zero", 'layer.bias.copy_(torch.from_numpy(params[f"b{number}"]))', "layer.bias.zero_()",
    says="every value is zero",
)  # fmt: skip
_copying("b2 forgotten", "        layer.bias.copy_", "        if number == 1:\n            layer.bias.copy_")
_copying("biases exchanged", 'params[f"b{number}"]', 'params[f"b{3 - number}"]')
_copying("tanh network", '"relu"', '"tanh"', says="the activation is tanh; relu is asked for")
_copying(
    "own network without activation",
    'build_mlp((*params["W1"].shape, len(params["b2"])), "relu")',
    'nn.Sequential(nn.Linear(*params["W1"].shape), nn.Linear(*params["W2"].shape))',
    says="there is no activation between the layers",
)
_copying(
    "own network with softmax",
    'build_mlp((*params["W1"].shape, len(params["b2"])), "relu")',
    """nn.Sequential(
        nn.Linear(*params["W1"].shape), nn.ReLU(), nn.Linear(*params["W2"].shape), nn.Softmax(dim=1)
    )""",
    says="there is a softmax after the last layer",
)
_copying(
    "biases that share memory with params", 'layer.bias.copy_(torch.from_numpy(params[f"b{number}"]))',
    'layer.bias.data = torch.from_numpy(params[f"b{number}"])', says="share an array's memory",
)  # fmt: skip
_copying(
    "parameters that share memory with params", _WEIGHT,
    'layer.weight = nn.Parameter(torch.from_numpy(params[f"W{number}"]).T)', says="share an array's memory",
)  # fmt: skip
_copying("a third layer", '(*params["W1"].shape, ', '(*params["W1"].shape, len(params["b1"]), ')
_copying(
    "one model for all calls",
    'model = build_mlp((*params["W1"].shape, len(params["b2"])), "relu")',
    'sizes = (*params["W1"].shape, len(params["b2"]))\nmodel = KEPT.setdefault(sizes, build_mlp(sizes, "relu"))',
    before="KEPT = {}",
)

# --- 5.c scores ---------------------------------------------------------------------------

_SCORES = """
with torch.no_grad():
    z = model(as_tensor(X, model))
    return torch.softmax(z, dim=1).numpy()
"""


def _scoring(name: str, old: str, new: str, *, says: str = "") -> None:
    _wrong(name, "scores", _changed(_SCORES, old, new), "test-scores", says=says)


_scoring("logits", "torch.softmax(z, dim=1)", "z", says="the softmax isn't applied")
_scoring("log-softmax", "torch.softmax", "torch.log_softmax", says="the logarithms of the probabilities")
_scoring("softmax over the batch", "dim=1", "dim=0", says="over the wrong axis")
_scoring(
    "softmax over everything", "torch.softmax(z, dim=1)", "torch.softmax(z.flatten(), dim=0).reshape(z.shape)",
    says="the sum over all entries",
)  # fmt: skip
_scoring("softmax twice", "softmax(z, dim=1)", "softmax(torch.softmax(z, dim=1), dim=1)", says="applied twice")
_scoring("result in float32", ".numpy()", ".float().numpy()", says="digits of single precision (float32)")
_scoring("rounded", ".numpy()", ".numpy().round(4)", says="rounded to a few decimals")
_scoring("a tensor", ".numpy()", "")
_scoring("squeezed, so that one row loses its axis", ".numpy()", ".squeeze().numpy()")
_scoring("unstable", "torch.softmax(z, dim=1)", "(z.exp() / z.exp().sum(dim=1, keepdim=True))")
_scoring("data in their own precision", "as_tensor(X, model)", "torch.tensor(X)")
_scoring("the model in float32 from then on", "model(as_tensor(X, model))", "model.float()(torch.tensor(X).float())")
_scoring(
    "of two layers", "model(as_tensor(X, model))",
    "torch.relu(as_tensor(X, model) @ model[0].weight.T + model[0].bias) @ model[2].weight.T + model[2].bias",
)  # fmt: skip
_wrong("appended to the model", "scores", "model.append(nn.Softmax(dim=1))\nreturn logits_of(model, X)", "test-scores")
_wrong("not detached", "scores", "return torch.softmax(model(as_tensor(X, model)), dim=1).numpy()", "test-scores")

# --- 5.c loss_and_gradients -------------------------------------------------------------------

_LOSS = """
model.zero_grad()
X, y = as_tensor(X, model), torch.tensor(y)
z = model(X)
data = nn.functional.cross_entropy(z, y)
weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
value = data + reg * sum((weight ** 2).sum() for weight in weights)
value.backward()
gradients = {}
layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
for number, layer in enumerate(layers, start=1):
    gradients[f"W{number}"] = layer.weight.grad.T.numpy().copy()
    gradients[f"b{number}"] = layer.bias.grad.numpy().copy()
return value.item(), gradients
"""
_BOTH = ("test-torch-loss", "test-torch-gradients")


def _losing(name: str, old: str, new: str, *loses: str, says: str = "") -> None:
    """A variation of loss_and_gradients. The gradients of the loss that is returned are right for it."""
    _wrong(name, "loss_and_gradients", _changed(_LOSS, old, new), *(loses or ("test-torch-loss",)), says=says)


_losing("sum over the samples", "(z, y)", '(z, y, reduction="sum")', says="summed over the samples")
_losing("biases regularised", " if parameter.ndim == 2]", "]", says="the biases are regularised too")
_losing("hard-coded lambda", "data + reg *", "data + 0.05 *", says="a fixed strength")
_losing("half the regularisation", "data + reg *", "data + reg / 2 *", says="has a factor 1/2")
_losing("no regularisation", "value = data + reg *", "value = data + 0 *", says="the regularisation is missing")
_losing("norms not squared", "(weight ** 2).sum()", "weight.norm()", says="the norms of the weights are added")
_losing("only W1 regularised", "in weights)", "in weights[:1])", says="only W1 is regularised")
_losing("softmax before cross_entropy", "(z, y)", "(torch.softmax(z, dim=1), y)", says="the softmax is applied twice")
_losing("nll_loss of the logits", "cross_entropy(z, y)", "nll_loss(z, y)", says="log sum exp(z) is to be added")
_losing(
    "computed in float32", "X, y = as_tensor(X, model)", "X, y = as_tensor(X, model.float())", *_BOTH,
    says="digits of single precision (float32)",
)  # fmt: skip
_losing("gradients not cleared", "model.zero_grad()\n", "", "test-torch-gradients", says="clear them")
_losing("gradients not transposed", "grad.T", "grad", "test-torch-gradients", says="transpose")
_losing(
    "gradients of the data loss", "value.backward()", "data.backward()",
    "test-torch-gradients", says="those of the data's loss alone",
)  # fmt: skip
_losing(
    "loss without, gradients with regularisation", "return value.item()", "return data.item()",
    "test-torch-loss", says="the regularisation is missing",
)  # fmt: skip
_losing("loss as a tensor", "return value.item()", "return value", "test-torch-loss")
_losing("gradients as tensors", ".numpy().copy()", "", "test-torch-gradients")
_losing("gradients of the biases exchanged", 'f"b{number}"', 'f"b{3 - number}"', "test-torch-gradients")
_losing("PyTorch's names", 'gradients[f"W{number}"]', 'gradients[f"{number}.weight"]', "test-torch-gradients")
_losing("weights in place of gradients", "weight.grad.T", "weight.detach().T", "test-torch-gradients")
_losing(
    "regularisation added again by hand", "weight.grad.T", "weight.grad.add(2 * reg * layer.weight.detach()).T",
    "test-torch-gradients", says="the regularisation is added twice",
)  # fmt: skip
_losing(
    "gradients cleared before they are read", "gradients = {}", "gradients = {}\nmodel.zero_grad(set_to_none=False)",
    "test-torch-gradients", says="every value is zero",
)  # fmt: skip
_losing(
    "a step taken as well", "return value",
    "torch.optim.SGD(model.parameters(), lr=0.1).step()\nreturn value",
    "test-torch-gradients",
)  # fmt: skip

_losing("unstable", "cross_entropy(z, y)", "nll_loss(torch.log(torch.softmax(z, dim=1)), y)")
_losing("data in their own precision", "as_tensor(X, model)", "torch.tensor(X)", *_BOTH)
_losing("penalty of two layers", "in weights)", "in weights[:2])")
_losing("penalty of the first and the last layer", "in weights)", "in (weights[0], weights[-1]))")
_losing(
    "gradients of two layers", "if isinstance(module, nn.Linear)]", "if isinstance(module, nn.Linear)][:2]",
    "test-torch-gradients",
)  # fmt: skip


def _helped(name: str, old: str, new: str, *loses: str, says: str = "") -> None:
    """A wrong loss in a helper that the training calls as well costs the questions about the loss alone."""
    text = function("loss_and_gradients", _changed(_LOSS, _VALUE, "value = regularised_loss(model, X, y, reg)"))
    codes = {
        "loss_and_gradients": f"{text}\n\n{_changed(_HELPER, old, new).strip()}\n",
        "train_torch": function("train_torch", _CALLING),
    }
    WRONG.append(Answer(f"{name}, in a helper", codes, loses or ("test-torch-loss",), says))


_HELPER = """
def regularised_loss(model, X, y, reg):
    squares = sum(parameter.square().sum() for parameter in model.parameters() if parameter.ndim == 2)
    return nn.functional.cross_entropy(model(X), y) + reg * squares
"""
_VALUE = """z = model(X)
data = nn.functional.cross_entropy(z, y)
weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
value = data + reg * sum((weight ** 2).sum() for weight in weights)"""
# --- 5.d train_torch --------------------------------------------------------------------------

_TRAIN = """
E = max(len(X) // batches.shape[1], 1)
X_t, y_t = as_tensor(X, model), torch.tensor(y)
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
for t, batch in enumerate(batches):
    optimizer.zero_grad()
    data = nn.functional.cross_entropy(model(X_t[batch]), y_t[batch])
    value = data + reg * sum(p.square().sum() for p in model.parameters() if p.ndim == 2)
    value.backward()
    optimizer.step()
    history["loss"].append(value.item())
    if (t + 1) % E == 0:
        history["train_accuracy"].append(accuracy_of(model, X[:1000], y[:1000]))
        history["val_accuracy"].append(accuracy_of(model, X_val, y_val))
        for group in optimizer.param_groups:
            group["lr"] *= learning_rate_decay
return history
"""
_CALLING = _changed(
    _TRAIN,
    """data = nn.functional.cross_entropy(model(X_t[batch]), y_t[batch])
    value = data + reg * sum(p.square().sum() for p in model.parameters() if p.ndim == 2)""",
    "value = regularised_loss(model, X_t[batch], y_t[batch], reg)",
)
_helped("half the regularisation", "+ reg *", "+ reg / 2 *", says="has a factor 1/2")
_helped("biases regularised", " if parameter.ndim == 2", "", says="the biases are regularised too")
_helped("hard-coded lambda", "+ reg *", "+ 0.05 *", says="a fixed strength")
_helped("no regularisation", " + reg * squares", "", says="the regularisation is missing")
_helped("sum over the samples", "(model(X), y)", '(model(X), y, reduction="sum")', says="summed over the samples")
_helped("softmax before cross_entropy", "(model(X), y)", "(model(X).softmax(dim=1), y)", says="applied twice")
_STEPS, _SCHEDULE = "test-train-torch-steps", "test-train-torch-schedule"


def _training(name: str, old: str, new: str, *loses: str, says: str = "") -> None:
    _wrong(name, "train_torch", _changed(_TRAIN, old, new), *loses, says=says)


_BACKWARD = "    value.backward()"
_SGD = "SGD(model.parameters(), lr=learning_rate)"
_PENALTY = "reg * sum(p.square().sum() for p in model.parameters() if p.ndim == 2)"
_RATE = """        for group in optimizer.param_groups:
            group["lr"] *= learning_rate_decay
"""
# Wrong steps with a right history and decay leave the schedule's point, if single steps show what they do.
_training("uphill", "lr=learning_rate)", "lr=learning_rate, maximize=True)", _STEPS, says="this climbs the loss")
_training(
    "gradient without regularisation", _BACKWARD, "    data.backward()",
    _STEPS, says="those of the data's loss alone",
)  # fmt: skip


def _decaying(name: str, optimizer: str, says: str) -> None:
    """weight_decay for the regularisation, which the loss that is differentiated doesn't have."""
    body = _changed(_TRAIN, _BACKWARD, "    data.backward()").replace(_SGD, optimizer)
    _wrong(name, "train_torch", body, _STEPS, says=says)


_WEIGHTS_ALONE = """SGD(
    [{"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": reg},
     {"params": [p for p in model.parameters() if p.ndim == 1]}], lr=learning_rate,
)"""
_decaying("weight_decay=reg", f"{_SGD[:-1]}, weight_decay=reg)", "the biases are regularised too")
_decaying(
    "weight_decay=2 * reg for the biases as well", f"{_SGD[:-1]}, weight_decay=2 * reg)", "the biases are regularised"
)
_decaying("weight_decay=reg for the weights", _WEIGHTS_ALONE, "the regularisation has half its strength")
_training(
    "weight_decay besides the regularised loss", _SGD, _WEIGHTS_ALONE.replace(": reg", ": 2 * reg"),
    _STEPS, says="the regularisation is added twice",
)  # fmt: skip
_training("weight_decay=reg besides the regularised loss", _SGD, f"{_SGD[:-1]}, weight_decay=reg)", _STEPS,
          says="weight_decay=reg is set although")  # fmt: skip
_training(
    "gradients clipped", "    optimizer.step()",
    "    nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n    optimizer.step()", _STEPS,
    says="clipped to the norm 0.1",
)  # fmt: skip
_training(
    "only the last layer is trained", "SGD(model.parameters()", "SGD(list(model.parameters())[2:]",
    _STEPS, says="W1 and b1 did not change",
)  # fmt: skip
# So do steps that depend on earlier ones, and losses that tell how a copy was trained.
_training("momentum", "lr=learning_rate)", "lr=learning_rate, momentum=0.9)", _STEPS, says="a momentum")
_training("Nesterov", "lr=learning_rate)", "lr=learning_rate, momentum=0.8, nesterov=True)", _STEPS)
for _optimizer in ("Adam", "AdamW", "RMSprop"):
    _training(_optimizer, "optim.SGD", f"optim.{_optimizer}", _STEPS)
_training("gradients not cleared", "    optimizer.zero_grad()\n", "", _STEPS, says="add up")
_training(
    "gradients cleared once an epoch", "    optimizer.zero_grad()", "    if t % E == 0:\n        optimizer.zero_grad()",
    _STEPS,
)  # fmt: skip
_training(
    "a copy is trained", "\noptimizer =", "\nfrom copy import deepcopy\nmodel = deepcopy(model)\noptimizer =",
    _STEPS, says="the parameters are as they were",
)  # fmt: skip
# How the steps depend on the rate is the schedule's question, whether there are any is that of the steps.
_training("hard-coded learning rate", "lr=learning_rate)", "lr=0.1)", _SCHEDULE, says="learning_rate isn't used")
_training("no step", "    optimizer.step()\n", "", _STEPS, says="no step of an optimiser has changed this model")
_wrong(
    "momentum, and no decay", "train_torch",
    _changed(_changed(_TRAIN, _RATE, ""), "lr=learning_rate)", "lr=learning_rate, momentum=0.9)"), _STEPS, _SCHEDULE,
)  # fmt: skip
_wrong(
    "Adam, and a decay after every iteration", "train_torch",
    _changed(_changed(_TRAIN, _RATE, textwrap.indent(textwrap.dedent(_RATE), "    ")), "optim.SGD", "optim.Adam"),
    _STEPS, _SCHEDULE,
)  # fmt: skip
_training(
    "reg isn't used", _PENALTY, _PENALTY.replace("reg", "0.0"),
    _STEPS, says="those of the data's loss alone",
)  # fmt: skip
_training("sum over the batch", "y_t[batch])", 'y_t[batch], reduction="sum")', _STEPS, says="summed over the samples")
_training(
    "labels of the first rows", "y_t[batch]", "y_t[: len(batch)]",
    _STEPS, _SCHEDULE, says="rows and labels of a batch don't belong together",
)  # fmt: skip
_training(
    "the whole set in every step", "model(X_t[batch]), y_t[batch]", "model(X_t), y_t",
    _STEPS, says="every step uses the whole set",
)  # fmt: skip
_training(
    "the first batch in every step", "    optimizer.zero_grad()", "    batch = batches[0]\n    optimizer.zero_grad()",
    _STEPS, says="every step uses the same batch",
)  # fmt: skip
_training(
    "last batch left out", "enumerate(batches)", "enumerate(batches[:-1])",
    _STEPS, _SCHEDULE, says="the last batch is left out",
)  # fmt: skip
_training(
    "in float32", "X_t, y_t = as_tensor(X, model)", "X_t, y_t = as_tensor(X, model.float())",
    _STEPS, _SCHEDULE, says="has changed the model's precision",
)  # fmt: skip
_wrong(
    "gradients cleared after each step, not before the first one", "train_torch",
    _changed(_changed(_TRAIN, "    optimizer.zero_grad()\n", ""), ".step()\n", ".step()\n    optimizer.zero_grad()\n"),
    _STEPS,
)  # fmt: skip
_training("the model in double precision from then on", "X_t, y_t = as_tensor(X, model)",
          "X_t, y_t = as_tensor(X, model.double())", _STEPS, says="has changed the model's precision")  # fmt: skip
_training("softmax before cross_entropy", "(model(X_t[batch]), y_t[batch])",
          "(torch.softmax(model(X_t[batch]), dim=1), y_t[batch])", _STEPS, says="applied twice")  # fmt: skip
_training("reg squared", "reg * sum", "reg**2 * sum", _STEPS, says="reg is squared")
_training("two layers are trained", "SGD(model.parameters()", "SGD(list(model.parameters())[:4]", _STEPS)
_training("penalty of two layers", "for p in model.parameters()", "for p in list(model.parameters())[:4]", _STEPS)
_training("data in their own precision", "as_tensor(X, model)", "torch.tensor(X)", _STEPS)
_SCHEDULED = """optimizer.step()
    schedule.step()"""


def _scheduling(name: str, schedule: str, says: str) -> None:
    """A schedule of PyTorch's, in place of the decay by hand."""
    body = _changed(_changed(_TRAIN, _RATE, ""), "optimizer.step()", _SCHEDULED)
    body = _changed(body, "history = {", f"schedule = torch.optim.lr_scheduler.{schedule}\nhistory = {{")
    _wrong(name, "train_torch", body, _SCHEDULE, says=says)


# The learning rate and the history.
_scheduling(
    "LambdaLR of the rate itself", "LambdaLR(optimizer, lambda t: learning_rate * learning_rate_decay ** (t // E))",
    "multiplied by learning_rate twice",
)  # fmt: skip
_scheduling("StepLR without gamma", "StepLR(optimizer, E)", "")
_scheduling("StepLR with a gamma of its own", "StepLR(optimizer, E, gamma=0.95)", "")
_scheduling("MultiStepLR", "MultiStepLR(optimizer, [E], gamma=learning_rate_decay)", "")
_training("never decays", _RATE, "", _SCHEDULE, says="the learning rate doesn't decay in the first")
_training(
    "decays after every iteration", _RATE, textwrap.indent(textwrap.dedent(_RATE), "    "),
    _SCHEDULE, says="decays after every iteration",
)  # fmt: skip
_training(
    "decays before the first epoch", "lr=learning_rate)", "lr=learning_rate * learning_rate_decay)",
    _SCHEDULE, says="has decayed before the first epoch already",
)  # fmt: skip
_training(
    "decays one iteration too early",
    "    optimizer.zero_grad()",
    """    for group in optimizer.param_groups:
        group["lr"] = learning_rate * learning_rate_decay ** ((t + 1) // E)
    optimizer.zero_grad()""",
    _SCHEDULE,
    says="decays one iteration too early",
)
_training(
    "epoch rounded up", "len(X) // batches.shape[1]", "-(-len(X) // batches.shape[1])", _SCHEDULE, says="rounded down"
)
_training(
    "all batches are one epoch", "max(len(X) // batches.shape[1], 1)", "len(batches)",
    _SCHEDULE, says="the learning rate doesn't decay in the first",
)  # fmt: skip
_training(
    "history without regularisation", "value.item()", "data.item()",
    _SCHEDULE, says="the regularisation is missing",
)  # fmt: skip
_training(
    "losses after the step",
    "    optimizer.step()",
    """    optimizer.step()
    with torch.no_grad():
        value = nn.functional.cross_entropy(model(X_t[batch]), y_t[batch])
        value += reg * sum(p.square().sum() for p in model.parameters() if p.ndim == 2)""",
    _SCHEDULE,
    says="each loss is that after the step",
)
_training("decays after the first iteration of an epoch", "(t + 1) % E == 0", "t % E == 0", _SCHEDULE)
_training("the mean of all losses so far", "value.item()", "(sum(history['loss']) + value.item()) / (t + 1)", _SCHEDULE)
_training("epoch of no iteration", "max(len(X) // batches.shape[1], 1)", "len(X) // batches.shape[1]", _SCHEDULE)
_training("a fixed decay", "*= learning_rate_decay", "*= 0.95", _SCHEDULE)
_training("the rate less its decay", "*= learning_rate_decay", "-= learning_rate_decay * group['lr']", _SCHEDULE)
_training("losses as tensors", "value.item()", "value", _SCHEDULE)
_training("accuracy on all training data", "X[:1000], y[:1000]", "X, y", _SCHEDULE)
_training("training data for validation data", "X_val, y_val)", "X[:1000], y[:1000])", _SCHEDULE)
_training("accuracies in per cent", "accuracy_of(", "100 * accuracy_of(", _SCHEDULE)
_training("history not returned", "return history", "return model", _SCHEDULE)

# --- 5.e initialise -------------------------------------------------------------------------

_INITIALISE = """
generator = torch.Generator().manual_seed(rng)
for layer in model.modules():
    if isinstance(layer, nn.Linear):
        std = (2 / layer.in_features) ** 0.5 if scale is None else scale
        nn.init.normal_(layer.weight, std=std, generator=generator)
        nn.init.zeros_(layer.bias)
"""


def _initialising(name: str, old: str, new: str, *, says: str = "") -> None:
    _wrong(name, "initialise", _changed(_INITIALISE, old, new), "test-initialise", says=says)


_STD = "(2 / layer.in_features) ** 0.5"
_NORMAL = "nn.init.normal_(layer.weight, std=std, generator=generator)"
_initialising("biases as they were", "        nn.init.zeros_(layer.bias)\n", "")
_initialising("outputs for inputs", "in_features", "out_features", says="the number of outputs is used")
_initialising("variance", _STD, "2 / layer.in_features", says="this is the variance 2 / inputs")
_initialising("factor 2 left out", _STD, "layer.in_features**-0.5", says="this is sqrt(1 / inputs)")
_initialising(
    "Xavier", _STD, "(2 / (layer.in_features + layer.out_features)) ** 0.5", says="Xavier initialisation"
)  # fmt: skip
_initialising("scale for the variance", "else scale", "else scale**0.5", says="scale is taken for the variance")
_initialising("scale isn't used", f"{_STD} if scale is None else scale", _STD, says="scale isn't used")
_initialising("scale as a factor", "else scale", f"else scale * {_STD}", says="scale is multiplied by sqrt(2 / inputs)")
_initialising("scale by default", f"{_STD} if scale is None else scale", "scale or 1e-4")
_initialising(
    "uniform between plus and minus the standard deviation", _NORMAL,
    "nn.init.uniform_(layer.weight, -std, std, generator=generator)", says="has a smaller one",
)  # fmt: skip
_initialising(
    "uniform with the right standard deviation", _NORMAL,
    "nn.init.uniform_(layer.weight, -(3**0.5) * std, 3**0.5 * std, generator=generator)", says="spread evenly",
)  # fmt: skip
_initialising(
    "Laplace's distribution", _NORMAL,
    "draw = np.random.default_rng(rng + layer.in_features).laplace(0, std / 2**0.5, tuple(layer.weight.shape))\n"
    "        layer.weight.data.copy_(torch.from_numpy(draw))",
)  # fmt: skip
_initialising("absolute values", _NORMAL, f"{_NORMAL}\n        layer.weight.data.abs_()")
_initialising("seed not used", ", generator=generator", "")
_initialising("always the same seed", "manual_seed(rng)", "manual_seed(0)")
_initialising(
    "seeded anew for each layer", "        std =", "        generator.manual_seed(rng)\n        std =",
    says="each layer starts from the seed anew",
)  # fmt: skip
_initialising(
    "NumPy's generator seeded anew for each layer", _NORMAL,
    "draw = np.random.default_rng(rng).normal(0, std, layer.weight.T.shape)\n"
    "        layer.weight.data.copy_(torch.from_numpy(draw.T))",
    says="each layer starts from the seed anew",
)  # fmt: skip
_initialising(
    "only the first layer", "        nn.init.zeros_(layer.bias)", "        nn.init.zeros_(layer.bias)\n        break",
    says="initialise hasn't drawn these weights in this model",
)  # fmt: skip
_initialising(
    "a copy is initialised", "for layer in", "from copy import deepcopy\nmodel = deepcopy(model)\nfor layer in",
    says="initialise hasn't drawn these weights in this model",
)  # fmt: skip

_initialising(
    "not transposed", _NORMAL,
    "layer.weight = nn.Parameter(std * torch.randn(layer.weight.T.shape, generator=generator))",
    says="the weights aren't transposed",
)  # fmt: skip
_initialising(
    "in double precision", _NORMAL,
    "layer.weight = nn.Parameter(std * torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64))",
)  # fmt: skip
_initialising(
    "a bias for each input", "nn.init.zeros_(layer.bias)", "layer.bias = nn.Parameter(torch.zeros(layer.in_features))"
)
_initialising(
    "frozen", "        nn.init.zeros_(layer.bias)",
    "        nn.init.zeros_(layer.bias)\n        layer.requires_grad_(False)",
)  # fmt: skip
_initialising("three layers", "model.modules():", "(model[0], model[2], model[4]):")

# --- Several mistakes at once: each costs its own question -----------------------------------

#: A training that leaves loss and gradients to the function of 5.c.
_BY_HAND = """
E = max(len(X) // batches.shape[1], 1)
layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
for t, batch in enumerate(batches):
    value, gradients = loss_and_gradients(model, X[batch], y[batch], reg)
    rate = learning_rate * learning_rate_decay ** (t // E)
    with torch.no_grad():
        for number, layer in enumerate(layers, start=1):
            layer.weight -= rate * torch.tensor(gradients[f"W{number}"].T)
            layer.bias -= rate * torch.tensor(gradients[f"b{number}"])
    history["loss"].append(float(value))
    if (t + 1) % E == 0:
        history["train_accuracy"].append(accuracy_of(model, X[:1000], y[:1000]))
        history["val_accuracy"].append(accuracy_of(model, X_val, y_val))
return history
"""


def _followed(name: str, old: str, new: str, *loses: str, says: str = "") -> None:
    """A wrong loss_and_gradients costs its own questions where the training follows it."""
    bodies = {"loss_and_gradients": _changed(_LOSS, old, new), "train_torch": _BY_HAND}
    _several(f"{name}, and a training that follows", bodies, *(loses or ("test-torch-loss",)), says=says)


_followed("no regularisation", "data + reg *", "data + 0 *", says="the regularisation is missing")
_followed("half the regularisation", "data + reg *", "data + reg / 2 *", says="has a factor 1/2")
_followed("sum over the samples", "(z, y)", '(z, y, reduction="sum")', says="summed over the samples")
_followed("loss without, gradients with regularisation", "return value.item()", "return data.item()", "test-torch-loss")
_followed("gradients of the data loss", "value.backward()", "data.backward()", "test-torch-gradients")
_followed("gradients not transposed", "grad.T", "grad", "test-torch-gradients")
_followed("gradients not returned", "return value.item(), gradients", "return value.item()", *_BOTH)
_followed("not written", "model.zero_grad()", "raise NotImplementedError", *_BOTH)

_several(
    "always ReLU, biases forgotten, logits, no decay, outputs for inputs",
    {
        "build_mlp": _changed(_BUILD, '{"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation]', "nn.ReLU"),
        "params_to_torch": _changed(_COPY, "        layer.bias.copy_", "        0 and layer.bias.copy_"),
        "scores": _changed(_SCORES, "torch.softmax(z, dim=1)", "z"),
        "train_torch": _changed(_TRAIN, _RATE, ""),
        "initialise": _changed(_INITIALISE, "in_features", "out_features"),
    },
    "test-build-mlp", "test-params-to-torch", "test-scores", _SCHEDULE, "test-initialise",
)  # fmt: skip
_several(
    "softmax after the last layer, which scores leaves out",
    {
        "build_mlp": _changed(_BUILD, "*modules[:-1]", "*modules[:-1], nn.Softmax(dim=1)"),
        "params_to_torch": _COPY,
        "scores": _changed(_SCORES, "torch.softmax(z, dim=1)", "z"),
    },
    "test-build-mlp", says="there is a softmax after the last layer",
)  # fmt: skip
_several(
    "softmax after the last layer, whose outputs are everywhere taken for probabilities",
    {
        "build_mlp": _changed(_BUILD, "*modules[:-1]", "*modules[:-1], nn.Softmax(dim=1)"),
        "params_to_torch": _COPY,
        "scores": _changed(_SCORES, "torch.softmax(z, dim=1)", "z"),
        "loss_and_gradients": _changed(_LOSS, "cross_entropy(z, y)", "nll_loss(torch.log(z), y)"),
        "train_torch": _changed(
            _TRAIN, "cross_entropy(model(X_t[batch]), y_t[batch])", "nll_loss(torch.log(model(X_t[batch])), y_t[batch])"
        ),
    },
    "test-build-mlp", says="there is a softmax after the last layer",
)  # fmt: skip
_several(
    "log-softmax after the last layer, and a loss of log-probabilities",
    {
        "build_mlp": _changed(_BUILD, "*modules[:-1]", "*modules[:-1], nn.LogSoftmax(dim=1)"),
        "params_to_torch": _COPY,
        "scores": _changed(_SCORES, "torch.softmax(z, dim=1)", "z.exp()"),
        "loss_and_gradients": _changed(_LOSS, "cross_entropy(z, y)", "nll_loss(z, y)"),
        "train_torch": _changed(_TRAIN, "cross_entropy(model(X_t[batch]), y_t[batch])",
                                "nll_loss(model(X_t[batch]), y_t[batch])"),
    },
    "test-build-mlp", says="there is a log-softmax after the last layer",
)  # fmt: skip
_several(
    "activation after the last layer, reshaped, gradients not transposed, losses without regularisation",
    {
        "build_mlp": _changed(_BUILD, "modules[:-1]", "modules"),
        "params_to_torch": _changed(_COPY, '"]).T)', '"]).reshape(layer.weight.shape))'),
        "loss_and_gradients": _changed(_LOSS, "grad.T", "grad"),
        "train_torch": _changed(_TRAIN, "value.item()", "data.item()"),
    },
    "test-build-mlp", "test-params-to-torch", "test-torch-gradients", _SCHEDULE,
)  # fmt: skip

# --- Right answers ---------------------------------------------------------------------------

_right(
    "a class of its own kind, of which the other functions know nothing",
    before="""
    class Network(nn.Module):
        def __init__(self, sizes, activation):
            super().__init__()
            self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes[:-2], sizes[1:-1]))
            self.out = nn.Linear(*sizes[-2:])
            self.activation = getattr(nn.functional, activation)

        def forward(self, X):
            for layer in self.hidden:
                X = self.activation(layer(X))
            return self.out(X)
    """,
    build_mlp="return Network(sizes, activation)",
)
# Each with other functions that take the network as it is.
_FOR_ANY_MODEL = {"params_to_torch": _COPY, "loss_and_gradients": _LOSS, "initialise": _INITIALISE}

_right("a training by hand that follows loss_and_gradients", train_torch=_BY_HAND)
_right(
    "a class with a ModuleList",
    before="""
    class MLP(nn.Module):
        def __init__(self, sizes, activation):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1)])
            self.activation = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu}[activation]

        def forward(self, X):
            for layer in self.layers[:-1]:
                X = self.activation(layer(X))
            return self.layers[-1](X)
    """,
    build_mlp="return MLP(sizes, activation)",
    **_FOR_ANY_MODEL,
)
_right(
    "a class that inherits from Sequential, layers by name",
    before="""
    class Net(nn.Sequential):
        def __init__(self, sizes, activation):
            super().__init__()
            for number, pair in enumerate(zip(sizes, sizes[1:]), start=1):
                self.add_module(f"fully_connected_{number}", nn.Linear(*pair))
                if number < len(sizes) - 1:
                    self.add_module(f"phi_{number}", activation())
    """,
    build_mlp='return Net(sizes, {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[activation])',
    params_to_torch="""
    sizes = params["W1"].shape + params["b2"].shape
    model = build_mlp(sizes, "relu").to(getattr(torch, str(params["W1"].dtype)))
    first, second = model.fully_connected_1, model.fully_connected_2
    first.weight, second.weight = nn.Parameter(torch.tensor(params["W1"].T)), nn.Parameter(torch.tensor(params["W2"].T))
    first.bias, second.bias = nn.Parameter(torch.tensor(params["b1"])), nn.Parameter(torch.tensor(params["b2"]))
    return model
    """,
)
_right(
    "nested, Identity after the last layer",
    build_mlp="""
    def block(fan_in, fan_out, last):
        phi = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "gelu": nn.GELU()}[activation]
        return nn.Sequential(nn.Linear(fan_in, fan_out), nn.Identity() if last else phi)

    L = len(sizes) - 1
    return nn.Sequential(*[block(sizes[i], sizes[i + 1], i == L - 1) for i in range(L)])
    """,
    **_FOR_ANY_MODEL,
)
_right(
    "OrderedDict, the activation used again and again",
    before="from collections import OrderedDict",
    build_mlp="""
    phi = getattr(nn, {"relu": "ReLU", "tanh": "Tanh", "gelu": "GELU"}[activation])()
    modules = OrderedDict()
    for i in range(1, len(sizes)):
        modules[f"linear{i}"] = nn.Linear(sizes[i - 1], sizes[i])
        if i + 1 < len(sizes):
            modules[f"activation{i}"] = phi
    return nn.Sequential(modules)
    """,
)
_right(
    "recursion, double precision from the beginning",
    build_mlp="""
    layer = nn.Linear(sizes[0], sizes[1], dtype=torch.float64)
    if len(sizes) == 2:
        return nn.Sequential(layer)
    if activation == "relu":
        phi = nn.ReLU(inplace=True)
    elif activation == "tanh":
        phi = nn.Tanh()
    else:
        phi = nn.GELU()
    return nn.Sequential(layer, phi, *build_mlp(sizes[1:], activation))
    """,
)
_right(
    "load_state_dict",
    params_to_torch="""
    model = build_mlp([params["W1"].shape[0], params["W1"].shape[1], params["W2"].shape[1]], "relu")
    if params["W1"].dtype == np.float64:
        model = model.double()
    state = {f"{2 * i}.weight": torch.tensor(params[f"W{i + 1}"].T) for i in (0, 1)}
    state.update({f"{2 * i}.bias": torch.tensor(params[f"b{i + 1}"]) for i in (0, 1)})
    model.load_state_dict(state)
    return model
    """,
    scores="""
    probabilities = nn.Softmax(dim=-1)(model(as_tensor(X, model)))
    return probabilities.detach().numpy()
    """,
)
_right(
    "own Sequential, data set layer by layer",
    params_to_torch="""
    W1, b1, W2, b2 = (torch.tensor(params[name]) for name in ("W1", "b1", "W2", "b2"))
    model = nn.Sequential(nn.Linear(*W1.shape), nn.ReLU(), nn.Linear(*W2.shape))
    model[0].weight.data, model[0].bias.data = W1.t(), b1
    model[2].weight.data, model[2].bias.data = W2.t(), b2
    return model
    """,
    scores="return nn.functional.log_softmax(model(as_tensor(X, model)), 1).exp().detach().cpu().numpy()",
)
_right(
    "one after the other through parameters()",
    params_to_torch="""
    model = build_mlp((len(params["W1"]), len(params["b1"]), len(params["b2"])), "relu")
    for parameter, name in zip(model.parameters(), ["W1", "b1", "W2", "b2"]):
        parameter.data = torch.from_numpy(params[name].T.copy())
    return model
    """,
    scores="""
    z = logits_of(model, X)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
    """,
)
_right(
    "one long vector of parameters",
    params_to_torch="""
    pieces = [np.ravel(params[name].T) for name in ("W1", "b1", "W2", "b2")]
    vector = torch.from_numpy(np.concatenate(pieces))
    model = build_mlp((*params["W1"].shape, params["W2"].shape[1]), "relu").to(vector.dtype)
    nn.utils.vector_to_parameters(vector, model.parameters())
    return model
    """,
    scores="""
    model.eval()
    with torch.inference_mode():
        z = model(as_tensor(X, model))
        return (z - torch.logsumexp(z, dim=1, keepdim=True)).exp().numpy()
    """,
)
_right(
    "nll_loss and torch.autograd.grad",
    loss_and_gradients="""
    parameters = dict(model.named_parameters())
    log_probabilities = nn.functional.log_softmax(model(as_tensor(X, model)), dim=1)
    J = nn.functional.nll_loss(log_probabilities, torch.as_tensor(y))
    J = J + sum(reg * torch.sum(p**2) for name, p in parameters.items() if name.endswith("weight"))
    found = torch.autograd.grad(J, list(parameters.values()))
    gradients = {}
    for i in range(len(found) // 2):
        gradients["W" + str(i + 1)] = found[2 * i].numpy().T
        gradients["b" + str(i + 1)] = found[2 * i + 1].numpy()
    return float(J.detach()), gradients
    """,
)
_right(
    "by hand with one-hot rows, a list returned",
    loss_and_gradients="""
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.zero_grad(set_to_none=False)
    z = model(as_tensor(X, model))
    onehot = nn.functional.one_hot(torch.tensor(y), z.shape[1]).to(z.dtype)
    J = (torch.logsumexp(z, dim=1) - (z * onehot).sum(dim=1)).mean()
    weights, biases = list(model.parameters())[::2], list(model.parameters())[1::2]
    for W in weights:
        J = J + reg * torch.linalg.norm(W) ** 2
    J.backward()
    gradients = {f"b{i}": b.grad.clone().numpy() for i, b in enumerate(biases, 1)}
    gradients.update({f"W{i}": W.grad.clone().numpy().T for i, W in enumerate(weights, 1)})
    return [J.detach().numpy(), gradients]
    """,
)
_right(
    "regularisation and its gradient by hand, NumPy scalar, more keys",
    loss_and_gradients="""
    for parameter in model.parameters():
        parameter.grad = None
    data = nn.CrossEntropyLoss()(model(as_tensor(X, model)), torch.tensor(y).long())
    data.backward()
    gradients, penalty, number = {"data": data.item()}, 0.0, 0
    for module in model:
        if type(module) is nn.Linear:
            number += 1
            W = module.weight.detach().numpy().T
            penalty += np.sum(W**2)
            gradients[f"W{number}"] = module.weight.grad.numpy().T + 2 * reg * W
            gradients[f"b{number}"] = module.bias.grad.numpy().copy()
    return np.float64(data.item() + reg * penalty), gradients
    """,
)
_right(
    "torch.func",
    loss_and_gradients="""
    def J(parameters):
        z = torch.func.functional_call(model, parameters, (as_tensor(X, model),))
        penalty = sum((p * p).sum() for name, p in parameters.items() if "weight" in name)
        return nn.functional.cross_entropy(z, torch.tensor(y)) + reg * penalty

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    gradients, value = torch.func.grad_and_value(J)(parameters)
    names = [f"{kind}{i // 2 + 1}" for i, kind in enumerate("Wb" * (len(parameters) // 2))]
    return value.item(), {name: gradient.T.numpy() if gradient.ndim == 2 else gradient.numpy()
                          for name, gradient in zip(names, gradients.values())}
    """,
)
_right(
    "learning rate set in param_groups, NumPy's default_rng",
    train_torch=_TRAIN,
    initialise="""
    rng = np.random.default_rng(rng)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.zero_()
                continue
            outputs, inputs = parameter.shape
            std = np.sqrt(2.0 / inputs) if scale is None else scale
            parameter.copy_(torch.from_numpy(rng.standard_normal((inputs, outputs)).T * std))
    """,
)
_right(
    "weight_decay of the weights, LambdaLR, torch.manual_seed",
    train_torch="""
    per_epoch = max(len(X) // batches.shape[1], 1)
    weights = [p for name, p in model.named_parameters() if "bias" not in name]
    biases = [p for name, p in model.named_parameters() if "bias" in name]
    groups = [{"params": weights, "weight_decay": 2 * reg}, {"params": biases}]
    optimizer = torch.optim.SGD(groups, lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: learning_rate_decay ** (t // per_epoch))
    X_tensor, y_tensor = as_tensor(X, model), torch.tensor(y)
    losses, train_accuracy, val_accuracy = [], [], []
    for t in range(len(batches)):
        data = nn.functional.cross_entropy(model(X_tensor[batches[t]]), y_tensor[batches[t]])
        losses.append(data.item() + reg * sum(float((W.detach() ** 2).sum()) for W in weights))
        optimizer.zero_grad()
        data.backward()
        optimizer.step()
        scheduler.step()
        if t % per_epoch == per_epoch - 1:
            train_accuracy.append(np.mean(model(X_tensor[:1000]).argmax(dim=1).numpy() == y[:1000]))
            hits = model(as_tensor(X_val, model)).argmax(1) == torch.tensor(y_val)
            val_accuracy.append(hits.double().mean().item())
    return {"loss": losses, "train_accuracy": train_accuracy, "val_accuracy": val_accuracy, "rate": learning_rate}
    """,
    initialise="""
    torch.manual_seed(rng)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn_like(parameter) * (scale or (2 / parameter.shape[1]) ** 0.5))
            else:
                parameter.fill_(0)
    """,
)
_right(
    "updates by hand, kaiming_normal_",
    train_torch="""
    history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
    epoch = max(X.shape[0] // batches.shape[1], 1)
    rate = learning_rate
    for iteration, rows in enumerate(batches, 1):
        J, gradients = loss_and_gradients(model, X[rows], y[rows], reg)
        history["loss"].append(np.float64(J))
        with torch.no_grad():
            number = 0
            for layer in model.modules():
                if isinstance(layer, nn.Linear):
                    number += 1
                    layer.weight -= rate * torch.from_numpy(np.ascontiguousarray(gradients[f"W{number}"].T))
                    layer.bias.sub_(rate * torch.tensor(gradients[f"b{number}"]))
        if iteration % epoch == 0:
            rate = rate * learning_rate_decay
            history["train_accuracy"].append(accuracy_of(model, X[:1000], y[:1000]))
            history["val_accuracy"].append(accuracy_of(model, X_val, y_val))
    return history
    """,
    initialise="""
    torch.manual_seed(rng)
    for layer in model:
        if hasattr(layer, "weight"):
            if scale is None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, 0.0, scale)
            nn.init.constant_(layer.bias, 0.0)
    """,
)
_right(
    "epoch by epoch, ExponentialLR, arrays in the history, a seed for each layer",
    train_torch="""
    n = max(len(X) // batches.shape[1], 1)
    X_train, targets = as_tensor(X, model), torch.as_tensor(y)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), learning_rate)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, learning_rate_decay)
    losses, accuracies = [], []
    for start in range(0, len(batches), n):
        model.train()
        for rows in batches[start : start + n].tolist():
            value = criterion(model(X_train[rows]), targets[rows])
            for p in model.parameters():
                if p.dim() == 2:
                    value = value + reg * p.pow(2).sum()
            model.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.detach())
        if start + n <= len(batches):
            scheduler.step()
            model.eval()
            accuracies.append([accuracy_of(model, X[:1000], y[:1000]), accuracy_of(model, X_val, y_val)])
    accuracies = np.array(accuracies).reshape(-1, 2)
    return {"loss": torch.stack(losses).numpy(), "train_accuracy": accuracies[:, 0], "val_accuracy": accuracies[:, 1]}
    """,
    initialise="""
    layers = [layer for layer in model.children() if isinstance(layer, nn.Linear)]
    for number, layer in enumerate(layers):
        random = np.random.RandomState(rng + 1000 * number)
        std = scale if scale is not None else np.sqrt(2 / layer.weight.size(1))
        layer.weight.data = torch.tensor(std * random.randn(*layer.weight.shape), dtype=layer.weight.dtype)
        layer.bias.data.zero_()
    """,
)
_right(
    "torch.autograd.grad for the steps, one stream of random numbers",
    train_torch="""
    parameters = list(model.parameters())
    losses = torch.empty(len(batches), dtype=torch.float64)
    train_accuracy, val_accuracy = [], []
    epoch = max(len(X) // len(batches[0]), 1)
    for t, rows in enumerate(torch.from_numpy(batches)):
        z = model(as_tensor(X, model)[rows])
        J = nn.functional.cross_entropy(z, torch.from_numpy(y)[rows])
        J += reg * sum(torch.dot(p.flatten(), p.flatten()) for p in parameters if p.ndim > 1)
        losses[t] = J.detach()
        for p, gradient in zip(parameters, torch.autograd.grad(J, parameters)):
            p.data -= learning_rate * learning_rate_decay ** (t // epoch) * gradient
        if (t + 1) % epoch == 0:
            train_accuracy.append(float(np.mean(logits_of(model, X[:1000]).argmax(1) == y[:1000])))
            val_accuracy.append(float(np.mean(logits_of(model, X_val).argmax(1) == y_val)))
    return dict(loss=losses.tolist(), train_accuracy=train_accuracy, val_accuracy=val_accuracy)
    """,
    initialise="""
    generator = torch.Generator()
    generator.manual_seed(rng)
    weights = [p for p in model.parameters() if p.ndim == 2]
    numbers = torch.randn(sum(W.numel() for W in weights), generator=generator)
    for W, draw in zip(weights, numbers.split([W.numel() for W in weights])):
        W.data = draw.view_as(W).to(W.dtype) * ((2 / W.shape[1]) ** 0.5 if scale is None else scale)
    for p in model.parameters():
        if p.ndim == 1:
            nn.init.zeros_(p)
    """,
)


# --- Data on which the one property shows -----------------------------------------------------

_scoring("in double precision", ".numpy()", ".double().numpy()", says="converted to double precision")
_building("ReLU6 for ReLU", "nn.ReLU", "nn.ReLU6", says="the activation is relu6; relu is asked for")
_losing("gradients in double precision", ".T.numpy().copy()", ".T.double().numpy()", "test-torch-gradients",
        says="converted to double precision")  # fmt: skip
_losing("last weights not regularised", "for weight in weights)", "for weight in weights[:-1])",
        says="the last layer's weights aren't regularised")  # fmt: skip
_scheduling(
    "LambdaLR of the rate itself after the first epoch",
    "LambdaLR(optimizer, lambda t: (learning_rate if t >= E else 1) * learning_rate_decay ** (t // E))",
    "multiplied by learning_rate twice",
)  # fmt: skip
_scheduling("CosineAnnealingLR", "CosineAnnealingLR(optimizer, T_max=len(batches))", "")
_scheduling("an epoch late", "LambdaLR(optimizer, lambda t: learning_rate_decay ** max(t // E - 1, 0))",
            "the same in the first two epochs, and decays after the second")  # fmt: skip
_copying(
    "biases as they were drawn", "        layer.bias.copy_", "        0 and layer.bias.copy_", says="is drawn anew"
)
_initialising("one number for all", "std=std, generator=generator", "mean=std, std=0.0, generator=generator",
              says="all weights of a layer are the same number")  # fmt: skip
_initialising(
    "added", "nn.init.normal_(layer.weight, std=std, generator=generator)",
    "layer.weight.data.add_(std * torch.randn(layer.weight.shape, generator=generator))",
    says="the numbers are added to the weights",
)  # fmt: skip
_initialising(
    "limited to one standard deviation", "nn.init.normal_(layer.weight, std=std, generator=generator)",
    "layer.weight.data.copy_(std * torch.randn(layer.weight.shape, generator=generator).clamp(-1, 1))",
    says="beyond 1 times the standard deviation are set to that",
)  # fmt: skip
_initialising(
    "limited to two standard deviations", "nn.init.normal_(layer.weight, std=std, generator=generator)",
    "layer.weight.data.copy_(std * torch.randn(layer.weight.shape, generator=generator).clamp(-2, 2))",
    says="beyond 2 times the standard deviation are set to that",
)  # fmt: skip
_initialising("cut off at two standard deviations", "nn.init.normal_(layer.weight, std=std, generator=generator)",
              "nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=generator)",
              says="cut off at 2 standard deviations")  # fmt: skip
_initialising("the first layer's, kept", "        std = (2 / layer.in_features) ** 0.5 if scale is None else scale",
              "        scale = (2 / layer.in_features) ** 0.5 if scale is None else scale\n        std = scale",
              says="later layers have the standard deviation of the first one")  # fmt: skip
_initialising("the last layer's", "(2 / layer.in_features)", "(2 / list(model.parameters())[-2].shape[1])",
              says="earlier layers have the standard deviation of the last one")  # fmt: skip

# --- Modules that students write themselves ---------------------------------------------------

_MODULE = """
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes[:-1], sizes[1:]))
        self.between = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "gelu": nn.GELU()}[activation]

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.between(layer(x))
        return self.layers[-1](x)

return Network()
"""
for _name, _old, _new, _says in (
    ("a plain list", "nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes[:-1], sizes[1:]))",
     "[nn.Linear(*pair) for pair in zip(sizes[:-1], sizes[1:])]", "the module has no parameter that can be trained"),
    ("residual", "self.between(layer(x))", "self.between(layer(x)) + (x if layer.in_features == layer.out_features else"
     " 0)", "a residual connection"),
    ("residual, before the activation", "self.between(layer(x))", "self.between(layer(x) + (x if layer.in_features =="
     " layer.out_features else 0))", "a residual connection"),
    ("a list of hidden layers", "nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes[:-1], sizes[1:]))",
     "[*(nn.Linear(*pair) for pair in zip(sizes[:-2], sizes[1:-1])), nn.Linear(*sizes[-2:])]\n"
     "        self.last = self.layers[-1]", "there is no layer from 5 to 7 that can be trained"),
):  # fmt: skip
    _wrong(f"a module: {_name}", "build_mlp", _changed(_MODULE, _old, _new), "test-build-mlp", says=_says)
_building("batch normalisation after each layer", "modules.append({", "modules.append(nn.BatchNorm1d(fan_out))\n"
          "    modules.append({", says="those of a normalisation")  # fmt: skip
for _name, _formula in (
    ("z * sigmoid(1.702 z)", "lambda z: z * torch.sigmoid(1.702 * z)"),
    ("a leaky ReLU with the slope 0.1", "lambda z: nn.functional.leaky_relu(z, 0.1)"),
    ("a leaky ReLU with the slope 0.2", "lambda z: nn.functional.leaky_relu(z, 0.2)"),
    ("the absolute value", "torch.abs"),
    ("the error function", "torch.erf"),
    ("the sine", "torch.sin"),
):  # fmt: skip
    _wrong(
        f"{_name} for GELU", "build_mlp", _changed(_BUILD, "nn.GELU", "Own"), "test-build-mlp", says=_name,
        before=f"class Own(nn.Module):\n    def forward(self, z):\n        return ({_formula})(z)",
    )  # fmt: skip
_wrong("the ReLU is given the last layer's", "params_to_torch", """
model = build_mlp((*params["W1"].shape, len(params["b2"])), "relu")
for number in (1, 2):
    model[number - 1].weight = nn.Parameter(torch.tensor(params[f"W{number}"].T))
    model[number - 1].bias = nn.Parameter(torch.tensor(params[f"b{number}"]))
return model
""", "test-params-to-torch", says="have they been given to an activation")  # fmt: skip
_building("PReLU", "nn.ReLU", "nn.PReLU", says="an activation has a parameter of its own")
for _name, _of in {
    "the sigmoids": "torch.sigmoid(z)", "the absolute values": "z.abs()", "the squares": "(z**2)",
    "the differences to the smallest": "(z - z.min(dim=1, keepdim=True).values)", "the ReLUs": "(torch.relu(z))",
    "the softplus": "nn.functional.softplus(z)",
}.items():  # fmt: skip
    _wrong(f"{_name} scaled", "scores", f"""
with torch.no_grad():
    z = model(as_tensor(X, model))
    return ({_of} / {_of}.sum(dim=1, keepdim=True)).numpy()
""", "test-scores", says=f"these are {_name} of the logits, divided by their sum")  # fmt: skip
for _name, _of, _says in (
    ("exponentials, the largest 1", "torch.exp(z - z.max(dim=1, keepdim=True).values)", "aren't divided by their sum"),
    ("divided by 1 and the sum", "torch.exp(z) / (1 + torch.exp(z).sum(dim=1, keepdim=True))", "divided by 1 + their"),
):  # fmt: skip
    _wrong(_name, "scores", f"with torch.no_grad():\n    z = model(as_tensor(X, model))\n    return ({_of}).numpy()",
           "test-scores", says=_says)  # fmt: skip
_training("cleared between backward and step", "    optimizer.step()",
          "    optimizer.zero_grad()\n    optimizer.step()", _STEPS, says="without a zero_grad() between")  # fmt: skip
_training("cleared before the first step alone", "    optimizer.zero_grad()",
          "    if t == 0:\n        optimizer.zero_grad()", _STEPS, says="but not before those after it")  # fmt: skip
_training("cleared at t % 2", "    optimizer.zero_grad()", "    if t % 2 == 0:\n        optimizer.zero_grad()", _STEPS,
          says="before every second step only")  # fmt: skip
for _name, _share, _says in (
    ("the last batch", "accuracy_of(model, X[batch], y[batch])", "that on the epoch's last batch"),
    ("the last batch, before its step", "float((model_before(X_t[batch]).argmax(1) == y_t[batch]).double().mean())",
     "that on the epoch's last batch"),
    ("the last 1,000 rows", "accuracy_of(model, X[-1000:], y[-1000:])", "that on the last 1,000 rows"),
    ("the epoch's batches", "float(np.mean(shares))", "that on the epoch's batches, each before its step"),
):  # fmt: skip
    _wrong(
        f"training accuracy of {_name}", "train_torch", _changed(
            _changed(_TRAIN, "    optimizer.step()", "    model_before = deepcopy(model)\n"
                     "    shares = (shares if t % E else []) + [accuracy_of(model, X[batch], y[batch])]\n"
                     "    optimizer.step()"),
            "accuracy_of(model, X[:1000], y[:1000])", _share,
        ), _SCHEDULE, says=_says, before="from copy import deepcopy",
    )  # fmt: skip
_training("validation accuracy of a batch", "accuracy_of(model, X_val, y_val)",
          "accuracy_of(model, X[batch], y[batch])", _SCHEDULE,
          says="the validation accuracy is that on a batch")  # fmt: skip
_ACCURACIES = """        history["train_accuracy"].append(accuracy_of(model, X[:1000], y[:1000]))
        history["val_accuracy"].append(accuracy_of(model, X_val, y_val))
"""
for _name, _when, _says in (
    ("after every iteration", "if True", "an accuracy is recorded after every iteration"),
    ("at t % E", "if t % E == 0", "an accuracy is recorded where an epoch isn't at its end"),
):
    _training(
        f"accuracies {_name}", f"    if (t + 1) % E == 0:\n{_ACCURACIES}",
        f"    {_when}:\n{_ACCURACIES}    if (t + 1) % E == 0:\n", _SCHEDULE, says=_says,
    )  # fmt: skip
_wrong("accuracies before the last step", "train_torch", _changed(
    _changed(_TRAIN, f"    if (t + 1) % E == 0:\n{_ACCURACIES}", "    if (t + 1) % E == 0:\n"),
    "    optimizer.step()\n", f"    if (t + 1) % E == 0:\n{_ACCURACIES}    optimizer.step()\n",
), _SCHEDULE, says="before the epoch's last step")  # fmt: skip
_losing("regularisation over N", "reg * ", "reg / len(X) * ", "test-torch-loss",
        says="the regularisation is divided by the number of samples")  # fmt: skip
_training("decay subtracted from the rate", 'group["lr"] *= learning_rate_decay', 'group["lr"] -= learning_rate_decay',
          _SCHEDULE)  # fmt: skip
