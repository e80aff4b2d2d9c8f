"""Random graphs: whatever loads gives ONNX Runtime's numbers, or is refused by node and operator.

`Graph` puts operators one after another, right ones and slightly wrong ones: constants that do not
broadcast as rows do, thresholds a little off 0, functions that are nearly activations, integers,
axes of the batch. Inputs are drawn around every constant in the graph.
"""

import numpy as np
import pytest

import fastnn

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

N = 7  # rows, more than any width
NUMBERS = [0, 1, -1, 0.5, 2, 3, -2, 0.1, 0.03, 0.039, -0.03, 1e-3, 1e-7, 6, 100, np.sqrt(2)]
LABELS = [5, 6, 7, 8]
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}


class Graph:
    """Nodes so far; h: the name of the last value, shape: its shape."""

    def __init__(self, rng):
        self.rng, self.nodes, self.tensors, self.constants = rng, [], [], []
        self.loose = False  # whether ONNX Runtime itself rounds a lot: float16, variances
        self.opset = int(rng.choice([13, 17, 20]))
        self.dtype = str(rng.choice(list(TYPES), p=[0.8, 0.1, 0.1]))
        tail = [int(n) for n in rng.integers(1, 5, rng.choice([1, 1, 1, 2, 3]))]
        self.shape, self.h = (N, *tail), "x"
        dims = [self.pick("n", "n", N), *(n if rng.random() < 0.9 else f"d{n}" for n in tail)]
        self.input = helper.make_tensor_value_info("x", TYPES[self.dtype], dims)
        self.before = [("x", self.shape, self.dtype)]

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def number(self):
        return float(self.pick(*NUMBERS) if self.rng.random() < 0.8 else self.rng.normal())

    def tensor(self, values, dtype=None):
        """An initializer, or a node Constant."""
        array = np.asarray(values, dtype or self.dtype)
        name = f"c{len(self.nodes)}_{len(self.tensors)}"
        if array.dtype.kind == "f" and array.size < 8:
            self.constants += array.ravel().tolist()
        proto = numpy_helper.from_array(array, name)
        if self.rng.random() < 0.3:
            self.nodes.append(helper.make_node("Constant", [], [name], value=proto))
        else:
            self.tensors.append(proto)
        return name

    def node(self, op, *inputs, outputs=1, **attributes):
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"the_{name}", **attributes))
        return name

    def then(self, op, *inputs, shape=None, dtype=None, **attributes):
        """A node whose value is the next h."""
        self.h = self.node(op, *inputs, **attributes)
        self.shape, self.dtype = shape or self.shape, dtype or self.dtype
        self.before.append((self.h, self.shape, self.dtype))

    def model(self):
        outputs = [self.h]
        if self.rng.random() < 0.1:
            outputs += [self.pick(*self.before)[0]]
        if self.rng.random() < 0.1:  # labels, which a model gives by itself
            greatest = self.node("ArgMax", self.h, axis=int(self.pick(-1, 1, 0)), keepdims=0)
            outputs += [self.node("Gather", self.tensor(LABELS, "int64"), greatest, axis=0)]
        outputs = [helper.make_empty_tensor_value_info(one) for one in dict.fromkeys(outputs)]
        graph = helper.make_graph(self.nodes, "g", [self.input], outputs, self.tensors)
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9)


# --- what may follow


def linear(g):
    n_in = g.shape[-1]
    n_out = int(g.rng.integers(1, 5))
    W = g.rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)
    if g.rng.random() < 0.2 and n_in == n_out:
        W = np.eye(n_in)
    shape = (*g.shape[:-1], n_out)
    how = g.rng.integers(5)
    if how == 0 or len(g.shape) != 2:
        g.then("MatMul", g.h, g.tensor(W), shape=shape)
    elif how == 1:
        left = g.rng.normal(size=(n_out, g.shape[0])) / np.sqrt(g.shape[0])
        g.then("MatMul", g.tensor(left), g.h, shape=(n_out, g.shape[1]))
    elif how == 2:
        g.then("MatMul", g.h, g.tensor(W), shape=shape)
        g.then("Add", g.h, g.tensor(g.rng.normal(size=n_out)))
    else:
        turn = int(g.rng.integers(2))
        C = g.pick(None, (), (1,), (n_out,), (1, n_out), (N, 1), (N, n_out))
        more = [] if C is None else [g.tensor(g.rng.normal(size=C))]
        options = {"transB": turn, "alpha": g.pick(1.0, 0.5), "beta": g.pick(1.0, -2.0, 0.0)}
        g.then("Gemm", g.h, g.tensor(W.T if turn else W), *more, shape=shape, **options)


