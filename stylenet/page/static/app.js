// The page: its controls, and what they ask of the painter. Remembers nothing, sends nothing.

import { closeCamera, openCamera, shoot } from "./camera.js";
import { Painter } from "./painter.js";
import { clearMask, onMaskChange, readMask, setBrush, showPainted, showPhoto } from "./stage.js";
import { addPainting, chosenNetwork, layers, learn, showStyles, styleName } from "./styles.js";

const PATIENCE = 120; // milliseconds without a change before the picture is painted
const SLOW = 15; // seconds after which the page says what is faster
// The smallest module with an instruction of WebAssembly SIMD.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11];

const find = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
const form = find("controls");
let page = null; // styles.json
let photoName = "";
let first = true; // no picture of this photo yet
let timer = null; // until the picture is painted
let reading = false; // a photo or a painting
let painting = false;
let ticking = null;

// --- what the page says

function say(text) {
  find("status").textContent = text;
}

function complain(text) {
  find("problem").textContent = text;
  find("problem").hidden = !text;
}

function showProgress({ text, share }) {
  const bar = find("progress");
  clearInterval(ticking);
  say(text);
  bar.removeAttribute("value");
  if (typeof share === "number") bar.value = share;
  else if (share?.expected) {
    const began = performance.now();
    const tick = () => (bar.value = Math.min(0.97, (performance.now() - began) / share.expected));
    ticking = setInterval(tick, 100);
  }
}

function busy(on) {
  painting = on;
  showState();
  find("stage").setAttribute("aria-busy", on);
  find("stop").hidden = find("progress").hidden = !on;
  if (on) find("again").hidden = true;
  else clearInterval(ticking);
}

const on = {
  busy,
  progress: showProgress,
  ready({ threads, gpu }) {
    find("gpu-field").hidden = !gpu;
    document.body.dataset.threads = threads;
  },
  photo({ bitmap, note, name, fresh }) {
    if (fresh) {
      reading = false;
      first = true;
      photoName = (name || "photo").replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_");
      find("note").textContent = note;
      const focused = find("empty").contains(document.activeElement);
      find("empty").hidden = true;
      find("picture").hidden = false;
      if (focused) find("split").focus({ preventScroll: true }); // what had the focus is hidden now
      allowSaving(false);
      showPhoto(bitmap);
      paintSoon();
    }
    bitmap.close();
  },
  painted({ bitmap, size, stroke, scaled, seconds, engine }) {
    showPainted(bitmap, first);
    first = false;
    bitmap.close();
    const finer = scaled ? ` The photo is larger, so strokes are ${round(stroke)} times as broad.` : "";
    const by = engine === "webgpu" ? " by the graphics card" : "";
    const smaller = Math.max(...size.split(" × ")) > +find("detail").options[0].value;
    const faster = smaller && seconds > SLOW ? " A smaller “Painted at” is faster." : "";
    say(`Painted at ${size} pixels in ${round(seconds)} s${by}.${finer}${faster}`);
    allowSaving(true);
  },
  style: learn,
  compared({ same, worst }) {
    if (same) return;
    find("gpu").checked = false;
    const how = Number.isFinite(worst)
      ? `paints another picture here, up to ${worst} levels of 255 away`
      : "does not paint here";
    complain(`The graphics card ${how}, so the page goes on without it.`);
  },
  saved({ blob, format }) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${photoName}_${styleName()}.${format === "image/png" ? "png" : "jpg"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  },
  failed({ text, during }) {
    reading = false;
    complain(text);
    say("");
    showState();
    if (during === "paint") find("again").hidden = false;
  },
};

function allowSaving(allowed) {
  document.querySelector("[data-does=save]").disabled = !allowed;
}

const round = (number) => Number(number.toPrecision(2));

// --- settings

function settings() {
  return {
    layers: layers(),
    strength: +find("strength").value / 100,
    color: chosen("color"),
    stroke: 2 ** +find("stroke").value,
    detail: +find("detail").value,
    mask: readMask(find("invert").checked),
    gpu: find("gpu").checked,
  };
}

function paintSoon() {
  if (!painter?.file) return;
  clearTimeout(timer);
  timer = setTimeout(() => {
    timer = null;
    complain("");
    painter.paint(settings());
    showState();
  }, PATIENCE);
  showState();
}

