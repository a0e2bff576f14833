"""The web page in a headless Chromium."""

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason='the extra "serve" is not installed')
pytest.importorskip("pyarrow", reason='the extra "serve" is not installed')
pytest.importorskip("selenium")

import uvicorn
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from mentor_pyg.serving.app import CurrentExport, create_app
from tests.serving.conftest import EVIL

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="the system's packages chromium and chromium-driver are missing",
)


def started(export: Path, token: str | None = None) -> tuple[uvicorn.Server, str]:
    """Serve an export in a thread of this process, and return where."""
    config = uvicorn.Config(create_app(CurrentExport(export), token), port=0, log_level="error")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return server, f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def url(exports: dict[str, Path]) -> Iterator[str]:
    server, url = started(exports["mentor"])
    yield url
    server.should_exit = True


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


class Page:
    """The page, seen as a user does."""

    def __init__(self, browser: webdriver.Chrome, url: str, width: int = 390) -> None:
        self.browser = browser
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(url)

    def find(self, css: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def press(self, *keys: str) -> None:
        """Type into whatever has the focus."""
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def delay(self, part: str, milliseconds: int) -> None:
        """Let answers to requests whose path has a part come late."""
        self.run(
            "const ask = window.fetch; window.fetch = (path, ...more) => new Promise(done =>"
            " setTimeout(() => done(ask(path, ...more)),"
            f" path.includes('{part}') ? {milliseconds} : 0))"
        )

    def until(self, css: str, text: str = "") -> WebElement:
        """Wait for an element that is shown and has a text."""

        def found(_: object) -> WebElement | None:
            shown = (one for one in self.find(css) if one.is_displayed() and text in one.text)
            return next(shown, None)

        wait = WebDriverWait(self.browser, 10, ignored_exceptions=[StaleElementReferenceException])
        one: WebElement | None = wait.until(found, f"no {css} with {text!r}")
        assert one is not None
        return one

    def suggest(self, text: str, first: str) -> None:
        """Type, and wait for what is suggested for the whole of it."""
        self.press(text)
        asked = "return performance.getEntriesByType('resource').some(one => "
        asked += "new URL(one.name).searchParams.get('q') === arguments[0])"
        WebDriverWait(self.browser, 10).until(lambda _: self.run(asked, text))
        self.until("[role=option]:first-child", first)

    @property
    def focus(self) -> WebElement:
        return self.browser.switch_to.active_element

    def run(self, script: str, *args: object) -> Any:
        return self.browser.execute_script(script, *args)


def test_by_keyboard_alone(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#status", "Type the beginning of a user's id")
    page.press(Keys.TAB, Keys.TAB)
    assert page.focus.get_attribute("role") == "combobox"
    page.suggest("user/1", "user/1")
    assert page.focus.get_attribute("aria-expanded") == "true"
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    (active,) = page.find("[role=option][aria-selected=true]")
    assert active.text == "user/10"
    assert page.focus.get_attribute("aria-activedescendant") == active.get_attribute("id")
    page.press(Keys.ENTER)
    page.until("#heading", "For user user/10")
    assert page.focus.get_attribute("aria-expanded") == "false"
    assert len(page.find("#results > li")) == 20
    page.press(Keys.TAB)  # the first title's link
    assert page.focus.tag_name == "a"
    page.press(Keys.TAB)
    assert page.focus.get_attribute("aria-expanded") == "false"
    page.press(Keys.ENTER)
    page.until(".why h3", "Nearest items")
    assert page.focus.get_attribute("aria-expanded") == "true"
    assert {one.text for one in page.find(".part span:first-child")} == {"visual", "textual"}
    page.press(Keys.ENTER)
    assert not any(one.is_displayed() for one in page.find(".why"))


def test_escape_closes_the_list_and_enter_takes_what_was_typed(
    browser: webdriver.Chrome, url: str
) -> None:
    page = Page(browser, url)
    page.find("#query")[0].click()
    page.suggest("user/1", "user/1")
    page.press(Keys.ESCAPE)
    assert not page.find("#options")[0].is_displayed()
    page.press(Keys.ENTER)
    page.until("#heading", "For user user/1")


def test_several_items_are_chosen_and_taken_back(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    page.press(Keys.TAB, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.TAB)
    page.until("#asked", "Items")
    for title in ("Red shoe 7", "Red shoe 12"):
        page.suggest(title.lower(), title)
        page.press(Keys.ARROW_DOWN, Keys.ENTER)
        page.until("#chosen button", title)
    page.until("#heading", "From these 2 items")
    titles = {one.text for one in page.find(".name")}
    assert not titles & {"Red shoe 7", "Red shoe 12"}
    page.press(Keys.TAB, Keys.ENTER)
    page.until("#heading", "From this item")
    assert page.focus.get_attribute("role") == "combobox"
    page.press(Keys.TAB, Keys.ENTER)
    page.until("#status", "choose one or more")
    assert not page.find("#results > li")


def test_a_title_is_text_and_never_markup(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    page.press(Keys.TAB, Keys.ARROW_DOWN, Keys.TAB)
    page.suggest("<img", EVIL)
    page.press(Keys.ARROW_DOWN, Keys.ENTER)
    page.until("#heading", f"Like {EVIL}")
    near = page.until("#results > li .name").text
    page.find("#query")[0].clear()
    page.find("#query")[0].click()
    page.suggest(near, near)
    page.press(Keys.ARROW_DOWN, Keys.ENTER)
    page.until("#heading", f"Like {near}")
    assert EVIL in [one.text for one in page.find(".name")]
    assert page.run("return document.title") == "Recommendations"
    assert page.run("return document.querySelectorAll('main img, main script').length") == 0


def test_the_policy_stops_markup_that_gets_in(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.run("document.body.insertAdjacentHTML('beforeend', arguments[0])", EVIL)
    time.sleep(0.3)
    assert page.run("return document.title") == "Recommendations"
    log = browser.get_log("browser")  # type: ignore[no-untyped-call]
    assert any("Content Security Policy" in one["message"] for one in log)


def test_phone_width_needs_no_sideways_scroll(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url, width=390)
    page.until("#about", "mentor")
    for title in ("<img", "endless"):
        page.run("document.querySelector('input[value=similar]').click()")
        page.find("#query")[0].clear()
        page.find("#query")[0].click()
        page.suggest(title, title)
        assert page.run("return document.documentElement.scrollWidth") <= 390
        page.press(Keys.ARROW_DOWN, Keys.ENTER)
        page.until("#heading", title)
        page.find("#results button")[0].click()
        page.until(".why h3")
        assert page.run("return document.documentElement.scrollWidth") <= 390
    for button in page.find("#results button")[:3]:
        assert button.size["height"] >= 40


def test_states_of_error_and_of_nothing(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    page.find("#query")[0].click()
    page.press("zzz")
    page.until("#status", "No user begins with “zzz”")
    page.press(Keys.ENTER)
    page.until("#status.bad", "there is no user 'zzz'")
    assert not page.find("#results > li")
    page.run("window.fetch = () => Promise.reject(new Error('offline'))")
    page.press(Keys.ENTER)
    page.until("#status.bad", "cannot be reached")
    page.run("window.fetch = () => new Promise(() => {})")
    page.press(Keys.ENTER)
    page.until("#status.busy", "Loading")


@pytest.mark.parametrize(
    ("mode", "heading"), [("similar", "Like Red shoe 11"), ("items", "From this item")]
)
def test_enter_takes_the_first_suggestion(
    browser: webdriver.Chrome, url: str, mode: str, heading: str
) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    page.find(f"input[value={mode}]")[0].click()
    page.find("#query")[0].click()
    page.press("shoe 11", Keys.ENTER)
    page.until("#heading", heading)
    page.until("#results > li")
    page.find("#results button")[0].click()
    assert re.match(r"i\d+ · ", page.until(".why li .soft").text)  # Ids beside titles.


def test_enter_prefers_the_very_id(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    page.run(
        "window.fetch = async path => ({ok: true, json: async () => ({results:"
        " path.includes('search') ? [{id: 'A'}, {id: 'a'}] : []})})"
    )
    page.find("#query")[0].click()
    page.press("a", Keys.ENTER)
    page.until("#heading", "For user a")


def test_what_was_asked_before_is_not_taken(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    page.delay("search", 500)
    page.find("#query")[0].click()
    page.press("user/5", Keys.ENTER)
    page.find("input[value=items]")[0].click()
    time.sleep(0.9)
    assert not page.find("#chosen li") and not page.find("#results > li")


def test_texts_are_cut_between_characters(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    assert page.run("return short('a'.repeat(2) + '🦊🦊', 4)") == "aa🦊🦊"
    assert page.run("return short('a'.repeat(2) + '🦊🦊', 3)") == "aa…"
    assert page.run("return nameOf({title: '🦊'.repeat(200)})") == "🦊" * 119 + "…"


def test_the_last_question_wins(browser: webdriver.Chrome, url: str) -> None:
    page = Page(browser, url)
    page.until("#about", "mentor")
    page.delay("%2F5&", 600)
    page.find("#query")[0].click()
    page.press("user/5", Keys.ENTER, Keys.BACKSPACE, "2", Keys.ENTER)
    page.until("#heading", "For user user/2")
    time.sleep(0.9)
    assert page.until("#heading").text == "For user user/2"


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_follows_the_colour_scheme_with_readable_text(
    browser: webdriver.Chrome, url: str, scheme: str, dark: bool
) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page = Page(browser, url)
    page.until("#about", "mentor")
    ground = luminance(page.run("return getComputedStyle(document.body).backgroundColor"))
    assert (ground < 0.5) is dark
    for css in ("body", ".soft", "h1"):
        text = luminance(
            page.run(f"return getComputedStyle(document.querySelector('{css}')).color")
        )
        lighter, darker = max(text, ground), min(text, ground)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG AA


def luminance(colour: str) -> float:
    """Return WCAG's relative luminance of a colour as browsers give it."""
    values = [int(one) / 255 for one in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_asks_for_the_token(browser: webdriver.Chrome, exports: dict[str, Path]) -> None:
    server, url = started(exports["lightgcn"], token="sesame-ö€")
    page = Page(browser, url)
    page.until("#status.bad", "asks for a token")
    assert page.focus.get_attribute("id") == "token"
    page.press("open", Keys.TAB)
    page.until("#status.bad", "not right")
    page.find("#token")[0].clear()
    page.until("#status.bad", "asks for a token")
    page.press("sesame-ö€", Keys.TAB)
    page.until("#about", "lightgcn")
    assert not page.find("#token")[0].is_displayed()
    page.find("#query")[0].click()
    page.press("user/2", Keys.ENTER)
    page.until("#heading", "For user user/2")
    page.find("#results button")[0].click()
    page.until(".why .soft", "no sum over modalities")
    server.should_exit = True
