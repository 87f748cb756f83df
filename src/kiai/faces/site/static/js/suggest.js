// Suggestions under the search box: the links that `/search/suggest?q=` answers with, as a list to choose from.
import { fetchPart } from "./parts.js";

const AFTER_MS = 150;
const AT_LEAST = 2;

/** Let the search box suggest players and beatmaps. */
export function suggest() {
  const form = document.querySelector('form[role="search"]');
  const box = form?.querySelector('input[type="search"]');
  if (!(form instanceof HTMLFormElement) || !(box instanceof HTMLInputElement)) return;
  const list = document.createElement("div");
  list.id = "suggestions";
  list.className = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", box.getAttribute("aria-label") ?? "");
  list.hidden = true;
  form.append(list);
  for (const [name, value] of [
    ["role", "combobox"],
    ["aria-autocomplete", "list"],
    ["aria-controls", list.id],
    ["aria-expanded", "false"],
  ]) {
    box.setAttribute(name ?? "", value ?? "");
  }
  new Suggestions(box, list).listen(form);
}

class Suggestions {
  /**
   * @param {HTMLInputElement} box
   * @param {HTMLElement} list
   */
  constructor(box, list) {
    this.box = box;
    this.list = list;
    this.chosen = -1;
    /** @type {AbortController | undefined} */
    this.asking = undefined;
    /** @type {number | undefined} */
    this.timer = undefined;
  }

  /** @param {HTMLFormElement} form */
  listen(form) {
    this.box.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), AFTER_MS);
    });
    this.box.addEventListener("keydown", (event) => this.key(event));
    form.addEventListener("focusout", (event) => {
      if (!(event.relatedTarget instanceof Node && form.contains(event.relatedTarget))) this.show([]);
    });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const options = [...this.list.querySelectorAll("a")];
    if (event.key === "Escape") this.show([]);
    else if (event.key === "Enter" && options[this.chosen]) options[this.chosen]?.click();
    else if (event.key === "ArrowDown" && options.length) this.choose(options, (this.chosen + 1) % options.length);
    else if (event.key === "ArrowUp" && options.length) this.choose(options, (Math.max(this.chosen, 0) || options.length) - 1);
    else return;
    if (event.key !== "Escape" || options.length) event.preventDefault();
  }

  /**
   * @param {HTMLAnchorElement[]} options
   * @param {number} index
   */
  choose(options, index) {
    this.chosen = index;
    for (const [at, option] of options.entries()) option.setAttribute("aria-selected", String(at === index));
    const option = options[index];
    if (!option) return;
    this.box.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  async ask() {
    const text = this.box.value.trim();
    this.asking?.abort();
    if (text.length < AT_LEAST) return this.show([]);
    this.asking = new AbortController();
    try {
      const part = await fetchPart(`/search/suggest?q=${encodeURIComponent(text)}`, this.asking.signal);
      this.show([...part.querySelectorAll("a[href]")]);
    } catch {
      this.show([]); // searching still works
    }
  }

  /** @param {Element[]} links */
  show(links) {
    this.chosen = -1;
    this.box.removeAttribute("aria-activedescendant");
    for (const [at, link] of links.entries()) {
      link.id = `suggestion-${at}`;
      link.setAttribute("role", "option");
      link.setAttribute("tabindex", "-1");
      link.setAttribute("aria-selected", "false");
    }
    this.list.replaceChildren(...links);
    this.list.hidden = links.length === 0;
    this.box.setAttribute("aria-expanded", String(links.length > 0));
  }
}
