// Search and its filters.
import { type Page } from "@playwright/test";
import { inBerlin } from "../support/product.ts";
import { connection, list, newTask, titles } from "../support/page.ts";
import { expect, go, test } from "../support/test.ts";

const field = (page: Page) => page.getByRole("searchbox", { name: "Search" });
const filter = (page: Page, name: string) => page.getByRole("combobox", { name, exact: true });

test("the search is always there and finds parts of words while the person types", async ({ page, user }) => {
  await user.create({ title: "Call the dentist", description: "Dr. Marlow" });
  await user.create({ title: "Pay the rent" });
  for (const name of ["Today", "Done"]) {
    await list(page, name).click();
    await expect(field(page)).toBeVisible();
  }
  await field(page).fill("DENT");
  await expect(titles(page)).toHaveText(["Call the dentist"]);
  await expect(page.getByText("1 task", { exact: true })).toBeVisible();
  await field(page).fill("marlow call");
  await expect(titles(page)).toHaveText(["Call the dentist"]);
  await field(page).fill("nothing like this");
  await expect(page.getByText("Nothing matches this search.")).toBeVisible();
});

test("an emptied search returns to the list before it", async ({ page, user }) => {
  await user.create({ title: "undated" });
  await list(page, "All").click();
  await field(page).fill("else");
  await expect(page.getByText("Nothing matches this search.")).toBeVisible();
  await field(page).press("Escape");
  await expect(titles(page)).toHaveText(["undated"]);
  await expect(page).toHaveURL(/#\/all$/);
});

test("filters narrow the results, and the address holds them", async ({ page, user }) => {
  await user.create({ title: "open task", priority: "urgent", tags: ["home"], due_at: inBerlin(0, 23, 59).toISOString() });
  const done = await user.create({ title: "done task", tags: ["home"] });
  await user.complete(done.id);
  await user.create({ title: "other task" });
  await go(page, "#/search?q=task");
  await expect(titles(page)).toHaveCount(3);
  await filter(page, "Status").selectOption("Done");
  await expect(titles(page)).toHaveText(["done task"]);
  await filter(page, "Status").selectOption("Open and done");
  await filter(page, "Tag").selectOption("#home");
  await expect(titles(page)).toHaveCount(2);
  await filter(page, "Priority").selectOption("Urgent");
  await expect(titles(page)).toHaveText(["open task"]);
  await filter(page, "Due").selectOption("Today");
  await expect(titles(page)).toHaveText(["open task"]);
  await page.reload();
  await expect(titles(page)).toHaveText(["open task"]);
  await expect(field(page)).toHaveValue("task");
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await expect(titles(page)).toHaveCount(3);
});

test("results are sorted as the person says", async ({ page, user }) => {
  await user.create({ title: "low task", priority: "low" });
  await user.create({ title: "urgent task", priority: "urgent" });
  await go(page, "#/search?q=task");
  await expect(titles(page)).toHaveText(["urgent task", "low task"]);
  await filter(page, "Sort").selectOption("Oldest first");
  await expect(titles(page)).toHaveText(["low task", "urgent task"]);
  await filter(page, "Sort").selectOption("Most urgent first");
  await expect(titles(page)).toHaveText(["urgent task", "low task"]);
});

test("the arrow key goes from the search to the first result", async ({ page, user }) => {
  await user.create({ title: "dentist" });
  await page.keyboard.press("/");
  await expect(field(page)).toBeFocused();
  await page.keyboard.type("dent");
  await expect(titles(page)).toHaveText(["dentist"]);
  await page.keyboard.press("ArrowDown");
  await expect(titles(page)).toBeFocused();
  await page.keyboard.press("n");
  await expect(newTask(page)).toBeFocused();
});

test("a list that loads in the background does not end the search that the person waits for", async ({ page, user }) => {
  await user.create({ title: "dentist" });
  await expect(connection(page)).toHaveText(/^Live: /);
  let answer = () => {};
  const held = new Promise<void>((resolve) => { answer = resolve; });
  const isSearch = (url: URL) => url.searchParams.get("q") === "dentist";
  const ended: string[] = [];
  page.on("requestfailed", (request) => ended.push(request.url()));
  await page.route(isSearch, async (route) => { await held; await route.continue(); });
  const asked = page.waitForRequest((request) => isSearch(new URL(request.url())));
  await go(page, "#/search?q=dentist");
  await asked;
  const background = page.waitForResponse((response) => new URL(response.url()).searchParams.has("due_before"));
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await (await background).finished();
  answer();
  await expect(titles(page)).toHaveText(["dentist"]);
  expect(ended).toEqual([]);
});
