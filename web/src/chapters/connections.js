/** Which connection carries which weight, for every sharing side by side. */
import { parameters, valueOf } from "../core/counts.js";
import { plan } from "../core/forward.js";
import { product } from "../core/geometry.js";
import { format as formatSharing, misfit } from "../core/sharing.js";
import { makeWeights } from "../core/weights.js";
import { describeMixture, drawArrows } from "../pictures/arrows.js";
import { colorOf, letterOf, nameOfBank } from "../ui/colors.js";
import { button, choice } from "../ui/controls.js";
import { h, redraw, replace } from "../ui/dom.js";
import { fitCell, makeGrid } from "../ui/grid.js";
import { layerControls, makeDefault, SMALL } from "../ui/layer_controls.js";
import { format, plural } from "../ui/text.js";
import { mixtureOf } from "./stencil.js";

const CONTROLS = ["axes", "inputSize", "kernelSize", "stride"];
const MORE = ["sharing", "padding", "dilation"];
const SIZES = { ...SMALL, inputSize: 12, kernelSize: 5 };

/** @typedef {import("../core/geometry.js").Layer} Layer */
/** @typedef {import("../core/sharing.js").Sharing} Sharing */

/** The sharings that are compared; the layer's own replaces the default of its kind. @param {Layer} layer @returns {Sharing[]} */
export function listSharings(layer) {
  const kinds = ["full", "tiled", "regional", ...(layer.inputSize.length > 1 ? ["along"] : []), "lowrank", "local"];
  const found = kinds.map((kind) => (kind === layer.sharing.type ? layer.sharing : makeDefault(kind)));
  return layer.sharing.type === "mapped" ? [...found.slice(0, -1), layer.sharing, found[found.length - 1]] : found;
}

const EXPLANATIONS = /** @type {Record<string, string>} */ ({
  full: "Every position uses the same kernel: a convolution.",
  tiled: "Kernels repeat with a period.",
  regional: "Each block of positions has its own kernel.",
  along: "Positions along one axis share a kernel.",
  mapped: "Positions with the same label share a kernel.",
  lowrank: "Each position mixes a shared kernel with a correction.",
  local: "Each position has its own kernel: a locally connected layer.",
  dense: "Each output sees every input with its own weight.",
});

