// The community over time: the newest retention report as a heat map, and the newest report of response times.

import { $, clock, make, number, read } from "./dom.js";

const SHADES = 10;
const MOST_WAITING = 6;

export class Community {
  constructor() {
    this.shown = {};
  }

  // `entries` are the finished reports, newest first. A report that is already shown is not read again.
  async refresh(entries) {
    await this.newest(entries, "retention", (document) => this.retention(document));
    await this.newest(entries, "response-times", (document) => this.responses(document));
  }

  async newest(entries, name, draw) {
    const entry = entries.find((one) => one.report === name);
    const key = entry && `${entry.period}/${entry.revision}`;
    if (!entry || this.shown[name] === key) return;
    draw(await read(`/v1/reports/${name}/${entry.period}`, { format: "json" }));
    this.shown[name] = key;
  }

  retention(document) {
    const [section] = document.sections;
    const columns = section.columns.filter((name) => name !== "open").map((name) => document.columns.find((c) => c.name === name));
    const head = make("tr", {}, make("th", { scope: "col" }, "week of"), ...columns.map((c) => make("th", { scope: "col", title: c.meaning }, c.label)));
    const rows = section.rows.map((row) => {
      let open = false;
      const cells = columns.map((column) => {
        const value = row[column.name];
        open = open || row.open === column.name;
        if (value === null) return make("td");
        if (column.unit !== "percent") return make("td", {}, number(value));
        const shade = Math.min(SHADES, Math.ceil((value * SHADES) / 100));
        return make("td", { class: `h${shade}${open ? " open" : ""}`, title: open ? "not over yet" : null }, value.toFixed(0));
      });
      return make("tr", { class: row.cohort === "mean" ? "mean" : null }, make("th", { scope: "row" }, day(row.cohort)), ...cells);
    });
    $("retention").replaceChildren(make("table", { class: "heat" }, make("thead", {}, head), make("tbody", {}, ...rows)));
    $("retention-foot").replaceChildren(...provenance(document, `${number(document.figures.r30)} people in R30`));
  }

  responses(document) {
    const figures = document.headline.map((name) => {
      const column = document.columns.find((c) => c.name === name);
      return make("div", { title: column.meaning }, make("dt", {}, column.label), make("dd", {}, shown(column, document.figures[name])));
    });
    const { rows, omitted } = document.sections.find((section) => section.name === "unanswered");
    const waits = rows.slice(0, MOST_WAITING).map((row) =>
      make("li", { title: row.message }, make("span", { class: "name" }, `${row.author} in ${row.channel}`), make("small", {}, `since ${row.since.slice(11, 16)}, ${lasted(row.waited)}`)),
    );
    const more = rows.length + omitted - waits.length;
    if (more > 0) waits.push(make("li", { class: "empty" }, `and ${number(more)} more`));
    $("responses").replaceChildren(...figures);
    $("unanswered").replaceChildren(...(waits.length ? waits : [make("li", { class: "empty" }, "Everybody got an answer.")]));
    $("responses-foot").replaceChildren(...provenance(document));
  }
}

// What a report is of, how sure it is, and as of when.
function provenance(document, extra) {
  const state = document.final ? "final" : document.complete ? "open" : "incomplete";
  const sure = [document.period, state, extra].filter(Boolean).join(" · ");
  const asOf = document.as_of ? `as of ${document.as_of.slice(0, 10)} ${clock(new Date(document.as_of), false)}` : "as of an unknown moment";
  return [make("span", { class: "sure", title: `revision ${document.revision}, in ${document.timezone}` }, sure), make("span", {}, asOf)];
}

function day(text) {
  return text === "mean" ? "mean" : new Date(`${text.slice(0, 10)}T12:00`).toLocaleDateString([], { day: "numeric", month: "short" });
}

function shown(column, value) {
  if (value === null) return "–";
  if (column.unit === "seconds") return lasted(value);
  return column.unit === "percent" ? `${value.toFixed(1)} %` : number(value);
}

function lasted(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.round(seconds)} s`;
}