def unary(g):
    op = g.pick(
        "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "Celu", "Softplus", "HardSigmoid",
        "Exp", "Abs", "Neg", "Sqrt", "Identity", "Dropout", "Erf", "Reciprocal", "Log",
    )  # fmt: skip
    options = {}
    if op in ("LeakyRelu", "Elu", "Celu", "HardSigmoid", "Selu") and g.rng.random() < 0.6:
        options["alpha"] = g.pick(0.1, 0.5, 1.0, 2.0, 0.3, -0.5)
    g.then(op, g.h, **options)


def modern(g):
    if g.opset >= 20:
        g.then(g.pick("Mish", "Gelu"), g.h)


def fitting_shape(g):
    w = g.shape[-1]
    ones = [1] * (len(g.shape) - 1)
    return g.pick(
        (), (), (), (1,), (w,), (w,), (*ones, w), (w, 1), (N, 1), (1, *ones, 1), g.shape, (3,)
    )


def with_constant(g):
    op = g.pick("Add", "Sub", "Mul", "Div", "Min", "Max", "Add", "Sub", "Mul", "Div", "Pow")
    if op == "Pow":
        return g.then(op, g.h, g.tensor(g.pick(1, 2, 3, 0.5, -1)))
    shape = fitting_shape(g)
    values = np.array([g.number() for _ in range(int(np.prod(shape)))]).reshape(shape)
    try:
        result = np.broadcast_shapes(shape, g.shape)
    except ValueError:
        result = g.shape
    pair = [g.h, g.tensor(values)]
    return g.then(op, *(pair if g.rng.random() < 0.7 else pair[::-1]), shape=result)


def clip(g):
    low, high = sorted([g.number(), g.number()])
    low, high = (None if g.rng.random() < 0.2 else one for one in (low, high))
    if g.rng.random() < 0.1:
        low = -1e6
    inputs = ["" if one is None else g.tensor(one) for one in (low, high)]
    g.then("Clip", g.h, *inputs)


def where(g):
    condition = g.node(
        g.pick("Greater", "Less", "GreaterOrEqual", "LessOrEqual"), g.h, g.tensor(g.number())
    )
    first = g.h
    second = g.pick(
        lambda: g.tensor(g.number()),
        lambda: g.tensor(0),
        lambda: g.node("Mul", g.h, g.tensor(g.number())),
        lambda: g.node("Sub", g.node("Exp", g.h), g.tensor(1)),
    )()
    g.then("Where", condition, *((first, second) if g.rng.random() < 0.7 else (second, first)))


def spelt(g):
    """An activation in pieces, mostly right."""
    x = g.h
    if g.rng.random() < 0.3:
        x = g.node(g.pick("Add", "Mul"), x, g.tensor(g.number()))

    def number(value):
        return g.tensor(value if g.rng.random() < 0.85 else value + g.pick(0.03, 1e-3, -0.03))

    kind = g.rng.integers(10)
    if kind == 9:  # jumps to the limit a little before it
        high = g.pick(1.0, 6.0, 3.01)
        near = g.node("Greater", x, number(high - g.pick(0, 0.01, 1e-3)))
        g.then("Where", near, g.tensor(high), g.node("Clip", x, g.tensor(0), g.tensor(high)))
    elif kind == 0:
        g.then("Mul", x, g.node("Sigmoid", x))
    elif kind == 1:
        g.then("Mul", x, g.node("Tanh", g.node("Softplus", x)))
    elif kind == 2:
        e = g.node("Add", g.node("Erf", g.node("Div", x, number(np.sqrt(2)))), number(1))
        g.then("Mul", g.node("Mul", x, number(0.5)), e)
    elif kind == 3:
        cube = g.node("Mul", g.node("Pow", x, number(3)), number(0.044715))
        t = g.node("Tanh", g.node("Mul", g.node("Add", x, cube), number(np.sqrt(2 / np.pi))))
        g.then("Mul", g.node("Mul", x, number(0.5)), g.node("Add", t, number(1)))
    elif kind == 4:
        g.then("Max", x, g.node("Mul", x, number(g.pick(0.1, 0.01, 0.5))))
    elif kind == 5:
        g.then("Min", g.node("Max", x, number(g.pick(-1, 0))), number(g.pick(1, 6)))
    elif kind == 6:
        below = g.node("Sub", g.node("Exp", g.node("Min", x, number(0))), number(1))
        g.then("Add", g.node("Max", x, number(0)), below)
    elif kind == 7:
        g.then("Div", number(1), g.node("Add", g.node("Exp", g.node("Neg", x)), number(1)))
    else:
        steep = g.pick(1, 30, 1000)
        a = g.node("Mul", g.node("Sub", x, number(0)), number(steep))
        g.then("Mul", x, g.node("Sigmoid", a))


