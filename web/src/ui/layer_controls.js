/** Controls that change the layer. Each chapter shows those that it needs, beside its picture. */
import { outputSize } from "../core/geometry.js";
import { KERNELS } from "../core/weights.js";
import { check, menu, slider } from "./controls.js";
import { h } from "./dom.js";
import { INPUTS } from "./images.js";

/** @typedef {import("../core/geometry.js").Layer} Layer */
/** @typedef {import("../core/sharing.js").Sharing} Sharing */
/** @typedef {{ el: HTMLElement, update: () => void }} Part */

/** @type {[string, string][]} */
export const SHARINGS = [
  ["full", "full: one kernel for all positions"],
  ["tiled", "tiled: kernels repeat"],
  ["regional", "regional: one kernel per block"],
  ["along", "along an axis: one kernel per row or column"],
  ["lowrank", "low rank: one kernel plus corrections"],
  ["local", "local: one kernel per position"],
];

/** @type {[string, string][]} */
const MODES = [
  ["zeros", "zeros"],
  ["circular", "circular"],
  ["reflect", "reflect"],
  ["replicate", "replicate"],
];

/** The largest values of the sliders of a picture. */
export const SMALL = { inputSize: 32, kernelSize: 7, stride: 4, padding: 3, dilation: 3, inChannels: 3, outChannels: 3, groups: 3 };

/**
 * @param {import("../app/app.js").App} app
 * @param {string[]} names of the controls, in their order
 * @param {string[]} [more] names of those that are shown on demand
 * @param {Record<string, number>} [most] largest values of sliders
 */
export function layerControls(app, names, more = [], most = SMALL) {
  const first = names.map((name) => makePart(app, name, most));
  const rest = more.map((name) => makePart(app, name, most));
  const details = h("details", {}, h("summary", {}, "More settings"), h("div", { class: "controls" }, rest.map(({ el }) => el)));
  return {
    el: h("div", { class: "side" }, h("div", { class: "controls" }, first.map(({ el }) => el)), more.length ? details : null),
    update() {
      for (const part of [...first, ...rest]) part.update();
    },
  };
}

/** @param {import("../app/app.js").App} app @param {string} name @param {Record<string, number>} most @returns {Part} */
function makePart(app, name, most) {
  const all = (/** @type {number} */ n) => app.layer.inputSize.map(() => n);
  switch (name) {
    case "axes":
      return makeAxes(app);
    case "inputSize":
      return axisSlider(app, "Input size", "inputSize", 1, most.inputSize);
    case "kernelSize":
      return axisSlider(app, "Kernel size", "kernelSize", 1, most.kernelSize);
    case "stride":
      return axisSlider(app, "Stride", "stride", 1, most.stride);
    case "dilation":
      return axisSlider(app, "Dilation", "dilation", 1, most.dilation);
    case "padding": {
      const control = slider("Padding", { min: 0, max: most.padding, value: 0, change: (n) => app.setLayer({ padding: all(n).map((p) => [p, p]) }) });
      return { el: control.el, update: () => control.set(app.layer.padding[0][0]) };
    }
    case "inChannels":
    case "outChannels": {
      const text = name === "inChannels" ? "Input channels" : "Output channels";
      const control = slider(text, { min: 1, max: most[name], value: 1, change: (n) => app.setLayer({ [name]: n }) });
      return { el: control.el, update: () => control.set(app.layer[name]) };
    }
    case "groups": {
      const control = menu("Groups", { options: [["1", "1"]], value: "1", change: (n) => app.setLayer({ groups: Number(n) }) });
      return {
        el: control.el,
        update() {
          const { inChannels, outChannels, groups } = app.layer;
          const fits = [...Array(Math.min(inChannels, 512)).keys()].map((i) => i + 1).filter((n) => inChannels % n === 0 && outChannels % n === 0);
          control.input.replaceChildren(...fits.map((n) => h("option", { value: n, selected: n === groups }, n)));
        },
      };
    }
    case "bias": {
      const control = check("Bias", { value: true, change: (bias) => app.setLayer({ bias }) });
      return { el: control.el, update: () => control.set(app.layer.bias) };
    }
    case "biasSharing": {
      const options = /** @type {[string, string][]} */ ([["default", "as the weights"], ["full", "one per channel (tied)"], ["local", "one per output (untied)"]]);
      const control = menu("Sharing of the bias", {
        options,
        value: "default",
        change: (type) => app.setLayer({ biasSharing: type === "default" ? null : /** @type {Sharing} */ ({ type }) }),
      });
      return {
        el: control.el,
        update() {
          const { biasSharing, bias } = app.layer;
          control.input.disabled = !bias;
          control.set(biasSharing?.type === "full" || biasSharing?.type === "local" ? biasSharing.type : "default");
        },
      };
    }
    case "paddingMode": {
      const control = menu("Padding mode", { options: MODES, value: "zeros", change: (mode) => app.setLayer({ paddingMode: /** @type {Layer["paddingMode"]} */ (mode) }) });
      return { el: control.el, update: () => control.set(app.layer.paddingMode) };
    }
    case "sharing":
      return makeSharing(app);
    case "kernel": {
      const control = menu("Weights", { options: KERNELS, value: app.state.kernel, change: (kernel) => app.set({ kernel }) });
      return { el: control.el, update: () => control.set(app.state.kernel) };
    }
    case "input": {
      const control = menu("Input", { options: INPUTS, value: app.state.input, change: (input) => app.set({ input }) });
      return { el: control.el, update: () => control.set(app.state.input) };
    }
    case "channel": {
      const control = slider("Output channel shown", {
        min: 1,
        max: 3,
        value: 1,
        text: (n) => `${n} of ${Math.min(3, app.layer.outChannels)}`,
        change: (n) => app.set({ channel: n - 1 }),
      });
      return {
        el: control.el,
        update() {
          const channels = Math.min(3, app.layer.outChannels);
          control.el.hidden = channels === 1;
          control.set(Math.min(app.state.channel, channels - 1) + 1, { max: channels });
        },
      };
    }
    default:
      throw new Error(`There is no control named ${name}.`);
  }
}

