/** Move the input, and see whether the output follows. */
import { forward, plan } from "../core/forward.js";
import { flatten, product, unflatten } from "../core/geometry.js";
import { allowsCircular, exactShifts, judgePooled, pool, pooledSize, totalStride, writeProof } from "../core/shift.js";
import { makeWeights } from "../core/weights.js";
import { colorOfValue, grayOf } from "../ui/colors.js";
import { button, disable, menu, slider } from "../ui/controls.js";
import { h, replace, s } from "../ui/dom.js";
import { fitCell, makeGrid } from "../ui/grid.js";
import { drawInput } from "../ui/images.js";
import { layerControls } from "../ui/layer_controls.js";
import { plural, short } from "../ui/text.js";

/** @typedef {import("../core/geometry.js").Layer} Layer */

const CONTROLS = ["sharing", "padding", "paddingMode", "stride"];
const MORE = ["input", "kernel", "inputSize", "kernelSize", "dilation", "axes", "channel"];
/** What a position can show, with its glyph, its fill and its meaning. */
const MARKS = /** @type {Record<string, [string, string, string]>} */ ({
  exact: ["✓", "#5cc9a7", "agree for all weights and inputs"],
  equal: ["=", "#e9e6df", "agree in this picture only"],
  different: ["≠", "#f08a5d", "differ"],
});

