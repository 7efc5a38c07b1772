// A picture of every view in every state, on a phone and a desktop, light and dark: `cargo xtask browser-test --screenshots DIR`.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, type Page, expect, test } from "@playwright/test";
import { User, deadLetter, fill, inBerlin, product, sql } from "../support/product.ts";
import { signIn } from "../support/test.ts";

const FOLDER = process.env.SCREENSHOTS ?? "test-results/screenshots";
/** Between two views. Nobody looks at them faster, and the API limits the requests of a user. */
const PAUSE = 700;

const SCREENS: Record<string, BrowserContextOptions> = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

type Shot = { route: string; until?: (page: Page) => Promise<unknown> };

/** Takes a picture of each route, on each screen, in both appearances. */
async function shoot(browser: Browser, user: User | null, shots: Record<string, Shot>, prepare?: (page: Page) => Promise<unknown>): Promise<void> {
  for (const [screen, options] of Object.entries(SCREENS)) {
    const context = await browser.newContext({ ...options, locale: "en-GB", timezoneId: "Europe/Berlin", reducedMotion: "reduce" });
    const page = await context.newPage();
    if (user) await signIn(page, user);
    await prepare?.(page);
    for (const [name, { route, until }] of Object.entries(shots)) {
      if (user) {
        // Nothing that the picture before has opened is in this one.
        await page.evaluate((hash) => { location.hash = hash; }, route);
        await page.reload();
      } else await page.goto(product.url + route);
      await until?.(page);
      await expect(page.getByText("Loading…")).toHaveCount(0);
      if (user) await expect(page.getByText(/^Connecting: /)).toHaveCount(0);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: join(FOLDER, `${name}.${screen}.${colorScheme}.png`) });
      }
      if (user) await page.waitForTimeout(PAUSE);
    }
    await context.close();
  }
}

async function person(name: string, options = {}): Promise<User> {
  const user = new User(name, { email: `${name}@example.org`, ...options });
  await user.changeMe({ time_zone: "Europe/Berlin", default_reminder: "PT15M" });
  return user;
}

