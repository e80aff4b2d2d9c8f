"""The gradient on its way down through eight hidden layers: sigmoid loses it, relu does not.

Writes vanishing_gradient_sigmoid.png and vanishing_gradient_relu.png.
"""

import numpy as np

import fastnn

# Three arms of a spiral in the plane, 200 points each.
n = 200
rng = np.random.default_rng(0)
labels = np.repeat(np.arange(3), n)
radius = np.tile(np.linspace(0.1, 1, n), 3)
angle = 4 * radius + labels * 2 * np.pi / 3 + rng.normal(0, 0.1, 3 * n)
X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]) * 2

for activation in ("sigmoid", "relu"):
    model = fastnn.Model([2] + [32] * 8 + [3], activation=activation, seed=0)
    history = model.fit(
        X,
        labels,
        epochs=40,
        batch_size=30,
        optimizer=fastnn.SGD(0.02, momentum=0.9),
        callbacks=[fastnn.GradientNorms(X[::3], labels[::3])],
    )
    first = [history.columns()[f"gradient_norm_{k}"][0] for k in (1, 5, 9)]
    print(f"{activation:8} norm of dL/dW after an epoch, layers 1, 5, 9: ", end="")
    print(*(f"{norm:.0e}" for norm in first), end="; ")
    print(f"accuracy {model.evaluate(X, labels)['accuracy']:.2f}")
    history.plot_gradients(f"vanishing_gradient_{activation}.png")
