/** What the outbound guard lets through, and how an outbound call ends. */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { utf8 } from "../../src/base/bytes.js";
import { checkOutboundUrl, fetchOutbound, OutboundError, readTextUpTo } from "../../src/base/outbound.js";
import { deep, seed } from "../support/deep.js";
import { hostileHosts, hostileUrls } from "../support/hostile.js";
import type { Inspection } from "../support/upstream.js";

const rules = { allow: "", ownHosts: ["gatehouse.example.com", "api.example.org:8443"] };
const isRefused = (text: string, allow = ""): boolean => "error" in checkOutboundUrl(text, { ...rules, allow });

const privateBlocks: readonly (readonly [number, number])[] = [
  [0x00000000, 8],
  [0x0a000000, 8],
  [0x64400000, 10],
  [0x7f000000, 8],
  [0xa9fe0000, 16],
  [0xac100000, 12],
  [0xc0a80000, 16],
  [0xc6120000, 15],
  [0xe0000000, 4],
  [0xf0000000, 4],
];

/** Any address of a block that no public host has, as an unsigned 32-bit number. */
const privateIpv4 = fc
  .tuple(fc.constantFrom(...privateBlocks), fc.nat(0xffffffff))
  .map(([[base, bits], random]) => (base + (random % 2 ** (32 - bits))) >>> 0);

function hex(part: number): string {
  return part.toString(16);
}

function spellIpv4(address: number): readonly string[] {
  const [a = 0, b = 0, c = 0, d = 0] = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255);
  return [
    `${a}.${b}.${c}.${d}`,
    `${a}.${b}.${c}.${d}.`,
    `${address}`,
    `0x${address.toString(16)}`,
    `0${address.toString(8)}`,
    `0x${hex(a)}.0x${hex(b)}.0x${hex(c)}.0x${hex(d)}`,
    `0${a.toString(8)}.${b}.${c * 256 + d}`,
    `${a}.${(b << 16) + (c << 8) + d}`,
    `%${a.toString(10).charCodeAt(0).toString(16)}${a.toString(10).slice(1)}.${b}.${c}.${d}`,
    `[::ffff:${a}.${b}.${c}.${d}]`,
    `[::${a}.${b}.${c}.${d}]`,
    `[64:ff9b::${a}.${b}.${c}.${d}]`,
    `[64:ff9b:1::${a}.${b}.${c}.${d}]`,
    `[2002:${hex(address >>> 16)}:${hex(address & 0xffff)}::1]`,
    `[::ffff:0:${a}.${b}.${c}.${d}]`,
  ];
}

describe("checkOutboundUrl", () => {
  it("refuses every spelling of every private IPv4 address", ({ expect }) => {
    fc.assert(
      fc.property(privateIpv4, (address) => {
        for (const host of spellIpv4(address)) {
          expect(isRefused(`https://${host}/v1`), host).toBe(true);
        }
      }),
      { numRuns: deep(200, 20_000), seed: seed() },
    );
  });

  it("lets public names and addresses through, with any port", ({ expect }) => {
    for (const text of [
      "https://api.openai.com/v1",
      "https://api.openai.com:8443/v1",
      "https://8.8.8.8/v1",
      "https://172.15.255.255/",
      "https://172.32.0.1/",
      "https://100.63.255.255/",
      "https://[2606:4700::1111]:444/v1",
      "https://internal.example.com/",
      "https://mylocalhost.com/",
      "https://xn--bcher-kva.example/",
    ]) {
      expect(checkOutboundUrl(text, rules), text).toEqual({ url: new URL(text) });
    }
  });

  it("refuses every hostile host and address of the table, and our own hosts", ({ expect }) => {
    const own = ["gatehouse.example.com", "GateHouse.Example.com:444", "api.example.org", "gatehouse.example.com."];
    const taken = [...hostileHosts, ...own].map((host) => `https://${host}/v1`).concat(hostileUrls, "");
    expect(taken.filter((text) => !isRefused(text))).toEqual([]);
    // Whatever their case, port and path.
    const varied = hostileHosts.flatMap((host) => [`https://${host.toUpperCase()}/`, `HTTPS://${host}:8443/a/b?c=d`]);
    expect(varied.filter((text) => !isRefused(text))).toEqual([]);
  });

  it("lets exactly the allowed origins past the checks", ({ expect }) => {
    const allow = "http://127.0.0.1:4010, https://llm.internal nonsense";
    expect(isRefused("http://127.0.0.1:4010/v1", allow)).toBe(false);
    expect(isRefused("https://llm.internal/v1", allow)).toBe(false);
    for (const text of [
      "http://127.0.0.1:4011/v1",
      "https://127.0.0.1:4010/v1",
      "http://127.0.0.1/v1",
      "http://llm.internal/v1",
      "https://x.llm.internal/v1",
      "http://u@127.0.0.1:4010/v1",
      "http://nonsense/",
    ]) {
      expect(isRefused(text, allow), text).toBe(true);
    }
  });
});

