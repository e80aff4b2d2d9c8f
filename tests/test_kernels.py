"""Every kernel against the reference: ISA x dtype x threads x awkward sizes, in derived bounds.

Outputs start as NaN, so that an element nobody wrote shows. The exact values come from the
reference in a wider type.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference as ref

from fastnn.kernels import _cpu, layer, predict

WIDER = {"float32": np.float64, "float64": np.longdouble}


@pytest.fixture(params=_cpu.isas())
def isa(request):
    _cpu.use(request.param)
    yield request.param
    _cpu.use()


@pytest.fixture(params=[1, 3], ids=["1thread", "3threads"])
def threads(request):
    _cpu.set_flops_a_thread(0)  # share even the smallest work
    yield request.param
    _cpu.set_flops_a_thread()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def awkward_sizes(dtype):
    """(batch, n_in, n_out): 1; one less, equal, one more than a tile or panel; primes; panels."""
    nr, vl, mr = _cpu.panel_sizes(np.dtype(dtype).itemsize)
    widths = [1, vl, nr - 1, nr, nr + 1, 2 * nr + 5]
    yield from itertools.product([1, mr - 1, mr, mr + 1, 37], widths, widths)
    yield from [
        (2, 263, 3),
        (5, 3, 2 * nr),
        (3, 521, nr + 1),
        (131, 7, 11),
    ]  # past a block of the sum


def nan(*shape, dtype):
    return np.full(shape, np.nan, dtype)


def assert_within(got, want, bound, case):
    error = np.abs(got - want)
    assert (error <= bound).all(), (
        f"{case}: off by {error.max()}, bound {np.max(bound)}, {got.dtype}"
    )


@pytest.mark.parametrize("activation", _cpu.OUTPUTS)
def test_forward(isa, dtype, threads, rng, activation):
    u, wide = ref.unit_roundoff(dtype), WIDER[dtype]
    for i, (batch, n_in, n_out) in enumerate(awkward_sizes(dtype)):
        h_prev = rng.standard_normal((batch, n_in)).astype(dtype)
        W = rng.standard_normal((n_out, n_in)).astype(dtype)
        b = rng.standard_normal(n_out).astype(dtype) if i % 2 else None
        h = nan(batch, n_out, dtype=dtype)
        layer.forward(h_prev, W, b, h, _cpu.OUTPUTS[activation], threads)
        a_bound = ref.affine_bound(h_prev.astype(wide), W.astype(wide), b, u)
        a = h_prev.astype(wide) @ W.astype(wide).T + (0 if b is None else b.astype(wide))
        bound = ref.activation_bound(a, a_bound, activation, u)
        assert_within(h, ref.OUTPUTS[activation](a), bound, (batch, n_in, n_out))


@pytest.mark.parametrize("activation", _cpu.ACTIVATIONS)
def test_hidden_delta(isa, dtype, threads, rng, activation):
    u, wide = ref.unit_roundoff(dtype), WIDER[dtype]
    for batch, n_in, n_out in awkward_sizes(dtype):
        delta = rng.standard_normal((batch, n_out)).astype(dtype)
        W = rng.standard_normal((n_out, n_in)).astype(dtype)
        kept = activation in _cpu.KEEPING
        table = ref.DG if kept else ref.G
        h_prev = table[activation](rng.standard_normal((batch, n_in))).astype(dtype)
        delta_prev = nan(batch, n_in, dtype=dtype)
        layer.hidden_delta(delta, W, h_prev, delta_prev, _cpu.ACTIVATIONS[activation], threads)
        wide_delta, wide_W, wide_h = (array.astype(wide) for array in (delta, W, h_prev))
        slope = wide_h if kept else ref.DG_OF_H[activation](wide_h)
        want = (wide_delta @ wide_W) * slope
        bound = ref.hidden_delta_bound(wide_delta, wide_W, wide_h, activation, u)
        assert_within(delta_prev, want, bound, (batch, n_in, n_out))


@pytest.mark.parametrize("activation", _cpu.ACTIVATIONS)
def test_activation_and_slope_over_the_range(isa, dtype, activation):
    """To a few units of roundoff, from the smallest arguments to where exponentials end."""
    u, wide = ref.unit_roundoff(dtype), WIDER[dtype]
    far = 90 if dtype == "float32" else 710
    some = np.geomspace(1e-12, far, 3000)
    a = np.concatenate([np.linspace(-5, 5, 5001), -some, some, [0]]).astype(dtype)[:, None]
    h, d = nan(*a.shape, dtype=dtype), nan(*a.shape, dtype=dtype)
    layer.forward(a, np.ones((1, 1), dtype), None, h, _cpu.ACTIVATIONS[activation], 1)
    layer.slope(a, d, _cpu.ACTIVATIONS[activation])
    exact = a.astype(wide)
    bound = ref.activation_bound(exact, 0, activation, u)
    assert_within(h, ref.G[activation](exact), bound, activation)
    smooth = (
        np.abs(np.abs(a) - (activation == "hard_tanh")) > 0
    )  # where pieces meet, either will do
    assert_within(d[smooth], ref.DG[activation](exact)[smooth], ref.slope_bound(u), activation)


@pytest.mark.parametrize(
    ("activation", "name", "p"),
    [((4, 0.25), "leaky_relu", 0.25), ((4, 0.0), "relu", None), ((5, 0.5), "elu", 0.5)],
)
def test_parameters(isa, dtype, activation, name, p):
    a = np.linspace(-3, 3, 61).astype(dtype)[:, None]
    h, d = nan(61, 1, dtype=dtype), nan(61, 1, dtype=dtype)
    layer.forward(a, np.ones((1, 1), dtype), None, h, activation, 1)
    layer.slope(a, d, activation)
    g = name if p is None else (name, p)
    u = ref.unit_roundoff(dtype)
    assert_within(h, ref.apply(ref.G, g, a.astype(np.float64)), 4 * u, g)
    assert_within(d, ref.apply(ref.DG, g, a.astype(np.float64)), 4 * u, g)
    one = np.ones((61, 1), dtype)
    layer.hidden_delta(one, one[:1], h, out := np.empty_like(h), activation, 1)
    assert out.tobytes() == d.tobytes()


@pytest.mark.parametrize("bias", [True, False])
def test_gradient(isa, dtype, threads, rng, bias):
    u, wide = ref.unit_roundoff(dtype), WIDER[dtype]
    for batch, n_in, n_out in awkward_sizes(dtype):
        delta = rng.standard_normal((batch, n_out)).astype(dtype)
        h_prev = rng.standard_normal((batch, n_in)).astype(dtype)
        grad_W, grad_b = nan(n_out, n_in, dtype=dtype), nan(n_out, dtype=dtype) if bias else None
        layer.gradient(delta, h_prev, grad_W, grad_b, threads)
        W_bound, b_bound = ref.gradient_bounds(delta.astype(wide), h_prev.astype(wide), u)
        want = delta.astype(wide).T @ h_prev.astype(wide)
        assert_within(grad_W, want, W_bound, (batch, n_in, n_out))
        if bias:
            assert_within(grad_b, delta.astype(wide).sum(0), b_bound, (batch, n_in, n_out))


TARGETS = [
    (output, loss, labels)
    for loss, outputs in ref.LOSSES.items()
    for output in outputs
    for labels in ([True, False] if output == "softmax" else [loss == "hinge"])
]


def random_settings(rng, loss, n):
    """Exact in every dtype."""
    return {
        "cross_entropy": {"label_smoothing": float(rng.choice([0, 0.125]))},
        "binary_cross_entropy": {"label_smoothing": float(rng.choice([0, 0.125]))},
        "huber": {"delta": 0.75},
        "quantile": {"q": tuple((rng.integers(1, 16, n) / 16).tolist())},
        "focal": {"gamma": float(rng.choice([0, 1.5, 2]))},
    }.get(loss, {})


@pytest.mark.parametrize(("output", "loss", "labels"), TARGETS)
def test_output_delta(isa, dtype, threads, rng, output, loss, labels):
    u, wide = ref.unit_roundoff(dtype), WIDER[dtype]
    for batch, _, n in awkward_sizes(dtype):
        if loss == "hinge" and n == 1:
            continue
        settings = random_settings(rng, loss, n)
        a = (3 * rng.standard_normal((batch, n))).astype(dtype)
        y = rng.random((batch, n)).astype(dtype)
        if output == "softmax":
            y /= y.sum(1, keepdims=True)
        if labels:
            y = rng.integers(0, n, batch).astype(np.int32)
        h, delta, losses = (
            nan(batch, n, dtype=dtype),
            nan(batch, n, dtype=dtype),
            nan(batch, dtype="f8"),
        )
        layer.output_delta(
            *(a, y, h, delta, losses, _cpu.OUTPUTS[output]),
            *((_cpu.LOSSES[loss], settings), threads),
        )
        wide_y = y if labels else y.astype(wide)
        want_losses, want_delta = ref.losses_and_delta(
            a.astype(wide), wide_y, output, loss, **settings
        )
        want_h = ref.OUTPUTS[output](a.astype(wide))
        h_bound = ref.activation_bound(a.astype(wide), 0, output, u)
        assert_within(h, want_h, h_bound, (batch, n))
        # e = h - y is off by h's error and its own rounding; what follows multiplies it by at
        # most n numbers of h (softmax) or one of g', each product rounded.
        rows = ref.target_rows(y, output, n, wide, loss)
        e_bound = h_bound + u * (np.abs(want_h) + np.abs(rows) + settings.get("label_smoothing", 0))
        scale = 1 + np.abs(want_h) + np.abs(want_h) ** 2
        e_sum = (np.abs(want_h - rows) + e_bound).sum(1, keepdims=True)
        delta_bound = scale * (
            e_bound + e_bound.sum(1, keepdims=True) + ref.gamma(n + 8, u) * e_sum
        )
        if loss in ("absolute_error", "quantile"):  # g' times a slope that does not go to 0 with e
            delta_bound += 4 * u * scale
        if loss == "focal":  # powers multiply the errors of ln f, of the size of |a|, by gamma
            delta_bound = ref.gamma(16 * n + 64, u) * (1 + np.abs(a).max(1, keepdims=True)) ** 2
        assert_within(delta, want_delta, delta_bound, (batch, n))
        # The loss: n terms of the size of |a| (log sum exp, a y) or of e^2.
        residual = loss in ("squared_error", "absolute_error", "huber", "quantile")
        size = np.abs(a).astype(wide).sum(1) + np.log(n) + 1
        if residual:
            size = e_sum[:, 0] * (e_sum[:, 0] if loss == "squared_error" else 1)
        elif loss == "poisson":
            size += 4 * want_h.sum(1) * (1 + np.abs(a).max(1))
        elif loss == "focal":
            size *= 16 * (1 + np.abs(a).max(1))
        slack = (e_bound * (1 + e_sum)).sum(1) if residual else 0
        assert_within(losses, want_losses, ref.gamma(n + 12, u) * size + 2 * slack, (batch, n))


@pytest.mark.parametrize(("output", "loss", "labels"), TARGETS)
def test_a_row_alone_has_the_bits_of_the_row_among_others(isa, dtype, rng, output, loss, labels):
    """Samples in lanes, and one sample's outputs in lanes: each loss is one text for both."""
    for n in (2, 3, 17, 40):
        settings = random_settings(rng, loss, n)
        a = (3 * rng.standard_normal((40, n))).astype(dtype)
        a[20:] = np.round(a[20:])  # with several largest
        y = rng.random((40, n)).astype(dtype)
        if labels:
            y = rng.integers(0, n, 40).astype(np.int32)

        def bits(a, y, settings=settings):
            found = np.empty_like(a), np.empty_like(a), np.empty(len(a))
            what = _cpu.OUTPUTS[output], (_cpu.LOSSES[loss], settings), 1
            layer.output_delta(a, y, *found, *what)
            return [part.tobytes() for part in found]

        alone = zip(*(bits(a[i : i + 1], y[i : i + 1]) for i in range(40)), strict=True)
        assert bits(a, y) == [b"".join(parts) for parts in alone]


