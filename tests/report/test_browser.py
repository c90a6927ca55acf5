"""The page in a real browser, opened from a file: no console error, zoom and swipe, themes, a phone's width."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from geonp.report import Report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCALE = "return Number(document.querySelector('.stage').dataset.scale)"
TRANSFORMS = "return [...document.querySelectorAll('.stage img')].map(i => i.style.transform)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("there is no Chromium with its driver (apt-get install chromium chromium-driver)")
    options = ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    one = Chrome(options=options, service=Service(driver))
    one.set_page_load_timeout(60)
    yield one
    one.quit()


@pytest.fixture(scope="module")
def address(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    return report.write(path).as_uri()


Open = Callable[..., Chrome]


@pytest.fixture
def opened(browser: Chrome, address: str) -> Open:
    """Open the page at a width, with a colour scheme that the system prefers."""

    def at(width: int = 1200, scheme: str = "light") -> Chrome:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(address)
        browser.execute_script("localStorage.clear()")
        browser.refresh()
        return browser

    return at


def find(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def press(browser: Chrome, selector: str) -> WebElement:
    """Click an element where it stands, clear of the sticky navigation."""
    element = find(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()
    return element


def swipe(browser: Chrome) -> WebElement:
    press(browser, "[data-view=swipe]")
    return find(browser, "[role=slider]")


def test_it_opens_without_a_console_error(opened: Open) -> None:
    browser = opened()
    assert browser.get_log("browser") == []
    assert "Jacksboro <fault>" in browser.title
    loaded = "return [...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert browser.execute_script(loaded)


def test_every_figure_has_an_alternative_text(opened: Open) -> None:
    browser = opened()
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) == 4 + 5 + 1  # the survey's maps, the viewer, the errors
    assert all(len(image.accessible_name) > 10 for image in images)
    charts = browser.find_elements(By.CSS_SELECTOR, ".chart svg")
    assert all(chart.aria_role in ("img", "image") and len(chart.accessible_name) > 20 for chart in charts)
    controls = browser.find_elements(By.CSS_SELECTOR, "button, select, [tabindex='0']")
    assert all(control.accessible_name for control in controls if control.is_displayed())


def test_the_wheel_and_the_buttons_zoom_all_maps_together(opened: Open) -> None:
    browser = opened()
    press(browser, "[aria-label='Zoom in']")
    assert browser.execute_script(SCALE) == 2
    transforms = browser.execute_script(TRANSFORMS)
    assert len(transforms) == 5
    assert len(set(transforms)) == 1
    assert "scale(2)" in transforms[0]
    turn = "{deltaY: -200, ctrlKey: true, clientX: 300, clientY: 300, cancelable: true}"
    browser.execute_script(f"document.querySelector('.stage').dispatchEvent(new WheelEvent('wheel', {turn}))")
    assert browser.execute_script(SCALE) > 3
    press(browser, "[aria-label='Whole map']")
    assert browser.execute_script(SCALE) == 1


def test_dragging_moves_a_zoomed_map(opened: Open) -> None:
    browser = opened()
    press(browser, "[aria-label='Zoom in']")
    before = browser.execute_script(TRANSFORMS)[0]
    frame = find(browser, ".stage .frame")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", frame)
    ActionChains(browser).drag_and_drop_by_offset(frame, 40, 20).perform()
    after = browser.execute_script(TRANSFORMS)
    assert after[0] != before
    assert len(set(after)) == 1


def test_the_keyboard_zooms_and_moves(opened: Open) -> None:
    browser = opened()
    stage = find(browser, ".stage")
    stage.send_keys("+")
    assert browser.execute_script(SCALE) == 1.5
    before = browser.execute_script(TRANSFORMS)[0]
    stage.send_keys(Keys.ARROW_LEFT)
    assert browser.execute_script(TRANSFORMS)[0] != before
    stage.send_keys("0")
    assert browser.execute_script(SCALE) == 1


def test_the_divider_is_dragged_and_moved_by_keys(opened: Open) -> None:
    browser = opened()
    handle = swipe(browser)
    assert handle.get_attribute("aria-valuenow") == "50"
    assert "kriging on the left" in handle.get_attribute("aria-valuetext")
    width = find(browser, ".stage").size["width"]
    ActionChains(browser).drag_and_drop_by_offset(handle, -round(width / 4), 0).perform()
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(25, abs=2)
    clip = "return document.querySelectorAll('.stage .pane')[1].style.clipPath"
    shown = float(browser.execute_script(clip).split()[-1].rstrip("%)"))
    assert shown == pytest.approx(25, abs=2)
    assert browser.execute_script(SCALE) == 1
    handle.send_keys(Keys.END)
    assert handle.get_attribute("aria-valuenow") == "100"
    handle.send_keys(Keys.ARROW_LEFT)
    assert handle.get_attribute("aria-valuenow") == "98"


def test_any_two_maps_can_be_swiped(opened: Open) -> None:
    browser = opened()
    swipe(browser)
    for role, name in (("left", "truth"), ("right", "nearest")):
        find(browser, f"[data-role={role}] option[value={name}]").click()
    captions = [c.text for c in browser.find_elements(By.CSS_SELECTOR, ".stage figcaption")]
    assert captions[0] == "truth"
    assert captions[1].startswith("nearest, RMSE")
    find(browser, "[data-role=layer] option[value=std]").click()
    find(browser, "[data-role=right] option[value=cubic]").click()
    assert "gives no variance" in find(browser, ".stage").text
    assert browser.get_log("browser") == []


def test_the_divider_is_reached_by_tab_in_the_order_of_the_page(opened: Open) -> None:
    browser = opened()
    swipe(browser)
    browser.execute_script("document.querySelector('.stage').focus()")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("role") == "slider"


def test_the_first_tab_leads_past_the_navigation(opened: Open) -> None:
    browser = opened()
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("href").endswith("#main")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_scrolls_sideways_on_a_phone(opened: Open, width: int) -> None:
    browser = opened(width)
    for _ in range(2):
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        swipe(browser)


def test_the_dark_follows_the_system_and_the_button(opened: Open) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = opened(scheme="light").execute_script(colour)
    browser = opened(scheme="dark")
    dark = browser.execute_script(colour)
    ink = "return getComputedStyle(document.querySelector('.chart svg text')).fill"
    assert dark != light
    assert browser.execute_script(ink) == browser.execute_script(
        "return getComputedStyle(document.body).color"
    )
    press(browser, "#theme")
    assert browser.execute_script(colour) == light
    browser.refresh()
    assert browser.execute_script(colour) == light
    press(browser, "#theme")
    assert browser.execute_script(colour) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(opened: Open, scheme: str) -> None:
    """Contrast of text and its ground, as WCAG 2.1 has it in 1.4.3: 4.5 at least."""
    browser = opened(scheme=scheme)
    seen = browser.execute_script("""
        const of = (s) => s.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const ground = (e) => {
            for (; e; e = e.parentElement) {
                const c = of(getComputedStyle(e).backgroundColor);
                if (c.length === 3 || c[3] > 0.5) return c;
            }
            return [255, 255, 255];
        };
        const told = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        const parts = document.querySelectorAll(
            "p, li, dt, dd, small, th, td, a, button, figcaption, summary, h1, h2, h3");
        return [...parts].filter((e) => told(e) && e.checkVisibility()).map((e) => {
            const [a, b] = [light(of(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), e.textContent.slice(0, 40)];
        });
    """)
    assert len(seen) > 50
    assert [text for ratio, text in seen if ratio < 4.5] == []
