"""Learning-rate schedules by hand, in fit, resumed, and where they are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastnn
from fastnn.training.schedules import Running, Watching, _cos_pi, _real_power, _sin_pi


def data(n=50):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, X[:, :3].argmax(1)


def make():
    return fastnn.Model([4, 6, 3], activation="tanh", dtype="float64", seed=5)


def rates(schedule, stop, per_epoch=5, start=0, total=None):
    return Running(schedule, per_epoch, total or stop).rates(start, stop)


def test_by_hand():
    np.testing.assert_array_equal(rates(fastnn.Constant(0.5), 3), [0.5] * 3)
    np.testing.assert_array_equal(
        rates(fastnn.StepDecay(1.0, epochs=2, gamma=0.5), 9, per_epoch=2),
        [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25],
    )
    assert rates(fastnn.StepDecay(1.0), 21, per_epoch=1)[[9, 10, 19, 20]].tolist() == (
        pytest.approx([1, 0.1, 0.1, 0.01])
    )
    np.testing.assert_array_equal(
        rates(fastnn.Exponential(1.0, 0.5), 6, per_epoch=2), [1, 1, 0.5, 0.5, 0.25, 0.25]
    )
    np.testing.assert_array_equal(
        rates(fastnn.InverseScaling(1.0), 4), 1 / np.sqrt([1.0, 2.0, 3.0, 4.0])
    )
    warm = rates(fastnn.CosineDecay(1.0, warmup=2), 10, per_epoch=2)
    np.testing.assert_array_equal(warm[:4], [0.25, 0.5, 0.75, 1])
    assert warm[4] == 1 and (np.diff(warm[4:]) < 0).all()
    restarts = rates(fastnn.CosineDecay(1.0, period=1, grow=2), 15, per_epoch=1)
    assert [t for t in range(15) if restarts[t] == 1] == [0, 1, 3, 7]
    period = (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    restarts = rates(fastnn.CosineDecay(1.0, period=2, warmup=1), 14, per_epoch=2)
    np.testing.assert_allclose(restarts, [0.5, 1, *period, *period, *period])
    over = rates(fastnn.CosineDecay(1.0, minimum=0.1), 50, total=20)
    assert (np.diff(over[:21]) < 0).all() and over[20:] == pytest.approx(0.1)
    cycle = rates(fastnn.OneCycle(1.0), 100)
    assert cycle[0] == pytest.approx(1 / 25) and cycle.argmax() == 29 and cycle[29] == 1
    assert cycle[-1] == pytest.approx(1 / 25e4)
    assert cycle[29 + 35] == pytest.approx((1 + 1 / 25e4) / 2)  # half the way down
    flat = rates(fastnn.FlatCosine(1.0), 11, total=8)
    assert flat[7] > 0.1 and abs(flat[8:]).max() < 1e-15
    flat = flat[:8]
    assert (flat[:5] == 1).all() and flat[6] == pytest.approx(0.5, rel=1e-15)
    np.testing.assert_allclose(flat[5:], (1 + np.cos(np.pi * np.array([1, 2, 3]) / 4)) / 2)
    wave = rates(fastnn.CosLog(1.0, cycles=2), 300)
    # (2^2 - 1) t / 300 = 2^(1/2) - 1, 1, 2^(3/2) - 1: the first top, the trough, the second top
    assert wave[0] == wave[100] == 0 and wave[41] > 0.999 and wave[183] > 0.999
    assert wave.max() <= 1 and abs(wave.argmax() - 183) <= 1
    np.testing.assert_array_equal(rates(lambda t: 1 / (t + 1), 3), [1, 1 / 2, 1 / 3])
    assert rates(fastnn.OneCycle(1.0), 1, total=1)[0] <= 1  # a single step


def test_own_cosine_and_powers():
    x = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(_cos_pi(x), np.cos(np.pi * x), rtol=0, atol=4e-16)
    np.testing.assert_allclose(_sin_pi(x / 2), np.sin(np.pi * x / 2), rtol=8e-16)
    for p in (0, 0.25, 0.3, 1, 1.7, 3):
        np.testing.assert_allclose(_real_power(1 + 99 * x, p), (1 + 99 * x) ** p, rtol=4e-15)


@pytest.mark.parametrize("cycles", [1, 4, 7, 30])
def test_waves_are_those_of_the_formula(cycles):
    """To a few units in the last place of 1 and of log2, against math's logarithm and cosine."""
    total = 1237
    got = rates(fastnn.CosLog(1.0, cycles), total)
    for t in range(total):
        x = math.log2(1 + (2**cycles - 1) * (t / total))
        want = (1 - math.cos(2 * math.pi * x)) / 2
        assert got[t] == pytest.approx(want, rel=0, abs=4e-16 * (1 + math.pi * x))


