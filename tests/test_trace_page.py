"""The trace's page in a browser: every number shown, at every step, is the trace's.

Needs Chromium and playwright; FASTNN_CHROMIUM names the browser where it is not on the path.
"""

from __future__ import annotations

import base64
import json
import math
import re
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from test_report import Page
from test_trace import BARE, with_inputs

import fastnn
from fastnn.drawing.formula import FUNCTIONS, SPELT, Numbers, parse, show, value, written
from fastnn.explain.formulas import DELTAS, LOSS_FORMULAS, SLOPES
from fastnn.explain.steps import Steps
from fastnn.network.activations import TABLE


def worked(loss):
    """The 2-2-1 network of docs/worked_example.md."""
    model = fastnn.Model(
        [2, 2, 1], activation="sigmoid", output="sigmoid", loss=loss, bias=False, dtype="float64"
    )
    model.W[0][:] = [[0.1, 0.3], [0.2, 0.4]]
    model.W[1][:] = [[0.5, 0.6]]
    return model.trace([0.0, 1.0], [1.0], learning_rate=0.2)


def softmax():
    model = fastnn.Model([4, 3, 3], activation="tanh", seed=1)
    return model.trace(np.random.default_rng(0).normal(size=4), 2, learning_rate=0.5)


def normalised():
    model = fastnn.Model([3, 4, 2], activation="tanh", norm="batch", seed=1, dtype="float64")
    X = np.random.default_rng(0).normal(size=(4, 3))
    return model.trace(X, [0, 1, 1, 0], learning_rate=0.5)


CASES = {
    "squared error": lambda: worked("squared_error"),
    "cross-entropy": lambda: worked("binary_cross_entropy"),
    "softmax": softmax,
    "batch normalisation": normalised,
}

READ = """() => [...document.querySelectorAll(".step:not([hidden]) .line")]
  .filter((line) => line.checkVisibility())
  .map((line) => [line.dataset.at || "", [...line.querySelectorAll("math")].flatMap((math) => {
    math = math.cloneNode(true);
    const names = "msub,msubsup,msup:has(>mi:first-child+mrow>mo+mn+mo)";
    for (const name of math.querySelectorAll(names)) name.remove();
    const leaves = (of) => [...of.querySelectorAll("mn,mo,mi")];
    const text = (of) => leaves(of).map((leaf) => leaf.textContent).join(" ");
    const cells = [...math.querySelectorAll("mtd")].map((cell) => "= " + text(cell));
    for (const table of math.querySelectorAll("mtable")) table.remove();
    return [...[text(math)], ...cells];
  }).join(" ")])"""
DRAWN = """() => ({
  units: [...document.querySelectorAll("[data-unit]")].map((unit) => [unit.dataset.unit,
    [...unit.querySelectorAll("[data-u]")].map((text) => [text.dataset.u, text.textContent])]),
  weights: [...document.querySelectorAll("[data-w]")].map(
    (text) => [text.dataset.w, text.textContent]),
  kind: document.getElementById("lines-are").textContent,
  loss: document.getElementById("loss").textContent})"""
PLACES = """() => [...document.querySelectorAll("[data-w],.unit rect")].map((one) => {
  const box = one.getBBox(), inset = one.dataset.w ? 2 : 0;
  return [box.x, box.y + inset, box.x + box.width, box.y + box.height - inset];
})"""


@pytest.fixture(params=CASES)
def opened(request, browser, tmp_path):
    trace = CASES[request.param]()
    trace.to_html(tmp_path / "t.html")
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto((tmp_path / "t.html").as_uri())
    page.wait_for_selector(".controls:not([hidden])")
    yield trace, page
    page.close()
    assert not errors


def numbers_in(text):
    """Numbers of a formula; a minus is theirs after a bracket or an equals sign."""
    text = " ".join(text.split())
    found = re.finditer(r"(?:(?<=[(=] )− )?\d+(?:\.\d+)?(?: · 10 (?:− )?\d+(?![.\d]))?", text)
    return [one[0].replace(" ", "") for one in found]


