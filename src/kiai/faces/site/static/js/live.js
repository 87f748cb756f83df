// Live parts: `<div data-live="plays.all">` has the newest version of a part. The stream opens a second after the page
// and closes while the page is hidden. Screen readers get what is new, but not more often than they can read it.
//
//   <p aria-live="polite" data-live-summary="plays.all"></p>
import { announcePart } from "./parts.js";

const OPEN_AFTER_MS = 1_000;
const CLOSE_AFTER_MS = 60_000;
const SAY_EVERY_MS = 10_000;

/** @type {EventSource | null} */
let source = null;
/** @type {Map<string, number>} */
const saidAt = new Map();

/** Open the stream for the live parts of the page. */
function open() {
  if (source || document.hidden) return;
  const names = new Set([...document.querySelectorAll("[data-live]")].map((part) => part.getAttribute("data-live")));
  if (!names.size) return;
  const query = new URLSearchParams({ parts: [...names].join(","), lang: document.documentElement.lang });
  source = new EventSource(`/live?${query}`);
  source.addEventListener("part", (event) => {
    /** @type {{part: string, html: string, summary: string}} */
    const { part, html, summary } = JSON.parse(event.data);
    for (const element of document.querySelectorAll(`[data-live="${CSS.escape(part)}"]`)) update(element, html);
    if (summary) say(part, summary);
  });
}

function close() {
  source?.close();
  source = null;
}

/**
 * Show a new version of a part. The reader's focus and opened details stay; new rows are marked.
 * @param {Element} element
 * @param {string} html
 */
function update(element, html) {
  const arrived = document.createElement("template");
  arrived.innerHTML = html;
  const focused = element.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
  const known = new Set([...element.querySelectorAll("[data-score-id]")].map((row) => row.getAttribute("data-score-id")));
  for (const row of arrived.content.querySelectorAll("[data-score-id]")) {
    if (known.size && !known.has(row.getAttribute("data-score-id"))) row.classList.add("arrived");
  }
  for (const details of element.querySelectorAll("details[id][open]")) {
    arrived.content.getElementById(details.id)?.setAttribute("open", "");
  }
  element.replaceChildren(arrived.content);
  if (focused) {
    const link = element.querySelector(`a[href="${CSS.escape(focused)}"]`);
    if (link instanceof HTMLElement) link.focus({ preventScroll: true });
  }
  const first = element.firstElementChild;
  if (first) announcePart(first);
}

/**
 * @param {string} part
 * @param {string} summary
 */
function say(part, summary) {
  const now = Date.now();
  if (now - (saidAt.get(part) ?? 0) < SAY_EVERY_MS) return;
  const element = document.querySelector(`[data-live-summary="${CSS.escape(part)}"]`);
  if (!element) return;
  saidAt.set(part, now);
  element.textContent = summary;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let hiding;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(close, CLOSE_AFTER_MS);
  else open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => {
  if (event.persisted) open();
});
setTimeout(open, OPEN_AFTER_MS);
