/** An encoder and a decoder that share one matrix, beside the same autoencoder with two matrices. */
import { run, SIZE } from "../core/network.js";
import { colorOf, colorOfValue } from "../ui/colors.js";
import { button, choice, disable, slider } from "../ui/controls.js";
import { h, replace } from "../ui/dom.js";
import { makeGrid } from "../ui/grid.js";
import { makeMosaic, stepThrough, toColor } from "../ui/mosaic.js";
import { format, short } from "../ui/text.js";
import { digitsOf, hasNetworks, inkOf, makeCaption, makeImage, panel, readIndex, replaceText, sampleButtons } from "./digits.js";

/** @typedef {import("../core/network.js").Autoencoder} Autoencoder */

/**
 * @typedef {object} Options what this chapter keeps in the state
 * @property {number} sample index of the test digit
 * @property {"tied" | "untied"} model whose unit is chosen
 * @property {number} unit of the code
 * @property {number | null} value of this unit; null for that of the encoder
 * @property {number} weight pixel of the unit's pattern
 */

const ACROSS = 5; // patterns side by side
const MOST = 10; // largest code value of the slider
const PIXELS = SIZE * SIZE;
const NAMES = /** @type {const} */ (["tied", "untied"]);
const TITLES = { tied: "Tied", untied: "Untied" };

/** @type {Options} */
const START = { sample: 15, model: "tied", unit: 9, value: null, weight: 11 };

