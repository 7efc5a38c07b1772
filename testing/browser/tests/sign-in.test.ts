// Signing in at a real OpenID provider, which this file runs, and at the end of a session.
import { type BrowserContext, type Page } from "@playwright/test";
import { IdentityProvider } from "../support/identity-provider.ts";
import { User, inBerlin, product } from "../support/product.ts";
import { newTask, row, titles } from "../support/page.ts";
import { expect, paste, signIn, test } from "../support/test.ts";

const provider = new IdentityProvider();
test.beforeAll(() => provider.start());
test.afterAll(() => provider.stop());
test.beforeEach(() => provider.reset());

let people = 0;
const somebody = () => `person-${Date.now()}-${++people}`;

/** Goes through the provider's form. */
async function enter(page: Page, name: string, route = ""): Promise<void> {
  await page.goto(`${product.signIn}/${route}`);
  await page.getByRole("button", { name: "Sign in", exact: true }).first().click();
  await answerForm(page, name);
}

async function answerForm(page: Page, name: string): Promise<void> {
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Continue" }).click();
}

async function signedIn(page: Page, name: string): Promise<void> {
  await expect(page.getByText(`${name}@browser.test`).first()).toBeAttached();
  await expect(newTask(page)).toBeVisible();
}

test("a person signs in at the provider and is back where they were", async ({ context }) => {
  const page = await context.newPage();
  const name = somebody();
  await enter(page, name, "#/upcoming");
  await signedIn(page, name);
  await expect(page).toHaveURL(`${product.signIn}/#/upcoming`);
  await newTask(page).fill("written by a person of the provider");
  await newTask(page).press("Enter");
  await expect(row(page, "written by a person of the provider")).toBeVisible();
  expect(provider.grants).toEqual(["authorization_code 200"]);
});

test("without a stream the page says so, and loads when the person returns to it", async ({ context }) => {
  const [page, other] = [await context.newPage(), await context.newPage()];
  const name = somebody();
  await enter(page, name);
  await signedIn(page, name);
  await expect(page.getByRole("banner").getByText(/^Not live: /)).toBeAttached();
  await other.goto(`${product.signIn}/`);
  await signedIn(other, name);
  await newTask(other).fill("made in the other tab");
  await newTask(other).press("Enter");
  // The server has it, too.
  await expect(row(other, "made in the other tab").locator("[data-row]")).toHaveAttribute("data-row", /^[0-9a-f-]{36}$/);
  await page.evaluate(() => { location.hash = "#/all"; });
  await page.evaluate(() => { dispatchEvent(new Event("focus")); });
  await expect(row(page, "made in the other tab")).toBeVisible();
});

test("no token is in storage that scripts of another session could keep, nor in the address", async ({ context }) => {
  const page = await context.newPage();
  const name = somebody();
  await enter(page, name);
  await signedIn(page, name);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  expect(kept).not.toMatch(/eyJ/);
  expect(kept).not.toMatch(/code=/);
});

test("a reload keeps the session by the refresh token", async ({ context }) => {
  const page = await context.newPage();
  const name = somebody();
  await enter(page, name);
  await signedIn(page, name);
  await page.reload();
  await signedIn(page, name);
  expect(provider.grants).toEqual(["authorization_code 200", "refresh_token 200"]);
});

test("two tabs rotate one refresh token without losing the session", async ({ context }) => {
  const page = await context.newPage();
  const name = somebody();
  await enter(page, name);
  await signedIn(page, name);
  const other = await context.newPage();
  await other.goto(`${product.signIn}/`);
  await signedIn(other, name);
  for (let n = 0; n < 3; n++) {
    await Promise.all([page, other].map((tab) => tab.reload()));
    await Promise.all([page, other].map((tab) => signedIn(tab, name)));
  }
  expect(provider.grants.filter((grant) => !grant.endsWith(" 200"))).toEqual([]);
  expect(provider.grants.filter((grant) => grant.startsWith("refresh_token")).length).toBeGreaterThanOrEqual(7);
});

test("an access token is renewed before it ends", async ({ context }) => {
  const page = await context.newPage();
  await page.clock.install();
  const name = somebody();
  await enter(page, name);
  await signedIn(page, name);
  await page.clock.fastForward("59:45");
  await page.evaluate(() => { location.hash = "#/done"; });
  await expect(page.getByText("Nothing is done yet.")).toBeVisible();
  await expect.poll(() => provider.grants).toEqual(["authorization_code 200", "refresh_token 200"]);
});

