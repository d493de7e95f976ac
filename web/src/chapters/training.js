/** The gradient of one weight as a sum over its positions, and gradient descent with and without sharing. */
import { gradientTerms, plan } from "../core/forward.js";
import { extents, paddedIndex, unflatten } from "../core/geometry.js";
import { DEFAULT, problem as problemOf } from "../core/layer.js";
import { copyWeights, planCopies, spreadOf, tieCopies, train } from "../core/training.js";
import { makeRandom, drawInput } from "../ui/images.js";
import { namedKernel } from "../core/weights.js";
import { colorOf, colorOfValue, grayOf, letterOf } from "../ui/colors.js";
import { button, choice, menu, slider } from "../ui/controls.js";
import { h, replace, s } from "../ui/dom.js";
import { fitCell, makeGrid } from "../ui/grid.js";
import { INPUTS } from "../ui/images.js";
import { plural, short } from "../ui/text.js";

/** @typedef {import("../core/geometry.js").Layer} Layer */
/** @typedef {import("../core/forward.js").Plan} Plan */

/** A sequence of seven inputs and a kernel of three weights. @type {Layer} */
const SEQUENCE = { ...DEFAULT, inputSize: [7], kernelSize: [3], stride: [1], padding: [[0, 0]], dilation: [1], outputPadding: [0], bias: false };
const MOST = { positions: 36, taps: 9, banks: 6, steps: 500 };
/** @type {[string, string][]} */
const TARGETS = [
  ["vertical", "output of the kernel −1, 0, 1"],
  ["blur", "output of the kernel 1, 1, 1"],
  ["sharpen", "output of a sharpening kernel"],
  ["random", "random numbers"],
];
/** @type {[string, string][]} */
const LOSSES = [["mean", "mean of squared differences"], ["sum", "sum of squared differences"]];
/** @type {[string, string][]} */
const RULES = [["own", "its own term"], ["sum", "the sum of all terms"], ["mean", "the mean of all terms"]];
const START = { layer: "sequence", tap: 1, bank: 0, target: "vertical", loss: "mean", rate: 0.05, rule: "own", steps: 0 };

