"""Streams of single rows: fastnn.online, against its definition in Python and against Model."""

from __future__ import annotations

import copy
import inspect
import json
import math
import os
import pickle
import random
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn.kernels import _cpu
from fastnn.online import Learner, prequential
from fastnn.random import FEATURES, uniform

WORD = 2**64 - 1


def name_of(feature, word=None):
    """FNV-1a of the feature's name, and of a word behind 0xff; MurmurHash3's end; 53 bits."""
    h = 0xCBF29CE484222325
    for byte in str(feature).encode() + (b"" if word is None else b"\xff" + str(word).encode()):
        h = (h ^ byte) * 0x100000001B3 & WORD
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & WORD
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & WORD
    return (h ^ h >> 33) >> 11 | 1


class Twin:
    """A Learner by its definition: the table in Python, steps those of a Model on dense rows."""

    def __init__(self, like):
        self.like, self.known, self.amounts = like, [], [0.0, 0.0, 0.0]
        self.table = [[0, 0.0, 0.0, 0.0] for _ in range(like.n_inputs)]
        self.model = self.network(1 if like.task == "regression" else 2)
        self.model.W[0][:] = self.model.W[-1][:] = 0

    def network(self, n_outputs):
        hidden = self.like.hidden if isinstance(self.like.hidden, tuple) else (self.like.hidden,)
        amounts = self.like.task == "regression"
        return fastnn.Model(
            [self.like.n_inputs, *filter(None, hidden), n_outputs],
            output="identity" if amounts else "softmax",
            loss=fastnn.Huber(3.0) if amounts else None,
            seed=self.like.seed,
        )

    def grow(self):
        """An output more, whose weights are 0."""
        before, self.model = self.model, self.network(self.model.sizes[-1] + 1)
        for k, (W, b) in enumerate(zip(before.W, before.b, strict=True)):
            self.model.W[k][:], self.model.b[k][:] = 0, 0
            self.model.W[k][: len(W)], self.model.b[k][: len(b)] = W, b

    def input_of(self, name, n):
        """Its row of the table, its own from here on if it is free."""
        first = (name >> 1) % len(self.table)
        for i in range(min(16, len(self.table))):
            place = (first + i) % len(self.table)
            if self.table[place][0] == name:
                return place
            if self.table[place][0] == 0:
                self.table[place][0] = name
                if len(self.model.sizes) > 2:
                    u = uniform(self.like.seed, FEATURES, name, self.model.sizes[1])
                    self.model.W[0][:, place] = (2 * u - 1) * math.sqrt(6 / n)
                return place
        return first

    def encode(self, x):
        cells = {feature: cell for feature, cell in x.items() if cell is not None and cell == cell}
        row = np.zeros(len(self.table), np.float32)
        for feature, cell in cells.items():
            word = isinstance(cell, (str, bool, np.bool_))
            place = self.input_of(name_of(feature, cell if word else None), len(cells))
            if word:
                row[place] += 1
                continue
            of = self.table[place]
            of[1:] = counted(*of[1:], float(cell))
            d = float(cell) - of[2]
            root = math.sqrt(of[3] / of[1] + d * d / 9)
            row[place] += np.float32(d / root if root else 0.0)
        return row

    def learn_one(self, x, y):
        if self.like.task == "classification" and y not in self.known:
            self.known.append(y)
            if len(self.known) > self.model.sizes[-1]:
                self.grow()
        row = self.encode(x)
        if self.like.task == "regression":
            self.amounts = counted(*self.amounts, y)
            deviation = math.sqrt(self.amounts[2] / self.amounts[0])
            y = (y - self.amounts[1]) / deviation if deviation else 0.0
        else:
            y = self.known.index(y)
        if len(self.known) != 1:
            self.model.partial_fit(row[None], [y], learning_rate=self.like.learning_rate)


def counted(count, mean, squares, x):
    """Welford's recurrence."""
    d = x - mean
    count += 1
    mean += d / count
    return [count, mean, squares + d * (x - mean)]


