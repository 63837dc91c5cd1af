import { sql } from "drizzle-orm";
import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { commit, guardChanged, guardThat, openDatabase } from "../../src/base/database.js";
import { AppError } from "../../src/base/errors.js";
import { users } from "../../src/identity/model.js";

const db = openDatabase(env.DB);

function user(id: string, email: string) {
  const now = new Date().toISOString();
  return db.insert(users).values({ id, name: id, email, createdAt: now, updatedAt: now });
}

describe("the record's guards", () => {
  it("a guard after a mutation that changed nothing rolls the whole batch back with its code", async ({ expect }) => {
    const missed = db
      .update(users)
      .set({ name: "x" })
      .where(sql`id = 'usr_absent'`);
    await expect(
      commit(db, [user("usr_g1", "g1@example.com"), missed, guardChanged(db, "precondition_failed")]),
    ).rejects.toMatchObject({ code: "precondition_failed" });
    expect(await db.$count(users, sql`id = 'usr_g1'`)).toBe(0);
  });

  it("a guard after a mutation that hit lets the batch through", async ({ expect }) => {
    await commit(db, [
      user("usr_g2", "g2@example.com"),
      guardChanged(db, "not_found"),
      guardThat(db, sql`1 = 1`, "not_found"),
    ]);
    expect(await db.$count(users, sql`id = 'usr_g2'`)).toBe(1);
  });

  it("a condition that is false or null refuses", async ({ expect }) => {
    await expect(commit(db, [guardThat(db, sql`NULL`, "in_use")])).rejects.toMatchObject({ code: "in_use" });
  });

  it("a UNIQUE failure is a conflict whose message holds no parameter", async ({ expect }) => {
    await commit(db, [user("usr_g3", "g3@example.com")]);
    const failure = await commit(db, [user("usr_g4", "g3@example.com")]).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(AppError);
    expect(failure).toMatchObject({ code: "conflict" });
    expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toContain("g3@example.com");
  });
});
