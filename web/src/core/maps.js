/** Feature maps of gray images: correlation with one kernel, or with a kernel per position. */

/**
 * @typedef {object} Gray
 * @property {number} width
 * @property {number} height
 * @property {ArrayLike<number>} values brightness, row by row
 */

/** @typedef {{ width: number, height: number, values: Float64Array }} FeatureMap */

/**
 * Correlate an image with one kernel, without padding. This is what networks call a convolution.
 * @param {ArrayLike<number>} image row by row
 * @param {number} width
 * @param {number} height
 * @param {number[]} kernel k * k weights, row by row
 * @returns {FeatureMap} of width - k + 1 and height - k + 1
 */
export function correlate(image, width, height, kernel) {
  return correlateUnshared(image, width, height, [kernel], null);
}

/**
 * Correlate an image with a kernel per position, without padding.
 * @param {ArrayLike<number>} image row by row
 * @param {number} width
 * @param {number} height
 * @param {number[][]} kernels each of k * k weights
 * @param {ArrayLike<number> | null} labels the kernel of each position of the map; null if all use the first one
 * @returns {FeatureMap}
 */
export function correlateUnshared(image, width, height, kernels, labels) {
  const side = sideOf(kernels[0]);
  const [columns, rows] = [width - side + 1, height - side + 1];
  if (columns < 1 || rows < 1) return { width: 0, height: 0, values: new Float64Array(0) };
  const values = new Float64Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const position = row * columns + column;
      const kernel = kernels[labels ? labels[position] : 0];
      let sum = 0;
      for (let i = 0; i < side; i++) {
        for (let j = 0; j < side; j++) sum += image[(row + i) * width + column + j] * kernel[i * side + j];
      }
      values[position] = sum;
    }
  }
  return { width: columns, height: rows, values };
}

/**
 * The products of one position of the map.
 * @param {Gray} image
 * @param {number[]} kernel
 * @param {number} row
 * @param {number} column
 */
export function productsAt(image, kernel, row, column) {
  const side = sideOf(kernel);
  return kernel.map((weight, tap) => {
    const value = image.values[(row + Math.floor(tap / side)) * image.width + column + (tap % side)];
    return { value, weight, product: value * weight };
  });
}

/** A kernel turned by 180 degrees: correlating with it is the convolution of mathematics. @param {number[]} kernel */
export const flip = (kernel) => [...kernel].reverse();

/** @param {ArrayLike<number>} values */
export const relu = (values) => Float64Array.from(values, (value) => Math.max(0, value));

/**
 * The absolute value that a share of all values does not exceed.
 * @param {ArrayLike<number>} values
 * @param {number} share
 */
export function quantile(values, share) {
  if (!values.length) return 0;
  const sorted = sizesOf(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/**
 * How many of the positions with the largest absolute values two maps have in common.
 * @param {ArrayLike<number>} first
 * @param {ArrayLike<number>} second
 * @param {number} count number of positions of each map
 */
export function countCommon(first, second, count) {
  const other = strongest(second, count);
  return [...strongest(first, count)].filter((i) => other.has(i)).length;
}

/** @param {ArrayLike<number>} values @param {number} count @returns {Set<number>} positions; of equal values, the first */
function strongest(values, count) {
  const sizes = sizesOf(values);
  const least = sizes.slice().sort()[sizes.length - count];
  /** @type {number[]} */
  const above = [];
  /** @type {number[]} */
  const equal = [];
  sizes.forEach((size, i) => {
    if (size > least) above.push(i);
    else if (size === least) equal.push(i);
  });
  return new Set([...above, ...equal.slice(0, count - above.length)]);
}

/**
 * The size with the same proportions whose longer side is at most `most`.
 * @param {number} width
 * @param {number} height
 * @param {number} most
 */
export function fitSize(width, height, most) {
  const scale = Math.min(1, most / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/**
 * A gray image from the pixels of a canvas, reduced by averaging. The brightness is the luma of Rec. 601, as in
 * Pillow's mode "L".
 * @param {ArrayLike<number>} rgba
 * @param {number} width
 * @param {number} height
 * @param {number} most of the longer side of the result
 * @returns {Gray} with whole numbers from 0 to 255
 */
export function toGray(rgba, width, height, most) {
  const [columns, rows] = fitSize(width, height, most);
  const values = new Uint8Array(columns * rows);
  const across = cover(width, columns);
  const down = cover(height, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let [sum, area] = [0, 0];
      for (const [y, tall] of down[row]) {
        for (const [x, wide] of across[column]) {
          const i = 4 * (y * width + x);
          sum += tall * wide * (0.299 * rgba[i] + 0.587 * rgba[i + 1] + 0.114 * rgba[i + 2]);
          area += tall * wide;
        }
      }
      values[row * columns + column] = Math.round(sum / area);
    }
  }
  return { width: columns, height: rows, values };
}

/** Which pixels each larger pixel covers, and how much of each. @param {number} from @param {number} to */
function cover(from, to) {
  const step = from / to;
  return Array.from({ length: to }, (_, i) => {
    const [start, end] = [i * step, (i + 1) * step];
    /** @type {[number, number][]} */
    const parts = [];
    for (let pixel = Math.floor(start); pixel < Math.min(from, Math.ceil(end - 1e-9)); pixel++) {
      parts.push([pixel, Math.min(end, pixel + 1) - Math.max(start, pixel)]);
    }
    return parts;
  });
}

/** Bytes from base64. @param {string} text */
export const decodeBytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** @param {ArrayLike<number>} values */
function sizesOf(values) {
  const sizes = new Float64Array(values.length);
  for (let i = 0; i < sizes.length; i++) sizes[i] = Math.abs(values[i]);
  return sizes;
}

const sideOf = (/** @type {number[]} */ kernel) => Math.round(Math.sqrt(kernel.length));