def stream(n, seed=0, n_classes=2):
    """Numbers and words that come and go; y follows from some."""
    rng = random.Random(seed)
    for _ in range(n):
        x = {f"n{i}": rng.gauss(i, i + 1) for i in range(8) if rng.random() < 0.8}
        x |= {"town": rng.choice(["Oslo", "Rome", "Lima"]), 7: rng.random() < 0.5, "gone": None}
        x["count"] = rng.randrange(10**6)
        signal = x.get("n1", 0) + 3 * (x["town"] == "Oslo")
        yield x, sum(signal > 2 * k for k in range(1, n_classes))


def state(learner):
    theta, table, known, rows, amounts = learner.contents()
    return theta.tobytes(), table.tobytes(), known, rows, amounts.tobytes()


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("hidden", [0, 8, (8, 20)])
def test_it_is_what_its_definition_gives_bit_for_bit(task, hidden):
    """The table to the last digit, and the weights of a Model that takes dense rows."""
    learner = Learner(task, hidden, 0.05, n_inputs=64, seed=3)
    twin = Twin(learner)
    for x, y in stream(400, n_classes=4):
        y = 100.0 + 10 * y if task == "regression" else f"class {y}"
        learner.learn_one(x, y)
        twin.learn_one(x, y)
    theta, table, known, rows, amounts = learner.contents()
    assert rows == learner.rows == 400
    assert table.tolist() == twin.table
    assert (theta == twin.model.theta).all()
    if task == "regression":
        assert amounts.tolist() == twin.amounts and known is None
    else:
        assert known == twin.known == learner.classes and len(known) == 4


def test_predictions_are_those_of_the_network():
    """Known features are scaled by what there is; unknown ones say nothing."""
    for task in ("classification", "regression"):
        learner = Learner(task, seed=1)
        for x, y in stream(300, n_classes=3):
            learner.learn_one(x, y)
        before = state(learner)
        theta, table, known, _, amounts = learner.contents()
        model = fastnn.Model(
            [1024, 32, 3 if known else 1],
            output="softmax" if known else "identity",
            loss=None if known else fastnn.Huber(3.0),
        )
        model.theta = theta
        place = {int(name): i for i, name in enumerate(table[:, 0]) if name}
        for x, _ in stream(50, seed=9):
            x["never seen"] = 1.0
            row = np.zeros(1024, np.float32)
            for feature, cell in x.items():
                if cell is None:
                    continue
                word = cell if isinstance(cell, (str, bool)) else None
                at = place.get(name_of(feature, word))
                if at is not None and word is not None:
                    row[at] = 1
                elif at is not None:
                    _, n, mean, squares = table[at]
                    d = cell - mean
                    row[at] = d / math.sqrt(squares / n + d * d / 9)
            f = model.forward(row[None])[0]
            if known:
                p = learner.predict_proba_one(x)
                assert list(p) == known and math.isclose(sum(p.values()), 1, rel_tol=1e-12)
                assert np.allclose(list(p.values()), f, rtol=1e-6, atol=0)
                assert learner.predict_one(x) == known[f.argmax()]
            else:
                want = amounts[1] + math.sqrt(amounts[2] / amounts[0]) * float(f[0])
                assert learner.predict_one(x) == want
        assert state(learner) == before


def test_the_order_of_a_row_does_not_matter():
    one, other = Learner(seed=0), Learner(seed=0)
    shuffles = random.Random(0)
    for x, y in stream(200):
        items = list(x.items())
        shuffles.shuffle(items)
        one.learn_one(x, y)
        other.learn_one(dict(items), y)
    assert state(one) == state(other)


BITS = """
import hashlib, random
from fastnn.online import Learner
{source}
digest = hashlib.sha256()
for task in ("classification", "regression"):
    learner = Learner(task, (8, 20), seed=5)
    for x, y in stream(300, n_classes=3):
        learner.learn_one(x, y)
    digest.update(state(learner)[0] + state(learner)[1])
print(digest.hexdigest())
"""
#: Of every instruction set but the baseline, which rounds twice where others do once.
DIGEST = "1ba4fe7c3edf9429bbc8f2926fd62f2573c1a3413c4238496e42b16a3b4c0cf2"