/** @type {import("../app/shell.js").Chapter} */
export const training = {
  id: "training",
  name: "Training",
  question: "How can shared weights be trained and stay equal?",
  create(app) {
    const set = (/** @type {Partial<typeof START>} */ patch) => app.setOptions("training", patch);
    const lead = h("p", { class: "lead", "aria-live": "polite" });
    const problem = h("p", { class: "problem", hidden: true });
    const figure = h("figure");
    const picture = h("div", { class: "row" });
    const table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Terms of the gradient" });
    const sum = h("p", { class: "formula" });
    const compare = h("div", { class: "row" });
    const rule = choice("What each copy receives", { options: RULES, value: "own", change: (value) => set({ rule: value }) });
    const player = h(
      "div",
      { class: "buttons" },
      button("One step", () => set({ steps: Math.min(MOST.steps, options().steps + 1) })),
      button("Ten steps", () => set({ steps: Math.min(MOST.steps, options().steps + 10) })),
      button("Start again", () => set({ steps: 0 })),
    );
    const rate = slider("Learning rate", { min: 0.01, max: 0.3, step: 0.01, value: 0.05, text: (n) => n.toFixed(2), change: (n) => set({ rate: n }) });
    const after = h("p", { class: "lead", "aria-live": "polite" });
    replace(
      figure,
      picture,
      table,
      sum,
      h("h2", {}, "Train it, with and without sharing"),
      h("div", { class: "row trainers" }, h("div", {}, h("p", { class: "caption" }, "Train both"), player), rate.el, h("div", {}, h("p", { class: "caption" }, "Without sharing, each copy receives"), rule.el)),
      after,
      compare,
    );
    const why = h(
      "details",
      {},
      h("summary", {}, "Why the sum, and not the mean?"),
      h("p", {}, "The loss depends on a shared weight once per position. The chain rule adds these dependencies: the gradient is the sum over the positions. A mean in the loss is already part of the gradient of each output."),
      h("p", {}, "Shared weights cannot become different, because only one number is stored. Copies that start equal and all receive the same sum stay equal too. With the mean they also stay equal, but each step is shorter: it is divided by the number of positions."),
      h("p", {}, "Copies that receive only their own terms drift apart. They can fit this one example as well or better, but they are different kernels, and none of them has seen what the others have seen."),
    );
    const layerMenu = menu("Layer", { options: [["sequence", "7 inputs, 3 weights"], ["page", "the layer of the other chapters"]], value: "sequence", change: (layer) => set({ layer, tap: layer === "sequence" ? 1 : 0, bank: 0, steps: 0 }) });
    const inputMenu = menu("Input", { options: INPUTS, value: app.state.input, change: (input) => app.set({ input }) });
    const targetMenu = menu("Target", { options: TARGETS, value: "vertical", change: (target) => set({ target }) });
    const lossMenu = menu("Loss", { options: LOSSES, value: "mean", change: (loss) => set({ loss }) });
    const controls = h("div", { class: "controls" }, [targetMenu, lossMenu, inputMenu, layerMenu].map((control) => control.el));
    const el = h("div", { class: "layout" }, h("div", {}, lead, problem, figure, why), controls);

    function options() {
      return readOptions(app.state.options.training);
    }

    function draw() {
      const o = options();
      layerMenu.set(o.layer);
      inputMenu.set(app.state.input);
      targetMenu.set(o.target);
      lossMenu.set(o.loss);
      rate.set(o.rate);
      rule.set(o.rule);
      const found = makeTask(o, app.layer, app.state.input);
      problem.hidden = !("error" in found);
      figure.hidden = why.hidden = lead.hidden = "error" in found;
      if ("error" in found) {
        problem.textContent = found.error;
        return;
      }
      const { p, note, input, target, start } = found;
      const tap = Math.min(o.tap, p.taps - 1);
      const bank = Math.min(o.bank, p.banks - 1);
      const how = { kind: o.loss, rate: o.rate, steps: o.steps };
      const shared = train(p, start, input, target, how);
      const copies = planCopies(p);
      const unshared = train(copies, copyWeights(p, start), input, target, { ...how, tie: (gradients) => tieCopies(p, gradients, o.rule) });
      const terms = gradientTerms(p, input, shared.direction, bank, 0, 0, tap);
      const gradient = terms.reduce((total, term) => total + term.value * term.grad, 0);
      const isRounded = terms.some(({ value, grad }) => Math.abs(value * grad * 100 - Math.round(value * grad * 100)) > 1e-6);
      const id = bank * p.taps + tap;
      const total = p.banks * p.taps;
      const letter = letterOf(id);
      const weight = shared.weights.banks[id];
      replace(
        lead,
        "Weight ",
        chip(id, total, letter),
        terms.length === 1 ? " is used at one position. Its gradient is the one term " : ` is used at ${plural(terms.length, "position")}. Its gradient is the sum of one term per position: `,
        h("strong", {}, number(gradient)),
        ". Choose another weight in the kernel.",
        note ? ` ${note}` : "",
      );
      drawGradient(found, shared, bank, tap);
      replace(
        table,
        h(
          "table",
          { class: "terms" },
          isRounded && h("caption", {}, "Numbers are rounded to two decimals."),
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "position"), terms.map(({ position }) => h("th", { scope: "col", class: "number" }, nameOf(p, position))), h("th", { scope: "col", class: "number" }, "sum"))),
          h(
            "tbody",
            {},
            h("tr", {}, h("th", { scope: "row" }, `input under ${letter}`), terms.map(({ value }) => h("td", { class: "number" }, short(value))), h("td")),
            h("tr", {}, h("th", { scope: "row" }, "× output gradient"), terms.map(({ grad }) => h("td", { class: "number" }, number(grad))), h("td")),
            h("tr", {}, h("th", { scope: "row" }, "= term"), terms.map(({ value, grad }) => h("td", { class: "number" }, chip(id, total, number(value * grad)))), h("td", { class: "number" }, h("strong", {}, number(gradient)))),
          ),
        ),
      );
      replace(
        sum,
        "One step: ",
        chip(id, total, letter),
        ` becomes ${number(weight)} − ${short(o.rate)} × ${gradient < 0 ? `(${number(gradient)})` : number(gradient)} = `,
        h("strong", {}, number(weight - o.rate * gradient)),
        terms.length > 1 ? ". " : ".",
        terms.length > 1 ? describeRule(o.rule, terms.length, gradient) : "",
      );
      const spread = spreadOf(p, unshared.weights);
      const isGrowing = !(shared.loss <= shared.losses[0]) || !(unshared.loss <= unshared.losses[0]);
      replace(
        after,
        o.steps === 0
          ? `Both start with the same kernel and the loss ${number(shared.losses[0])}. `
          : [`After ${plural(o.steps, "step")} the loss fell from ${number(shared.losses[0])} to `, h("strong", {}, number(shared.loss)), " with sharing and to ", h("strong", {}, number(unshared.loss)), " without. "],
        o.steps === 0 ? "Take a step." : spread === 0 ? "The copies are still equal." : ["The copies differ by up to ", h("strong", {}, number(spread)), "."],
        isGrowing ? " The loss grows: the learning rate is too large." : "",
      );
      if (isGrowing && o.steps) after.firstChild?.replaceWith(`After ${plural(o.steps, "step")} the loss went from ${number(shared.losses[0])} to `);
      drawCompare(p, shared.weights, unshared.weights, bank, spread);
    }

    /** @param {any} task @param {any} shared @param {number} bank @param {number} tap */
    function drawGradient({ p, input }, shared, bank, tap) {
      const { layer } = p;
      const width = Math.max(240, figure.clientWidth || 600);
      const total = p.banks * p.taps;
      const [kRows, kColumns] = toPlane(layer.kernelSize);
      const limit = Math.max(1e-9, ...shared.direction.map(Math.abs));
      const active = document.activeElement;
      const focused = active instanceof SVGElement && active.dataset.bank && picture.contains(active) ? bank : null;
      const kernels = Array.from({ length: Math.min(p.banks, MOST.banks) }, (_, b) => {
        const grid = makeGrid({
          rows: kRows,
          columns: kColumns,
          size: 46,
          label: `${p.banks > 1 ? `Kernel ${letterOf(b)} of ${p.banks}` : "Kernel"}, weight ${letterOf(bank * p.taps + tap)} is chosen; the arrow keys choose another`,
          pick: (row, column) => set({ bank: b, tap: row * kColumns + column }),
        });
        grid.setAll((row, column) => {
          const id = b * p.taps + row * kColumns + column;
          return { fill: colorOf(id, total), text: number(shared.weights.banks[id]) };
        });
        if (b === bank) {
          grid.mark([{ row: Math.floor(tap / kColumns), column: tap % kColumns }]);
          grid.focus(Math.floor(tap / kColumns), tap % kColumns);
        }
        grid.el.dataset.bank = String(b);
        return grid.el;
      });
      const kernelPanel = panel(p.banks > 1 ? `${p.banks} kernels${p.banks > MOST.banks ? `, ${MOST.banks} of them` : ""}: choose a weight` : "Kernel: choose a weight", h("div", { class: "row tight" }, kernels));
      if (layer.inputSize.length === 1) {
        replace(picture, kernelPanel, panel("Gradient of the loss with respect to each output (above), input (below)", drawSequence(p, input, shared.direction, bank, tap, limit, Math.min(width, 460))));
      } else {
        const [rows, columns] = layer.inputSize;
        const inputGrid = makeGrid({ rows, columns, size: fitCell(columns, width / 2 - 20, 30), label: "Input; the marked cells are those under the weight" });
        inputGrid.setAll((row, column) => ({ fill: grayOf(input[row * columns + column], 3), text: short(input[row * columns + column]) }));
        const under = new Set();
        for (let q = 0; q < p.positionCount; q++) if (p.labels[q] === bank) under.add(p.under[q * p.taps + tap]);
        inputGrid.mark([...under].filter((i) => i >= 0).map((i) => ({ row: Math.floor(i / columns), column: i % columns })));
        const grads = makeGrid({ rows: p.out[0], columns: p.out[1], size: Math.max(fitCell(p.out[1], width / 2 - 20, 36), inputGrid.size), label: "Gradient of the loss in the output" });
        grads.setAll((row, column) => {
          const value = shared.direction[row * p.out[1] + column];
          const isUsed = p.labels[row * p.out[1] + column] === bank;
          return { fill: colorOfValue(value, limit), text: isUsed ? short(value) : "", className: isUsed ? "" : "faded" };
        });
        replace(picture, kernelPanel, panel("Input, under the weight", inputGrid.el), panel("× output gradient", grads.el));
      }
      if (focused !== null) /** @type {SVGElement | null} */ (picture.querySelector(`[data-bank="${bank}"]`))?.focus();
    }

    /** @param {Plan} p @param {import("../core/forward.js").Weights} shared @param {import("../core/forward.js").Weights} copies @param {number} bank @param {number} spread */
    function drawCompare(p, shared, copies, bank, spread) {
      const total = p.banks * p.taps;
      const positions = Array.from({ length: p.positionCount }, (_, q) => q).filter((q) => p.labels[q] === bank);
      const isSequence = p.layer.inputSize.length === 1;
      const [kRows, kColumns] = toPlane(p.layer.kernelSize);
      const ofBank = p.banks > 1 ? ` for kernel ${letterOf(bank)}` : "";
      const own = makeGrid({ rows: kRows, columns: kColumns, size: 46, label: "The shared kernel" });
      own.setAll((row, column) => ({ fill: colorOf(bank * p.taps + row * kColumns + column, total), text: number(shared.banks[bank * p.taps + row * kColumns + column]) }));
      let wall = null;
      if (isSequence) {
        const shown = positions.slice(0, 8);
        const grid = makeGrid({ rows: shown.length, columns: p.taps, size: 46, label: "One kernel per position, one per row" });
        grid.setAll((i, tap) => ({ fill: colorOf(bank * p.taps + tap, total), text: number(copies.banks[shown[i] * p.taps + tap]) }));
        wall = grid.el;
      } else wall = drawWall(p, copies, positions);
      replace(
        compare,
        panel(`Shared${ofBank}: 1 kernel`, own.el),
        panel(`Not shared${ofBank}: ${plural(positions.length, "kernel")}`, wall),
        panel("Values: ◆ shared, ● one per position", drawSpread(p, shared, copies, bank, positions, spread)),
      );
    }

    return { el, update: draw };
  },
};

