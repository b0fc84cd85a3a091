// Times that go on, and figures that are fetched again. The pages say all of it without this too.

const PAUSE = 10_000; // milliseconds between two fetches, at least
const REST = 30; // times as long as a fetch took: what is much work is fetched less often
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Write a time span as the server does: its greatest unit, rounded down. */
function span(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? UNITS.at(-1);
  return `${Math.floor(seconds / size)} ${unit}`;
}

// Ages are by the server's clock: the viewer's may be wrong.
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

/** Whether the viewer is in the middle of something that new content would undo. */
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
  const show = () => { button.textContent = on ? "Pause refreshing" : "Refresh again"; };
  const attempt = () => refresh().catch(() => {}); // the age of what is shown goes on growing
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
