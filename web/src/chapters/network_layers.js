/** The inside of a trained network at three levels: all layers, one layer, and the products of one unit. */
import { explainUnit } from "../core/network.js";
import { h } from "../ui/dom.js";
import { makeGrid } from "../ui/grid.js";
import { makeMosaic, stepOf, stepThrough, toColor, toInk } from "../ui/mosaic.js";
import { colorOfValue, grayOf } from "../ui/colors.js";
import { format, formatSize, plural, short } from "../ui/text.js";
import { makeCaption, makeImage, panel } from "./digits.js";

/** @typedef {import("../core/network.js").Network} Network */
/** @typedef {import("../core/network.js").Layer} Layer */
/** @typedef {import("../core/network.js").Activation} Activation */

/** The largest absolute value of a unit, and of a sum in the output. */
const LIMITS = { scaledTanh: 1.7159, relu: 6, linear: 10 };

/** Share of the largest weight at which the colors of small kernels end. */
const CLIP = 0.6;

/** "H1" for "h1". @param {string} name */
const titleOf = (name) => name[0].toUpperCase() + name.slice(1);

/** @param {Layer} layer */
const sizeOf = (layer) => (layer.type === "conv" ? `${layer.outShape[0]} maps, ${formatSize(layer.outShape.slice(1))}` : plural(layer.outShape[0], layer.name === "output" ? "class" : "unit", layer.name === "output" ? "classes" : "units"));

/** Number of parameters of a layer. @param {Layer} layer */
export const countOf = (layer) => layer.weight.length + layer.bias.length;

/** Tiles that show values of a layer: its maps, or all units in one tile. @param {number[]} shape */
function tilesOf(shape) {
  if (shape.length === 3) return { tiles: shape[0], rows: shape[1], columns: shape[2] };
  const columns = shape[0] % 6 === 0 ? 6 : 5;
  return { tiles: 1, rows: Math.ceil(shape[0] / columns), columns };
}

/** @param {Float64Array} values @param {number[]} shape @param {number} limit */
function colorsOf(values, shape, limit) {
  const { rows, columns } = tilesOf(shape);
  return (/** @type {number} */ tile, /** @type {number} */ row, /** @type {number} */ column) => {
    const value = values[(tile * rows + row) * columns + column];
    return shape[0] === 1 ? toInk(value) : toColor(value, limit);
  };
}

/** @param {Layer} layer */
const limitOf = (layer) => LIMITS[layer.activation];

/** Largest absolute value of a list. @param {ArrayLike<number>} values */
function largest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most || 1;
}

/** @param {string} text */
const operator = (text) => h("span", { class: "operator", "aria-hidden": "true" }, text);

/** Index of the largest absolute value of a list. @param {ArrayLike<number>} values */
export function strongest(values) {
  let at = 0;
  for (let i = 1; i < values.length; i++) if (Math.abs(values[i]) > Math.abs(values[at])) at = i;
  return at;
}

/**
 * The unit of a layer with the largest absolute value, whose window does not reach beyond the border.
 * @param {Layer} layer
 * @param {Float64Array} values
 */
export function strongestInside({ type, outShape, inShape, kernelSize, stride, padding }, values) {
  if (type === "dense") return strongest(values);
  const [, rows, columns] = outShape;
  const fits = (/** @type {number} */ at, /** @type {number} */ axis) => {
    const first = at * stride[axis] - padding[axis];
    return first >= 0 && first + kernelSize[axis] <= inShape[axis + 1];
  };
  return strongest(values.map((value, unit) => (fits(Math.floor(unit / columns) % rows, 0) && fits(unit % columns, 1) ? value : 0)));
}

/**
 * All layers from the input to the output, as buttons of which one is pressed.
 * @param {Network} net
 * @param {number} width in px
 * @param {(layer: number) => void} pick
 */
