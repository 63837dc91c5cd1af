/** What the Worker loads when it starts, read off its module graph as wrangler's bundler sees it. */
import path from "node:path";
import { build, type Metafile } from "esbuild";
import { beforeAll, describe, it } from "vitest";

const root = path.dirname(import.meta.dirname);
/** Sign-in by providers, and what better-auth brings along; passkeys and the tools' protocol. */
const loadedOnUse = [
  "better-auth",
  "@better-auth/core",
  "kysely",
  "@simplewebauthn/server",
  "@modelcontextprotocol/client",
  "@modelcontextprotocol/server",
];

let text = "";
let inputs: Metafile["inputs"] = {};
let sizes: Readonly<Record<string, { readonly bytesInOutput: number }>> = {};

/** All that is evaluated when `entry` is: what it imports, and what that imports, less what is imported on use. */
function loadedWith(entry: string): ReadonlySet<string> {
  const seen = new Set([entry]);
  for (const file of seen) {
    for (const { path: target, kind } of inputs[file]?.imports ?? []) {
      if (kind !== "dynamic-import" && inputs[target] !== undefined) {
        seen.add(target);
      }
    }
  }
  return seen;
}

function packageOf(file: string): string {
  return /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? "";
}

function packagesOf(files: Iterable<string>): ReadonlySet<string> {
  return new Set(Array.from(files, packageOf));
}

beforeAll(async () => {
  const result = await build({
    absWorkingDir: root,
    entryPoints: ["src/index.ts"],
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    loader: { ".md": "text", ".html": "text", ".sql": "text" },
    logLevel: "error",
  });
  ({ inputs } = result.metafile);
  sizes = Object.values(result.metafile.outputs)[0]?.inputs ?? {};
  text = result.outputFiles[0]?.text ?? "";
}, 60_000);

describe("the Worker's bundle", () => {
  it("evaluates nothing of sign-in at its start, nor what else is loaded on first use", ({ expect }) => {
    const all = packagesOf(Object.keys(inputs));
    for (const name of loadedOnUse) {
      expect(all, "a package that is bundled at all").toContain(name);
    }
    const atStart = packagesOf(loadedWith("src/index.ts"));
    expect(atStart).toContain("hono");
    expect(loadedOnUse.filter((name) => atStart.has(name))).toEqual([]);
  });

  it("says how much of it the gateway and the Router are", ({ expect }) => {
    for (const entry of ["src/index.ts", "src/gateway/routes.ts", "src/routing/router.do.ts"]) {
      const files = [...loadedWith(entry)];
      const bytes = files.reduce((sum, file) => sum + (sizes[file]?.bytesInOutput ?? 0), 0);
      console.log(`${entry}: ${files.length} modules, ${bytes} bytes of ${text.length}`);
      expect(bytes).toBeGreaterThan(0);
      expect(bytes).toBeLessThan(text.length / 2);
    }
  });

  it("leaves each class the name by which its package asks for it", ({ expect }) => {
    const asked = [...text.matchAll(/\.constructor\.name === "(\w+)"/g)].map(([, name = ""]) => name);
    const ours = new Set(asked.filter((name) => !(name in globalThis) && name !== "AsyncFunction"));
    expect(ours).toContain("Sequence");
    expect([...ours].filter((name) => !new RegExp(`\\b(?:class ${name}|${name} = class)\\b`).test(text))).toEqual([]);
  });
});
