// What a rule held back or blocked today, why, what was said before it, and what a moderator makes of it.

import { $, clock, make, number, radios, read } from "./dom.js";
import { at, decide } from "./review.js";

const LIMIT = 30;
const DECIDED = { released: "released", rejected: "rejected" };

export class Held {
  constructor(failed) {
    this.failed = failed;
    this.state = "waiting";
    this.open = null;
    this.rows = new Map();
    this.list = $("held");
    radios($("held-state"), (item) => {
      this.state = item.dataset.state;
      this.open = null;
      this.refresh();
    });
  }

  async start() {
    await this.refresh();
    setInterval(() => this.refresh(), 5000);
  }

  async refresh() {
    const asked = this.state;
    try {
      const { held, more, decide_at } = await read("/v1/held", asked === "all" ? { limit: LIMIT } : { limit: LIMIT, state: asked });
      if (asked !== this.state) return;
      at(decide_at);
      const newest = [...held].sort((a, b) => (when(b) > when(a) ? 1 : -1));
      $("held-count").textContent = more ? `${number(held.length)} of more` : held.length ? number(held.length) : "";
      // A row that is open or has not changed stays as it is, so that nothing moves under the moderator's hand.
      const old = this.rows;
      this.rows = new Map(newest.map((entry) => [entry.held_id, old.get(entry.held_id)?.dataset.state === entry.state ? old.get(entry.held_id) : this.row(entry)]));
      const kept = this.open && old.get(this.open);
      if (kept && !this.rows.has(this.open)) this.rows = new Map([[this.open, kept], ...this.rows]);
      this.show([...this.rows.values()]);
      const hidden = newest.length && newest.every((entry) => entry.text === undefined);
      $("held-foot").textContent = `as of ${clock(new Date())} · UTC day${hidden ? " · text is shown to keys that may moderate" : ""}`;
    } catch (error) {
      this.failed(error);
    }
  }

  show(rows) {
    if (!rows.length) rows = [make("li", { class: "empty" }, this.state === "waiting" ? "Nothing waits for a decision." : "Nothing here today.")];
    if (rows.length === this.list.children.length && rows.every((row, index) => row === this.list.children[index])) return;
    this.list.replaceChildren(...rows);
  }

  row(entry) {
    const { action, rule, version, reason } = entry.verdict;
    const place = make("div", { class: "detail", hidden: true });
    const opener = make("button", { class: "quiet", "aria-expanded": "false" }, entry.state === "waiting" ? "Review" : "Look");
    const row = make(
      "li",
      { "data-held-id": entry.held_id, "data-state": entry.state },
      make("time", { datetime: when(entry) }, clock(new Date(when(entry)))),
      make("span", { class: `action ${action === "block" ? "block" : "hold"}` }, action === "block" ? "blocked" : "held"),
      make("span", { class: "who" }, `${entry.user_id ?? entry.anonymous_id ?? ""} in ${entry.channel_id ?? "no channel"}`),
      make("span", { class: "why" }, reason, make("code", { title: "Rule and version" }, `${rule}@${version}`)),
      entry.text ? make("q", {}, entry.text) : null,
      make("p", { class: "hands" }, entry.state in DECIDED ? make("span", { class: `action ${entry.state}` }, DECIDED[entry.state]) : null, opener),
      place,
    );
    opener.addEventListener("click", () => this.toggle(entry, opener, place));
    return row;
  }

  async toggle(entry, opener, place) {
    const opens = place.hidden;
    place.hidden = !opens;
    opener.setAttribute("aria-expanded", String(opens));
    this.open = opens ? entry.held_id : null;
    if (!opens) return;
    place.replaceChildren(make("p", { class: "foot" }, "reading…"));
    try {
      const { held, context, record } = await read(`/v1/held/${entry.held_id}`);
      place.replaceChildren(...this.detail(held, context, record));
    } catch (error) {
      place.replaceChildren(make("p", { class: "refusal" }, "It could not be read."));
      this.failed(error);
    }
  }

  detail(held, context, record) {
    const before = [...context].reverse().map((message) =>
      make(
        "li",
        {},
        make("time", { datetime: message.sent_at }, clock(new Date(message.sent_at))),
        make("span", { class: "who" }, message.user_id ?? message.anonymous_id ?? ""),
        make("span", { class: message.deleted ? "text gone" : "text" }, message.deleted ? (message.blocked ? "blocked" : "deleted") : (message.text ?? "")),
      ),
    );
    const counted = `${record.user_id} in ${record.days} days: ${record.held} held, ${record.blocked} blocked, ${record.released} released, ${record.rejected} rejected, ${record.taken_down} taken down`;
    const decided = (held.decisions ?? []).map((one) =>
      make("p", { class: "foot" }, `${one.verb} at ${clock(new Date(one.decided_at))} by ${one.moderator ?? one.decided_by}${one.reason ? `: ${one.reason}` : ""}`),
    );
    const parts = [make("ol", { class: "before", "aria-label": "Said before" }, ...(before.length ? before : [make("li", { class: "empty" }, "Nothing was said before.")])), make("p", { class: "record" }, counted), ...decided];
    if (held.state === "waiting") parts.push(this.choices(held));
    return parts;
  }

  choices(held) {
    const reason = make("input", { class: "reason", type: "text", maxlength: 1000, placeholder: "Reason, for the audit trail", "aria-label": "Reason" });
    const told = make("span", { class: "told", role: "status" });
    const buttons = ["release", "reject"].map((verb) => make("button", { type: "button", class: verb, "data-verb": verb }, verb === "release" ? "Release" : "Reject"));
    for (const button of buttons) {
      button.addEventListener("click", async () => {
        for (const each of buttons) each.disabled = true;
        told.textContent = "";
        try {
          const given = reason.value.trim();
          if (!(await decide(`/v1/held/${held.held_id}/${button.dataset.verb}`, given ? { reason: given } : {}))) return;
          told.textContent = button.dataset.verb === "release" ? "Released." : "Rejected.";
          this.open = null;
          setTimeout(() => this.refresh(), 500);
        } catch (error) {
          told.textContent = error.message;
        } finally {
          for (const each of buttons) each.disabled = told.textContent.endsWith("ed.");
        }
      });
    }
    return make("div", { class: "choices" }, reason, ...buttons, told);
  }
}

function when(entry) {
  return entry.received_at ?? entry.time;
}
