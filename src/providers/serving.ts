/** Which provider can answer a call: on the asked endpoint itself, or on another one whose wire can be translated to it. */
import { providers } from "./catalogue.js";
import type { Provider, UpstreamEndpoint } from "./contract.js";

/** The endpoints that can stand in for another, by translation; tokens can be estimated for any model that takes messages. */
const standIns: Readonly<Partial<Record<UpstreamEndpoint, readonly UpstreamEndpoint[]>>> = {
  "chat/completions": ["messages"],
  messages: ["chat/completions"],
  "messages/count_tokens": ["messages", "chat/completions"],
};

const byName: ReadonlyMap<string, Provider> = new Map(providers.map((provider) => [provider.name, provider]));

/** The endpoint of a provider that a call goes to: the asked one before one that is translated. Null when it has neither. */
export function upstreamEndpoint(
  { endpoints }: Pick<Provider, "endpoints">,
  asked: UpstreamEndpoint,
): UpstreamEndpoint | null {
  if (endpoints.includes(asked)) {
    return asked;
  }
  return standIns[asked]?.find((standIn) => endpoints.includes(standIn)) ?? null;
}

/** Whether a provider can answer a call of that endpoint, translation included; no for a name that no provider has. */
export function serves(providerName: string, endpoint: UpstreamEndpoint): boolean {
  const provider = byName.get(providerName);
  return provider !== undefined && upstreamEndpoint(provider, endpoint) !== null;
}
