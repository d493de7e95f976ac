// Bundle the page's source into the package: one ES module and one style sheet.
import { build } from "esbuild";

const folder = new URL("../src/weightshare/explorer/built/", import.meta.url).pathname;

await build({
  entryPoints: { explorer: "src/index.js" },
  outdir: process.argv[2] ?? folder,
  absWorkingDir: new URL(".", import.meta.url).pathname,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
});
