/** The frame around the chapters: their list, the question, its answer, and what can be saved. */
import { toCode } from "../core/layer.js";
import { QUESTIONS } from "../chapters/tour.js";
import { button, choice } from "../ui/controls.js";
import { h, replace } from "../ui/dom.js";
import { save, toPng, toSvg } from "../ui/export.js";
import { readLink, toLink } from "./state.js";

/**
 * A chapter of the page.
 * @typedef {object} Chapter
 * @property {string} id
 * @property {string} name in the list
 * @property {string} question its heading
 * @property {(app: import("./app.js").App) => { el: HTMLElement, update: () => void, close?: () => void }} create
 * @property {(app: import("./app.js").App) => boolean} [isAvailable] whether the page has the data that it needs
 */

const TOUR = QUESTIONS.filter((question) => question.inTour);

/**
 * @param {import("./app.js").App} app
 * @param {HTMLElement} el
 * @param {Chapter[]} all
 */
export function mountShell(app, el, all) {
  const chapters = all.filter((chapter) => chapter.isAvailable?.(app) ?? true);
  const isPage = el.id === "weightshare-explorer" && location.protocol !== "about:";
  const links = chapters.map(({ id, name }) =>
    h("a", { href: `#c=${id}`, onclick: (/** @type {Event} */ event) => follow(event, () => app.set({ chapter: id, question: null })) }, name),
  );
  const counter = h("span", { class: "counter" });
  const previous = button("← Previous", () => go(-1), { class: "quiet" });
  const next = button("Next →", () => go(1), { class: "quiet" });
  const heading = h("h1", { tabindex: -1 });
  const answer = h("p", { class: "answer" });
  const note = h("p", { class: "note", role: "status" });
  const place = h("div", { class: "chapter" });
  const message = h("p", { class: "message", role: "status" });
  const code = h("pre", { class: "code", tabindex: 0, "aria-label": "Python code of the layer", hidden: true });
  const theme = choice("Colors of the page", {
    options: [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]],
    value: "auto",
    change: (value) => {
      theme.set(value);
      if (value === "auto") delete root.dataset.theme;
      else root.dataset.theme = value;
    },
  });
  theme.el.classList.add("theme");
  const questions = h(
    "details",
    { class: "questions" },
    h("summary", {}, `All ${QUESTIONS.length} questions`),
    h(
      "ul",
      {},
      QUESTIONS.filter(({ chapter }) => chapters.some(({ id }) => id === chapter)).map((question) =>
        h("li", {}, h("a", { href: `#q=${question.id}`, onclick: (/** @type {Event} */ event) => follow(event, () => ask(question.id)) }, question.question)),
      ),
    ),
  );
  const root = h(
    "div",
    { class: "ws-explorer" },
    h(
      "header",
      {},
      h("p", { class: "brand" }, "How much should weights be shared?"),
      h("nav", { "aria-label": "Chapters" }, h("ul", {}, links.map((link) => h("li", {}, link)))),
    ),
    h("div", { class: "tour", role: "group", "aria-label": "Tour" }, previous, counter, next),
    heading,
    answer,
    note,
    place,
    h(
      "div",
      { class: "actions", role: "group", "aria-label": "Save and share" },
      button("Save SVG", () => savePicture("svg")),
      button("Save PNG", () => savePicture("png")),
      isPage && button("Copy link", () => copy(`${location.href.split("#")[0]}#${toLink(app.state)}`, "The link is copied.")),
      button("PyTorch code", () => {
        code.hidden = !code.hidden;
        update();
      }),
      theme.el,
    ),
    message,
    code,
    questions,
  );
  el.replaceChildren(root);

  /** @type {ReturnType<Chapter["create"]> | null} */
  let view = null;
  let shown = "";
  let width = 0;

  function update() {
    const { state } = app;
    const chapter = chapters.find(({ id }) => id === state.chapter) ?? chapters[0];
    const question = QUESTIONS.find(({ id }) => id === state.question);
    heading.textContent = question?.question ?? chapter.question;
    answer.textContent = question?.answer ?? "";
    answer.hidden = !question;
    note.textContent = app.note ?? "";
    note.hidden = !app.note;
    links.forEach((link, i) => {
      if (chapters[i] === chapter) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
    const at = TOUR.findIndex(({ id }) => id === state.question);
    counter.textContent = at < 0 ? "Tour" : `Tour: ${at + 1} of ${TOUR.length}`;
    previous.disabled = at === 0;
    next.textContent = at < 0 ? "Start →" : "Next →";
    previous.hidden = at < 0;
    next.disabled = at === TOUR.length - 1;
    if (!code.hidden) code.textContent = toCode(app.layer);
    if (shown !== chapter.id) {
      view?.close?.();
      shown = chapter.id;
      view = chapter.create(app);
      replace(place, view.el);
      message.textContent = "";
    }
    view?.update();
  }

  /** @param {Event} event @param {() => void} act */
  function follow(event, act) {
    event.preventDefault();
    act();
    heading.focus({ preventScroll: true });
    root.scrollIntoView({ block: "start" });
  }

  /** @param {string} id */
  function ask(id) {
    const question = QUESTIONS.find((one) => one.id === id);
    if (!question) return app.tell("The link asks for a question that this page does not have.");
    app.load({ ...question.state, chapter: question.chapter, question: id });
  }

  /** @param {number} step */
  function go(step) {
    const at = TOUR.findIndex(({ id }) => id === app.state.question);
    ask(TOUR[Math.max(0, Math.min(TOUR.length - 1, at + step))].id);
  }

  /** @param {"svg" | "png"} kind */
  async function savePicture(kind) {
    const svg = toSvg(place);
    if (svg === null) return void (message.textContent = "This chapter has no picture at the moment.");
    try {
      save(kind === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : await toPng(svg), `weightshare-${shown}.${kind}`);
      message.textContent = "The picture is saved.";
    } catch (error) {
      message.textContent = `The picture cannot be saved: ${error instanceof Error ? error.message : error}`;
    }
  }

  /** @param {string} text @param {string} done */
  async function copy(text, done) {
    try {
      await navigator.clipboard.writeText(text);
      message.textContent = done;
    } catch {
      replace(message, "Copy this link: ", h("a", { href: text }, text));
    }
  }

  function openLink() {
    const asked = readLink(location.hash);
    if (asked === null) return;
    if ("question" in asked) ask(asked.question);
    else if ("data" in asked) app.load(asked.data);
    else app.tell(asked.note);
  }

  app.listeners.add(update);
  const resize = new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 1) return;
    width = entry.contentRect.width;
    view?.close?.();
    shown = "";
    update();
  });
  resize.observe(place);
  if (isPage) {
    addEventListener("hashchange", openLink);
    openLink();
  }
  if (app.state.question && !location.hash) {
    const question = QUESTIONS.find(({ id }) => id === app.state.question);
    if (question && app.model.get("state") === undefined) app.load({ ...question.state, chapter: question.chapter, question: question.id });
  }
  update();
  return () => {
    resize.disconnect();
    removeEventListener("hashchange", openLink);
    view?.close?.();
    el.replaceChildren();
  };
}
