/** A grid of cells as SVG, with a value or letter in each, that can be updated cell by cell. */
import { s, update } from "./dom.js";

/**
 * @typedef {object} Cell
 * @property {string} [fill]
 * @property {string} [text]
 * @property {string} [className] such as "padding", "faded" or "marked"
 */

/**
 * @param {object} options
 * @param {number} options.rows
 * @param {number} options.columns
 * @param {number} [options.size] width of a cell in px
 * @param {string} options.label for screen readers
 * @param {(row: number, column: number) => void} [options.pick] called when a cell is clicked or reached by arrow keys
 * @param {(row: number | null, column: number) => void} [options.hover] null when the pointer leaves
 */
export function makeGrid({ rows, columns, size = 28, label, pick, hover }) {
  const cells = size >= 18 ? makeCells(rows, columns, size) : makeRaster(rows, columns, size);
  const marks = s("g");
  const el = s(
    "svg",
    {
      class: `grid${pick ? " pickable" : ""}`,
      viewBox: `-2 -2 ${columns * size + 4} ${rows * size + 4}`,
      width: columns * size + 4,
      height: rows * size + 4,
      role: pick ? "group" : "img",
      tabindex: pick ? 0 : null,
      "aria-label": label,
    },
    cells.elements,
    marks,
  );
  const at = (/** @type {PointerEvent | MouseEvent} */ event) => {
    const box = el.getBoundingClientRect();
    const scale = (columns * size + 4) / box.width;
    const column = Math.floor(((event.clientX - box.left) * scale - 2) / size);
    const row = Math.floor(((event.clientY - box.top) * scale - 2) / size);
    return row >= 0 && row < rows && column >= 0 && column < columns ? [row, column] : null;
  };
  let current = [0, 0];
  if (pick) {
    el.addEventListener("click", (event) => {
      const found = at(event);
      if (found) pick(found[0], found[1]);
    });
    el.addEventListener("keydown", (event) => {
      const step = /** @type {Record<string, number[]>} */ ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] })[event.key];
      if (!step) return;
      event.preventDefault();
      const clamp = (/** @type {number} */ i, /** @type {number} */ n) => Math.max(0, Math.min(n - 1, i));
      pick(clamp(current[0] + step[0], rows), clamp(current[1] + step[1], columns));
    });
  }
  if (hover) {
    el.addEventListener("pointermove", (event) => {
      const found = at(event);
      if (found) hover(found[0], found[1]);
    });
    el.addEventListener("pointerleave", () => hover(null, 0));
  }
  return {
    el,
    size,
    /** Set the cell from which arrow keys start. @param {number} row @param {number} column */
    focus(row, column) {
      current = [row, column];
    },
    /** @param {(row: number, column: number) => Cell} cellOf */
    setAll(cellOf) {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) cells.set(row * columns + column, cellOf(row, column));
      }
      cells.finish();
    },
    /**
     * Outline boxes of cells.
     * @param {{ row: number, column: number, rows?: number, columns?: number, className?: string }[]} boxes
     */
    mark(boxes) {
      marks.replaceChildren(
        ...boxes.map((box) =>
          s("rect", {
            x: box.column * size,
            y: box.row * size,
            width: (box.columns ?? 1) * size,
            height: (box.rows ?? 1) * size,
            rx: 3,
            class: `mark ${box.className ?? ""}`,
          }),
        ),
      );
    },
    label(/** @type {string} */ text) {
      update(el, { "aria-label": text });
    },
  };
}

/** Cells that are large enough for text. @param {number} rows @param {number} columns @param {number} size */
function makeCells(rows, columns, size) {
  const cells = Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return {
      rect: s("rect", { x: column * size, y: row * size, width: size, height: size, class: "cell" }),
      text: s("text", { x: (column + 0.5) * size, y: (row + 0.5) * size, class: "cell-text", "font-size": Math.min(13, size * 0.45) }),
    };
  });
  return {
    elements: [s("g", {}, cells.map(({ rect }) => rect)), s("g", { "aria-hidden": true }, cells.map(({ text }) => text))],
    set(/** @type {number} */ i, /** @type {Cell} */ { fill = "none", text = "", className = "" }) {
      const cell = cells[i];
      update(cell.rect, { fill, class: `cell ${className}` });
      update(cell.text, { class: `cell-text ${className}` });
      if (cell.text.textContent !== text) cell.text.textContent = text;
    },
    finish() {},
  };
}

/**
 * Small cells, drawn as one image with one pixel per cell: a thousand elements would be too slow.
 * @param {number} rows
 * @param {number} columns
 * @param {number} size
 */
function makeRaster(rows, columns, size) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = s("image", { width: columns * size, height: rows * size, preserveAspectRatio: "none", class: "raster" });
  const across = Array.from({ length: rows + 1 }, (_, row) => `M0 ${row * size}h${columns * size}`);
  const down = Array.from({ length: columns + 1 }, (_, column) => `M${column * size} 0v${rows * size}`);
  return {
    elements: [image, s("path", { d: [...across, ...down].join(""), class: "cell", fill: "none" })],
    set(/** @type {number} */ i, /** @type {Cell} */ { fill = "none", className = "" }) {
      const [row, column] = [Math.floor(i / columns), i % columns];
      context.clearRect(column, row, 1, 1);
      if (fill === "none") return;
      context.globalAlpha = className.includes("faded") ? 0.3 : 1;
      context.fillStyle = fill;
      context.fillRect(column, row, 1, 1);
    },
    finish() {
      image.setAttribute("href", canvas.toDataURL());
    },
  };
}

/**
 * The width of a cell so that the grids together fit in a given width.
 * @param {number} cells number of cells side by side
 * @param {number} width in px
 * @param {number} [most]
 */
export const fitCell = (cells, width, most = 36) => Math.max(6, Math.min(most, Math.floor(width / cells)));
