/** A Chromium of the machine's, driven by playwright-core, which brings none of its own. */
import { accessSync, constants } from "node:fs";
import path from "node:path";
import { type Browser, chromium } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge"];
const elsewhere = ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];

/** The path of a browser; null when this machine has none. `CHROMIUM` names one. */
export function findBrowser(): string | null {
  const named = process.env["CHROMIUM"] ?? "";
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  const places = folders.flatMap((folder) => names.map((name) => path.join(folder, name)));
  return [...(named === "" ? [] : [named]), ...places, ...elsewhere].find(isExecutable) ?? null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Starts the browser. Its own sandbox refuses to run as root. */
export async function startBrowser(executablePath: string): Promise<Browser> {
  return await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 });
}
