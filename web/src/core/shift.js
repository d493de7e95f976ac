/**
 * Does the output follow a shift of the input, whatever the weights? The same answer as
 * `weightshare.symmetry.prove_shift`, also for a layer with pooling after it.
 */
import { plan } from "./forward.js";
import { flatten, product, unflatten } from "./geometry.js";

/** @typedef {import("./geometry.js").Layer} Layer */

/**
 * A verdict. `exact` and `compared` mark positions of the output by their place after the shift.
 * @typedef {object} Verdict
 * @property {"exact" | "border" | "broken"} kind
 * @property {Uint8Array} exact
 * @property {Uint8Array} compared
 * @property {number} good number of exact positions
 * @property {number} total number of compared positions
 * @property {number[][] | null} border widths (low, high) per axis of the compared positions that are not exact
 * @property {number[]} outShift
 * @property {number[]} positions size of the output
 * @property {boolean | null} control whether the same layer with circular padding follows the circular shift
 */

/**
 * The reason why there is no verdict.
 * @typedef {{ kind: "none" | "fraction" | "outside", text: string, outShift?: number[], positions?: number[] }} NoVerdict
 */

const WINDOW = 2;

/** Inputs per output position, along each axis. @param {Layer} layer @param {string} [pooling] */
export const totalStride = (layer, pooling = "none") => layer.stride.map((n) => n * (pooling === "none" ? 1 : WINDOW));

/** Spatial size after 2 x 2 pooling with stride 2. @param {number[]} size */
export const pooledSize = (size) => size.map((n) => Math.floor(n / WINDOW));

/**
 * Pool one channel.
 * @param {ArrayLike<number>} values [...size]
 * @param {number[]} size
 * @param {string} pooling
 */
export function pool(values, size, pooling) {
  if (pooling === "none") return Float64Array.from(values);
  const small = pooledSize(size);
  return Float64Array.from({ length: product(small) }, (_, flat) => {
    const found = membersOf(flat, small, size).map((position) => values[position]);
    return pooling === "max" ? Math.max(...found) : found.reduce((sum, value) => sum + value, 0) / found.length;
  });
}

/** The positions that one pooled position sees. @param {number} flat @param {number[]} small @param {number[]} size */
function membersOf(flat, small, size) {
  const first = unflatten(flat, small).map((i) => i * WINDOW);
  const window = size.map(() => WINDOW);
  return Array.from({ length: product(window) }, (_, k) => flatten(unflatten(k, window).map((i, axis) => i + first[axis]), size));
}

/**
 * One output position, as the linear functions that it combines: one, or for max pooling one per pooled position.
 * `keys` are sorted numbers, input * ids + weight id, and `biases` are sorted bias ids.
 * @typedef {{ parts: { keys: number[], biases: number[] }[], low: number[], high: number[] }} Node
 */

/**
 * The functions of all output positions, of one channel: channels behave alike, because their ids differ by
 * constants.
 * @param {import("./forward.js").Plan} p
 * @param {string} pooling
 * @param {boolean} isMixed whether positions of low rank differ, as their coefficients do
 */
function makeNodes(p, pooling, isMixed) {
  const { layer } = p;
  const ids = (isMixed ? p.positionCount : p.banks) * p.taps;
  const part = (/** @type {number} */ position) => {
    const keys = [];
    for (let tap = 0; tap < p.taps; tap++) {
      const index = p.under[position * p.taps + tap];
      if (index >= 0) keys.push(index * ids + (isMixed ? position : p.labels[position]) * p.taps + tap);
    }
    return { keys: keys.sort(ascending), biases: layer.bias ? [p.biasLabels[position]] : [] };
  };
  const size = pooling === "none" ? p.positions : pooledSize(p.positions);
  const nodes = Array.from({ length: product(size) }, (_, flat) => {
    const parts = pooling === "none" ? [part(flat)] : membersOf(flat, size, p.positions).map(part);
    const merged = pooling === "average" ? [merge(parts)] : sortParts(parts);
    const low = p.inputs.map(() => Infinity);
    const high = p.inputs.map(() => -Infinity);
    for (const { keys } of merged) {
      for (const key of keys) {
        let index = Math.floor(key / ids);
        for (let axis = p.inputs.length - 1; axis >= 0; axis--) {
          const i = index % p.inputs[axis];
          index = (index - i) / p.inputs[axis];
          low[axis] = Math.min(low[axis], i);
          high[axis] = Math.max(high[axis], i);
        }
      }
    }
    return { parts: merged, low, high };
  });
  return { size, nodes, ids, inputs: p.inputs };
}

