// What operators see: the state of the deployment, and dead letters.
import { randomUUID } from "node:crypto";
import { deadLetter, sql } from "../support/product.ts";
import { expect, go, test } from "../support/test.ts";

test("only an operator has the link, and others are told that they may not see it", async ({ page, open, operator, problems }) => {
  problems.expectStatus(403);
  await expect(page.getByRole("link", { name: "System" })).toHaveCount(0);
  await go(page, "#/system");
  await expect(page.getByRole("main").getByRole("alert").first()).toContainText("Your account may not see this: ask an operator.");
  const theirs = await open(operator);
  await theirs.getByRole("link", { name: "System" }).click();
  await expect(theirs.getByRole("heading", { name: "System", level: 1 })).toBeVisible();
});

test("the state of the deployment is shown: lateness, messages, outbox, unclaimed, overdue", async ({ open, operator }) => {
  const page = await open(operator, "#/system");
  for (const name of ["Lateness", "Messages given up", "Outbox", "Unclaimed", "Overdue reminders", "Overdue messages"]) {
    await expect(page.getByRole("term").filter({ hasText: name })).toBeVisible();
  }
  await page.getByRole("button", { name: "Check again" }).click();
  await expect(page.getByText(/Checked at \d\d:\d\d/)).toBeVisible();
});

test("the messages of the last hour are counted by outcome, and those given up by reason", async ({ open, operator, user }) => {
  const task = await user.create({ title: "told in time", remind_at: new Date(Date.now() + 1_000).toISOString() });
  const deliveries = `from notification_deliveries where task_id = '${task.id}'`;
  await expect.poll(() => sql(`select state ${deliveries}`), { timeout: 20_000 }).toBe("sent");
  const page = await open(operator, "#/system");
  const numberOf = (hint: string, outcome: string | RegExp) => page.locator(".fact").filter({ hasText: hint }).getByRole("listitem").filter({ hasText: outcome });
  await expect(numberOf("What became of", /^\s*sent [1-9]/)).toBeVisible();
  const reason = `smtp RCPT: 550 ${randomUUID()}`;
  sql(`update notification_deliveries set state = 'failed', reason = '${reason}' where task_id = '${task.id}'`);
  await page.getByRole("button", { name: "Check again" }).click();
  await expect(numberOf("Messages given up", reason)).toHaveText(`Not sent: ${reason} 1`);
  await expect(numberOf("What became of", /not sent [1-9]/)).toBeVisible();
  await expect(async () => {
    // Other tests run at the same time: an event of theirs may be on its way, or a letter of theirs may be dead.
    await page.getByRole("button", { name: "Check again" }).click();
    await expect(page.getByText(/dead letters? needs? a person\.|messages? of the last two days (was|were) given up\./)).toBeVisible({ timeout: 1_000 });
  }).toPass({ timeout: 15_000 });
  sql(`delete ${deliveries}`);
});

test("a dead letter is shown with its reason and its message, and replayed", async ({ open, operator, user }) => {
  const { id } = await user.create({ title: "unlucky" });
  await user.change(id, { title: "very unlucky" });
  const claimed = () => sql(`select event_id from processed_events join task_events on event_id = task_events.id
    where consumer = 'task-updated' and task_id = '${id}'`);
  await expect.poll(claimed).not.toBe("");
  // As if the function had not handled the event, and daprd had given it up.
  const event = claimed();
  sql(`delete from processed_events where consumer = 'task-updated' and event_id = '${event}'`);
  await deadLetter("task-updated", JSON.stringify({ specversion: "1.0", id: event, type: "task.updated", source: "tasks", data: {} }));
  const page = await open(operator, "#/system");
  await expect(page.getByText(/dead letters? needs? a person\./)).toBeVisible();
  const letter = page.getByRole("listitem").filter({ hasText: "task.updated" });
  await expect(letter.first()).toContainText("daprd could not deliver it");
  await letter.first().getByRole("button", { name: "Message" }).click();
  await expect(letter.first().locator("pre")).toContainText(event);
  await letter.first().getByRole("button", { name: "Replay task.updated" }).click();
  await expect(letter.filter({ hasText: event })).toHaveCount(0);
  await expect.poll(claimed).toBe(event);
});

test("a letter that cannot be replayed says why in the server's words", async ({ open, operator, problems }) => {
  problems.expectStatus(409);
  const mark = randomUUID();
  await deadLetter("task-deleted", `no event at all ${mark}`);
  const page = await open(operator, "#/system");
  const letter = page.getByRole("listitem").filter({ hasText: "task-deleted" }).filter({ hasText: "unreadable" }).first();
  await letter.getByRole("button", { name: /^Replay/ }).click();
  await expect(page.getByText(/this letter cannot be replayed: the outbox has no such event/).first()).toBeVisible();
  await letter.getByRole("button", { name: "Message" }).click();
  await expect(letter.locator("pre")).toContainText("no event at all");
  sql(`delete from dead_letters where payload like '%${mark}%'`);
});
