// The keyboard alone, the focus, and what a screen reader hears.
import { type Page } from "@playwright/test";
import { inBerlin } from "../support/product.ts";
import { check, newTask, panel, row, titles } from "../support/page.ts";
import { expect, test } from "../support/test.ts";

const due = (minutes = 59) => inBerlin(0, 23, minutes).toISOString();

/** Whether the element with the focus shows it. */
async function showsFocus(page: Page): Promise<boolean> {
  return page.evaluate(() => {
    // A field may leave it to what surrounds it.
    let element: Element | null = document.activeElement;
    for (let depth = 0; depth < 4 && element && element !== document.body; depth++) {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
      if ((outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none") return true;
      element = element.parentElement;
    }
    return false;
  });
}

test("n, j, k, x, e and z do what the help says", async ({ page, user }) => {
  await user.create({ title: "first", due_at: due(58) });
  const second = await user.create({ title: "second", due_at: due(59) });
  await expect(titles(page)).toHaveText(["first", "second"]);
  await page.keyboard.press("j");
  await expect(titles(page).first()).toBeFocused();
  await page.keyboard.press("j");
  await expect(titles(page).last()).toBeFocused();
  await page.keyboard.press("k");
  await expect(titles(page).first()).toBeFocused();
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await expect(check(page, "second")).toBeChecked();
  await page.keyboard.press("z");
  await expect(check(page, "second")).not.toBeChecked();
  await expect.poll(async () => (await user.read(second.id)).completed).toBe(false);
  await titles(page).last().focus();
  await page.keyboard.press("e");
  await expect(panel(page).getByLabel("Title")).toBeFocused();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await expect(panel(page)).toHaveCount(0);
  await page.keyboard.press("n");
  await expect(newTask(page)).toBeFocused();
});

test("s snoozes the next reminder", async ({ page, user }) => {
  const { id } = await user.create({ title: "dentist", due_at: due(), reminders: [{ remind_at: inBerlin(1, 9).toISOString() }] });
  await expect(titles(page)).toHaveCount(1);
  await page.keyboard.press("j");
  await page.keyboard.press("s");
  const dialog = page.getByRole("dialog", { name: "Snooze the reminder" });
  await dialog.getByRole("button", { name: "For 1 hour" }).press("Enter");
  await expect(dialog).toHaveCount(0);
  await expect.poll(async () => Date.parse((await user.read(id)).reminders[0]!.remind_at)).toBeLessThan(Date.now() + 61 * 60_000);
  await expect(titles(page), "the focus returns").toBeFocused();
});

test("? shows the help, and Escape closes it", async ({ page }) => {
  await page.keyboard.press("?");
  const help = page.getByRole("dialog", { name: "Keyboard shortcuts" });
  for (const does of ["New task", "Search", "Undo", "Snooze the next reminder"]) await expect(help).toContainText(does);
  await page.keyboard.press("Escape");
  await expect(help).toHaveCount(0);
});

test("single keys do nothing while the person types", async ({ page }) => {
  await newTask(page).focus();
  await page.keyboard.type("njkxesz?/");
  await expect(newTask(page)).toHaveValue("njkxesz?/");
  await expect(page.getByRole("dialog")).toHaveCount(0);
});

test("a task is made, opened, changed and completed without a mouse", async ({ page, user }) => {
  await page.keyboard.press("n");
  await page.keyboard.type("call the dentist");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await expect(newTask(page)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(titles(page)).toHaveText(["call the dentist"]);
  await page.keyboard.press("Escape");
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await expect(panel(page)).toBeVisible();
  await page.keyboard.press("e");
  await expect(panel(page).getByLabel("Title")).toBeFocused();
  await page.keyboard.press("End");
  await page.keyboard.type(" today");
  await page.keyboard.press("Enter");
  await expect(titles(page)).toHaveText(["call the dentist today"]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await expect(titles(page)).toBeFocused();
  await page.keyboard.press("x");
  await expect.poll(async () => (await user.tasks()).map(({ title, completed }) => [title, completed])).toEqual([["call the dentist today", true]]);
});

test("everything that Tab reaches shows its focus", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: due(), tags: ["health"], reminders: [{ before_due: "PT15M" }] });
  await row(page, "dentist").getByRole("link").click();
  await expect(panel(page).getByLabel("Title")).toBeVisible();
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  const unseen: string[] = [];
  for (let n = 0; n < 45; n++) {
    await page.keyboard.press("Tab");
    const isBody = await page.evaluate(() => document.activeElement === document.body);
    if (isBody) break;
    if (!(await showsFocus(page))) unseen.push(await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 120) ?? ""));
  }
  expect(unseen).toEqual([]);
});

test("when a completed row leaves, the focus goes to the next one", async ({ page, user }) => {
  await user.create({ title: "first", due_at: due(58) });
  await user.create({ title: "second", due_at: due(59) });
  await page.clock.install();
  await page.reload();
  await expect(titles(page)).toHaveText(["first", "second"]);
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await expect(check(page, "first")).toBeChecked();
  await expect.poll(async () => (await user.named("first")).completed).toBe(true);
  await page.clock.runFor(11_000);
  await expect(titles(page)).toHaveText(["second"]);
  await expect(titles(page)).toBeFocused();
});

test("screen readers hear politely what happened", async ({ page, user }) => {
  await user.create({ title: "dentist", due_at: due() });
  await check(page, "dentist").click();
  const voices = page.locator("[aria-live=polite], [role=status]");
  await expect.poll(async () => (await voices.allTextContents()).join(" ")).toMatch(/dentist/);
});

test("the skip link leads to the list", async ({ page }) => {
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Skip to the list" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toBeFocused();
});
