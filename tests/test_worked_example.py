"""The 2-2-1 network of docs/worked_example.md, to 1e-15 in float64: reference and fastnn."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref

import fastnn

X = np.array([[0.0, 1.0]])
Y = np.array([[1.0]])
W1 = np.array([[0.1, 0.3], [0.2, 0.4]])
W2 = np.array([[0.5, 0.6]])
RATE = 0.2

FORWARD = {
    "a1": [0.3, 0.4],
    "h1": [0.574442516811659, 0.598687660112452],
    "a2": [0.6464338544733007],
    "h2": [0.6562063905634363],
}
# W after the step: W1[0,0], W1[1,0], W1[0,1], W1[1,1], W2[0,0], W2[0,1]
STEP = {
    "squared_error": {
        "loss": 0.05909702294471024,
        "delta2": [-0.07755968823918577],
        "delta1": [-0.009480055221105977, -0.011180729121496367],
        "W": [
            *[0.1, 0.2, 0.3018960110442212, 0.4022361458242993],
            *[0.5089107165030491, 0.6092868056541939],
        ],
        "h2 after": [0.6587380424021514],
    },
    "binary_cross_entropy": {
        "loss": 0.42127991975913076,
        "delta2": [-0.3437936094365637],
        "delta1": [-0.04202160266646501, -0.04956006539064048],
        "W": [
            *[0.1, 0.2, 0.308404320533293, 0.40991201307812813],
            *[0.5394979332537009, 0.6411649983190381],
        ],
        "h2 after": [0.6673893971498027],
    },
}
LOSSES = list(STEP)


def near(got, want):
    """Equal to 1e-15, whatever the number of axes."""
    np.testing.assert_allclose(np.ravel(got), np.ravel(want), rtol=0, atol=1e-15)


def in_order(W):
    """The six weights of the layers W = [W1, W2], column by column as in the table."""
    return np.concatenate([W[0].T.ravel(), W[1].ravel()])


def make_model(loss):
    model = fastnn.Model(
        [2, 2, 1], activation="sigmoid", output="sigmoid", loss=loss, bias=False, dtype="float64"
    )
    model.W[0][:] = W1
    model.W[1][:] = W2
    return model


@pytest.mark.parametrize("loss", LOSSES)
def test_reference(loss):
    want = STEP[loss]
    net = ref.Net((2, 2, 1), "sigmoid", "sigmoid", loss, bias=False)
    theta = ref.pack([None, W1, W2], [None, None, None])
    a, h = ref.forward(net, theta, X)
    for name, got in {"a1": a[1], "h1": h[1], "a2": a[2], "h2": h[2]}.items():
        near(got, FORWARD[name])
    losses, delta, *_ = ref.backward(net, theta, X, Y)
    near(losses, want["loss"])
    near(delta[2], want["delta2"])
    near(delta[1], want["delta1"])
    theta, _, _ = ref.train(net, theta, X, Y, np.array([0]), 1, "sgd", {"learning_rate": RATE})
    near(in_order(ref.unpack(net, theta)[0][1:]), want["W"])
    near(ref.forward(net, theta, X)[1][2], want["h2 after"])


@pytest.mark.parametrize("loss", LOSSES)
def test_trace(loss):
    want = STEP[loss]
    model = make_model(loss)
    trace = model.trace(X[0], Y[0])
    for k in (1, 2):
        near(trace.a[k - 1], FORWARD[f"a{k}"])
        near(trace.h[k - 1], FORWARD[f"h{k}"])
        near(trace.delta[k - 1], want[f"delta{k}"])
    near(trace.loss, want["loss"])
    near(trace.grad_W[1], np.multiply(want["delta2"], FORWARD["h1"]))
    near(trace.grad_W[0], np.outer(want["delta1"], X[0]))
    near(in_order(model.W), in_order([W1, W2]))  # looking changes nothing


@pytest.mark.parametrize("loss", LOSSES)
def test_one_step_of_fit(loss):
    want = STEP[loss]
    model = make_model(loss)
    near(model.forward(X), FORWARD["h2"])
    near(model.evaluate(X, Y)["loss"], want["loss"])
    history = model.fit(X, Y, epochs=1, batch_size=1, learning_rate=RATE)
    near(history.loss, want["loss"])
    near(in_order(model.W), want["W"])
    near(model.forward(X), want["h2 after"])


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_check(loss):
    assert make_model(loss).gradient_check(X, Y) < 1e-6


def test_log_to_the_base_ten_is_another_number():
    """0.18296 is -log10 h2, not the loss that the gradient -1/h2 belongs to."""
    h2 = FORWARD["h2"][0]
    near(-np.log10(h2), 0.1829595444880352)
    near(-np.log(h2), STEP["binary_cross_entropy"]["loss"])


def hand_computation(hidden_slope, shared):
    """One step of squared error by hand: g' of the hidden layer from h or a; one gradient for both.

    The slips of docs/worked_example.md; (h, False) is right.
    """
    a1, h1, h2 = (np.array(FORWARD[name]) for name in ("a1", "h1", "h2"))
    z = {"h": h1, "a": a1}[hidden_slope]
    delta2 = (h2 - 1) * h2 * (1 - h2)
    delta1 = delta2 * W2[0] * z * (1 - z)
    grad_W2 = delta2 * h1
    if shared:
        grad_W2 = np.full(2, grad_W2[0])
    new_W1 = W1 - RATE * np.outer(delta1, X[0])
    return ref.sigmoid((W2[0] - RATE * grad_W2) @ ref.sigmoid(new_W1 @ X[0]))


def test_the_slips_end_where_the_page_says():
    near(hand_computation("h", shared=False), STEP["squared_error"]["h2 after"])
    assert f"{hand_computation('a', shared=False):.6f}" == "0.658730"
    assert f"{hand_computation('h', shared=True):.6f}" == "0.658687"
    assert f"{hand_computation('a', shared=True):.6f}" == "0.658680"