@pytest.mark.parametrize("isa", [isa for isa in _cpu.isas() if isa != "baseline"])
def test_the_same_bits_everywhere(isa):
    """Whatever Python hashes by, and however many threads there are."""
    for seed, threads in (("1", "1"), ("2", "2")):
        env = os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "FASTNN_ISA": isa}
        code = BITS.format(source=inspect.getsource(stream) + inspect.getsource(state))
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert done.stdout.strip() == DIGEST, done.stderr


# What rows and classes may be


def test_numbers_of_every_kind_and_what_is_missing():
    one, other = Learner("regression", seed=0), Learner("regression", seed=0)
    for i in range(20):
        one.learn_one({"a": float(i), "b": 2, 3: True, "word": "x"}, i)
        other.learn_one(
            {
                "a": np.float32(i),
                "b": np.int16(2),
                "3": np.bool_(True),
                "word": np.str_("x"),
                "none": None,
                "nan": math.nan,
                "numpy's": np.float64("nan"),
                "too": np.float32("nan"),
            },
            np.int64(i),
        )
    assert state(one) == state(other)
    assert (one.contents()[1][:, 0] > 0).sum() == 4


def test_rows_are_mappings_of_any_kind():
    learners = Learner(seed=0), Learner(seed=0)
    for row, label in stream(20):
        learners[0].learn_one(row, label)
        learners[1].learn_one(types.MappingProxyType(row), label)
        some = [learners[0].predict_proba_one(one) for one in (row, types.MappingProxyType(row))]
        assert some[0] == some[1]
    assert state(learners[0]) == state(learners[1])


@pytest.mark.parametrize(
    ("x", "y", "error", "match"),
    [
        ({"a": [1]}, 1, TypeError, "'a' must be a number, a text, a bool or None, got list"),
        ({"a": b"x"}, 1, TypeError, "got bytes"),
        ({"a": 1j}, 1, TypeError, "got complex"),
        ({"a": np.datetime64("2026-01-01")}, 1, TypeError, "got datetime64"),
        ({"a": math.inf}, 1, ValueError, "within -1e100 and 1e100, got inf"),
        ({"a": -(10**400)}, 1, ValueError, "within -1e100"),
        ({(1, 2): 1.0}, 1, TypeError, "names of features must be texts or integers"),
        ({True: 1.0}, 1, TypeError, "names of features"),
        ({"\ud800": 1.0}, 1, UnicodeEncodeError, "surrogates"),
        ([("a", 1.0)], 1, TypeError, "x must be a dict of features, got list"),
        ({"a": 1.0}, 2.5, TypeError, "a class must be a str, int or bool, got 2.5"),
        ({"a": 1.0}, None, TypeError, "a class must be"),
        ({"a": 1.0}, [1], TypeError, "unhashable"),
    ],
)
def test_what_a_row_cannot_be(x, y, error, match):
    learner = Learner(seed=0)
    for row, label in stream(20):
        learner.learn_one(row, label)
    before = state(learner)
    with pytest.raises(error, match=match):
        learner.learn_one({"fine": 1.0, **x} if isinstance(x, dict) else x, y)
    assert state(learner) == before


@pytest.mark.parametrize("y", ["1", math.nan, 1e101, None])
def test_what_an_amount_cannot_be(y):
    learner = Learner("regression", seed=0)
    with pytest.raises((TypeError, ValueError)):
        learner.learn_one({"a": 1.0}, y)
    assert learner.rows == 0 and not learner.contents()[1].any()


def test_before_any_row_and_with_one_class():
    learner = Learner(seed=0)
    assert learner.predict_one({"a": 1.0}) is None and learner.predict_proba_one({}) == {}
    assert Learner("regression").predict_one({}) == 0.0
    learner.learn_one({"a": 1.0}, "yes")
    assert learner.predict_one({}) == "yes" and learner.predict_proba_one({"a": 9}) == {"yes": 1.0}
    learner.learn_one({"a": 2.0}, "no")
    assert learner.classes == ["yes", "no"]
    with pytest.raises(ValueError, match="predict_proba_one must have a learner of classes"):
        Learner("regression").predict_proba_one({})


