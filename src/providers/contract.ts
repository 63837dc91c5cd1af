/** What an upstream provider is to the rest of the house: a form, a format rule, a free validation call, and how to address a model call. Knows no provider. */
import type { OutboundCall } from "../base/outbound.js";
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
  /** Another field that, once filled in, makes this one needless. */
  readonly required_unless?: string;
  /** The only values it takes. */
  readonly choices?: readonly FieldChoice[];
  /** A regular expression that the whole value must match. */
  readonly pattern?: string;
  /** An example, never a value. */
  readonly placeholder?: string;
  /** Its value may have several lines. */
  readonly multiline?: boolean;
}

/** A value of a field, and how to call it. */
export interface FieldChoice {
  readonly value: string;
  readonly label: string;
}

/** One of several addresses of a vendor, chosen by the form's `region`. */
export interface ProviderRegion {
  readonly name: string;
  readonly title: string;
  readonly base_url: string;
}

/** What keys of a vendor usually look like. Vendors change it, so it only ever makes a warning. */
export interface KeyHint {
  /** A regular expression for the whole key. */
  readonly pattern: string;
  /** In words, such as "begins with gsk_". */
  readonly text: string;
}

/** What a person entered, parsed: exactly one secret, the rest plain. */
export interface CredentialInput {
  /** Null for providers whose key is optional (`openai_compatible`). */
  readonly api_key: Secret | null;
  /** Normalised, without a trailing slash; the provider's own when not given. */
  readonly base_url: string;
  /** The form's other plain fields, such as a region or an organisation, by name. None is secret. */
  readonly options: CredentialOptions;
}

/** Plain fields of a credential beside its base URL, by the form's names. */
export type CredentialOptions = Readonly<Record<string, string>>;

/** Endpoints an upstream may serve: OpenAI's by their path, `messages` and `messages/count_tokens` in Anthropic's wire format, `rerank` in Cohere's. */
export const upstreamEndpoints = [
  "chat/completions",
  "responses",
  "completions",
  "embeddings",
  "images/generations",
  "audio/speech",
  "audio/transcriptions",
  "moderations",
  "rerank",
  "messages",
  "messages/count_tokens",
] as const;
export type UpstreamEndpoint = (typeof upstreamEndpoints)[number];

/** One upstream call, ready to be addressed. The body is already spliced to the instance's model. */
export interface UpstreamCall {
  readonly endpoint: UpstreamEndpoint;
  readonly base_url: string;
  readonly options: CredentialOptions;
  /** What is sent: the secret, or the access token that it was exchanged for. */
  readonly api_key: Secret | null;
  readonly model: string;
  readonly body: OutboundCall["body"];
  /** Client headers that passed the allow-list, by lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly stream: boolean;
}

/** What a validation call proved. `unknown` and `network` never mark a key invalid; `model_missing` is said by who took the key. */
export interface ValidationVerdict {
  readonly outcome: "valid" | "invalid" | "no_quota" | "model_missing" | "wrong_host" | "network" | "unknown";
  /** A sentence for the owner, without any secret. */
  readonly reason: string | null;
}

/** A call that turns a secret into a short-lived access token (RFC 6749 §5), or the reason why the secret can't make one. */
export type TokenExchange = { readonly request: Request } | { readonly refused: string };

/** An upstream provider. Calls and requests are built without `signal`; the caller adds deadline and abort. */
export interface Provider {
  /** The wire name, such as `openai`; `provider_name` everywhere. */
  readonly name: string;
  readonly title: string;
  readonly type: "model";
  readonly docs_url: string;
  /** Path of its picture on this service. */
  readonly icon: string;
  /** Null when the form asks for it; `{name}` stands for a field of the form. */
  readonly default_base_url: string | null;
  /** Empty for a vendor with one address. */
  readonly regions: readonly ProviderRegion[];
  readonly form: readonly FormField[];
  /** How the secret travels, in a sentence. */
  readonly auth: string;
  readonly key_hint: KeyHint | null;
  /** What it serves. */
  readonly endpoints: readonly UpstreamEndpoint[];
  /** Format errors of a credential, with pointers such as `/credentials/api_key`; empty when it may be tried. */
  checkFormat(credentials: Readonly<Record<string, string>>): readonly FieldError[];
  /** What was entered, parsed. Throws `AppError` `validation_failed` with the errors of `checkFormat`. */
  parse(credentials: Readonly<Record<string, string>>): CredentialInput;
  /** Sentences about what looks odd and may be right all the same. They repeat nothing of the secret. */
  warnings(input: CredentialInput): readonly string[];
  /** The cheapest call that proves a key. Where `exchange` gives a token, `input.api_key` is that token. */
  validationRequest(input: CredentialInput): Request;
  /** Reads the validation call's answer. Body is at most 64 KiB of text. */
  judge(status: number, body: string, input: CredentialInput): ValidationVerdict;
  /** Origins that the secret, or what it is exchanged for, may be sent to: its base URL's, and others of the vendor as long as the base URL is the catalogue's own. */
  origins(input: CredentialInput): readonly string[];
  /** Throws `internal` for an endpoint that is not among `endpoints`. */
  request(call: UpstreamCall): OutboundCall;
  /** The name under which the upstream knows an instance's model. */
  modelName(model: string): string;
  /** The field that caps a chat's output where it is not `max_tokens`; null where it is. */
  capField(endpoint: UpstreamEndpoint): "max_completion_tokens" | null;
  /** Whether a stream may be asked for its usage by `stream_options.include_usage`. */
  takesStreamOptions(options: CredentialOptions): boolean;
  /** Only for providers whose secret is not what calls carry. Null: this credential's is. */
  readonly exchange?: (input: CredentialInput) => Promise<TokenExchange | null>;
  /** Only for providers that answer inside the Worker; others go through `fetch`. */
  readonly transport?: (request: Request) => Promise<Response>;
}
