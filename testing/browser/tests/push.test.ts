// Notifications. support/devices.ts says which two parts are doubles.
import { type Page } from "@playwright/test";
import { deliver, notifications, press, serviceWorker, supplySubscription } from "../support/devices.ts";
import { User, inBerlin, mailTo, product } from "../support/product.ts";
import { panel, row } from "../support/page.ts";
import { expect, go, signIn, test } from "../support/test.ts";

test.beforeEach(async ({ context }) => supplySubscription(context));

/** What the server pushes about a reminder. */
function message(task: { id: string; title: string; reminders: { id: string; version: number; remind_at: string }[] }, more: object = {}) {
  const reminder = task.reminders[0]!;
  return { delivery_id: crypto.randomUUID(), reminder_id: reminder.id, reminder_version: reminder.version, task_id: task.id, title: task.title, remind_at: reminder.remind_at, ...more };
}

/** A reminder whose mail has arrived, with the capabilities of its links. */
async function reminded(user: User, title: string) {
  const task = await user.create({ title, reminders: [{ remind_at: new Date(Date.now() + 1_000).toISOString() }] });
  await expect.poll(() => mailTo(user).length, { timeout: 15_000 }).toBe(1);
  const capabilities = [...new Set([...mailTo(user)[0]!.text.matchAll(/#\/act\/([\w-]+)/g)].map(([, found]) => found!))];
  const of = (first: number) => capabilities.find((one) => Buffer.from(one, "base64url")[0] === first)!;
  return { task: await user.read(task.id), actions: { complete: of(1), snooze: of(2) } };
}

/** Whether the browser has ended its subscription. */
const isUnsubscribed = (page: Page) => page.evaluate(async () => (await (await navigator.serviceWorker.ready).pushManager.getSubscription()) === null);

test("push is turned on for this device, tested, and turned off", async ({ page, user }) => {
  await go(page, "#/settings");
  await page.getByRole("button", { name: "Turn on" }).click();
  await expect(page.getByRole("main").getByText("Reminders by notification reach this device.")).toBeVisible();
  const [device] = await user.devices();
  expect(device!.endpoint).toMatch(/^https:\/\/push\.test\//);
  await expect.poll(async () => (await user.me()).channels).toContain("push");
  await expect(page.getByRole("listitem").getByText("this device")).toBeVisible();
  await page.getByRole("button", { name: "Send me a test" }).click();
  await expect(page.getByRole("main").getByText("A task “Test reminder” is made")).toBeVisible();
  expect((await user.named("Test reminder")).reminders[0]!.channels).toEqual(["push"]);
  await page.getByRole("button", { name: "Turn off" }).click();
  await expect(page.getByRole("main").getByText("Reminders by notification do not reach this device.")).toBeVisible();
  expect(await user.devices()).toEqual([]);
});

test("the page says what this browser cannot do", async ({ page }) => {
  await go(page, "#/settings");
  await expect(page.getByText(/They arrive while the browser runs/)).toBeVisible();
});

test("iOS wants the installed app, and Settings says so", async ({ open, user }) => {
  const userAgent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
  const page = await open(user, "#/settings", { userAgent });
  await expect(page.getByText("On iPhone and iPad only the installed app gets notifications")).toBeVisible();
  await expect(page.getByRole("button", { name: "Turn on" })).toHaveCount(0);
});

test("a pushed reminder is shown once, with its title, its time and its buttons", async ({ page, user }) => {
  await serviceWorker(page);
  const task = await user.create({ title: "call the dentist", due_at: inBerlin(0, 23, 59).toISOString(), reminders: [{ before_due: "PT15M" }] });
  const pushed = message(task, { due_at: task.due_at, actions: { complete: "AQ", snooze: "Ag" } });
  await deliver(page, pushed);
  await expect.poll(() => notifications(page)).toEqual([
    { title: "call the dentist", body: expect.stringMatching(/^Due \d\d?:\d\d/), tag: task.reminders[0]!.id, actions: ["complete", "snooze"] },
  ]);
  await deliver(page, pushed);
  await expect.poll(async () => (await notifications(page)).length).toBe(1);
});

test("a message without a title says only that a reminder is due", async ({ page, user }) => {
  await serviceWorker(page);
  const task = await user.create({ title: "a secret", reminders: [{ remind_at: inBerlin(1, 9).toISOString() }] });
  await deliver(page, message(task, { title: undefined }));
  await expect.poll(async () => (await notifications(page)).map(({ title }) => title)).toEqual(["A reminder is due"]);
});

test("pressing a notification opens its task with the timeline", async ({ page, user }) => {
  await serviceWorker(page);
  const task = await user.create({ title: "dentist", reminders: [{ remind_at: inBerlin(1, 9).toISOString() }] });
  await deliver(page, message(task));
  await expect.poll(async () => (await notifications(page)).length).toBe(1);
  await press(page, task.reminders[0]!.id);
  await expect(panel(page).getByLabel("Title")).toHaveValue("dentist");
  await expect(panel(page).getByRole("region", { name: "What happened" })).toBeVisible();
});

test("Done on a notification completes the task without a session", async ({ page, user }) => {
  const { task, actions } = await reminded(user, `done ${user.id}`);
  await serviceWorker(page);
  await deliver(page, message(task, { actions }));
  await expect.poll(async () => (await notifications(page)).length).toBe(1);
  await press(page, task.reminders[0]!.id, "complete");
  await expect.poll(async () => (await user.read(task.id)).completed).toBe(true);
  expect(await notifications(page)).toEqual([]);
});

test("Snooze on a notification moves the reminder by an hour", async ({ page, user }) => {
  const { task, actions } = await reminded(user, `snooze ${user.id}`);
  await serviceWorker(page);
  await deliver(page, message(task, { actions }));
  await expect.poll(async () => (await notifications(page)).length).toBe(1);
  await press(page, task.reminders[0]!.id, "snooze");
  await expect.poll(async () => (await user.read(task.id)).reminders[0]!.state).toBe("scheduled");
  const moved = Date.parse((await user.read(task.id)).reminders[0]!.remind_at) - Date.now();
  expect(moved / 60_000).toBeGreaterThan(58);
  expect(moved / 60_000).toBeLessThan(61);
});

test("a button that comes too late says why in a notification", async ({ page, user }) => {
  const { task, actions } = await reminded(user, `late ${user.id}`);
  await user.complete(task.id);
  await serviceWorker(page);
  await deliver(page, message(task, { actions }));
  await expect.poll(async () => (await notifications(page)).length).toBe(1);
  await press(page, task.reminders[0]!.id, "snooze");
  await expect.poll(async () => (await notifications(page)).map(({ title, body }) => `${title} ${body}`)).toEqual([`Not snoozed: ${task.title} The task is done already.`]);
});

test("signing out unsubscribes and removes the device", async ({ page, user }) => {
  await go(page, "#/settings");
  await page.getByRole("button", { name: "Turn on" }).click();
  await expect.poll(async () => (await user.devices()).length).toBe(1);
  await page.getByRole("main").getByRole("button", { name: "Sign out here" }).click();
  await expect(page.getByLabel("Token", { exact: true })).toBeVisible();
  await expect.poll(async () => (await user.devices()).length).toBe(0);
  expect(await isUnsubscribed(page)).toBe(true);
});

test("a device of the person before is not kept for the next one", async ({ page, user }) => {
  await go(page, "#/settings");
  await page.getByRole("button", { name: "Turn on" }).click();
  await expect(page.getByRole("main").getByText("Reminders by notification reach this device.")).toBeVisible();
  const other = new User("eve");
  await signIn(page, other, "#/today", product.url);
  await expect.poll(() => isUnsubscribed(page)).toBe(true);
  expect(await other.devices()).toEqual([]);
});

test("a device is not kept for the next person, although the server answers the one before too late", async ({ page, user }) => {
  const answered = new Promise<void>((resolve) => {
    void page.route("**/v1/push-subscriptions", async (route) => {
      if (route.request().method() !== "POST") return route.continue();
      await route.fetch();
      resolve();
    });
  });
  await go(page, "#/settings");
  await page.getByRole("button", { name: "Turn on" }).click();
  await answered;
  expect(await user.devices()).toHaveLength(1);
  const other = new User("eve");
  await signIn(page, other, "#/today", product.url);
  await page.reload();
  await expect.poll(() => isUnsubscribed(page)).toBe(true);
  expect(await other.devices()).toEqual([]);
});

test("a reminder by push names the device in its timeline and in the messages", async ({ page, user }) => {
  await go(page, "#/settings");
  await page.getByRole("button", { name: "Turn on" }).click();
  await expect.poll(async () => (await user.devices()).length).toBe(1);
  await user.create({ title: "by push", due_at: inBerlin(0, 23, 59).toISOString(), reminders: [{ before_due: "PT0S", channels: ["push"] }] });
  await go(page, "#/today");
  await row(page, "by push").getByRole("link").click();
  await expect(panel(page).getByText("Will come by notification")).toBeVisible();
});
