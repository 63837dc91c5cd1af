/** What credentials need of a provider, whether it is one of models or of tools: a form, what was entered, where the secret may go, and how it is tried. */
import { invalidField } from "../base/errors.js";
import type { CredentialInput, Provider } from "../providers/contract.js";
import type { CredentialRow } from "./model.js";

/** A provider as the code of credentials takes one. */
export interface CredentialProvider extends Pick<
  Provider,
  "name" | "form" | "checkFormat" | "parse" | "origins" | "exchange" | "transport"
> {
  readonly type: CredentialRow["providerType"];
  /** Absent where no free call proves a secret. */
  readonly validationRequest?: Provider["validationRequest"];
  readonly judge?: Provider["judge"];
  readonly warnings?: Provider["warnings"];
  /** What a secret is sealed to; absent: the origin of its base URL. */
  readonly sealedTo?: (baseUrl: string) => string;
  /** Whether a secret that was sealed to this may still be used; absent: always. */
  readonly isHome?: (origin: string) => boolean;
}

/** What a secret entered with this address is sealed to. */
export function sealOriginOf(provider: CredentialProvider, baseUrl: string): string {
  return provider.sealedTo?.(baseUrl) ?? new URL(baseUrl).origin;
}

/** Whether the form asks for the address; where it does not, the address is the provider's own. */
export function takesAddress(provider: CredentialProvider): boolean {
  return provider.form.some((field) => field.name === "base_url");
}

/** Whether what was entered goes where the stored secret goes. */
export function isSameAddress(
  provider: CredentialProvider,
  row: Pick<CredentialRow, "baseUrl" | "origin">,
  entered: Pick<CredentialInput, "base_url">,
): boolean {
  const isSameBase = !takesAddress(provider) || entered.base_url === row.baseUrl;
  return isSameBase && sealOriginOf(provider, entered.base_url) === row.origin;
}

/** The provider of a credential. Throws `validation_failed` for one that this installation does not offer. */
export function requireProvider(provider: CredentialProvider | null): CredentialProvider {
  if (provider === null) {
    throw invalidField("/credentials", "This credential's provider is not available here.", "unknown_provider");
  }
  return provider;
}
