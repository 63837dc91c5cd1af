/** What the linter refuses, and the slope: which room under src/ may import which. */
import { defineConfig } from "oxlint";

/** Rooms from the bottom of the slope to its top. Rooms in one row are peers and never import each other. */
const slope = [
  ["base"],
  ["access", "providers"],
  ["http"],
  ["audit"],
  ["mail"],
  ["identity"],
  ["tenancy"],
  ["vault", "ledger"],
  ["keys", "connections", "toolbox", "usage", "webhooks"],
  ["models"],
  ["snapshot"],
  ["rotation", "workspaces"],
  ["routing"],
  ["tools"],
  ["gateway"],
  ["contract"],
] as const;

interface Pattern {
  group: string[];
  importNames?: string[];
  message: string;
}

const honoPattern: Pattern = {
  group: ["hono", "hono/**", "@hono/**"],
  message: "Only routes.ts, guard.ts, http/ and app.ts know Hono: pass plain values to a verb.",
};
const honoInModel: Pattern = {
  group: ["hono", "hono/**", "@hono/**", "!@hono/zod-openapi", "cloudflare:*"],
  message: "A model is schemas and tables only, and loads in plain Node (drizzle-kit reads it).",
};
const doorPattern: Pattern = {
  group: ["./routes.js", "../*/routes.js"],
  message: "Only app.ts mounts routes.",
};

/** Ways to the Worker on which nobody would hold its answers against the contract. */
const unchecked = "Send it by test/support/client.ts, which holds every answer against the contract.";
const workerPatterns: Pattern[] = [
  { group: ["cloudflare:workers"], importNames: ["exports"], message: unchecked },
  { group: ["cloudflare:test"], importNames: ["SELF"], message: unchecked },
  { group: ["**/src/app.js"], importNames: ["app"], message: unchecked },
];
const wirePattern: Pattern = {
  group: ["node:http", "node:https"],
  importNames: ["request", "get", "default"],
  message: "Send it by fetch, or by e2e/support/raw.ts, which hold every answer against the contract.",
};

/** Forbids every way out of a room but the ones downhill. `../*` with exceptions would miss `../x/y`. `up` leads from the file to src/. */
function slopePattern(level: number, up = "../"): Pattern {
  const downhill = slope.slice(0, level).flat();
  return {
    group: [`${up}**`, ...downhill.map((room) => `!${up}${room}/**`)],
    message:
      "Imports run downhill: see the slope in oxlint.config.ts. Move what both need down, or join the two higher up.",
  };
}

function restrictImports(patterns: Pattern[]) {
  return { "no-restricted-imports": ["error", { patterns }] as ["error", { patterns: Pattern[] }] };
}

/** A later override replaces an earlier one's rule as a whole, so each repeats the room's own slope. */
function restrictRoom(room: string, level: number) {
  const pattern = slopePattern(level);
  const folder = `src/${room}`;
  const all = { files: [`${folder}/**/*.ts`], rules: restrictImports([pattern, honoPattern, doorPattern]) };
  if (room === "http") {
    return [{ files: all.files, rules: restrictImports([pattern, doorPattern]) }];
  }
  return [
    all,
    { files: [`${folder}/**/{model,*-schema}.ts`], rules: restrictImports([pattern, honoInModel, doorPattern]) },
    { files: [`${folder}/**/{routes,*-routes,guard}.ts`], rules: restrictImports([pattern, doorPattern]) },
    // A room's own folders see the room's files beside them.
    ...restrictFolders(folder, slopePattern(level, "../../")),
  ];
}

function restrictFolders(folder: string, pattern: Pattern) {
  const inner = `${folder}/*`;
  return [
    { files: [`${inner}/**/*.ts`], rules: restrictImports([pattern, honoPattern, doorPattern]) },
    { files: [`${inner}/**/{model,*-schema}.ts`], rules: restrictImports([pattern, honoInModel, doorPattern]) },
    { files: [`${inner}/**/{routes,*-routes,guard}.ts`], rules: restrictImports([pattern, doorPattern]) },
  ];
}

export default defineConfig({
  plugins: ["eslint", "typescript", "unicorn", "oxc", "import", "promise"],
  categories: { correctness: "error", suspicious: "error" },
  options: { typeAware: true, denyWarnings: true },
  ignorePatterns: [
    "node_modules",
    ".wrangler",
    ".cache",
    "public",
    "migrations/meta",
    "worker-configuration.d.ts",
    "clients/typescript/schema.d.ts",
  ],
  rules: {
    curly: ["error", "all"],
    eqeqeq: "error",
    "import/no-cycle": ["error", { ignoreTypes: false }],
    "import/no-default-export": "error",
    "max-lines": ["error", { max: 300, skipBlankLines: true, skipComments: true }],
    "max-lines-per-function": ["error", { max: 50, skipBlankLines: true, skipComments: true }],
    "no-console": "error",
    "oxc/no-barrel-file": ["error", { threshold: 0 }],
    // tsc's noImplicitReturns does this, and knows when a switch is exhaustive.
    "typescript/consistent-return": "off",
    "typescript/consistent-type-imports": "error",
    "typescript/no-explicit-any": "error",
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/no-non-null-assertion": "error",
    "typescript/switch-exhaustiveness-check": "error",
  },
  overrides: [
    ...slope.flatMap((rooms, level) => rooms.flatMap((room) => restrictRoom(room, level))),
    { files: ["src/index.ts", "bench/workers/*.ts", "*.config.ts"], rules: { "import/no-default-export": "off" } },
    { files: ["src/index.ts"], rules: { "oxc/no-barrel-file": "off" } },
    // Pages are made of the texts of docs/, which are no code.
    {
      files: ["src/http/guide-texts.ts"],
      rules: restrictImports([
        { group: ["../**", "!../../docs/**/*.md"], message: "Only texts of docs/ belong here." },
      ]),
    },
    // Generated tables, a model a line.
    { files: ["src/providers/models/*.ts"], rules: { "max-lines": "off" } },
    // One entry for each code, or for each field of an example, and nothing else.
    {
      files: ["src/base/error-table.ts", "src/base/error-help.ts", "src/contract/words.ts"],
      rules: { "max-lines": "off" },
    },
    {
      files: [
        "src/base/log.ts",
        "*.config.ts",
        "scripts/**",
        "test/**",
        "e2e/**",
        "bench/**",
        "examples/**",
        "tools/**",
      ],
      rules: { "no-console": "off" },
    },
    {
      files: ["test/**", "e2e/**"],
      plugins: ["vitest"],
      rules: {
        "max-lines": "off",
        "max-lines-per-function": "off",
        // A test reads answers whose shape it is about to assert.
        "typescript/no-unsafe-type-assertion": "off",
        "vitest/no-focused-tests": "error",
        "vitest/no-disabled-tests": "error",
      },
    },
    { files: ["test/**"], rules: restrictImports(workerPatterns) },
    { files: ["test/support/client.ts"], rules: { "no-restricted-imports": "off" } },
    { files: ["e2e/**"], rules: restrictImports([wirePattern]) },
    // The generator checks each answer itself.
    { files: ["e2e/support/raw.ts", "e2e/support/fuzz/send.ts"], rules: { "no-restricted-imports": "off" } },
    // Miniflare's and the Worker's Request are two types for one object.
    { files: ["vitest.config.ts"], rules: { "typescript/no-unsafe-type-assertion": "off" } },
  ],
});
