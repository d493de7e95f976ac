/** The trained networks and test digits of the page, decoded once, and what two chapters show of them. */
import { decode, SIZE } from "../core/network.js";
import { h, replace } from "../ui/dom.js";
import { makeMosaic, toInk } from "../ui/mosaic.js";

/** @type {WeakMap<object, ReturnType<typeof decode>>} */
const DECODED = new WeakMap();

/** The decoded networks of a page that has them. @param {import("../app/app.js").App} app */
export function digitsOf(app) {
  const json = app.data.networks;
  const decoded = DECODED.get(json) ?? decode(json);
  DECODED.set(json, decoded);
  return decoded;
}

/** Whether the page has trained networks. @param {import("../app/app.js").App} app */
export const hasNetworks = (app) => Boolean(app.data.networks?.networks && app.data.networks?.samples);

/** A whole number from data that may be wrong. @param {any} value @param {number} end @param {number} otherwise */
export const readIndex = (value, end, otherwise) => (Number.isInteger(value) && value >= 0 && value < end ? value : otherwise);

/** A picture of an image. @param {number} cell in CSS px @param {string | null} label @param {any} [more] options of `makeMosaic` */
export const makeImage = (cell, label, more = {}) => makeMosaic({ tiles: 1, rows: SIZE, columns: SIZE, cell, label, ...more });

/** The color of a pixel of an image. @param {Float64Array} image */
export const inkOf = (image) => (/** @type {number} */ _, /** @type {number} */ row, /** @type {number} */ column) => toInk(image[row * SIZE + column]);

/**
 * The test digits as buttons, of which one is pressed.
 * @param {{ label: number, image: Float64Array }[]} samples
 * @param {(sample: number) => void} change
 */
export function sampleButtons(samples, change) {
  const buttons = samples.map(({ label, image }, i) => {
    const picture = makeImage(1.5, null);
    picture.draw(inkOf(image));
    const nth = samples.slice(0, i).filter((other) => other.label === label).length + 1;
    return h("button", { type: "button", onclick: () => change(i), "aria-label": `Test digit ${label}, example ${nth}` }, picture.el);
  });
  return {
    el: h("div", { class: "samples", role: "group", "aria-label": "Test digits" }, buttons),
    /** @param {number | null} sample */
    set(sample) {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === sample)));
    },
  };
}

/** A picture with its caption. @param {string | HTMLElement} caption @param {...(Node | null)} pictures */
export const panel = (caption, ...pictures) =>
  h("div", { class: "panel" }, typeof caption === "string" ? makeCaption(caption) : caption, pictures);

/** @param {string} [text] */
export const makeCaption = (text = "") => h("p", { class: "caption", "data-caption": true }, text);

/** Replace the content of an element that screen readers read when it changes. @param {HTMLElement} el @param {any[]} parts */
export function replaceText(el, parts) {
  const text = parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  if (el.textContent !== text) replace(el, ...parts);
}
