/** What an upstream provider is to the rest of the house: a form, a format rule, a free validation call, and how to address a model call. Knows no provider. */
import type { FieldError } from "../base/errors.js";
import type { Secret } from "../base/secret.js";

/** One field of a provider's credential form, as the catalogue shows it. */
export interface FormField {
  readonly name: string;
  readonly label: string;
  readonly secret: boolean;
  readonly required: boolean;
  readonly help: string;
  readonly default?: string;
}

/** What a person entered, parsed: exactly one secret, the rest plain. */
export interface CredentialInput {
  /** Null for providers whose key is optional (`openai_compatible`). */
  readonly api_key: Secret | null;
  /** Normalised, without a trailing slash; the provider's default when not given. */
  readonly base_url: string;
  /** The form's other plain fields, such as a region or an organisation, by name. None is secret. */
  readonly options: CredentialOptions;
}

/** Plain fields of a credential beside its base URL, by the form's names. */
export type CredentialOptions = Readonly<Record<string, string>>;

/** Gateway endpoints an upstream may serve, by OpenAI path. */
export type UpstreamEndpoint = "chat/completions";

/** One upstream call, ready to be addressed. The body is already spliced to the instance's model. */
export interface UpstreamCall {
  readonly endpoint: UpstreamEndpoint;
  readonly base_url: string;
  readonly options: CredentialOptions;
  readonly api_key: Secret | null;
  readonly model: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Client headers that passed the allow-list. */
  readonly headers: Headers;
  readonly stream: boolean;
}

/** What a validation call proved. `unknown` never marks a key invalid. */
export interface ValidationVerdict {
  readonly outcome: "valid" | "invalid" | "no_quota" | "wrong_host" | "unknown";
  /** A sentence for the owner, without any secret. */
  readonly reason: string | null;
}

/** An upstream provider. Requests are built without `signal`; the caller adds deadline and abort. */
export interface Provider {
  /** The wire name, such as `openai`; `provider_name` everywhere. */
  readonly name: string;
  readonly title: string;
  readonly type: "model";
  readonly docs_url: string;
  readonly default_base_url: string | null;
  readonly form: readonly FormField[];
  /** Format errors of a credential, with pointers such as `/credentials/api_key`; empty when it may be tried. */
  checkFormat(credentials: Readonly<Record<string, string>>): readonly FieldError[];
  /** What was entered, parsed. Throws `AppError` `validation_failed` with the errors of `checkFormat`. */
  parse(credentials: Readonly<Record<string, string>>): CredentialInput;
  /** The free call that proves a key. */
  validationRequest(input: CredentialInput): Request;
  /** Reads the validation call's answer. Body is at most 64 KiB of text. */
  judge(status: number, body: string): ValidationVerdict;
  request(call: UpstreamCall): Request;
  /** Only for providers that answer inside the Worker; others go through `fetch`. */
  readonly transport?: (request: Request) => Promise<Response>;
}
