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

/** For each place of the result: the first place of the source that counts, and the weights from there on, which are
 * `count[place]` numbers of `weights` from `place * most` on. */
function kernels(from, to, { support, at }) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const most = 2 * Math.ceil(support * stretch) + 1;
  const [first, count] = [new Int32Array(to), new Int32Array(to)];
  const weights = new Float64Array(to * most);
  for (let place = 0; place < to; place++) {
    const centre = (place + 0.5) * scale;
    first[place] = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    count[place] = Math.min(from, Math.trunc(centre + support * stretch + 0.5)) - first[place];
    const own = weights.subarray(place * most, place * most + count[place]);
    for (let n = 0; n < own.length; n++) own[n] = at((first[place] + n - centre + 0.5) / stretch);
    const sum = own.reduce((total, weight) => total + weight, 0);
    for (let n = 0; n < own.length; n++) own[n] /= sum;
  }
  return { first, count, weights, most };
}

/** The rows of a picture in another width: three numbers a pixel. */
function across(data, width, height, to) {
  const { first, count, weights, most } = kernels(width, to, LANCZOS);
  const result = new Float32Array(to * height * 3);
  for (let y = 0, out = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      let [r, g, b] = [0, 0, 0];
      let place = (y * width + first[x]) * 4;
      for (let n = x * most; n < x * most + count[x]; n++, place += 4) {
        r += weights[n] * data[place];
        g += weights[n] * data[place + 1];
        b += weights[n] * data[place + 2];
      }
      result[out++] = r;
      result[out++] = g;
      result[out++] = b;
    }
  }
  return result;
}

/** The same for a plane. */
function acrossPlane(data, width, height, to, kernel, Type) {
  const { first, count, weights, most } = kernels(width, to, kernel);
  const result = new Type(to * height);
  for (let y = 0, out = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      let sum = 0;
      let place = y * width + first[x];
      for (let n = x * most; n < x * most + count[x]; n++, place++) sum += weights[n] * data[place];
      result[out++] = sum;
    }
  }
  return result;
}

/** Rows of `length` numbers in another height. `write(row, y)` gets each row of the result. */
function down(data, length, height, to, kernel, write) {
  const { first, count, weights, most } = kernels(height, to, kernel);
  const sums = new Float64Array(length);
  for (let y = 0; y < to; y++) {
    sums.fill(0);
    for (let n = 0; n < count[y]; n++) {
      const weight = weights[y * most + n];
      const start = (first[y] + n) * length;
      for (let place = 0; place < length; place++) sums[place] += weight * data[start + place];
    }
    write(sums, y);
  }
}

/** A picture in another size. */
export function resized(picture, width, height) {
  if (picture.width === width && picture.height === height) return picture;
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  const rows = across(picture.data, picture.width, picture.height, width);
  down(rows, 3 * width, picture.height, height, LANCZOS, (row, y) => {
    for (let place = 0, out = 4 * y * width; place < row.length; place += 3, out += 4) {
      data[out] = row[place];
      data[out + 1] = row[place + 1];
      data[out + 2] = row[place + 2];
    }
  });
  return { width, height, data };
}

/** A plane in another size. Pillow rounds an 8-bit plane to levels between the two passes: `Type` says whether. */
export function resizedPlane(plane, width, height, kernel = LANCZOS, Type = Float32Array) {
  if (plane.width === width && plane.height === height) return plane;
  const data = new Uint8ClampedArray(width * height);
  const rows = acrossPlane(plane.data, plane.width, plane.height, width, kernel, Type);
  down(rows, width, plane.height, height, kernel, (row, y) => data.set(row, y * width));
  return { width, height, data };
}

/** A picture with its longer side reduced to `size` pixels at most, as stylenet/images/image_io.py fits it. */
export function fitted(picture, size) {
  const scale = Math.min(1, size / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, even(side * scale)));
  return resized(picture, width, height);
}

/** The nearest whole number; of a half, the even one, as Python rounds. */
export function even(exact) {
  const low = Math.floor(exact);
  return low + (exact - low > 0.5 || (exact - low === 0.5 && low % 2 === 1) ? 1 : 0);
}

/** The three planes of a small picture in a larger size, by bilinear interpolation: as torch's `interpolate`. */
export function stretched(planes, { width, height }, toWidth, toHeight) {
  const [across, down] = [between(width, toWidth), between(height, toHeight)];
  const result = new Float32Array(3 * toWidth * toHeight);
  let out = 0;
  for (let plane = 0; plane < 3; plane++) {
    const at = (y, x) => planes[(plane * height + y) * width + x];
    for (const [top, bottom, low] of down) {
      for (const [left, right, part] of across) {
        const upper = at(top, left) * (1 - part) + at(top, right) * part;
        result[out++] = upper * (1 - low) + (at(bottom, left) * (1 - part) + at(bottom, right) * part) * low;
      }
    }
  }
  return result;
}

/** For each place of the result: the two places of the source that it lies between, and how near to the second. */
function between(from, to) {
  return Array.from({ length: to }, (_, place) => {
    const exact = Math.max(0, ((place + 0.5) * from) / to - 0.5);
    const low = Math.floor(exact);
    return [low, Math.min(low + 1, from - 1), exact - low];
  });
}
