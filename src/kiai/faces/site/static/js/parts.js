// Parts of a page that arrive after it: scripts that change elements subscribe to them.

/**
 * Run a function for each element that matches, now and when a part with such elements arrives.
 * @param {string} selector
 * @param {(element: HTMLElement) => void} decorate
 */
export function forEach(selector, decorate) {
  /** @param {ParentNode} root */
  const visit = (root) => {
    for (const element of root.querySelectorAll(selector)) {
      if (element instanceof HTMLElement) decorate(element);
    }
  };
  visit(document);
  document.addEventListener("part", (event) => {
    if (event.target instanceof Element) visit(event.target.parentElement ?? event.target);
  });
}

/**
 * Say that an element is new, or has new content.
 * @param {Element} element
 */
export function announcePart(element) {
  element.dispatchEvent(new CustomEvent("part", { bubbles: true }));
}

/**
 * Fetch a page of this site of which only a part is wanted.
 * @param {string} url
 * @param {AbortSignal} [signal]
 * @returns {Promise<Document>}
 */
export async function fetchPart(url, signal) {
  const answer = await fetch(url, { headers: { "X-Fragment": "1" }, signal, credentials: "same-origin" });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}