def test_a_new_class_changes_nothing_of_what_others_have_learned():
    learner = Learner(seed=0)
    for x, y in stream(300):
        learner.learn_one(x, y)
    x = {"town": "Oslo", "n1": 1.0}
    before = learner.predict_proba_one(x)
    learner.learning_rate = 0.0
    learner.learn_one(x, "new")
    after = learner.predict_proba_one(x)
    assert list(after) == [*before, "new"]
    assert math.isclose(after[0] / after[1], before[0] / before[1], rel_tol=0.2)  # statistics move
    learner.learning_rate = 0.05
    for _ in range(100):
        learner.learn_one({"town": "new town"}, "new")
    assert learner.predict_one({"town": "new town"}) == "new"
    assert learner.classes == [*before, "new"]


def test_at_most_so_many_classes():
    learner = Learner(hidden=0, n_inputs=4, seed=0)
    for y in range(1000):
        learner.learn_one({"a": 1.0}, y)
    assert len(learner.predict_proba_one({"a": 1.0})) == 1000
    before = state(learner)
    with pytest.raises(ValueError, match='amounts need task="regression"'):
        learner.learn_one({"a": 1.0}, 1000)
    assert state(learner) == before


def test_more_features_than_inputs_share():
    learner = Learner("regression", n_inputs=8, seed=0)
    for i in range(200):
        learner.learn_one({f"f{i % 40}": float(i), "w": f"word {i}"}, float(i % 2))
    table = learner.contents()[1]
    assert (table[:, 0] > 0).all() and math.isfinite(learner.predict_one({"f1": 1.0}))
    many = {f"f{i}": float(i) for i in range(500)}
    learner.learn_one(many, 1.0)
    assert math.isfinite(learner.predict_one(many))


def test_a_step_that_would_leave_no_numbers_is_not_taken():
    """Also where it brought a class and a feature."""
    for n_classes in (1, 2):
        learner = Learner(seed=0)
        for x, y in stream(100, n_classes=n_classes):
            learner.learn_one(x, y)
        before, learner.learning_rate = state(learner), 1e38
        with pytest.raises(fastnn.DivergenceError, match="The learner is as before the call"):
            for _ in range(3):
                learner.learn_one({"new feature": 1.0, "n1": 3.0, "town": "Oslo"}, "new")
                before = state(learner)
        assert state(learner) == before
        learner.learning_rate = 0.05
        for x, y in stream(20, seed=1):
            learner.learn_one(x, y)
        assert np.isfinite(learner.contents()[0]).all()


FLOATS = st.floats(-1e100, 1e100)


@given(
    st.lists(
        st.dictionaries(
            st.text("abcdef", max_size=2) | st.integers(0, 5),
            st.none() | st.booleans() | st.text(max_size=3) | FLOATS | st.integers(),
            max_size=6,
        ),
        max_size=12,
    )
)
@settings(max_examples=30, deadline=None)
def test_any_row_leaves_numbers(rows):
    learner = Learner("regression", 3, n_inputs=8, seed=0)
    for i, x in enumerate(rows):
        try:
            learner.learn_one(x, (-1.0) ** i * 1e100)
        except (ValueError, fastnn.DivergenceError):
            pass
        assert math.isfinite(learner.predict_one(x) if not _too_large(x) else 0.0)
    theta, table, *_, amounts = learner.contents()
    assert np.isfinite(theta).all() and np.isfinite(table).all() and np.isfinite(amounts).all()


def _too_large(x):
    return any(isinstance(cell, int) and abs(cell) > 10**100 for cell in x.values())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"task": "clustering"}, ValueError),
        ({"hidden": -1}, ValueError),
        ({"hidden": (3, 0)}, ValueError),
        ({"hidden": "32"}, TypeError),
        ({"hidden": (800, 800)}, ValueError),
        ({"learning_rate": -1}, ValueError),
        ({"learning_rate": math.nan}, ValueError),
        ({"n_inputs": 0}, ValueError),
        ({"n_inputs": 2**24 + 1}, ValueError),
        ({"seed": -1}, ValueError),
    ],
)
def test_arguments(arguments, error):
    with pytest.raises(error):
        Learner(**arguments)


