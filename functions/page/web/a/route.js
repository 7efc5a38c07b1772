// Routes live in the fragment: `#/<list>[/task/<id>[/reminder/<id>]][?<query>]`.

import { useEffect, useState } from "./vendor/preact.js";

/**
 * @typedef {object} Route
 * @property {"today"|"upcoming"|"all"|"done"|"tag"|"search"|"settings"|"system"|"act"} view
 * @property {string} [tag] name of the tag
 * @property {URLSearchParams} [query] of a search
 * @property {string} [task] id of the open task
 * @property {string} [reminder] id of the reminder whose timeline is open
 * @property {string} [capability] of a link in a mail
 * @property {boolean} [help] whether the help is open
 */

const LISTS = /** @type {const} */ (["today", "upcoming", "all", "done"]);
const PAGES = /** @type {const} */ (["settings", "system"]);

/**
 * Reads a fragment. An unknown one is Today.
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
    const [path, query] = hash.replace(/^#?\/?/, "").split("?", 2);
    const parts = path.split("/").map(decode);
    const first = parts.shift() ?? "";
    /** @type {Route} */
    let route = { view: "today" };
    if (first === "act") {
        return { view: "act", capability: parts.join("/") };
    } else if (first === "tag" && parts[0]) {
        route = { view: "tag", tag: parts.shift() };
    } else if (first === "search") {
        route = { view: "search", query: new URLSearchParams(query) };
    } else if (first === "help") {
        route.help = true;
    } else if (first === "task") {
        parts.unshift(first);
    } else {
        route.view = [...LISTS, ...PAGES].find((view) => view === first) ?? "today";
    }
    if (parts[0] === "task" && parts[1]) {
        route.task = parts[1];
        if (parts[2] === "reminder" && parts[3]) route.reminder = parts[3];
    }
    return route;
}

/** @param {string} part */
function decode(part) {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}

/**
 * The fragment of a route.
 * @param {Route} route
 */
export function hashOf(route) {
    const { view, tag, query, task, reminder, capability } = route;
    if (view === "act") return `#/act/${capability}`;
    let hash = view === "tag" ? `#/tag/${encodeURIComponent(tag ?? "")}` : `#/${view}`;
    if (task) hash += `/task/${encodeURIComponent(task)}`;
    if (task && reminder) hash += `/reminder/${encodeURIComponent(reminder)}`;
    const search = query?.toString();
    return search ? `${hash}?${search}` : hash;
}

/** Whether days order the results of a search. @param {Route} route */
export const isByDue = (route) => route.query?.get("sort") === "due_at";

export const FILTERS = ["status", "priority", "tag", "due_after", "due_before"];

/** Whether more than words narrows the results of a search. @param {URLSearchParams} query */
export const isFiltered = (query) => FILTERS.some((name) => query.has(name));

/** The present route. */
export const route = () => parse(location.hash);

/**
 * Goes to a fragment. With `replace`, Back does not return to the present one.
 * @param {string} hash
 * @param {{ replace?: boolean }} [options]
 */
export function go(hash, { replace = false } = {}) {
    if (hash === location.hash) return;
    if (!replace) {
        location.hash = hash;
        return;
    }
    const before = location.href;
    history.replaceState(history.state, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange", { oldURL: before, newURL: location.href }));
}

/**
 * The fragment that opens a task, and perhaps a reminder's timeline, over the present list.
 * @param {string} id
 * @param {string} [reminder]
 */
export const withTask = (id, reminder) => hashOf({ ...route(), task: id, reminder });

/** The fragment that closes the task. */
export const withoutTask = () => hashOf({ ...route(), task: undefined, reminder: undefined });

/** The present route; renders again when it changes. */
export function useRoute() {
    const [present, set] = useState(route);
    useEffect(() => {
        const update = () => set(route());
        addEventListener("hashchange", update);
        update();
        return () => removeEventListener("hashchange", update);
    }, []);
    return present;
}
