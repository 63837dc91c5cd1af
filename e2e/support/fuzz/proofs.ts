/** What people prove themselves with: a code out of a letter, a passkey of an authenticator in software. */
import { type Authenticator, type CeremonyOptions, newAuthenticator } from "../../../test/support/authenticator.ts";
import { connect, expectOk } from "../client.ts";
import { type Invitee, readLetter } from "./people.ts";
import { text } from "./tenant.ts";

/** Before a text that is JSON, where a value and not a text is meant. */
export const jsonMark = "json:";

type Maker = () => Promise<string | null>;

/** Makes codes and ceremonies for a server. `door`: the origin that their answers are sent to. `next` gives somebody unused, `leaver` the session of who adds passkeys. */
export function proofMakers(
  url: string,
  door: string,
  next: () => Invitee | null,
  leaver: () => Promise<string | null>,
): Readonly<Record<string, Maker>> {
  let asked: Promise<Readonly<Record<"handle" | "code", string>>> | null = null;
  let owner: Promise<Authenticator> | null = null;
  const askOnce = (): NonNullable<typeof asked> => (asked ??= askForCode(url, next()));
  return {
    signInHandle: async () => (await askOnce()).handle,
    signInCode: async () => (await askOnce()).code,
    async passkeyRegistration() {
      return `${jsonMark}${JSON.stringify(await (await newAuthenticator()).create(await ask(url, await leaver()), door))}`;
    },
    passkey: async () => (await addPasskey(url, await leaver())).id,
    async passkeyAssertion() {
      owner ??= joinAndAdd(url, next());
      return `${jsonMark}${JSON.stringify(await (await owner).get(await ask(url, null), door))}`;
    },
  };
}

async function askForCode(url: string, person: Invitee | null) {
  const email = person?.email ?? "";
  await person?.join();
  const answer = expectOk(await connect(url, null)("POST", "/auth/email-code", { email }));
  const letter = await readLetter(url, email, /\b(\d{4})[ -]?(\d{4})\b/);
  return { handle: text(answer, "handle"), code: letter.replaceAll(/\D/g, "") };
}

/** The options of a ceremony: of adding for who is signed in, of signing in for nobody. */
async function ask(url: string, token: string | null): Promise<CeremonyOptions> {
  const path = token === null ? "/auth/passkey/options" : "/me/passkeys/options";
  const body: unknown = expectOk(await connect(url, token)("POST", path));
  return body as CeremonyOptions;
}

async function addPasskey(url: string, token: string | null) {
  const authenticator = await newAuthenticator();
  const response = await authenticator.create(await ask(url, token), url);
  const { id } = expectOk(await connect(url, token)("POST", "/me/passkeys", { name: "Of the run", response }));
  return { id: String(id), authenticator };
}

async function joinAndAdd(url: string, person: Invitee | null): Promise<Authenticator> {
  return (await addPasskey(url, (await person?.join()) ?? null)).authenticator;
}
