"""Networks of scikit-learn: MLPClassifier and MLPRegressor, in and out; pipelines in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.checks import name_of
from fastnn.errors import optional
from fastnn.interop import steps as chain
from fastnn.interop.steps import Apply, Dropout, Linear, Scale, Step
from fastnn.model import Model
from fastnn.network.activations import TABLE

OURS = {known.sklearn: name for name, known in TABLE.items() if known.sklearn}


def from_sklearn(estimator: Any) -> Model:
    """The network of scikit-learn's fitted MLPClassifier or MLPRegressor, or of a Pipeline to one.

    Of two classes the model has one sigmoid output, as the estimator; several labels at once are
    sigmoids, several classes a softmax. Their names become ``metadata["classes"]``; labels to train
    on are their indices.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, Pipeline or TransformedTargetRegressor
        Fitted; the estimators of fastnn.sklearn, too, with their dropout. A pipeline's steps before
        the network become part of its first layer: StandardScaler, MinMaxScaler, MaxAbsScaler,
        RobustScaler, PCA, TruncatedSVD and selections of features; a target's scaler part of its
        last. Weights are copied.

    Returns
    -------
    Model
        Of the weights' dtype, which is that of the data it was fitted on; float64 where a step of a
        pipeline would cost float32 its digits.

    Raises
    ------
    TypeError
        Another kind of estimator.
    ValueError
        The estimator is not fitted, or a step of the pipeline is another; the error names it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPClassifier
    >>> import fastnn
    >>> theirs = MLPClassifier((8,), max_iter=5, random_state=0)
    >>> theirs = theirs.partial_fit(np.eye(4), [0, 1, 2, 2], classes=[0, 1, 2])
    >>> fastnn.interop.from_sklearn(theirs).sizes
    [4, 8, 3]
    """
    network, before, after = _unwrapped(estimator, "")
    steps = _layers(network, before)
    steps += [Scale(1 / np.asarray(factor), -np.asarray(shift) / factor) for factor, shift in after]
    metadata = {}
    classes = getattr(network, "classes_", None)
    if classes is not None:
        names = np.asarray(classes).tolist()
        metadata["classes"] = [one if isinstance(one, (str, int)) else str(one) for one in names]
    return chain.as_model(steps, metadata=metadata)


Affine = tuple[Any, Any]  # x -> factor x + shift, factor a number, (n,) or a matrix (n, n_before)


def _unwrapped(estimator: Any, name: str) -> tuple[Any, list[Affine], list[Affine]]:
    """The network, what is done to its inputs, and to a target before it learned it."""
    kinds = {one.__name__ for one in type(estimator).__mro__}
    if "Pipeline" in kinds:
        *transformers, (last, final) = estimator.steps
        network, before, after = _unwrapped(final, f"{name}{last}.")
        return network, [*(_affine(t, name + key) for key, t in transformers), *before], after
    if "TransformedTargetRegressor" in kinds:
        _check_fitted(estimator, "regressor_")
        network, before, after = _unwrapped(estimator.regressor_, f"{name}regressor.")
        return network, before, [*after, _affine(estimator.transformer_, f"{name}transformer")]
    if not {"MLPClassifier", "MLPRegressor"} & kinds:
        raise TypeError(
            f"estimator must be an MLPClassifier or MLPRegressor, or a Pipeline that ends in one, "
            f"got {type(estimator).__name__}"
        )
    _check_fitted(estimator, "coefs_")
    return estimator, [], []


def _check_fitted(estimator: Any, attribute: str) -> None:
    if not hasattr(estimator, attribute):
        raise ValueError(f"estimator must be fitted, this {type(estimator).__name__} is not")


def _affine(transformer: Any, name: str) -> Affine:
    """What a fitted transformer does, as factor and shift."""
    if transformer is None or transformer == "passthrough":
        return 1.0, 0.0
    kind = type(transformer)
    own = kind.__module__.partition(".")[0] == "sklearn"
    if own and kind.__name__ in TRANSFORMERS:
        made = TRANSFORMERS[kind.__name__](transformer)
        if made is not None:
            return made
    elif own and "SelectorMixin" in {one.__name__ for one in kind.__mro__}:
        return np.eye(transformer.n_features_in_)[transformer.get_support()], 0.0
    raise ValueError(
        f"step {name!r} ({transformer!r:.80}) cannot become part of a network, "
        f"{', '.join(TRANSFORMERS)} and selections of features can; apply it to the data, and take "
        "the network alone"
    )


def _shifted(center: Any, scale: Any) -> Affine:
    """(x - center) / scale, of None: without."""
    factor = 1.0 if scale is None else 1 / np.asarray(scale, np.float64)
    return factor, 0.0 if center is None else -np.asarray(center, np.float64) * factor


def _pca(t: Any) -> Affine:
    factor = np.asarray(t.components_, np.float64)
    if t.whiten:
        deviation = np.sqrt(np.asarray(t.explained_variance_, np.float64))
        tiny = np.finfo(t.explained_variance_.dtype).eps  # as scikit-learn has it
        factor = factor / np.maximum(deviation, tiny)[:, None]
    return factor, -factor @ t.mean_


# What each does; None: not with these settings.
TRANSFORMERS: dict[str, Callable[[Any], Affine | None]] = {
    "StandardScaler": lambda t: _shifted(t.mean_ if t.with_mean else None, t.scale_),
    "MinMaxScaler": lambda t: None if t.clip else (t.scale_, t.min_),
    "MaxAbsScaler": lambda t: None if getattr(t, "clip", False) else _shifted(None, t.scale_),
    "RobustScaler": lambda t: _shifted(t.center_, t.scale_),
    "PCA": _pca,
    "TruncatedSVD": lambda t: (np.asarray(t.components_, np.float64), 0.0),
    "FunctionTransformer": lambda t: None if t.func or t.inverse_func else (1.0, 0.0),
}


def _layers(network: Any, before: list[Affine]) -> list[Step]:
    """Its layers and dropout; what is done to its inputs is part of the first one."""
    g, n, rate = network.activation, len(network.coefs_), getattr(network, "dropout", 0.0)
    functions = [*(g if isinstance(g, (list, tuple)) else [g] * (n - 1)), network.out_activation_]
    rates = [0.0, *[rate] * (n - 1)] if isinstance(rate, (int, float)) else [*rate]
    steps: list[Step] = [Dropout(rates[0])]
    for k in range(n):
        W, b = np.asarray(network.coefs_[k]).T, np.asarray(network.intercepts_[k])
        if k == 0:
            W, b = _first(before, W, b)
        where, own = f"layer {k + 1}", functions[k]
        own = OURS.get(own, own) if isinstance(own, str) else own
        steps += [Linear(W, b, where), Apply(own, where), *map(Dropout, rates[k + 1 : k + 2])]
    return steps


def _first(before: list[Affine], W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W and b of the first layer with what is done to its inputs in them; in their dtype, but in
    float64 where a mean is far from 0 for its scale."""
    far = any(np.max(np.abs(part)) > chain.FAR for affine in before for part in affine)
    dtype = np.dtype(np.float64) if far else W.dtype
    W, b = W.astype(np.float64), b.astype(np.float64)
    for factor, shift in reversed(before):
        b = b + W @ np.broadcast_to(shift, W.shape[1:])
        W = W @ factor if np.ndim(factor) == 2 else W * factor
    return W.astype(dtype), b.astype(dtype)


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
        What scikit-learn has not, or a model that encodes columns first.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.interop.to_sklearn(fastnn.Model([4, 8, 3], seed=0)).hidden_layer_sizes
    (8,)
    """
    neural_network = optional("sklearn.neural_network", "to_sklearn", "scikit-learn")
    LabelBinarizer = optional("sklearn.preprocessing", "to_sklearn", "scikit-learn").LabelBinarizer
    model._must_take_arrays("to_sklearn")
    model._must_begin_with_layer_1("to_sklearn")
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