/** @typedef {ReturnType<typeof makeNodes>} Nodes */

/** @type {WeakMap<Layer, Map<string, { p: import("./forward.js").Plan, all: Nodes } | null>>} */
const known = new WeakMap();

/**
 * The plan and the functions of a layer, computed once per layer object, which must not change.
 * @param {Layer} layer
 * @param {string} pooling
 * @param {boolean} isMixed
 * @param {Layer["paddingMode"]} [paddingMode] instead of its own
 * @returns {{ p: import("./forward.js").Plan, all: Nodes } | null}
 */
function prepare(layer, pooling, isMixed, paddingMode = layer.paddingMode) {
  const found = known.get(layer) ?? new Map();
  known.set(layer, found);
  const key = `${pooling} ${isMixed} ${paddingMode}`;
  if (!found.has(key)) {
    const p = plan(paddingMode === layer.paddingMode ? layer : { ...layer, paddingMode });
    found.set(key, p && { p, all: makeNodes(p, pooling, isMixed) });
  }
  return found.get(key) ?? null;
}

const ascending = (/** @type {number} */ a, /** @type {number} */ b) => a - b;

/** @param {Node["parts"]} parts */
const merge = (parts) => ({ keys: parts.flatMap(({ keys }) => keys).sort(ascending), biases: parts.flatMap(({ biases }) => biases).sort(ascending) });

/** A maximum does not depend on the order, nor on repetitions. @param {Node["parts"]} parts */
function sortParts(parts) {
  if (parts.length < 2) return parts;
  const compare = (/** @type {number[]} */ a, /** @type {number[]} */ b) => {
    for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] - b[i];
    return a.length - b.length;
  };
  const order = (/** @type {Node["parts"][0]} */ a, /** @type {Node["parts"][0]} */ b) => compare(a.keys, b.keys) || compare(a.biases, b.biases);
  return parts.sort(order).filter((one, i) => i === 0 || order(one, parts[i - 1]) !== 0);
}

/**
 * Whether the functions of a position, moved along, are those of its target. An input that the shift brings in from
 * outside can have any value, so a connection to it must not exist.
 * @param {Nodes} all
 * @param {Node} node
 * @param {Node} target
 * @param {number[]} shift
 */
function isMoved({ inputs, ids }, node, target, shift) {
  let offset = 0;
  for (let axis = 0; axis < inputs.length; axis++) {
    if (node.low[axis] + shift[axis] < 0 || node.high[axis] + shift[axis] >= inputs[axis]) return false;
    offset = offset * inputs[axis] + shift[axis];
  }
  return isSame(node.parts, target.parts, offset * ids);
}

/** @param {Node["parts"]} parts @param {Node["parts"]} others @param {number} offset */
function isSame(parts, others, offset) {
  if (parts.length !== others.length) return false;
  for (let i = 0; i < parts.length; i++) {
    const [a, b] = [parts[i], others[i]];
    if (a.keys.length !== b.keys.length || a.biases.length !== b.biases.length) return false;
    for (let k = 0; k < a.keys.length; k++) if (a.keys[k] + offset !== b.keys[k]) return false;
    for (let k = 0; k < a.biases.length; k++) if (a.biases[k] !== b.biases[k]) return false;
  }
  return true;
}

