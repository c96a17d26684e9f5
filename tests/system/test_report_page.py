"""The report's page in a real Chromium, opened as a file: it fits, asks for nothing, and may run nothing."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from analytics.reports.page import page
from tests.system.test_dashboard import browser  # noqa: F401 - a fixture
from tests.unit.analytics.reported import daily, retention, week

pytestmark = pytest.mark.browser

SIZES = {"light": (1200, 1000), "dark": (1200, 1000), "phone": (390, 844)}


@pytest.mark.parametrize("look", list(SIZES))
def test_it_fits_and_has_its_picture_taken(browser: Browser, look: str, tmp_path: Path) -> None:  # noqa: F811
    """Pictures are kept where HUBBUB_SCREENSHOTS says. What they show is made from a seed."""
    documents = {"day": [daily()], "week": week(), "retention": [retention()]}
    width, height = SIZES[look]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if look == "dark" else "light",
        device_scale_factor=2 if look == "phone" else 1,
    )
    shown = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("console", lambda message: complaints.append(message.text))
    for name, found in documents.items():
        file = tmp_path / f"{name}.html"
        file.write_text(page(found))
        shown.goto(file.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert shown.locator("article").count() == len(found)
    dark = shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 23)"
    assert dark == (look == "dark")
    assert asked == [(tmp_path / f"{name}.html").as_uri() for name in documents]
    assert complaints == []
    if folder := os.environ.get("HUBBUB_SCREENSHOTS"):
        shown.goto((tmp_path / "day.html").as_uri())
        target = Path(folder) / f"report-{look}.png"
        if look == "phone":
            shown.screenshot(path=target)
        else:
            bottom = shown.locator("section", has_text="Top people").last.bounding_box()
            assert bottom is not None
            clip = {"x": 0, "y": 0, "width": width, "height": bottom["y"] + bottom["height"] + 14}
            shown.screenshot(path=target, full_page=True, clip=clip)  # type: ignore[arg-type] # a typed mapping
    context.close()
