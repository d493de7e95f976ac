import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT } from "../src/core/layer.js";
import { exactShifts, judge, judgePooled, pool, writeProof } from "../src/core/shift.js";

/** @param {Partial<import("../src/core/geometry.js").Layer>} patch */
const make = (patch) => /** @type {import("../src/core/geometry.js").Layer} */ ({ ...DEFAULT, ...patch });
const PADDED = make({ padding: [[1, 1], [1, 1]] });

test("a convolution without padding is exact, with padding in its interior", () => {
  assert.equal(judge(make({}), [0, 1]).kind, "exact");
  const found = /** @type {import("../src/core/shift.js").Verdict} */ (judge(PADDED, [0, 2]));
  assert.deepEqual([found.kind, found.good, found.total, found.border], ["border", 32, 48, [[0, 0], [1, 1]]]);
});

test("a layer with circular padding follows the circular shift", () => {
  const layer = make({ padding: [[1, 1], [1, 1]], paddingMode: "circular" });
  assert.equal(judgePooled(layer, "none", [3, 1], { isCircular: true }).kind, "exact");
  assert.equal(judgePooled(layer, "max", [2, 4], { isCircular: true }).kind, "exact");
  assert.equal(judge(layer, [3, 1]).kind, "border");
});

test("a stride and pooling follow multiples only", () => {
  assert.equal(judge(make({ stride: [2, 2] }), [0, 1]).kind, "fraction");
  assert.deepEqual(exactShifts(make({ stride: [2, 2] }), "none"), [2, 2]);
  assert.deepEqual(exactShifts(make({}), "max"), [2, 2]);
  assert.deepEqual(exactShifts(make({ stride: [2, 2], inputSize: [18, 18] }), "average"), [4, 4]);
});

test("unshared weights follow no shift, and shared rows follow one axis", () => {
  assert.deepEqual(exactShifts(make({ sharing: { type: "local" } }), "none"), [null, null]);
  assert.deepEqual(exactShifts(make({ sharing: { type: "along", axes: [1] } }), "none"), [null, 1]);
  assert.deepEqual(exactShifts(make({ sharing: { type: "tiled", period: [3] } }), "none"), [3, 3]);
  assert.deepEqual(exactShifts(make({ sharing: { type: "lowrank", rank: 1, free: false } }), "none"), [null, null]);
});

test("pooling does not repair weights that differ by position", () => {
  const layer = make({ sharing: { type: "tiled", period: [3] }, inputSize: [14, 14] });
  assert.equal(judgePooled(layer, "max", [0, 2]).kind, "broken");
  assert.equal(judgePooled(layer, "max", [0, 6]).kind, "exact");
});

test("a shift that moves everything away compares nothing", () => {
  assert.equal(judge(make({}), [0, 6]).kind, "outside");
  assert.equal(writeProof(make({}), [0, 6]), null);
  assert.equal(judgePooled(make({ inputSize: [3, 3] }), "max", [0, 0]).kind, "none");
});

test("pooling takes the maximum or the average of 2 x 2 values", () => {
  const values = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  assert.deepEqual([...pool(values, [3, 3], "max")], [5]);
  assert.deepEqual([...pool(values, [3, 3], "average")], [3]);
  assert.deepEqual([...pool([4, 1, 7], [3], "max")], [4]);
});
