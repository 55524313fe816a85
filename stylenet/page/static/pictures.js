// Files that become pictures: a photo's or a painting's pixels, and what there is to say about them.

const MOST_PIXELS = 4096 * 4096; // the largest canvas of some phones
const READABLE = "Use a JPEG, PNG or WebP file.";

/** An error whose message is for the user, and after which all is as good as before. */
export class Sentence extends Error {}

/** A file's picture, upright. `kind`: what to call it, "photo" or "picture". Raises a sentence if it is none. */
export async function decoded(file, kind) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Sentence(`${file.name || "This file"} is no ${kind} that this browser can read. ${READABLE}`);
  }
}

/** A file's pixels over white, scaled down if there are very many, with notes for the user. */
export async function readPicture(file, kind) {
  const bitmap = await decoded(file, kind);
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * scale)));
  const { data, opaque } = pixels(bitmap, width, height);
  const notes = [];
  if (scale < 1) {
    notes.push(`The ${kind} has ${bitmap.width} × ${bitmap.height} pixels. This page works on ${width} × ${height}.`);
  }
  if (!opaque) notes.push(`Transparent places of the ${kind} are white.`);
  if (await moves(file)) notes.push(`The ${kind} moves. Its first picture is used.`);
  bitmap.close();
  return { width, height, data, notes };
}

/** The pixels of a bitmap over white, and whether it was opaque. */
function pixels(bitmap, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  let { data } = context.getImageData(0, 0, width, height);
  let opaque = true;
  for (let place = 3; opaque && place < data.length; place += 4) opaque = data[place] === 255;
  if (!opaque) {
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    data = context.getImageData(0, 0, width, height).data;
  }
  return { data, opaque };
}

/** Whether a file has several pictures, where the browser can tell. */
export async function moves(file) {
  if (typeof ImageDecoder === "undefined" || !/^image\/(gif|webp|png|apng|avif)$/.test(file.type)) return false;
  let decoder;
  try {
    decoder = new ImageDecoder({ type: file.type, data: file.stream() });
    await decoder.tracks.ready;
    return decoder.tracks.selectedTrack?.animated ?? false;
  } catch {
    return false; // no such decoder: what matters is that the picture can be read
  } finally {
    decoder?.close();
  }
}
