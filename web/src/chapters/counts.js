/** The counts of a layer under each sharing, with the product that each number comes from. */
import { connections, count, denseParameters, macs, neurons, parameters, sumOf, valueOf } from "../core/counts.js";
import { outputSize, product } from "../core/geometry.js";
import { problem as problemOf, writeLayer } from "../core/layer.js";
import { format as formatSharing, misfit } from "../core/sharing.js";
import { button } from "../ui/controls.js";
import { h, redraw, replace } from "../ui/dom.js";
import { layerControls } from "../ui/layer_controls.js";
import { format, formatSize, plural } from "../ui/text.js";
import { listSharings } from "./connections.js";
import { PRESETS } from "./presets.js";

/** @typedef {import("../core/geometry.js").Layer} Layer */
/** @typedef {import("../core/counts.js").Term} Term */

const MOST = { inputSize: 256, kernelSize: 11, stride: 8, padding: 5, dilation: 4, inChannels: 128, outChannels: 128 };
const CONTROLS = ["inputSize", "kernelSize", "inChannels", "outChannels", "stride", "padding"];
const MORE = ["sharing", "dilation", "groups", "bias", "biasSharing", "axes"];

/** The sharings that are always shown. */
const LIMITS = ["full", "local", "dense"];

/** What each sharing means, in a few words. */
const MEANINGS = /** @type {Record<string, string>} */ ({
  full: "one kernel for all positions",
  tiled: "kernels repeat",
  regional: "one kernel per block",
  along: "one kernel per row (along:1) or column (along:0)",
  mapped: "one kernel per label",
  lowrank: "one kernel plus corrections",
  local: "one kernel per position",
});