export function makeStrip(net, width, pick) {
  const unit = width >= 900 ? 4 : width >= 600 ? 3 : 2;
  const input = makeImage(width >= 900 ? 7 : width >= 600 ? 5 : 3, "Input");
  const stages = net.layers.map((layer, i) => {
    const shape = tilesOf(layer.outShape);
    const cell = layer.type === "conv" ? (unit * 8) / shape.columns : unit * 4;
    const picture = makeMosaic({ ...shape, across: Math.min(4, shape.tiles), cell, label: null });
    const parameters = h("span", { class: "stage-count" });
    const el = h("button", { type: "button", class: "stage", onclick: () => pick(i) }, h("strong", {}, titleOf(layer.name)), " ", h("span", {}, sizeOf(layer)), " ", picture.el, parameters);
    return { el, picture, parameters };
  });
  return {
    el: h(
      "div",
      { class: "strip", role: "group", "aria-label": "Layers of the network" },
      h("div", { class: "stage" }, h("strong", {}, "Input"), h("span", {}, "16 × 16"), input.el),
      stages.map(({ el }) => [h("span", { class: "to", "aria-hidden": "true" }, "→"), el]),
    ),
    /** @param {Network} current @param {Activation[]} activations @param {number} chosen */
    draw(current, activations, chosen) {
      input.draw(colorsOf(activations[0].values, [1, 16, 16], 1));
      current.layers.forEach((layer, i) => {
        const { values } = activations[i + 1];
        const limit = limitOf(layer);
        const { rows, columns } = tilesOf(layer.outShape);
        const isOutput = i === current.layers.length - 1;
        const top = values.indexOf(Math.max(...values));
        stages[i].picture.draw(colorsOf(values, layer.outShape, limit), isOutput ? [{ tile: 0, row: Math.floor(top / columns) % rows, column: top % columns }] : []);
        stages[i].parameters.textContent = plural(countOf(layer), "parameter");
        stages[i].el.setAttribute("aria-pressed", String(i === chosen));
      });
    },
  };
}

/** Shape of what a layer sees; a dense layer sees the maps before it as one list. @param {Network} net @param {number} layerIndex */
const shapeBefore = (net, layerIndex) => net.layers[layerIndex - 1]?.outShape ?? net.layers[layerIndex].inShape;

/**
 * The values of one layer with the weights of its units. The arrow keys move from unit to unit.
 * @param {Network} net
 * @param {number} layerIndex
 * @param {number} width in px
 * @param {(unit: number) => void} pick
 */
