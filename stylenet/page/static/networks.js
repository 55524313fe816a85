// The networks, run by ONNX Runtime: WebAssembly, or WebGPU where it was seen to give the same pictures.

import { Sentence } from "./pictures.js";
import { resized, stretched } from "./resample.js";

const RUNTIME = new URL("./runtime/", import.meta.url).href;
const MODULES = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };
const MOST_SESSIONS = 2; // kept ready for each engine
const TRIAL = 256; // pixels: the longer side of the picture by which WebGPU is compared with WebAssembly
const ALLOWED = 2; // levels of 255 that it may differ by

export const state = { engine: "wasm", ready: ready() };
const engines = {}; // ONNX Runtime's modules
const sessions = { wasm: new Map(), webgpu: new Map() };
const files = new Map(); // the bytes of networks
const trusted = new Map(); // by network: whether WebGPU gives WebAssembly's picture
const speeds = new Map(); // by engine and network: milliseconds a pixel, of the last pass

async function ready() {
  const threads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return { threads, gpu: Boolean(adapter) };
}

async function engine(name) {
  if (!engines[name]) {
    const { threads } = await state.ready;
    const ort = await import(RUNTIME + MODULES[name]);
    ort.env.wasm.wasmPaths = RUNTIME;
    ort.env.wasm.numThreads = name === "wasm" ? threads : 1;
    ort.env.logLevel = "error";
    engines[name] = ort;
  }
  return engines[name];
}

/** The bytes of a network's file, whole and as they were written. */
async function bytes(network, progress) {
  if (files.has(network.file)) return files.get(network.file);
  const response = await fetch(network.file).catch(() => null);
  if (!response?.ok) throw new Sentence(`The network ${network.file} cannot be loaded. Is the server still running?`);
  const data = new Uint8Array(network.bytes);
  let length = 0;
  const reader = response.body.getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    if (length + step.value.length <= data.length) data.set(step.value, length);
    length += step.value.length;
    progress("Loading the network …", length / network.bytes);
  }
  if (length !== data.length || !(await hasHash(data, network.sha256))) {
    throw new Sentence(`The network ${network.file} is damaged. Choose another style, or write the page again.`);
  }
  files.set(network.file, data);
  return data;
}

async function hasHash(data, wanted) {
  if (!self.crypto?.subtle) return true; // browsers offer it to safe origins only
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === wanted;
}

async function session(name, network, progress) {
  const open = sessions[name];
  if (!open.has(network.file)) {
    const data = await bytes(network, progress);
    progress("Starting the network …");
    const ort = await engine(name);
    while (open.size >= MOST_SESSIONS) {
      const [oldest, old] = open.entries().next().value;
      open.delete(oldest);
      await old.release();
    }
    const options = { executionProviders: [name], enableCpuMemArena: false, enableMemPattern: false };
    open.set(network.file, await ort.InferenceSession.create(data, options));
  }
  return open.get(network.file);
}

/** Have a network ready before there is a photo. What is wrong with it is said when it is to paint. */
export const warm = (network) => session("wasm", network, () => {}).catch(() => {});

/** A picture's three planes one after the other, in [0, 1]. */
function planesOf({ width, height, data }) {
  const count = width * height;
  const planes = new Float32Array(3 * count);
  for (let pixel = 0, place = 0; pixel < count; pixel++, place += 4) {
    planes[pixel] = data[place] / 255;
    planes[count + pixel] = data[place + 1] / 255;
    planes[2 * count + pixel] = data[place + 2] / 255;
  }
  return planes;
}

/** The weights that a network for any style paints with in the style of a painting. */
export async function styleOf({ style_of: network }, painting, progress) {
  const net = await session("wasm", network, progress);
  const ort = await engine("wasm");
  progress("Looking at the painting …");
  const [width, height] = [painting.width, painting.height].map((side) => Math.max(network.smallest, side));
  const small = width > painting.width || height > painting.height;
  const planes = small ? stretched(planesOf(painting), painting, width, height) : planesOf(painting);
  const { style } = await net.run({ painting: new ort.Tensor("float32", planes, [1, 3, height, width]) });
  return Array.from(style.data);
}

async function pass(name, { network, weights }, picture, progress) {
  const net = await session(name, network, progress);
  const ort = await engine(name);
  const { width, height } = picture;
  const count = width * height;
  const inputs = { content: new ort.Tensor("float32", planesOf(picture), [1, 3, height, width]) };
  if (network.styles > 1) inputs.style = new ort.Tensor("float32", Float32Array.from(weights), [1, network.styles]);
  const speed = `${name} ${network.file}`;
  progress(`Painting at ${width} × ${height} pixels …`, { expected: speeds.get(speed) * count || null });
  const began = performance.now();
  const { image } = await net.run(inputs);
  speeds.set(speed, (performance.now() - began) / count);
  const made = new Uint8ClampedArray(4 * count).fill(255);
  for (let pixel = 0, place = 0; pixel < count; pixel++, place += 4) {
    for (let channel = 0; channel < 3; channel++) made[place + channel] = image.data[channel * count + pixel] * 255;
  }
  image.dispose();
  return { width, height, data: made };
}

/** What the layer's network makes of a picture, in the same size. */
export async function run(layer, picture, gpu, progress) {
  const engineFor = gpu && (await agrees(layer, picture, progress)) ? "webgpu" : "wasm";
  state.engine = engineFor;
  return pass(engineFor, layer, picture, progress);
}

/** Whether WebGPU gives WebAssembly's picture for a small version of this one. Raises a sentence where it does not. */
async function agrees(layer, picture, progress) {
  const { file } = layer.network;
  if (!trusted.has(file)) {
    const scale = Math.min(1, TRIAL / Math.max(picture.width, picture.height));
    const sides = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
    const small = resized(picture, ...sides);
    const expected = await pass("wasm", layer, small, progress);
    let worst = Infinity;
    try {
      const found = await pass("webgpu", layer, small, progress);
      worst = found.data.reduce((most, level, place) => Math.max(most, Math.abs(level - expected.data[place])), 0);
    } catch (error) {
      console.warn(error);
    }
    trusted.set(file, worst <= ALLOWED);
    self.postMessage({ type: "compared", same: worst <= ALLOWED, worst });
  }
  return trusted.get(file);
}
