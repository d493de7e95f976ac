/** Feature maps of a photograph: one kernel everywhere, one per block, or one per position. */
import { correlate, correlateUnshared, countCommon, decodeBytes, flip, productsAt, quantile, relu } from "../core/maps.js";
import { byAxis } from "../core/sharing.js";
import { namedKernel } from "../core/weights.js";
import { colorOfValue, letterOf } from "../ui/colors.js";
import { check, choice, menu } from "../ui/controls.js";
import { h, redraw, replace, s } from "../ui/dom.js";
import { makeGrid } from "../ui/grid.js";
import { makeRandom } from "../ui/images.js";
import { imagePicker } from "../ui/pick_image.js";
import { makePixels } from "../ui/pixels.js";
import { format, formatSize, short } from "../ui/text.js";

/** @typedef {import("../core/maps.js").Gray} Gray */
/** @typedef {import("../core/maps.js").FeatureMap} FeatureMap */

/**
 * @typedef {object} Options what this chapter keeps in the state
 * @property {string} image
 * @property {"full" | "regional" | "local"} sharing
 * @property {(string | number[])[]} kernels of the four blocks, by name or by weights; a shared layer uses the first
 * @property {number[]} position of the window, [row, column]
 * @property {boolean} flip
 * @property {boolean} relu
 */

const SIZE = [3, 3];
const GRID = [2, 2];
const MOST = 100; // absolute value of a weight that is set by hand
const STRONGEST = 0.05; // share of the positions that count as strongest responses
const CLIP = 0.98; // share of the values within the color scale

/** Named kernels, the question that each of them answers, and what large values mean. */
const KERNELS = [
  { id: "vertical", name: "vertical edges", asks: "Where is a vertical edge?", positive: "brighter to the right", negative: "darker to the right", values: namedKernel("vertical", SIZE) },
  { id: "horizontal", name: "horizontal edges", asks: "Where is a horizontal edge?", positive: "brighter below", negative: "darker below", values: namedKernel("horizontal", SIZE) },
  { id: "outline", name: "outline", asks: "Where does a pixel differ from its neighbors?", positive: "brighter than around", negative: "darker than around", values: [-1, -1, -1, -1, 8, -1, -1, -1, -1] },
  { id: "emboss", name: "emboss", asks: "Where does the image get brighter to the lower right?", positive: "brighter to lower right", negative: "darker to lower right", values: [-2, -1, 0, -1, 1, 1, 0, 1, 2] },
  { id: "blur", name: "blur", asks: "How bright is the neighborhood?", positive: "bright", negative: "", values: namedKernel("blur", SIZE) },
  { id: "sharpen", name: "sharpen", asks: "How bright is a pixel, with its details exaggerated?", positive: "bright", negative: "a dark detail", values: namedKernel("sharpen", SIZE) },
];
const CUSTOM = { id: "custom", name: "set by hand", asks: "Where does the image look like the kernel?", positive: "like the kernel", negative: "like its negative" };

const HINT = "Or drop an image here. It never leaves this page.";
const GRAYS = Array.from({ length: 256 }, (_, level) => [level, level, level]);

/** @type {Options} */
const START = { image: "", sharing: "full", kernels: ["vertical", "horizontal", "outline", "emboss"], position: [74, 25], flip: false, relu: false };

/** Images of the reader, which neither links nor notebooks contain. @type {WeakMap<object, { image: Gray, name: string }>} */
const OWN = new WeakMap();