/** @type {import("../app/shell.js").Chapter} */
export const connections = {
  id: "connections",
  name: "Connections",
  question: "Which connections carry the same weight?",
  create(app) {
    const lead = h("p", { class: "lead" });
    const problem = h("p", { class: "problem", hidden: true });
    const figure = h("figure", { class: "multiples" });
    const controls = layerControls(app, CONTROLS, MORE, SIZES);
    const moved = choice("Which position moves", {
      options: [["position", "Move the solid one"], ["second", "Move the dashed one"]],
      value: "position",
      change: (which) => app.setOptions("connections", { moves: which }),
    });
    const el = h("div", { class: "layout" }, h("div", {}, lead, moved.el, problem, figure), controls.el);
    const which = () => (app.state.options.connections?.moves === "second" ? "second" : "position");
    const move = (/** @type {number[]} */ to) => app.set({ [which()]: to });

    function draw() {
      const found = app.drawable;
      problem.hidden = !("error" in found);
      figure.hidden = "error" in found;
      if ("error" in found) {
        problem.textContent = found.error;
        lead.textContent = "";
        return;
      }
      const layer = { ...found.layer, inChannels: 1, outChannels: 1, groups: 1 };
      const isSequence = layer.inputSize.length === 1;
      const out = app.outputOf(layer);
      const positions = layer.transposed ? layer.inputSize : out;
      const [first, second] = [app.place(app.state.position, positions), app.place(app.state.second, positions)];
      replace(
        lead,
        isSequence
          ? "The same letter and color mean the same weight. The connections of two outputs are highlighted; choose another one by a click or the arrow keys. With low rank, each position also has one coefficient per correction, which counts as a weight."
          : "The large grid shows which kernel each position uses. Beside it are the weights of two positions, the solid and the dashed one. The same letter and color mean the same weight.",
        layer.transposed ? " In this transposed layer, positions are inputs, and each adds to the outputs of its window." : "",
        found.note ? ` ${found.note}` : "",
      );
      const width = Math.max(240, figure.clientWidth || 600);
      const across = width > 640 ? 3 : width > 420 ? 2 : 1;
      const each = Math.min(320, (width - 28 * (across - 1)) / across);
      const items = listSharings(layer)
        .filter((sharing) => misfit(sharing, positions) === null)
        .map((sharing) => (isSequence ? sequenceItem(layer, sharing, [first[1], second[1]], each) : imageItem(layer, sharing, [first, second], each)));
      items.push(denseItem(layer, out, isSequence ? [first[1], second[1]] : [], each));
      redraw(figure, items);
    }

    /** @param {Sharing | null} sharing @param {number} weights @param {(Node | null)[]} pictures */
    function item(sharing, weights, ...pictures) {
      const isOwn = sharing !== null && sharing.type === app.layer.sharing.type;
      const name = sharing === null ? "dense" : formatSharing(sharing);
      return h(
        "div",
        { class: "item", "data-sharing": name },
        h(
          "p",
          { class: "item-head" },
          sharing === null ? h("strong", {}, "dense") : button(name, () => app.setLayer({ sharing }), { "aria-pressed": String(isOwn), title: "Use this sharing in all chapters" }),
          " ",
          h("span", { "data-caption": true }, plural(weights, "distinct weight")),
        ),
        pictures,
        h("p", { class: "caption" }, EXPLANATIONS[sharing?.type ?? "dense"]),
      );
    }

    /** @param {Layer} base @param {Sharing} sharing @param {number[]} shown @param {number} width */
    function sequenceItem(base, sharing, shown, width) {
      const layer = { ...base, sharing, biasSharing: null };
      const p = /** @type {NonNullable<ReturnType<typeof plan>>} */ (plan(layer));
      const weights = makeWeights(layer, p.out, "random");
      const total = p.banks * p.taps;
      const [before, after] = layer.padding[0];
      const edges = [];
      for (let o = 0; o < p.positionCount; o++) {
        for (let t = 0; t < p.taps; t++) {
          const id = p.labels[o] * p.taps + t;
          edges.push({
            output: o,
            input: o * layer.stride[0] - before + t * layer.dilation[0],
            id,
            mixture: sharing.type === "lowrank" ? mixtureOf(p, weights, o, t) : undefined,
          });
        }
      }
      const picture = drawArrows({
        inputs: p.inputs[0],
        padding: [before, after],
        outputs: p.positionCount,
        edges,
        total,
        shown,
        label: `${formatSharing(sharing)}: position ${shown[0] + 1} uses ${lettersOf(p, shown[0])}, position ${shown[1] + 1} uses ${lettersOf(p, shown[1])}`,
        width,
        pick: (position) => move([0, position]),
        from: which() === "second" ? 1 : 0,
      });
      return item(sharing, weightsOf(layer, p.out), picture);
    }

    /** @param {Layer} base @param {Sharing} sharing @param {number[][]} shown @param {number} width */
    function imageItem(base, sharing, shown, width) {
      const layer = { ...base, sharing, biasSharing: null };
      const p = /** @type {NonNullable<ReturnType<typeof plan>>} */ (plan(layer));
      const weights = makeWeights(layer, p.out, "random");
      const total = p.banks * p.taps;
      const [rows, columns] = p.positions;
      const grid = makeGrid({
        rows,
        columns,
        size: fitCell(columns, width * 0.6, 26),
        label: `${formatSharing(sharing)}: the kernel of each position; the arrow keys move the first position`,
        pick: (row, column) => move([row, column]),
      });
      const isLowRank = sharing.type === "lowrank";
      grid.setAll((row, column) => {
        const bank = p.labels[row * columns + column];
        const mixed = isLowRank ? describeCoefficient(weights, row * columns + column) : nameOfBank(bank);
        return { fill: isLowRank ? blend(p, weights, row * columns + column) : colorOf(bank, p.banks), text: mixed };
      });
      grid.mark(shown.map(([row, column], i) => ({ row, column, className: i ? "second" : "" })));
      const from = shown[which() === "second" ? 1 : 0];
      grid.focus(from[0], from[1]);
      const kernels = shown.map(([row, column], i) => {
        const position = row * columns + column;
        const [kRows, kColumns] = layer.kernelSize;
        const kernel = makeGrid({ rows: kRows, columns: kColumns, size: Math.max(18, fitCell(kColumns, width * 0.28, 24)), label: `Weights of the ${i ? "second" : "first"} position` });
        kernel.setAll((r, c) => {
          const id = p.labels[position] * p.taps + r * kColumns + c;
          return { fill: colorOf(id, total), text: isLowRank ? letterOf(id) + "′″"[i] : letterOf(id) };
        });
        kernel.mark([{ row: 0, column: 0, rows: kRows, columns: kColumns, className: i ? "second" : "" }]);
        return kernel.el;
      });
      const mixture = (/** @type {number[]} */ [row, column], /** @type {number} */ i) =>
        `a${"′″"[i]} = ${describeMixture(mixtureOf(p, weights, row * columns + column, 0))}`;
      const note = isLowRank && p.banks > 1 ? h("p", { class: "caption" }, shown.map(mixture).join(", ")) : null;
      return item(sharing, weightsOf(layer, p.out), h("div", { class: "row tight" }, grid.el, h("div", { class: "pair" }, kernels)), note);
    }

    /** @param {Layer} layer @param {number[]} out @param {number[]} shown @param {number} width */
    function denseItem(layer, out, shown, width) {
      const [inputs, outputs] = [product(layer.inputSize), product(out)];
      const weights = inputs * outputs;
      if (layer.inputSize.length > 1) {
        const [rows, columns] = layer.inputSize;
        const pictures = [0, 1].map((o) => {
          const grid = makeGrid({ rows, columns, size: Math.max(3, Math.min(12, Math.floor((width * 0.45) / columns))), label: `Weights of output ${o + 1}` });
          grid.setAll((row, column) => ({ fill: colorOf(o * inputs + row * columns + column, weights) }));
          grid.mark([{ row: 0, column: 0, rows, columns, className: o ? "second" : "" }]);
          return grid.el;
        });
        return item(null, weights, h("div", { class: "row tight" }, pictures), h("p", { class: "caption" }, `Each of ${format(outputs)} outputs has ${format(inputs)} weights, one per input.`));
      }
      if (inputs > 16) return item(null, weights, h("p", { class: "caption" }, `Each of ${format(outputs)} outputs has ${format(inputs)} weights, one per input.`));
      const edges = [];
      for (let o = 0; o < outputs; o++) for (let i = 0; i < inputs; i++) edges.push({ output: o, input: i, id: o * inputs + i });
      return item(
        null,
        weights,
        drawArrows({ inputs, padding: [0, 0], outputs, edges, total: weights, shown: shown.map((o) => Math.min(o, outputs - 1)), label: "dense: every output sees every input", width, isDense: true }),
      );
    }

    return {
      el,
      update() {
        controls.update();
        moved.set(which());
        draw();
      },
    };
  },
};

