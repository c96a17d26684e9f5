// A moderator's hands: the key that decides, kept in memory only, and the decisions it sends to ingest.

import { $, read } from "./dom.js";

let secret = null;
let decideAt = null;

export const at = (address) => (decideAt = address);

// The key, asked for once. Null when the moderator thinks better of it.
function key() {
  if (secret !== null) return Promise.resolve(secret);
  const dialog = $("moderate");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const given = $("moderate-key").value.trim();
        $("moderate-key").value = "";
        resolve(dialog.returnValue === "use" && given ? (secret = given) : null);
      },
      { once: true },
    );
  });
}

// Sends one decision; throws an Error whose message is for the moderator. False when no key was given.
export async function decide(path, body = {}) {
  decideAt ??= (await read("/v1/held", { limit: 1 })).decide_at;
  const given = await key();
  if (given === null) return false;
  let reply;
  try {
    reply = await fetch(decideAt + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${given}` },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("Ingest does not answer this page. Is it running, and does the tenant list this page's origin?");
  }
  if (reply.ok) return true;
  if (reply.status === 401 || reply.status === 403) secret = null;
  throw new Error((await reply.json()).detail);
}

// A button that asks once more before it acts.
export function twice(button, question, act) {
  const label = button.textContent;
  let armed = null;
  const calm = () => {
    clearTimeout(armed);
    armed = null;
    button.textContent = label;
    button.removeAttribute("data-armed");
  };
  button.addEventListener("click", async () => {
    if (armed === null) {
      button.textContent = question;
      button.dataset.armed = "";
      armed = setTimeout(calm, 4000);
      return;
    }
    calm();
    await act();
  });
  button.addEventListener("blur", calm);
}