def test_losses_do_not_overflow(isa, dtype):
    a = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype)
    h, delta, losses = np.empty_like(a), np.empty_like(a), np.empty(2)
    y = np.array([1, 1], np.int32)
    layer.output_delta(
        *(a, y, h, delta, losses, _cpu.OUTPUTS["softmax"]),
        *((_cpu.LOSSES["cross_entropy"], {}), 1),
    )
    assert losses.tolist() == [2e4, 0.0]
    assert h.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert delta.tolist() == [[1, -1, 0], [0, 0, 0]]
    y = np.array([[0, 1, 1], [0, 1, 0.5]], dtype)
    layer.output_delta(
        *(a, y, h, delta, losses, _cpu.OUTPUTS["sigmoid"]),
        *((_cpu.LOSSES["binary_cross_entropy"], {}), 1),
    )
    np.testing.assert_allclose(losses, [2e4 + np.log(2), np.log(2)], rtol=4 * np.finfo(dtype).eps)
    assert h.tolist() == [[1, 0, 0.5], [0, 1, 0.5]]


@pytest.mark.parametrize("n", [49, 64, 97, 101, 111, 112])
def test_many_classes_have_the_bits_of_a_row_alone(isa, dtype, rng, n):
    """They are worked on where they lie, those of a row alone in vectors of their own."""
    a = (3 * rng.standard_normal((37, n))).astype(dtype)
    a[20:] = np.round(a[20:])
    a[5, n - 1], a[6, 0] = 90, -200
    y = rng.integers(0, n, 37).astype(np.int32)
    y[5:7] = n - 1, 0

    def bits(a, y):
        found = np.empty_like(a), np.empty_like(a), np.empty(len(a))
        layer.output_delta(
            a, y, *found, _cpu.OUTPUTS["softmax"], (_cpu.LOSSES["cross_entropy"], {}), 1
        )
        softmax = np.empty_like(a)
        layer.forward(a, np.eye(n, dtype=dtype), None, softmax, _cpu.OUTPUTS["softmax"], 1)
        return [part.tobytes() for part in (*found, softmax)]

    alone = zip(*(bits(a[i : i + 1], y[i : i + 1]) for i in range(37)), strict=True)
    assert bits(a, y) == [b"".join(parts) for parts in alone]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_many_classes_show_what_is_not_finite(isa, dtype, value):
    for at in (0, 50, 119):
        a = np.zeros((37, 120), dtype)
        a[30, at] = value
        losses = np.empty(37)
        layer.output_delta(
            *(a, np.full(37, 7, np.int32), np.empty_like(a), np.empty_like(a), losses),
            *(_cpu.OUTPUTS["softmax"], (_cpu.LOSSES["cross_entropy"], {}), 1),
        )
        assert np.flatnonzero(np.isnan(losses)).tolist() == [30]


