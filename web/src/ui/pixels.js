/** A raster of pixels on a canvas, under an SVG for the marks. */
import { h, s } from "./dom.js";

/**
 * @param {object} options
 * @param {string} options.label for screen readers
 * @param {(row: number, column: number) => void} options.pick called when a pixel is clicked
 * @param {(row: number | null, column: number) => void} options.hover null when the pointer leaves
 * @param {(rows: number, columns: number) => void} [options.move] called by the arrow keys; without it, the picture is not focusable
 */
export function makePixels({ label, pick, hover, move }) {
  const canvas = h("canvas", { role: "img", "aria-label": label });
  const marks = s("svg", { class: "pickable", role: move ? "group" : "img", tabindex: move ? 0 : null, "aria-label": label });
  if (!move) marks.setAttribute("aria-hidden", "true");
  else canvas.setAttribute("aria-hidden", "true");
  const el = h("div", { class: "pixels" }, canvas, marks);
  let [width, height, scale] = [1, 1, 1];
  const at = (/** @type {MouseEvent} */ event) => {
    const box = marks.getBoundingClientRect();
    const clamp = (/** @type {number} */ i, /** @type {number} */ n) => Math.max(0, Math.min(n - 1, Math.floor(i)));
    return [clamp(((event.clientY - box.top) / box.height) * height, height), clamp(((event.clientX - box.left) / box.width) * width, width)];
  };
  marks.addEventListener("click", (event) => pick(at(event)[0], at(event)[1]));
  marks.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") hover(at(event)[0], at(event)[1]);
  });
  marks.addEventListener("pointerleave", () => hover(null, 0));
  marks.addEventListener("keydown", (event) => {
    const step = /** @type {Record<string, number[]>} */ ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] })[event.key];
    if (!step || !move) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 : 1;
    move(step[0] * far, step[1] * far);
  });
  return {
    el,
    marks,
    /**
     * @param {number} columns @param {number} rows
     * @param {number} wanted width of a pixel in CSS px; it is rounded to whole pixels of the screen
     * @param {(i: number) => number[]} colorAt red, green and blue of a pixel
     */
    draw(columns, rows, wanted, colorAt) {
      const dense = Math.max(1, Math.floor(wanted * devicePixelRatio));
      [width, height, scale] = [columns, rows, dense / devicePixelRatio];
      const small = new ImageData(columns, rows);
      for (let i = 0; i < columns * rows; i++) {
        const color = colorAt(i);
        small.data[4 * i] = color[0];
        small.data[4 * i + 1] = color[1];
        small.data[4 * i + 2] = color[2];
        small.data[4 * i + 3] = 255;
      }
      const source = h("canvas", { width: columns, height: rows });
      source.getContext("2d")?.putImageData(small, 0, 0);
      [canvas.width, canvas.height] = [columns * dense, rows * dense];
      const context = canvas.getContext("2d");
      if (context) {
        context.imageSmoothingEnabled = false;
        context.drawImage(source, 0, 0, canvas.width, canvas.height);
      }
      el.style.width = `${columns * scale}px`;
      el.style.height = `${rows * scale}px`;
      for (const [name, value] of Object.entries({ viewBox: `0 0 ${columns * scale} ${rows * scale}`, width: columns * scale, height: rows * scale })) marks.setAttribute(name, String(value));
    },
    get scale() {
      return scale;
    },
  };
}
