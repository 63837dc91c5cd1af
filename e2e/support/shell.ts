/** The documents' commands as a reader runs them: fenced blocks found by their marks, pasted one after the other into one shell. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** A marked block: `<!-- ci: run -->` for the shell, `<!-- ci: sdk -->` for a program, others for CI's own steps. */
export interface Block {
  /** Where it stands, such as `README.md:41`. */
  readonly place: string;
  readonly mark: string;
  readonly text: string;
  /** What the text around says that it prints, in this order, as in `<!-- ci: run prints 401 … 200 -->`. */
  readonly prints: readonly string[];
}

/** What a pasted block did. */
export interface Outcome {
  readonly exitCode: number;
  readonly output: string;
}

export interface Shell {
  /** Runs a block; variables and functions that it sets stay. Throws when it takes longer than a minute. */
  paste(text: string): Promise<Outcome>;
  end(): void;
}

const blockLimitMs = 60_000;

/** All marked blocks in the order in which a new user reads: README.md, the first call, the clients, the manual, the other guides. */
export function readBlocks(root: string): Block[] {
  const first = "docs/guides/first-call.md";
  const guides = listTexts(root, "docs/guides").filter((file) => file !== first);
  return ["README.md", first, "clients/README.md", ...listTexts(root, "docs"), ...guides].flatMap((file) => {
    const text = readFileSync(path.join(root, file), "utf8");
    return [...text.matchAll(/^<!-- ci: (\w+)(?: prints ([^\n]+))? -->\n```\w*\n(.*?)^```$/gms)].map((match) => ({
      place: `${file}:${text.slice(0, match.index).split("\n").length}`,
      mark: match[1] ?? "",
      text: match[3] ?? "",
      prints: match[2]?.split(" … ") ?? [],
    }));
  });
}

/** The texts that stand in two languages, as pairs of paths: README and each guide. */
export function listTwins(root: string): (readonly [english: string, chinese: string])[] {
  const guides = listTexts(root, "docs/guides").map((file) => [file, file.replace("guides/", "guides/zh/")] as const);
  return [["README.md", "README.zh.md"], ...guides];
}

/** A text's fenced blocks, marked or not, with their languages. */
export function readFences(root: string, file: string): string[] {
  return [...readFileSync(path.join(root, file), "utf8").matchAll(/^```.*?^```$/gms)].map(([fence]) => fence);
}

function listTexts(root: string, folder: string): string[] {
  const names = readdirSync(path.join(root, folder)).filter((name) => name.endsWith(".md"));
  return names.toSorted().map((name) => `${folder}/${name}`);
}

/** Opens a shell with these variables, beside the few of ours that programs need. */
export function openShell(cwd: string, variables: Readonly<Record<string, string>>): Shell {
  const { PATH = "", HOME = "" } = process.env;
  const shell = spawn("bash", ["--noprofile", "--norc"], { cwd, env: { PATH, HOME, ...variables } });
  let heard = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      heard += text;
    });
  }
  let pasted = 0;
  async function paste(text: string): Promise<Outcome> {
    pasted += 1;
    const end = new RegExp(`\\n@@ end ${pasted} (\\d+) @@\\n`);
    heard = "";
    shell.stdin.write(`${text}\nprintf '\\n@@ end ${pasted} %s @@\\n' $?\n`);
    const deadline = Date.now() + blockLimitMs;
    for (;;) {
      const found = end.exec(heard);
      if (found !== null) {
        return { exitCode: Number(found[1]), output: heard.slice(0, found.index) };
      }
      if (Date.now() > deadline || shell.exitCode !== null) {
        throw new Error(`the shell did not come to the end of\n${text}\nIt printed:\n${heard}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return { paste, end: () => shell.kill("SIGKILL") };
}

/** Every JSON object in a text, whatever stands between them. */
export function findObjects(text: string): Readonly<Record<string, unknown>>[] {
  const found: Readonly<Record<string, unknown>>[] = [];
  for (let at = text.indexOf("{"); at >= 0; at = text.indexOf("{", at)) {
    const end = endOfObject(text, at);
    try {
      found.push(JSON.parse(text.slice(at, end)) as Readonly<Record<string, unknown>>);
      at = end;
    } catch {
      at += 1;
    }
  }
  return found;
}

/** The index after the brace that closes the one at `from`; the text's end when none does. */
function endOfObject(text: string, from: number): number {
  let depth = 0;
  let inString = false;
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (inString) {
      at += character === "\\" ? 1 : 0;
      inString = character !== '"';
    } else if (character === '"') {
      inString = true;
    } else if (character === "{") {
      depth += 1;
    } else if (character === "}") {
      depth -= 1;
      if (depth === 0) {
        return at + 1;
      }
    }
  }
  return text.length;
}
