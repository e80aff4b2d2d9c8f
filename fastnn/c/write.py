"""A Model as the text of one C99 file.

includes and functions (text) -> numbers of each layer -> predict, a line or two for each layer
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.c import text
from fastnn.checks import name_of
from fastnn.model import Model
from fastnn.network.activations import is_parametric, parameter_of
from fastnn.network.activations import plain as plain_activation
from fastnn.network.arrays import as_finite
from fastnn.network.embeddings import Categories, in_order
from fastnn.network.norms import BatchNorm, LayerNorm
from fastnn.network.spec import check_float
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import TableInputs
from fastnn.tables.numbers import Numeric
from fastnn.tables.targets import Amount
from fastnn.tables.words import number_or_none

BLOCK = 8  # outputs whose weights stand side by side


def as_c(model: Model, name: str, version: str) -> str:
    """The file's text, or ValueError that names what it cannot hold."""
    columns = model.columns
    data = None if columns is None or columns.plain else columns
    _check(model, data)
    as_finite("the weights theta", model.theta, model.dtype)
    file = _File(model, name, data)
    body = file.body()
    functions = text.functions(file.used, model.dtype, file.needs_math).replace("@", f"{name}_")
    return f"{file.header(version)}\n{functions}\n{body}"


def _check(model: Model, data: Columns | None) -> None:
    network = model._network
    for one in network.embeddings:
        if not isinstance(one, Categories):
            raise ValueError(f"a C file has no embeddings but Categories; this model has {one!r}")
        if data is not None:
            raise ValueError("a C file has no embeddings of columns that a model learned")
    check_float(network, "a C file")
    if network.feature_scale:
        raise ValueError("a C file has no feature_scale; this model has one")
    if data is None:
        return
    if not isinstance(data.inputs, TableInputs):
        raise ValueError("a C file takes columns of a table; this model learned from arrays")
    for column in data.inputs.columns:
        if not isinstance(column, Numeric):
            raise ValueError(
                f"a C file takes columns of numbers alone; {column.name!r} is {column.kind}"
            )
        if column.floor is not None:
            raise ValueError(
                f"a C file takes no logarithms of columns; {column.name!r} is scaled as one"
            )
    for target in data.targets:
        if isinstance(target, Amount) and target.log:
            raise ValueError(
                f"a C file gives no exponentials of targets; {target.name!r} was learned as ln"
            )