/** @param {string} caption @param {...Element} pictures */
const panel = (caption, ...pictures) => h("div", { class: "panel" }, h("p", { class: "caption", "data-caption": true }, caption), pictures);

/** @param {number[]} size */
const toPlane = (size) => (size.length === 1 ? [1, size[0]] : size);

/** A number of training, which can become huge when the learning rate is too large. @param {number} n */
const number = (n) => (!Number.isFinite(n) ? "∞" : Math.abs(n) >= 1e5 ? n.toExponential(1).replace("e+", "e").replace("-", "−") : short(n));

/** A text on the color of a weight. @param {number} id @param {number} total @param {string} text */
function chip(id, total, text) {
  const el = h("span", { class: "term" }, text);
  el.style.background = colorOf(id, total);
  return el;
}

/** What the copies receive instead. @param {string} rule @param {number} count @param {number} gradient */
function describeRule(rule, count, gradient) {
  if (rule === "sum") return `Without sharing, each of the ${count} copies receives a sum too.`;
  if (rule === "mean") return `Without sharing, each of the ${count} copies receives a mean: with the same terms ${number(gradient / count)}.`;
  return `Without sharing, each of the ${count} copies receives only its own term.`;
}

/** @param {Plan} p @param {number} position */
const nameOf = (p, position) => unflatten(position, p.positions).map((i) => i + 1).join(", ");

