/** What a layer computes, position by position, and the terms of each sum. */
import { flatten, outputSize, product, tapsAlong, unflatten } from "./geometry.js";
import { biasSharing, countBanks, labels } from "./sharing.js";
import { positionSize, sides } from "./counts.js";

/** @typedef {import("./geometry.js").Layer} Layer */

/**
 * Parameters of a layer as flat arrays.
 * @typedef {object} Weights
 * @property {Float64Array} banks [K, near, far, taps], row-major; near and far as in `sides`
 * @property {Float64Array | null} bias [banks, outChannels]
 * @property {Float64Array | null} coefficients [rank, positions], of low rank
 */

/**
 * Everything about a layer that its outputs need, computed once; null if it has no output.
 * @param {Layer} layer
 */
export function plan(layer) {
  const found = outputSize(layer);
  if ("error" in found) return null;
  const out = found.size;
  const positions = positionSize(layer, out);
  const inputs = layer.transposed ? out : layer.inputSize;
  const along = positions.map((n, axis) => tapsAlong(layer, axis, n, inputs[axis]));
  const taps = product(layer.kernelSize);
  const tapIndex = Array.from({ length: taps }, (_, tap) => unflatten(tap, layer.kernelSize));
  const count = product(positions);
  const under = new Int32Array(count * taps);
  for (let p = 0; p < count; p++) {
    const index = unflatten(p, positions);
    for (let t = 0; t < taps; t++) {
      const at = tapIndex[t].map((tap, axis) => along[axis][index[axis]][tap]);
      under[p * taps + t] = at.some((i) => i < 0) ? -1 : flatten(at, inputs);
    }
  }
  const { near, far } = sides(layer);
  return {
    layer,
    out,
    positions,
    inputs,
    taps,
    /** Input under each tap of each position [P, taps]; -1 for none. */
    under,
    labels: labels(layer.sharing, positions),
    biasLabels: labels(biasSharing(layer), out),
    banks: countBanks(layer.sharing, positions),
    biasBanks: layer.bias ? countBanks(biasSharing(layer), out) : 0,
    near,
    far,
    positionCount: count,
    inputCount: product(inputs),
  };
}

/** @typedef {NonNullable<ReturnType<typeof plan>>} Plan */

/**
 * Channel of the window side that local channel `local` of position-side channel `channel` sees.
 * @param {Plan} p
 * @param {number} channel
 * @param {number} local
 */
export const farChannel = (p, channel, local) => Math.floor(channel / (p.near / p.layer.groups)) * p.far + local;

/**
 * The kernel value W[position][channel, local, tap].
 * @param {Plan} p
 * @param {Weights} weights
 * @param {number} position
 * @param {number} channel
 * @param {number} local
 * @param {number} tap
 */
export function kernelAt(p, weights, position, channel, local, tap) {
  const at = (/** @type {number} */ bank) => weights.banks[((bank * p.near + channel) * p.far + local) * p.taps + tap];
  if (p.layer.sharing.type !== "lowrank") return at(p.labels[position]);
  let value = at(0);
  for (let k = 1; k < p.banks; k++) {
    value += /** @type {Float64Array} */ (weights.coefficients)[(k - 1) * p.positionCount + position] * at(k);
  }
  return value;
}

/**
 * The products whose sum is one output of a convolution, before the bias.
 * @param {Plan} p
 * @param {Weights} weights
 * @param {ArrayLike<number>} input [inChannels, ...inputSize]
 * @param {number} position
 * @param {number} channel
 * @returns {{ channel: number, tap: number, input: number, value: number, weight: number }[]} `input` is -1 for padding
 */
export function termsOf(p, weights, input, position, channel) {
  const terms = [];
  for (let local = 0; local < p.far; local++) {
    const far = farChannel(p, channel, local);
    for (let tap = 0; tap < p.taps; tap++) {
      const index = p.under[position * p.taps + tap];
      const value = index < 0 ? 0 : input[far * p.inputCount + index];
      terms.push({ channel: far, tap, input: index, value, weight: kernelAt(p, weights, position, channel, local, tap) });
    }
  }
  return terms;
}

