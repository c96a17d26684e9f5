// The live tail of one channel. It resumes by itself after any break; what cannot be resumed is marked and read again.

import { $, clock, focusOnly, make, number, read, rove, span } from "./dom.js";
import { show } from "./numbers.js";
import { decide, twice } from "./review.js";

const KEPT = 400;
const HUES = 8;

export class Tail {
  constructor(failed) {
    this.failed = failed;
    this.list = $("tail");
    this.newer = $("newer");
    this.rows = new Map();
    this.unseen = 0;
    this.unread = 0;
    document.addEventListener("visibilitychange", () => {
      this.unread = 0;
      document.title = this.channel ? `${this.channel} · Hubbub` : "Hubbub";
    });
    this.list.addEventListener("scroll", () => this.atEnd() && this.seen());
    $("moderating").addEventListener("click", () => {
      $("moderating").setAttribute("aria-pressed", String(this.list.classList.toggle("moderating")));
    });
    this.newer.addEventListener("click", () => {
      this.scroll();
      this.list.focus();
    });
  }

  follow(channel) {
    this.channel = channel;
    this.token = null;
    this.rows.clear();
    this.list.replaceChildren();
    this.seen();
    $("talk-title").textContent = channel;
    document.title = `${channel} · Hubbub`;
    this.connect();
  }

  connect() {
    this.source?.close();
    const parameters = new URLSearchParams({ channel: this.channel });
    if (this.token) parameters.set("resume", this.token);
    const source = new EventSource(`/v1/live/events?${parameters}`);
    this.source = source;
    const state = $("tail-state");
    show(state, "waiting", "connecting");
    source.addEventListener("ready", (event) => this.ready(JSON.parse(event.data), source));
    source.addEventListener("event", (event) => {
      this.token = event.lastEventId;
      this.take(JSON.parse(event.data));
    });
    source.addEventListener("gap", () => this.mark("Too much at once for this page; catching up.", "warn"));
    source.onerror = () => {
      if (source !== this.source) return;
      this.away ??= Date.now();
      show(state, "waiting", "reconnecting");
      // A refused connection is retried by the browser; a refusing server closes the source for good.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => source === this.source && this.connect(), 1000 + Math.random() * 2000);
    };
  }

  async ready({ recovered, token }, source) {
    const first = this.token === null;
    this.token = token;
    show($("tail-state"), "live", "live");
    const away = this.away ? span((Date.now() - this.away) / 1000) : null;
    this.away = null;
    if (recovered === true) {
      if (away) this.mark(`Back after ${away}; nothing missed.`, "ok");
      return;
    }
    if (!first) this.mark(`Back after ${away ?? "a while"}. Too much happened to replay; read again from history.`, "warn");
    try {
      const page = await read(`/v1/channels/${encodeURIComponent(this.channel)}/messages`, { limit: 60 });
      if (source !== this.source) return;
      for (const message of page.messages) this.place(message, first);
      if (!this.rows.size) this.list.replaceChildren(make("li", { class: "empty" }, "Quiet so far. New messages appear here."));
      this.scroll();
    } catch (error) {
      this.failed(error);
    }
  }

  // A message of a history page: newest first, so each goes above what is there.
  place(message, atTop) {
    if (this.rows.has(message.message_id)) return;
    const row = this.row({ ...message, at: message.sent_at });
    if (message.deleted) this.strike(row, message.blocked ? "blocked" : "deleted");
    if (message.edited) row.classList.add("edited");
    for (const [reaction, count] of Object.entries(message.reactions ?? {})) this.react(row, reaction, count);
    const after = [...this.list.querySelectorAll("li[data-at]")].find((other) => other.dataset.at > row.dataset.at);
    if (atTop && !after) this.list.append(row);
    else this.list.insertBefore(row, after ?? null);
  }

  take(event) {
    const following = this.atEnd();
    this.change(event);
    if (following) this.scroll();
  }

  change(event) {
    const id = event.message_id ?? event.id;
    const row = this.rows.get(id);
    switch (event.type) {
      case "message.sent":
        // One that a moderator released belongs where it was sent, among those that came meanwhile.
        if (!row && event.late) this.place({ ...event, message_id: id, sent_at: event.received_at ?? event.time }, false);
        else if (!row) this.append(this.row({ ...event, message_id: id, at: event.received_at ?? event.time }));
        break;
      case "message.edited":
        if (row && !row.classList.contains("deleted")) {
          row.querySelector(".text").textContent = event.text;
          row.classList.add("edited");
        }
        break;
      case "message.deleted":
        if (row) this.strike(row, "deleted");
        break;
      case "message.blocked":
        if (row) this.strike(row, "blocked");
        break;
      case "reaction.added":
        if (row) this.react(row, event.reaction, 1);
        break;
      case "reaction.removed":
        if (row) this.react(row, event.reaction, -1);
        break;
      case "channel.joined":
      case "channel.left":
        this.append(make("li", { class: "note" }, `${author(event)} ${event.type === "channel.joined" ? "joined" : "left"}`));
        break;
    }
  }

  row(message) {
    const who = author(message);
    const at = new Date(message.at);
    const row = make(
      "li",
      { "data-message-id": message.message_id, "data-at": at.toISOString() },
      make("time", { datetime: at.toISOString(), title: at.toLocaleString() }, clock(at)),
      make("span", { class: `who hue-${hue(who)}` }, who, message.is_bot ? make("abbr", { title: "Sent by a bot" }, "bot") : null),
      make("span", { class: "text" }, message.text ?? ""),
      make("span", { class: "reactions" }),
    );
    if (message.late) row.classList.add("late");
    const block = make("button", { class: "take-down", type: "button", title: "Block this message, as a moderator" }, "block");
    twice(block, "block?", () => this.block(message.message_id, block));
    row.append(block);
    this.rows.set(message.message_id, row);
    return row;
  }