@pytest.mark.parametrize("batch", [1, 37])
@pytest.mark.parametrize("loss", _cpu.LOSSES)
def test_far_out_the_new_losses_stay_finite_and_nan_shows(isa, dtype, loss, batch):
    for output in ref.LOSSES[loss]:
        y = np.ones((batch, 3), dtype) / 3
        if output == "softmax" or loss == "hinge":
            y = np.ones(batch, np.int32)
        settings = {"quantile": {"q": (0.1, 0.5, 0.9)}, "huber": {"delta": 1.0}}.get(
            loss, {"gamma": 2.0} if loss == "focal" else {}
        )
        for row in ([50, -50, 0], [-1e4, 80, 1e4], [0, np.nan, 0], [np.nan, 0, 0]):
            a = np.tile(np.array(row, dtype), (batch, 1))
            if output == "exp":
                a = np.minimum(a, 40)
            h, delta, losses = nan(batch, 3, dtype=dtype), np.empty_like(a), np.empty(batch)
            layer.output_delta(
                *(a, y, h, delta, losses, _cpu.OUTPUTS[output]),
                *((_cpu.LOSSES[loss], settings), 1),
            )
            if np.isnan(a).any():
                assert np.isnan(losses).all(), (output, row)
            else:
                assert np.isfinite(losses).all() and np.isfinite(delta).all(), (output, row)