def known_numbers(trace):
    """Every number that a formula may be made of, as it is written, without its sign."""
    found = {"0", "1", "2"}
    n = 1 if trace._single else len(trace.x)
    for of in (trace, trace.after):
        arrays = [of.x, of.y, *of.a, *of.h, *of.delta, *of.W, *of.grad_W, *of.b, *of.grad_b]
        arrays += [*of.u, *of.xhat, *of.du, *of.gamma, *of.grad_gamma, of._losses, of.loss, n]
        for k, layer in enumerate(of._network.layers):
            if layer.norm:
                c = of.delta[k] * of.gamma[k]
                arrays += [*of._moments(layer), layer.norm.epsilon, c, c.mean(0)]
                arrays += [(c * of.xhat[k]).mean(0)]
        for one in arrays:
            if one is not None:
                found |= {formula_text(abs(v)) for v in np.ravel(one).tolist()}
    return found | {formula_text(trace._learning_rate)}


def formula_text(number):
    figures, e, power = written(number).partition("e")
    return figures + (f"·10{power}" if e else "")


def rows_of(values):
    return np.atleast_2d(values)


def test_every_number_of_every_step(opened):
    trace, page = opened
    known, K = known_numbers(trace), len(trace.W)
    n = 1 if trace._single else len(trace.x)
    n_steps = page.locator(".step").count()
    seen = set()
    for step in range(n_steps):
        if step:
            page.click("#next")
        title = page.inner_text(".step:not([hidden]) h2")
        assert page.inner_text("#where") == f"Step {step + 1} of {n_steps}: {title}"
        seen.add(title.split(":")[0].rstrip(" 0123456789"))
        for r in range(n):
            if n > 1:
                page.select_option("#row", str(r))
            lines = page.evaluate(READ)
            check_lines(trace, title, lines, r, known)
            check_drawing(trace, title, page.evaluate(DRAWN), r, K)
    assert page.is_disabled("#next") and {"The data", "Layer", "Update", "Forward again"} <= seen
    assert {"Delta of the outputs", "Delta of layer", "Outer product"} <= seen


def check_lines(trace, title, lines, r, known):
    assert lines
    after = title.startswith(("Forward again", "The loss after"))
    of = trace.after if after else trace
    found = [(at, numbers_in(text)) for at, text in lines]
    for _, numbers in found:
        for number in numbers:
            assert number.lstrip("−") in known, (title, number)
    kind, _, rest = title.partition(":")
    k = int((re.findall(r"\d+", title) or ["0"])[0])
    flat = [number for _, numbers in found for number in numbers]
    if kind.startswith("Layer") and rest.strip() in ("weighted sums", "activation"):
        name = "h" if "activation" in rest else "u" if trace._network.layers[k - 1].norm else "a"
        want = rows_of(getattr(of, name)[k - 1])[r]
        assert [numbers[-1] for _, numbers in found] == list(map(formula_text, want.tolist()))
    if rest.strip() == "weighted sums":
        h = rows_of(of.x if k == 1 else of.h[k - 2])[r]
        b = of.b[k - 1] if trace._network.layers[k - 1].norm is None else None
        for i, (at, numbers) in enumerate(found):
            terms = [v for pair in zip(of.W[k - 1][i], h, strict=True) for v in pair]
            terms += [] if b is None else [b[i]]
            assert at == f"{k}.{i}" and numbers[:-1] == list(map(formula_text, map(float, terms)))
    if title.startswith("Delta of"):
        layer = len(trace.W) if "outputs" in title else k
        want = rows_of(trace.delta[layer - 1])[r].tolist()
        got = [numbers[-1] for _, numbers in found][: len(want)]
        assert got == list(map(formula_text, want))
    if title.startswith("Outer product"):
        own = trace.delta[k - 1] if trace.du[k - 1] is None else trace.du[k - 1]
        below = rows_of(trace.x if k == 1 else trace.h[k - 2])
        arrays = [rows_of(own).T, below, trace.grad_W[k - 1]]
        assert flat == [*(["1", str(len(below))] if len(below) > 1 else []), *texts(arrays)]
    if title == "Update":
        arrays = []
        for k in range(len(trace.W)):
            for name in ("W", "b", "gamma"):
                if getattr(trace, name)[k] is not None:
                    arrays += [getattr(trace, name)[k], trace._learning_rate]
                    arrays += [getattr(trace, f"grad_{name}")[k], getattr(trace.after, name)[k]]
        assert flat == texts(arrays)
    if title.startswith(("Loss", "The loss")):
        assert found[0][1][-1] == formula_text(float(of._losses[r]))
        assert flat[-1] == formula_text(of.loss)


