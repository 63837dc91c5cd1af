/** The environment, read and checked once: typed settings, or sentences that say what to set and how. Values never appear in those sentences. */
import { fromBase64Url } from "./bytes.js";
import { AppError } from "./errors.js";
import { parseKeyring, type Keyring } from "./keyring.js";
import { readMailSettings, type MailSettings, type MailTransport } from "./mail-settings.js";
import { Secret } from "./secret.js";
import { readSignInSettings, type SignInSettings } from "./sign-in-settings.js";

/** One setting at fault. `detail` says what to do and holds no value of a secret. */
export interface SettingProblem {
  readonly setting: string;
  readonly detail: string;
}

/** What the service runs with. Key material is held by `Keyring` and `Secret`, which do not print it. */
export interface Settings {
  /** Wraps workspace data keys and seals stored answers. */
  readonly keyring: Keyring;
  /** Makes the keyed check in API keys. */
  readonly tokenSecret: Keyring;
  /** Derives the tokens of mailed links. */
  readonly mailSecret: Keyring;
  /** Signs sessions. */
  readonly authSecret: Keyring;
  /** Ed25519 seed of the audit log's checkpoints: 32 bytes in base64url. */
  readonly checkpointKey: Secret;
  /** Origin of this service, without a trailing slash. */
  readonly publicUrl: string;
  /** Whether `publicUrl` is a loopback address, which is what "local" means here. */
  readonly isLocal: boolean;
  /** How mail leaves. Null when something is missing, or for `outbox` on a service that is not local. */
  readonly mail: MailSettings | null;
  /** Wait before a letter's second attempt; doubles with each further one. */
  readonly mailRetrySeconds: number;
  /** Whether the sandbox provider answers. Never on a service that is not local. */
  readonly sandbox: boolean;
  /** Exact origins that outbound calls may reach against the guard. Always empty on a service that is not local. */
  readonly outboundAllow: readonly string[];
  /** Origins of other web pages that may read answers, cookies included. */
  readonly allowedOrigins: readonly string[];
  /** Lets the first account be made; null when not given. */
  readonly setupToken: Secret | null;
  /** Who may sign in, and how. */
  readonly signIn: SignInSettings;
  /** How many people a new workspace may have; 0 for no limit. */
  readonly seatLimit: number;
  /** What /readyz must name although requests are served. Empty when ready. */
  readonly notReady: readonly SettingProblem[];
}

/** Either settings, or every problem that keeps the service from starting. */
export type SettingsReading = { readonly settings: Settings } | { readonly problems: readonly SettingProblem[] };

const readings = new WeakMap<object, SettingsReading>();

/** Reads the environment; the answer is kept per `env` object, which the platform makes once per isolate. */
export function readSettings(env: object): SettingsReading {
  const known = readings.get(env);
  if (known !== undefined) {
    return known;
  }
  const reading = parseSettings(env);
  readings.set(env, reading);
  return reading;
}

/** The settings, or `AppError` `not_ready` (503) whose detail is what to set: the service answers nothing but /healthz without them. */
export function requireSettings(env: object): Settings {
  const reading = readSettings(env);
  if ("settings" in reading) {
    return reading.settings;
  }
  const detail = reading.problems.map((problem) => problem.detail).join(" ");
  throw new AppError("not_ready", { detail, extra: { problems: reading.problems } });
}

/** Local-only settings that stand beside a public address. They are ignored there, and /readyz fails until they are gone. */
export function localOnlyProblems(given: {
  readonly publicUrl: string;
  readonly sandbox: boolean;
  readonly mailTransport: MailTransport | null;
  readonly outboundAllow: readonly string[];
}): readonly SettingProblem[] {
  if (isLoopback(new URL(given.publicUrl).hostname)) {
    return [];
  }
  const set: readonly (readonly [string, boolean])[] = [
    ["SANDBOX", given.sandbox],
    ["MAIL_TRANSPORT=outbox", given.mailTransport === "outbox"],
    ["OUTBOUND_ALLOW", given.outboundAllow.length > 0],
  ];
  return set
    .filter(([, isSet]) => isSet)
    .map(([name]) => ({
      setting: name.replace(/=.*/, ""),
      detail: `${name} is for local runs only, but PUBLIC_URL is ${given.publicUrl}. It is ignored; remove it from this deployment's settings.`,
    }));
}

