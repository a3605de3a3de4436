"""What do the report's tests share? A finished run, a parsed page, and a headless browser where one is installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mezzotint.report import write_report

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
_VOID = {"br", "img", "meta", "link", "hr"}


class Node:
    """An element of a parsed page: its name, attributes, text and children."""

    def __init__(self, name: str, attributes: dict[str, str | None]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Node] = []
        self.own_text = ""

    def all(self, name: str = "") -> Iterator[Node]:
        """This element and those inside it, in order; with ``name`` only those of that name."""
        if name in ("", self.name):
            yield self
        for child in self.children:
            yield from child.all(name)

    def one(self, key: str) -> Node:
        """The element with the id ``key``."""
        return next(node for node in self.all() if node.attributes.get("id") == key)

    @property
    def text(self) -> str:
        """The text of the element and of all inside it."""
        return self.own_text + " ".join(child.text for child in self.children)


class _Parser(HTMLParser):
    """Builds nodes and refuses tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({key for key, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].own_text += data


def _parse(text: str) -> Node:
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.open == [parser.root], "an element stays open"
    return parser.root


@pytest.fixture(scope="session")
def parse() -> Any:
    """``parse(html) -> Node``; fails where tags do not nest."""
    return _parse


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module that writes realistic run folders."""
    path = Path(__file__).with_name("fake_run.py")
    spec = importlib.util.spec_from_file_location("mezzotint_fake_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def finished(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sparse run; tests must not change it."""
    return Path(fake.write_run(tmp_path_factory.mktemp("runs") / "sparse"))


@pytest.fixture(scope="session")
def dense(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its dense twin; tests must not change it."""
    return Path(fake.write_run(tmp_path_factory.mktemp("runs") / "dense", name="lenet-dense", density=1.0, seed=1))


@pytest.fixture
def own_run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that the test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("*.html")))


@pytest.fixture(scope="session")
def page_file(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The written page of the finished run."""
    return write_report(finished, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium; skips, saying what is missing, where it is not installed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: install Debian's packages chromium and chromium-driver to test the page in one")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra 'dev')")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    try:
        session.set_page_load_timeout(60)
        yield session
    finally:
        session.quit()
