/** The connections of a layer with one spatial axis: inputs below, outputs above, a line for each connection. */
import { colorOf, letterOf } from "../ui/colors.js";
import { s } from "../ui/dom.js";

/**
 * One connection. `mixture` lists the weights of low rank with their coefficients.
 * @typedef {{ output: number, input: number, id: number, mixture?: [number, number][] }} Edge
 */

/**
 * @param {object} options
 * @param {number} options.inputs
 * @param {[number, number]} options.padding padded inputs before and after, drawn as dashed circles
 * @param {number} options.outputs
 * @param {Edge[]} options.edges inputs may lie in the padding
 * @param {number} options.total number of distinct weights, which chooses the colors
 * @param {number[]} options.shown outputs whose connections are drawn strongly, with letters
 * @param {string} options.label
 * @param {number} [options.width]
 * @param {string[]} [options.inputTexts]
 * @param {string[]} [options.outputTexts]
 * @param {(output: number) => void} [options.pick]
 * @param {number} [options.from] place in `shown` of the output from which the arrow keys start
 * @param {boolean} [options.isDense] without letters on lines
 */
export function drawArrows({ inputs, padding, outputs, edges, total, shown, label, width = 480, inputTexts, outputTexts, pick, from = 0, isDense }) {
  const [before, after] = padding;
  const columns = Math.max(inputs + before + after, outputs);
  const step = Math.min(56, width / columns);
  const radius = Math.max(4, Math.min(15, step * 0.36));
  const height = Math.max(90, Math.min(150, step * 3));
  const top = radius + 4;
  const bottom = top + height;
  const inputX = (/** @type {number} */ i) => (i + before + 0.5 + (columns - inputs - before - after) / 2) * step;
  const outputX = (/** @type {number} */ o) => (o + 0.5 + (columns - outputs) / 2) * step;
  const isShown = (/** @type {Edge} */ edge) => shown.includes(edge.output);
  const line = (/** @type {Edge} */ edge, /** @type {Record<string, any>} */ more) =>
    s("line", { x1: inputX(edge.input), y1: bottom - radius, x2: outputX(edge.output), y2: top + radius, class: "edge", ...more });
  const weak = edges.filter((edge) => !isShown(edge)).map((edge) => line(edge, { stroke: colorOf(edge.id, total), opacity: 0.4, "stroke-width": 1.5 }));
  const strong = edges.filter(isShown).flatMap((edge) => {
    const main = line(edge, { stroke: colorOf(edge.id, total), "stroke-width": 4 });
    const mixed = (edge.mixture ?? []).slice(1).map(([id]) => line(edge, { stroke: colorOf(id, total), "stroke-width": 4, "stroke-dasharray": "6 6" }));
    return [line(edge, { class: "edge outline" }), main, ...mixed];
  });
  const byOutput = new Map();
  for (const edge of edges.filter(isShown)) byOutput.set(edge.output, [...(byOutput.get(edge.output) ?? []), edge]);
  const letters = isDense && edges.length > 60 ? [] : edges.filter(isShown).map((edge) => {
    const row = byOutput.get(edge.output);
    const spread = row.length > 4 ? 0.64 : 0.36;
    const at = row.length > 1 ? 0.5 - spread / 2 + (spread * row.indexOf(edge)) / (row.length - 1) : 0.5;
    const x = inputX(edge.input) + (outputX(edge.output) - inputX(edge.input)) * at;
    const y = bottom - radius + (top - bottom + 2 * radius) * at;
    const text = edge.mixture ? describeMixture(edge.mixture) : letterOf(edge.id);
    const half = 4 + text.length * 3.6;
    return s(
      "g",
      {},
      s("rect", { x: x - half, y: y - 9, width: 2 * half, height: 18, rx: 5, fill: colorOf(edge.id, total), stroke: "#0008", "stroke-width": 0.5 }),
      s("text", { x, y, class: "cell-text", "font-size": 12 }, text),
    );
  });
  const node = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string | undefined} */ text, /** @type {Record<string, any>} */ more) => [
    s("circle", { cx: x, cy: y, r: radius, fill: "#fff", stroke: "#66635c", "stroke-width": 1, ...more }),
    text && radius >= 8 ? s("text", { x, y, class: "cell-text", "font-size": Math.min(12, radius) }, text) : null,
  ];
  const inputNodes = Array.from({ length: inputs + before + after }, (_, i) => i - before).map((i) =>
    node(inputX(i), bottom, inputTexts?.[i + before], i < 0 || i >= inputs ? { "stroke-dasharray": "3 2", fill: "#e9e5dc" } : {}),
  );
  const outputNodes = Array.from({ length: outputs }, (_, o) =>
    node(outputX(o), top, outputTexts?.[o], markOf(shown.indexOf(o))),
  );
  const el = s(
    "svg",
    {
      class: pick ? "pickable" : null,
      viewBox: `0 0 ${columns * step} ${bottom + radius + 4}`,
      width: columns * step,
      height: bottom + radius + 4,
      role: pick ? "group" : "img",
      tabindex: pick ? 0 : null,
      "aria-label": pick ? `${label}; the arrow keys choose another output` : label,
    },
    weak,
    strong,
    letters,
    inputNodes,
    outputNodes,
  );
  if (pick) {
    el.addEventListener("click", (event) => {
      const box = el.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * columns * step;
      const output = Math.round(x / step - 0.5 - (columns - outputs) / 2);
      if (output >= 0 && output < outputs) pick(output);
    });
    el.addEventListener("keydown", (event) => {
      const step = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1 })[event.key];
      if (!step) return;
      event.preventDefault();
      pick(Math.max(0, Math.min(outputs - 1, (shown[from] ?? 0) + step)));
    });
  }
  return el;
}

/** How the first and the second of the outputs that are compared are marked. @param {number} place */
function markOf(place) {
  if (place < 0) return {};
  return place === 0 ? { stroke: "#d93a30", "stroke-width": 3 } : { stroke: "#1f74cf", "stroke-width": 3, "stroke-dasharray": "5 3" };
}

/** A mixture such as "a + ½·d". @param {[number, number][]} mixture pairs of weight and coefficient */
export function describeMixture(mixture) {
  return mixture
    .filter(([, coefficient], i) => i === 0 || coefficient !== 0)
    .map(([id, coefficient], i) => {
      const size = Math.abs(coefficient);
      const factor = i === 0 || size === 1 ? "" : `${size}·`;
      return `${i === 0 ? "" : coefficient < 0 ? " − " : " + "}${factor}${letterOf(id)}`;
    })
    .join("");
}
