"""Does the page work in a real browser? Rendering, console, network, theme, tooltips, keyboard, narrow screens."""

from __future__ import annotations

import json
import shutil
import threading
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mezzotint.report import write_comparison, write_report, write_sweep
from mezzotint.report.live import LiveReport

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
    assert browser.title == "lenet-fp16 (sparse) · mezzotint report"
    assert browser.find_element("css selector", "h1").text == "lenet-fp16 (sparse)"
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
        ("ages", ("update", "%")),
        ("by-class", ("right", "%")),
        ("epoch-time", ("Epoch", "waiting for data", "testing")),
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


def test_pictures_and_ribbons_are_read_by_pointer_and_keys(browser: Any, page_file: Path) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    show(browser, page_file)
    filters = visible_chart(browser, "filters")
    hover(browser, filters.find_elements("css selector", ".item")[3], 0.5, 0.5)
    assert tip(browser).startswith("filter 4\nweights that exist")
    filters.send_keys(keys.HOME)
    assert tip(browser).startswith("filter 1\n")
    filters.send_keys(keys.ARROW_RIGHT)
    assert tip(browser).startswith("filter 2\n")
    assert len(filters.find_elements("css selector", ".lit")) == 1
    filters.send_keys(keys.ESCAPE)
    assert filters.find_elements("css selector", ".lit") == []
    ribbons = visible_chart(browser, "exchange")
    ribbons.send_keys(keys.HOME)
    assert " → " in tip(browser).split("\n")[0]
    assert "weights" in tip(browser)


def test_tabs_change_the_pictures_by_click_and_arrow(browser: Any, page_file: Path) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    show(browser, page_file)
    masks, ages = (browser.find_element("id", f"panel-{key}") for key in ("masks", "ages"))
    first, second = (browser.find_element("id", f"tab-{key}") for key in ("masks", "ages"))
    assert (masks.is_displayed(), ages.is_displayed()) == (True, False)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", second)
    second.click()
    assert (masks.is_displayed(), ages.is_displayed()) == (False, True)
    assert (first.get_attribute("aria-selected"), second.get_attribute("aria-selected")) == ("false", "true")
    second.send_keys(keys.ARROW_RIGHT)  # round to the first
    assert (masks.is_displayed(), ages.is_displayed()) == (True, False)
    assert browser.switch_to.active_element == first


def test_copy_buttons_copy_what_they_stand_beside(browser: Any, page_file: Path, finished: Path) -> None:
    show(browser, page_file)
    origin = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", origin)
    for selector, text in (
        ("[data-copy=config]", (finished / "config.toml").read_text(encoding="utf-8").strip()),
        (".commands .copy", f"mezzotint predict {finished} PICTURE.jpg"),
    ):
        button = browser.find_element("css selector", selector)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        read = "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))"
        assert browser.execute_async_script(read).strip() == text
        assert button.text == "Copied"
    assert browser.get_log("browser") == []


def test_the_navigation_shows_where_the_reader_is(browser: Any, page_file: Path) -> None:
    show(browser, page_file)
    browser.execute_script("document.getElementById('memory').scrollIntoView()")
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
    current = "return [...document.querySelectorAll('nav [aria-current]')].map(a => a.textContent)"
    wait(browser, 10).until(lambda _: browser.execute_script(current) == ["Memory"])


def test_tables_sort_by_number_and_by_word(browser: Any, dense: Path, finished: Path, tmp_path: Path) -> None:
    show(browser, write_comparison([finished, dense], tmp_path / "comparison.html"))
    names = "return [...document.querySelectorAll('#overview tbody th')].map(cell => cell.textContent)"
    head = "#overview thead th:nth-child({}) button"
    assert browser.execute_script(names) == ["lenet-fp16", "lenet-dense"]
    browser.find_element("css selector", head.format(1)).click()
    assert browser.execute_script(names) == ["lenet-dense", "lenet-fp16"]
    for expected, order in (
        (["lenet-dense", "lenet-fp16"], "descending"),
        (["lenet-fp16", "lenet-dense"], "ascending"),
    ):
        browser.find_element("css selector", head.format(6)).click()  # multiply-adds, the largest first
        assert browser.execute_script(names) == expected
        sorted_by = browser.execute_script(
            "return [...document.querySelectorAll('#overview th[aria-sort]')].map(h => [h.cellIndex, h.ariaSort])"
        )
        assert sorted_by == [[5, order]]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["run", "comparison", "sweep"])
