// Previews of songs: one plays at a time. The buttons are hidden where there is no script.
import { forEach } from "./parts.js";

/** @type {{ audio: HTMLAudioElement, button: HTMLElement } | null} */
let playing = null;

forEach("button[data-preview]", (button) => {
  button.hidden = false;
  button.addEventListener("click", () => toggle(button));
});

/** @param {HTMLElement} button */
function toggle(button) {
  const wasThis = playing?.button === button;
  stop();
  if (wasThis) return;
  const audio = new Audio(button.dataset.preview);
  playing = { audio, button };
  button.ariaPressed = "true";
  audio.addEventListener("ended", stop);
  audio.addEventListener("error", () => {
    if (playing?.audio !== audio) return;
    stop();
    button.hidden = true; // the set has no music that can be played
  });
  audio.play().catch(() => stop());
}

function stop() {
  if (!playing) return;
  playing.audio.pause();
  playing.button.ariaPressed = "false";
  playing = null;
}
