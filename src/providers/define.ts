/** Makes an entry of data into what the rest of the house calls. */
import { AppError } from "../base/errors.js";
import type { OutboundCall } from "../base/outbound.js";
import type { CredentialInput, CredentialOptions, Provider, UpstreamCall, UpstreamEndpoint } from "./contract.js";
import type { ProviderEntry, ValidationCall } from "./entry.js";
import { checkFields, fillTemplate, isOwnAddress, parseFields } from "./form.js";
import { judgeAnswer } from "./verdict.js";
import { anthropicHeaders, authHeaders, authSentences, type AuthStyle } from "./wire.js";

/** The provider that an entry describes. */
export function defineProvider(entry: ProviderEntry): Provider {
  const { exchange, transport } = entry;
  return {
    name: entry.name,
    title: entry.title,
    type: "model",
    docs_url: entry.docs_url,
    icon: `/provider-icons/${entry.name}.svg`,
    default_base_url: entry.base_url,
    regions: entry.regions ?? [],
    form: entry.form,
    auth: entry.auth_note ?? (typeof entry.auth === "string" ? authSentences[entry.auth] : ""),
    key_hint: entry.key_hint ?? null,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an entry's keys are endpoints by its type
    endpoints: Object.keys(entry.endpoints) as UpstreamEndpoint[],
    checkFormat: (credentials) => checkFields(entry, credentials),
    parse: (credentials) => parseFields(entry, credentials),
    warnings: (input) => findWarnings(entry, input),
    validationRequest: (input) => validationRequest(entry, input),
    judge: (status, body, input) => judgeAnswer(entry, status, body, input),
    origins: (input) => originsOf(entry, input),
    request: (call) => modelRequest(entry, call),
    modelName: entry.modelName ?? ((model) => model),
    capField: (endpoint) =>
      endpoint === "chat/completions" && entry.caps_completion === true ? "max_completion_tokens" : null,
    takesStreamOptions: ({ stream_usage }) => (entry.stream_options ?? true) && stream_usage !== "no",
    ...(exchange === undefined ? {} : { exchange }),
    ...(transport === undefined ? {} : { transport }),
  };
}

function validationRequest(entry: ProviderEntry, input: CredentialInput): Request {
  const call = validationCall(entry, input);
  const auth = call.auth ?? styleOf(entry, input.options);
  const headers = new Headers({
    accept: "application/json",
    ...plainHeaders(entry, input.options),
    ...call.headers,
    ...authHeaders(auth, input.api_key),
  });
  const url = `${validationHost(entry, call, input) ?? input.base_url}${call.path}`;
  if (call.body === undefined) {
    return new Request(url, { method: call.method, headers, redirect: "manual" });
  }
  headers.set("content-type", "application/json");
  return new Request(url, { method: call.method, headers, body: JSON.stringify(call.body), redirect: "manual" });
}

function validationCall(entry: ProviderEntry, input: CredentialInput): ValidationCall {
  const { validation } = entry;
  return typeof validation === "function" ? validation(input, isOwnAddress(entry, input)) : validation;
}

function validationHost(entry: ProviderEntry, call: ValidationCall, input: CredentialInput): string | null {
  return call.host !== undefined && isOwnAddress(entry, input) ? fillTemplate(call.host, input.options) : null;
}

function originsOf(entry: ProviderEntry, input: CredentialInput): readonly string[] {
  const call = validationCall(entry, input);
  const others = isOwnAddress(entry, input) ? [validationHost(entry, call, input), entry.token_origin ?? null] : [];
  return [input.base_url, ...others].flatMap((url) => (url === null ? [] : [new URL(url).origin]));
}

/** What a client may have sent as its key: it must not stand beside the provider's. */
const keyHeaders: ReadonlySet<string> = new Set(["authorization", "x-api-key", "api-key", "x-goog-api-key"]);

function modelRequest(entry: ProviderEntry, call: UpstreamCall): OutboundCall {
  const path = entry.endpoints[call.endpoint];
  if (path === undefined) {
    throw new AppError("internal", { cause: new Error(`${entry.name} does not serve ${call.endpoint}`) });
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(call.headers)) {
    if (!keyHeaders.has(name)) {
      headers[name] = value;
    }
  }
  headers["accept"] = acceptOf(call);
  // A form's Content-Type names its boundary.
  if (call.endpoint !== "audio/transcriptions") {
    headers["content-type"] = "application/json";
  }
  const isAnthropic = call.endpoint === "messages" || call.endpoint === "messages/count_tokens";
  const auth = isAnthropic ? (entry.messages_auth ?? "x-api-key") : styleOf(entry, call.options);
  const version: Readonly<Record<string, string>> =
    isAnthropic && headers["anthropic-version"] === undefined ? anthropicHeaders : {};
  const own = { ...plainHeaders(entry, call.options), ...version, ...authHeaders(auth, call.api_key) };
  for (const [name, value] of Object.entries(own)) {
    headers[name.toLowerCase()] = value;
  }
  return { url: `${call.base_url}${path}`, method: "POST", headers, body: call.body };
}

function acceptOf({ endpoint, stream }: UpstreamCall): string {
  if (stream) {
    return "text/event-stream";
  }
  return endpoint === "audio/speech" || endpoint === "audio/transcriptions" ? "*/*" : "application/json";
}

function styleOf(entry: ProviderEntry, options: CredentialOptions): AuthStyle {
  return typeof entry.auth === "string" ? entry.auth : entry.auth(options);
}

function plainHeaders(entry: ProviderEntry, options: CredentialOptions): Readonly<Record<string, string>> {
  const pairs = Object.entries(entry.option_headers ?? {}).flatMap(([field, header]) => {
    const value = options[field];
    return value === undefined ? [] : [[header, value] as const];
  });
  return { ...entry.headers, ...Object.fromEntries(pairs) };
}

function findWarnings(entry: ProviderEntry, input: CredentialInput): readonly string[] {
  const { key_hint: hint } = entry;
  const key = input.api_key?.reveal() ?? "";
  return hint === undefined ||
    key === "" ||
    !isOwnAddress(entry, input) ||
    new RegExp(`^(?:${hint.pattern})$`).test(key)
    ? []
    : [`Keys of ${entry.title} usually look otherwise: ${hint.text}. Check that the whole key was pasted.`];
}
