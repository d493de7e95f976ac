// Read cases as JSON lines from standard input, and print the feature map of each of them.
import { createInterface } from "node:readline";

import { correlateUnshared, flip, toGray } from "../src/core/maps.js";

for await (const line of createInterface({ input: process.stdin })) {
  const { image, width, height, kernels, labels, isFlipped, rgba, most } = JSON.parse(line);
  if (rgba) {
    const gray = toGray(rgba, width, height, most);
    console.log(JSON.stringify({ ...gray, values: [...gray.values] }));
    continue;
  }
  const map = correlateUnshared(image, width, height, isFlipped ? kernels.map(flip) : kernels, labels);
  console.log(JSON.stringify({ ...map, values: [...map.values] }));
}
