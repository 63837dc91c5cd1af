/** Takes bytes from a stream, as many at once as have come. Read in the ordinary way the platform gives 4 KiB at most, and every read is an entry into the isolate. */

/** The bytes of one stream. One read at a time; each rejects as the stream does. */
export interface Intake {
  /** Bytes kept so far. */
  kept(): number;
  /** Waits for bytes and keeps them; false at the end. */
  keep(): Promise<boolean>;
  /** All that was kept, in order. Not to be asked for while a read is under way. */
  bytes(): Uint8Array<ArrayBuffer>;
  /** Waits for bytes and gives them away; null at the end. */
  pass(): Promise<Uint8Array | null>;
  /** Lets the stream go. */
  cancel(): void;
}

const firstRoom = 16_384;
/** Of a length that is only announced no more is taken at first: a sender can announce much and send nothing. */
const maxFirstRoom = 65_536;
/** When so much would be needed, all that was announced is taken: a larger buffer costs more to copy into another than it saves. */
const maxGrownRoom = 1_048_576;

/**
 * Opens a stream. `announced`: how many bytes it will have, or null where nobody says; it may have more or less. `reserve` is told
 * of every buffer beyond the first 64 KiB before it is taken, and may throw.
 */
export function openIntake(
  source: ReadableStream<Uint8Array>,
  announced: number | null,
  reserve: (bytes: number) => void = () => undefined,
): Intake {
  const reader = openReader(source);
  let buffer = new ArrayBuffer(Math.min(maxFirstRoom, announced ?? firstRoom) || firstRoom);
  let size = 0;
  let spare: ArrayBuffer | null = null;

  function roomFor(bytes: number): void {
    if (size + bytes > buffer.byteLength) {
      const doubled = Math.max(size + bytes, 2 * buffer.byteLength);
      const isEnough = announced !== null && announced >= size + bytes;
      const room = !isEnough ? doubled : doubled > maxGrownRoom ? announced : Math.min(doubled, announced);
      reserve(room);
      buffer = buffer.transfer(room);
    }
  }

  async function keep(): Promise<boolean> {
    roomFor(1);
    const piece = await reader.read(new Uint8Array(buffer, size));
    if (piece.isOwn) {
      buffer = piece.bytes.buffer;
    } else {
      roomFor(piece.bytes.length);
      new Uint8Array(buffer).set(piece.bytes, size);
    }
    size += piece.bytes.length;
    return piece.bytes.length > 0;
  }

  async function pass(): Promise<Uint8Array | null> {
    const room = spare ?? new ArrayBuffer(firstRoom);
    spare = null;
    const piece = await reader.read(new Uint8Array(room));
    if (piece.isOwn && piece.bytes.length < firstRoom / 2) {
      // A small piece would hold on to all of the buffer for as long as it lives.
      spare = piece.bytes.buffer;
      return piece.bytes.length === 0 ? null : piece.bytes.slice();
    }
    return piece.bytes.length === 0 ? null : piece.bytes;
  }

  return {
    kept: () => size,
    keep,
    bytes: () => new Uint8Array(buffer, 0, size),
    pass,
    cancel: () => void reader.cancel().catch(() => undefined),
  };
}

/** Bytes as they came, none at the end; `isOwn`: in the buffer that was handed over, which must be used no more under its old name. */
type Piece =
  | { readonly isOwn: true; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly isOwn: false; readonly bytes: Uint8Array };

interface Reader {
  read(room: Uint8Array<ArrayBuffer>): Promise<Piece>;
  cancel(): Promise<void>;
}

/** What comes from the network can be read into a buffer of ours; a stream that was made by a program may give its own chunks only. */
function openReader(source: ReadableStream<Uint8Array>): Reader {
  const reader = readIntoBuffer(source);
  return reader === null ? chunkReader(source.getReader()) : bufferReader(reader);
}

function readIntoBuffer(source: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | null {
  try {
    return source.getReader({ mode: "byob" });
  } catch (error) {
    if (error instanceof TypeError && !source.locked) {
      return null;
    }
    throw error;
  }
}

function bufferReader(reader: ReadableStreamBYOBReader): Reader {
  return {
    async read(room) {
      const { value } = await reader.read(room);
      if (value === undefined) {
        throw new TypeError("the stream was cancelled");
      }
      return { isOwn: true, bytes: value };
    },
    cancel: () => reader.cancel(),
  };
}

const none = new Uint8Array();

function chunkReader(reader: ReadableStreamDefaultReader<Uint8Array>): Reader {
  return {
    async read() {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || value.length > 0) {
          return { isOwn: false, bytes: value ?? none };
        }
      }
    },
    cancel: () => reader.cancel(),
  };
}
