// The scale of the brush: the network gets a smaller photo, and the photo's edges are restored afterwards.
// The same as stylenet/stylizing/brush.py, where the method is explained.

import { even, resized, resizedPlane } from "./resample.js";

const REACH = 2; // gains are computed in windows of 5x5
const FAINT = 2e-3; // variance of lightness below which the photo has no detail
const LEAST = -1;
const MOST = 1.5;

/** A side of the network's input, in pixels. */
export const part = (side, stroke) => Math.max(1, even(side / stroke));

/** The network's input. */
export function smaller(photo, stroke) {
  return resized(photo, part(photo.width, stroke), part(photo.height, stroke));
}

/** `made`, the network's result for `small`, in the size of the photo. `blurred`: `small` in that size. */
export function larger(photo, small, made, stroke, blurred = null) {
  if (stroke === 1) return made;
  const { width, height } = photo;
  const result = resized(made, width, height);
  if (stroke <= 1) return result;
  const gains = resizedPlane(levels(small, made), width, height).data;
  const smooth = (blurred ?? resized(small, width, height)).data;
  const data = new Uint8ClampedArray(result.data); // `made` itself where the size is the same
  for (let pixel = 0, place = 0; place < data.length; pixel++, place += 4) {
    const gain = (gains[pixel] / 255) * (MOST - LEAST) + LEAST;
    const detail = gain * (light(photo.data, place) - light(smooth, place));
    data[place] += detail;
    data[place + 1] += detail;
    data[place + 2] += detail;
  }
  return { width, height, data };
}

const light = (data, place) => 0.299 * data[place] + 0.587 * data[place + 1] + 0.114 * data[place + 2];

/** How much of the photo's detail each place gets, as levels: from LEAST, 0, to MOST, 255. */
function levels({ width, height, data: small }, { data: made }) {
  const count = width * height;
  const [firsts, seconds, ...both] = Array.from({ length: 5 }, () => new Float32Array(count));
  for (let pixel = 0; pixel < count; pixel++) {
    const before = light(small, pixel * 4) / 255;
    const after = light(made, pixel * 4) / 255;
    firsts[pixel] = before;
    seconds[pixel] = after;
    both[0][pixel] = before * before;
    both[1][pixel] = before * after;
    both[2][pixel] = after * after;
  }
  const [first, second, squares, products, others] = [firsts, seconds, ...both].map((one) => mean(one, width, height));
  const gains = new Float32Array(count);
  for (let pixel = 0; pixel < count; pixel++) {
    const variance = squares[pixel] - first[pixel] ** 2;
    const covariance = products[pixel] - first[pixel] * second[pixel];
    const alike = covariance ** 2 / ((variance + FAINT) * (others[pixel] - second[pixel] ** 2 + FAINT));
    gains[pixel] = alike * Math.min(MOST, Math.max(LEAST, covariance / (variance + FAINT)));
  }
  const smooth = mean(gains, width, height);
  const data = Uint8ClampedArray.from(smooth, (gain) => ((gain - LEAST) / (MOST - LEAST)) * 255);
  return { width, height, data };
}

/** The mean of each place's window, of the part of it that lies in the picture. */
function mean(plane, width, height) {
  return along(along(plane, width, 1, height, width), height, width, width, 1);
}

function along(plane, length, step, lines, lineStep) {
  const result = new Float64Array(plane.length);
  for (let line = 0; line < lines; line++) {
    for (let n = 0; n < length; n++) {
      const from = Math.max(0, n - REACH);
      const to = Math.min(length - 1, n + REACH);
      let sum = 0;
      for (let m = from; m <= to; m++) sum += plane[line * lineStep + m * step];
      result[line * lineStep + n * step] = sum / (to - from + 1);
    }
  }
  return result;
}
