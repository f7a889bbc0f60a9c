// The console lives without this: it only reloads what a page marks as live, while somebody looks at it.
"use strict";

const EVERY_MS = 2000;

// Where somebody selects text or types, nothing may change under his hands.
function busy(part) {
  const selection = getSelection();
  const selects = !selection.isCollapsed && part.contains(selection.anchorNode);
  return selects || (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));
}

// What tells an element with the focus from others, in the old part and the new one.
function place(part) {
  const all = [...part.querySelectorAll("a, button, summary, [tabindex]")];
  return all.indexOf(document.activeElement);
}

function renew(part, fresh) {
  for (const open of part.querySelectorAll("details[open][id]")) {
    fresh.querySelector(`[id="${CSS.escape(open.id)}"]`)?.setAttribute("open", "");
  }
  if (part.isEqualNode(fresh) || busy(part)) return;
  const owner = document.activeElement?.closest("[id]")?.id;
  const focused = place(part);
  const href = document.activeElement?.getAttribute("href");
  part.replaceWith(fresh);
  if (focused < 0) return;
  const all = [...fresh.querySelectorAll("a, button, summary, [tabindex]")];
  const same = all.filter((each) => each.closest("[id]")?.id === owner && each.getAttribute("href") === href);
  (same.find((each) => each === all[focused]) ?? same[0])?.focus({ preventScroll: true });
}

async function refresh() {
  if (document.hidden) return;
  try {
    const reply = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
    if (!reply.ok) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    const parts = [...document.querySelectorAll("[data-live]")];
    const next = parts.map((part) => fresh.getElementById(part.id));
    if (next.includes(null) || fresh.querySelectorAll("[data-live]").length !== parts.length) {
      location.reload(); // another page: the first queue is there
      return;
    }
    parts.forEach((part, i) => renew(part, document.adoptNode(next[i])));
  } catch {
    // Away for a moment, or logged out: the page stays as it was.
  }
}

async function live() {
  await refresh();
  setTimeout(live, EVERY_MS);
}

// What a page says of the last act it says once, not when it is loaded again.
const here = new URL(location.href);
if (here.searchParams.has("done")) {
  here.searchParams.delete("done");
  history.replaceState(null, "", here);
}

if (document.querySelector("[data-live]")) {
  setTimeout(live, EVERY_MS);
  document.addEventListener("visibilitychange", refresh);
}
