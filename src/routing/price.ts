/** What calls cost, in whole micro-dollars. Pure. */
import type { RouterPrice } from "../snapshot/model.js";
import type { Usage } from "./model.js";

/** What a provider asks for writing to its cache where no price says: the input's price and a quarter more, as the dearer of the usual kinds. */
const cacheWriteFactor = 1.25;

/** What a call that used so much costs, in micro-dollars, rounded up: nothing that costs anything is free. What has no price of its own costs as much as plain input. */
export function costOf(usage: Usage, price: RouterPrice): number {
  const cached = Math.min(usage.cached_tokens ?? 0, usage.prompt_tokens);
  const written = Math.min(usage.cache_write_tokens ?? 0, usage.prompt_tokens - cached);
  const plain = usage.prompt_tokens - cached - written;
  const parts =
    plain * price.input +
    cached * (price.cached ?? price.input) +
    written * (price.cache_write ?? price.input * cacheWriteFactor) +
    usage.completion_tokens * price.output;
  return Math.ceil(parts / 1e6);
}
