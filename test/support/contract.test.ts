import { describe, it } from "vitest";
import { call } from "./client.js";
import { checkAnswer } from "./contract.js";

const requestId = "req_01kb3x5w8be3tr6zc2m4n9q7vd";
const session = {
  id: "ses_1",
  current: true,
  ip: null,
  user_agent: null,
  created_at: "2026-11-20T09:30:00.000Z",
  expires_at: "2026-11-21T09:30:00.000Z",
};

/** What the check says of an answer to GET /auth/sessions. */
function judge(status: number, body: object, headers: Record<string, string> = {}): string {
  const type = status < 400 ? "application/json" : "application/problem+json";
  const told = { "content-type": type, "x-request-id": requestId, ...headers };
  try {
    checkAnswer("GET", "/auth/sessions?limit=2", { status, headers: new Headers(told), text: JSON.stringify(body) });
    return "fine";
  } catch (error) {
    return error instanceof Error ? (error.message.split("\n")[0] ?? "") : "";
  }
}

describe("the check of answers by the contract", () => {
  it("lets pass what is declared, and what is no operation", async ({ expect }) => {
    expect(judge(200, { data: [session], next_cursor: null })).toBe("fine");
    expect((await call("GET", "/nothing-here")).status).toBe(404);
    expect((await call("GET", "/auth/sessions")).body.code).toBe("unauthenticated");
  });

  it("refuses another status, field, type of value, code, header and content type", ({ expect }) => {
    const page = { data: [session], next_cursor: null };
    expect(judge(201, page)).toContain("the status is not declared");
    expect(judge(200, { ...page, more: 1 })).toContain("must NOT have additional properties");
    expect(judge(200, { ...page, data: [{ ...session, secret: "x" }] })).toContain(
      "must NOT have additional properties",
    );
    expect(judge(200, { data: [session] })).toContain("must have required property 'next_cursor'");
    expect(judge(200, { ...page, data: [{ ...session, created_at: "yesterday" }] })).toContain("must match format");
    expect(judge(200, page, { etag: '"1"' })).toContain("the header etag is not declared");
    expect(judge(200, page, { "x-stray": "1" })).toContain("the header x-stray is not declared");
    expect(judge(200, page, { "content-type": "text/html" })).toContain("its content type is text/html");
    const problem = {
      type: "/docs/errors/x",
      title: "X",
      status: 401,
      detail: "X.",
      code: "code_refused",
      request_id: requestId,
    };
    expect(judge(401, problem)).toContain('the code "code_refused" is not declared');
    expect(judge(401, { ...problem, code: "unauthenticated" })).toBe("fine");
  });

  it("refuses fields that an extended object does not have, deep down too", ({ expect }) => {
    const me = (extra: object): string => {
      const body = { id: "usr_1", email: "a@example.com", name: "A", created_at: session.created_at, ...extra };
      try {
        const headers = new Headers({ "content-type": "application/json", "x-request-id": requestId, etag: '"1"' });
        checkAnswer("GET", "/me", { status: 200, headers, text: JSON.stringify(body) });
        return "fine";
      } catch (error) {
        return String(error);
      }
    };
    const whole = {
      email_verified: true,
      locale: null,
      timezone: null,
      updated_at: session.created_at,
      memberships: [],
    };
    expect(me(whole)).toBe("fine");
    expect(me({ ...whole, password: "x" })).toContain("must NOT have unevaluated properties");
    expect(me({})).toContain("must have required property 'email_verified'");
  });
});
