// The calculator of a map answers while typing. Without script it is a form that loads the page with the result.
const form = document.getElementById("calculator");
const place = document.querySelector("#calculated [data-result]");

/** @type {AbortController | null} */
let running = null;
let timer = 0;

if (form instanceof HTMLFormElement && place instanceof HTMLElement) {
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => void calculate(form, place), 400);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    void calculate(form, place);
  });
}

/**
 * @param {HTMLFormElement} form
 * @param {HTMLElement} place
 */
async function calculate(form, place) {
  running?.abort();
  running = new AbortController();
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) query.set(name, String(value));
  try {
    const address = `${form.action}?${query}`;
    const answer = await fetch(address, { headers: { "X-Fragment": "1" }, signal: running.signal });
    if (answer.status !== 200 && answer.status !== 422) throw new Error(String(answer.status));
    const result = await answer.json();
    for (const control of form.querySelectorAll("input[id]")) {
      if (control instanceof HTMLInputElement) control.ariaInvalid = control.name in result.errors ? "true" : null;
    }
    const wrong = Object.values(result.errors).join(" ");
    place.textContent = answer.ok ? `${result.pp_text} · ${result.stars_text}★` : wrong || result.message;
    place.hidden = false;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    form.submit();
  }
}
export {};
