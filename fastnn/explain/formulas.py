"""The formulas of losses, of the last delta and of activations, as text: fastnn.drawing.formula
reads them, too."""

from __future__ import annotations

from fastnn.checks import name_of
from fastnn.network.activations import TABLE, Activation, parameter_of, plain
from fastnn.network.spec import NetworkSpec

# {y}: the target, e(y) where it is a label
LOSS_FORMULAS = {
    "squared_error": "1/2 sum (h - {y})^2",
    "binary_cross_entropy": "-sum [{y} ln h + (1 - {y}) ln(1 - h)]",
    "cross_entropy": "-sum {y} ln h",
    "absolute_error": "sum |h - {y}|",
    "huber": "sum c (|e| - c / 2), e = h - {y}, c = min(|e|, delta)",
    "quantile": "sum (1 - q) e where e > 0, -q e elsewhere, e = h - {y}",
    "poisson": "sum h - {y} ln h",
    "focal": "-sum {y} (1 - h)^gamma ln h",
    "hinge": "max(0, 1 + h_r - h_y), r the largest but y",
}
# dL/dh, where delta = dL/dh g'(a); or delta itself where dL/dh does not help
SLOPES = {
    "squared_error": "h - {y}",
    "absolute_error": "sign(h - {y})",
    "huber": "max(-delta, min(h - {y}, delta))",
    "quantile": "(1 - q where h > {y}, -q elsewhere)",
}
DELTAS = {
    "focal softmax": "c - h sum c, c = -{y} (1 - h)^gamma (1 - gamma h ln h / (1 - h))",
    "focal sigmoid": "(1 - {y}) h^gamma (h - gamma (1 - h) ln(1 - h))"
    " - {y} (1 - h)^gamma (1 - h - gamma h ln h)",
    "hinge identity": "e(r) - e(y) where L > 0, else 0",
    "squared_error softmax": "h * (e - sum e h), e = h - {y}",
}


def loss_formula(network: NetworkSpec) -> str:
    loss = name_of(network.loss)
    if loss == "focal" and network.output == "sigmoid":
        return "-sum [{y} (1 - h)^gamma ln h + (1 - {y}) h^gamma ln(1 - h)]"
    return LOSS_FORMULAS[loss]


def loss_name(network: NetworkSpec) -> str:
    """With its settings, where they are not the defaults' name alone."""
    return network.loss if isinstance(network.loss, str) else repr(network.loss)


def output_formulas(network: NetworkSpec) -> tuple[str, str]:
    """delta of the outputs: itself and "", or dL/dh and g'(a), whose product it is."""
    loss = name_of(network.loss)
    if f"{loss} {network.output}" in DELTAS:
        return DELTAS[f"{loss} {network.output}"], ""
    if loss not in SLOPES:
        return "h - {y}", ""
    if network.output == "identity":
        return SLOPES[loss], ""
    slope = SLOPES[loss] if loss != "squared_error" else "(h - {y})"
    return slope, activation_formulas(network.output)[1]


def activation_formulas(activation: str | Activation) -> tuple[str, str]:
    """g(a) and g'(a), with the parameter's number."""
    known, p = TABLE[name_of(plain(activation))], f"{parameter_of(activation):g}"
    return known.g.replace("{p}", p), known.slope.replace("{p}", p)
