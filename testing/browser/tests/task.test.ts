// The panel of a task: edited in place, saved by itself.
import { inBerlin } from "../support/product.ts";
import { check, newTask, openTask, panel, row, titles } from "../support/page.ts";
import { expect, go, test } from "../support/test.ts";

const due = () => inBerlin(0, 23, 59).toISOString();

test("the panel stands beside the list on a desktop and over it on a phone", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await expect(task).toBeVisible();
  await expect(row(page, "dentist")).toBeVisible();
  const [list, beside] = [await row(page, "dentist").boundingBox(), await task.boundingBox()];
  expect(list!.x + list!.width, "the list ends where the panel begins").toBeLessThanOrEqual(beside!.x + 1);
  await page.setViewportSize({ width: 390, height: 844 });
  const over = await task.boundingBox();
  expect([over!.x, Math.round(over!.width)], "on a phone it has the whole width").toEqual([0, 390]);
});

test("the panel is closed by Escape and by Back, and the focus returns to the row", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: due() });
  await openTask(page, "dentist");
  await page.keyboard.press("Escape");
  await expect(panel(page)).toHaveCount(0);
  await expect(titles(page)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(panel(page)).toBeVisible();
  await page.goBack();
  await expect(panel(page)).toHaveCount(0);
  await expect(titles(page)).toBeVisible();
});

test("the title is saved at Enter, and says so", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByLabel("Title").fill("call the dentist");
  await task.getByLabel("Title").press("Enter");
  await expect(task.getByRole("status").filter({ hasText: "Saved" })).toBeVisible();
  await expect(titles(page)).toHaveText(["call the dentist"]);
  expect(await user.read(id)).toMatchObject({ title: "call the dentist", version: 2 });
});

test("a panel stays as it is while its new task gets its id", async ({ page, user }) => {
  await go(page, "#/all");
  let answer = () => {};
  const held = new Promise<void>((go) => { answer = go; });
  await page.route("**/v1/tasks", async (route) => { await held; await route.continue(); });
  await newTask(page).fill("call");
  await newTask(page).press("Enter");
  await row(page, "call").getByRole("link").click();
  const title = panel(page).getByLabel("Title");
  await title.focus();
  await page.keyboard.press("End");
  await page.keyboard.type(" the den");
  answer();
  await expect.poll(async () => (await user.tasks()).length).toBe(1);
  const { id } = await user.named("call");
  await expect(page).toHaveURL(new RegExp(`/task/${id}$`));
  await page.keyboard.type("tist");
  await expect(title).toHaveValue("call the dentist");
  await page.keyboard.press("Enter");
  await expect.poll(async () => (await user.read(id)).title).toBe("call the dentist");
});

test("a field is saved when it loses the focus", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByLabel("Description").fill("in the morning\nask for Dr. Marlow");
  await task.getByLabel("Title").focus();
  await expect.poll(async () => (await user.read(id)).description).toBe("in the morning\nask for Dr. Marlow");
});

test("a field is saved after five seconds without typing", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due() });
  await page.clock.install();
  await page.reload();
  const task = await openTask(page, "dentist");
  await task.getByLabel("Description").pressSequentially("soon");
  await page.clock.runFor(2_000);
  expect((await user.read(id)).description ?? null).toBeNull();
  await page.clock.runFor(4_000);
  await expect.poll(async () => (await user.read(id)).description).toBe("soon");
});

test("each save is a version and an event", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  for (const title of ["first", "second"]) {
    await task.getByLabel("Title").fill(title);
    await task.getByLabel("Title").press("Enter");
    await expect.poll(async () => (await user.read(id)).title).toBe(title);
  }
  expect((await user.read(id)).version).toBe(3);
  await expect.poll(async () => {
    const history = await user.ask<{ items: { action: string; detail: { version?: number } }[] }>("GET", `/v1/tasks/${id}/history`);
    return history.items.filter(({ action }) => action.startsWith("task.")).at(-1)?.detail.version;
  }).toBe(3);
});

test("a refused save says why in the server's own words and keeps what was typed", async ({ page, user, problems }) => {
  problems.expectStatus(422);
  await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByLabel("Title").fill("x".repeat(501));
  await task.getByLabel("Title").press("Enter");
  await expect(task.getByRole("alert")).toContainText("500 characters");
  await expect(task.getByLabel("Title")).toHaveValue("x".repeat(501));
  await task.getByRole("button", { name: "Discard" }).click();
  await expect(task.getByLabel("Title")).toHaveValue("dentist");
});

