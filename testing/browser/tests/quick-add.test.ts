// A new task in one line.
import { inBerlin } from "../support/product.ts";
import { list, newTask, row, titles } from "../support/page.ts";
import { expect, go, signIn, test } from "../support/test.ts";

test("one line and Enter create a task, and the line is ready for the next one", async ({ page, user }) => {
  await go(page, "#/all");
  await newTask(page).fill("call the dentist");
  await newTask(page).press("Enter");
  await expect(titles(page)).toHaveText(["call the dentist"]);
  await expect(newTask(page)).toHaveValue("");
  await expect(newTask(page)).toBeFocused();
  await expect.poll(async () => (await user.tasks()).map((task) => task.title)).toEqual(["call the dentist"]);
});

test("a task without a day that is written in Today says where it is found", async ({ page }) => {
  await newTask(page).fill("buy stamps");
  await newTask(page).press("Enter");
  await expect(page.getByRole("heading", { name: "No date · found in All" })).toBeVisible();
  await list(page, "All").click();
  await expect(page.getByRole("heading", { name: "No date", exact: true })).toBeVisible();
  await expect(row(page, "buy stamps")).toBeVisible();
  await list(page, "Today").click();
  await expect(row(page, "buy stamps")).toHaveCount(0);
});

test("a new task stands in the list before the server has answered, and becomes the real one", async ({ page, user }) => {
  await go(page, "#/all");
  let answer = () => {};
  const held = new Promise<void>((go) => { answer = go; });
  await page.route("**/v1/tasks", async (route) => { await held; await route.continue(); });
  await newTask(page).fill("at once");
  await newTask(page).press("Enter");
  await expect(row(page, "at once")).toBeVisible();
  answer();
  await expect.poll(async () => (await user.tasks()).length).toBe(1);
  const { id } = await user.named("at once");
  await expect(titles(page)).toHaveAttribute("data-row", id);
});

test("due, remind and repeat open in place and are chosen by the keyboard alone", async ({ page, user }) => {
  await newTask(page).fill("pay the rent");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Due", exact: true })).toBeFocused();
  await page.keyboard.press("Enter");
  const due = page.getByRole("group", { name: "Due" });
  await expect(due.getByRole("button").first()).toBeFocused();
  await due.getByRole("button", { name: "Tomorrow 09:00" }).press("Enter");
  await expect(page.getByRole("button", { name: "Due tomorrow 09:00" })).toBeVisible();
  await page.getByRole("button", { name: "Remind", exact: true }).press("Enter");
  await page.getByRole("group", { name: "Remind" }).getByRole("button", { name: "15 minutes before" }).press("Enter");
  await page.getByRole("button", { name: "Repeat", exact: true }).press("Enter");
  await page.getByRole("group", { name: "Repeat" }).getByRole("button", { name: "Every month" }).press("Enter");
  await expect(newTask(page)).toBeFocused();
  await page.keyboard.press("Enter");
  await list(page, "Upcoming").click();
  await expect(row(page, "pay the rent")).toContainText("09:00");
  await expect.poll(async () => (await user.tasks()).length).toBe(1);
  const task = await user.named("pay the rent");
  const tomorrow = inBerlin(1, 9);
  expect(new Date(task.due_at!)).toEqual(tomorrow);
  expect(task.recurrence).toMatchObject({ type: "monthly", interval: 1, anchor: "due" });
  expect(task.reminders.map(({ before_due, remind_at }) => [before_due, new Date(remind_at)])).toEqual([["PT15M", inBerlin(1, 8, 45)]]);
});

test("Tab reaches due, remind, repeat and Add, in this order", async ({ page }) => {
  await newTask(page).fill("in order");
  const names: string[] = [];
  for (let n = 0; n < 4; n++) {
    await page.keyboard.press("Tab");
    names.push(await page.evaluate(() => document.activeElement?.textContent?.trim() ?? ""));
  }
  expect(names).toEqual(["Due", "Remind", "Repeat", "Add"]);
});