# Copies, files, threads


def test_copies_go_on_alone_with_the_same_bits():
    learner = Learner(seed=0)
    rows = list(stream(200, n_classes=3))
    for x, y in rows[:100]:
        learner.learn_one(x, y)
    copies = [copy.copy(learner), copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))]
    for one in (*copies, learner):
        for x, y in rows[100:]:
            one.learn_one(x, y)
    assert len({state(one)[:2] for one in (*copies, learner)}) == 1
    assert repr(copies[0]) == repr(learner) == (
        "Learner(task='classification', hidden=32, learning_rate=0.03, n_inputs=1024, seed=0)"
    )
    with pytest.raises(TypeError, match="must be made by its class"):
        Learner.__new__(Learner).predict_one({})


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_saved_one_goes_on_with_the_same_bits(tmp_path, task):
    learner = Learner(task, (8, 20), 0.04, n_inputs=100, seed=2**128 - 1)
    rows = list(stream(200, n_classes=3))
    path = tmp_path / "stream.safetensors"
    for n in (0, 1, 100):
        for x, y in rows[learner.rows : n]:
            learner.learn_one(x, y)
        learner.save(path)
        again = fastnn.load(path)
        assert type(again) is Learner and repr(again) == repr(learner)
        assert state(again) == state(learner) and again.classes == learner.classes
    for one in (learner, again):
        for x, y in rows[100:]:
            one.learn_one(x, y)
    assert state(again) == state(learner)


def test_classes_keep_their_kind(tmp_path):
    learner = Learner(seed=0)
    for i, y in enumerate((np.bool_(True), "1", np.int64(7), np.str_("x"))):
        learner.learn_one({"a": i}, y)
    learner.save(tmp_path / "a.safetensors")
    for one in (learner, fastnn.load(tmp_path / "a.safetensors")):
        assert [(type(y), y) for y in one.classes] == [
            *((bool, True), (str, "1"), (int, 7), (str, "x"))
        ]


