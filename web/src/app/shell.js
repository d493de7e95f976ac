/** The frame around the chapters: their list, the question, its answer, and what can be saved. */
import { toCode } from "../core/layer.js";
import { QUESTIONS } from "../chapters/tour.js";
import { button, choice, disable } from "../ui/controls.js";
import { h, replace } from "../ui/dom.js";
import { save, toPng, toSvg } from "../ui/export.js";
import { readLink, START, toLink } from "./state.js";

/**
 * A chapter of the page.
 * @typedef {object} Chapter
 * @property {string} id
 * @property {string} name in the list
 * @property {string} question its heading
 * @property {boolean} [hasOwnModel] whether it shows something else than the page's layer, so that the layer's code does not fit
 * @property {(app: import("./app.js").App) => { el: HTMLElement, update: () => void, close?: () => void }} create
 * @property {(app: import("./app.js").App) => boolean} [isAvailable] whether the page has the data that it needs
 */

const SCROLLBAR = 20; // px by which the width changes when a scrollbar appears
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
    h("a", { href: `#c=${id}`, onclick: (/** @type {Event} */ event) => follow(event, () => visit(`#c=${id}`)) }, name),
  );
  const counter = h("span", { class: "counter" });
  const previous = button("← Previous", () => go(-1), { class: "quiet" });
  const next = button("Next →", () => go(1), { class: "quiet" });
  const more = button("", () => {
    go(1);
    heading.focus({ preventScroll: true });
    root.scrollIntoView({ block: "start" });
  }, { class: "quiet next" });
  const heading = h("h1", { tabindex: -1 });
  const answer = h("p", { class: "answer" });
  const note = h("p", { class: "note", role: "status" });
  const place = h("div", { class: "chapter" });
  const message = h("p", { class: "message", role: "status" });
  const code = h("pre", { class: "code", tabindex: 0, "aria-label": "Python code of the layer", hidden: true });
  const codeButton = button("PyTorch code", () => {
    code.hidden = !code.hidden;
    update();
  });
  const theme = choice("Colors of the page", {
    options: [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]],
    value: "auto",
    change: (value) => {
      theme.set(value);
      for (const element of el.id === "weightshare-explorer" ? [root, document.documentElement] : [root]) {
        if (value === "auto") delete element.dataset.theme;
        else element.dataset.theme = value;
      }
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
        h("li", {}, h("a", { href: `#q=${question.id}`, onclick: (/** @type {Event} */ event) => follow(event, () => visit(`#q=${question.id}`)) }, question.question)),
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
    more,
    h(
      "div",
      { class: "actions", role: "group", "aria-label": "Save and share" },
      button("Save SVG", () => savePicture("svg")),
      button("Save PNG", () => savePicture("png")),
      isPage && button("Copy link", () => copy(`${location.href.split("#")[0]}#${toLink(app.state)}`, "The link is copied.")),
      codeButton,
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
    disable(previous, at === 0);
    next.textContent = at < 0 ? "Start →" : "Next →";
    previous.hidden = at < 0;
    disable(next, at === TOUR.length - 1);
    codeButton.hidden = Boolean(chapter.hasOwnModel);
    code.hidden ||= codeButton.hidden;
    if (!code.hidden) code.textContent = toCode(app.layer);
    more.hidden = at < 0 || at === TOUR.length - 1;
    more.textContent = more.hidden ? "" : `Next: ${TOUR[at + 1].question} →`;
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
    visit(`#q=${TOUR[Math.max(0, Math.min(TOUR.length - 1, at + step))].id}`);
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

  /** Open a link of the page, and show it in the address. @param {string} hash */
  function visit(hash) {
    if (isPage && location.hash !== hash) history.pushState(null, "", hash);
    openLink(hash);
  }

  /** @param {string} hash */
  function openLink(hash) {
    const asked = readLink(hash);
    if (asked === null) ask(START.question ?? "");
    else if ("question" in asked) ask(asked.question);
    else if ("chapter" in asked && chapters.some(({ id }) => id === asked.chapter)) app.set({ chapter: asked.chapter, question: null });
    else if ("chapter" in asked) app.tell("The link asks for a chapter that this page does not have.");
    else if ("data" in asked) app.load(asked.data);
    else app.tell(asked.note);
  }

  const openAddress = () => openLink(location.hash);

  /** A file that misses its place must not replace the page. @param {DragEvent} event */
  function refuseFile(event) {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  }

  app.listeners.add(update);
  addEventListener("dragover", refuseFile);
  addEventListener("drop", refuseFile);
  let timer = 0;
  const resize = new ResizeObserver(([entry]) => {
    clearTimeout(timer);
    if (Math.abs(entry.contentRect.width - width) <= SCROLLBAR) return;
    const isFirst = width === 0;
    width = entry.contentRect.width;
    if (isFirst) rebuild();
    else timer = window.setTimeout(rebuild, 150);
  });

  /** Draw the chapter for another width; what is open and what has the focus stays so. */
  function rebuild() {
    const isOpen = [...place.querySelectorAll("details")].map(({ open }) => open);
    const at = focusable().indexOf(/** @type {Element} */ (document.activeElement));
    view?.close?.();
    shown = "";
    update();
    place.querySelectorAll("details").forEach((details, i) => (details.open = isOpen[i] ?? details.open));
    if (at >= 0) /** @type {HTMLElement | undefined} */ (focusable()[at])?.focus({ preventScroll: true });
  }

  const focusable = () => [...place.querySelectorAll("button, input, select, summary, [tabindex]")];

  resize.observe(place);
  if (isPage) {
    addEventListener("hashchange", openAddress);
    if (location.hash) openAddress();
  }
  if (app.state.question && !location.hash) {
    const question = QUESTIONS.find(({ id }) => id === app.state.question);
    if (question && app.model.get("state") === undefined) app.load({ ...question.state, chapter: question.chapter, question: question.id });
  }
  update();
  return () => {
    clearTimeout(timer);
    resize.disconnect();
    removeEventListener("dragover", refuseFile);
    removeEventListener("drop", refuseFile);
    removeEventListener("hashchange", openAddress);
    view?.close?.();
    el.replaceChildren();
  };
}
