// Who waits for an answer now, the newest first, and how today's answers have come.

import { $, Signed, clock, make, number, read, span } from "./dom.js";

const MOST = 12;
const ROUND_MS = 3000;
const FIGURES_EVERY = 5;
const DAY_MS = 86400000;
const FIGURES = [
  ["response_time_p50", "half answered within", (point) => span(point.value)],
  ["answered", "answered", (point) => number(point.value)],
  ["unanswered", "given up", (point) => number(point.value)],
  ["sessions", "sessions", (point) => number(point.value)],
];

export class Waiting {
  constructor(failed) {
    this.failed = failed;
    this.rounds = 0;
  }

  async start() {
    await this.refresh();
    setInterval(() => this.refresh(), ROUND_MS);
    setInterval(() => this.age(), 1000);
  }

  async refresh() {
    try {
      this.draw(await read("/v1/waiting", { order: "newest", limit: MOST }));
      if (this.rounds++ % FIGURES_EVERY === 0) await this.count();
    } catch (error) {
      if (error instanceof Signed) return this.failed(error);
      $("waiting-foot").textContent = "who waits cannot be read";
    }
  }

  draw(body) {
    const rows = body.waiting.map((wait) =>
      make(
        "li",
        { "data-message-id": wait.message_id, title: `since ${new Date(wait.since).toLocaleString()}` },
        make("span", { class: "name" }, `${wait.author} in ${wait.channel_id}${wait.thread_id ? ", in a thread" : ""}`),
        make("small", { "data-since": wait.since }),
      ),
    );
    $("waiting").replaceChildren(...(rows.length ? rows : [make("li", { class: "empty" }, body.as_of ? "Nobody waits." : "Not looked at yet.")]));
    $("waiting-count").textContent = body.total ? number(body.total) : "";
    const more = body.total - rows.length;
    const sure = `provisional${more > 0 ? ` · ${number(more)} more have waited longer` : ""}`;
    $("waiting-foot").replaceChildren(make("span", { class: "sure" }, sure), body.as_of ? ` · as of ${clock(new Date(body.as_of))}` : "");
    this.age();
  }

  // Today's numbers, in UTC; they follow some minutes later, when nothing can come before them any more.
  async count() {
    const from = new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS).toISOString();
    const found = await Promise.all(FIGURES.map(([name]) => read(`/v1/metrics/${name}`, { grain: "1d", from })));
    const shown = FIGURES.map(([name, label, text], at) => {
      const point = found[at].points.at(-1);
      const error = point?.approximate ? `, within ${(point.error * 100).toFixed(1)} %` : "";
      const value = point ? text(point) : found[at].as_of && !name.includes("_p") ? "0" : "–";
      return make("div", { title: `${name}, today in UTC${error}` }, make("dt", {}, label), make("dd", {}, value));
    });
    $("waiting-today").replaceChildren(...shown);
  }

  age() {
    for (const place of $("waiting").querySelectorAll("[data-since]")) {
      place.textContent = span(Math.max(0, (Date.now() - Date.parse(place.dataset.since)) / 1000));
    }
  }
}
