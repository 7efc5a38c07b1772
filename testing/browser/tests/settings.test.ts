// Settings: what a person prefers, all data, and the end of an account.
import { readFile } from "node:fs/promises";
import { User, inBerlin } from "../support/product.ts";
import { row } from "../support/page.ts";
import { expect, go, signIn, test } from "../support/test.ts";

test.beforeEach(async ({ page }) => {
  await go(page, "#/settings");
  await expect(page.getByRole("heading", { name: "Settings", level: 1 })).toBeVisible();
});

test("the address that mail goes to is shown and cannot be edited", async ({ page, user }) => {
  const main = page.getByRole("main");
  await expect(main.getByText(user.email).first()).toBeVisible();
  await expect(main.getByText("The address comes from your sign-in and changes there.")).toBeVisible();
  await expect(main.getByRole("textbox", { name: /mail/i })).toHaveCount(0);
});

test("the time zone is found by typing, and every time on the page follows it", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: inBerlin(1, 9).toISOString() });
  const zone = page.getByRole("combobox", { name: "Time zone" });
  await zone.click();
  await zone.fill("new york");
  await page.getByRole("option", { name: /America\/New_York/ }).click();
  await expect.poll(async () => (await user.me()).time_zone).toBe("America/New_York");
  await go(page, "#/upcoming");
  await expect(row(page, "dentist")).toContainText("03:00");
});

test("the channels of new reminders are chosen, and one of them stays", async ({ page, user }) => {
  await page.getByRole("switch", { name: "By notification" }).click();
  await expect.poll(async () => (await user.me()).channels).toEqual(["email", "push"]);
  await page.getByRole("switch", { name: "By email" }).click();
  await expect.poll(async () => (await user.me()).channels).toEqual(["push"]);
  await page.getByRole("switch", { name: "By notification" }).click();
  await expect(page.getByText("Reminders need at least one way to reach you.")).toBeVisible();
  expect((await user.me()).channels).toEqual(["push"]);
});

test("a default reminder is chosen", async ({ page, user }) => {
  await page.getByLabel("Default reminder").selectOption("15 minutes before");
  await expect.poll(async () => (await user.me()).default_reminder).toBe("PT15M");
});

test("titles are hidden on the lock screen, and that can be undone", async ({ page, user }) => {
  const hide = page.getByRole("switch", { name: /^Hide titles on the lock screen/ });
  await hide.click();
  await expect.poll(async () => (await user.me()).hide_titles).toBe(true);
  await page.getByRole("button", { name: "Undo" }).first().click();
  await expect.poll(async () => (await user.me()).hide_titles).toBe(false);
  await expect(hide).not.toBeChecked();
});

test("the appearance is chosen and survives a reload", async ({ page }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor + getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByLabel("Appearance").selectOption("Dark");
  await expect(page.locator(":root")).toHaveAttribute("data-theme", "dark");
  expect(await background()).not.toBe(light);
  await page.reload();
  await expect(page.locator(":root")).toHaveAttribute("data-theme", "dark");
  await page.getByLabel("Appearance").selectOption("Same as this device");
  expect(await background()).toBe(light);
});

test("the appearance follows the system", async ({ page }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await page.emulateMedia({ colorScheme: "dark" });
  expect(await background()).not.toBe(light);
});

test("all data are exported as one complete file", async ({ page, user }) => {
  await user.create({ title: "to be exported", tags: ["garden"] });
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export my data" }).click();
  const file = await download;
  expect(file.suggestedFilename()).toMatch(/^punctual-\d{4}-\d\d-\d\d\.ndjson$/);
  const lines = (await readFile(await file.path(), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Record<string, any>);
  expect(lines[0]!.me).toMatchObject({ id: user.id, email: user.email });
  expect(lines.some((line) => line.task?.title === "to be exported")).toBe(true);
  expect(lines.at(-1)).toEqual({ end: true, count: lines.length - 1 });
});

test("the account is erased only after a typed confirmation", async ({ page, user, problems }) => {
  problems.expectStatus(401);
  await user.create({ title: "to be erased" });
  await page.getByRole("button", { name: "Erase…" }).click();
  const dialog = page.getByRole("dialog", { name: "Erase your account?" });
  await expect(dialog.getByRole("button", { name: "Erase everything" })).toBeDisabled();
  await dialog.getByLabel("Type “erase” to confirm").fill("eras");
  await expect(dialog.getByRole("button", { name: "Erase everything" })).toBeDisabled();
  await dialog.getByLabel("Type “erase” to confirm").fill("erase");
  await dialog.getByRole("button", { name: "Erase everything" }).click();
  await expect(page.getByText("Your account is erased. Signing in again opens a new, empty one.")).toBeVisible();
  expect((await user.send("GET", "/v1/tasks")).status).toBe(401);
});

test("the messages that were sent are listed", async ({ page, user }) => {
  await user.create({ title: "ping", reminders: [{ remind_at: new Date(Date.now() + 1_000).toISOString() }] });
  await expect.poll(async () => (await user.ask<{ items: { state: string }[] }>("GET", "/v1/deliveries")).items.map(({ state }) => state), { timeout: 15_000 }).toEqual(["sent"]);
  await page.getByRole("button", { name: "Messages sent to you" }).click();
  const message = page.getByRole("listitem").filter({ hasText: "ping" });
  await expect(message).toContainText("Sent by email");
  await expect(message.getByRole("link", { name: "ping" })).toHaveAttribute("href", /reminder/);
});

test("signing out ends the session in every tab and forgets the tasks", async ({ page, context, user }) => {
  await user.create({ title: "a secret", due_at: inBerlin(0, 23, 59).toISOString() });
  const other = await context.newPage();
  await other.goto(page.url().replace(/#.*/, "#/today"));
  await expect(row(other, "a secret")).toBeVisible();
  await page.getByRole("main").getByRole("button", { name: "Sign out here" }).click();
  for (const tab of [page, other]) {
    await expect(tab.getByText("a secret")).toHaveCount(0);
    await expect(tab.getByLabel("Token", { exact: true })).toBeVisible();
    await tab.reload();
    await expect(tab.getByLabel("Token", { exact: true })).toBeVisible();
  }
});

test("another user on the same browser sees nothing of the one before", async ({ page, user }) => {
  await user.create({ title: "a secret", due_at: inBerlin(0, 23, 59).toISOString() });
  await go(page, "#/today");
  await expect(row(page, "a secret")).toBeVisible();
  const other = new User("eve");
  await signIn(page, other);
  await expect(page.getByText("a secret")).toHaveCount(0);
  await expect(page.getByText("Nothing is due today")).toBeVisible();
});
