/** GET /dev/outbox, on local runs only: the letters that went out, written anew by the writers that sent them. No letter is stored. */
import { desc, eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { escapeHtml } from "../base/html.js";
import { requireSettings } from "../base/settings.js";
import { prefersHtml } from "../http/accept.js";
import type { Letter, LetterWriters } from "./letter.js";
import { outbox, type LetterKind } from "./model.js";

const shownLetters = 50;

interface ShownLetter extends Letter {
  readonly kind: LetterKind;
  readonly created_at: string;
}

/** The newest 50 sent letters, as JSON, or as a page when `Accept` prefers HTML. Throws `not_found` unless local and on the `outbox` transport. */
export async function showOutbox(request: Request, env: Env, db: Database, writers: LetterWriters): Promise<Response> {
  const settings = requireSettings(env);
  if (!settings.isLocal || settings.mail?.transport !== "outbox") {
    throw new AppError("not_found");
  }
  const letters = await readLetters(env, db, writers);
  const headers = { "cache-control": "no-store", vary: "accept" };
  if (!prefersHtml(request.headers.get("accept"))) {
    return new Response(JSON.stringify({ data: letters }), {
      headers: { ...headers, "content-type": "application/json" },
    });
  }
  return new Response(toPage(letters, settings.publicUrl), {
    headers: {
      ...headers,
      "content-type": "text/html; charset=utf-8",
      "content-security-policy":
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    },
  });
}

async function readLetters(env: Env, db: Database, writers: LetterWriters): Promise<readonly ShownLetter[]> {
  const rows = await hideSql(
    db
      .select()
      .from(outbox)
      .where(eq(outbox.state, "sent"))
      .orderBy(desc(outbox.createdAt), desc(outbox.id))
      .limit(shownLetters)
      .all(),
  );
  const letters = await Promise.all(
    rows.map(async (row): Promise<ShownLetter[]> => {
      const written = await writers[row.kind](env, db, row);
      const created_at = new Date(row.createdAt).toISOString();
      return written === null ? [] : [{ ...written.letter, kind: row.kind, created_at }];
    }),
  );
  return letters.flat();
}

function toPage(letters: readonly ShownLetter[], ownOrigin: string): string {
  const list = letters.map((letter) => toArticle(letter, ownOrigin)).join("\n");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Outbox</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; background: #fff; }
article { border: 1px solid #ccc; border-radius: 8px; padding: 1rem; margin: 1rem 0; }
h2 { font-size: 1.1rem; margin: 0 0 .25rem; }
p { margin: 0; color: #555; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 1rem 0 0; font: inherit; }
</style>
</head>
<body>
<h1>Outbox</h1>
<p>Letters of this local run, newest first. Nothing left the machine.</p>
${list === "" ? "<p>No letter has been sent yet.</p>" : list}
</body>
</html>
`;
}

/** The text form with links to ourselves made clickable; everything is escaped. */
function toArticle(letter: ShownLetter, ownOrigin: string): string {
  const text = letter.text
    .split(/(https?:\/\/\S+)/)
    .map((part) => {
      const safe = escapeHtml(part);
      return part.startsWith(`${ownOrigin}/`) ? `<a href="${safe}">${safe}</a>` : safe;
    })
    .join("");
  return `<article>
<h2>${escapeHtml(letter.subject)}</h2>
<p>To ${escapeHtml(letter.to)} · ${letter.kind} · <time>${letter.created_at}</time></p>
<pre>${text}</pre>
</article>`;
}
