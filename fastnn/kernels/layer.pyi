from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.kernels.inputs import Phi

Reals = npt.NDArray[Any]
Activation = int | tuple[int, float]  # an id, or id and parameter

def features(X: Reals, theta: Reals, phi_of_x: Reals, h: Reals, description: Phi) -> None: ...
def features_gradient(
    X: Reals,
    theta: Reals,
    phi_of_x: Reals,
    delta: Reals,
    grad: Reals,
    description: Phi,
) -> None: ...
def forward(
    h_prev: Reals, W: Reals, b: Reals | None, h: Reals, activation: Activation, n_threads: int
) -> None: ...
def slope(a: Reals, d: Reals, activation: Activation) -> None: ...
def parametric(
    a: Reals, alpha: Reals, h: Reals, d: Reals, e: Reals, activation: Activation
) -> None: ...
def normalise(
    u: Reals,
    gamma: Reals,
    beta: Reals | None,
    mean: Reals | None,
    variance: Reals | None,
    xhat: Reals,
    a: Reals,
    h: Reals,
    inv: Reals,
    kind: int,
    epsilon: float,
    activation: Activation,
) -> None: ...
def normalise_delta(
    delta: Reals,
    xhat: Reals,
    gamma: Reals,
    inv: Reals,
    du: Reals,
    grad_gamma: Reals,
    kind: int,
) -> None: ...
def output_delta(
    a: Reals,
    y: npt.NDArray[Any],
    h: Reals,
    delta: Reals,
    losses: npt.NDArray[np.float64],
    output: Activation,
    loss: tuple[int, dict[str, Any]],
    n_threads: int,
) -> None: ...
def hidden_delta(
    delta: Reals, W: Reals, slope: Reals, delta_prev: Reals, activation: Activation, n_threads: int
) -> None: ...
def gradient(
    delta: Reals, h_prev: Reals, grad_W: Reals, grad_b: Reals | None, n_threads: int
) -> None: ...
def parametric_delta(dh: Reals, d: Reals, e: Reals, delta: Reals, grad_alpha: Reals) -> None: ...
def update(
    theta: Reals,
    grad: Reals,
    state: Reals,
    optimizer: int,
    rates: dict[str, float],
    n_step: int,
    n_threads: int,
) -> None: ...

class LayerPasses:
    def __init__(
        self, h_prev: Reals, W: Reals, delta: Reals, optimizer: int, rates: dict[str, float]
    ) -> None: ...
    def forward(self, times: int) -> float: ...
    def hidden_delta(self, times: int) -> float: ...
    def gradient(self, times: int) -> float: ...
