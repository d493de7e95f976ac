/** Controls with labels: native inputs, so that keyboards and screen readers work without more. */
import { h, uniqueId } from "./dom.js";

/**
 * A slider with its value beside it.
 * @param {string} label
 * @param {{ min: number, max: number, step?: number, value: number, text?: (value: number) => string, change: (value: number) => void }} options
 */
export function slider(label, { min, max, step = 1, value, text = String, change }) {
  const id = uniqueId("slider");
  const output = h("output", { for: id }, text(value));
  const input = h("input", { type: "range", id, min, max, step, value });
  input.addEventListener("input", () => {
    output.textContent = text(Number(input.value));
    change(Number(input.value));
  });
  const el = h("div", { class: "control" }, h("label", { for: id }, label), output, input);
  const set = (/** @type {number} */ next, /** @type {{ min?: number, max?: number }} */ limits = {}) => {
    if (limits.min !== undefined) input.min = String(limits.min);
    if (limits.max !== undefined) input.max = String(limits.max);
    if (Number(input.value) !== next) input.value = String(next);
    output.textContent = text(next);
  };
  return { el, input, set };
}

/**
 * A menu.
 * @param {string} label
 * @param {{ options: [string, string][], value: string, change: (value: string) => void }} options pairs of value and text
 */
export function menu(label, { options, value, change }) {
  const id = uniqueId("menu");
  const input = h(
    "select",
    { id },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );
  input.addEventListener("change", () => change(input.value));
  const el = h("div", { class: "control" }, h("label", { for: id }, label), input);
  const set = (/** @type {string} */ next) => {
    if (input.value !== next) input.value = next;
  };
  return { el, input, set };
}

/**
 * A check box.
 * @param {string} label
 * @param {{ value: boolean, change: (value: boolean) => void }} options
 */
export function check(label, { value, change }) {
  const id = uniqueId("check");
  const input = h("input", { type: "checkbox", id, checked: value });
  input.addEventListener("change", () => change(input.checked));
  const el = h("div", { class: "control check" }, input, h("label", { for: id }, label));
  const set = (/** @type {boolean} */ next) => {
    input.checked = next;
  };
  return { el, input, set };
}

/** A button. @param {string} text @param {() => void} press @param {Record<string, any>} [attributes] */
export const button = (text, press, attributes = {}) => h("button", { type: "button", onclick: press, ...attributes }, text);

/** Show that a button does nothing at the moment. It keeps the focus. @param {HTMLButtonElement} one @param {boolean} isDisabled */
export const disable = (one, isDisabled) => one.setAttribute("aria-disabled", String(isDisabled));

/**
 * One of several options, as buttons of which one is pressed.
 * @param {string} label
 * @param {{ options: [string, string][], value: string, change: (value: string) => void }} options
 */
export function choice(label, { options, value, change }) {
  const buttons = options.map(([key, text]) => button(text, () => change(key), { "aria-pressed": String(key === value), "data-key": key }));
  const el = h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
  const set = (/** @type {string} */ next) => {
    for (const one of buttons) one.setAttribute("aria-pressed", String(one.dataset.key === next));
  };
  return { el, buttons, set };
}
