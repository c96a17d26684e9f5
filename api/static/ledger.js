// Whether everything accepted is where it should be: a cell a minute, in words for the one chosen.

import { $, Signed, clock, focusOnly, make, number, read, rove, span } from "./dom.js";
import { show } from "./numbers.js";

const MINUTES = 60;
const WIDTH_MS = 60000;
const ROUND_MS = 5000;
const STALE_SECONDS = 60;
const OUTCOMES = ["events", "signals", "held", "blocked", "dlq", "duplicates"];
// Colour is never alone: what is wrong also has a mark.
const MARKS = { late: "…", different: "!" };

export class Ledger {
  constructor(failed) {
    this.failed = failed;
    this.chosen = null;
    rove($("ledger"), "button", (cell) => cell.click());
  }

  async start() {
    await this.refresh();
    setInterval(() => this.refresh(), ROUND_MS);
  }

  async refresh() {
    try {
      this.draw(await read("/v1/ledger", { minutes: MINUTES }));
    } catch (error) {
      if (error instanceof Signed) return this.failed(error);
      show($("ledger-state"), "waiting", "the ledger cannot be read");
    }
  }

  draw(ledger) {
    const known = new Map(ledger.minutes.map((minute) => [Date.parse(minute.start), minute]));
    const focused = $("ledger").contains(document.activeElement) ? document.activeElement.dataset.start : null;
    const cells = [];
    for (let start = Date.parse(ledger.from); start < Date.parse(ledger.to); start += WIDTH_MS) cells.push(this.cell(start, known.get(start)));
    $("ledger").replaceChildren(...cells.map((cell) => make("li", {}, cell)));
    const current = cells.find((cell) => cell.getAttribute("aria-pressed") === "true") ?? cells.at(-1);
    current.tabIndex = 0;
    const again = cells.find((cell) => cell.dataset.start === focused);
    if (again) focusOnly(cells, again);
    this.tell(ledger, known);
  }

  cell(start, minute) {
    const words = describe(start, minute);
    const cell = make(
      "button",
      {
        type: "button",
        tabindex: "-1",
        title: words,
        "aria-label": words,
        "aria-pressed": String(this.chosen === start),
        "data-state": minute?.state ?? "quiet",
        "data-start": start,
      },
      MARKS[minute?.state] ?? "",
    );
    cell.addEventListener("click", () => {
      this.chosen = this.chosen === start ? null : start;
      this.refresh();
    });
    return cell;
  }

  tell(ledger, known) {
    const of = (state) => ledger.minutes.filter((minute) => minute.state === state);
    const different = of("different");
    const late = of("late");
    const stale = ledger.lag_seconds === null || ledger.lag_seconds > STALE_SECONDS;
    if (different.length) show($("ledger-state"), "bad", `${number(different.length)} ${different.length === 1 ? "minute differs" : "minutes differ"}`);
    else if (stale) show($("ledger-state"), "waiting", ledger.as_of ? `read nothing for ${span(ledger.lag_seconds)}` : "not compared yet");
    else if (late.length) show($("ledger-state"), "waiting", `${number(late.length)} late`);
    else show($("ledger-state"), "live", "balanced");
    const newest = different.at(-1) ?? late.at(-1) ?? of("balanced").at(-1);
    const start = this.chosen ?? (newest ? Date.parse(newest.start) : null);
    $("ledger-minute").textContent = start === null ? "Nothing was accepted in the last hour." : describe(start, known.get(start));
    $("ledger-foot").textContent = ledger.as_of
      ? `as of ${clock(new Date(ledger.as_of))} · ${span(ledger.lag_seconds)} behind · accepted = events + signals + held + blocked + dead letters + duplicates`
      : "";
  }
}

function describe(start, minute) {
  const at = clock(new Date(start), false);
  if (!minute) return `${at}: nothing accepted`;
  const parts = OUTCOMES.filter((outcome) => minute[outcome]).map((outcome) => `${number(minute[outcome])} ${outcome === "dlq" ? "dead letters" : outcome}`);
  const sum = `${number(minute.accepted)} accepted, ${parts.join(" + ") || "nothing found"}`;
  if (!minute.stage) return `${at}: ${minute.state}. ${sum}`;
  const found = minute.expected === null ? "" : `, ${number(minute.found)} of ${number(minute.expected)}`;
  return `${at}: ${minute.state} at ${minute.stage}${found}${minute.src ? ` (${minute.src})` : ""}. ${sum}`;
}