type Step = (request: Request) => Response | Promise<Response>;

function play(steps: readonly Step[]): { seen: Request[]; fetcher: (request: Request) => Promise<Response> } {
  const seen: Request[] = [];
  return {
    seen,
    fetcher: async (request) => {
      seen.push(request);
      return (await steps[seen.length - 1]?.(request)) ?? new Response("ok");
    },
  };
}

const redirectTo =
  (location: string, status = 302): Step =>
  () =>
    new Response("moved", { status, headers: { location } });

async function failureOf(call: Promise<Response>): Promise<string> {
  try {
    await call;
    return "answered";
  } catch (error) {
    return error instanceof OutboundError ? error.failure : "unexpected";
  }
}

const hang: Step = (request) =>
  new Promise((_resolve, reject) => request.signal.addEventListener("abort", () => reject(new Error("aborted"))));

describe("fetchOutbound", () => {
  it("sends nothing to an address that the guard refuses", async ({ expect }) => {
    const { seen, fetcher } = play([]);
    const call = fetchOutbound(new Request("https://10.0.0.1/v1"), { ...rules, timeoutMs: 1000, fetcher });
    expect(await failureOf(call)).toBe("refused");
    expect(seen).toEqual([]);
  });

  it("sends a plain call as it is, under the rules of each call however often the address was seen", async ({
    expect,
  }) => {
    const body = utf8('{"a":1}');
    const call = { url: "http://10.0.0.1:8080/v1/chat", method: "POST", headers: { "x-a": "b" }, body };
    const allowed = { ...rules, allow: "http://10.0.0.1:8080", timeoutMs: null };
    for (let turn = 0; turn < 2; turn += 1) {
      const open = play([]);
      await fetchOutbound(call, { ...allowed, fetcher: open.fetcher });
      const [sent] = open.seen;
      expect([sent?.url, sent?.method, sent?.headers.get("x-a"), sent?.redirect]).toEqual([
        call.url,
        "POST",
        "b",
        "manual",
      ]);
      expect(await sent?.text()).toBe('{"a":1}');
      const shut = play([]);
      expect(await failureOf(fetchOutbound(call, { ...allowed, allow: "", fetcher: shut.fetcher }))).toBe("refused");
      const own = { ...allowed, ownHosts: ["api.test.example"], fetcher: shut.fetcher };
      const ours = { ...call, url: "https://api.test.example/v1" };
      expect(await failureOf(fetchOutbound(ours, own))).toBe("refused");
      expect(shut.seen).toEqual([]);
      await fetchOutbound(ours, { ...allowed, fetcher: open.fetcher });
    }
    const moved = play([redirectTo("/b")]);
    expect(await failureOf(fetchOutbound(call, { ...allowed, fetcher: moved.fetcher }))).toBe("redirected");
    expect(moved.seen).toHaveLength(1);
  });

  it("follows redirects within the origin with the same headers, three times and no more", async ({ expect }) => {
    const hops = [redirectTo("/b"), redirectTo("https://api.test.example/c", 307), redirectTo("d", 308)];
    const request = new Request("https://api.test.example/a", { headers: { authorization: "Bearer x" } });
    const three = play(hops);
    expect((await fetchOutbound(request, { ...rules, timeoutMs: 1000, fetcher: three.fetcher })).status).toBe(200);
    expect(three.seen.map((hop) => new URL(hop.url).pathname)).toEqual(["/a", "/b", "/c", "/d"]);
    expect(
      three.seen.every((hop) => hop.headers.get("authorization") === "Bearer x" && hop.redirect === "manual"),
    ).toBe(true);
    const four = play([...hops, redirectTo("/e")]);
    expect(await failureOf(fetchOutbound(request, { ...rules, timeoutMs: 1000, fetcher: four.fetcher }))).toBe(
      "redirected",
    );
    expect(four.seen.length).toBe(4);
  });

  it("never follows to another origin, scheme or port, allowed or not", async ({ expect }) => {
    for (const target of [
      "https://evil.example/",
      "http://api.test.example/",
      "https://api.test.example:444/",
      "https://10.0.0.1/",
    ]) {
      const { seen, fetcher } = play([redirectTo(target)]);
      const options = { ...rules, allow: "https://evil.example", timeoutMs: 1000, fetcher };
      expect(await failureOf(fetchOutbound(new Request("https://api.test.example/"), options)), target).toBe(
        "redirected",
      );
      expect(seen.length).toBe(1);
    }
  });

  it("never sends a body a second time", async ({ expect }) => {
    for (const status of [301, 302, 303, 307, 308]) {
      const { seen, fetcher } = play([redirectTo("/b", status)]);
      const request = new Request("https://api.test.example/a", { method: "POST", body: "prompt" });
      expect(await failureOf(fetchOutbound(request, { ...rules, timeoutMs: 1000, fetcher }))).toBe("redirected");
      expect(seen.length).toBe(1);
    }
  });

  it("tells a deadline, a departed caller and a broken connection apart", async ({ expect }) => {
    const request = new Request("https://api.test.example/");
    const { fetcher } = play([hang, hang]);
    expect(await failureOf(fetchOutbound(request, { ...rules, timeoutMs: 20, fetcher }))).toBe("timeout");
    const caller = new AbortController();
    const call = fetchOutbound(request, { ...rules, timeoutMs: 5000, signal: caller.signal, fetcher });
    caller.abort();
    expect(await failureOf(call)).toBe("aborted");
    const broken = play([() => Promise.reject(new Error("connection reset"))]);
    expect(await failureOf(fetchOutbound(request, { ...rules, timeoutMs: 1000, fetcher: broken.fetcher }))).toBe(
      "network",
    );
  });

  it("goes through the platform's fetch when no other is given, and the deadline ends a silent body at both ends", async ({
    expect,
  }) => {
    const response = await fetchOutbound(chatAt("stall", "outbound-deadline"), { ...rules, timeoutMs: 300 });
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
    await expect.poll(async () => (await inspect("outbound-deadline")).aborted).toBe(1);
  });

  it("gives up on an upstream that sends no headers, and lets a broken body fail in its reader's hands", async ({
    expect,
  }) => {
    const mute = fetchOutbound(chatAt("mute", "outbound-mute"), { ...rules, timeoutMs: 200 });
    expect(await failureOf(mute)).toBe("timeout");
    await expect.poll(async () => (await inspect("outbound-mute")).aborted).toBe(1);
    const cut = await fetchOutbound(chatAt("cut", "outbound-cut"), { ...rules, timeoutMs: 5000 });
    await expect(cut.text()).rejects.toThrow();
    const ended = await fetchOutbound(chatAt("end-early", "outbound-end"), { ...rules, timeoutMs: 5000 });
    expect(await ended.text()).not.toContain("[DONE]");
    expect(await inspect("outbound-cut")).toMatchObject({ count: 1, aborted: 0 });
  });
});

function chatAt(behaviour: string, tag: string): Request {
  return new Request(`https://${behaviour}.upstream.test/${tag}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "m", stream: true, messages: [] }),
  });
}

async function inspect(tag: string): Promise<Inspection> {
  const answer = await fetch(`https://inspect.upstream.test/last?tag=${tag}`);
  return answer.json();
}

describe("readTextUpTo", () => {
  it("stops at the limit, even inside a chunk, and leaves the rest unread", async ({ expect }) => {
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        pulled += 1;
        controller.enqueue(new TextEncoder().encode("abcd"));
      },
    });
    expect(await readTextUpTo(new Response(endless), 10)).toBe("abcdabcdab");
    expect(pulled).toBeLessThan(6);
    expect(await readTextUpTo(new Response("héllo"), 100)).toBe("héllo");
    expect(await readTextUpTo(new Response(null), 100)).toBe("");
  });
});
