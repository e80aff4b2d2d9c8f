"""An estimator as one file: what files/ensemble.py writes, and how an estimator becomes it."""

from __future__ import annotations

import os
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
from fastnn.tabular.recipes import from_json, to_json
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
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        where = os.fspath(path)
        raise ModelFileError(f"{where!s}: about must describe an estimator: {error!r}") from None


def _estimator(saved: storage.Saved, kinds: Mapping[str, Any]) -> Any:
    about, weights = saved.about, saved.arrays["weights"]
    kind = kinds[about["estimator"]]
    estimator = kind(**{name: from_json(value) for name, value in about["params"].items()})
    columns = Columns.from_dict(about["columns"])
    n_spread = int(about["n_spread"])
    networks = [predictor_of(one) for one in saved.members]
    members, spread = networks[: len(networks) - n_spread], networks[len(networks) - n_spread :]
    for member in members:
        columns.check(member._network)
    if any(one.sizes[0] != columns.width or one.sizes[-1] != 1 for one in spread):
        raise ValueError(f"networks of the spread must have {columns.width} inputs and 1 output")
    if weights.shape != (len(members),) or not (weights >= 0).all():
        raise ValueError(f"weights must be {len(members)} numbers of at least 0")
    scores = Scores(
        saved.arrays["unseen.members"],
        saved.arrays["unseen.fold"].astype(np.intp),
        saved.arrays["unseen.group"].astype(np.intp),
        saved.arrays["unseen.score"],
    )
    scores.check(len(members), max(n_spread, 1))
    given = about["calibration"]
    calibration = Calibration(float(given["smoothing"]), float(given["temperature"]))
    bits_version = as_saved_bits_version(about.get("bits_version", 1))  # older files lack it
    estimator._ensemble = Ensemble(
        *(columns, members, weights, calibration, scores, spread), bits_version
    )
    names = about["names"]
    estimator._names = None if names is None else [str(name) for name in names]
    estimator.n_features_in_ = int(about["n_features"])
    if about["named"]:
        estimator.feature_names_in_ = np.array(estimator._names, object)
    estimator._pack = from_json(about["pack"])
    estimator.scores_ = {str(name): float(value) for name, value in about["scores"].items()}
    if "classes" in about:
        classes = about["classes"]
        estimator.classes_ = np.array(classes["values"], np.dtype(classes["dtype"]))
    return estimator
