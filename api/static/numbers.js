// The numbers: each with as of when, how far behind, whether final, and how exact.

import { Bars, Spark } from "./charts.js";
import { $, amount, clock, make, number, radios, rate, read, span } from "./dom.js";

const STALE_SECONDS = 60;
const ROUND_MS = 5000;
const TITLES = { "1m": "Messages per minute", "15m": "Messages per quarter of an hour", "1d": "Messages per day" };
const WINDOWS = { "1m": "this minute", "15m": "this quarter", "1h": "this hour", "1d": "today" };
const WIDTHS = { "1m": 60000, "15m": 900000, "1h": 3600000, "1d": 86400000 };
const AT_MOST_EVERY_MS = 1500;

export class Numbers {
  constructor(failed) {
    this.failed = failed;
    this.figures = [];
    this.spark = new Spark($("rate").querySelector(".spark"));
    this.bars = new Bars($("chart"));
    this.grain = "1m";
    this.window = "1h";
    this.watched = null;
    radios($("range"), (button) => this.choose("grain", button.dataset.grain));
    radios($("window"), (button) => this.choose("window", button.dataset.window));
  }

  async start() {
    await this.define();
    await this.refresh();
    this.listen();
    this.timer = setInterval(() => this.soon(), ROUND_MS);
    setInterval(() => this.age(), 1000);
  }

  choose(what, value) {
    this[what] = value;
    this.soon(0);
  }

  listen() {
    const source = new EventSource("/v1/live/metrics");
    const pulse = $("pulse");
    source.addEventListener("ready", (event) => {
      this.spark.values = [];
      const known = JSON.parse(event.data).live_rate;
      this.spark.push(...known);
      if (known.length) $("rate").querySelector("output").value = rate(known.at(-1));
      show(pulse, "live", "live");
      this.soon(0);
    });
    source.addEventListener("point", () => this.soon());
    source.addEventListener("gauge", (event) => this.gauge(JSON.parse(event.data)));
    source.onerror = () => {
      show(pulse, "waiting", "reconnecting");
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), 1500 + Math.random() * 2000);
    };
  }

  gauge(gauge) {
    if (gauge.metric === "live_subscribers") {
      this.subscribers = gauge.value;
      return;
    }
    const card = $("rate");
    card.querySelector("output").value = rate(gauge.value);
    this.spark.push(gauge.value);
    const watching = this.subscribers ? ` · ${number(this.subscribers)} live ${this.subscribers === 1 ? "stream" : "streams"}` : "";
    card.querySelector(".foot").replaceChildren(make("span", {}, `as of ${clock(new Date(gauge.as_of))} · counted by the hub itself${watching}`));
  }

  // Refresh, at most once in a while however many points come.
  soon(wait = AT_MOST_EVERY_MS) {
    if (this.pending) return;
    const due = Math.max(0, wait - (Date.now() - (this.refreshed ?? 0)));
    this.pending = setTimeout(async () => {
      this.pending = null;
      await this.refresh();
    }, due);
  }

  async refresh() {
    this.refreshed = Date.now();
    try {
      await Promise.all([...this.figures.map((figure) => this.fill(figure)), this.fillChart(), this.fillRanking()]);
    } catch (error) {
      this.failed(error);
    }
  }

  async fill(figure) {
    const { metric, grain, unit, empty } = figure.dataset;
    const from = new Date(Math.floor(Date.now() / WIDTHS[grain]) * WIDTHS[grain]);
    const series = await read(`/v1/metrics/${metric}`, { grain, from: from.toISOString() });
    const point = series.points.at(-1);
    const output = figure.querySelector("output");
    const text = point ? amount(point.value, unit) : series.as_of ? empty : "–";
    if (output.value !== text && output.value !== "–") restart(output, "moved");
    output.value = text;
    figure.querySelector(".unit").textContent = point?.approximate ? `±${(point.error * 100).toFixed(1)} %` : "";
    figure.querySelector(".foot").replaceChildren(...provenance(series, point));
    this.latest = series;
    this.age();
  }

  async fillChart() {
    const series = await read("/v1/metrics/messages_sent", { grain: this.grain });
    this.bars.draw(series);
    $("volume-title").textContent = TITLES[this.grain];
    $("chart-foot").replaceChildren(...provenance(series, series.points.at(-1)), make("span", { class: "legend" }, "lighter bars may still change"));
  }

  async fillRanking() {
    const trending = this.window === "trending";
    const found = trending ? await read("/v1/trending", { limit: 8 }) : await read("/v1/top/channels", { window: this.window, limit: 8 });
    const best = Math.max(Number.MIN_VALUE, ...found.ranking.map((r) => r.score));
    const rows = found.ranking.map((entry) => {
      const meter = make("span", { class: "meter", "aria-hidden": "true" }, make("i"));
      meter.firstChild.style.width = `${(100 * entry.score) / best}%`;
      const parts = trending ? trend(entry) : `${number(entry.sent)} sent · ${number(entry.reactions)} reactions · ≈${number(entry.contributors)} people`;
      const figure = trending ? entry.score.toFixed(2) : number(entry.sent);
      return make("li", { title: parts }, make("span", { class: "name" }, entry.id), make("b", {}, figure), meter, make("small", {}, parts));
    });
    const none = trending ? "Nothing out of the ordinary." : "No messages in this window.";
    const how = trending ? "people, who responded and messages, by age, against a week ago" : "by messages, then reactions";
    $("top-title").textContent = trending ? "Trending channels" : "Top channels";
    $("ranking").replaceChildren(...(rows.length ? rows : [make("li", { class: "empty" }, none)]));
    $("ranking-foot").replaceChildren(...provenance(found, null, how));
  }

  // The line in the bar: how fresh everything counted is.
  age() {
    const place = $("freshness");
    const series = this.latest;
    if (!series?.as_of) {
      place.textContent = "nothing counted yet";
      return;
    }
    const asOf = new Date(series.as_of);
    const old = (Date.now() - asOf) / 1000;
    place.dataset.stale = String(old > STALE_SECONDS);
    place.textContent = `numbers as of ${clock(asOf)} · ${span(series.lag_seconds)} behind · watermark ${clock(new Date(series.watermark))}`;
    place.title = `Windows that end before the watermark are final. ${series.complete ? "Everything in the log has been counted." : "Some events in the log are not counted yet."}`;
  }

  async define() {
    const { metrics } = await read("/v1/metrics");
    const words = [];
    for (const metric of metrics) {
      const exact = metric.approximate ? ` ${metric.unit === "seconds" ? "Approximate, at most" : "Live counts are approximate: standard error"} ±${(metric.error * 100).toFixed(1)} %.` : "";
      const unit = ["share", "ratio"].includes(metric.unit) ? "" : `, in ${metric.unit}`;
      words.push(make("dt", {}, make("code", {}, metric.name)), make("dd", {}, `${metric.meaning}${unit}.${exact}`));
      this.figures.push(...metric.tiles.map((grain) => tile(metric, grain, exact)));
    }
    $("figures").append(...this.figures);
    words.push(make("dt", {}, make("code", {}, "live_rate")), make("dd", {}, "events the live hub passed on, per second, mean of the last ten; no engagement number."));
    $("words").replaceChildren(...words);
  }
}

