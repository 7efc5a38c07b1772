// History, restore and undo.
import { type User, inBerlin } from "../support/product.ts";
import { check, openTask, panel, row } from "../support/page.ts";
import { expect, go, test } from "../support/test.ts";

/** Waits until the functions have handled so many events of a task. A deleted one has no history before they have handled the first. */
async function handled(user: User, id: string, events: number): Promise<void> {
  await expect.poll(async () => {
    const answer = await user.send("GET", `/v1/tasks/${id}/history`);
    if (answer.status === 404) return 0;
    const { items } = (await answer.json()) as { items: { event_id?: string }[] };
    return items.filter(({ event_id }) => event_id).length;
  }).toBe(events);
}

test("the history says what was changed, from what to what", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: inBerlin(2, 9).toISOString() });
  await user.change(id, { due_at: inBerlin(3, 10).toISOString() });
  await user.change(id, { title: "call the dentist", priority: "high" });
  await handled(user, id, 3);
  await go(page, `#/upcoming/task/${id}`);
  await panel(page).getByRole("button", { name: "History" }).click();
  const entries = panel(page).getByRole("listitem");
  await expect(entries.filter({ hasText: "You created it." })).toBeVisible();
  await expect(entries.filter({ hasText: /You moved it from .*09:00 to .*10:00\./ })).toBeVisible();
  await expect(entries.filter({ hasText: "You renamed it from “dentist” to “call the dentist”." })).toContainText("You changed the priority from");
});

test("an earlier content is restored from the history, and that can be undone", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: inBerlin(2, 9).toISOString() });
  await user.change(id, { title: "doctor" });
  await handled(user, id, 2);
  await go(page, `#/upcoming/task/${id}`);
  await panel(page).getByRole("button", { name: "History" }).click();
  await panel(page).getByRole("listitem").filter({ hasText: "You renamed it" }).getByRole("button", { name: "Restore" }).click();
  await expect(panel(page).getByLabel("Title")).toHaveValue("dentist");
  await expect.poll(async () => (await user.read(id)).title).toBe("dentist");
  await page.getByRole("button", { name: "Undo" }).first().click();
  await expect.poll(async () => (await user.read(id)).title).toBe("doctor");
});

test("a deleted task is restored from its history", async ({ page, user, problems }) => {
  problems.expectStatus(404);
  const { id } = await user.create({ title: "dentist", tags: ["health"] });
  await user.ask("DELETE", `/v1/tasks/${id}`);
  await handled(user, id, 2);
  await go(page, `#/all/task/${id}`);
  await panel(page).getByRole("listitem").filter({ hasText: "You deleted it." }).getByRole("button", { name: "Restore" }).click();
  await expect.poll(async () => (await user.send("GET", `/v1/tasks/${id}`)).status).toBe(200);
  expect(await user.read(id)).toMatchObject({ title: "dentist", tags: ["health"] });
});

test("z undoes the last act", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: inBerlin(0, 23, 59).toISOString() });
  await check(page, "dentist").click();
  await expect.poll(async () => (await user.read(id)).completed).toBe(true);
  await page.keyboard.press("z");
  await expect.poll(async () => (await user.read(id)).completed).toBe(false);
  await expect(check(page, "dentist")).not.toBeChecked();
});

test("an edit can be undone for ten seconds", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: inBerlin(0, 23, 59).toISOString() });
  const task = await openTask(page, "dentist");
  await task.getByLabel("Title").fill("doctor");
  await task.getByLabel("Title").press("Enter");
  await expect.poll(async () => (await user.read(id)).title).toBe("doctor");
  await page.getByRole("button", { name: "Undo" }).first().click();
  await expect.poll(async () => (await user.read(id)).title).toBe("dentist");
  await expect(row(page, "dentist")).toBeVisible();
});
