/** Settings are complete or the service says what to set. */
import { inspect } from "node:util";
import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { toBase64Url } from "../../src/base/bytes.js";
import {
  isLoopback,
  localOnlyProblems,
  readSettings,
  requireSettings,
  type Settings,
} from "../../src/base/settings.js";

const bytes = (byte: number, length = 32): string => toBase64Url(new Uint8Array(length).fill(byte));
const ring = (keys: object, primary: unknown = "k1"): string => JSON.stringify({ primary, keys });

const good = {
  KEYRING: ring({ k1: bytes(1), old: bytes(2) }),
  TOKEN_SECRET: ring({ k1: bytes(3) }),
  MAIL_SECRET: ring({ k1: bytes(4) }),
  AUTH_SECRET: ring({ k1: bytes(5) }),
  CHECKPOINT_KEY: bytes(6),
  PUBLIC_URL: "https://gatehouse.example.com",
  MAIL_TRANSPORT: "smtp",
  MAIL_FROM: "Gatehouse <gatehouse@example.com>",
  SMTP_HOST: "smtp.example.com",
} as const;
const local = { ...good, PUBLIC_URL: "http://127.0.0.1:8787", MAIL_TRANSPORT: "outbox", SANDBOX: "1" } as const;

function settingsOf(given: object): Settings {
  const reading = readSettings(given);
  if (!("settings" in reading)) {
    throw new TypeError(JSON.stringify(reading.problems));
  }
  return reading.settings;
}

function detailOf(given: object): string {
  const reading = readSettings(given);
  return "problems" in reading
    ? reading.problems.map(({ setting, detail }) => `${setting}> ${detail}`).join("\n")
    : "none";
}

