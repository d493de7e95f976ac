/** Numbers and counts as text. */

/** A whole number with separators. @param {number} n */
export const format = (n) => n.toLocaleString("en-US", { maximumFractionDigits: 2 });

/** A value of a cell: whole numbers as they are, others with at most two decimals. @param {number} n */
export function short(n) {
  const value = Math.round(n * 100) / 100;
  const text = Number.isInteger(value) ? String(value) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2).replace(/0$/, "");
  return text.replace(/^-/, "−").replace(/^−0(\.0+)?$/, "0");
}

/** A size such as "8 × 8". @param {number[]} size */
export const formatSize = (size) => size.map(format).join(" × ");

/** "1 weight", "3 weights". @param {number} n @param {string} one @param {string} [many] */
export const plural = (n, one, many = `${one}s`) => `${format(n)} ${n === 1 ? one : many}`;
