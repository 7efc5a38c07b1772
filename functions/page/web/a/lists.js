// The lists: what the server is asked for each, which tasks belong to it, and in what order. They are loaded page by page.

import { Problem, Unreachable, observe, request } from "./api.js";
import { route } from "./route.js";
import { accept, changedAt, gone, idOf, isPreliminary } from "./rows.js";
import { get, set } from "./state.js";
import { daysLater } from "./times.js";

/** @typedef {import("./state.js").Task} Task */
/** @typedef {import("./state.js").View} View */
/** @typedef {import("./state.js").Failure} Failure */
/**
 * @typedef {object} Definition
 * @property {() => Record<string, string | undefined>} query
 * @property {Record<string, string>} [also] a second query, for tasks that the first one cannot name
 * @property {(task: Task) => boolean} matches
 * @property {(a: Task, b: Task) => number} compare
 * @property {boolean} [isSearch] whether only the server knows which tasks belong to it
 */
/**
 * @typedef {object} Inner what a list knows besides what it shows
 * @property {string | null} cursor of the next page
 * @property {Map<string, number>} staying tasks that do not belong here and stay nevertheless, until an instant
 * @property {AbortController | null} loading
 * @property {Promise<void> | null} loaded
 */

const PRIORITIES = ["low", "medium", "high", "urgent"];
const PAGE = 100;
/** How many tasks one request may name. */
const NAMED = 50;
const SLOW = 300;
/** A task that was completed or opened stays in its place this long. */
const STAY = 10_000;
const TAGS_AFTER = 400;
/** A list that was refused loads again by itself, if the person did not do it sooner. */
const BY_ITSELF = 5;

/** @type {Map<string, Inner>} */
const inners = new Map();
/** The list that the person looks at. */
let current = "today";

/** @param {string} key @returns {Inner} */
function innerOf(key) {
    let inner = inners.get(key);
    if (!inner) {
        inner = { cursor: null, staying: new Map(), loading: null, loaded: null };
        inners.set(key, inner);
    }
    return inner;
}

/** @param {string} key @param {Partial<View>} change */
function setView(key, change) {
    const before = get().views.get(key) ?? { ids: [], more: false, state: "loading", slow: false };
    set({ views: new Map(get().views).set(key, { ...before, ...change }) });
}

/** Whether a view has asked for a list. Today is loaded before there is one. */
let isAsked = false;

/** Loads a list that the person goes to. @param {string} key */
export async function load(key) {
    const isThere = !isAsked && get().views.get(key)?.state === "ready";
    isAsked = true;
    if (isThere) return;
    if (key !== current) {
        innerOf(key).staying.clear();
        abort(current);
        current = key;
    }
    await reload(key);
}

/** Whether a list is shown, or counted in the navigation. @param {string} key */
const isWanted = (key) => key === current || key === "today";

/** Ends the requests of a list that the person leaves: the server limits how many of a user it answers at once. @param {string} key */
function abort(key) {
    if (key === "today") return;
    const inner = innerOf(key);
    inner.loading?.abort();
    inner.loading = inner.loaded = null;
}

/**
 * Loads a list, as far as it was loaded before.
 * @param {string} key
 * @param {boolean} [isLate] whether an answer that is on its way may be too old
 * @returns {Promise<void>}
 */
export function reload(key, isLate = false) {
    const inner = innerOf(key);
    if (inner.loaded) return isLate ? inner.loaded.then(() => (isWanted(key) ? reload(key) : undefined)) : inner.loaded;
    const wanted = get().views.get(key)?.ids.length ?? 0;
    const view = get().views.get(key);
    if (!view || view.state === "error") setView(key, { state: "loading", error: undefined, slow: false });
    const slow = setTimeout(() => setView(key, { slow: true }), SLOW);
    const began = performance.now();
    const loading = new AbortController();
    inner.loading = loading;
    inner.loaded = fetchPages(key, wanted, loading.signal)
        .then(({ ids, cursor }) => {
            inner.cursor = cursor;
            const { isSearch } = definitionOf(key);
            const late = isSearch ? [] : [...get().tasks.keys()].filter((id) => changedAt(id) > began);
            settle(key, new Set([...ids, ...late, ...inner.staying.keys()]), { state: "ready", error: undefined, more: cursor !== null });
        })
        .catch((error) => failed(key, error))
        .finally(() => {
            clearTimeout(slow);
            setView(key, { slow: false });
            // It was ended, and the list may be loading again.
            if (inner.loading === loading) inner.loading = inner.loaded = null;
        });
    return inner.loaded;
}

/** @param {string} key @param {any} error */
function failed(key, error) {
    if (!(error instanceof Problem || error instanceof Unreachable)) {
        if (error?.name !== "AbortError") throw error;
        return;
    }
    const hasRows = (get().views.get(key)?.ids.length ?? 0) > 0;
    // What is there stays readable; the line about the connection says why it may be old.
    if (hasRows && error instanceof Unreachable) return;
    setView(key, { state: "error", error });
    if (error instanceof Problem && error.retryAfter !== null) {
        setTimeout(() => get().views.get(key)?.error === error && isWanted(key) && void reload(key), (error.retryAfter + BY_ITSELF) * 1000);
    }
}