  append(row) {
    const following = this.atEnd();
    this.list.querySelector(".empty")?.remove();
    this.list.append(row);
    if (document.hidden) {
      this.unread += 1;
      document.title = `(${number(this.unread)}) ${this.channel} · Hubbub`;
    }
    while (this.list.children.length > KEPT) {
      this.rows.delete(this.list.firstChild.dataset.messageId);
      this.list.firstChild.remove();
    }
    if (following) this.scroll();
    else {
      this.unseen += 1;
      this.newer.hidden = false;
      this.newer.textContent = `${number(this.unseen)} new ↓`;
    }
  }

  mark(text, kind) {
    this.append(make("li", { class: `notice ${kind}`, "data-mark": kind }, text));
  }

  async block(messageId, button) {
    const channel = this.channel;
    button.disabled = true;
    try {
      await decide(`/v1/messages/${encodeURIComponent(messageId)}/block`, { channel_id: channel });
    } catch (error) {
      if (channel === this.channel) this.mark(error.message, "warn");
    } finally {
      button.disabled = false;
    }
  }

  strike(row, word) {
    row.classList.add("deleted");
    row.querySelector(".text").textContent = word;
    row.querySelector(".take-down")?.remove();
    row.querySelector(".reactions").replaceChildren();
  }

  react(row, reaction, step) {
    const place = row.querySelector(".reactions");
    let chip = [...place.children].find((child) => child.dataset.reaction === reaction);
    if (!chip) place.append((chip = make("span", { "data-reaction": reaction, "data-count": 0 })));
    const count = Number(chip.dataset.count) + step;
    chip.dataset.count = count;
    chip.textContent = `${reaction} ${count}`;
    if (count <= 0) chip.remove();
  }

  atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
  }

  scroll() {
    this.list.scrollTop = this.list.scrollHeight;
    this.seen();
  }

  seen() {
    this.unseen = 0;
    this.newer.hidden = true;
  }
}

// The list of channels: one is chosen, arrow keys move, a filter narrows.
export class Rooms {
  constructor(choose, failed) {
    this.choose = choose;
    this.failed = failed;
    this.list = $("rooms");
    this.filter = $("filter");
    this.filter.addEventListener("input", () => this.narrow());
    this.filter.addEventListener("keydown", (event) => {
      const first = this.shown()[0];
      if (event.key === "ArrowDown" && first) {
        event.preventDefault();
        focusOnly(this.items(), first);
      }
    });
    rove(this.list, "[role=option]", (item) => this.pick(item.dataset.channel));
    this.list.addEventListener("click", (event) => {
      const item = event.target.closest("[role=option]");
      if (item) this.pick(item.dataset.channel);
    });
  }

  async start() {
    await this.refresh();
    const asked = decodeURIComponent(location.hash.slice(1));
    const first = this.items().find((item) => item.dataset.channel === asked) ?? this.items()[0];
    if (first) this.pick(first.dataset.channel);
    setInterval(() => this.refresh(), 5000);
  }

  async refresh() {
    try {
      const { channels } = await read("/v1/channels", { limit: 200 });
      const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.channel : null;
      const old = new Map(this.items().map((item) => [item.dataset.channel, item]));
      const items = channels.map((channel) => {
        const item = old.get(channel.channel_id) ?? make("li", { role: "option", tabindex: -1, "data-channel": channel.channel_id }, make("span", { class: "name" }), make("small"));
        const [name, age] = item.children;
        name.textContent = channel.name || channel.channel_id;
        age.textContent = channel.last_activity ? idle(Date.parse(channel.last_activity)) : "";
        item.setAttribute("aria-selected", String(channel.channel_id === this.chosen));
        return item;
      });
      // The order of the first look stays, so that nothing moves under the pointer; new channels come on top.
      const order = [...old.keys()];
      items.sort((a, b) => order.indexOf(a.dataset.channel) - order.indexOf(b.dataset.channel));
      if (items.length) this.list.replaceChildren(...items);
      else this.list.replaceChildren(make("li", { class: "empty" }, "No channels yet."));
      if (items.length && !items.some((item) => item.tabIndex === 0)) items[0].tabIndex = 0;
      if (focused) items.find((item) => item.dataset.channel === focused)?.focus();
      this.narrow();
      if (!this.chosen && items.length && this.started) this.pick(items[0].dataset.channel);
      this.started = true;
    } catch (error) {
      this.failed(error);
    }
  }

  pick(channel) {
    this.chosen = channel;
    history.replaceState(null, "", `#${encodeURIComponent(channel)}`);
    for (const item of this.items()) {
      const chosen = item.dataset.channel === channel;
      item.setAttribute("aria-selected", String(chosen));
      item.tabIndex = chosen ? 0 : -1;
      if (chosen) item.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.choose(channel);
  }

  narrow() {
    const wanted = this.filter.value.trim().toLowerCase();
    for (const item of this.items()) item.hidden = !item.textContent.toLowerCase().includes(wanted);
  }

  items() {
    return [...this.list.querySelectorAll("[role=option]")];
  }

  shown() {
    return this.items().filter((item) => !item.hidden);
  }
}

function idle(since) {
  const seconds = (Date.now() - since) / 1000;
  return seconds < 10 ? "now" : span(seconds);
}

function author(event) {
  return event.user_id ?? event.anonymous_id ?? "";
}

function hue(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 9973;
  return hash % HUES;
}
