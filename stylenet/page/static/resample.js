// Resizing as Pillow does it, with its Lanczos and bicubic kernels. The Python program resizes with the same.
//
// A picture is { width, height, data }: RGBA in a Uint8ClampedArray, alpha 255. A plane is the same with one number a
// pixel. Uint8ClampedArray rounds to the nearest level, halves to even, as numpy does.

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

export const LANCZOS = { support: 3, at: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) };
export const BICUBIC = {
  support: 2,
  at(x) {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
  },
};

/** For each place of the result: the first place of the source that counts, and the weights from there on. */
function kernels(from, to, { support, at }) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(from, Math.trunc(centre + support * stretch + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, n) => at((first + n - centre + 0.5) / stretch));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** The rows of `data` (`stride` numbers a pixel, of which `channels` count) in another width. */
function across(data, width, height, stride, channels, to, kernel, Type) {
  const columns = kernels(width, to, kernel);
  const result = new Type(to * height * channels);
  for (let y = 0, out = 0; y < height; y++) {
    for (const { first, weights } of columns) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        let place = (y * width + first) * stride + channel;
        for (let n = 0; n < weights.length; n++, place += stride) sum += weights[n] * data[place];
        result[out++] = sum;
      }
    }
  }
  return result;
}

/** The same for the height; the result has `stride` numbers a pixel again. */
function down(data, width, height, stride, channels, to, kernel) {
  const result = new Uint8ClampedArray(width * to * stride).fill(255);
  const sums = new Float64Array(width * channels);
  kernels(height, to, kernel).forEach(({ first, weights }, y) => {
    sums.fill(0);
    weights.forEach((weight, n) => {
      const start = (first + n) * sums.length;
      for (let place = 0; place < sums.length; place++) sums[place] += weight * data[start + place];
    });
    let out = y * width * stride;
    for (let place = 0; place < sums.length; out += stride - channels) {
      for (let channel = 0; channel < channels; channel++) result[out++] = sums[place++];
    }
  });
  return result;
}

/** A picture in another size. */
export function resized(picture, width, height) {
  if (picture.width === width && picture.height === height) return picture;
  const rows = across(picture.data, picture.width, picture.height, 4, 3, width, LANCZOS, Float32Array);
  return { width, height, data: down(rows, width, picture.height, 4, 3, height, LANCZOS) };
}

/** A plane in another size. Pillow rounds an 8-bit plane to levels between the two passes: `Type` says whether. */
export function resizedPlane(plane, width, height, kernel = LANCZOS, Type = Float32Array) {
  if (plane.width === width && plane.height === height) return plane;
  const rows = across(plane.data, plane.width, plane.height, 1, 1, width, kernel, Type);
  return { width, height, data: down(rows, width, plane.height, 1, 1, height, kernel) };
}
