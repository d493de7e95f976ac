/** Small inputs that are drawn by formulas, with values 0 to 9, for an input of any size. */

/** @type {[string, string][]} */
export const INPUTS = [
  ["bar", "a bar"],
  ["cross", "a cross"],
  ["corner", "a corner"],
  ["ring", "a ring"],
  ["random", "random"],
];

/**
 * The values of one channel, row by row.
 * @param {string} name
 * @param {number[]} size
 * @param {number} [channel]
 */
export function drawInput(name, size, channel = 0) {
  const [rows, columns] = size.length === 1 ? [1, size[0]] : size.slice(-2);
  const random = makeRandom(7 + channel);
  const scale = 9 - 2 * channel;
  const values = [];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const y = rows === 1 ? 0.5 : (r + 0.5) / rows;
      const x = (c + 0.5) / columns;
      values.push(name === "random" ? Math.floor(random() * 10) : at(name, x, y) ? scale : channel);
    }
  }
  const repeat = size.length === 3 ? size[0] : 1;
  return Array(repeat).fill(values).flat();
}

/** @param {string} name @param {number} x @param {number} y */
function at(name, x, y) {
  const [dx, dy] = [Math.abs(x - 0.45), Math.abs(y - 0.5)];
  if (name === "bar") return dx < 0.13 && dy < 0.36;
  if (name === "cross") return (dx < 0.1 && dy < 0.34) || (dy < 0.1 && dx < 0.34);
  if (name === "corner") return x > 0.3 && y > 0.3 && (x < 0.5 || y < 0.5) && x < 0.85 && y < 0.85;
  const radius = Math.hypot(x - 0.5, y - 0.5);
  return radius > 0.2 && radius < 0.38;
}

/** Numbers in [0, 1), the same for the same seed. @param {number} seed */
export function makeRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