/** @param {any} given @returns {typeof START} */
function readOptions(given) {
  const o = { ...START, ...(typeof given === "object" ? given : {}) };
  const among = (/** @type {[string, string][]} */ pairs, /** @type {string} */ value, /** @type {string} */ start) => (pairs.some(([name]) => name === value) ? value : start);
  const whole = (/** @type {any} */ n, /** @type {number} */ most) => (Number.isInteger(n) && n >= 0 ? Math.min(n, most) : 0);
  return {
    layer: o.layer === "page" ? "page" : "sequence",
    tap: whole(o.tap, 1e4),
    bank: whole(o.bank, MOST.banks - 1),
    target: among(TARGETS, o.target, START.target),
    loss: among(LOSSES, o.loss, START.loss),
    rate: Number.isFinite(o.rate) ? Math.max(0.01, Math.min(0.3, o.rate)) : START.rate,
    rule: among(RULES, o.rule, START.rule),
    steps: whole(o.steps, MOST.steps),
  };
}

/**
 * The layer that is trained, its input, its target and its first weights; or why there is none.
 * @param {typeof START} o
 * @param {Layer} pageLayer
 * @param {string} inputName
 * @returns {{ error: string } | { p: Plan, note: string, input: Float64Array, target: Float64Array, start: import("../core/forward.js").Weights }}
 */
