// Parts that load without a new page. The links work without script, too; the server may answer with the part alone.
//
//   <nav data-into="scores">  <a href="?sort=pp"> ...    a link replaces the content of #scores, and is remembered
//   <a data-more="scores" href="?cursor=...">            appends the content of #scores, and takes the place of itself
//   <a data-load="analysis" href="...">                  is followed at once: replaces the content of #analysis
import { announcePart, fetchPart, forEach } from "./parts.js";

/** Load the links of `data-into` and `data-more` in place. */
export function loadParts() {
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!(link instanceof HTMLAnchorElement) || link.origin !== location.origin) return;
    const more = link.dataset.more;
    const into = link.dataset.into ?? link.closest("[data-into]")?.getAttribute("data-into");
    const target = document.getElementById(more ?? into ?? "");
    if (!target) return;
    event.preventDefault();
    void (more ? append(link, target) : replace(link, target));
  });
  forEach("a[data-load]", (link) => {
    if (link instanceof HTMLAnchorElement) void loadNow(link);
  });
  addEventListener("popstate", (event) => {
    if (event.state?.part || event.state === null) location.reload();
  });
}

/** @param {HTMLAnchorElement} link */
async function loadNow(link) {
  const target = document.getElementById(link.dataset.load ?? "");
  if (!target) return;
  target.ariaBusy = "true";
  try {
    const arrived = (await fetchPart(link.href)).getElementById(target.id);
    if (!arrived) return;
    target.replaceChildren(...arrived.childNodes);
    announcePart(target);
  } catch {
    // The link stays: it leads to a page with the same part, or with the reason.
  } finally {
    target.ariaBusy = null;
  }
}

/**
 * @param {HTMLAnchorElement} link
 * @param {HTMLElement} target
 */
async function append(link, target) {
  if (link.ariaBusy === "true") return;
  link.ariaBusy = "true";
  try {
    const part = await fetchPart(link.href);
    const arrived = part.getElementById(target.id);
    if (!arrived) throw new Error(`no #${target.id}`);
    const first = arrived.firstElementChild;
    target.append(...arrived.childNodes);
    const next = part.querySelector(`a[data-more="${CSS.escape(target.id)}"]`);
    if (next) link.replaceWith(next);
    else link.remove();
    announcePart(target);
    const focusable = first?.querySelector("a[href], button");
    if (focusable instanceof HTMLElement) focusable.focus({ preventScroll: true });
  } catch {
    location.assign(link.href);
  }
}

/**
 * @param {HTMLAnchorElement} link
 * @param {HTMLElement} target
 */
async function replace(link, target) {
  target.ariaBusy = "true";
  try {
    const part = await fetchPart(link.href);
    const arrived = part.getElementById(target.id);
    if (!arrived) throw new Error(`no #${target.id}`);
    target.replaceChildren(...arrived.childNodes);
    const group = link.closest("[data-into]") ?? link.parentElement;
    for (const other of group?.querySelectorAll("[aria-current]") ?? []) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "page");
    history.pushState({ part: target.id }, "", link.href);
    announcePart(target);
  } catch {
    location.assign(link.href);
  } finally {
    target.ariaBusy = null;
  }
}