def hostile(path):
    """Files that differ from a learner's in one thing."""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + n]), data[8 + n :]
    texts = header["__metadata__"]
    about = json.loads(texts["about"])

    def written(header, rest=rest):
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + rest

    for key, values in {
        "task": ["regression", "x", 1, None],
        "learning_rate": [-1, "x", None],
        "seed": [-1, 2**128, 1.5, "x"],
        "rows": [-1, 2**54, "x", None, 1.5],
        "classes": [None, [], ["a"], ["a", "a", "b"], ["a", 2.5, "b"], "abc", [[1], 2, 3], {}],
        "estimator": ["TabularClassifier", "x", 3, None],
        "metadata": [[], "x", 3, None],
    }.items():
        for value in values:
            changed = header | {"__metadata__": texts | {"about": json.dumps(about | {key: value})}}
            yield f"{key}={value!r}", written(changed)
        lacking = {name: one for name, one in about.items() if name != key}
        yield (
            f"no {key}",
            written(header | {"__metadata__": texts | {"about": json.dumps(lacking)}}),
        )
    for name in ("table", "amounts"):
        start, stop = header[name]["data_offsets"]
        for i in range(min(4, (stop - start) // 8)):
            for value in (-1.0, math.nan, math.inf, 1e300, 0.5):
                at = start + 8 * i
                if value == 0.5 and (name == "amounts" or i):
                    continue  # means may be
                if value == -1.0 and (i == 2 if name == "table" else i == 1):
                    continue
                yield (
                    f"{name}[{i}]={value}",
                    written(header, rest[:at] + np.float64(value).tobytes() + rest[at + 8 :]),
                )
    for name, shapes in {"table": [[4, 8], [32]], "amounts": [[1, 3], [3, 1]]}.items():
        for shape in shapes:
            yield f"{name} of {shape}", written(header | {name: header[name] | {"shape": shape}})
    networks = texts["networks"].replace('"relu"', '"tanh"')
    assert networks != texts["networks"]
    yield "tanh", written(header | {"__metadata__": texts | {"networks": networks}})
    yield "shorter", data[:-8]


def test_hostile_files_are_refused(tmp_path):
    learner = Learner(n_inputs=8, hidden=4, seed=0)
    for x, y in stream(50, n_classes=3):
        learner.learn_one(x, y)
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    learner.save(path)
    n = 0
    for what, data in hostile(path):
        other.write_bytes(data)
        with pytest.raises(fastnn.ModelFileError):
            fastnn.load(other)
            pytest.fail(what)
        n += 1
    assert n > 50


def test_other_doors_say_what_it_is(tmp_path):
    from fastnn.cli import main
    from fastnn.saved import columns_of

    path = str(tmp_path / "a.safetensors")
    Learner(seed=0).save(path)
    assert main(["info", path]) == 2
    with pytest.raises(fastnn.ModelFileError, match="a model of columns, this is a Learner"):
        columns_of(fastnn.load(path))


def test_others_predict_while_one_learns():
    """Readers see whole states: probabilities of the classes there are."""
    learner = Learner(seed=0)
    learner.learn_one({"a": 1.0}, 0)
    done, wrong = threading.Event(), []

    def read():
        while not done.is_set():
            p = learner.predict_proba_one({"a": 1.0, "town": "Oslo"})
            if abs(sum(p.values()) - 1) > 1e-9 or list(p) != list(range(len(p))):
                wrong.append(p)
            copy.copy(learner)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i, (x, _) in enumerate(stream(2000)):
        learner.learn_one(x, i // 50)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


# Scores, and River


def test_prequential_scores_of_classes():
    rows = [({"a": i % 2}, "odd" if i % 2 else "even") for i in range(250)]
    learner, again = Learner(seed=0), Learner(seed=0)
    scores = list(prequential(learner, iter(rows), every=100))
    assert [one["rows"] for one in scores] == [100, 200, 250]
    right, loss = [], []
    for x, y in rows:
        p = again.predict_proba_one(x)
        right.append(again.predict_one(x) == y)
        loss.append(-math.log(max(p.get(y, 0), 1e-15)))
        again.learn_one(x, y)
    assert math.isclose(scores[-1]["accuracy"], np.mean(right))
    assert math.isclose(scores[-1]["log_loss"], np.mean(loss))
    assert math.isclose(scores[1]["recent_accuracy"], np.mean(right[100:200]))
    assert math.isclose(scores[2]["recent_log_loss"], np.mean(loss[200:]))
    assert state(learner) == state(again) and scores[-1]["recent_accuracy"] == 1


def test_prequential_scores_of_amounts():
    rows = [({"a": i % 7}, float(i % 7) ** 2) for i in range(300)]
    learner, again = Learner("regression", seed=0), Learner("regression", seed=0)
    *_, last = prequential(learner, rows, every=200)
    y, f = [], []
    for x, one in rows:
        y.append(one)
        f.append(again.predict_one(x))
        again.learn_one(x, one)
    y, f = np.array(y), np.array(f)
    assert math.isclose(last["mae"], abs(y - f).mean())
    assert math.isclose(last["rmse"], math.sqrt(((y - f) ** 2).mean()))
    assert math.isclose(last["r2"], 1 - ((y - f) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert math.isclose(last["recent_mae"], abs(y - f)[200:].mean())


def test_it_learns_what_there_is_to_learn():
    *_, last = prequential(Learner(seed=0), stream(3000))
    assert last["recent_accuracy"] > 0.9


def river_models():
    river = pytest.importorskip("fastnn.online.river")
    return [river.Classifier(seed=0), river.Regressor(seed=0)]


@pytest.mark.parametrize("which", range(2))
def test_rivers_own_checks(which):
    pytest.importorskip("river")
    from river import checks

    model = river_models()[which]
    assert [*inspect.signature(model.learn_one).parameters] == ["x", "y"]  # evaluate asks
    names = []
    for check in checks.yield_checks(model):
        if check.__name__ in ("check_bounded_memory_growth", *names):
            continue  # a long stream; or another data set
        names.append(check.__name__)
        check(model.clone())
    assert len(names) > 20
