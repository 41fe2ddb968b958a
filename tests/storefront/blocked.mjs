// Prints which addresses a page would not be let load: node blocked.mjs PAGE URL… -- LIST…
import { readFileSync } from "node:fs";
import { FiltersEngine, Request } from "@ghostery/adblocker";

const [page, ...rest] = process.argv.slice(2);
const end = rest.indexOf("--");
const lists = rest.slice(end + 1).map((path) => readFileSync(path, "utf8"));
const engine = FiltersEngine.parse(lists.join("\n"));
for (const url of rest.slice(0, end)) {
  const type = url.split("?")[0].endsWith(".js") ? "script" : "fetch";
  if (engine.match(Request.fromRawDetails({ url, type, sourceUrl: page })).match) console.log(url);
}
