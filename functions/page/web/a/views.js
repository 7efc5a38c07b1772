// The lists: what the server is asked for each, which tasks belong to it, and their order.

import { daysLater } from "./times.js";

/** @typedef {import("./state.js").Task} Task */
/**
 * @typedef {object} Definition
 * @property {() => Record<string, string | undefined>} query
 * @property {Record<string, string>} [also] a second query, for tasks that the first one cannot name
 * @property {(task: Task) => boolean} matches
 * @property {(a: Task, b: Task) => number} compare
 * @property {boolean} [isSearch] whether only the server knows which tasks belong to it
 */

const PRIORITIES = ["low", "medium", "high", "urgent"];

/** The key of the list that a route shows. @param {import("./route.js").Route} route */
export function viewOf({ view, tag, query }) {
    if (view === "tag") return `tag ${tag}`;
    if (view !== "search") return view === "upcoming" || view === "all" || view === "done" ? view : "today";
    const given = new URLSearchParams([...(query ?? [])].filter(([, value]) => value.trim() !== ""));
    given.sort();
    return `search ${given}`;
}

/** The end of a day of the person's, counted from today. */
export const endOfToday = (days = 0) => Date.parse(daysLater(days + 1));

/** When a task is shown: its due time, otherwise its next reminder. @param {Task} task */
export function placeOf({ due_at, reminders }) {
    if (due_at) return Date.parse(due_at);
    const next = reminders.filter(({ state }) => state === "scheduled").map(({ remind_at }) => Date.parse(remind_at));
    return next.length > 0 ? Math.min(...next) : null;
}

/** @param {Task} a @param {Task} b */
const byId = (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** Tasks without a value come last in either direction, as at the server. @param {(task: Task) => number | null} value @param {number} [sign] @returns {Definition["compare"]} */
function by(value, sign = 1) {
    /** @type {WeakMap<Task, number | null>} */
    const known = new WeakMap();
    const valueOf = (/** @type {Task} */ task) => {
        let found = known.get(task);
        if (found === undefined) known.set(task, (found = value(task)));
        return found;
    };
    return (a, b) => {
        const [x, y] = [valueOf(a), valueOf(b)];
        if (x === null || y === null) return x === y ? sign * byId(a, b) : x === null ? 1 : -1;
        return sign * (x - y || byId(a, b));
    };
}

const byPlace = by(placeOf);
const dueOf = (/** @type {Task} */ task) => (task.due_at ? Date.parse(task.due_at) : null);
const createdAt = (/** @type {Task} */ task) => Date.parse(task.created_at);
const completedAt = (/** @type {Task} */ task) => Date.parse(task.completed_at ?? task.updated_at);
const isOpen = (/** @type {Task} */ task) => !task.completed;
/** The server cannot name tasks by their reminders. Those without a due time are found among the latest. */
const LATEST = { status: "open", sort: "-created_at" };

/** @type {Record<string, Definition>} */
const FIXED = {
    // With a look at tomorrow.
    today: {
        query: () => ({ status: "open", sort: "due_at", due_before: daysLater(2) }),
        also: LATEST,
        matches: (task) => isOpen(task) && (placeOf(task) ?? Infinity) < endOfToday(1),
        compare: byPlace,
    },
    upcoming: {
        query: () => ({ status: "open", sort: "due_at", due_after: new Date(endOfToday() - 1).toISOString() }),
        also: LATEST,
        matches: (task) => isOpen(task) && (placeOf(task) ?? 0) >= endOfToday(),
        compare: byPlace,
    },
    all: { query: () => ({ status: "open", sort: "due_at" }), matches: isOpen, compare: byPlace },
    // The server cannot sort by completion. The latest page comes near, and its tasks are put in order here.
    done: { query: () => ({ status: "completed", sort: "-created_at" }), matches: (task) => task.completed, compare: by(completedAt, -1) },
};

/** @param {string} key @returns {Definition} */
export function definitionOf(key) {
    if (key.startsWith("search ")) return searchOf(new URLSearchParams(key.slice("search ".length)));
    if (!key.startsWith("tag ")) return FIXED[key] ?? FIXED.today;
    const tag = key.slice("tag ".length);
    return { query: () => ({ status: "open", sort: "due_at", tag }), matches: (task) => isOpen(task) && task.tags.includes(tag), compare: byPlace };
}

/** @param {URLSearchParams} given @returns {Definition} */
function searchOf(given) {
    const value = (/** @type {string} */ name) => given.get(name) || undefined;
    const [status, sort] = [value("status") ?? "all", value("sort") ?? "-created_at"];
    const [after, before] = [instantOf(value("due_after"), 0), instantOf(value("due_before"), 1)];
    const sign = sort.startsWith("-") ? -1 : 1;
    const values = { due_at: dueOf, created_at: createdAt, priority: (/** @type {Task} */ task) => PRIORITIES.indexOf(task.priority) };
    const sortKey = values[/** @type {keyof typeof values} */ (sort.replace("-", ""))] ?? createdAt;
    return {
        query: () => ({ q: value("q"), status, priority: value("priority"), tag: value("tag"), due_after: after, due_before: before, sort }),
        matches: (task) =>
            (status === "all" || task.completed === (status === "completed")) &&
            (!value("priority") || task.priority === value("priority")) &&
            (!value("tag") || task.tags.includes(value("tag") ?? "")) &&
            (!after || (task.due_at !== null && Date.parse(task.due_at ?? "") > Date.parse(after))) &&
            (!before || (task.due_at !== null && Date.parse(task.due_at ?? "") < Date.parse(before))),
        compare: by(sortKey, sign),
        isSearch: true,
    };
}

/** The instant that a filter names: as it is, or the start of a day, `days` later. @param {string | undefined} given @param {number} days */
function instantOf(given, days) {
    if (!given || !/^\d{4}-\d{2}-\d{2}$/.test(given)) return given;
    return daysLater(days, given);
}
