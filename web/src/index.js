/** The explorer as a front-end module of anywidget, and as a page that starts itself. */
import "./style.css";
import { App } from "./app/app.js";
import { mountShell } from "./app/shell.js";
import { CHAPTERS } from "./chapters/index.js";

/** @param {{ model: import("./app/app.js").Model, el: HTMLElement }} host @returns {() => void} */
function render({ model, el }) {
  const app = new App(model, CHAPTERS.map(({ id }) => id));
  const unmount = mountShell(app, el, CHAPTERS);
  return () => {
    unmount();
    app.close();
  };
}

/** A model without a kernel behind it. @param {Record<string, any>} values @returns {import("./app/app.js").Model} */
function makeModel(values) {
  /** @type {Map<string, Set<() => void>>} */
  const callbacks = new Map();
  return {
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      for (const callback of callbacks.get(`change:${name}`) ?? []) callback();
    },
    save_changes() {},
    on(name, callback) {
      callbacks.set(name, (callbacks.get(name) ?? new Set()).add(callback));
    },
    off(name, callback) {
      if (callback) callbacks.get(name)?.delete(callback);
      else callbacks.delete(name);
    },
  };
}

const values = document.getElementById("weightshare-explorer-data");
const place = document.getElementById("weightshare-explorer");
if (values && place) render({ model: makeModel(JSON.parse(values.textContent ?? "{}")), el: place });

export default { render };
