// Run the networks and autoencoders on images, and print what they compute: node run_networks.mjs NETWORKS IMAGES
import { readFileSync } from "node:fs";

import { decode, fromDrawing, predict, reconstruct } from "../src/core/network.js";

const [networks, images] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
const decoded = decode(networks);
const inputs = images.map((/** @type {number[]} */ image) => Float64Array.from(image));

/**
 * Apply a function to each model and image.
 * @template T
 * @param {Record<string, T>} models
 * @param {(model: T, image: Float64Array) => any} compute
 */
const apply = (models, compute) =>
  Object.fromEntries(
    Object.entries(models).map(([name, model]) => [
      name,
      inputs.map((/** @type {Float64Array} */ image) => compute(model, image)),
    ]),
  );

console.log(
  JSON.stringify({
    predictions: apply(decoded.networks, (net, image) => {
      const { logits, label } = predict(net, image);
      return { logits: [...logits], label };
    }),
    reconstructions: apply(decoded.autoencoders, (autoencoder, image) => [...reconstruct(autoencoder, image)]),
    drawings: inputs.map((/** @type {Float64Array} */ image) => redraw(image)),
    samples: decoded.samples.map(({ label, image }) => ({ label, image: [...image] })),
  }),
);

/** Draw an image eight times as large in the corner of a canvas, and read the drawing. @param {Float64Array} image */
function redraw(image) {
  const side = 160;
  const pixels = Array.from({ length: side * side }, (_, i) => {
    const [row, column] = [Math.floor(i / side) - 20, (i % side) - 10];
    const inside = row >= 0 && row < 128 && column >= 0 && column < 128;
    return inside ? (image[(row >> 3) * 16 + (column >> 3)] + 1) / 2 : 0;
  });
  return [...fromDrawing(pixels, side, side)];
}
