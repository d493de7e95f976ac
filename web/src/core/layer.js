/** A layer as data: checked when it comes from a link or from Python, and written as lines of PyTorch. */
import { outputSize, product } from "./geometry.js";
import { format, misfit, parse, python } from "./sharing.js";

/** @typedef {import("./geometry.js").Layer} Layer */

/** The largest number that a link may ask for. */
const LIMIT = 1e5;
/** Largest number of positions times taps of one axis, so that counting takes a moment only. */
const MOST_TAPS = 2e6;
const MODES = ["zeros", "circular", "reflect", "replicate"];

/** @type {Layer} */
export const DEFAULT = {
  transposed: false,
  inChannels: 1,
  outChannels: 1,
  kernelSize: [3, 3],
  stride: [1, 1],
  padding: [[0, 0], [0, 0]],
  dilation: [1, 1],
  outputPadding: [0, 0],
  groups: 1,
  bias: true,
  paddingMode: "zeros",
  sharing: { type: "full" },
  biasSharing: null,
  inputSize: [8, 8],
};

/**
 * A layer from plain data, in which sharings are text, or labels for a map.
 * @param {any} data
 * @returns {{ layer: Layer } | { error: string }}
 */
export function readLayer(data) {
  if (typeof data !== "object" || data === null || Array.isArray(data)) return { error: "The layer cannot be read." };
  const given = { ...DEFAULT, ...data };
  const ndim = Array.isArray(given.inputSize) ? given.inputSize.length : 0;
  if (ndim < 1 || ndim > 3) return { error: "The layer must have one to three spatial axes." };
  for (const [name, least] of /** @type {[string, number][]} */ ([["kernelSize", 1], ["stride", 1], ["dilation", 1], ["inputSize", 1]])) {
    if (!isList(given[name], ndim, least)) return { error: `${name} must have one whole number of at least ${least} per spatial axis (${ndim}).` };
  }
  if (data.outputPadding === undefined || data.outputPadding?.length === 0) given.outputPadding = Array(ndim).fill(0);
  if (!isList(given.outputPadding, ndim, 0)) return { error: `outputPadding must be ${ndim} numbers.` };
  if (!Array.isArray(given.padding) || given.padding.length !== ndim || !given.padding.every((/** @type {any} */ pair) => isList(pair, 2, 0))) {
    return { error: `padding must be ${ndim} pairs of numbers.` };
  }
  for (const name of ["inChannels", "outChannels", "groups"]) {
    if (!isList([given[name]], 1, 1)) return { error: `${name} must be a number of at least 1.` };
  }
  if (given.inChannels % given.groups || given.outChannels % given.groups) {
    return { error: `Both numbers of channels must be divisible by ${given.groups} groups.` };
  }
  if (!MODES.includes(given.paddingMode)) return { error: "The padding mode cannot be read." };
  const sharing = readSharing(given.sharing);
  const biasSharing = given.biasSharing === null ? null : readSharing(given.biasSharing);
  if (sharing === null || (given.biasSharing !== null && biasSharing === null)) return { error: "The sharing cannot be read." };
  const layer = { ...given, bias: Boolean(given.bias), transposed: Boolean(given.transposed), sharing, biasSharing };
  return { layer };
}

/** @param {any} values @param {number} length @param {number} least */
const isList = (values, length, least) =>
  Array.isArray(values) && values.length === length && values.every((n) => Number.isInteger(n) && n >= least && n <= LIMIT);

/** @param {any} value @returns {import("./sharing.js").Sharing | null} */
function readSharing(value) {
  if (typeof value === "string") return parse(value);
  if (typeof value !== "object" || value === null) return null;
  if (value.type !== "mapped") {
    try {
      return parse(format(value));
    } catch {
      return null;
    }
  }
  const isMap = Array.isArray(value.labels) && value.labels.length > 0;
  return isMap && value.labels.every((/** @type {any} */ n) => Number.isInteger(n) && n >= 0 && n < LIMIT) ? value : null;
}

/** A layer as plain data that `readLayer` reads. @param {Layer} layer */
export const writeLayer = (layer) => ({
  ...layer,
  sharing: layer.sharing.type === "mapped" ? layer.sharing : format(layer.sharing),
  biasSharing: layer.biasSharing && (layer.biasSharing.type === "mapped" ? layer.biasSharing : format(layer.biasSharing)),
});

