"""The dashboard in a real Chromium: signs in, sees the numbers move, follows a channel through an API restart."""

import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uuid_utils
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from analytics.reports.job import rendered
from analytics.reports.runs import STATEMENTS, Runs
from infra.contracts.reports import Extent
from infra.runtime.cassandra import connect
from infra.runtime.settings import Cassandra
from tests.system.conftest import Hubbub, eventually
from tests.unit.analytics.reported import response_times, retention

expect.set_options(timeout=30_000)  # a crowded machine is slow, not wrong

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"light": (1440, 1060), "dark": (1440, 1060), "phone": (390, 844)}
HOSTILE = [
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "javascript:document.title='owned'",
    "\u202egnp.exe \u200b\u0000",
]
#: What the rules hold.
HOLDING = "free nitro for everybody"
NUMBERS_MS = 90_000  # the first windows of a cold metrics query take a while


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("HUBBUB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "install Chromium (Debian: apt install chromium), or name one in HUBBUB_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """One visitor's page, and what its console complained of."""

    def __init__(self, browser: Browser, hubbub: Hubbub, size: tuple[int, int] = SIZES["light"], **options: Any):
        self.hubbub = hubbub
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="en-GB", **options)
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.foreign: list[str] = []
        self.page.on("request", lambda request: self._watch(request.url))

    def sign_in(self, channel: str | None = None) -> None:
        """Paste the key and press Enter."""
        self.page.goto(self.hubbub.api_url + "/" + (f"#{channel}" if channel else ""))
        self.page.keyboard.type(self.hubbub.keys["read"])  # the field has the focus
        self.page.keyboard.press("Enter")
        expect(self.page.locator("#house")).to_be_visible()

    def message(self, message_id: str) -> Any:
        return self.page.locator(f'#tail li[data-message-id="{message_id}"]')

    def shown(self) -> list[str]:
        """Texts of the tail in order."""
        texts: list[str] = self.page.locator("#tail li[data-message-id] .text").all_text_contents()
        return texts

    def close(self) -> None:
        self.page.context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _watch(self, url: str) -> None:
        if not url.startswith(self.hubbub.api_url):
            self.foreign.append(url)


@pytest.fixture
def visit(browser: Browser, hubbub: Hubbub) -> Iterator[Visit]:
    visit = Visit(browser, hubbub)
    yield visit
    assert visit.complaints == []
    assert visit.foreign == []
    visit.close()


def said(text: str, channel: str, user: str = "ada", **fields: Any) -> dict[str, Any]:
    return {
        "id": str(uuid_utils.uuid7()),
        "type": "message.sent",
        "time": datetime.now(UTC).isoformat(),
        "channel_id": channel,
        "user_id": user,
        "text": text,
        **fields,
    }


def send(hubbub: Hubbub, *events: dict[str, Any], key: str = "write") -> None:
    assert hubbub.send(*events, key=key).status_code == 200


@pytest.fixture
def channel(hubbub: Hubbub) -> str:
    """A channel of the test's own that history knows."""
    name = f"browser-{uuid_utils.uuid7()}"
    send(hubbub, said("the first", name))
    eventually(lambda: is_known(hubbub, name), 30)
    return name


def is_known(hubbub: Hubbub, channel: str) -> bool:
    reply = httpx.get(
        f"{hubbub.api_url}/v1/channels/{channel}/messages", headers={"Authorization": f"Bearer {hubbub.keys['read']}"}
    )
    known = any(c["channel_id"] == channel for c in hubbub.read("/v1/channels", limit=1000)["channels"])
    return known and reply.status_code == 200 and bool(reply.json()["messages"])


def test_a_wrong_key_is_refused_in_words(visit: Visit) -> None:
    visit.page.goto(visit.hubbub.api_url)
    visit.page.fill("#key", "hub_read_wrong")
    visit.page.click("#sign-in button")
    expect(visit.page.locator("#refusal")).to_contain_text("not a valid read key")
    expect(visit.page.locator("#house")).to_be_hidden()


