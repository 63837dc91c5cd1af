/**
 * Portkey's gateway as a Worker. Its package holds one file, a Node server around a Hono app; here the same file is bundled with its server
 * left out, which is how the project itself deploys it to Workers. Its code stays in the cache folder.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import { build, type Plugin } from "esbuild";
import { runCommand } from "../scripts/process-group.ts";

const installMs = 180_000;

/** Installs the locked package where it is missing; answers the bundled Worker. */
export async function portkeyScript(root: string, cache: string): Promise<string> {
  const folder = path.join(cache, "portkey");
  const entry = path.join(folder, "node_modules/@portkey-ai/gateway/build/start-server.js");
  mkdirSync(folder, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) {
    writeFileSync(path.join(folder, name), readFileSync(path.join(root, "bench/portkey", name)));
  }
  if (!existsSync(entry)) {
    const args = ["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"];
    const lines: string[] = [];
    const onLine = (line: string): number => lines.push(line);
    if ((await runCommand("npm", args, { cwd: folder, onLine, limitMs: installMs })) !== 0) {
      throw new Error(`npm could not install Portkey's gateway:\n${lines.join("\n")}`);
    }
  }
  const result = await build({
    stdin: { contents: `import { app } from "${entry}"; export default app;`, resolveDir: folder, loader: "js" },
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*", "cloudflare:*"],
    define: { "process.env.NODE_ENV": '"production"' },
    plugins: [asWorker(entry)],
  });
  return result.outputFiles[0]?.text ?? "";
}

/** Leaves out what only a Node server has. Throws when the file is not the one that is known here. */
function asWorker(entry: string): Plugin {
  return {
    name: "portkey-as-worker",
    setup(builder) {
      builder.onLoad({ filter: /start-server\.js$/ }, () => ({ contents: cutServer(readFileSync(entry, "utf8")) }));
      builder.onResolve({ filter: /^(?:@hono\/node-server|@hono\/node-ws|ws|ioredis)$/ }, ({ path: name }) => ({
        path: name,
        namespace: "absent",
      }));
      builder.onLoad({ filter: /.*/, namespace: "absent" }, () => ({
        contents: `export default class Absent {}
export const serve = () => undefined;
export const createNodeWebSocket = () => ({ upgradeWebSocket: () => (context) => context.text("", 426), injectWebSocket() {} });`,
      }));
      const builtins = builtinModules.filter((name) => /^\w+(?:\/\w+)?$/.test(name));
      builder.onResolve({ filter: new RegExp(`^(?:${builtins.join("|")})$`) }, ({ path: name }) => ({
        path: `node:${name}`,
        external: true,
      }));
    },
  };
}

function cutServer(source: string): string {
  const served = /\w+\(\w+\(\{fetch:(\w+)\.fetch,port:\w+\}\)\),console\.clear\(\)/.exec(source);
  if (served === null) {
    throw new Error("this is not the version of Portkey's gateway that the bench knows");
  }
  return `${source.slice(source.indexOf("\n") + 1, served.index)}\nexport { ${served[1]} as app };`;
}