export function makeLayer(net, layerIndex, width, pick) {
  const layer = net.layers[layerIndex];
  const isConv = layer.type === "conv";
  const shape = tilesOf(layer.outShape);
  const items = layer.outShape[0];
  const side = width >= 760 ? 96 : 88;
  const fitting = Math.floor((width + 16) / (side + 16));
  const across = [6, 5, 4, 3, 2].find((n) => n <= fitting && items % n === 0) ?? 1;
  const positions = isConv ? shape.rows * shape.columns : 1;
  const banks = layer.sharing === "local" ? positions : 1;
  const [height, wide] = layer.kernelSize ?? [1, 1];
  const limit = CLIP * largest(layer.weight);
  let current = 0;

  const parts = Array.from({ length: items }, (_, item) => {
    const caption = makeCaption(isConv ? `Map ${item + 1}` : "");
    const values = isConv
      ? makeMosaic({ tiles: 1, rows: shape.rows, columns: shape.columns, cell: side / shape.columns, label: null, pick: (_tile, row, column) => pick((item * shape.rows + row) * shape.columns + column) })
      : makeMosaic({ tiles: 1, rows: 1, columns: 1, cell: 20, label: null, pick: () => pick(item) });
    const weights = isConv ? makeKernels(item) : makeWeights(item);
    return { caption, values, weights, marked: NaN, el: h("div", { class: isConv ? "item" : "item dense" }, caption, values.el, weights.el) };
  });
  const el = h("div", { class: "units pickable", role: "group", tabindex: 0, "aria-label": isConv ? "Maps of the layer; the arrow keys move from unit to unit" : "Units of the layer; the arrow keys move from unit to unit" }, parts.map((part) => part.el));
  el.style.gridTemplateColumns = `repeat(${across}, max-content)`;
  el.addEventListener("keydown", (event) => {
    const step = stepOf(event);
    if (!step) return;
    event.preventDefault();
    const cells = isConv ? shape : { rows: 1, columns: 1 };
    const size = cells.rows * cells.columns;
    const at = { tile: Math.floor(current / size), row: Math.floor((current % size) / cells.columns), column: current % cells.columns };
    const next = stepThrough(at, step, { tiles: items, across, ...cells });
    pick((next.tile * cells.rows + next.row) * cells.columns + next.column);
  });

  /** The kernels of a map: one, or one per position. @param {number} map */
  function makeKernels(map) {
    const perSide = Math.sqrt(banks);
    const cell = banks === 1 ? 8 : Math.floor(side / (perSide * (wide + 1)));
    const gap = banks === 1 ? 0 : Math.max(1, Math.floor((side - perSide * wide * cell) / (perSide - 1)));
    const picture = makeMosaic({
      tiles: banks,
      rows: height,
      columns: wide,
      across: perSide,
      cell,
      gap,
      label: null,
      pick: banks === 1 ? undefined : (tile) => pick(map * positions + tile),
    });
    const slices = layer.seen[map].length;
    picture.draw((bank, row, column) => toColor(layer.weight[(((bank * items + map) * slices * height + row) * wide + column)], limit));
    return picture;
  }

  /** The weights of a dense unit, in the arrangement of the values before it. @param {number} unit */
  function makeWeights(unit) {
    const seen = tilesOf(shapeBefore(net, layerIndex));
    const picture = makeMosaic({ ...seen, across: Math.min(4, seen.tiles), cell: seen.tiles > 1 ? 3 : 9, gap: 3, label: null, pick: () => pick(unit) });
    const size = layer.inShape[0];
    picture.draw((tile, row, column) => toColor(layer.weight[unit * size + (tile * seen.rows + row) * seen.columns + column], limit));
    return picture;
  }

  return {
    el,
    /** @param {Activation} activation @param {number} unit */
    draw({ values }, unit) {
      current = unit;
      const size = isConv ? positions : 1;
      parts.forEach((part, item) => {
        const place = unit - item * size;
        const isHere = place >= 0 && place < size;
        const mark = isHere ? [{ tile: 0, row: isConv ? Math.floor(place / shape.columns) : 0, column: isConv ? place % shape.columns : 0 }] : [];
        part.values.draw((_, row, column) => toColor(values[item * size + row * (isConv ? shape.columns : 1) + column], limitOf(layer)), mark);
        if (isConv) {
          if (part.marked === (isHere ? place : -1)) return; // so that thousands of weights are drawn only once
          part.marked = isHere ? place : -1;
          part.weights.mark(isHere ? [{ tile: banks === 1 ? 0 : place, row: 0, column: 0, rows: height, columns: wide }] : []);
        } else {
          part.caption.textContent = `${layer.name === "output" ? "Class" : "Unit"} ${layer.name === "output" ? item : item + 1}: ${short(values[item])}`;
        }
      });
    },
  };
}

/** A sentence on the weights of a layer. @param {Layer} layer @param {Layer | undefined} layerBefore */
export function describeLayer(layer, layerBefore) {
  const counts = `${format(layer.weight.length)} weights and ${format(layer.bias.length)} biases`;
  if (layer.type === "dense") {
    return `${layer.name === "output" ? "The output" : titleOf(layer.name)} has ${plural(layer.outShape[0], "unit")}. Each of them has its own weight for each of the ${layer.inShape[0]} values before it, in both networks: ${counts}.`;
  }
  const [maps, height, width] = layer.outShape;
  const slices = layer.seen[0].length;
  const before = slices > 1 ? ` for each of the ${slices} maps of ${titleOf(layerBefore?.name ?? "")} that it sees` : "";
  const kernels = layer.sharing === "local" ? `${height * width} kernels, one per position,` : `one kernel, used at all ${height * width} positions,`;
  const shown = `Under each map ${layer.sharing === "local" ? "are its kernels" : "is its kernel"}${slices > 1 ? ", of which the part for the first of these maps is shown" : ""}.`;
  return `${titleOf(layer.name)} has ${maps} maps of ${formatSize([height, width])}. Each map has ${kernels} with ${formatSize(layer.kernelSize)} weights${before}: ${counts}, one per unit as in the paper of 1989. ${shown}`;
}

/**
 * The products of one unit, as pictures of the values, the weights and the products.
 * @param {Network} net
 * @param {number} layerIndex
 * @param {number} width in px
 * @param {(product: number) => void} pick
 */