function makeTask(o, pageLayer, inputName) {
  let layer = SEQUENCE;
  let note = "";
  if (o.layer === "page") {
    if (pageLayer.transposed) return { error: "This chapter trains convolutions only. The gradient of a transposed layer is a sum over its positions too." };
    if (pageLayer.inputSize.length > 2) return { error: "This chapter trains layers with one or two spatial axes." };
    layer = { ...pageLayer, inChannels: 1, outChannels: 1, groups: 1, bias: false, biasSharing: null };
    const reach = extents(layer).map((extent, axis) => Math.max(6, extent - Math.min(...layer.padding[axis]) * 2 + layer.stride[axis] * 2));
    layer.inputSize = layer.inputSize.map((n, axis) => Math.min(n, layer.inputSize.length === 1 ? 10 : reach[axis]));
    if (["local", "lowrank", "mapped"].includes(layer.sharing.type)) layer.sharing = { type: "full" };
    if (layer.sharing.type !== pageLayer.sharing.type) note = "The other chapters show a layer that does not share one kernel; here it starts from the shared one.";
    else if (JSON.stringify(layer.inputSize) !== JSON.stringify(pageLayer.inputSize)) note = `The picture shows a smaller layer of the same kind: an input of ${layer.inputSize.join(" × ")}.`;
    const why = problemOf(layer);
    if (why !== null) return { error: why };
  }
  const p = /** @type {Plan} */ (plan(layer));
  if (p.positionCount > MOST.positions || p.taps > MOST.taps) return { error: `This chapter shows layers of at most ${MOST.positions} positions and ${MOST.taps} weights per kernel. Use less padding or a smaller kernel.` };
  const input = Float64Array.from(drawInput(inputName, layer.inputSize), (value) => Math.round(value / 4.5));
  const identity = namedKernel("sharpen", layer.kernelSize).map((value) => Number(value > 0));
  const start = { banks: Float64Array.from({ length: p.banks * p.taps }, (_, i) => identity[i % p.taps]), bias: null, coefficients: null };
  const random = makeRandom(5);
  const wanted = namedKernel(o.target, layer.kernelSize);
  const target = Float64Array.from({ length: p.positionCount }, (_, q) => {
    if (o.target === "random") return Math.floor(random() * 7) - 3;
    let sum = 0;
    for (let tap = 0; tap < p.taps; tap++) {
      const index = p.under[q * p.taps + tap];
      if (index >= 0) sum += wanted[tap] * input[index];
    }
    return sum;
  });
  return { p, note, input, target, start };
}

