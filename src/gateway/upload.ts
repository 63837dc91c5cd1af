/** Puts a body together from parts, a large one on its way out: made whole first, 20 MB would be in memory three times. */
import { joinChunks } from "../base/bytes.js";

/** Bytes in order. */
export type Parts = readonly Uint8Array<ArrayBuffer>[];

/** From here on a stream costs less than a copy. */
const largeBytes = 1_048_576;
const sliceBytes = 262_144;

/** What is handed to `fetch`: bytes, or, for a large body, a stream that reads them as they are sent and has their length. Good for one call. */
export function toUpload(parts: Parts): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length < largeBytes) {
    return joinChunks(parts);
  }
  const { readable, writable } = new FixedLengthStream(length);
  // A call that ends before its body has been sent says so itself.
  void send(parts, writable.getWriter()).catch(() => undefined);
  return readable;
}

async function send(parts: Parts, writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
  for (const part of parts) {
    for (let at = 0; at < part.length; at += sliceBytes) {
      await writer.write(part.subarray(at, at + sliceBytes));
    }
  }
  await writer.close();
}