/** The same for a circular shift. @param {Nodes} all @param {Node} node @param {Node} target @param {number[]} shift */
function isRolled({ inputs, ids }, node, target, shift) {
  const roll = (/** @type {number} */ key) => {
    const id = key % ids;
    const index = unflatten((key - id) / ids, inputs).map((i, axis) => wrap(i + shift[axis], inputs[axis]));
    return flatten(index, inputs) * ids + id;
  };
  const parts = node.parts.map(({ keys, biases }) => ({ keys: keys.map(roll).sort(ascending), biases }));
  return isSame(sortParts(parts), target.parts, 0);
}

/** @param {number} i @param {number} n */
const wrap = (i, n) => ((i % n) + n) % n;

/** The place of a position after a shift; -1 if it leaves the grid. @param {number} flat @param {number[]} size @param {number[]} shift */
function move(flat, size, shift) {
  const index = unflatten(flat, size).map((i, axis) => i + shift[axis]);
  return index.some((i, axis) => i < 0 || i >= size[axis]) ? -1 : flatten(index, size);
}

/**
 * The verdict for a shift of the input by whole pixels.
 * @param {Layer} layer not transposed
 * @param {number[]} shift
 */
export const judge = (layer, shift) => judgePooled(layer, "none", shift, { isMixed: false });

/**
 * The verdict for a layer with pooling after it.
 * @param {Layer} layer not transposed
 * @param {string} pooling "none", "max" or "average": 2 x 2 with stride 2
 * @param {number[]} shift of the input
 * @param {{ isCircular?: boolean, isMixed?: boolean }} [options] for a circular shift: what leaves enters at the other
 *   side; without `isMixed`, `exact` marks the positions at which the shared kernel alone of low rank is exact
 * @returns {Verdict | NoVerdict}
 */
export function judgePooled(layer, pooling, shift, { isCircular = false, isMixed = true } = {}) {
  const isLowRank = layer.sharing.type === "lowrank" && layer.sharing.rank > 0;
  const prepared = prepare(layer, pooling, isLowRank && isMixed);
  if (prepared === null) return { kind: "none", text: "The layer has no output." };
  const { p, all } = prepared;
  const { size, nodes } = all;
  if (!nodes.length) return { kind: "none", text: `Pooling needs at least ${size.map(() => WINDOW).join(" × ")} positions, and this layer has ${p.positions.join(" × ")}.` };
  const stride = totalStride(layer, pooling);
  const outShift = shift.map((s, axis) => s / stride[axis]);
  if (outShift.some((s) => !Number.isInteger(s))) {
    return { kind: "fraction", outShift, positions: size, text: `A shift by ${shift.join(" × ")} is a fraction of an output position, because the stride is ${stride.join(" × ")}.` };
  }
  if (isCircular && !isCovered(layer, pooling, size)) {
    return { kind: "none", text: "The stride does not divide the size of the input, so no circular shift of the output belongs to one of the input." };
  }
  const exact = new Uint8Array(nodes.length);
  const compared = new Uint8Array(nodes.length);
  nodes.forEach((node, position) => {
    const target = isCircular ? roll(position, size, outShift) : move(position, size, outShift);
    if (target < 0) return;
    compared[target] = 1;
    exact[target] = Number((isCircular ? isRolled : isMoved)(all, node, nodes[target], shift));
  });
  const count = (/** @type {Uint8Array} */ marks) => marks.reduce((sum, one) => sum + one, 0);
  const [good, total] = [count(exact), count(compared)];
  if (total === 0) return { kind: "outside", outShift, positions: size, text: "The shift moves the whole output off its grid." };
  const border = isCircular ? null : findBorder(exact, size, outShift);
  const padded = layer.padding.some(([before, after]) => before || after);
  const control = padded ? judgeCircular(layer, shift, pooling) : null;
  const holdsInside = !isCircular && !isLowRank && keepsWeights(layer, pooling, shift, outShift);
  const kind = good === total && !isLowRank ? "exact" : holdsInside ? "border" : "broken";
  return { kind, exact, compared, good, total, border, outShift, positions: size, control };
}

