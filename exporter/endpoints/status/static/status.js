// Keeps ages current, and fetches new figures. Without this script the pages are complete too.

const PAUSE = 10_000; // milliseconds: the shortest time between two fetches
const REST = 30; // the pause is at least this many times as long as a fetch took, to limit the load
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Write a time span as the server does: in its greatest unit only, rounded down. */
function span(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? UNITS.at(-1);
  return `${Math.floor(seconds / size)} ${unit}`;
}

// Ages use the server's clock, because the viewer's clock may be wrong.
let ahead = 0;

function setClock(page) {
  ahead = Date.now() / 1000 - Number(page.documentElement.dataset.now);
}

function tick() {
  const now = Date.now() / 1000 - ahead;
  for (const time of document.querySelectorAll("time[data-age]")) {
    const seconds = now - Number(time.dataset.age);
    const text = seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
    if (time.textContent !== text) { time.textContent = text; }
  }
}

/** Whether the viewer selects or uses something that new content would replace. */
function busy(part) {
  const selection = document.getSelection();
  const selecting = selection && !selection.isCollapsed && selection.containsNode(part, true);
  return selecting || part.contains(document.activeElement);
}

async function refresh() {
  if (document.hidden) { return; }
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!answer.ok) { return; }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  setClock(page);
  let whole = true;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (fresh && !busy(part)) {
      part.replaceChildren(...fresh.childNodes);
    } else {
      whole = false;
    }
  }
  if (whole) { document.getElementById("as-of").replaceWith(page.getElementById("as-of")); }
  tick();
}

function start() {
  setClock(document);
  tick();
  setInterval(tick, 1000);
  const button = document.getElementById("refresh");
  if (!document.querySelector("[data-live]")) { return; }
  let on = true;
  const show = () => { button.textContent = on ? "Pause refresh" : "Resume refresh"; };
  const attempt = () => refresh().catch(() => {}); // "As of" in the footer shows how old the figures are
  button.addEventListener("click", () => { on = !on; show(); if (on) { attempt(); } });
  const loop = (took = 0) => setTimeout(async () => {
    const started = performance.now();
    if (on) { await attempt(); }
    loop(performance.now() - started);
  }, Math.max(PAUSE, REST * took));
  button.hidden = false;
  show();
  loop();
}

start();
