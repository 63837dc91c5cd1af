/**
 * Calls that run in this isolate, so that a later request of the same session can take one back. A signal must not be
 * aborted from another request's context, where the platform refuses to touch its fetch, so each call looks for its own mark.
 */

const cancelled = new Map<string, boolean>();
const lookMs = 100;

/** A call that can be taken back. */
export interface RunningCall {
  readonly signal: AbortSignal;
  /** Call it when the call is over. */
  end(): void;
}

/** Notes a call under its session and request id; without a session it cannot be taken back. */
export function startCall(session: string | null, id: string | number): RunningCall {
  const controller = new AbortController();
  if (session === null) {
    return { signal: controller.signal, end: () => undefined };
  }
  const key = keyOf(session, id);
  cancelled.set(key, false);
  const timer = setInterval(() => {
    if (cancelled.get(key) === true) {
      controller.abort();
    }
  }, lookMs);
  return {
    signal: controller.signal,
    end() {
      clearInterval(timer);
      cancelled.delete(key);
    },
  };
}

/** Takes a call back within 100 ms, if it runs in this isolate. */
export function cancelCall(session: string, id: string | number): void {
  const key = keyOf(session, id);
  if (cancelled.has(key)) {
    cancelled.set(key, true);
  }
}

function keyOf(session: string, id: string | number): string {
  return JSON.stringify([session, id]);
}
