"""ONNX out, against ONNX Runtime; in, from what PyTorch, Keras and skl2onnx write, against them;
the onnx package's own node tests; and files that are none."""

import errno
import json
import os
import re
import warnings

import numpy as np
import pytest

import fastnn
from fastnn.kernels._cpu import ACTIVATIONS, OUTPUTS

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the other libraries' own
AGREE = 1e-6
RNG = np.random.default_rng(3)
X = RNG.normal(size=(50, 6))


@pytest.fixture(autouse=True)
def same_numbers():
    """Whichever tests run, each draws the same numbers."""
    global RNG
    RNG = np.random.default_rng(3)


def agree(got, want, tolerance):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    assert (abs(got - want) <= tolerance * np.maximum(1, abs(want))).all(), abs(got - want).max()


def runtime(path, **inputs):
    """ONNX Runtime's outputs by name."""
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def network(dtype, output, hidden, **options):
    options = {"bias": [True, False, True], "seed": 1, "dtype": dtype} | options
    model = fastnn.Model([6, 9, 5, 4], list(hidden), output, **options)
    for b in model.b:
        if b is not None:
            b[:] = RNG.normal(size=b.shape)
    return model


def without_our_property(path):
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, path)


# --- out


@pytest.mark.parametrize("name", [*OUTPUTS, "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 50])
def test_onnx_runtime_computes_what_we_do(tmp_path, name, dtype, n):
    hidden = name if name in ACTIVATIONS else "relu"
    model = network(dtype, name, (hidden, fastnn.ELU(0.3)))
    path = tmp_path / "model.onnx"
    fastnn.onnx.export(model, path)
    f = runtime(path, X=X[:n].astype(dtype))["f"]
    assert f.dtype == dtype
    agree(f, model.forward(X[:n]), AGREE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*OUTPUTS, "softmax"])
def test_an_export_comes_back_as_the_same_model(tmp_path, name, dtype):
    hidden = name if name in ACTIVATIONS else "identity"
    third = fastnn.ELU(1 / 3)  # no float32, which attributes are
    options = {"dropout": [0.1, 0, 0.3], "noise": [0.1, 0, 0], "seed": 77}
    model = network(dtype, name, (hidden, third), **options)
    model.metadata = {"name": "ä", "numbers": [1, 2.5, None]}
    path = tmp_path / "model.onnx"
    fastnn.onnx.export(model, path)
    back = fastnn.onnx.load(path)
    assert repr(back) == repr(model) and back.metadata == model.metadata
    assert (back.theta == model.theta).all() and back.loss == model.loss
    without_our_property(path)  # by the graph alone
    plain = fastnn.onnx.load(path)
    agree(plain.forward(X), model.forward(X), 1e-7)
    assert plain.sizes == model.sizes and plain.output == model.output
    assert plain.activations[0] == model.activations[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("bias", [True, False])
def test_normalised_networks(tmp_path, norm, dtype, bias):
    model = fastnn.Model([6, 9, 5, 3], "gelu", norm=norm, dtype=dtype, seed=1, bias=bias)
    model.fit(X, RNG.integers(0, 3, len(X)), epochs=20, batch_size=10, learning_rate=0.3)
    path = tmp_path / "model.onnx"
    fastnn.onnx.export(model, path)
    agree(runtime(path, X=X.astype(dtype))["f"], model.forward(X), AGREE)
    back = fastnn.onnx.load(path)
    agree(back.forward(X), model.forward(X), AGREE)
    if norm == "layer":
        assert repr(back) == repr(model) and (back.theta == model.theta).all()
    else:
        assert back.norm == [None, None]  # folded


def test_other_properties_are_left_alone(tmp_path):
    path = tmp_path / "model.onnx"
    model = fastnn.Model([3, 4], output="softmax", loss=fastnn.Focal(1.5), seed=3)
    fastnn.onnx.export(model, path)
    proto = onnx.load(path)
    ours = proto.metadata_props.pop()
    proto.metadata_props.add(key="author", value="somebody")
    proto.metadata_props.append(ours)
    onnx.save(proto, path)
    assert repr(fastnn.onnx.load(path)) == repr(model)


def test_losses_come_back(tmp_path):
    model = fastnn.Model([3, 4], output="softmax", loss=fastnn.Focal(1.5), dtype="float64")
    fastnn.onnx.export(model, tmp_path / "model.onnx")
    assert fastnn.onnx.load(tmp_path / "model.onnx").loss == fastnn.Focal(1.5)


def test_the_graph_counts_where_it_was_edited(tmp_path):
    path = tmp_path / "model.onnx"
    fastnn.onnx.export(fastnn.Model([3, 5, 2], "tanh", seed=1), path)
    proto = onnx.load(path)
    for node in proto.graph.node:
        if node.op_type == "Tanh":
            node.op_type = "Sigmoid"
    onnx.save(proto, path)
    assert fastnn.onnx.load(path).activations == ["sigmoid"]
    for options, name, value in (
        ({"activation": fastnn.LeakyReLU(0.3)}, "alpha", 0.5),
        ({"activation": fastnn.ELU(0.3)}, "alpha", 0.5),
        ({"norm": "layer"}, "epsilon", 0.5),
    ):
        fastnn.onnx.export(fastnn.Model([3, 5, 2], seed=1, **options), path)
        proto = onnx.load(path)
        (attribute,) = (a for node in proto.graph.node for a in node.attribute if a.name == name)
        attribute.f = value
        onnx.save(proto, path)
        x = X[:, :3].astype(np.float32)
        agree(fastnn.onnx.load(path).forward(x), runtime(path, X=x)["f"], AGREE)


def test_names_of_classes_give_labels(tmp_path):
    path = tmp_path / "model.onnx"
    for output, sizes, classes in (
        ("softmax", [6, 5, 3], ["x", "ü", "z"]),
        ("softmax", [6, 5, 3], [10, 20, 30]),
        ("sigmoid", [6, 5, 1], ["no", "yes"]),
    ):
        model = fastnn.Model(sizes, "tanh", output, seed=4)
        model.metadata["classes"] = classes
        fastnn.onnx.export(model, path)
        got = runtime(path, X=X.astype(np.float32))
        assert list(got["label"]) == [classes[i] for i in model.predict(X)]
        agree(got["f"], model.forward(X), AGREE)
        assert fastnn.onnx.load(path).metadata["classes"] == classes
        without_our_property(path)
        assert fastnn.onnx.load(path).metadata.get("classes") == classes


def test_names_that_are_not_the_outputs_give_no_labels(tmp_path):
    for output, sizes in (("softmax", [6, 5, 3]), ("sigmoid", [6, 5, 2])):
        model = fastnn.Model(sizes, "tanh", output, seed=4)
        model.metadata["classes"] = ["no", "yes"]
        fastnn.onnx.export(model, tmp_path / "model.onnx")
        assert list(runtime(tmp_path / "model.onnx", X=X.astype(np.float32))) == ["f"]


@pytest.mark.parametrize("library", ["fastnn", "sklearn"])
@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"], [3, 7], [1, 2, 4], "several"])
@pytest.mark.parametrize("scaled", [False, True])
def test_classifiers_give_labels_and_probabilities(tmp_path, library, classes, scaled):
    """An estimator, or a pipeline to it, as it predicts in scikit-learn."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn import neural_network
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import fastnn.sklearn

    kind = {"fastnn": fastnn.sklearn, "sklearn": neural_network}[library].MLPClassifier
    x, several = X * 3 + 1, classes == "several"
    y = x[:, :3] > 1 if several else np.array(classes)[RNG.integers(0, len(classes), len(x))]
    net = kind((9, 5), max_iter=20, random_state=0)
    net = (make_pipeline(StandardScaler(), net) if scaled else net).fit(x, y)
    path = tmp_path / "model.onnx"
    fastnn.onnx.export(net, path)
    got = runtime(path, X=x)
    assert list(got) == ["probabilities", "label"]
    assert got["label"].dtype == (object if classes in (["a", "b"], ["a", "b", "c"]) else np.int64)
    assert (got["label"] == net.predict(x)).all() and got["label"].shape == net.predict(x).shape
    agree(got["probabilities"], net.predict_proba(x), AGREE)
    agree(fastnn.onnx.load(path).predict_proba(x), net.predict_proba(x), AGREE)
    without_our_property(path)
    back = fastnn.onnx.load(path)
    agree(back.predict_proba(x), net.predict_proba(x), AGREE)
    assert several or back.metadata["classes"] == classes


def test_regressors_give_values(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    import fastnn.sklearn

    for y in (X[:, 0], X[:, :2]):
        net = fastnn.sklearn.MLPRegressor(hidden_layer_sizes=(9,), max_iter=20).fit(X, y)
        fastnn.onnx.export(net, tmp_path / "model.onnx")
        agree(runtime(tmp_path / "model.onnx", X=X)["f"].reshape(y.shape), net.predict(X), AGREE)
    with pytest.raises(ValueError, match="estimator must be fitted"):
        fastnn.onnx.export(fastnn.sklearn.MLPRegressor(), tmp_path / "model.onnx")
    for other in (5, "model", None):
        with pytest.raises(TypeError, match=r"model must be a fastnn\.Model or an estimator, got"):
            fastnn.onnx.export(other, tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", [str, int, bool, float])
def test_columns_stand_in_the_graph_and_come_back(tmp_path, kind):
    """A model that learned columns reads tables, in ONNX Runtime and loaded again."""
    table = {"a": RNG.normal(2000, 5, 200), "c": RNG.choice(["x", "y", "z"], 200)}
    y = ((table["a"] > 2000) ^ (table["c"] == "x")).astype(kind)
    model = fastnn.Model([None, 8, None], "tanh", seed=0)
    model.fit(table, y, epochs=5, batch_size=32, learning_rate=0.1)
    path = tmp_path / "model.onnx"
    fastnn.onnx.export(model, path)
    back = fastnn.onnx.load(path)
    reordered = {"c": table["c"].tolist(), "other": [0] * 200, "a": table["a"]}
    for one in (table, reordered):
        assert (back.predict(one) == model.predict(table)).all()
        agree(back.predict_proba(one), model.predict_proba(table), 1e-12)
    got = runtime(path, a=table["a"][:, None], c=table["c"].astype(object)[:, None])
    assert (got["label"] == model.predict(table)).all()
    assert got["label"].dtype == (object if kind is str else model.classes.dtype)
    agree(got["f"], model.predict_proba(table), AGREE)
    with pytest.raises(ValueError, match='"c", which the model reads'):
        back.predict({"a": table["a"]})


def test_metadata_of_the_users_own_are_no_description(tmp_path):
    path = tmp_path / "model.onnx"
    model = fastnn.Model([6, 5, 3], seed=4)
    model.metadata = {"data": "digits", "classes": {"a": 1}}
    fastnn.onnx.export(model, path)
    assert list(runtime(path, X=X.astype(np.float32))) == ["f"]
    assert fastnn.onnx.load(path).metadata == model.metadata
    model.metadata = {"data": {"version": 1, "inputs": {}, "target": {}}}
    with pytest.raises(ValueError, match=r'metadata\["data"\] must describe the data'):
        fastnn.onnx.export(model, path)


def test_an_export_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    fastnn.onnx.export(fastnn.Model([2, 1], output="identity"), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        fastnn.onnx.export(fastnn.Model([2, 3]), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model.onnx"]
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        fastnn.onnx.export(fastnn.Model([2, 3]), tmp_path / "none" / "model.onnx")
    with pytest.raises(fastnn.ModelFileError, match="regular file"):
        fastnn.onnx.export(fastnn.Model([2, 3]), tmp_path)


def test_the_checker_is_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(onnx.checker, "check_model", lambda m, **k: asked.append(k))
    fastnn.onnx.export(fastnn.Model([2, 3]), tmp_path / "model.onnx")
    assert asked == [{"full_check": True}]


def test_a_missing_onnx_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    for call in (
        lambda: fastnn.onnx.export(fastnn.Model([2, 3]), tmp_path / "m.onnx"),
        lambda: fastnn.onnx.load(tmp_path / "m.onnx"),
    ):
        says = r'needs onnx: pip install "fastnn-cpu\[onnx\]"$'
        with pytest.raises(fastnn.MissingExtraError, match=says):
            call()


# --- in: the real other side


def torch_network(torch):
    """Everything that comes from PyTorch, trained enough to have statistics."""
    nn = torch.nn
    torch.manual_seed(7)
    parts = [nn.Flatten(), nn.Linear(12, 7), nn.BatchNorm1d(7), nn.GELU()]
    activations = [
        nn.SiLU(), nn.Mish(), nn.ReLU6(), nn.GELU("tanh"), nn.Hardsigmoid(), nn.Softplus(),
        nn.Hardtanh(), nn.SELU(), nn.ELU(0.5), nn.LeakyReLU(0.2), nn.CELU(0.7), nn.Sigmoid(),
        nn.Tanh(), nn.Hardtanh(-0.3, 2.0), nn.PReLU(init=0.3), nn.ReLU(),
    ]  # fmt: skip
    for i, activation in enumerate(activations):
        parts += [nn.Linear(7, 7, bias=i % 3 > 0), activation]
        parts += [nn.BatchNorm1d(7)] if i % 4 == 2 else [nn.Dropout(0.2)] if i % 4 == 1 else []
    net = nn.Sequential(*parts, nn.Linear(7, 4))
    for _ in range(5):
        net(torch.randn(64, 3, 4))  # moves the running statistics
    return net.eval()


ENDS = {"logits": None, "softmax": "Softmax", "log_softmax": "LogSoftmax"}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("how", ["script", "script, fixed", "dynamo", "dynamo, dynamic", "raw"])
def test_pytorchs_exports(tmp_path, end, how):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if how not in ("script", "script, fixed"):
        pytest.importorskip("onnxscript", reason="onnxscript, which torch.onnx needs, is missing")
    net = torch_network(torch)
    if ENDS[end]:
        net.append(getattr(torch.nn, ENDS[end])(-1))
    x, path = torch.randn(5, 3, 4), tmp_path / "net.onnx"
    options = {
        "script": {"dynamo": False, "dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"]},
        "script, fixed": {"dynamo": False, "opset_version": 13},
        "dynamo": {"dynamo": True, "verbose": False},  # its weights in net.onnx.data
        "dynamo, dynamic": {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("n")},)},
        "raw": {
            "dynamo": True, "optimize": False, "external_data": False,
            "dynamic_shapes": ({0: torch.export.Dim("n")},),
        },
    }[how]  # fmt: skip
    torch.onnx.export(net, (x,), str(path), **options)
    if end == "log_softmax":
        with pytest.raises(fastnn.ModelFileError, match=r"\(LogSoftmax\): .* output='softmax'"):
            fastnn.onnx.load(path)
    model = fastnn.onnx.load(path, output="softmax" if end == "log_softmax" else None)
    with torch.no_grad():
        want = net(x).numpy()
    agree(
        model.forward(x.numpy().reshape(5, 12)),
        np.exp(want) if end == "log_softmax" else want,
        1e-5,
    )
    assert model.output == ("identity" if end == "logits" else "softmax")
    if end == "logits":
        model = fastnn.onnx.load(path, output="softmax", loss=fastnn.Focal(1.0))
        assert (model.output, model.loss) == ("softmax", fastnn.Focal(1.0))
        agree(model.forward(x.numpy().reshape(5, 12)), torch.tensor(want).softmax(1), 1e-5)
    else:
        why = "output='softmax'" if end == "log_softmax" else "output must be left out, the network"
        with pytest.raises(ValueError, match=why):
            fastnn.onnx.load(path, output="sigmoid")


@pytest.mark.parametrize("end", ["softmax", "sigmoid", "linear"])
def test_keras_exports(tmp_path, end):
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("tf2onnx", reason="tf2onnx, which Keras exports with, is not installed")
    L = keras.layers
    names = [
        "silu", "mish", "hard_sigmoid", "softplus", "selu", "elu", "tanh", "relu", "leaky_relu",
        "relu6", "hard_tanh", "gelu", "sigmoid",
    ]  # fmt: skip
    net = keras.Sequential([keras.Input((3, 4)), L.Flatten(), L.Dense(7), L.BatchNormalization()])
    for name in names:
        net.add(L.Dense(7, activation=name))
    net.add(L.Dense(7, activation=lambda x: keras.activations.gelu(x, approximate=True)))
    net.add(L.Dropout(0.3))
    net.add(L.Dense(7, use_bias=False))
    net.add(L.ReLU())
    net.add(L.BatchNormalization())
    net.add(L.Dense(3, activation=end))
    for layer in net.layers:
        for weights in layer.weights:
            if "kernel" not in weights.name and "seed" not in weights.name:
                weights.assign(RNG.uniform(0.1, 1, weights.shape))
    x = RNG.normal(size=(5, 3, 4)).astype(np.float32)
    want = np.asarray(net(x))
    net.export(str(tmp_path / "net.onnx"), format="onnx", verbose=False)
    model = fastnn.onnx.load(tmp_path / "net.onnx")
    agree(model.forward(x.reshape(5, 12)), want, 1e-5)
    assert model.output == {"linear": "identity"}.get(end, end)


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"], [3, 7], [1, 2, 4]])
def test_skl2onnxs_classifiers(tmp_path, classes, zipmap, scaled):
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = (X * 3 + 1).astype(np.float32)
    y = np.array(classes)[RNG.integers(0, len(classes), 50)]
    net = MLPClassifier((9, 5), activation="tanh", max_iter=20, random_state=0)
    net = (make_pipeline(StandardScaler(), net) if scaled else net).fit(x, y)
    options = {id(net): {"zipmap": zipmap}}
    path = tmp_path / "net.onnx"
    path.write_bytes(skl2onnx.to_onnx(net, x[:1], options=options).SerializeToString())
    model = fastnn.onnx.load(path)
    agree(model.predict_proba(x), net.predict_proba(x), 1e-5)
    assert model.metadata["classes"] == classes
    assert (np.array(classes)[model.predict(x)] == net.predict(x)).all()


def test_skl2onnxs_labels_and_values(tmp_path):
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    x, path = X.astype(np.float32), tmp_path / "net.onnx"
    for activation in ("relu", "logistic", "identity"):
        settings = {"hidden_layer_sizes": (9,), "max_iter": 20, "activation": activation}
        net = MLPRegressor(**settings).fit(x, x[:, 0] + 5)
        path.write_bytes(skl2onnx.to_onnx(net, x[:1]).SerializeToString())
        agree(fastnn.onnx.load(path).predict(x), net.predict(x), 1e-5)
        net = MLPClassifier(**settings).fit(x, x[:, :3] > 0)
        path.write_bytes(skl2onnx.to_onnx(net, x[:1]).SerializeToString())
        model = fastnn.onnx.load(path)
        assert (model.output, model.sizes[-1]) == ("sigmoid", 3)
        agree(model.predict_proba(x), net.predict_proba(x), 1e-5)


CLASSES = [("MatMul", "x W", "a", {}), ("Softmax", "a", "p", {}), ("ArgMax", "p", "i", {"axis": 1})]
ZIPMAP = ("ZipMap", "p", "z", {"domain": "ai.onnx.ml", "classlabels_strings": ["a", "b", "c"]})
SIGMOIDS = [("MatMul", "x W", "a", {}), ("Sigmoid", "a", "p", {})]


def test_labels_of_several_each(tmp_path):
    binary = ("Binarizer", "p", "l", {"domain": "ai.onnx.ml", "threshold": 0.5})
    W, x = f32(4, 3), f32(5, 4)
    proto = graph([*SIGMOIDS, binary], {"W": W}, outputs=["l", "p"])
    agree(load(tmp_path, proto).forward(x), 1 / (1 + np.exp(-x @ W)), AGREE)
    proto.graph.node[-1].attribute[0].f = 0.4
    with pytest.raises(fastnn.ModelFileError, match=r"\(Binarizer\): must decide at 1/2"):
        load(tmp_path, proto)


def test_names_in_a_node(tmp_path):
    names = ("Constant", "", "names", {"value_strings": ["a", "b", "c"]})
    nodes = [*CLASSES, names, ("Gather", "names i", "l", {})]
    model = load(tmp_path, graph(nodes, {"W": f32(4, 3)}, outputs=["l", "p"]))
    assert model.metadata == {"classes": ["a", "b", "c"]}


def test_columns_with_names(tmp_path):
    W, x = f32(4, 3), f32(5, 4)
    model = load(tmp_path, graph([*CLASSES[:2], ZIPMAP], {"W": W}, outputs=["z"]))
    assert model.metadata == {"classes": ["a", "b", "c"]}
    agree(model.forward(x), np.exp(x @ W) / np.exp(x @ W).sum(1, keepdims=True), AGREE)


@pytest.mark.parametrize(
    "nodes, outputs, message",
    [
        (CLASSES, ["i"], "must have an output of numbers"),
        (
            [*CLASSES[:1], ("Relu", "a", "y", {}), ("ArgMax", "a", "i", {"axis": 1})],
            ["y", "i"],
            "must decide on labels by its output, got others",
        ),
        (
            [*CLASSES, ZIPMAP, ("Identity", "z", "y", {})],
            ["y"],
            "columns with names must be an output",
        ),
        (
            [*SIGMOIDS, ("Sub", "one p", "q", {}), ("Concat", "q p", "y", {"axis": 1})],
            ["y"],
            r"\(Concat\): joins branches",
        ),
        (
            [("MatMul", "x w", "a", {}), ("Sub", "one a", "q", {}),
             ("Concat", "q a", "y", {"axis": 1})],
            ["y"],
            r"\(Concat\): joins branches",  # 1 - a and a, of no sigmoid
        ),
        (
            [("MatMul", "x w", "a", {}), ("Sigmoid", "a", "p", {}), ("Sub", "two p", "q", {}),
             ("Concat", "q p", "y", {"axis": 1})],
            ["y"],
            r"\(Concat\): joins branches",  # 2 - p and p
        ),
        (
            [*SIGMOIDS, ("Mul", "p p", "q", {}), ("Greater", "q nought", "g", {}),
             ("Cast", "g", "l", {"to": TensorProto.INT64})],
            ["p", "l"],
            r"\(Cast\): must be a sigmoid's probability above 1/2",  # unless it is 0
        ),
    ],
)  # fmt: skip
def test_labels_that_a_model_would_not_give(tmp_path, nodes, outputs, message):
    constants = {"W": f32(4, 3), "w": f32(4, 1), "one": np.float32(1), "two": np.float32(2)}
    constants["nought"] = np.float32(0)
    with pytest.raises(fastnn.ModelFileError, match=message):
        load(tmp_path, graph(nodes, constants, outputs=outputs))


# --- in: the onnx package's own node tests

OPERATORS = [
    "Gemm", "MatMul", "Add", "BatchNormalization", "Dropout", "Identity", "Flatten", "Reshape",
    "Cast", "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Gelu",
    "HardSigmoid", "Softmax", "LogSoftmax", "Celu", "Clip", "Exp", "Mish", "PRelu", "Swish",
]  # fmt: skip
BRANCHES = "adds two inputs: branches"
ROW = "not over the entries of each row alone, or entries change their row"
TRAINING = "training mode"
OTHER_TYPE = "to or from a type that rounds, or that is no number"
# Of the cases with one of these operators alone, those a sequential network cannot express.
# A case ends in its operator's function body where it is called _expanded; these are written in
# other operators, and are in EXPANDED below.
EXCLUDED = {
    **dict.fromkeys(
        ["add", "add_int8", "add_int16", "add_uint8", "add_uint16", "add_uint32", "add_uint64"],
        BRANCHES,
    ),
    "batchnorm_example_training_mode": TRAINING,
    "batchnorm_epsilon_training_mode": TRAINING,
    **{
        f"training_dropout{name}": TRAINING
        for name in (
            "", "_default", "_mask", "_default_mask", "_zero_ratio", "_zero_ratio_mask",
        )
    },
    **{
        f"flatten_{name}": ROW
        for name in (
            "axis0", "axis2", "axis3", "negative_axis1", "negative_axis2", "negative_axis4",
        )
    },
    **{
        f"reshape_{name}": ROW
        for name in (
            "reordered_all_dims", "one_dim", "negative_extended_dims", "allowzero_reordered",
        )
    },
    **{
        f"{kind}_{name}": ROW
        for kind in ("softmax", "logsoftmax")
        for name in ("axis_0", "axis_1", "axis_2", "negative_axis", "default_axis")
    },
    "gemm_default_matrix_bias": "a bias for each row of the batch",
    **{
        f"matmul_{name}": "a W of other than two dimensions"
        for name in ("3d", "4d", "bcast", "1d_1d", "1d_3d", "4d_1d")
    },
    "clip_min_greater_than_max": "a constant, whatever comes in",
    "prelu_example": "a slope for each entry",
    "prelu_broadcast": "a slope for each entry",
    **dict.fromkeys(["dropout_default_mask", "dropout_default_mask_ratio"], "a mask as well"),
    "mish": "10,000 inputs and no linear layer: its diagonal W would hold 10^8 numbers",
    "identity_sequence": OTHER_TYPE,
    "identity_opt": OTHER_TYPE,
}  # fmt: skip


def node_cases():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    for case in cases:
        if case.model is not None:
            yield case.name.removeprefix("test_"), case


@pytest.fixture(scope="module")
def nodes():
    return dict(node_cases())


def loaded(case, path):
    """fastnn's outputs and the case's own; every input but the first is a constant."""
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    inputs, outputs = (
        [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in values]
        for values in case.data_sets[0]
    )
    for value, entry in list(zip(inputs, proto.graph.input, strict=False))[1:]:
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), entry.name))
    path.write_bytes(proto.SerializeToString())
    log = case.name.startswith("test_logsoftmax")
    model = fastnn.onnx.load(path, output="softmax" if log else None)
    x, want = np.asarray(inputs[0]), np.asarray(outputs[0])
    x = x if x.dtype.kind in "buif" else x.astype(np.float32)  # bfloat16 and narrower
    if case.name.startswith("test_cast"):  # their data have NaN and infinities
        odd = ~(np.isfinite(x) & np.isfinite(want))
        x, want = np.where(odd, 0, x), np.where(odd, 0, want)
    (node,) = proto.graph.node[:1]
    if any(one.name == "transA" and one.i for one in node.attribute):
        x = x.T
    x = x[None] if x.ndim == 1 else x.reshape(len(x), -1)
    f = model.forward(x)
    want = np.exp(want) if log else want
    return f, want.reshape(f.shape)


def test_node_tests(nodes, tmp_path):
    """All that a sequential network can express pass; the rest is excluded by name and reason."""
    counts, wrong, left = {}, [], set(EXCLUDED)
    for name, case in nodes.items():
        kinds = [node.op_type for node in case.model.graph.node]
        if len(kinds) != 1 or kinds[0] not in OPERATORS or "_expanded" in name:
            continue
        excluded = name in EXCLUDED or (kinds == ["Cast"] and not between_floats(name))
        left.discard(name)
        try:
            got, want = loaded(case, tmp_path / "node.onnx")
            tolerance = 1e-5 if "float16" not in name.lower() else 5e-3  # bfloat16 has 8 bits
            same = np.allclose(got, want, rtol=tolerance, atol=tolerance)
            problem = None if same else "wrong"
        except (ValueError, TypeError) as error:
            problem = str(error)
        if (problem is None) == excluded:  # excluded ones must fail: the list stays true
            wrong.append((name, problem))
        if problem is None:
            counts[kinds[0]] = counts.get(kinds[0], 0) + 1
    assert not wrong
    assert set(OPERATORS) - set(counts) <= {"Mish", "PRelu"}, counts
    assert len(left) < len(EXCLUDED) / 2, left  # older packages have not all of them


def between_floats(name):
    return re.fullmatch(r"cast_.*_to_B?(FLOAT|FLOAT16|DOUBLE)", name) and "STRING" not in name


def test_node_tests_of_function_bodies(nodes, tmp_path):
    """Operators spelt out in others: right, or refused with the node's name."""
    passed = 0
    for name, case in nodes.items():
        functions = ("gelu", "elu", "celu", "mish", "swish", "relu", "leakyrelu", "clip", "selu")
        if "_expanded" not in name or not name.startswith(functions):
            continue
        try:
            got, want = loaded(case, tmp_path / "node.onnx")
        except fastnn.ModelFileError as error:
            assert "node '" in str(error) or "must follow a linear layer" in str(error), (
                name,
                error,
            )
            continue
        tolerance = 1e-3 if "float16" in name else 1e-5
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=name)
        passed += 1
    assert passed > 10


# --- graphs by hand


def graph(nodes, constants, inputs=(("x", ["n", 4]),), outputs=("y",), opset=17, **more):
    """A ModelProto. constants: name -> array."""
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    made = helper.make_graph(
        [helper.make_node(op, ins.split(), outs.split(), f"the_{op}", **attributes)
         for op, ins, outs, attributes in nodes], "g", infos, ends, tensors,
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], **more)


