"""The 2-2-1 network of docs/worked_example.md: every number of one step, for both losses."""

import numpy as np

import fastnn

x, y = np.array([0.0, 1.0]), np.array([1.0])
RATE = 0.2


def make_model(loss):
    """Sigmoid everywhere, no biases; rows of W are the units they lead to."""
    model = fastnn.Model(
        [2, 2, 1], activation="sigmoid", output="sigmoid", loss=loss, bias=False, dtype="float64"
    )
    model.W[0][:] = [[0.1, 0.3], [0.2, 0.4]]
    model.W[1][:] = [[0.5, 0.6]]
    return model


def show(name, values):
    print(f"{name:26s}", *np.ravel(values).tolist())


for loss in ("squared_error", "binary_cross_entropy"):
    model = make_model(loss)
    trace = model.trace(x, y)

    print(f"== {loss}")
    show("a1", trace.a[0])
    show("h1", trace.h[0])
    show("a2", trace.a[1])
    show("h2", trace.h[1])
    show("loss", trace.loss)
    show("delta2", trace.delta[1])
    show("delta1", trace.delta[0])

    model.fit(x[None], y[None], epochs=1, batch_size=1, learning_rate=RATE)
    show("W1 after one step", model.W[0])
    show("W2 after one step", model.W[1])
    show("h2 after one step", model.forward(x[None]))
    error = make_model(loss).gradient_check(x[None], y[None])
    print("gradient check below 1e-6: ", error < 1e-6)
    print()

print("The whole derivation, as model.trace shows it:")
print()
print(make_model("squared_error").trace(x, y, learning_rate=RATE))