def test_the_numbers_move_and_say_how_fresh_they_are(visit: Visit, channel: str) -> None:
    visit.sign_in(channel)
    number = visit.page.locator("#messages_sent-1d output")
    expect(number).to_have_text(re.compile(r"\d"), timeout=NUMBERS_MS)
    before = count(number.text_content())
    send(visit.hubbub, *(said(f"more {n}", channel, user=f"user-{n}") for n in range(20)))
    visit.page.wait_for_function(
        "before => Number(document.querySelector('#messages_sent-1d output').value.replace(/\\D/g, '')) >= before + 20",
        arg=before,
        timeout=NUMBERS_MS,
    )
    expect(visit.page.locator("#rate output")).to_have_text(re.compile(r"\d"))
    for figure in (
        "active_users-1d",
        "active_users-1h",
        "messages_sent-1d",
        "contributors-1d",
        "mau-1d",
        "reaction_rate-1d",
    ):
        foot = visit.page.locator(f"#{figure} .foot")
        expect(foot).to_contain_text(re.compile(r"as of \d\d:\d\d:\d\d · [\d.]+ (s|min) behind"))
        expect(foot).to_contain_text(re.compile("provisional|final"))
    expect(visit.page.locator("#active_users-1d .unit")).to_have_text(re.compile(r"±\d"))
    expect(visit.page.locator("#freshness")).to_contain_text("watermark")
    expect(visit.page.locator("#ranking li .name").first).to_be_visible()
    expect(visit.page.locator("#chart rect").first).to_be_visible()
    visit.page.click("#window [data-window=trending]")
    expect(visit.page.locator("#top-title")).to_have_text("Trending channels")
    trend = visit.page.locator("#ranking li", has=visit.page.locator(".name", has_text=channel))
    expect(trend.locator("small")).to_contain_text(
        re.compile(r"≈\d+ people · \d+ sent · ≈\d+ responded · nothing to compare with")
    )


def test_a_channel_is_followed_through_an_api_restart_without_a_gap(visit: Visit, channel: str) -> None:
    visit.sign_in(channel)
    expect(visit.page.locator("#tail-state")).to_have_text("live")
    send(visit.hubbub, said("before", channel))
    expect(visit.page.locator("#tail")).to_contain_text("before")
    visit.hubbub.kill("api")
    expect(visit.page.locator("#tail-state")).to_have_text("reconnecting", timeout=10_000)
    away = [f"while away {n}" for n in range(25)]
    for text in away:
        send(visit.hubbub, said(text, channel))
    expect(visit.page.locator("#tail-state")).to_have_text("live", timeout=90_000)
    send(visit.hubbub, said("after", channel))
    expect(visit.page.locator("#tail li[data-message-id] .text").last).to_have_text("after", timeout=15_000)
    assert visit.shown() == ["the first", "before", *away, "after"]
    expect(visit.page.locator("#tail [data-mark]")).to_have_attribute("data-mark", "ok")


def test_edits_deletes_and_reactions_change_what_stands_there(visit: Visit, channel: str) -> None:
    visit.sign_in(channel)
    expect(visit.page.locator("#tail-state")).to_have_text("live")
    one, two = said("one", channel), said("two", channel)
    send(visit.hubbub, one, two)
    expect(visit.message(two["id"])).to_be_visible()
    now = datetime.now(UTC).isoformat()
    about = {"time": now, "channel_id": channel, "user_id": "ada"}
    change = {"id": str(uuid_utils.uuid7()), "type": "message.edited", "message_id": one["id"], "text": "one, better"}
    delete = {"id": str(uuid_utils.uuid7()), "type": "message.deleted", "message_id": two["id"]}
    react = {"id": str(uuid_utils.uuid7()), "type": "reaction.added", "message_id": one["id"], "reaction": "+1"}
    send(visit.hubbub, {**about, **change}, {**about, **delete}, key="server")
    send(visit.hubbub, {**about, **react})
    expect(visit.message(one["id"]).locator(".text")).to_have_text("one, better")
    expect(visit.message(one["id"]).locator(".reactions")).to_have_text("+1 1")
    expect(visit.message(two["id"])).to_have_class(re.compile("deleted"))
    expect(visit.message(two["id"])).not_to_contain_text("two")


