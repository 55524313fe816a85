// The styles to choose from: the page's, and paintings of the user's own. Where the style of a painting is not known
// yet, its file goes to the worker, which finds it out.

import { decoded, moves } from "./pictures.js";

const THUMBNAIL = 224; // pixels a side
const FAINT = 64; // pixels: a painting with no longer side shows hardly any strokes

const YEAR = /, (about )?\d{4}(-\d+)?$/;

const find = (id) => document.getElementById(id);
const chosen = () => styles[+document.querySelector("input[name=style]:checked").value];
let networks = [];
let styles = []; // { name, title, by, network, weights }, and for a painting of one's own: { ..., weights: null, file }

export function showStyles(page) {
  ({ networks, styles } = page);
  find("second").append(new Option("nothing", ""));
  styles.forEach((style, n) => {
    show(style, n, Object.assign(new Image(112, 112), { src: style.thumbnail, alt: "" }));
  });
  find("styles").querySelector("input").checked = true;
  find("own").hidden = networkForAny() < 0;
}

function show(style, n, picture, first = false) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: n });
  const name = Object.assign(document.createElement("span"), { textContent: style.title });
  const by = Object.assign(document.createElement("small"), { textContent: style.by.replace(YEAR, "") });
  label.append(radio, picture, name, by);
  label.title = [style.title, style.by].filter(Boolean).join(", "); // the whole of it: there is little room
  find("styles")[first ? "prepend" : "append"](label);
  find("second").append(new Option(style.title, n));
  return radio;
}

const networkForAny = () => networks.findIndex((network) => network.style_of);

/** Offer a painting of the user's own, and choose it. Resolves to a note on it; raises a sentence if it is none. */
export async function addPainting(file) {
  const bitmap = await decoded(file, "picture");
  const { width, height } = bitmap;
  const picture = thumbnail(bitmap);
  bitmap.close();
  const name = (file.name || "painting").replace(/\.[^.]*$/, "");
  const style = { name, title: name, by: "Your own painting", network: networkForAny(), weights: null, file };
  const radio = show(style, styles.push(style) - 1, picture, true);
  radio.checked = true;
  find("styles").scrollTo(0, 0);
  const called = `“${name}”`;
  if (Math.max(width, height) <= FAINT) return `${called} has ${width} × ${height} pixels, with hardly any strokes.`;
  return (await moves(file)) ? `${called} moves. Its first picture is used.` : `Added ${called}.`;
}

/** The middle of a painting. A canvas, as the page's security policy lets no file of the user's into an image. */
function thumbnail(bitmap) {
  const canvas = Object.assign(document.createElement("canvas"), { width: THUMBNAIL, height: THUMBNAIL });
  const context = canvas.getContext("2d");
  const side = Math.min(bitmap.width, bitmap.height);
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, THUMBNAIL, THUMBNAIL);
  const corner = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  context.drawImage(bitmap, ...corner, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

/** The style of a painting of the user's own is known now. */
export function learn({ style, weights }) {
  styles[style].weights = weights;
}

/** The network of the style that is chosen. */
export const chosenNetwork = () => networks[chosen().network];

export const styleName = () => chosen().name.replace(/[^\w.-]+/g, "_");

/**
 * The styles to paint with, as layers: each layer's network, its styles with shares that sum to 1, and its own share
 * of 255. `parts` says the same of styles that `weights` and `paintings` say together: it does not change once a
 * painting's style is known.
 */
export function layers() {
  const style = chosen();
  const second = find("second").value && styles[+find("second").value];
  const share = second ? +find("share").value / 100 : 0;
  if (!second || second === style || share === 0) return [layer([[style, 1]])];
  if (share === 1) return [layer([[second, 1]])];
  if (second.network === style.network) return [layer([[style, 1 - share], [second, share]])];
  const part = Math.round(255 * share);
  return [layer([[style, 1]], 255 - part), layer([[second, 1]], part)];
}

function layer(shares, share = 255) {
  const network = networks[shares[0][0].network];
  const weights = Array(network.styles).fill(0);
  const paintings = [];
  for (const [style, part] of shares) {
    style.weights?.forEach((weight, n) => (weights[n] += weight * part));
    if (!style.weights) paintings.push({ style: styles.indexOf(style), file: style.file, share: part });
  }
  return { network, share, weights, paintings, parts: shares.map(([style, part]) => [styles.indexOf(style), part]) };
}
