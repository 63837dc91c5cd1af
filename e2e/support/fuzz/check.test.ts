/** The checks of the run, each shown an answer that it must not let pass. */
import { describe, it } from "vitest";
import { buildChecker, type Exchange } from "./check.ts";
import { readContract } from "./document.ts";

const problem = {
  type: "object",
  properties: { code: { type: "string" }, status: { type: "integer" } },
  required: ["code", "status"],
  additionalProperties: false,
};
const contract = readContract({
  paths: {
    "/things/{id}": {
      get: {
        operationId: "readThing",
        responses: {
          200: { content: { "application/json": { schema: { $ref: "#/components/schemas/Thing" } } } },
          404: { content: { "application/problem+json": { schema: problem } }, "x-error-codes": ["not_found"] },
          503: { content: { "application/problem+json": { schema: problem } } },
        },
      },
    },
  },
  components: {
    schemas: {
      Thing: { type: "object", properties: { id: { type: "string" } }, required: ["id"], additionalProperties: false },
    },
  },
});

const neighbourId = `cred_${"0".repeat(26)}`;
const watched = {
  canaries: { house: ["canary-house"], stranger: ["canary-stranger"], neighbour: ["canary-neighbour"] },
  neighbour: { things: { credential: neighbourId } },
};
const check = buildChecker(contract, watched, ["the-secret"]);

interface Told {
  readonly caller?: Exchange["caller"];
  readonly path?: string;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

function judge({ caller = "owner", path = "/things/a", status = 200, headers = {}, body = { id: "a" } }: Told) {
  const usual = {
    "content-type": status < 400 ? "application/json" : "application/problem+json",
    "x-content-type-options": "nosniff",
    "x-request-id": `req_${"0".repeat(26)}`,
  };
  const answer = { status, headers: { ...usual, ...headers }, body: Buffer.from(JSON.stringify(body)) };
  return check({ caller, sent: { method: "GET", path, headers: {}, body: null }, answer });
}

describe("the checks", () => {
  it("let pass what is right", ({ expect }) => {
    const right: readonly Told[] = [
      {},
      { body: { id: "canary-house" } },
      { caller: "stranger", body: { id: "canary-stranger" } },
      { status: 404, body: { code: "not_found", status: 404 } },
      { path: `/things/${neighbourId}`, body: { id: neighbourId } },
    ];
    expect(right.map(judge)).toEqual(right.map(() => null));
  });

  it.for<[string, Told, RegExp]>([
    ["an undeclared status", { status: 409, body: { code: "conflict", status: 409 } }, /409 is not declared/],
    ["an undeclared code", { status: 404, body: { code: "gone", status: 404 } }, /code gone is not declared/],
    ["an undeclared type", { headers: { "content-type": "text/csv" } }, /text\/csv is not declared/],
    ["a missing field", { body: {} }, /breaks its schema/],
    ["an undeclared field", { body: { id: "a", more: 1 } }, /breaks its schema/],
    [
      "a 5xx of its own making, though declared",
      { status: 503, body: { code: "not_ready", status: 503 } },
      /failed inside/,
    ],
    ["insides", { body: { id: "D1_ERROR: no such table" } }, /shows insides/],
    ["a secret", { body: { id: "it is the-secret" } }, /a secret is in the answer/],
    ["a secret in a header", { headers: { location: "/the-secret" } }, /a secret is in the answer/],
    ["the neighbour's name", { body: { id: "canary-neighbour" } }, /a name of the neighbour/],
    ["the house's name to a stranger", { caller: "strangersKey", body: { id: "canary-house" } }, /of the house/],
    ["the house's name to nobody", { caller: "nobody", body: { id: "canary-house" } }, /of the house/],
    ["the neighbour's id, unasked", { body: { id: neighbourId } }, /the neighbour's cred_/],
    ["a header of the caller's making", { headers: { "x-injected": "1" } }, /of the caller's making/],
    ["an answer without an id", { headers: { "x-request-id": "" } }, /x-request-id/],
    ["an address outside the contract", { path: "/others" }, /outside the contract/],
  ])("stop %s", ([, told, said], { expect }) => {
    expect(judge(told)).toMatch(said);
  });
});
