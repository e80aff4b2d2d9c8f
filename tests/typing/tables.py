"""What type checkers know of a typical script with tables. Checked, never run."""

from __future__ import annotations

from typing import assert_type

import numpy as np
import numpy.typing as npt

import fastnn

X = {"age": [31.0, 44.0], "town": ["Ulm", "Bonn"]}
y = np.array(["no", "yes"])


class Careful(fastnn.TabularClassifier):
    """A class of a user's own."""


classifier = fastnn.TabularClassifier(random_state=0, monotone={"age": 1}).fit(X, y)
assert_type(classifier, fastnn.TabularClassifier)
assert_type(Careful().fit(X, y), Careful)
assert_type(Careful().set_params(verbose=True), Careful)
assert_type(classifier.compress(X, y), fastnn.TabularClassifier)
assert_type(classifier.predict_proba(X), npt.NDArray[np.float64])
assert_type(classifier.predict_proba_one({"age": 31.0, "town": "Ulm"}), npt.NDArray[np.float64])
assert_type(classifier.predict_set(X, 0.9), npt.NDArray[np.bool_])
assert_type(classifier.scores_, dict[str, float])
assert_type(classifier.score(X, y), float)
assert_type(classifier.permutation_importance(X, y).mean, npt.NDArray[np.float64])
assert_type(classifier.shapley_values(X, X).values, npt.NDArray[np.float64])

regressor = fastnn.TabularRegressor().fit(X, [1.0, 2.0])
assert_type(regressor.predict(X), npt.NDArray[np.float64])
assert_type(regressor.predict_one({"age": 31.0, "town": "Ulm"}), float)
assert_type(regressor.predict_interval(X, 0.9), npt.NDArray[np.float64])
assert_type(regressor.predict_quantiles(X, [0.1, 0.9]), npt.NDArray[np.float64])
regressor.save("prices.safetensors")
