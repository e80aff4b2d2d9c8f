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
    _names: ClassVar[set[str]]  # of the fields
    _positional: ClassVar[tuple[str, ...]]  # those that may be given without their names
    _defaults: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, eq: bool = True) -> None:
        dataclass(init=False, repr=False, eq=False, match_args=False)(cls)
        of = fields(cls)
        cls._names = {one.name for one in of}
        cls._positional = tuple(one.name for one in of if not one.kw_only)
        cls._defaults = {one.name: one.default for one in of if one.default is not MISSING}
        if not eq:
            for name in ("__eq__", "__hash__"):
                setattr(cls, name, getattr(object, name))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = dict(zip(self._positional, args, strict=False))
        values = {**self._defaults, **given, **kwargs}
        if len(args) > len(given) or values.keys() != self._names or given.keys() & kwargs.keys():
            values |= self._made_or_refused(args, given, kwargs)
        vars(self).update(values)
        self.__post_init__()

    def _made_or_refused(self, args: Any, given: Any, kwargs: Any) -> dict[str, Any]:
        """What default factories make of fields that are not given; TypeError of other calls."""
        kind = type(self).__name__
        if len(args) > len(given):
            raise TypeError(f"{kind}() takes {len(given)} values by position, got {len(args)}")
        for name in kwargs:
            if name in given:
                raise TypeError(f"{kind}() got several values for {name!r}")
        refuse_unknown(kind, kwargs, [one.name for one in fields(self)])
        made = {}
        for one in fields(self):
            if not {one.name} & {*given, *kwargs, *self._defaults}:
                if one.default_factory is MISSING:
                    raise TypeError(f"{kind}() must be given {one.name!r}")
                made[one.name] = one.default_factory()
        return made

    def __post_init__(self) -> None:
        """What a class has to check."""

    def _keep(self, **values: Any) -> None:
        """Set fields; for __init__ and __post_init__ alone."""
        vars(self).update(values)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, one.name) for one in fields(self))

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone, not what was computed of them and kept."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

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
