// The state of the page: what can be read, what a link contains, and when there is no picture.
import assert from "node:assert/strict";
import { test } from "node:test";

import { readLink, readState, START, toDrawable, toLink } from "../src/app/state.js";
import { DEFAULT, problem, readLayer, toCode, writeLayer } from "../src/core/layer.js";

const CHAPTERS = ["stencil", "connections", "counts"];

test("a state without a question shows the question of its chapter", () => {
  assert.equal(readState({ chapter: "counts" }, CHAPTERS).state.question, null);
  assert.equal(readState({}, CHAPTERS).state.question, START.question);
  assert.equal(readState(undefined, CHAPTERS).state.question, START.question);
});

test("a link gives the same state", () => {
  const labels = Array.from({ length: 254 * 254 }, (_, i) => i % 7);
  const layer = writeLayer({ ...DEFAULT, inputSize: [256, 256], sharing: { type: "mapped", labels } });
  for (const state of [START, { ...START, chapter: "counts", layer }]) {
    const link = readLink(`#${toLink(state)}`);
    assert.ok(link && "data" in link);
    assert.deepEqual(readState(link.data, CHAPTERS), { state, note: null });
  }
});

test("a link that cannot be read has a note", () => {
  for (const hash of ["#top", "#s=%%%", "#s=AAAA", "#c=a b", "#s=W10"]) {
    const link = readLink(hash);
    assert.ok(link && ("note" in link || "data" in link), hash);
  }
  assert.equal(readLink(""), null);
});

test("layers that cannot be read have a reason", () => {
  for (const data of [null, [], { sharing: { type: "tiled" } }, { outputPadding: null }, { inputSize: [1e6, 1e6] }, { sharing: "lowrank:9999999999" }]) {
    assert.ok("error" in readLayer(data), JSON.stringify(data));
  }
});

test("a sharing of the bias must fit the output", () => {
  const layer = { ...DEFAULT, biasSharing: { type: "regional", grid: [7] } };
  assert.match(problem(layer) ?? "", /^Sharing of the bias: regional:7 needs at least 7 x 7 positions/);
  assert.equal(problem({ ...layer, bias: false }), null);
});

test("counts that would not be exact are not shown", () => {
  const layer = { ...DEFAULT, inChannels: 99999, outChannels: 99999, inputSize: [999, 999] };
  assert.match(problem(layer) ?? "", /would not be exact/);
});

test("a map is not drawn on a smaller input", () => {
  const labels = Array(38 * 38).fill(0);
  const found = toDrawable({ ...DEFAULT, inputSize: [40, 40], sharing: { type: "mapped", labels } });
  assert.ok("error" in found && found.error.includes("too large for a picture"));
  assert.ok("error" in toDrawable({ ...DEFAULT, sharing: { type: "lowrank", rank: 17, free: false } }));
});

test("the code of maps has one list per row", () => {
  const map = { type: "mapped", labels: [0, 1, 1, 0] };
  const layer = { ...DEFAULT, inputSize: [4, 4], sharing: map, biasSharing: map };
  const code = toCode(layer);
  assert.ok(code.includes("\nlabels = [[0, 1], [1, 0]]\nbias_labels = [[0, 1], [1, 0]]\n"));
  assert.ok(code.includes("sharing=ws.Mapped(labels), bias_sharing=ws.Mapped(bias_labels)"));
});

test("padding that differs at the two ends of an axis is named or explained", () => {
  const same = { ...DEFAULT, kernelSize: [2, 2], padding: [[0, 1], [0, 1]] };
  assert.ok(toCode(same).endsWith('layer = torch.nn.Conv2d(1, 1, 2, padding="same")'));
  assert.ok(toCode({ ...same, padding: [[0, 2], [0, 1]] }).includes("# no layer pads"));
});
