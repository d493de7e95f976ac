import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import {
  BACKGROUND,
  MEAN_INK,
  decode,
  encode,
  explainUnit,
  fromCode,
  fromDrawing,
  predict,
  reconstruct,
  run,
  shiftImage,
} from "../src/core/network.js";

const file = new URL("../../src/weightshare/explorer/data/networks.json", import.meta.url);
const json = JSON.parse(readFileSync(file, "utf8"));
const { networks, autoencoders, samples, image: facts } = decode(json);
const models = { ...networks, ...autoencoders };
const empty = () => new Float64Array(256).fill(BACKGROUND);

/** Digits as strokes in a unit square, as a mouse would draw them. */
const arc = (cx, cy, rx, ry, from, to) =>
  Array.from({ length: 25 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / 24) * Math.PI) / 180;
    return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)];
  });
const DIGITS = [
  arc(0.5, 0.5, 0.28, 0.42, 0, 360),
  [[0.38, 0.25], [0.55, 0.08], [0.55, 0.92]],
  [...arc(0.5, 0.3, 0.25, 0.22, 180, 390), [0.25, 0.92], [0.78, 0.92]],
  [...arc(0.47, 0.29, 0.24, 0.21, 200, 450), ...arc(0.47, 0.71, 0.27, 0.21, 270, 520)],
  [[0.62, 0.92], [0.62, 0.08], [0.2, 0.62], [0.8, 0.62]],
  [[0.74, 0.08], [0.32, 0.08], [0.29, 0.45], ...arc(0.48, 0.66, 0.27, 0.25, 230, 500)],
  [[0.62, 0.08], ...arc(0.58, 0.5, 0.3, 0.42, 240, 180), ...arc(0.5, 0.68, 0.22, 0.23, 180, 540)],
  [[0.24, 0.1], [0.76, 0.1], [0.42, 0.92]],
  [...arc(0.5, 0.29, 0.2, 0.2, 90, 450), ...arc(0.5, 0.71, 0.24, 0.22, 270, 630)],
  [...arc(0.5, 0.3, 0.22, 0.22, 360, 0), [0.72, 0.3], [0.66, 0.92]],
];

/** Draw a stroke with a round pen on a square canvas; `scale` and `offset` place the unit square. */
function draw(stroke, side, pen, scale = 1, offset = [0, 0]) {
  const points = stroke.map(([x, y]) => [(x * scale + offset[0]) * side, (y * scale + offset[1]) * side]);
  return Float64Array.from({ length: side * side }, (_, i) => {
    const [x, y] = [(i % side) + 0.5, Math.floor(i / side) + 0.5];
    let distance = Infinity;
    for (let k = 0; k + 1 < points.length; k++) {
      const [[ax, ay], [bx, by]] = [points[k], points[k + 1]];
      const length = (bx - ax) ** 2 + (by - ay) ** 2;
      const along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length;
      const t = length ? Math.max(0, Math.min(1, along)) : 0;
      distance = Math.min(distance, Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)));
    }
    return Math.max(0, Math.min(1, pen / 2 + 0.5 - distance));
  });
}

const inkOf = (image) => image.reduce((sum, value) => sum + (value + 1) / 2, 0) / image.length;

test("the weights are as many as the parameters", () => {
  for (const [name, model] of Object.entries(models)) {
    const owned = model.layers.map(({ weight, bias, tiedTo }) => (tiedTo ? 0 : weight.length) + bias.length);
    assert.equal(owned.reduce((sum, n) => sum + n, 0), model.parameters, name);
  }
  assert.equal(networks.shared.parameters, 9760);
  assert.equal(networks.unshared.parameters, 64660);
});

test("16-bit floats are decoded exactly", () => {
  const bits = [0x0000, 0x3c00, 0xbc00, 0x3555, 0x7bff, 0x0001, 0x8400];
  const bytes = bits.flatMap((value) => [value & 255, value >> 8]);
  const array = { dtype: "float16", shape: [7], data: btoa(String.fromCharCode(...bytes)) };
  const layer = { name: "only", type: "dense", inShape: [1], outShape: [7], weight: array, bias: array };
  const made = decode({ ...json, networks: { made: { layers: [layer] } } }).networks.made;
  const expected = [0, 1, -1, 0.333251953125, 65504, 2 ** -24, -(2 ** -14)];
  assert.deepEqual([...made.layers[0].bias], expected);
});

