/** Gradient descent for one layer, with shared weights or with one copy per position. */
import { plan, backward, forward } from "./forward.js";
import { unflatten } from "./geometry.js";

/** @typedef {import("./geometry.js").Layer} Layer */
/** @typedef {import("./forward.js").Plan} Plan */
/** @typedef {import("./forward.js").Weights} Weights */
/** @typedef {ReturnType<typeof backward>} Gradients */

/**
 * The loss: the mean or the sum of the squared differences.
 * @param {ArrayLike<number>} output
 * @param {ArrayLike<number>} target
 * @param {string} kind "mean" or "sum"
 */
export function lossOf(output, target, kind) {
  let sum = 0;
  for (let i = 0; i < output.length; i++) sum += (output[i] - target[i]) ** 2;
  return kind === "mean" ? sum / output.length : sum;
}

/**
 * The gradient of the loss in the output.
 * @param {ArrayLike<number>} output
 * @param {ArrayLike<number>} target
 * @param {string} kind
 */
export function outputGradient(output, target, kind) {
  const scale = kind === "mean" ? 2 / output.length : 2;
  return Float64Array.from(output, (value, i) => scale * (value - target[i]));
}

/**
 * The loss of a layer and its gradients.
 * @param {Plan} p
 * @param {Weights} weights
 * @param {ArrayLike<number>} input
 * @param {ArrayLike<number>} target
 * @param {string} kind
 */
export function differentiate(p, weights, input, target, kind) {
  const output = forward(p, weights, input);
  const direction = outputGradient(output, target, kind);
  return { output, loss: lossOf(output, target, kind), direction, gradients: backward(p, weights, input, direction) };
}

/**
 * The weights after one step of gradient descent.
 * @param {Plan} p
 * @param {Weights} weights
 * @param {Gradients} gradients
 * @param {number} rate
 * @returns {Weights}
 */
export function descend(p, weights, gradients, rate) {
  const subtract = (/** @type {Float64Array} */ values, /** @type {Float64Array} */ steps) => values.map((value, i) => value - rate * steps[i]);
  const { coefficients } = weights;
  return {
    banks: subtract(weights.banks, gradients.banks),
    bias: weights.bias && subtract(weights.bias, /** @type {Float64Array} */ (gradients.bias)),
    coefficients: coefficients && subtract(coefficients, spreadByAxis(p, /** @type {Float64Array} */ (gradients.coefficients))),
  };
}

/**
 * A coefficient of low rank that is not free is a sum of one term per axis, which the positions with the same index
 * share. A step of the terms changes each coefficient by the sum of their gradients.
 * @param {Plan} p
 * @param {Float64Array} gradients [rank, positions]
 */
function spreadByAxis(p, gradients) {
  const { sharing } = p.layer;
  if (sharing.type !== "lowrank" || sharing.free) return gradients;
  const index = Array.from({ length: p.positionCount }, (_, flat) => unflatten(flat, p.positions));
  const result = new Float64Array(gradients.length);
  for (let start = 0; start < gradients.length; start += p.positionCount) {
    p.positions.forEach((n, axis) => {
      const sums = new Float64Array(n);
      index.forEach((at, flat) => (sums[at[axis]] += gradients[start + flat]));
      index.forEach((at, flat) => (result[start + flat] += sums[at[axis]]));
    });
  }
  return result;
}

/**
 * Steps of gradient descent. A shared weight receives the sum of the gradients at all of its positions.
 * @param {Plan} p
 * @param {Weights} start
 * @param {ArrayLike<number>} input
 * @param {ArrayLike<number>} target
 * @param {{ kind: string, rate: number, steps: number, tie?: (gradients: Gradients) => Gradients }} options
 */
export function train(p, start, input, target, { kind, rate, steps, tie = (gradients) => gradients }) {
  let weights = start;
  const losses = [];
  for (let step = 0; step < steps; step++) {
    const { loss, gradients } = differentiate(p, weights, input, target, kind);
    losses.push(loss);
    weights = descend(p, weights, tie(gradients), rate);
  }
  const last = differentiate(p, weights, input, target, kind);
  losses.push(last.loss);
  return { weights, losses, ...last };
}

/** The plan of the same layer with one kernel per position. @param {Plan} p @returns {Plan} */
export const planCopies = (p) => /** @type {Plan} */ (plan({ ...p.layer, sharing: { type: "local" }, biasSharing: { type: "full" } }));

/**
 * The weights of a layer without low rank, as one copy per position.
 * @param {Plan} p
 * @param {Weights} weights
 * @returns {Weights}
 */
export function copyWeights(p, weights) {
  const size = p.near * p.far * p.taps;
  const banks = new Float64Array(p.positionCount * size);
  for (let position = 0; position < p.positionCount; position++) {
    banks.set(weights.banks.subarray(p.labels[position] * size, (p.labels[position] + 1) * size), position * size);
  }
  return { banks, bias: weights.bias, coefficients: null };
}

/**
 * What each copy of a weight receives: its own gradient, or the sum or the mean over the copies.
 * @param {Plan} p of the layer whose weights were copied
 * @param {Gradients} gradients of the copies
 * @param {string} rule "own", "sum" or "mean"
 * @returns {Gradients}
 */
export function tieCopies(p, gradients, rule) {
  if (rule === "own") return gradients;
  const size = p.near * p.far * p.taps;
  const sums = new Float64Array(p.banks * size);
  const counts = new Float64Array(p.banks);
  for (let position = 0; position < p.positionCount; position++) {
    counts[p.labels[position]]++;
    for (let i = 0; i < size; i++) sums[p.labels[position] * size + i] += gradients.banks[position * size + i];
  }
  const banks = gradients.banks.map((_, i) => {
    const bank = p.labels[Math.floor(i / size)];
    return sums[bank * size + (i % size)] / (rule === "mean" ? counts[bank] : 1);
  });
  return { ...gradients, banks };
}

/**
 * The largest difference between two copies of one weight.
 * @param {Plan} p of the layer whose weights were copied
 * @param {Weights} copies
 */
export function spreadOf(p, copies) {
  const size = p.near * p.far * p.taps;
  const [low, high] = [new Float64Array(p.banks * size).fill(Infinity), new Float64Array(p.banks * size).fill(-Infinity)];
  copies.banks.forEach((value, i) => {
    const at = p.labels[Math.floor(i / size)] * size + (i % size);
    low[at] = Math.min(low[at], value);
    high[at] = Math.max(high[at], value);
  });
  return Math.max(0, ...high.map((value, i) => value - low[i]));
}