def test_nothing_bars_a_reader_with_a_disability(
    browser: Any, page_file: Path, dense: Path, finished: Path, tmp_path: Path, kind: str, theme: str
) -> None:
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed (extra 'dev')")
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page = {
        "run": lambda: page_file,
        "comparison": lambda: write_comparison([dense, finished], tmp_path / "comparison.html"),
        "sweep": lambda: write_sweep(small_sweep(tmp_path, dense, finished)),
    }[kind]()
    show(browser, page, width=1280 if theme == "light" else 390, theme=theme)
    opened = "for (const one of document.querySelectorAll('#turnover details, #patterns details')) one.open = true"
    browser.execute_script(opened)
    browser.execute_script(axe)
    # All charts' tables are made alike: one is enough, the long ones would take a minute.
    assert violations(browser, "{exclude: [['figure:not(#turnover) table']]}") == []
    # The check can fail: a picture without a text is found.
    browser.execute_script("document.querySelector('main').append(document.createElement('img'))")
    assert [found[0] for found in violations(browser, "{include: [['main > img']]}")] == ["image-alt"]


def violations(browser: Any, part: str) -> list[list[str]]:
    """(rule, impact, first element) of what axe finds serious or critical in a part of the page, axe's context."""
    script = """
      const done = arguments[0];
      axe.run(CONTEXT, {resultTypes: ["violations"]}).then((found) => done(found.violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .map((one) => [one.id, one.impact, one.nodes[0].html.slice(0, 200)])));
    """
    browser.set_script_timeout(120)
    found: list[list[str]] = browser.execute_async_script(script.replace("CONTEXT", part))
    return found


def small_sweep(folder: Path, dense: Path, sparse: Path) -> Path:
    """A sweep of a dense run, a sparse one, and one that failed."""
    place = folder / "sweep"
    shutil.copytree(dense, place / "runs" / "dense-seed0")
    shutil.copytree(sparse, place / "runs" / "rigl-0.1-seed0")
    (place / "runs" / "rigl-0.05-seed0.error.txt").write_text("the loss is nan", encoding="utf-8")
    cells = (("dense", 1.0, "dense-seed0"), ("rigl", 0.1, "rigl-0.1-seed0"), ("rigl", 0.05, "rigl-0.05-seed0"))
    runs = [{"method": m, "density": d, "seed": 0, "run": f"runs/{name}"} for m, d, name in cells]
    (place / "sweep.json").write_text(json.dumps({"format": 1, "runs": runs}), encoding="utf-8")
    return place


def test_a_served_page_renews_itself_and_leaves_the_reader_in_peace(browser: Any, own_run: Path) -> None:
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
    metrics = own_run / "metrics.jsonl"
    with LiveReport([own_run]) as report:
        thread = threading.Thread(target=report.serve)
        thread.start()
        try:
            browser.get("about:blank")
            browser.get_log("browser")
            browser.get(report.address)
            wait(browser, 20).until(lambda _: browser.find_element("id", "live").text == "live")
            script = """
              document.querySelector("#loss details").open = true;
              document.querySelector("#memory details").open = true;
              document.querySelector("#memory details").mark = "mine";
              document.querySelector("#loss summary").focus();
              window.scrollTo(0, 700);
            """
            browser.execute_script(script)
            with metrics.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({"kind": "epoch", "epoch": 30, "test_loss": 0.5, "test_accuracy": 0.5}) + '\n{"ki'
                )
            count = "return document.querySelectorAll('#loss tbody tr').length"
            wait(browser, 40).until(lambda _: browser.execute_script(count) == 31)
            kept = """
              return [document.querySelector("#loss details").open, document.querySelector("#memory details").mark,
                document.activeElement.textContent, document.activeElement.closest("figure").id, scrollY];
            """
            assert browser.execute_script(kept) == [True, "mine", "Numbers", "loss", 700]
            hover(browser, visible_chart(browser, "loss"), 0.99, 0.5)
            assert tip(browser).startswith("Epoch 31\n")
            assert browser.get_log("browser") == []
        finally:
            report.close()
            thread.join(20)
    wait(browser, 20).until(lambda _: browser.find_element("id", "live").text == "server has ended")


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
    assert browser.title == f"{hostile} (run) · mezzotint report"
    assert browser.find_element("css selector", "h1").text == f"{hostile} (run)"
    hover(browser, visible_chart(browser, "density-over-time"), 0.5, 0.2)
    assert tip(browser).startswith(hostile[:20])
    assert browser.get_log("browser") == []
    shutil.rmtree(tmp_path / "run")