/** @param {import("../app/app.js").App} app @param {string} text @param {"inputSize" | "kernelSize" | "stride" | "dilation"} field @param {number} min @param {number} max @returns {Part} */
function axisSlider(app, text, field, min, max) {
  const control = slider(text, { min, max, value: min, change: (n) => app.setLayer({ [field]: app.layer.inputSize.map(() => n) }) });
  return { el: control.el, update: () => control.set(app.layer[field][0]) };
}

/** One or two spatial axes. @param {import("../app/app.js").App} app @returns {Part} */
function makeAxes(app) {
  const control = menu("Spatial axes", {
    options: [["1", "1 (sequence)"], ["2", "2 (image)"]],
    value: "2",
    change(value) {
      const ndim = Number(value);
      const { layer } = app;
      const take = (/** @type {any[]} */ values) => Array.from({ length: ndim }, (_, axis) => values[axis] ?? values[0]);
      const sharing = layer.sharing.type === "along" && ndim === 1 ? /** @type {Sharing} */ ({ type: "local" }) : fitSharing(layer.sharing);
      app.setLayer({
        inputSize: take(layer.inputSize),
        kernelSize: take(layer.kernelSize),
        stride: take(layer.stride),
        padding: take(layer.padding),
        dilation: take(layer.dilation),
        outputPadding: take(layer.outputPadding),
        sharing,
        biasSharing: null,
      });
    },
  });
  return { el: control.el, update: () => control.set(String(app.layer.inputSize.length)) };
}

/** A sharing without one value per axis. @param {Sharing} sharing @returns {Sharing} */
function fitSharing(sharing) {
  if (sharing.type === "tiled") return { ...sharing, period: [sharing.period[0]] };
  if (sharing.type === "regional") return { ...sharing, grid: [sharing.grid[0]] };
  return sharing.type === "mapped" ? { type: "full" } : sharing;
}

/** @param {import("../app/app.js").App} app @returns {Part} */
function makeSharing(app) {
  const type = menu("Sharing", { options: SHARINGS, value: "full", change: (value) => app.setLayer({ sharing: makeDefault(value) }) });
  const number = slider("Period", { min: 1, max: 8, value: 2, change: (n) => app.setLayer({ sharing: withNumber(app.layer.sharing, n) }) });
  const axis = menu("Shared along", {
    options: [["1", "the columns of a row"], ["0", "the rows of a column"]],
    value: "1",
    change: (value) => app.setLayer({ sharing: { type: "along", axes: [Number(value)] } }),
  });
  return {
    el: h("div", { class: "control-group" }, type.el, number.el, axis.el),
    update() {
      const { sharing, inputSize } = app.layer;
      const isMapped = sharing.type === "mapped";
      const options = SHARINGS.filter(([name]) => name !== "along" || inputSize.length > 1);
      if (isMapped) options.push(["mapped", "mapped: one kernel per label"]);
      if (type.input.options.length !== options.length || (isMapped && type.input.value !== "mapped")) {
        type.input.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
      }
      type.set(sharing.type);
      axis.el.hidden = sharing.type !== "along";
      if (sharing.type === "along") axis.set(String(sharing.axes[0] === 0 || sharing.axes[0] === -inputSize.length ? 0 : 1));
      const names = /** @type {Record<string, string>} */ ({ tiled: "Period", regional: "Blocks per axis", lowrank: "Rank (corrections)" });
      number.el.hidden = !(sharing.type in names);
      if (number.el.hidden) return;
      const label = /** @type {HTMLLabelElement} */ (number.el.querySelector("label"));
      label.textContent = names[sharing.type];
      const found = outputSize(app.layer);
      const most = "size" in found ? Math.min(8, ...found.size) : 8;
      number.set(numberOf(sharing), { min: sharing.type === "lowrank" ? 0 : 1, max: Math.max(most, numberOf(sharing)) });
    },
  };
}

/** @param {string} type @returns {Sharing} */
export function makeDefault(type) {
  switch (type) {
    case "tiled":
      return { type, period: [2] };
    case "regional":
      return { type, grid: [2] };
    case "along":
      return { type, axes: [1] };
    case "lowrank":
      return { type, rank: 1, free: false };
    default:
      return { type: type === "local" ? "local" : "full" };
  }
}

/** @param {Sharing} sharing @param {number} n @returns {Sharing} */
function withNumber(sharing, n) {
  if (sharing.type === "tiled") return { ...sharing, period: [n] };
  if (sharing.type === "regional") return { ...sharing, grid: [n] };
  return sharing.type === "lowrank" ? { ...sharing, rank: n } : sharing;
}

/** @param {Sharing} sharing */
function numberOf(sharing) {
  if (sharing.type === "tiled") return sharing.period[0];
  if (sharing.type === "regional") return sharing.grid[0];
  return sharing.type === "lowrank" ? sharing.rank : 1;
}