/** Distinct weights, with the coefficients of low rank. @param {Layer} layer @param {number[]} out */
const weightsOf = (layer, out) =>
  parameters(layer, layer.sharing, out)
    .filter(({ label }) => label !== "biases")
    .reduce((sum, term) => sum + valueOf(term), 0);

/** @param {import("../core/forward.js").Plan} p @param {number} position */
const lettersOf = (p, position) => Array.from({ length: p.taps }, (_, t) => letterOf(p.labels[position] * p.taps + t)).join(", ");

/** @param {import("../core/forward.js").Weights} weights @param {number} position */
function describeCoefficient(weights, position) {
  const value = weights.coefficients ? weights.coefficients[position] : 0;
  return value === 0 ? "0" : `${value < 0 ? "−" : "+"}${Math.abs(value)}`;
}

/** The color of a mixture: that of the shared kernel, with more of the correction's for larger coefficients. */
function blend(/** @type {import("../core/forward.js").Plan} */ p, /** @type {import("../core/forward.js").Weights} */ weights, /** @type {number} */ position) {
  if (p.banks < 2 || !weights.coefficients) return colorOf(0, p.banks);
  const share = Math.min(1, Math.abs(weights.coefficients[position]) / 2);
  return `color-mix(in srgb, ${colorOf(1, p.banks)} ${Math.round(share * 100)}%, ${colorOf(0, p.banks)})`;
}
