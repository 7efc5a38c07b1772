// The tasks and preferences that this tab knows: as the server has them, and as the person sees them.

import { request } from "./api.js";
import { arrange, forgetInViews, refresh, renameInViews, tagsMayHaveChanged } from "./lists.js";
import { get, set } from "./state.js";
import { setZone, zone } from "./times.js";

/** @typedef {import("./state.js").Task} Task */
/** @typedef {import("./state.js").Row} Row */
/** @typedef {import("./state.js").Me} Me */
/** @typedef {import("./kinds.js").Write} Write */
/**
 * @typedef {object} Entry
 * @property {Task | null} server the task as the server has it
 * @property {Write | null} draft a creation that was refused
 * @property {Row["failed"]} failed
 * @property {Row["conflict"]} conflict
 * @property {number} changed when the entry changed last, by the clock of the tab
 */

/** Where writes wait while the page is left, in the storage of the tab. */
export const KEPT = "punctual.writes";
/** How the id of a task begins until the server gives one. */
export const PRELIMINARY = "new-";
/** What a write makes of a task or of the preferences. `kinds.js` knows it, which comes later. @type {{ of: (before: any, write: Write) => any }} */
export const effect = { of: (before) => before };

/** @type {Map<string, Entry>} */
const entries = new Map();
/** The last versions of deleted tasks: an older answer must not bring them back. @type {Map<string, number>} */
const deleted = new Map();
/** The ids that preliminary ones became. @type {Map<string, string>} */
const renamed = new Map();
/** The other way round. @type {Map<string, string>} */
const names = new Map();
/** The writes that are not answered, in order. @type {Write[]} */
export const queue = [];
/** The preferences as the server has them. @type {Me | null} */
let preferences = null;

/** @param {string} id */
export const isPreliminary = (id) => id.startsWith(PRELIMINARY);

/** The id of a task that may have been created meanwhile. @param {string} id */
export const idOf = (id) => renamed.get(id) ?? id;

/** What names a task as long as the page is open, also while it gets its id: nothing that shows it begins anew. @param {string} id */
export const keyOf = (id) => names.get(id) ?? id;

/** @param {string} id @returns {Entry} */
export function entryOf(id) {
    let entry = entries.get(id);
    if (!entry) {
        entry = { server: null, draft: null, failed: null, conflict: null, changed: 0 };
        entries.set(id, entry);
    }
    return entry;
}

/** The task as the person sees it. @param {string} id */
export const taskOf = (id) => get().tasks.get(idOf(id))?.task ?? null;

/** The version of the task at the server, as far as this tab knows. @param {string} id */
export const versionOf = (id) => entries.get(id)?.server?.version ?? null;

/** The version of a task before it was deleted. @param {string} id */
export const lastVersionOf = (id) => deleted.get(id) ?? null;

/** When a task changed last in this tab. @param {string} id */
export const changedAt = (id) => entries.get(id)?.changed ?? 0;

/** Takes tasks from answers. One that is older than what is known is dropped. @param {Task[]} tasks */
export function accept(tasks) {
    const news = [];
    for (const task of tasks) {
        const entry = entryOf(task.id);
        const before = entry.server;
        if (task.version <= (deleted.get(task.id) ?? -1) || task.version < (before?.version ?? -1)) continue;
        if (before && JSON.stringify(before) === JSON.stringify(task)) continue;
        deleted.delete(task.id);
        entry.server = task;
        entry.changed = performance.now();
        news.push(task.id);
        if (before?.completed !== task.completed || String(before?.tags) !== String(task.tags)) tagsMayHaveChanged();
    }
    show(news);
}

/** Takes note of tasks that the server no longer has. @param {string[]} ids */
export function gone(ids) {
    for (const id of ids) {
        const entry = entries.get(id);
        if (!entry?.server) continue;
        deleted.set(id, entry.server.version);
        if (entry.server.tags.length > 0) tagsMayHaveChanged();
        Object.assign(entry, { server: null, failed: null, conflict: null, changed: performance.now() });
    }
    show(ids);
}

/** A new task has its id now. @param {string} from @param {string} to */
export function rename(from, to) {
    renamed.set(from, to);
    names.set(to, from);
    entries.delete(from);
    for (const write of queue) if (write.task === from) write.task = to;
    renameInViews(from, to);
}

/** Brings what the person sees of these tasks up to date, and their places in the lists. @param {string[]} ids */
export function show(ids) {
    if (ids.length === 0) return;
    const tasks = new Map(get().tasks);
    const left = [];
    for (const id of new Set(ids)) {
        const row = rowOf(id);
        if (row) tasks.set(id, row);
        else if (tasks.delete(id)) left.push(id);
    }
    forgetInViews(left);
    arrange(tasks, ids);
}

/** @param {string} id @returns {Row | null} */
function rowOf(id) {
    const entry = entryOf(id);
    const writes = queue.filter((write) => write.task === id);
    const task = writes.reduce((/** @type {Task | null} */ shown, write) => effect.of(shown, write), entry.server ?? entry.draft?.shows ?? null);
    if (task) return { task, saving: writes.length > 0, failed: entry.failed, conflict: entry.conflict };
    if (!entry.server && isPreliminary(id)) entries.delete(id);
    return null;
}

/** Takes the preferences as the server has them. @param {Me} me */
export function acceptMe(me) {
    preferences = me;
    showMe();
}

/** Shows the preferences with the changes that are not answered yet. */
export function showMe() {
    if (!preferences) return;
    const changes = queue.filter(({ kind }) => kind === "changeMe");
    const me = changes.reduce((/** @type {Me} */ shown, write) => effect.of(shown, write), preferences);
    const before = zone();
    setZone(me.time_zone);
    set({ me });
    if (zone() !== before && get().views.size > 0) void refresh().catch(() => {});
}

export async function loadMe() {
    acceptMe((await request("GET", "/v1/me")).body);
}

/** Forgets everything. */
export function clearRows() {
    entries.clear();
    deleted.clear();
    renamed.clear();
    names.clear();
    queue.length = 0;
    preferences = null;
    set({ tasks: new Map() });
}
