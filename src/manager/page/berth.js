// Fetches the page again when something has happened, and puts its live parts in the place of the old ones. A part that has
// the focus, or an open list, is left alone.
"use strict";

const parts = () => document.querySelectorAll("[data-live]");

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
    if (!answer.ok) return;
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

if (parts().length > 0) {
  const events = new EventSource("/live");
  events.addEventListener("changed", renew);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && again) renew();
  });
}
