/** Which calls need translating between OpenAI's and Anthropic's wire, and what a translation gives the relay. The translators themselves load on first use. */
import type { Hold } from "../budget.js";
import type { Provider, UpstreamEndpoint } from "../../providers/contract.js";
import { upstreamEndpoint } from "../../providers/serving.js";

/** What a body cannot tell a translator. */
export interface TranslationFacts {
  /** A stream may be asked for its usage by `stream_options.include_usage`. */
  readonly takesStreamOptions: boolean;
  /** The field that caps a chat's output at the provider; null: `max_tokens`, but for models that are known to refuse it. */
  readonly capField: "max_completion_tokens" | null;
}

/** One call, translated. */
export type Translation =
  /**
   * `respond` turns the upstream's answer, whatever its status, into one in the wire that was asked. A cut stream stays cut. What it keeps of the answer
   * counts in `hold`; its body breaks off with `overloaded` when there is no room.
   */
  | { readonly kind: "call"; readonly body: Uint8Array<ArrayBuffer>; respond(hold: Hold, response: Response): Response }
  /** Nothing is sent upstream: the answer is made here. */
  | { readonly kind: "answer"; readonly response: Response };

/** Turns calls of one endpoint into calls of another. */
export interface Translator {
  /** What the upstream is asked for. */
  readonly endpoint: UpstreamEndpoint;
  /**
   * Translates a body that has its model and, for chat, its usage option spliced in already, in the wire that was asked. Throws `untranslatable` with the
   * field's pointer for what the other wire cannot say, `validation_failed` for a body that says nothing, `body_too_large`.
   */
  begin(body: Uint8Array, facts: TranslationFacts): Promise<Translation>;
}

const towardsAnthropic: Translator = {
  endpoint: "messages",
  begin: async (body) => (await import("./from-chat.js")).beginFromChat(body),
};

const towardsOpenAi: Translator = {
  endpoint: "chat/completions",
  begin: async (body, facts) => (await import("./from-messages.js")).beginFromMessages(body, facts),
};

/** No call is made, to whatever endpoint: tokens are estimated here. */
const counting: Translator = {
  endpoint: "messages",
  begin: async (body) => (await import("./count.js")).beginCount(body),
};

const translators: Readonly<Partial<Record<UpstreamEndpoint, Translator>>> = {
  "chat/completions": towardsAnthropic,
  messages: towardsOpenAi,
  "messages/count_tokens": counting,
};

/** The translator for an asked endpoint on a provider. Null when it serves the endpoint itself, or nothing can stand in. */
export function findTranslator(asked: UpstreamEndpoint, provider: Pick<Provider, "endpoints">): Translator | null {
  const endpoint = upstreamEndpoint(provider, asked);
  return endpoint === null || endpoint === asked ? null : (translators[asked] ?? null);
}
