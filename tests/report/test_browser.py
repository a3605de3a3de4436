"""Does the page work in a real browser? Rendering, console, network, theme, tooltips, keyboard, narrow screens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mezzotint.report import write_comparison, write_report

pytestmark = pytest.mark.timeout(180)

_VISIBLE = (
    "return [...document.querySelectorAll('figure .chart')].map(c => [...c.children].filter(s => s.clientWidth).length)"
)


def show(browser: Any, page: Path, *, width: int = 1280, theme: str = "light") -> None:
    """Open a page at a width in a theme, with empty logs."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    features = [{"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())


def requested(browser: Any) -> list[str]:
    """Every address that the page asked for, by the browser's own protocol."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def visible_chart(browser: Any, key: str) -> Any:
    """The drawing of a chart that the style sheet shows at this width."""
    drawings = browser.find_elements("css selector", f"#{key} .chart svg")
    return next(item for item in drawings if item.is_displayed())


def tip(browser: Any) -> str:
    """The tooltip's text, empty while it is hidden."""
    return browser.execute_script("const t = document.getElementById('tip'); return t.hidden ? '' : t.innerText")


def hover(browser: Any, element: Any, x: float, y: float) -> None:
    """Move the pointer to a place inside an element, given as shares of its width and height."""
    script = """
      arguments[0].scrollIntoView({block: 'center'});
      const r = arguments[0].getBoundingClientRect();
      return [r.x, r.y, r.width, r.height];
    """
    left, top, width, height = browser.execute_script(script, element)
    for step in (0.0, 1.0):  # the second move counts: the first may still hit the page before it scrolled
        place = {"x": left + width * x + step, "y": top + height * y}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", **place})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_renders_without_console_messages(browser: Any, page_file: Path, theme: str) -> None:
    show(browser, page_file, theme=theme)
    assert browser.title == "lenet-fp16 · mezzotint report"
    assert browser.find_element("css selector", "h1").text == "lenet-fp16"
    headings = [item.text for item in browser.find_elements("css selector", "section h2")]
    assert headings[:3] == ["How it learned", "Where the weights sit", "What the pattern looks like"]
    assert len(headings) == 12
    shown = browser.execute_script(_VISIBLE)
    assert len(shown) >= 14
    assert set(shown) == {1}, "exactly one drawing of every chart is visible"
    pictures = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    # 6 patterns and their ages, 24 samples, 12 mistakes
    assert sorted(pictures) == sorted([27, 27, *[72] * 10, *[28] * 36])
    assert browser.get_log("browser") == []


def test_it_asks_nobody_for_anything(browser: Any, page_file: Path) -> None:
    show(browser, page_file)
    entries = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in entries if not name.startswith("data:")] == []
    assert {url for url in requested(browser) if not url.startswith("data:")} == {page_file.as_uri()}


def test_its_policy_stops_requests(browser: Any, page_file: Path) -> None:
    show(browser, page_file)
    script = """
      const done = arguments[0], seen = [];
      document.addEventListener("securitypolicyviolation", (e) => {
        seen.push(e.effectiveDirective);
        if (seen.length === 3) done(seen.sort());
      });
      const image = new Image(); image.src = "http://127.0.0.1:9/x.png";
      const style = document.createElement("link"); style.rel = "stylesheet"; style.href = "http://127.0.0.1:9/x.css";
      document.head.append(style);
      fetch("http://127.0.0.1:9/").catch(() => {});
    """
    browser.set_script_timeout(20)
    assert browser.execute_async_script(script) == ["connect-src", "img-src", "style-src-elem"]


def test_the_theme_button_turns_the_colours_round_and_is_remembered(browser: Any, page_file: Path) -> None:
    show(browser, page_file)
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(ground)
    button = browser.find_element("id", "theme")
    assert button.get_attribute("aria-label") == "Switch to dark colours"
    button.click()
    dark = browser.execute_script(ground)
    assert dark != light
    assert button.get_attribute("aria-label") == "Switch to light colours"
    browser.refresh()
    assert browser.execute_script(ground) == dark
    browser.find_element("id", "theme").click()
    assert browser.execute_script(ground) == light
    browser.execute_script("localStorage.clear()")
    assert browser.get_log("browser") == []


