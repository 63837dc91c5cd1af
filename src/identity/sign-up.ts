/** Who may make an account by themselves; set-up and invites make theirs elsewhere. */
import { eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import type { SignInSettings } from "../base/sign-in-settings.js";
import { users } from "./model.js";

/** Whether an address may get an account without being invited: `SIGN_UP=open`, or its domain is listed. */
export function maySignUp(settings: SignInSettings, email: string): boolean {
  return settings.signUp === "open" || settings.signUpDomains.includes(email.slice(email.lastIndexOf("@") + 1));
}

/** The account of an address, or undefined. */
export async function findAccountByEmail(db: Database, email: string): Promise<typeof users.$inferSelect | undefined> {
  const [row] = await hideSql(db.select().from(users).where(eq(users.email, email)).limit(1).all());
  return row;
}
