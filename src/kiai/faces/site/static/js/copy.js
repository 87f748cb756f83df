// Buttons that copy: `<button data-copy="text" data-done="Copied" hidden>`. They are hidden where there is no script.
import { forEach } from "./parts.js";

const SHOWN_MS = 2_000;

/** Show the buttons and let them work. */
export function offerCopies() {
  if (!navigator.clipboard) return; // only on https and on localhost
  forEach("button[data-copy]", (button) => {
    if (!button.hidden) return;
    button.hidden = false;
    const label = button.querySelector("[data-label]") ?? button;
    const before = label.textContent;
    label.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy ?? "");
      label.textContent = button.dataset.done ?? before;
      setTimeout(() => {
        label.textContent = before;
      }, SHOWN_MS);
    });
  });
}