class _File:
    def __init__(self, model: Model, name: str, data: Columns | None) -> None:
        self.used: set[str] = set()
        self._model, self._name, self._data = model, name, data
        self._dtype = np.dtype(model.dtype)
        self._real = text.REALS[model.dtype]["real"]
        self._suffix = text.REALS[model.dtype]["suffix"]
        amounts = [] if data is None else [t for t in data.targets if isinstance(t, Amount)]
        self._amounts: Sequence[Amount] = amounts
        self._takes = self._real if data is None else "double"
        self._gives = "double" if amounts else self._real
        self._n_in = model.sizes[0] if data is None else len(data.inputs.columns)  # type: ignore[union-attr]

    # --- the comment at the top

    def header(self, version: str) -> str:
        model = self._model
        sizes = "-".join(map(str, model.sizes))
        link = "      (and link with -lm)" if self.needs_math else ""
        lines = [
            f"The network {sizes} of {model.dtype}, as fastnn {version} exported it.",
            "",
            f"    {self._prototype()};",
            "",
            f"x: {self._n_in} numbers. y: {model.sizes[-1]}.",
            "Returns 1; or 0, y as it was, where a number of x is not finite.",
            "Any number of threads may call it. It allocates nothing; its rows take "
            f"{self._stack()} bytes of stack.",
            "",
            f"    cc -std=c99 -O2 -ffp-contract=off -c FILE.c{link}",
            "",
            "-O3 and flags such as -mavx2 make it faster and change no bit. y has the bits that",
            "fastnn gives with FASTNN_ISA=baseline on x86-64, unless a number on the way is NaN,",
            "or within half a unit in its last place below the smallest normal one.",
        ]
        lines += self._about_data()
        return "/* " + "\n * ".join(lines).replace("\n * \n", "\n *\n") + "\n */"

    def _about_data(self) -> list[str]:
        model, data, lines = self._model, self._data, [""]
        scale = model._network.input_scale
        if scale != 1:
            by = self._number(scale)
            lines.append(
                f"Integers, which input_scale is for, are to be given as ({self._real})i * {by}."
            )
        for column in sorted(model._network.embeddings, key=lambda one: one.of):
            assert isinstance(column, Categories)
            lines.append(f"x[{column.column}]: a code, 0 to {column.n - 1}, or any other number.")
        if data is not None:
            assert isinstance(data.inputs, TableInputs)
            nan = "" if data.inputs.missing == "refuse" else ", NaN where missing"
            lines.append(f"x, as the table has them{nan}:")
            lines += [f"    x[{i}] {_said(one)}" for i, one in enumerate(data.inputs.names)]
        classes = model.metadata.get("classes") if data is None else data.class_names
        names = [one.name for one in self._amounts] or classes
        if isinstance(names, list) and len(names) == model.sizes[-1]:
            lines.append("y:")
            lines += [f"    y[{j}] {_said(one)}" for j, one in enumerate(names)]
        elif isinstance(names, list) and len(names) == 2 and model.sizes[-1] == 1:
            lines.append(f"y[0]: of {_said(names[1])}; the other class is {_said(names[0])}.")
        return lines if len(lines) > 1 else []

    def _prototype(self) -> str:
        n_out = self._model.sizes[-1]
        takes = f"const {self._takes} x[{self._n_in}], {self._gives} y[{n_out}]"
        return f"int {self._name}_predict({takes})"

    def _stack(self) -> int:
        return 2 * self._widest() * self._dtype.itemsize

    def _widest(self) -> int:
        return max(self._model._network.n_features, *self._model.sizes[1:])

    @property
    def needs_math(self) -> bool:
        """Whether it calls sqrt, once `used` is known."""
        return bool(self.used & {"layer_norm", "clip"})

    # --- numbers and code

    def body(self) -> str:
        """What follows the functions; afterwards `used` names those."""
        model, name = self._model, self._name
        arrays: list[str] = []
        code: list[str] = []
        widest = self._widest()
        h, other = "h[0]", "h[1]"
        features: Any = slice(None)
        if model._network.embeddings:
            inputs, features, arrays = self._embedded()
        else:
            inputs = self._inputs()
        for k, layer in enumerate(model._network.layers, 1):
            W, b = self._folded(k - 1, layer.norm)
            W = W[:, features] if k == 1 else W
            n_out, n_in = W.shape
            size = np.abs(W[W != 0])
            least = float(size.min()) if size.size else 1.0
            by_rows = layer.norm if isinstance(layer.norm, LayerNorm) else None
            zeros = np.zeros(n_out, self._dtype)
            product_b = zeros if b is None or by_rows is not None else b
            arrays.append(self._array(f"W{k}", _blocks(W)))
            arrays.append(self._array(f"b{k}", product_b))
            given = f"{name}_W{k}, {name}_b{k}, {self._number(least)}, {h}, {other}"
            code.append(f"{name}_product({n_in}, {n_out}, {given});")
            h, other = other, h
            if by_rows is not None:
                arrays.append(self._array(f"gamma{k}", model.gamma[k - 1]))
                arrays.append(self._array(f"beta{k}", zeros if b is None else b))
                self.used.add("layer_norm")
                epsilon = self._number(by_rows.epsilon)
                given = f"{name}_gamma{k}, {name}_beta{k}, {epsilon}, {h}"
                code.append(f"{name}_layer_norm({n_out}, {given});")
            alpha = model.alpha[k - 1] if is_parametric(layer.activation) else None
            if alpha is not None:
                arrays.append(self._array(f"alpha{k}", alpha))
            code += self._activation(k, n_out, h, layer.activation)
        parts = [*arrays, f"{self._prototype()};\n"]
        lines = [f"{self._real} h[2][{widest}];", "int j;", *inputs, *code]
        lines += [*self._outputs(h), "return 1;"]
        inner = "".join(f"    {line}\n" for line in lines)
        parts.append(f"{self._prototype()}\n{{\n{inner}}}\n")
        return "\n".join(parts)

    def _folded(self, k: int, norm: object) -> tuple[np.ndarray, np.ndarray | None]:
        """W and b as prediction has them: fold in fastnn/kernels/net.pyx."""
        model = self._model
        W, b = model.W[k], model.b[k]
        if not isinstance(norm, BatchNorm):
            return W, b
        mean, variance, gamma = (
            np.asarray(one[k], np.float64)
            for one in (model.running_mean, model.running_variance, model.gamma)
        )
        by = gamma / np.sqrt(variance + norm.epsilon)
        shift = (0.0 if b is None else b.astype(np.float64)) - by * mean
        return W * by.astype(self._dtype)[:, None], shift.astype(self._dtype)

    def _activation(self, k: int, n: int, h: str, activation: object) -> list[str]:
        g = plain_activation(activation)  # type: ignore[arg-type]
        name, parametric = name_of(g), is_parametric(activation)  # type: ignore[arg-type]
        if name == "softmax":
            self.used.add(name)
            return [f"{self._name}_softmax({n}, {h});"]
        value = f"{h}[j]"
        if name != "identity":
            self.used.add(name)
            p = parameter_of(g)
            more = f", {self._number(p)}" if name in text.WITH_PARAMETER else ""
            value = f"{self._name}_{name}({value}{more})"
        if parametric:
            self.used.add("parametric")
            value = f"{self._name}_parametric({h}[j], {value}, {self._name}_alpha{k}[j])"
        return [] if value == f"{h}[j]" else [f"for (j = 0; j < {n}; j++) {h}[j] = {value};"]

    def _inputs(self) -> list[str]:
        """h[0] <- what the network takes, or return 0."""
        to = [
            f"for (j = 0; j < {self._model.sizes[0]}; j++) {{",
            "    if (%s - %s != 0) return 0;",
            f"    h[0][j] = {self._name}_flush(%s);",
            "}",
        ]
        if self._data is None:
            return [line.replace("%s", "x[j]") for line in to]
        inputs = self._data.inputs
        assert isinstance(inputs, TableInputs)
        lines, at = [], 0
        words = [number_or_none(word) for word in inputs.missing_values]
        for i, one in enumerate(inputs.columns):
            assert isinstance(one, Numeric)
            absent = " || ".join(
                [f"x[{i}] != x[{i}]", *(f"x[{i}] == {_double(w)}" for w in words if w is not None)]
            )
            lines.append("{")
            lines.append(f"    const int absent = {absent};")
            if inputs.missing == "refuse":
                lines.append("    if (absent) return 0;")
            lines.append(f"    double z = absent ? {_double(one.median)} : x[{i}];")
            lines.append("    if (z - z != 0) return 0;")
            lines.append(f"    z = (z - {_double(one.shift)}) / {_double(one.scale)};")
            if one.smooth:
                self.used.add("clip")
                lines.append("    z = z < -1e9 ? -1e9 : z > 1e9 ? 1e9 : z;")
                lines.append("    z /= sqrt(1 + z / 3 * (z / 3));")
            lines.append(f"    h[0][{at}] = ({self._real})z;")
            if one.indicator:
                lines.append(f"    h[0][{at + 1}] = ({self._real})absent;")
            lines.append("}")
            at += one.width
        return lines + [line.replace("%s", "h[0][j]") for line in to]

    def _embedded(self) -> tuple[list[str], list[int], list[str]]:
        """h[0] <- features of x, or return 0; which of them, one-hot codes last, as prediction has
        them (fold_inputs in fastnn/kernels/inputs.pyx); tables."""
        model, network, real = self._model, self._model._network, self._real
        lines = [f"for (j = 0; j < {network.n_in}; j++) if (x[j] - x[j] != 0) return 0;"]
        features: list[int] = []
        codes: list[tuple[int, range]] = []
        tables: list[str] = []
        first = 0
        for one, _, column, width, n, _, shapes in in_order(network.embeddings, network.n_in):
            own, first = range(first, first + width), first + width
            to, at = f"for (j = 0; j < {width}; j++) h[0][{len(features)} + j]", f"x[{column}]"
            if one is None:
                lines.append(f"{to} = {self._name}_flush(x[{column} + j]);")
            elif shapes:
                (span, _) = network.phi[network.embeddings.index(one)][0]["T"]
                table = f"T{len(tables) + 1}"
                tables.append(self._array(table, model.theta[span]))
                lines.append("{")
                lines.append(f"    const int code = {at} >= 0 && {at} < {n} ? (int){at} : -1;")
                lines.append(f"    const int known = ({real})code == {at} && code >= 0;")
                entry = f"{self._name}_{table}[code * {width} + j]"
                lines.append(f"    {to} = known ? {entry} : 0;")
                lines.append("}")
            else:
                codes.append((column, own))
                continue
            features += own
        for column, own in codes:
            to = f"for (j = 0; j < {len(own)}; j++) h[0][{len(features)} + j]"
            lines.append(f"{to} = x[{column}] == ({real})j ? 1 : 0;")
            features += own
        return lines, features, tables

    def _outputs(self, h: str) -> list[str]:
        n = self._model.sizes[-1]
        if not self._amounts:
            return [f"for (j = 0; j < {n}; j++) y[j] = {h}[j];"]
        lines = []
        for j, one in enumerate(self._each(n)):
            lines.append(
                f"y[{j}] = (double){h}[{j}] * {_double(one.scale)} + {_double(one.shift)};"
            )
            if one.low is not None and one.high is not None:
                low, high = _double(one.low), _double(one.high)
                lines.append(
                    f"y[{j}] = y[{j}] < {low} ? {low} : y[{j}] > {high} ? {high} : y[{j}];"
                )
        return lines

    def _each(self, n: int) -> list[Amount]:
        """The target of each output: of several quantiles the one."""
        return [one for one in self._amounts for _ in range(n // len(self._amounts))]

    def _array(self, what: str, values: Any) -> str:
        numbers = [self._number(x) for x in np.ravel(values).tolist()]
        rows = [", ".join(numbers[i : i + BLOCK]) for i in range(0, len(numbers), BLOCK)]
        inner = ",\n    ".join(rows)
        declared = f"static const {self._name}_real {self._name}_{what}[{len(numbers)}]"
        return f"{declared} = {{\n    {inner}\n}};"

    def _number(self, x: float) -> str:
        """As the network's type has it, 0 where it is not normal."""
        one = float(self._dtype.type(x))
        one = one if abs(one) >= np.finfo(self._dtype).tiny else one * 0.0
        return _double(one) + self._suffix


def _double(x: float) -> str:
    """A hexadecimal literal: 0x1.8p+1."""
    return re.sub(r"\.?0*p", "p", float(x).hex())


def _blocks(W: np.ndarray) -> np.ndarray:
    """W (n_out, n_in) as [block of 8 outputs][n_in][8], then single outputs, as one row."""
    whole = len(W) // BLOCK * BLOCK
    blocks = W[:whole].reshape(-1, BLOCK, W.shape[1]).transpose(0, 2, 1)
    return np.concatenate([blocks.reshape(-1), W[whole:].reshape(-1)])


def _said(word: object) -> str:
    """A name in a comment: nothing that ends it, begins another, or is a trigraph."""
    return re.sub(r"[^ -~]|[*?\\]", "_", str(word))[:100]
