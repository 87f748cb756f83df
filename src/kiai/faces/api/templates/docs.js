"use strict";

// The theme that the visitor chose on the website. Without a choice it is that of the system.
const theme = /(?:^|; )theme=(dark|light)(?:;|$)/.exec(document.cookie)?.[1];
if (theme) document.documentElement.dataset.theme = theme;

// The language of all examples. It is saved for the next visit.
const LANGUAGE = "kiai.docs.language";

function chooseLanguage(name) {
  for (const radio of document.querySelectorAll(".tabs input")) radio.checked = radio.value === name;
}

function savedLanguage() {
  try {
    return localStorage.getItem(LANGUAGE);
  } catch {
    return null; // the browser blocks storage
  }
}

document.addEventListener("change", (event) => {
  const radio = event.target;
  if (!radio.matches(".tabs input")) return;
  const top = radio.getBoundingClientRect().top;
  chooseLanguage(radio.value);
  window.scrollBy(0, radio.getBoundingClientRect().top - top); // the examples above have changed their height
  try {
    localStorage.setItem(LANGUAGE, radio.value);
  } catch {
    // The browser blocks storage: the choice lasts for this visit.
  }
});

const saved = savedLanguage();
if (saved && [...document.querySelectorAll(".tabs input")].some((radio) => radio.value === saved)) chooseLanguage(saved);

// A button that copies the visible request.
for (const tabs of document.querySelectorAll(".tabs")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const visible = [...tabs.querySelectorAll("pre")].find((code) => code.offsetParent !== null);
    try {
      await navigator.clipboard.writeText(visible.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(visible); // without access to the clipboard, the reader can press Ctrl+C
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  tabs.append(button);
}

// Search: lists the chapters and operations that contain every word.
const search = document.getElementById("search");
const found = document.getElementById("found");
const nothing = document.getElementById("nothing");
const entries = [...document.querySelectorAll(".searchable")].map((element) => ({
  element,
  link: document.querySelector(`nav li[data-for="${element.id}"]`),
  text: searchText(element),
}));

function searchText(element) {
  // Responses and code contain the same words in every operation, so they would match almost every search.
  const copy = element.cloneNode(true);
  for (const part of copy.querySelectorAll("pre, details, button, .tabs, .errors")) part.remove();
  return copy.textContent.toLowerCase();
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const entry of entries) {
    const matches = words.every((word) => entry.text.includes(word));
    entry.element.hidden = !matches;
    if (entry.link) entry.link.hidden = !matches;
    if (matches) count += 1;
  }
  for (const group of document.querySelectorAll("main .group")) {
    group.hidden = !group.querySelector(".searchable:not([hidden])");
  }
  for (const list of document.querySelectorAll("nav ul")) {
    const empty = !list.querySelector("li:not([hidden])");
    list.hidden = empty;
    list.previousElementSibling.hidden = empty;
  }
  nothing.hidden = count > 0;
  found.textContent = words.length ? `${count} found` : "";
}

function showAll() {
  search.value = "";
  filter();
}

document.querySelector(".search").hidden = false;
search.addEventListener("input", filter);
search.addEventListener("keydown", (event) => {
  if (event.key === "Escape") showAll();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  }
});
window.addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.closest("[hidden]")) return;
  showAll(); // the target of the link is hidden by the search
  target.scrollIntoView();
});

// Without this script the contents stay open. On a small screen they would cover the page.
const contents = document.querySelector(".contents");
const wide = matchMedia("(min-width: 1024px)");
const fold = () => (contents.open = wide.matches);
wide.addEventListener("change", fold);
fold();
contents.addEventListener("click", (event) => {
  if (event.target.closest("a") && !wide.matches) contents.open = false;
});
