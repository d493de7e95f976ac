/** When sharing is the wrong choice: the measured accuracy on aligned and on shifted pages. */
import { decodeBytes } from "../core/maps.js";
import { h, replace, s } from "../ui/dom.js";
import { format, formatSize, plural } from "../ui/text.js";

/**
 * What `tools/explorer_aligned.py` writes. Accuracies are fractions.
 * @typedef {{ accuracy: number, ci: [number, number] }} Measured
 * @typedef {object} Row
 * @property {string} sharing
 * @property {string[]} matches sharings whose parameters a wider network matches; empty for a row of the same width
 * @property {number} width
 * @property {number} parameters
 * @property {Measured} aligned
 * @property {Measured} shifted
 */

/** @typedef {"aligned" | "shifted"} Kind */

/** @type {Kind[]} */
const KINDS = ["aligned", "shifted"];
const ROW = 58;
const RULE = "Share a kernel if a pattern means the same wherever it is. Share less if the place carries meaning, as in aligned faces and forms. Sharing nothing pays only if the place never changes, and even then sharing in part may do as well.";

/** @type {import("../app/shell.js").Chapter} */
export const aligned = {
  id: "aligned",
  hasOwnModel: true,
  name: "When not to share",
  question: "When is sharing the wrong choice?",
  isAvailable: (app) => Boolean(app.data.aligned?.rows?.length),
  create(app) {
    const { aligned: data } = app.data;
    const pages = app.data.images?.pages;
    /** @type {Row[]} */
    const rows = data.rows;
    const same = rows.filter((row) => !row.matches?.length);
    const lead = h("p", { class: "lead" });
    const figure = h("figure", { class: "aligned" });
    const chance = 1 / data.classes;
    const el = h(
      "div",
      {},
      lead,
      pages && h("div", { class: "pages" }, KINDS.map((kind) => drawPages(kind, pages[kind]))),
      figure,
      h("div", { class: "conclusion" }),
      h("details", {}, h("summary", {}, "The numbers"), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The numbers" }, makeTable(rows))),
      h(
        "details",
        {},
        h("summary", {}, "How was this measured?"),
        h(
          "p",
          {},
          `The task: ${data.task} A page has ${formatSize(data.image_size)} pixels, and a shifted number has ${format(data.places)} possible places. `,
          "All networks are those of ",
          h("code", {}, "weightshare study"),
          " and differ only in their sharing. They end with global average pooling, so a network learns positions from its kernels or not at all. ",
          `Each was trained ${data.seeds} times from different seeds on ${format(data.training_images)} pages${data.validation_images ? `, of which ${format(data.validation_images)} choose when to stop,` : ""} and tested on ${format(data.test_images)} others. `,
          "Training and test pages have the same kind of alignment. The lines are 95% confidence intervals over the seeds.",
        ),
        h("p", {}, "The command that repeats it: ", h("code", {}, data.command)),
        h("p", {}, "The task was chosen to show the effect. A head that flattens the map, as in most classical networks, would give the shared network the position back."),
        pages && h("p", { class: "caption" }, "Digits by ", h("a", { href: pages.source, rel: "noreferrer" }, pages.author), ", ", h("a", { href: pages.license_url, rel: "noreferrer" }, pages.license), ". They were put on pages."),
      ),
    );
    const conclusion = /** @type {HTMLElement} */ (el.querySelector(".conclusion"));

    function draw() {
      const find = (/** @type {string} */ name) => same.find((row) => row.sharing === name);
      const [full, local] = [find("full"), find("local")];
      if (full && local) {
        const order = (/** @type {Kind} */ kind) => compare(data.local_minus_full?.[kind]);
        const [first, second] = [order("aligned"), order("shifted")];
        replace(
          lead,
          "The task is to read the ",
          h("strong", {}, "left"),
          " digit. If every number is at the same place, the accuracy without sharing is ",
          h("strong", {}, percent(local.aligned.accuracy)),
          " and with full sharing ",
          h("strong", {}, percent(full.aligned.accuracy)),
          ". If the number can be anywhere, it is ",
          h("strong", {}, percent(local.shifted.accuracy)),
          " and ",
          h("strong", {}, percent(full.shifted.accuracy)),
          ".",
        );
        replace(conclusion, h("p", {}, conclude(same, first, second)), first > 0 && h("p", {}, h("strong", {}, RULE)));
      } else lead.textContent = data.task;
      replace(figure, drawChart(same, chance, Math.max(280, figure.clientWidth || 640)));
    }

    return { el, update: draw };
  },
};

/** The sign of a difference whose confidence interval excludes zero; 0 if it does not. @param {{ ci: [number, number] } | undefined} difference */
const compare = (difference) => (!difference ? 0 : difference.ci[0] > 0 ? 1 : difference.ci[1] < 0 ? -1 : 0);

/**
 * What the measurement shows.
 * @param {Row[]} rows
 * @param {number} first sign of "local minus full" on aligned pages
 * @param {number} second the same on shifted pages
 */
function conclude(rows, first, second) {
  if (first < 0) return "On these pages, sharing is better even where they are aligned.";
  if (first === 0) return "On aligned pages there is no clear difference.";
  const turn =
    second < 0
      ? "On shifted pages, the order of full and local is reversed. With full sharing, the network sees which two digits are there but not which one is left, so it can only guess between them. Without sharing, it learns what each place means, but must learn every digit again at every place."
      : "Without sharing, a network learns what each place means. On shifted pages there is no clear difference.";
  const ends = rows.filter(({ sharing }) => sharing === "full" || sharing === "local");
  const between = rows.filter((row) => !ends.includes(row)).sort((a, b) => b.shifted.accuracy - a.shifted.accuracy)[0];
  const isBetter = between && ends.every((row) => between.shifted.ci[0] > row.shifted.ci[1]);
  const middle = isBetter
    ? ` Sharing in part is good at both: ${explain(between.sharing)} (${between.sharing}) reads ${percent(between.aligned.accuracy)} of the aligned and ${percent(between.shifted.accuracy)} of the shifted pages.`
    : "";
  return `${turn}${middle}`;
}

/**
 * Dots with intervals, two for each sharing.
 * @param {Row[]} rows
 * @param {number} chance accuracy of guessing
 * @param {number} width
 */
function drawChart(rows, chance, width) {
  const isNarrow = width < 560;
  const left = isNarrow ? 4 : 190;
  const right = width - 14;
  const head = 30;
  const step = isNarrow ? ROW + 22 : ROW;
  const height = head + rows.length * step + 34;
  const x = (/** @type {number} */ accuracy) => left + accuracy * (right - left);
  const text = (/** @type {number} */ at, /** @type {number} */ y, /** @type {string} */ anchor, /** @type {string} */ content, className = "label") =>
    s("text", { x: at, y, class: className, "text-anchor": anchor, "font-size": 13 }, content);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const bottom = head + rows.length * step;
  return s(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Accuracy by sharing. ${rows.map((row) => `${explain(row.sharing)}: ${KINDS.map((kind) => `${kind} ${percent(row[kind].accuracy)}`).join(", ")}`).join(". ")}.` },
    ticks.map((tick) => [s("line", { x1: x(tick), x2: x(tick), y1: head - 6, y2: bottom, class: "grid-line" }), text(x(tick), bottom + 18, tick === 0 ? "start" : tick === 1 ? "end" : "middle", tick === 1 ? "100%" : String(100 * tick), "soft")]),
    s("line", { x1: x(chance), x2: x(chance), y1: head - 6, y2: bottom, class: "chance-line" }),
    text(x(chance), head - 12, "start", "guessing", "soft"),
    text(right, head - 12, "end", "accuracy on test pages", "soft"),
    rows.map((row, i) => {
      const top = head + i * step;
      const name = isNarrow ? text(left, top + 16, "start", `${row.sharing}: ${explain(row.sharing)}`, "label strong") : [text(0, top + 24, "start", row.sharing, "label strong"), text(0, top + 41, "start", explain(row.sharing), "soft")];
      const first = top + (isNarrow ? 36 : 20);
      return [
        s("line", { x1: 0, x2: width, y1: top, y2: top, class: "grid-line" }),
        name,
        KINDS.map((kind, k) => drawDot(kind, row[kind], x, first + 21 * k, right)),
      ];
    }),
  );
}

/**
 * One measured accuracy: an interval, its mean, and a label.
 * @param {Kind} kind
 * @param {Measured} measured
 * @param {(accuracy: number) => number} x
 * @param {number} y
 * @param {number} right end of the axis
 */
function drawDot(kind, { accuracy, ci }, x, y, right) {
  const [low, high] = [x(Math.max(0, ci[0])), x(Math.min(1, ci[1]))];
  const label = `${kind} ${percent(accuracy)}`;
  const isLeft = high + 118 > right;
  const at = { x: isLeft ? Math.min(low, x(accuracy) - 6) - 7 : Math.max(high, x(accuracy) + 6) + 7, y: y + 4.5, "text-anchor": isLeft ? "end" : "start", "font-size": 13 };
  return [
    s("line", { x1: low, x2: high, y1: y, y2: y, class: `interval ${kind}` }),
    [low, high].map((end) => s("line", { x1: end, x2: end, y1: y - 4, y2: y + 4, class: `interval ${kind}` })),
    kind === "aligned" ? s("circle", { cx: x(accuracy), cy: y, r: 5, class: "dot aligned" }) : s("rect", { x: x(accuracy) - 4.5, y: y - 4.5, width: 9, height: 9, class: "dot shifted" }),
    ["halo", "label"].map((name) => s("text", { ...at, class: name, "aria-hidden": name === "halo" ? true : null }, label)),
  ];
}

/** Examples of pages. @param {Kind} kind @param {{ width: number, height: number, pixels: string, label: number }[]} pages */
function drawPages(kind, pages) {
  const scale = 4;
  return h(
    "div",
    { class: "panel" },
    h("p", { class: "caption" }, kind === "aligned" ? "Aligned: always at the same place" : "Shifted: anywhere on the page"),
    h(
      "div",
      { class: "row" },
      pages.map(({ width, height, pixels, label }) => {
        const canvas = h("canvas", { width: width * scale, height: height * scale, role: "img", "aria-label": `A page with two digits, of which the left one is ${label}` });
        const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
        decodeBytes(pixels).forEach((value, i) => {
          context.fillStyle = `rgb(${255 - value} ${255 - value} ${255 - value})`;
          context.fillRect((i % width) * scale, Math.floor(i / width) * scale, scale, scale);
        });
        return h("div", {}, canvas, h("p", { class: "caption" }, `answer: ${label}`));
      }),
    ),
  );
}

/** @param {Row[]} rows */
function makeTable(rows) {
  const heads = ["sharing", "width", "parameters", "aligned: accuracy (%)", "95% interval", "shifted: accuracy (%)", "95% interval"];
  const interval = (/** @type {[number, number]} */ ci) => ci.map((end) => (100 * Math.max(0, Math.min(1, end))).toFixed(1)).join(" to ");
  return h(
    "table",
    {},
    h("caption", {}, "Size-matched networks use full sharing and are wide enough to have about as many parameters as the partly shared one."),
    h("thead", {}, h("tr", {}, heads.map((text, i) => h("th", { scope: "col", class: i ? "number" : null }, text)))),
    h(
      "tbody",
      {},
      rows.map((row) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, row.matches?.length ? `full, size-matched to ${row.matches.join(" and ")}` : row.sharing),
          [format(row.width), format(row.parameters), ...KINDS.flatMap((kind) => [(100 * row[kind].accuracy).toFixed(1), interval(row[kind].ci)])].map((text) => h("td", { class: "number" }, text)),
        ),
      ),
    ),
  );
}

/** A sharing in words. @param {string} sharing */
function explain(sharing) {
  const [type, argument = ""] = sharing.split(":");
  if (type === "full") return "one kernel everywhere";
  if (type === "local") return "one kernel per position";
  if (type === "lowrank") return `one kernel plus ${plural(Number(argument) || 1, "correction")}`;
  if (sharing === "regional:1x2") return "one kernel per half";
  if (type === "regional") return "one kernel per block";
  if (type === "tiled") return "kernels that repeat";
  return type === "along" ? "shared along one axis" : "";
}

const percent = (/** @type {number} */ value) => `${(100 * value).toFixed(1)}%`;