test("the due time has a zone, and the panel says what it is there", async ({ page, user }) => {
  const { id } = await user.create({ title: "call New York", due_at: due() });
  const task = await openTask(page, "call New York");
  await task.getByRole("button", { name: /^Due: / }).click();
  const form = task.getByRole("group", { name: "Due" });
  await form.getByLabel("Date", { exact: true }).fill("2031-01-15");
  await form.getByLabel("Time", { exact: true }).fill("09:00");
  await form.getByLabel("Time zone").fill("America/New_York");
  await form.getByRole("button", { name: "Save" }).click();
  await expect.poll(async () => (await user.read(id)).due_at).toMatch(/^2031-01-15T14:00:00/);
  await expect(task.getByRole("button", { name: /^Due: / })).toContainText(/15:00.*09:00 in America\/New_York/);
});

test("a zone that does not exist is named before anything is sent", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: /^Due: / }).click();
  await task.getByLabel("Time zone").fill("Europe/Atlantis");
  await expect(task.getByText("This browser knows no such zone")).toBeVisible();
  await expect(task.getByRole("button", { name: "Save" })).toBeDisabled();
});

test("the form says so when the clocks skip the time", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: /^Due: / }).click();
  await task.getByLabel("Date", { exact: true }).fill("2027-03-28");
  await task.getByLabel("Time", { exact: true }).fill("02:30");
  await expect(task.getByText("The clocks skip 02:30 on that day: it becomes 03:30.")).toBeVisible();
});

test("the due time can be removed", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: /^Due: / }).click();
  await task.getByRole("button", { name: "Remove the due time" }).click();
  await expect.poll(async () => (await user.read(id)).due_at ?? null).toBeNull();
  await expect(task.getByRole("button", { name: /Add a due time/ })).toBeFocused();
});

test("tags are added with suggestions and removed", async ({ page, user }) => {
  await user.create({ title: "other", tags: ["garden"] });
  const { id } = await user.create({ title: "dentist", due_at: due(), tags: ["health"] });
  await page.reload();
  const task = await openTask(page, "dentist");
  const field = task.getByRole("combobox", { name: "Add tags" });
  await field.fill("gar");
  await task.getByRole("option", { name: "garden" }).click();
  await expect.poll(async () => (await user.read(id)).tags).toEqual(["garden", "health"]);
  await field.fill("new one");
  await field.press("Enter");
  await expect.poll(async () => (await user.read(id)).tags).toEqual(["garden", "health", "new one"]);
  await task.getByRole("button", { name: "Remove the tag health" }).click();
  await expect.poll(async () => (await user.read(id)).tags).toEqual(["garden", "new one"]);
});

test("the priority is chosen from a menu and shown in the row", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: "Priority: Medium priority" }).click();
  await page.getByRole("menuitemradio", { name: "Urgent" }).click();
  await expect(row(page, "dentist").getByText("Urgent")).toBeAttached();
  await expect.poll(async () => (await user.read(id)).priority).toBe("urgent");
});

test("a task is completed in its panel", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due() });
  const task = await openTask(page, "dentist");
  await task.getByRole("button", { name: "Complete", exact: true }).click();
  await expect(task.getByRole("button", { name: "Reopen", exact: true })).toBeVisible();
  await expect.poll(async () => (await user.read(id)).completed).toBe(true);
});

test("a deleted task leaves, the next row gets the focus, and Undo brings it back", async ({ page, user }) => {
  const { id } = await user.create({ title: "first", due_at: due() });
  await user.create({ title: "second", due_at: due() });
  await expect(titles(page)).toHaveCount(2);
  const task = await openTask(page, "first");
  await task.getByRole("button", { name: "Delete" }).click();
  await expect(titles(page)).toHaveText(["second"]);
  await expect.poll(async () => (await user.send("GET", `/v1/tasks/${id}`)).status).toBe(404);
  expect(await page.evaluate(() => document.activeElement !== document.body), "the focus is somewhere").toBe(true);
  await page.getByRole("button", { name: "Undo" }).click();
  await expect(row(page, "first")).toBeVisible();
  await expect.poll(async () => (await user.send("GET", `/v1/tasks/${id}`)).status).toBe(200);
});

test("a task that does not exist says so", async ({ page, problems }) => {
  problems.expectStatus(404);
  await go(page, "#/today/task/0198c0de-0000-7000-8000-00000000abcd");
  await expect(panel(page)).toContainText("This task does not exist, or it was deleted.");
});

test("the row of an open task changes while its panel stays", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: due() });
  await openTask(page, "dentist");
  await check(page, "dentist").click();
  await expect(panel(page)).toBeVisible();
  await expect(check(page, "dentist")).toBeChecked();
});
