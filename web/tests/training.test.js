import assert from "node:assert/strict";
import { test } from "node:test";

import { gradientTerms, plan } from "../src/core/forward.js";
import { DEFAULT } from "../src/core/layer.js";
import { copyWeights, lossOf, outputGradient, planCopies, spreadOf, tieCopies, train } from "../src/core/training.js";

const LAYER = { ...DEFAULT, inputSize: [5], kernelSize: [3], stride: [1], padding: /** @type {[number, number][]} */ ([[0, 0]]), dilation: [1], outputPadding: [0], bias: false };
const p = /** @type {import("../src/core/forward.js").Plan} */ (plan(LAYER));
const start = { banks: Float64Array.of(0, 1, 0), bias: null, coefficients: null };
const [input, target] = [[1, 2, 0, 1, 3], [1, -1, 2]];

test("the loss is a sum or a mean", () => {
  assert.equal(lossOf([1, 2], [0, 4], "sum"), 5);
  assert.equal(lossOf([1, 2], [0, 4], "mean"), 2.5);
  assert.deepEqual([...outputGradient([1, 2], [0, 4], "mean")], [1, -2]);
});

test("the gradient of a shared weight is the sum of its terms, not their mean", () => {
  const { direction, gradients } = train(p, start, input, target, { kind: "sum", rate: 0.1, steps: 0 });
  assert.deepEqual([...direction], [2, 2, -2]);
  const terms = gradientTerms(p, input, direction, 0, 0, 0, 1);
  assert.deepEqual(terms, [{ position: 0, value: 2, grad: 2 }, { position: 1, value: 0, grad: 2 }, { position: 2, value: 1, grad: -2 }]);
  assert.equal(gradients.banks[1], 2);
});

test("copies stay equal with the sum, and drift apart with their own terms", () => {
  const copies = planCopies(p);
  const run = (/** @type {string} */ rule, steps = 5) => train(copies, copyWeights(p, start), input, target, { kind: "mean", rate: 0.05, steps, tie: (gradients) => tieCopies(p, gradients, rule) });
  const shared = train(p, start, input, target, { kind: "mean", rate: 0.05, steps: 5 });
  assert.equal(spreadOf(p, run("sum").weights), 0);
  assert.deepEqual([...run("sum").weights.banks.subarray(0, 3)], [...shared.weights.banks]);
  assert.equal(spreadOf(p, run("mean").weights), 0);
  assert.ok(run("mean").loss > run("sum").loss);
  assert.ok(spreadOf(p, run("own").weights) > 0.1);
});
