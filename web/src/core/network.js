/**
 * The trained networks and autoencoders of the page: decode their weights, run them, and list the products of
 * which one unit is the sum. An image is a Float64Array of 16 x 16 values, row by row, from -1 (background) to
 * 1 (ink).
 *
 * @typedef {object} Layer
 * @property {string} name
 * @property {"conv" | "dense"} type
 * @property {number[]} inShape [maps, height, width], or [units]
 * @property {number[]} outShape [maps, height, width], or [units]
 * @property {"scaledTanh" | "relu" | "linear"} activation
 * @property {Float64Array} weight conv: [banks, maps, seen maps, height, width]; dense: [out, in]
 * @property {number[]} weightShape
 * @property {Float64Array} bias conv: [positions, maps], one per unit; dense: [out]
 * @property {boolean} transposed whether a dense layer uses the weight of another layer, [in, out]
 * @property {string | null} tiedTo name of that layer
 * @property {"full" | "local"} sharing of a convolution; a dense layer is "local"
 * @property {number[]} kernelSize of a convolution
 * @property {number[]} stride of a convolution
 * @property {number[]} padding of a convolution, at both ends of each axis
 * @property {number} background value of the inputs beyond the border
 * @property {number[][]} seen input maps that each output map sees
 *
 * @typedef {object} Network
 * @property {number} parameters
 * @property {{ train: number, test: number, shifted: Record<string, number> }} accuracy in percent
 * @property {Layer[]} layers
 *
 * @typedef {object} Autoencoder
 * @property {number} parameters
 * @property {{ train: number, test: number }} error mean squared error per pixel
 * @property {Layer[]} layers encoder and decoder
 *
 * @typedef {object} Activation
 * @property {string} name of the layer; "input" for the image
 * @property {number[]} shape
 * @property {Float64Array} sums before the activation function; the image itself for the input
 * @property {Float64Array} values after it
 *
 * @typedef {object} Prediction
 * @property {Activation[]} activations the image, then one entry per layer
 * @property {Float64Array} logits
 * @property {Float64Array} probabilities
 * @property {number} label the most probable class
 *
 * @typedef {object} Product
 * @property {number} input index into the values of the layer before; -1 beyond the border
 * @property {number} value
 * @property {number} weight
 * @property {number} weightIndex index into `layer.weight`; equal indices are the same weight
 * @property {number[]} at [map, row, column] of the input, or [unit]; outside of the map beyond the border
 *
 * @typedef {object} Explanation
 * @property {Product[]} products
 * @property {number} bias
 * @property {number} biasIndex index into `layer.bias`
 * @property {number} sum of the products and the bias
 * @property {number} value the sum after the activation function
 */

export const SIZE = 16;
export const BACKGROUND = -1;
/** Mean ink of the training images, from 0 to 1. */
export const MEAN_INK = 0.305;

/** @type {Record<string, (sum: number) => number>} */
const ACTIVATIONS = {
  scaledTanh: (sum) => 1.7159 * Math.tanh(sum * (2 / 3)),
  relu: (sum) => Math.max(sum, 0),
  linear: (sum) => sum,
};

/**
 * Decode the content of networks.json.
 * @param {any} json
 * @returns {{ image: any, networks: Record<string, Network>, autoencoders: Record<string, Autoencoder>,
 *   samples: { label: number, image: Float64Array }[] }}
 */
export function decode(json) {
  /** @param {Record<string, any>} models */
  const decodeAll = (models) =>
    Object.fromEntries(Object.entries(models).map(([name, model]) => [name, { ...model, layers: decodeLayers(model.layers) }]));
  const pixels = decodeBytes(json.samples.pixels);
  const length = SIZE * SIZE;
  return {
    image: json.image,
    networks: decodeAll(json.networks),
    autoencoders: decodeAll(json.autoencoders),
    samples: json.samples.labels.map((/** @type {number} */ label, /** @type {number} */ i) => ({
      label,
      image: Float64Array.from(pixels.subarray(i * length, (i + 1) * length), fromByte),
    })),
  };
}

/** Map a byte to a value from -1 to 1. @param {number} byte */
const fromByte = (byte) => byte / 127.5 - 1;

