// The lists: what stands in a row, in which order, and what happens at a click.
import { type Request } from "@playwright/test";
import { fill, inBerlin, inMinutes } from "../support/product.ts";
import { check, connection, list, row, titles } from "../support/page.ts";
import { expect, go, test } from "../support/test.ts";

test("a row shows title, due time, next reminder, priority, repetition and tags", async ({ page, user }) => {
  await user.create({
    title: "pay the rent",
    due_at: inBerlin(1, 9).toISOString(),
    reminders: [{ before_due: "PT15M" }],
    priority: "urgent",
    recurrence: { type: "monthly" },
    tags: ["home", "money"],
  });
  await go(page, "#/upcoming");
  const rent = row(page, "pay the rent");
  await expect(rent.getByText("09:00")).toBeVisible();
  await expect(rent.getByText("08:45")).toBeVisible();
  await expect(rent.getByText("Urgent")).toBeAttached();
  await expect(rent.getByText("Repeats")).toBeAttached();
  await expect(rent.getByText("#home")).toBeVisible();
  await expect(rent.getByText("#money")).toBeVisible();
});

test("Today has what is overdue, what is due today, and a look at tomorrow, and counts the first two", async ({ page, user }) => {
  await user.create({ title: "yesterday's", due_at: inBerlin(-1, 12).toISOString() });
  await user.create({ title: "today's", due_at: inBerlin(0, 23, 59).toISOString() });
  await user.create({ title: "tomorrow's", due_at: inBerlin(1, 12).toISOString() });
  await user.create({ title: "undated" });
  await expect(titles(page)).toHaveText(["yesterday's", "today's", "tomorrow's"]);
  for (const name of [/^Overdue$/, /^Today · /, /^Tomorrow · /]) await expect(page.getByRole("heading", { name })).toBeVisible();
  await expect(list(page, "Today")).toContainText("2 open, 1 overdue");
});

test("Upcoming is grouped by days, as people say them", async ({ page, user }) => {
  await user.create({ title: "later", due_at: inBerlin(3, 10).toISOString() });
  await user.create({ title: "soon", due_at: inBerlin(1, 10).toISOString() });
  await list(page, "Upcoming").click();
  await expect(titles(page)).toHaveText(["soon", "later"]);
  await expect(page.getByRole("heading", { name: /^Tomorrow · / })).toBeVisible();
  const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "long", timeZone: "Europe/Berlin" }).format(inBerlin(3, 10));
  await expect(page.getByRole("heading", { name: new RegExp(`^${weekday} · `) })).toBeVisible();
});

test("All has every open task and Done every completed one", async ({ page, user }) => {
  await user.create({ title: "undated" });
  const done = await user.create({ title: "returned the books" });
  await user.complete(done.id);
  await list(page, "All").click();
  await expect(titles(page)).toHaveText(["undated"]);
  await list(page, "Done").click();
  await expect(titles(page)).toHaveText(["returned the books"]);
  await expect(check(page, "returned the books")).toBeChecked();
});

test("a tag in the navigation shows its open tasks, with their number", async ({ page, user }) => {
  await user.create({ title: "tagged", tags: ["garden"] });
  await user.create({ title: "other" });
  const tag = page.getByRole("navigation", { name: "Lists" }).getByRole("link", { name: /garden/ });
  await expect(tag).toContainText("1");
  await tag.click();
  await expect(page.getByRole("heading", { name: "#garden" })).toBeVisible();
  await expect(titles(page)).toHaveText(["tagged"]);
});

test("overdue is said in words", async ({ page, user }) => {
  await user.create({ title: "an hour ago", due_at: inMinutes(-1).toString() });
  await expect(row(page, "an hour ago").or(page.getByRole("heading", { name: "Overdue" })).first()).toBeVisible();
  await expect(page.getByRole("main")).toContainText(/overdue/i);
});

test("the exact time is shown on hover", async ({ page, user }) => {
  const due = inBerlin(1, 9);
  await user.create({ title: "dentist", due_at: due.toISOString() });
  await go(page, "#/upcoming");
  const time = row(page, "dentist").getByRole("time");
  await expect(time).toHaveAttribute("datetime", /T\d\d:00:00/);
  await expect(time).toHaveAttribute("title", new RegExp(`${due.getUTCFullYear()}.*09:00`));
});

test("a click on the circle completes the task, and Undo opens it again", async ({ page, user }) => {
  const task = await user.create({ title: "water the plants", due_at: inBerlin(0, 23, 59).toISOString() });
  await check(page, "water the plants").click();
  await expect(row(page, "water the plants")).toContainText("just now");
  await expect.poll(async () => (await user.read(task.id)).completed).toBe(true);
  await row(page, "water the plants").getByRole("button", { name: "Undo" }).click();
  await expect(check(page, "water the plants")).not.toBeChecked();
  await expect.poll(async () => (await user.read(task.id)).completed).toBe(false);
});