def texts(arrays):
    return [formula_text(v) for one in arrays for v in np.ravel(one).tolist()]


def check_drawing(trace, title, drawn, r, K):
    again = title.startswith("Forward again") and int(title[-1])
    again = K if title.startswith("The loss after") else again
    for key, shown in drawn["units"]:
        k, i = map(int, key.split("."))
        of = trace.after if 0 < k <= again else trace
        for name, text in shown:
            if text != "·":
                values = {"h": of.h, "a": of.a, "δ": trace.delta}[name]
                values = trace.x if k == 0 else values[k - 1]
                assert text == written(float(rows_of(values)[r][i]), 4), (title, key, name)
    on = {"weights W": trace.W, "slopes dL/dW": trace.grad_W}
    kind = on.get(drawn["kind"], trace.after.W)
    behind = trace.after.W if again or title == "Update" else trace.W
    at = re.findall(r"\d+", title) if kind is trace.grad_W else []
    for key, text in drawn["weights"]:
        k, i, j = map(int, key.split("."))
        values = kind if kind is not trace.grad_W or str(k) in at else behind
        assert text == written(float(values[k - 1][i, j]), 4), (title, key)
    if drawn["loss"]:
        last = title.startswith("The loss after")
        want = (trace.after if last else trace).loss
        assert drawn["loss"] == f"L = {written(want, 4)}"


def test_keys_buttons_and_selection(opened):
    trace, page = opened
    where = page.locator("#where")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert where.inner_text().startswith("Step 2 of")
    page.focus("#slider")
    page.keyboard.press("End")
    assert page.is_disabled("#last") and page.is_enabled("#first")
    page.click("#back")
    page.click("#first")
    assert where.inner_text().startswith("Step 1 of") and page.is_disabled("#back")
    page.click("#last")
    page.locator('[data-unit="0.0"]').focus()
    for _ in range(len(trace.W[0][0])):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.get_attribute('[data-unit="1.0"]', "aria-pressed") == "true"
    card = page.inner_text("#card")
    for new, slope in zip(trace.after.W[0][0], trace.grad_W[0][0], strict=True):
        assert f"{written(float(new), 4)}\t{written(float(slope), 4)}" in card
    page.keyboard.press("Enter")
    assert page.inner_text("#card") == ""


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    _, page = opened
    page.set_viewport_size({"width": width, "height": 800})
    for _ in range(page.locator(".step").count()):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.keyboard.press("ArrowRight")


