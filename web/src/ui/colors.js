/**
 * Colors with fixed meanings. A weight has the same color and letter in every picture; values run from blue
 * (negative) over white to orange (positive). Text on all of them is black.
 *
 * Source of the eight colors: Okabe and Ito, "Color Universal Design", 2008; lightened, so that black letters
 * have a contrast of at least 4.5.
 */

const EIGHT = ["#f0b14a", "#7cc4ee", "#5cc9a7", "#f4ea6a", "#7fb0e8", "#f08a5d", "#e3a3c6", "#c9c9c9"];
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Fill of weight or bank `id` among `total`. @param {number} id @param {number} total */
export function colorOf(id, total) {
  if (total <= EIGHT.length) return EIGHT[id % EIGHT.length];
  const turn = (id * 0.618033988749895) % 1; // neighbors get distant hues
  const lightness = 72 + (id % 3) * 7;
  return `hsl(${Math.round(turn * 360)} 70% ${lightness}%)`;
}

/** Letter of a weight; after 52 of them the letters repeat with a number. @param {number} id */
export function letterOf(id) {
  const round = Math.floor(id / LETTERS.length);
  return LETTERS[id % LETTERS.length] + (round || "");
}

/** Name of a bank: a capital letter, so that it cannot be taken for a weight. @param {number} bank */
export function nameOfBank(bank) {
  const round = Math.floor(bank / 26);
  return LETTERS[26 + (bank % 26)] + (round || "");
}

/** Fill for a value between -limit and limit. @param {number} value @param {number} limit */
export function colorOfValue(value, limit) {
  const t = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
  const [r, g, b] = t < 0 ? [94, 164, 214] : [240, 158, 70];
  const mix = (/** @type {number} */ end) => Math.round(255 + (end - 255) * Math.abs(t));
  return `rgb(${mix(r)} ${mix(g)} ${mix(b)})`;
}

/** Gray for a brightness between 0 and limit; white is 0, so that black numbers stay readable. */
export function grayOf(/** @type {number} */ value, /** @type {number} */ limit) {
  const t = limit > 0 ? Math.max(0, Math.min(1, value / limit)) : 0;
  const level = Math.round(255 - 125 * t);
  return `rgb(${level} ${level} ${level})`;
}
