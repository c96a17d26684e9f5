// Signs in, opens the parts of the page, and goes back to the door when the session is over.

import { $, Signed, read } from "./dom.js";
import { Held } from "./held.js";
import { Ledger } from "./ledger.js";
import { Numbers, show } from "./numbers.js";
import { Reports } from "./reports.js";
import { Rooms, Tail } from "./tail.js";
import { Waiting } from "./waiting.js";

const THEMES = ["auto", "light", "dark"];

function theme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = `Theme: ${name}`;
  localStorage.setItem("hubbub-theme", name);
}

function failed(error) {
  if (error instanceof Signed) location.reload();
  else show($("pulse"), "waiting", "the API does not answer");
}

function knock() {
  $("door").hidden = false;
  $("key").focus();
}

async function enter() {
  // Without a sign-in on this browser there is no cookie to try.
  if (localStorage.getItem("hubbub-tenant") === null) return knock();
  try {
    await read("/v1/metrics");
  } catch (error) {
    knock();
    if (!(error instanceof Signed)) refuse("The API does not answer. Try again in a moment.");
    return;
  }
  $("door").hidden = true;
  $("house").hidden = false;
  $("tenant").textContent = localStorage.getItem("hubbub-tenant") ?? "";
  const tail = new Tail(failed);
  const rooms = new Rooms((channel) => tail.follow(channel), failed);
  await Promise.all([new Numbers(failed).start(), rooms.start(), new Held(failed).start(), new Ledger(failed).start(), new Reports(failed).start(), new Waiting(failed).start()]);
}

function refuse(text) {
  const place = $("refusal");
  place.textContent = text;
  place.hidden = false;
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("refusal").hidden = true;
  try {
    const reply = await fetch("/v1/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key: $("key").value.trim() }),
    });
    const body = await reply.json();
    if (!reply.ok) return refuse(body.detail);
    localStorage.setItem("hubbub-tenant", body.tenant);
    $("key").value = "";
    await enter();
  } catch {
    refuse("The API does not answer. Try again in a moment.");
  }
});

$("sign-out").addEventListener("click", async () => {
  await fetch("/v1/session", { method: "DELETE" });
  localStorage.removeItem("hubbub-tenant");
  location.reload();
});

$("theme").addEventListener("click", () => {
  theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
});

theme(localStorage.getItem("hubbub-theme") ?? "auto");
await enter();
