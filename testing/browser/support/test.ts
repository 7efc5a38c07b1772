// What every test gets: users, windows that are signed in, and the rule that no window may have an error that the test does not expect.
import { type Browser, type BrowserContext, type BrowserContextOptions, type Page, expect, test as base } from "@playwright/test";
import { product, User } from "./product.ts";

export { expect };

/** Errors of all windows of a test. */
export class Problems {
  private readonly found: string[] = [];
  private readonly expected: RegExp[] = [];

  /** Lets errors with this text pass. */
  expect(...patterns: RegExp[]): void {
    this.expected.push(...patterns);
  }

  /** Lets the browser log answers with these statuses, as it does for each answer that is not 2xx. */
  expectStatus(...statuses: number[]): void {
    for (const status of statuses) this.expect(new RegExp(`Failed to load resource: the server responded with a status of ${status}`));
  }

  /** Lets requests fail, as they do without a network. */
  expectOffline(): void {
    this.expect(/Failed to load resource: net::ERR_|net::ERR_INTERNET_DISCONNECTED|net::ERR_FAILED/);
    // The browser asks for the service worker by itself.
    this.expect(/An unknown error occurred when fetching the script/);
  }

  add(problem: string): void {
    this.found.push(problem);
  }

  get unexpected(): string[] {
    return this.found.filter((problem) => !this.expected.some((pattern) => pattern.test(problem)));
  }

  /** Collects the errors of every window of a context: on the console, uncaught, and refused by a policy. */
  async watch(context: BrowserContext): Promise<void> {
    context.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.add(`console: ${message.text()} (${message.location().url})`);
    });
    context.on("weberror", (error) => this.add(`uncaught: ${error.error().stack ?? error.error().message}`));
    await context.exposeBinding("reportViolation", (_, text: string) => this.add(`policy: ${text}`));
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        const report = (globalThis as unknown as { reportViolation(text: string): void }).reportViolation;
        report(`${event.violatedDirective} refused ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber} ${event.sample}`);
      });
    });
  }
}

/** Opens windows. Each call has storage of its own, like another browser of the same machine. */
export type Open = (user: User, route?: string, options?: BrowserContextOptions & { url?: string }) => Promise<Page>;

type Fixtures = {
  problems: Problems;
  user: User;
  operator: User;
  open: Open;
  /** A window of `user`, on the page at Today. */
  page: Page;
};

async function newContext(browser: Browser, options: BrowserContextOptions, problems: Problems): Promise<BrowserContext> {
  const context = await browser.newContext(options);
  await problems.watch(context);
  return context;
}

/** A user in the zone of the browsers. Without a choice it would be UTC. */
async function inBerlinZone(user: User): Promise<User> {
  await user.changeMe({ time_zone: "Europe/Berlin" });
  return user;
}

/** Signs in by a link with a token and waits until the page shows the user. */
export async function signIn(page: Page, user: User, route = "#/today", url = product.url): Promise<void> {
  await page.goto(`${url}/#token=${user.token}`);
  await expect(page.getByText(user.email).first()).toBeAttached();
  if (route !== "#/today") await go(page, route);
}

/** Signs in by a token that is pasted, which keeps the session in this tab until it is closed. */
export async function paste(page: Page, token: string, url = product.url): Promise<void> {
  await page.goto(`${url}/`);
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("banner")).toBeVisible();
}

/** Follows a route within the page, without loading it again. */
export async function go(page: Page, route: string): Promise<void> {
  await page.evaluate((hash) => { location.hash = hash; }, route);
}

export const test = base.extend<Fixtures>({
  problems: [async ({}, use) => {
    const problems = new Problems();
    await use(problems);
    expect(problems.unexpected, "errors in the browser").toEqual([]);
  }, { auto: true }],

  user: async ({}, use) => use(await inBerlinZone(new User())),
  operator: async ({}, use) => use(await inBerlinZone(new User("grace", { operator: true }))),

  // Without these the runner's own context would not be watched.
  context: async ({ browser, contextOptions, problems, locale, timezoneId, viewport }, use) => {
    const context = await newContext(browser, { ...contextOptions, ...defaults({ locale, timezoneId, viewport }) }, problems);
    await use(context);
    await context.close();
  },

  page: async ({ context, user }, use) => {
    const page = await context.newPage();
    await signIn(page, user);
    await use(page);
  },

  open: async ({ browser, problems, locale, timezoneId, viewport }, use) => {
    const contexts: BrowserContext[] = [];
    await use(async (user, route, { url, ...options } = {}) => {
      const context = await newContext(browser, { ...defaults({ locale, timezoneId, viewport }), ...options }, problems);
      contexts.push(context);
      const page = await context.newPage();
      await signIn(page, user, route, url);
      return page;
    });
    await Promise.all(contexts.map((context) => context.close()));
  },
});

function defaults({ locale, timezoneId, viewport }: Pick<BrowserContextOptions, "locale" | "timezoneId" | "viewport">): BrowserContextOptions {
  return { ...(locale && { locale }), ...(timezoneId && { timezoneId }), ...(viewport !== undefined && { viewport }) };
}