/** Tasks as people have them. */
async function ordinary(user: User) {
  const due = (days: number, hours: number, minutes = 0) => inBerlin(days, hours, minutes).toISOString();
  const dentist = await user.create({ title: "Call the dentist", description: "Ask for the second of December, in the morning.\nDr. Marlow, 030 555 0134", due_at: due(0, 23, 30), priority: "urgent", tags: ["home"] });
  await user.create({ title: "Pay the rent", due_at: due(0, 23, 45), recurrence: { type: "monthly" }, tags: ["home", "money"] });
  const plants = await user.create({ title: "Water the plants", due_at: due(0, 23, 50), recurrence: { type: "daily", interval: 3, anchor: "completion" }, priority: "low", tags: ["home"] });
  await user.create({ title: "Send Ada the signed contract", due_at: due(-1, 16), priority: "high", tags: ["work"] });
  await user.create({ title: "Stand-up with the Berlin team", due_at: due(1, 9), recurrence: { type: "custom", rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR" }, reminders: [{ before_due: "PT5M", channels: ["push"] }], tags: ["work"] });
  await user.create({ title: "Buy a present for Grace", due_at: due(1, 17, 30), tags: ["family"] });
  await user.create({ title: "Book the train to Zürich", due_at: due(6, 20), tags: ["travel"] });
  const nightly = await user.create({ title: "Rotate the backups", due_at: "2027-03-26T01:30:00Z", time_zone: "Europe/Berlin", recurrence: { type: "daily" }, tags: ["work"] });
  await user.create({ title: "Read “The Mythical Man-Month” again", tags: ["someday"] });
  for (const title of ["Return the library books", "Order coffee beans"]) await user.complete((await user.create({ title, tags: ["errands"] })).id);
  await user.change(dentist.id, { due_at: due(0, 23, 40) });
  await user.change(dentist.id, { title: "Call the dentist about Friday" });
  return { dentist, nightly, plants };
}

const shown = (text: string | RegExp) => (page: Page) => expect(page.getByText(text).first()).toBeVisible();

/** Waits for a text, and until the page hears of changes. */
async function live(page: Page, text: string): Promise<void> {
  await shown(text)(page);
  await expect(page.getByText(/^Live: /)).toBeAttached();
}

test("signing in, and a link in a mail", async ({ browser }) => {
  await shoot(browser, null, {
    "sign-in": { route: "/", until: shown("Punctual") },
    act: { route: `/#/act/${Buffer.alloc(90, 1).toString("base64url")}`, until: (page) => page.getByRole("main").getByRole("button").first().waitFor() },
    docs: { route: "/docs/", until: (page) => page.getByText("/v1/tasks").first().waitFor({ timeout: 15_000 }) },
  });
});

test("empty", async ({ browser }) => {
  const user = await person("empty");
  const views = ["today", "upcoming", "all", "done", "tag/garden", "search?q=nothing"];
  await shoot(browser, user, Object.fromEntries(views.map((view) => [`empty-${view.replace(/\W.*/, "")}`, { route: `#/${view}` }])));
});

test("ordinary lists, tasks and settings", async ({ browser }) => {
  const user = await person("ada", { operator: true });
  const { dentist, nightly } = await ordinary(user);
  // People set whole seconds.
  const soon = new Date(Math.ceil(Date.now() / 1_000 + 1) * 1_000).toISOString();
  const ring = await user.create({ title: "Take the bread out of the oven", reminders: [{ remind_at: soon }] });
  const off = await user.create({ title: "Renew the passport", due_at: inBerlin(1, 12).toISOString() });
  await user.complete(off.id);
  await expect.poll(async () => (await user.read(ring.id)).reminders[0]?.state, { timeout: 15_000 }).toBe("sent");
  await deadLetter("task-created", JSON.stringify({ id: "not an id", type: "task.created", mark: user.id }));
  const somebody = randomUUID();
  const givenUp = (count: number, state: string, reason: string) => sql(`insert into notification_deliveries
      (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, reason, created_at)
    select gen_random_uuid(), gen_random_uuid(), 1, 'email', '${somebody}', gen_random_uuid(), gen_random_uuid(), '${state}', '${reason}', now() - interval '5 hours'
    from generate_series(1, ${count})`);
  givenUp(3, "failed", "smtp RCPT: 550");
  givenUp(1, "unknown", "outcome unknown, also of the one repeat");
  const history = async (page: Page) => {
    await page.getByRole("button", { name: "History" }).click();
    await page.getByText("You created it.").scrollIntoViewIfNeeded();
  };
  const form = (name: RegExp) => async (page: Page) => {
    await page.getByRole("button", { name }).click();
    await page.getByRole("button", { name: "Cancel", exact: true }).waitFor();
  };
  await shoot(browser, user, {
    today: { route: "#/today", until: (page) => live(page, "Pay the rent") },
    upcoming: { route: "#/upcoming", until: shown("Book the train") },
    all: { route: "#/all", until: shown("Mythical") },
    done: { route: "#/done", until: shown("Order coffee beans") },
    tag: { route: "#/tag/home", until: shown("Water the plants") },
    search: { route: "#/search?q=the", until: shown("Water the plants") },
    task: { route: `#/today/task/${dentist.id}`, until: shown("Will come by email") },
    "task-history": { route: `#/today/task/${dentist.id}`, until: history },
    "task-due": { route: `#/all/task/${nightly.id}`, until: form(/^Due: /) },
    "timeline-sent": { route: `#/all/task/${ring.id}/reminder/${ring.reminders[0]!.id}`, until: shown(/^Sent at /) },
    "timeline-not-sent": { route: `#/done/task/${off.id}/reminder/${off.reminders[0]!.id}`, until: shown(/^Not sent: /) },
    "task-repeat": { route: `#/upcoming/task/${nightly.id}`, until: form(/^Every /) },
    settings: { route: "#/settings", until: shown("Time zone") },
    system: { route: "#/system", until: shown("Lateness") },
    help: { route: "#/help", until: shown("Keyboard shortcuts") },
  });
  sql(`delete from dead_letters where payload like '%${user.id}%'`);
  sql(`delete from notification_deliveries where user_id = '${somebody}'`);
});

test("quick add with its parts open", async ({ browser }) => {
  const user = await person("quick");
  const open = (part: string) => async (page: Page) => {
    await page.getByRole("textbox", { name: "New task" }).fill("Pay the rent");
    await page.getByRole("button", { name: part, exact: true }).click();
    await page.getByRole("group", { name: part }).waitFor();
  };
  const chosen = async (page: Page) => {
    await open("Due")(page);
    await page.getByRole("button", { name: /^Tomorrow/ }).click();
  };
  await shoot(browser, user, {
    "quick-add-due": { route: "#/today", until: open("Due") },
    "quick-add-remind": { route: "#/today", until: open("Remind") },
    "quick-add-chosen": { route: "#/today", until: chosen },
    "quick-add-repeat": { route: "#/today", until: open("Repeat") },
  });
});

test("two hundred tasks", async ({ browser }) => {
  const user = await person("many");
  await ordinary(user);
  fill(user, 200, "now() + make_interval(hours => n * 3)");
  await shoot(browser, user, {
    "full-today": { route: "#/today", until: shown("Pay the rent") },
    "full-upcoming": { route: "#/upcoming", until: shown("task 20") },
    "full-all": { route: "#/all", until: shown("task 20") },
  });
});

test("texts: long, right-to-left, CJK, emoji, two hundred tags", async ({ browser }) => {
  const user = await person("texts");
  const due = (minutes: number) => inBerlin(0, 23, minutes).toISOString();
  const long = await user.create({ title: "A title that never seems to end, because somebody pasted a whole paragraph into it. ".repeat(6).slice(0, 500).trim(), description: "And notes, too.\n".repeat(30), due_at: due(1), priority: "urgent", tags: ["t".repeat(50)] });
  await user.create({ title: "x".repeat(500), due_at: due(2) });
  const arabic = await user.create({ title: "الاتصال بطبيب الأسنان قبل الساعة 9", due_at: due(3), tags: ["بيت"] });
  await user.create({ title: "להתקשר לרופא השיניים (דחוף!) – Dr. Marlow", due_at: due(4), priority: "high" });
  await user.create({ title: "歯医者に電話して、予約を十二月二日の午前中に変更してもらう", due_at: due(5), tags: ["家"] });
  await user.create({ title: "给牙医打电话，把预约改到十二月二日上午", due_at: due(6) });
  await user.create({ title: "치과에 전화하기", due_at: due(7) });
  await user.create({ title: "🎂 Grace’s birthday 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽", due_at: due(8), tags: ["🎉 party"] });
  await user.create({ title: "<img src=x onerror=alert(1)> & \"quotes\"", due_at: due(9) });
  for (let n = 0; n < 10; n++) {
    await user.create({ title: `Twenty of two hundred tags (${n + 1})`, tags: Array.from({ length: 20 }, (_, i) => `tag ${String(n * 20 + i + 1).padStart(3, "0")}`) });
  }
  await shoot(browser, user, {
    "texts-today": { route: "#/today", until: shown("치과에 전화하기") },
    "texts-long": { route: `#/today/task/${long.id}`, until: (page) => page.getByLabel("Description").waitFor() },
    "texts-arabic": { route: `#/today/task/${arabic.id}` },
    "texts-tags": { route: "#/all", until: shown("Twenty of two hundred tags (1)") },
    "texts-settings": { route: "#/settings", until: shown("Time zone") },
  });
});

test("states of failure", async ({ browser }) => {
  const user = await person("failure");
  await ordinary(user);
  const problem = (status: number, detail: string) => ({ status, contentType: "application/problem+json", headers: { "retry-after": "7", "access-control-expose-headers": "retry-after" }, json: { type: "about:blank", title: "No", status, detail } });
  const failing = (status: number, detail: string) => (page: Page) => page.route("**/v1/tasks?**", (route) => route.fulfill(problem(status, detail)));
  const alert = (page: Page) => page.getByRole("main").getByRole("alert").first().waitFor({ timeout: 10_000 });
  await shoot(browser, user, { "error-unavailable": { route: "#/done", until: alert } }, failing(503, "a service behind this one is unavailable; retry after the time in `Retry-After`"));
  await shoot(browser, user, { "error-too-many": { route: "#/done", until: alert } }, failing(429, "too many requests: you reached the per-user limit; retry after the time in `Retry-After`"));
  await shoot(browser, user, { "error-unreachable": { route: "#/done", until: alert } }, (page) => page.route("**/v1/tasks?**", (route) => route.abort()));
  await shoot(browser, user, { "error-forbidden": { route: "#/system", until: alert } });
  const refused = async (page: Page) => {
    await page.route("**/complete", (route) => route.fulfill(problem(422, "the task has as many reminders as allowed: remove some")));
    await page.getByRole("main").getByRole("checkbox").first().click();
    await page.mouse.move(0, 0);
    await alert(page);
  };
  await shoot(browser, user, { "error-refused": { route: "#/all", until: refused } });
  const offline = async (page: Page) => {
    await live(page, "Mythical");
    await page.context().setOffline(true);
    await page.getByRole("main").getByRole("checkbox").nth(2).click();
    await shown("You are offline.")(page);
    await shown("not saved yet")(page);
  };
  await shoot(browser, user, { offline: { route: "#/all", until: offline } });
});
