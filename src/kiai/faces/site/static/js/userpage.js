// The preview of the userpage without leaving the page.
const form = document.querySelector("form[data-preview]");
const into = document.querySelector("[data-preview-into]");
const section = document.getElementById("preview");

if (form instanceof HTMLFormElement && into && section) {
  const button = form.querySelector("[data-preview-button]");
  button?.addEventListener("click", async (event) => {
    event.preventDefault();
    const fields = new URLSearchParams();
    for (const [name, value] of new FormData(form)) fields.append(name, String(value));
    try {
      const answer = await fetch(form.dataset.preview ?? "", {
        method: "POST",
        body: fields,
        headers: { "X-Fragment": "1" },
        credentials: "same-origin",
      });
      if (!answer.ok) throw new Error(String(answer.status));
      // The server renders the markup and allows only elements that are safe.
      into.innerHTML = await answer.text();
      section.hidden = false;
      section.scrollIntoView({ block: "nearest" });
    } catch {
      // Without the fragment, the form shows the preview on a page of its own.
      form.action = form.dataset.preview ?? form.action;
      form.submit();
    }
  });
}

export {};
