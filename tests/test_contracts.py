"""What docs/reliability.md, Contracts, says of objects: threads, forks, interrupts, memory."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from moments import interrupts, moments

import fastnn
from fastnn.files import atomic
from fastnn.network.parameters import Parameters
from fastnn.online import Learner, Live
from fastnn.predictor import Kept
from fastnn.tables.columns import Columns
from fastnn.tabular import Pack, Recipe
from fastnn.training.history import History
from fastnn.training.lbfgs import Objective
from fastnn.training.plan import plan_fit

N, FEATURES = 60, 4
SMALL = Pack((Recipe((8,), epochs=2),), n_folds=2)
ROW = {"age": 50, "town": "Rome"}
fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, FEATURES)).astype("f"), np.arange(N) % 3


def table():
    ages = np.random.default_rng(0).integers(20, 60, N)
    towns = np.where(ages % 2, "Oslo", "Rome").astype(object)
    return {"age": ages, "town": towns}, np.where(ages > 40, "yes", "no").astype(object)


# Objects: what each is made of, and a call of it, whose answers are arrays


def model():
    X, y = data()
    made = fastnn.Model([FEATURES, 8, 3], seed=0)
    made.fit(X, y, epochs=2)
    return made, X, y


def of_columns():
    X, y = table()
    made = fastnn.Model([None, 4, None], seed=0)
    made.fit(X, y, epochs=2)
    return made, X, y


def a_model():
    made, *given = model()
    return lambda: [made.forward(ROWS), made.predict(ROWS), made.theta.copy()], given


def a_model_of_columns():
    made, X, y = of_columns()
    given = [*X.values(), y]
    return lambda: [made.predict_proba(ROW_TABLE), made.predict_proba_one(ROW)], given


def a_predictor():
    made, *given = model()
    call = made.predictor()
    return lambda: [call(ROWS), call(ROWS[0])], given


def a_predictor_of_rows():
    made, X, y = of_columns()
    call = made.predictor(rows=True)
    return lambda: [call(ROW), call([ROW, {"age": None, "town": "Oslo"}])], [*X.values(), y]


def in_8_bits():
    made, X, y = model()
    call, _ = made.quantize(X)
    return lambda: [call(ROWS), call(ROWS[0])], [X, y]


def a_classifier():
    X, y = table()
    made = fastnn.TabularClassifier(recipe=SMALL, random_state=0).fit(X, y)
    call = made.predictor(rows=True)
    return lambda: [made.predict_proba(ROW_TABLE), call(ROW)], [*X.values(), y]


def a_regressor():
    X, _ = table()
    y = X["age"] * 1.5
    made = fastnn.TabularRegressor(recipe=SMALL, random_state=0).fit(X, y)
    return lambda: [made.predict(ROW_TABLE), made.predict_interval(ROW_TABLE)], [*X.values(), y]


def scikit_learns():
    sklearn = pytest.importorskip("fastnn.sklearn")
    X, y = data()
    made = sklearn.MLPClassifier((8,), max_iter=2, random_state=0)
    with pytest.warns(Warning, match="Maximum iterations"):
        return made.fit(X, y), X, y


def an_estimator():
    made, X, y = scikit_learns()
    return lambda: [made.predict_proba(ROWS), made.predict(ROWS)], [X, y]


def a_learner():
    made = Learner(seed=0)
    for i in range(50):
        made.learn_one({"a": i % 7, "town": ["Oslo", "Rome"][i % 2]}, i % 3)
    return lambda: [np.array([*made.predict_proba_one({"a": 3, "town": "Oslo"}).values()])], []


def columns():
    X, y = table()
    made = fastnn.tables.learn(X, y)
    wide = lambda: made.encode_row(ROW, "float64")  # noqa: E731
    return lambda: [made.encode(ROW_TABLE), made.encode_row(ROW), wide()], [*X.values(), y]


ROWS = np.random.default_rng(1).standard_normal((7, FEATURES)).astype("f")
ROW_TABLE = {"age": [50, 31], "town": ["Rome", "Oslo"]}
OBJECTS = {
    "Model": a_model,
    "Model of columns": a_model_of_columns,
    "Predictor": a_predictor,
    "RowPredictor": a_predictor_of_rows,
    "Int8Predictor": in_8_bits,
    "TabularClassifier": a_classifier,
    "TabularRegressor": a_regressor,
    "fastnn.sklearn": an_estimator,
    "Learner": a_learner,
    "Columns": columns,
}
each = pytest.mark.parametrize("name", OBJECTS)


@cache
def asked(name):
    return OBJECTS[name]()


def bits(answers):
    return [one.tolist() if one.dtype == object else one.tobytes() for one in answers]


@contextlib.contextmanager
def switching():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@each
def test_threads_share_it(name):
    ask, _ = asked(name)
    want, wrong, begin = bits(ask()), [], threading.Barrier(4)

    def work():
        begin.wait()
        for _ in range(20):
            try:
                if bits(ask()) != want:
                    wrong.append("other bits")
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    with switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@fork
@each
def test_a_child_forked_while_another_thread_calls_it_has_its_bits(name):
    ask, _ = asked(name)
    want, done = bits(ask()), threading.Event()

    def work():
        while not done.is_set():
            ask()

    thread = threading.Thread(target=work)
    with switching():
        thread.start()
        try:
            for _ in range(6):
                assert answer_of_child(lambda: bits(ask()) == want) == b"y"
        finally:
            done.set()
            thread.join()


def answer_of_child(call):
    """y or n, as the call in a forked child is true; nothing where it hangs or fails."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(ends[1], b"y" if call() else b"n")
        finally:
            os._exit(0)
    os.close(ends[1])
    ready, _, _ = select.select([ends[0]], [], [], 30)
    answer = os.read(ends[0], 1) if ready else b""
    os.close(ends[0])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return answer