test("Escape closes what is open in place and returns to its button", async ({ page }) => {
  await page.getByRole("button", { name: "Due", exact: true }).click();
  await expect(page.getByRole("group", { name: "Due" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("group", { name: "Due" })).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Due", exact: true })).toBeFocused();
});

test("a repeated task without a due time becomes due, and the page says so", async ({ page, user }) => {
  await newTask(page).fill("water the plants");
  await page.getByRole("button", { name: "Repeat", exact: true }).click();
  await expect(page.getByRole("group", { name: "Repeat" })).toContainText("due tomorrow 09:00");
  await page.getByRole("group", { name: "Repeat" }).getByRole("button", { name: "Every day" }).click();
  await page.keyboard.press("Enter");
  await expect.poll(async () => (await user.tasks())[0]?.recurrence?.type).toBe("daily");
  expect(new Date((await user.named("water the plants")).due_at!)).toEqual(inBerlin(1, 9));
});

test("a free date and time can be picked", async ({ page, user }) => {
  await newTask(page).fill("tax return");
  await page.getByRole("button", { name: "Due", exact: true }).click();
  await page.getByRole("group", { name: "Due" }).getByRole("button", { name: "Another time…" }).click();
  await page.getByLabel("Date", { exact: true }).fill("2031-05-31");
  await page.getByLabel("Time", { exact: true }).fill("17:30");
  await page.getByRole("button", { name: "Set" }).click();
  await page.keyboard.press("Enter");
  await expect.poll(async () => (await user.tasks())[0]?.due_at).toMatch(/^2031-05-31T15:30:00/);
});

test("a picked time counts at once, also if the task is added without Set", async ({ page, user }) => {
  await newTask(page).fill("call the plumber");
  await page.getByRole("button", { name: "Due", exact: true }).click();
  await page.getByRole("group", { name: "Due" }).getByRole("button", { name: "Another time…" }).click();
  await page.getByLabel("Date", { exact: true }).fill("2031-05-31");
  await page.getByLabel("Time", { exact: true }).fill("08:00");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await expect.poll(async () => (await user.tasks())[0]?.due_at).toMatch(/^2031-05-31T06:00:00/);
});

test("the person's default reminder is offered with a due time, and can be left out", async ({ page, user }) => {
  await user.changeMe({ default_reminder: "PT15M" });
  await page.reload();
  await newTask(page).fill("no reminder, please");
  await page.getByRole("button", { name: "Due", exact: true }).click();
  await page.getByRole("group", { name: "Due" }).getByRole("button", { name: "Tomorrow 09:00" }).click();
  await expect(page.getByRole("button", { name: "Remind 15 minutes before" })).toBeVisible();
  await page.getByRole("button", { name: "Remove the reminder" }).click();
  await newTask(page).press("Enter");
  await expect.poll(async () => (await user.tasks()).length).toBe(1);
  expect((await user.named("no reminder, please")).reminders).toEqual([]);
});

test("a title of 500 characters is taken, and a longer one is refused before it is sent", async ({ page, user }) => {
  await go(page, "#/all");
  await newTask(page).fill("x".repeat(501));
  await expect(page.getByText("A title has at most 500 characters.")).toBeVisible();
  await newTask(page).press("Enter");
  expect(await user.tasks()).toEqual([]);
  await newTask(page).fill("x".repeat(500));
  await newTask(page).press("Enter");
  await expect.poll(async () => (await user.tasks()).length).toBe(1);
});

test("a task that is written in a tag's list gets the tag", async ({ page, user }) => {
  await go(page, "#/tag/garden");
  await newTask(page).fill("plant the bulbs");
  await newTask(page).press("Enter");
  await expect(titles(page)).toHaveText(["plant the bulbs"]);
  await expect.poll(async () => (await user.tasks())[0]?.tags).toEqual(["garden"]);
});

test("on a Sunday no due time is offered twice", async ({ context, user }) => {
  const page = await context.newPage();
  await page.clock.install({ time: new Date("2031-03-16T11:00:00Z") });
  await signIn(page, user);
  await page.getByRole("button", { name: "Due", exact: true }).click();
  const choices = page.getByRole("group", { name: "Due" }).getByRole("button");
  await expect(choices.first()).toBeVisible();
  const offered = await choices.allTextContents();
  expect(offered.length).toBeGreaterThan(1);
  expect(new Set(offered).size).toBe(offered.length);
});

test("a half-written task survives a reload", async ({ page }) => {
  await newTask(page).fill("half writ");
  await page.reload();
  await expect(newTask(page)).toHaveValue("half writ");
});
