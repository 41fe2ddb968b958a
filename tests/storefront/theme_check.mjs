// Runs theme-check over the theme app extension, or the folder given; prints the offenses as JSON.
import { fileURLToPath } from "node:url";
import { themeCheckRun } from "@shopify/theme-check-node";

const folder = process.argv[2] ??
  fileURLToPath(new URL("../../config/extensions/genlook-tracker", import.meta.url));
const { offenses } = await themeCheckRun(folder, "theme-check:theme-app-extension");
console.log(JSON.stringify(offenses.map(({ check, uri, start, message }) =>
  ({ check, file: uri.split("/").at(-1), line: start.line + 1, message })), null, 1));
