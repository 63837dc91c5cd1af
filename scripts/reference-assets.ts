/** `npm run docs:reference`: copies what the reference page needs of `swagger-ui-dist` to public/swagger-ui, or to the folder behind `--out`. */
import { cpSync, mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

const root = path.dirname(import.meta.dirname);
const from = path.join(root, "node_modules/swagger-ui-dist");
const { values } = parseArgs({ options: { out: { type: "string", default: path.join(root, "public/swagger-ui") } } });

/** The library itself, and the licenses of all that is in it. */
const files = ["swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"];

rmSync(values.out, { recursive: true, force: true });
mkdirSync(values.out, { recursive: true });
for (const file of files) {
  cpSync(path.join(from, file), path.join(values.out, file));
}
