"""The live page in a real Chromium, on a service of four cameras."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from browsing import Opened, Served, opening, rate_of_the_slowest, served
from pipeline.masks import Masks
from pipeline.render.palette import colour, ink

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools
]

CAMERAS = ("north", "south", "yard")


@pytest.fixture(scope="module")
def cameras(
    gstreamer: None, numbered_clip: Path, make_camera: Callable[[Path], Any]
) -> Iterator[dict[str, Any]]:
    """One for most of the streams, and one that may be stopped."""
    started = {name: make_camera(numbered_clip) for name in ("usual", "gate")}
    yield started
    for camera in started.values():
        camera.thaw()
        camera.kill()


@pytest.fixture(scope="module")
def service(cameras: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    urls = dict.fromkeys(CAMERAS, cameras["usual"].url) | {"gate": cameras["gate"].url}
    with served(tmp_path_factory.mktemp("service"), urls) as service:
        while {one["state"] for one in service.streams().values()} != {"streaming"}:
            assert service.process.poll() is None
            time.sleep(0.1)
        yield service


@pytest.fixture
def opened(browser: Any, service: Served) -> Iterator[Callable[..., Opened]]:
    with opening(browser, service.url) as open_page:
        yield open_page


def test_the_page_is_there_within_a_second_and_shows_four_streams_live(opened, figures) -> None:
    loaded_ms = []
    for _ in range(3):
        one = opened()
        script = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        one.until(f"{script} > 0")
        loaded_ms.append(one.page.evaluate(script))
        if len(loaded_ms) < 3:
            one.page.close()
    page, tiles = one.page, "[...document.querySelectorAll('.tile')]"
    one.until(f"{tiles}.filter(one => one.dataset.shown > 2).length === 4")
    slowest = 0.0
    for _ in range(5):  # on a machine that is busy with other things, the best stretch counts
        slowest = max(slowest, rate_of_the_slowest(page))
        if slowest >= 5:
            break
    figures("page", f"loaded in {min(loaded_ms):.0f} ms", f"{slowest:.1f} pictures/s")
    assert min(loaded_ms) <= 1000
    assert slowest >= 5


def test_a_mask_that_is_pointed_at_shows_the_track_of_its_record(opened) -> None:
    one = opened("#/stream/north")
    page, stage = one.page, one.page.locator(".stage")
    one.shown(12)
    page.keyboard.press("Space")
    page.wait_for_timeout(300)
    frame = int(stage.get_attribute("data-frame"))
    page.wait_for_timeout(500)
    assert int(stage.get_attribute("data-frame")) == frame  # it is frozen
    record = one.records[frame]
    instance = max(record["instances"], key=lambda found: found["area"])
    rows, columns = np.nonzero(coco.decode(instance["mask"]))
    middle = len(rows) // 2
    box = page.locator(".overlay").bounding_box()
    scale = box["width"] / record["width"]
    assert box["height"] == pytest.approx(scale * record["height"], abs=1)  # nothing is stretched
    x, y = box["x"] + (columns[middle] + 0.5) * scale, box["y"] + (rows[middle] + 0.5) * scale
    card = page.locator(".card")
    assert not card.is_visible()
    page.mouse.move(x, y)
    card.wait_for(state="visible")
    assert f"{instance['label']} #{instance['track']}" in card.inner_text()
    assert f"{instance['score']:.2f}" in card.inner_text()
    page.mouse.click(x, y)
    page.mouse.move(5, 5)
    assert card.is_visible()  # it is kept
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    page.keyboard.press("ArrowLeft")
    one.until(f"document.querySelector('.stage').dataset.frame < {frame}")
    page.get_by_role("button", name=re.compile("^" + instance["label"])).first.click()
    page.get_by_role("button", name="Go on").click()
    one.until(f"document.querySelector('.stage').dataset.frame > {frame}")


def test_tracks_that_came_and_went_are_listed_with_their_pictures_and_lead_to_the_stream(
    opened,
) -> None:
    one = opened("#/events")
    page, row = one.page, one.page.locator(".passed li").filter(has_text="north").first
    row.wait_for()
    assert re.fullmatch(r"\w+ #\d+", row.locator("strong").inner_text())
    assert re.fullmatch(r"there|a moment|[\d.]+ s", row.locator(".state").inner_text())
    assert re.fullmatch(r"\d\d:\d\d:\d\d", row.locator("time").inner_text())
    one.until("[...document.querySelectorAll('.passed img')].some(one => one.naturalWidth > 8)")
    there = page.locator(".passed [data-event=new]").filter(has_text="north").first
    track = there.get_attribute("data-track")
    there.locator("a").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/#/stream/north/{track}")
    one.shown(1)
    page.locator(f".passed [data-track='{track}'] img").wait_for()  # the same in its own list
    page.get_by_role("button", name="Freeze").click()
    kept = page.locator(".roster button").first
    name = kept.locator(".name").inner_text()
    page.locator(".passed li").filter(has_text=name).first.locator("a").click()
    page.locator(".card.kept", has_text=name).wait_for()


def masks_to_decode() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    noise = [rng.random((37, 53)) < share for share in (0.02, 0.5, 0.98)]
    whole, empty = np.ones((5, 7), bool), np.zeros((5, 7), bool)
    corner = np.zeros((1080, 1920), bool)
    corner[1079, 1919] = corner[0, 0] = corner[500:900, 300:1500] = True
    return [*noise, whole, empty, corner]


def test_masks_decoded_in_the_browser_have_every_pixel(opened) -> None:
    page = opened().page
    decode = """async (mask) => {
        const { decode } = await import(new URL("page/rle.js", document.baseURI));
        const found = decode(mask);
        return { ...found, bits: new TextDecoder().decode(found.bits.map((bit) => 48 + bit)) };
    }"""
    for mask in masks_to_decode():
        (text,) = Masks.from_dense(mask[None]).to_coco()
        assert (coco.decode(text) == mask).all()
        found = page.evaluate(decode, text)
        whole = np.zeros_like(mask)
        x, y, width, height = (found[key] for key in ("x", "y", "width", "height"))
        bits = np.frombuffer(found["bits"].encode(), np.uint8).reshape(height, width) == 49
        whole[y : y + height, x : x + width] = bits
        assert (whole == mask).all()
        assert (bits.shape == (0, 0)) == (not mask.any())


def test_the_colours_of_tracks_are_those_the_service_draws(opened) -> None:
    numbers = [*range(40), 997, 123_456_789]
    script = """async (numbers) => {
        const { colour, ink } = await import(new URL("page/palette.js", document.baseURI));
        return numbers.map((number) => [colour(number), ink(colour(number))]);
    }"""
    found = opened().page.evaluate(script, numbers)
    inks = {(255, 255, 255): "#ffffff", (16, 16, 16): "#101010"}
    assert found == [[[*colour(n)[::-1]], inks[ink(colour(n))]] for n in numbers]


def test_a_camera_that_stops_is_said_within_six_seconds_and_so_is_its_return(
    opened, cameras, figures
) -> None:
    grid, view = opened(), opened("#/stream/gate")
    view.shown(2)
    began_s = time.monotonic()
    cameras["gate"].freeze()
    words = re.compile("no pictures from the camera|connection to the camera lost", re.I)
    said = grid.tile("gate").locator(".trouble", has_text=words)
    said.wait_for(state="visible", timeout=6000)
    after_s = time.monotonic() - began_s
    view.page.locator(".notice", has_text=words).wait_for(state="visible", timeout=3000)
    figures("page", "a camera stopped, said after", f"{after_s:.1f} s")
    assert after_s <= 6
    grid.page.locator(".happened li", has_text="gate").filter(has_text="stalled").wait_for()
    assert grid.page.title() == "(1) maskstream"
    assert not grid.tile("north").locator(".trouble").is_visible()
    cameras["gate"].thaw()
    said.wait_for(state="hidden", timeout=15_000)


def test_a_service_that_answers_no_more_is_said_within_six_seconds(opened, service) -> None:
    one = opened(quiet=False)
    page = one.page
    page.locator("[data-link=there]").wait_for()
    service.process.send_signal(signal.SIGSTOP)
    try:
        page.get_by_text("connection to the service lost").wait_for(timeout=6000)
    finally:
        service.process.send_signal(signal.SIGCONT)
    page.locator("[data-link=there]").wait_for()
    one.until("document.querySelectorAll('.tile').length === 4")


def test_eight_windows_of_one_browser_hear_of_everything_and_can_still_ask(opened) -> None:
    windows = [opened("#/events").page]
    windows += [windows[0].context.new_page() for _ in range(7)]
    for window in windows[1:]:
        window.goto(windows[0].url)
    for window in windows:
        window.locator("[data-link=there]").wait_for()
    assert windows[-1].evaluate("fetch('v1/workers').then((answer) => answer.status)") == 200


def test_without_websocket_pictures_are_drawn_by_the_service(opened) -> None:
    one = opened(before="delete window.WebSocket")
    page = one.page
    one.until("document.querySelectorAll('.tile img[data-loaded]').length === 4")
    page.goto(f"{page.url}#/stream/north")
    page.locator(".stage img[data-loaded]").wait_for()
    assert page.get_by_text("This browser has no WebSocket").is_visible()


def test_of_many_tiles_the_first_are_live_and_the_others_have_stills(opened) -> None:
    one = opened("#/workers")
    page = one.page

    def fewer(route: Any) -> None:
        answer = route.fetch()
        assert "socket: 24" in answer.text()
        route.fulfill(response=answer, body=answer.text().replace("socket: 24", "socket: 1"))

    page.route("**/watching.js", fewer)
    page.reload()
    page.evaluate("location.hash = '#/'")
    one.until("document.querySelectorAll('.tile img[data-loaded]').length === 3")
    one.until("document.querySelector('.tile[data-shown]')?.dataset.shown > 2")
    assert page.locator(".tile canvas").count() == 1


def test_the_workers_view_says_what_holds_the_run_up(opened) -> None:
    page = opened("#/workers").page
    page.locator("table td").first.wait_for()
    line = page.locator(".held-up").inner_text()
    assert re.fullmatch(r"Held up by [a-z]+(, \w+)?: .+; .+", line), line
    cells = page.locator("table").first.locator("td").all_inner_texts()
    assert cells[0] == "local"
    assert cells[3:5] == ["\N{EN DASH}", "\N{EN DASH}"]  # on no GPU


@pytest.mark.parametrize("width", [1440, 390])
def test_every_view_fits_the_screen(opened, width: int, tmp_path: Path) -> None:
    page = opened(size=(width, 844)).page
    for name in ("", "stream/north", "workers", "events"):
        page.evaluate(f"location.hash = '#/{name}'")
        page.locator("main > *").wait_for()
        page.wait_for_timeout(300)
        too_wide = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert too_wide <= 0, name
        nameless = page.evaluate(
            "[...document.querySelectorAll('button, a, input, meter')].filter(one => "
            "!one.textContent.trim() && !one.ariaLabel && !one.ariaHidden && !one.labels?.length"
            ").map(one => one.outerHTML)"
        )
        assert nameless == [], name


def test_dark_and_light_are_chosen_and_kept(opened) -> None:
    page = opened().page
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Dark or light").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.locator("[data-link=there]").wait_for()
    assert page.evaluate(ground) == light


def test_the_api_is_told_from_its_own_document(opened) -> None:
    page = opened("docs").page
    add = page.locator("details", has_text="/v1/streams").filter(has_text="Take in one stream more")
    add.click()
    assert add.get_by_text("min_score").is_visible()
