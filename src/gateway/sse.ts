/** Cuts a byte stream into server-sent events, however the chunks fall, and reads what a chat stream's events mean. Bytes are never changed. */

/** One whole event: its bytes with the blank line that ends it, and its fields. Both are null for a mere comment. */
export interface SseEvent {
  readonly bytes: Uint8Array;
  readonly name: string | null;
  readonly data: string | null;
}

/** Takes chunks, gives the events that they complete. */
export interface SseSplitter {
  push(chunk: Uint8Array): readonly SseEvent[];
  /** What has come of an event that is not whole yet. */
  rest(): Uint8Array;
  /** Bytes held for the event that is not whole yet. */
  held(): number;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** A splitter for one stream. Lines end with LF, CR LF or CR (WHATWG HTML §9.2.6); a CR waits for the next byte, which may belong to it. */
export function createSplitter(): SseSplitter {
  const parts: Uint8Array[] = [];
  let size = 0;
  let isLineEmpty = true;
  let afterReturn = false;
  let isComplete = false;

  function take(last: Uint8Array): SseEvent {
    const bytes = join(parts, size, last);
    parts.length = 0;
    size = 0;
    isComplete = false;
    isLineEmpty = true;
    return readEvent(bytes);
  }

  /** Whether an event ended before this byte, which then begins the next one. */
  function endsBefore(byte: number): boolean {
    if (byte === lineFeed && afterReturn) {
      afterReturn = false;
      return false;
    }
    if (isComplete) {
      return true;
    }
    afterReturn = byte === carriageReturn;
    if (byte !== lineFeed && byte !== carriageReturn) {
      isLineEmpty = false;
    } else if (isLineEmpty) {
      isComplete = true;
    } else {
      isLineEmpty = true;
    }
    return false;
  }

  return {
    push(chunk) {
      const events: SseEvent[] = [];
      let start = 0;
      for (let index = 0; index < chunk.length; index += 1) {
        const byte = chunk[index] ?? 0;
        if (endsBefore(byte)) {
          events.push(take(chunk.subarray(start, index)));
          start = index;
          afterReturn = false;
          endsBefore(byte);
        }
        if (isComplete && !afterReturn) {
          events.push(take(chunk.subarray(start, index + 1)));
          start = index + 1;
        }
      }
      if (start < chunk.length) {
        parts.push(chunk.subarray(start));
        size += chunk.length - start;
      }
      return events;
    },
    rest: () => join(parts, size, new Uint8Array()),
    held: () => size,
  };
}

/** The fields of an event's text; several data lines are joined by a line feed. */
export function readEvent(bytes: Uint8Array): SseEvent {
  const data: string[] = [];
  let name: string | null = null;
  for (const line of new TextDecoder().decode(bytes).split(/\r\n|\n|\r/)) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") {
      data.push(value);
    } else if (field === "event") {
      name = value;
    }
  }
  return { bytes, name, data: data.length === 0 ? null : data.join("\n") };
}

function join(parts: readonly Uint8Array[], size: number, last: Uint8Array): Uint8Array {
  if (parts.length === 0) {
    return last;
  }
  const joined = new Uint8Array(size + last.length);
  let at = 0;
  for (const part of [...parts, last]) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
