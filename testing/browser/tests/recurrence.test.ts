// Repetition: a sentence, the next five dates, and the reason for each shift.
import { type Locator } from "@playwright/test";
import { openTask } from "../support/page.ts";
import { expect, go, test } from "../support/test.ts";

/** The line of a task's repetition. */
const repetition = (task: Locator) => task.getByRole("button", { name: /^(Repeat$|Every |By the rule )/ });

test("a repetition is a sentence, with its next five dates and the reason for each shift", async ({ page, user }) => {
  await user.create({ title: "nightly", due_at: "2027-03-26T01:30:00Z", time_zone: "Europe/Berlin", recurrence: { type: "daily" } });
  await go(page, "#/all");
  const task = await openTask(page, "nightly");
  await expect(repetition(task)).toContainText("Every day, from the due date");
  const dates = task.getByRole("list", { name: "Next dates" }).getByRole("listitem");
  await expect(dates).toHaveCount(5);
  await expect(dates.nth(1)).toContainText(/28 Mar.* 03:30: 02:30 does not exist that night/);
  await expect(dates.nth(2)).toContainText(/29 Mar.* 02:30$/);
});

test("a day that a month does not have is named with its month", async ({ page, user }) => {
  await user.create({ title: "salary", due_at: "2027-01-31T08:00:00Z", time_zone: "Europe/Berlin", recurrence: { type: "monthly" } });
  await go(page, "#/all");
  const task = await openTask(page, "salary");
  await expect(repetition(task)).toContainText("Every month on the 31st or the last day, from the due date");
  await expect(task.getByRole("list", { name: "Next dates" }).getByRole("listitem").first()).toContainText("February has no 31st, so its last day");
});

test("a repetition is chosen in a form that shows the dates before it is saved", async ({ page, user }) => {
  const { id } = await user.create({ title: "rent", due_at: "2027-01-31T08:00:00Z", time_zone: "Europe/Berlin" });
  await go(page, "#/all");
  const task = await openTask(page, "rent");
  await repetition(task).click();
  const form = task.getByRole("group", { name: "Repeat" });
  await form.getByLabel("Unit").selectOption("month");
  await form.getByLabel("On", { exact: true }).selectOption("on the last day");
  const dates = form.getByRole("list", { name: "Next dates" }).getByRole("listitem");
  await expect(dates).toHaveText([/28 Feb/, /31 Mar/, /30 Apr/, /31 May/, /30 Jun/]);
  expect((await user.read(id)).recurrence ?? null, "nothing is saved yet").toBeNull();
  await form.getByRole("button", { name: "Save" }).click();
  await expect(repetition(task)).toContainText("Every month on the last day, from the due date");
  await expect.poll(async () => (await user.read(id)).recurrence?.rule).toBe("FREQ=MONTHLY;BYMONTHDAY=-1");
});

test("a rule that the server refuses is refused in its words, in the form", async ({ page, user, problems }) => {
  problems.expectStatus(422);
  await user.create({ title: "rent", due_at: "2027-01-31T08:00:00Z" });
  await go(page, "#/all");
  const task = await openTask(page, "rent");
  await repetition(task).click();
  await task.getByLabel("Unit").selectOption("by a rule (RRULE)");
  await task.getByLabel("Rule").fill("FREQ=SOMETIMES");
  await expect(task.getByRole("group", { name: "Repeat" }).getByRole("alert")).toBeVisible();
});

test("a completed task of a series is followed by the next one, without a reload", async ({ page, user }) => {
  await user.create({ title: "water the plants", due_at: "2031-01-15T08:00:00Z", recurrence: { type: "weekly" } });
  await go(page, "#/all");
  const task = await openTask(page, "water the plants");
  await task.getByRole("button", { name: "Complete", exact: true }).click();
  await expect.poll(async () => (await user.tasks()).map(({ completed, due_at }) => [completed, due_at?.slice(0, 10)]).sort())
    .toEqual([[false, "2031-01-22"], [true, "2031-01-15"]]);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("main").locator("time[datetime^='2031-01-22']")).toBeVisible();
});

test("a change of one occurrence can be made for the later ones too", async ({ page, user }) => {
  const { id } = await user.create({ title: "plants", due_at: "2031-01-15T08:00:00Z", recurrence: { type: "weekly" } });
  await go(page, "#/all");
  const task = await openTask(page, "plants");
  await task.getByLabel("Title").fill("water the plants");
  await task.getByLabel("Title").press("Enter");
  await expect(task.getByText("Only this occurrence was changed.")).toBeVisible();
  const changed = page.waitForResponse((answer) => answer.request().postDataJSON()?.scope === "following");
  await task.getByRole("button", { name: "Change later ones too" }).click();
  expect((await changed).status()).toBe(200);
  await expect(task.getByText("Only this occurrence was changed.")).toHaveCount(0);
  await user.complete(id);
  await expect.poll(async () => (await user.tasks()).find(({ completed }) => !completed)?.title).toBe("water the plants");
});

test("deleting an occurrence says that it ends the series", async ({ page, user }) => {
  const { id } = await user.create({ title: "plants", due_at: "2031-01-15T08:00:00Z", recurrence: { type: "weekly" } });
  await go(page, "#/all");
  const task = await openTask(page, "plants");
  await task.getByRole("button", { name: "Delete" }).click();
  await expect(task).toContainText("Deleting it ends the series");
  expect((await user.send("GET", `/v1/tasks/${id}`)).status).toBe(200);
  await task.getByRole("button", { name: "Delete and end the series" }).click();
  await expect.poll(async () => (await user.send("GET", `/v1/tasks/${id}`)).status).toBe(404);
});
