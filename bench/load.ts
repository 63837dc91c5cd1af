/**
 * The callers, a process of their own: keep-alive connections that each send the same call again as soon as it is answered. On bare sockets:
 * autocannon's client costs some 60 µs a call on the machine that this was written on, this one 15. Takes orders by IPC, answers figures.
 */
import { connect, type Socket } from "node:net";
import { performance } from "node:perf_hooks";

/** What to send where, from how many callers, for how long. */
export interface Order {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly callers: number;
  readonly seconds: number;
  /** Ends the run earlier, after so many calls. */
  readonly calls?: number;
}

/** What was seen. Times are milliseconds; `firstByte` is until the first byte of the body. */
export interface Seen {
  readonly calls: number;
  readonly failures: number;
  /** What the first failure said. */
  readonly failure: string | null;
  readonly seconds: number;
  readonly total: Spread;
  readonly firstByte: Spread;
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
}

interface Run {
  readonly order: Order;
  readonly request: Buffer;
  readonly isStream: boolean;
  readonly totals: number[];
  readonly firstBytes: number[];
  failures: number;
  failure: string | null;
  left: number;
  until: number;
}

const headEnd = Buffer.from("\r\n\r\n");
const chunkedEnd = Buffer.from("0\r\n\r\n");
const done = Buffer.from("[DONE]");
/** A stream's last event and its end stand within this. */
const tailBytes = 64;

function run(order: Order): Promise<Seen> {
  const lines = Object.entries({
    host: `127.0.0.1:${order.port}`,
    ...order.headers,
    "content-length": Buffer.byteLength(order.body),
  });
  const head = [`POST ${order.path} HTTP/1.1`];
  const text = [...head, ...lines.map(([name, value]) => `${name}: ${value}`)].join("\r\n");
  const state: Run = {
    order,
    request: Buffer.from(`${text}\r\n\r\n${order.body}`),
    isStream: order.body.includes('"stream":true'),
    totals: [],
    firstBytes: [],
    failures: 0,
    failure: null,
    left: order.calls ?? Infinity,
    until: performance.now() + order.seconds * 1000,
  };
  const begun = performance.now();
  return Promise.all(Array.from({ length: order.callers }, () => runCaller(state))).then(() => ({
    calls: state.totals.length,
    failures: state.failures,
    failure: state.failure,
    seconds: (performance.now() - begun) / 1000,
    total: spreadOf(state.totals),
    firstByte: spreadOf(state.firstBytes),
  }));
}

function spreadOf(times: readonly number[]): Spread {
  const sorted = Float64Array.from(times).toSorted();
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

/** One caller until the run is over. A connection that breaks is a failure, and the caller goes on with another. */
async function runCaller(state: Run): Promise<void> {
  while (state.left > 0 && performance.now() < state.until) {
    await useConnection(state);
  }
}

interface Call {
  sentAt: number;
  firstByteAt: number;
  head: Buffer | null;
  /** Bytes of the body that are to come; null when it is chunked. */
  left: number | null;
  tail: Buffer;
}

function useConnection(state: Run): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port: state.order.port, host: "127.0.0.1", noDelay: true });
    const call: Call = { sentAt: 0, firstByteAt: 0, head: null, left: 0, tail: Buffer.alloc(0) };
    const sendNext = (): void => {
      if (state.left <= 0 || performance.now() >= state.until) {
        socket.destroy();
        return;
      }
      state.left -= 1;
      Object.assign(call, { sentAt: performance.now(), firstByteAt: 0, head: Buffer.alloc(0), left: 0 });
      socket.write(state.request);
    };
    socket.once("connect", sendNext);
    socket.on("data", (data) => {
      if (takeAnswer(state, call, data, socket)) {
        sendNext();
      }
    });
    socket.once("error", (error) => fail(state, error.message));
    socket.once("close", () => {
      if (call.head !== null || call.left !== 0) {
        fail(state, "the connection was closed in mid-answer");
      }
      resolve();
    });
  });
}

function fail(state: Run, why: string): void {
  state.failures += 1;
  state.failure ??= why;
}

/** Takes bytes of an answer; true when it is whole. */
function takeAnswer(state: Run, call: Call, data: Buffer, socket: Socket): boolean {
  let body = data;
  if (call.head !== null) {
    const whole = call.head.length === 0 ? data : Buffer.concat([call.head, data]);
    const end = whole.indexOf(headEnd);
    if (end < 0) {
      call.head = whole;
      return false;
    }
    const text = whole.toString("latin1", 0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
    call.head = null;
    call.left = length === undefined ? null : Number(length);
    call.tail = Buffer.alloc(0);
    body = whole.subarray(end + headEnd.length);
    if (!text.startsWith("HTTP/1.1 200")) {
      fail(state, `${text.slice(0, 100)} ${body.toString("utf8").slice(0, 300)}`);
      call.left = 0;
      socket.destroy();
      return false;
    }
  }
  if (body.length > 0 && call.firstByteAt === 0) {
    call.firstByteAt = performance.now();
  }
  if (call.left === null) {
    call.tail =
      body.length >= tailBytes ? body.subarray(-tailBytes) : Buffer.concat([call.tail, body]).subarray(-tailBytes);
    if (!call.tail.subarray(-chunkedEnd.length).equals(chunkedEnd)) {
      return false;
    }
    if (state.isStream && !call.tail.includes(done)) {
      fail(state, "a stream ended without [DONE]");
    }
    call.left = 0;
  } else {
    call.left -= body.length;
    if (call.left > 0) {
      return false;
    }
  }
  const now = performance.now();
  state.totals.push(now - call.sentAt);
  state.firstBytes.push((call.firstByteAt === 0 ? now : call.firstByteAt) - call.sentAt);
  return true;
}

process.on("message", (order: Order) => {
  void run(order).then((seen) => process.send?.(seen));
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