def step(g):
    condition = g.node("Greater", g.h, g.tensor(g.pick(0, 0.03, 0.5)))
    to = TYPES[g.pick("float32", "float64", "int64")] if g.rng.random() < 0.3 else TYPES[g.dtype]
    gate = g.node("Cast", condition, to=to)
    g.then("Mul", g.h, gate)


def cast(g):
    how = g.rng.integers(5)
    if how == 0:
        to = g.pick("float32", "float64")
        g.then("Cast", g.h, to=TYPES[to], dtype=to)
    elif how == 1:
        g.loose = True
        g.then("Cast", g.h, to=TensorProto.FLOAT16)
        g.then("Cast", g.h, to=TYPES[g.dtype])
    elif how == 2:
        g.then("CastLike", g.h, g.tensor(0, g.pick("float32", "float64")))
    elif how == 3 and g.rng.random() < 0.3:
        g.then("Cast", g.h, to=TensorProto.INT64, dtype="int64")


def batch_norm(g):
    n = g.shape[1] if len(g.shape) > 1 else 1
    n = n if g.rng.random() < 0.95 else n + 1
    parts = [g.rng.normal(size=n) for _ in range(3)] + [g.rng.uniform(0.1, 2, n)]
    if g.rng.random() < 0.1:
        parts[2], parts[3] = parts[2] + g.pick(100, 1e5), parts[3] * 0.1
    g.then("BatchNormalization", g.h, *map(g.tensor, parts))


def layer_norm(g):
    if g.opset >= 17:
        g.loose, n = True, g.shape[-1]
        if len(g.shape) == 2:
            n = int(g.rng.integers(2, 5))
            W = g.tensor(g.rng.normal(size=(g.shape[1], n)))
            g.then("MatMul", g.h, W, shape=(g.shape[0], n))
        parts = [g.tensor(g.rng.normal(size=n)) for _ in range(g.rng.integers(1, 3))]
        g.then("LayerNormalization", g.h, *parts, axis=int(g.pick(-1, -1, 1)), epsilon=1e-3)


def softmax(g):
    g.then(g.pick("Softmax", "Softmax", "LogSoftmax"), g.h, axis=int(g.pick(-1, -1, 1, 0)))


def flatten(g):
    axis = int(g.pick(1, 1, 1, 0, 2, -1))
    if axis <= len(g.shape):
        split = axis if axis >= 0 else axis + len(g.shape)
        shape = int(np.prod(g.shape[:split])), int(np.prod(g.shape[split:]))
        g.then("Flatten", g.h, axis=axis, shape=shape)


def reshape(g):
    width = int(np.prod(g.shape[1:]))
    right = g.pick([-1, width], [0, -1], [N, -1], [0, width], [N, width])
    other = g.pick([width, N], [-1], [0, 0, -1], [-1, 1, width], [0, width, 1], [width, -1])
    target = g.pick(right, other)
    try:
        filled = [g.shape[i] if n == 0 else n for i, n in enumerate(target)]
        shape = np.empty(g.shape).reshape(filled).shape
    except (ValueError, IndexError):
        shape = g.shape
    g.then("Reshape", g.h, g.tensor(target, "int64"), shape=shape)


