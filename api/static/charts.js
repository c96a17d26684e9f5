// Two charts as SVG: a line of the last minutes, and bars over time whose provisional part is drawn lighter.

import { clock, compact, make, number } from "./dom.js";

export class Spark {
  constructor(svg, length = 180) {
    this.svg = svg;
    this.length = length;
    this.values = [];
    svg.setAttribute("viewBox", "0 0 300 44");
    svg.setAttribute("preserveAspectRatio", "none");
    this.area = make("path", { class: "area" });
    this.line = make("path", { class: "line" });
    svg.append(this.area, this.line);
  }

  push(...values) {
    this.values = [...this.values, ...values].slice(-this.length);
    if (!this.values.length) return;
    const top = Math.max(1, ...this.values) * 1.1;
    const step = 300 / (Math.max(60, this.values.length) - 1);
    const left = 300 - (this.values.length - 1) * step;
    const points = this.values.map((v, i) => `${(left + i * step).toFixed(1)},${(43 - (v / top) * 42).toFixed(1)}`);
    this.line.setAttribute("d", `M${points.join("L")}`);
    this.area.setAttribute("d", `M${left.toFixed(1)},44L${points.join("L")}L300,44Z`);
  }
}

const WIDTH = { "1m": 60, "15m": 900, "1d": 86400 };
const COUNT = { "1m": 60, "15m": 96, "1d": 30 };

export class Bars {
  constructor(place) {
    this.place = place;
    new ResizeObserver(() => this.series && this.draw(this.series)).observe(place);
  }

  draw(series) {
    this.series = series;
    const width = Math.max(280, this.place.clientWidth);
    const height = Math.max(140, this.place.clientHeight);
    const [left, bottom, top] = [34, 18, 8];
    const step = WIDTH[series.grain] * 1000;
    const count = COUNT[series.grain];
    const last = Math.floor(Date.now() / step) * step;
    const points = new Map(series.points.map((p) => [Date.parse(p.start), p]));
    const starts = Array.from({ length: count }, (_, i) => last - (count - 1 - i) * step);
    const peak = nice(Math.max(1, ...starts.map((s) => points.get(s)?.value ?? 0)));
    const y = (value) => top + (height - top - bottom) * (1 - value / peak);
    const bar = (width - left) / count;
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": describe(series, starts, points) });
    for (const share of [0, 0.5, 1]) {
      const at = y(peak * share);
      svg.append(
        make("line", { class: "grid", x1: left, x2: width, y1: at, y2: at }),
        make("text", { class: "tick", x: left - 6, y: at + 3.5, "text-anchor": "end" }, compact(peak * share)),
      );
    }
    starts.forEach((start, i) => {
      const x = left + i * bar;
      const point = points.get(start);
      if (point) {
        const note = `${label(start, series.grain)}: ${number(point.value)}${point.final ? "" : ", provisional"}`;
        svg.append(
          make(
            "rect",
            { class: point.final ? "col" : "col open", x: x + bar * 0.12, width: bar * 0.76, y: y(point.value), height: Math.max(1, y(0) - y(point.value)), rx: Math.min(2, bar / 5) },
            make("title", {}, note),
          ),
        );
      }
      const every = series.grain === "1m" ? 15 : series.grain === "15m" ? 16 : 7;
      if ((count - 1 - i) % every === 0 && i > 0) {
        svg.append(make("text", { class: "tick", x: Math.min(x + bar / 2, width - 16), y: height - 4, "text-anchor": "middle" }, label(start, series.grain)));
      }
    });
    this.place.replaceChildren(svg);
  }
}

function label(start, grain) {
  const moment = new Date(start);
  if (grain === "1d") return moment.toLocaleDateString([], { day: "numeric", month: "short", timeZone: "UTC" });
  return clock(moment, false);
}

function describe(series, starts, points) {
  const total = starts.reduce((sum, start) => sum + (points.get(start)?.value ?? 0), 0);
  return `${number(total)} messages in ${starts.length} windows of ${series.grain}`;
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= value && (n % 2 === 0 || n > 2 || n === 1)) ?? value;
}