/**
 * A layer with one spatial axis: the connections of one weight are strong.
 * @param {Plan} p
 * @param {Float64Array} input
 * @param {Float64Array} direction
 * @param {number} bank
 * @param {number} tap
 * @param {number} limit
 * @param {number} width
 */
function drawSequence(p, input, direction, bank, tap, limit, width) {
  const { layer } = p;
  const [n] = layer.inputSize;
  const [before, after] = layer.padding[0];
  const columns = Math.max(n + before + after, p.positionCount);
  const size = Math.min(46, width / columns);
  const [top, bottom] = [2, size + 92];
  const total = p.banks * p.taps;
  const inputX = (/** @type {number} */ i) => (i + before + (columns - n - before - after) / 2) * size;
  const outputX = (/** @type {number} */ q) => (q + (columns - p.positionCount) / 2) * size;
  const cell = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ fill, /** @type {string} */ text, className = "") => [
    s("rect", { x, y, width: size, height: size, fill, class: `cell ${className}` }),
    s("text", { x: x + size / 2, y: y + size / 2, class: `cell-text ${className}`, "font-size": Math.min(13, size * 0.38) }, text),
  ];
  const weak = [];
  const strong = [];
  for (let q = 0; q < p.positionCount; q++) {
    for (let t = 0; t < p.taps; t++) {
      const id = p.labels[q] * p.taps + t;
      const isChosen = id === bank * p.taps + tap;
      const i = q * layer.stride[0] - before + t * layer.dilation[0];
      const [x1, x2] = [inputX(i) + size / 2, outputX(q) + size / 2];
      const line = s("line", { x1, y1: bottom, x2, y2: top + size, class: "edge", stroke: colorOf(id, total), "stroke-width": isChosen ? 4 : 1.5, opacity: isChosen ? null : 0.4 });
      if (!isChosen) {
        weak.push(line);
        continue;
      }
      const [x, y] = [(x1 + x2) / 2, (top + size + bottom) / 2];
      strong.push(
        line,
        s("rect", { x: x - 9, y: y - 9, width: 18, height: 18, rx: 5, fill: colorOf(id, total), stroke: "#0008", "stroke-width": 0.5 }),
        s("text", { x, y, class: "cell-text", "font-size": 12 }, letterOf(id)),
      );
    }
  }
  const inputs = Array.from({ length: n + before + after }, (_, k) => k - before).map((i) => {
    const isPadding = i < 0 || i >= n;
    const index = paddedIndex(i, n, layer.paddingMode);
    return cell(inputX(i), bottom, isPadding ? "none" : grayOf(input[i], 3), short(index < 0 ? 0 : input[index]), isPadding ? "padding" : "");
  });
  const outputs = Array.from(direction, (value, q) => cell(outputX(q), top, colorOfValue(value, limit), p.labels[q] === bank ? number(value) : "", p.labels[q] === bank ? "" : "faded"));
  const [w, height] = [columns * size + 2, bottom + size + 2];
  return s("svg", { viewBox: `-1 0 ${w} ${height}`, width: w, height, role: "img", "aria-label": `Weight ${letterOf(bank * p.taps + tap)} connects one input with each output` }, weak, strong, inputs, outputs);
}

