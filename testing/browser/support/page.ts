// The parts of the page, by their roles and names.
import { type Locator, type Page } from "@playwright/test";

/** The row of a task in the list. */
export function row(page: Page, title: string | RegExp): Locator {
  const link = page.getByRole("link", { name: title, exact: true });
  return page.getByRole("main").getByRole("listitem").filter({ has: link });
}

/** The titles in the list, in order. */
export function titles(page: Page): Locator {
  return page.getByRole("main").locator("[data-row]");
}

/** What completes a task, or opens it again. */
export function check(page: Page, title: string): Locator {
  return row(page, title).getByRole("checkbox");
}

/** The panel of the open task. */
export function panel(page: Page): Locator {
  return page.getByRole("complementary", { name: "Task", exact: true });
}

export function newTask(page: Page): Locator {
  return page.getByRole("textbox", { name: "New task" });
}

/** The word in the header that says whether changes arrive. */
export function connection(page: Page): Locator {
  return page.getByRole("banner").getByText(/^(Live|Connecting|Offline|Not live): /);
}

/** A navigation link: its name may end with a count. */
export function list(page: Page, name: string): Locator {
  return page.getByRole("navigation", { name: "Lists" }).getByRole("link", { name: new RegExp(`^${name}\\b`) });
}

/** Opens the panel of a task from its row. */
export async function openTask(page: Page, title: string): Promise<Locator> {
  await row(page, title).getByRole("link", { name: title, exact: true }).click();
  return panel(page);
}
