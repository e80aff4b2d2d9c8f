"""How models, histories and tabular estimators show themselves in notebooks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from test_report import SMALL, Page, rows

import fastnn
from fastnn.drawing.palette import DARK, LIGHT
from fastnn.training.history import History

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


def trained(**settings):
    model = fastnn.Model([3, 8, 2], norm="batch", seed=0)
    settings = {"validation_split": 0.3, "optimizer": "adam", "epochs": 4, **settings}
    return model, model.fit(X, Y, **settings)


def shown(thing):
    """The card as a page, which must need nothing else and say nothing twice in a notebook."""
    html = thing._repr_html_()
    page = Page(html)
    names = {name for _, attrs in page.elements for name in attrs}
    assert not names & {"id", "for", "href", "src", "aria-labelledby", "aria-controls"}
    assert not any(name.startswith("on") for name in names)
    assert not page.all("script") and not re.search(r"https?://|url\(|@import", html)
    assert page.elements[0] == ("div", {"class": "fastnn"}) and html.count("<style>") == 1
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    # Nothing but the card is touched by its rules.
    top = re.sub(r"@media[^{]*", "", outside(style)).replace("{}", "\n").split("\n")
    assert all(one.split()[-1].startswith(".fastnn") for one in top if one.strip())
    return page


def outside(css):
    """What stands before the outermost braces, these empty; of @media what is within it."""
    css = re.sub(r"@media\([^)]*\)\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1", css)
    while (less := re.sub(r"\{[^{}]+\}", "{}", re.sub(r"\{([^{}]*)\{\}", r"{\1", css))) != css:
        css = less
    return css


def test_a_model_shows_its_layers_and_training():
    model, _ = trained()
    page = shown(model)
    cells = [line.split() for line in model.summary().splitlines()[1:]]
    for cell in {cell for line in cells for cell in line}:
        assert cell in page.text, cell
    assert "Model 3-8-2" in page.text and "softmax, cross_entropy loss, float32" in page.text
    assert f"4 epochs and {model._parameters.all_steps} steps, optimizer adam" in page.text
    heads = page.all("th")
    assert {one["scope"] for one in heads} == {"col", "row"}
    fresh = fastnn.Model([3, 2], seed=0)
    assert "trained not yet" in shown(fresh).text
    assert "to be fitted" in shown(fastnn.Model([None, 4, None], seed=0)).text


def test_reading_the_card_leaves_the_model_alone():
    model, _ = trained()
    before = model._parameters.version, model.theta.tobytes()
    model._repr_html_()
    assert before == (model._parameters.version, model.theta.tobytes())


def test_a_model_of_a_table_shows_its_columns():
    table = {'"><script>': ["<b>", "&", "<b>", "&"] * 5, "n": [1.5, 2.5, 0.5, 3.5] * 5}
    model = fastnn.Model([None, 4, None], seed=0)
    model.fit(table, ["no", "yes", "yes", "no"] * 5)
    page = shown(model)
    for name, told in model.columns.lines():
        assert name in page.text and told in page.text
    assert not page.all("details")
    wide = {f"c{j}": RNG.normal(size=20) for j in range(30)}
    model = fastnn.Model([None, 4, None], seed=0)
    model.fit(wide, ["no", "yes"] * 10)
    page = shown(model)
    assert len(page.all("details")) == 1 and "c29" in page.text


def test_a_history_is_drawn_with_its_best_epoch():
    _, history = trained(metrics=["accuracy"], callbacks=[fastnn.GradientNorms(X, Y)])
    page = shown(history)
    best = history.epoch[int(np.argmin(history.val_loss))]
    lowest = min(history.val_loss)
    assert f"val_loss is lowest after epoch {best}: {lowest:.4g}" in page.text
    drawings = [one["aria-label"] for one in page.all("svg") if one.get("role") == "img"]
    assert [told.split(":")[0] for told in drawings] == ["loss", "accuracy", "norm of dL/dW"]
    first, last = history.loss[0], history.loss[-1]
    assert f"loss {first:.4g} after epoch 1, {last:.4g} after epoch 4" in drawings[0]
    assert f"{lowest:.4g} after epoch {best}, lowest val_loss" in drawings[0]
    assert "layer 1" in drawings[2] and "layer 2" in drawings[2]
    assert f"epoch {best}, lowest val_loss" in page.text
    for values in history.columns().values():
        for value in values:
            assert f"{value:.6g}" in page.text


def test_histories_of_any_kind_are_shown():
    assert "no epochs" in shown(History()).text
    page = shown(trained(epochs=1, validation_split=0.0)[1])
    assert "History of 1 epoch " in page.text and "lowest" not in page.text
    nan, inf = float("nan"), float("inf")
    odd = History({"epoch": [3, 4], "loss": [nan, inf], "val_loss": [nan, 0.5], "seconds": [1, 1]})
    page = shown(odd)
    assert "loss has no finite value" in str(page.all("svg")) and "epoch 4: 0.5" in page.text
    nothing = History({"epoch": [1], "val_loss": [nan]})
    assert "lowest" not in shown(nothing).text


def test_a_long_history_stays_small():
    n = 5000
    values = np.exp(-np.arange(n) / 500)
    values[1234] = 0
    history = History({"epoch": list(range(1, n + 1)), "loss": values, "val_loss": values})
    html = history._repr_html_()
    assert len(html) < 20_000
    assert "1235" in Page(html).text and "51 of 5,000" in html


def test_tabular_estimators_show_what_they_learned():
    table, amount = rows()
    model = fastnn.TabularRegressor(recipe=SMALL, random_state=0)
    assert "TabularRegressor, not fitted yet" in shown(model).text
    page = shown(model.fit(table, amount))
    for name, told in model._lines():
        assert name in page.text and " ".join(told.split()) in page.text


def contrast(one, other):
    """WCAG 2's, of two colours #rrggbb."""
    lights = []
    for color in (one, other):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(lights) / min(lights)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_are_told_from_their_background(palette):
    colors = dict(re.findall(r"--(\w+):(#\w+)", palette))
    paper = colors["paper"] if len(colors["paper"]) == 7 else "#ffffff"
    for name in ("ink", "soft"):  # text
        assert contrast(colors[name], paper) >= 4.5 <= contrast(colors[name], colors["band"])
    for name in ("edge", "s0", "s1", "s2", "s3", "s4", "s5", "s6"):  # what must be seen
        assert contrast(colors[name], paper) >= 3, name


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_cards_in_a_browser(browser, theme, width):
    """Each twice in one page, on a notebook's theme that is not the system's."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    model, history = trained(metrics=["accuracy"])
    cards = 2 * (model._repr_html_() + history._repr_html_())
    other = {"light": "dark", "dark": "light"}[theme]
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=other)
    ground = {"light": "#ffffff", "dark": "#111111"}[theme]
    page.set_content(
        "<!DOCTYPE html><html lang=en><meta name=viewport content='width=device-width'>"
        "<title>notebook</title><style>td,tr:nth-child(odd){background:#888;color:#888}</style>"
        f"<body style='margin:0;background:{ground}' "
        f"data-jp-theme-light={str(theme == 'light').lower()}><main><h1 style='color:#777'>n</h1>"
        f"{cards}</main></body></html>"
    )
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    paper = page.evaluate("getComputedStyle(document.querySelector('.fastnn')).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 28)"}[theme]
    page.close()
