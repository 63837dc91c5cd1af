/** People with sessions: invited by letter, as people come to a workspace. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Call, connect, expectOk } from "../client.ts";
import { rows, text } from "./tenant.ts";

/** Somebody who was invited and has not answered. */
export interface Invitee {
  readonly email: string;
  readonly token: string;
  /** Accepts, and answers the session's token. */
  join(): Promise<string>;
}

const limitMs = 60_000;
/** /dev/outbox shows the newest 50 letters, and others may write some meanwhile. */
const atOnce = 40;

/** Invites so many people under a name, and waits for their letters. */
export async function invitePeople(
  url: string,
  call: Call,
  name: string,
  count: number,
  role = "MEMBER",
): Promise<Invitee[]> {
  const emails = Array.from({ length: count }, (_, index) => `${name}-${index}@example.com`);
  const people: Invitee[] = [];
  for (let from = 0; from < count; from += atOnce) {
    const some = emails.slice(from, from + atOnce);
    expectOk(await call("POST", "/members/invite", { emails: some, role }));
    people.push(...(await readLetters(url, some)));
  }
  return people;
}

async function readLetters(url: string, emails: readonly string[]): Promise<Invitee[]> {
  const found = emails.map(async (email): Promise<Invitee> => {
    const token = await readLetter(url, email, /inv_[\w.-]+/);
    return { email, token, join: () => join(url, token, email) };
  });
  return await Promise.all(found);
}

/** What the pattern finds in the newest letter to somebody that has it; waits for it. */
export async function readLetter(url: string, to: string, pattern: RegExp): Promise<string> {
  const deadline = Date.now() + limitMs;
  while (Date.now() < deadline) {
    const letters = (await readOutbox(url)).filter((letter) => letter["to"] === to);
    const found = letters.map((letter) => pattern.exec(text(letter, "text"))?.[0]).find((one) => one !== undefined);
    if (found !== undefined) {
      return found;
    }
    await sleep(100);
  }
  throw new Error(`no letter came to ${to}`);
}

type Letters = readonly Readonly<Record<string, unknown>>[];
const outboxes = new Map<string, { readonly at: number; readonly letters: Promise<Letters> }>();

/** Who waits at the same time looks once. */
async function readOutbox(url: string): Promise<Letters> {
  const known = outboxes.get(url);
  if (known !== undefined && known.at > Date.now() - 80) {
    return await known.letters;
  }
  const call = connect(url, null)("GET", "/dev/outbox", undefined, { accept: "application/json" });
  const letters = call.then(({ body }) => rows(body));
  outboxes.set(url, { at: Date.now(), letters });
  return await letters;
}

async function join(url: string, token: string, email: string): Promise<string> {
  const name = email.slice(0, email.indexOf("@"));
  const joined = expectOk(await connect(url, null)("POST", `/invites/${token}/accept`, { name }));
  return text(joined, "session_token");
}
