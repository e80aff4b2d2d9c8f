"""The page of `fastnn learn`: whole without a script, and walked through in a browser.

Needs Chromium and playwright; FASTNN_CHROMIUM names the browser where it is not on the path.
"""

from __future__ import annotations

import re

import pytest
from test_report import Page

from fastnn.drawing import charts
from fastnn.learn import COMPARISONS, TROUBLES, experiments, problems
from fastnn.learn.experiments import DEFAULTS, number

CASES = {
    "XOR and all else": "learn --html p.html",
    "digits": "learn digits --epochs 5 --html p.html",
    "a comparison": "learn circles --epochs 20 --compare hidden --html p.html",
    "a trouble": "learn --trouble saturation --html p.html",
    "what diverges": "learn --activation leaky_relu --learning-rate 1e6 --html p.html",
}
SIZES = dict(zip(CASES, (300_000, 260_000, 80_000, 60_000, 250_000), strict=True))


@pytest.fixture(scope="module", params=CASES)
def made(request, tmp_path_factory):
    """A page's name and file."""
    from fastnn.cli import main

    if "digits" in CASES[request.param]:
        pytest.importorskip("sklearn")
    path = tmp_path_factory.mktemp("learn") / "p.html"
    words = CASES[request.param].replace("p.html", str(path)).split()
    assert main(words) == 0
    return request.param, path


@pytest.fixture
def opened(made, browser):
    name, path = made
    page = browser.new_page()
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield name, page
    page.close()
    assert not errors and set(asked) == {path.as_uri()}


def has_slider(page):
    return page.locator("#slider").count() == 1


# --- without a browser


def test_the_page_is_whole_without_a_script(made):
    name, path = made
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert len(html) < SIZES[name]
    assert not page.all("link") and not page.all("img") and not re.search(r"https?://|url\(", html)
    assert "default-src 'none'" in html and "nan" not in html.lower()
    drawings = [one for one in page.all("svg") if one.get("aria-hidden") != "true"]
    assert drawings and all(one["role"] == "img" and one["aria-label"] for one in drawings)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for _, attrs in page.elements:
        assert attrs.get("href", "#")[0] == "#" and attrs.get("href", "#")[1:] in ["", *ids]
    titles = {name for name in (*COMPARISONS, *TROUBLES) if name in ids}
    whole = name not in ("a comparison", "a trouble")
    assert len(titles) == (len(COMPARISONS) + len(TROUBLES) if whole else 1)
    assert ("script" in {tag for tag, _ in page.elements}) == whole


def test_numbers_are_the_run_s(made):
    name, path = made
    if name != "XOR and all else":
        pytest.skip("of one page")
    run = experiments.run(problems.make("xor", 0), DEFAULTS["xor"], 0)
    page = Page(path.read_text(encoding="utf-8"))
    for frame in run.shown:
        numbers = frame.loss, frame.accuracy, frame.delta, *frame.norms
        row = " ".join([str(frame.epoch), *map(number, numbers)])
        assert row in page.text
    assert run.problem.told in page.text


# --- in a browser


def test_every_epoch_is_reached(opened):
    _, page = opened
    if not has_slider(page):
        pytest.skip("nothing to walk through")
    n = page.locator(".frame").count()
    seen = [page.inner_text("#where")]
    assert page.is_disabled("#back") and page.is_disabled("#first")
    for _ in range(n - 1):
        page.click("#next")
        seen.append(page.inner_text("#where"))
        assert page.locator(".frame:visible").count() == 1
        told = page.locator(".frame:visible svg").get_attribute("aria-label")
        assert seen[-1].rstrip(".").startswith(told[: told.index(":")])
        assert page.get_attribute("#slider", "aria-valuetext") == seen[-1]
    assert len(set(seen)) == n and seen[0].startswith("Before the first step")
    if n > 1:
        assert page.is_disabled("#next") and page.is_disabled("#last")
        cursors = page.locator(".cursor")
        assert cursors.count() == 3
        where = cursors.nth(0).get_attribute("d")
        right = charts.WIDTH - charts.RIGHT
        assert charts.LEFT < float(re.match(r"M([\d.]+) ", where)[1]) <= right


def test_keys_buttons_and_slider(opened):
    _, page = opened
    if not has_slider(page) or page.locator(".frame").count() < 3:
        pytest.skip("nothing to walk through")
    where = page.locator("#where")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert where.inner_text().startswith("Epoch 1:")
    page.focus("#slider")
    page.keyboard.press("End")
    last = where.inner_text()
    assert page.is_disabled("#last")
    assert page.input_value("#slider") == page.get_attribute("#slider", "max")
    page.click("#first")
    assert where.inner_text().startswith("Before") and where.inner_text() != last


def test_it_plays_until_it_is_stopped_or_ends(opened):
    _, page = opened
    if not has_slider(page) or page.locator(".frame").count() < 3:
        pytest.skip("nothing to walk through")
    page.clock.install()
    page.reload()
    most = page.get_attribute("#slider", "max")
    page.click("#play")
    page.clock.run_for(800)
    assert page.inner_text("#play") == "Pause" and page.input_value("#slider") == "2"
    assert page.get_attribute("#where", "aria-live") == "off"  # too fast to be read out
    page.click("#play")
    page.clock.run_for(800)
    assert page.inner_text("#play") == "Play" and page.input_value("#slider") == "2"
    page.click("#play")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#play") == "Play" and page.input_value("#slider") == "1"
    page.click("#play")
    page.clock.run_for(60_000)
    assert page.inner_text("#play") == "Play" and page.input_value("#slider") == most
    page.click("#play")
    assert page.input_value("#slider") == "0"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_axe_is_broken_and_all_fits(opened, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    _, page = opened
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_sections_are_reached_from_the_top(opened):
    name, page = opened
    links = page.locator("nav a")
    assert links.count() == (0 if name in ("a comparison", "a trouble") else 10)
    for link in links.all():
        link.click()
        assert page.evaluate("location.hash") == link.get_attribute("href")
