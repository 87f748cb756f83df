// Buttons that open and close what they control: the navigation of a narrow window, and the menu of the account.

/** Show the buttons and let them work. Without script their menus are part of the page. */
export function offerMenus() {
  for (const button of document.querySelectorAll("button[aria-controls][aria-expanded]")) {
    const menu = document.getElementById(button.getAttribute("aria-controls") ?? "");
    if (button instanceof HTMLButtonElement && menu) offerMenu(button, menu);
  }
}

/**
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} menu
 */
function offerMenu(button, menu) {
  /** @param {boolean} open */
  const show = (open) => {
    button.setAttribute("aria-expanded", String(open));
    menu.classList.toggle("open", open);
  };
  button.hidden = false;
  button.addEventListener("click", () => show(button.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
    show(false);
    button.focus();
  });
  document.addEventListener("click", (event) => {
    if (event.target instanceof Node && !menu.contains(event.target) && !button.contains(event.target)) show(false);
  });
}
