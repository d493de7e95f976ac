/** Tiles of colored cells on one canvas: an image, the maps of a layer, or the patterns of a matrix. */
import { colorOfValue } from "./colors.js";
import { h } from "./dom.js";

/** @typedef {{ tile: number, row: number, column: number, rows?: number, columns?: number }} Mark a box of cells */

const BORDERED = 16; // CSS px; smaller tiles have no border
const STEPS = 255;
const COLORS = Array.from({ length: 2 * STEPS + 1 }, (_, i) => colorOfValue(i - STEPS, STEPS));
const INKS = Array.from({ length: 256 }, (_, i) => `rgb(${i} ${i} ${i})`);
/** @type {Record<string, number[]>} */
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Color of a value between -limit and limit: `colorOfValue` in steps. @param {number} value @param {number} limit */
export const toColor = (value, limit) => COLORS[STEPS + Math.round(STEPS * Math.max(-1, Math.min(1, value / limit)))];

/** Gray of a pixel: -1, the background, is white, and 1, the ink, is dark. @param {number} value */
export const toInk = (value) => INKS[Math.round(255 - 112 * (Math.max(-1, Math.min(1, value)) + 1))];

/** Rows and columns of an arrow key, or null. @param {KeyboardEvent} event */
export const stepOf = (event) => (event.ctrlKey || event.altKey || event.metaKey ? null : (ARROWS[event.key] ?? null));

/**
 * @param {object} options
 * @param {number} options.tiles
 * @param {number} options.rows of a tile
 * @param {number} options.columns of a tile
 * @param {number} [options.across] tiles side by side
 * @param {number} options.cell width of a cell in CSS px
 * @param {number} [options.gap] between tiles, in CSS px
 * @param {string | null} options.label for screen readers; null if the picture only repeats a text beside it
 * @param {(tile: number, row: number, column: number) => void} [options.pick] called when a cell is clicked
 * @param {(tile: number | null, row: number, column: number) => void} [options.hover] null when the pointer leaves
 * @param {(rows: number, columns: number) => void} [options.move] called by the arrow keys; without it, the picture is not focusable
 */
export function makeMosaic({ tiles, rows, columns, across = tiles, cell, gap = 3, label, pick, hover, move }) {
  const down = Math.ceil(tiles / across);
  const [width, height] = [across * (columns * cell + gap) - gap, down * (rows * cell + gap) - gap];
  const canvas = h("canvas", move || label === null ? { "aria-hidden": true } : { role: "img", "aria-label": label });
  const isPicked = pick || move;
  const el = h("div", { class: `mosaic${move ? " pickable" : isPicked ? " clickable" : ""}`, role: move ? "group" : null, tabindex: move ? 0 : null, "aria-label": move ? label : null }, canvas);
  el.style.width = `${width}px`;
  const density = Math.max(1, globalThis.devicePixelRatio || 1);
  [canvas.width, canvas.height] = [Math.round(width * density), Math.round(height * density)];
  const context = canvas.getContext("2d");
  context?.scale(density, density);
  /** @type {(tile: number, row: number, column: number) => string} */
  let color = () => "#fff";

  const left = (/** @type {number} */ tile) => (tile % across) * (columns * cell + gap);
  const top = (/** @type {number} */ tile) => Math.floor(tile / across) * (rows * cell + gap);

  /** @param {MouseEvent} event */
  function at(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    const i = Math.max(0, Math.min(across - 1, Math.floor(x / (columns * cell + gap))));
    const j = Math.max(0, Math.min(down - 1, Math.floor(y / (rows * cell + gap))));
    const tile = j * across + i;
    if (tile >= tiles) return null;
    const clamp = (/** @type {number} */ n, /** @type {number} */ most) => Math.max(0, Math.min(most - 1, Math.floor(n)));
    return [tile, clamp((y - top(tile)) / cell, rows), clamp((x - left(tile)) / cell, columns)];
  }

  if (pick) {
    canvas.addEventListener("click", (event) => {
      const found = at(event);
      if (found) pick(found[0], found[1], found[2]);
    });
  }
  if (hover) {
    canvas.addEventListener("pointermove", (event) => {
      const found = event.pointerType === "touch" ? null : at(event);
      if (found) hover(found[0], found[1], found[2]);
    });
    canvas.addEventListener("pointerleave", () => hover(null, 0, 0));
  }
  if (move) {
    el.addEventListener("keydown", (event) => {
      const step = stepOf(event);
      if (!step) return;
      event.preventDefault();
      move(step[0], step[1]);
    });
  }

  /** @param {Mark} mark @param {number} line @param {string} style */
  function outline({ tile, row, column, rows: high = 1, columns: wide = 1 }, line, style) {
    if (!context) return;
    context.lineWidth = line;
    context.strokeStyle = style;
    const inset = 1.25; // so that marks at the border of the canvas are not cut off
    const [x, y] = [Math.max(inset, left(tile) + column * cell), Math.max(inset, top(tile) + row * cell)];
    const right = Math.min(width - inset, left(tile) + (column + wide) * cell);
    const bottom = Math.min(height - inset, top(tile) + (row + high) * cell);
    context.strokeRect(x, y, right - x, bottom - y);
  }

  return {
    el,
    canvas,
    /** Draw all cells. @param {(tile: number, row: number, column: number) => string} colorAt @param {Mark[]} [marks] */
    draw(colorAt, marks = []) {
      color = colorAt;
      this.mark(marks);
    },
    /** Draw the same cells again with other marks. @param {Mark[]} marks */
    mark(marks) {
      if (!context) return;
      context.clearRect(0, 0, width, height);
      let last = "";
      for (let tile = 0; tile < tiles; tile++) {
        const [x, y] = [left(tile), top(tile)];
        for (let row = 0; row < rows; row++) {
          for (let column = 0; column < columns; column++) {
            const next = color(tile, row, column);
            if (next !== last) context.fillStyle = last = next;
            context.fillRect(x + column * cell, y + row * cell, cell, cell);
          }
        }
        if (columns * cell < BORDERED) continue;
        context.lineWidth = 0.5;
        context.strokeStyle = "#8f8b83";
        context.strokeRect(x + 0.25, y + 0.25, columns * cell - 0.5, rows * cell - 0.5);
      }
      for (const mark of marks) outline(mark, 4, "#fff");
      for (const mark of marks) outline(mark, 2, "#b3261e");
    },
    /** @param {string} text */
    name(text) {
      (move ? el : canvas).setAttribute("aria-label", text);
    },
  };
}

/**
 * The cell that an arrow key reaches, across the borders of tiles.
 * @param {{ tile: number, row: number, column: number }} from
 * @param {number[]} step rows and columns
 * @param {{ tiles: number, across: number, rows: number, columns: number }} shape
 */
export function stepThrough({ tile, row, column }, [dy, dx], { tiles, across, rows, columns }) {
  const clamp = (/** @type {number} */ n, /** @type {number} */ most) => Math.max(0, Math.min(most - 1, n));
  const y = clamp(Math.floor(tile / across) * rows + row + dy, Math.ceil(tiles / across) * rows);
  const x = clamp((tile % across) * columns + column + dx, across * columns);
  const next = Math.floor(y / rows) * across + Math.floor(x / columns);
  return next < tiles ? { tile: next, row: y % rows, column: x % columns } : { tile, row, column };
}
