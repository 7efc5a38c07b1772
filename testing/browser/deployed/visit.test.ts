// One visit to a page that is deployed somewhere (testing/lab/src/browser.rs): what a person waits for, from the click.
import { writeFileSync } from "node:fs";
import { type Server, createServer, request } from "node:http";
import { type Browser, type Page, expect, test } from "@playwright/test";
import { connection, newTask, row } from "../support/page.ts";

type Route = { port: number; host: string; address: string };

const { LINK: link = "", TOKEN: token = "", TITLE: title = "", REPORT: report = "", ROUTES: routes = "[]" } = process.env;
/** Everything may have to wake from zero first. */
const timeout = 60_000;

/** Passes what comes to a port of this machine on to an address, under the host name by which a gateway routes. */
function forward({ port, host, address }: Route): Server {
  const [hostname, to] = address.split(":");
  const server = createServer((asked, answer) => {
    const passed = request({ hostname, port: to, path: asked.url, method: asked.method, headers: { ...asked.headers, host } }, (answered) => {
      answer.writeHead(answered.statusCode!, answered.headers);
      answered.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    asked.pipe(passed);
  });
  return server.listen(port, "127.0.0.1");
}

let forwarders: Server[] = [];
test.beforeAll(() => { forwarders = (JSON.parse(routes) as Route[]).map(forward); });
test.afterAll(() => forwarders.forEach((server) => { server.close(); server.closeAllConnections(); }));

/** A window of a browser that has never been there. A page that accepts no link gets its token pasted. */
async function window(browser: Browser): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  // Only a failure shows them.
  page.on("console", (message) => console.log(message.type(), message.text()));
  page.on("requestfailed", (request) => console.log("failed", request.url(), request.failure()?.errorText));
  page.on("response", (answer) => { if (answer.status() >= 400) console.log(answer.status(), answer.url()); });
  await page.goto(link, { timeout });
  if (token) {
    await page.getByLabel("Token", { exact: true }).fill(token);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
  }
  return page;
}

test("a person sees a list, and in it what another window adds", async ({ browser }) => {
  const clicked = Date.now();
  const since = () => Date.now() - clicked;
  const here = await window(browser);
  await expect(row(here, title)).toBeVisible({ timeout });
  const list = since();
  await expect(connection(here)).toHaveText(/^Live: /, { timeout });
  const live = since();
  // The page may have loaded itself again.
  const paint = await here.evaluate(() => performance.timeOrigin + performance.getEntriesByName("first-contentful-paint")[0]!.startTime) - clicked;

  const there = await window(browser);
  await expect(row(there, title)).toBeVisible({ timeout });
  // Tasks without a date are in All.
  await Promise.all([here, there].map((page) => page.evaluate(() => { location.hash = "#/all"; })));
  const added = `added at ${new Date().toISOString()}`;
  await newTask(there).fill(added);
  const pressed = Date.now();
  await newTask(there).press("Enter");
  await expect(row(here, added)).toBeVisible({ timeout });
  writeFileSync(report, JSON.stringify({ paint, list, live, seen: Date.now() - pressed }));
});
