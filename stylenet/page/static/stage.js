// The picture: before and after with a divider, and the mask that is painted on it.

const MASK_SIDE = 1024; // pixels of a mask's longer side, at most
const TINT = "#e0431f";

const find = (id) => document.getElementById(id);
const [before, after, mask, split, frame, cursor] = ["before", "after", "mask", "split", "frame", "cursor"].map(find);
const context = mask.getContext("2d", { willReadFrequently: true });

let brush = { mode: "off", size: 0.12 };
let empty = true; // the mask
let spot = null; // where the brush is, in pixels of the mask
let changed = () => {};

/** Show a photo. Both canvases have its full size. */
export function showPhoto(bitmap) {
  for (const canvas of [before, after]) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
  }
  frame.style.setProperty("--ratio", bitmap.width / bitmap.height);
  const scale = Math.min(1, MASK_SIDE / Math.max(bitmap.width, bitmap.height));
  mask.width = Math.max(1, Math.round(bitmap.width * scale));
  mask.height = Math.max(1, Math.round(bitmap.height * scale));
  clearMask();
  setSplit(100);
  frame.classList.add("unpainted");
}

/** Show the painted picture; the first one of a photo, beside it. */
export function showPainted(bitmap, first) {
  after.getContext("2d").drawImage(bitmap, 0, 0);
  if (first) setSplit(50);
  frame.classList.remove("unpainted");
}

new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty("--view", `${target.offsetHeight}px`);
}).observe(find("view"));

function setSplit(percent) {
  split.value = percent;
  frame.style.setProperty("--split", `${percent}%`);
  split.setAttribute("aria-valuetext", `${Math.round(percent)} percent photo`);
}
split.addEventListener("input", () => setSplit(+split.value));

// --- the mask: the canvas is opaque where the photo is kept

export function clearMask() {
  context.clearRect(0, 0, mask.width, mask.height);
  empty = true;
}

/** The mask as levels, 255 where the style is applied; null for the style everywhere. */
export function readMask(inverted) {
  if (empty && !inverted) return null;
  const { data } = context.getImageData(0, 0, mask.width, mask.height);
  const levels = Uint8Array.from({ length: mask.width * mask.height }, (_, pixel) => {
    const kept = data[pixel * 4 + 3];
    return inverted ? kept : 255 - kept;
  });
  return { width: mask.width, height: mask.height, data: levels };
}

export function setBrush(mode, size) {
  brush = { mode, size };
  mask.hidden = mode === "off";
  cursor.hidden = true;
  split.hidden = mode !== "off";
  frame.classList.toggle("masking", mode !== "off");
  if (!mask.hidden && spot) showCursor();
}

export function onMaskChange(callback) {
  changed = callback;
}

const radius = () => (brush.size * Math.max(mask.width, mask.height)) / 2;

function stamp({ x, y }) {
  const gradient = context.createRadialGradient(x, y, 0, x, y, radius());
  gradient.addColorStop(0.6, TINT);
  gradient.addColorStop(1, `${TINT}00`);
  context.globalCompositeOperation = brush.mode === "restore" ? "destination-out" : "source-over";
  context.fillStyle = gradient;
  context.fillRect(x - radius(), y - radius(), 2 * radius(), 2 * radius());
  empty = false;
}

function stroke(from, to) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / (radius() / 4)));
  for (let n = 1; n <= steps; n++) {
    stamp({ x: from.x + ((to.x - from.x) * n) / steps, y: from.y + ((to.y - from.y) * n) / steps });
  }
}

function placeOf(event) {
  const box = mask.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * mask.width,
    y: ((event.clientY - box.top) / box.height) * mask.height,
  };
}

function showCursor() {
  cursor.hidden = false;
  cursor.style.left = `${(spot.x / mask.width) * 100}%`;
  cursor.style.top = `${(spot.y / mask.height) * 100}%`;
  cursor.style.width = `${((2 * radius()) / mask.width) * 100}%`;
}

mask.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  mask.setPointerCapture(event.pointerId);
  spot = placeOf(event);
  stamp(spot);
});
mask.addEventListener("pointermove", (event) => {
  const place = placeOf(event);
  if (mask.hasPointerCapture(event.pointerId)) stroke(spot, place);
  spot = place;
  showCursor();
});
mask.addEventListener("lostpointercapture", () => changed());
mask.addEventListener("pointerleave", () => (cursor.hidden = true));

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let held = false; // the space bar

mask.addEventListener("focus", () => {
  spot ??= { x: mask.width / 2, y: mask.height / 2 };
  if (mask.matches(":focus-visible")) showCursor();
});
mask.addEventListener("blur", () => {
  cursor.hidden = true;
  if (held) changed();
  held = false;
});
mask.addEventListener("keydown", (event) => {
  if (event.key === " ") {
    held = true;
    stamp(spot);
  } else if (ARROWS[event.key]) {
    const step = radius() / (event.shiftKey ? 8 : 2);
    const [x, y] = ARROWS[event.key];
    const place = {
      x: Math.min(mask.width, Math.max(0, spot.x + x * step)),
      y: Math.min(mask.height, Math.max(0, spot.y + y * step)),
    };
    if (held) stroke(spot, place);
    spot = place;
    showCursor();
  } else return;
  event.preventDefault();
});
mask.addEventListener("keyup", (event) => {
  if (event.key !== " ") return;
  held = false;
  changed();
});
