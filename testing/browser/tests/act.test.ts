// Links in mail: a page with one button, without a session.
import { type Browser } from "@playwright/test";
import { User, mailTo, product } from "../support/product.ts";
import { Problems, expect, test } from "../support/test.ts";

/** A reminder whose mail has arrived, with its links. */
async function mailed(title: string) {
  const user = new User();
  const { id } = await user.create({ title: `${title} ${user.id}`, reminders: [{ remind_at: new Date(Date.now() + 1_000).toISOString() }] });
  await expect.poll(() => mailTo(user).length, { timeout: 15_000 }).toBe(1);
  const links = [...new Set([...mailTo(user)[0]!.text.matchAll(/http\S*?#\/act\/[\w-]+/g)].map(([link]) => link))];
  const of = (first: number) => links.find((link) => Buffer.from(link.split("/act/")[1]!, "base64url")[0] === first)!;
  return { user, id, done: of(1), snooze: of(2) };
}

/** A window of a browser that has no session. */
async function stranger(browser: Browser, problems: Problems) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin" });
  await problems.watch(context);
  return context.newPage();
}

test("a link shows one button, and opening it changes nothing", async ({ browser, problems }) => {
  const { user, id, done } = await mailed("scanned");
  expect(done).toMatch(new RegExp(`^${product.url}/#/act/`));
  const page = await stranger(browser, problems);
  await page.goto(done);
  await expect(page.getByRole("main").getByRole("button")).toHaveText(["Done"]);
  await fetch(done);
  expect((await user.read(id)).completed, "a scanner that opens the link changes nothing").toBe(false);
  await page.getByRole("button", { name: "Done" }).click();
  await expect(page.getByRole("main")).toContainText("The task is marked as done.");
  expect((await user.read(id)).completed).toBe(true);
  await page.context().close();
});

test("a link that was used says so, and changes nothing", async ({ browser, problems }) => {
  const { user, id, done } = await mailed("used");
  const page = await stranger(browser, problems);
  await page.goto(done);
  await page.getByRole("button", { name: "Done" }).click();
  await expect(page.getByRole("main")).toContainText("The task is marked as done.");
  await user.ask("POST", `/v1/tasks/${id}/reopen`);
  await page.reload();
  await page.getByRole("button", { name: "Done" }).click();
  await expect(page.getByRole("main")).toContainText("Nothing changed.");
  expect((await user.read(id)).completed).toBe(false);
  await page.context().close();
});

test("a snooze link says when the reminder comes again", async ({ browser, problems }) => {
  const { user, id, snooze } = await mailed("snoozed");
  const page = await stranger(browser, problems);
  await page.goto(snooze);
  await page.getByRole("button", { name: "Snooze for an hour" }).click();
  await expect(page.getByRole("main")).toContainText(/The reminder comes again (today|tomorrow) \d\d:\d\d\./);
  expect((await user.read(id)).reminders[0]!.state).toBe("scheduled");
  await page.context().close();
});

test("a link that was changed does not work, and the page says so in the server's words", async ({ browser, problems }) => {
  problems.expectStatus(422);
  const page = await stranger(browser, problems);
  await page.goto(`${product.url}/#/act/${Buffer.alloc(90, 1).toString("base64url")}`);
  await page.getByRole("main").getByRole("button").click();
  await expect(page.getByRole("main")).toContainText("This link does not work.");
  await page.context().close();
});

test("the capability is not sent before the button is pressed, nor to anybody but the API", async ({ browser, problems }) => {
  const { done } = await mailed("quiet");
  const page = await stranger(browser, problems);
  const capability = done.split("/act/")[1]!;
  const told: string[] = [];
  page.on("request", (request) => {
    if (`${request.url()} ${request.postData() ?? ""} ${JSON.stringify(request.headers())}`.includes(capability)) told.push(`${request.method()} ${new URL(request.url()).pathname}`);
  });
  await page.goto(done);
  const button = page.getByRole("button", { name: "Done" });
  await expect(button).toBeVisible();
  // The first request has the fragment in its address here, but no browser sends a fragment.
  expect(told.filter((one) => one !== "GET /")).toEqual([]);
  await button.click();
  await expect(page.getByRole("main")).toContainText("The task is marked as done.");
  expect(told.filter((one) => one !== "GET /")).toEqual(["POST /v1/actions"]);
  await page.context().close();
});