def test_the_system_theme_is_followed(browser: Any, page_file: Path) -> None:
    grounds = []
    for theme in ("light", "dark"):
        show(browser, page_file, theme=theme)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("loss", ("Epoch", "test", "train")),
        ("step-loss", ("Step", "mean", "skipped")),
        ("density-over-time", ("step", "%")),
        ("net-movement", ("step", "pruned", "grown")),
        ("turnover", ("pruned", "grown", "net")),
        ("memory-bars", ("this run", "dense", "ratio")),
        ("step-time", ("Step", "forward", "whole step", "ms")),
        ("confusion", ("taken for",)),
    ],
)
def test_hovering_a_chart_tells_its_numbers(browser: Any, page_file: Path, key: str, expected: tuple[str, ...]) -> None:
    show(browser, page_file)
    assert tip(browser) == ""
    hover(browser, visible_chart(browser, key), 0.5, 0.5)
    said = tip(browser)
    assert all(word in said for word in expected), said
    hover(browser, browser.find_element("css selector", "footer"), 0.5, 0.5)
    assert tip(browser) == ""


def test_a_tooltip_says_what_the_table_says(browser: Any, page_file: Path) -> None:
    show(browser, page_file)
    row = "return [...document.querySelectorAll('#loss tbody tr')].at(-1).innerText || ''"
    browser.execute_script("document.querySelector('#loss details').open = true")
    cells = browser.execute_script(row).split()
    assert cells[0] == "30"
    hover(browser, visible_chart(browser, "loss"), 0.99, 0.5)
    assert all(cell in tip(browser) for cell in cells)


def test_arrow_keys_read_a_chart(browser: Any, page_file: Path) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    show(browser, page_file)
    chart = visible_chart(browser, "error")
    chart.send_keys(keys.HOME)
    assert tip(browser).startswith("Epoch 1\n")
    chart.send_keys(keys.ARROW_RIGHT)
    assert tip(browser).startswith("Epoch 2\n")
    chart.send_keys(keys.END)
    assert tip(browser).startswith("Epoch 30\n")
    chart.send_keys(keys.ESCAPE)
    assert tip(browser) == ""
    grid = visible_chart(browser, "density-over-time")
    grid.send_keys(keys.HOME)
    assert tip(browser).startswith("features.0.conv\nstep 0")
    grid.send_keys(keys.ARROW_DOWN)
    grid.send_keys(keys.ARROW_RIGHT)
    assert tip(browser).startswith("features.1.conv\nstep 175")


@pytest.mark.parametrize(("width", "theme"), [(320, "light"), (390, "light"), (390, "dark"), (768, "light")])
def test_narrow_screens_need_no_sideways_scrolling(browser: Any, page_file: Path, width: int, theme: str) -> None:
    show(browser, page_file, width=width, theme=theme)
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.body.scrollWidth") <= width
    assert set(browser.execute_script(_VISIBLE)) == {1}
    smallest = """
      return Math.min(...[...document.querySelectorAll('figure .chart svg')].filter(s => s.clientWidth)
        .map(s => 10.5 * s.clientWidth / s.viewBox.baseVal.width))
    """
    assert browser.execute_script(smallest) >= 7.5, "chart texts stay readable"
    assert browser.get_log("browser") == []


def test_print_shows_light_colours_and_no_controls(browser: Any, page_file: Path) -> None:
    show(browser, page_file, theme="dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    try:
        assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not browser.find_element("id", "theme").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_other_pages_are_silent_too(browser: Any, finished: Path, dense: Path, tmp_path: Path) -> None:
    young = tmp_path / "young"
    young.mkdir()
    head = (finished / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:5]
    (young / "metrics.jsonl").write_text("\n".join(head) + '\n{"kind": "st', encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.toml").touch()
    pages = [
        write_report(young),
        write_report(empty),
        write_report(dense, tmp_path / "dense.html"),
        write_comparison([dense, finished, young], tmp_path / "comparison.html"),
    ]
    for page in pages:
        for width in (1280, 390):
            show(browser, page, width=width)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page
            assert browser.get_log("browser") == [], page


def test_hostile_names_stay_text(browser: Any, own_run: Path, fake: ModuleType, tmp_path: Path) -> None:
    hostile = "</title></script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    summary = json.loads((own_run / "summary.json").read_text(encoding="utf-8"))
    (own_run / "summary.json").write_text(json.dumps(summary | {"name": hostile}), encoding="utf-8")
    metrics = (own_run / "metrics.jsonl").read_text(encoding="utf-8")
    layer = json.dumps(next(iter(fake.LAYERS)))
    (own_run / "metrics.jsonl").write_text(metrics.replace(layer, json.dumps(hostile)), encoding="utf-8")
    page = write_report(own_run)
    show(browser, page)
    assert browser.title == f"{hostile} · mezzotint report"
    assert browser.find_element("css selector", "h1").text == hostile
    hover(browser, visible_chart(browser, "density-over-time"), 0.5, 0.2)
    assert tip(browser).startswith(hostile[:20])
    assert browser.get_log("browser") == []
    shutil.rmtree(tmp_path / "run")