/**
 * @param {string} key
 * @param {number} wanted how many tasks at least
 * @param {AbortSignal} signal
 */
async function fetchPages(key, wanted, signal) {
    const { query, also } = definitionOf(key);
    const beside = also && request("GET", "/v1/tasks", { query: { ...also, limit: PAGE }, signal }).catch(() => null);
    /** @type {string[]} */
    const ids = [];
    let cursor = null;
    do {
        const { body } = await request("GET", "/v1/tasks", { query: { ...query(), limit: PAGE, cursor: cursor ?? undefined }, signal });
        accept(body.items);
        ids.push(...body.items.map((/** @type {Task} */ task) => task.id));
        cursor = body.next_cursor ?? null;
    } while (cursor !== null && ids.length < wanted);
    const more = await beside;
    if (more) accept(more.body.items);
    if (more) ids.push(...more.body.items.map((/** @type {Task} */ task) => task.id));
    return { ids, cursor };
}

/** Loads the next page of a list. @param {string} key */
export async function loadMore(key) {
    const inner = innerOf(key);
    if (inner.loaded) await inner.loaded;
    if (inner.cursor === null || !isWanted(key)) return;
    const cursor = inner.cursor;
    const loading = new AbortController();
    inner.loading = loading;
    try {
        const { body } = await request("GET", "/v1/tasks", { query: { ...definitionOf(key).query(), limit: PAGE, cursor }, signal: loading.signal });
        // Loading all of it again was faster.
        if (inner.cursor !== cursor) return;
        inner.cursor = body.next_cursor ?? null;
        accept(body.items);
        const ids = [...(get().views.get(key)?.ids ?? []), ...body.items.map((/** @type {Task} */ task) => task.id)];
        settle(key, new Set(ids), { more: inner.cursor !== null, error: undefined, state: "ready" });
    } catch (error) {
        if (error instanceof Problem) setView(key, { state: "error", error });
        else if (!(error instanceof Unreachable || loading.signal.aborted)) throw error;
    } finally {
        if (inner.loading === loading) inner.loading = null;
    }
}

/** Loads a task. @param {string} id @throws {Failure} */
export async function openTask(id) {
    if (isPreliminary(idOf(id))) return;
    const began = performance.now();
    try {
        const { body } = await request("GET", `/v1/tasks/${encodeURIComponent(idOf(id))}`);
        accept([body]);
    } catch (error) {
        if (error instanceof Problem && error.status === 404 && changedAt(idOf(id)) < began) gone([idOf(id)]);
        throw error;
    }
}

/** Loads tasks that have changed elsewhere. @param {string[]} ids @throws {Failure} */
export async function fetchTasks(ids) {
    for (let at = 0; at < ids.length; at += NAMED) {
        const named = ids.slice(at, at + NAMED);
        const began = performance.now();
        const missing = new Set(named);
        let cursor = null;
        do {
            const { body } = await request("GET", "/v1/tasks", { query: { id: named.join(), cursor: cursor ?? undefined } });
            accept(body.items);
            for (const { id } of body.items) missing.delete(id);
            cursor = body.next_cursor;
        } while (cursor);
        // One that was restored meanwhile is not missing.
        gone([...missing].filter((id) => changedAt(id) < began));
    }
}

/** Loads again what the person sees. */
export async function refresh() {
    const { task } = route();
    tagsMayHaveChanged();
    await Promise.all([reload(current, true), current === "today" || reload("today", true), task && openTask(task).catch(() => {})]);
}

/**
 * Puts the tasks that belong to a list into their places.
 * @param {string} key
 * @param {Set<string>} candidates
 * @param {Partial<View>} [change]
 */
function settle(key, candidates, change = {}) {
    const { tasks } = get();
    const { matches, compare } = definitionOf(key);
    const { staying } = innerOf(key);
    const now = Date.now();
    for (const [id, until] of staying) if (until <= now) staying.delete(id);
    const rows = [...candidates].flatMap((id) => tasks.get(id)?.task ?? []);
    const ids = rows.filter((task) => matches(task) || staying.has(task.id)).sort(compare).map((task) => task.id);
    const before = get().views.get(key);
    const isSame = before && ids.length === before.ids.length && ids.every((id, at) => before.ids[at] === id);
    if (!isSame || Object.keys(change).length > 0) setView(key, { ...change, ids: isSame ? before.ids : ids });
    if (key === "today") count();
}

/**
 * Sets the tasks, and brings the lists in line with those that changed.
 * @param {Map<string, import("./state.js").Row>} tasks
 * @param {string[]} ids
 */
