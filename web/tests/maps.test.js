import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { readOptions } from "../src/chapters/maps.js";
import { MOST_BYTES, problemOfFile, readHeader } from "../src/core/image_file.js";
import { correlate, correlateUnshared, countCommon, decodeBytes, fitSize, flip, productsAt, quantile, relu, toGray } from "../src/core/maps.js";

const VERTICAL = [-1, 0, 1, -1, 0, 1, -1, 0, 1];
const STEP = [0, 0, 9, 9, 0, 0, 9, 9, 0, 0, 9, 9]; // 3 rows, brighter to the right

test("a vertical edge is where the kernel finds it", () => {
  assert.deepEqual(correlate(STEP, 4, 3, VERTICAL), { width: 2, height: 1, values: Float64Array.of(27, 27) });
  assert.deepEqual([...correlate([...STEP].reverse(), 4, 3, VERTICAL).values], [-27, -27]);
});

test("a kernel moved by one pixel moves the map", () => {
  const image = Array.from({ length: 30 }, (_, i) => (i * 7) % 11);
  const one = [0, 0, 0, 0, 1, 0, 0, 0, 0];
  const next = [0, 0, 0, 0, 0, 1, 0, 0, 0];
  const [first, second] = [correlate(image, 6, 5, one), correlate(image, 6, 5, next)];
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 3; column++) assert.equal(second.values[row * 4 + column], first.values[row * 4 + column + 1]);
  }
});

test("each position uses the kernel of its label", () => {
  const image = Array(9 * 9).fill(1);
  const kernels = [1, 2, 3].map((weight) => Array(9).fill(weight));
  const labels = Array.from({ length: 49 }, (_, i) => i % 3);
  assert.deepEqual([...correlateUnshared(image, 9, 9, kernels, labels).values], labels.map((label) => 9 * (label + 1)));
});

test("an image that is smaller than the window has an empty map", () => {
  assert.deepEqual(correlate([1, 2, 3, 4], 2, 2, VERTICAL), { width: 0, height: 0, values: new Float64Array(0) });
});

test("the products of a position add up to its value", () => {
  const values = Array.from({ length: 20 }, (_, i) => i * i);
  const kernel = [2, -1, 0, 3, 1, -2, 0, 1, 4];
  const map = correlate(values, 5, 4, kernel);
  for (let position = 0; position < 6; position++) {
    const terms = productsAt({ width: 5, height: 4, values }, kernel, Math.floor(position / 3), position % 3);
    assert.equal(terms.length, 9);
    assert.equal(terms.reduce((sum, term) => sum + term.product, 0), map.values[position]);
  }
});

test("flipping twice changes nothing, and the kernel that is given stays", () => {
  const kernel = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  assert.deepEqual(flip(kernel), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
  assert.deepEqual(flip(flip(kernel)), kernel);
  assert.equal(kernel[0], 1);
});

test("ReLU keeps positive values", () => assert.deepEqual([...relu([-2, 0, 3])], [0, 0, 3]));

test("a quantile is of the absolute values", () => {
  assert.equal(quantile([-4, 1, 2, -3], 0.5), 3);
  assert.equal(quantile([-4, 1, 2, -3], 1), 4);
  assert.equal(quantile([], 0.5), 0);
});

test("strongest positions that two maps have in common", () => {
  assert.equal(countCommon([9, -8, 1, 0], [0, 7, -9, 1], 2), 1);
  assert.equal(countCommon([1, 1, 1, 1], [1, 1, 1, 1], 2), 2);
  const values = Array.from({ length: 100 }, (_, i) => Math.sin(i));
  assert.equal(countCommon(values, values.map((value) => -value), 5), 5);
});

test("an image is reduced by averaging, in its proportions", () => {
  assert.deepEqual(fitSize(400, 200, 128), [128, 64]);
  assert.deepEqual(fitSize(40, 20, 128), [40, 20]);
  assert.deepEqual(fitSize(10000, 2, 128), [128, 1]);
  const rgba = [0, 0, 0, 100, 100, 100, 200, 200, 200, 255, 255, 255].flatMap((value, i) => (i % 3 === 2 ? [value, 255] : [value]));
  assert.deepEqual([...toGray(rgba, 4, 1, 4).values], [0, 100, 200, 255]);
  assert.deepEqual([...toGray(rgba, 4, 1, 2).values], [50, 228]);
  assert.deepEqual([...toGray([255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255], 3, 1, 3).values], [76, 150, 29]);
});

test("the images of the page are small, complete and credited", () => {
  const text = readFileSync(new URL("../../src/weightshare/explorer/data/images.json", import.meta.url), "utf8");
  assert.ok(text.length <= 60_000, `${text.length} bytes`);
  const { images, pages } = JSON.parse(text);
  assert.ok(images.length >= 3);
  for (const image of images) {
    assert.equal(decodeBytes(image.pixels).length, image.width * image.height);
    for (const field of ["title", "author", "source", "license", "license_url"]) assert.ok(image[field], `${image.name} has no ${field}`);
  }
  for (const page of [...pages.aligned, ...pages.shifted]) assert.equal(decodeBytes(page.pixels).length, page.width * page.height);
});

test("options that cannot be read are those of the start", () => {
  const start = readOptions(undefined, ["camera", "own"]);
  assert.equal(start.image, "camera");
  assert.equal(start.sharing, "full");
  const wrong = { image: "x", sharing: "tiled", kernels: ["x", [1, 2], Array(9).fill(NaN), Array(9).fill(1e9)], position: [-1, 0], flip: 1, relu: "yes" };
  assert.deepEqual(readOptions(wrong, ["camera", "own"]), start);
  const right = { image: "own", sharing: "local", kernels: ["blur", Array(9).fill(0.5), "outline", "emboss"], position: [3, 4], flip: true, relu: true };
  assert.deepEqual(readOptions(right, ["camera", "own"]), right);
  assert.deepEqual(readOptions({ kernels: ["blur"] }, ["camera"]).kernels, ["blur", ...start.kernels.slice(1)]);
});

/** @param {...(string | number[])} parts */
const bytes = (...parts) => Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? [...part].map((c) => c.charCodeAt(0)) : part)));
const big = (/** @type {number} */ n) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
const png = (/** @type {number} */ width, /** @type {number} */ height, ...chunks) =>
  bytes("\x89PNG\r\n\x1a\n", big(13), "IHDR", big(width), big(height), [8, 6, 0, 0, 0], big(0), ...chunks, big(0), "IDAT", big(0));
