// Forms that need a passkey: `<form data-passkey="get|create" data-options="/path">`. The script asks the server for
// the options, lets the browser use or create a passkey, puts its answer into the form and sends the form.
import { forEach } from "./parts.js";

/** @typedef {{ options: { publicKey: Record<string, unknown> }, state: string }} Ceremony */

forEach("form[data-passkey]", (form) => {
  if (!(form instanceof HTMLFormElement) || !window.PublicKeyCredential) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(form);
  });
});

/**
 * Run one ceremony and send the form. On failure, or when the visitor closes the dialog, the form stays.
 * @param {HTMLFormElement} form
 */
async function run(form) {
  const failed = form.querySelector("[data-failed]");
  const button = form.querySelector("button[type=submit]");
  if (failed instanceof HTMLElement) failed.hidden = true;
  if (button instanceof HTMLButtonElement) button.disabled = true;
  try {
    const ceremony = await begin(form);
    const answer = await ask(form.dataset.passkey ?? "get", ceremony);
    setField(form, "state", ceremony.state);
    setField(form, "response", JSON.stringify(answer));
    form.submit();
  } catch {
    if (failed instanceof HTMLElement) {
      failed.hidden = false;
      failed.setAttribute("role", "alert");
    }
    if (button instanceof HTMLButtonElement) button.disabled = false;
  }
}

/**
 * Ask the server for the options of a ceremony.
 * @param {HTMLFormElement} form
 * @returns {Promise<Ceremony>}
 */
async function begin(form) {
  const token = new FormData(form).get("csrf_token");
  const answer = await fetch(form.dataset.options ?? "", {
    method: "POST",
    headers: { "X-CSRF-Token": String(token) },
    credentials: "same-origin",
  });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

/**
 * Let the browser use or create a passkey.
 * @param {string} kind
 * @param {Ceremony} ceremony
 */
async function ask(kind, ceremony) {
  const given = /** @type {any} */ (ceremony.options.publicKey);
  const options = { ...given, challenge: bytes(given.challenge) };
  for (const list of ["allowCredentials", "excludeCredentials"]) {
    if (options[list]) options[list] = options[list].map((/** @type {any} */ one) => ({ ...one, id: bytes(one.id) }));
  }
  if (kind === "create") options.user = { ...given.user, id: bytes(given.user.id) };
  const credential =
    kind === "create"
      ? await navigator.credentials.create({ publicKey: options })
      : await navigator.credentials.get({ publicKey: options });
  if (!(credential instanceof PublicKeyCredential)) throw new Error("no passkey");
  const response = credential.response;
  const common = {
    id: credential.id,
    rawId: credential.id,
    type: credential.type,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
  if (response instanceof AuthenticatorAttestationResponse) {
    return {
      ...common,
      response: {
        clientDataJSON: text(response.clientDataJSON),
        attestationObject: text(response.attestationObject),
      },
    };
  }
  if (!(response instanceof AuthenticatorAssertionResponse)) throw new Error("no assertion");
  return {
    ...common,
    response: {
      clientDataJSON: text(response.clientDataJSON),
      authenticatorData: text(response.authenticatorData),
      signature: text(response.signature),
      userHandle: response.userHandle ? text(response.userHandle) : null,
    },
  };
}

/**
 * @param {HTMLFormElement} form
 * @param {string} name
 * @param {string} value
 */
function setField(form, name, value) {
  const field = form.elements.namedItem(name);
  if (field instanceof HTMLInputElement) field.value = value;
}

/**
 * Decode base64url, as WebAuthn writes bytes in JSON.
 * @param {string} value
 */
function bytes(value) {
  const plain = atob(value.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

/**
 * Encode bytes as base64url without padding.
 * @param {ArrayBuffer} value
 */
function text(value) {
  const plain = String.fromCharCode(...new Uint8Array(value));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