/** @type {import("../app/shell.js").Chapter} */
export const counts = {
  id: "counts",
  name: "Counts",
  question: "How many weights are there?",
  create(app) {
    const lead = h("p", { class: "lead" });
    const problem = h("p", { class: "problem", hidden: true });
    const presets = h(
      "div",
      { class: "choice", role: "group", "aria-label": "Examples" },
      PRESETS.map((preset) => button(preset.name, () => {
        app.set({ layer: writeLayer(preset.layer), question: null });
        app.setOptions("counts", { preset: preset.id, cell: null });
      }, { "data-preset": preset.id })),
    );
    const remark = h("p", { class: "remark" });
    const figure = h("figure");
    const derivation = h("div", { class: "derivation", "aria-live": "polite" });
    const changes = h("details", {}, h("summary", {}, "What changes these numbers?"), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What changes the numbers" }));
    const controls = layerControls(app, CONTROLS, MORE, MOST);
    const more = button("More sharings", () => app.setOptions("counts", { all: !app.state.options.counts?.all }));
    const el = h("div", {}, lead, presets, remark, problem, figure, more, derivation, controls.el, changes);

    function draw() {
      const { layer } = app;
      const preset = PRESETS.find(({ id }) => id === app.state.options.counts?.preset);
      const isPreset = preset !== undefined && JSON.stringify(writeLayer(preset.layer)) === JSON.stringify(app.state.layer);
      for (const one of presets.querySelectorAll("button")) one.setAttribute("aria-pressed", String(isPreset && one.dataset.preset === preset.id));
      const isNeeded = isPreset && app.state.question === null;
      remark.textContent = isNeeded ? preset.remark : "";
      remark.hidden = !isNeeded;
      const why = problemOf(layer);
      problem.hidden = why === null;
      figure.hidden = more.hidden = derivation.hidden = changes.hidden = why !== null;
      problem.textContent = why ?? "";
      if (why !== null) {
        lead.textContent = "";
        return;
      }
      const found = /** @type {Exclude<ReturnType<typeof count>, { error: string }>} */ (count(layer));
      replace(
        lead,
        `An input of ${formatSize([...layer.inputSize, layer.inChannels])} gives an output of ${formatSize([...found.output, layer.outChannels])} = ${format(found.neurons)} neurons. `,
        `With ${formatSharing(layer.sharing)} sharing, the layer has `,
        h("strong", {}, plural(sumOf(found.bySharing.own), "parameter")),
        ".",
      );
      const rows = makeRows(layer, found.output);
      const isAll = Boolean(app.state.options.counts?.all);
      more.textContent = isAll ? "Fewer sharings" : "More sharings";
      const asked = app.state.options.counts?.cell;
      const chosen = typeof asked === "string" ? asked : `${formatSharing(layer.sharing)}/parameters`;
      redraw(
        figure,
        h(
          "div",
          { class: "scroll", tabindex: 0, role: "region", "aria-label": "Counts" },
          h(
            "table",
            { class: "stack" },
            h("caption", {}, "Choose a number to see where it comes from."),
            h("thead", {}, h("tr", {}, ["sharing", "parameters", "distinct weights", "biases", "connections", "multiply-accumulates"].map((text, i) => h("th", { scope: "col", class: i ? "number" : null }, text)))),
            h(
              "tbody",
              {},
              rows.filter((row) => isAll || row.isOwn || LIMITS.includes(row.name)).map((row) =>
                h(
                  "tr",
                  { class: row.isOwn ? "own" : null },
                  h("th", { scope: "row" }, row.name, h("small", {}, row.meaning)),
                  row.cells.map(({ name, terms }) =>
                    h(
                      "td",
                      { class: "number", "data-label": name },
                      button(format(sumOf(terms)), () => app.setOptions("counts", { cell: `${row.name}/${name}` }), {
                        class: "quiet",
                        "aria-pressed": String(chosen === `${row.name}/${name}`),
                        "aria-label": `${row.name}, ${name}: ${format(sumOf(terms))}`,
                      }),
                    ),
                  ),
                ),
              ),
            ),
          ),
        ),
      );
      const [rowName, cellName] = chosen.split("/");
      const row = rows.find(({ name }) => name === rowName) ?? rows[0];
      const cell = row.cells.find(({ name }) => name === cellName) ?? row.cells[0];
      const local = rows.find(({ name }) => name === "local")?.cells.find(({ name }) => name === cell.name)?.terms;
      replace(
        derivation,
        h("h2", {}, `Where do the ${format(sumOf(cell.terms))} ${cell.name} (${row.name}) come from?`),
        h("p", {}, describe(cell.terms, layer)),
        rowName === "full" && local ? h("p", {}, `Without sharing: ${describe(local, layer)}`) : null,
        cell.name === "parameters" && row.name === "full" && layer.bias && layer.biasSharing === null
          ? h("p", {}, `Each filter has ${format(product(layer.kernelSize) * (layer.inChannels / layer.groups))} weights + 1 bias, which all its positions share.`)
          : null,
        cell.name === "connections" ? h("p", {}, "Connections are pairs of an output and an input. Those to the padding do not count.") : null,
        cell.name === "connections" ? h("p", {}, describePatterns(layer)) : null,
        cell.name === "multiply-accumulates" && row.name !== "dense" ? h("p", {}, "Sharing saves weights and memory. It does not save multiplications: each position still multiplies its whole window.") : null,
      );
      replace(/** @type {Element} */ (changes.querySelector(".scroll")), makeChanges(layer));
    }

    return {
      el,
      update() {
        controls.update();
        draw();
      },
    };
  },
};

/** @param {Layer} layer @param {number[]} out */
function makeRows(layer, out) {
  const positions = layer.transposed ? layer.inputSize : out;
  const rows = listSharings(layer)
    .filter((sharing) => misfit(sharing, positions) === null)
    .map((sharing) => {
      const terms = parameters(layer, sharing, out);
      const isBias = ({ label = "" }) => label === "biases";
      return makeRow(formatSharing(sharing), MEANINGS[sharing.type], sharing.type === layer.sharing.type, [connections(layer, out)], terms.filter((t) => !isBias(t)), terms.filter(isBias), macs(layer, sharing, out));
    });
  const dense = denseParameters(layer, out);
  const all = /** @type {Term} */ ({ label: "connections", factors: [["inputs", layer.inChannels * product(layer.inputSize)], ["outputs", neurons(layer, out)]] });
  rows.push(makeRow("dense", "every output sees every input", false, [all], dense.slice(0, 1), dense.slice(1), [{ ...all, label: "products" }]));
  return rows;
}

/** @param {string} name @param {string} meaning @param {boolean} isOwn @param {Term[]} pairs @param {Term[]} weights @param {Term[]} biases @param {Term[]} products */
const makeRow = (name, meaning, isOwn, pairs, weights, biases, products) => ({
  name,
  meaning,
  isOwn,
  cells: [
    { name: "parameters", terms: [...weights, ...biases] },
    { name: "distinct weights", terms: weights },
    { name: "biases", terms: biases },
    { name: "connections", terms: pairs },
    { name: "multiply-accumulates", terms: products },
  ],
});

/** How many binary patterns one output can tell apart, locally and globally. @param {Layer} layer */
function describePatterns(layer) {
  const power = (/** @type {number} */ bits) => (bits <= 20 ? `2^${bits} = ${format(2 ** bits)}` : `2^${format(bits)}`);
  const local = (product(layer.kernelSize) * layer.inChannels) / layer.groups;
  const all = product(layer.inputSize) * layer.inChannels;
  return `If every input were one bit, one output would see one of ${power(local)} patterns through its window, and one of ${power(all)} patterns if it saw the whole input.`;
}

/** @param {Term[]} terms @param {Layer} layer */
function describe(terms, layer) {
  if (!terms.length) return "There are none.";
  const name = (/** @type {string} */ label, /** @type {number} */ n) => {
    if (label === "kernel") return `${formatSize(layer.kernelSize)} kernel`;
    if (label === "banks") return plural(n, "set of kernels", "sets of kernels");
    const noun = n === 1 ? label.replace(/\b(channels|positions|inputs|outputs|corrections)\b/g, (word) => word.slice(0, -1)).replace("biases", "bias") : label;
    return `${format(n)} ${noun}`;
  };
  const products = terms.map((term) => term.factors.map(([label, n]) => name(label, n)).join(" × "));
  const sums = terms.length > 1 ? ` = ${terms.map((term) => format(valueOf(term))).join(" + ")}` : "";
  return `${products.join(" + ")}${sums} = ${format(sumOf(terms))}`;
}

/** What happens to the parameters if one thing changes. @param {Layer} layer */
function makeChanges(layer) {
  const all = (/** @type {number[]} */ values, /** @type {(n: number) => number} */ next) => values.map(next);
  /** @type {[string, Layer][]} */
  const variants = [
    ["input twice as large", { ...layer, inputSize: all(layer.inputSize, (n) => 2 * n) }],
    ["kernel size + 2", { ...layer, kernelSize: all(layer.kernelSize, (n) => n + 2) }],
    ["stride × 2", { ...layer, stride: all(layer.stride, (n) => 2 * n) }],
    ["padding + 1", { ...layer, padding: layer.padding.map(([before, after]) => [before + 1, after + 1]) }],
    ["dilation + 1", { ...layer, dilation: all(layer.dilation, (n) => n + 1) }],
    ["input channels × 2", { ...layer, inChannels: 2 * layer.inChannels }],
    ["output channels × 2", { ...layer, outChannels: 2 * layer.outChannels }],
    ["no bias", { ...layer, bias: false }],
    ["one bias per output (untied)", { ...layer, bias: true, biasSharing: { type: "local" } }],
  ];
  const found = /** @type {{ size: number[] }} */ (outputSize(layer)).size;
  const before = countAll(layer, found);
  const names = ["full", "local", "dense"];
  return h(
    "table",
    {},
    h("caption", {}, "Parameters after one change"),
    h("thead", {}, h("tr", {}, ["change", ...names].map((text, i) => h("th", { scope: "col", class: i ? "number" : null }, text)))),
    h(
      "tbody",
      {},
      variants.map(([name, next]) => {
        const size = outputSize(next);
        const cells = "error" in size ? names.map(() => "no output") : countAll(next, size.size).map((n, i) => (n === before[i] ? "the same" : format(n)));
        return h("tr", {}, h("th", { scope: "row" }, name), cells.map((text) => h("td", { class: "number" }, text)));
      }),
    ),
  );
}

/** @param {Layer} layer @param {number[]} out */
const countAll = (layer, out) => [
  sumOf(parameters(layer, { type: "full" }, out)),
  sumOf(parameters(layer, { type: "local" }, out)),
  sumOf(denseParameters(layer, out)),
];