def test_on_a_phone_the_drawing_moves_to_what_is_worked_on(opened):
    _, page = opened
    page.set_viewport_size({"width": 390, "height": 800})
    moved = set()
    for _ in range(page.locator(".step").count() - 1):
        page.keyboard.press("ArrowRight")
        unit, frame = page.locator(".unit.on").first, page.locator(".wide").first
        moved.add(frame.evaluate("frame => frame.scrollLeft"))
        if unit.count():
            at, within = unit.bounding_box(), frame.bounding_box()
            assert within["x"] - 1 <= at["x"]
            assert at["x"] + at["width"] <= within["x"] + within["width"] + 1
    assert len(moved) > 1


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_rule_of_axe_is_broken(opened, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    _, page = opened
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    for _ in range(page.locator(".step").count()):
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.keyboard.press("ArrowRight")


def test_numbers_of_the_drawing_stand_apart(browser, tmp_path):
    """At every step, where each layer has the most units whose lines have numbers."""
    model = fastnn.Model([4, 4, 3, 2, 4], activation="tanh", seed=0)
    trace = model.trace(np.random.default_rng(0).normal(size=4), 2, learning_rate=0.5)
    trace.to_html(tmp_path / "t.html")
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto((tmp_path / "t.html").as_uri())
    page.wait_for_selector(".controls:not([hidden])")
    for _ in range(page.locator(".step").count()):
        boxes = np.array(page.evaluate(PLACES))
        left, top, right, bottom = boxes.T[:, :, None]
        apart = (right <= left.T) | (left >= right.T) | (bottom <= top.T) | (top >= bottom.T)
        assert (apart | np.eye(len(boxes), dtype=bool)).all()
        page.keyboard.press("ArrowRight")
    page.close()


# --- without a browser


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_whole_without_a_script(case, tmp_path):
    trace = CASES[case]()
    trace.to_html(tmp_path / "t.html")
    html = (tmp_path / "t.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not page.all("link") and not page.all("img") and not re.search(r"https?://|url\(", html)
    assert "script-src 'sha256-" in html and len(html) < 60_000
    assert repr(trace) in "".join(page.texts)
    for values in (*trace.W, *trace.grad_W, *trace.h, *trace.delta):
        assert all(written(one) in page.text for one in np.ravel(values).tolist())
    assert trace._repr_html_().startswith("<iframe srcdoc=")


def test_a_large_drawing_stays_small(tmp_path):
    trace = fastnn.Model([10, 10, 10], seed=0).trace(np.ones(10), 3, learning_rate=0.1)
    trace.to_html(tmp_path / "t.html")
    assert (tmp_path / "t.html").stat().st_size < 100_000
    frame = trace._repr_html_()
    assert len(frame) < 110_000
    (attributes,) = Page(frame).all("iframe")
    assert attributes["srcdoc"] == trace._page() and attributes["sandbox"] == "allow-scripts"


def test_without_a_rate_the_page_ends_before_the_update(tmp_path):
    model = fastnn.Model([2, 2, 2], seed=0)
    trace = model.trace([1.0, 2.0], 1)
    trace.to_html(tmp_path / "t.html")
    page = Page((tmp_path / "t.html").read_text())
    assert "Forward again" not in steps_of(page) and "to_html(path, learning_rate=0.1)" in page.text
    trace.to_html(tmp_path / "t.html", learning_rate=0.3)
    page = Page((tmp_path / "t.html").read_text())
    assert "Forward again" in steps_of(page) and trace.after is None
    with pytest.raises(ValueError, match="learning_rate"):
        trace.to_html(tmp_path / "t.html", learning_rate=-1)
    assert "Forward again" in steps_of(Page((tmp_path / "t.html").read_text()))


def steps_of(page):
    """The steps as HTML, as the page's script unpacks them."""
    (packed,) = (text for text in page.texts if re.fullmatch(r"[\w+/=]{400,}", text))
    return json.loads(zlib.decompress(base64.b64decode(packed)))["html"]


def test_a_large_network_is_told_as_text(tmp_path):
    trace = fastnn.Model([100, 10, 10], seed=0).trace(np.ones(100), 3)
    trace.to_html(tmp_path / "t.html")
    page = Page((tmp_path / "t.html").read_text())
    assert "100 units in its widest layer" in page.text and not page.all("script")
    assert "delta^(2) = dL/da^(2) = h - e(y)" in page.text


def trained(norm, bias, X):
    """Of running statistics that are none of the rows' own."""
    model = fastnn.Model([3, 4, 2], "tanh", norm=norm, bias=bias, seed=1, dtype="float64")
    model.fit(np.random.default_rng(2).normal(1, 2, (20, 3)), [0, 1] * 10, epochs=1)
    return model.trace(X, [0, 1][: len(X)] if X.ndim > 1 else 0, learning_rate=0.1)


def of_loss(loss, output, y, sizes=(3, 4, 3)):
    model = fastnn.Model(sizes, "tanh", output, loss, seed=1, dtype="float64")
    return model.trace(ROWS[: len(y)], y, learning_rate=0.1)


def parametric():
    g = [fastnn.Parametric("silu"), fastnn.Parametric("leaky_relu")]
    model = fastnn.Model([3, 4, 3, 2], g, bias=False, seed=1, dtype="float64")
    model.alpha[0][:], model.alpha[1][:] = (0.3, 0.7, -0.4, 1.2), (0.25, 1.5, 0.6)
    return model.trace(ROWS, [0, 1], learning_rate=0.1)


ROWS = np.random.default_rng(0).normal(size=(2, 3))
TARGETS = np.array([[0.1, 0.9, 0.4], [0.8, 0.2, 0.3]])
EQUATIONS = {
    **CASES,
    "parametric": parametric,
    "running statistics": lambda: trained("batch", True, ROWS[0]),
    "layer normalisation": lambda: trained("layer", False, ROWS),
    "hinge": lambda: of_loss("hinge", "identity", [2, 0]),
    "focal": lambda: of_loss("focal", "softmax", [2, 0]),
    "focal of distributions": lambda: of_loss("focal", "sigmoid", TARGETS),
    "squared error of softmax": lambda: of_loss("squared_error", "softmax", [2, 0]),
    "absolute error": lambda: of_loss("absolute_error", "tanh", TARGETS),
    "huber": lambda: of_loss(fastnn.Huber(0.5), "identity", TARGETS),
    "poisson": lambda: of_loss("poisson", "exp", TARGETS),
    "quantiles": lambda: of_loss(fastnn.Quantile([0.1, 0.5, 0.9]), "relu", TARGETS[:, :1]),
}
SPOKEN = {"−": "-", "·": "*", "\u2061": "", "[": "(", "]": ")"}
SPOKEN |= {sign: name for name, sign in SPELT.items()}


def code(element):
    """Python that says what MathML of numbers does."""
    text, inside = element.text or "", [code(one) for one in element]
    whole = "".join(inside)
    match element.tag:
        case "mfrac":
            return f"(({inside[0]}) / ({inside[1]}))"
        case "msup":
            return f"(({inside[0]}) ** ({inside[1]}))"
        case "msqrt":
            return f"sqrt({whole})"
        case "mrow" if "<mspace>" in inside:
            return f"{inside[0]}({inside[2]})"
        case "mrow" if inside[0] == "|":
            return f"abs({whole[1:-1]})"
        case "mspace":
            return "<mspace>"
    return whole or SPOKEN.get(text, text)


def equations(step):
    """What stands between the equals signs of each line, and what it should come to."""
    for line in ET.fromstring(f"<div>{''.join(step.rows)}{step.all}</div>").iter("p"):
        maths = [code(one) for one in line.findall("math")]
        if len(maths) > 2 and line.find(".//mtable") is None:
            yield " ".join(maths[1:-1]), maths[-1].removeprefix("=")


@pytest.mark.parametrize("case", EQUATIONS)
def test_every_equation_comes_to_the_number_at_its_end(case):
    trace = EQUATIONS[case]()
    n, counted = 1 if trace._single else len(trace.x), 0
    for step in Steps(trace, n):
        for shown, result in equations(step):
            got, want = (eval(one, {"e": math.e, **FUNCTIONS}) for one in (shown, result))
            assert got == pytest.approx(want, rel=1e-4, abs=1e-5), (step.title, shown)
            counted += 1
    n_units = sum(trace._network.sizes[1:])
    assert counted >= 5 * n * n_units + 2 * n, counted  # a and h, each again; delta; L, again


def test_the_input_layer_shows(tmp_path):
    model, X, y = with_inputs([*BARE, fastnn.Periodic([0], 2, 1)], feature_scale=True)
    trace = model.trace(X, y, learning_rate=0.5)
    steps = {step.title: step for step in Steps(trace, 1)}
    titles = list(steps)
    assert titles[1] == "The input layer"
    assert titles[titles.index("Delta of layer 1") + 1] == "Back through the input layer"
    for title, parts in (
        ("The input layer", ("phi(x_1) = ", "h^(0) = s * phi(x)")),
        ("Back through the input layer", ("dL/ds = ", "d_0 = ", "dL/dw_0 = ")),
        ("Update", ("s &lt;- s - 0.5 dL/ds", "w_0 &lt;- w_0 - 0.5 dL/dw_0")),
    ):
        assert all(part in steps[title].all for part in parts), title
    assert "d_1" not in steps["Back through the input layer"].all  # it has no parameters
    assert steps["The data"].formulas == []  # x is not h^(0)
    trace.to_html(tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text()
    for i, (h, delta) in enumerate(zip(trace.h_0[0], trace.delta_0[0], strict=True)):
        assert f"Unit {i} of layer 0: h {written(h, 4)}, δ {written(delta, 4)}" in page


def test_of_many_rows_the_first_are_shown(tmp_path):
    model = fastnn.Model([2, 3, 2], seed=0)
    trace = model.trace(np.random.default_rng(0).normal(size=(9, 2)), [0, 1, 1] * 3)
    trace.to_html(tmp_path / "t.html")
    page = Page((tmp_path / "t.html").read_text())
    assert "Of 9 rows the first 8 rows can be looked at; slopes are of all." in page.text
    assert [attrs["value"] for attrs in page.all("option")] == list("01234567")
    steps = {step.title.split(":")[0]: step for step in Steps(trace, 8)}
    assert len(steps["Loss"].rows) == 8
    assert formula_text(trace.loss) in steps["Loss"].all and "mfrac" not in steps["Loss"].all
    whole = Page(steps["Outer product"].all)
    assert len(whole.all("mtable")) == 1  # not each row's delta and h


def test_a_step_that_was_too_long_is_told():
    model = fastnn.Model([1, 1], output="identity", loss="squared_error", bias=False)
    model.W[0][:] = 1
    for rate, told in ((0.5, "It has fallen."), (3, "It has risen. The step was too long: ")):
        trace = model.trace([1.0], [0.0], learning_rate=rate)  # h: 1, then 1 - rate
        assert [*Steps(trace, 1)][-1].told.startswith(told)


@pytest.mark.parametrize("name", [name for name in TABLE if name != "softmax"])
def test_formulas_come_to_what_the_network_computes(name):
    for x in (-1.3, -0.4, 0.3, 1.7):
        model = fastnn.Model([1, 1, 1], "identity", name, "squared_error", False, "float64")
        model.W[0][:] = model.W[1][:] = 1
        trace = model.trace([x], [0.0])
        g, slope = (text.replace("{p}", f"{p:g}") for text in TABLE[name][:2]
                    for p in [{"leaky_relu": 0.01}.get(name, 1)])  # fmt: skip
        h = value(parse(g), Numbers({"a": x}))
        assert h == pytest.approx(trace.h[1][0], rel=1e-4)
        got = value(parse(slope), Numbers({"a": x, "h": h}))
        assert got * h == pytest.approx(trace.delta[1][0], rel=1e-4)


def test_formulas_are_read_whole():
    for text in (*LOSS_FORMULAS.values(), *SLOPES.values(), *DELTAS.values()):
        assert show(parse(text.replace("{y}", "e(y)")))
    for text in ("h +", "(h", "a where b", "h ) 1", "ä", "h + )"):
        with pytest.raises(ValueError):
            parse(text)
    with pytest.raises(ValueError, match="no value"):
        value(parse("sum h"), Numbers({"h": 1.0}))
    assert show(parse("h^2 - a"), Numbers({"h": -0.5, "a": -1e-7})) == (
        "<mrow><mrow><msup><mrow><mo>(</mo><mrow><mo>−</mo><mn>0.5</mn></mrow><mo>)</mo></mrow>"
        "<mn>2</mn></msup><mo>−</mo><mrow><mo>(</mo><mrow><mo>−</mo><mn>1</mn><mo>·</mo><msup>"
        "<mn>10</mn><mrow><mo>−</mo><mn>7</mn></mrow></msup></mrow><mo>)</mo></mrow></mrow></mrow>"
    )
