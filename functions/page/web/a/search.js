// What the address of a search says.

/** @typedef {import("./route.js").Route} Route */

/** Whether days order the results. @param {Route} route */
export const isByDue = (route) => route.query?.get("sort") === "due_at";

export const FILTERS = ["status", "priority", "tag", "due_after", "due_before"];

/** Whether more than words narrows the results. @param {URLSearchParams} query */
export const isFiltered = (query) => FILTERS.some((name) => query.has(name));
