"""The page in a real browser: it renews itself, needs no mouse, fits a phone, and runs no title.

`STREAMS_TEST_PICTURES=.docs` has the pictures of the README drawn again, of a longer life.
"""

import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from kit.browser import chromium
from kit.page import HOSTILE, page_over, page_sources, trouble
from kit.patience import PATIENCE_S
from kit.town import Town
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

PICTURES = os.environ.get("STREAMS_TEST_PICTURES")
PATHS = ("", "lag", "flow", "slices", "slice/discover:football", "letters", "halts")
TOKEN = "0123456789abcdef0123456789abcdef"
PATIENCE_MS = PATIENCE_S * 1_000
PHONE: ViewportSize = {"width": 360, "height": 740}
DESK: ViewportSize = {"width": 1280, "height": 860}

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.browser]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    """An installation with a past, and with trouble."""
    town = await Town().start()
    await town.live(20 if PICTURES else 6)
    yield town
    await town.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(town: Town) -> AsyncIterator[str]:
    sources = page_sources(town)
    await town.skip(35 if PICTURES else 2, lambda: sources.status.collector.look(town.now_ms))
    await trouble(town)
    async with page_over(sources) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab whose complaints fail the test: a script that breaks, what the policy forbids."""
    page = await browser.new_page(viewport=DESK)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text))
    yield page
    await page.close()
    assert complaints == []


def watched(town: Town) -> str:
    """Return the video that was shown most often."""
    shown = town.people.shown
    return max(town.people.videos, key=lambda video: sum(shown[p] for p in shown if p[0] == video))


async def test_a_view_renews_itself_without_being_loaded_again(
    page: Page, town: Town, url: str
) -> None:
    await page.goto(f"{url}/flow")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Flow")
    figure = page.locator(".card", has_text="Decisions in half an hour").locator(".figure")
    before = await figure.text_content()
    await page.evaluate("window.unloaded = false")
    decided = len(town.world.receipts())
    while len(town.world.receipts()) == decided:
        await town.live(5)
    await expect(figure).not_to_have_text(before or "")
    assert await page.evaluate("window.unloaded") is False


async def test_every_view_is_reached_and_left_without_a_mouse(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Status")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    for name in ("Lag", "Flow", "Slices", "Letters", "Halts"):
        await page.goto(url)
        link = page.get_by_role("navigation").get_by_role("link", name=name)
        for _ in range(12):
            await page.keyboard.press("Tab")
            if await link.evaluate("one => one === document.activeElement"):
                break
        await page.keyboard.press("Enter")
        await expect(page.locator("nav a[aria-current]")).to_have_text(name)
        await expect(page.locator(".loading")).to_have_count(0)


async def test_a_video_is_found_by_typing_its_id(page: Page, town: Town, url: str) -> None:
    await page.goto(url)
    await page.get_by_role("textbox", name="Video id").focus()
    await page.keyboard.type(watched(town))
    await page.keyboard.press("Enter")
    title = town.people.videos[watched(town)].upload.title
    await expect(page.get_by_role("heading", level=1)).to_have_text(title)
    crowds = page.get_by_role("region", name="Crowds")
    await expect(crowds.get_by_role("img").first).to_have_attribute("aria-label", _in_words())


def _in_words() -> re.Pattern[str]:
    return re.compile(r"0\.\d+, between -?0\.\d+ and 0\.\d+; price 0\.\d+: (above|below|around)")


async def test_what_is_read_keeps_its_place_while_it_is_renewed(
    page: Page, town: Town, url: str
) -> None:
    await page.goto(f"{url}/video/{watched(town)}")
    summary = page.locator("summary").last
    await summary.focus()
    await page.keyboard.press("Enter")
    opened = page.locator("details[open]")
    await expect(opened).to_have_count(1)
    told = page.locator("#at")
    before = await told.text_content()
    await town.live(5)
    await expect(told).not_to_have_text(before or "")
    await expect(opened).to_have_count(1)
    await expect(page.locator("summary").last).to_be_focused()


async def test_rows_that_are_called_alike_are_all_kept(page: Page, url: str) -> None:
    await page.goto(url)
    script = """async () => {
        const { h, patch } = await import("/static/dom.js");
        const box = h("div");
        for (const keys of ["aab", "baa", "aab"]) {
            patch(box, [...keys].map((key) => h("p", { "data-key": key }, key)));
        }
        return box.textContent;
    }"""
    assert await page.evaluate(script) == "aab"


@pytest.mark.parametrize("path", [*PATHS, "video"])
async def test_a_phone_shows_every_view_without_scrolling_sideways(
    page: Page, town: Town, url: str, path: str
) -> None:
    await page.set_viewport_size(PHONE)
    await page.goto(f"{url}/{path}{f'/{watched(town)}' if path == 'video' else ''}")
    await expect(page.locator("main .card, main .notice").first).to_be_visible()
    wide = await page.evaluate("document.scrollingElement.scrollWidth")
    assert wide <= PHONE["width"]


async def test_a_hostile_title_stays_text(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    await page.goto(f"{url}/video/hostile")
    await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    assert await page.title() == f"Video {HOSTILE} – streams"
    assert await page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("path", [*PATHS, "video"])
async def test_a_screen_reader_is_told_what_everything_is(
    page: Page, town: Town, url: str, path: str
) -> None:
    await page.goto(f"{url}/{path}{f'/{watched(town)}' if path == 'video' else ''}")
    await expect(page.locator("main .card, main .notice").first).to_be_visible()
    assert await page.locator("h1").count() == 1
    assert await page.locator("svg[role=img]:not([aria-label])").count() == 0
    assert await page.locator("main svg:not([role=img]):not([aria-hidden])").count() == 0
    tables = await page.locator("table").count()
    assert await page.locator("table > caption").count() == tables
    assert (
        await page.locator("tbody tr > th[scope=row]").count()
        == await page.locator("tbody tr").count()
    )
    assert await page.locator("th:not([scope])").count() == 0
    assert await page.locator("[role=status]").text_content() == "live"
    command = await page.locator("#commands code").first.text_content()
    assert command is not None
    assert command.startswith("streams ")


async def test_halts_say_what_to_do(page: Page, url: str) -> None:
    await page.goto(url)
    await page.get_by_role("link", name="What to do").first.click()
    halt = page.locator("main .card", has_text="Partition 3: data_loss")
    await expect(halt.locator("code")).to_have_text("streams counters rebuild --yes")


async def test_nothing_comes_from_elsewhere(page: Page, town: Town, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in (*PATHS, f"video/{watched(town)}"):
        await page.goto(f"{url}/{path}")
        await expect(page.locator(".loading")).to_have_count(0)
    assert {one[: len(url)] for one in asked} == {url}


async def test_colours_follow_the_system(page: Page, url: str) -> None:
    await page.goto(url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate(ground) != light


async def test_that_nothing_comes_any_more_is_said(browser: Browser, town: Town) -> None:
    async with page_over(page_sources(town)) as url:
        page = await browser.new_page()
        await page.goto(url)
        await expect(page.locator("[role=status]")).to_have_text("live")
    await expect(page.locator("[role=status]")).to_have_text("no answer; this is of")
    await page.close()


async def test_off_loopback_a_token_is_asked_for_once(browser: Browser, town: Town) -> None:
    page = await browser.new_page()
    async with page_over(page_sources(town), TOKEN) as url:
        await page.goto(f"{url}/lag")
        assert page.url == f"{url}/login"
        await page.keyboard.type("not the token, though it is long")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        await page.keyboard.type(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Status")
        [cookie] = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert TOKEN not in cookie["value"]
        await page.goto(f"{url}/lag")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Lag")
    await page.close()


def split(town: Town) -> str:
    """Return a video of which crowds think differently, else the one that was shown most."""
    widened, stopped = Counter[str](), Counter[str]()
    for receipt in map(json.loads, town.world.receipts()):
        widened[receipt["video"]] += receipt["action"] == "widen"
        stopped[receipt["video"]] += receipt["reason"] == "index_below_price"
    worth = {video: min(widened[video], stopped[video]) for video in widened}
    return max(worth, key=lambda video: (worth[video], video == watched(town)))


async def draw(page: Page, url: str, file: Path, *, scheme: Literal["light", "dark"]) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.goto(url)
    await expect(page.locator(".loading")).to_have_count(0)
    await page.wait_for_function("document.fonts.ready.then(() => true)")
    await page.screenshot(path=file)


async def test_every_view_is_drawn(page: Page, town: Town, url: str, tmp_path: Path) -> None:
    folder = Path(PICTURES) if PICTURES else tmp_path
    positions = town.world.log.group("streams", "interactions").positions
    positions[3] -= min(positions[3], 60)  # what a halted partition looks like after a while
    await page.set_viewport_size({"width": 1280, "height": 800})
    for path in PATHS:
        name = path.partition("/")[0] or "status"
        scheme: Literal["light", "dark"] = "dark" if name in {"lag", "slice"} else "light"
        await draw(page, f"{url}/{path}", folder / f"page-{name}.png", scheme=scheme)
    of = f"{url}/video/{split(town)}"
    await page.set_viewport_size({"width": 1280, "height": 1100})
    await draw(page, of, folder / "page-video.png", scheme="light")
    await page.locator(".timeline").scroll_into_view_if_needed()
    await page.locator("summary").first.click()
    await page.evaluate("document.querySelector('.timeline').parentElement.scrollIntoView()")
    await page.screenshot(path=folder / "page-life.png")
    await page.set_viewport_size({"width": 390, "height": 844})
    await draw(page, of, folder / "page-phone.png", scheme="light")
    assert len(list(folder.glob("page-*.png"))) == len(PATHS) + 3