/** Whether a host name (as `URL.hostname` gives it) is this very machine: `localhost`, names below it, 127.0.0.0/8 and ::1. */
export function isLoopback(hostname: string): boolean {
  return /^(?:(?:.+\.)?localhost\.?|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/i.test(hostname);
}

interface Reader {
  readonly env: object;
  readonly problems: SettingProblem[];
}

function parseSettings(env: object): SettingsReading {
  const reader: Reader = { env, problems: [] };
  const keyring = readKeyring(
    reader,
    "KEYRING",
    "Every provider credential is encrypted under it, so keep a copy outside Cloudflare.",
  );
  const tokenSecret = readKeyring(reader, "TOKEN_SECRET", "API keys are checked under it.");
  const mailSecret = readKeyring(reader, "MAIL_SECRET", "Invite links are made under it.");
  const authSecret = readKeyring(reader, "AUTH_SECRET", "Sessions are signed under it.");
  const checkpointKey = readCheckpointKey(reader);
  const publicUrl = readPublicUrl(reader);
  const sandbox = readSwitch(reader, "SANDBOX");
  const outboundAllow = readOrigins(reader, "OUTBOUND_ALLOW");
  const allowedOrigins = readPageOrigins(reader);
  const setupToken = readSetupToken(reader);
  const seatLimit = readSeatLimit(reader);
  const signIn = readSignInSettings({
    read: (setting) => readText(reader, setting),
    report: (setting, detail) => report(reader, setting, detail),
  });
  if (
    reader.problems.length > 0 ||
    keyring === null ||
    tokenSecret === null ||
    mailSecret === null ||
    authSecret === null ||
    checkpointKey === null ||
    publicUrl === null
  ) {
    return { problems: reader.problems };
  }
  const secrets = {
    keyring,
    tokenSecret,
    mailSecret,
    authSecret,
    checkpointKey,
    setupToken,
    signIn,
    seatLimit,
    allowedOrigins,
  };
  return { settings: { ...secrets, ...settleLocal(reader, { publicUrl, sandbox, outboundAllow }) } };
}

/** What depends on being local: off a loopback address the local-only settings are without effect, not merely complained about. */
function settleLocal(
  reader: Reader,
  given: Pick<Settings, "publicUrl" | "sandbox" | "outboundAllow">,
): Pick<Settings, "publicUrl" | "isLocal" | "sandbox" | "outboundAllow" | "mail" | "mailRetrySeconds" | "notReady"> {
  const isLocal = isLoopback(new URL(given.publicUrl).hostname);
  const problems: SettingProblem[] = [];
  const source = {
    read: (setting: string) => readText(reader, setting),
    report: (setting: string, detail: string) => void problems.push({ setting, detail }),
  };
  const hasEmailBinding = typeof Reflect.get(reader.env, "EMAIL") === "object";
  const { transport, mail, retrySeconds } = readMailSettings(source, { isLocal, hasEmailBinding });
  const notReady = localOnlyProblems({ ...given, mailTransport: transport });
  return {
    publicUrl: given.publicUrl,
    isLocal,
    sandbox: isLocal && given.sandbox,
    outboundAllow: isLocal ? given.outboundAllow : [],
    mail,
    mailRetrySeconds: retrySeconds,
    notReady: [...notReady, ...problems],
  };
}

function readText(reader: Reader, setting: string): string {
  const value: unknown = Reflect.get(reader.env, setting);
  // A secret set from a shell often carries the line's end.
  return typeof value === "string" ? value.trim() : "";
}

function report(reader: Reader, setting: string, detail: string): null {
  reader.problems.push({ setting, detail });
  return null;
}

const makeKeyring = `node -e 'console.log(JSON.stringify({primary:"k1",keys:{k1:require("crypto").randomBytes(32).toString("base64url")}}))'`;
const makeKey = `node -e 'console.log(require("crypto").randomBytes(32).toString("base64url"))'`;

function howTo(setting: string, command: string): string {
  return `Make one with \`${command}\` and set it with \`npx wrangler secret put ${setting}\`; on your own machine \`npm start\` makes one in .dev.vars.`;
}

function readKeyring(reader: Reader, setting: string, use: string): Keyring | null {
  const text = readText(reader, setting);
  if (text === "") {
    return report(reader, setting, `${setting} is not set. ${use} ${howTo(setting, makeKeyring)}`);
  }
  const ring = parseKeyring(text);
  if (typeof ring !== "string") {
    return ring;
  }
  return report(
    reader,
    setting,
    `${setting} cannot be used: ${ring}. It must be JSON such as {"primary":"k1","keys":{"k1":"<32 random bytes in base64url>"}}. ` +
      `Mend the value you have if anything was stored under it. ${howTo(setting, makeKeyring)}`,
  );
}

function readCheckpointKey(reader: Reader): Secret | null {
  const setting = "CHECKPOINT_KEY";
  const text = readText(reader, setting);
  if (text === "") {
    return report(
      reader,
      setting,
      `${setting} is not set. The audit log is signed with it. ${howTo(setting, makeKey)}`,
    );
  }
  const bytes = fromBase64Url(text);
  if (bytes === null || bytes.byteLength !== 32 || bytes.every((byte) => byte === 0)) {
    return report(
      reader,
      setting,
      `${setting} is not 32 random bytes in base64url without padding. ${howTo(setting, makeKey)}`,
    );
  }
  return new Secret(text);
}

function readPublicUrl(reader: Reader): string | null {
  const setting = "PUBLIC_URL";
  const text = readText(reader, setting);
  const example =
    "Set it to the address people use, such as https://gatehouse.example.com; locally `npm start` sets it.";
  if (text === "") {
    return report(reader, setting, `${setting} is not set. ${example}`);
  }
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    return report(reader, setting, `${setting} is not an http or https address. ${example}`);
  }
  if (url.username !== "" || url.password !== "" || url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    return report(
      reader,
      setting,
      `${setting} must be an origin only: no path, query, fragment, user or password. ${example}`,
    );
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    return report(reader, setting, `${setting} must be https unless it is a loopback address. ${example}`);
  }
  return url.origin;
}