ANY = [
    fastnn.Constant(0.1),
    fastnn.StepDecay(0.1, epochs=1),
    fastnn.Exponential(0.1),
    fastnn.InverseScaling(0.1, 0.7, 0.1),
    fastnn.CosineDecay(0.1, 0.01, warmup=1.5),
    fastnn.CosineDecay(0.1, period=1.5, grow=1.5),
    fastnn.CosineDecay(0.1, period=2),
    fastnn.OneCycle(0.1),
    fastnn.CosLog(0.1, 3),
    fastnn.FlatCosine(0.1),
    lambda t: 0.1 / (1 + t),
]


@pytest.mark.parametrize("schedule", ANY, ids=lambda s: getattr(s, "__name__", str(s)))
def test_slices_do_not_matter(schedule):
    whole = rates(schedule, 60)
    parts = [rates(schedule, t + 1, start=t, total=60) for t in range(60)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert (whole >= 0).all() and whole.max() <= 0.1 * (1 + 1e-15)


def test_adaptive_divides_by_five_after_two_epochs_in_a_row():
    running = Running(fastnn.Adaptive(1.0, tol=0.1), 1, 10)
    came = []
    for t, loss in enumerate([3, 2, 1.95, 1.5, 1.45, 1.45, 1.45, 1.45]):
        came.append(running.rates(t, t + 1)[0])
        running.epoch_ended({"loss": loss})
    np.testing.assert_allclose(came, [1, 1, 1, 1, 1, 1, 0.2, 0.2])
    assert running.rates(8, 9)[0] == pytest.approx(0.04)


@pytest.mark.parametrize("batch", [1, 16])
def test_fit_uses_the_rate_of_each_step(batch):
    X, y = data()
    one, two = make(), make()
    history = one.fit(X, y, epochs=3, batch_size=batch, learning_rate=lambda t: 0.1 / (1 + t))
    n = -(-50 // batch)
    assert history.learning_rate == [0.1 / (n * e) for e in (1, 2, 3)]
    for _ in range(3):  # the number of the step goes on
        two.fit(X, y, epochs=1, batch_size=batch, learning_rate=lambda t: 0.1 / (1 + t))
    assert one.theta.tobytes() == two.theta.tobytes()
    three = make()
    three.fit(X, y, epochs=3, batch_size=batch, learning_rate=0.1)
    assert np.abs(three.theta - one.theta).max() > 1e-3


@pytest.mark.parametrize(
    "schedule",
    [
        *ANY[:-1],
        fastnn.Adaptive(0.1, tol=0.5),
        fastnn.ReduceOnPlateau(0.1, patience=1, threshold=0.99),
    ],
    ids=str,
)
def test_a_resumed_fit_goes_on_with_its_schedule(tmp_path, schedule):
    X, y = data()
    decay = schedule if not isinstance(schedule, Watching) else fastnn.InverseScaling(1.0)
    optimizer = fastnn.AdamW(schedule, clip_norm=1.0, weight_decay=decay)
    whole = make()
    want = whole.fit(X, y, epochs=8, batch_size=16, optimizer=optimizer)

    def stop(fit):
        if fit.epoch == 4:
            raise KeyboardInterrupt

    path = tmp_path / "fit.safetensors"
    callbacks = [fastnn.Checkpoint(path), fastnn.LambdaCallback(on_epoch_begin=stop)]
    with pytest.raises(KeyboardInterrupt):
        make().fit(X, y, epochs=8, batch_size=16, optimizer=optimizer, callbacks=callbacks)
    model = make()
    history = model.fit(
        *(X, y), epochs=8, batch_size=16, optimizer=optimizer, callbacks=callbacks[:1], resume=path
    )
    assert model.theta.tobytes() == whole.theta.tobytes()
    assert history.learning_rate == want.learning_rate
    if isinstance(schedule, (fastnn.Adaptive, fastnn.ReduceOnPlateau)):
        assert len(set(want.learning_rate)) > 1


@pytest.mark.parametrize(
    ("kind", "name", "good", "bad"),
    [
        (fastnn.StepDecay, "gamma", (0.0, 1.0), (-0.1, 1.1)),
        (fastnn.InverseScaling, "power", (0.0, 99.0), (-0.1, 100.0)),
        (fastnn.InverseScaling, "scale", (0.0, 1e9), (-0.1, math.inf)),
        (fastnn.CosineDecay, "minimum", (0.0, 1.0), (-0.1, 1.1)),
        (fastnn.CosineDecay, "warmup", (0.0, 1e9), (-0.1, math.inf)),
        (fastnn.CosineDecay, "period", (0.01, 1e9), (0.0, math.inf)),
        (fastnn.CosineDecay, "grow", (1.0, 9.0), (0.9, math.inf)),
        (fastnn.OneCycle, "pct_start", (0.0, 0.99), (-0.1, 1.0)),
        (fastnn.OneCycle, "div_factor", (0.01, 1e9), (0.0, math.inf)),
        (fastnn.OneCycle, "final_div_factor", (0.01, 1e9), (0.0, math.inf)),
        (fastnn.ReduceOnPlateau, "factor", (0.0, 0.99), (-0.1, 1.0)),
        (fastnn.ReduceOnPlateau, "threshold", (0.0, 1e9), (-0.1, math.inf)),
        (fastnn.Adaptive, "tol", (0.0, 1e9), (-0.1, math.inf)),
    ],
)
def test_limits(kind, name, good, bad):
    for value in good:
        assert getattr(kind(1.0, **{name: value}), name) == value
    for value in bad:
        with pytest.raises(ValueError, match=f"^{name} must be "):
            kind(1.0, **{name: value})


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: fastnn.OneCycle(-1.0), ValueError, "learning_rate must be at least 0"),
        (lambda: fastnn.StepDecay(1.0, epochs=0), ValueError, "epochs must be at least 1"),
        (lambda: fastnn.CosLog(1.0, cycles=0), ValueError, "cycles must be at least 1"),
        (lambda: fastnn.CosLog(1.0, cycles=51), ValueError, "cycles must be at most 50, got 51"),
        (lambda: fastnn.CosineDecay(0.1, minimum=0.2), ValueError, "minimum must be at most"),
        (lambda: fastnn.ReduceOnPlateau(0.1, monitor="r2"), ValueError, "monitor must be one of"),
        (lambda: fastnn.Adaptive(0.1, patience="2"), TypeError, "patience must be an integer"),
        (lambda: fastnn.SGD("fast"), TypeError, "learning_rate must be a number"),
        (lambda: fastnn.SGD(weight_decay="0"), TypeError, "weight_decay must be a number"),
        (
            lambda: fastnn.SGD(weight_decay=fastnn.Adaptive(0.1)),
            ValueError,
            "weight_decay must be a schedule that follows the steps, got Adaptive",
        ),
    ],
)
def test_wrong_settings(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("batch", [1, 16])
def test_weight_decay_of_each_step(optimizer, batch):
    """By hand: the share that each step takes, of a network whose gradient is 0."""
    X, y = np.zeros((50, 4)), np.zeros((50, 3))
    model = fastnn.Model([4, 3], output="identity", dtype="float64", seed=5)
    want = model.theta.copy()
    rule = {"sgd": fastnn.SGD, "adamw": fastnn.AdamW}[optimizer]
    schedule = fastnn.FlatCosine(0.5)
    model.fit(X, y, epochs=3, batch_size=batch, optimizer=rule(0.25, weight_decay=schedule))
    for decay in rates(schedule, 3 * -(-50 // batch)):
        want *= 1 - 0.25 * decay
    np.testing.assert_allclose(model.theta, want, rtol=1e-13)
    one, two, none = make(), make(), make()
    X, y = data()
    for model, decay in ((one, lambda t: 0.5), (two, 0.5), (none, 0.0)):
        model.fit(X, y, epochs=2, batch_size=batch, optimizer=rule(0.01, weight_decay=decay))
    assert one.theta.tobytes() == two.theta.tobytes() != none.theta.tobytes()


def test_what_fit_and_partial_fit_refuse():
    X, y = data()
    model = make()
    before = model.theta.copy()
    rate = fastnn.ReduceOnPlateau(0.1, monitor="val_loss")
    with pytest.raises(ValueError, match="must come with validation_data"):
        model.fit(X, y, learning_rate=rate)
    with pytest.raises(ValueError, match="OneCycle must be used in fit"):
        model.partial_fit(X, y, learning_rate=fastnn.OneCycle(0.1))
    with pytest.raises(ValueError, match="FlatCosine must be used in fit"):
        model.partial_fit(X, y, optimizer=fastnn.AdamW(weight_decay=fastnn.FlatCosine(0.1)))
    with pytest.raises(ValueError, match="FlatCosine must come with X and y: a stream"):
        model.fit([(X, y)], optimizer=fastnn.AdamW(weight_decay=fastnn.FlatCosine(0.1)))
    with pytest.raises(ValueError, match="weight_decay must be at least 0 and finite, got nan"):
        model.fit(X, y, optimizer=fastnn.AdamW(weight_decay=lambda t: math.nan))
    with pytest.raises(ValueError, match="learning_rate must be at least 0 and finite, got nan"):
        model.fit(X, y, learning_rate=lambda t: math.nan)
    assert model.theta.tobytes() == before.tobytes()
    model.partial_fit(X, y, learning_rate=fastnn.InverseScaling(0.1))


SPANNING = [
    fastnn.StepDecay(0.1, epochs=2, gamma=0.5),
    fastnn.Exponential(0.1, 0.5),
    fastnn.CosineDecay(0.1, warmup=1),
    fastnn.CosineDecay(0.1, period=1.5),
    fastnn.OneCycle(0.1),
    fastnn.CosLog(0.1, 2),
    fastnn.FlatCosine(0.1),
    fastnn.ReduceOnPlateau(0.1, patience=1, threshold=0.9),
    fastnn.Adaptive(0.1, tol=0.5),
]


@pytest.mark.parametrize("schedule", SPANNING, ids=str)
def test_a_schedule_in_epochs_spans_the_fit_it_is_given_to(schedule):
    """Whatever was trained before, with whichever mini-batches."""
    X, y = data()
    settings = dict(epochs=6, batch_size=16, learning_rate=schedule)
    want = make().fit(X, y, **settings).learning_rate
    again = make()
    again.fit(X, y, **settings)
    assert again.fit(X, y, **settings).learning_rate == want
    small = make()
    small.fit(X, y, epochs=2, batch_size=1)
    small.partial_fit(X, y)
    assert small.fit(X, y, **settings).learning_rate == want
    assert len(set(want)) > 1 and max(want) > 0.05


@pytest.mark.parametrize("schedule", SPANNING[:7], ids=str)
def test_a_second_fit_with_a_schedule_is_resumed_too(tmp_path, schedule):
    X, y = data()
    settings = dict(epochs=8, batch_size=16, learning_rate=schedule, optimizer="adam")
    path = tmp_path / "fit.safetensors"

    def stop(fit):
        if len(fit.history) == 3:
            raise KeyboardInterrupt

    whole, broken = make(), make()
    for model in (whole, broken):
        model.fit(X, y, epochs=3, batch_size=7, optimizer="adam")
    want = whole.fit(X, y, **settings)
    callbacks = [fastnn.Checkpoint(path), fastnn.LambdaCallback(on_epoch_begin=stop)]
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, y, callbacks=callbacks, **settings)
    model = make()
    history = model.fit(X, y, callbacks=callbacks[:1], resume=path, **settings)
    assert model.theta.tobytes() == whole.theta.tobytes()
    assert history.learning_rate == want.learning_rate


def reductions(schedule, losses):
    """Numbers of the epochs after which the rate has fallen."""
    running, fallen = Running(schedule, 1, len(losses)), []
    for t, loss in enumerate(losses):
        before = running.rates(t, t + 1)[0]
        running.epoch_ended({"loss": loss})
        if running.rates(t + 1, t + 2)[0] < before:
            fallen.append(t + 1)
    return fallen


def test_losses_below_0_fail_to_improve_too():
    """Poisson's: the threshold is a share of the size of the best loss, whatever its sign."""
    plateau = fastnn.ReduceOnPlateau(1.0, patience=1, threshold=1e-4)
    rising = [-39.9146, -39.9140, -39.9139, -39.9138, -39.9137]
    assert reductions(plateau, rising) == [3, 5]
    hardly_falling = [-39.9100, -39.9101, -39.9102, -39.9103]
    assert reductions(plateau, hardly_falling) == [3]
    assert reductions(plateau, [-39.0, -39.1, -39.2, -39.3, -39.4]) == []
    assert reductions(plateau, [0.1, -0.1, -0.2, -0.3]) == []
    assert reductions(plateau, [0.0, 0.0, 0.0]) == [3]
    shifted = [loss + 80 for loss in rising]  # as of losses above 0
    assert reductions(plateau, shifted) == [3, 5]
    adaptive = fastnn.Adaptive(1.0, tol=1e-3)
    assert reductions(adaptive, rising) == [3, 5]
    assert reductions(adaptive, [-39.0, -39.1, -39.2, -39.3]) == []


def test_a_loss_that_is_not_finite_is_no_best():
    plateau = fastnn.ReduceOnPlateau(1.0, patience=1, monitor="val_loss")
    running = Running(plateau, 1, 9)
    for loss in (math.nan, 3.0, 2.0, math.inf, 1.0):
        running.epoch_ended({"val_loss": loss})
    assert running.state() == {"learning_rate": 1.0, "best": 1.0, "bad": 0, "cooldown": 0}


def test_a_cooldown_is_as_many_epochs_as_it_says():
    running = Running(fastnn.ReduceOnPlateau(1.0, 0.5, 1, cooldown=3), 1, 8)
    got = []
    for _ in range(8):
        running.epoch_ended({"loss": 1.0})
        got.append(running.state()["learning_rate"])
    assert got == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_a_state_without_a_best_is_gone_on_from():
    running = Running(fastnn.ReduceOnPlateau(1.0, patience=1), 1, 9)
    state = {"learning_rate": 0.5, "best": None, "bad": 1, "cooldown": 0}
    running.restore(dict(state))
    assert running.state() == state


def test_poisson_in_earnest():
    """The loss ends below 0, and its plateau is seen."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = rng.poisson(np.exp(3 + 0.3 * X[:, 0]))
    model = fastnn.Model([3, 8, 1], output="exp", seed=0, dtype="float64")
    rate = fastnn.ReduceOnPlateau(0.002, patience=2, threshold=0.01)
    history = model.fit(X, y, epochs=60, batch_size=20, learning_rate=rate)
    assert history.loss[-1] < 0 and history.learning_rate[-1] < history.learning_rate[0]
