/** Counts of a layer, each with the product it comes from. The same numbers as `weightshare.explain`. */
import { outputSize, paddedIndex, product } from "./geometry.js";
import { biasSharing, byAxis, coefficientShapes, countBanks, labels } from "./sharing.js";

/** @typedef {import("./geometry.js").Layer} Layer */
/** @typedef {import("./sharing.js").Sharing} Sharing */
/** @typedef {{ label: string, factors: [string, number][] }} Term */

/** Value of a term. @param {Term} term */
export const valueOf = (term) => product(term.factors.map(([, n]) => n));

/** Value of a sum of terms. @param {Term[]} terms */
export const sumOf = (terms) => terms.reduce((total, term) => total + valueOf(term), 0);

/** Channels of the side whose positions own kernels, and of one group of the other. @param {Layer} layer */
export function sides(layer) {
  const [near, far] = layer.transposed
    ? [layer.inChannels, layer.outChannels]
    : [layer.outChannels, layer.inChannels];
  const names = layer.transposed ? ["input channels", "output channels"] : ["output channels", "input channels"];
  const group = layer.groups > 1 ? ` per group (${far} / ${layer.groups})` : "";
  return { near, far: far / layer.groups, nearName: names[0], farName: names[1] + group };
}

/** The grid of positions that own kernels. @param {Layer} layer @param {number[]} out */
export const positionSize = (layer, out) => (layer.transposed ? layer.inputSize : out);

/** @param {Layer} layer @returns {[string, number][]} */
function kernelFactors(layer) {
  const { far, near, farName, nearName } = sides(layer);
  return [["kernel", product(layer.kernelSize)], [farName, far], [nearName, near]];
}

/**
 * Parameters under a sharing, as terms. The layer must have an output.
 * @param {Layer} layer
 * @param {Sharing} sharing
 * @param {number[]} out spatial size of the output
 * @returns {Term[]}
 */
export function parameters(layer, sharing, out) {
  const positions = positionSize(layer, out);
  const terms = [{ label: "weights", factors: [...kernelFactors(layer), factor("banks", countBanks(sharing, positions))] }];
  coefficientShapes(sharing, positions).forEach(([rank, ...grid], axis) => {
    const where = grid.length < positions.length ? ` along axis ${axis}` : "";
    terms.push({ label: "coefficients", factors: [factor("corrections", rank), factor(`positions${where}`, product(grid))] });
  });
  if (layer.bias) {
    const banks = countBanks(biasSharing(layer, sharing), out);
    terms.push({ label: "biases", factors: [factor("output channels", layer.outChannels), factor("biases per channel", banks)] });
  }
  return terms;
}

/** @returns {[string, number]} */
const factor = (/** @type {string} */ label, /** @type {number} */ n) => [label, n];

/** Parameters of the dense layer with the same output volume. @param {Layer} layer @param {number[]} out @returns {Term[]} */
export function denseParameters(layer, out) {
  const inputs = layer.inChannels * product(layer.inputSize);
  const outputs = layer.outChannels * product(out);
  const terms = [{ label: "weights", factors: [factor("inputs", inputs), factor("outputs", outputs)] }];
  if (layer.bias) terms.push({ label: "biases", factors: [factor("outputs", outputs), factor("biases per output", 1)] });
  return terms;
}

/**
 * Distinct (position, input) pairs of one axis that touch the input.
 * @param {Layer} layer
 * @param {number} axis
 * @param {number} positions
 * @param {number} inputs
 */
export function countPairs(layer, axis, positions, inputs) {
  const mode = layer.transposed ? "zeros" : layer.paddingMode;
  const [before] = layer.padding[axis];
  let pairs = 0;
  for (let p = 0; p < positions; p++) {
    const seen = new Set();
    for (let t = 0; t < layer.kernelSize[axis]; t++) {
      const index = paddedIndex(p * layer.stride[axis] - before + t * layer.dilation[axis], inputs, mode);
      if (index >= 0) seen.add(index);
    }
    pairs += seen.size;
  }
  return pairs;
}

