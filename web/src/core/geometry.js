/**
 * Windows: where each position looks, and how many positions there are. The same rules as
 * `weightshare.geometry`.
 *
 * @typedef {object} Layer
 * @property {boolean} transposed whether positions are inputs
 * @property {number} inChannels
 * @property {number} outChannels
 * @property {number[]} kernelSize taps per axis
 * @property {number[]} stride
 * @property {[number, number][]} padding (before, after) per axis
 * @property {number[]} dilation
 * @property {number[]} outputPadding of a transposed layer
 * @property {number} groups
 * @property {boolean} bias
 * @property {"zeros" | "circular" | "reflect" | "replicate"} paddingMode
 * @property {import("./sharing.js").Sharing} sharing
 * @property {import("./sharing.js").Sharing | null} biasSharing null for the default
 * @property {number[]} inputSize spatial size of the input
 */

/** @param {number[]} values */
export const product = (values) => values.reduce((total, n) => total * n, 1);

/** Taps from the first to the last, both included. @param {Layer} layer */
export const extents = (layer) => layer.kernelSize.map((k, axis) => layer.dilation[axis] * (k - 1) + 1);

/**
 * Spatial size of the output, or a sentence that says why there is none.
 * @param {Layer} layer
 * @returns {{ size: number[] } | { error: string }}
 */
export function outputSize(layer) {
  const extent = extents(layer);
  const size = [];
  for (let axis = 0; axis < extent.length; axis++) {
    const n = layer.inputSize[axis];
    const [before, after] = layer.padding[axis];
    const stride = layer.stride[axis];
    if (layer.transposed) {
      const out = (n - 1) * stride + extent[axis] - before - after + layer.outputPadding[axis];
      if (out < 1) return { error: "The padding cuts off the whole output. Use less padding or a larger input." };
      size.push(out);
      continue;
    }
    const limit = /** @type {Record<string, number>} */ ({ circular: n, reflect: n - 1 })[layer.paddingMode];
    if (limit !== undefined && Math.max(before, after) > limit) {
      return { error: `Padding mode "${layer.paddingMode}" can add at most ${limit} to an axis of length ${n}.` };
    }
    const padded = n + before + after;
    if (padded < extent[axis]) {
      return {
        error: `The window spans ${extent[axis]} inputs, but the padded input has only ${padded}. Use a larger input, a smaller kernel, less dilation or more padding.`,
      };
    }
    size.push(Math.floor((padded - extent[axis]) / stride) + 1);
  }
  return { size };
}

/**
 * Index of the input at `index` of a padded axis of length `n`; -1 for zero padding.
 * @param {number} index
 * @param {number} n
 * @param {string} mode
 */
export function paddedIndex(index, n, mode) {
  if (index >= 0 && index < n) return index;
  if (mode === "zeros") return -1;
  if (mode === "circular") return ((index % n) + n) % n;
  if (mode === "replicate") return Math.min(Math.max(index, 0), n - 1);
  return index < 0 ? -index : 2 * (n - 1) - index;
}

/**
 * For one axis: the input under each tap of each position; -1 for zero padding (or, for a transposed
 * layer, for an output that is cut off).
 * @param {Layer} layer
 * @param {number} axis
 * @param {number} positions
 * @param {number} inputs
 */
export function tapsAlong(layer, axis, positions, inputs) {
  const [before] = layer.padding[axis];
  const mode = layer.transposed ? "zeros" : layer.paddingMode;
  return Array.from({ length: positions }, (_, p) =>
    Array.from({ length: layer.kernelSize[axis] }, (_, t) =>
      paddedIndex(p * layer.stride[axis] - before + t * layer.dilation[axis], inputs, mode),
    ),
  );
}

/** Row-major index of a position. @param {number[]} index @param {number[]} size */
export const flatten = (index, size) => index.reduce((flat, i, axis) => flat * size[axis] + i, 0);

/** Inverse of `flatten`. @param {number} flat @param {number[]} size */
export function unflatten(flat, size) {
  const index = new Array(size.length);
  for (let axis = size.length - 1; axis >= 0; axis--) {
    index[axis] = flat % size[axis];
    flat = Math.floor(flat / size[axis]);
  }
  return index;
}