const frame = [0x2c, 0, 0, 0, 0, 2, 0, 2, 0, 0, 2, 1, 5, 0];
const gif = (/** @type {number} */ frames) => bytes("GIF89a", [4, 0, 3, 0, 0x80, 0, 0], [0, 0, 0, 255, 255, 255], [0x21, 0xfe, 2, 65, 66, 0], ...Array(frames).fill(frame), [0x3b]);

test("headers give the size and whether the image is animated", () => {
  assert.deepEqual(readHeader(png(7, 9)), { type: "PNG", width: 7, height: 9, isAnimated: false });
  assert.deepEqual(readHeader(png(7, 9, big(8), "acTL", big(3), big(0), big(0))), { type: "PNG", width: 7, height: 9, isAnimated: true });
  assert.deepEqual(readHeader(gif(1)), { type: "GIF", width: 4, height: 3, isAnimated: false });
  assert.deepEqual(readHeader(gif(2)), { type: "GIF", width: 4, height: 3, isAnimated: true });
  const jpeg = bytes([0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc2, 0, 17, 8, 0, 20, 0, 30, 3, 0, 0]);
  assert.deepEqual(readHeader(jpeg), { type: "JPEG", width: 30, height: 20, isAnimated: false });
  const webp = bytes("RIFF", [0, 0, 0, 0], "WEBP", "VP8X", [10, 0, 0, 0, 2, 0, 0, 0], [99, 0, 0], [49, 1, 0]);
  assert.deepEqual(readHeader(webp), { type: "WebP", width: 100, height: 306, isAnimated: true });
});

test("what is not an image has no header", () => {
  for (const file of [bytes(), bytes("hello"), bytes("BMW is a car"), bytes("<svg xmlns='http://www.w3.org/2000/svg'/>"), bytes("\x89PNG\r\n\x1a\n"), bytes("GIF89a"), bytes("RIFF\0\0\0\0WEBPVP8X")]) {
    assert.equal(readHeader(file), null);
  }
});

test("bad files get a sentence before they are decoded", () => {
  assert.match(String(problemOfFile("a.png", 0)), /^“a\.png” is empty\.$/);
  assert.match(String(problemOfFile("a.png", MOST_BYTES + 1e6)), /21\.0 MB.*up to 20 MB/);
  assert.match(String(problemOfFile("a.txt", 9, null)), /not an image/);
  assert.match(String(problemOfFile("a.png", 9, readHeader(png(8000, 6000)))), /48\.0 megapixels/);
  assert.match(String(problemOfFile("a.png", 9, readHeader(png(2, 60)))), /too small: it has 2 × 60/);
  assert.equal(problemOfFile("a.png", 9), null);
  assert.equal(problemOfFile("a.png", 9, readHeader(png(800, 600))), null);
  assert.ok(String(problemOfFile(`${"x".repeat(300)}.png`, 0)).length < 60);
});
