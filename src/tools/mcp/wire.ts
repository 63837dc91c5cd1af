/** The network side of one call to an MCP server: the outbound guard, the deadline, the size limit, and the first failure. */
import { fetchOutbound } from "../../base/outbound.js";
import type { Secret } from "../../base/secret.js";
import { McpFailure, toMcpFailure } from "./failure.js";
import type { McpTarget } from "./target.js";

/** Bounds of one call, handshake included. */
export interface McpLimits {
  readonly timeoutMs: number;
  /** Of one HTTP answer, counted while it is read. */
  readonly maxBytes: number;
  /** The caller's: when it aborts, the server is told. */
  readonly signal?: AbortSignal | undefined;
}

/** The SDK's fetch, and what it met. */
export interface Wire {
  readonly fetch: (url: string | URL, init?: RequestInit) => Promise<Response>;
  /** Aborts with the first failure, the caller's departure and the end of the time among them. */
  readonly signal: AbortSignal;
  fail(failure: McpFailure): void;
  failure(): McpFailure | null;
  /** Milliseconds left, at least 1. */
  leftMs(): number;
  /** Resolves when no notification is on its way any more, which takes 2 seconds at most. */
  settled(): Promise<void>;
  /** Ends the deadline. Call it when the call is over. */
  close(): void;
}

const partingMs = 2_000;

/** Opens the wire to a target. Each request is checked by the outbound guard, and goes to the target's origin only. */
export function openWire(target: McpTarget, limits: McpLimits): Wire {
  const endsAt = Date.now() + limits.timeoutMs;
  const first = holdFirstFailure(limits);
  const partings = new Set<Promise<unknown>>();

  async function part(sent: Pick<Exchange, "url" | "init" | "headers">): Promise<Response> {
    // Whatever ended the call, the server may still hear of it.
    const signal = AbortSignal.timeout(partingMs);
    const answer = exchange(target, { ...sent, maxBytes: limits.maxBytes, signal, fail: first.fail });
    partings.add(answer);
    void answer.catch(() => undefined).finally(() => partings.delete(answer));
    return await answer;
  }

  return {
    ...first,
    async fetch(url, init = {}) {
      const headers = new Headers(init.headers);
      if (init.method === "GET" && !headers.has("last-event-id")) {
        // The stream for what the server says unasked would end with this request anyway.
        return new Response(null, { status: 405 });
      }
      if (isCancellation(init.body)) {
        return await part({ url, init, headers });
      }
      const signal = AbortSignal.any([first.signal, ...(init.signal instanceof AbortSignal ? [init.signal] : [])]);
      return await exchange(target, { url, init, headers, maxBytes: limits.maxBytes, signal, fail: first.fail });
    },
    leftMs: () => Math.max(1, endsAt - Date.now()),
    async settled() {
      // The SDK sends a cancellation some microtasks after it has given up.
      await new Promise((resolve) => setTimeout(resolve, 0));
      await Promise.allSettled(partings);
    },
  };
}

/** What ended the call first: the caller, the clock, or whatever is handed to `fail`. */
function holdFirstFailure(limits: McpLimits): Pick<Wire, "signal" | "fail" | "failure" | "close"> {
  const controller = new AbortController();
  let failure: McpFailure | null = null;
  const fail = (reason: McpFailure): void => {
    failure ??= reason;
    controller.abort(failure);
  };
  const depart = (): void => fail(new McpFailure("aborted", "The caller left."));
  const late = (): void => fail(new McpFailure("timeout", "The MCP server did not answer in time."));
  const timer = setTimeout(late, limits.timeoutMs);
  limits.signal?.addEventListener("abort", depart, { once: true });
  if (limits.signal?.aborted === true) {
    depart();
  }
  return {
    signal: controller.signal,
    fail,
    failure: () => failure,
    close() {
      clearTimeout(timer);
      limits.signal?.removeEventListener("abort", depart);
    },
  };
}

interface Exchange {
  readonly url: string | URL;
  readonly init: RequestInit;
  readonly headers: Headers;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  readonly fail: (failure: McpFailure) => void;
}

async function exchange(target: McpTarget, sent: Exchange): Promise<Response> {
  if (new URL(sent.url).origin !== new URL(target.url).origin) {
    throw new McpFailure("refused", "The MCP server named another origin, which is not called.");
  }
  for (const [name, value] of target.headers) {
    sent.headers.set(name, value.reveal());
  }
  const { method = "GET", body = null } = sent.init;
  const request = new Request(sent.url, { method, body, headers: sent.headers, redirect: "manual" });
  try {
    const options = { ...target.rules, signal: sent.signal, timeoutMs: maxExchangeMs };
    return cap(await fetchOutbound(request, options), sent, target.secrets);
  } catch (error) {
    const failure = toMcpFailure(error, target.secrets);
    if (!sent.signal.aborted) {
      sent.fail(failure);
    }
    throw failure;
  }
}

/** The wire's own deadline is always earlier. */
const maxExchangeMs = 600_000;

/** The answer, failing the call once it is longer than it may be or breaks off. */
function cap(response: Response, sent: Exchange, secrets: readonly Secret[]): Response {
  if (response.body === null) {
    return response;
  }
  let left = sent.maxBytes;
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) {
          controller.close();
          return;
        }
        left -= value.byteLength;
        if (left < 0) {
          throw new McpFailure("too_large", `The MCP server's answer is longer than ${sent.maxBytes} bytes.`);
        }
        controller.enqueue(value);
      } catch (error) {
        const failure = toMcpFailure(error, secrets);
        sent.fail(
          failure.kind === "too_large" ? failure : new McpFailure("network", "The MCP server's answer broke off."),
        );
        controller.error(failure);
        await reader.cancel().catch(() => undefined);
      }
    },
    async cancel(reason) {
      await reader.cancel(reason);
    },
  });
  return new Response(body, response);
}

/** Whether a message takes back an earlier one. */
function isCancellation(body: RequestInit["body"]): boolean {
  if (typeof body !== "string" || body.length > 2_000 || !body.includes("cancel")) {
    return false;
  }
  const message: unknown = JSON.parse(body);
  const method = typeof message === "object" && message !== null && "method" in message ? message.method : null;
  return method === "notifications/cancelled" || method === "tasks/cancel";
}
