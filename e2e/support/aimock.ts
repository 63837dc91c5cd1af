/** OpenAI-compatible upstreams on loopback ports, each with a switch for the fault it shows, and counts of what reached it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { LLMock } from "@copilotkit/aimock";

/** What an upstream does to every call under /v1 but GET, until it is switched again. */
export type Fault =
  | { readonly kind: "none" }
  /** Answers this status in OpenAI's error shape. */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly code?: string;
      readonly headers?: Record<string, string>;
    }
  /** Breaks the connection after so many server-sent events. */
  | { readonly kind: "cut"; readonly afterEvents: number }
  /** Takes the call and never answers. */
  | { readonly kind: "stall" };

export interface Upstream {
  /** As it stands in OUTBOUND_ALLOW. */
  readonly origin: string;
  /** As a credential of `openai_compatible` wants it. */
  readonly baseUrl: string;
  /** For its canned answers: `mock.onMessage(…)`, `mock.onToolCall(…)`. */
  readonly mock: LLMock;
  setFault(fault: Fault): void;
  /** Calls under /v1 but GET since the start or the last `reset`. */
  calls(): number;
  /** Of those, how many the caller left before the end of the answer. */
  aborted(): number;
  /** No fault, and counts from zero; canned answers stay. */
  reset(): void;
  stop(): Promise<void>;
}

/** Cuts the connection once `afterEvents` server-sent events have gone out; aimock writes one event per `write`. */
function cutAfter(response: ServerResponse, afterEvents: number): void {
  let events = 0;
  const write = response.write.bind(response) as (chunk: unknown, flushed?: () => void) => boolean;
  response.write = (chunk: unknown) => {
    events += String(chunk).startsWith("data:") ? 1 : 0;
    if (events < afterEvents) {
      return write(chunk);
    }
    if (events === afterEvents) {
      // An end in order, even one called before the flush, would hide the cut.
      response.end = () => response;
      write(chunk, () => response.destroy());
    }
    return true;
  };
}

/** Answers true when the fault has taken the call. */
function showFault(fault: Fault, response: ServerResponse): boolean {
  switch (fault.kind) {
    case "none":
      return false;
    case "status": {
      const error = { message: `fault ${fault.status}`, type: "fault", code: fault.code ?? null, param: null };
      response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers });
      response.end(JSON.stringify({ error }));
      return true;
    }
    case "cut":
      cutAfter(response, fault.afterEvents);
      return false;
    case "stall":
      return true;
  }
}

/** Starts one upstream. Every chat call that no canned answer matches is answered with `answer`. */
export async function startUpstream(port: number, answer: string): Promise<Upstream> {
  let fault: Fault = { kind: "none" };
  let calls = 0;
  let aborted = 0;
  const mock = new LLMock({ port, host: "127.0.0.1", journalMaxEntries: 10_000 });
  mock.mount("/v1", {
    handleRequest: async (request: IncomingMessage, response: ServerResponse) => {
      if (request.method === "GET") {
        return false;
      }
      calls += 1;
      response.once("close", () => {
        aborted += response.writableEnded || fault.kind === "cut" ? 0 : 1;
      });
      return showFault(fault, response);
    },
  });
  // Last, so that answers a test adds later with `prependFixture` go first.
  mock.on({ endpoint: "chat" }, { content: answer });
  await mock.start();
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    baseUrl: `${origin}/v1`,
    mock,
    setFault: (next) => {
      fault = next;
    },
    calls: () => calls,
    aborted: () => aborted,
    reset: () => {
      fault = { kind: "none" };
      calls = 0;
      aborted = 0;
    },
    stop: () => mock.stop(),
  };
}

/** Starts one upstream per port; each answers with its own place in the list, so a test sees who answered. */
export async function startUpstreams(ports: readonly number[]): Promise<Upstream[]> {
  return await Promise.all(ports.map((port, index) => startUpstream(port, `Answer of upstream ${index + 1}.`)));
}
