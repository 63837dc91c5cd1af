/** What a person enters for a credential: checked against the provider's form and the outbound guard, and tried. Nothing is stored here. */
import { AppError, invalidField, type FieldError } from "../base/errors.js";
import { checkOutboundUrl } from "../base/outbound.js";
import { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { findProvider } from "../providers/catalogue.js";
import type { CredentialInput, CredentialOptions } from "../providers/contract.js";
import { sealOriginOf, takesAddress, type CredentialProvider } from "./credential-form.js";
import { findOptions, type CredentialRow } from "./model.js";
import { firstStanding, outboundRules, tryCredential, type Standing } from "./validation.js";

/** What the checks of a credential depend on. */
export type ProviderSettings = Pick<Settings, "sandbox" | "outboundAllow" | "publicUrl">;

/** A form's fields by name, as a person entered them. */
export type Fields = Readonly<Record<string, string>>;

/** A credential that was checked and, when asked for, tried: ready to be sealed. */
export interface PreparedCredential {
  readonly providerType: CredentialRow["providerType"];
  readonly providerName: string;
  /** Empty for a provider that asks for none. */
  readonly apiKey: Secret;
  readonly baseUrl: string;
  readonly options: CredentialOptions;
  /** Where the secret may be sent. */
  readonly origin: string;
  readonly standing: Standing;
  /** Epoch milliseconds; null for never. */
  readonly expiresAt: number | null;
}

/** What a new credential is made of. */
interface NewCredential {
  readonly credentials: Fields;
  readonly validate: boolean;
  readonly expires_at?: string | null | undefined;
}

/**
 * Checks what was entered and tries it with one live call when `validate` says so. Stores nothing. Throws `validation_failed`
 * with pointers below `pointerPrefix` ("" for a body that is the credential, `/providers/0` for one of a list).
 */
export async function prepareCredential(
  settings: ProviderSettings,
  providerName: string,
  input: NewCredential,
  pointerPrefix: string,
): Promise<PreparedCredential> {
  const provider = findProvider(providerName, settings);
  if (provider === null) {
    throw invalidField(`${pointerPrefix}/provider_name`, "There is no such provider.", "unknown_provider");
  }
  return await prepareFor(settings, provider, input, pointerPrefix);
}

/** As `prepareCredential`, for a provider that is at hand. */
export async function prepareFor(
  settings: ProviderSettings,
  provider: CredentialProvider,
  input: NewCredential,
  pointerPrefix: string,
): Promise<PreparedCredential> {
  const entered = readEntered(settings, provider, input.credentials, pointerPrefix);
  const standing = await proveEntered(settings, provider, entered, input.validate, pointerPrefix);
  return {
    providerType: provider.type,
    providerName: provider.name,
    apiKey: entered.api_key ?? new Secret(""),
    baseUrl: entered.base_url,
    options: entered.options,
    origin: sealOriginOf(provider, entered.base_url),
    standing,
    expiresAt: toTime(input.expires_at ?? null),
  };
}

/** What looks odd about a credential, for its answer; nothing where all looks as usual. */
export function findWarnings(
  provider: CredentialProvider,
  { apiKey, baseUrl, options }: PreparedCredential,
): { warnings?: string[] } {
  const input = { api_key: apiKey.reveal() === "" ? null : apiKey, base_url: baseUrl, options };
  const warnings = provider.warnings?.(input) ?? [];
  return warnings.length === 0 ? {} : { warnings: [...warnings] };
}

/** The entered fields, parsed. Throws `validation_failed` for what the form or the outbound guard refuses. */
export function readEntered(
  settings: ProviderSettings,
  provider: CredentialProvider,
  fields: Fields,
  pointerPrefix: string,
): CredentialInput {
  const errors: readonly FieldError[] = provider.checkFormat(fields);
  if (errors.length > 0) {
    const prefixed = errors.map((error) => ({ ...error, pointer: `${pointerPrefix}${error.pointer}` }));
    throw new AppError("validation_failed", { errors: prefixed });
  }
  const entered = provider.parse(fields);
  if (provider.transport !== undefined) {
    return entered;
  }
  const checked = checkOutboundUrl(entered.base_url, outboundRules(settings));
  if ("error" in checked) {
    throw invalidField(`${pointerPrefix}/credentials/base_url`, checked.error, "address_refused");
  }
  return entered;
}

/** The standing of what was entered, tried when `validate` says so. Throws `validation_failed` for what its provider refuses. */
export async function proveEntered(
  settings: ProviderSettings,
  provider: CredentialProvider,
  entered: CredentialInput,
  validate: boolean,
  pointerPrefix: string,
): Promise<Standing> {
  const verdict = validate ? await tryCredential(outboundRules(settings), provider, entered) : null;
  if (verdict?.outcome === "invalid") {
    const reason = verdict.reason ?? "The provider refused it.";
    throw invalidField(`${pointerPrefix}/credentials/${secretField(provider)}`, reason, "refused");
  }
  if (verdict?.outcome === "wrong_host") {
    const reason = verdict.reason ?? "This is not the provider's address.";
    throw invalidField(`${pointerPrefix}/credentials/${addressField(provider, entered)}`, reason, "wrong_host");
  }
  return firstStanding(verdict);
}

/** The field to look at when the address is wrong: the one that stands in for the base URL where that was left empty. */
function addressField(provider: CredentialProvider, { api_key, base_url, options }: CredentialInput): string {
  const standsIn = provider.form.find((field) => field.required_unless === "base_url" && field.name in options);
  const fields = { ...options, [secretField(provider)]: api_key?.reveal() ?? "" };
  return standsIn !== undefined && isDerived(provider, fields, base_url) ? standsIn.name : "base_url";
}

/** Whether the address follows from the form's other fields. */
function isDerived(provider: CredentialProvider, fields: Fields, baseUrl: string): boolean {
  return provider.checkFormat(fields).length === 0 && provider.parse(fields).base_url === baseUrl;
}

/** The name of the form's one secret field. */
export function secretField(provider: Pick<CredentialProvider, "form">): string {
  return provider.form.find((field) => field.secret)?.name ?? "api_key";
}

/**
 * The form as it would be entered again: the stored plain fields, this secret, and over both what changes. The address is
 * given only where it was entered: one that follows from other fields, such as a region, follows them again.
 */
export function mergeFields(provider: CredentialProvider, row: CredentialRow, secret: Secret, changes: Fields): Fields {
  const stored: Fields = { ...findOptions(row), [secretField(provider)]: secret.reveal() };
  const isEntered = takesAddress(provider) && !isDerived(provider, stored, row.baseUrl);
  return { ...stored, ...(isEntered ? { base_url: row.baseUrl } : {}), ...changes };
}

/** An ISO 8601 time as epoch milliseconds. */
export function toTime(text: string | null): number | null {
  return text === null ? null : Date.parse(text);
}
