/** The window slides over the input; the products and their sum are shown for one output. */
import { forward, plan, termsOf } from "../core/forward.js";
import { paddedIndex, unflatten } from "../core/geometry.js";
import { makeWeights } from "../core/weights.js";
import { drawArrows } from "../pictures/arrows.js";
import { colorOf, colorOfValue, grayOf } from "../ui/colors.js";
import { button, check, slider } from "../ui/controls.js";
import { h, redraw, replace } from "../ui/dom.js";
import { fitCell, makeGrid } from "../ui/grid.js";
import { drawInput } from "../ui/images.js";
import { layerControls } from "../ui/layer_controls.js";
import { formatSize, plural, short } from "../ui/text.js";

const MOST_TERMS = 27;
const CONTROLS = ["kernel", "sharing", "kernelSize", "stride", "padding"];
const MORE = ["input", "inputSize", "axes", "dilation", "paddingMode", "inChannels", "outChannels", "bias"];

/** @type {import("../app/shell.js").Chapter} */
export const stencil = {
  id: "stencil",
  name: "Stencil",
  question: "What does one output see?",
  create(app) {
    const lead = h("p", { class: "lead" });
    const figure = h("figure");
    const formula = h("p", { class: "formula", "aria-live": "polite" });
    const problem = h("p", { class: "problem", hidden: true });
    const controls = layerControls(app, ["channel", ...CONTROLS], MORE);
    /** @type {any} */
    let view = null;
    let key = "";
    let timer = 0;
    const play = button("Play", () => (timer ? stop() : start()));
    const scrub = slider("Position of the window", { min: 1, max: 1, value: 1, text: (n) => `${n} of ${view?.p.positionCount ?? 1}`, change: (n) => moveTo(n - 1) });
    const pin = check("Pin the window (ignore the pointer)", { value: false, change: () => {} });
    const player = h(
      "div",
      { class: "row" },
      h("div", { class: "buttons" }, play, button("Step back", () => step(-1)), button("Step", () => step(1))),
      scrub.el,
      pin.el,
    );
    const el = h("div", { class: "layout" }, h("div", {}, lead, problem, figure, player, formula), controls.el);

    function start() {
      play.textContent = "Pause";
      timer = window.setInterval(() => step(1), 450);
    }

    function stop() {
      clearInterval(timer);
      timer = 0;
      play.textContent = "Play";
    }

    /** @param {number} by */
    function step(by) {
      if (!view) return stop();
      const count = view.p.positionCount;
      moveTo((current() + by + count) % count);
    }

    /** @param {number} flat */
    function moveTo(flat) {
      const [row, column] = view.p.positions.length === 1 ? [0, flat] : unflatten(flat, view.p.positions);
      app.set({ position: [row, column] });
    }

    function current() {
      const { positions } = view.p;
      const [row, column] = app.place(app.state.position, positions);
      return positions.length === 1 ? column : row * positions[1] + column;
    }

    /** Compute and draw everything that does not depend on the position. */
    function build() {
      const found = app.drawable;
      problem.hidden = !("error" in found);
      figure.hidden = player.hidden = formula.hidden = "error" in found;
      view = null;
      if ("error" in found) {
        problem.textContent = found.error;
        lead.textContent = "";
        return stop();
      }
      const { layer, note } = found;
      if (layer.transposed) {
        figure.hidden = player.hidden = formula.hidden = true;
        problem.hidden = false;
        problem.textContent = "A transposed layer runs the same connections backward: each input adds to the outputs of its window. The chapters Connections and Counts show it.";
        return stop();
      }
      const p = /** @type {NonNullable<ReturnType<typeof plan>>} */ (plan(layer));
      const weights = makeWeights(layer, p.out, app.state.kernel);
      const input = Float64Array.from(Array.from({ length: layer.inChannels }, (_, c) => drawInput(app.state.input, layer.inputSize, c)).flat());
      const output = forward(p, weights, input);
      const channel = Math.min(app.state.channel, layer.outChannels - 1);
      view = { layer, note, p, weights, input, output, channel, total: p.banks * p.near * p.far * p.taps };
      const limit = Math.max(1, ...output.map(Math.abs));
      const [rows, columns] = layer.inputSize.length === 1 ? [1, layer.inputSize[0]] : layer.inputSize;
      const pads = layer.inputSize.length === 1 ? [[0, 0], layer.padding[0]] : layer.padding;
      const [kRows, kColumns] = layer.kernelSize.length === 1 ? [1, layer.kernelSize[0]] : layer.kernelSize;
      const [oRows, oColumns] = p.out.length === 1 ? [1, p.out[0]] : p.out;
      const tall = [rows + pads[0][0] + pads[0][1], columns + pads[1][0] + pads[1][1]];
      const width = Math.max(240, figure.clientWidth || 600);
      const isWide = width >= 560 && layer.inputSize.length === 2;
      const size = isWide ? fitCell(tall[1] + kColumns + oColumns + 3, width, 30) : fitCell(Math.max(tall[1], oColumns), width - 4, 30);
      const channels = Array.from({ length: p.far }, (_, local) => Math.floor(channel / (p.near / layer.groups)) * p.far + local);
      view.inputs = channels.map((c) => {
        const grid = makeGrid({
          rows: tall[0],
          columns: tall[1],
          size,
          label: `Input channel ${c + 1}, ${formatSize(layer.inputSize)}`,
          hover: (row, column) => hover(row === null ? null : tapAt(row - pads[0][0], column - pads[1][0], channels.indexOf(c))),
        });
        grid.setAll((row, column) => {
          const index = [row - pads[0][0], column - pads[1][0]];
          const inside = [paddedIndex(index[0], rows, layer.paddingMode), paddedIndex(index[1], columns, layer.paddingMode)];
          const isPadding = index[0] < 0 || index[1] < 0 || index[0] >= rows || index[1] >= columns;
          const value = inside.some((i) => i < 0) ? 0 : input[(c * rows + inside[0]) * columns + inside[1]];
          return { fill: grayOf(value, 9), text: short(value), className: isPadding ? "padding" : "" };
        });
        return grid;
      });
      view.kernels = channels.map((_, local) =>
        makeGrid({
          rows: kRows,
          columns: kColumns,
          size: Math.max(size, 22),
          label: "Kernel",
          hover: (row, column) => hover(row === null ? null : { local, tap: row * kColumns + column }),
        }),
      );
      view.outputGrid = makeGrid({
        rows: oRows,
        columns: oColumns,
        size,
        label: "Output; the arrow keys move the window",
        pick: (row, column) => app.set({ position: [row, column] }),
        hover: (row, column) => {
          if (row !== null && !pin.input.checked && !timer) app.set({ position: [row, column] });
        },
      });
      view.outputGrid.setAll((/** @type {number} */ row, /** @type {number} */ column) => {
        const value = output[(channel * oRows + row) * oColumns + column];
        return { fill: colorOfValue(value, limit), text: short(value) };
      });
      view.pads = pads;
      view.kernelCaption = h("p", { class: "caption", "data-caption": true });
      view.arrows = h("div");
      replace(
        figure,
        layer.inputSize.length === 1 ? view.arrows : null,
        h(
          "div",
          { class: "row" },
          panel(layer.inChannels > 1 ? `Input, ${plural(channels.length, "channel")} of ${layer.inChannels}` : "Input", ...view.inputs.map((/** @type {any} */ grid) => grid.el)),
          h("div", { class: "panel" }, view.kernelCaption, view.kernels.map((/** @type {any} */ grid) => grid.el)),
          panel(layer.outChannels > 1 ? `Output, channel ${channel + 1} of ${layer.outChannels}` : "Output", view.outputGrid.el),
        ),
      );
      scrub.set(current() + 1, { max: p.positionCount });
    }

    /** The term of an input cell of the window, or null. */
    function tapAt(/** @type {number} */ row, /** @type {number} */ column, /** @type {number} */ local) {
      const { layer } = view;
      const [r, c] = origin();
      const dilation = layer.dilation.length === 1 ? [1, layer.dilation[0]] : layer.dilation;
      const kernel = layer.kernelSize.length === 1 ? [1, layer.kernelSize[0]] : layer.kernelSize;
      const [dr, dc] = [(row - r) / dilation[0], (column - c) / dilation[1]];
      const isTap = Number.isInteger(dr) && Number.isInteger(dc) && dr >= 0 && dc >= 0 && dr < kernel[0] && dc < kernel[1];
      return isTap ? { local, tap: dr * kernel[1] + dc } : null;
    }

    /** Row and column of the first tap, in input coordinates. */
    function origin() {
      const { layer, p, pads } = view;
      const [row, column] = app.place(app.state.position, p.positions);
      const stride = layer.stride.length === 1 ? [1, layer.stride[0]] : layer.stride;
      return [row * stride[0] - pads[0][0], column * stride[1] - pads[1][0]];
    }

    /** Draw what depends on the position. */
    function draw() {
      const { layer, p, weights, input, output, channel, total, pads } = view;
      const flat = current();
      const bank = p.labels[flat];
      const [row, column] = app.place(app.state.position, p.positions);
      const dilation = layer.dilation.length === 1 ? [1, layer.dilation[0]] : layer.dilation;
      const kernel = layer.kernelSize.length === 1 ? [1, layer.kernelSize[0]] : layer.kernelSize;
      const [r0, c0] = origin();
      const terms = termsOf(p, weights, input, flat, channel);
      const boxes = [];
      if (Math.max(...dilation) === 1) boxes.push({ row: r0 + pads[0][0], column: c0 + pads[1][0], rows: kernel[0], columns: kernel[1] });
      else for (let t = 0; t < p.taps; t++) boxes.push({ row: r0 + pads[0][0] + Math.floor(t / kernel[1]) * dilation[0], column: c0 + pads[1][0] + (t % kernel[1]) * dilation[1] });
      for (const grid of view.inputs) grid.mark(boxes);
      view.boxes = boxes;
      view.kernels.forEach((/** @type {any} */ grid, /** @type {number} */ local) => {
        grid.setAll((/** @type {number} */ i, /** @type {number} */ j) => {
          const tap = i * kernel[1] + j;
          return { fill: colorOf(idOf(bank, channel, local, tap), total), text: short(terms[local * p.taps + tap].weight) };
        });
        grid.mark([]);
      });
      view.outputGrid.mark([{ row, column }]);
      view.outputGrid.focus(row, column);
      view.terms = terms;
      view.kernelCaption.textContent =
        layer.sharing.type === "full" ? "Kernel, the same everywhere" : layer.sharing.type === "lowrank" ? "Kernel, a mixture at this position" : `Kernel ${bank + 1} of ${p.banks}`;
      const bias = weights.bias ? weights.bias[p.biasLabels[flat] * layer.outChannels + channel] : 0;
      const shown = terms.length > MOST_TERMS ? terms.slice(0, MOST_TERMS - 3) : terms;
      view.chips = shown.map((/** @type {any} */ term, /** @type {number} */ i) => {
        const [local, tap] = [Math.floor(i / p.taps), i % p.taps];
        return h(
          "span",
          { class: "term", onpointerenter: () => hover({ local, tap }), onpointerleave: () => hover(null) },
          `${short(term.value)} × ${short(term.weight)}`,
        );
      });
      view.chips.forEach((/** @type {HTMLElement} */ chip, /** @type {number} */ i) => {
        chip.style.background = colorOf(idOf(bank, channel, Math.floor(i / p.taps), i % p.taps), total);
      });
      const value = output[channel * p.positionCount + flat];
      replace(
        formula,
        view.chips.flatMap((/** @type {HTMLElement} */ chip, /** @type {number} */ i) => (i ? [" + ", chip] : [chip])),
        terms.length > shown.length ? ` + … ${terms.length - shown.length} more products` : null,
        layer.bias ? ` + ${short(bias)} (bias)` : null,
        " = ",
        h("strong", {}, short(value)),
      );
      scrub.set(flat + 1);
      replace(
        lead,
        `The output at ${p.positions.length === 1 ? `position ${column + 1}` : `row ${row + 1}, column ${column + 1}`} is the sum of `,
        h("strong", {}, plural(terms.length, "product")),
        layer.bias ? " and a bias. " : ". ",
        describeKernels(layer, p),
        view.note ? ` ${view.note}` : "",
      );
      if (layer.inputSize.length === 1) drawSequence(flat);
    }

    /** @param {number} bank @param {number} channel @param {number} local @param {number} tap */
    const idOf = (bank, channel, local, tap) => ((bank * view.p.near + channel) * view.p.far + local) * view.p.taps + tap;

    /** @param {number} flat */
    function drawSequence(flat) {
      const { layer, p, weights, input, output, channel, total } = view;
      const [before, after] = layer.padding[0];
      const edges = [];
      for (let o = 0; o < p.positionCount; o++) {
        for (let t = 0; t < p.taps; t++) {
          const id = idOf(p.labels[o], channel, 0, t);
          const mixture = layer.sharing.type === "lowrank" ? mixtureOf(p, weights, o, id) : undefined;
          edges.push({ output: o, input: o * layer.stride[0] - before + t * layer.dilation[0], id, mixture });
        }
      }
      const n = layer.inputSize[0];
      const texts = Array.from({ length: n + before + after }, (_, i) => {
        const index = paddedIndex(i - before, n, layer.paddingMode);
        return short(index < 0 ? 0 : input[index]);
      });
      redraw(
        view.arrows,
        drawArrows({
          inputs: n,
          padding: [before, after],
          outputs: p.positionCount,
          edges,
          total,
          shown: [flat],
          label: `Connections of output ${flat + 1}`,
          width: Math.max(240, figure.clientWidth || 600),
          inputTexts: texts,
          outputTexts: Array.from({ length: p.positionCount }, (_, o) => short(output[channel * p.positionCount + o])),
          pick: (o) => app.set({ position: [0, o] }),
        }),
      );
    }

    /** Highlight one product in the input, the kernel and the formula. @param {{ local: number, tap: number } | null} at */
    function hover(at) {
      if (!view?.chips) return;
      const kernel = view.layer.kernelSize.length === 1 ? [1, view.layer.kernelSize[0]] : view.layer.kernelSize;
      const dilation = view.layer.dilation.length === 1 ? [1, view.layer.dilation[0]] : view.layer.dilation;
      const [i, j] = at ? [Math.floor(at.tap / kernel[1]), at.tap % kernel[1]] : [0, 0];
      const [r0, c0] = origin();
      view.inputs.forEach((/** @type {any} */ grid, /** @type {number} */ local) => {
        const hot = at && at.local === local ? [{ row: r0 + view.pads[0][0] + i * dilation[0], column: c0 + view.pads[1][0] + j * dilation[1], className: "hot" }] : [];
        grid.mark([...view.boxes, ...hot]);
      });
      view.kernels.forEach((/** @type {any} */ grid, /** @type {number} */ local) => {
        grid.mark(at && at.local === local ? [{ row: i, column: j, className: "hot" }] : []);
      });
      view.chips.forEach((/** @type {HTMLElement} */ chip, /** @type {number} */ n) => {
        chip.classList.toggle("hot", at !== null && n === at.local * view.p.taps + at.tap);
      });
    }

    return {
      el,
      update() {
        const next = JSON.stringify([app.state.layer, app.state.kernel, app.state.input, app.state.channel]);
        if (next !== key) {
          key = next;
          controls.update();
          build();
        }
        if (view) draw();
      },
      close: stop,
    };
  },
};