/** @type {import("../app/shell.js").Chapter} */
export const shift = {
  id: "shift",
  name: "Shift",
  question: "If the input moves, does the output follow?",
  create(app) {
    const verdict = h("p", { class: "verdict", "aria-live": "polite" });
    const general = h("p", { class: "lead" });
    const problem = h("p", { class: "problem", hidden: true });
    const figure = h("figure", { class: "moves" });
    const legend = h("p", { class: "caption agreements" });
    const down = slider("Move down", { min: -1, max: 1, value: 0, text: (n) => amount(n, "down", "up"), change: (n) => moveTo([n, steps()[1]]) });
    const right = slider("Move right", { min: -1, max: 1, value: 0, text: (n) => amount(n, "right", "left"), change: (n) => moveTo([steps()[0], n]) });
    const reset = button("Move back", () => moveTo([0, 0]));
    const nearest = button("", () => moveTo(nearestWhole()));
    const pooling = menu("Pooling after the layer (2 × 2)", {
      options: [["none", "none"], ["max", "maximum"], ["average", "average"]],
      value: app.state.pooling,
      change: (value) => app.set({ pooling: value }),
    });
    const mover = h("div", { class: "movers" }, down.el, right.el, h("div", { class: "buttons" }, reset, nearest));
    const words = h("details", {}, h("summary", {}, "Equivariant or invariant?"), h("div"));
    const python = h("details", {}, h("summary", {}, "What does the library say?"), h("div"));
    const controls = layerControls(app, CONTROLS, MORE);
    controls.el.querySelector(".controls")?.append(pooling.el);
    const el = h("div", { class: "layout" }, h("div", {}, verdict, general, problem, mover, figure, legend, words, python), controls.el);
    /** @type {any} */
    let view = null;
    let key = "";
    /** The grids, which are kept while their sizes stay the same. @type {any} */
    let built = null;

    /** The shift of the state, within the input. */
    function steps() {
      const size = app.layer.inputSize;
      const [rows, columns] = size.length === 1 ? [1, size[0]] : size;
      return [clamp(app.state.shift[0], rows - 1), clamp(app.state.shift[1], columns - 1)];
    }

    /** @param {number[]} next */
    function moveTo(next) {
      const { shift } = app.state;
      if (next[0] !== shift[0] || next[1] !== shift[1]) app.set({ shift: next });
    }

    /** The shift nearest to the current one that moves the output by whole positions. */
    function nearestWhole() {
      const [rows, columns] = totalStride(app.layer, app.state.pooling).length === 1 ? [1, totalStride(app.layer, app.state.pooling)[0]] : totalStride(app.layer, app.state.pooling);
      const [r, c] = steps();
      return [roundUp(r, rows), roundUp(c, columns)];
    }

    /** Compute and draw what does not depend on the shift. */
    function build() {
      const found = app.drawable;
      const { layer } = app;
      let why = "error" in found ? found.error : null;
      if (layer.transposed) why = "A transposed layer spreads each input over a window of outputs. With shared weights, moving its input by one position moves its output by the stride. This chapter draws convolutions only.";
      view = null;
      problem.hidden = why === null;
      for (const part of [verdict, general, figure, legend, mover, words, python]) part.hidden = why !== null;
      if ("error" in found || why !== null) {
        problem.textContent = why;
        return;
      }
      const small = found.layer;
      const p = /** @type {NonNullable<ReturnType<typeof plan>>} */ (plan(small));
      const { pooling } = app.state;
      const out = pooling === "none" ? p.out : pooledSize(p.out);
      if (out.some((n) => n < 1)) {
        problem.hidden = false;
        for (const part of [verdict, general, figure, legend, mover, words, python]) part.hidden = true;
        problem.textContent = "Pooling needs at least two output positions along each axis. Use a larger input or a smaller kernel.";
        return;
      }
      const weights = makeWeights(small, p.out, app.state.kernel);
      const isPadded = small.padding.some(([before, after]) => before || after);
      const wraps = isPadded && small.paddingMode === "circular";
      const isCircular = wraps && allowsCircular(small, pooling);
      const input = Float64Array.from({ length: small.inChannels }, () => 0);
      const channels = Array.from({ length: small.inChannels }, (_, c) => drawInput(app.state.input, small.inputSize, c));
      const channel = Math.min(app.state.channel, small.outChannels - 1);
      view = { layer: small, note: found.note, p, weights, channels, channel, out, pooling, wraps, isCircular, input };
      view.before = Float64Array.from(channels.flat());
      view.output = compute(view.before);
      view.limit = Math.max(1, ...view.output.map(Math.abs));
      view.periods = exactShifts(small, pooling, isCircular);
      const [rows, columns] = toPlane(small.inputSize);
      const [oRows, oColumns] = toPlane(out);
      const width = Math.max(240, figure.clientWidth || 600);
      const isWide = width >= 520;
      const across = isWide ? 3 : 2;
      const gap = isWide ? 28 : 16;
      const isSequence = small.inputSize.length === 1;
      const size = isSequence && !isWide ? fitCell(columns, width, 34) : fitCell(columns, (width - gap * (across - 1)) / across - 6, isSequence ? 30 : 28);
      const outSize = isSequence ? size : Math.min(34, Math.max(size, Math.floor((size * columns * 0.8) / oColumns)));
      figure.classList.toggle("wide", isWide);
      figure.classList.toggle("sequence", isSequence && !isWide);
      const shape = JSON.stringify([rows, columns, oRows, oColumns, size, outSize]);
      view.grids = built?.shape === shape ? built.grids : null;
      const make = (/** @type {string} */ label) => makeGrid({ rows: oRows, columns: oColumns, size: outSize, label });
      view.grids ??= {
        input: makeGrid({ rows, columns, size, label: "Input" }),
        moved: makeGrid({ rows, columns, size, label: "Moved input; the arrow keys move it" }),
        output: make("Output"),
        moveThenLayer: make("Output of the moved input"),
        layerThenMove: make("Moved output"),
        agree: make("Where the two agree"),
      };
      view.grids.input.setAll((/** @type {number} */ r, /** @type {number} */ c) => toGray(view.before[r * columns + c]));
      view.grids.output.setAll((/** @type {number} */ r, /** @type {number} */ c) => toValue(view.output[r * oColumns + c]));
      if (built?.shape !== shape) {
        const captions = Object.fromEntries(Object.keys(view.grids).map((name) => [name, h("span", { "data-caption": true })]));
        built = { shape, grids: view.grids, captions };
        listen(view.grids.moved.el, size, columns);
        replace(
          figure,
          Object.entries(view.grids).map(([name, grid]) => h("div", { class: `panel ${name}` }, h("p", { class: "caption" }, captions[name]), grid.el)),
        );
      }
      view.captions = built.captions;
      const most = (/** @type {number} */ n) => ({ min: -Math.min(n - 1, 8), max: Math.min(n - 1, 8) });
      down.el.hidden = isSequence;
      view.most = [most(rows), most(columns)];
    }

    const toGray = (/** @type {number} */ value) => ({ fill: grayOf(value, 9), text: short(value) });
    const toValue = (/** @type {number} */ value) => ({ fill: colorOfValue(value, view.limit), text: short(value) });

    /** The output of the channel that is shown, after pooling. @param {Float64Array} input */
    function compute(input) {
      const { p, weights, channel, pooling } = view;
      const count = product(p.out);
      return pool(forward(p, weights, input).subarray(channel * count, (channel + 1) * count), p.out, pooling);
    }

    /** Arrow keys and dragging. @param {SVGSVGElement} picture @param {number} size @param {number} columns */
    function listen(picture, size, columns) {
      picture.setAttribute("tabindex", "0");
      picture.setAttribute("role", "group");
      picture.classList.add("draggable");
      picture.addEventListener("keydown", (event) => {
        const step = /** @type {Record<string, number[]>} */ ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] })[event.key];
        if (!step) return;
        event.preventDefault();
        const [r, c] = steps();
        moveTo(limit([r + step[0], c + step[1]]));
      });
      /** @type {{ x: number, y: number, from: number[] } | null} */
      let start = null;
      picture.addEventListener("pointerdown", (event) => {
        start = { x: event.clientX, y: event.clientY, from: steps() };
        picture.setPointerCapture(event.pointerId);
      });
      picture.addEventListener("pointermove", (event) => {
        if (!start) return;
        const cell = (picture.getBoundingClientRect().width / (columns * size + 4)) * size;
        moveTo(limit([start.from[0] + Math.round((event.clientY - start.y) / cell), start.from[1] + Math.round((event.clientX - start.x) / cell)]));
      });
      for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => (start = null));
    }

    /** @param {number[]} next */
    const limit = (next) => next.map((n, axis) => clamp(n, view.most[axis].max));

    /** Draw what depends on the shift. */
    function draw() {
      const { layer, note, out, pooling, isCircular, wraps, grids, captions, before, output } = view;
      const isSequence = layer.inputSize.length === 1;
      const moved = steps();
      const by = isSequence ? [moved[1]] : moved;
      const after = Float64Array.from(view.channels.flatMap((/** @type {number[]} */ values) => [...moveValues(values, layer.inputSize, by, isCircular, () => 0)]));
      const found = judgePooled(layer, pooling, by, { isCircular });
      const stride = totalStride(layer, pooling);
      const outBy = by.map((n, axis) => Math.round(n / stride[axis]));
      const direct = compute(after);
      const shifted = moveValues(output, out, outBy, isCircular, () => NaN);
      const isWhole = found.kind !== "fraction";
      /** @type {string[]} */
      const marks = Array.from(shifted, (value, i) => {
        if (Number.isNaN(value)) return "";
        if ("exact" in found && found.exact[i]) return "exact";
        return Math.abs(value - direct[i]) < 1e-9 ? "equal" : "different";
      });
      const columns = toPlane(layer.inputSize)[1];
      const oColumns = toPlane(out)[1];
      grids.moved.setAll((/** @type {number} */ r, /** @type {number} */ c) => {
        const flat = isSequence ? c : r * columns + c;
        const isNew = !isCircular && isOutside(flat, layer.inputSize, by);
        return isNew ? { text: "0", className: "padding" } : toGray(after[flat]);
      });
      grids.moveThenLayer.setAll((/** @type {number} */ r, /** @type {number} */ c) => toValue(direct[r * oColumns + c]));
      grids.layerThenMove.setAll((/** @type {number} */ r, /** @type {number} */ c) => {
        const value = shifted[r * oColumns + c];
        return Number.isNaN(value) ? { className: "padding" } : toValue(value);
      });
      grids.agree.setAll((/** @type {number} */ r, /** @type {number} */ c) => {
        const mark = marks[r * oColumns + c];
        return mark ? { fill: MARKS[mark][1], text: MARKS[mark][0] } : { className: "padding" };
      });
      const boxes = found.kind === "border" && "border" in found && found.border ? [interiorBox(found)] : [];
      grids.agree.mark(boxes);
      grids.agree.el.querySelector(".signs")?.remove();
      if (grids.agree.size < 18) drawSigns(grids.agree, marks, oColumns);
      const layerName = pooling === "none" ? "the layer" : "layer and pooling";
      captions.input.textContent = "Input";
      captions.moved.textContent = `Input, ${describeMove(by) || "not moved"} (drag it)`;
      captions.output.textContent = pooling === "none" ? "Output" : `Output after ${pooling === "max" ? "max" : "average"} pooling`;
      captions.moveThenLayer.textContent = `First the move, then ${layerName}`;
      captions.layerThenMove.textContent = `First ${layerName}, then ${isWhole ? "the move" : describeMove(outBy).replace("moved", "move") || "no move"}`;
      captions.agree.textContent = boxes.length ? "Do they agree? (interior outlined)" : "Do they agree?";
      grids.agree.label(describeMarks(marks));
      grids.moved.label(`Moved input, ${describeMove(by) || "not moved"}; the arrow keys move it`);
      const shown = Object.entries(MARKS).filter(([name]) => marks.includes(name));
      replace(
        legend,
        shown.map(([name, [glyph, , text]]) => h("span", {}, h("span", { class: `agreement ${name}` }, glyph), ` ${marks.filter((mark) => mark === name).length} ${text}`)),
        marks.includes("") ? h("span", {}, h("span", { class: "agreement none" }), " moved in from outside, nothing to compare") : null,
      );
      drawVerdict(found, by, outBy, marks);
      replace(general, describeShifts(view), wraps ? describeCircular(isCircular) : "", note ? ` ${note}` : "");
      down.set(moved[0], view.most[0]);
      right.set(moved[1], view.most[1]);
      disable(reset, by.every((n) => n === 0));
      nearest.hidden = isWhole;
      nearest.textContent = describeMove(nearestWhole().slice(isSequence ? 1 : 0)).replace("moved", "Move") || "Move back";
      drawWords(before, after, direct);
      drawPython(by);
    }

    /** @param {any} found @param {number[]} by @param {number[]} outBy @param {string[]} marks */
    function drawVerdict(found, by, outBy, marks) {
      const { layer, pooling } = view;
      const { good, total, border } = found;
      const move = describeMove(outBy);
      const isMixed = layer.sharing.type === "lowrank" && layer.sharing.rank > 0;
      const head = (/** @type {string} */ text) => h("strong", {}, text);
      if (by.every((n) => n === 0)) return replace(verdict, "Nothing has moved yet. Drag the second input, focus it and press arrow keys, or use the sliders.");
      switch (found.kind) {
        case "exact":
          return replace(verdict, head("Exact."), ` The output is ${move || "not moved"} too: all ${plural(total, "compared position")} ${total === 1 ? "agrees" : "agree"}, for all weights and all inputs.`);
        case "border":
          return replace(
            verdict,
            head("Exact in the interior."),
            ` ${good} of ${total} compared positions agree for all weights. The others see the padding`,
            border ? `: a border of ${describeBorder(border)}.` : ".",
          );
        case "broken":
          return replace(
            verdict,
            head(by.every((n, axis) => n === 0 || view.periods[axis] !== null) ? "Broken for this shift." : "Broken."),
            ` ${good ? `Only ${good}` : "None"} of ${plural(total, "compared position")} ${good === 1 ? "agrees" : "agree"} for all weights, because ${isMixed ? "the corrections" : "the weights"} differ by position.`,
          );
        case "fraction": {
          const agreeing = marks.filter((mark) => mark === "equal").length;
          const count = marks.filter(Boolean).length;
          const stride = totalStride(layer, pooling);
          return replace(
            verdict,
            head("Not exact: a fraction of a position."),
            ` Output positions are ${new Set(stride).size === 1 ? plural(stride[0], "pixel") : `${stride.join(" × ")} pixels`} apart, so the output would be ${describeMove(found.outShift)}, and it cannot move by a fraction. With the nearest whole shift, ${describeMove(outBy) || "not moved"}, ${agreeing} of ${count} positions agree in this picture.`,
          );
        }
        default:
          return replace(verdict, head("Nothing to compare."), ` ${found.text}`);
      }
    }

    /** @param {Float64Array} before @param {Float64Array} after @param {Float64Array} direct */
    function drawWords(before, after, direct) {
      const mean = (/** @type {Float64Array} */ values) => values.reduce((sum, value) => sum + value, 0) / values.length;
      replace(
        /** @type {Element} */ (words.lastChild),
        h("p", {}, h("strong", {}, "Equivariant"), " means that the output moves with the input: first moving and then applying the layer gives the same as first applying the layer and then moving."),
        h("p", {}, h("strong", {}, "Invariant"), " means that the output does not change at all when the input moves. A convolution is not invariant: its output moves."),
        h("p", {}, `The average over all positions forgets where things are, so it turns equivariance into invariance. Here it is ${short(mean(view.output))} before the move and ${short(mean(direct))} after it. A difference comes from the border, which circular padding removes, or from a layer that is not equivariant.`),
        h("p", {}, "Pooling 2 × 2 with stride 2 is only approximately invariant, and only to small moves. It is equivariant to shifts by multiples of 2."),
      );
    }

    /** @param {number[]} by */
    function drawPython(by) {
      const { layer, pooling, isCircular } = view;
      const text = writeProof(layer, by);
      const [tuple, size] = [by, layer.inputSize].map((values) => (values.length === 1 ? values[0] : `(${values.join(", ")})`));
      replace(
        /** @type {Element} */ (python.lastChild),
        h("pre", { class: "code", tabindex: 0, "aria-label": "Python code and its result" }, `>>> print(ws.symmetry.prove_shift(layer, ${tuple}, input_size=${size}))\n${text ?? "PatternError: the shift must be a multiple of the stride and leave some outputs on the grid"}`),
        h("p", {}, "The verdict holds for all weights and for all values that enter at the border. In the pictures, background (0) enters.", pooling === "none" ? "" : " The text is about the layer without pooling.", isCircular ? " The library shifts without wrapping, and names the circular shift of the pictures in parentheses." : ""),
      );
    }

    return {
      el,
      update() {
        const { layer, kernel, input, channel, pooling: pooled } = app.state;
        const next = JSON.stringify([layer, kernel, input, channel, pooled]);
        if (next !== key) {
          key = next;
          controls.update();
          pooling.set(pooled);
          build();
        }
        if (view) draw();
      },
    };
  },
};