/** @type {import("../app/shell.js").Chapter} */
export const maps = {
  id: "maps",
  hasOwnModel: true,
  name: "Feature maps",
  question: "What does a shared kernel find?",
  isAvailable: (app) => Boolean(app.data.images?.images?.length),
  create(app) {
    const { images, changes } = app.data.images;
    /** @type {Map<string, Gray>} */
    const decoded = new Map();
    /** @type {{ image: Gray, labels: number[] | null, weights: number[][], map: FeatureMap, values: Float64Array, options: Options } | null} */
    let view = null;
    let key = "";
    /** @type {number[] | null} */
    let hovered = null;

    const lead = h("p", { class: "lead maps-lead", "aria-live": "polite" });
    const message = h("p", { class: "caption", role: "status" }, HINT);
    const sharing = choice("Kernels", {
      options: [["full", "One shared kernel"], ["regional", "One kernel per block"], ["local", "One kernel per position"]],
      value: "full",
      change: (value) => set({ sharing: /** @type {Options["sharing"]} */ (value) }),
    });
    const photo = makePixels({ label: "Image", pick: (row, column) => pick(row - 1, column - 1), hover: (row, column) => hover(row === null ? null : [row - 1, column - 1]) });
    const drawing = makePixels({ label: "Feature map; the arrow keys move the window", pick, hover: (row, column) => hover(row === null ? null : [row, column]), move });
    const imageCaption = h("p", { class: "caption", "data-caption": true });
    const mapCaption = h("p", { class: "caption", "data-caption": true });
    const kernelCaption = h("p", { class: "caption", "data-caption": true });
    const legend = h("div");
    const credit = h("p", { class: "caption credit" });
    const windowGrid = makeGrid({ rows: 3, columns: 3, size: 40, label: "Pixels in the window", hover: (row, column) => mark(row === null ? null : row * 3 + column) });
    const kernelGrid = makeGrid({ rows: 3, columns: 3, size: 40, label: "" }); // under the inputs, for pictures that are saved
    kernelGrid.el.setAttribute("aria-hidden", "true");
    const inputs = Array.from({ length: 9 }, (_, tap) => {
      const input = h("input", { type: "number", min: -MOST, max: MOST, step: "any", "aria-label": `Weight in row ${Math.floor(tap / 3) + 1}, column ${(tap % 3) + 1}` });
      input.addEventListener("input", () => edit(tap, input));
      input.addEventListener("blur", () => draw());
      input.addEventListener("pointerenter", () => mark(tap));
      input.addEventListener("pointerleave", () => mark(null));
      return input;
    });
    const preset = menu("Preset", { options: [...KERNELS, CUSTOM].map(({ id, name }) => [id, name]), value: "vertical", change: (id) => setKernel(id === "custom" ? weightsOf(currentKernel()) : id) });
    const formula = h("p", { class: "formula", "aria-live": "polite" });
    const flipped = check("Flip the kernel", { value: false, change: (value) => set({ flip: value }) });
    const flipText = h("p", { "aria-live": "polite" });
    const rectified = check("Apply ReLU", { value: false, change: (value) => set({ relu: value }) });
    const reluText = h("p", { "aria-live": "polite" });
    const imageMenu = h("div");
    const source = h("div", { class: "source" }, imageMenu);
    /** @type {ReturnType<typeof menu> | null} */
    let imageChoice = null;

    const kernelPanel = h(
      "div",
      { class: "panel kernel" },
      h("div", { class: "panel" }, h("p", { class: "caption", "data-caption": true }, "Window"), windowGrid.el),
      h("div", { class: "panel" }, kernelCaption, h("div", { class: "weights", role: "group", "aria-label": "Weights of the kernel" }, kernelGrid.el, h("div", {}, inputs))),
      preset.el,
    );
    const figure = h(
      "figure",
      { class: "feature-maps" },
      h("div", { class: "panel" }, imageCaption, photo.el, source),
      kernelPanel,
      h("div", { class: "panel" }, mapCaption, drawing.el, legend),
    );
    const el = h("div", {}, sharing.el, lead, figure, formula);
    const picker = imagePicker({
      target: el,
      done(found) {
        if ("problem" in found) return say(found.problem, true);
        OWN.set(app, found);
        set({ image: "own" });
        say(`${found.note} It never leaves this page.`);
      },
    });
    source.append(picker, message);
    el.append(
      h(
        "details",
        { ontoggle: tellDetails, open: Boolean(app.state.options.maps?.flip) },
        h("summary", {}, "Convolution or cross-correlation?"),
        h(
          "p",
          {},
          "Networks call this operation a convolution, but it is a cross-correlation: the kernel is used as it is. A convolution, such as ",
          h("code", {}, "scipy.signal.convolve2d"),
          ", rotates the kernel by 180° first. For learned kernels, the difference does not matter. It matters if you copy a kernel from one library to another.",
        ),
        flipped.el,
        flipText,
      ),
      h(
        "details",
        {},
        h("summary", {}, "What does the next layer see?"),
        h("p", {}, "Most networks apply an activation function to the map. ReLU keeps positive values and sets negative values to 0, so one map finds only one of the two directions of an edge."),
        rectified.el,
        reluText,
      ),
      credit,
    );

    /** @param {Partial<Options>} patch */
    function set(patch) {
      if (patch.image !== undefined || message.className === "problem") say(HINT);
      app.setOptions("maps", patch);
    }

    /** @param {string} text @param {boolean} [isProblem] */
    function say(text, isProblem = false) {
      message.textContent = text;
      message.className = isProblem ? "problem" : "caption";
    }

    /** @returns {Options} */
    const read = () => readOptions(app.state.options.maps, [...images.map((/** @type {any} */ one) => one.name), "own"]);

    /** @param {Options} options @returns {Gray} */
    function imageOf({ image: name }) {
      const own = OWN.get(app);
      if (name === "own" && own) return own.image;
      const one = images.find((/** @type {any} */ image) => image.name === name) ?? images[0];
      const image = decoded.get(one.name) ?? { width: one.width, height: one.height, values: decodeBytes(one.pixels) };
      decoded.set(one.name, image);
      return image;
    }

    /** The position that the pointer is at, or else the position that was picked. */
    function current() {
      const { map, options } = /** @type {NonNullable<typeof view>} */ (view);
      const clamp = (/** @type {number} */ i, /** @type {number} */ n) => Math.max(0, Math.min(n - 1, i));
      const [row, column] = hovered ?? options.position;
      return [clamp(row, map.height), clamp(column, map.width)];
    }

    /** The number of the kernel at the window. */
    function label() {
      const { labels, map } = /** @type {NonNullable<typeof view>} */ (view);
      const [row, column] = current();
      return labels ? labels[row * map.width + column] : 0;
    }

    const currentKernel = () => read().kernels[view?.options.sharing === "regional" ? label() : 0];

    /** @param {string | number[]} kernel */
    function setKernel(kernel) {
      const { kernels } = read();
      kernels[view?.options.sharing === "regional" ? label() : 0] = kernel;
      set({ kernels });
    }

    /** @param {number} tap @param {HTMLInputElement} input */
    function edit(tap, input) {
      const value = Number(input.value);
      input.setAttribute("aria-invalid", String(!input.value || !input.validity.valid));
      if (!input.value || !Number.isFinite(value) || Math.abs(value) > MOST) return; // not finished yet
      const values = [...weightsOf(currentKernel())];
      values[read().flip ? 8 - tap : tap] = value;
      setKernel(nameOf(values) ?? values);
    }

    /** @param {number} row @param {number} column */
    function pick(row, column) {
      hovered = null;
      set({ position: [Math.max(0, row), Math.max(0, column)] });
    }

    /** @param {number} rows @param {number} columns */
    function move(rows, columns) {
      hovered = null;
      const [row, column] = current();
      pick(row + rows, column + columns);
    }

    /** @param {number[] | null} position */
    function hover(position) {
      const isEditing = inputs.some((input) => input === document.activeElement);
      if (isEditing && view?.options.sharing === "regional") return; // the kernel that is being edited stays
      hovered = position;
      if (view) draw();
    }

    /** Compute and draw what does not depend on the position. */
    function build() {
      const options = read();
      const image = imageOf(options);
      const [rows, columns] = [image.height - 2, image.width - 2];
      const labels = labelsOf(options.sharing, rows, columns);
      const given = options.sharing === "local" ? randomKernels(rows * columns) : options.kernels.map(weightsOf);
      const weights = options.flip ? given.map(flip) : given;
      const map = correlateUnshared(image.values, image.width, image.height, weights, labels);
      const values = options.relu ? relu(map.values) : map.values;
      view = { image, labels, weights, map, values, options };
      layOut();
      tellSharing();
      tellDetails();
      tellRelu();
      const one = images.find((/** @type {any} */ other) => other.name === options.image) ?? images[0];
      const own = OWN.get(app);
      const isOwn = options.image === "own" && own !== undefined;
      if (options.image === "own" && !own) say("This link was made with an image of its author, which never left their computer. The page shows another one.", true);
      imageCaption.textContent = `Image, ${formatSize([image.width, image.height])}`;
      mapCaption.textContent = `Feature map, ${formatSize([columns, rows])}${options.relu ? ", after ReLU" : ""}`;
      const link = (/** @type {string} */ text, /** @type {string} */ href) => h("a", { href, rel: "noreferrer" }, text);
      replace(credit, "Photograph of ", one.title, " by ", link(one.author, one.source), ", ", link(one.license, one.license_url), `. ${changes}`);
      credit.hidden = isOwn;
      const names = images.map((/** @type {any} */ other) => [other.name, other.title]);
      imageChoice = menu("Image", { options: own ? [...names, ["own", "your own image"]] : names, value: isOwn ? "own" : one.name, change: (name) => set({ image: name }) });
      redraw(imageMenu, imageChoice.el);
      sharing.set(options.sharing);
      flipped.set(options.flip);
      rectified.set(options.relu);
    }

    /** Size the pictures so that they fit side by side if there is room. */
    function layOut() {
      const { image, map, values } = /** @type {NonNullable<typeof view>} */ (view);
      const width = Math.max(240, figure.clientWidth || 600);
      const columns = width >= 900 ? 3 : width >= 560 ? 2 : 1;
      figure.dataset.columns = String(columns);
      const room = columns === 3 ? (width - 190) / 2 : columns === 2 ? (width - 28) / 2 : width;
      const wanted = Math.min(room / image.width, 480 / image.height, 16);
      photo.draw(image.width, image.height, wanted, (i) => GRAYS[image.values[i]]);
      const limit = quantile(values, CLIP) || 1;
      const color = colorScale(limit);
      drawing.draw(map.width, map.height, wanted, (i) => color(values[i]));
      legend.dataset.limit = String(limit);
    }

    function tellSharing() {
      const { image, map, options } = /** @type {NonNullable<typeof view>} */ (view);
      const positions = map.values.length;
      const kernel = describe(options.kernels[0]);
      if (options.sharing === "full") {
        const parts = ["The same ", h("strong", {}, "9 weights"), ` are used at all ${format(positions)} positions, so the map answers one question everywhere: `, h("strong", {}, kernel.asks)];
        return replaceText(lead, parts);
      }
      const first = options.flip ? flip(weightsOf(options.kernels[0])) : weightsOf(options.kernels[0]);
      const shared = correlate(image.values, image.width, image.height, first);
      const count = Math.max(1, Math.round(STRONGEST * positions));
      const common = countCommon(shared.values, map.values, count);
      const name = options.sharing === "regional" ? "kernel a" : "a shared kernel";
      const kept = [` Of the ${format(count)} positions at which ${name} alone would respond most strongly, `, h("strong", {}, format(common)), " are still among the strongest."];
      if (options.sharing === "regional") {
        replaceText(lead, ["Each of the four blocks has its own kernel: ", h("strong", {}, "36 weights"), ". The same color means something else in each block, so the map no longer answers one question.", ...kept]);
      } else {
        replaceText(lead, [
          `Each of the ${format(positions)} positions has its own kernel: `,
          h("strong", {}, `${format(9 * positions)} weights`),
          ". They are random before training, and nothing forces neighbors to become alike, so the map does not show where an edge is.",
          ...kept,
        ]);
      }
    }

    /** Compare with the flipped kernels, if the reader wants to see it. */
    function tellDetails() {
      if (!view || !flipText.closest("details")?.open) return;
      const { image, map, weights, labels } = view;
      const other = correlateUnshared(image.values, image.width, image.height, weights.map(flip), labels);
      const differences = map.values.map((value, i) => Math.abs(value - other.values[i]));
      const changed = differences.filter((difference) => difference > 1e-9).length;
      flipText.textContent = changed
        ? `Flipping changes the map at ${format(changed)} of ${format(differences.length)} positions, by up to ${short(differences.reduce((a, b) => Math.max(a, b), 0))}.${map.values.every((value, i) => Math.abs(value + other.values[i]) < 1e-9) ? " Here, every value changes its sign." : ""}`
        : "This kernel is the same after half a turn, so flipping it changes nothing.";
    }

    function tellRelu() {
      const { map, values, options } = /** @type {NonNullable<typeof view>} */ (view);
      const negative = map.values.filter((value) => value < 0).length;
      reluText.textContent = options.relu
        ? `ReLU has set ${format(negative)} negative values to 0.`
        : `ReLU would set ${format(negative)} of ${format(values.length)} values to 0.`;
    }

    /** Draw what depends on the position. */
    function draw() {
      const { image, weights, map, options } = /** @type {NonNullable<typeof view>} */ (view);
      const [row, column] = current();
      const bank = label();
      const kernel = weights[bank];
      const terms = productsAt(image, kernel, row, column);
      const box = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ n, /** @type {number} */ unit, more = 0) =>
        ["mark casing", "mark"].map((name) => s("rect", { x: x * unit - more, y: y * unit - more, width: n * unit + 2 * more, height: n * unit + 2 * more, rx: 2, class: name }));
      photo.marks.replaceChildren(...box(column, row, 3, photo.scale));
      drawing.marks.replaceChildren(...(options.sharing === "regional" ? drawBlocks(map, drawing.scale, bank) : []), ...box(column, row, 1, drawing.scale, 3));
      windowGrid.setAll((r, c) => {
        const { value } = terms[r * 3 + c];
        const level = Math.round(125 + (value / 255) * 130); // light enough for black numbers
        return { fill: `rgb(${level} ${level} ${level})`, text: short(value) };
      });
      const most = Math.max(...kernel.map(Math.abs));
      inputs.forEach((input, tap) => {
        if (document.activeElement !== input) {
          input.value = String(kernel[tap]);
          input.removeAttribute("aria-invalid");
        }
        input.readOnly = options.sharing === "local";
        input.style.background = colorOfValue(kernel[tap], most);
      });
      kernelGrid.setAll((r, c) => ({ fill: colorOfValue(kernel[r * 3 + c], most), text: short(kernel[r * 3 + c]) }));
      const turned = options.flip ? ", flipped" : "";
      kernelCaption.textContent =
        options.sharing === "full" ? `Kernel${turned}` : options.sharing === "regional" ? `Kernel of block ${letterOf(bank)}${turned}` : `Random kernel${turned}`;
      preset.el.hidden = options.sharing === "local";
      const chosen = options.kernels[options.sharing === "regional" ? bank : 0];
      preset.set(typeof chosen === "string" ? chosen : "custom");
      const sum = map.values[row * map.width + column];
      const largest = Math.max(1, ...terms.map(({ product }) => Math.abs(product)));
      const chips = terms.map(({ value, weight, product }, tap) => {
        const chip = h("span", { class: "term", onpointerenter: () => mark(tap), onpointerleave: () => mark(null) }, `${short(value)} × ${short(weight)}`);
        chip.style.background = colorOfValue(product, largest);
        return chip;
      });
      const meaning = options.sharing === "local" || Math.abs(sum) < 0.25 * Number(legend.dataset.limit) ? "" : sum > 0 ? describe(chosen).positive : describe(chosen).negative;
      replace(
        formula,
        `Row ${row + 1}, column ${column + 1}: `,
        chips.flatMap((chip, i) => (i ? [" + ", chip] : [chip])),
        " = ",
        h("strong", {}, short(sum)),
        meaning && !options.flip ? ` (${meaning})` : null,
        options.relu && sum < 0 ? ", which ReLU sets to 0" : null,
      );
      drawLegend(options.sharing === "local" || options.flip ? null : describe(chosen));
    }

    /** @param {{ positive: string, negative: string } | null} meaning of large values, if there is one */
    function drawLegend(meaning) {
      const limit = Number(legend.dataset.limit);
      const text = JSON.stringify([limit, meaning?.positive, meaning?.negative, drawing.scale]);
      if (legend.dataset.key === text) return;
      legend.dataset.key = text;
      const width = Math.max(200, Math.min(380, /** @type {NonNullable<typeof view>} */ (view).map.width * drawing.scale));
      const steps = 41;
      const swatches = Array.from({ length: steps }, (_, i) => s("rect", { x: (i * width) / steps, y: 0, width: width / steps + 0.5, height: 10, fill: colorOfValue((2 * i) / (steps - 1) - 1, 1) }));
      const line = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ anchor, /** @type {string} */ content) => s("text", { x, y, class: "label", "text-anchor": anchor, "font-size": 12 }, content);
      replace(
        legend,
        s(
          "svg",
          { width, height: 44, viewBox: `0 0 ${width} 44`, role: "img", "aria-label": `Blue is ${short(-limit)} or less, white is 0, orange is ${short(limit)} or more` },
          swatches,
          s("rect", { x: 0.5, y: 0.5, width: width - 1, height: 9, class: "frame" }),
          line(0, 25, "start", `${short(-limit)} or less`),
          line(width / 2, 25, "middle", "0"),
          line(width, 25, "end", `${short(limit)} or more`),
          meaning && line(0, 40, "start", meaning.negative),
          meaning && line(width, 40, "end", meaning.positive),
        ),
      );
    }

    /** Highlight one product in the window and in the sum. @param {number | null} tap */
    function mark(tap) {
      windowGrid.mark(tap === null ? [] : [{ row: Math.floor(tap / 3), column: tap % 3, className: "hot" }]);
      inputs.forEach((input, i) => input.classList.toggle("hot", i === tap));
      formula.querySelectorAll(".term").forEach((chip, i) => chip.classList.toggle("hot", i === tap));
    }

    return {
      el,
      update() {
        const { position, ...rest } = read();
        const next = JSON.stringify(rest);
        if (next !== key || imageOf(read()) !== view?.image) build();
        key = next;
        if (view) view.options.position = position;
        draw();
      },
    };
  },
};

