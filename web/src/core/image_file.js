/** What the first bytes of an image file say about it, before a browser decodes it. */

/**
 * @typedef {object} Header
 * @property {string} type
 * @property {number | null} width null if the bytes do not contain it
 * @property {number | null} height
 * @property {boolean} isAnimated
 */

/** Largest file in bytes, and largest image in pixels. */
export const MOST_BYTES = 20e6;
export const MOST_PIXELS = 40e6;

/**
 * @param {Uint8Array} bytes of the whole file
 * @returns {Header | null} null if this is not an image that the page reads
 */
export function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (/** @type {number} */ at, /** @type {number} */ length) => String.fromCharCode(...bytes.subarray(at, at + length));
  try {
    if (text(0, 8) === "\x89PNG\r\n\x1a\n") return readPng(view, text);
    if (/^GIF8[79]a$/.test(text(0, 6))) return readGif(view);
    if (text(0, 3) === "\xff\xd8\xff") return readJpeg(view);
    if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") return readWebp(view, text);
    if (text(0, 2) === "BM" && [40, 52, 56, 108, 124].includes(view.getUint32(14, true))) return { type: "BMP", width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)), isAnimated: false };
    if (text(4, 4) === "ftyp" && /avi[fs]/.test(text(8, 24))) return readAvif(view, text);
  } catch {
    return null; // the file ends within its header
  }
  return null;
}

/**
 * A sentence that says why a file is not used, before it is decoded; null if it can be.
 * @param {string} name
 * @param {number} size in bytes
 * @param {Header | null} [header] undefined before the file is read
 */
export function problemOfFile(name, size, header) {
  const shown = `“${name.length > 40 ? `${name.slice(0, 37)}…` : name}”`;
  if (size === 0) return `${shown} is empty.`;
  if (size > MOST_BYTES) return `${shown} is too large: it has ${(size / 1e6).toFixed(1)} MB, and the page reads images of up to ${MOST_BYTES / 1e6} MB.`;
  if (header === undefined) return null;
  if (header === null) return `${shown} is not an image that the page can read. Choose a PNG, JPEG, GIF, WebP, AVIF or BMP file.`;
  return problemOfSize(shown, header.width, header.height);
}

/** @param {string} shown @param {number | null} width @param {number | null} height */
export function problemOfSize(shown, width, height) {
  if (width === null || height === null) return null;
  if (width * height > MOST_PIXELS) {
    return `${shown} is too large: it has ${((width * height) / 1e6).toFixed(1)} megapixels, and the page reads images of up to ${MOST_PIXELS / 1e6} megapixels.`;
  }
  if (Math.min(width, height) < 3) return `${shown} is too small: it has ${width} × ${height} pixels, and the window needs 3 × 3.`;
  return null;
}

/** @param {DataView} view @param {(at: number, length: number) => string} text @returns {Header} */
function readPng(view, text) {
  let isAnimated = false;
  for (let at = 8; at + 8 <= view.byteLength; ) {
    const chunk = text(at + 4, 4);
    if (chunk === "acTL") isAnimated = view.getUint32(at + 8) > 1;
    if (chunk === "acTL" || chunk === "IDAT") break; // an animation is announced before the first image
    at += 12 + view.getUint32(at);
  }
  return { type: "PNG", width: view.getUint32(16), height: view.getUint32(20), isAnimated };
}

/** @param {DataView} view @returns {Header} */
function readGif(view) {
  const flags = view.getUint8(10);
  let at = 13 + (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let frames = 0;
  const skipBlocks = () => {
    while (at < view.byteLength && view.getUint8(at)) at += 1 + view.getUint8(at);
    at += 1;
  };
  while (at < view.byteLength && frames < 2) {
    const kind = view.getUint8(at);
    if (kind === 0x21) {
      at += 2;
      skipBlocks();
    } else if (kind === 0x2c && at + 10 < view.byteLength) {
      frames += 1;
      const local = view.getUint8(at + 9);
      at += 11 + (local & 0x80 ? 3 << ((local & 7) + 1) : 0);
      skipBlocks();
    } else break;
  }
  return { type: "GIF", width: view.getUint16(6, true), height: view.getUint16(8, true), isAnimated: frames > 1 };
}

/** @param {DataView} view @returns {Header} */
function readJpeg(view) {
  for (let at = 2; at + 9 < view.byteLength; ) {
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff) break;
    if (marker === 0xff) at += 1;
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { type: "JPEG", width: view.getUint16(at + 7), height: view.getUint16(at + 5), isAnimated: false };
    } else at += 2 + view.getUint16(at + 2);
  }
  return { type: "JPEG", width: null, height: null, isAnimated: false };
}

/** @param {DataView} view @param {(at: number, length: number) => string} text @returns {Header} */
function readWebp(view, text) {
  const chunk = text(12, 4);
  const three = (/** @type {number} */ at) => 1 + view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
  if (chunk === "VP8X") return { type: "WebP", width: three(24), height: three(27), isAnimated: (view.getUint8(20) & 2) > 0 };
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return { type: "WebP", width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff), isAnimated: false };
  }
  return { type: "WebP", width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff, isAnimated: false };
}

/** @param {DataView} view @param {(at: number, length: number) => string} text @returns {Header} */
function readAvif(view, text) {
  const isAnimated = text(8, 4) === "avis";
  let [width, height] = [0, 0];
  for (let at = 12; at + 16 <= Math.min(view.byteLength, 4096); at++) {
    if (text(at, 4) !== "ispe") continue;
    [width, height] = [Math.max(width, view.getUint32(at + 8)), Math.max(height, view.getUint32(at + 12))];
  }
  return { type: "AVIF", width: width || null, height: height || null, isAnimated };
}
