/** A canvas on which the reader draws with a pointer. */
import { button, disable } from "./controls.js";
import { h } from "./dom.js";

/** @typedef {number[][]} Strokes each of them x, y, x, y ... from 0 to 1 */

const SIDE = 320; // canvas px
const LINE = 26; // canvas px

/**
 * @param {object} options
 * @param {string} options.label for screen readers
 * @param {Strokes} options.strokes what is drawn already; the pad adds to them and empties them
 * @param {() => boolean} options.isCurrent whether a new stroke continues the drawing; otherwise it starts a new one
 * @param {(pixels: Float64Array, side: number) => void} options.change called with the ink of each pixel, from 0 to 1
 * @param {() => void} options.clear called when the drawing is removed
 */
export function makeDrawPad({ label, strokes, isCurrent, change, clear }) {
  const canvas = h("canvas", { class: "draw-pad", width: SIDE, height: SIDE, role: "img", "aria-label": label });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const remove = button("Clear", () => {
    strokes.length = 0;
    paint();
    clear();
  });
  let isDrawing = false;
  let frame = 0;

  /** @param {PointerEvent} event */
  function extend(event) {
    const box = canvas.getBoundingClientRect();
    const stroke = strokes[strokes.length - 1];
    const events = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of events.length ? events : [event]) stroke.push((clientX - box.left) / box.width, (clientY - box.top) / box.height);
    frame ||= requestAnimationFrame(finish);
  }

  function finish() {
    cancelAnimationFrame(frame);
    frame = 0;
    paint();
    if (!context || !strokes.length) return;
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    change(Float64Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i + 3] / 255), SIDE);
  }

  function paint() {
    disable(remove, !strokes.length);
    if (!context) return;
    context.clearRect(0, 0, SIDE, SIDE);
    context.lineWidth = LINE;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = "#1f1f1f";
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(stroke[0] * SIDE, stroke[1] * SIDE);
      for (let i = 0; i < stroke.length; i += 2) context.lineTo(stroke[i] * SIDE, stroke[i + 1] * SIDE);
      context.stroke();
    }
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    if (!isCurrent()) strokes.length = 0;
    canvas.setPointerCapture(event.pointerId);
    isDrawing = true;
    strokes.push([]);
    extend(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (isDrawing) extend(event);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      if (isDrawing) finish();
      isDrawing = false;
    });
  }
  paint();
  return {
    el: canvas,
    remove,
    /** Empty the pad, because another image has replaced the drawing. */
    empty() {
      if (isDrawing || !strokes.length) return;
      strokes.length = 0;
      paint();
    },
    close: () => cancelAnimationFrame(frame),
  };
}
