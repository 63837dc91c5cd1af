/** How long an instance lately took: a peak-sensitive moving average, as Finagle's PeakEwma. Pure; times are epoch milliseconds. */

/** What is remembered of an instance's answers. */
export interface Latency {
  readonly value_ms: number;
  readonly at: number;
}

/** After this long without a slower answer, a peak has lost 63 % of its height. */
const decayMs = 10_000;
/** An older figure says nothing any more. */
const staleMs = 600_000;

/** Takes one answer's time to first content. A slower one counts at once, a faster one gradually. */
export function noteLatency(before: Latency | undefined, sampleMs: number, now: number): Latency {
  if (before === undefined || now - before.at > staleMs || sampleMs > before.value_ms) {
    return { value_ms: sampleMs, at: now };
  }
  const kept = Math.exp(-Math.max(0, now - before.at) / decayMs);
  return { value_ms: before.value_ms * kept + sampleMs * (1 - kept), at: now };
}

/** The figure that counts now; null when there is none, or only one that is ten minutes old. */
export function latencyMs(latency: Latency | undefined, now: number): number | null {
  return latency === undefined || now - latency.at > staleMs ? null : latency.value_ms;
}
