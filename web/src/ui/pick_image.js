/** Read an image file of the reader. It stays in the page. */
import { problemOfFile, problemOfSize, readHeader } from "../core/image_file.js";
import { fitSize, toGray } from "../core/maps.js";
import { button } from "./controls.js";
import { h } from "./dom.js";

/** @typedef {import("../core/maps.js").Gray} Gray */

const MOST = 128; // px of the longer side
const DRAWN = 1024; // px of the longer side, from which the pixels are averaged

/**
 * @param {File} file
 * @returns {Promise<{ image: Gray, name: string, note: string } | { problem: string }>}
 */
export async function readImage(file) {
  const early = problemOfFile(file.name, file.size);
  if (early !== null) return { problem: early };
  let header;
  try {
    header = readHeader(new Uint8Array(await file.arrayBuffer()));
  } catch {
    return { problem: `“${file.name}” cannot be read. A folder is not an image.` };
  }
  const problem = problemOfFile(file.name, file.size, header);
  if (problem !== null) return { problem };
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    const other = header?.type === "AVIF" ? ", or this browser does not read AVIF files" : "";
    return { problem: `“${file.name}” cannot be decoded. The file may be damaged${other}.` };
  }
  const late = problemOfSize(`“${file.name}”`, bitmap.width, bitmap.height);
  if (late !== null) return { problem: late };
  const [width, height] = fitSize(bitmap.width, bitmap.height, DRAWN);
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return { problem: `“${file.name}” cannot be drawn by this browser.` };
  context.fillStyle = "#fff"; // under transparent pixels
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const image = toGray(context.getImageData(0, 0, width, height).data, width, height, MOST);
  const [before, after] = [`${bitmap.width} × ${bitmap.height}`, `${image.width} × ${image.height}`];
  bitmap.close();
  if (Math.min(image.width, image.height) < 3) return { problem: `“${file.name}” is too narrow: reduced, it has ${after} pixels, and the window needs 3 × 3.` };
  const isAnimated = header?.isAnimated ? " It is animated, so its first frame is used." : "";
  return { image, name: file.name, note: `“${file.name}” is shown in gray${before === after ? "" : `, reduced from ${before} to ${after} pixels`}.${isAnimated}` };
}

/**
 * A button that opens the file dialog, and a place on which a file can be dropped.
 * @param {object} options
 * @param {HTMLElement} options.target
 * @param {(found: Awaited<ReturnType<typeof readImage>>) => void} options.done
 */
export function imagePicker({ target, done }) {
  let asked = 0;
  const input = h("input", { type: "file", accept: "image/png,image/jpeg,image/gif,image/webp,image/avif,image/bmp", hidden: true });
  const open = button("Your own image…", () => input.click());
  /** @param {ArrayLike<File> | null | undefined} files */
  const take = async (files) => {
    const turn = ++asked;
    if (!files?.length) return done({ problem: "Only an image file can be dropped here." });
    const found = await readImage(files[0]);
    if (turn !== asked) return; // another file was chosen meanwhile
    if ("note" in found && files.length > 1) found.note = `One image at a time: the page uses the first of the ${files.length} files. ${found.note}`;
    done(found);
  };
  input.addEventListener("change", () => {
    if (input.files?.length) take([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  target.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("dropping");
  });
  for (const name of ["dragleave", "drop"]) target.addEventListener(name, () => target.classList.remove("dropping"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer?.files);
  });
  return h("div", { class: "picker" }, open, input);
}