describe("settings", () => {
  it("of a full environment are read, ready, and kept for the isolate", ({ expect }) => {
    const settings = settingsOf(good);
    expect(settings).toMatchObject({
      publicUrl: "https://gatehouse.example.com",
      isLocal: false,
      mail: { transport: "smtp" },
      sandbox: false,
      outboundAllow: [],
      setupToken: null,
      notReady: [],
    });
    expect(settings.keyring.ids).toEqual(["k1", "old"]);
    expect(settings.keyring.get("old")).toEqual(new Uint8Array(32).fill(2));
    expect(settings.keyring.get("k3")).toBeUndefined();
    expect(readSettings(good)).toBe(readSettings(good));
  });

  it("of the tests' own environment are read", ({ expect }) => {
    expect(settingsOf(env)).toMatchObject({
      isLocal: true,
      mail: { transport: "outbox" },
      sandbox: true,
      notReady: [],
    });
  });

  it("without a keyring refuse to start, with an error that says how to make one", ({ expect }) => {
    const { KEYRING: _, ...rest } = good;
    const attempt = (): Settings => requireSettings(rest);
    expect(attempt).toThrow(expect.objectContaining({ code: "not_ready", status: 503 }));
    const detail = detailOf(rest);
    expect(detail).toContain("KEYRING is not set");
    expect(detail).toContain(
      'node -e \'console.log(JSON.stringify({primary:"k1",keys:{k1:require("crypto").randomBytes(32)',
    );
    expect(detail).toContain("npx wrangler secret put KEYRING");
    expect(detail).toContain("npm start");
    try {
      attempt();
    } catch (error) {
      expect(error).toMatchObject({
        detail: detail.replace("KEYRING> ", ""),
        extra: { problems: [{ setting: "KEYRING" }] },
      });
    }
  });

  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    ["KEYRING", undefined, /KEYRING is not set\. Every provider credential/],
    ["KEYRING", "   ", /KEYRING is not set/],
    ["KEYRING", { primary: "k1" }, /KEYRING is not set/],
    ["KEYRING", "secret", /KEYRING cannot be used: it is not JSON\..*node -e/],
    ["KEYRING", "null", /not an object with "primary" and "keys"/],
    ["KEYRING", '{"k1":"x"}', /not an object with "primary" and "keys"/],
    ["KEYRING", ring({ k1: bytes(1) }, 1), /"primary" is not a text/],
    ["KEYRING", ring([bytes(1)], "0"), /"keys" is not an object with at least one key/],
    ["KEYRING", ring({}), /"keys" is not an object with at least one key/],
    ["KEYRING", ring({ k1: bytes(1) }, "k2"), /its primary is not one of its keys \(k1\)/],
    ["KEYRING", ring({ K1: bytes(1) }, "K1"), /a key id is not 1 to 8 characters/],
    ["KEYRING", ring({ k12345678: bytes(1) }, "k12345678"), /a key id is not 1 to 8 characters/],
    ["KEYRING", ring({ k1: 7 }), /key "k1" is not base64url/],
    ["KEYRING", ring({ k1: `${bytes(1)}=` }), /key "k1" is not base64url without padding/],
    ["KEYRING", ring({ k1: bytes(1, 31) }), /key "k1" is 31 bytes long, not 32/],
    ["KEYRING", ring({ k1: bytes(1, 33) }), /key "k1" is 33 bytes long, not 32/],
    ["KEYRING", ring({ k1: bytes(0) }), /key "k1" is all zero/],
    ["KEYRING", ring({ k1: bytes(1), k2: bytes(1) }), /keys "k1" and "k2" are the same key/],
    ["TOKEN_SECRET", undefined, /TOKEN_SECRET is not set\. API keys/],
    ["TOKEN_SECRET", ring({ k1: "" }), /TOKEN_SECRET cannot be used: key "k1" is 0 bytes long/],
    ["MAIL_SECRET", undefined, /MAIL_SECRET is not set\. Invite links/],
    ["MAIL_SECRET", "[]", /MAIL_SECRET cannot be used/],
    ["AUTH_SECRET", undefined, /AUTH_SECRET is not set\. Sessions/],
    ["AUTH_SECRET", "x", /AUTH_SECRET cannot be used/],
    ["CHECKPOINT_KEY", undefined, /CHECKPOINT_KEY is not set\..*node -e/],
    ["CHECKPOINT_KEY", bytes(1, 16), /CHECKPOINT_KEY is not 32 random bytes/],
    ["CHECKPOINT_KEY", bytes(0), /CHECKPOINT_KEY is not 32 random bytes/],
    ["PUBLIC_URL", undefined, /PUBLIC_URL is not set/],
    ["PUBLIC_URL", "gatehouse.example.com", /not an http or https address/],
    ["PUBLIC_URL", "ftp://gatehouse.example.com", /not an http or https address/],
    ["PUBLIC_URL", "https://gatehouse.example.com/app", /origin only/],
    ["PUBLIC_URL", "https://u:p@gatehouse.example.com", /origin only/],
    ["PUBLIC_URL", "http://gatehouse.example.com", /must be https unless it is a loopback/],
    ["SANDBOX", "yes", /SANDBOX must be 1 or 0/],
    ["OUTBOUND_ALLOW", "127.0.0.1:4010", /OUTBOUND_ALLOW must be exact origins/],
    ["OUTBOUND_ALLOW", "http://127.0.0.1:4010/", /OUTBOUND_ALLOW must be exact origins/],
    ["OUTBOUND_ALLOW", "https://*.example.com/x", /OUTBOUND_ALLOW must be exact origins/],
    ["SETUP_TOKEN", "short", /SETUP_TOKEN must be at least 20 characters/],
    ["SETUP_TOKEN", "twenty characters with spaces", /SETUP_TOKEN must be at least 20 characters/],
  ];
  for (const [setting, value, expected] of wrong) {
    it(`with ${setting} = ${shorten(value)} say so by name`, ({ expect }) => {
      const detail = detailOf({ ...local, [setting]: value });
      expect(detail).toMatch(expected);
      expect(detail.split("\n").map((line) => line.split(">")[0])).toEqual([setting]);
    });
  }

  it("name every problem at once", ({ expect }) => {
    const names = detailOf({})
      .split("\n")
      .map((line) => line.split(">")[0]);
    expect(names).toEqual(["KEYRING", "TOKEN_SECRET", "MAIL_SECRET", "AUTH_SECRET", "CHECKPOINT_KEY", "PUBLIC_URL"]);
  });

  it("never print a key or a token, read or refused", ({ expect }) => {
    const canary = toBase64Url(new TextEncoder().encode("canary-canary-canary-canary-0123"));
    const given = { ...local, KEYRING: ring({ k1: canary }), CHECKPOINT_KEY: canary, SETUP_TOKEN: canary };
    const broken = {
      ...local,
      KEYRING: ring({ k1: `${canary}=` }),
      CHECKPOINT_KEY: `${canary}x`,
      SETUP_TOKEN: `${canary} x`,
    };
    const prints = [settingsOf(given), readSettings(broken)].flatMap((value) => [
      JSON.stringify(value),
      inspect(value, { depth: null, showHidden: true }),
    ]);
    for (const print of prints) {
      expect(print).not.toContain(canary);
      expect(print).not.toContain("99, 97, 110, 97, 114, 121");
    }
  });

  it("give out copies of a key, so that one caller's zeroing is nobody else's loss", ({ expect }) => {
    const { keyring } = settingsOf({ ...good });
    keyring.get("k1")?.fill(0);
    expect(keyring.get("k1")).toEqual(new Uint8Array(32).fill(1));
  });

  it("take a value with the line's end a shell left on it", ({ expect }) => {
    const settings = settingsOf({
      ...good,
      KEYRING: `${good.KEYRING}\n`,
      PUBLIC_URL: "https://gatehouse.example.com/\n",
    });
    expect(settings.publicUrl).toBe("https://gatehouse.example.com");
  });
});