def reshape_by_shape(g):
    """As TorchScript writes x.view(x.size(0), -1)."""
    at = g.pick(0, 0, 0, 1)
    n = g.node("Gather", g.node("Shape", g.h), g.tensor(at, "int64"), axis=0)
    if g.rng.random() < 0.15:
        n = g.node(g.pick("Mul", "Div", "Add"), n, g.tensor(g.pick(1, 2), "int64"))
    n = g.node("Unsqueeze", n, g.tensor([0], "int64"))
    rest = g.tensor([g.pick(-1, -1, int(np.prod(g.shape[1:])))], "int64")
    target = g.node("Concat", n, rest, axis=0)
    try:
        shape = np.empty(g.shape).reshape(g.shape[at], -1).shape
    except (ValueError, IndexError):
        shape = g.shape
    g.then("Reshape", g.h, target, shape=shape)


def transpose(g):
    perm = [int(i) for i in g.rng.permutation(len(g.shape))]
    g.then("Transpose", g.h, perm=perm, shape=tuple(g.shape[i] for i in perm))


def squeeze(g):
    axis = int(g.rng.integers(1, len(g.shape) + 1)) if g.rng.random() < 0.9 else 0
    shape = list(g.shape)
    if axis < len(shape) and shape[axis] == 1:
        del shape[axis]
        g.then("Squeeze", g.h, g.tensor([axis], "int64"), shape=tuple(shape))
    else:
        shape.insert(axis, 1)
        g.then("Unsqueeze", g.h, g.tensor([axis], "int64"), shape=tuple(shape))


def branch(g):
    other, shape, _ = g.pick(*g.before)
    try:
        shape = np.broadcast_shapes(shape, g.shape)
    except ValueError:
        return
    g.then(g.pick("Add", "Mul", "Max", "Sub"), *g.pick((g.h, other), (other, g.h)), shape=shape)


def integers(g):
    """A constant that comes from integers."""
    a, b = g.tensor(g.pick(7, -7, 3), "int64"), g.tensor(g.pick(2, -2, 1), "int64")
    made = g.node(g.pick("Div", "Mul", "Add", "Sub"), a, b)
    g.then(g.pick("Add", "Mul"), g.h, g.node("Cast", made, to=TYPES[g.dtype]))


def folded(g):
    """A constant made by operators: floats, their shapes changed."""
    c = g.tensor([[g.number() * g.pick(1, 1, 1.7) for _ in range(g.shape[-1])]])
    for _ in range(g.rng.integers(1, 4)):
        c = g.pick(
            lambda c: g.node("Transpose", g.node("Transpose", c, perm=[1, 0]), perm=[1, 0]),
            lambda c: g.node("Add", c, g.tensor(g.number())),
            lambda c: g.node("Sqrt", g.node("Abs", c)),
            lambda c: g.node("Cast", g.node("Cast", c, to=TensorProto.INT64), to=TYPES[g.dtype]),
            lambda c: g.node("Reshape", c, g.tensor([1, -1], "int64")),
            lambda c: g.node("Max", c, g.tensor(g.number())),
        )(c)
    shape = np.broadcast_shapes(g.shape, (1, g.shape[-1]))
    g.then(g.pick("Add", "Mul", "Sub"), g.h, c, shape=shape)


def two_classes(g):
    p = g.node("Sigmoid", g.h)
    q = g.node("Sub", g.tensor(1 if g.rng.random() < 0.9 else 1.03), p)
    g.then("Concat", q, p, axis=-1, shape=(*g.shape[:-1], 2 * g.shape[-1]))


MOVES = [
    linear, linear, linear, linear, unary, unary, unary, with_constant, with_constant, clip, where,
    spelt, spelt, spelt, step, cast, batch_norm, layer_norm, softmax, flatten, reshape,
    reshape_by_shape, transpose, squeeze, branch, integers, folded, two_classes, modern,
]  # fmt: skip


def made(rng):
    g = Graph(rng)
    if g.dtype == "int64":
        if rng.random() < 0.4:
            g.then(g.pick("Div", "Mul", "Add", "Max", "Min"), g.h, g.tensor(g.pick(2, 3, -2)))
        if rng.random() < 0.9:
            g.then("Cast", g.h, to=TensorProto.FLOAT, dtype="float32")
    few = rng.random() < 0.5  # functions that get the inputs themselves
    for _ in range(rng.integers(1, 3 if few else 9)):
        g.pick(*MOVES)(g)
    return g


# --- the comparison


