/** LeCun's network of 1989 and its unshared twin read a digit that the reader draws and shifts. */
import { fromDrawing, predict, shiftImage, SIZE } from "../core/network.js";
import { makeProbabilities, percent } from "../pictures/probabilities.js";
import { button, choice, disable, slider } from "../ui/controls.js";
import { h, replace } from "../ui/dom.js";
import { makeDrawPad } from "../ui/draw_pad.js";
import { format, plural } from "../ui/text.js";
import { digitsOf, hasNetworks, inkOf, makeCaption, makeImage, panel, readIndex, replaceText, sampleButtons } from "./digits.js";
import { describeLayer, describeUnit, makeLayer, makeProducts, makeStrip, strongestInside } from "./network_layers.js";

/**
 * @typedef {object} Options what this chapter keeps in the state
 * @property {number} sample index of the test digit
 * @property {string | null} drawing an image in base64, one byte per pixel, which replaces the test digit
 * @property {number[]} shift of the digit, [rows, columns]
 * @property {"shared" | "unshared"} sharing of the network whose inside is shown
 * @property {number} layer
 * @property {number | null} unit of the layer; null for the one with the largest value inside the border
 * @property {number | null} product of the unit; null for the largest
 */

const FAR = 4; // px, the largest shift
const NAMES = /** @type {const} */ (["shared", "unshared"]);

/** @type {Options} */
const START = { sample: 3, drawing: null, shift: [0, 0], sharing: "shared", layer: 0, unit: null, product: null };

/** What the reader drew, so that it is still there when the page changes its width. @type {WeakMap<object, number[][]>} */
const STROKES = new WeakMap();

