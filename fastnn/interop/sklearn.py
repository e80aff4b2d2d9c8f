"""Networks of scikit-learn: MLPClassifier and MLPRegressor, in and out."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.checks import name_of
from fastnn.errors import optional
from fastnn.interop import steps as chain
from fastnn.interop.steps import Apply, Linear, Step
from fastnn.model import Model
from fastnn.network.activations import TABLE

OURS = {known.sklearn: name for name, known in TABLE.items() if known.sklearn}


def from_sklearn(estimator: Any) -> Model:
    """The network of scikit-learn's fitted MLPClassifier or MLPRegressor.

    Of two classes the model has one sigmoid output, as the estimator; several labels at once are
    sigmoids, several classes a softmax. Their names become ``metadata["classes"]``; labels to train
    on are their indices.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted; weights are copied.

    Returns
    -------
    Model
        Of the weights' dtype, which is that of the data it was fitted on.

    Raises
    ------
    TypeError
        Another kind of estimator.
    ValueError
        The estimator is not fitted.
    """
    kind = type(estimator).__name__
    if not {"MLPClassifier", "MLPRegressor"} & {one.__name__ for one in type(estimator).__mro__}:
        raise TypeError(f"estimator must be an MLPClassifier or MLPRegressor, got {kind}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"estimator must be fitted, this {kind} is not")
    hidden, out = estimator.activation, estimator.out_activation_
    steps: list[Step] = []
    for k, (W, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True), 1):
        where = f"layer {k}"
        name = hidden if k < len(estimator.coefs_) else out
        steps += [Linear(W.T, b, where), Apply(OURS.get(name, name), where)]
    metadata = {}
    classes = getattr(estimator, "classes_", None)
    if classes is not None:
        names = np.asarray(classes).tolist()
        metadata["classes"] = [one if isinstance(one, (str, int)) else str(one) for one in names]
    return chain.as_model(steps, metadata=metadata)


def to_sklearn(model: Model) -> Any:
    """scikit-learn's MLPClassifier or MLPRegressor with the model's weights.

    It predicts, and fits on with ``warm_start`` or partial_fit. Missing biases become zeros; a
    softmax of two classes becomes the one sigmoid that scikit-learn has there.

    Parameters
    ----------
    model : fastnn.Model
        All hidden layers with the same activation: identity, sigmoid, tanh or relu; output softmax
        or sigmoid (a classifier), identity or exp (a regressor). Names of classes are
        ``metadata["classes"]``, by default 0, 1, ...

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.
    ValueError
        What scikit-learn has not.
    """
    neural_network = optional("sklearn.neural_network", "to_sklearn", "scikit-learn")
    LabelBinarizer = optional("sklearn.preprocessing", "to_sklearn", "scikit-learn").LabelBinarizer
    hidden = {name_of(one) for one in model.activations} or {"relu"}
    if len(hidden) > 1 or not hidden <= {"identity", "sigmoid", "tanh", "relu"}:
        raise ValueError(
            "all hidden layers must have one activation of identity, sigmoid, tanh, relu; "
            f"got {', '.join(sorted(hidden))}"
        )
    output = name_of(model.output)
    if output not in ("softmax", "sigmoid", "identity", "exp") or model.loss == "hinge":
        raise ValueError(f"output must be softmax, sigmoid, identity or exp, got {output}")
    (activation,) = hidden
    layers = chain.plain(model)
    if any(layer.gamma is not None for layer in layers):
        raise ValueError('norm must not be "layer", scikit-learn has none')
    W = [layer.W.T.copy() for layer in layers]
    b = [np.zeros(len(one.W), one.W.dtype) if one.b is None else one.b.copy() for one in layers]
    if output == "softmax" and model.sizes[-1] == 2:  # sigmoid of the difference
        W[-1], b[-1], output = W[-1][:, 1:] - W[-1][:, :1], b[-1][1:] - b[-1][:1], "sigmoid"
    settings = {
        "hidden_layer_sizes": tuple(model.sizes[1:-1]),
        "activation": TABLE[activation].sklearn,
    }
    made: Any
    if output in ("softmax", "sigmoid"):
        made = neural_network.MLPClassifier(**settings)
        n_out = W[-1].shape[1]
        n_classes = 2 if n_out == 1 else n_out
        classes = model.metadata.get("classes", list(range(n_classes)))
        if len(classes) != n_classes or len(set(classes)) != n_classes:
            raise ValueError(f'metadata["classes"] must name {n_classes} classes, got {classes}')
        if classes != sorted(classes):
            raise ValueError(f'metadata["classes"] must be sorted for scikit-learn, got {classes}')
        binarizer = LabelBinarizer()
        if output == "sigmoid" and n_out > 1:  # several labels at once
            binarizer.fit([[0] * n_out, [1] * n_out])
        else:
            binarizer.fit(classes)
        made._label_binarizer, made.classes_ = binarizer, binarizer.classes_
    else:
        losses = {"exp": {"loss": "poisson"}}
        made = neural_network.MLPRegressor(**settings, **losses.get(output, {}))
    made.coefs_, made.intercepts_ = W, b
    made.n_layers_, made.n_outputs_ = len(W) + 1, W[-1].shape[1]
    made.n_features_in_, made.out_activation_ = model.sizes[0], TABLE[output].sklearn
    made.n_iter_, made.t_, made.loss_curve_ = 0, 0, []
    made.loss_, made.best_loss_, made._no_improvement_count = np.inf, np.inf, 0
    return made
