// Read layers with a pooling and a shift as JSON lines, and print the verdicts of the page.
import { createInterface } from "node:readline";

import { readLayer } from "../src/core/layer.js";
import { exactShifts, judgePooled, writeProof } from "../src/core/shift.js";

for await (const line of createInterface({ input: process.stdin })) {
  const { layer: data, pooling, shift, isCircular } = JSON.parse(line);
  const read = readLayer(data);
  if ("error" in read) throw new Error(read.error);
  const { layer } = read;
  const found = judgePooled(layer, pooling, shift, { isCircular });
  const verdict = "exact" in found ? { ...found, exact: [...found.exact], compared: [...found.compared] } : found;
  const proof = pooling === "none" ? writeProof(layer, shift) : null;
  console.log(JSON.stringify({ ...verdict, proof, shifts: exactShifts(layer, pooling, isCircular) }));
}