/**
 * Whether a shift keeps the weights of connections and biases that stay on the grids. Other padding than zeros connects
 * a position to inputs that are not under its window, so it is left out.
 * @param {Layer} layer
 * @param {string} pooling
 * @param {number[]} shift
 * @param {number[]} outShift
 */
function keepsWeights(layer, pooling, shift, outShift) {
  const prepared = prepare(layer, pooling, false, "zeros");
  if (prepared === null) return false;
  const { size, nodes, ids, inputs } = prepared.all;
  const keysOf = (/** @type {Node} */ node) => new Set(node.parts.flatMap(({ keys }) => keys));
  const biasesOf = (/** @type {Node} */ node) => node.parts.flatMap(({ biases }) => biases).sort(ascending).join();
  return [1, -1].every((sign) => {
    const [inBy, outBy] = [shift, outShift].map((steps) => steps.map((s) => sign * s));
    return nodes.every((node, position) => {
      const target = move(position, size, outBy);
      if (target < 0) return true;
      const found = keysOf(nodes[target]);
      const stays = [...keysOf(node)].every((key) => {
        const id = key % ids;
        const input = move((key - id) / ids, inputs, inBy);
        return input < 0 || found.has(input * ids + id);
      });
      return stays && biasesOf(node) === biasesOf(nodes[target]);
    });
  });
}

/** @param {number} flat @param {number[]} size @param {number[]} shift */
const roll = (flat, size, shift) => flatten(unflatten(flat, size).map((i, axis) => wrap(i + shift[axis], size[axis])), size);

/** Whether the output positions, times the stride, cover the input once. @param {Layer} layer @param {string} pooling @param {number[]} size */
const isCovered = (layer, pooling, size) => totalStride(layer, pooling).every((stride, axis) => size[axis] * stride === layer.inputSize[axis]);

/** Whether a circular shift of the output can belong to one of the input. @param {Layer} layer @param {string} pooling */
export function allowsCircular(layer, pooling) {
  const p = plan(layer);
  return p !== null && isCovered(layer, pooling, pooling === "none" ? p.positions : pooledSize(p.positions));
}

/**
 * Whether the layer with circular padding follows the circular shift; null if its sizes allow none.
 * @param {Layer} layer
 * @param {number[]} shift
 * @param {string} [pooling]
 */
export function judgeCircular(layer, shift, pooling = "none") {
  const prepared = prepare(layer, pooling, false, "circular");
  if (prepared === null) return null;
  const { all } = prepared;
  if (!isCovered(layer, pooling, all.size)) return null;
  const outShift = shift.map((s, axis) => s / totalStride(layer, pooling)[axis]);
  return all.nodes.every((node, position) => isRolled(all, node, all.nodes[roll(position, all.size, outShift)], shift));
}

/**
 * The smallest shift along each axis that the output follows, at least in its interior; null if there is none. Its
 * multiples are followed too.
 * @param {Layer} layer
 * @param {string} pooling
 * @param {boolean} [isCircular]
 */
export function exactShifts(layer, pooling, isCircular = false) {
  const p = plan(layer);
  if (p === null) return layer.inputSize.map(() => null);
  const size = pooling === "none" ? p.positions : pooledSize(p.positions);
  return totalStride(layer, pooling).map((stride, axis) => {
    for (let steps = 1; steps <= Math.max(1, Math.floor(size[axis] / 2)); steps++) {
      const shift = size.map((_, i) => (i === axis ? steps * stride : 0));
      const { kind } = judgePooled(layer, pooling, shift, { isCircular });
      if (kind === "exact" || kind === "border") return steps * stride;
    }
    return null;
  });
}

/**
 * The text of `str(prove_shift(layer, shift))` in Python; null where Python raises an error.
 * @param {Layer} layer
 * @param {number[]} shift
 */