def test_what_users_write_stays_text(visit: Visit, channel: str) -> None:
    visit.sign_in(channel)
    expect(visit.page.locator("#tail-state")).to_have_text("live")
    send(visit.hubbub, *(said(text, channel, user=f"<b>{n}</b>") for n, text in enumerate(HOSTILE)))
    expect(visit.page.locator("#tail li[data-message-id]")).to_have_count(1 + len(HOSTILE))
    assert visit.shown()[1:3] == HOSTILE[:2]
    assert visit.page.locator("#tail img, #tail script, #tail b").count() == 0
    assert "owned" not in visit.page.title()
    policy = httpx.get(visit.hubbub.api_url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_keyboard_reaches_everything(visit: Visit, channel: str) -> None:
    other = f"{channel}-other"
    send(visit.hubbub, said("hello", other))
    eventually(lambda: is_known(visit.hubbub, other), 30)
    visit.sign_in(channel)
    page = visit.page
    page.reload()
    expect(page.locator("#rooms [aria-selected=true]")).to_have_attribute("data-channel", channel)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator("#filter").focus()
    page.keyboard.type(channel)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#rooms li:focus")).to_have_count(1)
    page.keyboard.press("End")
    page.keyboard.press("Home")
    first = page.locator("#rooms li:focus").get_attribute("data-channel")
    if first == channel:
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#talk-title")).to_have_text(other)
    expect(page.locator("#tail")).to_contain_text("hello")
    page.locator("#range [aria-checked=true]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#range [data-grain='15m']")).to_have_attribute("aria-checked", "true")


def test_the_ledger_says_of_each_minute_where_everything_is(visit: Visit, channel: str) -> None:
    visit.sign_in(channel)
    page = visit.page
    balanced = page.locator("#ledger [data-state=balanced]").first
    expect(balanced).to_be_visible(timeout=NUMBERS_MS)
    balanced.click()
    expect(page.locator("#ledger-minute")).to_contain_text("accepted")
    expect(page.locator("#ledger [aria-pressed=true]")).to_have_count(1)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator("#ledger button:focus")).to_have_attribute("aria-pressed", "true")


def test_who_waits_for_an_answer_is_shown_within_seconds_until_somebody_answers(visit: Visit, channel: str) -> None:
    visit.sign_in(channel)
    question, answer = said("does anybody know?", channel, user="bea"), said("I do", channel, user="cem")
    send(visit.hubbub, question)
    waiting = visit.page.locator(f"#waiting li[data-message-id='{question['id']}']")
    expect(waiting).to_be_visible(timeout=15_000)
    expect(waiting.locator(".name")).to_have_text(f"bea in {channel}")
    expect(waiting.locator("small")).to_have_text(re.compile(r"[\d.]+ s"))
    expect(visit.page.locator("#waiting-foot")).to_contain_text(re.compile(r"provisional.* · as of \d\d:\d\d:\d\d"))
    expect(visit.page.locator("#waiting-today div")).to_have_count(4)
    send(visit.hubbub, answer)
    expect(waiting).to_have_count(0, timeout=15_000)


@pytest.fixture(scope="module")
def reports(hubbub: Hubbub) -> None:
    """A week's retention and a day's response times, stored as if they had been made."""
    given = {f"HUBBUB_CASSANDRA_{name.upper()}": name for name in ("keyspace", "port")}
    found = {name: hubbub.environment[key] for key, name in given.items() if key in hubbub.environment}
    database = connect(Cassandra.model_validate(found), prepare=False)
    database.prepare(STATEMENTS)
    runs = Runs(database)
    for document in (retention(), response_times()):
        extent = Extent(versions=document.archive.versions, rows={"events": 1})
        runs.start(document.tenant, document.report, date.fromisoformat(document.period), datetime.now(UTC))
        runs.store(document, rendered(document))
        runs.finish(document, extent, datetime.now(UTC))
    database.close()


def test_retention_and_response_times_are_those_of_the_newest_reports(visit: Visit, reports: None) -> None:
    visit.sign_in()
    heat = visit.page.locator("#retention")
    (section, _) = retention().sections
    expect(heat.locator("tbody tr")).to_have_count(len(section.rows))
    sizes = [row["size"] for row in section.rows]
    assert [count(text) for text in heat.locator("tbody td:nth-of-type(1)").all_text_contents()] == sizes
    expect(heat.locator("td.open").first).to_be_visible()
    expect(visit.page.locator("#retention-foot")).to_contain_text("open · 311 people in R30")
    expect(visit.page.locator("#responses")).to_contain_text("1 min 36 s")
    expect(visit.page.locator("#unanswered li .name").first).to_have_text("kofi in help")
    expect(visit.page.locator("#unanswered")).to_contain_text("and 12 more")
    expect(visit.page.locator("#responses-foot")).to_contain_text("2026-03-13 · final")


