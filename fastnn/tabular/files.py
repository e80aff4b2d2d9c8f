"""An estimator as one file: what files/ensemble.py writes, and how an estimator becomes it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.files import ensemble as storage
from fastnn.files.model import as_saved_bits_version
from fastnn.network.parameters import Parameters
from fastnn.predictor import Predictor
from fastnn.tables.columns import Columns
from fastnn.tabular.ensemble import Ensemble
from fastnn.tabular.recipes import Pack, from_json, to_json
from fastnn.tabular.unseen.calibration import Calibration
from fastnn.tabular.unseen.conformal import Scores


def save(path: str | PathLike[str], estimator: Any) -> None:
    """Write a fitted estimator's file."""
    ensemble = estimator._ensemble
    params = estimator.get_params()
    seed = params["random_state"]  # of a generator no number says where it stands
    params["random_state"] = int(seed) if isinstance(seed, (int, np.integer)) else None
    about = {
        "estimator": type(estimator).__name__,
        "params": {name: to_json(value) for name, value in params.items()},
        "columns": ensemble.columns.to_dict(),
        "names": estimator._names,
        "named": hasattr(estimator, "feature_names_in_"),
        "n_features": estimator.n_features_in_,
        "pack": to_json(estimator._pack),
        "scores": estimator.scores_,
        "calibration": ensemble.calibration._asdict(),
        "n_spread": len(ensemble.spread),
        "bits_version": ensemble.bits_version,
    }
    if hasattr(estimator, "classes_"):
        classes = estimator.classes_
        about["classes"] = {"dtype": classes.dtype.str, "values": classes.tolist()}
    members = [member.parameters() for member in (*ensemble.members, *ensemble.spread)]
    scores = ensemble.scores
    arrays = {
        "weights": ensemble.weights,
        "unseen.members": scores.members,
        "unseen.fold": scores.fold.astype(np.float64),
        "unseen.group": scores.group.astype(np.float64),
        "unseen.score": scores.score,
    }
    storage.save(path, storage.Saved(members, arrays, about))


def predictor_of(parameters: Parameters) -> Predictor:
    return Predictor(parameters.network, *parameters.weights()[1:], None)


def load(path: str | PathLike[str], kinds: Mapping[str, Any]) -> Any:
    """An estimator as it was saved, of one of `kinds`, by name. Raises ModelFileError."""
    saved = storage.load(path)
    try:
        return _estimator(saved, kinds)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        where = os.fspath(path)
        raise ModelFileError(f"{where!s}: about must describe an estimator: {error!r}") from None


def _estimator(saved: storage.Saved, kinds: Mapping[str, Any]) -> Any:
    about, weights = saved.about, saved.arrays["weights"]
    kind = kinds[about["estimator"]]
    estimator = kind(**{name: from_json(value) for name, value in about["params"].items()})
    columns = Columns.from_dict(about["columns"])
    networks = [predictor_of(one) for one in saved.members]
    n_spread = _typed(about, "n_spread", int)
    if not 0 <= n_spread < len(networks):
        raise ValueError(f"n_spread must be below {len(networks)}, the number of networks")
    members, spread = networks[: len(networks) - n_spread], networks[len(networks) - n_spread :]
    for member in members:
        columns.check(member._network)
    if any(one.sizes[0] != columns.width or one.sizes[-1] != 1 for one in spread):
        raise ValueError(f"networks of the spread must have {columns.width} inputs and 1 output")
    for name, array in saved.arrays.items():
        if array.dtype != np.float64 or not np.isfinite(array).all():
            raise ValueError(f"{name!r:.50} must be finite numbers in float64")
    if weights.shape != (len(members),) or not (weights >= 0).all():
        raise ValueError(f"weights must be {len(members)} numbers of at least 0")
    scores = Scores(
        saved.arrays["unseen.members"],
        _whole(saved, "unseen.fold"),
        _whole(saved, "unseen.group"),
        saved.arrays["unseen.score"],
    )
    scores.check(len(members), max(n_spread, 1))
    given = about["calibration"]
    smoothing, temperature = (_typed(given, name, float) for name in Calibration._fields)
    if not (0 <= smoothing < 1 and 0 < temperature < np.inf):
        raise ValueError("calibration must be a smoothing below 1 and a temperature above 0")
    calibration = Calibration(smoothing, temperature)
    bits_version = as_saved_bits_version(about.get("bits_version", 1))  # older files lack it
    estimator._ensemble = Ensemble(
        *(columns, members, weights, calibration, scores, spread), bits_version
    )
    names = about["names"]
    estimator._names = None if names is None else [str(name) for name in names]
    estimator.n_features_in_ = _typed(about, "n_features", int)
    if _typed(about, "named", bool):
        estimator.feature_names_in_ = np.array(estimator._names, object)
    estimator._pack = from_json(about["pack"])
    if not isinstance(estimator._pack, Pack):
        raise TypeError("pack must be one")
    estimator.scores_ = {
        str(name): float(_typed(about["scores"], name, float)) for name in about["scores"]
    }
    decides = kind.task == "classification"
    if decides != ("classes" in about) or decides != isinstance(columns.class_names, list):
        raise ValueError(f"{kind.__name__} must have a target of {kind.task} alone")
    if "classes" in about:
        estimator.classes_ = _classes(about["classes"], len(columns.class_names or ()))
    return estimator


def _typed(saved: Any, name: str, kind: type) -> Any:
    """saved[name], which must be of `kind`; a float may be written as a whole number."""
    value = saved[name]
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{name} must be of type {kind.__name__}, got {value!r:.50}")
    return value


def _whole(saved: storage.Saved, name: str) -> np.ndarray:
    array = saved.arrays[name]
    if not ((array >= 0) & (array < 2**53) & (array == np.trunc(array))).all():
        raise ValueError(f"{name} must hold whole numbers from 0")
    return array.astype(np.intp)


# What classes are kept as, by NumPy's names, which are looked up and not parsed. Of text the length
# follows from the classes.
DTYPES = {np.dtype(code).str: np.dtype(code) for code in "?bhilqBHILQefdO"}
TEXT = re.compile(r"[<>=|]U\d{1,10}")


def _classes(saved: dict[str, Any], n: int) -> np.ndarray:
    values, dtype = saved["values"], saved["dtype"]
    if not isinstance(values, list) or len(values) != n:
        raise ValueError(f"classes must be a list of {n}")
    if not isinstance(dtype, str) or not (dtype in DTYPES or TEXT.fullmatch(dtype)):
        raise ValueError(f"classes must be of a dtype such as {', '.join([*DTYPES][:3])}")
    kinds = (str,) if TEXT.fullmatch(dtype) else (bool, int, float, str)
    if not all(isinstance(value, kinds) for value in values):
        raise TypeError("classes must be numbers, booleans or text")
    array: np.ndarray = np.array(values, DTYPES.get(dtype))
    return array
