/** What the start script asks of the server it started: whether it is ready, and its crons in time. */
import { setTimeout as sleep } from "node:timers/promises";

const cronEveryMs = 60_000;

/** Waits for 200 on /readyz. Answers null when it came, else the last that was heard. */
export async function waitUntilReady(url: string, limitMs: number): Promise<string | null> {
  const deadline = Date.now() + limitMs;
  let heard = "nothing";
  while (Date.now() < deadline) {
    try {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5000) });
      const text = await response.text();
      if (response.ok) {
        return null;
      }
      heard = `${response.status} ${text}`;
    } catch (error) {
      heard = error instanceof Error ? error.message : String(error);
    }
    await sleep(150);
  }
  return heard;
}

/** Triggers the Worker's cron each minute, which local workerd does not do by itself. Never keeps the process alive. */
export function driveCron(url: string): void {
  const address = `${url}/cdn-cgi/local/scheduled?cron=${encodeURIComponent("* * * * *")}`;
  const timer = setInterval(() => {
    // A failed run is in the Worker's own log, and the next minute tries again.
    fetch(address, { signal: AbortSignal.timeout(cronEveryMs / 2) })
      .then((response) => response.arrayBuffer())
      .catch(() => undefined);
  }, cronEveryMs);
  timer.unref();
}
