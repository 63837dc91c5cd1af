/** `node tools/contract/lint.mjs <file>`: prints what the rules find in an OpenAPI document, and ends with 1 when they find anything. */
import { readFileSync } from "node:fs";
import spectral from "@stoplight/spectral-core";
import { ruleset } from "./ruleset.mjs";

const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error("Name the document to lint.");
  process.exit(2);
}
/** Without its examples, which no rule here looks at: whole, it takes twice as long. @param {unknown} node @returns {unknown} */
function withoutExamples(node) {
  if (Array.isArray(node)) {
    return node.map(withoutExamples);
  }
  if (typeof node !== "object" || node === null) {
    return node;
  }
  const kept = Object.entries(node).filter(([name]) => name !== "example" && name !== "examples");
  return Object.fromEntries(kept.map(([name, value]) => [name, withoutExamples(value)]));
}

const linter = new spectral.Spectral();
linter.setRuleset(ruleset);
const findings = await linter.run(withoutExamples(JSON.parse(readFileSync(file, "utf8"))));
for (const { code, message, path } of findings) {
  console.log(`${code}: ${message} (${path.join(" / ")})`);
}
console.log(`${findings.length} findings`);
process.exitCode = findings.length === 0 ? 0 : 1;
