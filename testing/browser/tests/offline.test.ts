// Without a network: what is there stays readable, and writes wait.
import { type BrowserContext, type Page } from "@playwright/test";
import { type User, inBerlin } from "../support/product.ts";
import { check, connection, newTask, row, titles } from "../support/page.ts";
import { expect, go, paste, signIn, test } from "../support/test.ts";

const due = () => inBerlin(0, 23, 59).toISOString();

/** Loses the network once the page has all that it needs. */
async function goOffline(page: Page): Promise<void> {
  await expect(connection(page)).toHaveText(/^Live: /);
  await page.context().setOffline(true);
}

test("the page says that it is offline before it listens to changes", async ({ page, context, problems }) => {
  problems.expectOffline();
  await page.route("**/live.js", () => {}); // its answer never comes
  await page.reload();
  await expect(newTask(page)).toBeVisible();
  await context.setOffline(true);
  await expect(page.getByRole("main")).toContainText("You are offline.");
});

test("the page says that it is offline, and what is there stays readable", async ({ page, context, user, problems }) => {
  problems.expectOffline();
  await user.create({ title: "still here", due_at: due() });
  await expect(row(page, "still here")).toBeVisible();
  await goOffline(page);
  await expect(page.getByRole("main")).toContainText("You are offline.");
  await expect(connection(page)).toHaveText(/^Offline: /);
  await expect(row(page, "still here")).toBeVisible();
  await context.setOffline(false);
  await expect(connection(page)).toHaveText(/^Live: /);
  await expect(page.getByText("You are offline.")).toHaveCount(0);
});

test("a write waits visibly and goes out once, with one Idempotency-Key", async ({ page, context, user, problems }) => {
  problems.expectOffline();
  const { id } = await user.create({ title: "water the plants", due_at: due() });
  await expect(row(page, "water the plants")).toBeVisible();
  const keys: (string | undefined)[] = [];
  page.on("request", (request) => { if (request.url().endsWith("/complete")) keys.push(request.headers()["idempotency-key"]); });
  await goOffline(page);
  await check(page, "water the plants").click();
  await newTask(page).fill("written offline");
  await newTask(page).press("Enter");
  await expect(page.getByRole("main")).toContainText("2 changes wait in this tab and are sent when you are back.");
  await expect(check(page, "water the plants")).toBeChecked();
  expect((await user.read(id)).completed).toBe(false);
  await context.setOffline(false);
  await expect.poll(async () => (await user.tasks()).map(({ title, completed }) => `${title}: ${completed}`).sort())
    .toEqual(["water the plants: true", "written offline: false"]);
  await expect(page.getByText(/wait in this tab/)).toHaveCount(0);
  expect(keys[0]).toBeTruthy();
  expect(new Set(keys).size, "each attempt has the same key").toBe(1);
});

test("a request whose answer was lost takes effect once", async ({ page, user, problems }) => {
  problems.expectOffline();
  let isFirst = true;
  await page.route("**/v1/tasks", async (route) => {
    if (route.request().method() !== "POST" || !isFirst) return route.continue();
    isFirst = false;
    await route.fetch();
    return route.abort("connectionreset");
  });
  await go(page, "#/all");
  await newTask(page).fill("only once");
  await newTask(page).press("Enter");
  await expect.poll(() => isFirst).toBe(false);
  // Until the request is repeated, the stream may show the task beside the change that waits.
  await expect(page.locator('[data-row^="new-"]')).toHaveCount(0, { timeout: 15_000 });
  await expect(titles(page)).toHaveCount(1);
  expect((await user.tasks()).map(({ title }) => title)).toEqual(["only once"]);
});

test("changes of one task wait in their order", async ({ page, context, user, problems }) => {
  problems.expectOffline();
  await go(page, "#/all");
  await newTask(page).waitFor();
  await goOffline(page);
  await newTask(page).fill("made offline");
  await newTask(page).press("Enter");
  await check(page, "made offline").click();
  await context.setOffline(false);
  await expect.poll(async () => (await user.tasks()).map(({ title, completed }) => [title, completed])).toEqual([["made offline", true]]);
});

/** Completes a task without a network, and lets the write wait for more than twelve hours. */
async function staleWrite(context: BrowserContext, user: User): Promise<{ page: Page; id: string }> {
  const page = await context.newPage();
  await page.clock.install();
  const { id } = await user.create({ title: "undated" });
  await paste(page, user.token);
  await go(page, "#/all");
  await expect(row(page, "undated")).toBeVisible();
  await goOffline(page);
  await check(page, "undated").click();
  await expect(page.getByText(/waits in this tab/)).toBeVisible();
  await page.clock.fastForward("12:30:00");
  await context.setOffline(false);
  return { page, id };
}

test("a write that waited for more than twelve hours is sent only if the person says so", async ({ context, user, problems }) => {
  problems.expectOffline();
  const { page, id } = await staleWrite(context, user);
  await expect(page.getByText("1 change has waited for more than 12 hours. Send it now?")).toBeVisible();
  expect((await user.read(id)).completed).toBe(false);
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect.poll(async () => (await user.read(id)).completed).toBe(true);
});

test("a stale write can be discarded, and the row shows what the server has", async ({ context, user, problems }) => {
  problems.expectOffline();
  const { page, id } = await staleWrite(context, user);
  await page.getByRole("button", { name: "Discard", exact: true }).click();
  await expect(check(page, "undated")).not.toBeChecked();
  expect((await user.read(id)).completed).toBe(false);
});

test("a change that is made before the part of the page that makes it has come is not lost", async ({ context, user, problems }) => {
  problems.expectOffline();
  const page = await context.newPage();
  let failures = 0;
  await page.route("**/a/*/commands.js", (route) => (failures++ === 0 ? route.abort("internetdisconnected") : route.continue()));
  await signIn(page, user);
  await newTask(page).fill("not lost");
  await newTask(page).press("Enter");
  await expect.poll(async () => (await user.tasks()).map(({ title }) => title), { timeout: 15_000 }).toEqual(["not lost"]);
  expect(failures).toBeGreaterThan(0);
});
