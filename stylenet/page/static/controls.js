// Strength, colours and masks of a painted picture, as stylenet/stylizing/controls.py applies them.

import { histogram, luminance } from "./color.js";
import { BICUBIC, resizedPlane } from "./resample.js";

/** The painted picture with the colours that were asked for: "style", "luminance" or "histogram". */
export function recolored(photo, painted, color) {
  if (color === "style") return painted;
  return color === "luminance" ? luminance(photo, painted) : histogram(photo, painted);
}

/** Between the photo, 0, and the painted picture, 1. */
export function blended(photo, painted, strength) {
  if (strength === 1) return painted;
  const data = new Uint8ClampedArray(photo.data.length);
  for (let place = 0; place < data.length; place++) {
    data[place] = photo.data[place] + (painted.data[place] - photo.data[place]) * strength;
  }
  return { ...photo, data };
}

/** The mask of a layer: the brush's, null for white, times the layer's share of 255; stretched to the photo. */
export function layerMask(mask, share, { width, height }) {
  if (!mask) return { width, height, data: new Uint8Array(width * height).fill(share) };
  const data = Uint8ClampedArray.from(mask.data, (level) => (level * share) / 255);
  return resizedPlane({ ...mask, data }, width, height, BICUBIC, Uint8ClampedArray);
}

/** Several painted pictures in one, each where its mask is white; the rest is the photo. */
export function shared(photo, layers, masks) {
  const data = new Uint8ClampedArray(photo.data.length).fill(255);
  for (let pixel = 0, place = 0; place < data.length; pixel++, place += 4) {
    let total = 0;
    for (const mask of masks) total += mask.data[pixel];
    const whole = Math.max(255, total);
    for (let channel = place; channel < place + 3; channel++) {
      const before = photo.data[channel];
      let value = before;
      for (let n = 0; n < layers.length; n++) {
        value += ((layers[n].data[channel] - before) * masks[n].data[pixel]) / whole;
      }
      data[channel] = value;
    }
  }
  return { ...photo, data };
}