test("a wrong state is refused", async ({ context }) => {
  const page = await context.newPage();
  provider.tampering.redirect = (url) => url.searchParams.set("state", "somebody-else's");
  await enter(page, somebody());
  await expect(page.getByRole("alert")).toContainText("the answer belongs to another sign-in");
  expect(provider.grants).toEqual([]);
});

test("an answer that the page did not ask for is refused", async ({ context }) => {
  const page = await context.newPage();
  await page.goto(`${product.signIn}/?code=stolen&state=guessed&iss=${encodeURIComponent(product.issuer)}`);
  await expect(page.getByRole("alert")).toContainText("the answer belongs to another sign-in");
  await expect(page).toHaveURL(/^[^?]*$/);
  expect(provider.grants).toEqual([]);
});

test("an answer of another issuer is refused", async ({ context }) => {
  for (const change of [(url: URL) => url.searchParams.set("iss", "https://evil.test"), (url: URL) => url.searchParams.delete("iss")]) {
    const page = await context.newPage();
    provider.tampering.redirect = change;
    await enter(page, somebody());
    await expect(page.getByRole("alert")).toContainText("the answer is from another identity provider");
    await page.context().clearCookies();
    await page.close();
  }
  expect(provider.grants).toEqual([]);
});

test("an ID token with another nonce is refused", async ({ context }) => {
  const page = await context.newPage();
  provider.tampering.tokens = (body) => {
    const [head, claims, signature] = String(body.id_token).split(".");
    const changed = { ...JSON.parse(Buffer.from(claims!, "base64url").toString()), nonce: "another" };
    body.id_token = [head, Buffer.from(JSON.stringify(changed)).toString("base64url"), signature].join(".");
  };
  await enter(page, somebody());
  await expect(page.getByRole("alert")).toContainText("the ID token is for another sign-in");
});

test("an ID token is never used as an API token", async ({ context }) => {
  const page = await context.newPage();
  const sent: string[] = [];
  page.on("request", (request) => { if (request.url().includes("/v1/")) sent.push(request.headers().authorization ?? ""); });
  provider.tampering.tokens = (body) => { body.access_token = body.id_token; };
  await enter(page, somebody());
  await expect(page.getByRole("alert")).toContainText("set OIDC_SCOPE or OIDC_AUDIENCE");
  expect(sent).toEqual([]);
});

test("a person who refuses at the provider comes back to the page, which says so", async ({ context }) => {
  const page = await context.newPage();
  provider.tampering.redirect = (url) => {
    url.searchParams.delete("code");
    url.searchParams.set("error", "access_denied");
    url.searchParams.set("error_description", "the person refused");
  };
  await enter(page, somebody());
  await expect(page.getByRole("alert")).toContainText("the person refused");
  await expect(page.getByRole("button", { name: "Sign in", exact: true }).first()).toBeVisible();
});

test("signing out ends the session in all tabs, revokes the refresh token and asks again who it is", async ({ context }) => {
  const page = await context.newPage();
  const name = somebody();
  await enter(page, name);
  await signedIn(page, name);
  const other = await context.newPage();
  await other.goto(`${product.signIn}/`);
  await signedIn(other, name);
  await signOutByMenu(page);
  for (const tab of [page, other]) {
    await expect(tab.getByRole("button", { name: "Sign in", exact: true }).first()).toBeVisible();
    await tab.reload();
    await expect(tab.getByRole("button", { name: "Sign in", exact: true }).first()).toBeVisible();
  }
  await expect.poll(() => provider.revocations).toEqual([200]);
  await page.getByRole("button", { name: "Sign in", exact: true }).first().click();
  await expect(page.getByLabel("Name"), "the provider does not let the next person in without asking").toBeVisible();
});

async function signOutByMenu(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Account" }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
}

test("when a refresh fails the draft is kept and the page goes to sign-in", async ({ context, problems }) => {
  problems.expectStatus(400);
  const page = await context.newPage();
  const name = somebody();
  await enter(page, name);
  await signedIn(page, name);
  await newTask(page).fill("half writ");
  await spoilRefreshToken(page);
  await page.reload();
  await expect(page.getByRole("alert")).toContainText("Your session has ended.");
  await page.getByRole("button", { name: "Sign in", exact: true }).first().click();
  await expect(page.getByLabel("Name").or(newTask(page))).toBeVisible();
  if (await page.getByLabel("Name").isVisible()) await answerForm(page, name);
  await signedIn(page, name);
  await expect(newTask(page)).toHaveValue("half writ");
});

