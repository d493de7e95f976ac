// Draw layers within the ranges of the page's controls, and print what the page computes for each of them.
import { count, sumOf, valueOf } from "../src/core/counts.js";
import { forward, plan } from "../src/core/forward.js";
import { problem, writeLayer } from "../src/core/layer.js";
import { KERNELS, makeWeights } from "../src/core/weights.js";
import { biasSharing } from "../src/core/sharing.js";
import { drawInput, INPUTS, makeRandom } from "../src/ui/images.js";
import { makeDefault, SHARINGS, SMALL } from "../src/ui/layer_controls.js";

const random = makeRandom(1);
const integer = (least, most) => least + Math.floor(random() * (most - least + 1));
const pick = (values) => values[integer(0, values.length - 1)];

let left = Number(process.argv[2] ?? 100);
while (left > 0) {
  const ndim = integer(1, 2);
  const each = (n) => Array(ndim).fill(n);
  const [inChannels, outChannels] = [integer(1, SMALL.inChannels), integer(1, SMALL.outChannels)];
  const padding = integer(0, SMALL.padding);
  const type = pick(SHARINGS.map(([name]) => name).filter((name) => name !== "along" || ndim > 1));
  const layer = {
    transposed: false,
    inChannels,
    outChannels,
    kernelSize: each(integer(1, SMALL.kernelSize)),
    stride: each(integer(1, SMALL.stride)),
    padding: each([padding, padding]),
    dilation: each(integer(1, SMALL.dilation)),
    outputPadding: each(0),
    groups: pick([1, 2, 3].filter((n) => inChannels % n === 0 && outChannels % n === 0)),
    bias: pick([true, false]),
    paddingMode: pick(["zeros", "circular", "reflect", "replicate"]),
    sharing: type === "lowrank" ? { type, rank: integer(0, 3), free: false } : makeDefault(type),
    biasSharing: pick([null, null, { type: "full" }, { type: "local" }]),
    inputSize: each(integer(1, 14)),
  };
  // a layer of the package does not record a bias sharing that equals its default
  if (layer.biasSharing?.type === biasSharing({ ...layer, biasSharing: null }).type) layer.biasSharing = null;
  if (problem(layer) !== null) continue;
  left--;
  const p = plan(layer);
  const counts = count(layer);
  const weights = makeWeights(layer, p.out, pick(KERNELS)[0], integer(1, 99));
  const name = pick(INPUTS)[0];
  const input = Array.from({ length: inChannels }, (_, channel) => drawInput(name, layer.inputSize, channel)).flat();
  const result = {
    output: counts.output,
    bySharing: Object.fromEntries(Object.entries(counts.bySharing).map(([sharing, terms]) => [sharing, sumOf(terms)])),
    connections: valueOf(counts.connections),
    macs: sumOf(counts.macs),
    neurons: counts.neurons,
    deadTaps: counts.deadTaps,
    outputs: [...forward(p, weights, input)],
  };
  const { banks, bias, coefficients } = weights;
  const plain = { banks: [...banks], bias: bias && [...bias], coefficients: coefficients && [...coefficients] };
  console.log(JSON.stringify({ layer: writeLayer(layer), weights: plain, input, result }));
}
