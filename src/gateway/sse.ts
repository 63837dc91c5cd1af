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
const decoder = new TextDecoder();

/** A splitter for one stream. */
export function createSplitter(): SseSplitter {
  const parts: Uint8Array[] = [];
  const boundary = createBoundary();
  let size = 0;

  function take(last: Uint8Array): SseEvent {
    const bytes = join(parts, size, last);
    parts.length = 0;
    size = 0;
    return readEvent(bytes);
  }

  return {
    push(chunk) {
      const events: SseEvent[] = [];
      let start = 0;
      let index = 0;
      while (index < chunk.length) {
        const byte = chunk[index] ?? 0;
        if (boundary.endsBefore(byte)) {
          events.push(take(chunk.subarray(start, index)));
          start = index;
        }
        const isOver = boundary.endsWith(byte);
        // Within a line only its end matters.
        index = byte === lineFeed || byte === carriageReturn ? index + 1 : findLineEnd(chunk, index + 1);
        if (isOver) {
          events.push(take(chunk.subarray(start, index)));
          start = index;
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

interface Boundary {
  /** Whether the event was over before this byte: its blank line ended in a CR that this byte is no part of. */
  endsBefore(byte: number): boolean;
  /** Takes the byte; whether the event is over with it. */
  endsWith(byte: number): boolean;
}

function findLineEnd(chunk: Uint8Array, from: number): number {
  let index = from;
  while (index < chunk.length && chunk[index] !== lineFeed && chunk[index] !== carriageReturn) {
    index += 1;
  }
  return index;
}

/** Finds blank lines. Lines end with LF, CR LF or CR (WHATWG HTML §9.2.6), so a CR waits for the next byte. */
function createBoundary(): Boundary {
  let isLineEmpty = true;
  let isAfterReturn = false;
  let isOverAfterReturn = false;
  return {
    endsBefore(byte) {
      const isOver = isOverAfterReturn && byte !== lineFeed;
      if (isOver) {
        isOverAfterReturn = false;
        isAfterReturn = false;
      }
      return isOver;
    },
    endsWith(byte) {
      if (byte === lineFeed && isAfterReturn) {
        const isOver = isOverAfterReturn;
        isAfterReturn = false;
        isOverAfterReturn = false;
        return isOver;
      }
      const isLineEnd = byte === lineFeed || byte === carriageReturn;
      const isBlankLine = isLineEnd && isLineEmpty;
      isLineEmpty = isLineEnd;
      isAfterReturn = byte === carriageReturn;
      isOverAfterReturn = isBlankLine && isAfterReturn;
      return isBlankLine && !isAfterReturn;
    },
  };
}

/** The fields of an event's text; several data lines are joined by a line feed. */
export function readEvent(bytes: Uint8Array): SseEvent {
  const data: string[] = [];
  let name: string | null = null;
  for (const line of decoder.decode(bytes).split(/\r\n|\n|\r/)) {
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
