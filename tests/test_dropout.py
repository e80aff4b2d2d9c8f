"""Dropout and noise: the reference's numbers, the same bits everywhere, the right frequencies."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from compiled import ALIKE, activation, counted, engine_of

import fastnn
from fastnn.kernels import _cpu
from fastnn.random import keys

RATES = {"learning_rate": 0.05, "momentum": 0.5, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.1}
NETS = {
    "dropout": ref.Net((9, 37, 20, 3), "relu", dropout=(0.2, 0.5, 0.25), noise=(0.0, 0.0, 0.0)),
    "noise": ref.Net((9, 33, 20, 3), "tanh", dropout=(0.0,) * 3, noise=(0.125, 0.5, 0.0)),
    "both": ref.Net(
        *((9, 16, 70, 2), ("gelu", ("leaky_relu", 0.25)), "silu", "squared_error"),
        **{"dropout": (0.0, 0.5, 0.125), "noise": (0.25, 0.0, 0.5)},
    ),
    "inputs": ref.Net((40, 5), (), dropout=(0.5,), noise=(1.0,)),
    "parametric": ref.Net(
        (9, 37, 20, 3),
        (("parametric", "tanh"), ("parametric", "mish")),
        **{"dropout": (0.2, 0.5, 0.25), "noise": (0.0, 0.25, 0.0)},
    ),
    "chunks": ref.Net((3, 3000, 2), "mish", dropout=(0.5, 0.5), noise=(0.0, 0.1)),
    "at once": ref.Net((5, 900, 901, 3), "relu", dropout=(0.0, 0.5, 0.5), noise=(0.0,) * 3),
}


@pytest.fixture(autouse=True)
def all_threads():
    _cpu.set_flops_a_thread(0)
    yield
    _cpu.set_flops_a_thread()
    _cpu.use()


def test_philox():
    """The known answers of Random123 (kat_vectors, philox4x32 10)."""
    for counter, key, want in [
        ((0,) * 4, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ]:
        assert tuple(int(word) for word in ref.philox(counter, key)) == want


def data(net, n, dtype):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, net.sizes[0])).astype(dtype)
    y = rng.random((n, net.sizes[-1])).astype(dtype)
    if net.output == "softmax":
        y = rng.integers(0, net.sizes[-1], n).astype(np.int32)
    theta = (0.1 * rng.standard_normal(net.n_parameters)).astype(dtype)
    return X, y, theta


def trained(net, dtype, batch, optimizer, threads, taken=2**32 - 1, factors=None):
    """Theta and losses of three steps, the last one smaller; steps that pass 2^32; and a function
    that computes them by the reference. factors: of dropout, one for each step."""
    n = 2 * batch + batch // 2 + 1
    X, y, theta = data(net, n, dtype)
    e = engine_of(net, dtype, batch, optimizer)
    state = np.zeros((e.n_states, len(theta)), dtype)
    e.load(theta, state)
    losses = np.full(-(-n // batch), np.nan)
    order = np.random.default_rng(0).permutation(n)
    of = keys(7, net.K)
    steps = e.train(
        *(X, y, order, batch, RATES, counted(taken), losses, threads),
        keys=of,
        dropout_factors=factors,
    )
    assert steps == len(losses)
    out = np.empty_like(theta)
    e.store(out, state)

    def reference(wide=np.longdouble):
        values = (theta.astype(wide), X.astype(wide), y if y.ndim == 1 else y.astype(wide))
        want = ref.train(
            *(net, *values, order, batch, optimizer, RATES, None, taken),
            keys=of,
            dropouts=factors,
        )
        return want[0], want[2]

    return out, losses, reference


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_meets_the_reference(name, dtype, optimizer):
    for batch in {"chunks": [700], "at once": [3]}.get(name, [1, 6, 31]):
        want = None
        for isa in _cpu.isas():
            _cpu.use(isa)
            got, losses, reference = trained(NETS[name], dtype, batch, optimizer, 2)
            if want is None:
                want, want_losses = reference(np.float64 if batch == 700 else np.longdouble)
            limit = 5e-5 if dtype == "float32" else 1e-13
            assert np.abs(got - want).max() < limit * (1 + np.abs(want).max())
            assert np.abs(losses - want_losses).max() < limit * (1 + np.abs(want_losses).max())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_factor_for_each_step(name, threads):
    """Of mini-batches that pass at once and in chunks, of inputs (gathered a step ahead), too."""
    batch = {"chunks": 700, "at once": 3}.get(name, 6)
    factors = np.array([0.75, 0.0, 1.0])
    got, losses, reference = trained(NETS[name], "float64", batch, "adam", threads, 5, factors)
    want, want_losses = reference(np.float64)
    assert np.abs(got - want).max() < 1e-13 * (1 + np.abs(want).max())
    assert np.abs(losses - want_losses).max() < 1e-13 * (1 + np.abs(want_losses).max())
    if any(NETS[name].dropout):
        assert np.abs(got - trained(NETS[name], "float64", batch, "adam", 1, 5)[0]).max() > 1e-4


def test_dropout_schedule_of_a_fit():
    X, y = rows()
    settings = dict(epochs=4, batch_size=8, learning_rate=0.1)
    whole, same, none = model_of(), model_of(), model_of()
    whole.fit(X, y, **settings)
    same.fit(X, y, dropout_schedule=fastnn.Constant(1.0), **settings)
    assert whole.theta.tobytes() == same.theta.tobytes()
    none.fit(X, y, dropout_schedule=lambda t: 0.0, **settings)
    plain = fastnn.Model([6, 12, 8, 3], "tanh", seed=3)
    plain.fit(X, y, **settings)
    assert none.theta.tobytes() == plain.theta.tobytes()
    falls = model_of()
    falls.fit(X, y, dropout_schedule=fastnn.FlatCosine(1.0), **settings)
    assert len({one.theta.tobytes() for one in (whole, none, falls)}) == 3


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (0.5, TypeError, "dropout_schedule must be a schedule or a function, got 0.5"),
        (fastnn.Constant(1.5), ValueError, "dropout_schedule must be at most 1, got Constant"),
        (lambda t: 1.0 + t, ValueError, "dropout_schedule must be at most 1, got 5"),
        (lambda t: 1.25, ValueError, "dropout_schedule must be at most 1, got 1.25"),
        (lambda t: -1.0, ValueError, "dropout_schedule must be at least 0"),
        (fastnn.Adaptive(1.0), ValueError, "must be a schedule that follows the steps, got Adap"),
    ],
)
def test_dropout_schedules_that_are_none(schedule, error, message):
    X, y = rows()
    model = model_of()
    before = model.theta.tobytes()
    with pytest.raises(error, match=message):
        model.fit(X, y, batch_size=8, dropout_schedule=schedule)
    assert model.theta.tobytes() == before
    with pytest.raises(ValueError, match="must come with a network that has dropout"):
        fastnn.Model([6, 3]).fit(X, y, dropout_schedule=fastnn.FlatCosine(1.0))
    with pytest.raises(ValueError, match="FlatCosine must come with X and y: a stream"):
        model.fit([(X, y)], dropout_schedule=fastnn.FlatCosine(1.0))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits(name, dtype):
    for batch in {"chunks": [700], "at once": [3]}.get(name, [1, 6, 31]):
        results = set()
        for isa in ALIKE:
            _cpu.use(isa)
            for threads in (1, 2, 3):
                got, losses, _ = trained(NETS[name], dtype, batch, "adam", threads)
                results.add(got.tobytes() + losses.tobytes())
        assert len(results) == 1


def model_of(**settings):
    return fastnn.Model([6, 12, 8, 3], "tanh", seed=3, dropout=[0.1, 0.4, 0.2], **settings)


def rows(n=40):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6)).astype("f4"), rng.integers(0, 3, n)


def test_a_run_in_two_is_the_run_in_one(tmp_path):
    X, y = rows()
    whole, half = model_of(noise=0.1), model_of(noise=0.1)
    whole.fit(X, y, epochs=4, batch_size=7, optimizer="adam")
    half.fit(X, y, epochs=2, batch_size=7, optimizer="adam")
    half.save(tmp_path / "half")
    half = fastnn.load(tmp_path / "half")
    half.fit(X, y, epochs=2, batch_size=7, optimizer="adam")
    assert half.theta.tobytes() == whole.theta.tobytes()
    assert (half.dropout, half.noise) == ([0.1, 0.4, 0.2], [0, 0.1, 0.1])


def test_every_step_draws_anew_also_with_another_optimizer():
    X, y = rows()
    model = model_of()
    losses = []
    for optimizer in ("sgd", "sgd", "adam", "sgd"):
        losses.append(model.partial_fit(X, y, batch_size=40, optimizer=optimizer, learning_rate=0))
    assert len(set(losses)) == 4
    assert model._parameters.all_steps == 4
    other = fastnn.Model([6, 12, 8, 3], "tanh", seed=4, dropout=[0.1, 0.4, 0.2])
    other.theta = model_of().theta
    assert other.partial_fit(X, y, batch_size=40, learning_rate=0) != losses[0]


def test_only_training_draws():
    X, y = rows()
    model, plain = model_of(noise=0.3), fastnn.Model([6, 12, 8, 3], "tanh", seed=3)
    assert (model.theta == plain.theta).all()
    assert (model.forward(X) == plain.forward(X)).all()
    assert model.evaluate(X, y) == plain.evaluate(X, y)
    assert model.loss_and_gradient(X, y)[0] == plain.loss_and_gradient(X, y)[0]
    assert (model.loss_and_gradient(X, y)[1] == plain.loss_and_gradient(X, y)[1]).all()
    assert model.gradient_check(X[:5], y[:5]) < 1e-6
    relu = fastnn.Model([6, 12, 3], "relu", seed=3, dropout=0.5, dtype="float64")
    relu.fit(X, y, epochs=1)
    assert relu.gradient_check(X[:5], y[:5]) < 1e-6
    text = str(model.trace(X[0], y[0]))
    assert "layer 1: 6 -> 12, tanh (noise 0.3, dropout 0.4: in training alone)" in text
    assert "data (dropout 0.1: in training alone)" in text


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_frequencies(p):
    """Of m: the binomial's, within 5 standard deviations; scaled so that the mean stays."""
    noise, factor = ref.drawn(*keys(5, 1)[:, 0], p, 1.0, 3, 1000, 300, np.dtype("f8"))
    n = factor.size
    assert abs((factor > 0).mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / n)
    assert np.allclose(factor[factor > 0], 1 / (1 - p))
    assert abs(noise.mean()) < 5 / np.sqrt(n) and abs(noise.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((noise**4).mean() - 3) < 5 * np.sqrt(96 / n)
    for other in (noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1]):
        assert abs(other.mean()) < 5 / np.sqrt(n)


