// Read layers with weights, an input and a target as JSON lines, and print their losses, gradients and weights.
import { createInterface } from "node:readline";

import { plan } from "../src/core/forward.js";
import { readLayer } from "../src/core/layer.js";
import { copyWeights, differentiate, planCopies, spreadOf, tieCopies, train } from "../src/core/training.js";

/** @param {any} given */
function evaluate({ layer: data, weights: flat, input, target, kind, rate, steps }) {
  const read = readLayer(data);
  if ("error" in read) throw new Error(read.error);
  const p = plan(read.layer);
  if (p === null) throw new Error("The layer has no output.");
  const weights = read64(flat);
  const first = differentiate(p, weights, input, target, kind);
  const last = train(p, weights, input, target, { kind, rate, steps });
  const result = {
    loss: first.loss,
    gradients: write(first.gradients),
    losses: last.losses,
    weights: write(last.weights),
  };
  if (read.layer.sharing.type === "lowrank") return result;
  const copies = planCopies(p);
  const start = copyWeights(p, weights);
  const rules = Object.fromEntries(
    ["own", "sum", "mean"].map((rule) => {
      const options = { kind, rate, steps, tie: (/** @type {any} */ gradients) => tieCopies(p, gradients, rule) };
      const trained = train(copies, start, input, target, options);
      return [rule, { weights: write(trained.weights), losses: trained.losses, spread: spreadOf(p, trained.weights) }];
    }),
  );
  return { ...result, labels: [...p.labels], rules };
}

/** @param {Record<string, number[] | null>} values @returns {any} */
const read64 = (values) => Object.fromEntries(Object.entries(values).map(([name, list]) => [name, list && Float64Array.from(list)]));

/** @param {any} values */
const write = ({ banks, bias, coefficients }) => ({ banks: [...banks], bias: bias && [...bias], coefficients: coefficients && [...coefficients] });

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(evaluate(JSON.parse(line))));
}