describe("readiness", () => {
  it("fails without a mail transport, or with one there is not, and requests are served", ({ expect }) => {
    expect(settingsOf({ ...good, MAIL_TRANSPORT: "" })).toMatchObject({
      mail: null,
      notReady: [{ setting: "MAIL_TRANSPORT", detail: expect.stringContaining("is not set") }],
    });
    expect(settingsOf({ ...good, MAIL_TRANSPORT: "pigeon" })).toMatchObject({
      mail: null,
      notReady: [{ setting: "MAIL_TRANSPORT", detail: expect.stringContaining("outbox, smtp, cloudflare, http") }],
    });
  });

  it("fails and names what the chosen transport misses, and requests are served", ({ expect }) => {
    const { SMTP_HOST: _, ...rest } = good;
    const settings = settingsOf({ ...rest, SMTP_PORT: "25" });
    expect(settings.mail).toBeNull();
    expect(settings.notReady.map(({ setting }) => setting)).toEqual(["SMTP_HOST", "SMTP_PORT"]);
  });

  it("fails, and the setting is without effect, where a local-only one stands beside a public address", ({
    expect,
  }) => {
    const settings = settingsOf({
      ...good,
      SANDBOX: "1",
      MAIL_TRANSPORT: "outbox",
      OUTBOUND_ALLOW: "http://127.0.0.1:4010",
    });
    expect(settings).toMatchObject({ isLocal: false, sandbox: false, mail: null, outboundAllow: [] });
    expect(settings.notReady.map(({ setting }) => setting)).toEqual(["SANDBOX", "MAIL_TRANSPORT", "OUTBOUND_ALLOW"]);
    for (const { detail } of settings.notReady) {
      expect(detail).toMatch(/local runs only, but PUBLIC_URL is https:\/\/gatehouse\.example\.com/);
    }
  });

  it("names each local-only setting alone", ({ expect }) => {
    const none = { publicUrl: "https://g.example.com", sandbox: false, mailTransport: null, outboundAllow: [] };
    const names = (more: object): string[] => localOnlyProblems({ ...none, ...more }).map(({ setting }) => setting);
    expect(names({})).toEqual([]);
    expect(names({ sandbox: true })).toEqual(["SANDBOX"]);
    expect(names({ mailTransport: "outbox" })).toEqual(["MAIL_TRANSPORT"]);
    expect(names({ mailTransport: "smtp" })).toEqual([]);
    expect(names({ outboundAllow: ["http://10.0.0.1"] })).toEqual(["OUTBOUND_ALLOW"]);
    expect(names({ sandbox: true, publicUrl: "http://localhost:8787" })).toEqual([]);
  });

  it("holds for a local run with all of them", ({ expect }) => {
    const settings = settingsOf({ ...local, OUTBOUND_ALLOW: "http://127.0.0.1:4010, http://127.0.0.1:4011" });
    expect(settings).toMatchObject({ isLocal: true, sandbox: true, mail: { transport: "outbox" }, notReady: [] });
    expect(settings.outboundAllow).toEqual(["http://127.0.0.1:4010", "http://127.0.0.1:4011"]);
  });
});

describe("loopback", () => {
  it("is this machine's own names and addresses and nothing that looks like them", ({ expect }) => {
    for (const host of ["localhost", "LOCALHOST", "app.localhost", "127.0.0.1", "127.9.9.9", "[::1]"]) {
      expect(isLoopback(host), host).toBe(true);
    }
    for (const host of [
      "localhost.example.com",
      "127.0.0.1.example.com",
      "notlocalhost",
      "10.0.0.1",
      "0.0.0.0",
      "[::2]",
      "",
    ]) {
      expect(isLoopback(host), host).toBe(false);
    }
  });
});

function shorten(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 60);
}
