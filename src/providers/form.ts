/** What credential forms have in common: their usual fields, their format errors, and how they are parsed. */
import { AppError, type FieldError } from "../base/errors.js";
import { Secret } from "../base/secret.js";
import type { CredentialInput, CredentialOptions, FormField, ProviderRegion } from "./contract.js";
import type { ProviderEntry } from "./entry.js";

/** Fields as a person entered them. */
type EnteredFields = Readonly<Record<string, string>>;

const maxKeyLength = 4096;
const maxOptionLength = 256;
const maxAddressLength = 2048;

/** The form's one secret. */
export function apiKeyField(help: string, more: Partial<FormField> = {}): FormField {
  return { name: "api_key", label: "API key", secret: true, required: true, help, ...more };
}

/** The address that calls go to, in place of the catalogue's own. */
export function baseUrlField(help: string, more: Partial<FormField> = {}): FormField {
  return { name: "base_url", label: "Base URL", secret: false, required: false, help, ...more };
}

/** A plain field. */
export function optionField(name: string, label: string, help: string, more: Partial<FormField> = {}): FormField {
  return { name, label, secret: false, required: false, help, ...more };
}

/** The field that chooses one of a vendor's addresses; the first is the default. */
export function regionField(regions: readonly ProviderRegion[]): FormField {
  return optionField("region", "Region", "Where the account is. A key of one region is refused in the others.", {
    ...(regions[0] === undefined ? {} : { default: regions[0].name }),
    choices: regions.map(({ name, title }) => ({ value: name, label: title })),
  });
}

/** Format errors of the entered fields: unknown, missing, unreadable, or a key that cannot be one of this provider. */
export function checkFields(entry: ProviderEntry, entered: EnteredFields): readonly FieldError[] {
  const known = entry.form.map(({ name }) => name).join(", ");
  const unknown = Object.keys(entered)
    .filter((name) => !entry.form.some((field) => field.name === name))
    .map((name) => fieldError(name, "unknown_field", `This provider has no such field. Its fields are ${known}.`));
  const errors = [...unknown, ...entry.form.flatMap((field) => checkField(entry, field, entered))];
  if (errors.length > 0) {
    return errors;
  }
  const { options, baseUrl } = readForm(entry, entered);
  const together = entry.checkTogether?.(options, ownBaseUrl(entry, options) === baseUrl) ?? null;
  return [
    ...(together === null ? [] : [fieldError(together.field, together.code, together.detail)]),
    ...checkPrefix(entry, entered, options, baseUrl),
  ];
}

/** The entered fields as the rest of the house takes them. Throws `AppError` `validation_failed`. */
export function parseFields(entry: ProviderEntry, entered: EnteredFields): CredentialInput {
  const errors = checkFields(entry, entered);
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
  const { secret, options, baseUrl } = readForm(entry, entered);
  return { api_key: secret === "" ? null : new Secret(secret), base_url: baseUrl, options };
}

/** Whether the base URL is the one that the catalogue itself names for these fields. */
export function isOwnAddress(
  entry: ProviderEntry,
  { base_url, options }: Pick<CredentialInput, "base_url" | "options">,
): boolean {
  return ownBaseUrl(entry, options) === base_url;
}

/** A template with its `{field}`s filled in. Fields are held to their patterns, so none can leave its place. */
export function fillTemplate(template: string, options: CredentialOptions): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => options[name] ?? "");
}

function ownBaseUrl(entry: ProviderEntry, options: CredentialOptions): string {
  const region = entry.regions?.find(({ name }) => name === options["region"]);
  return entry.makeBaseUrl?.(options) ?? fillTemplate(region?.base_url ?? entry.base_url ?? "", options);
}

/** The fields once each of them is in order. */
function readForm(
  entry: ProviderEntry,
  entered: EnteredFields,
): { secret: string; options: CredentialOptions; baseUrl: string } {
  const plain = entry.form.filter(({ name, secret }) => !secret && name !== "base_url");
  const given = plain.flatMap(({ name, default: usual = "" }) => {
    const value = read(entered, name) || usual;
    return value === "" ? [] : [[name, value] as const];
  });
  const text = read(entered, "api_key");
  const known = text === "" ? undefined : entry.secret?.read(text);
  const told = known !== undefined && "secret" in known ? known : { secret: text, options: {} };
  const options = { ...told.options, ...Object.fromEntries(given) };
  const base = normaliseBaseUrl(entry, read(entered, "base_url")) ?? "";
  return { secret: told.secret, options, baseUrl: base === "" ? ownBaseUrl(entry, options) : base };
}