/**
 * Why a layer has no output, in one sentence; null if it has one.
 * @param {Layer} layer
 */
export function problem(layer) {
  const found = outputSize(layer);
  if ("error" in found) return found.error;
  const positions = layer.transposed ? layer.inputSize : found.size;
  if (positions.some((n, axis) => n * layer.kernelSize[axis] > MOST_TAPS)) return "The layer is too large for this page.";
  const dense = layer.inChannels * product(layer.inputSize) * layer.outChannels * product(found.size);
  if (dense > Number.MAX_SAFE_INTEGER) return "The layer is too large for this page, because its counts would not be exact.";
  const bias = layer.bias && layer.biasSharing ? misfit(layer.biasSharing, found.size) : null;
  return misfit(layer.sharing, positions) ?? (bias && `Sharing of the bias: ${bias}`);
}

const tuple = (/** @type {number[]} */ values) => (new Set(values).size === 1 ? `${values[0]}` : `(${values.join(", ")})`);

/** The expression that builds the layer with torch alone, or with weightshare where it must. @param {Layer} layer */
export function toCode(layer) {
  const ndim = layer.inputSize.length;
  const isSymmetric = layer.padding.every(([before, after]) => before === after);
  const plain = layer.sharing.type === "full" && !layer.biasSharing;
  const name = `${plain ? "torch.nn" : "ws.nn"}.Conv${layer.transposed ? "Transpose" : ""}${ndim}d`;
  const words = [String(layer.inChannels), String(layer.outChannels), tuple(layer.kernelSize)];
  const add = (/** @type {string} */ word, /** @type {string} */ value) => words.push(`${word}=${value}`);
  if (layer.stride.some((n) => n > 1)) add("stride", tuple(layer.stride));
  if (layer.padding.some(([before, after]) => before || after)) {
    // torch has no name for other paddings that differ at the two ends of an axis
    add("padding", isSymmetric ? tuple(layer.padding.map(([before]) => before)) : '"same"');
  }
  if (layer.outputPadding.some((n) => n)) add("output_padding", tuple(layer.outputPadding));
  if (layer.dilation.some((n) => n > 1)) add("dilation", tuple(layer.dilation));
  if (layer.groups > 1) add("groups", String(layer.groups));
  if (!layer.bias) add("bias", "False");
  if (layer.paddingMode !== "zeros") add("padding_mode", `"${layer.paddingMode}"`);
  if (layer.sharing.type !== "full") add("sharing", python(layer.sharing));
  if (layer.biasSharing) add("bias_sharing", python(layer.biasSharing).replace("labels", "bias_labels"));
  if (!plain) add("input_size", tuple(layer.inputSize));
  const lines = plain ? ["import torch"] : ["import weightshare as ws"];
  if (!isSymmetric && !isSame(layer)) lines.push("# no layer pads the two ends of an axis like this: pad the input first");
  const found = outputSize(layer);
  const out = "size" in found ? found.size : [];
  if (layer.sharing.type === "mapped") lines.push(`labels = ${nest(layer.sharing.labels, layer.transposed ? layer.inputSize : out)}`);
  if (layer.biasSharing?.type === "mapped") lines.push(`bias_labels = ${nest(layer.biasSharing.labels, out)}`);
  return [...lines, "", `layer = ${name}(${words.join(", ")})`].join("\n");
}

/** Labels as nested lists of Python. @param {number[]} labels @param {number[]} size @returns {string} */
function nest(labels, size) {
  if (size.length < 2) return `[${labels.join(", ")}]`;
  const each = labels.length / size[0];
  return `[${Array.from({ length: size[0] }, (_, i) => nest(labels.slice(i * each, (i + 1) * each), size.slice(1))).join(", ")}]`;
}

/** Whether the padding is what torch calls "same". @param {Layer} layer */
const isSame = (layer) =>
  layer.padding.every(([before, after], axis) => {
    const total = layer.dilation[axis] * (layer.kernelSize[axis] - 1);
    return layer.stride[axis] === 1 && before === Math.floor(total / 2) && before + after === total;
  });

/** Number of input values. @param {Layer} layer */
export const inputCount = (layer) => layer.inChannels * product(layer.inputSize);
