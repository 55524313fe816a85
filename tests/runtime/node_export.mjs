// Runs an exported style under Node: node node_export.mjs <onnxruntime-node or -web, where it is> style.onnx [uint8]
// Prints, for several sizes, the result as JSON; the test holds it against the network's.
import { createRequire } from "node:module";

const [place, file, type] = process.argv.slice(2);
const ort = createRequire(`${place}/`)(place);
const session = await ort.InferenceSession.create(file, { executionProviders: [place.endsWith("-web") ? "wasm" : "cpu"] });
const results = [];
for (const [batch, height, width] of [[1, 61, 97], [2, 16, 48], [1, 1, 5]]) {
  const count = batch * 3 * height * width;
  const levels = Array.from({ length: count }, (_, i) => (i * 7919) % 256);
  const data = type === "uint8" ? Uint8Array.from(levels) : Float32Array.from(levels, (level) => level / 255);
  const content = new ort.Tensor(type ?? "float32", data, [batch, 3, height, width]);
  const { image } = await session.run({ content });
  results.push({ dims: image.dims, data: Array.from(image.data) });
}
console.log(JSON.stringify(results));