/** Replaces the refresh token that this browser keeps by one that the provider does not know. */
async function spoilRefreshToken(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const open = indexedDB.open("punctual");
    await new Promise((done) => { open.onsuccess = done; });
    const store = open.result.transaction("session", "readwrite").objectStore("session");
    const known = store.get("refresh");
    await new Promise((done) => { known.onsuccess = done; });
    const put = store.put({ ...known.result, token: "unknown" }, "refresh");
    await new Promise((done) => { put.onsuccess = done; });
  });
}

test("a pasted token signs in for this tab alone", async ({ context, user }) => {
  const page = await context.newPage();
  await paste(page, user.token);
  await expect(page.getByText(user.email).first()).toBeAttached();
  await page.reload();
  await expect(page.getByText(user.email).first()).toBeAttached();
  const other = await context.newPage();
  await other.goto(`${product.url}/`);
  await expect(other.getByLabel("Token", { exact: true })).toBeVisible();
});

test("a pasted token that the API refuses is refused in its words", async ({ context, problems }) => {
  problems.expectStatus(401);
  const page = await context.newPage();
  await page.goto(`${product.url}/`);
  await page.getByLabel("Token", { exact: true }).fill("not a token");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByText("This is not a JSON Web Token")).toBeVisible();
  await page.getByLabel("Token", { exact: true }).fill(new User("late", { seconds: -120 }).token);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByText(/expired/)).toBeVisible();
});

test("a link with a token signs in, and the token is gone from the address and the history", async ({ page, user }) => {
  expect(page.url()).toBe(`${product.url}/#/today`);
  expect(await page.evaluate(() => history.length), "the link is no step of the history").toBeLessThanOrEqual(2);
  await page.goto("about:blank");
  await page.goBack();
  expect(page.url()).toBe(`${product.url}/#/today`);
  await expect(page.getByText(user.email).first()).toBeAttached();
});

test("a link with a token is ignored where the deployment does not accept it", async ({ context, user }) => {
  // The page's settings are in its document; here they are those of a deployment.
  await context.route(`${product.url}/`, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: (await answer.text()).replace('data-token-links="1"', 'data-token-links=""') });
  });
  const page = await context.newPage();
  await page.goto(`${product.url}/#token=${user.token}`);
  await expect(page.getByLabel("Token", { exact: true })).toBeVisible();
  expect(page.url()).toBe(`${product.url}/#/today`);
});

test("a link with a token lives for twelve hours", async ({ context, user, problems }) => {
  problems.expectStatus(401);
  const page = await context.newPage();
  await page.clock.install();
  await signIn(page, user);
  await page.clock.fastForward("11:50:00");
  await page.reload();
  await expect(page.getByText(user.email).first()).toBeAttached();
  await page.clock.fastForward("00:20:00");
  await page.reload();
  await expect(page.getByLabel("Token", { exact: true })).toBeVisible();
});

test("a session that expires keeps what was written, and goes on after the next sign-in", async ({ context, problems }) => {
  problems.expectStatus(401);
  const user = new User("brief", { seconds: 3600 });
  await user.create({ title: "dentist", due_at: inBerlin(0, 23, 59).toISOString() });
  const page = await context.newPage();
  await signIn(page, user);
  await expect(titles(page)).toHaveText(["dentist"]);
  await newTask(page).fill("half writ");
  await refuseTokens(context);
  await page.evaluate(() => { location.hash = "#/all"; });
  await expect(page.getByRole("alert")).toContainText("The server refused your token");
  await context.unrouteAll();
  await page.getByLabel("Token", { exact: true }).fill(user.token);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(newTask(page)).toHaveValue("half writ");
});

/** A double of the moment at which a token expires. */
async function refuseTokens(context: BrowserContext): Promise<void> {
  const body = { type: "urn:punctual:problem:unauthorized", title: "Unauthorized", status: 401, detail: "the token has expired" };
  await context.route("**/v1/**", (route) => route.fulfill({ status: 401, contentType: "application/problem+json", json: body }));
}

test("a provider that cannot be reached is said in words", async ({ context, problems }) => {
  problems.expectOffline();
  await context.route(`${product.issuer}/**`, (route) => route.abort());
  const page = await context.newPage();
  await page.goto(`${product.signIn}/`);
  await page.getByRole("button", { name: "Sign in", exact: true }).first().click();
  await expect(page.getByRole("alert")).toContainText("The identity provider cannot be reached.");
});