export function writeProof(layer, shift) {
  const found = judge(layer, shift);
  if (found.kind !== "exact" && found.kind !== "border" && found.kind !== "broken") return null;
  const { good, total, border, outShift, positions, control } = /** @type {Verdict} */ (found);
  const tuple = (/** @type {number[]} */ values) => `(${values.join(", ")}${values.length === 1 ? "," : ""})`;
  const number = (/** @type {number} */ n) => n.toLocaleString("en-US");
  const reasons = { exact: "exact at all compared positions", border: "broken only at the border", broken: "broken by weights that differ by position" };
  let partial = `shift ${tuple(shift)}: ${number(good)} of ${number(total)} positions exact`;
  if (border === null) partial += "; no interior";
  else if (good < total) {
    const interior = positions.map((n, axis) => n - Math.abs(outShift[axis]) - border[axis][0] - border[axis][1]);
    partial += `; interior ${interior.join(" x ")}; border widths ${border.map((pair) => `(${pair.join(", ")})`).join(", ")}`;
  }
  const { sharing } = layer;
  const isLowRank = sharing.type === "lowrank" && sharing.rank > 0;
  const note = isLowRank
    ? ` (the kernel that all positions share; the corrections of LowRank(${sharing.rank}${sharing.free ? ", coefficients='free'" : ""}) differ by position)`
    : "";
  return `${reasons[found.kind]}${found.kind === "border" && control ? " (exact with circular padding)" : ""}; ${partial}${note}`;
}

/**
 * Widths (low, high) to cut from each axis of the overlap so that only exact positions remain; null if none is
 * exact. The remaining box is the largest cube of exact positions, extended along each axis as far as possible.
 * @param {Uint8Array} exact
 * @param {number[]} size
 * @param {number[]} outShift
 */
function findBorder(exact, size, outShift) {
  const start = outShift.map((s) => Math.max(0, s));
  const overlap = size.map((n, axis) => Math.max(0, n - Math.abs(outShift[axis])));
  const count = product(overlap);
  if (!count) return null;
  const good = Array.from({ length: count }, (_, flat) => exact[flatten(unflatten(flat, overlap).map((i, axis) => i + start[axis]), size)] === 1);
  if (good.every(Boolean)) return overlap.map(() => [0, 0]);
  if (!good.some(Boolean)) return null;
  // erode until nothing is left: the last position that remains is the center of the largest cube
  let [best, left, center] = [0, good, 0];
  for (; left.some(Boolean); best++) {
    center = left.indexOf(true);
    left = erode(left, overlap);
  }
  const low = unflatten(center, overlap).map((i) => i - best + 1);
  const high = unflatten(center, overlap).map((i) => i + best);
  const isFull = (/** @type {number[]} */ from, /** @type {number[]} */ to) => {
    const box = from.map((a, axis) => to[axis] - a);
    for (let i = product(box) - 1; i >= 0; i--) {
      if (!good[flatten(unflatten(i, box).map((n, axis) => n + from[axis]), overlap)]) return false;
    }
    return true;
  };
  for (let changed = true; changed; ) {
    changed = false;
    overlap.forEach((n, axis) => {
      for (const [ends, place, step] of /** @type {[number[], number, number][]} */ ([[low, low[axis] - 1, -1], [high, high[axis], 1]])) {
        if (place < 0 || place >= n) continue;
        const from = low.map((a, i) => (i === axis ? place : a));
        const to = high.map((b, i) => (i === axis ? place + 1 : b));
        if (isFull(from, to)) [ends[axis], changed] = [ends[axis] + step, true];
      }
    });
  }
  return overlap.map((n, axis) => [low[axis], n - high[axis]]);
}

/** Keep what is true together with all its neighbors; outside is false. @param {boolean[]} marks @param {number[]} size */
function erode(marks, size) {
  return size.reduce((now, n, axis) => {
    const step = product(size.slice(axis + 1));
    return now.map((mark, flat) => {
      const i = Math.floor(flat / step) % n;
      return mark && i > 0 && i < n - 1 && now[flat - step] && now[flat + step];
    });
  }, marks);
}
