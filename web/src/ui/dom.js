/** Elements of HTML and SVG from names, attributes and children. */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Record<string, any>} Attributes */
/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */

/**
 * An HTML element. Attributes whose names begin with "on" are event listeners; null and false are left out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * An SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** @template {Element} E @param {E} element @param {Attributes} attributes @param {Child[]} children @returns {E} */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** @param {Element} element @param {Child[]} children */
function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(String(child));
  }
}

/** Replace the children of an element. @param {Element} element @param {...Child} children */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** Set attributes only where they change, so that a step of the window touches few elements. */
export function update(/** @type {Element} */ element, /** @type {Attributes} */ attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    const text = value === null || value === false ? null : value === true ? "" : String(value);
    if (element.getAttribute(name) === text) continue;
    if (text === null) element.removeAttribute(name);
    else element.setAttribute(name, text);
  }
}

const FOCUSABLE = "[tabindex], button, input, select";

/** Replace the children of an element; what had the focus gets it again. @param {Element} element @param {...Child} children */
export function redraw(element, ...children) {
  const at = [...element.querySelectorAll(FOCUSABLE)].indexOf(/** @type {Element} */ (document.activeElement));
  replace(element, ...children);
  if (at >= 0) /** @type {HTMLElement | undefined} */ ([...element.querySelectorAll(FOCUSABLE)][at])?.focus({ preventScroll: true });
}

const MODULE = Math.random().toString(36).slice(2, 8);
let last = 0;

/** An id that no other element has, also if the module is loaded twice. @param {string} name */
export const uniqueId = (name) => `ws-${name}-${MODULE}-${++last}`;
