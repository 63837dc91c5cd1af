#!/usr/bin/env node
/** `verify-audit`: checks an exported audit log offline. No dependencies, Node 20 or later. docs/audit.md tells what it checks. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { verifyExport } from "./verify-audit-export.mjs";
import { countOf, Refusal } from "./verify-audit-tree.mjs";

const usage = `verify-audit [options] <export.ndjson>

Checks an export of GET /workspaces/{ws}/audit-log/export (format=ndjson, which is the default). It asks nobody.

  --key <key>          the public key, noted down from GET /.well-known/audit-log-key (base64), or a verifier key (name+id+base64).
                       Without it the key inside the export is believed, which proves nothing against whoever made the export.
  --checkpoint <file>  a checkpoint kept from earlier (the signed note); the export must hold all that it covers, unchanged. May be given
                       more than once.
  --json               one JSON object on stdout: {ok, proved, findings, warnings, ...}
  --help               this text

Exit codes: 0 nothing was changed · 1 something was: a line for each finding · 2 cannot be read, or wrong usage · 3 nothing wrong was
found, and nothing is proved (the export is filtered, or no row of it is sealed yet).
`;

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      key: { type: "string" },
      checkpoint: { type: "string", multiple: true },
      json: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    console.log(usage);
    return 0;
  }
  const [file] = positionals;
  if (file === undefined || positionals.length > 1) {
    throw new Refusal(`Give one export to check.\n\n${usage}`);
  }
  const checkpoints = (values.checkpoint ?? []).map((name) => readFileSync(name, "utf8"));
  const result = verifyExport(readFileSync(file), { key: values.key, checkpoints });
  if (values.json === true) {
    console.log(JSON.stringify(result));
  } else {
    for (const { line, seq, kind, detail } of result.findings) {
      console.log(
        `${kind}${line === undefined ? "" : `, line ${line}`}${seq === undefined ? "" : `, seq ${seq}`}: ${detail}`,
      );
    }
    for (const warning of result.warnings) {
      console.error(`note: ${warning}`);
    }
    console.log(summarize(result));
  }
  return result.ok ? (result.proved ? 0 : 3) : 1;
}

/** @param {ReturnType<typeof verifyExport>} result */
function summarize({ ok, proved, findings, rows, size, root }) {
  if (!ok) {
    return `${countOf(findings.length, "finding")} in ${countOf(rows, "row")}.`;
  }
  return proved
    ? `Nothing was changed: ${countOf(rows, "row")}, tree of ${size ?? 0}, root ${root ?? "none"}.`
    : `Nothing wrong was found in ${countOf(rows, "row")}, and nothing is proved.`;
}

try {
  process.exitCode = main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 2;
}
