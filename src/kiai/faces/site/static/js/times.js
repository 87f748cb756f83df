// Times in words stay current, and their titles are in the visitor's time zone.
import { forEach } from "./parts.js";

const EVERY_MS = 20_000;
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

// Dates without a time of day are not in words.
const IN_WORDS = 'time[datetime*="T"]';

/** Keep the times in words of the page current. */
export function keepTimes() {
  const language = document.documentElement.lang;
  const words = new Intl.RelativeTimeFormat(language, { numeric: "always" });
  const moments = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
  forEach(IN_WORDS, (time) => {
    const at = Date.parse(time.getAttribute("datetime") ?? "");
    if (!Number.isNaN(at)) time.title = moments.format(at);
  });
  setInterval(() => {
    if (document.hidden) return;
    for (const time of document.querySelectorAll(IN_WORDS)) {
      const text = inWords(words, (Date.parse(time.getAttribute("datetime") ?? "") - Date.now()) / 1000);
      if (text && time.textContent !== text) time.textContent = text;
    }
  }, EVERY_MS);
}

/**
 * Return the distance as the server words it; nothing below a minute, where the server's text stays.
 * @param {Intl.RelativeTimeFormat} words
 * @param {number} seconds positive in the future
 */
function inWords(words, seconds) {
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return words.format(Math.trunc(seconds / length), unit);
  }
  return "";
}
