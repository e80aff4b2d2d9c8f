"""Why first weights are random: equal units stay equal, and from zeros nothing is learnt at all."""

import numpy as np

import fastnn

# Exclusive or: one hidden unit cannot learn it, four can.
X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])

starts = {
    "zeros": "zeros",
    "all 0.5": [np.full((4, 2), 0.5), np.full((1, 4), 0.5)],
    "random": None,
}
for name, init in starts.items():
    model = fastnn.Model([2, 4, 1], "tanh", "sigmoid", dtype="float64", seed=1, init=init)
    model.fit(X, y, epochs=2000, batch_size=4, learning_rate=0.5)
    different = len(np.unique(model.W[0], axis=0))
    loss = model.evaluate(X, y)["loss"]
    print(f"{name:8} {different} different hidden units, loss {loss:.3f}, predicts", end=" ")
    print(*model.predict(X))
