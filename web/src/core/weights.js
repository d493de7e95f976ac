/** Weights for the pictures: small whole numbers, from named kernels or at random. */
import { makeRandom } from "../ui/images.js";
import { product, unflatten } from "./geometry.js";
import { biasSharing, coefficientShapes, countBanks } from "./sharing.js";
import { positionSize, sides } from "./counts.js";

/** @type {[string, string][]} */
export const KERNELS = [
  ["vertical", "vertical edges"],
  ["horizontal", "horizontal edges"],
  ["blur", "blur"],
  ["sharpen", "sharpen"],
  ["random", "random"],
];

/**
 * One named kernel of any size.
 * @param {string} name
 * @param {number[]} size
 * @returns {number[]}
 */
export function namedKernel(name, size) {
  const middle = size.map((n) => (n - 1) / 2);
  return Array.from({ length: product(size) }, (_, tap) => {
    const offset = unflatten(tap, size).map((i, axis) => i - middle[axis]);
    const across = offset[offset.length - 1];
    const down = offset.length > 1 ? offset[offset.length - 2] : offset[0];
    const isCenter = offset.every((o) => Math.abs(o) < 1);
    if (name === "vertical") return Math.sign(across);
    if (name === "horizontal") return Math.sign(down);
    if (name === "blur") return 1;
    return isCenter ? product(size) : -1;
  });
}

/**
 * Weights in the layout of `forward`. The first kernel is the named one; further banks and channels differ from
 * it, so that one can see which of them is used.
 * @param {import("./geometry.js").Layer} layer
 * @param {number[]} out
 * @param {string} kernel
 * @returns {import("./forward.js").Weights}
 */
export function makeWeights(layer, out, kernel, seed = 3) {
  const positions = positionSize(layer, out);
  const { near, far } = sides(layer);
  const taps = product(layer.kernelSize);
  const banks = new Float64Array(countBanks(layer.sharing, positions) * near * far * taps);
  const isUnshared = layer.sharing.type !== "full" && layer.sharing.type !== "lowrank";
  for (let start = 0; start < banks.length; start += taps) {
    const index = start / taps;
    const random = makeRandom(seed * 1009 + index);
    const isNamed = kernel !== "random" && index === 0;
    const turns = ["vertical", "horizontal", "blur", "sharpen"];
    const other = kernel !== "random" && !isUnshared && index < near * far ? turns[(turns.indexOf(kernel) + index) % 4] : null;
    const values = isNamed || other ? namedKernel(other ?? kernel, layer.kernelSize) : Array.from({ length: taps }, () => Math.floor(random() * 5) - 2);
    banks.set(values, start);
  }
  const random = makeRandom(seed + 17);
  const bias = layer.bias
    ? Float64Array.from({ length: countBanks(biasSharing(layer), out) * layer.outChannels }, () => Math.floor(random() * 3))
    : null;
  const shapes = coefficientShapes(layer.sharing, positions);
  let coefficients = null;
  if (shapes.length) {
    const rank = shapes[0][0];
    const count = product(positions);
    const parts = shapes.map((shape) => Float64Array.from({ length: product(shape) }, () => Math.round(random() * 2.98 - 1.49)));
    coefficients = new Float64Array(rank * count);
    for (let k = 0; k < rank; k++) {
      for (let p = 0; p < count; p++) {
        const index = unflatten(p, positions);
        coefficients[k * count + p] =
          parts.length === positions.length && shapes[0].length === 2 && positions.length > 1
            ? parts.reduce((sum, part, axis) => sum + part[k * positions[axis] + index[axis]], 0)
            : parts[0][k * count + p];
      }
    }
  }
  return { banks, bias, coefficients };
}
