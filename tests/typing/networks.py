"""What type checkers know of a typical script with networks. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import fastnn

Floats = npt.NDArray[np.floating[Any]]

X = np.ones((4, 3), np.float32)
y = np.zeros(4, np.int64)

model = fastnn.Model([3, 8, 2], "relu", "softmax", norm="batch", seed=0)
assert_type(model.sizes, list[int])
assert_type(model.theta, Floats)
assert_type(model.W[0], Floats)
assert_type(model.b[0], Floats | None)  # a layer may have no bias
assert_type(model.gamma[0], Floats | None)
assert_type(model.n_parameters, int)

history = model.fit(X, y, epochs=2, callbacks=[fastnn.EarlyStopping("loss")])
assert_type(history, fastnn.History)
assert_type(model.partial_fit(X, y, optimizer="sgd"), float)
assert_type(model.forward(X), Floats)
assert_type(model.predict_proba(X), Floats)
assert_type(model.evaluate(X, y), dict[str, float])
assert_type(model.loss_and_gradient(X, y), tuple[float, Floats])
assert_type(model.derivative_bounds()[0], npt.NDArray[np.float64])
assert_type(model.predictor(), fastnn.Predictor)
assert_type(model.predictor(rows=True), fastnn.RowPredictor)
assert_type(model.trace(X, y), fastnn.Trace)
model.save("model.safetensors")
assert_type(fastnn.load("model.safetensors"), Any)  # a Model or an estimator

assert_type(fastnn.show_config("dict"), dict[str, Any])
fastnn.show_config()
with fastnn.threads(1):
    assert_type(fastnn.fit_many([model], X, y), list[fastnn.History])
assert_type(fastnn.TopK(5).k, int)
