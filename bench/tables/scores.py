"""What is compared: the lower the better, but auc."""

from __future__ import annotations

import numpy as np

from fastnn.training.metrics import ece

CLASSES = {
    "error": "error",
    "log_loss": "log loss",
    "auc": "AUC",
    "ece": "calibration error",
}
VALUES = {"rmse": "RMSE", "mae": "MAE"}
MAIN = ("error", "rmse")  # those that a table's ranks go by


def of_classes(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """y : (n,) classes 0, 1, ...; p : (n, n_classes) probabilities.

    Of several classes, auc is the mean of each against the rest. ece is `fastnn.Model.evaluate`'s.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    p = np.asarray(p, np.float64)
    p = p / p.sum(1, keepdims=True)  # of float32 the sum may be 1 but for rounding
    return {
        "error": float(np.mean(p.argmax(1) != y)),
        "log_loss": float(log_loss(y, p, labels=np.arange(p.shape[1]))),
        "auc": float(roc_auc_score(y, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr")),
        "ece": ece(y, p, exclusive=True),
    }


def of_values(y: np.ndarray, f: np.ndarray) -> dict[str, float]:
    off = np.asarray(f, np.float64).reshape(-1) - y
    return {"rmse": float(np.sqrt(np.mean(off**2))), "mae": float(np.mean(np.abs(off)))}
