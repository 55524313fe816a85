// The worker: reads the photo, runs the networks, applies the controls. Knows nothing of the page.
//
// In:  { type: "warm", network } | { type: "photo", file, fresh } | { type: "paint", settings }
//      | { type: "save", format }
// Out: { type: "ready", threads, gpu } | { type: "photo", ... } | { type: "progress", ... } | { type: "painted", ... }
//      | { type: "style", style, weights } | { type: "saved", ... } | { type: "failed", during, text, fatal }

import { larger, part, smaller } from "./brush.js";
import { blended, layerMask, recolored, shared } from "./controls.js";
import { run, state, styleOf, warm } from "./networks.js";
import { Sentence, readPicture } from "./pictures.js";
import { fitted, resized } from "./resample.js";

const MOST_FOR_NETWORK = 2048 * 2048; // pixels
const STROKES = [0.25, 8]; // what the Python program takes

let photo = null;
let result = null;
const kept = new Map();
const learned = new Map(); // the weights of paintings of the user's own, by style

/** The value made last under `name`, if it was made for the same `key`: a slider does not run the network again. */
async function keep(name, key, make) {
  if (kept.get(name)?.key !== key) {
    kept.delete(name); // before the new one is made: memory
    kept.set(name, { key, value: await make() });
  }
  return kept.get(name).value;
}

const say = (message, transfer = []) => self.postMessage(message, transfer);
const progress = (text, share = null) => say({ type: "progress", text, share });

async function open({ file, fresh }) {
  const { notes, ...read } = await readPicture(file, "photo");
  photo = read;
  result = null;
  kept.clear();
  const shown = await toBitmap(photo);
  say({ type: "photo", fresh, name: file.name, note: notes.join(" "), bitmap: shown }, [shown]);
}

const toBitmap = ({ data, width, height }) => createImageBitmap(new ImageData(data, width, height));

/** The scale of the brush that brings the photo to the size at which the network paints. */
function strokeFor(settings) {
  const longest = Math.max(photo.width, photo.height);
  const least = Math.sqrt((photo.width * photo.height) / MOST_FOR_NETWORK);
  const asked = settings.stroke * Math.max(1, longest / settings.detail);
  return Math.min(STROKES[1], Math.max(STROKES[0], least, asked));
}

/** The weights of a layer's styles. The style of a painting is found out once, and told to the page. */
async function weightsOf({ network, weights, paintings }) {
  const sums = [...weights];
  for (const { style, file, share } of paintings) {
    if (!learned.has(style)) {
      progress("Reading the painting …");
      const painting = fitted(await readPicture(file, "picture"), network.style_of.side);
      learned.set(style, await styleOf(network, painting, progress));
      say({ type: "style", style, weights: learned.get(style) });
    }
    learned.get(style).forEach((weight, n) => (sums[n] += weight * share));
  }
  return sums;
}

async function paint({ settings }) {
  if (!photo) return;
  const began = performance.now();
  const stroke = strokeFor(settings);
  const size = `${part(photo.width, stroke)} × ${part(photo.height, stroke)}`;
  const input = await keep("input", stroke, () => smaller(photo, stroke));
  const layers = [];
  for (const [n, layer] of settings.layers.entries()) {
    const key = [stroke, layer.network.file, layer.parts, settings.gpu].join();
    const painted = await keep(`painted ${n}`, key, async () => {
      const weights = await weightsOf(layer);
      const made = await run({ network: layer.network, weights }, input, settings.gpu, progress);
      progress("Bringing back the photo’s detail …");
      const blurred =
        stroke > 1 ? await keep("blurred", stroke, () => resized(input, photo.width, photo.height)) : null;
      return larger(photo, input, made, stroke, blurred);
    });
    const colored = await keep(`colored ${n}`, `${key} ${settings.color}`, () =>
      recolored(photo, painted, settings.color),
    );
    layers.push(blended(photo, colored, settings.strength));
  }
  result = layers[0];
  if (layers.length > 1 || settings.mask) {
    const masks = settings.layers.map(({ share }) => layerMask(settings.mask, share, photo));
    result = shared(photo, layers, masks);
  }
  for (const name of kept.keys()) if (+name.split(" ")[1] >= settings.layers.length) kept.delete(name);
  const shown = await toBitmap(result);
  const seconds = (performance.now() - began) / 1000;
  const scaled = stroke > settings.stroke * 1.001;
  say({ type: "painted", bitmap: shown, size, stroke, scaled, seconds, engine: state.engine }, [shown]);
}

async function save({ format }) {
  if (!result) return;
  const canvas = new OffscreenCanvas(result.width, result.height);
  canvas.getContext("2d").putImageData(new ImageData(result.data, result.width, result.height), 0, 0);
  const blob = await canvas.convertToBlob({ type: format, quality: 0.95 });
  say({ type: "saved", blob, format });
}

const tasks = { photo: open, paint, save, warm: ({ network }) => warm(network) };
let queue = Promise.resolve();

self.onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      await tasks[data.type](data);
    } catch (error) {
      const known = error instanceof Sentence;
      if (!known) console.error(error);
      const text = known ? error.message : explained(error);
      say({ type: "failed", during: data.type, fresh: data.fresh, text, fatal: !known });
    }
  });
};

/** What went wrong, as a sentence. After a full memory, WebAssembly is of no more use: another worker is started. */
function explained(error) {
  const text = String(error?.message ?? error);
  if (/memory|alloc|out of bounds|Array buffer|Invalid typed array length|abort|^\d+$/i.test(text)) {
    return "There is not enough memory for this. Choose a smaller size at “Painted at”, or close other pages.";
  }
  return `This did not work: ${text.slice(0, 200)}`;
}

state.ready.then((ready) => say({ type: "ready", ...ready }));
