/** The one state of the page: its defaults, its checks, and its link. */
import { outputSize } from "../core/geometry.js";
import { DEFAULT, readLayer, writeLayer } from "../core/layer.js";
import { INPUTS } from "../ui/images.js";
import { KERNELS } from "../core/weights.js";

/**
 * @typedef {object} State
 * @property {string} chapter
 * @property {string | null} question id of the tour's question that is shown
 * @property {any} layer as `readLayer` reads it
 * @property {string} kernel name of the kernel of the pictures
 * @property {string} input name of the input of the pictures
 * @property {number[]} position output position of the window, [row, column]
 * @property {number[]} second a second output position to compare with
 * @property {number} channel output channel that is shown
 * @property {number[]} shift of the input, [rows, columns]
 * @property {string} pooling "none", "max" or "average", 2 x 2 with stride 2
 * @property {Record<string, any>} options what only one chapter uses, by its id
 */

const CHAPTER = /^[a-z]{1,20}$/;

export const POOLINGS = ["none", "max", "average"];

/** @type {State} */
export const START = {
  chapter: "stencil",
  question: "sharing",
  layer: writeLayer(DEFAULT),
  kernel: "vertical",
  input: "cross",
  position: [2, 1],
  second: [2, 3],
  channel: 0,
  shift: [0, 1],
  pooling: "none",
  options: {},
};

/**
 * A state from data that may be incomplete or wrong, with a note on what could not be read.
 * @param {any} data
 * @param {string[]} chapters
 * @returns {{ state: State, note: string | null }}
 */
export function readState(data, chapters) {
  const state = structuredClone(START);
  if (data === null || data === undefined) return { state, note: null };
  if (typeof data !== "object" || Array.isArray(data)) return { state, note: "The state cannot be read, so the page shows its start." };
  let note = null;
  if (Object.keys(data).length && data.question === undefined) state.question = null;
  if (data.layer !== undefined) {
    const read = readLayer(data.layer);
    if ("error" in read) note = `The layer cannot be read, so the page shows its start: ${read.error}`;
    else state.layer = writeLayer(read.layer);
  }
  const names = (/** @type {[string, string][]} */ pairs) => pairs.map(([name]) => name);
  /** @type {[keyof State, (value: any) => boolean][]} */
  const fields = [
    ["chapter", (v) => chapters.includes(v)],
    ["question", (v) => v === null || (typeof v === "string" && v.length < 60)],
    ["kernel", (v) => names(KERNELS).includes(v)],
    ["input", (v) => names(INPUTS).includes(v)],
    ["position", isPair],
    ["second", isPair],
    ["channel", (v) => Number.isInteger(v) && v >= 0],
    ["shift", isPair],
    ["pooling", (v) => POOLINGS.includes(v)],
    ["options", (v) => typeof v === "object" && v !== null && !Array.isArray(v)],
  ];
  for (const [field, isValid] of fields) {
    if (data[field] === undefined) continue;
    if (isValid(data[field])) /** @type {any} */ (state)[field] = data[field];
    else note = note ?? `"${field}" cannot be read, so the page uses its default.`;
  }
  return { state, note };
}

/** @param {any} value */
const isPair = (value) => Array.isArray(value) && value.length === 2 && value.every((n) => Number.isInteger(n) && Math.abs(n) < 1e5);

/**
 * The part of a link after "#". Only the question and what differs from the start is written.
 * @param {State} state
 */
export function toLink(state) {
  const changed = Object.fromEntries(
    Object.entries(state).filter(([field, value]) => field === "question" || JSON.stringify(value) !== JSON.stringify(/** @type {any} */ (START)[field])),
  );
  const bytes = new TextEncoder().encode(JSON.stringify(changed));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `s=${btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

/**
 * What a link asks for: a question of the tour, a chapter, a whole state, or nothing.
 * @param {string} hash with or without "#"
 * @returns {{ question: string } | { chapter: string } | { data: any } | { note: string } | null}
 */
export function readLink(hash) {
  const text = hash.replace(/^#/, "");
  if (!text) return null;
  const [kind, value] = [text.slice(0, 2), text.slice(2)];
  const note = { note: "The link cannot be read, so the page ignores it." };
  if (kind === "q=") return { question: value };
  if (kind === "c=") return CHAPTER.test(value) ? { chapter: value } : note;
  if (kind !== "s=") return note;
  try {
    const bytes = Uint8Array.from(atob(value.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const data = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof data === "object" && data !== null ? { data } : note;
  } catch {
    return note;
  }
}

/** Largest input and numbers of channels that pictures draw. */
const MOST = { 1: 32, 2: 32 };
const CHANNELS = 3;
const PADDED = 64;
const RANK = 16;

/**
 * The layer that a picture draws: the layer itself, or one of the same kind on a smaller input.
 * @param {import("../core/geometry.js").Layer} layer
 * @returns {{ layer: import("../core/geometry.js").Layer, note: string | null } | { error: string }}
 */
export function toDrawable(layer) {
  const ndim = layer.inputSize.length;
  if (ndim > 2) return { error: "Layers with three spatial axes have counts but no picture." };
  const most = MOST[/** @type {1 | 2} */ (ndim)];
  const isMapped = layer.sharing.type === "mapped" || layer.biasSharing?.type === "mapped";
  const isLarge = layer.inputSize.some((n) => n > most) && isMapped;
  if (isLarge || (layer.sharing.type === "lowrank" && layer.sharing.rank > RANK)) {
    return { error: "The layer is too large for a picture. The chapter Counts has its numbers." };
  }
  const small = { ...layer };
  if (layer.inputSize.some((n) => n > most)) small.inputSize = layer.inputSize.map((n) => Math.min(n, most));
  if (Math.max(layer.inChannels, layer.outChannels) > CHANNELS && layer.groups === 1) {
    small.inChannels = Math.min(layer.inChannels, CHANNELS);
    small.outChannels = Math.min(layer.outChannels, CHANNELS);
  } else if (Math.max(layer.inChannels, layer.outChannels) > CHANNELS) {
    const groups = Math.min(layer.groups, CHANNELS);
    [small.groups, small.inChannels, small.outChannels] = [groups, groups, groups];
  }
  const sizes = small.inputSize.map((n, axis) => n + small.padding[axis][0] + small.padding[axis][1]);
  const found = outputSize(small);
  if ("error" in found) return { error: found.error };
  if (Math.max(...sizes, ...found.size, ...small.kernelSize) > PADDED) {
    return { error: "The layer is too large for a picture. The chapter Counts has its numbers." };
  }
  const isSame = JSON.stringify(small) === JSON.stringify(layer);
  const note = isSame
    ? null
    : `The picture shows a smaller layer of the same kind: an input of ${small.inputSize.join(" × ")}, ${small.inChannels} in and ${small.outChannels} out.`;
  return { layer: small, note };
}