/** (Output, input) pairs that touch the input. @param {Layer} layer @param {number[]} out @returns {Term} */
export function connections(layer, out) {
  const positions = positionSize(layer, out);
  const inputs = layer.transposed ? out : layer.inputSize;
  const { near, far, nearName, farName } = sides(layer);
  const pairs = positions.map((n, axis) => factor(`pairs along axis ${axis}`, countPairs(layer, axis, n, inputs[axis])));
  return { label: "connections", factors: [...pairs, factor(farName, far), factor(nearName, near)] };
}

/** Multiply-accumulates, padding included. @param {Layer} layer @param {Sharing} sharing @param {number[]} out @returns {Term[]} */
export function macs(layer, sharing, out) {
  const positions = product(positionSize(layer, out));
  const factors = [factor("positions", positions), ...kernelFactors(layer)];
  if (sharing.type !== "lowrank" || !sharing.rank) return [{ label: "products", factors }];
  const { near, nearName } = sides(layer);
  return [
    { label: "products", factors: [...factors, factor("banks", 1 + sharing.rank)] },
    { label: "weighting the corrections", factors: [factor("corrections", sharing.rank), factor("positions", positions), factor(nearName, near)] },
  ];
}

/** Neurons of the output volume. @param {Layer} layer @param {number[]} out */
export const neurons = (layer, out) => product(out) * layer.outChannels;

/**
 * (Bank, tap) pairs that only ever meet zero padding.
 * @param {Layer} layer
 * @param {Sharing} sharing
 * @param {number[]} out
 */
export function deadTaps(layer, sharing, out) {
  const taps = product(layer.kernelSize);
  if (!layer.transposed && layer.paddingMode !== "zeros") return 0;
  const positions = positionSize(layer, out);
  const inputs = layer.transposed ? out : layer.inputSize;
  const touches = positions.map((n, axis) =>
    Array.from({ length: n }, (_, p) =>
      Array.from({ length: layer.kernelSize[axis] }, (_, t) => {
        const index = p * layer.stride[axis] - layer.padding[axis][0] + t * layer.dilation[axis];
        return index >= 0 && index < inputs[axis];
      }),
    ),
  );
  const axes = byAxis(sharing.type === "lowrank" ? { type: "full" } : sharing, positions);
  if (axes) {
    const live = axes.map(({ banks, label }, axis) => {
      const met = new Set();
      touches[axis].forEach((row, p) => row.forEach((touch, t) => touch && met.add(label(p) * row.length + t)));
      return met.size;
    });
    const banks = product(axes.map((axis) => axis.banks));
    const dead = banks * taps - product(live);
    return sharing.type === "lowrank" ? dead * (1 + sharing.rank) : dead;
  }
  const met = new Set();
  labels(sharing, positions).forEach((bank, position) => {
    const index = positions.map((_, axis) => Math.floor(position / product(positions.slice(axis + 1))) % positions[axis]);
    for (let tap = 0; tap < taps; tap++) {
      const at = layer.kernelSize.map((_, axis) => Math.floor(tap / product(layer.kernelSize.slice(axis + 1))) % layer.kernelSize[axis]);
      if (at.every((t, axis) => touches[axis][index[axis]][t])) met.add(bank * taps + tap);
    }
  });
  return countBanks(sharing, positions) * taps - met.size;
}

/**
 * All counts of a layer, or the reason why there is no output.
 * @param {Layer} layer
 */
export function count(layer) {
  const found = outputSize(layer);
  if ("error" in found) return found;
  const out = found.size;
  /** @type {Record<string, Term[]>} */
  const bySharing = {
    full: parameters(layer, { type: "full" }, out),
    own: parameters(layer, layer.sharing, out),
    local: parameters(layer, { type: "local" }, out),
    dense: denseParameters(layer, out),
  };
  return {
    output: out,
    bySharing,
    connections: connections(layer, out),
    macs: macs(layer, layer.sharing, out),
    neurons: neurons(layer, out),
    deadTaps: deadTaps(layer, layer.sharing, out),
  };
}
