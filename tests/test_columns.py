"""Models that carry what their columns mean: tables in, names of classes and amounts out."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import data
from fastnn.tables import TableError, TableWarning, learn

pandas = pytest.importorskip("pandas")


def people(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return pandas.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "income": rng.normal(3, 1, n),
            "city": rng.choice(["Bern", "Ulm", "Wien"], n),
            "member": rng.random(n) > 0.5,
        }
    )


def chosen(table):
    """A class that follows from age and city."""
    return np.where((table.age > 50) ^ (table.city == "Bern"), "yes", "no")


def amounts(table):
    return 1000 + 20.0 * table.age + 300 * table.member


def classifier(epochs=20, **settings):
    table = people()
    model = fastnn.Model([None, 16, None], seed=0, **settings)
    model.fit(table, chosen(table), epochs=epochs, batch_size=16)
    return model, table


def regressor(epochs=30):
    table = people()
    model = fastnn.Model([None, 16, None], seed=0)
    model.fit(table, amounts(table), epochs=epochs, batch_size=16, optimizer="adam")
    return model, table


# --- what is learned, and where it is kept


def test_fit_learns_columns_and_predict_gives_names_of_classes():
    model, table = classifier()
    assert model.sizes == [7, 16, 2] and (model.output, model.loss) == ("softmax", "cross_entropy")
    assert model.classes.tolist() == ["no", "yes"]
    predicted = model.predict(table)
    assert predicted.shape == (300,) and np.mean(predicted == chosen(table)) > 0.9
    P = model.predict_proba(table)
    np.testing.assert_array_equal(model.classes[P.argmax(1)], predicted)
    assert model.evaluate(table, chosen(table))["accuracy"] == np.mean(predicted == chosen(table))
    assert 'city: "Bern", "Ulm", "Wien"' in model.summary()


def test_it_is_what_the_same_matrix_would_be():
    """Standardised numbers, a column of 0 and 1 for each category, in a plain network."""
    model, table = classifier(epochs=3)
    X = [(table[c] - table[c].mean()) / table[c].std(ddof=0) for c in ("age", "income")]
    X += [table.city == c for c in ("Bern", "Ulm", "Wien")] + [~table.member, table.member]
    plain = fastnn.Model([7, 16, 2], seed=0)
    plain.fit(np.stack(X, 1).astype(np.float32), chosen(table) == "yes", epochs=3, batch_size=16)
    np.testing.assert_array_equal(model.theta, plain.theta)
    np.testing.assert_allclose(model.columns.encode(table), np.stack(X, 1), atol=1e-6)


def test_amounts_come_in_their_unit():
    model, table = regressor()
    y = amounts(table)
    assert (model.output, model.loss, model.classes) == ("identity", "squared_error", None)
    predicted = model.predict(table)
    assert predicted.dtype == np.float64 and predicted.shape == (300,)
    rmse = np.sqrt(np.mean((predicted - y) ** 2))
    assert rmse < 100
    measured = model.evaluate(table, y, metrics=["rmse", "r2"])
    assert measured["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert measured["r2"] == pytest.approx(1 - rmse**2 / y.var(ddof=0), rel=1e-5)
    weights = np.arange(1.0, 301)
    measured = model.evaluate(table, y, metrics=["mae"], sample_weight=weights)
    assert measured["mae"] == pytest.approx(np.average(abs(predicted - y), weights=weights), 1e-5)
    history = model.fit(
        *(table, y), metrics=["rmse"], validation_data=(table[:50], y[:50]), epochs=1
    )
    again = np.sqrt(np.mean((model.predict(table[:50]) - y[:50]) ** 2))
    assert history.val_rmse[-1] == pytest.approx(again, rel=1e-5)


def ways(table):
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    turned = table[table.columns[::-1]].assign(other=pandas.Timestamp("2020-01-01"))
    return {
        "pandas": turned,
        "pandas categories": turned.astype({"city": "category"}),
        "pandas extension types": turned.convert_dtypes(),
        "polars": polars.from_pandas(turned),
        "pyarrow": pyarrow.Table.from_pandas(turned),
        "record batch": pyarrow.RecordBatch.from_pandas(turned),
        "dict": turned.to_dict("list"),
        "dict of arrays": {name: turned[name].to_numpy() for name in turned},
        "rows": turned.to_dict("records"),
    }


@pytest.mark.parametrize("way", ways(people(3)))
def test_tables_of_every_kind_by_name(way):
    model, table = classifier(epochs=3)
    given = ways(table)[way]
    np.testing.assert_array_equal(model.predict(given), model.predict(table))
    assert set(learn(given, chosen(table), drop=["other"]).inputs.names) == {*table}
    columns = learn(given, chosen(table))
    assert set(columns.inputs.names) == {*table}  # other is the same everywhere
    assert columns.inputs.notes[0] == '"other": the same in all training rows; left out'


@pytest.mark.parametrize("way", ["file", "pickle", "copy", "onnx"])
def test_it_stays_with_the_model(tmp_path, way):
    model, table = classifier(epochs=3)
    path = tmp_path / "model"
    if way == "file":
        model.save(path)
        again = fastnn.load(path)
    elif way == "onnx":
        pytest.importorskip("onnx")
        fastnn.onnx.export(model, path)
        again = fastnn.onnx.load(path)
    else:
        again = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    np.testing.assert_array_equal(again.predict(table[::-1]), model.predict(table)[::-1])
    assert again.classes.tolist() == ["no", "yes"]
    assert again.evaluate(table, chosen(table)) == model.evaluate(table, chosen(table))


def test_a_model_of_the_command_line_predicts_in_python(tmp_path, monkeypatch, capsys):
    from fastnn.cli import main

    monkeypatch.chdir(tmp_path)
    table = people()
    table.assign(kind=chosen(table)).to_csv("people.csv", index=False)
    assert main("train --network people.csv -t kind -o m.st -q".split()) == 0
    model = fastnn.load("m.st")
    predicted = model.predict(table)
    assert np.mean(predicted == chosen(table)) > 0.9
    assert main("predict m.st people.csv".split()) == 0
    told = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert predicted.tolist() == told
    twin = fastnn.Model([None, 128, 64, None], seed=0)
    rule = fastnn.SGD(fastnn.CosineDecay(model.metadata["training"]["learning rate"]), 0.9)
    options = {"epochs": 20, "batch_size": model.metadata["training"]["batch size"]}
    twin.fit(table, chosen(table), optimizer=rule, validation_split=0.1, **options)
    np.testing.assert_array_equal(twin.theta, model.theta)


# --- kinds of targets


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([10, 20, 20], [10, 20]),
        ([0.5, 1.5, 1.5], [0.5, 1.5]),
        ([True, False, True], [False, True]),
        (["10", "9", "9"], ["9", "10"]),
        (np.array(["b", "a", "c"]), ["a", "b", "c"]),
        (pandas.Series([7, 7, 8], dtype="category"), [7, 8]),
    ],
)
def test_classes_come_back_as_the_kind_they_were(tmp_path, y, classes):
    model = fastnn.Model([None, None], seed=0)
    model.fit({"x": [1.0, 2, 3] * 9, "z": ["a", "b", "b"] * 9}, list(y) * 9, epochs=1)
    if isinstance(y, pandas.Series):
        model = fastnn.Model([None, None], seed=0)
        model.fit({"x": [1.0, 2, 3], "z": ["a", "b", "b"]}, y, epochs=1)
    model.save(tmp_path / "m")
    model = fastnn.load(tmp_path / "m")
    assert model.classes.tolist() == classes
    assert type(model.classes.tolist()[0]) is type(classes[0])
    assert set(model.predict({"x": [1, 2, 3], "z": ["a", "b", "b"]}).tolist()) <= set(classes)


def test_several_targets():
    table = people()
    y = {"hot": chosen(table), "wet": table.member.to_numpy()}
    model = fastnn.Model([None, 16, None], seed=0)
    model.fit(table, y, epochs=20, batch_size=16)
    assert (model.output, model.classes) == ("sigmoid", None)
    predicted = model.predict(table)
    assert predicted.shape == (300, 2)
    assert np.mean(predicted[:, 0] == y["hot"]) > 0.9 and (predicted[:, 1] == y["wet"]).all()
    turned = {name: y[name] for name in ("wet", "hot")}
    assert model.evaluate(table, turned) == model.evaluate(table, y)
    with pytest.raises(TableError, match='y must have the columns "hot", "wet", got "hot"'):
        model.evaluate(table, {"hot": y["hot"]})
    model = fastnn.Model([None, 16, None], seed=0)
    Y = np.stack([amounts(table), -amounts(table)], 1)
    model.fit(table, Y, epochs=20, batch_size=16)
    assert model.predict(table).shape == (300, 2) and model.columns.names == ["y1", "y2"]
    assert model.evaluate(table, Y)["r2"] > 0.8


def test_the_network_follows_the_target_or_what_is_asked():
    table = people(60)
    y = table.member.astype(int)
    for settings, sizes, output in (
        ({}, [7, 2], "softmax"),
        ({"output": "sigmoid"}, [7, 1], "sigmoid"),
        ({"loss": "hinge"}, [7, 2], "identity"),
        ({"loss": "huber"}, [7, 1], "identity"),
        ({"loss": "poisson"}, [7, 1], "exp"),
        ({"loss": fastnn.Quantile([0.1, 0.9])}, [7, 2], "identity"),
    ):
        model = fastnn.Model([None, None], seed=0, **settings)
        model.fit(table, y, epochs=1, learning_rate=1e-3)
        assert (model.sizes, model.output) == (sizes, output)
        assert len(model.predict(table)) == 60
    with pytest.raises(ValueError, match=r"must have 3 outputs for the classes"):
        fastnn.Model([None, 4, 2]).fit(table, table.city)
    with pytest.raises(ValueError, match="must have 7 inputs, as many as the columns become"):
        fastnn.Model([4, 4, None]).fit(table, y)


def test_class_weights_by_name():
    table = people()
    weights = {"yes": 5.0, "no": 0.5}
    model = fastnn.Model([None, 4, None], seed=0)
    model.fit(table, chosen(table), class_weight=weights, epochs=2)
    twin = fastnn.Model([None, 4, None], seed=0)
    each = np.where(chosen(table) == "yes", 5.0, 0.5)
    twin.fit(table, chosen(table), sample_weight=each, epochs=2)
    np.testing.assert_array_equal(model.theta, twin.theta)
    with pytest.raises(ValueError, match="must be among \"no\", \"yes\", got 'maybe'"):
        model.fit(table, chosen(table), class_weight={"maybe": 1})


# --- learned from the rows trained on alone


def test_held_out_rows_are_not_learned_from():
    table = people()
    table.loc[table.age > 75, "income"] = 1e6
    model = fastnn.Model([None, 4, None], seed=3)
    model.fit(table, chosen(table), validation_split=0.3, epochs=1)
    from fastnn.training.split import split

    rows, _ = split(300, 0.3, 3, (chosen(table) == "yes").astype(int))
    income = table.income.to_numpy()[rows]
    assert model.columns.inputs.columns[1].shift == pytest.approx(income.mean(), rel=1e-12)


def test_settings_of_learn():
    table = people()
    table.loc[::7, "income"] = np.nan
    columns = learn(
        table, chosen(table), missing="impute", categorical=["age"], drop=["member"]
    )
    model = fastnn.Model([None, 8, None], seed=0, columns=columns)
    assert model.sizes == [columns.width, 8, 2] and columns.width == 62 + 1 + 3
    model.fit(table, chosen(table), epochs=2)
    assert len(model.predict(table)) == 300
    with pytest.raises(TableError, match=r'X: no column "salary"'):
        learn(table, chosen(table), drop=["salary"])
    with pytest.raises(ValueError, match="scaling must be one of auto"):
        learn(table, chosen(table), scaling="minmax")


# --- refused by name, and nothing is changed


def test_what_a_model_of_columns_refuses():
    model, table = classifier(epochs=1)
    with pytest.raises(TableError, match=r'with "age", "income", "city", "member", which the'):
        model.predict(table.to_numpy())
    with pytest.raises(TableError, match=r"model.network_only\(\)"):
        model.predict(np.ones((2, 7)))
    with pytest.raises(TableError, match='must have "city", which the model reads; it has "age"'):
        model.predict(table.drop(columns="city"))
    with pytest.raises(TableError, match=r'X, row 2, column "age": must be a number, got "old"'):
        model.predict({**table[:3].to_dict("list"), "age": [1, 2, "old"]})
    careful = learn(table, chosen(table), missing="refuse")
    with pytest.raises(TableError, match=r'X, row 0, column "income": missing value; missing='):
        careful.encode(table[:2].assign(income=None))
    with pytest.raises(TableError, match=r'y\[1\]: must be one of "no", "yes", got "maybe"'):
        model.evaluate(table[:2], ["no", "maybe"])
    with pytest.raises(TypeError, match="a single row goes into a list"):
        model.predict({"age": 1, "income": 2.0, "city": "Ulm", "member": True})
    with pytest.raises(TableError, match='column "age": must be a number, got "2020-01-01T00:00'):
        model.predict(table.assign(age=pandas.Timestamp("2020-01-01")))
    with pytest.raises(ValueError, match=r"predictor must have .* model.network_only\(\) takes"):
        model.predictor()
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"to_torch must have a model that takes arrays"):
        fastnn.interop.to_torch(model)
    fastnn.interop.to_torch(model.network_only())
    with pytest.warns(TableWarning, match='row 0, column "city": "Rom" is unknown'):
        model.predict(table[:2].assign(city="Rom"))


def test_what_learn_and_its_columns_refuse_of_arrays():
    X = np.arange(6.0).reshape(3, 2)
    for bad, error, message in (
        (X.astype(str), TypeError, "X must be real numbers, got dtype <U"),
        (X[:, 0], ValueError, r"X must have shape \(n, features, ...\), n > 0, got \(3,\)"),
        (X[:0], ValueError, r"n > 0, got \(0, 2\)"),
        (X[:2], ValueError, "X and y must have as many rows as each other, got 2 and 3"),
    ):
        with pytest.raises(error, match=message):
            learn(bad, [0, 1, 0])
    with pytest.raises(TableError, match="y must have at least one row, it has none"):
        learn(X, [])
    columns = learn(X, np.array([[0.5], [1.7], [2]]))  # a matrix of one column is a column
    assert columns.names == ["y"]
    with pytest.raises(TableError, match="y must have 1 column, y, got 2"):
        columns.encode_targets(X)
    with pytest.raises(TableError, match=r"X must be an array of shape \(n, 2\), got a table"):
        columns.encode_row({"a": 1, "b": 2})
    with pytest.raises(TypeError, match=r"X must be an iterable of pairs .* got int"):
        fastnn.Model([None, None], columns=columns).fit(3)


def test_encoded_rows_go_to_the_network_alone():
    model, table = classifier(epochs=1)
    network = model.network_only()
    assert network.columns is None and not np.shares_memory(network.theta, model.theta)
    X = model.columns.encode(table)
    np.testing.assert_array_equal(network.forward(X), model.forward(table))
    np.testing.assert_array_equal(network.predictor()(X), model.forward(table))
    np.testing.assert_array_equal(
        model.classes[network.predict(X)], model.predict(table)
    )


def test_the_other_methods_take_rows_as_they_come():
    model, table = classifier(epochs=1)
    y = chosen(table)
    assert model.gradient_check(table[:5], y[:5]) < 1e-6
    loss, grad = model.loss_and_gradient(table, y)
    assert loss == pytest.approx(model.evaluate(table, y)["loss"], rel=1e-5)
    assert grad.shape == model.theta.shape
    assert "loss" in str(model.trace(table[:1], y[:1]))
    before = model.theta.copy()
    model.partial_fit(table[:8], y[:8], batch_size=4)
    assert (model.theta != before).any()


def test_a_model_that_is_not_fitted_says_so():
    model = fastnn.Model([None, 4, None], seed=1)
    assert repr(model) == "Model([None, 4, None], seed=1), to be fitted"
    for use in (lambda: model.theta, lambda: model.predict([[1.0]]), lambda: model.save("x")):
        with pytest.raises(ValueError, match="must be fitted first"):
            use()
    with pytest.raises(ValueError, match="partial_fit must come after fit"):
        model.partial_fit([[1.0]], [0])
    again = pickle.loads(pickle.dumps(model))
    table = people(40)
    again.fit(table, chosen(table), epochs=1)
    assert again.sizes == [7, 4, 2]


def test_a_fit_that_fails_leaves_the_model_unfitted():
    model, table = fastnn.Model([None, 4, None], seed=1), people(40)
    for arguments in (
        {"batch_size": 0},
        {"learning_rate": 1e30, "batch_size": 4},
        {"metrics": ["rmse"]},
        {"validation_data": (table.drop(columns="age"), chosen(table))},
    ):
        with pytest.raises((ValueError, ArithmeticError)):
            model.fit(table, chosen(table), **arguments)
        assert model.metadata == {} and repr(model).endswith("to be fitted")
    model.fit(table[["age", "city"]], chosen(table), epochs=1)
    assert model.sizes == [4, 4, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "sofmax"}, "output must be one of"),
        ({"loss": "mse"}, "loss must be one of"),
        ({"output": "softmax", "loss": "huber"}, "loss of softmax outputs must be"),
        ({"input_scale": 0.5}, "input_scale must be 1 where columns are learned"),
        ({"activation": ["relu", "relu"]}, "activation must have one entry per hidden layer"),
    ],
)
def test_an_open_network_is_checked_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Model([None, 4, None], **settings)


# --- arrays, and plain models of named columns


def test_images_are_scaled_as_in_training():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    X = rng.integers(0, 100, (200, 8, 8), dtype=np.uint8)
    X[y == 1, 4:] += 150
    model = fastnn.Model([None, 16, None], seed=0)
    model.fit(X, y, epochs=5)
    assert model.sizes[0] == 64 and model.evaluate(X, y)["accuracy"] == 1
    np.testing.assert_array_equal(model.predict(X.reshape(200, 64)), model.predict(X))
    assert abs(model.columns.encode(X).mean()) < 1e-6
    with pytest.raises(TableError, match=r"must be an array of shape \(n, 8, 8\), got a table"):
        model.predict({"a": [1, 2]})
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="must be dense where its columns are learned, got csr_"):
        fastnn.Model([None, None]).fit(sparse.csr_array(np.eye(3)), [0, 1, 1])


@pytest.mark.parametrize("way", ["pandas", "polars", "pyarrow", "dict", "rows"])
def test_a_plain_model_knows_columns_by_name(tmp_path, way):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    X[:, 1] += 100 * y
    table = pandas.DataFrame(X, columns=["a", "b", "c"])

    def made(names):
        frame = table[list(names)]
        return {
            "pandas": lambda: frame,
            "polars": lambda: pytest.importorskip("polars").from_pandas(frame),
            "pyarrow": lambda: pytest.importorskip("pyarrow").Table.from_pandas(frame),
            "dict": lambda: frame.to_dict("list"),
            "rows": lambda: frame.to_dict("records"),
        }[way]()

    plain = fastnn.Model([3, 4, 2], seed=0)
    plain.fit(X, y, epochs=2, learning_rate=1e-3)
    model = fastnn.Model([3, 4, 2], seed=0)
    model.fit(made("abc"), y, epochs=2, learning_rate=1e-3)
    np.testing.assert_array_equal(model.theta, plain.theta)
    model.save(tmp_path / "m")
    for one in (model, fastnn.load(tmp_path / "m")):
        np.testing.assert_array_equal(one.forward(made("cab")), plain.forward(X))
        np.testing.assert_array_equal(one.forward(X), plain.forward(X))
        np.testing.assert_array_equal(one.predictor()(X), plain.forward(X))
        assert one.evaluate(made("cba"), y) == plain.evaluate(X, y)
        assert one.predict(made("cba")).dtype.kind == "i" and one.classes is None
    wrong = table.rename(columns={"b": "z"})
    with pytest.raises(TableError, match='X must have "b", which the model was trained on'):
        model.predict(wrong)
    with pytest.raises(TableError, match='X must have "b"'):
        model.fit(wrong, y)


def test_the_command_line_reads_a_plain_model_by_name(here, run):
    table = pandas.DataFrame({"a": [1.0, 2, 3, 4], "b": [5.0, 1, 2, 2]})
    model = fastnn.Model([2, 4, 2], seed=0)
    model.fit(table, [0, 1, 1, 0])
    model.save("m.st")
    table[["b", "a"]].assign(other="x", y=[0, 1, 1, 0]).to_csv("new.csv", index=False)
    status, out, _ = run("predict m.st new.csv")
    assert status == 0
    told = [float(line.split(",")[2]) for line in out.splitlines()[1:]]
    np.testing.assert_allclose(told, model.forward(table)[:, 1], rtol=1e-6)
    status, out, _ = run("evaluate m.st new.csv --json")
    assert status == 0 and f'"accuracy": {model.evaluate(table, [0, 1, 1, 0])["accuracy"]}' in out
    assert '2 columns "a", "b", or arrays' in run("info m.st")[1]


def test_partial_fit_remembers_names_too():
    frame = pandas.DataFrame({"a": [1.0, 2], "b": [5.0, 1]})
    model = fastnn.Model([2, 2], seed=0)
    model.partial_fit(frame, [0, 1])
    np.testing.assert_array_equal(model.forward(frame[["b", "a"]]), model.forward(frame))


def test_a_stream_of_files_tells_names(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [1.0, 2, 3], "b": [5.0, 1, 2]})
    table = pyarrow.Table.from_pandas(frame.assign(y=[0, 1, 1]))
    parquet.write_table(table, tmp_path / "t.parquet")
    model = fastnn.Model([2, 2], seed=0)
    model.fit(data.ArrowStream(tmp_path / "t.parquet", "y"), epochs=1)
    np.testing.assert_array_equal(model.forward(frame[["b", "a"]]), model.forward(frame))
    turned = data.ArrowStream(tmp_path / "t.parquet", "y", columns=["b", "a"])
    again = fastnn.Model([2, 2], seed=0)
    again.fit(frame, [0, 1, 1], epochs=1)
    for one, source in ((model, turned), (again, [(frame[["b", "a"]], [0, 1, 1])])):
        one.fit(source, epochs=1)
    np.testing.assert_array_equal(model.theta, again.theta)


def test_text_for_a_plain_model_names_the_way():
    hint = r"; Model\(\[None, ..., None\]\) learns"
    table = people(4)
    with pytest.raises(TypeError, match=f"in column 'city'{hint} columns of text"):
        fastnn.Model([4, 2]).fit(table, [0, 1, 0, 1])
    with pytest.raises(TypeError, match=f"y must be real numbers, got dtype <U3{hint} names"):
        fastnn.Model([2, 2]).fit(table[["age", "income"]], chosen(table))


def test_counts_keep_their_zero():
    table, y = people(), people().age % 7
    model = fastnn.Model([None, 8, None], loss="poisson", seed=0)
    model.fit(table, y, epochs=2)
    assert model.predict(table).min() > 0 and model.columns.targets[0].shift == 0
    columns = learn(table, y, task="regression")
    with pytest.raises(ValueError, match=r"must have counts: learn\(X, y, counts=True\)"):
        fastnn.Model([None, None], loss="poisson", columns=columns)


def test_a_failed_fit_remembers_no_names():
    model = fastnn.Model([2, 2], seed=0)
    with pytest.raises(ValueError):
        model.fit(pandas.DataFrame({"a": [1.0, 2], "b": [1, 2]}), [0, 9])
    with pytest.raises(ValueError, match=r"X must have shape \(n, 2\), got \(2, 1\)"):
        model.fit(pandas.DataFrame({"a": [1.0, 2]}), [0, 1])
    assert model.metadata == {}
    model.metadata = {"data": "mine"}
    model.fit(pandas.DataFrame({"a": [1.0, 2], "b": [1, 2]}), [0, 1], epochs=1)
    assert model.metadata == {"data": "mine"}


@pytest.mark.parametrize("sizes", [[2, 4, 2], [None, 4, None]], ids=["plain", "to be fitted"])
def test_a_fit_that_is_interrupted_remembers_its_columns(sizes):
    def interrupt(fit):
        raise KeyboardInterrupt

    model = fastnn.Model(sizes, seed=0)
    table = pandas.DataFrame({"a": [1.0, 2], "b": [1, 2.5]})
    with pytest.raises(KeyboardInterrupt):
        model.fit(table, [0, 1], callbacks=[fastnn.LambdaCallback(on_epoch_end=interrupt)])
    assert model.columns.inputs.names == ["a", "b"]
    assert (model.predict(table) == model.predict(table[["b", "a"]])).all()


def test_streams_are_encoded_block_by_block(tmp_path):
    table = people()
    y = chosen(table)
    blocks = [(table[i : i + 100], y[i : i + 100]) for i in range(0, 300, 100)]
    columns = learn(table, y)
    runs = []
    for source in (blocks, lambda: iter(blocks)):
        twin = fastnn.Model([None, 4, None], seed=0, columns=columns)
        twin.fit(source, epochs=2)
        runs.append(twin.theta)
    np.testing.assert_array_equal(*runs)
    X = [(columns.encode(X), columns.encode_targets(y)) for X, y in blocks]
    plain = fastnn.Model([7, 4, 2], seed=0)
    plain.fit(X, epochs=2)
    np.testing.assert_array_equal(plain.theta, runs[0])
    with pytest.raises(TableError, match='block 2: X: must have "city"'):
        twin.fit([blocks[0], (table.drop(columns="city"), y)])
    with pytest.raises(ValueError, match="must be numbers for a stream, or columns= be given"):
        fastnn.Model([None, None]).fit(blocks)
    pytest.importorskip("pyarrow.parquet")
    table.assign(kind=y).to_parquet(tmp_path / "t.parquet")
    stream = data.ArrowStream(tmp_path / "t.parquet", "kind", batch_rows=100)
    twin = fastnn.Model([None, 4, None], seed=0, columns=columns)
    twin.fit(stream, epochs=2)
    np.testing.assert_array_equal(twin.theta, runs[0])


def test_resumed_fits_take_the_columns_of_the_checkpoint(tmp_path):
    table = people()
    y = chosen(table)
    whole = fastnn.Model([None, 4, None], seed=5)
    whole.fit(table, y, epochs=4, validation_split=0.2)
    path = tmp_path / "ck"
    for _ in range(2):
        model = fastnn.Model([None, 4, None], seed=5)
        model.fit(
            *(table, y),
            epochs=2 if not path.exists() else 4,
            validation_split=0.2,
            callbacks=[fastnn.Checkpoint(path)],
            resume=path,
        )
    np.testing.assert_array_equal(model.theta, whole.theta)
    assert model.columns == whole.columns
    plain = {"callbacks": [fastnn.Checkpoint(path)], "resume": path}
    path.unlink()
    fastnn.Model([3, 4, 2], seed=5).fit(np.eye(3), [0, 1, 1], **plain)  # of no columns
    model = fastnn.Model([None, 4, None], seed=5)
    with pytest.raises(ValueError, match="resume: the checkpoint must be of this network"):
        model.fit(table, y, **plain)
    assert model.columns is None


def test_damaged_descriptions_are_refused_at_load(tmp_path):
    model, _ = classifier(epochs=1)
    for damage in (
        lambda d: d.update(version=99),
        lambda d: d["inputs"]["columns"].pop(),
        lambda d: d["target"].update(classes=["a", "b", "c"]),
        lambda d: d["inputs"].update(kind="tables"),
        lambda d: d.update(target=3),
    ):
        broken = copy.deepcopy(model)
        damage(broken.metadata["data"])
        vars(broken).pop("_columns", None)
        broken.save(tmp_path / "m")
        with pytest.raises(fastnn.ModelFileError, match="m: "):
            fastnn.load(tmp_path / "m")


# --- single rows


def households(n=60, seed=0):
    rng = np.random.default_rng(seed)
    table = people(n, seed)
    table["rooms"] = rng.integers(1, 9, n)
    table["income"] = table["income"].where(rng.random(n) > 0.2)
    table["city"] = table["city"].where(rng.random(n) > 0.2)
    sizes = pandas.CategoricalDtype(["small", "middle", "large"], ordered=True)
    table["size"] = pandas.Series(rng.choice(sizes.categories, n)).astype(sizes)
    return table


def rows_of(table):
    """Python's own cells, None where missing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def as_read(row):
    """The same cells as files and frames have them."""
    plain = {"rooms": np.int64, "age": np.float64}
    missing = {"income": np.nan, "city": " ?"}
    same = {name: cell if name not in plain else plain[name](cell) for name, cell in row.items()}
    same |= {name: f" {cell} " for name, cell in row.items() if isinstance(cell, str)}
    return same | {name: one for name, one in missing.items() if row[name] is None}