def test_a_moderator_reviews_what_is_held_and_blocks_what_is_shown(
    browser: Browser, hubbub: Hubbub, channel: str
) -> None:
    """Both through one key that is asked for once; the policy lets the page reach ingest and nobody else."""
    visit = Visit(browser, hubbub)
    kept, thrown, seen = said(HOLDING, channel, user="eva"), said(HOLDING, channel, user="tom"), said("seen", channel)
    send(hubbub, seen, kept, thrown)
    visit.sign_in(channel)
    page = visit.page
    expect(page.locator("#tail-state")).to_have_text("live")
    expect(visit.message(seen["id"])).to_be_visible()

    row = page.locator("#held li", has_text="eva in ").first
    row.get_by_role("button", name="Review").click()
    expect(row.locator(".before")).to_contain_text("the first")
    expect(row.locator(".record")).to_contain_text("eva in 30 days")
    row.locator(".reason").fill("a quotation")
    row.get_by_role("button", name="Release").click()
    page.fill("#moderate-key", hubbub.keys["moderate"])
    page.keyboard.press("Enter")
    expect(visit.message(kept["id"])).to_have_class(re.compile("late"))
    assert visit.shown() == ["the first", "seen", HOLDING]

    row = page.locator("#held li", has_text="tom in ").first
    row.get_by_role("button", name="Review").click()
    row.get_by_role("button", name="Reject").click()
    expect(page.locator("#held")).not_to_contain_text("tom in ")
    expect(page.locator("#moderate")).to_be_hidden()  # the key is not asked for again

    page.locator("#moderating").click()
    block = visit.message(seen["id"]).locator(".take-down")
    block.click()
    block.click()
    expect(visit.message(seen["id"]).locator(".text")).to_have_text("blocked")
    page.locator("#held-state [data-state=all]").click()
    expect(page.locator("#held li", has_text="tom in ").locator(".action.rejected").first).to_be_visible()
    page.reload()
    expect(visit.message(seen["id"]).locator(".text")).to_have_text("blocked")
    assert hubbub.keys["moderate"] not in page.content()
    assert page.evaluate("JSON.stringify(localStorage)").count("hub_") == 0
    assert visit.complaints == []
    assert {url.split("/v1/")[0] for url in visit.foreign} == {hubbub.ingest_url}
    visit.close()


def test_signing_out_closes_the_door(visit: Visit, channel: str) -> None:
    visit.sign_in(channel)
    visit.page.click("#sign-out")
    expect(visit.page.locator("#door")).to_be_visible()
    visit.page.reload()
    expect(visit.page.locator("#house")).to_be_hidden()


@pytest.mark.parametrize("look", list(SIZES))
def test_it_fits_and_has_its_picture_taken(
    browser: Browser, hubbub: Hubbub, channel: str, reports: None, look: str
) -> None:
    """Pictures are kept where HUBBUB_SCREENSHOTS says; HUBBUB_SCREENSHOT_CHANNEL chooses the channel they show."""
    visit = Visit(browser, hubbub, SIZES[look], color_scheme="dark" if look == "dark" else "light")
    visit.sign_in(os.environ.get("HUBBUB_SCREENSHOT_CHANNEL", channel))
    page = visit.page
    expect(page.locator("#tail li[data-message-id]").first).to_be_visible()
    expect(page.locator("#messages_sent-1d output")).to_have_text(re.compile(r"\d"), timeout=NUMBERS_MS)
    expect(page.locator("#ranking li").first).to_be_visible()
    expect(page.locator("#held li").first).to_be_visible()
    expect(page.locator("#retention tbody tr").first).to_be_visible()
    expect(page.locator("#unanswered .name").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 23)"
    assert dark == (look == "dark")
    if folder := os.environ.get("HUBBUB_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"dashboard-{look}.png", full_page=True)
    assert visit.complaints == []
    visit.close()


def count(text: str | None) -> int:
    return int(re.sub(r"\D", "", text or "") or 0)
