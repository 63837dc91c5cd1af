/** A provider as an entry of data. A function stands in an entry only where a vendor truly differs. */
import type {
  CredentialInput,
  CredentialOptions,
  FormField,
  KeyHint,
  ProviderRegion,
  TokenExchange,
  UpstreamEndpoint,
  ValidationVerdict,
} from "./contract.js";
import type { AuthStyle } from "./wire.js";

/** One row of a verdict table; the first row that fits decides. */
export interface VerdictRule {
  /** Inclusive status range. */
  readonly from: number;
  readonly to: number;
  /** Must match the body too, when given. */
  readonly body?: RegExp;
  readonly outcome: ValidationVerdict["outcome"];
  readonly reason: string | null;
}

/** The call that proves a key. */
export interface ValidationCall {
  readonly method: "GET" | "POST";
  /** Follows the base URL. With `host`, follows that instead, as long as the base URL is the catalogue's own. */
  readonly path: string;
  /** Another address of the same vendor, such as `https://bedrock.{region}.amazonaws.com`. */
  readonly host?: string;
  /** When it is not the entry's own. */
  readonly auth?: AuthStyle;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
}

/** All that the house knows of a provider. */
export interface ProviderEntry {
  readonly name: string;
  readonly title: string;
  readonly docs_url: string;
  /** `{field}` stands for a field of the form. Null: the form asks for it. With regions: the first one's. */
  readonly base_url: string | null;
  /** The base URL that the form's fields make, where a template can't say it. */
  readonly makeBaseUrl?: (options: CredentialOptions) => string;
  /** Path of an entered address that has none; by default that of `base_url`. */
  readonly base_path?: string;
  readonly regions?: readonly ProviderRegion[];
  /** In the form's order, the secret and `base_url` among them. */
  readonly form: readonly FormField[];
  readonly auth: AuthStyle | ((options: CredentialOptions) => AuthStyle);
  /** How the secret travels, where the style alone does not say it. */
  readonly auth_note?: string;
  /** How the secret is read, where it is more than a line of text. */
  readonly secret?: SecretForm;
  /** How a key must begin as long as the base URL is the catalogue's own. */
  readonly key_prefix?: string;
  readonly key_hint?: KeyHint;
  readonly headers?: Readonly<Record<string, string>>;
  /** Headers that repeat a field of the form, by field. */
  readonly option_headers?: Readonly<Record<string, string>>;
  /** Where each endpoint stands, following the base URL. */
  readonly endpoints: Readonly<Partial<Record<UpstreamEndpoint, string>>>;
  /** Chats are capped by `max_completion_tokens`, since some of its models refuse `max_tokens`. */
  readonly caps_completion?: true;
  /** How the key travels to `messages` where it is not `x-api-key`. */
  readonly messages_auth?: AuthStyle;
  /** False: it refuses `stream_options`, or a stream tells its usage unasked. */
  readonly stream_options?: boolean;
  /** `isOwn`: the base URL is the catalogue's own. */
  readonly validation: ValidationCall | ((input: CredentialInput, isOwn: boolean) => ValidationCall);
  readonly verdicts?: readonly VerdictRule[];
  readonly modelName?: (model: string) => string;
  /** A rule on fields together: the one at fault, or null. `isOwn`: the base URL is the catalogue's own. */
  readonly checkTogether?: (options: CredentialOptions, isOwn: boolean) => FieldFault | null;
  readonly exchange?: (input: CredentialInput) => Promise<TokenExchange | null>;
  /** Where `exchange` sends. */
  readonly token_origin?: string;
  readonly transport?: (request: Request) => Promise<Response>;
}

/** A field at fault, and why. */
export interface FieldFault {
  readonly field: string;
  readonly code: "required" | "format";
  readonly detail: string;
}

/** A secret with a form of its own. */
export interface SecretForm {
  /** The secret as it is stored and what it tells of the other fields; a sentence when it can't be read. */
  read(text: string): { readonly secret: string; readonly options: CredentialOptions } | { readonly error: string };
}