/** @type {import("../app/shell.js").Chapter} */
export const network = {
  id: "network",
  hasOwnModel: true,
  name: "A trained network",
  question: "What does sharing do for a network that reads digits?",
  isAvailable: hasNetworks,
  create(app) {
    const { networks, samples, image: facts } = digitsOf(app);
    const strokes = STROKES.get(app) ?? [];
    STROKES.set(app, strokes);

    const lead = h("p", { class: "lead network-lead", "aria-live": "polite" });
    const pad = makeDrawPad({
      label: "Drawing area. Without a pointer, choose one of the test digits instead.",
      strokes,
      isCurrent: () => read().drawing !== null,
      change: (pixels, side) => set({ drawing: toBase64(fromDrawing(pixels, side, side, facts.meanInk)) }),
      clear: () => set({ drawing: null }),
    });
    const seenPlace = h("div");
    const down = slider("Shift down", { min: -FAR, max: FAR, value: 0, text: pixels, change: (n) => shiftTo(n, read().shift[1]) });
    const right = slider("Shift right", { min: -FAR, max: FAR, value: 0, text: pixels, change: (n) => shiftTo(read().shift[0], n) });
    const center = button("Undo the shift", () => shiftTo(0, 0));
    const picker = sampleButtons(samples, (sample) => set({ sample, drawing: null, unit: null, product: null }));
    const chart = h("div");
    const figure = h(
      "figure",
      { class: "digit" },
      h("div", { class: "panel" }, makeCaption("Draw a digit here …"), pad.el, h("div", { class: "below" }, pad.remove)),
      panel("What both networks see", seenPlace, h("div", { class: "below" }, down.el, right.el, center)),
      panel("Probability of each class", chart),
    );
    const table = h("div", { class: "scroll" });
    const sharing = choice("Sharing", {
      options: [["shared", "With sharing"], ["unshared", "Without sharing"]],
      value: "shared",
      change: (value) => set({ sharing: /** @type {Options["sharing"]} */ (value), unit: unitOf(read()) }),
    });
    const strip = h("div");
    const layerText = h("p", { "aria-live": "polite" });
    const layerPlace = h("div");
    const unitText = h("p", { "aria-live": "polite" });
    const unitPlace = h("div");
    const ratio = networks.unshared.parameters / networks.shared.parameters;
    const el = h(
      "div",
      {},
      lead,
      figure,
      h("p", { class: "caption" }, "… or choose a test digit, which was not in the training set:"),
      picker.el,
      h("h2", {}, "What does sharing buy?"),
      h("p", {}, verdict()),
      table,
      h(
        "details",
        { open: app.state.options.network?.layer !== undefined },
        h("summary", {}, "What happens inside?"),
        h("p", {}, "Choose a layer. Blue is negative, white is zero, and orange is positive."),
        sharing.el,
        h("figure", { class: "inside" }, strip, layerText, layerPlace, unitText, unitPlace),
      ),
      h(
        "details",
        {},
        h("summary", {}, "What differs from the network of 1989, and how was it trained?"),
        h("p", {}, "The layers, their connections to windows, the number of parameters and the activation function are those of the paper. Which 8 maps of H1 each map of H2 sees is not in the paper, so the table is that of a re-implementation by Andrej Karpathy (2022)."),
        h("p", {}, `The outputs are linear here, and the network is trained with cross-entropy and Adam. In the paper, the outputs have an activation function and are trained with squared error. The images are ${format(facts.trainImages + facts.testImages)} digits of scikit-learn, enlarged from 8 × 8 to 16 × 16 pixels; the paper uses zip codes from envelopes.`),
        h("p", {}, "A map of H1 moves by one position when the digit moves by 2 pixels, which is the stride. It does so exactly only away from the border, and before the biases are added, because each unit has its own bias."),
        h("p", {}, "Both networks start as the same function and are trained in the same way, without shifted copies. A drawing is scaled and centered like the training digits, and its strokes become as thick as theirs."),
        h("p", {}, "Source: LeCun et al., “Backpropagation applied to handwritten zip code recognition”, Neural Computation, 1989."),
      ),
    );

    /** @type {ReturnType<typeof makeProbabilities> | null} */
    let bars = null;
    /** @type {ReturnType<typeof makeImage> | null} */
    let seen = null;
    /** @type {ReturnType<typeof makeStrip> | null} */
    let layers = null;
    /** @type {ReturnType<typeof makeLayer> | null} */
    let units = null;
    /** @type {ReturnType<typeof makeProducts> | null} */
    let products = null;
    let layerKey = "";
    let imageKey = "";
    /** @type {Record<string, import("../core/network.js").Prediction>} */
    let predictions = {};

    const read = () => readOptions(app.state.options.network, samples.length, networks.shared.layers);
    /** @param {Partial<Options>} patch */
    const set = (patch) => app.setOptions("network", patch);

    /** Shift the digit; the unit that is shown stays. @param {number} rows @param {number} columns */
    const shiftTo = (rows, columns) => set({ shift: [rows, columns], unit: unitOf(read()) });

    /** @param {number} rows @param {number} columns */
    function shiftBy(rows, columns) {
      const clamp = (/** @type {number} */ n) => Math.max(-FAR, Math.min(FAR, n));
      const { shift } = read();
      shiftTo(clamp(shift[0] + rows), clamp(shift[1] + columns));
    }

    function verdict() {
      const [a, b] = NAMES.map((name) => networks[name].accuracy);
      return [
        `On ${facts.testImages} test digits, the accuracy is about the same: ${rate(a.test)} with sharing and ${rate(b.test)} without. With sharing, the network has `,
        h("strong", {}, `${ratio.toFixed(1)} times fewer parameters`),
        ". Sharing does not make this network tolerate shifts, and both networks lose about the same accuracy: the strides, one bias per unit and the two dense layers all depend on where the digit is.",
      ];
    }

    /** @param {number} distance that the digit is shifted by, in px; NaN if the table has no row for it */
    function tellFigures(distance) {
      const [a, b] = NAMES.map((name) => networks[name]);
      const rows = [0, ...Object.keys(a.accuracy.shifted).map(Number)].map((shift) => {
        const text = shift ? `Accuracy, shifted by ${shift} px (%)` : "Accuracy (%)";
        const values = [a, b].map(({ accuracy }) => (shift ? accuracy.shifted[shift] : accuracy.test).toFixed(1));
        return h("tr", { class: shift === distance ? "own" : null }, h("th", { scope: "row" }, text), values.map((value) => h("td", { class: "number" }, value)));
      });
      replace(
        table,
        h(
          "table",
          { class: "figures" },
          h("caption", {}, `Measured on ${facts.testImages} test digits; shifts are averaged over up, down, left and right.`),
          h("thead", {}, h("tr", {}, h("td", {}), ["With sharing", "Without sharing"].map((name) => h("th", { scope: "col", class: "number" }, name)))),
          h(
            "tbody",
            {},
            h("tr", {}, h("th", { scope: "row" }, "Parameters"), [a, b].map(({ parameters }) => h("td", { class: "number" }, format(parameters)))),
            rows,
          ),
        ),
      );
    }

    /** @param {Options} options */
    function tellPredictions({ drawing, sample, shift }) {
      const [a, b] = NAMES.map((name) => predictions[name]);
      const result = (/** @type {import("../core/network.js").Prediction} */ p) => [h("strong", {}, `${articleOf(p.label)} ${p.label}`), ` (${percent(p.probabilities[p.label])})`];
      const truth = drawing === null ? samples[sample].label : null;
      const isRight = [a, b].map(({ label }) => label === truth);
      const judgment = isRight[0] === isRight[1] ? `both are ${isRight[0] ? "right" : "wrong"}` : `only the ${isRight[0] ? "shared" : "unshared"} one is right`;
      replaceText(lead, [
        `${describeShift(shift)}he shared network reads `.replace(/^he/, "The"),
        ...result(a),
        " and the unshared one ",
        ...result(b),
        truth === null ? "." : `. The digit is ${articleOf(truth)} ${truth}, so ${judgment}.`,
      ]);
    }

    /** The unit that is shown. @param {Options} options */
    function unitOf({ unit, layer, sharing: name }) {
      return unit ?? strongestInside(networks[name].layers[layer], predictions[name].activations[layer + 1].values);
    }

    return {
      el,
      update() {
        const options = read();
        const width = Math.max(280, el.clientWidth || 600);
        if (!bars) {
          bars = makeProbabilities(["With sharing", "Without sharing"], Math.min(width, 520));
          replace(chart, bars.el);
          seen = makeImage(width < 480 ? 9 : 10, "The digit that both networks see; the arrow keys shift it", { move: shiftBy });
          replace(seenPlace, seen.el);
          layers = makeStrip(networks.shared, width, (layer) => set({ layer, unit: null, product: null }));
          replace(strip, layers.el);
        }
        const nextImage = JSON.stringify([options.sample, options.drawing, options.shift]);
        if (nextImage !== imageKey) {
          imageKey = nextImage;
          const image = options.drawing === null ? samples[options.sample].image : fromBase64(options.drawing);
          const shifted = shiftImage(image, options.shift[0], options.shift[1]);
          for (const name of NAMES) predictions[name] = predict(networks[name], shifted);
          seen?.draw(inkOf(shifted));
          bars.draw(NAMES.map((name) => predictions[name]));
          tellPredictions(options);
          const [rows, columns] = options.shift.map(Math.abs);
          tellFigures(rows && columns ? NaN : rows + columns);
          down.set(options.shift[0]);
          right.set(options.shift[1]);
          disable(center, !rows && !columns);
          picker.set(options.drawing === null ? options.sample : null);
          if (options.drawing === null) pad.empty();
        }
        sharing.set(options.sharing);
        const net = networks[options.sharing];
        const { activations } = predictions[options.sharing];
        const layer = net.layers[options.layer];
        layers?.draw(net, activations, options.layer);
        const nextLayer = JSON.stringify([options.layer, options.sharing]);
        if (nextLayer !== layerKey) {
          layerKey = nextLayer;
          units = makeLayer(net, options.layer, width, (unit) => set({ unit, product: null }));
          products = makeProducts(net, options.layer, width, (product) => set({ unit: unitOf(read()), product }));
          replace(layerPlace, units.el);
          replace(unitPlace, products.el);
          replaceText(layerText, [describeLayer(layer, net.layers[options.layer - 1])]);
        }
        const unit = unitOf(options);
        units?.draw(activations[options.layer + 1], unit);
        const explanation = products?.draw(net, activations, unit, options.product);
        if (explanation) replaceText(unitText, describeUnit(layer, unit, explanation));
      },
      close: pad.close,
    };
  },
};