@pytest.mark.parametrize("activation", _cpu.ACTIVATIONS)
def test_nan_passes_through(isa, dtype, activation):
    a = np.full((3, 5), np.nan, dtype)
    one, h = np.eye(5, dtype=dtype), np.zeros((3, 5), dtype)
    layer.forward(a, one, None, h, _cpu.ACTIVATIONS[activation], 1)
    assert np.isnan(h).all()


@pytest.mark.parametrize("rule", _cpu.OPTIMIZERS)
def test_update(isa, dtype, threads, rng, rule):
    u, wide = ref.unit_roundoff(dtype), WIDER[dtype]
    rates = {
        **{"learning_rate": 0.1, "momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "epsilon": 0.125},
        **{"dampening": 0.25, "psi": 0.75, "shrink": 0.5, "grow": 1.25, "least": 0.01, "most": 2},
    }
    if rule == "adam":
        rates["epsilon"] = 1e-6
    for n in [0, 1, 7, 16, 33, 1021]:
        theta, grad = rng.standard_normal((2, n)).astype(dtype)
        state = rng.standard_normal((ref.STATES[rule], n)).astype(dtype)
        if rule in ("adam", "amsgrad", "nadam"):
            state[1] = state[0] ** 2 + 1  # an average of squares
        elif "rmsprop" in rule or rule == "adagrad":
            state[0] = (
                state[0] ** 2 + (state[1] ** 2 if rule != "rmsprop" and len(state) > 1 else 0) + 1
            )
        elif rule == "rprop":
            state[1] = np.abs(state[1])
        want, want_state = ref.step(*(v.astype(wide) for v in (theta, grad, state)), 3, rule, rates)
        size = np.abs(theta) + 4 * (np.abs(grad) + np.abs(state).sum(0) + np.abs(grad) ** 2)
        layer.update(theta, grad, state, _cpu.OPTIMIZERS[rule], rates, 3, threads)
        assert_within(theta, want, 4 * u * size, n)
        assert_within(state, want_state, 4 * u * size, n)


def test_multiply_adds_do_what_they_count(isa, dtype, threads):
    _, vl, _ = _cpu.panel_sizes(np.dtype(dtype).itemsize)
    a_round, _ = _cpu.multiply_adds(dtype, 1, threads)
    assert a_round % (2 * vl * threads) == 0
    assert a_round / (2 * vl * threads) >= 12  # chains
    assert _cpu.multiply_adds(dtype, 1000, threads)[0] == 1000 * a_round

    def quickest(rounds):
        return min(_cpu.multiply_adds(dtype, rounds, 1)[1] for _ in range(5))

    assert quickest(200_000) > 5 * quickest(20_000)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_layer_passes_take_their_time(isa, dtype, rng, rule):
    rates = {"learning_rate": 1e-6, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-6}
    for batch, n_in, n_out in [(1, 1, 1), (37, 65, 33), (131, 7, 300)]:
        shapes = (batch, n_in), (n_out, n_in), (batch, n_out)
        arrays = [rng.random(shape, dtype) for shape in shapes]
        passes = layer.LayerPasses(*arrays, _cpu.OPTIMIZERS[rule], rates)
        for run in (passes.forward, passes.hidden_delta, passes.gradient):
            assert 0 < min(run(10) for _ in range(5)) < run(1000)


def test_every_entry_has_its_twin_in_the_reference():
    assert set(_cpu.ACTIVATIONS) == set(ref.G) == set(ref.DG) == set(ref.LIPSCHITZ)
    assert set(_cpu.ACTIVATIONS) - _cpu.KEEPING == set(ref.DG_OF_H)
    assert set(_cpu.OUTPUTS) == set(ref.OUTPUTS)
    assert set(_cpu.LOSSES) == set(ref.LOSSES)
    assert {name: _cpu.STATES[i] for name, i in _cpu.OPTIMIZERS.items()} == ref.STATES


def test_an_unknown_isa_is_refused_by_name():
    with pytest.raises(ValueError, match=r"must be one of .*(baseline|neon).*got 'avx1024'"):
        _cpu.use("avx1024")


def test_calibrate(isa):
    """q is off by 3 u (p + s / n) / (1 - s), ln q by that over q and 4 u of its own; the softmax by
    e^(2 |error of ln q / T|) and n + 6 roundings."""
    rng, u = np.random.default_rng(1), ref.unit_roundoff("float64")
    for n, s, T, least in [
        *((2, 0.0, 1.0, 1e-30), (2, 0.1, 0.5, 1e-4), (3, 0.09, 20, 1e-4), (37, 0.5, 0.05, 1e-4)),
        *((1, 0.0, 1.0, 1e-30), (1000, 0.0, 3.0, 1e-30)),
    ]:
        p = rng.dirichlet(np.full(n, 0.3), 41)
        p[0] = np.eye(n)[0]
        wide = p.astype(np.longdouble)
        q = np.maximum((wide - np.longdouble(s) / n) / (1 - np.longdouble(s)), least)
        z = np.log(q) / T
        want = np.exp(z - z.max(1, keepdims=True))
        want /= want.sum(1, keepdims=True)
        off = ((3 * u * (wide + s / n) / (1 - s) / q).max(1) + 4 * u * abs(np.log(q)).max(1)) / T
        off += 2 * u * abs(z).max(1)
        bound = want * (2 * off + (n + 6) * u)[:, None] + 1e-300
        alone = p.copy()
        predict.calibrate(p, s, T, least)
        assert (abs(p - want) <= bound).all(), (n, s, T)
        for i in range(len(p)):
            predict.calibrate(alone[i : i + 1], s, T, least)
        assert alone.tobytes() == p.tobytes()


def test_calibrated_bits_are_of_no_instruction_set():
    p = np.random.default_rng(0).dirichlet(np.ones(37), 9)
    found = set()
    for name in set(_cpu.isas()) - {"baseline"}:
        _cpu.use(name)
        q = p.copy()
        predict.calibrate(q, 0.05, 1.3, 1e-4)
        found.add(q.tobytes())
    _cpu.use()
    assert len(found) <= 1