@pytest.mark.parametrize("missing", ["impute", "indicate"])
@pytest.mark.parametrize("categories", ["one_hot", "codes"])
@pytest.mark.parametrize("scaling", ["standard", "robust"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_alone_is_what_it_is_in_a_table(missing, categories, scaling, dtype):
    table = households()
    settings = dict(missing=missing, categories=categories, scaling=scaling)
    for y in (chosen(table), amounts(table)):
        columns = learn(table, y, **settings)
        model = fastnn.Model([None, 8, None], seed=0, columns=columns, dtype=dtype)
        encoded = columns.encode(table, dtype)
        cells = columns.inputs.cells(dtype)
        for i, row in enumerate(rows_of(table)):
            assert cells(row).tobytes() == encoded[i].tobytes()
            assert cells(as_read(row)).tobytes() == encoded[i].tobytes()
            row["else"] = "ignored"
            assert model.predict_one(row) == model.predict(table[i : i + 1])[0]
            if model.output == "softmax":
                assert (model.predict_proba_one(row) == model.predict_proba(table)[i]).all()


def test_rows_that_are_not_plain_take_the_road_of_tables():
    table = households()
    model = fastnn.Model(
        [None, 8, None], seed=0, columns=learn(table, chosen(table), missing="impute")
    )
    row = rows_of(table)[0]
    whole = row | {"age": 40, "city": "Ulm"}
    same = [
        row | {"age": np.int64(40), "city": "Ulm"},
        row | {"age": 40.0, "city": " Ulm "},
        row | {"age": np.float32(40), "city": np.str_("Ulm")},
    ]
    want = model.predict_proba_one(whole)
    for one in same:
        assert (model.predict_proba_one(one) == want).all()
    with pytest.warns(TableWarning, match='"Rom" is unknown'):
        model.predict_one(row | {"city": "Rom"})
    for strange, message in [
        ({"age": "forty"}, 'must be a number, got "forty"'),
        ({"age": float("inf")}, "must be finite, got inf"),
        ({"age": True}, 'must be a number, got "True"'),
        ({"age": [1]}, "must hold numbers, text, booleans"),
    ]:
        with pytest.raises(TableError, match=message):
            model.predict_one(row | strange)
    with pytest.raises((TableError, OverflowError)):
        model.predict_one(row | {"age": 10**400})
    del row["age"]
    with pytest.raises(TableError, match=r'must have .*"?age'):
        model.predict_one(row)
    with pytest.raises(TypeError, match="row must be a dict of cells, got list"):
        model.predict_one([1, 2, 3])


def test_a_row_with_a_missing_cell_is_refused_where_tables_are():
    table = people(60)
    model = fastnn.Model(
        [None, 4, None], columns=learn(table, chosen(table), missing="refuse"), seed=0
    )
    with pytest.raises(TableError, match="missing value"):
        model.predict_one(rows_of(table)[0] | {"age": None})


def test_a_moment_that_is_missing_in_a_row():
    days = ["2020-01-01", "2021-06-01", None, "2022-12-31"] * 5
    columns = learn({"day": days}, [0, 1] * 10)
    missing = columns.encode_row({"day": None})
    np.testing.assert_array_equal(columns.encode_row({"day": pandas.NaT}), missing)
    assert (columns.encode_row({"day": days[0]}) != missing).any()


@pytest.mark.parametrize(
    ("network", "names", "want"),
    [
        ({"sizes": [2, 3]}, ["a", "b", "c"], ["y"]),
        ({"sizes": [2, 3], "output": "sigmoid"}, ["a", "b", 7], ["a", "b", "7"]),
        ({"sizes": [2, 3], "output": "identity"}, ["a", "b", "c"], ["a", "b", "c"]),
        ({"sizes": [2, 3], "output": "identity"}, ["a", "b"], ["y1", "y2", "y3"]),
        ({"sizes": [2, 1], "output": "identity"}, None, ["y"]),
    ],
)
def test_targets_of_a_plain_model_are_called_as_it_says(network, names, want):
    model = fastnn.Model(**network, seed=0)
    model.metadata["classes"] = names
    columns = model._described()
    assert columns.names == want
    assert columns.class_names == (names if want == ["y"] and names else None)


def test_rows_need_columns_that_were_learned():
    model = fastnn.Model([3, 4, 2], seed=0)
    with pytest.raises(ValueError, match="must have learned its columns"):
        model.predict_one({"a": 1, "b": 2, "c": 3})
    table = people(60)
    model = fastnn.Model([None, 4, None], columns=learn(table, amounts(table)), seed=0)
    with pytest.raises(ValueError, match="predict_proba_one needs softmax or sigmoid"):
        model.predict_proba_one(rows_of(table)[0])


def test_columns_that_read_rows_can_be_copied():
    table = people(60)
    columns = learn(table, chosen(table))
    row = rows_of(table)[0]
    x = columns.encode_row(row)
    for copied in (copy.deepcopy(columns), pickle.loads(pickle.dumps(columns))):
        assert copied == columns and (copied.encode_row(row) == x).all()


def test_masked_cells_are_missing_and_integers_beyond_all_floats_infinite():
    columns = learn({"a": [1.0, 2.0, None]}, [0, 1, 0], missing="indicate")
    masked = np.ma.array([2.0, 2.0], mask=[False, True])
    np.testing.assert_array_equal(
        columns.encode({"a": masked}, "float32"), columns.encode({"a": [2.0, None]}, "float32")
    )
    for cell in (10**400, -(10**400)):
        with pytest.raises(TableError, match=r"must be finite, got -?inf"):
            columns.encode([{"a": cell}], "float32")
        with pytest.raises(TableError, match=r"must be finite, got -?inf"):
            columns.encode_row({"a": cell}, "float32")