/**
 * The options of the chapter from the state, which may be incomplete or wrong.
 * @param {any} data
 * @param {string[]} names of the images
 * @returns {Options}
 */
export function readOptions(data, names) {
  const options = structuredClone(START);
  options.image = names.includes(data?.image) ? data.image : names[0];
  if (["full", "regional", "local"].includes(data?.sharing)) options.sharing = data.sharing;
  if (Array.isArray(data?.kernels)) options.kernels = options.kernels.map((kernel, i) => (isKernel(data.kernels[i]) ? structuredClone(data.kernels[i]) : kernel));
  const { position } = data ?? {};
  if (Array.isArray(position) && position.length === 2 && position.every((n) => Number.isInteger(n) && n >= 0)) options.position = position;
  options.flip = data?.flip === true;
  options.relu = data?.relu === true;
  return options;
}

/** @param {any} kernel */
const isKernel = (kernel) =>
  KERNELS.some(({ id }) => id === kernel) || (Array.isArray(kernel) && kernel.length === 9 && kernel.every((weight) => Number.isFinite(weight) && Math.abs(weight) <= MOST));

/** @param {string | number[]} kernel @returns {number[]} */
const weightsOf = (kernel) => (typeof kernel === "string" ? KERNELS.find(({ id }) => id === kernel)?.values ?? KERNELS[0].values : kernel);