test("Undo stands beside an act for ten seconds", async ({ page, user }) => {
  await user.create({ title: "post the letter", due_at: inBerlin(0, 23, 59).toISOString() });
  await expect(row(page, "post the letter")).toBeVisible();
  await page.clock.install();
  await page.reload();
  await check(page, "post the letter").click();
  const undo = page.getByRole("button", { name: "Undo" }).first();
  await expect(undo).toBeVisible();
  await page.clock.runFor(6_000);
  await expect(undo).toBeVisible();
  await page.clock.runFor(5_000);
  await expect(page.getByRole("button", { name: "Undo" })).toHaveCount(0);
});

test("a change is shown at once, before the server has answered", async ({ page, user }) => {
  await user.create({ title: "slow server", due_at: inBerlin(0, 23, 59).toISOString() });
  let answer = () => {};
  const held = new Promise<void>((go) => { answer = go; });
  await page.route("**/complete", async (route) => { await held; await route.continue(); });
  await check(page, "slow server").click();
  await expect(check(page, "slow server")).toBeChecked();
  await expect(row(page, "slow server")).toContainText("Saving…");
  answer();
  await expect(row(page, "slow server")).toContainText("just now");
});

test("a row says in the server's own words why a change was refused", async ({ page, user, problems }) => {
  problems.expectStatus(422);
  await user.create({ title: "refused", due_at: inBerlin(0, 23, 59).toISOString() });
  // A double of the server: no request of the page is refused for a reason of its own.
  const body = { type: "urn:punctual:problem:quota", title: "Limit reached", status: 422, detail: "you have as many tasks as allowed: delete some" };
  await page.route("**/complete", (route) => route.fulfill({ status: 422, contentType: "application/problem+json", json: body }));
  await check(page, "refused").click();
  const refusal = row(page, "refused").getByRole("alert");
  await expect(refusal).toContainText("You have as many tasks as allowed: delete some");
  await page.unroute("**/complete");
  await refusal.getByRole("button", { name: "Try again" }).click();
  await expect(refusal).toHaveCount(0);
  await expect.poll(async () => (await user.named("refused")).completed).toBe(true);
});

test("a long list loads its next page when its end comes near", async ({ page, user }) => {
  fill(user, 250);
  const pages: string[] = [];
  page.on("request", (request) => { if (request.url().includes("cursor=")) pages.push(request.url()); });
  await go(page, "#/all");
  await expect(titles(page).first()).toBeVisible();
  const first = await titles(page).count();
  expect(first, "not everything is loaded at once").toBeLessThan(250);
  // A row may be replaced while the browser scrolls to it.
  const scrolled = async () => {
    await titles(page).last().scrollIntoViewIfNeeded({ timeout: 1000 }).catch(() => {});
    return titles(page).count();
  };
  await expect.poll(scrolled).toBeGreaterThan(first);
  await expect.poll(scrolled).toBe(250);
  expect(new Set(pages).size, "no page is loaded twice").toBe(pages.length);
});

test("each empty list says one sentence and offers one action", async ({ page }) => {
  for (const [name, sentence] of [["Today", "Nothing is due today"], ["Upcoming", "Nothing is planned"], ["All", "There are no open tasks"]] as const) {
    await list(page, name).click();
    const state = page.getByRole("main").getByText(sentence);
    await expect(state).toBeVisible();
    await page.getByRole("main").getByRole("button", { name: "Write a task" }).click();
    await expect(page.getByRole("textbox", { name: "New task" })).toBeFocused();
  }
  await list(page, "Done").click();
  await expect(page.getByRole("main")).toContainText("Nothing is done yet.");
});