/** @param {number} n @param {number} most */
const clamp = (n, most) => Math.max(-most, Math.min(most, n));

/** The nearest multiple; from the middle, the one farther from 0. @param {number} n @param {number} step */
const roundUp = (n, step) => Math.sign(n) * Math.round(Math.abs(n) / step) * step;

/** @param {number[]} size */
const toPlane = (size) => (size.length === 1 ? [1, size[0]] : size);

/** @param {number} n @param {string} plus @param {string} minus */
const amount = (n, plus, minus) => (n === 0 ? "0" : `${Math.abs(n)} ${n > 0 ? plus : minus}`);

/** "moved down by 1 and right by 2", or "". @param {number[]} by */
function describeMove(by) {
  const [rows, columns] = by.length === 1 ? [0, by[0]] : by;
  const parts = [];
  if (rows) parts.push(`${rows > 0 ? "down" : "up"} by ${short(Math.abs(rows))}`);
  if (columns) parts.push(`${columns > 0 ? "right" : "left"} by ${short(Math.abs(columns))}`);
  return parts.length ? `moved ${parts.join(" and ")}` : "";
}

/** @param {number[][]} border */
function describeBorder(border) {
  const names = border.length === 1 ? [["left", "right"]] : [["top", "bottom"], ["left", "right"]];
  const parts = border.flatMap((pair, axis) => pair.map((n, side) => (n ? `${n} at the ${names[axis][side]}` : "")).filter(Boolean));
  return parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}` : parts[0];
}

/** Which shifts the output follows. @param {{ layer: Layer, pooling: string, periods: (number | null)[], isCircular: boolean }} view */
function describeShifts({ layer, pooling, periods, isCircular }) {
  const what = pooling === "none" ? "This layer" : "This layer with pooling";
  const isPadded = !isCircular && layer.padding.some(([before, after]) => before || after);
  const where = isPadded ? "exactly equivariant in the interior" : "exactly equivariant";
  const kind = isCircular ? "circular shifts" : "shifts";
  const by = (/** @type {number} */ n) => (n === 1 ? `all ${kind}` : `${kind} in ${n}ℤ, the multiples of ${n}`);
  if (periods.every((n) => n === null)) return `${what} follows no shift.`;
  if (new Set(periods).size === 1) return `${what} is ${where} to ${by(/** @type {number} */ (periods[0]))}.`;
  const names = ["up and down", "left and right"];
  const parts = periods.map((n, axis) => (n === null ? `to no shift ${names[axis]}` : `to ${by(n)}, ${names[axis]}`));
  return `${what} is ${where} ${parts.join(", and ")}.`;
}

/** @param {boolean} isCircular */
const describeCircular = (isCircular) =>
  isCircular
    ? " With circular padding the shift is circular: what leaves enters at the other side."
    : " The stride does not divide the size of the input, so no circular shift of the output matches, and background (0) enters.";

/** @param {string[]} marks */
function describeMarks(marks) {
  const parts = Object.entries(MARKS).map(([name, [, , text]]) => [marks.filter((mark) => mark === name).length, text]);
  return `Where the two agree: ${parts.filter(([n]) => n).map(([n, text]) => `${n} ${text}`).join(", ") || "nothing to compare"}`;
}

/**
 * Values moved by a shift.
 * @param {ArrayLike<number>} values
 * @param {number[]} size
 * @param {number[]} by
 * @param {boolean} isCircular
 * @param {() => number} enter
 */
function moveValues(values, size, by, isCircular, enter) {
  return Float64Array.from({ length: product(size) }, (_, flat) => {
    const from = unflatten(flat, size).map((i, axis) => i - by[axis]);
    if (isCircular) return values[flatten(from.map((i, axis) => ((i % size[axis]) + size[axis]) % size[axis]), size)];
    return from.some((i, axis) => i < 0 || i >= size[axis]) ? enter() : values[flatten(from, size)];
  });
}

/** Whether the value of a place came from outside. @param {number} flat @param {number[]} size @param {number[]} by */
const isOutside = (flat, size, by) => unflatten(flat, size).some((i, axis) => i - by[axis] < 0 || i - by[axis] >= size[axis]);

/** The box of the interior, in cells. @param {any} found */
function interiorBox({ border, outShift, positions }) {
  const [low, size] = [0, 1].map((part) =>
    toPlane(
      border.map((/** @type {number[]} */ pair, /** @type {number} */ axis) =>
        part === 0 ? Math.max(0, outShift[axis]) + pair[0] : positions[axis] - Math.abs(outShift[axis]) - pair[0] - pair[1],
      ),
    ),
  );
  const isSequence = border.length === 1;
  return { row: isSequence ? 0 : low[0], column: low[1], rows: isSequence ? 1 : size[0], columns: size[1], className: "second" };
}

/** Signs in cells that are too small for text: a cross for "differ", a dot for "agree in this picture". */
function drawSigns(/** @type {ReturnType<typeof makeGrid>} */ grid, /** @type {string[]} */ marks, /** @type {number} */ columns) {
  const { el, size } = grid;
  const path = marks.map((mark, i) => {
    const [x, y] = [(i % columns) * size, Math.floor(i / columns) * size];
    const [a, b, c] = [size * 0.25, size * 0.5, size * 0.75];
    if (mark === "different") return `M${x + a} ${y + a}L${x + c} ${y + c}M${x + c} ${y + a}L${x + a} ${y + c}`;
    return mark === "equal" ? `M${x + a} ${y + b}H${x + c}` : "";
  });
  el.append(s("path", { class: "signs", d: path.join(""), fill: "none", stroke: "#000", "stroke-width": 1 }));
}
