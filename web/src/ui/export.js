/** Save a picture as SVG or PNG, with its colors written into it. */

const PROPERTIES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline"];

/** One SVG text of all visible figures in a place, as they are laid out; null if there is none. @param {HTMLElement} place */
export function toSvg(place) {
  const pictures = [...place.querySelectorAll("figure svg, figure canvas, figure [data-caption]")].filter((one) => one.checkVisibility() && !one.closest("button"));
  if (!pictures.some((one) => !one.matches("[data-caption]"))) return null;
  const boxes = pictures.map((one) => one.getBoundingClientRect());
  const box = { left: Math.min(...boxes.map(({ left }) => left)), top: Math.min(...boxes.map(({ top }) => top)) };
  const space = "http://www.w3.org/2000/svg";
  const root = document.createElementNS(space, "svg");
  const width = Math.ceil(Math.max(...boxes.map(({ right }) => right)) - box.left);
  const height = Math.ceil(Math.max(...boxes.map(({ bottom }) => bottom)) - box.top);
  for (const [name, value] of Object.entries({ xmlns: space, width, height, viewBox: `0 0 ${width} ${height}` })) root.setAttribute(name, String(value));
  const paper = document.createElementNS(space, "rect");
  paper.setAttribute("width", "100%");
  paper.setAttribute("height", "100%");
  paper.setAttribute("fill", getComputedStyle(place).getPropertyValue("--paper").trim() || "#ffffff");
  root.append(paper);
  for (const picture of pictures) {
    if (!(picture instanceof HTMLCanvasElement)) continue;
    const at = picture.getBoundingClientRect();
    const image = document.createElementNS(space, "image");
    for (const [name, value] of Object.entries({ href: picture.toDataURL(), x: at.left - box.left, y: at.top - box.top, width: at.width, height: at.height })) image.setAttribute(name, String(value));
    root.append(image);
  }
  for (const picture of pictures) {
    if (!(picture instanceof SVGSVGElement)) continue;
    const at = picture.getBoundingClientRect();
    const copy = /** @type {SVGSVGElement} */ (picture.cloneNode(true));
    const originals = picture.querySelectorAll("*");
    copy.querySelectorAll("*").forEach((element, i) => {
      const style = getComputedStyle(originals[i]);
      for (const name of PROPERTIES) {
        const value = style.getPropertyValue(name);
        if (value) element.setAttribute(name, value);
      }
      element.removeAttribute("class");
    });
    for (const [name, value] of Object.entries({ x: at.left - box.left, y: at.top - box.top, width: at.width, height: at.height })) copy.setAttribute(name, String(value));
    for (const name of ["class", "tabindex", "role"]) copy.removeAttribute(name);
    root.append(copy);
  }
  for (const caption of pictures.filter((one) => one.matches("[data-caption]"))) {
    const at = caption.getBoundingClientRect();
    const style = getComputedStyle(caption);
    const text = document.createElementNS(space, "text");
    const attributes = { x: at.left - box.left, y: at.top - box.top + parseFloat(style.fontSize), fill: style.color, "font-family": style.fontFamily, "font-size": style.fontSize };
    for (const [name, value] of Object.entries(attributes)) text.setAttribute(name, String(value));
    text.textContent = caption.textContent;
    root.append(text);
  }
  return new XMLSerializer().serializeToString(root);
}

/** @param {string} svg @returns {Promise<Blob>} */
export function toPng(svg, scale = 2) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = image.width * scale;
      canvas.height = image.height * scale;
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large."))), "image/png");
    };
    image.onerror = () => reject(new Error("The picture cannot be drawn."));
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  });
}

/** Offer a file for download. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