export function arrange(tasks, ids) {
    const before = get().tasks;
    set({ tasks });
    for (const [key, view] of get().views) {
        const { matches, compare, isSearch } = definitionOf(key);
        const { staying } = innerOf(key);
        const candidates = new Set(view.ids);
        const lastId = view.more ? view.ids.at(-1) : undefined;
        const last = lastId && before.get(lastId)?.task;
        for (const id of ids) {
            const task = tasks.get(id)?.task;
            if (!task || candidates.has(id)) {
                const was = before.get(id)?.task;
                if (task && was && was.completed !== task.completed && !matches(task)) stay(key, id, STAY);
                continue;
            }
            // What belongs on a page that is not loaded comes with that page.
            if (staying.has(id) || (matches(task) && !isSearch && !(last && compare(task, last) > 0))) candidates.add(id);
        }
        settle(key, candidates);
    }
}

/** Lets a task stay in a list where it does not belong. @param {string} key @param {string} id @param {number} time */
function stay(key, id, time) {
    innerOf(key).staying.set(id, Date.now() + time);
    if (time < Infinity) setTimeout(() => settle(key, new Set(get().views.get(key)?.ids)), time + 50);
}

/** A new task stays in the list in which it was written, until the person leaves it. @param {string} id */
export const stayHere = (id) => stay(current, id, Infinity);

/** @param {string[]} ids */
export function forgetInViews(ids) {
    for (const { staying } of inners.values()) for (const id of ids) staying.delete(id);
}

/** @param {string} from @param {string} to */
export function renameInViews(from, to) {
    for (const { staying } of inners.values()) if (staying.delete(from)) staying.set(to, Infinity);
    /** @type {Map<string, View>} */
    const views = new Map();
    for (const [key, view] of get().views) views.set(key, { ...view, ids: [...new Set(view.ids.map((id) => (id === from ? to : id)))] });
    const tasks = new Map(get().tasks);
    const row = tasks.get(from);
    tasks.delete(from);
    if (row) tasks.set(to, { ...row, task: { ...row.task, id: to } });
    set({ views, tasks });
}

/** Counts what the navigation says. */
export function count() {
    const { tasks, views, counts } = get();
    const end = endOfToday();
    let [today, overdue] = [0, 0];
    for (const id of views.get("today")?.ids ?? []) {
        const task = tasks.get(id)?.task;
        const at = task && !task.completed ? placeOf(task) : null;
        if (at === null || at >= end) continue;
        today += 1;
        if (task?.due_at && at < Date.now()) overdue += 1;
    }
    if (today !== counts.today || overdue !== counts.overdue) set({ counts: { today, overdue } });
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let tagTimer;

/** Loads the tags soon. */
export function tagsMayHaveChanged() {
    clearTimeout(tagTimer);
    tagTimer = setTimeout(() => void loadTags().catch(() => {}), TAGS_AFTER);
}

export async function loadTags() {
    /** @type {import("./state.js").Tag[]} */
    const tags = [];
    let cursor = null;
    do {
        const { body } = await request("GET", "/v1/tags", { query: { limit: PAGE, cursor: cursor ?? undefined } });
        tags.push(...body.items);
        cursor = body.next_cursor;
    } while (cursor);
    if (JSON.stringify(tags) !== JSON.stringify(get().tags)) set({ tags });
}

/** Forgets all lists. */
export function clearLists() {
    clearTimeout(tagTimer);
    for (const { loading } of inners.values()) loading?.abort();
    inners.clear();
    isAsked = false;
}

/** The key of the list that a route shows. @param {import("./route.js").Route} route */
export function viewOf({ view, tag, query }) {
    if (view === "tag") return `tag ${tag}`;
    if (view !== "search") return view === "upcoming" || view === "all" || view === "done" ? view : "today";
    const given = new URLSearchParams([...(query ?? [])].filter(([, value]) => value.trim() !== ""));
    given.sort();
    return `search ${given}`;
}

/** The end of a day of the person's, counted from today. */
const endOfToday = (days = 0) => Date.parse(daysLater(days + 1));

/** The reminder that fires next. @param {Task} task */
export function nextReminder({ reminders }) {
    let next = null;
    for (const reminder of reminders) {
        if (reminder.state === "scheduled" && (!next || Date.parse(reminder.remind_at) < Date.parse(next.remind_at))) next = reminder;
    }
    return next;
}

/** The reminder that came last, or failed to. @param {Task} task */
export function lastReminder({ reminders }) {
    let last = null;
    for (const reminder of reminders) {
        const isOver = reminder.state === "sent" || reminder.state === "failed";
        if (isOver && (!last || Date.parse(reminder.remind_at) > Date.parse(last.remind_at))) last = reminder;
    }
    return last;
}

/**
 * When a task is shown, in milliseconds: its due time, otherwise its next reminder. One whose reminder has come stays at its time until it is done.
 * @param {Task} task
 */
export function placeOf(task) {
    const at = task.due_at ?? (nextReminder(task) ?? lastReminder(task))?.remind_at;
    return at ? Date.parse(at) : null;
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
function definitionOf(key) {
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