/** @param {string | number[]} kernel */
const describe = (kernel) => KERNELS.find(({ id }) => id === kernel) ?? CUSTOM;

/** The name of a kernel with these weights, if there is one. @param {number[]} values */
const nameOf = (values) => KERNELS.find((kernel) => kernel.values.every((weight, tap) => weight === values[tap]))?.id;

/** @param {Options["sharing"]} sharing @param {number} rows @param {number} columns */
function labelsOf(sharing, rows, columns) {
  if (sharing === "full") return null;
  if (sharing === "local") return Array.from({ length: rows * columns }, (_, position) => position);
  const [down, across] = /** @type {NonNullable<ReturnType<typeof byAxis>>} */ (byAxis({ type: "regional", grid: GRID }, [rows, columns]));
  return Array.from({ length: rows * columns }, (_, position) => down.label(Math.floor(position / columns)) * GRID[1] + across.label(position % columns));
}

/** Kernels of whole numbers from -2 to 2, the same each time. @param {number} count */
function randomKernels(count) {
  if (drawn.length < count) {
    const random = makeRandom(5);
    const weight = () => Math.floor(random() * 5) - 2;
    drawn = Array.from({ length: count }, () => [weight(), weight(), weight(), weight(), weight(), weight(), weight(), weight(), weight()]);
  }
  return drawn;
}