def probes(g, dtype):
    """(k, N, ...) inputs: random, and around each constant."""
    dims = g.input.type.tensor_type.shape.dim[1:]
    shape = (N, *(d.dim_value or int(d.dim_param[1:]) for d in dims))
    size = int(np.prod(shape))
    around = np.array([c for c in {0.0, *g.constants} if abs(c) < 1e5])
    steps = np.array([0, 1e-6, -1e-6, 1e-3, -1e-3, 0.02, -0.02])
    special = np.concatenate([(around[:, None] + steps).ravel(), g.rng.normal(size=size) * 30])
    g.rng.shuffle(special)
    special = np.resize(special, (min(6, 1 + len(special) // size), *shape))
    return np.concatenate([g.rng.normal(size=(2, *shape)), special]).astype(dtype)


def origin(proto, xs):
    """ONNX Runtime's outputs for each of xs, and the greatest number met on the way; None if it
    cannot run it."""
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    n_outputs = len(whole.graph.output)
    there = {one.name for one in whole.graph.output}
    for node in whole.graph.node:
        for name in node.output:
            if name not in there and node.op_type != "Constant":
                whole.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(whole.SerializeToString(), options)
        answers = [session.run(None, {"x": x}) for x in xs]
    except Exception:  # of many kinds
        return None
    results = []
    for values in answers:
        peak = max((abs(np.asarray(v, float)).max(initial=0) for v in values), default=0)
        results.append((values[:n_outputs], peak))
    return results


def differences(model, answers, xs, loose, open_width):
    """What is wrong with the model's answers, in rows, or as samples in columns."""
    tolerance = 1e-2 if loose else 2e-5
    for x, (values, peak) in zip(xs, answers, strict=True):
        if not peak < 1e6:
            continue  # float32 overflows or loses digits on the way
        flat = x.reshape(N, -1)
        if flat.shape[1] != model.sizes[0]:
            flat = flat.T
        if flat.shape[1] != model.sizes[0]:
            return "" if open_width else f"takes {model.sizes[0]} inputs"
        f = model.forward(flat)
        for want in values:
            if want.dtype == np.int64 and want.ndim == 1 and len(values) > 1:
                classes = np.array(model.metadata.get("classes", LABELS))
                best = np.sort(f)[:, -1:] - f <= 2 * tolerance * max(1.0, peak)
                sure = best.sum(1) == 1  # no ties
                if (classes[f.argmax(1)] != want)[sure].any():
                    return "other labels"
                continue
            got, want = f, np.asarray(want, float)
            if want.size == 2 * f.size and f.shape[1] == 1:
                got = np.hstack([1 - f, f])
            if want.size != got.size:
                return f"{want.shape} for {got.shape}"
            ways = [want.reshape(got.shape)]
            if want.ndim == 2 and want.shape == got.shape[::-1]:  # samples in columns
                ways = [want.T, *ways] if want.shape == got.shape else [want.T]
            off = min(abs(got - one).max() for one in ways) / max(1.0, peak)
            if not off <= tolerance:
                return f"off by {off:g} of {peak:g}"
    return ""


def searched(seed, path):
    """What came of one graph: "refused", "loaded", "invalid"; fails where the numbers differ."""
    rng = np.random.default_rng(seed)
    g = made(rng)
    dtype = g.before[0][2]
    proto = g.model()
    xs = probes(g, dtype)
    path.write_bytes(proto.SerializeToString())
    try:
        model = fastnn.onnx.load(path)
    except fastnn.ModelFileError as error:
        text = str(error)
        assert "node '" in text or "input" in text or "output" in text or "end of the" in text, text
        for word in ("operands", "broadcast", "array", "axis1", "ufunc"):  # NumPy's own text
            assert word not in text.split(".onnx: ")[1], text
        return "refused"
    answers = origin(proto, xs)
    if answers is None:
        return "invalid"
    open_width = any(d.dim_param for d in g.input.type.tensor_type.shape.dim[1:])
    problem = differences(model, answers, xs, g.loose, open_width)
    assert not problem, f"seed {seed}: {problem}\n{model!r}\n{onnx.printer.to_text(proto)}"
    return "loaded"


@pytest.mark.parametrize("block", range(4))
def test_random_graphs(tmp_path, block):
    came = [searched(1000 * block + i, tmp_path / "graph.onnx") for i in range(150)]
    assert came.count("loaded") > 20 and came.count("invalid") < 15