/** @param {any[]} stored @returns {Layer[]} */
function decodeLayers(stored) {
  /** @type {Record<string, { weight: Float64Array, weightShape: number[] }>} */
  const weights = {};
  for (const { name, weight } of stored) {
    if (!weight.transposeOf) weights[name] = { weight: decodeArray(weight), weightShape: weight.shape };
  }
  return stored.map((layer) => {
    const tiedTo = layer.weight.transposeOf ?? null;
    return {
      sharing: "local",
      ...layer,
      ...weights[tiedTo ?? layer.name],
      bias: decodeArray(layer.bias),
      transposed: tiedTo !== null,
      tiedTo,
    };
  });
}

/** @param {{ dtype: string, data: string, scale?: number }} stored */
function decodeArray({ dtype, data, scale = 1 }) {
  const bytes = decodeBytes(data);
  if (dtype === "int8") return Float64Array.from(new Int8Array(bytes.buffer), (value) => value * scale);
  const halves = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 2 }, (_, i) => decodeHalf(halves.getUint16(2 * i, true)));
}

/** Decode a finite 16-bit float. @param {number} bits */
function decodeHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}

/** @param {string} text base64 @returns {Uint8Array<ArrayBuffer>} */
const decodeBytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** @param {number[]} shape */
const count = (shape) => shape.reduce((total, n) => total * n, 1);

/**
 * Visit the connections of a unit.
 * @param {Layer} layer
 * @param {number} unit
 * @param {(input: number, weightIndex: number, map: number, row: number, column: number) => void} visit
 *   receives the input, -1 beyond the border, the weight, and the place of the input: 0, 0, 0 in a dense layer
 */
function visitConnections(layer, unit, visit) {
  if (layer.type === "dense") {
    const [inputs] = layer.inShape;
    const [outputs] = layer.outShape;
    for (let input = 0; input < inputs; input++) {
      visit(input, layer.transposed ? input * outputs + unit : unit * inputs + input, 0, 0, 0);
    }
    return;
  }
  const [, inHeight, inWidth] = layer.inShape;
  const [maps] = layer.outShape;
  const { map, row, column, position } = locate(layer, unit);
  const [height, width] = layer.kernelSize;
  const seen = layer.seen[map];
  const bank = layer.sharing === "local" ? position : 0;
  let weightIndex = (bank * maps + map) * seen.length * height * width;
  for (const inMap of seen) {
    for (let y = 0; y < height; y++) {
      const inRow = row * layer.stride[0] + y - layer.padding[0];
      for (let x = 0; x < width; x++) {
        const inColumn = column * layer.stride[1] + x - layer.padding[1];
        const inside = inRow >= 0 && inRow < inHeight && inColumn >= 0 && inColumn < inWidth;
        visit(inside ? (inMap * inHeight + inRow) * inWidth + inColumn : -1, weightIndex++, inMap, inRow, inColumn);
      }
    }
  }
}

/** Locate a unit of a convolution. @param {Layer} layer @param {number} unit */
function locate(layer, unit) {
  const [, height, width] = layer.outShape;
  const position = unit % (height * width);
  return { map: Math.floor(unit / (height * width)), row: Math.floor(position / width), column: position % width, position };
}

/** @param {Layer} layer @param {number} unit */
function biasIndexOf(layer, unit) {
  if (layer.type === "dense") return unit;
  const { map, position } = locate(layer, unit);
  return position * layer.outShape[0] + map;
}

/** @param {Layer} layer @param {Float64Array} inputs @returns {Activation} */
function runLayer(layer, inputs) {
  const { weight, background, outShape } = layer;
  const sums = new Float64Array(count(outShape));
  for (let unit = 0; unit < sums.length; unit++) {
    let sum = layer.bias[biasIndexOf(layer, unit)];
    visitConnections(layer, unit, (input, index) => {
      sum += weight[index] * (input < 0 ? background : inputs[input]);
    });
    sums[unit] = sum;
  }
  return { name: layer.name, shape: outShape, sums, values: sums.map(ACTIVATIONS[layer.activation]) };
}

/**
 * Run the layers, and return the image and the result of each layer.
 * @param {Network | Autoencoder} net
 * @param {Float64Array} image
 * @returns {Activation[]}
 */
export function run(net, image) {
  const activations = [{ name: "input", shape: net.layers[0].inShape, sums: image, values: image }];
  for (const layer of net.layers) activations.push(runLayer(layer, activations[activations.length - 1].values));
  return activations;
}

/**
 * Classify an image.
 * @param {Network} net
 * @param {Float64Array} image
 * @returns {Prediction}
 */