export function makeProducts(net, layerIndex, width, pick) {
  const layer = net.layers[layerIndex];
  const isConv = layer.type === "conv";
  const [kernelRows, kernelColumns] = layer.kernelSize ?? [0, 0];
  const slices = isConv ? layer.seen[0].length : 0;
  const shape = isConv ? { tiles: slices, rows: kernelRows, columns: kernelColumns } : tilesOf(shapeBefore(net, layerIndex));
  const hasText = shape.tiles === 1 && isConv;
  const isWide = width >= 900;
  const across = Math.min(4, shape.tiles);
  /** @type {import("../core/network.js").Explanation | null} */
  let explanation = null;
  let chosen = 0;

  const size = shape.rows * shape.columns;
  const hover = (/** @type {number | null} */ product) => show(product ?? chosen);
  const toProduct = (/** @type {number} */ tile, /** @type {number} */ row, /** @type {number} */ column) => tile * size + row * shape.columns + column;
  const placeOf = (/** @type {number} */ product) => ({ tile: Math.floor(product / size), row: Math.floor((product % size) / shape.columns), column: product % shape.columns });

  const where = isConv ? makeWhere() : null;
  const blocks = ["Values", "Weights", "Products"].map((name) => {
    const isLast = name === "Products";
    const label = isLast ? "Products; the arrow keys move from product to product" : name;
    if (hasText) {
      const grid = makeGrid({ rows: shape.rows, columns: shape.columns, size: 44, label, pick: isLast ? (row, column) => pick(toProduct(0, row, column)) : undefined, hover: (row, column) => hover(row === null ? null : toProduct(0, row, column)) });
      return { name, el: grid.el, grid, mosaic: null };
    }
    const cell = shape.tiles === 1 ? (isWide ? 28 : 22) : Math.max(5, Math.floor((isWide ? 200 : Math.min(240, width - 16)) / (across * shape.columns)));
    const mosaic = makeMosaic({
      ...shape,
      across,
      cell,
      label,
      pick: (tile, row, column) => pick(toProduct(tile, row, column)),
      hover: (tile, row, column) => hover(tile === null ? null : toProduct(tile, row, column)),
      move: isLast ? (rows, columns) => move(rows, columns) : undefined,
    });
    return { name, el: mosaic.el, grid: null, mosaic };
  });
  const whereCaption = makeCaption();
  const captions = blocks.map(() => makeCaption());
  const one = h("p", { class: "caption one" });
  const panels = blocks.map((block, i) => panel(captions[i], block.el));
  const el = h(
    "div",
    {},
    h(
      "div",
      { class: "products" },
      h("div", { class: "products" }, where && panel(whereCaption, where.el), h("div", { class: "products" }, where && operator("→"), panels[0])),
      h("div", { class: "products" }, h("div", { class: "products" }, operator("×"), panels[1]), h("div", { class: "products" }, operator("="), panels[2])),
    ),
    one,
  );

  /** @param {number} rows @param {number} columns */
  function move(rows, columns) {
    const next = stepThrough(placeOf(chosen), [rows, columns], { ...shape, across });
    pick(toProduct(next.tile, next.row, next.column));
  }

  /** The maps that a unit sees, on which its window is outlined. */
  function makeWhere() {
    const [, rows, columns] = layer.inShape;
    const cell = slices === 1 ? 10 : isWide ? 6 : 5;
    return makeMosaic({ tiles: slices, rows, columns, across: Math.min(4, slices), cell, label: "Window on what the layer sees" });
  }

  /** Mark a product in all pictures. @param {number} product */
  function show(product) {
    if (!explanation) return;
    const at = placeOf(product);
    for (const { grid, mosaic } of blocks) {
      if (grid) {
        grid.mark([{ row: at.row, column: at.column, className: "hot" }]);
        grid.focus(at.row, at.column);
      }
      mosaic?.mark([at]);
    }
    const { value, weight, input } = explanation.products[product];
    one.textContent = `Outlined: ${short(value)} × ${short3(weight)} = ${short3(value * weight)}.${input < 0 ? " This input is beyond the border, where the background continues." : ""}`;
  }

  return {
    el,
    /**
     * @param {Network} current
     * @param {Activation[]} activations
     * @param {number} unit
     * @param {number | null} product that is outlined; null for the largest
     */
    draw(current, activations, unit, product) {
      const now = current.layers[layerIndex];
      const { values } = activations[layerIndex];
      explanation = explainUnit(current, layerIndex, unit, activations);
      const { products } = explanation;
      chosen = product !== null && product < products.length ? product : strongest(products.map(({ value, weight }) => value * weight));
      const isImage = layerIndex === 0;
      const limits = [isImage ? 1 : limitOf(current.layers[layerIndex - 1]), largest(now.weight), largest(products.map(({ value, weight }) => value * weight))];
      const numbers = [(/** @type {number} */ i) => products[i].value, (/** @type {number} */ i) => products[i].weight, (/** @type {number} */ i) => products[i].value * products[i].weight];
      blocks.forEach(({ grid, mosaic }, b) => {
        grid?.setAll((row, column) => {
          const i = toProduct(0, row, column);
          const value = numbers[b](i);
          return { fill: isImage && b === 0 ? grayOf(value + 1, 2) : colorOfValue(value, limits[b]), text: short(value), className: products[i].input < 0 && b === 0 ? "padding" : "" };
        });
        mosaic?.draw((tile, row, column) => toColor(numbers[b](toProduct(tile, row, column)), limits[b]));
      });
      const seen = isConv ? ` in the window` : "";
      captions[0].textContent = `${format(products.length)} values${seen}`;
      captions[1].textContent = `${format(products.length)} weights`;
      captions[2].textContent = `${format(products.length)} products`;
      if (where) {
        const [, rows, columns] = now.inShape;
        const map = Math.floor(unit / (now.outShape[1] * now.outShape[2]));
        const [top, left] = products[0].at.slice(1);
        whereCaption.textContent = isImage ? "Window on the input" : `Windows on ${slices} maps of ${titleOf(current.layers[layerIndex - 1].name)}`;
        const box = {
          row: Math.max(0, top),
          column: Math.max(0, left),
          rows: Math.min(rows, top + kernelRows) - Math.max(0, top),
          columns: Math.min(columns, left + kernelColumns) - Math.max(0, left),
        };
        where.draw(
          (tile, row, column) => {
            const value = values[(now.seen[map][tile] * rows + row) * columns + column];
            return isImage ? toInk(value) : toColor(value, limits[0]);
          },
          Array.from({ length: slices }, (_, tile) => ({ tile, ...box })),
        );
      }
      show(chosen);
      return explanation;
    },
  };
}

