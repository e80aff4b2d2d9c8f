"""scikit-learn's conventions of an estimator, without importing it: parameters, tags, errors."""

from __future__ import annotations

import sys
from typing import Any, Self

from fastnn.sklearn_callbacks import CallbackSupport


class NotFittedError(ValueError, AttributeError):
    """An estimator that has not been fitted was asked to predict."""


class Estimator(CallbackSupport):
    """Parameters are the keyword arguments of __init__, which keeps each under its name."""

    kind: str  # "classifier" or "regressor"

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        return dict(cls.__init__.__kwdefaults__ or {})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in sorted(self._defaults())}

    def set_params(self, **params: Any) -> Self:
        """Set parameters; they hold from the next `fit` on."""
        known = sorted(self._defaults())
        for name in params:
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. "
                    f"Valid parameters are: {known!r}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = self._defaults()
        shown = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not defaults[name] and repr(value) != repr(defaults[name])
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import (
            ClassifierTags,
            InputTags,
            RegressorTags,
            Tags,
            TargetTags,
        )

        return Tags(
            estimator_type=self.kind,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if self.kind == "classifier" else None,
            regressor_tags=RegressorTags() if self.kind == "regressor" else None,
            input_tags=InputTags(allow_nan=True, string=True, categorical=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return "_ensemble" in vars(self)

    def _check_fitted(self) -> None:
        """Raise scikit-learn's own error, where it is there to be caught."""
        if not self.__sklearn_is_fitted__():
            exceptions: Any = sys.modules.get("sklearn.exceptions")
            error = NotFittedError if exceptions is None else exceptions.NotFittedError
            raise error(f"This {type(self).__name__} instance is not fitted yet: call fit first")
