// Fetches the page again when something has happened, and puts its live parts in the place of the old ones. A part that has
// the focus, or an open list, is left alone.
"use strict";

const parts = () => document.querySelectorAll("[data-live]");

// People are told when what they see is no longer alive.
function tell(text) {
  let said = document.getElementById("live-state");
  if (!said) {
    said = document.createElement("p");
    said.id = "live-state";
    said.setAttribute("role", "status");
    document.getElementById("main").prepend(said);
  }
  said.textContent = text;
  said.hidden = text === "";
}

let again = false;
let busy = false;

async function renew() {
  if (busy || document.hidden) {
    again = true;
    return;
  }
  busy = true;
  again = false;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) {
      tell(answer.status === 401 ? "You are logged out: what you see is old. Type in a terminal: berth manager open" : "");
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts()) {
      const next = fresh.getElementById(part.id);
      const inUse = part.contains(document.activeElement) || part.querySelector("details[open]");
      if (next && !inUse && next.innerHTML !== part.innerHTML) part.replaceWith(next);
    }
  } catch {
    // The manager is gone for a moment; the next event comes when it is back.
  } finally {
    busy = false;
    if (again && !document.hidden) setTimeout(renew, 1000);
  }
}

// A browser has few connections to one place, and a page that nobody sees needs none.
let events = null;

function follow() {
  events?.close();
  events = null;
  if (document.hidden) return;
  events = new EventSource("/live");
  events.addEventListener("open", () => tell(""));
  events.addEventListener("changed", renew);
  events.addEventListener("error", () => {
    // Else the browser tries again by itself.
    if (events?.readyState !== EventSource.CLOSED) return;
    tell("What you see is not kept up to date any more. Load the page again.");
    renew();
  });
}

if (parts().length > 0) {
  follow();
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden) renew();
  });
}
