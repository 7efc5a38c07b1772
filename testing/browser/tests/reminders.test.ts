// Reminders and their timelines. Those that fire here really fire, and their mail arrives.
import { inBerlin, mailTo } from "../support/product.ts";
import { check, openTask, panel, row } from "../support/page.ts";
import { expect, go, test } from "../support/test.ts";

const soon = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

test("a reminder fires, its mail arrives, and its timeline tells each step in words", async ({ page, user }) => {
  const title = `call the dentist ${user.id}`;
  await user.create({ title, reminders: [{ remind_at: soon(5) }] });
  await go(page, "#/all");
  const task = await openTask(page, title);
  await expect(task.getByText("Will come by email")).toBeVisible();
  await task.getByRole("link", { name: /^What happened to the reminder for / }).click();
  const timeline = task.getByRole("region", { name: "What happened" });
  await expect.poll(() => mailTo(user).length, { timeout: 15_000 }).toBe(1);
  expect(mailTo(user)[0]!.subject).toContain(title);
  await expect(timeline.getByRole("status")).toContainText(/^Sent .*by email, .* after its time\.$/, { timeout: 10_000 });
  const steps = timeline.getByRole("listitem").filter({ has: page.locator("details") });
  await expect(steps).toContainText([/Set for /, /Armed/, /Fired/, /Written to the mail folder/]);
  await task.getByRole("link", { name: /^What happened to the reminder for / }).click();
  await expect(task.getByText("Sent by email · How?")).toBeVisible();
});

test("a task without a due time stays in Today after its reminder has come, until it is done", async ({ page, user }) => {
  const title = `bread ${user.id}`;
  await user.create({ title, reminders: [{ remind_at: soon(3) }] });
  await go(page, "#/today");
  await expect.poll(() => mailTo(user).length, { timeout: 15_000 }).toBe(1);
  await expect.poll(async () => (await user.named(title)).reminders[0]!.state).toBe("sent");
  await expect(row(page, title).getByTitle(/^Reminded /)).toBeVisible();
  await page.reload();
  await expect(row(page, title)).toBeVisible();
  await go(page, "#/all");
  await expect(page.getByRole("heading", { name: /^Today · / })).toBeVisible();
  await check(page, title).click();
  await go(page, "#/upcoming");
  await go(page, "#/today");
  await expect(row(page, title)).toHaveCount(0);
});

test("a row says that its reminder was not sent, and leads to the reason", async ({ page, user }) => {
  const created = await user.create({ title: "dentist", due_at: inBerlin(1, 9).toISOString(), reminders: [{ before_due: "PT15M" }] });
  // A double of a refusal by every provider, which takes hours.
  await page.route("**/v1/tasks?**", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    for (const task of body.items) for (const reminder of task.reminders) reminder.state = "failed";
    await route.fulfill({ response: answer, json: body });
  });
  await go(page, "#/all");
  await page.reload();
  await row(page, "dentist").getByRole("link", { name: "not sent" }).click();
  await expect(page).toHaveURL(new RegExp(`/task/${created.id}/reminder/${created.reminders[0]!.id}$`));
  // The lists that are still loading.
  await page.unrouteAll({ behavior: "wait" });
});

test("each step has its exact time on hover and the raw entry behind details", async ({ page, user }) => {
  const created = await user.create({ title: "dentist", due_at: inBerlin(1, 9).toISOString(), reminders: [{ before_due: "PT15M" }] });
  await go(page, `#/all/task/${created.id}/reminder/${created.reminders[0]!.id}`);
  const first = panel(page).getByRole("region", { name: "What happened" }).getByRole("listitem").filter({ hasText: "Set for" });
  await expect(first).toContainText("(15 minutes before due)");
  await expect(first.getByRole("time")).toHaveAttribute("title", /\d{4}.*\d\d:\d\d:\d\d/);
  await first.getByText("details").click();
  await expect(first.locator("pre")).toContainText('"what": "created"');
});

