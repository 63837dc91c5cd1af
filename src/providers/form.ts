/** What the credential forms of OpenAI-wire providers have in common: two fields, their format errors, and how they are parsed. */
import { AppError, type FieldError } from "../base/errors.js";
import { Secret } from "../base/secret.js";
import type { CredentialInput, FormField } from "./contract.js";

/** Fields as a person entered them. */
export type EnteredFields = Readonly<Record<string, string>>;

/** What one provider asks of its form beyond the fields themselves. */
export interface FormRules {
  readonly form: readonly FormField[];
  readonly defaultBaseUrl: string | null;
  /** How a key must begin as long as the base URL is the default; null when any key may be tried. */
  readonly keyPrefix: string | null;
}

const maxKeyLength = 4096;

/** The form's one secret. */
export function apiKeyField(help: string, isRequired = true): FormField {
  return { name: "api_key", label: "API key", secret: true, required: isRequired, help };
}

/** The address that calls go to; required when there is no default. */
export function baseUrlField(help: string, defaultUrl: string | null): FormField {
  const field = { name: "base_url", label: "Base URL", secret: false, required: defaultUrl === null, help };
  return defaultUrl === null ? field : { ...field, default: defaultUrl };
}

/** Format errors of the entered fields: unknown, missing, unreadable, or a key that cannot be one of this provider. */
export function checkFields(rules: FormRules, entered: EnteredFields): readonly FieldError[] {
  const errors: FieldError[] = [];
  const report = (field: string, code: string, detail: string): void => {
    errors.push({ pointer: `/credentials/${escapePointer(field)}`, detail, code });
  };
  for (const name of Object.keys(entered)) {
    if (!rules.form.some((field) => field.name === name)) {
      report(name, "unknown_field", "This provider has no such field.");
    }
  }
  for (const field of rules.form) {
    if (field.required && read(entered, field.name) === "") {
      report(field.name, "required", `${field.label} is required.`);
    }
  }
  const baseUrl = normaliseBaseUrl(read(entered, "base_url"));
  if (baseUrl === null) {
    report(
      "base_url",
      "format",
      "The base URL must be a web address without user name, query or fragment, such as https://host/v1.",
    );
  }
  const key = read(entered, "api_key");
  if (key !== "" && (key.length > maxKeyLength || !/^[\x21-\x7e]+$/.test(key))) {
    report("api_key", "format", "The API key must be one line of visible ASCII characters without spaces.");
  } else if (key !== "" && rules.keyPrefix !== null && isDefault(rules, baseUrl) && !key.startsWith(rules.keyPrefix)) {
    report("api_key", "format", `The API key must begin with ${rules.keyPrefix}.`);
  }
  return errors;
}

/** The entered fields as the rest of the house takes them. Throws `AppError` `validation_failed`. */
export function parseFields(rules: FormRules, entered: EnteredFields): CredentialInput {
  const errors = checkFields(rules, entered);
  const baseUrl = normaliseBaseUrl(read(entered, "base_url")) ?? "";
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
  const key = read(entered, "api_key");
  return {
    api_key: key === "" ? null : new Secret(key),
    base_url: baseUrl === "" ? (rules.defaultBaseUrl ?? "") : baseUrl,
    options: {},
  };
}

/** A base URL without trailing slashes, `/v1` added where there is no path; "" for "", null when it cannot be one. */
function normaliseBaseUrl(text: string): string | null {
  if (text === "") {
    return "";
  }
  const url = URL.parse(text);
  const isWeb = url !== null && (url.protocol === "https:" || url.protocol === "http:");
  if (!isWeb || url.username !== "" || url.password !== "" || /[?#]/.test(text)) {
    return null;
  }
  const path = url.pathname.replace(/\/+$/, "");
  return `${url.origin}${path === "" ? "/v1" : path}`;
}

function isDefault(rules: FormRules, baseUrl: string | null): boolean {
  return baseUrl === "" || baseUrl === rules.defaultBaseUrl;
}

/** Own fields only, without the blanks that pasting brings along. */
function read(entered: EnteredFields, name: string): string {
  return Object.hasOwn(entered, name) ? (entered[name] ?? "").trim() : "";
}

/** RFC 6901 §3. */
function escapePointer(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