function readSwitch(reader: Reader, setting: string): boolean {
  const text = readText(reader, setting).toLowerCase();
  if (!["", "0", "1", "true", "false"].includes(text)) {
    report(reader, setting, `${setting} must be 1 or 0, or not set.`);
  }
  return text === "1" || text === "true";
}

function readOrigins(reader: Reader, setting: string): readonly string[] {
  const words = readText(reader, setting)
    .split(/[\s,]+/)
    .filter((word) => word !== "");
  const wrong = words.find((word) => !/^https?:/i.test(word) || URL.parse(word)?.origin !== word.toLowerCase());
  if (wrong !== undefined) {
    report(
      reader,
      setting,
      `${setting} must be exact origins separated by commas, such as http://127.0.0.1:4010 (no path, no trailing slash).`,
    );
  }
  return words.map((word) => word.toLowerCase());
}

/** What reads answers over plain http could be anybody on the way. */
function isPageOrigin(origin: string): boolean {
  const url = URL.parse(origin);
  return !origin.includes("*") && url !== null && (url.protocol === "https:" || isLoopback(url.hostname));
}

function readPageOrigins(reader: Reader): readonly string[] {
  const setting = "ALLOWED_ORIGINS";
  const origins = readOrigins(reader, setting);
  const isReported = reader.problems.some((problem) => problem.setting === setting);
  if (!isReported && !origins.every(isPageOrigin)) {
    report(
      reader,
      setting,
      `${setting} must be whole https origins without a star; http is for loopback addresses only.`,
    );
  }
  return origins;
}

function readSeatLimit(reader: Reader): number {
  const setting = "SEAT_LIMIT";
  const text = readText(reader, setting);
  if (!/^\d{0,6}$/.test(text)) {
    report(reader, setting, `${setting} must be a whole number, or not set. 0 means no limit.`);
  }
  return Number(text) || 0;
}

function readSetupToken(reader: Reader): Secret | null {
  const setting = "SETUP_TOKEN";
  const text = readText(reader, setting);
  if (text === "") {
    return null;
  }
  if (text.length < 20 || !/^[A-Za-z0-9._~+/-]+=*$/.test(text)) {
    return report(
      reader,
      setting,
      `${setting} must be at least 20 characters of A-Z a-z 0-9 . _ ~ + / -. ${howTo(setting, makeKey)}`,
    );
  }
  return new Secret(text);
}
