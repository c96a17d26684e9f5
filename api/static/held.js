// What a rule held back or blocked today, and why.

import { $, clock, make, number, read } from "./dom.js";

const LIMIT = 30;

export class Held {
  constructor(failed) {
    this.failed = failed;
  }

  async start() {
    await this.refresh();
    setInterval(() => this.refresh(), 5000);
  }

  async refresh() {
    try {
      const { held, more } = await read("/v1/held", { limit: LIMIT });
      const newest = [...held].sort((a, b) => (when(b) > when(a) ? 1 : -1));
      $("held-count").textContent = more ? `${number(LIMIT)} of more` : held.length ? number(held.length) : "";
      const rows = newest.map((entry) => {
        const { action, rule, version, reason } = entry.verdict;
        return make(
          "li",
          { "data-held-id": entry.held_id },
          make("time", { datetime: when(entry) }, clock(new Date(when(entry)))),
          make("span", { class: `action ${action === "block" ? "block" : "hold"}` }, action === "block" ? "blocked" : "held"),
          make("span", { class: "who" }, `${entry.user_id ?? entry.anonymous_id ?? ""} in ${entry.channel_id ?? "no channel"}`),
          make("span", { class: "why" }, reason, make("code", { title: "Rule and version" }, `${rule}@${version}`)),
          entry.text ? make("q", {}, entry.text) : null,
        );
      });
      $("held").replaceChildren(...(rows.length ? rows : [make("li", { class: "empty" }, "Nothing was held back today.")]));
      const hidden = newest.length && newest.every((entry) => entry.text === undefined);
      $("held-foot").textContent = `as of ${clock(new Date())} · UTC day${hidden ? " · text is shown to keys that may moderate" : ""}`;
    } catch (error) {
      this.failed(error);
    }
  }
}

function when(entry) {
  return entry.received_at ?? entry.time;
}
