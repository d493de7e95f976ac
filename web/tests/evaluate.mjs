// Read cases as JSON lines from standard input, and print what the page computes for each of them.
import { createInterface } from "node:readline";

import { readLayer } from "../src/core/layer.js";
import { count, sumOf, valueOf } from "../src/core/counts.js";
import { backward, forward, plan, termsOf, gradientTerms } from "../src/core/forward.js";
import { judge } from "../src/core/shift.js";

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(evaluate(JSON.parse(line))));
}

/** @param {any} given */
function evaluate(given) {
  const read = readLayer(given.layer);
  if ("error" in read) return read;
  const { layer } = read;
  const counts = count(layer);
  if ("error" in counts) return counts;
  const result = {
    output: counts.output,
    bySharing: Object.fromEntries(Object.entries(counts.bySharing).map(([name, terms]) => [name, sumOf(terms)])),
    connections: valueOf(counts.connections),
    macs: sumOf(counts.macs),
    neurons: counts.neurons,
    deadTaps: counts.deadTaps,
  };
  const { weights, input, direction, shift } = given;
  if (shift) {
    const { kind, good, total, border } = judge(layer, shift);
    Object.assign(result, { shift: { kind, good, total, border } });
  }
  const p = plan(layer);
  if (!weights || p === null) return result;
  const output = forward(p, weights, input);
  const { banks, bias, coefficients, input: inputGradient } = backward(p, weights, input, direction);
  Object.assign(result, {
    outputs: [...output],
    gradients: {
      banks: [...banks],
      bias: bias && [...bias],
      coefficients: coefficients && [...coefficients],
      input: [...inputGradient],
    },
  });
  if (!layer.transposed) {
    const sums = [];
    for (let channel = 0; channel < p.near; channel++) {
      for (let position = 0; position < p.positionCount; position++) {
        const bias = weights.bias ? weights.bias[p.biasLabels[position] * p.near + channel] : 0;
        sums.push(termsOf(p, weights, input, position, channel).reduce((sum, t) => sum + t.value * t.weight, bias));
      }
    }
    Object.assign(result, { sums });
    if (layer.sharing.type !== "lowrank") {
      const steps = [];
      for (let i = 0; i < banks.length; i++) {
        const tap = i % p.taps;
        const local = Math.floor(i / p.taps) % p.far;
        const channel = Math.floor(i / p.taps / p.far) % p.near;
        const bank = Math.floor(i / p.taps / p.far / p.near);
        const terms = gradientTerms(p, input, direction, bank, channel, local, tap);
        steps.push(terms.reduce((sum, t) => sum + t.value * t.grad, 0));
      }
      Object.assign(result, { steps });
    }
  }
  return result;
}
