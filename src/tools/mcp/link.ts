/** The SDK's transport with request ids that no other call of the same session uses, and an end for requests whose stream ends without an answer. */
import type {
  JSONRPCMessage,
  StreamableHTTPClientTransport,
  Transport,
  TransportSendOptions,
} from "@modelcontextprotocol/client";

/**
 * A session outlives the request that opened it and is shared by all calls of an isolate, but the SDK numbers the requests
 * of each client from 0; a server that answers two requests with one id may mix up who gets which answer.
 */
export class Link implements Transport {
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: Transport["onmessage"];
  readonly hasPerRequestStream = true;
  readonly #inner: StreamableHTTPClientTransport;
  readonly #offset = (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) * idsPerCall;
  readonly #waiting = new Set<number>();
  readonly #lost: () => void;

  /** `lost` is called when the answer's stream ends for good before the answer. */
  constructor(inner: StreamableHTTPClientTransport, lost: () => void) {
    this.#inner = inner;
    this.#lost = lost;
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion(version);
  }

  async start(): Promise<void> {
    const heard: Pick<Transport, "onclose" | "onerror" | "onmessage"> = {
      onclose: () => this.onclose?.(),
      onerror: (error) => this.onerror?.(error),
      onmessage: (message) => {
        const received = this.#toOurs(message);
        if (!("method" in received) && typeof received.id === "number") {
          this.#waiting.delete(received.id);
        }
        this.onmessage?.(received);
      },
    };
    Object.assign(this.#inner, heard);
    await this.#inner.start();
  }

  async send(message: JSONRPCMessage, options: TransportSendOptions = {}): Promise<void> {
    if (!("method" in message) || !("id" in message) || typeof message.id !== "number") {
      await this.#inner.send(this.#toTheirs(message), given(options));
      return;
    }
    const { id } = message;
    this.#waiting.add(id);
    const onRequestStreamEnd = (): void => {
      options.onRequestStreamEnd?.();
      if (this.#waiting.delete(id)) {
        this.#lost();
      }
    };
    await this.#inner.send(this.#toTheirs(message), { ...given(options), onRequestStreamEnd });
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  /** Ids and progress tokens as the server sees them. Only our own requests are renumbered; what answers the server's keeps its id. */
  #toTheirs(message: JSONRPCMessage): JSONRPCMessage {
    if (!("method" in message)) {
      return message;
    }
    const shifted = shiftParams(message, this.#offset);
    return "id" in shifted && typeof shifted.id === "number" ? { ...shifted, id: shifted.id + this.#offset } : shifted;
  }

  #toOurs(message: JSONRPCMessage): JSONRPCMessage {
    if ("method" in message) {
      return message.method === "notifications/progress" ? shiftParams(message, -this.#offset) : message;
    }
    return typeof message.id === "number" ? { ...message, id: message.id - this.#offset } : message;
  }
}

/** The options that are set: the SDK's own types tell an absent one from an undefined one. */
function given(options: TransportSendOptions) {
  const { resumptionToken, onresumptiontoken, requestSignal, headers } = options;
  return {
    ...(resumptionToken === undefined ? {} : { resumptionToken }),
    ...(onresumptiontoken === undefined ? {} : { onresumptiontoken }),
    ...(requestSignal === undefined ? {} : { requestSignal }),
    ...(headers === undefined ? {} : { headers }),
  };
}

/** More than one call can need. Offsets stay below 2^53. */
const idsPerCall = 1_024;

type Spoken = Extract<JSONRPCMessage, { method: string }>;

function shiftParams<T extends Spoken>(message: T, offset: number): T {
  const { params } = message;
  if (params === undefined) {
    return message;
  }
  const shifted: Record<string, unknown> = { ...params };
  if (message.method === "notifications/cancelled" && typeof shifted["requestId"] === "number") {
    shifted["requestId"] += offset;
  }
  if (message.method === "notifications/progress" && typeof shifted["progressToken"] === "number") {
    shifted["progressToken"] += offset;
  }
  const meta = params["_meta"];
  if (typeof meta?.progressToken === "number") {
    shifted["_meta"] = { ...meta, progressToken: meta.progressToken + offset };
  }
  return { ...message, params: shifted };
}
