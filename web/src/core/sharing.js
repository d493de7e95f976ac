/**
 * Which positions use which bank. The same values as `weightshare.sharing`, and the same text.
 *
 * @typedef {{ type: "full" } | { type: "local" } | { type: "tiled", period: number[] }
 *   | { type: "regional", grid: number[] } | { type: "along", axes: number[] }
 *   | { type: "mapped", labels: number[] } | { type: "lowrank", rank: number, free: boolean }} Sharing
 */
import { product } from "./geometry.js";

/**
 * A sharing from its text, such as "tiled:2x3"; null if it cannot be read.
 * @param {string} text
 * @returns {Sharing | null}
 */
export function parse(text) {
  const [type, ...rest] = text.trim().split(":");
  const numbers = (/** @type {string | undefined} */ value, /** @type {RegExp} */ separator, least = 1) => {
    const values = (value ?? "").split(separator).filter(Boolean).map(Number);
    return values.length && values.every((n) => Number.isInteger(n) && n >= least && n <= 1e5) ? values : null;
  };
  if (type === "full" && !rest.length) return { type };
  if (type === "local" && !rest.length) return { type };
  if (type === "tiled") {
    const period = numbers(rest[0], /x/);
    return period && { type, period };
  }
  if (type === "regional") {
    const grid = numbers(rest[0], /x/);
    return grid && { type, grid };
  }
  if (type === "along") {
    const axes = rest[0] === "" ? [] : numbers(rest[0], /,/, -9);
    return axes && { type, axes };
  }
  if (type === "lowrank") {
    const rank = numbers(rest[0], /,/, 0);
    return rank && (rest.length === 1 || rest[1] === "free")
      ? { type, rank: rank[0], free: rest[1] === "free" }
      : null;
  }
  return null;
}

/** The text of a sharing. @param {Sharing} sharing */
export function format(sharing) {
  switch (sharing.type) {
    case "tiled":
      return `tiled:${short(sharing.period)}`;
    case "regional":
      return `regional:${short(sharing.grid)}`;
    case "along":
      return `along:${sharing.axes.join(",")}`;
    case "mapped":
      return `mapped (${1 + Math.max(...sharing.labels)} labels)`;
    case "lowrank":
      return `lowrank:${sharing.rank}${sharing.free ? ":free" : ""}`;
    default:
      return sharing.type;
  }
}

/** The Python expression that makes a sharing. @param {Sharing} sharing */
export function python(sharing) {
  const tuple = (/** @type {number[]} */ v) => (v.length === 1 ? `${v[0]}` : `(${v.join(", ")})`);
  switch (sharing.type) {
    case "full":
      return "ws.Full()";
    case "local":
      return "ws.Local()";
    case "tiled":
      return `ws.Tiled(${tuple(sharing.period)})`;
    case "regional":
      return `ws.Regional(${tuple(sharing.grid)})`;
    case "along":
      return `ws.SharedAlong(${sharing.axes.length === 1 ? sharing.axes[0] : `(${sharing.axes.join(", ")})`})`;
    case "mapped":
      return "ws.Mapped(labels)";
    case "lowrank":
      return `ws.LowRank(${sharing.rank}${sharing.free ? ', "free"' : ""})`;
  }
}

const short = (/** @type {number[]} */ values) => (new Set(values).size === 1 ? String(values[0]) : values.join("x"));

/** One entry per axis. @param {number[]} values @param {number} ndim */
const spread = (values, ndim) => (values.length === 1 ? Array(ndim).fill(values[0]) : values);

/**
 * Why a sharing does not fit a grid of positions; null if it fits.
 * @param {Sharing} sharing
 * @param {number[]} size
 * @returns {string | null}
 */
export function misfit(sharing, size) {
  const name = format(sharing);
  const axes = size.length;
  if (sharing.type === "tiled" || sharing.type === "regional") {
    const given = sharing.type === "tiled" ? sharing.period : sharing.grid;
    if (given.length > 1 && given.length !== axes) return `${name} needs ${given.length} spatial axes, but this layer has ${axes}.`;
    const wanted = spread(given, axes);
    if (wanted.some((n, axis) => n > size[axis])) {
      return `${name} needs at least ${wanted.join(" x ")} positions, but this layer has ${size.join(" x ")}.`;
    }
  }
  if (sharing.type === "along") {
    const found = sharing.axes.map((axis) => (axis < 0 ? axis + axes : axis));
    if (found.some((axis) => axis < 0 || axis >= axes) || new Set(found).size < found.length) {
      return `${name} names an axis that this layer does not have.`;
    }
  }
  if (sharing.type === "mapped" && sharing.labels.length !== product(size)) {
    return `The map has ${sharing.labels.length} labels, but this layer has ${product(size)} positions.`;
  }
  return null;
}

/**
 * The bank of each index of each axis, for a sharing that cuts each axis on its own.
 * @param {Sharing} sharing
 * @param {number[]} size
 * @returns {{ banks: number, label: (index: number) => number }[] | null}
 */
export function byAxis(sharing, size) {
  switch (sharing.type) {
    case "full":
      return size.map(() => ({ banks: 1, label: () => 0 }));
    case "local":
      return size.map((n) => ({ banks: n, label: (i) => i }));
    case "tiled":
      return spread(sharing.period, size.length).map((period) => ({ banks: period, label: (i) => i % period }));
    case "regional":
      return spread(sharing.grid, size.length).map((grid, axis) => ({
        banks: grid,
        label: (i) => Math.floor((i * grid) / size[axis]),
      }));
    case "along": {
      const shared = new Set(sharing.axes.map((axis) => (axis < 0 ? axis + size.length : axis)));
      return size.map((n, axis) => (shared.has(axis) ? { banks: 1, label: () => 0 } : { banks: n, label: (i) => i }));
    }
    default:
      return null;
  }
}

/** Number of banks. @param {Sharing} sharing @param {number[]} size */
export function countBanks(sharing, size) {
  if (sharing.type === "lowrank") return 1 + sharing.rank;
  if (sharing.type === "mapped") return 1 + Math.max(...sharing.labels);
  return product(/** @type {NonNullable<ReturnType<typeof byAxis>>} */ (byAxis(sharing, size)).map((axis) => axis.banks));
}

/**
 * The bank of each position, row-major; for low rank the shared bank, 0.
 * @param {Sharing} sharing
 * @param {number[]} size
 */
export function labels(sharing, size) {
  if (sharing.type === "mapped") return sharing.labels;
  const axes = byAxis(sharing, size);
  if (axes === null) return new Array(product(size)).fill(0);
  let found = [0];
  axes.forEach(({ banks, label }, axis) => {
    const along = Array.from({ length: size[axis] }, (_, i) => label(i));
    found = found.flatMap((bank) => along.map((own) => bank * banks + own));
  });
  return found;
}

/** Whether each position uses exactly one bank. @param {Sharing} sharing */
export const isOneHot = (sharing) => sharing.type !== "lowrank";

/** How the bias is shared. @param {import("./geometry.js").Layer} layer @returns {Sharing} */
export function biasSharing(layer, sharing = layer.sharing) {
  if (layer.biasSharing) return layer.biasSharing;
  return layer.transposed || !isOneHot(sharing) ? { type: "full" } : sharing;
}

/** Shapes of the coefficients of low rank, by axis or in one. @param {Sharing} sharing @param {number[]} size */
export function coefficientShapes(sharing, size) {
  if (sharing.type !== "lowrank") return [];
  return sharing.free ? [[sharing.rank, ...size]] : size.map((n) => [sharing.rank, n]);
}