// A card for the current window of a metric; a ratio of nothing is not 0.
function tile(metric, grain, exact) {
  const data = { "data-metric": metric.name, "data-grain": grain, "data-unit": metric.unit, "data-empty": metric.formula.includes("/") ? "–" : "0" };
  const title = `${metric.name}: ${metric.meaning}.${exact} Days and hours in UTC.`;
  return make(
    "article",
    { class: "figure", id: `${metric.name}-${grain}`, title, ...data },
    make("h2", {}, `${metric.label} `, make("small", {}, WINDOWS[grain])),
    make("p", { class: "value" }, make("output", {}, "–"), make("span", { class: "unit" })),
    make("p", { class: "foot" }),
  );
}

// What a trending channel's score is made of.
function trend(entry) {
  const usual = entry.baseline === null ? "nothing to compare with" : `${entry.factor.toFixed(1)} × a week ago`;
  return `≈${number(entry.posters)} people · ${number(entry.messages)} sent · ≈${number(entry.responders)} responded · ${usual}`;
}

// Two short lines: how sure, and how fresh.
export function provenance(series, point, extra) {
  if (!series.as_of) return [make("span", {}, "not counted yet")];
  const sure = [];
  if (point) sure.push(point.final ? "final" : "provisional");
  if (!series.complete) sure.push("incomplete");
  if (extra) sure.push(extra);
  const age = (Date.now() - Date.parse(series.watermark)) / 1000;
  const title = `Watermark ${span(age)} ago${point ? `; revision ${point.revision}` : ""}`;
  return [
    make("span", { class: "sure", title }, sure.join(" · ")),
    make("span", { title }, `as of ${clock(new Date(series.as_of))} · ${span(series.lag_seconds)} behind`),
  ];
}

export function show(pill, state, text) {
  pill.dataset.state = state;
  pill.textContent = text;
}

function restart(element, name) {
  element.classList.remove(name);
  void element.offsetWidth;
  element.classList.add(name);
}
