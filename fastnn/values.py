"""Frozen values with named fields: dataclasses that share their methods.

``@dataclass(frozen=True)`` writes and compiles six functions a class, 0.3 ms of every import.
A class derived from `Value` is a dataclass, too (fields, replace and asdict work, type checkers see
its signature), but its methods read its fields.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, NoReturn, dataclass_transform

from fastnn.checks import refuse_unknown


class _Signature:
    """What inspect.signature and help show of a class, made when it is asked for."""

    def __get__(self, value: Any, cls: type[Value]) -> Any:
        if cls is Value:
            raise AttributeError("__signature__")
        import inspect

        parameters = []
        for one in fields(cls):
            default = inspect.Parameter.empty if _required(one) else one.default
            kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
            if one.kw_only:
                kind = inspect.Parameter.KEYWORD_ONLY
            given = {"default": default, "annotation": one.type}
            parameters.append(inspect.Parameter(one.name, kind, **given))
        parameters.sort(key=lambda one: one.kind)
        return inspect.Signature(parameters)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value:
    """What ``@dataclass(frozen=True)`` makes of a class; ``eq=False`` as there."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __signature__: ClassVar[Any] = _Signature()
    _named: ClassVar[dict[str, Field[Any]]]  # its fields
    _positional: ClassVar[tuple[str, ...]]  # those that may be given without their names

    def __init_subclass__(cls, eq: bool = True) -> None:
        dataclass(init=False, repr=False, eq=False, match_args=False)(cls)
        cls._named = {one.name: one for one in fields(cls)}
        cls._positional = tuple(one.name for one in fields(cls) if not one.kw_only)
        if not eq:
            cls.__eq__ = object.__eq__  # type: ignore[method-assign]
            cls.__hash__ = object.__hash__  # type: ignore[method-assign]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind, names = type(self).__name__, self._positional
        if len(args) > len(names):
            raise TypeError(f"{kind}() takes {len(names)} values by position, got {len(args)}")
        values = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name in values:
                raise TypeError(f"{kind}() got several values for {name!r}")
            if name not in self._named:
                refuse_unknown(kind, kwargs, list(self._named))
            values[name] = value
        for name, one in self._named.items():
            if name in values:
                continue
            if _required(one):
                raise TypeError(f"{kind}() must be given {name!r}")
            factory = one.default_factory
            values[name] = one.default if factory is MISSING else factory()
        self._keep(**values)
        self.__post_init__()

    def __post_init__(self) -> None:
        """What a class has to check."""

    def _keep(self, **values: Any) -> None:
        """Set fields; for __init__ and __post_init__ alone."""
        vars(self).update(values)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, one.name) for one in fields(self))

    def __repr__(self) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self))
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")


def _required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING
