// Minifies app/tracker/tracker.js into the theme app extension's asset, which is also what the app
// proxy serves; and notes the hashes of both. `--print` writes to standard output instead.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { minify } from "@swc/core";

const SOURCE = "app/tracker/tracker.js";
const MINIFIED = "config/extensions/genlook-tracker/assets/tracker.js";
const HASHES = "app/tracker/tracker.sha256";

const at = (path) => new URL(`../../${path}`, import.meta.url);
const hash = (text) => createHash("sha256").update(text).digest("hex");

const source = readFileSync(at(SOURCE), "utf8");
const { code } = await minify(source, {
  ecma: 2020,
  module: true, // strict, and nothing of it is global
  // The smallest of what was tried
  compress: { passes: 4, unsafe: true, keep_fargs: false, collapse_vars: false, conditionals: false },
  mangle: true,
});
if (process.argv.includes("--print")) {
  process.stdout.write(code);
} else {
  writeFileSync(at(MINIFIED), code);
  writeFileSync(at(HASHES), `${hash(source)}  ${SOURCE}\n${hash(code)}  ${MINIFIED}\n`);
}
