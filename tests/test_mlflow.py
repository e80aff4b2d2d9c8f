"""fastnn.mlflow: what MLflow loads predicts what the model does, and holds no pickle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastnn

with warnings.catch_warnings():  # MLflow's own, while it is imported
    warnings.simplefilter("ignore")
    pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("mlflow.pyfunc", reason="mlflow is not installed")

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

import fastnn.mlflow

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
SHOP = {"age": [31, 47, 52, 28] * 10, "town": ["Rome", "Oslo", "Rome", "Oslo"] * 10}
BOUGHT = ["no", "yes", "yes", "no"] * 10


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow-skinny has no other
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    return tmp_path


def buyers():
    model = fastnn.Model([None, 8, None], seed=0)
    model.fit(SHOP, BOUGHT, epochs=20)
    return model


def test_arrays(here):
    model = fastnn.Model([4, 8, 3], seed=0)
    fastnn.mlflow.save_model(model, "net")
    served = mlflow.pyfunc.load_model("net")
    np.testing.assert_array_equal(served.predict(X), model.predict(X))
    np.testing.assert_array_equal(served.predict(pd.DataFrame(X)), model.predict(X))
    served = mlflow.pyfunc.load_model("net", model_config={"probabilities": True})
    np.testing.assert_array_equal(served.predict(X), model.predict_proba(X))


def test_columns(here):
    model, table = buyers(), pd.DataFrame(SHOP)
    columns = [ColSpec("long", "age"), ColSpec("string", "town")]
    signature = ModelSignature(Schema(columns))
    fastnn.mlflow.save_model(model, "shop", probabilities=True, signature=signature)
    served = mlflow.pyfunc.load_model("shop")
    np.testing.assert_array_equal(served.predict(table), model.predict_proba(SHOP))
    assert served.metadata.get_input_schema().input_names() == ["age", "town"]
    served = mlflow.pyfunc.load_model("shop", model_config={"probabilities": False})
    assert served.predict(table).tolist() == model.predict(SHOP).tolist()


def test_ensembles_and_8_bits(here):
    ensemble = fastnn.TabularClassifier(time_limit=1, random_state=0).fit(SHOP, BOUGHT)
    fastnn.mlflow.save_model(ensemble, "ensemble")
    got = mlflow.pyfunc.load_model("ensemble").predict(pd.DataFrame(SHOP))
    assert got.tolist() == ensemble.predict(SHOP).tolist()
    predict, _ = fastnn.Model([4, 8, 3], seed=0).quantize(X)
    fastnn.mlflow.save_model(predict, "small")
    np.testing.assert_array_equal(mlflow.pyfunc.load_model("small").predict(X), predict(X))


def test_what_is_kept_is_the_file(here):
    """No pickle; and the requirement is what pip calls this fastnn."""
    fastnn.mlflow.save_model(buyers(), "shop")
    files = {path.name for path in (here / "shop").rglob("*") if path.is_file()}
    assert "model.safetensors" in files and not [one for one in files if one.endswith("pkl")]
    required = (here / "shop/requirements.txt").read_text().splitlines()
    assert f"fastnn-cpu=={fastnn.__version__}" in required
    assert fastnn.load(here / "shop/data/model.safetensors").columns.inputs.names == ["age", "town"]


@pytest.mark.parametrize("options", [{"pip_requirements": ["numpy"]}, {"conda_env": "env.yaml"}])
def test_requirements_of_ones_own(here, options):
    (here / "env.yaml").write_text("name: mine\ndependencies: [numpy]\n")
    fastnn.mlflow.save_model(fastnn.Model([4, 3], seed=0), "net", **options)
    texts = [path.read_text() for path in (here / "net").iterdir() if path.is_file()]
    assert not any("fastnn-cpu" in text for text in texts) and any("numpy" in t for t in texts)


def test_a_run_logs_and_registers(here):
    model = buyers()
    with mlflow.start_run():
        info = fastnn.mlflow.log_model(model, "shop", registered_model_name="buyers")
    for uri in (info.model_uri, "models:/buyers/1"):
        got = mlflow.pyfunc.load_model(uri).predict(pd.DataFrame(SHOP))
        assert got.tolist() == model.predict(SHOP).tolist()


def test_refused(here):
    with pytest.raises(TypeError, match=r"model must be a Model, .* got 'net'"):
        fastnn.mlflow.save_model("net", "net")
    with pytest.raises(TypeError, match="probabilities must be"):
        fastnn.mlflow.save_model(fastnn.Model([4, 3]), "net", probabilities="yes")
    assert not list(here.glob("net"))