export function predict(net, image) {
  const activations = run(net, image);
  const logits = activations[activations.length - 1].values;
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return { activations, logits, probabilities: powers.map((power) => power / total), label: logits.indexOf(largest) };
}

/**
 * List the products whose sum, with the bias, is a unit before its activation function.
 * @param {Network | Autoencoder} net
 * @param {number} layerIndex index into `net.layers`
 * @param {number} unit index into the layer's output, map by map and row by row
 * @param {Activation[]} activations from `predict` or `run`
 * @returns {Explanation}
 */
export function explainUnit(net, layerIndex, unit, activations) {
  const layer = net.layers[layerIndex];
  const { values } = activations[layerIndex];
  /** @type {Product[]} */
  const products = [];
  const biasIndex = biasIndexOf(layer, unit);
  const bias = layer.bias[biasIndex];
  let sum = bias;
  visitConnections(layer, unit, (input, weightIndex, map, row, column) => {
    const value = input < 0 ? layer.background : values[input];
    const weight = layer.weight[weightIndex];
    sum += weight * value;
    products.push({ input, value, weight, weightIndex, at: layer.type === "dense" ? [input] : [map, row, column] });
  });
  return { products, bias, biasIndex, sum, value: ACTIVATIONS[layer.activation](sum) };
}

/**
 * Encode an image.
 * @param {Autoencoder} autoencoder
 * @param {Float64Array} image
 * @returns {Float64Array} the code, one value of at least 0 per hidden unit
 */
export const encode = (autoencoder, image) => runLayer(autoencoder.layers[0], image).values;

/**
 * Compute the image of a code.
 * @param {Autoencoder} autoencoder
 * @param {Float64Array} code
 * @returns {Float64Array} an image, whose values can be somewhat below -1 and above 1
 */
export const fromCode = (autoencoder, code) => runLayer(autoencoder.layers[1], code).values;

/**
 * Encode an image and compute the image of its code.
 * @param {Autoencoder} autoencoder
 * @param {Float64Array} image
 */
export const reconstruct = (autoencoder, image) => fromCode(autoencoder, encode(autoencoder, image));

/**
 * Shift an image down by `dy` and right by `dx` pixels, and fill the gap with the background.
 * @param {Float64Array} image
 * @param {number} dy
 * @param {number} dx
 */
export function shiftImage(image, dy, dx) {
  return image.map((_, i) => {
    const row = Math.floor(i / SIZE) - dy;
    const column = (i % SIZE) - dx;
    const inside = row >= 0 && row < SIZE && column >= 0 && column < SIZE;
    return inside ? image[row * SIZE + column] : BACKGROUND;
  });
}

/** Side of the fine grid, as in the bitmaps from which the training images were made. */
const FINE = 32;
/** Cells around it, for strokes that become thinner. */
const MARGIN = 4;
const WIDE = FINE + 2 * MARGIN;
/** Largest width of a drawing on the fine grid. */
const FINE_WIDTH = 28;

/**
 * Turn a drawing into an image like those of the training set. The drawing is scaled to the full height (or to
 * seven eighths of the width) and centered, its strokes become as thick as the mean ink of the training set
 * requires, blocks of 4 x 4 cells of a 32 x 32 grid are averaged, and the 8 x 8 averages are enlarged.
 * @param {ArrayLike<number>} pixels ink from 0 to 1, row by row
 * @param {number} width
 * @param {number} height
 * @param {number} meanInk
 * @returns {Float64Array} an image; all background if the drawing is empty
 */
export function fromDrawing(pixels, width, height, meanInk = MEAN_INK) {
  const box = findBox(pixels, width, height);
  if (!box) return new Float64Array(SIZE * SIZE).fill(BACKGROUND);
  let [thin, thick] = [-2, MARGIN];
  let blocks = new Float64Array(64);
  for (let step = 0; step < 8; step++) {
    const radius = (thin + thick) / 2;
    blocks = averageBlocks(thicken(sample(pixels, width, box, FINE - 2 * radius, FINE_WIDTH - 2 * radius), radius));
    const ink = blocks.reduce((sum, value) => sum + value, 0) / blocks.length;
    if (Math.abs(ink - meanInk) < 0.005) break;
    if (ink < meanInk) thin = radius;
    else thick = radius;
  }
  return enlarge(blocks.map((value) => Math.round(16 * value) / 16));
}

/**
 * Find the rectangle of the inked pixels; null if there are none.
 * @param {ArrayLike<number>} pixels
 * @param {number} width
 * @param {number} height
 */