test("a prediction has an activation per layer, and probabilities that add up to 1", () => {
  for (const net of Object.values(networks)) {
    const { activations, logits, probabilities, label } = predict(net, samples[0].image);
    assert.deepEqual(activations.map(({ name }) => name), ["input", "h1", "h2", "h3", "output"]);
    const shapes = [[1, 16, 16], [12, 8, 8], [12, 4, 4], [30], [10]];
    assert.deepEqual(activations.map(({ shape }) => shape), shapes);
    activations.forEach(({ values }, i) => assert.equal(values.length, shapes[i].reduce((a, b) => a * b)));
    assert.ok(Math.abs(probabilities.reduce((a, b) => a + b) - 1) < 1e-12);
    assert.equal(label, logits.indexOf(Math.max(...logits)));
  }
});

test("nearly all samples are recognized", () => {
  for (const [name, net] of Object.entries(networks)) {
    const right = samples.filter(({ label, image }) => predict(net, image).label === label);
    assert.ok(right.length >= samples.length - 2, `${name}: ${right.length} of ${samples.length}`);
  }
});

test("the products of each unit and its bias add up to the unit", () => {
  for (const [name, model] of Object.entries(models)) {
    const activations = run(model, samples[3].image);
    model.layers.forEach((layer, index) => {
      const { sums, values } = activations[index + 1];
      for (let unit = 0; unit < sums.length; unit++) {
        const found = explainUnit(model, index, unit, activations);
        let sum = found.bias;
        for (const { input, value, weight, weightIndex } of found.products) {
          assert.equal(value, input < 0 ? BACKGROUND : activations[index].values[input]);
          assert.equal(weight, layer.weight[weightIndex]);
          sum += value * weight;
        }
        assert.ok(Math.abs(sum - sums[unit]) < 1e-9, `${name}, ${layer.name}, unit ${unit}`);
        assert.ok(Math.abs(found.sum - sum) < 1e-9);
        assert.ok(Math.abs(found.value - values[unit]) < 1e-9);
        assert.equal(found.bias, layer.bias[found.biasIndex]);
      }
    });
  }
});

test("a connection has the input and the place that its kernel reaches", () => {
  const activations = predict(networks.shared, samples[0].image).activations;
  const unit = (7 * 4 + 1) * 4 + 2; // map 7, row 1, column 2 of h2
  const { products, biasIndex } = explainUnit(networks.shared, 1, unit, activations);
  assert.equal(products.length, 200);
  assert.deepEqual([...new Set(products.map(({ at }) => at[0]))], [4, 5, 6, 7, 8, 9, 10, 11]);
  assert.deepEqual(products[0].at, [4, 0, 2]);
  assert.equal(products[0].input, (4 * 8 + 0) * 8 + 2);
  assert.equal(biasIndex, (1 * 4 + 2) * 12 + 7);
  const corner = explainUnit(networks.shared, 0, 0, activations);
  assert.deepEqual(corner.products[0], { ...corner.products[0], input: -1, value: -1, at: [0, -2, -2] });
});

test("all units of a map use the same weights only if they are shared", () => {
  const weightsOf = (net, unit) => {
    const { activations } = predict(net, samples[0].image);
    return explainUnit(net, 0, unit, activations).products.map(({ weightIndex }) => weightIndex);
  };
  assert.deepEqual(weightsOf(networks.shared, 0), weightsOf(networks.shared, 63));
  const [one, other] = [new Set(weightsOf(networks.unshared, 0)), weightsOf(networks.unshared, 63)];
  assert.ok(other.every((index) => !one.has(index)));
});

test("a tied decoder uses the weight of its encoder, transposed", () => {
  const { tied, untied } = autoencoders;
  assert.equal(tied.layers[1].weight, tied.layers[0].weight);
  assert.notEqual(untied.layers[1].weight, untied.layers[0].weight);
  const activations = run(tied, samples[0].image);
  const encoder = explainUnit(tied, 0, 4, activations).products[100].weightIndex;
  assert.equal(explainUnit(tied, 1, 100, activations).products[4].weightIndex, encoder);
});

