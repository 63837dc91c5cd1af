/**
 * The upstream of every contestant, a process of its own: answers a chat call with one fixed JSON body, or with a stream of 20 chunks
 * for a body that says `"stream":true`. Written on bare sockets, since an HTTP server would cost as much as what is measured. Prints its port.
 */
import { createServer, type Socket } from "node:net";

const streamChunks = 20;
/** A small body comes in one piece; where it says what it wants stands at its beginning. */
const sniffedBytes = 4096;
const headEnd = Buffer.from("\r\n\r\n");
const wantsStream = Buffer.from('"stream":true');

const completion = JSON.stringify({
  id: "chatcmpl-bench",
  object: "chat.completion",
  created: 1_700_000_000,
  model: "bench-model",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "Twenty words of an answer, more or less. ".repeat(6), refusal: null },
      logprobs: null,
      finish_reason: "stop",
    },
  ],
  usage: { prompt_tokens: 24, completion_tokens: 60, total_tokens: 84 },
});

const json = answer(completion);
const models = answer(JSON.stringify({ object: "list", data: [{ id: "bench-model", object: "model" }] }));

const streamHead = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
);

/** Nineteen chunks of the answer, of which the last says why it ended, and `[DONE]`. */
const events = Array.from({ length: streamChunks }, (_, index) => {
  const isFinish = index === streamChunks - 2;
  const chunk = {
    id: "chatcmpl-bench",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model: "bench-model",
    choices: [
      { index: 0, delta: isFinish ? {} : { content: `word ${index} ` }, finish_reason: isFinish ? "stop" : null },
    ],
  };
  const data = index === streamChunks - 1 ? "[DONE]" : JSON.stringify(chunk);
  return frame(`data: ${data}\n\n`);
});
const streamEnd = Buffer.from("0\r\n\r\n");

function answer(body: string): Buffer {
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}`;
  return Buffer.from(`${head}\r\n\r\n${body}`);
}

function frame(text: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
}

/** Each chunk leaves in a turn of its own, as a model's tokens do. */
function sendStream(socket: Socket, next = 0): void {
  if (socket.destroyed) {
    return;
  }
  const event = events[next];
  if (event === undefined) {
    socket.write(streamEnd);
    return;
  }
  socket.write(next === 0 ? Buffer.concat([streamHead, event]) : event);
  setImmediate(sendStream, socket, next + 1);
}

interface Connection {
  readonly socket: Socket;
  /** What has come of a request's head; null while its body is read. */
  head: Buffer | null;
  /** Bytes of the body that are still to come; null for a chunked body, which ends with its own mark. */
  left: number | null;
  answer: "json" | "stream" | "models";
}

/** Reads requests off a connection, one after the other; answers each when its body is whole. */
function serve(socket: Socket): void {
  const connection: Connection = { socket, head: Buffer.alloc(0), left: 0, answer: "json" };
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (data) => take(connection, data));
}

function take(connection: Connection, data: Buffer): void {
  if (connection.head !== null) {
    const whole = connection.head.length === 0 ? data : Buffer.concat([connection.head, data]);
    const end = whole.indexOf(headEnd);
    if (end < 0) {
      connection.head = whole;
      return;
    }
    const text = whole.toString("latin1", 0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
    const isChunked = length === undefined && /\r\ntransfer-encoding: *chunked/i.test(text);
    connection.head = null;
    connection.left = isChunked ? null : Number(length ?? "0");
    connection.answer = text.startsWith("GET ") ? "models" : "json";
    takeBody(connection, whole.subarray(end + headEnd.length));
  } else {
    takeBody(connection, data);
  }
}

function takeBody(connection: Connection, data: Buffer): void {
  if (data.subarray(0, sniffedBytes).includes(wantsStream)) {
    connection.answer = "stream";
  }
  if (connection.left === null ? !data.subarray(-streamEnd.length).equals(streamEnd) : data.length < connection.left) {
    connection.left = connection.left === null ? null : connection.left - data.length;
    return;
  }
  connection.head = Buffer.alloc(0);
  if (connection.answer === "stream") {
    sendStream(connection.socket);
  } else {
    connection.socket.write(connection.answer === "json" ? json : models);
  }
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.({ port: typeof address === "object" ? address?.port : null });
});
process.on("disconnect", () => process.exit(0));