/**
 * Visit every product of a layer: the place of its factor in the input, and of its sum in the output.
 * @param {Plan} p
 * @param {(input: number, output: number, position: number, channel: number, local: number, tap: number) => void} visit
 */
function eachProduct(p, visit) {
  for (let position = 0; position < p.positionCount; position++) {
    for (let channel = 0; channel < p.near; channel++) {
      const near = channel * p.positionCount + position;
      for (let local = 0; local < p.far; local++) {
        const start = farChannel(p, channel, local) * p.inputCount;
        for (let tap = 0; tap < p.taps; tap++) {
          const index = p.under[position * p.taps + tap];
          if (index < 0) continue;
          const [input, output] = p.layer.transposed ? [near, start + index] : [start + index, near];
          visit(input, output, position, channel, local, tap);
        }
      }
    }
  }
}

/**
 * Visit the bias of every output: its place in the biases, and in the output.
 * @param {Plan} p
 * @param {(bias: number, output: number) => void} visit
 */
function eachBias(p, visit) {
  const outCount = product(p.out);
  const channels = p.layer.outChannels;
  for (let c = 0; c < channels; c++) {
    for (let o = 0; o < outCount; o++) visit(p.biasLabels[o] * channels + c, c * outCount + o);
  }
}

/**
 * The output [outChannels, ...out] of a layer.
 * @param {Plan} p
 * @param {Weights} weights
 * @param {ArrayLike<number>} input [inChannels, ...inputSize]
 */
export function forward(p, weights, input) {
  const result = new Float64Array(p.layer.outChannels * product(p.out));
  const { bias } = weights;
  if (bias) eachBias(p, (from, to) => (result[to] = bias[from]));
  eachProduct(p, (x, y, position, channel, local, tap) => {
    result[y] += kernelAt(p, weights, position, channel, local, tap) * input[x];
  });
  return result;
}

/**
 * The gradient of sum(output * direction) in the banks, the bias, the coefficients and the input of a layer.
 * @param {Plan} p
 * @param {Weights} weights
 * @param {ArrayLike<number>} input
 * @param {ArrayLike<number>} direction gradient of the loss in the output
 */
export function backward(p, weights, input, direction) {
  const banks = new Float64Array(weights.banks.length);
  const coefficients = weights.coefficients && new Float64Array(weights.coefficients.length);
  const bias = weights.bias && new Float64Array(weights.bias.length);
  const grad = new Float64Array(input.length);
  if (bias) eachBias(p, (to, from) => (bias[to] += direction[from]));
  const isLowRank = p.layer.sharing.type === "lowrank";
  const bankSize = p.near * p.far * p.taps;
  eachProduct(p, (x, y, position, channel, local, tap) => {
    const step = input[x] * direction[y];
    const at = (channel * p.far + local) * p.taps + tap;
    banks[(isLowRank ? 0 : p.labels[position]) * bankSize + at] += step;
    for (let k = 1; isLowRank && k < p.banks; k++) {
      const place = (k - 1) * p.positionCount + position;
      banks[k * bankSize + at] += /** @type {Float64Array} */ (weights.coefficients)[place] * step;
      /** @type {Float64Array} */ (coefficients)[place] += weights.banks[k * bankSize + at] * step;
    }
    grad[x] += kernelAt(p, weights, position, channel, local, tap) * direction[y];
  });
  return { banks, bias, coefficients, input: grad };
}

/**
 * The terms, one per position, whose sum is the gradient of one weight of a convolution without low rank.
 * @param {Plan} p
 * @param {ArrayLike<number>} input
 * @param {ArrayLike<number>} direction
 * @param {number} bank
 * @param {number} channel
 * @param {number} local
 * @param {number} tap
 * @returns {{ position: number, value: number, grad: number }[]}
 */
export function gradientTerms(p, input, direction, bank, channel, local, tap) {
  const terms = [];
  const far = farChannel(p, channel, local);
  for (let position = 0; position < p.positionCount; position++) {
    if (p.labels[position] !== bank) continue;
    const index = p.under[position * p.taps + tap];
    const value = index < 0 ? 0 : input[far * p.inputCount + index];
    terms.push({ position, value, grad: direction[channel * p.positionCount + position] });
  }
  return terms;
}
