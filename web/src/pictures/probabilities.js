/** The class probabilities of two networks, beside each other, as bars with numbers. */
import { h, replace, s } from "../ui/dom.js";

const ROW = 20;
const HEAD = 20;
const LABEL = 22;
const NUMBER = 54;
const GAP = 20;

/** @param {number} p */
export const percent = (p) => `${Math.round(100 * p)}%`;

/**
 * @param {string[]} names of the two networks
 * @param {number} width in px
 */
export function makeProbabilities(names, width) {
  const el = h("div");
  const bar = Math.floor((width - LABEL - names.length * NUMBER - (names.length - 1) * GAP) / names.length);
  const start = (/** @type {number} */ net) => LABEL + net * (bar + NUMBER + GAP);
  return {
    el,
    /** @param {{ probabilities: Float64Array, label: number }[]} predictions */
    draw(predictions) {
      const text = predictions.map(({ probabilities, label }, net) => `${names[net]}: ${label} with ${percent(probabilities[label])}`).join("; ");
      const rows = predictions.flatMap(({ probabilities, label }, net) =>
        [...probabilities].flatMap((p, digit) => {
          const y = HEAD + digit * ROW;
          const isChosen = digit === label;
          return [
            s("rect", { x: start(net), y: y + 4, width: bar, height: ROW - 8, class: "bar-track" }),
            p * bar >= 0.5 && s("rect", { x: start(net), y: y + 4, width: p * bar, height: ROW - 8, class: `bar${isChosen ? " chosen" : ""}` }),
            s("text", { x: start(net) + bar + 6, y: y + ROW / 2, class: `bar-text${isChosen ? " chosen" : ""}`, "font-size": 13 }, percent(p)),
          ];
        }),
      );
      replace(
        el,
        s(
          "svg",
          { class: "probabilities", role: "img", "aria-label": `Probabilities of the classes. ${text}.`, viewBox: `0 0 ${width} ${HEAD + 10 * ROW}`, width, height: HEAD + 10 * ROW },
          names.map((name, net) => s("text", { x: start(net), y: HEAD / 2 - 2, class: "bar-text head", "font-size": 13 }, name)),
          Array.from({ length: 10 }, (_, digit) => s("text", { x: 4, y: HEAD + (digit + 0.5) * ROW, class: "bar-text digit", "font-size": 13 }, String(digit))),
          rows,
        ),
      );
    },
  };
}