/** @param {number} value in percent */
const rate = (value) => `${value.toFixed(1)}%`;

/** @param {number} n */
const pixels = (n) => `${n < 0 ? "−" : ""}${Math.abs(n)} px`;

/** @param {number} digit */
const articleOf = (digit) => (digit === 8 ? "an" : "a");

/** "Shifted by 2 pixels down and 1 pixel to the left, t", or nothing. @param {number[]} shift */
function describeShift([rows, columns]) {
  const parts = [];
  if (rows) parts.push(`${plural(Math.abs(rows), "pixel")} ${rows > 0 ? "down" : "up"}`);
  if (columns) parts.push(`${plural(Math.abs(columns), "pixel")} to the ${columns > 0 ? "right" : "left"}`);
  return parts.length ? `Shifted by ${parts.join(" and ")}, t` : "";
}

/**
 * The options of the state, each replaced by its start if it cannot be read.
 * @param {any} data
 * @param {number} sampleCount
 * @param {import("../core/network.js").Layer[]} layers
 * @returns {Options}
 */
function readOptions(data, sampleCount, layers) {
  const given = typeof data === "object" && data !== null ? data : {};
  const layer = readIndex(given.layer, layers.length, START.layer);
  const units = layers[layer].outShape.reduce((total, n) => total * n, 1);
  const isShift = Array.isArray(given.shift) && given.shift.length === 2 && given.shift.every((/** @type {any} */ n) => Number.isInteger(n) && Math.abs(n) <= FAR);
  return {
    sample: readIndex(given.sample, sampleCount, START.sample),
    drawing: typeof given.drawing === "string" && fromBase64(given.drawing) ? given.drawing : null,
    shift: isShift ? given.shift : START.shift,
    sharing: given.sharing === "unshared" ? "unshared" : "shared",
    layer,
    unit: readIndex(given.unit, units, /** @type {any} */ (null)),
    product: readIndex(given.product, 1e4, /** @type {any} */ (null)),
  };
}

/** @param {Float64Array} image */
const toBase64 = (image) => btoa(String.fromCharCode(...image.map((value) => Math.round(127.5 * (value + 1)))));

/** The image of a text; one of the wrong length, or of other characters, gives null. @param {string} text @returns {any} */
function fromBase64(text) {
  if (text.length > 2 * SIZE * SIZE) return null;
  try {
    const bytes = atob(text);
    return bytes.length === SIZE * SIZE ? Float64Array.from(bytes, (byte) => byte.charCodeAt(0) / 127.5 - 1) : null;
  } catch {
    return null;
  }
}
