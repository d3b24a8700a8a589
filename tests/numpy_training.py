"""The functions of notebook 4 in NumPy alone, written as a student may: without helpers of other notebooks."""

from __future__ import annotations

import numpy as np


def sample_batch(X, y, batch_size, rng):
    rng = np.random.default_rng(rng)
    rows = rng.permutation(len(X))[:batch_size]
    return X[rows], y[rows]


def predict(params, X):
    hidden = np.maximum(X @ params["W1"] + params["b1"], 0)
    return (hidden @ params["W2"] + params["b2"]).argmax(axis=1)


def train(params, X, y, X_val, y_val, *, learning_rate, learning_rate_decay, reg, num_iters, batch_size, rng):
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
        gradients = {
            "W1": X[rows].T @ dz2 + 2 * reg * W1,
            "b1": dz2.sum(axis=0),
            "W2": a2.T @ dz3 + 2 * reg * W2,
            "b2": dz3.sum(axis=0),
        }
        params = {name: array - rate * gradients[name] for name, array in params.items()}
        if (iteration + 1) % epoch == 0:
            history["train_accuracy"].append(float(np.mean(predict(params, X[:1000]) == y[:1000])))
            history["val_accuracy"].append(float(np.mean(predict(params, X_val) == y_val)))
    return params, history