/** A number with at most three decimals. @param {number} n */
const short3 = (n) => String(Math.round(n * 1000) / 1000).replace("-", "−");

/**
 * The sum of a unit in words. The products' total is rounded so that the printed numbers add up.
 * @param {Layer} layer
 * @param {number} unit
 * @param {import("../core/network.js").Explanation} explanation
 */
export function describeUnit(layer, unit, { products, bias, sum, value }) {
  const place = () => {
    if (layer.type === "dense") return layer.name === "output" ? `class ${unit}` : `unit ${unit + 1} of ${titleOf(layer.name)}`;
    const [, rows, columns] = layer.outShape;
    const position = unit % (rows * columns);
    return `map ${Math.floor(unit / (rows * columns)) + 1} of ${titleOf(layer.name)} at row ${Math.floor(position / columns) + 1}, column ${(position % columns) + 1}`;
  };
  const round = (/** @type {number} */ n) => Math.round(n * 100) / 100;
  const total = round(round(sum) - round(bias));
  const name = place();
  const parts = [
    `${name[0].toUpperCase()}${name.slice(1)} is the sum of `,
    h("strong", {}, `${format(products.length)} products and a bias`),
    `: ${short(total)} ${bias < 0 ? "−" : "+"} ${short(Math.abs(bias))} = ${short(sum)}`,
  ];
  if (layer.activation === "scaledTanh") parts.push(", and its value is 1.7159 · tanh(⅔ · ", short(sum), ") = ", h("strong", {}, short(value)), ". ");
  else parts.push(". ");
  if (layer.type === "dense") return parts;
  const positions = layer.outShape[1] * layer.outShape[2];
  parts.push(layer.sharing === "local" ? "No other unit uses these weights." : `The other ${positions - 1} units of the map use the same weights.`);
  return parts;
}
