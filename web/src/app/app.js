/** What chapters share: the state, the layer, and how they change. */
import { outputSize } from "../core/geometry.js";
import { problem, readLayer, writeLayer } from "../core/layer.js";
import { readState, toDrawable } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("../core/geometry.js").Layer} Layer */

/**
 * The front-end model of anywidget's specification.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(name: string, callback: () => void) => void} on
 * @property {(name: string, callback?: () => void) => void} off
 */

export class App {
  /**
   * @param {Model} model
   * @param {string[]} chapters ids
   */
  constructor(model, chapters) {
    this.model = model;
    this.chapters = chapters;
    /** Networks, images and figures that Python put into the page; empty where there are none. @type {any} */
    this.data = model.get("data") ?? {};
    const { state, note } = readState(model.get("state"), chapters);
    this.state = state;
    this.note = note;
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    this.isSaving = false;
    this.receive = () => {
      if (this.isSaving) return;
      const read = readState(model.get("state"), chapters);
      this.state = read.state;
      this.note = read.note;
      this.notify();
    };
    model.on("change:state", this.receive);
  }

  /** Change a part of the state. @param {Partial<State>} patch */
  set(patch) {
    this.state = { ...this.state, ...patch };
    this.note = null;
    this.isSaving = true;
    this.model.set("state", this.state);
    this.model.save_changes();
    this.isSaving = false;
    this.notify();
  }

  /** Replace the state by data, which may be wrong. @param {any} data */
  load(data) {
    const { state, note } = readState(data, this.chapters);
    this.set(state);
    if (note) this.tell(note);
  }

  /** Show a note until the state changes. @param {string} note */
  tell(note) {
    this.note = note;
    this.notify();
  }

  /** What one chapter alone uses. @param {string} chapter @param {Record<string, any>} patch */
  setOptions(chapter, patch) {
    const options = { ...this.state.options, [chapter]: { ...this.state.options[chapter], ...patch } };
    this.set({ options });
  }

  /** The layer of the state. @returns {Layer} */
  get layer() {
    const read = readLayer(this.state.layer);
    return /** @type {{ layer: Layer }} */ (read).layer;
  }

  /** Change the layer; positions stay on its output, and groups stay divisors. @param {Partial<Layer>} patch */
  setLayer(patch) {
    const layer = { ...this.layer, ...patch };
    if (layer.inChannels % layer.groups || layer.outChannels % layer.groups) layer.groups = 1;
    this.set({ layer: writeLayer(layer), channel: Math.min(this.state.channel, layer.outChannels - 1) });
  }

  /** The layer that pictures draw, or a sentence that says why there is no picture. */
  get drawable() {
    const layer = this.layer;
    const why = problem(layer);
    if (why !== null) return { error: why };
    const small = toDrawable(layer);
    if ("error" in small) return small;
    const whyNot = problem(small.layer);
    return whyNot === null ? small : { error: whyNot };
  }

  /** A position of the state, on a grid of outputs. @param {number[]} position @param {number[]} out */
  place(position, out) {
    const size = out.length === 1 ? [1, out[0]] : out;
    return size.map((n, axis) => Math.max(0, Math.min(n - 1, position[axis])));
  }

  /** The spatial size of the output of a layer that has one. @param {Layer} layer */
  outputOf(layer) {
    return /** @type {{ size: number[] }} */ (outputSize(layer)).size;
  }

  notify() {
    for (const listener of this.listeners) listener();
  }

  close() {
    this.model.off("change:state", this.receive);
    this.listeners.clear();
  }
}
