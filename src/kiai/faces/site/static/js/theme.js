// The choices in the footer, applied at once. Without script the form has a button.

const YEAR_S = 365 * 86_400;

/** Apply a chosen theme to this page, and a chosen language by loading the page again. */
export function applyPreferences() {
  const form = document.querySelector("form.preferences");
  if (!(form instanceof HTMLFormElement)) return;
  form.addEventListener("change", (event) => {
    const select = event.target;
    if (!(select instanceof HTMLSelectElement)) return;
    if (select.name === "theme") applyTheme(select.value);
    else form.requestSubmit();
  });
}

/** @param {string} theme */
function applyTheme(theme) {
  const followsSystem = theme === "system";
  if (followsSystem) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  const age = followsSystem ? 0 : YEAR_S;
  document.cookie = `theme=${followsSystem ? "" : theme}; Path=/; Max-Age=${age}; SameSite=Lax${secure}`;
  document.dispatchEvent(new CustomEvent("theme"));
}