function findBox(pixels, width, height) {
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let i = 0; i < width * height; i++) {
    if (pixels[i] < 0.25) continue;
    const row = Math.floor(i / width);
    const column = i % width;
    top = Math.min(top, row);
    bottom = Math.max(bottom, row + 1);
    left = Math.min(left, column);
    right = Math.max(right, column + 1);
  }
  return bottom ? { top, left, bottom, right } : null;
}

/**
 * Sample the box on the fine grid with its margin, as large as a height and a width allow, and centered.
 * @param {ArrayLike<number>} pixels
 * @param {number} width
 * @param {{ top: number, left: number, bottom: number, right: number }} box
 * @param {number} fineHeight
 * @param {number} fineWidth
 */
function sample(pixels, width, box, fineHeight, fineWidth) {
  const cell = Math.max((box.bottom - box.top) / fineHeight, (box.right - box.left) / fineWidth); // in pixels
  const top = (box.top + box.bottom - WIDE * cell) / 2;
  const left = (box.left + box.right - WIDE * cell) / 2;
  const result = new Float64Array(WIDE * WIDE);
  const columns = Array.from({ length: WIDE }, (_, x) => overlaps(left + x * cell, cell, box.left, box.right));
  for (let y = 0; y < WIDE; y++) {
    const line = new Float64Array(width);
    for (const [row, share] of overlaps(top + y * cell, cell, box.top, box.bottom)) {
      for (let i = box.left; i < box.right; i++) line[i] += share * pixels[row * width + i];
    }
    columns.forEach((column, x) => {
      for (const [i, share] of column) result[y * WIDE + x] += share * line[i];
    });
  }
  const darkest = result.reduce((most, value) => Math.max(most, value), 0);
  return result.map((value) => value / darkest); // a stroke that is thinner than a cell is as dark as a thick one
}

/**
 * List the pixels under a cell along an axis, from `first` up to `end`, each with its share of the cell.
 * @param {number} start
 * @param {number} length
 * @param {number} first
 * @param {number} end
 */
function overlaps(start, length, first, end) {
  /** @type {[number, number][]} */
  const found = [];
  for (let i = Math.max(first, Math.floor(start)); i < Math.min(end, start + length); i++) {
    found.push([i, (Math.min(i + 1, start + length) - Math.max(i, start)) / length]);
  }
  return found;
}

/**
 * Make strokes thicker by a radius in cells, or thinner if it is negative, and cut off the margin.
 * @param {Float64Array} cells
 * @param {number} radius at most MARGIN
 * @returns {Float64Array} 32 x 32 cells
 */
function thicken(cells, radius) {
  if (radius < 0) return thicken(cells.map((value) => 1 - value), -radius).map((value) => 1 - value);
  const reach = Math.ceil(radius);
  const result = new Float64Array(FINE * FINE);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const share = Math.min(1, radius + 1 - Math.hypot(dy, dx));
      if (share <= 0) continue;
      for (let i = 0; i < result.length; i++) {
        const row = (i >> 5) + MARGIN + dy;
        const value = share * cells[row * WIDE + (i & 31) + MARGIN + dx];
        if (value > result[i]) result[i] = value;
      }
    }
  }
  return result;
}

/** Average blocks of 4 x 4 of 32 x 32 cells. @param {Float64Array} cells */
function averageBlocks(cells) {
  const blocks = new Float64Array(64);
  for (let i = 0; i < cells.length; i++) blocks[(i >> 7) * 8 + ((i & 31) >> 2)] += cells[i] / 16;
  return blocks;
}

/** Enlarge 8 x 8 values from 0 to 1 to an image, bilinearly. @param {Float64Array} blocks */
function enlarge(blocks) {
  /** @param {number} i @returns {[number, number, number]} the two nearest blocks, and the share of the second */
  const nearest = (i) => {
    const at = Math.max((i + 0.5) / 2 - 0.5, 0);
    return [Math.floor(at), Math.min(Math.floor(at) + 1, 7), at - Math.floor(at)];
  };
  return Float64Array.from({ length: SIZE * SIZE }, (_, i) => {
    const [top, bottom, down] = nearest(Math.floor(i / SIZE));
    const [left, right, across] = nearest(i % SIZE);
    /** @param {number} row */
    const along = (row) => (1 - across) * blocks[row * 8 + left] + across * blocks[row * 8 + right];
    return fromByte(Math.round(255 * ((1 - down) * along(top) + down * along(bottom))));
  });
}
