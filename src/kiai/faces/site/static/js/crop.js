// Lets the player choose the part of a picture before it is sent. Without script the server takes the middle.
const STEP = 10; // pixels of the canvas for each press of an arrow key
const ZOOM_STEP = 5; // percent for each press of plus or minus
const QUALITY = 0.92;

for (const form of document.querySelectorAll("form[data-crop]")) {
  if (form instanceof HTMLFormElement) offerCrop(form);
}

/**
 * Show the editor of a form when a picture is chosen, and replace the file by the chosen part.
 * @param {HTMLFormElement} form
 */
function offerCrop(form) {
  const input = form.querySelector("input[type=file]");
  const editor = form.querySelector("[data-cropper]");
  const canvas = editor?.querySelector("canvas");
  const zoom = editor?.querySelector("[data-zoom]");
  const context = canvas?.getContext("2d");
  if (!(input instanceof HTMLInputElement) || !(editor instanceof HTMLElement)) return;
  if (!canvas || !context || !(zoom instanceof HTMLInputElement)) return;

  /** @type {ImageBitmap | null} */
  let picture = null;
  let name = "";
  let x = 0; // of the middle of the canvas, in pixels of the picture
  let y = 0;
  let changed = false;

  const scale = () =>
    picture ? (Math.max(canvas.width / picture.width, canvas.height / picture.height) * Number(zoom.value)) / 100 : 1;

  const draw = () => {
    if (!picture) return;
    const factor = scale();
    const halfWidth = canvas.width / 2 / factor;
    const halfHeight = canvas.height / 2 / factor;
    x = Math.min(Math.max(x, halfWidth), picture.width - halfWidth);
    y = Math.min(Math.max(y, halfHeight), picture.height - halfHeight);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(
      picture,
      x - halfWidth,
      y - halfHeight,
      2 * halfWidth,
      2 * halfHeight,
      0,
      0,
      canvas.width,
      canvas.height,
    );
  };

  /**
   * @param {number} right
   * @param {number} down
   */
  const move = (right, down) => {
    x += right / scale();
    y += down / scale();
    changed = true;
    draw();
  };

  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    picture = null;
    editor.hidden = true;
    if (!file) return;
    try {
      picture = await createImageBitmap(file);
    } catch {
      return; // not a picture: the server says so
    }
    name = file.name;
    x = picture.width / 2;
    y = picture.height / 2;
    zoom.value = "100";
    changed = false;
    editor.hidden = false;
    draw();
  });

  zoom.addEventListener("input", () => {
    changed = true;
    draw();
  });

  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    const shown = canvas.width / canvas.clientWidth;
    move(-event.movementX * shown, -event.movementY * shown);
  });
  canvas.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const arrows = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    const arrow = arrows[event.key];
    const larger = event.key === "+" || event.key === "=";
    if (arrow) {
      move(...arrow);
    } else if (larger || event.key === "-") {
      zoom.value = String(Number(zoom.value) + (larger ? ZOOM_STEP : -ZOOM_STEP));
      changed = true;
      draw();
    } else {
      return;
    }
    event.preventDefault();
  });

  form.addEventListener("submit", async (event) => {
    // An unchanged picture is sent as it is: the server takes the same part with more pixels.
    if (!picture || !changed || (event.submitter instanceof HTMLElement && event.submitter.hasAttribute("formaction"))) {
      return;
    }
    event.preventDefault();
    const submitter = event.submitter;
    const blob = await part();
    if (blob) {
      const files = new DataTransfer();
      files.items.add(new File([blob], `${name}.webp`, { type: blob.type }));
      input.files = files.files;
    }
    changed = false;
    form.requestSubmit(submitter instanceof HTMLButtonElement ? submitter : null);
  });

  /**
   * Return the chosen part with as many pixels as the server keeps.
   * @returns {Promise<Blob | null>}
   */
  async function part() {
    if (!picture || !canvas) return null;
    const large = document.createElement("canvas");
    large.width = canvas.width * 2;
    large.height = canvas.height * 2;
    const target = large.getContext("2d");
    if (!target) return null;
    const factor = scale();
    const width = canvas.width / factor;
    const height = canvas.height / factor;
    target.imageSmoothingQuality = "high";
    target.drawImage(picture, x - width / 2, y - height / 2, width, height, 0, 0, large.width, large.height);
    return new Promise((resolve) => large.toBlob(resolve, "image/webp", QUALITY));
  }
}

export {};