function checkField(entry: ProviderEntry, field: FormField, entered: EnteredFields): readonly FieldError[] {
  const { name, label, choices, pattern, required_unless: other } = field;
  const value = read(entered, name);
  if (value === "") {
    const isNeeded = field.required && (other === undefined || read(entered, other) === "");
    return isNeeded ? [fieldError(name, "required", `${label} is required.`)] : [];
  }
  if (name === "base_url") {
    return normaliseBaseUrl(entry, value) === null ? [fieldError(name, "format", addressHelp)] : [];
  }
  if (field.secret) {
    const detail = checkSecret(entry, value);
    return detail === null ? [] : [fieldError(name, "format", detail)];
  }
  if (choices !== undefined && !choices.some((choice) => choice.value === value)) {
    const words = choices.map((choice) => choice.value).join(", ");
    return [fieldError(name, "format", `${label} must be one of ${words}.`)];
  }
  const isOdd = pattern !== undefined && !new RegExp(`^(?:${pattern})$`).test(value);
  if (isOdd || value.length > maxOptionLength || !/^[\x20-\x7e]+$/.test(value)) {
    const example = field.placeholder === undefined ? "" : ` It looks like ${field.placeholder}.`;
    return [fieldError(name, "format", `This is no ${label}.${example}`)];
  }
  return [];
}

function checkSecret(entry: ProviderEntry, value: string): string | null {
  if (entry.secret !== undefined) {
    const known = entry.secret.read(value);
    return "error" in known ? known.error : null;
  }
  return value.length > maxKeyLength || !/^[\x21-\x7e]+$/.test(value)
    ? "The API key must be one line of visible ASCII characters without spaces."
    : null;
}

/** A prefix is only known of keys for the catalogue's own address: a proxy may ask for any. */
function checkPrefix(
  entry: ProviderEntry,
  entered: EnteredFields,
  options: CredentialOptions,
  baseUrl: string,
): readonly FieldError[] {
  const prefix = entry.key_prefix;
  const key = read(entered, "api_key");
  const isOther = prefix !== undefined && key !== "" && !key.startsWith(prefix);
  return isOther && ownBaseUrl(entry, options) === baseUrl
    ? [fieldError("api_key", "format", `The API key must begin with ${prefix}.`)]
    : [];
}

const addressHelp =
  "The base URL must be a web address without user name, query or fragment, such as https://host/v1, of at most 2048 characters.";

/**
 * A base URL without trailing slashes; where it has no path, with the provider's own one, and without the path of its
 * wire or of an endpoint where that is entered too. What comes of it comes of itself again. "" for "", null when it
 * cannot be one.
 */
function normaliseBaseUrl(entry: ProviderEntry, text: string): string | null {
  if (text === "") {
    return "";
  }
  const url = text.length > maxAddressLength ? null : URL.parse(text);
  const isWeb = url !== null && (url.protocol === "https:" || url.protocol === "http:");
  if (!isWeb || url.username !== "" || url.password !== "" || /[?#\\\s]/.test(text)) {
    return null;
  }
  const path = trimSlashes(url.pathname);
  const own = entry.base_path ?? (entry.base_url === null ? "" : entry.base_url.replace(/^https:\/\/[^/]*/, ""));
  if (path === "") {
    return `${url.origin}${own}`;
  }
  const base = cutWire(entry, path);
  // A host alone means the provider's own path: one whose root is meant cannot be written without its wire.
  return `${url.origin}${base === "" && own !== "" ? path : base}`;
}

/** A path without what the provider's endpoints append to a base URL. */
function cutWire(entry: ProviderEntry, path: string): string {
  const { "chat/completions": chat = "", messages = "" } = entry.endpoints;
  const ends = ["/chat/completions", messages, chat.replace(/\/chat\/completions$/, "")];
  const end = ends.find((text) => text !== "" && path.endsWith(text));
  return end === undefined ? path : cutWire(entry, trimSlashes(path.slice(0, -end.length)));
}

function trimSlashes(path: string): string {
  return path.replace(/\/+$/, "");
}

function fieldError(field: string, code: string, detail: string): FieldError {
  return { pointer: `/credentials/${escapePointer(field)}`, detail, code };
}

/** Own fields only, without the blanks that pasting brings along. */
function read(entered: EnteredFields, name: string): string {
  return Object.hasOwn(entered, name) ? (entered[name] ?? "").trim() : "";
}

/** RFC 6901 §3. */
function escapePointer(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