/** For style sheets and tests: whether a picture is being painted, or soon will be. */
function showState() {
  document.body.dataset.state = timer || reading ? "waiting" : painting ? "busy" : "idle";
}

function showValues() {
  const percent = (id) => `${find(id).value} %`;
  const values = {
    share: percent("share"),
    strength: percent("strength"),
    "brush-size": percent("brush-size"),
    stroke: `${round(2 ** +find("stroke").value)} ×`,
  };
  for (const [id, text] of Object.entries(values)) {
    document.querySelector(`output[for=${id}]`).textContent = text;
    find(id).setAttribute("aria-valuetext", text);
  }
  find("share-field").hidden = !page || find("second").value === "";
  find("brush-more").hidden = chosen("brush") === "off";
  setBrush(chosen("brush"), +find("brush-size").value / 100);
}

form.addEventListener("input", (event) => {
  showValues();
  if (!["brush", "brush-size"].includes(event.target.name || event.target.id)) paintSoon();
});
form.addEventListener("submit", (event) => event.preventDefault());
onMaskChange(paintSoon);

// --- photos

async function open(file) {
  reading = true;
  showState();
  await beginning;
  if (!painter) {
    reading = false;
    return showState();
  }
  clearTimeout(timer);
  timer = null;
  complain("");
  say("Reading the photo …");
  painter.open(file);
}

/** Offer a painting of the user's own among the styles, and paint with it. */
async function openPainting(file) {
  reading = true;
  showState();
  complain("");
  find("own-note").textContent = "";
  await beginning;
  try {
    find("own-note").textContent = await addPainting(file);
    showValues();
    paintSoon();
  } catch (error) {
    complain(error.message);
  }
  reading = false;
  showState();
}

for (const [id, use] of [["file", open], ["phone-camera", open], ["painting", openPainting]]) {
  find(id).addEventListener("change", ({ target }) => {
    if (target.files.length) use(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
}
const forPainting = ({ target }) => !find("own").hidden && Boolean(target.closest?.("#controls"));
window.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.dataset.dragging = forPainting(event) ? "painting" : "photo";
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) delete document.body.dataset.dragging;
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  delete document.body.dataset.dragging;
  const [file] = event.dataTransfer.files;
  if (file && forPainting(event)) openPainting(file);
  else if (file) open(file);
});
window.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) open(file);
});

const does = {
  choose: () => find("file").click(),
  "choose-painting": () => find("painting").click(),
  async sample() {
    await beginning;
    if (!painter) return;
    const response = await fetch(page.sample.file).catch(() => null);
    if (!response?.ok) return complain("The sample cannot be loaded. Is the server still running?");
    open(new File([await response.blob()], page.sample.file.split("/").pop()));
  },
  async camera() {
    if (!(await openCamera())) find("phone-camera").click();
  },
  "close-camera": closeCamera,
  async shoot() {
    const file = await shoot();
    if (file) open(file);
  },
  save: () => painter.save(find("format").value),
  "clear-mask"() {
    clearMask();
    paintSoon();
  },
};
document.addEventListener("click", ({ target }) => does[target.closest?.("[data-does]")?.dataset.does]?.());
find("stop").addEventListener("click", () => {
  painter.stop();
  say("Stopped.");
  find("again").hidden = false;
});
find("again").addEventListener("click", paintSoon);

// --- the beginning

let painter = null;
async function begin() {
  showValues();
  try {
    page = await (await fetch("styles.json")).json();
    showStyles(page);
    find("about").textContent =
      `Everything is computed in this browser by ONNX Runtime ${page.runtime}. Nothing is kept and nothing is sent. ` +
      `Sample photo: ${page.sample.credit}.`;
  } catch {
    return complain("The list of styles cannot be loaded. Is the server still running?");
  }
  const simd = typeof WebAssembly !== "undefined" && WebAssembly.validate(Uint8Array.from(SIMD));
  if (!simd || typeof OffscreenCanvas === "undefined") {
    const missing = simd ? "canvas for workers" : "WebAssembly SIMD";
    return complain(`This browser cannot paint: it has no ${missing}. Use a current Firefox, Chrome, Edge or Safari.`);
  }
  painter = new Painter(on);
  painter.warm(chosenNetwork());
  showState();
}
const beginning = begin();