@each
def test_it_owns_what_it_knows_and_answers_are_the_callers(name):
    """Whoever overwrites what was given, or what came back, changes no later answer."""
    ask, given = OBJECTS[name]()
    answers = ask()
    want = copy.deepcopy(bits(answers))
    for array in (*given, *answers):
        array[...] = array.ravel()[0]
    assert bits(ask()) == want


@pytest.mark.parametrize("name", [name for name in OBJECTS if name != "Learner"])
def test_what_it_is_given_is_read_alone(name, monkeypatch):
    """Arrays that cannot be written do, and are as before."""
    taken = []

    def locked(made):
        def call():
            X, y = made()
            for array in (*(X.values() if isinstance(X, dict) else [X]), y):
                array.flags.writeable = False
                taken.append((array, array.copy()))
            return X, y

        return call

    for function in (data, table):
        monkeypatch.setitem(globals(), function.__name__, locked(function))
    OBJECTS[name]()
    assert taken and all((now == before).all() for now, before in taken)


def test_threads_hand_in_rows_at_once(tmp_path):
    with Live(Learner(seed=0), tmp_path, queue=20) as live, switching():

        def hand_in(thread):
            for i in range(50):
                live.learn({"thread": thread, "i": i}, i % 2)
                live.latest.predict_one({"i": i})

        threads = [threading.Thread(target=hand_in, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        live.flush()
        lines = (tmp_path / "rows.jsonl").read_text().splitlines()[1:]
        rows = [json.loads(line)[0] for line in lines]
        assert live.rows == live.latest.rows == len(rows) == 200
        for k in range(4):  # none twice, and each thread's in its order
            assert [row["i"] for row in rows if row["thread"] == k] == [*range(50)]


def test_rows_handed_in_at_once_are_counted_and_learned_once(tmp_path):
    """Whatever the one who hands one in has done as another comes, who may have to wait."""
    threads, n = [], 0
    with Live(Learner(seed=0), tmp_path) as live:

        def another():
            threads.append(threading.Thread(target=live.learn, args=({"i": n}, 1)))
            threads[-1].start()
            threads[-1].join(0.01)

        for moment in moments([Live.learn], another):
            with moment:
                live.learn({"i": -n}, 0)
            for thread in threads:
                thread.join()
            n += 1 + moment.came
            assert live.rows == n
        live.flush()
        lines = (tmp_path / "rows.jsonl").read_text().splitlines()[1:]
        again = Learner(seed=0)
        for line in lines:
            again.learn_one(*json.loads(line))
        assert len(lines) == n and contents(live.latest) == contents(again)


def test_threads_share_a_stream_of_files(tmp_path):
    pytest.importorskip("pyarrow")
    X, y = data()
    lines = [",".join(map(str, (*row, label))) for row, label in zip(X, y, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c,d,y", *lines, ""]))
    stream = fastnn.data.ArrowStream(tmp_path / "rows.csv", target="y", batch_rows=16)
    models = [fastnn.Model([FEATURES, 8, 3], seed=0) for _ in range(5)]
    threads = [
        threading.Thread(target=one.fit, args=(stream,), kwargs={"epochs": 3}) for one in models[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    models[0].fit(stream, epochs=3)
    assert len({one.theta.tobytes() for one in models}) == 1


# Between any two instructions of one thread another may have its turn


def test_a_model_may_be_copied_while_another_thread_first_predicts():
    made, *_ = of_columns()
    for moment in moments([fastnn.Model.__getstate__], lambda: made.columns):
        vars(made).pop("_columns", None)
        with moment:
            twin = copy.copy(made)
        assert twin.predict(ROW_TABLE).tolist() == made.predict(ROW_TABLE).tolist()


def test_a_row_has_the_dtype_it_was_asked_for():
    X, y = table()
    made = fastnn.tables.learn(X, y)
    for moment in moments([Columns.cells], lambda: made.encode_row(ROW, "float64")):
        with moment:
            assert made.encode_row(ROW, "float32").dtype == np.float32


def test_predictions_are_of_the_weights_before_or_after_a_step():
    X, y = data()
    made = fastnn.Model([FEATURES, 8, 3], seed=0)
    functions = [Kept.predictor, Parameters.settle, Parameters.weights, Parameters._copies]
    answers = []
    for moment in moments(functions, lambda: made.partial_fit(X, y, batch_size=N)):
        made.partial_fit(X, y, batch_size=N)
        before = copy.copy(made).forward(ROWS).tobytes()
        with moment:
            answers.append(made.forward(ROWS).tobytes())
        after = copy.copy(made).forward(ROWS).tobytes()
        assert answers[-1] in (before, after) and made.forward(ROWS).tobytes() == after


def test_estimators_predict_while_another_thread_does():
    made, *_ = scikit_learns()
    rows = ROWS.tolist()  # which scikit-learn checks: no error is caught on the way
    want, learned = made.predict_proba(rows).tobytes(), type(made._learned)
    functions = [learned.take, learned._take, learned.references, learned.network]
    for moment in moments(functions, lambda: made.predict_proba(rows)):
        assert len(made.coefs_) == len(made.intercepts_) == 2  # looked at, and let go
        with moment:
            assert made.predict_proba(rows).tobytes() == want


# Ctrl-C between any two


def test_an_interrupted_row_adds_none_to_a_history():
    for moment in interrupts([History.append]):
        history = History()
        history.append(epoch=1, loss=0.5)
        with contextlib.suppress(KeyboardInterrupt), moment:
            history.append(epoch=2, loss=0.25, accuracy=1.0)
        assert len(history) in (1, 2)
        assert all(len(values) == len(history) for values in history.columns().values())


def test_an_interrupted_first_fit_leaves_a_model_that_can_be_fitted():
    X, y = table()
    want, *_ = of_columns()
    of = fastnn.Model
    for moment in interrupts([of._build, of._assemble, of._knowing, plan_fit]):
        made = fastnn.Model([None, 4, None], seed=0)
        with contextlib.suppress(KeyboardInterrupt), moment:
            made.fit(X, y, epochs=2)
        if moment.came:
            made.fit(X, y, epochs=2)
        assert made.theta.tobytes() == want.theta.tobytes()


def test_an_interrupted_line_search_leaves_the_last_iteration(monkeypatch):
    pytest.importorskip("scipy")
    X, y = data()

    def fit(**more):
        made = fastnn.Model([FEATURES, 8, 3], seed=0)
        with contextlib.suppress(KeyboardInterrupt):
            made.fit(X, y, epochs=5, optimizer="lbfgs", **more)
        return made

    def note(fit):
        whole.append(fit.model.theta.tobytes())

    whole, of, searches = [], Objective.__call__, set()
    note_each = fastnn.LambdaCallback(on_fit_begin=note, on_epoch_end=note)
    fit(callbacks=[note_each])
    for evaluations in itertools.count(1):
        left = evaluations

        def stop(self, p):
            nonlocal left
            answer, left = of(self, p), left - 1
            if not left:
                raise KeyboardInterrupt
            return answer

        monkeypatch.setattr(Objective, "__call__", stop)
        made = fit()
        if left:
            break
        monkeypatch.undo()
        searches.add(made._parameters.epoch)
        gradient = made.loss_and_gradient(X, y)[1]  # before anybody looks at theta
        assert made.theta.tobytes() == whole[made._parameters.epoch]
        twin = fastnn.Model([FEATURES, 8, 3], seed=0)
        twin.theta[:] = made.theta
        assert gradient.tobytes() == twin.loss_and_gradient(X, y)[1].tobytes()
    assert searches == {*range(5)} and evaluations > 6


class Reading(Mapping):
    """A row that is read by Python."""

    def __init__(self, cells):
        self.cells = cells

    def __getitem__(self, name):
        return self.cells[name]

    def __iter__(self):
        return iter(self.cells)

    def __len__(self):
        return len(self.cells)


def contents(learner):
    return [one.tobytes() if isinstance(one, np.ndarray) else one for one in learner.contents()]


def test_an_interrupted_row_is_learned_or_not():
    x = Reading({"a": 1.0, "town": "Bern"})
    functions = [Reading.__getitem__, Reading.__iter__, Learner.as_class, Learner.grown]
    for moment in interrupts(functions):
        learner = Learner(seed=0)
        for i in range(6):
            learner.learn_one({"a": i}, i % 3)
        before, after = contents(learner), copy.copy(learner)
        after.learn_one(x.cells, "new")
        with contextlib.suppress(KeyboardInterrupt), moment:
            learner.learn_one(x, "new")
        assert contents(learner) == (before if moment.came else contents(after))
        learner.learn_one({"a": 2.0}, 1)


@pytest.mark.parametrize("rate", [0.03, 1e30], ids=["", "diverging"])
@pytest.mark.parametrize("y", [1, "other"], ids=["known class", "new class"])
def test_rows_that_threads_learn_at_once_follow_each_other(y, rate):
    """While one is read, another is learned; that it diverges takes nothing of the other back."""
    x, other = Reading({"a": 1.0, "town": "Bern"}), {"a": 2.0}

    def learn_other():
        learner.learning_rate = 0.03
        learner.learn_one(other, y)
        learner.learning_rate = rate

    def learn(row):
        learner.learning_rate = rate
        with contextlib.suppress(fastnn.DivergenceError):
            learner.learn_one(row, "new")

    begun = Learner(seed=0)
    for i in range(6):
        begun.learn_one({"a": i}, i % 2)
    learner = copy.copy(begun)
    learn_other()
    learn(x.cells)
    want = contents(learner)
    assert learner.rows == 7 + (rate < 1)
    functions = [Reading.__getitem__, Reading.__iter__, Learner.as_class, Learner.grown]
    for moment in moments(functions, learn_other):
        learner = copy.copy(begun)
        with moment:
            learn(x)
        if moment.came:
            assert contents(learner) == want


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_handler_may_raise_while_a_row_is_handed_in(tmp_path):
    """The row counts or not; later ones do, and nothing waits for one that never was."""
    for n, moment in enumerate(interrupts([Live.learn])):
        folder = tmp_path / str(n)
        with Live(Learner(seed=0), folder) as live:
            live.learn({"a": 0}, 0)
            with contextlib.suppress(KeyboardInterrupt), moment:
                live.learn({"a": 1}, 1)
            live.learn({"a": 2}, 0)
            live.flush()
            assert live.rows in (2, 3)
            lines = (folder / "rows.jsonl").read_text().splitlines()[1:]
            again = Learner(seed=0)
            for line in lines:
                again.learn_one(*json.loads(line))
            assert len(lines) == live.rows
            assert contents(live.latest) == contents(again)


@pytest.mark.skipif(os.name != "posix", reason="files that are locked")
def test_an_interrupted_save_leaves_a_whole_file_and_the_next_one_saves(tmp_path):
    path = tmp_path / "m.safetensors"
    old, new = fastnn.Model([2, 2], seed=0), fastnn.Model([2, 2], seed=1)
    functions = [atomic.replacing, atomic._claim, atomic._is, atomic._release, atomic._sync_folder]
    for function in functions:
        for moment in interrupts([function]):
            old.save(path)
            with contextlib.suppress(KeyboardInterrupt), moment:
                new.save(path)
            assert fastnn.load(path).theta.tobytes() in (old.theta.tobytes(), new.theta.tobytes())
            old.save(path)
            assert os.listdir(tmp_path) == [path.name]


# Forks


@fork
def test_a_child_has_a_whole_state_of_a_learner_that_learns():
    rows = [({"a": i % 11, "town": "OR"[i % 2]}, i % 3) for i in range(200)]
    learner, done = Learner(seed=0), threading.Event()

    def learn():
        for x, y in itertools.cycle(rows):
            learner.learn_one(x, y)
            if done.is_set() or learner.rows >= 20_000:
                break

    def whole():
        again = Learner(seed=0)
        for x, y in itertools.islice(itertools.cycle(rows), learner.rows):
            again.learn_one(x, y)
        return contents(again) == contents(learner)

    thread = threading.Thread(target=learn)
    thread.start()
    try:
        for _ in range(5):
            time.sleep(0.002)
            assert answer_of_child(whole) == b"y"
    finally:
        done.set()
        thread.join()


@fork
def test_a_child_forked_within_a_fit_goes_on_as_its_parent():
    X, y = data()
    made, want = (fastnn.Model([FEATURES, 8, 3], seed=0) for _ in range(2))
    want.fit(X, y, epochs=4)
    children, refused, whole = [], [], False

    def epoch_ended(fit):
        if fit.epoch == 2:
            children.append(os.fork())
        if children == [0]:
            try:
                made.partial_fit(X, y)
            except RuntimeError:
                refused.append(fit.epoch)

    try:
        made.fit(X, y, epochs=4, callbacks=[fastnn.LambdaCallback(on_epoch_end=epoch_ended)])
        whole = made.theta.tobytes() == want.theta.tobytes()
    finally:
        if children == [0]:
            os._exit(not (whole and refused == [2, 3, 4]))
    assert whole and os.waitpid(children[0], 0)[1] == 0


@fork
def test_a_child_forked_within_a_save_may_save_there(tmp_path):
    from fastnn.files.model import write_atomically

    path, children = tmp_path / "m.safetensors", []

    def parts():
        yield b"the parent's"
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            try:
                write_atomically(path, [b"the child's"])
            finally:
                os._exit(0)
        children.append(child)
        time.sleep(0.1)  # it waits
        yield b" whole"

    write_atomically(path, parts())
    assert os.waitpid(children[0], 0)[1] == 0
    assert path.read_bytes() == b"the child's" and os.listdir(tmp_path) == [path.name]


# Copies


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("sizes", [[2, 4, 2], [None, 4, None]], ids=["plain", "to be fitted"])
def test_what_a_copy_learns_of_columns_is_its_own(how, sizes):
    X = {"a": np.arange(20.0) / 20, "b": np.arange(20.0) % 3}
    made = fastnn.Model(sizes, seed=0)
    made.metadata["note"] = "mine"
    twin = how(made)
    twin.fit(X, np.arange(20) % 2, epochs=1)
    assert made.metadata == {"note": "mine"} and made.columns is None
    assert twin.metadata["note"] == "mine" and twin.columns is not None


def test_a_published_model_does_not_change(tmp_path):
    X, y = data()
    with Live(fastnn.Model([FEATURES, 8, 3], seed=0), tmp_path) as live:
        live.learn(X, y)
        live.flush()
        latest = live.latest
        before = dict(latest.metadata)
        live.save()
    assert latest.metadata == before


# The page


def test_the_page_names_tests_that_are_there():
    here = Path(__file__).parent
    page = here.parent / "docs" / "reliability.md"
    if not page.exists():
        pytest.skip("no docs beside these tests")
    _, _, rest = page.read_text().partition("\n## Contracts\n")
    section, _, _ = rest.partition("\n## ")
    rows = [row.split(" | ") for row in section.splitlines() if row.startswith("| ")]
    assert len(rows) > 12 and {len(row) for row in rows} == {5}
    name = r"`?[a-z0-9_]+`?"
    told = re.findall(rf"\(({name}(?:, {name})*)\)", section)
    named = {one for names in told for one in names.split(", ")}
    assert "contracts" in named
    for name in named:
        if name.startswith("`"):
            assert f"| {name} |" in page.read_text(), name
        else:
            assert (here / f"test_{name}.py").exists(), name