/** @type {import("../app/shell.js").Chapter} */
export const autoencoder = {
  id: "autoencoder",
  hasOwnModel: true,
  name: "Tied autoencoder",
  question: "How can an encoder and a decoder share one matrix?",
  isAvailable: (app) => hasNetworks(app) && Boolean(app.data.networks.autoencoders),
  create(app) {
    const { autoencoders, samples, image: facts } = digitsOf(app);
    const units = autoencoders.tied.layers[0].outShape[0];
    const limit = 0.6 * Math.max(...NAMES.flatMap((name) => autoencoders[name].layers.map(({ weight }) => weight.reduce((most, w) => Math.max(most, Math.abs(w)), 0))));

    const lead = h("p", { class: "lead", "aria-live": "polite" });
    const picker = sampleButtons(samples, (sample) => set({ sample, value: null }));
    const figure = h("figure");
    const table = h("div", { class: "scroll" });
    const model = choice("Autoencoder", { options: NAMES.map((name) => [name, TITLES[name]]), value: "tied", change: (name) => set({ model: /** @type {Options["model"]} */ (name), value: null }) });
    const unitSlider = slider("Code unit", { min: 1, max: units, value: 1, text: (n) => `${n} of ${units}`, change: (n) => set({ unit: n - 1, value: null }) });
    const valueSlider = slider("Its value", { min: 0, max: MOST, step: 0.1, value: 0, text: short, change: (value) => set({ value }) });
    const reset = button("Use the encoder's value", () => set({ value: null }));
    const unitText = h("p", { "aria-live": "polite" });
    const sum = h("figure", { class: "products" });
    const weightText = h("p", { "aria-live": "polite" });
    const uses = h("figure", { class: "uses" });
    const gradientText = h("p", { "aria-live": "polite" });
    const el = h(
      "div",
      {},
      lead,
      picker.el,
      figure,
      h("h2", {}, "Where is the difference?"),
      h("p", {}, difference()),
      table,
      h(
        "details",
        { class: "inside" },
        h("summary", {}, "What does one code unit add?"),
        h("div", { class: "row controls-row" }, model.el, unitSlider.el, valueSlider.el, reset),
        unitText,
        sum,
      ),
      h("h2", {}, "Where is one weight used?"),
      weightText,
      uses,
      gradientText,
      h(
        "details",
        {},
        h("summary", {}, "How were they trained?"),
        h("p", {}, `On ${format(facts.trainImages)} digits of scikit-learn, enlarged to 16 × 16 pixels between −1 and 1, with Adam and the mean squared error. The code has ${units} values with ReLU; the decoder is linear. Both autoencoders start as the same function. Errors are measured on ${facts.testImages} other digits.`),
      ),
    );

    /** @type {ReturnType<typeof build> | null} */
    let view = null;

    const read = () => readOptions(app.state.options.autoencoder, samples.length, units);
    /** @param {Partial<Options>} patch */
    const set = (patch) => app.setOptions("autoencoder", patch);

    function difference() {
      const [tied, untied] = NAMES.map((name) => autoencoders[name]);
      return [
        "The tied decoder uses the transpose of the encoder's matrix and has no weights of its own. This saves ",
        h("strong", {}, `${format(untied.parameters - tied.parameters)} of ${format(untied.parameters)} parameters`),
        `. On ${facts.testImages} test digits, its error is ${tied.error.test.toFixed(4)} instead of ${untied.error.test.toFixed(4)}.`,
      ];
    }

    /** Make the pictures for the width of the page. */
    function build() {
      const width = Math.max(280, el.clientWidth || 600);
      const isWide = width >= 1000;
      const rows = NAMES.map((name) => {
        const net = autoencoders[name];
        const pick = (/** @type {number} */ unit) => set({ model: name, unit, value: null });
        const patterns = [0, 1].map((layer) => {
          const part = layer ? "decoder" : "encoder";
          const shape = { tiles: units, rows: SIZE, columns: SIZE, across: ACROSS };
          const mosaic = makeMosaic({
            ...shape,
            cell: isWide ? 3 : 2,
            label: `Patterns of the ${name} ${part}`,
            pick,
            hover: (unit) => mark(unit === null ? null : { model: name, unit }),
          });
          mosaic.draw((unit, row, column) => toColor(weightOf(net, layer, unit, row * SIZE + column), limit));
          return mosaic;
        });
        const code = makeGrid({
          rows: units / ACROSS,
          columns: ACROSS,
          size: isWide ? 30 : 28,
          label: `Code of the ${name} autoencoder; the arrow keys choose a unit`,
          pick: (row, column) => pick(row * ACROSS + column),
          hover: (row, column) => mark(row === null ? null : { model: name, unit: row * ACROSS + column }),
        });
        const input = makeImage(6, "Digit");
        const output = makeImage(6, `Reconstruction of the ${name} autoencoder`);
        const error = makeCaption();
        const arrow = () => h("span", { class: "to", "aria-hidden": "true" }, "→");
        const row = h(
          "div",
          {},
          h("h2", {}, `${TITLES[name]}: ${name === "tied" ? "one matrix, used twice" : "two matrices"}`),
          h(
            "div",
            { class: "flow" },
            h("div", { class: "flow" }, panel("Digit", input.el), arrow(), panel(name === "tied" ? "Encoder: W" : "Encoder: V", patterns[0].el)),
            h("div", { class: "flow" }, arrow(), panel("Code", code.el)),
            h("div", { class: "flow" }, arrow(), panel(name === "tied" ? "Decoder: Wᵀ, the same numbers" : "Decoder: W", patterns[1].el), arrow(), panel("Rebuilt", output.el, error)),
          ),
        );
        return { name, net, patterns, code, input, output, error, row };
      });
      replace(figure, rows.map(({ row }) => row));
      const without = makeImage(7, "Reconstruction without this unit");
      const added = makeImage(7, "Pattern of the unit times its value");
      const whole = makeImage(7, "Reconstruction");
      const captions = [makeCaption(), makeCaption(), makeCaption()];
      const sign = (/** @type {string} */ text) => h("span", { class: "operator", "aria-hidden": "true" }, text);
      replace(sum, panel(captions[0], without.el), sign("+"), panel(captions[1], added.el), sign("="), panel(captions[2], whole.el));
      const large = [0, 1].map((layer) =>
        makeImage(width >= 600 ? 12 : 9, layer ? "Pattern of the decoder" : "Pattern of the encoder; the arrow keys choose a weight", {
          pick: (/** @type {number} */ _, /** @type {number} */ row, /** @type {number} */ column) => set({ weight: row * SIZE + column }),
          hover: (/** @type {number | null} */ tile, /** @type {number} */ row, /** @type {number} */ column) => tellWeight(tile === null ? read().weight : row * SIZE + column),
          move: layer ? undefined : (/** @type {number} */ rows, /** @type {number} */ columns) => moveWeight(rows, columns),
        }),
      );
      const formulas = [h("p", { class: "formula" }), h("p", { class: "formula" })];
      const useCaptions = [makeCaption(), makeCaption()];
      replace(uses, large.map((picture, layer) => h("div", { class: "panel" }, useCaptions[layer], picture.el, formulas[layer])));
      return { rows, without, added, whole, captions, large, formulas, useCaptions };
    }

    /** @param {number} rows @param {number} columns */
    function moveWeight(rows, columns) {
      const { weight } = read();
      const next = stepThrough({ tile: 0, row: Math.floor(weight / SIZE), column: weight % SIZE }, [rows, columns], { tiles: 1, across: 1, rows: SIZE, columns: SIZE });
      set({ weight: next.row * SIZE + next.column });
    }

    /** Outline a unit in the patterns and the code. @param {{ model: string, unit: number } | null} at null for the chosen unit */
    function mark(at) {
      const { model: chosen, unit } = at ?? read();
      for (const { name, patterns, code } of view?.rows ?? []) {
        const isHere = name === chosen;
        for (const mosaic of patterns) mosaic.mark(isHere ? [{ tile: unit, row: 0, column: 0, rows: SIZE, columns: SIZE }] : []);
        const place = { row: Math.floor(unit / ACROSS), column: unit % ACROSS };
        code.mark(isHere ? [place] : []);
      }
    }

    /** The code of the chosen model, in which the reader may have changed one value. @param {Options} options @param {Float64Array} encoded */
    function changeCode({ unit, value }, encoded) {
      const code = encoded.slice();
      if (value !== null) code[unit] = value;
      return code;
    }

    function draw() {
      view ??= build();
      const options = read();
      const { image, label } = samples[options.sample];
      const results = Object.fromEntries(
        view.rows.map(({ name, net, code, input, output, error }) => {
          const encoded = run(net, image)[1].values;
          const values = name === options.model ? changeCode(options, encoded) : encoded;
          const decoded = decode(net, values);
          const missed = errorOf(decoded, image);
          input.draw(inkOf(image));
          output.draw(inkOf(decoded));
          code.setAll((row, column) => {
            const value = values[row * ACROSS + column];
            return { fill: colorOfValue(value, MOST), text: value.toFixed(1) };
          });
          if (name === options.model) code.focus(Math.floor(options.unit / ACROSS), options.unit % ACROSS);
          error.textContent = `error ${missed.toFixed(3)}`;
          return [name, { encoded, values, decoded, missed }];
        }),
      );
      mark(null);
      picker.set(options.sample);
      model.set(options.model);
      const [tied, untied] = NAMES.map((name) => autoencoders[name]);
      replaceText(lead, [
        `The encoder compares a digit with ${units} patterns, which gives ${units} code values. The decoder adds up the patterns, each multiplied by its code value. Tied, both use one matrix W: `,
        h("strong", {}, `${format(tied.parameters)} parameters`),
        ` instead of ${format(untied.parameters)}. The error of this reconstructed ${label} is `,
        h("strong", {}, results.tied.missed.toFixed(3)),
        " with one matrix and ",
        h("strong", {}, results.untied.missed.toFixed(3)),
        " with two.",
      ]);
      tellDifference(results);
      tellUnit(options, results[options.model]);
      tellWeight(options.weight);
    }

    /** @param {Record<string, { missed: number }>} results */
    function tellDifference(results) {
      const sizes = NAMES.map((name) => {
        const [encoder, decoder] = autoencoders[name].layers;
        return { encoder: encoder.weight.length, decoder: decoder.tiedTo ? 0 : decoder.weight.length, biases: encoder.bias.length + decoder.bias.length };
      });
      /** @type {[string, string[]][]} */
      const rows = [
        [`Encoder weights, ${PIXELS} × ${units}`, sizes.map(({ encoder }) => format(encoder))],
        [`Decoder weights, ${units} × ${PIXELS}`, sizes.map(({ decoder }) => format(decoder))],
        [`Biases, ${units} + ${PIXELS}`, sizes.map(({ biases }) => format(biases))],
        ["Parameters", NAMES.map((name) => format(autoencoders[name].parameters))],
        [`Error on ${facts.testImages} test digits`, NAMES.map((name) => autoencoders[name].error.test.toFixed(4))],
        ["Error on this digit", NAMES.map((name) => results[name].missed.toFixed(4))],
      ];
      replace(
        table,
        h(
          "table",
          { class: "figures" },
          h("caption", {}, "The error is the mean squared difference per pixel, on a scale from −1 to 1."),
          h("thead", {}, h("tr", {}, h("td", {}), NAMES.map((name) => h("th", { scope: "col", class: "number" }, TITLES[name])))),
          h("tbody", {}, rows.map(([text, values]) => h("tr", { class: text === "Parameters" ? "own" : null }, h("th", { scope: "row" }, text), values.map((value) => h("td", { class: "number" }, value))))),
        ),
      );
    }

    /** @param {Options} options @param {{ encoded: Float64Array, values: Float64Array, decoded: Float64Array, missed: number }} result */
    function tellUnit({ model: name, unit, value }, { encoded, values, decoded, missed }) {
      const { without, added, whole, captions } = /** @type {NonNullable<typeof view>} */ (view);
      const net = autoencoders[name];
      unitSlider.set(unit + 1);
      valueSlider.set(Math.round(values[unit] * 10) / 10);
      disable(reset, value === null);
      const part = Float64Array.from({ length: PIXELS }, (_, pixel) => values[unit] * weightOf(net, 1, unit, pixel));
      without.draw(inkOf(decoded.map((pixel, i) => pixel - part[i])));
      added.draw((_, row, column) => toColor(part[row * SIZE + column], 1));
      whole.draw(inkOf(decoded));
      captions[0].textContent = `The other ${units - 1} units`;
      captions[1].textContent = `${short(values[unit])} × pattern ${unit + 1}`;
      captions[2].textContent = `Rebuilt, error ${missed.toFixed(3)}`;
      const from = value === null ? `The encoder gives code unit ${unit + 1} the value ` : `Code unit ${unit + 1} is set by hand to `;
      const otherwise = value === null ? "" : ` (the encoder gives it ${short(encoded[unit])})`;
      replaceText(unitText, [from, h("strong", {}, short(values[unit])), `${otherwise}, so the decoder adds its pattern ${short(values[unit])} times: orange adds ink, and blue removes it.`]);
    }

    /** @param {number} pixel whose weight is shown */
    function tellWeight(pixel) {
      const { large, formulas, useCaptions } = /** @type {NonNullable<typeof view>} */ (view);
      const { model: name, unit, sample } = read();
      const net = autoencoders[name];
      const { image } = samples[sample];
      const isTied = name === "tied";
      const [row, column] = [Math.floor(pixel / SIZE), pixel % SIZE];
      const weights = [0, 1].map((layer) => weightOf(net, layer, unit, pixel));
      const values = run(net, image)[1].values;
      const decoded = decode(net, values);
      const letters = isTied ? ["a", "a"] : ["a", "b"];
      const chip = (/** @type {number} */ layer) => {
        const span = h("span", { class: "term" }, `${letters[layer]} = ${short3(weights[layer])}`);
        span.style.background = colorOf(isTied ? 0 : layer, 2);
        return span;
      };
      large.forEach((picture, layer) => {
        picture.draw((_, r, c) => toColor(weightOf(net, layer, unit, r * SIZE + c), limit), [{ tile: 0, row, column }]);
        useCaptions[layer].textContent = `${layer ? "Decoder" : "Encoder"}, pattern ${unit + 1}`;
      });
      replace(formulas[0], `code unit ${unit + 1} = ReLU(… + `, chip(0), ` × pixel ${short(image[pixel])} + …)`);
      replace(formulas[1], "pixel = … + ", chip(1), ` × code ${short(values[unit])} + …`);
      const place = `row ${row + 1}, column ${column + 1}`;
      replaceText(
        weightText,
        isTied
          ? ["The weight between the pixel in ", h("strong", {}, place), ` and code unit ${unit + 1} is one number, `, h("strong", {}, `a = ${short3(weights[0])}`), ". The encoder and the decoder both multiply by it."]
          : ["Between the pixel in ", h("strong", {}, place), ` and code unit ${unit + 1} there are two numbers: the encoder multiplies by `, h("strong", {}, `a = ${short3(weights[0])}`), ", the decoder by ", h("strong", {}, `b = ${short3(weights[1])}`), "."],
      );
      const parts = gradientsOf(net, image, values, decoded, unit, pixel).map((n) => Math.round(n * 1e3) / 1e3);
      replaceText(
        gradientText,
        isTied
          ? ["Both parts are trained through the same numbers: the gradient of ", h("strong", {}, "a"), ` is the sum of both uses. For the squared error of this digit, it is ${short3(parts[0])} from the encoder ${parts[1] < 0 ? "−" : "+"} ${short3(Math.abs(parts[1]))} from the decoder = `, h("strong", {}, short3(parts[0] + parts[1])), "."]
          : [`Each number has its own gradient. For the squared error of this digit, it is ${short3(parts[0])} for a and ${short3(parts[1])} for b.`],
      );
    }

    return { el, update: draw };
  },
};