test("a reminder that did not come says the reason first", async ({ page, user }) => {
  const created = await user.create({ title: "dentist", due_at: inBerlin(1, 9).toISOString(), reminders: [{ before_due: "PT15M" }] });
  await user.complete(created.id);
  await go(page, `#/done/task/${created.id}/reminder/${created.reminders[0]!.id}`);
  await expect(panel(page).getByRole("region", { name: "What happened" }).getByRole("status")).toHaveText(/^Not sent: you completed the task at \d\d:\d\d\.$/);
  await expect(panel(page)).toContainText("Cancelled, because the task was completed");
});

test("a reminder is added before the due time, with its channels", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: inBerlin(1, 9).toISOString() });
  await go(page, "#/upcoming");
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: "Add a reminder" }).click();
  const form = task.getByRole("group", { name: "Add a reminder" });
  await form.getByRole("button", { name: "Notification" }).click();
  await form.getByRole("button", { name: "1 hour before" }).click();
  await expect(task.getByText("Will come by email and notification")).toBeVisible();
  await expect.poll(async () => (await user.read(id)).reminders.map(({ before_due, channels }) => [before_due, channels])).toEqual([["PT1H", ["email", "push"]]]);
});

test("a reminder is added at a time", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist" });
  await go(page, "#/all");
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: "Add a reminder" }).click();
  await task.getByLabel("Date", { exact: true }).fill("2031-05-31");
  await task.getByLabel("Time", { exact: true }).fill("08:00");
  await task.getByRole("button", { name: "Add", exact: true }).click();
  await expect.poll(async () => (await user.read(id)).reminders[0]?.remind_at).toMatch(/^2031-05-31T06:00:00/);
});

test("a reminder is snoozed, and the snooze can be undone", async ({ page, user }) => {
  const created = await user.create({ title: "dentist", reminders: [{ remind_at: inBerlin(1, 9).toISOString() }] });
  await go(page, "#/all");
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: /^Snooze, send or cancel/ }).click();
  await page.getByRole("menuitem", { name: "1 hour", exact: true }).click();
  await expect.poll(async () => Date.parse((await user.read(created.id)).reminders[0]!.remind_at)).toBeLessThan(Date.now() + 61 * 60_000);
  await page.getByRole("button", { name: "Undo" }).click();
  await expect.poll(async () => Date.parse((await user.read(created.id)).reminders[0]!.remind_at)).toBe(inBerlin(1, 9).getTime());
});

test("a reminder is sent now", async ({ page, user }) => {
  const title = `send now ${user.id}`;
  await user.create({ title, reminders: [{ remind_at: inBerlin(1, 9).toISOString() }] });
  await go(page, "#/all");
  const task = await openTask(page, title);
  await task.getByRole("button", { name: /^Snooze, send or cancel/ }).click();
  await page.getByRole("menuitem", { name: "Send now" }).click();
  await expect.poll(() => mailTo(user).length, { timeout: 15_000 }).toBe(1);
  await expect(task.getByText("Sent by email")).toBeVisible();
});

test("a reminder is cancelled, and its timeline stays reachable by its address", async ({ page, user }) => {
  const created = await user.create({ title: "dentist", reminders: [{ remind_at: inBerlin(1, 9).toISOString() }] });
  const reminder = created.reminders[0]!.id;
  await go(page, "#/all");
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: /^Snooze, send or cancel/ }).click();
  await page.getByRole("menuitem", { name: "Cancel the reminder" }).click();
  await expect(task.getByRole("link", { name: /^What happened to the reminder/ })).toHaveCount(0);
  await expect.poll(async () => (await user.read(created.id)).reminders).toEqual([]);
  await go(page, `#/all/task/${created.id}/reminder/${reminder}`);
  await expect(panel(page).getByRole("region", { name: "What happened" }).getByRole("status")).toContainText("Not sent: you cancelled it");
});

test("a timeline can be read after its task was deleted", async ({ page, user, problems }) => {
  problems.expectStatus(404);
  const created = await user.create({ title: "dentist", reminders: [{ remind_at: inBerlin(1, 9).toISOString() }] });
  await user.ask("DELETE", `/v1/tasks/${created.id}`);
  await go(page, `#/today/task/${created.id}/reminder/${created.reminders[0]!.id}`);
  await expect(panel(page)).toContainText("Not sent: you deleted the task");
});
