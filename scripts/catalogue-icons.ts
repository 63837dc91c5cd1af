/** `npm run catalogue:icons`: copies the pictures of the catalogue's providers from `@lobehub/icons-static-svg` to public/provider-icons. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.dirname(import.meta.dirname);
const from = path.join(root, "node_modules/@lobehub/icons-static-svg");
const to = path.join(root, "public/provider-icons");

/** The package's file for each provider. */
const pictures: Readonly<Record<string, string>> = {
  openai: "openai",
  anthropic: "anthropic",
  azure_openai: "azureai-color",
  gemini: "gemini-color",
  vertex_ai: "vertexai-color",
  bedrock: "bedrock-color",
  mistral: "mistral-color",
  deepseek: "deepseek-color",
  groq: "groq",
  xai: "xai",
  cohere: "cohere-color",
  together: "together-color",
  fireworks: "fireworks-color",
  openrouter: "openrouter",
  moonshot: "moonshot",
  zhipu: "zhipu-color",
  dashscope: "qwen-color",
  siliconflow: "siliconcloud-color",
  minimax: "minimax-color",
  ollama: "ollama",
  cloudflare_workers_ai: "workersai-color",
};

/** Drawn here: a plug, and a tray. */
const drawn: Readonly<Record<string, string>> = {
  openai_compatible: "M9 2v5M15 2v5M6 7h12v4a6 6 0 0 1-12 0zM12 17v5",
  sandbox: "M3 9h18v9a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3zM3 9l3-6h12l3 6M8 14h8",
};

const notice = `The pictures of vendors come from lobehub/lobe-icons (@lobehub/icons-static-svg), MIT License, Copyright (c) LobeHub.
openai_compatible.svg and sandbox.svg are this project's own. Names and marks belong to their owners and only say whose service is meant.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions: The above copyright notice and this permission notice shall be included in all copies or substantial portions
of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`;

rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
for (const [provider, picture] of Object.entries(pictures)) {
  const svg = readFileSync(path.join(from, "icons", `${picture}.svg`), "utf8");
  if (/<script|\son\w+=|href="(?!#)/i.test(svg)) {
    throw new Error(`${picture}.svg does more than show a picture`);
  }
  writeFileSync(path.join(to, `${provider}.svg`), `${svg.trim()}\n`);
}
for (const [provider, line] of Object.entries(drawn)) {
  const stroke = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"';
  const svg = `<svg height="1em" viewBox="0 0 24 24" width="1em" xmlns="http://www.w3.org/2000/svg"><path d="${line}" ${stroke}/></svg>`;
  writeFileSync(path.join(to, `${provider}.svg`), `${svg}\n`);
}
writeFileSync(path.join(to, "LICENSE.txt"), notice);
