import * as fc from "fast-check";
import { describe, it } from "vitest";
import { fromUtf8, utf8 } from "../../src/base/bytes.js";
import { createSplitter, type SseEvent } from "../../src/gateway/sse.js";
import { deep, seed } from "../support/deep.js";

function split(chunks: readonly Uint8Array[]): { events: SseEvent[]; rest: string } {
  const splitter = createSplitter();
  const events = chunks.flatMap((chunk) => [...splitter.push(chunk)]);
  return { events, rest: fromUtf8(splitter.rest()) };
}

const texts = (events: readonly SseEvent[]) => events.map((event) => fromUtf8(event.bytes));

describe("createSplitter", () => {
  it("ends events at blank lines of any kind and reads their fields", ({ expect }) => {
    const { events, rest } = split([
      utf8("data: a\n\nevent: error\r\ndata: b\r\ndata:c\r\n\r\n: note\n\ndata\r\rdata: x"),
    ]);
    expect(texts(events)).toEqual([
      "data: a\n\n",
      "event: error\r\ndata: b\r\ndata:c\r\n\r\n",
      ": note\n\n",
      "data\r\r",
    ]);
    expect(events.map(({ name, data }) => [name, data])).toEqual([
      [null, "a"],
      ["error", "b\nc"],
      [null, null],
      [null, ""],
    ]);
    expect(rest).toBe("data: x");
  });

  it("waits for the byte after a CR that may belong to it", ({ expect }) => {
    const splitter = createSplitter();
    expect(splitter.push(utf8("data: a\r\n\r"))).toEqual([]);
    expect(texts(splitter.push(utf8("\ndata: b\r\r")))).toEqual(["data: a\r\n\r\n"]);
    expect(texts(splitter.push(utf8("d")))).toEqual(["data: b\r\r"]);
    expect(fromUtf8(splitter.rest())).toBe("d");
  });

  it("gives the same events however the bytes are cut, and loses and adds none", ({ expect }) => {
    const line = fc.oneof(
      fc.constantFrom("data: [DONE]", 'data: {"a":"é世"}', ": ping", "event: error", "id: 1", "", "", ""),
      fc.string({ unit: "binary" }).map((text) => text.toWellFormed().replaceAll(/[\r\n]/g, "")),
    );
    const ending = fc.constantFrom("\n", "\r\n", "\r");
    const stream = fc.array(fc.tuple(line, ending)).map((lines) => lines.flat().join(""));
    fc.assert(
      fc.property(stream, fc.array(fc.nat(400), { maxLength: 20 }), (text, cuts) => {
        const bytes = utf8(text);
        const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length];
        const chunks = places.slice(1).map((place, index) => bytes.subarray(places[index], place));
        const cut = split(chunks);
        const whole = split([bytes]);
        expect(texts(cut.events)).toEqual(texts(whole.events));
        expect(cut.events.map(({ data, name }) => [data, name])).toEqual(
          whole.events.map(({ data, name }) => [data, name]),
        );
        expect(texts(cut.events).join("") + cut.rest).toBe(text);
      }),
      { numRuns: deep(300, 20_000), seed: seed() },
    );
  });
});