/** The weight between a code unit and a pixel. @param {Autoencoder} net @param {number} layer 0: encoder, 1: decoder @param {number} unit @param {number} pixel */
function weightOf({ layers }, layer, unit, pixel) {
  const { weight, transposed, inShape } = layers[layer];
  return layer === 0 || transposed ? weight[unit * PIXELS + pixel] : weight[pixel * inShape[0] + unit];
}

/** The image of a code. @param {Autoencoder} net @param {Float64Array} code */
function decode(net, code) {
  const { bias } = net.layers[1];
  return bias.map((start, pixel) => code.reduce((sum, value, unit) => sum + value * weightOf(net, 1, unit, pixel), start));
}

/** Mean squared error per pixel. @param {Float64Array} decoded @param {Float64Array} image */
const errorOf = (decoded, image) => decoded.reduce((sum, value, i) => sum + (value - image[i]) ** 2, 0) / PIXELS;

/**
 * The gradient of the squared error, summed over the pixels, with respect to one weight: from its use in the encoder and from that in the decoder.
 * @param {Autoencoder} net
 * @param {Float64Array} image
 * @param {Float64Array} code
 * @param {Float64Array} decoded
 * @param {number} unit
 * @param {number} pixel
 */
function gradientsOf(net, image, code, decoded, unit, pixel) {
  const slope = (/** @type {number} */ i) => 2 * (decoded[i] - image[i]);
  let arriving = 0;
  for (let i = 0; i < PIXELS; i++) arriving += slope(i) * weightOf(net, 1, unit, i);
  return [code[unit] > 0 ? arriving * image[pixel] : 0, slope(pixel) * code[unit]];
}

/** A number with three decimals. @param {number} n */
const short3 = (n) => n.toFixed(3).replace("-", "−").replace("−0.000", "0.000");

/**
 * The options of the state, each replaced by its start if it cannot be read.
 * @param {any} data
 * @param {number} sampleCount
 * @param {number} units
 * @returns {Options}
 */
function readOptions(data, sampleCount, units) {
  const given = typeof data === "object" && data !== null ? data : {};
  const { value } = given;
  return {
    sample: readIndex(given.sample, sampleCount, START.sample),
    model: given.model === "untied" ? "untied" : "tied",
    unit: readIndex(given.unit, units, START.unit),
    value: typeof value === "number" && value >= 0 && value <= MOST ? value : null,
    weight: readIndex(given.weight, PIXELS, START.weight),
  };
}
