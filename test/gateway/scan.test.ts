import * as fc from "fast-check";
import { describe, it } from "vitest";
import { fromUtf8, joinChunks, utf8 } from "../../src/base/bytes.js";
import { AppError } from "../../src/base/errors.js";
import { maxDepth } from "../../src/gateway/json.js";
import { scanBody, splice } from "../../src/gateway/scan.js";
import { deep, seed } from "../support/deep.js";
import { endpointOf } from "./fake-stream.js";

const runs = { numRuns: deep(300, 20_000), seed: seed() };
const nested = (depth: number) => `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;
const names = endpointOf("chat/completions").fields;
const scan = (text: string) => scanBody(utf8(text), names);

function codeOf(act: () => unknown): string {
  try {
    act();
    return "accepted";
  } catch (error) {
    return error instanceof AppError ? error.code : "crashed";
  }
}

function parses(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function spliced(text: string, model = "upstream-model", streamUsage = true) {
  const body = utf8(text);
  const result = splice(body, scanBody(body, names), { model, streamUsage, cap: null });
  return { text: fromUtf8(joinChunks(result.parts)), usageAdded: result.usageAdded, same: result.parts[0] === body };
}

describe("scanBody", () => {
  it("finds the caller's user where Anthropic's wire has it", ({ expect }) => {
    const body = utf8('{"user":"no","model":"m","metadata":{"a":{"user_id":"no"},"user_id":"ada"}}');
    expect(scanBody(body, endpointOf("messages").fields).fields.user?.value).toBe("ada");
    expect(scanBody(body, names).fields.user?.value).toBe("no");
  });

  it("gives the values of the fields we read and leaves all else unread", ({ expect }) => {
    const found = scan(
      '{"messages":[{"model":"inner"}],"model":"mix","stream":true,"max_tokens":12,"n":1e0,"user":"u\\u00e9","stream_options":{"a":[1]}}',
    );
    expect(found.fields.model?.value).toBe("mix");
    expect(found.fields.stream?.value).toBe(true);
    expect(found.fields.max_tokens?.value).toBe(12);
    expect(found.fields.n?.value).toBe(1);
    expect(found.fields.user?.value).toBe("ué");
    expect(found.fields.stream_options?.value).toBeUndefined();
    expect(found.fields.max_completion_tokens).toBeUndefined();
    expect(found.includeUsage).toBeUndefined();
  });

  it("finds a field whose name is written with escapes", ({ expect }) => {
    expect(scan('{"\\u006d\\u006fdel":"a"}').fields.model?.value).toBe("a");
    expect(scan('{"\\u006d\\u006f\\u0064\\u0065\\u006c":"a"}').fields.model?.value).toBe("a");
  });

  it("refuses a repeated field that we read, however its name is written", ({ expect }) => {
    expect(codeOf(() => scan('{"model":"a","model":"b"}'))).toBe("repeated_field");
    expect(codeOf(() => scan('{"model":"a","m\\u006fdel":"b"}'))).toBe("repeated_field");
    expect(codeOf(() => scan('{"stream_options":{"include_usage":true,"include_usage":false}}'))).toBe(
      "repeated_field",
    );
    expect(codeOf(() => scan('{"temperature":1,"temperature":2}'))).toBe("accepted");
  });

  it("refuses every text that is not one JSON object", ({ expect }) => {
    const bad = [
      "",
      " ",
      "[]",
      "1",
      '"a"',
      "null",
      "{",
      "}",
      '{"a"}',
      '{"a":}',
      '{"a":1,}',
      "{,}",
      '{"a":1}x',
      '{"a":1}{}',
      "{'a':1}",
    ];
    const values = [
      "01",
      "1.",
      ".5",
      "+1",
      "1e",
      "-",
      "tru",
      "nul",
      "NaN",
      '"a',
      '"\\x"',
      '"\\u12g4"',
      '"\n"',
      "[1,]",
      "[1",
      "[1}",
      "{]",
      "1 2",
    ];
    for (const text of [...bad, ...values.map((value) => `{"a":${value}}`), "\uFEFF{}"]) {
      expect(
        codeOf(() => scan(text)),
        text,
      ).toBe("malformed_json");
    }
  });

  it("accepts nesting up to the cap and refuses more", ({ expect }) => {
    expect(codeOf(() => scan(nested(maxDepth - 1)))).toBe("accepted");
    expect(codeOf(() => scan(nested(maxDepth)))).toBe("malformed_json");
    expect(codeOf(() => scan(nested(100_000)))).toBe("malformed_json");
    expect(codeOf(() => scan(`{"a":${"[".repeat(100_000)}`))).toBe("malformed_json");
  });

  it("refuses invalid UTF-8 in a field we read", ({ expect }) => {
    const body = utf8('{"model":"a?"}');
    body[body.indexOf(0x3f)] = 0xff;
    expect(codeOf(() => scanBody(body, names))).toBe("malformed_json");
  });

  it("accepts exactly what JSON.parse accepts as an object, on any value and any damage to it", ({ expect }) => {
    console.log(`scan seed ${runs.seed}`);
    const damaged = fc
      .record({
        text: fc.json({ maxDepth: 4 }),
        at: fc.nat(),
        cut: fc.nat(3),
        put: fc.constantFrom("", '"', "{", "}", "[", "]", ",", ":", "\\", "1", "e", "-", " ", "\n"),
      })
      .map(
        ({ text, at, cut, put }) =>
          text.slice(0, at % (text.length + 1)) + put + text.slice((at % (text.length + 1)) + cut),
      );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          damaged,
          damaged.map((text) => `{"model":${text}}`),
        ),
        (text) => {
          const isRepeated = /model/.test(text);
          const code = codeOf(() => scan(text.toWellFormed()));
          expect(code === "accepted" || (isRepeated && code === "repeated_field")).toBe(parses(text.toWellFormed()));
        },
      ),
      runs,
    );
  });

  it("reads the same value as JSON.parse for every field, wherever it stands", ({ expect }) => {
    const value = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
    );
    const name = fc.constantFrom("model", "stream", "max_tokens", "n", "user", "other", "messages");
    fc.assert(
      fc.property(fc.dictionary(name, fc.oneof(value, fc.jsonValue())), fc.nat(3), (object, indent) => {
        const text = JSON.stringify(object, null, indent).toWellFormed();
        const parsed = JSON.parse(text) as Record<string, unknown>;
        const { fields } = scan(text);
        for (const field of ["model", "stream", "max_tokens", "n", "user"] as const) {
          const expected = typeof parsed[field] === "object" && parsed[field] !== null ? undefined : parsed[field];
          expect(fields[field]?.value).toEqual(expected);
          expect(field in fields).toBe(field in parsed);
        }
      }),
      runs,
    );
  });
});

describe("splice", () => {
  it("caps the output where the caller did not, and only there", ({ expect }) => {
    const cap = { field: "max_tokens", tokens: 77 } as const;
    const capped = (text: string) =>
      fromUtf8(joinChunks(splice(utf8(text), scan(text), { model: "m", streamUsage: false, cap }).parts));
    expect(capped('{"n":1, "model" : "mix" }')).toBe('{"n":1, "model" : "m","max_tokens":77 }');
    expect(capped('{"model":"m","n":1}')).toBe('{"model":"m","max_tokens":77,"n":1}');
    expect(capped('{"max_tokens":null,"model":"mix"}')).toBe('{"max_tokens":77,"model":"m"}');
    for (const odd of ["-1", '"9000"', "true", "{}", "[1]"]) {
      expect(capped(`{"max_tokens":${odd},"model":"m"}`)).toBe('{"max_tokens":77,"model":"m"}');
    }
    expect(capped('{"max_tokens":5,"model":"m"}')).toBe('{"max_tokens":5,"model":"m"}');
  });

  it("replaces the model and keeps every other byte", ({ expect }) => {
    const text = '{ "temperature" : 1.0e0,\n"model":"mix" , "messages":[{"content":"\\u0041 \\/ é","x":1e400}]}';
    expect(spliced(text).text).toBe(text.replace('"mix"', '"upstream-model"'));
  });

  it("gives the very same bytes when nothing has to change", ({ expect }) => {
    expect(spliced('{"model":"upstream-model"}').same).toBe(true);
    expect(spliced('{"model":"upstream-model","stream":true,"stream_options":{"include_usage":true}}')).toMatchObject({
      same: true,
      usageAdded: false,
    });
  });

  it("asks a stream for its usage, whatever the caller's options are, and remembers who asked", ({ expect }) => {
    const cases: [string, unknown, boolean][] = [
      ['{"model":"m","stream":true}', { include_usage: true }, true],
      ['{"stream":true,"model":"m","stream_options":null}', { include_usage: true }, true],
      ['{"stream":true,"model":"m","stream_options":{ }}', { include_usage: true }, true],
      ['{"stream":true,"model":"m","stream_options":{"a":1}}', { include_usage: true, a: 1 }, true],
      [
        '{"stream_options":{"include_usage":false,"a":1},"stream":true,"model":"m"}',
        { include_usage: true, a: 1 },
        true,
      ],
      ['{"stream_options":{"include_usage":"yes"},"stream":true,"model":"m"}', { include_usage: "yes" }, false],
      ['{"stream":true,"model":"m","stream_options":[1]}', [1], false],
      ['{"stream":false,"model":"m"}', undefined, false],
      ['{"model":"m"}', undefined, false],
    ];
    for (const [text, options, usageAdded] of cases) {
      const result = spliced(text);
      expect((JSON.parse(result.text) as { stream_options?: unknown }).stream_options, text).toEqual(options);
      expect(result.usageAdded, text).toBe(usageAdded);
    }
  });

  it("changes only model and stream_options of any object", ({ expect }) => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.string({ unit: "binary" }),
        fc.boolean(),
        fc.nat(2),
        (rest, model, stream, indent) => {
          const { stream_options: _, ...others } = rest;
          const text = JSON.stringify({ ...others, model: "caller's", stream }, null, indent);
          const changed = JSON.parse(spliced(text, model).text) as Record<string, unknown>;
          const original = JSON.parse(text) as Record<string, unknown>;
          const expected = {
            ...original,
            model: model.toWellFormed(),
            ...(stream ? { stream_options: { include_usage: true } } : {}),
          };
          expect(changed).toEqual(expected);
        },
      ),
      runs,
    );
  });
});
