// The newest finished reports, each a page, a sheet and a document to take away.

import { Community } from "./community.js";
import { $, Signed, clock, make, number, read } from "./dom.js";

const LIMIT = 24;
// The newest of a weekly report stands behind a week of daily ones.
const LOOK_THROUGH = 200;
const ROUND_MS = 60000;

export class Reports {
  constructor(failed) {
    this.failed = failed;
    this.community = new Community();
  }

  async start() {
    await this.refresh();
    setInterval(() => this.refresh(), ROUND_MS);
  }

  async refresh() {
    try {
      const { reports, more } = await read("/v1/reports", { limit: LOOK_THROUGH });
      const rows = reports.slice(0, LIMIT).map((entry) => {
        const state = entry.final ? "final" : entry.complete ? "open" : "incomplete";
        return make(
          "li",
          { "data-report": `${entry.report}/${entry.period}`, title: `${state}, revision ${number(entry.revision)}, made ${entry.finished_at}` },
          make("span", { class: "name" }, link(entry, "html", `${entry.report} ${entry.period}`), " ", make("small", { "data-state": entry.final ? "final" : "open" }, state)),
          link(entry, "csv", "CSV"),
          link(entry, "json", "JSON"),
        );
      });
      $("reports").replaceChildren(...(rows.length ? rows : [make("li", { class: "empty" }, "None is made yet. Each is made when its period is over; `hubbub report daily` makes yesterday's at once.")]));
      $("reports-foot").textContent = `as of ${clock(new Date())}${more || reports.length > LIMIT ? ` · the newest ${number(LIMIT)}` : ""}`;
      await this.community.refresh(reports);
    } catch (error) {
      if (error instanceof Signed) return this.failed(error);
      $("reports-foot").textContent = "the reports cannot be read";
    }
  }
}

function link(entry, format, text) {
  return make("a", { href: `/v1/reports/${encodeURIComponent(entry.report)}/${entry.period}?format=${format}` }, text);
}
