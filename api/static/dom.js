// Small hands for the page: elements made from text only, so nothing a user wrote is ever read as markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "rect", "line", "text", "g", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export class Signed extends Error {}

// JSON of a GET; throws Signed when the session is over.
export async function read(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const reply = await fetch(query ? `${path}?${query}` : path, { headers: { Accept: "application/json" } });
  if (reply.status === 401) throw new Signed();
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
export const number = (value) => whole.format(value);
export const compact = (value) => short.format(value);
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const ratio = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
// A number of the registry in its unit.
export const amount = (value, unit) => (unit === "share" ? share : Number.isInteger(value) ? whole : ratio).format(value);
export const rate = (value) => value.toLocaleString(undefined, { maximumFractionDigits: value < 100 ? 1 : 0 });

export function clock(moment, seconds = true) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  return moment.toLocaleTimeString([], seconds ? { ...options, second: "2-digit" } : options);
}

export function span(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

// Arrow keys move within a group of which one element takes the focus (the ARIA roving tabindex).
export function rove(group, selector, choose) {
  group.addEventListener("keydown", (event) => {
    const items = [...group.querySelectorAll(selector)].filter((item) => !item.hidden);
    const at = items.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 };
    if (event.key === "Enter" || event.key === " ") {
      if (at >= 0 && choose) {
        event.preventDefault();
        choose(items[at]);
      }
    } else if (event.key in steps && items.length) {
      event.preventDefault();
      focusOnly(items, items[Math.min(items.length - 1, Math.max(0, steps[event.key]))]);
    }
  });
}

export function focusOnly(items, chosen) {
  for (const item of items) item.tabIndex = item === chosen ? 0 : -1;
  chosen.focus();
}

// A radio group made of buttons: one is chosen, arrow keys move and choose.
export function radios(group, choose) {
  const items = [...group.querySelectorAll("[role=radio]")];
  const pick = (item) => {
    for (const other of items) {
      other.setAttribute("aria-checked", String(other === item));
      other.tabIndex = other === item ? 0 : -1;
    }
    choose(item);
  };
  for (const item of items) item.addEventListener("click", () => pick(item));
  rove(group, "[role=radio]");
  group.addEventListener("focusin", (event) => {
    if (event.target.getAttribute("aria-checked") === "false" && event.target.matches(":focus-visible")) pick(event.target);
  });
}