/**
 * The kernels of the positions as small pictures, at their places: negative blue, positive orange.
 * @param {Plan} p
 * @param {import("../core/forward.js").Weights} copies
 * @param {number[]} positions
 */
function drawWall(p, copies, positions) {
  const [kRows, kColumns] = p.layer.kernelSize;
  const [rows, columns] = p.positions;
  const cell = Math.max(5, Math.min(14, Math.floor(300 / (columns * (kColumns + 0.7)))));
  const [width, height] = [cell * (kColumns + 0.7), cell * (kRows + 0.7)];
  const limit = Math.max(1e-9, ...copies.banks.map(Math.abs));
  const cells = positions.flatMap((q) =>
    Array.from({ length: p.taps }, (_, tap) =>
      s("rect", {
        x: (q % columns) * width + (tap % kColumns) * cell,
        y: Math.floor(q / columns) * height + Math.floor(tap / kColumns) * cell,
        width: cell,
        height: cell,
        fill: colorOfValue(copies.banks[q * p.taps + tap], limit),
        class: "cell",
      }),
    ),
  );
  const [w, tall] = [columns * width, rows * height];
  return s("svg", { viewBox: `-1 -1 ${w + 2} ${tall + 2}`, width: w + 2, height: tall + 2, role: "img", "aria-label": "One kernel per position: negative weights are blue, positive ones orange" }, cells);
}

/**
 * The values of each weight on one axis: the shared one as a diamond, the copies as circles.
 * @param {Plan} p
 * @param {import("../core/forward.js").Weights} shared
 * @param {import("../core/forward.js").Weights} copies
 * @param {number} bank
 * @param {number[]} positions
 * @param {number} spread
 */
function drawSpread(p, shared, copies, bank, positions, spread) {
  const total = p.banks * p.taps;
  const rows = Array.from({ length: p.taps }, (_, tap) => ({ tap, own: shared.banks[bank * p.taps + tap], values: positions.map((q) => copies.banks[q * p.taps + tap]) }));
  const all = rows.flatMap(({ own, values }) => [own, ...values]).filter(Number.isFinite);
  const [low, high] = [Math.floor(Math.min(-1, ...all)), Math.ceil(Math.max(1, ...all))];
  const [width, height, left] = [240, 34, 30];
  const x = (/** @type {number} */ value) => left + 8 + ((Math.max(low, Math.min(high, value)) - low) / (high - low)) * (width - left - 16);
  const end = rows.length * height;
  const lines = rows.flatMap(({ tap, own, values }) => {
    const y = tap * height + height / 2;
    const fill = colorOf(bank * p.taps + tap, total);
    const d = 5;
    return [
      s("rect", { x: 2, y: y - 9, width: 18, height: 18, rx: 5, fill, stroke: "#0008", "stroke-width": 0.5 }),
      s("text", { x: 11, y, class: "cell-text", "font-size": 12 }, letterOf(bank * p.taps + tap)),
      s("line", { x1: left, x2: width, y1: y + 4, y2: y + 4, class: "axis" }),
      values.filter(Number.isFinite).map((value) => s("circle", { cx: x(value), cy: y + 4, r: 5, fill, stroke: "#000", "stroke-width": 0.75, opacity: 0.85 })),
      Number.isFinite(own) && s("path", { d: `M${x(own)} ${y - 8 - d}l${d} ${d}l${-d} ${d}l${-d} ${-d}z`, class: "diamond" }),
    ];
  });
  const ticks = [low, 0, high].map((value) => [
    s("line", { x1: x(value), x2: x(value), y1: 2, y2: end, class: "axis" }),
    s("text", { x: x(value), y: end + 12, class: "ink", "font-size": 12 }, number(value)),
  ]);
  return s("svg", { viewBox: `0 0 ${width + 4} ${end + 20}`, width: width + 4, height: end + 20, role: "img", "aria-label": `Values of the weights; the copies of one weight differ by up to ${number(spread)}` }, ticks, lines);
}
