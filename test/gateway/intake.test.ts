import * as fc from "fast-check";
import { describe, it } from "vitest";
import { equalBytes, joinChunks } from "../../src/base/bytes.js";
import { type Intake, openIntake } from "../../src/gateway/intake.js";
import { toUpload } from "../../src/gateway/upload.js";
import { deep, seed } from "../support/deep.js";
import { fakeStream } from "./fake-stream.js";

/** Bytes as the network brings them: into the reader's own buffer. */
function fromNetwork(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> {
  const { body } = new Response(bytes);
  if (body === null) {
    throw new Error("no body");
  }
  return body;
}

function numbered(size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, index) => index * 31 + (index >> 8));
}

async function keepAll(intake: Intake): Promise<Uint8Array<ArrayBuffer>> {
  while (await intake.keep()) {
    // All of it is wanted.
  }
  return intake.bytes();
}

async function passAll(intake: Intake): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  for (let piece = await intake.pass(); piece !== null; piece = await intake.pass()) {
    pieces.push(piece);
  }
  return joinChunks(pieces);
}

describe("openIntake", () => {
  it("gives what came, whatever was announced and however it was cut", async ({ expect }) => {
    const announcement = fc.option(fc.nat(200_000), { nil: null });
    const cuts = fc.array(fc.nat(40_000), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.nat(150_000), announcement, cuts, fc.nat(3), async (size, announced, sizes, keeps) => {
        const bytes = numbered(size);
        const chunks = [...sizes, size].map((_, index) => {
          const from = sizes.slice(0, index).reduce((sum, part) => sum + part, 0);
          return bytes.subarray(from, index === sizes.length ? size : from + (sizes[index] ?? 0));
        });
        for (const source of [() => fromNetwork(bytes), () => fakeStream(chunks).body]) {
          expect(equalBytes(await keepAll(openIntake(source(), announced)), bytes)).toBe(true);
          const partly = openIntake(source(), announced);
          for (let index = 0; index < keeps; index += 1) {
            await partly.keep();
          }
          const beginning = partly.bytes().slice();
          expect(equalBytes(joinChunks([beginning, await passAll(partly)]), bytes)).toBe(true);
        }
      }),
      { numRuns: deep(40, 1_000), seed: seed() },
    );
  });

  it("reads a body of 1 MB from the network in few reads, not one for each 4 KiB", async ({ expect }) => {
    const bytes = numbered(1_000_000);
    const intake = openIntake(fromNetwork(bytes), bytes.length);
    let reads = 0;
    while (intake.kept() < bytes.length) {
      await intake.keep();
      reads += 1;
    }
    expect(equalBytes(intake.bytes(), bytes)).toBe(true);
    expect(reads).toBeLessThan(40);
  });

  it("takes no room for what is announced and does not come", async ({ expect }) => {
    const intake = openIntake(fakeStream(["x"]).body, 20_000_000);
    await intake.keep();
    expect(intake.bytes().buffer.byteLength).toBeLessThanOrEqual(65_536);
  });

  it("says what room it takes before it takes it, and takes none that it is refused", async ({ expect }) => {
    const rooms: number[] = [];
    const chunks = Array.from({ length: 12 }, () => numbered(100_000));
    const whole = openIntake(fakeStream(chunks).body, 5_000_000, (bytes) => rooms.push(bytes));
    await keepAll(whole);
    expect(rooms.slice(0, 3)).toEqual([131_072, 262_144, 524_288]);
    expect(rooms.at(-1)).toBe(5_000_000);
    const refusing = openIntake(fakeStream(chunks).body, 5_000_000, (bytes) => {
      if (bytes > 1_000_000) {
        throw new Error("no room");
      }
    });
    await expect(keepAll(refusing)).rejects.toThrow("no room");
    expect(refusing.bytes().buffer.byteLength).toBeLessThan(1_000_000);
  });

  it("does not let a small piece hold a large buffer", async ({ expect }) => {
    const intake = openIntake(fromNetwork(numbered(100)), null);
    const piece = await intake.pass();
    expect(piece?.buffer.byteLength).toBe(100);
    expect(await intake.pass()).toBeNull();
  });

  it("fails as its stream does, and lets it go", async ({ expect }) => {
    await expect(keepAll(openIntake(fakeStream(["x"], "error").body, null))).rejects.toThrow("connection lost");
    const source = fakeStream(["x"], "silence");
    const intake = openIntake(source.body, null);
    await intake.keep();
    intake.cancel();
    await source.cancelled;
  });
});

describe("toUpload", () => {
  it("sends its parts in order with their length, each time anew, a large body without putting it together", async ({
    expect,
  }) => {
    for (const size of [0, 5, 1_048_575, 1_048_576, 3_000_001]) {
      const bytes = numbered(size);
      const parts = [bytes.subarray(0, 3), bytes.subarray(3, 3), bytes.subarray(3)];
      for (const upload of [toUpload(parts), toUpload(parts)]) {
        expect(upload instanceof ReadableStream).toBe(size >= 1_048_576);
        const request = new Request("https://upstream.test/", { method: "POST", body: upload });
        expect(equalBytes(new Uint8Array(await request.arrayBuffer()), bytes), `${size} bytes`).toBe(true);
      }
    }
  });

  it("is let go when the call ends before its body has been sent", async ({ expect }) => {
    const upload = toUpload([numbered(3_000_000)]);
    const reader = upload instanceof ReadableStream ? upload.getReader() : null;
    expect((await reader?.read())?.value?.length).toBeGreaterThan(0);
    await reader?.cancel();
    expect((await reader?.read())?.done).toBe(true);
  });
});
