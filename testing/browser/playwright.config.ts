// `cargo xtask browser-test` starts the product and passes its addresses (support/product.ts).
import { defineConfig } from "@playwright/test";

const words = (process.env.FILTER ?? "").split("\n").filter(Boolean);
const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));

/** Raises every limit, for a machine that is busy with something else. */
const patience = Number(process.env.PATIENCE ?? 1);

export default defineConfig({
  outputDir: process.env.RESULTS ?? "test-results",
  reporter: [["list"]],
  workers: 2,
  forbidOnly: Boolean(process.env.CI),
  // On two cores a browser sometimes stands still for seconds. The report calls a test flaky that passes only the second time.
  retries: 1,
  // So many are one mistake: it need not be found in every test.
  maxFailures: 30,
  timeout: 30_000 * patience,
  expect: { timeout: 5_000 * patience },
  ...(words.length > 0 && { grep: new RegExp(escaped.join("|")) }),
  use: {
    browserName: "chromium",
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      // Fast starts, and no request of the browser's own.
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
    locale: "en-GB",
    timezoneId: "Europe/Berlin",
    viewport: { width: 1280, height: 800 },
    actionTimeout: 10_000 * patience,
    screenshot: "only-on-failure",
  },
  projects: [
    { name: "tests", testDir: "tests" },
    { name: "deployed", testDir: "deployed", timeout: 180_000 * patience },
    { name: "screenshots", testDir: "screenshots", timeout: 120_000 * patience },
  ],
});
