// Checks a name and an invite code while the visitor types. Passwords and addresses are checked when the form is sent:
// they must not be part of a URL.
const WAIT_MS = 400;
const CHECKED = ["username", "invite"];

const form = document.querySelector("form[data-check]");
if (form instanceof HTMLFormElement) {
  for (const name of CHECKED) {
    const field = form.elements.namedItem(name);
    if (field instanceof HTMLInputElement) checkWhileTyping(field, form.dataset.check ?? "");
  }
}

/**
 * @param {HTMLInputElement} field
 * @param {string} url
 */
function checkWhileTyping(field, url) {
  let timer = 0;
  let latest = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    const turn = ++latest;
    timer = setTimeout(async () => {
      if (!field.value) return show(field, "");
      const query = new URLSearchParams({ field: field.name, value: field.value });
      try {
        const answer = await fetch(`${url}?${query}`, { credentials: "same-origin" });
        if (!answer.ok) return;
        const found = await answer.json();
        if (turn === latest) show(field, found.ok ? "" : String(found.message));
      } catch {
        // The server checks the form again when it is sent.
      }
    }, WAIT_MS);
  });
}

/**
 * Show the message of a field, or remove it.
 * @param {HTMLInputElement} field
 * @param {string} message
 */
function show(field, message) {
  const id = `${field.id}-error`;
  let shown = document.getElementById(id);
  const others = (field.getAttribute("aria-describedby") ?? "").split(" ").filter((other) => other && other !== id);
  if (!message) {
    shown?.remove();
    field.removeAttribute("aria-invalid");
    field.setAttribute("aria-describedby", others.join(" "));
    return;
  }
  if (!shown) {
    shown = document.createElement("p");
    shown.className = "error";
    shown.id = id;
    shown.setAttribute("aria-live", "polite");
    field.after(shown);
  }
  shown.textContent = message;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", [id, ...others].join(" "));
}
