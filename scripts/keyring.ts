/**
 * `npm run keyring -- status | add [id] | switch <id> | drop <id>`: changes KEYRING step by step. Locally it edits the vars file. For a
 * deployment (`--remote --file keyring.json`) it edits your copy of the secret, reads the deployed database, and says how to set it.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs, parseEnv } from "node:util";
import {
  addEntry,
  describe,
  dropEntry,
  switchPrimary,
  type KeyringFacts,
  type Ring,
  type Step,
} from "./keyring-plan.ts";
import { runCommand } from "./process-group.ts";
import { wranglerCommand, wranglerEnvironment } from "./wrangler.ts";

const root = path.dirname(import.meta.dirname);
const limitMs = 120_000;
const usage = `npm run keyring -- status | add [id] | switch <id> | drop <id>   [--remote --file keyring.json]

Changes KEYRING one step at a time and refuses a step that comes too early; docs/vault.md tells the four. Locally it edits .dev.vars. With
--remote it edits the file, which holds the value of your deployment's KEYRING, reads the deployed database, and prints how to set the secret.`;

/** A failure with a sentence for the person at the terminal. */
class Refusal extends Error {}

interface Place {
  readonly isRemote: boolean;
  /** The vars file, or the copy of a deployment's KEYRING. */
  readonly file: string;
  readonly state: string;
}

/** One row of one column, so that it is one read of one moment. */
const question = `SELECT json_object(
  'entries', (SELECT json_group_array(json_object('id', id, 'state', state, 'used_at', used_at, 'left_at', left_at,
    'rows', (SELECT count(*) FROM data_keys WHERE keyring_id = e.id))) FROM keyring_entries e),
  'live', (SELECT json_group_array(json_object('version', version_id, 'ids', json(ids), 'primary', primary_id)) FROM (SELECT * FROM keyring_reports ORDER BY seen_at DESC)
    WHERE seen_at > (unixepoch() - 600) * 1000)) AS facts`;

async function readFacts({ isRemote, state }: Place): Promise<KeyringFacts> {
  const where = isRemote ? ["--remote"] : ["--local", "--persist-to", state];
  const command = wranglerCommand(root, ["d1", "execute", "gatehouse", ...where, "--json", "--command", question]);
  const lines: string[] = [];
  const env = wranglerEnvironment(state);
  const code = await runCommand(command.file, command.args, {
    cwd: root,
    env,
    onLine: (line) => lines.push(line),
    limitMs,
  });
  const text = lines.join("\n");
  if (code !== 0) {
    throw new Refusal(`The database could not be read:\n${text}`);
  }
  const [answer]: { results: { facts: string }[] }[] = JSON.parse(text.slice(text.indexOf("[")));
  const facts: KeyringFacts = JSON.parse(answer?.results[0]?.facts ?? "{}");
  // A local server is one process, which gets another version id each time it starts.
  return isRemote ? facts : { ...facts, live: facts.live.slice(0, 1) };
}

function readRing({ isRemote, file }: Place): Ring {
  if (!existsSync(file)) {
    throw new Refusal(`There is no ${file}. ${isRemote ? "It is your copy of KEYRING." : "Run npm start once."}`);
  }
  const text = readFileSync(file, "utf8");
  const ring: Ring = JSON.parse(isRemote ? text : (parseEnv(text)["KEYRING"] ?? "{}"));
  if (typeof ring.primary !== "string" || typeof ring.keys !== "object") {
    throw new Refusal(`${file} holds no KEYRING.`);
  }
  return ring;
}

/** By rename, so that what is cut short never leaves half a keyring. */
function writeRing({ isRemote, file }: Place, ring: Ring): void {
  const value = JSON.stringify(ring);
  const before = readFileSync(file, "utf8");
  const line = `KEYRING='${value}'`;
  const text = isRemote ? `${value}\n` : before.replace(/^KEYRING=.*$/m, () => line);
  const draft = `${file}.${process.pid}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, file);
}

function plan(verb: string, id: string | undefined, ring: Ring, facts: KeyringFacts): Step {
  const now = Date.now();
  if (verb === "add") {
    const known = new Set([...Object.keys(ring.keys), ...facts.entries.map((entry) => entry.id)]);
    const free = Array.from({ length: 99 }, (_, index) => `k${index + 1}`).find((word) => !known.has(word));
    return addEntry(ring, facts, id ?? free ?? "", randomBytes(32).toString("base64url"));
  }
  if (id === undefined) {
    throw new Refusal(usage);
  }
  return verb === "switch" ? switchPrimary(ring, facts, id) : dropEntry(ring, facts, id, now);
}

/** Throws `Refusal` for an option that is none. */
function readArguments() {
  const options = {
    remote: { type: "boolean", default: false },
    file: { type: "string" },
    help: { type: "boolean" },
  } as const;
  try {
    return parseArgs({ allowPositionals: true, options });
  } catch (error) {
    throw new Refusal(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = readArguments();
  if (values.help === true) {
    console.log(usage);
    return;
  }
  const [verb = "", id] = positionals;
  if (!["status", "add", "switch", "drop"].includes(verb) || (values.remote && values.file === undefined)) {
    throw new Refusal(usage);
  }
  const place: Place = {
    isRemote: values.remote,
    file: path.resolve(root, values.file ?? process.env["GATEHOUSE_VARS"] ?? ".dev.vars"),
    state: path.resolve(root, process.env["GATEHOUSE_STATE"] ?? ".wrangler/state"),
  };
  const ring = readRing(place);
  const facts = await readFacts(place);
  if (verb !== "status") {
    const step = plan(verb, id, ring, facts);
    if ("refused" in step) {
      throw new Refusal(step.refused);
    }
    writeRing(place, step.ring);
    const next = place.isRemote
      ? `Deploy it: npx wrangler secret put KEYRING < ${place.file}`
      : "Start the local server anew to take it.";
    console.log(`KEYRING has ${Object.keys(step.ring.keys).join(", ")}; primary ${step.ring.primary}. ${next}`);
    return;
  }
  console.log(describe(ring, facts, Date.now()).join("\n"));
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Refusal ? error.message : error);
  process.exitCode = 1;
}
