// Keeping a photo's colours: its own (by lightness in CIE Lab), or their range (by mean and covariance).
// The same as stylenet/images/color.py, where the papers are named.

const TO_XYZ = [
  [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
  [0.2126729, 0.7151522, 0.072175],
  [0.0193339 / 1.08883, 0.119192 / 1.08883, 0.9503041 / 1.08883],
];
const FROM_XYZ = inverse(TO_XYZ);
const KNEE = 6 / 29;
const LEAST = 1e-5; // added to each variance: a grey picture's covariance is singular
const STRETCH = 2; // the most that colours are stretched along any direction
const LINEAR = Float64Array.from({ length: 256 }, (_, level) => {
  const value = level / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
});

// Powers are looked up, as they take most of the time: 2^16 steps from 0 to 1 are exact to a small part of a level.
const STEPS = 65535;
const table = (at) => Float32Array.from({ length: STEPS + 1 }, (_, step) => at(step / STEPS));
const ROOTS = table((t) => (t > KNEE ** 3 ? Math.cbrt(t) : t / (3 * KNEE ** 2) + 4 / 29));
const SRGB = table((t) => 255 * (t <= 0.0031308 ? t * 12.92 : 1.055 * t ** (1 / 2.4) - 0.055));
const root = (t) => ROOTS[Math.min(STEPS, (t * STEPS + 0.5) | 0)];
const unroot = (t) => (t > KNEE ? t * t * t : 3 * KNEE ** 2 * (t - 4 / 29));
const toLevel = (t) => SRGB[Math.min(STEPS, Math.max(0, (t * STEPS + 0.5) | 0))];
const row = (matrix, n, r, g, b) => matrix[n][0] * r + matrix[n][1] * g + matrix[n][2] * b;

/** The lightness of `stylized` with the colours of `photo`. */
export function luminance(photo, stylized) {
  const data = new Uint8ClampedArray(photo.data.length).fill(255);
  const [before, after] = [photo.data, stylized.data];
  for (let place = 0; place < data.length; place += 4) {
    const lightness = root(row(TO_XYZ, 1, LINEAR[after[place]], LINEAR[after[place + 1]], LINEAR[after[place + 2]]));
    const [r, g, b] = [LINEAR[before[place]], LINEAR[before[place + 1]], LINEAR[before[place + 2]]];
    const change = lightness - root(row(TO_XYZ, 1, r, g, b));
    const x = unroot(change + root(row(TO_XYZ, 0, r, g, b)));
    const y = unroot(lightness);
    const z = unroot(change + root(row(TO_XYZ, 2, r, g, b)));
    data[place] = toLevel(row(FROM_XYZ, 0, x, y, z));
    data[place + 1] = toLevel(row(FROM_XYZ, 1, x, y, z));
    data[place + 2] = toLevel(row(FROM_XYZ, 2, x, y, z));
  }
  return { ...photo, data };
}

/** `stylized` with the mean and covariance of the photo's colours. */
export function histogram(photo, stylized) {
  const { matrix, shift } = match(moments(stylized.data), moments(photo.data));
  const data = new Uint8ClampedArray(photo.data.length).fill(255);
  for (let place = 0; place < data.length; place += 4) {
    const [r, g, b] = [stylized.data[place], stylized.data[place + 1], stylized.data[place + 2]];
    for (let channel = 0; channel < 3; channel++) {
      data[place + channel] = row(matrix, channel, r, g, b) + 255 * shift[channel];
    }
  }
  return { ...photo, data };
}

function moments(data) {
  const sums = [0, 0, 0];
  const products = [0, 0, 0, 0, 0, 0]; // rr rg rb gg gb bb
  for (let place = 0; place < data.length; place += 4) {
    const [r, g, b] = [data[place] / 255, data[place + 1] / 255, data[place + 2] / 255];
    sums[0] += r;
    sums[1] += g;
    sums[2] += b;
    products[0] += r * r;
    products[1] += r * g;
    products[2] += r * b;
    products[3] += g * g;
    products[4] += g * b;
    products[5] += b * b;
  }
  const count = data.length / 4;
  const mean = sums.map((sum) => sum / count);
  const at = [[0, 1, 2], [1, 3, 4], [2, 4, 5]];
  return { mean, covariance: at.map((line, i) => line.map((n, j) => products[n] / count - mean[i] * mean[j])) };
}

/** The affine map of colours that gives `to`'s moments and changes colours least. */
function match(from, to) {
  const more = ({ covariance }) => covariance.map((line, i) => line.map((value, j) => value + (i === j ? LEAST : 0)));
  const half = power(more(from), Math.sqrt);
  const back = power(more(from), (value) => 1 / Math.sqrt(value));
  const matrix = product(product(back, power(product(product(half, more(to)), half), Math.sqrt)), back);
  const limited = power(symmetric(matrix), (value) => Math.min(value, STRETCH));
  return { matrix: limited, shift: to.mean.map((mean, n) => mean - row(limited, n, ...from.mean)) };
}

const product = (a, b) =>
  a.map((line) => [0, 1, 2].map((j) => line[0] * b[0][j] + line[1] * b[1][j] + line[2] * b[2][j]));
const transposed = (matrix) => [0, 1, 2].map((i) => matrix.map((line) => line[i]));
const symmetric = (matrix) => matrix.map((line, i) => line.map((value, j) => (value + matrix[j][i]) / 2));

/** A function of a symmetric matrix: of its eigenvalues, which Jacobi's rotations find. */
function power(matrix, change) {
  let values = symmetric(matrix);
  let vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  for (let sweep = 0; sweep < 30; sweep++) {
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]]) {
      if (values[p][q] === 0) continue;
      const angle = 0.5 * Math.atan2(2 * values[p][q], values[q][q] - values[p][p]);
      const turn = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
      turn[p][p] = turn[q][q] = Math.cos(angle);
      turn[p][q] = Math.sin(angle);
      turn[q][p] = -Math.sin(angle);
      values = product(product(transposed(turn), values), turn);
      vectors = product(vectors, turn);
    }
  }
  const changed = [0, 1, 2].map((i) => [0, 1, 2].map((j) => (i === j ? change(Math.max(0, values[i][i])) : 0)));
  return product(product(vectors, changed), transposed(vectors));
}

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const [A, B, C] = [e * i - f * h, f * g - d * i, d * h - e * g];
  const all = a * A + b * B + c * C;
  return [
    [A / all, (c * h - b * i) / all, (b * f - c * e) / all],
    [B / all, (a * i - c * g) / all, (c * d - a * f) / all],
    [C / all, (b * g - a * h) / all, (a * e - b * d) / all],
  ];
}