/** @param {string} caption @param {...Element} pictures */
const panel = (caption, ...pictures) => h("div", { class: "panel" }, h("p", { class: "caption", "data-caption": true }, caption), pictures);

/** @param {import("../core/geometry.js").Layer} layer @param {import("../core/forward.js").Plan} p */
function describeKernels(layer, p) {
  if (layer.sharing.type === "full") return `All ${p.positionCount} positions use the same kernel.`;
  if (layer.sharing.type === "lowrank") return `Each position mixes one shared kernel with ${plural(layer.sharing.rank, "correction")}.`;
  if (p.banks === p.positionCount) return `Each of the ${p.positionCount} positions has its own kernel.`;
  return `The ${p.positionCount} positions share ${plural(p.banks, "kernel")}.`;
}

/**
 * The weights that a position mixes, with their coefficients.
 * @param {import("../core/forward.js").Plan} p
 * @param {import("../core/forward.js").Weights} weights
 * @param {number} position
 * @param {number} id of the shared weight
 * @returns {[number, number][]}
 */
export function mixtureOf(p, weights, position, id) {
  const size = p.near * p.far * p.taps;
  return Array.from({ length: p.banks }, (_, k) => [
    id + k * size,
    k === 0 ? 1 : /** @type {Float64Array} */ (weights.coefficients)[(k - 1) * p.positionCount + position],
  ]);
}
