/** A tool provider as the code of credentials takes one: its form, what was entered, where the secret may go, and how it is tried. */
import { AppError, type FieldError } from "../base/errors.js";
import { Secret } from "../base/secret.js";
import type { CredentialProvider } from "../connections/credential-form.js";
import type { CredentialInput, TokenExchange } from "../providers/contract.js";
import { tokenRequest } from "../providers/client-credentials.js";
import type { ToolProviderRow } from "../toolbox/model.js";
import type { Builtin } from "./builtin/builtin.js";
import type { ToolAuth } from "./contract.js";
import { readHeaderValues } from "./header-values.js";
import { basesOf, formOf, ownerOf, readAuth, sealOrigin } from "./auth.js";

type Fields = Readonly<Record<string, string>>;

const longestSecret = 20_000;

/** A tool provider's credentials, as the code of credentials takes them. */
export function credentialProvider(row: ToolProviderRow): CredentialProvider {
  return assemble(ownerOf(row), readAuth(row), formOf(row), basesOf(row));
}

/** Those of a built-in provider, also before it is added. */
export function builtinCredentialProvider(builtin: Builtin): CredentialProvider {
  return assemble(
    builtin.name,
    builtin.auth,
    builtin.form,
    builtin.bases.map((base) => base.url),
  );
}

function assemble(
  name: string,
  auth: ToolAuth,
  form: CredentialProvider["form"],
  bases: readonly string[],
): CredentialProvider {
  const checkFormat = (entered: Fields): readonly FieldError[] => [
    ...Object.keys(entered)
      .filter((field) => !form.some((known) => known.name === field))
      .map((field) => fieldError(field, "unknown_field", "This provider has no such field.")),
    ...form.flatMap((field) => checkField(field, read(entered, field.name), auth)),
    ...(form.length === 0 ? [fieldError("api_key", "unknown_field", "This provider needs no credential.")] : []),
  ];
  return {
    type: "tool",
    name,
    form,
    checkFormat,
    parse: (entered) => parse(form, bases, entered, checkFormat(entered)),
    origins: (input) => sealOrigin(auth, input.base_url).split(" "),
    sealedTo: (baseUrl) => sealOrigin(auth, baseUrl),
    isHome: (origin) => bases.some((base) => sealOrigin(auth, base) === origin),
    ...(auth.type === "oauth_client_credentials"
      ? { exchange: (input: CredentialInput) => exchangeFor(auth.token_url, auth.scopes, input) }
      : {}),
  };
}

function parse(
  form: CredentialProvider["form"],
  bases: readonly string[],
  entered: Fields,
  errors: readonly FieldError[],
): CredentialInput {
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
  const base = read(entered, "base_url");
  const plain = form.filter((field) => !field.secret && field.name !== "base_url");
  const options = plain.map((field) => [field.name, read(entered, field.name)] as const);
  return {
    api_key: new Secret(read(entered, "api_key")),
    base_url: base === "" ? (bases[0] ?? "") : base,
    options: Object.fromEntries(options.filter(([, value]) => value !== "")),
  };
}

function checkField(field: CredentialProvider["form"][number], value: string, auth: ToolAuth): readonly FieldError[] {
  if (value === "") {
    return field.required ? [fieldError(field.name, "required", `${field.label} is required.`)] : [];
  }
  if (field.choices !== undefined && !field.choices.some((choice) => choice.value === value)) {
    const choices = field.choices.map((choice) => choice.value).join(", ");
    return [fieldError(field.name, "format", `Choose one of ${choices}.`)];
  }
  if (field.pattern !== undefined && !new RegExp(`^(?:${field.pattern})$`, "u").test(value)) {
    const example = field.placeholder === undefined ? "" : ` It looks like ${field.placeholder}.`;
    return [fieldError(field.name, "format", `${field.label} does not have the right form.${example}`)];
  }
  if (field.secret && auth.type === "headers" && readHeaderValues(auth, value) === null) {
    const shape = auth.names.map((header) => `"${header}": "…"`).join(", ");
    return [fieldError(field.name, "format", `Enter the headers' values as a JSON object, in ASCII text: {${shape}}`)];
  }
  // A key stands in a header or an address as it is; a password and a client secret are encoded first.
  const isPlain = field.secret && (auth.type === "api_key" || auth.type === "bearer");
  const isFit = isPlain ? /^[\x20-\x7e]+$/.test(value) : !/\p{Cc}/u.test(value);
  return isFit && value.length <= longestSecret
    ? []
    : [fieldError(field.name, "format", `${field.label} must be one line of ${isPlain ? "ASCII text" : "text"}.`)];
}

/** RFC 6749 §4.4.2, with the client in the form (§2.3.1). An empty scope is left out: some servers refuse it. */
async function exchangeFor(
  tokenUrl: string,
  scopes: readonly string[],
  input: CredentialInput,
): Promise<TokenExchange> {
  const { api_key: secret, options } = input;
  const form = {
    grant_type: "client_credentials",
    client_id: options["client_id"] ?? "",
    client_secret: secret?.reveal() ?? "",
    ...(scopes.length === 0 ? {} : { scope: scopes.join(" ") }),
  };
  return await Promise.resolve({ request: tokenRequest(tokenUrl, form) });
}

function fieldError(name: string, code: string, detail: string): FieldError {
  return { pointer: `/credentials/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, detail, code };
}

/** Own fields only, without the blanks that pasting brings along. */
function read(entered: Fields, name: string): string {
  return Object.hasOwn(entered, name) ? (entered[name] ?? "").trim() : "";
}