def load(tmp_path, proto, **options):
    path = tmp_path / "graph.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return fastnn.onnx.load(path, **options)


def f32(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("transA", [0, 1])
@pytest.mark.parametrize("transB", [0, 1])
@pytest.mark.parametrize("alpha, beta", [(1.0, 1.0), (0.5, -2.0), (2.0, 0.0)])
@pytest.mark.parametrize("C", [None, (), (1,), (3,), (1, 3)])
def test_gemm(tmp_path, transA, transB, alpha, beta, C):
    W = f32(3, 4) if transB else f32(4, 3)
    constants = {"W": W} if C is None else {"W": W, "C": f32(*C)}
    options = {"transA": transA, "transB": transB, "alpha": alpha, "beta": beta}
    proto = graph(
        [("Gemm", "x W" + " C" * (C is not None), "y", options)], constants,
        inputs=[("x", [4, "n"] if transA else ["n", 4])],
    )  # fmt: skip
    x = f32(5, 4)
    want = alpha * x @ (W.T if transB else W) + beta * constants.get("C", np.float32(0))
    agree(load(tmp_path, proto).forward(x), want, AGREE)


@pytest.mark.parametrize("c", [(3, 1), (1, 1), ()])
def test_samples_in_columns(tmp_path, c):
    W, V, b = f32(3, 4), f32(2, 3), f32(*c)
    nodes = [
        ("Transpose", "x", "t", {}),
        ("Gemm", "W t b", "a", {}),
        ("Tanh", "a", "h", {}),
        ("MatMul", "V h", "z", {}),
        ("Transpose", "z", "y", {}),
    ]
    x = f32(5, 4)
    want = (V @ np.tanh(W @ x.T + b)).T
    agree(load(tmp_path, graph(nodes, {"W": W, "V": V, "b": b})).forward(x), want, AGREE)
    agree(
        load(tmp_path, graph(nodes[:-1], {"W": W, "V": V, "b": b}, outputs=["z"])).forward(x),
        want,
        AGREE,
    )


def test_what_is_left_out_and_folded(tmp_path):
    W, b, x = f32(12, 3), f32(3), f32(5, 3, 4)
    nodes = [
        ("Identity", "x", "i", {}),
        ("Cast", "i", "c", {"to": TensorProto.DOUBLE}),
        ("Shape", "c", "s", {}),
        ("Slice", "s zero one", "batch", {}),
        ("Concat", "batch rest", "flat", {"axis": 0}),
        ("Reshape", "c flat", "r", {}),
        ("Sub", "r mean", "m", {}),
        ("Div", "m two", "d", {}),
        ("Transpose", "Wt", "W", {"perm": [1, 0]}),
        ("MatMul", "d W", "a", {}),
        ("Add", "b a", "z", {}),
        ("Dropout", "z", "y", {}),
    ]
    constants = {
        "Wt": W.T, "b": b, "mean": np.arange(12, dtype=np.float32), "two": np.float32(2),
        "zero": np.array([0]), "one": np.array([1]), "rest": np.array([-1]),
    }  # fmt: skip
    model = load(tmp_path, graph(nodes, constants, inputs=[("x", ["n", 3, 4])]))
    assert model.sizes == [12, 3]  # all of it in one layer
    agree(model.forward(x.reshape(5, 12)), ((x.reshape(5, 12) - np.arange(12)) / 2) @ W + b, AGREE)


BODIES = {
    "silu": [("Sigmoid", "a", "s", {}), ("Mul", "s a", "y", {})],
    "mish": [("Softplus", "a", "s", {}), ("Tanh", "s", "t", {}), ("Mul", "a t", "y", {})],
    "gelu": [
        ("Div", "a root2", "s", {}), ("Erf", "s", "e", {}), ("Identity", "e", "i", {}),
        ("Add", "i one", "p", {}), ("Mul", "a half", "h", {}), ("Mul", "h p", "y", {}),
    ],
    "gelu_tanh": [
        ("Pow", "a three", "c", {}), ("Mul", "c cubic", "k", {}), ("Add", "a k", "s", {}),
        ("Mul", "s root", "t", {}), ("Tanh", "t", "u", {}), ("Add", "u one", "v", {}),
        ("Mul", "a v", "w", {}), ("Mul", "w half", "y", {}),
    ],
    "relu": [("Max", "a nought", "y", {})],
    "leaky_relu": [("Mul", "a cubic", "s", {}), ("Max", "a s", "y", {})],
    "hard_tanh": [("Min", "a one", "s", {}), ("Max", "s minus", "y", {})],
}  # fmt: skip
NUMBERS = {
    "one": 1, "half": 0.5, "three": 3, "root2": np.sqrt(2), "cubic": 0.044715,
    "root": np.sqrt(2 / np.pi), "nought": 0, "minus": -1,
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_activations_spelt_out(tmp_path, name):
    W, x = f32(4, 3), f32(200, 4)
    constants = {key: np.float32(value) for key, value in NUMBERS.items()}
    nodes = [("MatMul", "x W", "a", {}), *BODIES[name]]
    model = load(tmp_path, graph(nodes, constants | {"W": W}))
    wanted = fastnn.LeakyReLU(0.044715) if name == "leaky_relu" else name
    assert (model.output, model.sizes) == (wanted, [4, 3])
    twin = fastnn.Model([4, 3], output=wanted, init=[W.T])
    agree(model.forward(x), twin.forward(x), AGREE)


def test_what_only_looks_like_an_activation(tmp_path):
    W = f32(4, 3)
    nodes = [
        ("MatMul", "x W", "a", {}),
        ("Relu", "a", "r", {}),
        ("Min", "r limit", "y", {}),  # a relu, up to 500
    ]
    x = f32(50, 4) * 1000
    model = load(tmp_path, graph(nodes, {"W": W, "limit": np.float32(500)}))
    agree(model.forward(x) / 1000, np.clip(x @ W, 0, 500) / 1000, AGREE)
    nodes[-1] = ("Mul", "r r", "y", {})
    with pytest.raises(fastnn.ModelFileError, match=r"node 'the_Mul' \(Mul\): what it computes is"):
        load(tmp_path, graph(nodes, {"W": W}))


REFUSED = {
    "an unknown operator": (
        [("MatMul", "x W", "a", {}), ("Softsign", "a", "y", {})],
        r"node 'the_Softsign' \(Softsign\): fastnn has no such operator",
    ),
    "a residual": (
        [("MatMul", "x V", "a", {}), ("Add", "a x", "y", {})],
        r"node 'the_Add' \(Add\): joins branches: a sequential network has none",
    ),
    "two inputs": (
        [("MatMul", "x z", "y", {})],
        "must have one input, got 2: x, z",
    ),
    "a softmax over samples": (
        [("MatMul", "x W", "a", {}), ("Softmax", "a", "y", {"axis": 0})],
        r"node 'the_Softmax' \(Softmax\): must be over the 3 entries of each row, got axis 0",
    ),
    "a softmax inside": (
        [("Softmax", "x", "a", {}), ("MatMul", "a W", "y", {})],
        r"node 'the_Softmax' \(Softmax\): softmax must be the network's output",
    ),
    "a slope below 0": (
        [("LeakyRelu", "x", "y", {"alpha": -0.1})],
        r"node 'the_LeakyRelu' \(LeakyRelu\): slope must be at least 0 and finite, got -0.1",
    ),
    "a norm in training": (
        [("BatchNormalization", "x v v v v", "y m u", {"training_mode": 1})],
        r"node 'the_BatchNormalization' \(BatchNormalization\): must not be in training mode",
    ),
    "widths that do not fit": (
        [("MatMul", "x U", "y", {})],
        r"node 'the_MatMul' \(MatMul\): must have 4 inputs, its W has 3",
    ),
    "rows that mix": (
        [("Reshape", "x shape", "r", {}), ("MatMul", "r W", "y", {})],
        r"node 'the_Reshape' \(Reshape\): must keep each row's 4 entries in its row",
    ),
    "two probabilities as data": (
        [
            ("MatMul", "x w", "a", {}),
            ("Sigmoid", "a", "p", {}),
            ("Sub", "one p", "q", {}),
            ("Concat", "q p", "both", {"axis": 1}),
            ("MatMul", "both T", "y", {}),
        ],
        r"node 'the_MatMul' \(MatMul\): the two probabilities of a sigmoid must be an output",
    ),
    "whole numbers": (
        [("Cast", "x", "i", {"to": TensorProto.INT64}), ("MatMul", "i W", "y", {})],
        r"node 'the_Cast' \(Cast\): must cast to FLOAT, DOUBLE, FLOAT16 or BFLOAT16, got INT64",
    ),
    "no way from the input": ([("Identity", "W", "y", {})], "must be numbers for each row"),
    "a name nobody gives": ([("Relu", "q", "y", {})], "'q' is no value"),
    "not a number": (
        [("MatMul", "x N", "y", {})],
        r"node 'the_MatMul' \(MatMul\): must have finite constants",
    ),
    "another domain": (
        [("MatMul", "x W", "a", {}), ("Gelu", "a", "y", {"domain": "com.example"})],
        "operators of 'com.example' are not known",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_node_operator_and_reason(tmp_path, what):
    nodes, message = REFUSED[what]
    constants = {
        "W": f32(4, 3), "V": f32(4, 4), "U": f32(3, 3), "v": np.ones(4, np.float32),
        "shape": np.array([-1, 2, 4]), "N": np.full((4, 3), np.nan, np.float32),
        "w": f32(4, 1), "one": np.float32(1), "T": f32(2, 3),
    }  # fmt: skip
    inputs = [("x", ["n", 4]), ("z", [4, 4])][: 1 + (what == "two inputs")]
    with pytest.raises(fastnn.ModelFileError, match=message) as error:
        load(tmp_path, graph(nodes, constants, inputs=inputs))
    assert "graph.onnx: " in str(error.value)


SPARSE = helper.make_sparse_tensor(
    numpy_helper.from_array(np.float32([1]), "values"),
    numpy_helper.from_array(np.array([0]), "indices"),
    [4],
)


def test_messages_are_ours(tmp_path):
    """What is refused, and why, in words; no other library's, and no warning."""
    W = f32(4, 3)
    branch = helper.make_graph([], "g", [], [helper.make_empty_tensor_value_info("W")])
    for nodes, why in (
        ([("Expand", "W shape", "V", {}), ("MatMul", "x V", "y", {})], "(Expand): fastnn has no"),
        ([("ConstantOfShape", "shape", "V", {}), ("MatMul", "x V", "y", {})], "(ConstantOfShape)"),
        ([("DequantizeLinear", "W one", "V", {}), ("MatMul", "x V", "y", {})], "fastnn has no"),
        ([("If", "yes", "V", {"then_branch": branch, "else_branch": branch}),
          ("MatMul", "x V", "y", {})], "(If): fastnn has no such operator"),
        ([("Softmax", "W", "V", {}), ("MatMul", "x V", "y", {})],
         "(Softmax): fastnn does not compute Softmax of constants"),
        ([("Add", "W five", "V", {}), ("MatMul", "x V", "y", {})],
         "(Add): cannot be computed of constants of shapes (4, 3), (5,)"),
        ([("Add", "x five", "y", {})],
         "(Add): must have a constant that fits its data (batch, 4), got shape (5,)"),
        ([("Add", "x deep", "y", {})], "a constant of at most 2 dimensions, got shape (1, 1, 1)"),
        ([("Div", "x nought", "y", {})], "(Div): must divide by numbers other than 0"),
        ([("Mul", "x nan", "y", {})], "(Mul): must have finite constants"),
        ([("BatchNormalization", "x v v v minus", "y", {})],
         "(BatchNormalization): must have variances above 0"),
        ([("Exp", "big", "V", {}), ("MatMul", "x V", "y", {})], "(MatMul): must have finite"),
        ([("Celu", "x", "y", {"alpha": 0.0})], "(Celu): alpha must be above 0, got 0"),
        ([("Elu", "x", "y", {"alpha": 1})], "(Elu): attribute alpha must be of type float, got 1"),
        ([("Relu", "x", "y", {}), ("Tanh", "x", "y", {})], "(Tanh): must give names that are not"),
        ([("Add", "x", "y", {})], "(Add): must have 2 inputs, got 1"),
        ([("Constant", "", "c", {"sparse_value": SPARSE}), ("Mul", "x c", "y", {})],
         "(Constant): its value must be a tensor or numbers"),
        ([("Identity", "", "c", {}), ("Mul", "x c", "y", {})], "(Identity): must have an input"),
        ([("Neg", "words", "c", {}), ("Mul", "x c", "y", {})], "must have numbers for constants"),
        ([("Sqrt", "shape", "c", {}), ("Mul", "x c", "y", {})],
         "(Sqrt): must have floats for constants, got int64"),
        ([("Div", "shape whole", "c", {}), ("Reshape", "x c", "y", {})],
         "(Div): must divide by numbers other than 0"),
        ([("Cast", "one", "c", {"to": TensorProto.STRING}), ("Mul", "x c", "y", {})],
         "(Cast): must cast to numbers, got type 8"),
        ([("Cast", "words", "c", {"to": TensorProto.FLOAT}), ("Mul", "x c", "y", {})],
         "(Cast): must cast numbers to numbers"),
        ([("Cast", "big", "c", {"to": TensorProto.INT8}), ("Reshape", "x c", "y", {})],
         "(Cast): must cast numbers that int8 has"),
        ([("Reshape", "v less", "c", {}), ("Mul", "x c", "y", {})],
         "(Reshape): must have a shape of numbers from -1, got [-2, 2]"),
        ([("PRelu", "v x", "y", {})], "(PRelu): its first input must be data"),
        ([("PRelu", "x deep", "y", {})],
         "(PRelu): must have slopes of its data's dimensions, got shape (1, 1, 1)"),
        ([("Add", "x words", "y", {})], "(Add): must have numbers for constants, got object"),
        ([("Abs", "x", "e", {}), ("Cast", "e", "y", {"to": TensorProto.INT64})],
         "(Cast): must cast to FLOAT, DOUBLE, FLOAT16 or BFLOAT16, got INT64"),
        ([("Cast", "x", "y", {"to": TensorProto.STRING})], "must cast to numbers, got STRING"),
        ([("CastLike", "x", "y", {})], "(CastLike): must cast to the type of data or constants"),
        ([("Squeeze", "x", "y", {})], "(Squeeze): must name the axes to squeeze"),
        ([("Squeeze", "x at1", "y", {})],
         "(Squeeze): must squeeze axes of length 1 after the first, got [1]"),
        ([("BatchNormalization", "x v v v five", "y", {})], "(BatchNormalization): must have "
         "vectors for scale, bias, mean and variance, got [(4,), (4,), (4,), (5,)]"),
        ([("MatMul", "x x", "y", {})], "(MatMul): must multiply data by a constant"),
        ([("Clip", "x v", "y", {})],
         "(Clip): its input 2 must be one number, got float32 of shape (4,)"),
        ([("Reshape", "v x", "y", {})], "(Reshape): its first input must be data"),
        ([("Reshape", "x thirds", "y", {})],
         "(Reshape): must keep each row's 4 entries in its row, got shape [0, -1, 3]"),
        ([("Reshape", "x one", "y", {})],
         "(Reshape): its input 2 must be a list of integers, got float32 of shape ()"),
        ([("ArgMax", "x", "i", {"axis": 1}), ("Add", "x i", "y", {})],
         "(Add): must have data and constants for its inputs"),
        ([("ArgMax", "x", "i", {"axis": 1}), ("Gather", "i shape", "y", {})],
         "(Gather): its input 2 must be labels"),
        ([("ArgMax", "x", "i", {"axis": 1}), ("Neg", "i", "y", {})],
         "(Neg): labels must be an output"),
        ([("ArgMax", "x", "i", {"axis": 1}), ("Gather", "W i", "y", {})],
         "(Gather): must pick from a vector of names"),
        ([("Swish", "x", "y", {"alpha": 0.0})], "(Swish): its factor must not be 0"),
        ([("Mul", "x x", "x0", {}), *(("Mul", f"x{i} x", f"x{i + 1}", {}) for i in range(64)),
          ("Relu", "x64", "y", {})], "(Mul): must follow fewer functions of the same entries"),
    ):  # fmt: skip
        constants = {
            "W": W, "shape": np.array([4, 3]), "one": np.float32(1), "five": f32(5),
            "deep": f32(1, 1, 1), "nought": np.float32([1, 0, 1, 1]), "nan": np.float32(np.nan),
            "v": np.ones(4, np.float32), "minus": np.float32([1, -1, 1, 1]), "yes": np.array(True),
            "big": np.full((4, 3), 1e3, np.float32), "words": np.array(["a"], object),
            "whole": np.array([1, 0]), "less": np.array([-2, 2]), "at1": np.array([1]),
            "thirds": np.array([0, -1, 3]),
        }  # fmt: skip
        with warnings.catch_warnings(), pytest.raises(fastnn.ModelFileError) as error:
            warnings.simplefilter("error")
            load(tmp_path, graph(nodes, constants))
        assert "node 'the_" in str(error.value) and why in str(error.value), (why, error.value)
    proto = graph([("MatMul", "x W", "y", {})], {"W": W})
    proto.graph.initializer[0].dims[0] = -4
    with pytest.raises(fastnn.ModelFileError, match=r"'W' must have dimensions from 0, got \[-4"):
        load(tmp_path, proto)


THRESHOLDS = [0.03, 0.039, 1e-3, 1e-6, 7.0, 100.0, -0.03]


@pytest.mark.parametrize(
    "kind, threshold",
    [
        (kind, threshold)
        for kind in ("where", "max", "steep", "bell", "square", "pole")
        for threshold in (*THRESHOLDS, *[1e30] * (kind in ("where", "max", "steep")))
    ],
)
def test_functions_are_told_apart_at_their_edges(tmp_path, threshold, kind):
    """Not a relu: a threshold, a floor, a smooth step a little off 0, a narrow hill beside it."""
    nodes = {
        "where": [("Greater", "a t", "b", {}), ("Where", "b a nought", "y", {})],
        "max": [("Max", "a nought", "h", {}), ("Max", "h t", "y", {})],
        "steep": [
            ("Sub", "a t", "d", {}), ("Mul", "d k", "e", {}), ("Sigmoid", "e", "s", {}),
            ("Mul", "a s", "y", {}),
        ],
        "bell": [  # a relu, and a narrow bell
            ("Sub", "a t", "d", {}), ("Mul", "d k", "e", {}), ("Pow", "e two", "q", {}),
            ("Neg", "q", "m", {}), ("Exp", "m", "g", {}), ("Relu", "a", "r", {}),
            ("Add", "r g", "y", {}),
        ],
        "square": [  # the same, its square multiplied out
            ("Mul", "a a", "aa", {}), ("Mul", "a tt", "at", {}), ("Sub", "aa at", "p", {}),
            ("Add", "p t2", "q", {}), ("Mul", "q kk", "m", {}), ("Exp", "m", "g", {}),
            ("Relu", "a", "r", {}), ("Add", "r g", "y", {}),
        ],
        "pole": [
            ("Sub", "a t", "d", {}), ("Mul", "d k", "e", {}), ("Mul", "e e", "q", {}),
            ("Add", "q one", "p", {}), ("Div", "one p", "g", {}), ("Relu", "a", "r", {}),
            ("Add", "r g", "y", {}),
        ],
    }[kind]  # fmt: skip
    constants = {"tt": np.float32(2 * threshold), "t2": np.float32(threshold**2)}
    constants |= {"kk": np.float32(-1e8), "one": np.float32(1), "two": np.float32(2)}
    constants |= {"W": np.eye(4, dtype=np.float32), "nought": np.float32(0)}
    constants |= {"t": np.float32(threshold), "k": np.float32(1e4)}
    proto = graph([("MatMul", "x W", "a", {}), *nodes], constants)
    if kind == "max":
        x = np.float32(threshold) * (1 + np.float32([[0, 1e-5, -1e-5, -0.5]]))
        f = load(tmp_path, proto).forward(x)
        agree(f / threshold, np.maximum(np.maximum(x, 0), threshold) / threshold, AGREE)
    else:
        with pytest.raises(fastnn.ModelFileError, match="is none of fastnn's activations"):
            load(tmp_path, proto)


def test_an_edge_that_is_only_touched(tmp_path):
    """x, but where x x is not above 0: there may be any number beside it that no point finds."""
    nodes = [
        ("MatMul", "x W", "a", {}),
        ("Mul", "a a", "q", {}),
        ("Greater", "q nought", "b", {}),
        ("Where", "b a nought", "y", {}),
    ]
    with pytest.raises(fastnn.ModelFileError, match=r"\(Where\): what it computes is none of"):
        load(tmp_path, graph(nodes, {"W": f32(4, 3), "nought": np.float32(0)}))


@pytest.mark.parametrize("limit, slope", [("POINTS_MAX", 0.0371), ("ROUNDS_MAX", 0.0372)])
def test_looking_at_functions_has_an_end(tmp_path, monkeypatch, limit, slope):
    nodes = [("MatMul", "x W", "a", {}), ("Mul", "a s", "b", {}), ("Max", "a b", "y", {})]
    constants = {"W": f32(4, 3), "s": np.float32(slope)}
    monkeypatch.setattr(f"fastnn.onnx.functions.{limit}", 10)
    with pytest.raises(fastnn.ModelFileError, match=r"\(Max\): what it computes is none of"):
        load(tmp_path, graph(nodes, constants))
    monkeypatch.undo()
    constants["s"] = np.float32(slope + 0.01)
    output = load(tmp_path, graph(nodes, constants)).output
    assert output == fastnn.LeakyReLU(float(str(constants["s"])))


def test_integers_are_computed_as_integers(tmp_path):
    nodes = [
        ("Div", "seven two", "q", {}),
        ("Cast", "q", "c", {"to": TensorProto.FLOAT}),
        ("Mul", "x c", "y", {}),
    ]
    constants = {"seven": np.array([7, -7, 6, 1]), "two": np.array(2)}
    x = f32(5, 4)
    agree(load(tmp_path, graph(nodes, constants)).forward(x), x * [3, -3, 3, 0], AGREE)
    nodes[0] = ("Cast", "broken", "q", {"to": TensorProto.INT32})
    constants["broken"] = np.float32([1.7, -1.7, 0.5, -0.2])
    agree(load(tmp_path, graph(nodes, constants)).forward(x), x * [1, -1, 0, 0], AGREE)
    proto = graph([("Div", "x two", "q", {}), *nodes[1:2], ("Mul", "c c", "y", {})], constants)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(fastnn.ModelFileError, match=r"\(Div\): its data are int64, they must"):
        load(tmp_path, proto)


FOLDED = {  # what operators make of constants, by which x is then multiplied
    "quotients": ([("Div", "v half", "c", {})], [2, 4, 6, 8]),
    "short floats": ([("Cast", "third", "c", {"to": TensorProto.FLOAT16})], np.float16(1 / 3)),
    "the type of another": (
        [("CastLike", "seven half", "a", {}), ("Div", "a v", "c", {})],
        [7, 3.5, 7 / 3, 1.75],
    ),
    "axes": ([("Squeeze", "row first", "c", {})], [1, 2, 3, 4]),
    "all axes": ([("Squeeze", "row", "c", {})], [1, 2, 3, 4]),
    "a part": ([("Slice", "v first three", "c", {})], [1, 2, 3]),
    "the last first": ([("Slice", "v last least first last", "c", {})], [4, 3, 2, 1]),
    "sizes": (
        [("Shape", "row", "s", {}), ("Cast", "s", "c", {"to": TensorProto.FLOAT})],
        [1, 4],
    ),
    "some sizes": (
        [("Shape", "row", "s", {"start": 1}), ("Cast", "s", "c", {"to": TensorProto.FLOAT})],
        [4],
    ),
    "a shape": ([("Reshape", "row last", "a", {}), ("Transpose", "a", "c", {})], [1, 2, 3, 4]),
}


@pytest.mark.parametrize("what", FOLDED)
def test_operators_of_constants(tmp_path, what):
    nodes, want = FOLDED[what]
    want = np.atleast_1d(np.float64(want))
    constants = {
        "v": np.float32([1, 2, 3, 4]), "row": np.float32([[1, 2, 3, 4]]), "half": np.float32(0.5),
        "third": np.float32(1 / 3), "seven": np.array(7), "first": np.array([0]),
        "three": np.array([3]), "last": np.array([-1]), "least": np.array([-100]),
    }  # fmt: skip
    x = f32(5, len(want))
    proto = graph([*nodes, ("Mul", "x c", "y", {})], constants, inputs=[("x", ["n", len(want)])])
    agree(load(tmp_path, proto).forward(x), x * want, AGREE)


@pytest.mark.parametrize("half", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_casts_to_short_floats(tmp_path, half):
    """As converters leave them that keep float inputs and outputs."""
    nodes = [
        ("Cast", "x", "h", {"to": half}),
        ("MatMul", "h W", "a", {}),
        ("Cast", "a", "y", {"to": TensorProto.FLOAT}),
    ]
    W, x = f32(4, 3), f32(5, 4)
    proto = graph(nodes, {})
    tensor = numpy_helper.from_array(W, "W")
    if half == TensorProto.FLOAT16:
        tensor = numpy_helper.from_array(W.astype(np.float16), "W")
    proto.graph.initializer.append(tensor)
    agree(load(tmp_path, proto).forward(x), x @ W, 2e-3)


@pytest.mark.parametrize("mean", [0, 1e3, 1e5, 1e6])
def test_a_mean_far_from_0(tmp_path, mean):
    """Folded, x and its mean cancel only after the product: in float32 they would leave little."""
    W, b = f32(4, 3), f32(3)
    nodes = [
        ("Sub", "x mean", "m", {}),
        ("Div", "m ten", "d", {}),
        ("Gemm", "d W b", "y", {}),
    ]
    constants = {"W": W, "b": b, "mean": np.full(4, mean, np.float32), "ten": np.float32(10)}
    x = (mean + 10 * f32(50, 4)).astype(np.float32)
    model = load(tmp_path, graph(nodes, constants))
    agree(model.forward(x), (x.astype(float) - mean) / 10 @ W + b, 1e-4)
    assert model.dtype == ("float64" if mean > 1e4 else "float32")


@pytest.mark.parametrize("limits", [(-1e6, 1.0), (-1e6, 1e6), (-3.4028235e38, 6.0), (None, 1e6)])
def test_wide_clips_keep_their_digits(tmp_path, limits):
    names = ["" if one is None else name for one, name in zip(limits, ("low", "high"), strict=True)]
    proto = graph([("MatMul", "x W", "a", {}), ("Clip", "a low high", "y", {})], {"W": f32(4, 3)})
    proto.graph.node[1].input[1:] = names
    for one, name in zip(limits, names, strict=True):
        if name:
            proto.graph.initializer.append(numpy_helper.from_array(np.float32(one), name))
    x = f32(50, 4)
    want = np.clip(x @ numpy_helper.to_array(proto.graph.initializer[0]), *limits)
    agree(load(tmp_path, proto).forward(x), want, 1e-5)


def test_views_by_the_size_of_the_batch(tmp_path):
    """x.view(x.size(0), -1), by PyTorch's TorchScript exporter with a dynamic batch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Net(torch.nn.Module):
        def __init__(self, view):
            super().__init__()
            self.linear, self.view = torch.nn.Linear(12, 3), view

        def forward(self, x):
            return self.linear(self.view(x))

    x = torch.randn(5, 3, 4)
    for view in (
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2]),
        lambda x: x.view(-1, x.size(1) * x.size(2)),
        lambda x: x.flatten(1),
    ):
        net, path = Net(view).eval(), tmp_path / "net.onnx"
        options = {"dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"], "dynamo": False}
        torch.onnx.export(net, (x[:2],), str(path), **options)
        model = fastnn.onnx.load(path)
        agree(model.forward(x.numpy().reshape(5, 12)), net(x).detach().numpy(), 1e-5)


ROWS = {  # an input's shape, nodes, and their f of x (5, 4)
    "nothing known": (
        None,
        [("Reshape", "x keep", "r", {}), ("MatMul", "r W", "y", {})],
        lambda x, W: x @ W,
    ),
    "one row alone": (
        [4],
        [("Add", "x v", "a", {}), ("Relu", "a", "y", {})],
        lambda x, W: np.maximum(x + np.arange(1, 5), 0),
    ),
    "no name for the mask": (
        ["n", 4],
        [("Dropout", "x", "d -", {}), ("MatMul", "d W", "y", {})],
        lambda x, W: x @ W,
    ),
}


@pytest.mark.parametrize("what", ROWS)
def test_shapes_of_inputs(tmp_path, what):
    shape, nodes, f = ROWS[what]
    constants = {"W": f32(4, 3), "v": np.float32([1, 2, 3, 4]), "keep": np.array([0, -1])}
    proto = graph(nodes, constants, inputs=[("x", shape)])
    proto.graph.node[0].output[:] = [n.strip("-") for n in proto.graph.node[0].output]
    x = f32(5, 4)
    agree(load(tmp_path, proto).forward(x), f(x, constants["W"]), AGREE)


@pytest.mark.parametrize(
    "shape, message",
    [
        (["n"], r"input 'x' must have two dimensions, got \[None\]"),
        (["n", 4, None], r"\(BatchNormalization\): the widths of its input must be known"),
    ],
)
def test_shapes_that_tell_too_little(tmp_path, shape, message):
    proto = graph(
        [("BatchNormalization", "x v v v v", "y", {})],
        {"v": np.ones(4, np.float32)},
        inputs=[("x", shape)],
    )
    with pytest.raises(fastnn.ModelFileError, match=message):
        load(tmp_path, proto)


def test_functions_of_a_files_own_are_refused(tmp_path):
    """Also where one is called as an operator is."""
    proto = graph([("MatMul", "x W", "a", {}), ("Relu", "a", "y", {})], {"W": f32(4, 3)})
    body = helper.make_node("Neg", ["u"], ["v"])
    own = helper.make_function("", "Relu", ["u"], ["v"], [body], list(proto.opset_import))
    proto.functions.append(own)
    with pytest.raises(fastnn.ModelFileError, match=r"\(Relu\): is a function of the file's own"):
        load(tmp_path, proto)


def test_the_number_of_rows_is_no_constant(tmp_path):
    nodes = [
        ("Shape", "x", "s", {}),
        ("Gather", "s nought", "n", {}),
        ("Cast", "n", "f", {"to": TensorProto.FLOAT}),
        ("Div", "x f", "y", {}),
    ]
    with pytest.raises(fastnn.ModelFileError, match=r"\(Cast\): must not compute with the number"):
        load(tmp_path, graph(nodes, {"nought": np.array(0)}))


def test_what_passes_weights_on_is_not_counted(tmp_path):
    """The limit is on constants that are made and used again, not on rows of Identity."""
    W = f32(512, 512) / 32
    nodes = [("MatMul", "x W", "a0", {})]
    nodes += [("Identity", f"a{i}", f"a{i + 1}", {}) for i in range(300)]
    proto = graph(nodes, {"W": W}, inputs=[("x", ["n", 512])], outputs=["a300"])
    x = f32(5, 512)
    agree(load(tmp_path, proto).forward(x), x @ W, 1e-5)


def test_old_opsets(tmp_path):
    nodes = [
        ("MatMul", "x W", "a", {}),
        ("Clip", "a", "h", {"min": -1.0, "max": 1.0}),
        ("Softmax", "h", "y", {}),
    ]
    W, x = f32(4, 3), f32(5, 4)
    model = load(tmp_path, graph(nodes, {"W": W}, opset=9))
    h = np.exp(np.clip(x @ W, -1, 1))
    agree(model.forward(x), h / h.sum(1, keepdims=True), AGREE)
    part = [("Slice", "C", "c", {"starts": [1, 0], "ends": [2, 3], "axes": [0, 1]})]
    whole = [("Slice", "C", "c", {"starts": [1], "ends": [2]})]
    C = f32(2, 3)
    for slices in (part, whole):
        proto = graph([*slices, nodes[0], ("Add", "a c", "y", {})], {"W": W, "C": C}, opset=9)
        agree(load(tmp_path, proto).forward(x), x @ W + C[1], AGREE)
    with pytest.raises(fastnn.ModelFileError, match="opset 7 at least, got 6"):
        load(tmp_path, graph(nodes, {"W": W}, opset=6))


# --- files one should not trust


def test_damaged_files(tmp_path):
    proto = graph([("MatMul", "x W", "a", {}), ("Tanh", "a", "y", {})], {"W": f32(4, 3)})
    whole = proto.SerializeToString()
    rng, kept = np.random.default_rng(0), 0
    for n in range(0, len(whole) - 1):
        with pytest.raises(fastnn.ModelFileError, match=r"graph\.onnx: "):
            load(tmp_path, whole[:n])
    for _ in range(300):
        damaged = bytearray(whole)
        for i in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[i] = rng.integers(256)
        try:
            load(tmp_path, bytes(damaged))
            kept += 1
        except fastnn.ModelFileError as error:
            assert "graph.onnx: " in str(error)
    assert kept < 250  # what is left are names, and numbers of W
    for content in (b"", b"\0" * 50, b"PK\3\4" * 20, os.urandom(1000)):
        with pytest.raises(fastnn.ModelFileError):
            load(tmp_path, content)
    with pytest.raises(fastnn.ModelFileError, match="regular file"):
        fastnn.onnx.load("/dev/null")
    with pytest.raises((IsADirectoryError, fastnn.ModelFileError)):
        fastnn.onnx.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        fastnn.onnx.load(tmp_path / "none.onnx")


COMPLEX = numpy_helper.from_array(np.ones(2, complex), "C")
BATCH = numpy_helper.from_array(np.array([-(2**62)]), "n")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda g: g.ClearField("output"), "must be an ONNX model, and whole: it has no output"),
        (lambda g: g.sparse_initializer.append(SPARSE), "must have no sparse tensors"),
        (lambda g: g.initializer.append(g.initializer[0]), "tensor 'W' must be there once"),
        (lambda g: g.initializer.append(COMPLEX), "'C' must be numbers or text, got complex128"),
        (lambda g: g.initializer.append(BATCH), "tensor 'n' must not hold -4611686018427387904"),
    ],
)
def test_what_no_file_may_hold(tmp_path, change, message):
    proto = graph([("MatMul", "x W", "y", {})], {"W": f32(4, 3)})
    change(proto.graph)
    with pytest.raises(fastnn.ModelFileError, match=message):
        load(tmp_path, proto)


def test_files_larger_than_a_message_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.onnx.file.BYTES_MAX", 100)
    with pytest.raises(fastnn.ModelFileError, match="must be at most 100 bytes, got 101"):
        load(tmp_path, b"\x08" * 101)


def test_weights_larger_than_a_message_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.onnx.write.BYTES_MAX", 2**24 + 11)
    fastnn.onnx.export(fastnn.Model([1, 1], output="identity"), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="an ONNX file must be below 2 GiB, got 12 of weights"):
        fastnn.onnx.export(fastnn.Model([2, 1], output="identity"), tmp_path / "m.onnx")


def test_huge_shapes_allocate_nothing(tmp_path):
    big = 2**20
    proto = graph([("MatMul", "x W", "y", {})], {"W": f32(4, 3)})
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([big, big])
    with pytest.raises(fastnn.ModelFileError, match="tensor 'W' must be a whole tensor"):
        load(tmp_path, proto)
    with pytest.raises(fastnn.ModelFileError, match=f"n must be at most 4096, got {big}"):
        load(tmp_path, graph([("Relu", "x", "y", {})], {}, inputs=[("x", ["n", 4, big // 4])]))
    nodes = [("BatchNormalization", "x one one one one", "y", {})]
    with pytest.raises(fastnn.ModelFileError, match="at most 4194304 numbers a row"):
        proto = graph(nodes, {"one": np.ones(1)}, inputs=[("x", ["n", 1, big, big])])
        load(tmp_path, proto)
    column, row = np.ones((big, 1), np.float32), np.ones((1, big), np.float32)
    nodes = [("Mul", "c r", "W", {}), ("MatMul", "x W", "y", {})]
    with pytest.raises(fastnn.ModelFileError, match="must not grow together"):
        load(tmp_path, graph(nodes, {"c": column, "r": row}))
    W = np.ones((1024, 1024), np.float32)
    again = [("Gemm", f"x{i}" if i else "x", f"x{i + 1}", {}) for i in range(100)]
    again = [(op, ins + " W", out, {"alpha": 0.5}) for op, ins, out, _ in again]
    with pytest.raises(fastnn.ModelFileError, match="many times the weights that it holds"):
        load(tmp_path, graph(again, {"W": W}, inputs=[("x", ["n", 1024])], outputs=["x100"]))
    twice = [("Concat", f"c{i} c{i}", f"c{i + 1}", {"axis": 0}) for i in range(60)]
    with pytest.raises(fastnn.ModelFileError, match="too large for a shape"):
        nodes = [*twice, ("MatMul", "x c60", "y", {})]
        load(tmp_path, graph(nodes, {"c0": np.ones(2, np.float32)}))
    many = [("Identity", f"x{i}" if i else "x", f"x{i + 1}", {}) for i in range(10_001)]
    with pytest.raises(fastnn.ModelFileError, match="at most 10000 nodes, got 10001"):
        load(tmp_path, graph(many, {}, outputs=["x10001"]))


def test_damaged_graphs(tmp_path):
    """Whole as protobuf, odd in its numbers: refused or loaded, with little memory."""
    import tracemalloc

    path = tmp_path / "whole.onnx"
    model = fastnn.Model([6, 9, 5, 3], ["gelu", fastnn.ELU(0.3)], norm="layer", seed=1)
    fastnn.onnx.export(model, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    odd = [-1, 0, 1, 2, 7, 2**20, 2**31, 2**40, -(2**62), 2**63 - 1, -4, 16, 100]
    ops = "Gemm Reshape Flatten Squeeze Gather Slice Concat Shape Cast PRelu Clip Where Pow ArgMax"
    ops = [*ops.split(), "Softmax", "Constant", "If", "Max"]
    tracemalloc.start()
    for _ in range(300):
        proto = onnx.ModelProto()
        proto.ParseFromString(whole)
        for _ in range(rng.integers(1, 4)):
            tensor = proto.graph.initializer[rng.integers(len(proto.graph.initializer))]
            node = proto.graph.node[rng.integers(len(proto.graph.node))]
            number = odd[rng.integers(len(odd))]
            match rng.integers(6):
                case 0 if tensor.dims:
                    tensor.dims[0] = number
                case 1:
                    tensor.data_type = int(rng.integers(30))
                case 2:
                    tensor.raw_data = rng.bytes(len(tensor.raw_data))
                case 3 if node.attribute:
                    node.attribute[0].i, node.attribute[0].f = number, float(number)
                case 4 if node.attribute:
                    node.attribute[0].type = int(rng.integers(15))
                case 5:
                    node.op_type = ops[rng.integers(len(ops))]
        content = proto.SerializeToString()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            load(tmp_path, content)
        except fastnn.ModelFileError as error:
            assert "graph.onnx: " in str(error)
        assert tracemalloc.get_traced_memory()[1] - before < 2**24
    tracemalloc.stop()


def external(tmp_path, location, **entries):
    """W (4, 3) in another file."""
    proto = graph([("MatMul", "x W", "y", {})], {"W": f32(4, 3)})
    tensor = proto.graph.initializer[0]
    W = numpy_helper.to_array(tensor)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return proto, W


def test_external_data(tmp_path):
    proto, W = external(tmp_path, "W.data", offset=8, length=48)
    (tmp_path / "W.data").write_bytes(b"12345678" + W.tobytes() + b"more")
    assert (load(tmp_path, proto).W[0] == W.T).all()
    (tmp_path / "W.data").write_bytes(b"12345678" + W.tobytes()[:-1])
    with pytest.raises(fastnn.ModelFileError, match=r"must be 48 bytes of 'W\.data', got 47"):
        load(tmp_path, proto)


def test_external_data_of_constants(tmp_path, monkeypatch):
    """Those of nodes as well are beside the model, whatever the current directory holds."""
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    outer.mkdir(), inner.mkdir()
    monkeypatch.chdir(outer)
    W = np.arange(12, dtype=np.float32).reshape(4, 3)
    (outer / "W.data").write_bytes(np.full(12, 9, np.float32).tobytes())
    proto, _ = external(inner, "W.data")
    node = helper.make_node("Constant", [], ["W"], value=proto.graph.initializer[0])
    proto.graph.node.insert(0, node)
    del proto.graph.initializer[:]
    with pytest.raises(fastnn.ModelFileError, match=r"'W' \(Constant\): .*there is no such file"):
        load(inner, proto)
    (inner / "W.data").write_bytes(W.tobytes())
    assert (load(inner, proto).W[0] == W.T).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda tensor: tensor.dims.__setitem__(0, -4), r"have dimensions from 0, got \[-4, 3\]"),
        (lambda tensor: setattr(tensor, "data_type", 99), "be numbers, got type 99"),
    ],
)
def test_external_data_of_no_size(tmp_path, change, message):
    proto, _ = external(tmp_path, "W.data")
    (tmp_path / "W.data").write_bytes(bytes(48))
    change(proto.graph.initializer[0])
    with pytest.raises(fastnn.ModelFileError, match=f"'W': its external data must {message}"):
        load(tmp_path, proto)


def test_arrays_are_never_read_from_the_current_directory(tmp_path, monkeypatch):
    """As the package onnx would, of a tensor whose data were not brought in before."""
    from fastnn.onnx.file import as_array

    monkeypatch.chdir(tmp_path)
    proto, _ = external(tmp_path, "W.data")
    (tmp_path / "W.data").write_bytes(bytes(48))
    with pytest.raises(fastnn.ModelFileError, match="tensor W must not have external data here"):
        as_array(proto.graph.initializer[0], "tensor W")


def test_external_data_is_read_about_once(tmp_path):
    """A small file does not become large because many tensors name it."""
    proto, _ = external(tmp_path, "W.data")
    (tmp_path / "W.data").write_bytes(bytes(2**24))
    tensor = proto.graph.initializer[0]
    tensor.dims[:] = [2**11, 2**11]
    for i in range(40):
        more = proto.graph.initializer.add()
        more.CopyFrom(tensor)
        more.name = f"W{i}"
    with pytest.raises(fastnn.ModelFileError, match=r"many times what is in 'W\.data'"):
        load(tmp_path, proto)


def test_external_data_stays_in_its_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    W = f32(4, 3)
    (tmp_path / "secret").write_bytes(W.tobytes())
    (inner / "link").symlink_to(tmp_path / "secret")
    (inner / "sub").mkdir()
    for name, why in (
        ("../secret", "beside the model's"),
        (str(tmp_path / "secret"), "beside the model's"),
        ("..", "beside the model's"),
        ("sub/../../secret", "beside the model's"),
        ("..\\secret", "beside the model's"),
        ("link", "regular file"),
        ("sub", "regular file"),
        ("none", "there is no such file"),
        ("a\0b", "there is no such file"),
        ("", "beside the model's"),
    ):
        proto, _ = external(inner, name)
        with pytest.raises(fastnn.ModelFileError, match=why):
            load(inner, proto)
    for entries in ({"offset": -4}, {"offset": "x"}, {"length": 2**40}, {"offset": 2**70}):
        proto, _ = external(inner, "data", **entries)
        (inner / "data").write_bytes(W.tobytes())
        with pytest.raises(fastnn.ModelFileError, match="48 bytes from an offset"):
            load(inner, proto)


def test_our_property_is_checked(tmp_path):
    path = tmp_path / "graph.onnx"
    fastnn.onnx.export(fastnn.Model([3, 4, 2], seed=1), path)
    good = onnx.load(path)
    kept = json.loads(good.metadata_props[0].value)
    for change in (
        "x", "[]", {"version": 2}, {"version": "1"}, {"begin": 3}, {"begin": "no such"},
        {"end": "no such"}, {"metadata": []}, {"seed": "x"}, {"seed": -1}, {"architecture": []},
        {"architecture": {}}, {"more": 1},
    ):  # fmt: skip
        text = change if isinstance(change, str) else json.dumps(kept | change)
        good.metadata_props[0].value = text
        with pytest.raises(fastnn.ModelFileError, match=r"graph\.onnx: "):
            load(tmp_path, good)


def test_the_seal_of_a_network_that_no_graph_tells(tmp_path):
    """Embeddings and parametric activations come back from a file that is as it was written."""
    path = tmp_path / "graph.onnx"
    how = {"embeddings": [fastnn.Periodic([0, 2], 4)], "feature_scale": True, "seed": 1}
    model = fastnn.Model([3, 4, 2], fastnn.Parametric("elu"), "identity", **how)
    fastnn.onnx.export(model, path)
    back = fastnn.onnx.load(path, output="softmax", loss=fastnn.Focal(1.0))
    assert (back.output, back.loss) == ("softmax", fastnn.Focal(1.0))
    assert (back.theta == model.theta).all() and repr(fastnn.onnx.load(path)) == repr(model)
    good = onnx.load(path)
    kept = json.loads(good.metadata_props[0].value)
    names = kept["theta"]
    for theta, why in (
        (names[1:], "theta must be .* numbers of float32"),
        ([*names[:-1], "none"], "must be tensors, got 'none'"),
        ([*names[:-1], "columns"], "numbers of float32"),
        ("W1", "a list of names"),
        ([3], "a list of names"),
    ):
        good.metadata_props[0].value = json.dumps(kept | {"theta": theta})
        with pytest.raises(fastnn.ModelFileError, match=why):
            load(tmp_path, good)
    good.metadata_props[0].value = json.dumps(kept)
    for node in good.graph.node:
        if node.op_type == "Cos":
            node.op_type = "Sin"
    with pytest.raises(fastnn.ModelFileError, match=r"as fastnn wrote it, .* Model\.save wrote"):
        load(tmp_path, good)
    fastnn.onnx.export(fastnn.Model([3, 4, 2], fastnn.Parametric("elu"), "softmax"), path)
    with pytest.raises(fastnn.ModelFileError, match="output must be left out"):
        fastnn.onnx.load(path, output="identity")
