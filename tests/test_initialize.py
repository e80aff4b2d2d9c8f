"""First weights and shuffles: known bits, right limits, independent streams."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import fastnn
from fastnn.kernels import _cpu
from fastnn.network.initialize import RULES
from fastnn.random import SHUFFLE, WEIGHTS, normal, normal_quantile, permutation, raw, uniform

# Of theta after `initialize`: one for all machines.
PINNED_ON_DATA = "8ebc4c0cf072d4b09e7b5ade7085b4da5e316a79646ade70fa2159c8ae346d74"


def philox(counter, key):
    """Philox 4x64-10 in plain integers (Salmon et al. 2011, section 3.3 and table 2)."""
    mask = 2**64 - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], 2**64)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


@pytest.mark.parametrize("seed", [0, 1, 2**64 + 5, 2**128 - 1])
def test_raw_is_philox(seed):
    got = raw(seed, SHUFFLE, 3, 10).tolist()
    key = (seed % 2**64, seed >> 64)
    # NumPy steps the counter before each block of four words.
    want = [w for block in (1, 2, 3) for w in philox((block, 0, SHUFFLE, 3), key)]
    assert got == want[:10]


def data(n=300, dtype="float64"):
    X = normal(3, WEIGHTS, 0, n * 5).reshape(n, 5)
    return (X * [1, 2, 0.5, 3, 1] + [0, 1, 0, -2, 0]).astype(dtype)


def pre_activations(model, X):
    """h_prev W^T of each layer, without its bias."""
    a = model.trace(X, np.zeros(len(X), int)).a
    return [one - b for one, b in zip(a, model.b, strict=True)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("g", ["selu", fastnn.Parametric("mish"), "relu"])
def test_initialize_scales_pre_activations_and_goes_through_the_data(dtype, g):
    model = fastnn.Model([5, 40, 30, 3], g, dtype=dtype, seed=7)
    X = data(dtype=dtype)
    assert model.initialize(X) is None
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for u, b in zip(pre_activations(model, X), model.b, strict=True):
        np.testing.assert_allclose(u.std(0), 1, rtol=tolerance)
        assert (u.min(0) < -b).all() and (-b < u.max(0)).all()
        # The mean of the sum of the squares of 5 weights on the simplex is 1 / 3.
        assert 0.2 < np.square(-b - u.mean(0)).mean() < 0.55 or len(b) == 3
    z = normal(7, WEIGHTS, 1, 200).reshape(40, 5)
    np.testing.assert_allclose(model.W[0], z / (X @ z.T).std(0)[:, None], rtol=10 * tolerance)


def test_initialize_is_the_same_everywhere():
    thetas, isas = set(), [one for one in _cpu.isas() if one != "baseline"]
    X = np.ascontiguousarray(data(20_000))
    for isa in isas:
        _cpu.use(isa)
        try:
            for threads in (1, 3):
                model = fastnn.Model([5, 40, 3], "selu", seed=7, n_threads=threads)
                model.initialize(X)
                thetas.add(model.theta.tobytes())
        finally:
            _cpu.use()
    assert len(thetas) == 1 or not isas
    other = fastnn.Model([5, 40, 3], "selu", seed=8)
    other.initialize(X)
    assert other.theta.tobytes() not in thetas
    digest = hashlib.sha256(thetas.pop()).hexdigest() if isas else PINNED_ON_DATA
    assert digest == PINNED_ON_DATA


def test_initialize_of_other_data():
    dense = data(50)
    dense[:, 3] = 0  # a column that says nothing
    sizes, bias = [5, 8, 1], [True, False]
    one, two = (fastnn.Model(sizes, "tanh", "identity", seed=1, bias=bias) for _ in range(2))
    one.initialize(dense)
    sparse = pytest.importorskip("scipy.sparse")
    two.initialize(sparse.csr_array(dense))
    assert one.theta.tobytes() == two.theta.tobytes() and one.b[1] is None
    still = fastnn.Model([5, 8, 3], seed=1)
    still.initialize(np.zeros((4, 5)))
    assert np.isfinite(still.theta).all() and (still.b[0] == 0).all()


def test_initialize_is_for_untrained_models():
    X = data(50)
    model = fastnn.Model([5, 8, 3], seed=1)
    model.fit(X, np.arange(50) % 3, epochs=1)
    before = model.theta.tobytes()
    with pytest.raises(ValueError, match="initialize must come before training, after 1 steps"):
        model.initialize(X)
    assert model.theta.tobytes() == before
    with pytest.raises(ValueError, match="must have a network without normalisation"):
        fastnn.Model([5, 8, 3], norm="layer").initialize(X)
    with pytest.raises(ValueError, match="X must"):
        fastnn.Model([5, 8, 3]).initialize(X[:, :3])


def test_biases_from_a_rule():
    rule = ("lecun_normal", fastnn.Normal(1.0))
    model = fastnn.Model([5, 200, 3], "selu", dtype="float64", seed=1, init=[rule, "zeros"])
    assert 0.8 < model.b[0].std() < 1.2 and 0.8 < np.sqrt(5) * model.W[0].std() < 1.2
    assert not model.W[1].any() and not model.b[1].any()
    alone = fastnn.Model([5, 200, 3], "selu", dtype="float64", seed=1, init="lecun_normal")
    assert model.W[0].tobytes() == alone.W[0].tobytes()
    all_alike = fastnn.Model([5, 200, 3], dtype="float64", seed=1, init=("zeros", "lecun_uniform"))
    assert 0 < np.abs(all_alike.b[0]).max() <= np.sqrt(3 / 5) and all_alike.b[1].any()
    given = fastnn.Model([5, 2], seed=1, init=[(np.ones((2, 5)), fastnn.Uniform(0.5))])
    assert (given.W[0] == 1).all() and 0 < np.abs(given.b[0]).max() <= 0.5
    without = fastnn.Model([5, 3], bias=False, init=[rule])
    assert without.b[0] is None
    with pytest.raises(ValueError, match="b of layer 1 must come from Uniform or Normal"):
        fastnn.Model([5, 3], init=[("zeros", "orthogonal")])


def test_uniform_is_in_the_unit_interval():
    u = uniform(0, WEIGHTS, 1, 100_000)
    assert 0 <= u.min() < 1e-4 and 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * u.size)
    assert (u * 2.0**53 == np.floor(u * 2.0**53)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 255, 256, 257, 1000])
def test_permutation(n):
    order = permutation(5, SHUFFLE, 0, n)
    assert order.dtype == np.intp
    assert sorted(order.tolist()) == list(range(n))
    if n > 100:
        assert (order != permutation(5, SHUFFLE, 1, n)).any()
        assert (order != permutation(6, SHUFFLE, 0, n)).any()


def test_permutations_are_uniform():
    """Each of 3! orders in 6000 draws: a chi-squared of 5 degrees, below 20.5 in 99.9%."""
    counts = np.zeros(27)
    for index in range(6000):
        counts[permutation(0, SHUFFLE, index, 3) @ [9, 3, 1]] += 1
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("activation", "limit"),
    [
        *((g, (6 / 50) ** 0.5) for g in ("relu", "elu", "softplus", "gelu", "silu", "mish")),
        *((g, (6 / 130) ** 0.5) for g in ("identity", "sigmoid", "tanh", "hard_tanh")),
        ("leaky_relu", (6 / 50 / 1.0001) ** 0.5),
        (fastnn.LeakyReLU(0.5), (6 / 50 / 1.25) ** 0.5),
        ("selu", (3 / 50) ** 0.5),
    ],
)
def test_limits(activation, limit, dtype):
    model = fastnn.Model([50, 80, 10], activation=activation, dtype=dtype, seed=0)
    assert 0.99 * limit < abs(model.W[0]).max() <= limit * (1 + 1e-7)
    assert 0.95 * (6 / 90) ** 0.5 < abs(model.W[1]).max() <= (6 / 90) ** 0.5 * (1 + 1e-7)
    assert not model.b[0].any() and not model.b[1].any()


def test_seeds():
    def theta(seed):
        return fastnn.Model([4, 5, 3], seed=seed).theta

    assert (theta(3) == theta(3)).all() and (theta(3) == theta(np.int64(3))).all()
    assert (theta(3) != theta(4)).any()
    drawn = fastnn.Model([4, 5, 3])
    assert (theta(drawn.seed) == drawn.theta).all()
    assert drawn.seed != fastnn.Model([4, 5, 3]).seed
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        theta(-1)
    with pytest.raises(ValueError, match=r"seed must be below 2\*\*128"):
        theta(2**128)
    with pytest.raises(TypeError, match=r"seed must be an integer, got 1.5"):
        theta(1.5)


def test_float32_is_float64_rounded():
    one, two = (fastnn.Model([9, 7, 2], dtype=d, seed=8) for d in ("float32", "float64"))
    assert (one.theta == two.theta.astype(np.float32)).all()


def test_golden_bits():
    """The same first weights and shuffles on every machine and in every release."""
    theta = fastnn.Model([13, 11, 5], activation="relu", dtype="float64", seed=42).theta
    order = permutation(42, SHUFFLE, 7, 1000)
    digest = hashlib.sha256(theta.astype("<f8").tobytes() + order.astype("<i8").tobytes())
    assert digest.hexdigest() == (
        "8d1f1cb3531c37c401e43941a621c628511d9db37781ad009888c9bccf506087"
    )


# init=


def moments(init, n_in=400, n_out=300, dtype="float64"):
    """Mean, deviation, kurtosis and greatest of |W| of a layer."""
    model = fastnn.Model([n_in, n_out], "tanh", "identity", dtype=dtype, seed=2, init=init)
    W = model.W[0].astype(np.float64)
    assert not model.b[0].any()
    s = W.std()
    return W.mean(), s, ((W - W.mean()) ** 4).mean() / s**4, abs(W).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("glorot_uniform", (2 / 700) ** 0.5),
        ("glorot_normal", (2 / 700) ** 0.5),
        ("he_uniform", (2 / 400) ** 0.5),
        ("he_normal", (2 / 400) ** 0.5),
        ("lecun_uniform", (1 / 400) ** 0.5),
        ("lecun_normal", (1 / 400) ** 0.5),
        ("uniform", 0.05 / 3**0.5),
        ("normal", 0.05),
        (fastnn.Uniform(0.3), 0.3 / 3**0.5),
        (fastnn.Normal(0.3), 0.3),
    ],
)
def test_distributions(init, std, dtype):
    mean, s, kurtosis, largest = moments(init, dtype=dtype)
    n = 400 * 300
    uniform_ = "uniform" in str(init).lower()
    assert abs(mean) < 5 * std / n**0.5
    assert abs(s / std - 1) < 5 / n**0.5
    assert abs(kurtosis - (1.8 if uniform_ else 3)) < 0.1
    assert largest <= 3**0.5 * std * (1 + 1e-7) if uniform_ else 3.5 * std < largest < 7 * std


def test_what_streams_are_for_has_its_number_for_good():
    """Another number is another stream: other weights, folds and explanations of the same seed."""
    names = (name for name in vars(fastnn.random) if name.isupper() and name[0] != "_")
    assert {name: getattr(fastnn.random, name) for name in names} == {
        **{"WEIGHTS": 0, "SHUFFLE": 1, "GRADIENT_CHECK": 2, "DROPOUT": 3, "NOISE": 4},
        **{"EMBEDDINGS": 5, "BIASES": 6, "ROWS": 7, "FEATURES": 8, "HELD_OUT": 1000},
        **{"FOLDS": 1001, "MEMBERS": 1002, "EXPLAIN": 1003, "SPREAD": 1004, "SEARCH": 1005},
        **{"SCALES": 1006, "POINTS": 1007},
    }


def test_normal_quantiles():
    special = pytest.importorskip("scipy.special")
    p = np.concatenate([uniform(1, 9, 0, 100_000), 2.0 ** -np.arange(1, 54)])
    p = np.concatenate([p, 1 - p])
    p = p[(p > 0) & (p < 1)]
    want = special.ndtri(p)
    got = normal_quantile(p)
    assert (abs(got - want) <= 2e-15 * abs(want)).all()
    assert normal_quantile(np.array([0.5]))[0] == 0
    np.testing.assert_array_equal(normal_quantile(1 - p), -normal_quantile(1 - (1 - p)))
    assert np.isfinite(normal(0, WEIGHTS, 0, 10**6)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (20, 20), (13, 41), (41, 13), (150, 97)])
def test_orthogonal(shape):
    n_out, n_in = shape
    init, given = fastnn.Orthogonal(1.5), {"output": "identity", "dtype": "float64", "seed": 1}
    W = fastnn.Model([n_in, n_out], init=init, **given).W[0] / 1.5
    product = W @ W.T if n_out <= n_in else W.T @ W
    assert abs(product - np.eye(min(shape))).max() < 3e-15
    plain = fastnn.Model([n_in, n_out], init="orthogonal", **given).W[0]
    np.testing.assert_allclose(W, plain, rtol=1e-15)


def test_zeros_arrays_and_lists():
    model = fastnn.Model([3, 4, 2], seed=0, init="zeros")
    assert not model.theta.any()
    W, b = np.arange(12.0).reshape(4, 3), [1, 2, 3, 4]
    model = fastnn.Model([3, 4, 2], seed=0, init=[(W, b), "he_normal"])
    assert (model.W[0] == W).all() and (model.b[0] == b).all()
    assert (model.W[1] == fastnn.Model([3, 4, 2], seed=0, init="he_normal").W[1]).all()
    model = fastnn.Model([3, 4, 2], bias=False, seed=0, init=[W, [[1] * 4] * 2])
    assert (model.W[0] == W).all() and (model.W[1] == 1).all()
    W[:] = 0
    assert model.W[0].any()  # copied


def test_default_is_he_and_glorot():
    mixed = fastnn.Model([9, 8, 7, 3], ["relu", "tanh"], seed=4)
    named = ["he_uniform", "glorot_uniform", "glorot_uniform"]
    twin = fastnn.Model([9, 8, 7, 3], ["relu", "tanh"], seed=4, init=named)
    assert (mixed.theta == twin.theta).all()


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        ("xavier", ValueError, "init must be one of glorot_uniform, .*zeros, got 'xavier'"),
        (3, TypeError, "init must be a name, a fastnn.Uniform"),
        (np.zeros((4, 3)), TypeError, "init must be a name"),
        (["zeros"], ValueError, r"init must have one entry per layer \(2\), got 1"),
        (
            [np.zeros((3, 4)), "zeros"],
            ValueError,
            r"W of layer 1 must have shape \(4, 3\), got \(3",
        ),
        ([np.full((4, 3), np.nan), "zeros"], ValueError, "init: W of layer 1 must be finite"),
        ([(np.zeros((4, 3)), [1]), "zeros"], ValueError, r"b of layer 1 must have shape \(4,\)"),
        (["zeros", (np.zeros((2, 4)), [1, 2])], ValueError, "b of layer 2 must be None"),
        ([(1, 2, 3), "zeros"], ValueError, r"a tuple must be \(W, b\), got 3 entries"),
        ([None, "zeros"], TypeError, "init: W of layer 1 must be real numbers"),
    ],
)
def test_wrong_init(init, error, message):
    with pytest.raises(error, match=message):
        fastnn.Model([3, 4, 2], bias=[True, False], seed=0, init=init)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastnn.Uniform(-1), "limit must be at least 0"),
        (lambda: fastnn.Normal(np.nan), "std must be at least 0"),
        (lambda: fastnn.Orthogonal(-1), "gain must be at least 0"),
    ],
)
def test_wrong_init_objects(make, message):
    with pytest.raises(ValueError, match=message):
        make()


GOLDEN = {
    "glorot_uniform": "c8762ad199df2574ad16473088711701f4cc26fd41ce204f6c83c6f69a4f376e",
    "glorot_normal": "5de9f2b461e3db90b3f1fa36cc826777fc63d49b5a24aaadceb799a5d59770d9",
    "he_uniform": "efcb57a224ea27499a10ef930b9513cd2a188222245f70c7bfd7729959878ee9",
    "he_normal": "87c0f085bce163c6a153ee62b4267c9455b6bcc0dd9289af7cffb0d93b350f12",
    "lecun_uniform": "5f4dd490fbbcf5fec6cf974ae73a9fc2a66f74a75195803d99b07b3732e2a5e5",
    "lecun_normal": "9bc4f44d6e132e70cf6196738e934c8e881d937d88ffc31b23e3dedcdb54565e",
    "uniform": "3b80670fb38298ec3c91b586b5a64a3c0752e5ba3abdd4ac756aeee9ebd2c37c",
    "normal": "88df1129c7dd7c143bd3700e8ac0f416dc3b4418deea087d700665fdea792ef5",
    "orthogonal": "4d66537631ea0966e931daabf8a905dbec01d2b291b855ba3ab1593b158c9156",
    "zeros": "254c44804bd747f0aa97697d34f9b68e7246d91bf8ddca3ef4e5472d9434305b",
}


@pytest.mark.parametrize("name", RULES)
def test_golden_bits_of_each_rule(name):
    """Operations on single elements alone: the same on every machine, whatever its BLAS."""
    theta = fastnn.Model([13, 11, 17, 5], "tanh", dtype="float64", seed=42, init=name).theta
    digest = hashlib.sha256(theta.astype("<f8").tobytes()).hexdigest()
    assert digest == GOLDEN[name]