test("a reconstruction is the image of the code", () => {
  for (const autoencoder of Object.values(autoencoders)) {
    const { image } = samples[2];
    const code = encode(autoencoder, image);
    assert.ok(code.every((value) => value >= 0));
    const result = reconstruct(autoencoder, image);
    assert.deepEqual(result, fromCode(autoencoder, code));
    const error = result.reduce((sum, value, i) => sum + (value - image[i]) ** 2, 0) / 256;
    assert.ok(error < 0.1, String(error));
  }
});

test("a shift moves the image down and right and fills with background", () => {
  const dot = empty();
  dot[5 * 16 + 7] = 1;
  const moved = shiftImage(dot, 2, -3);
  assert.equal(moved.indexOf(1), 7 * 16 + 4);
  assert.equal(moved.filter((value) => value === BACKGROUND).length, 255);
  assert.deepEqual(shiftImage(dot, 0, 9), empty());
  assert.deepEqual(shiftImage(shiftImage(dot, 1, 1), -1, -1), dot);
  assert.deepEqual(shiftImage(samples[0].image, 0, 0), samples[0].image);
});

test("an empty drawing is background", () => {
  assert.deepEqual(fromDrawing(new Float64Array(400), 20, 20), empty());
});

test("a drawing is centered, at any place and size, with the ink of the training images", () => {
  assert.ok(Math.abs(MEAN_INK - facts.meanInk) < 0.002);
  for (const pen of [4, 12, 24]) {
    const images = [[1, [0, 0]], [0.6, [0.35, 0.05]]].map(([scale, offset]) =>
      fromDrawing(draw(DIGITS[0], 140, pen * scale, scale, offset), 140, 140),
    );
    const differences = images[0].map((value, i) => Math.abs(value - images[1][i]));
    assert.ok(differences.reduce((sum, value) => sum + value, 0) / 256 < 0.08, `pen ${pen}`);
    for (const image of images) {
      assert.ok(Math.abs(inkOf(image) - MEAN_INK) < 0.02, String(inkOf(image)));
      const mirrored = image.map((_, i) => image[i - (i % 16) + 15 - (i % 16)]);
      assert.ok(mirrored.every((value, i) => Math.abs(value - image[i]) < 0.3));
    }
  }
});

test("drawings of any size and shape are accepted", () => {
  const dot = new Float64Array(900);
  dot[455] = 1;
  const full = new Float64Array(600).fill(1);
  const bar = Float64Array.from({ length: 900 }, (_, i) => (Math.floor(i / 30) === 15 ? 1 : 0));
  for (const [pixels, width, height] of [[dot, 30, 30], [full, 20, 30], [bar, 30, 30], [[1], 1, 1]]) {
    const image = fromDrawing(pixels, width, height);
    assert.equal(image.length, 256);
    assert.ok(image.every((value) => value >= -1 && value <= 1));
  }
});

test("drawn digits are recognized with thin and thick pens", () => {
  for (const [pen, scale, offset] of [[3, 1, [0, 0]], [12, 1, [0, 0]], [24, 1, [0, 0]], [10, 0.5, [0.4, 0.1]]]) {
    for (const [name, net] of Object.entries(networks)) {
      const labels = DIGITS.map((stroke) => predict(net, fromDrawing(draw(stroke, 140, pen, scale, offset), 140, 140)).label);
      const right = labels.filter((label, digit) => label === digit).length;
      assert.ok(right >= 9, `${name}, pen ${pen}: ${labels}`);
    }
  }
});

test("a prediction takes less than 20 ms", () => {
  for (const [name, net] of Object.entries(networks)) {
    predict(net, samples[0].image);
    const times = samples.map(({ image }) => {
      const start = performance.now();
      predict(net, image);
      return performance.now() - start;
    });
    const median = times.sort((a, b) => a - b)[times.length >> 1];
    assert.ok(median < 20, `${name}: ${median} ms`);
  }
});
