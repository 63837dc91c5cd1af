/** The local secrets: makes what is missing in the vars file, keeps every line that is there, readable by its owner only. */
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseEnv } from "node:util";

function makeKey(): string {
  return randomBytes(32).toString("base64url");
}

function makeKeyring(): string {
  return `'${JSON.stringify({ primary: "k1", keys: { k1: makeKey() } })}'`;
}

/** How each value is made. An empty one may stand as it is in `mayBeEmpty`, elsewhere it counts as missing. */
const makers: Readonly<Record<string, () => string>> = {
  KEYRING: makeKeyring,
  TOKEN_SECRET: makeKeyring,
  MAIL_SECRET: makeKeyring,
  AUTH_SECRET: makeKeyring,
  CHECKPOINT_KEY: makeKey,
  SETUP_TOKEN: makeKey,
  MAIL_TRANSPORT: () => "outbox",
  SANDBOX: () => "1",
  OUTBOUND_ALLOW: () => "",
};
const mayBeEmpty = new Set(["SANDBOX", "OUTBOUND_ALLOW"]);

/** Writes what is missing into `file` and answers all its values. `made` says whether anything was written. */
export function ensureLocalVars(file: string): {
  readonly vars: Readonly<Record<string, string>>;
  readonly made: boolean;
} {
  const before = existsSync(file) ? readFileSync(file, "utf8") : "";
  const present = parseEnv(before);
  const missing = Object.keys(makers).filter((name) => {
    const value = present[name];
    return value === undefined || (value === "" && !mayBeEmpty.has(name));
  });
  if (missing.length === 0) {
    chmodSync(file, 0o600);
    return { vars: definedOnly(present), made: false };
  }
  const kept = before.split("\n").filter((line) => !missing.some((name) => line.startsWith(`${name}=`)));
  const added = missing.map((name) => `${name}=${makers[name]?.() ?? ""}`);
  const text = `${[kept.join("\n").trimEnd(), ...added].filter((part) => part !== "").join("\n")}\n`;
  // By rename, so that a start that is cut short never leaves half a keyring.
  const draft = `${file}.${process.pid}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, file);
  return { vars: definedOnly(parseEnv(text)), made: true };
}

function definedOnly(vars: NodeJS.Dict<string>): Record<string, string> {
  return Object.fromEntries(Object.entries(vars).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