def test_dropout_of_nearly_all_and_widths():
    X, y = rows()
    model = fastnn.Model([6, 12, 8, 3], seed=3, dropout=[0.0, np.nextafter(1, 0), 0.0])
    model.fit(X, y, epochs=1)
    assert np.isfinite(model.theta).all()
    assert fastnn.Model([6, 3], seed=0, dropout=0.5).dropout == [0.0]
    assert "dropout=[0.0, 0.5]" in repr(fastnn.Model([6, 4, 3], seed=0, dropout=0.5))


@pytest.mark.parametrize("name", ["dropout", "noise"])
def test_wrong_arguments(name):
    for value, error, message in [
        (-0.1, ValueError, "at least 0"),
        (np.nan, ValueError, "at least 0"),
        ("0.5", TypeError, "must be a number"),
        ([0.5], ValueError, r"one entry per layer below the output .* \(2\)"),
        ([0.5, "x"], TypeError, f"each of {name} must be a number"),
    ]:
        with pytest.raises(error, match=message):
            fastnn.Model([6, 4, 3], seed=0, **{name: value})
    with pytest.raises(ValueError, match="dropout must be at least 0 and below 1"):
        fastnn.Model([6, 4, 3], seed=0, dropout=1.0)


def test_old_files_load(tmp_path):
    from fastnn.files import model as storage

    model = fastnn.Model([6, 4, 3], seed=0)
    model.fit(*rows(), epochs=1, batch_size=10)
    assert activation("relu") == "relu"
    path = tmp_path / "model"
    KEYS, spec = storage.KEYS, type(model._network)
    old = spec.architecture.fget

    def before(network):
        found = old(network)
        del found["dropout"], found["noise"]
        return found

    spec.architecture = property(before)
    try:
        model.save(path)
    finally:
        spec.architecture = property(old)
    assert KEYS is storage.KEYS
    loaded = fastnn.load(path)
    assert loaded.dropout == [0.0, 0.0] and loaded._parameters.all_steps == 4
