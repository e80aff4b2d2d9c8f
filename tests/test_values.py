"""Frozen values against dataclasses, which they stand for."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import ClassVar

import pytest

import fastnn
from fastnn.network.embeddings import Embedding
from fastnn.network.initialize import Init
from fastnn.training.optimizers import Optimizer
from fastnn.training.schedules import Schedule, Watching
from fastnn.values import Value


class Base(Value):
    a: float
    b: int = field(default=2, kw_only=True)


class Ours(Base):
    kind: ClassVar[str] = "no field"
    c: list[int] = field(default_factory=list)
    d: str = "d"


@dataclass(frozen=True)
class TheirBase:
    a: float
    b: int = field(default=2, kw_only=True)


@dataclass(frozen=True)
class Theirs(TheirBase):
    kind: ClassVar[str] = "no field"
    c: list[int] = field(default_factory=list)
    d: str = "d"



CALLS = [((1.0,), {}), ((1.0, [3]), {"b": 5}), ((), {"d": "x", "a": 0.5}), ((1, [], "e"), {})]


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_values_are_what_dataclasses_are(args, kwargs):
    ours, theirs = Ours(*args, **kwargs), Theirs(*args, **kwargs)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert asdict(ours) == asdict(theirs)
    assert [one.name for one in fields(ours)] == [one.name for one in fields(theirs)]
    assert ours == Ours(*args, **kwargs) and ours != replace(ours, a=9.0) and ours != theirs
    assert asdict(replace(ours, b=7)) == asdict(replace(theirs, b=7))
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert twin == ours and twin is not ours
    with pytest.raises(FrozenInstanceError):
        ours.a = 3
    with pytest.raises(FrozenInstanceError):
        del ours.a


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "must be given 'a'"),
        ((1, [], "d", 4), {}, "takes 3 values by position, got 4"),
        ((1,), {"a": 2}, "several values for 'a'"),
        ((1,), {"e": 2}, "unexpected keyword argument 'e'"),
        ((1,), {"kind": 2}, "unexpected keyword argument 'kind'"),
    ],
)
def test_calls_that_do_not_fit(args, kwargs, message):
    for cls in (Ours, Theirs):
        with pytest.raises(TypeError, match=message if cls is Ours else None):
            cls(*args, **kwargs)


def test_hash_and_signature():
    assert hash(Base(1.0)) == hash(Base(1.0)) and len({Base(1.0), Base(1.0), Base(2.0)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Ours(1.0))
    ours, theirs = (inspect.signature(cls).parameters for cls in (Base, TheirBase))
    assert list(ours.values()) == list(theirs.values())
    assert list(inspect.signature(Ours).parameters) == ["a", "c", "d", "b"]
    assert list(inspect.signature(Value).parameters) == ["args", "kwargs"]
    assert "momentum: float = 0.0" in str(inspect.signature(fastnn.SGD)).replace("'", "")


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Embedding().of,
        lambda: Embedding().features(0),
        lambda: Embedding().shapes(0),
        lambda: Embedding().initial(0, 0),
        lambda: Init().weights(None, 0),
        lambda: Optimizer(0.1).kind,
        lambda: Optimizer(0.1).own,
        lambda: Schedule(0.1).at(None, 1, 1),
        lambda: Watching(0.1).after({}, 1.0),
    ],
)
def test_what_a_kind_of_its_own_must_say_has_no_default(ask):
    with pytest.raises(NotImplementedError):
        ask()


class Alike(Value, eq=False):
    a: int


def test_without_eq_each_is_itself_alone():
    one = Alike(1)
    assert one == one and one != Alike(1) and len({one, Alike(1)}) == 2