/** @type {number[][]} */
let drawn = [];

/** Red, green and blue of values up to a limit, as `colorOfValue` gives them. @param {number} limit */
function colorScale(limit) {
  const steps = 255;
  const colors = Array.from({ length: 2 * steps + 1 }, (_, i) => (colorOfValue(i - steps, steps).match(/\d+/g) ?? []).map(Number));
  return (/** @type {number} */ value) => colors[Math.round(steps * Math.max(-1, Math.min(1, value / limit))) + steps];
}

/** Borders and letters of the blocks. @param {FeatureMap} map @param {number} scale @param {number} current */
function drawBlocks(map, scale, current) {
  const [width, height] = [map.width * scale, map.height * scale];
  const [down, across] = [Math.ceil(map.height / GRID[0]) * scale, Math.ceil(map.width / GRID[1]) * scale];
  return [
    s("path", { d: `M${across} 0V${height}M0 ${down}H${width}`, class: "block-border" }),
    ...[0, 1, 2, 3].flatMap((block) => {
      const at = { x: (block % 2) * across + 8, y: Math.floor(block / 2) * down + 20, class: `block-letter${block === current ? " current" : ""}`, "font-size": 15 };
      return [s("text", { ...at, class: "block-letter halo" }, letterOf(block)), s("text", at, letterOf(block))];
    }),
  ];
}

/** Replace a live text only if it changes, so that it is not announced again. @param {HTMLElement} element @param {(string | Node)[]} parts */
function replaceText(element, parts) {
  const next = parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  if (element.textContent !== next) replace(element, parts);
}
