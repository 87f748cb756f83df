// Flags in long tables have no title, which would be there twice. They get it when the visitor points at them.

/** Give the flag under the pointer the name of its country as tooltip. */
export function nameFlags() {
  document.addEventListener("pointerover", (event) => {
    const flag = event.target;
    if (flag instanceof HTMLImageElement && flag.classList.contains("flag") && !flag.title) flag.title = flag.alt;
  });
}