test("a list that could not be loaded says why and can be tried again", async ({ page, problems }) => {
  problems.expectStatus(503);
  // A double of an outage: the product itself is shared by all tests.
  const body = { type: "urn:punctual:problem:unavailable", title: "Unavailable", status: 503, detail: "a service behind this one is unavailable; retry after the time in `Retry-After`" };
  await page.route("**/v1/tasks?**", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", json: body }));
  await go(page, "#/all");
  await expect(page.getByRole("main").getByRole("alert")).toContainText("Punctual cannot answer right now: wait a moment.");
  const again = page.getByRole("main").getByRole("button", { name: "Try again" });
  await expect(again).toBeVisible();
  await page.unroute("**/v1/tasks?**");
  await expect(async () => {
    // Unless the page has loaded it by itself meanwhile.
    if (await again.isVisible()) await again.click({ timeout: 1000 });
    await expect(page.getByRole("main")).toContainText("There are no open tasks.", { timeout: 1000 });
  }).toPass();
});

test("leaving a list ends its requests, however fast the person is, and coming back loads it", async ({ page, user }) => {
  await user.create({ title: "undated" });
  await expect(connection(page)).toHaveText(/^Live: /);
  let answer = () => {};
  const held = new Promise<void>((resolve) => { answer = resolve; });
  await page.route("**/v1/tasks?**", async (route) => { await held; await route.continue().catch(() => {}); });
  let asked = 0;
  const open = new Set<Request>();
  page.on("request", (request) => { if (new URL(request.url()).pathname === "/v1/tasks") { asked += 1; open.add(request); } });
  for (const event of ["requestfinished", "requestfailed"] as const) page.on(event as "requestfinished", (request) => open.delete(request));
  /** The lists that are waited for, without Today, which is counted in the navigation. */
  const lists = () => [...open].map((request) => new URL(request.url()).searchParams).flatMap((query) => {
    if (query.get("status") === "completed") return "done";
    if (query.has("due_after")) return "upcoming";
    return query.get("sort") === "due_at" && !query.has("due_before") ? "all" : [];
  });
  for (let n = 0; n < 10; n++) for (const route of ["#/all", "#/done", "#/upcoming"]) await go(page, route);
  await go(page, "#/all");
  await expect.poll(lists).toEqual(["all"]);
  expect(asked).toBeGreaterThan(10);
  answer();
  await expect(titles(page)).toHaveText(["undated"]);
});

test("too many requests say so, and when to try again", async ({ page, user, problems }) => {
  problems.expectStatus(429);
  let isOver = false;
  let refusals = 0;
  const flood = async () => {
    while (!isOver) {
      const answer = await user.send("GET", "/v1/tags");
      await answer.arrayBuffer();
      if (answer.status === 429) refusals += 1;
    }
  };
  const floods = Array.from({ length: 20 }, flood);
  await expect.poll(() => refusals, { timeout: 15_000 }).toBeGreaterThan(0);
  // Sometimes the page gets one of the requests that the user has again.
  await expect(async () => {
    await go(page, "#/all");
    await go(page, "#/done");
    await expect(page.getByRole("main").getByRole("alert")).toContainText("too many requests", { ignoreCase: true, timeout: 1_000 });
  }).toPass({ timeout: 15_000 });
  isOver = true;
  await Promise.all(floods);
  await page.getByRole("main").getByRole("button", { name: /^Try again/ }).click({ timeout: 20_000 });
  await expect(page.getByRole("main")).toContainText("Nothing is done yet.");
});

test("loading is said only after 300 ms", async ({ page }) => {
  let answer = () => {};
  const held = new Promise<void>((go) => { answer = go; });
  await page.route("**/v1/tasks?**", async (route) => { await held; await route.continue(); });
  await page.clock.install();
  await page.clock.pauseAt(new Date(Date.now() + 60_000));
  await go(page, "#/done");
  await page.clock.runFor(250);
  await expect(page.getByText("Loading…")).toHaveCount(0);
  await page.clock.runFor(150);
  await expect(page.getByText("Loading…").first()).toBeVisible();
  answer();
  await page.clock.resume();
  await expect(page.getByRole("main")).toContainText("Nothing is done yet.");
});

test("titles are text: markup, right-to-left and emoji do no harm", async ({ page, user }) => {
  const all = ["<img src=x onerror=alert(1)>", "الاتصال بطبيب الأسنان", "歯医者に電話する", "🎂 Grace’s birthday 👩‍👩‍👧‍👦"];
  for (const title of all) await user.create({ title, due_at: inBerlin(0, 23, 59).toISOString() });
  await user.create({ title: "x".repeat(500), due_at: inBerlin(0, 23, 59).toISOString() });
  await expect(titles(page)).toHaveText([...all, "x".repeat(500)]);
  await expect(row(page, all[1]!).getByRole("link")).toHaveCSS("direction", "rtl");
  const { width, scroll } = await page.evaluate(() => ({ width: innerWidth, scroll: document.documentElement.scrollWidth }));
  expect(scroll, "nothing makes the page wider than the window").toBeLessThanOrEqual(width);
});

test("the address holds the view, so that a reload and the back button keep it", async ({ page, user }) => {
  await user.create({ title: "stays", tags: ["garden"] });
  await go(page, "#/tag/garden");
  await expect(titles(page)).toHaveText(["stays"]);
  await page.reload();
  await expect(page.getByRole("heading", { name: "#garden" })).toBeVisible();
  await list(page, "Done").click();
  await page.goBack();
  await expect(titles(page)).toHaveText(["stays"]);
});
