// axe-core finds nothing, in every view and state, light and dark.
import { type Page } from "@playwright/test";
import { expectAccessible } from "../support/axe.ts";
import { deadLetter, inBerlin, product, sql } from "../support/product.ts";
import { connection, newTask, openTask, panel, row } from "../support/page.ts";
import { expect, go, test } from "../support/test.ts";

/** Looks at a view in both appearances. */
async function inBoth(page: Page, what: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await expectAccessible(page, `${what}, ${colorScheme}`);
  }
}

const tonight = () => inBerlin(0, 23, 59).toISOString();

test("signing in", async ({ context }) => {
  const page = await context.newPage();
  await page.goto(`${product.url}/`);
  await expect(page.getByLabel("Token", { exact: true })).toBeVisible();
  await inBoth(page, "sign-in");
  await page.getByLabel("Token", { exact: true }).fill("not a token");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByText("This is not a JSON Web Token")).toBeVisible();
  await inBoth(page, "a refused token");
});

test("empty lists", async ({ page }) => {
  for (const view of ["today", "upcoming", "all", "done", "tag/none", "search?q=nothing"]) {
    await go(page, `#/${view}`);
    await expect(page.getByRole("main").locator(".state")).toBeVisible();
    await inBoth(page, `empty ${view}`);
  }
});

test("full lists, with every kind of row", async ({ page, user }) => {
  await user.create({ title: "overdue", due_at: inBerlin(-1, 9).toISOString(), priority: "urgent" });
  await user.create({ title: "today", due_at: tonight(), priority: "high", tags: ["home", "work"], recurrence: { type: "daily" }, reminders: [{ before_due: "PT15M" }] });
  await user.create({ title: "tomorrow", due_at: inBerlin(1, 9).toISOString(), priority: "low" });
  await user.create({ title: "undated" });
  await user.create({ title: "الاتصال بطبيب الأسنان", due_at: tonight() });
  const done = await user.create({ title: "done", tags: ["home"] });
  await user.complete(done.id);
  for (const [view, shown] of [["today", "today"], ["upcoming", "tomorrow"], ["all", "undated"], ["done", "done"], ["tag/home", "today"], ["search?q=o", "tomorrow"]] as const) {
    await go(page, `#/${view}`);
    await expect(row(page, shown)).toBeVisible();
    await inBoth(page, view);
  }
});

test("a list on a phone", async ({ open, user }) => {
  await user.create({ title: "today", due_at: tonight(), tags: ["home"] });
  const page = await open(user, "#/today", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await expect(row(page, "today")).toBeVisible();
  await inBoth(page, "the list on a phone");
  await openTask(page, "today");
  await inBoth(page, "a task on a phone");
});

test("states of failure", async ({ page, user, problems }) => {
  problems.expectStatus(403, 404, 422, 503);
  await user.create({ title: "refused", due_at: tonight() });
  await expect(row(page, "refused")).toBeVisible();
  const body = (status: number) => ({ type: "about:blank", title: "No", status, detail: "this cannot be done" });
  await page.route("**/complete", (route) => route.fulfill({ status: 422, contentType: "application/problem+json", json: body(422) }));
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await expect(row(page, "refused").getByRole("alert")).toBeVisible();
  await inBoth(page, "a refused change");
  await page.route("**/v1/tasks?**", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", json: body(503) }));
  await go(page, "#/done");
  await expect(page.getByRole("main").getByRole("alert")).toBeVisible();
  await inBoth(page, "a list that could not be loaded");
  await go(page, "#/system");
  await expect(page.getByRole("main").getByRole("alert").first()).toBeVisible();
  await inBoth(page, "no permission");
});

test("offline", async ({ page, context, user, problems }) => {
  problems.expectOffline();
  await user.create({ title: "dentist", due_at: tonight() });
  await expect(row(page, "dentist")).toBeVisible();
  await expect(connection(page)).toHaveText(/^Live: /);
  await context.setOffline(true);
  await expect(page.getByRole("main")).toContainText("You are offline.");
  await inBoth(page, "offline");
});

test("quick add with its parts open", async ({ page }) => {
  await newTask(page).fill("pay the rent");
  for (const part of ["Due", "Remind", "Repeat"]) {
    await page.getByRole("button", { name: part, exact: true }).click();
    await expect(page.getByRole("group", { name: part })).toBeVisible();
    await inBoth(page, `quick add, ${part}`);
    await page.keyboard.press("Escape");
  }
});

test("a task with its forms, reminders, timeline and history", async ({ page, user }) => {
  const { id } = await user.create({
    title: "dentist", description: "ask for Dr. Marlow", due_at: tonight(), tags: ["health"], recurrence: { type: "monthly" }, reminders: [{ before_due: "PT15M" }],
  });
  await user.change(id, { title: "call the dentist" });
  await go(page, `#/today/task/${id}/reminder/${(await user.read(id)).reminders[0]!.id}`);
  const task = panel(page);
  await expect(task.getByRole("region", { name: "What happened" })).toBeVisible();
  await task.getByRole("button", { name: "History" }).click();
  await expect(task.getByText("You created it.")).toBeVisible();
  await inBoth(page, "the panel");
  for (const name of [/^Due: /, /^Every /]) {
    await task.getByRole("button", { name }).click();
    await expect(task.getByRole("button", { name: "Cancel", exact: true })).toBeVisible();
    await inBoth(page, `the form ${name}`);
    await task.getByRole("button", { name: "Cancel", exact: true }).click();
  }
  await task.getByRole("button", { name: "Add a reminder" }).click();
  await inBoth(page, "the form of a reminder");
});

test("menus and dialogs", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: tonight(), reminders: [{ before_due: "PT1M" }] });
  await expect(row(page, "dentist")).toBeVisible();
  await page.getByRole("button", { name: "Account" }).click();
  await inBoth(page, "the account menu");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await inBoth(page, "the help");
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("s");
  await expect(page.getByRole("dialog")).toBeVisible();
  await inBoth(page, "snoozing");
});

test("settings", async ({ page }) => {
  await go(page, "#/settings");
  await expect(page.getByRole("heading", { name: "Settings", level: 1 })).toBeVisible();
  await page.getByRole("button", { name: "Messages sent to you" }).click();
  await inBoth(page, "settings");
  await page.getByRole("button", { name: "Erase…" }).click();
  await inBoth(page, "erasing");
});

test("system, with a dead letter", async ({ open, operator, user }) => {
  await deadLetter("task-created", `not an event ${user.id}`);
  const page = await open(operator, "#/system");
  await expect(page.getByRole("button", { name: /^Replay/ }).first()).toBeVisible();
  await page.getByRole("button", { name: "Message" }).first().click();
  await inBoth(page, "system");
  sql(`delete from dead_letters where payload like '%${user.id}%'`);
});

test("a link in a mail", async ({ context }) => {
  const page = await context.newPage();
  await page.goto(`${product.url}/#/act/${Buffer.alloc(90, 1).toString("base64url")}`);
  await expect(page.getByRole("main").getByRole("button")).toBeVisible();
  await inBoth(page, "a link in a mail");
});
