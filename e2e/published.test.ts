/** The TypeScript client as the package brings it to builders, and that both clients reach every operation of the contract. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, type ExpectStatic, inject, it } from "vitest";
import { findBrowser, startBrowser } from "./support/browser.ts";
import { json, play, type Play } from "./support/play.ts";

const root = path.dirname(import.meta.dirname);
const run = promisify(execFile);
/** An empty folder with the package in its node_modules, as `npm install` leaves it. */
const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-pack-"));
const readme = path.join(root, "clients/README.md");
let packed: readonly string[] = [];

beforeAll(async () => {
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const { stdout } = await run("npm", pack, { cwd: root });
  const [about] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  packed = about?.files.map((file) => file.path) ?? [];
  const modules = path.join(folder, "node_modules");
  mkdirSync(path.join(modules, "gatehouse"), { recursive: true });
  const archive = path.join(folder, about?.filename ?? "");
  await run("tar", ["-xzf", archive, "--strip-components=1", "-C", path.join(modules, "gatehouse")]);
  for (const name of ["openapi-fetch", "openapi-typescript-helpers"]) {
    cpSync(path.join(root, "node_modules", name), path.join(modules, name), { recursive: true });
  }
  writeFileSync(path.join(folder, "package.json"), '{ "type": "module" }');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One operation of the contract, its path filled with the names of its parameters. */
interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly filled: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly takesKey: boolean;
  readonly isForm: boolean;
}

interface Described {
  readonly operationId: string;
  readonly parameters?: readonly { readonly $ref?: string; readonly in?: string; readonly name?: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> };
}

async function readOperations(): Promise<Operation[]> {
  const document = (await (await fetch(`${inject("serverUrl")}/openapi.json`)).json()) as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  };
  return Object.entries(document.paths).flatMap(([address, operations]) =>
    Object.entries(operations).map(([method, { operationId, parameters = [], requestBody }]) => {
      const names = [...address.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
      return {
        id: operationId,
        method: method.toUpperCase(),
        path: address,
        filled: address.replaceAll(/\{(\w+)\}/g, "the-$1"),
        parameters: Object.fromEntries(names.map((name) => [name, `the-${name}`])),
        takesKey: parameters.some(({ $ref, name }) => ($ref ?? name ?? "").endsWith("Idempotency-Key")),
        isForm: requestBody !== undefined && "multipart/form-data" in requestBody.content,
      };
    }),
  );
}

describe("the published TypeScript client", () => {
  it("stands in the package as gatehouse/client, with what it needs and nothing of the service", ({ expect }) => {
    expect(packed).toContain("clients/typescript/schema.d.ts");
    expect(packed.filter((file) => /^(src|test|e2e|migrations|bench|docs)\/|__pycache__/.test(file))).toEqual([]);
  });

  it("adds to a page no more than clients/README.md says", async ({ expect }) => {
    const text = await bundle("", "esm");
    const [, min, gzip] = /(\d+\.\d) kB minified, (\d+\.\d) kB gzipped/.exec(readFileSync(readme, "utf8")) ?? [];
    expect(text.length / 1000).toBeLessThan(Number(min) + 0.1);
    expect(text.length / 1000).toBeGreaterThan(Number(min) - 0.5);
    expect(gzipSync(text).length / 1000).toBeLessThan(Number(gzip) + 0.1);
    // Nothing of Node's, by which a page or a Worker would fail.
    expect(text).not.toMatch(/from\s*"node:|require\(/);
  });

  it("has the types of the contract that the server hands out", async ({ expect }) => {
    const env = { ...process.env, GATEHOUSE: inject("serverUrl") };
    const args = [path.join(root, "scripts/client-types.ts"), "--check"];
    const { stdout } = await run(process.execPath, args, { env, cwd: root }).catch(
      (error: { stdout: string; stderr: string }) => ({
        stdout: error.stdout + error.stderr,
      }),
    );
    expect(stdout).toContain("is what the contract says");
  }, 180_000);
});

/** The client and what it imports as one file, minified; what `more` exports besides. */
async function bundle(more: string, format: "esm" | "iife"): Promise<string> {
  const contents = `export * from "gatehouse/client";\n${more}`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    minify: true,
    write: false,
    format,
    platform: "browser",
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}

/** A page's own program: a workspace, a model call and a refusal, over a network that cuts off the first answer. It tells what came of it. */
const pageProgram = `
import { createClient, pages, unwrap } from "gatehouse/client";
window.tell = async (baseUrl, token, name) => {
  let cuts = 1;
  const client = createClient({
    baseUrl,
    token,
    async fetch(request) {
      const response = await fetch(request);
      if (cuts-- <= 0) return response;
      const start = (controller) => (controller.enqueue(new Uint8Array([123])), controller.error(new Error("lost")));
      return new Response(new ReadableStream({ start }), response);
    },
  });
  const made = client.POST("/workspaces", { body: { name } });
  const ws = (await unwrap(made)).id;
  const inside = { params: { path: { ws } } };
  const credentials = { params: { path: { ws, provider: "sandbox" } }, body: { name: "s", credentials: { api_key: "sk-sandbox-ok" } } };
  const { id } = await unwrap(client.POST("/workspaces/{ws}/model-providers/{provider}/credentials", credentials));
  const instances = [{ alias: "a", provider_name: "sandbox", model: "sandbox-chat", credential_id: id, weight: 1 }];
  await unwrap(client.POST("/workspaces/{ws}/pools", { ...inside, body: { name: "chat", strategy: "weighted", instances } }));
  const key = await unwrap(client.POST("/workspaces/{ws}/api-keys", { ...inside, body: { name: "k", scopes: ["models:invoke"] } }));
  const caller = createClient({ baseUrl, token: key.secret });
  const body = { model: "chat", stream: true, messages: [{ role: "user", content: "Say hello" }] };
  const { response } = await caller.POST("/v1/chat/completions", { body, parseAs: "stream" });
  const names = [];
  for await (const pool of pages(client, "/workspaces/{ws}/pools", inside)) names.push(pool.name);
  return {
    replayed: (await made).response.headers.get("idempotency-replayed"),
    isWhole: (await response.text()).endsWith("data: [DONE]\\n\\n"),
    names,
    refusal: await unwrap(caller.GET("/workspaces")).catch((error) => [error.status, error.code, /^req_/.test(error.requestId)]),
  };
};`;

const executable = findBrowser();
// Without a browser this is skipped, but never in CI.
const needsBrowser = executable !== null || process.env["CI"] !== undefined ? describe : describe.skip;

needsBrowser("the TypeScript client in a browser's page", () => {
  let browser: Browser;
  let site: Server;

  beforeAll(async () => {
    const script = await bundle(pageProgram, "iife");
    const html = `<!doctype html><title>Ours</title><script>${script.replaceAll("</script", "<\\/script")}</script>`;
    site = createServer((_, response) => response.setHeader("content-type", "text/html").end(html));
    // A real page: a browser lets none call a loopback address that came from elsewhere.
    await once(site.listen(inject("pagePort"), "127.0.0.1"), "listening");
    if (executable === null) {
      throw new Error("There is no Chromium on this machine: install the package chromium, or name one in CHROMIUM.");
    }
    browser = await startBrowser(executable);
  });

  afterAll(async () => {
    await browser?.close();
    site?.close();
  });

  it("sets up a workspace from another origin, streams a call and makes each write once", async ({ expect }) => {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${inject("pagePort")}`);
    const name = `In a page ${Date.now().toString(36)}`;
    const given = JSON.stringify([inject("serverUrl"), inject("sessionToken"), name]);
    expect(await page.evaluate(`tell(...${given}).catch(String)`)).toEqual({
      replayed: "true",
      isWhole: true,
      names: ["chat"],
      refusal: [403, "forbidden", true],
    });
    await page.close();
  });
});

describe("every operation of the contract", () => {
  let operations: readonly Operation[] = [];
  let server: Play;

  beforeAll(async () => {
    operations = await readOperations();
    server = await play(json(200, {}));
  });

  afterAll(() => server.end());

  /** What the server saw since the last look. */
  function look(): { readonly calls: string[]; readonly keys: ReadonlyMap<string, string | undefined> } {
    const seen = server.seen.splice(0);
    return {
      calls: seen.map(({ method, url }) => `${method} ${url}`),
      keys: new Map(seen.map(({ method, url, key }) => [`${method} ${url}`, key])),
    };
  }

  it("is called by the TypeScript client, whose types know it and its name", async ({ expect }) => {
    const calls = operations.map(
      ({ method, path: address, parameters }) =>
        `await client.${method}("${address}", { params: { path: ${JSON.stringify(parameters)} } } as never);`,
    );
    const names = operations.map(({ id }) => `"${id}"`);
    const program = `import { createClient, type operations } from "gatehouse/client";
      const client = createClient({ baseUrl: "${server.url}", token: "t" });
      const names: (keyof operations)[] = [${names.join(", ")}];
      ${calls.join("\n")}
      console.log(new Set(names).size);`;
    writeFileSync(path.join(folder, "all.ts"), program);
    const [, example = ""] = /```ts\n(.*?)```/s.exec(readFileSync(readme, "utf8")) ?? [];
    writeFileSync(path.join(folder, "readme.ts"), example);
    const node =
      "declare const process: { env: Record<string, string | undefined>; stdout: { write(text: string): void } };";
    writeFileSync(path.join(folder, "node.d.ts"), node);
    const options = "--noEmit --strict --module nodenext --target es2022 --lib es2022,dom,dom.asynciterable --types";
    const tsc = path.join(root, "node_modules/.bin/tsc");
    const files = ["all.ts", "readme.ts", "node.d.ts"];
    const typed = await run(tsc, [...options.split(" "), "", ...files], { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    );
    expect(typed.stdout).toBe("");
    const { stdout } = await run(process.execPath, ["all.ts"], { cwd: folder });
    expect(Number(stdout)).toBe(operations.length);
    const { calls: seen, keys } = look();
    expect(seen).toEqual(operations.map(({ method, filled }) => `${method} ${filled}`));
    expectKeys(keys, expect);
  });

  it("is called by the Python client", async ({ expect }) => {
    const program = `
import json, sys
from gatehouse import Gatehouse
gatehouse = Gatehouse("${server.url}", "t")
for method, path, is_form in json.load(sys.stdin):
    gatehouse.request(method, path, **({"form": {"model": "m"}} if is_form else {}))
`;
    const env = { ...process.env, PYTHONPATH: path.join(folder, "node_modules/gatehouse/clients/python") };
    const python = run("python3", ["-B", "-c", program], { env });
    python.child.stdin?.end(JSON.stringify(operations.map(({ method, filled, isForm }) => [method, filled, isForm])));
    await python;
    const { calls: seen, keys } = look();
    expect(seen).toEqual(operations.map(({ method, filled }) => `${method} ${filled}`));
    expectKeys(keys, expect);
  });

  /** A key of its own for each write, as the contract takes it, and none for a read or for what the gateway passes on. */
  function expectKeys(keys: ReadonlyMap<string, string | undefined>, expect: ExpectStatic): void {
    const given = [...keys.values()].filter((key) => key !== undefined);
    expect(new Set(given).size).toBe(given.length);
    const keyed = operations.filter(({ method, filled }) => keys.get(`${method} ${filled}`) !== undefined);
    const writes = operations.filter(
      ({ method, filled }) => method !== "GET" && !/^\/(v1|anthropic|mcp)(\/|$)/.test(filled),
    );
    expect(keyed).toEqual(writes);
    expect(keyed).toEqual(expect.arrayContaining(operations.filter(({ takesKey }) => takesKey)));
  }
});
