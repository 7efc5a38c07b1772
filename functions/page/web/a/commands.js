// What a person can do. Each command shows its effect at once, and can be undone for ten seconds.

import { stayHere, refresh } from "./lists.js";
import { draftReminder, preliminaryId } from "./kinds.js";
import { inverse, patched } from "./merge.js";
import { entryOf, idOf, queue, taskOf } from "./rows.js";
import { NOTICE, announce, dismiss, get, notify } from "./state.js";
import { commands as text } from "./text-commands.js";
import { dayAndClock, zone } from "./times.js";
import { cancel, enqueue } from "./writes.js";

export { clearWrites, takeUp } from "./writes.js";

/** @typedef {import("./state.js").Task} Task */
/** @typedef {import("./state.js").Reminder} Reminder */
/** @typedef {import("./kinds.js").Write} Write */
/** @typedef {{ until: number, run: () => void }} Undo */

/** After a recurring task is completed, its next occurrence comes a little later. */
const NEXT_OCCURRENCE = 3_000;

/** What can be undone, the latest last. @type {Undo[]} */
let undos = [];

/**
 * Sends a write, and offers to undo it.
 * @param {import("./writes.js").Wanted} wanted
 * @param {{ says?: string, quiet?: boolean, undo?: (write: Write) => import("./writes.js").Wanted, afterAnswer?: boolean }} how
 *   `undo` gives the write that undoes it; with `afterAnswer` it needs the answer first
 */
function act(wanted, { says = "", quiet = false, undo, afterAnswer = false }) {
    const { write, done } = enqueue(wanted);
    /** @type {string | undefined} */
    let notice;
    /** @type {Undo} */
    const own = {
        until: Date.now() + NOTICE,
        run() {
            undos = undos.filter((other) => other !== own);
            if (notice) dismiss(notice);
            if (!undo) return;
            announce(text.undone);
            if (cancel(write)) return;
            if (afterAnswer && queue.includes(write)) done.then(() => enqueue(undo(write))).catch(() => {});
            else enqueue(undo(write));
        },
    };
    if (undo) undos = [...undos.filter(({ until }) => until > Date.now()), own];
    if (says && !quiet) notice = notify({ text: says, undo: undo && own.run });
    done.catch(() => {
        undos = undos.filter((other) => other !== own);
        if (notice) dismiss(notice);
    });
    return done;
}

/** @param {Task | null} task */
function nameOf(task) {
    const letters = [...(task?.title ?? "")];
    return letters.length > 40 ? `${letters.slice(0, 39).join("")}…` : letters.join("");
}

/**
 * Goes back to the version before a write, if nobody has changed the task since.
 * @param {Write} write
 * @returns {import("./writes.js").Wanted}
 */
const restoreBefore = ({ task, base, version, after }) => ({ kind: "restore", task, args: version ? { version } : {}, shows: base, version: after });

/** A new task as it looks until the server has answered. @param {string} id @param {import("./state.js").NewTask} draft @returns {Task} */
function drafted(id, draft) {
    const now = new Date().toISOString();
    const due = draft.due_at ?? null;
    const { me } = get();
    const before = me?.default_reminder;
    const given = draft.reminders ?? (draft.remind_at ? [{ remind_at: draft.remind_at }] : due && before ? [{ before_due: before }] : []);
    const blank = { id, completed: false, completed_at: null, created_at: now, updated_at: now, next_occurrence_at: null, version: 0 };
    const defaults = { description: null, due_at: null, priority: null, recurrence: null, tags: [], time_zone: me?.time_zone ?? zone() };
    const { reminders: _, remind_at: __, ...fields } = draft;
    const task = patched({ ...blank, ...defaults }, { ...defaults, ...fields });
    return /** @type {any} */ ({ ...task, reminders: given.flatMap((reminder) => draftReminder(reminder, due)) });
}

/** What a notice says of a change. @param {Task | null} task @param {Record<string, any>} patch */
function changeOf(task, patch) {
    if (patch.due_at) return text.moved(nameOf(task), dayAndClock(patch.due_at));
    if (patch.due_at === null) return text.noDue(nameOf(task));
    return text.changed(patch.title ?? nameOf(task));
}

export const commands = {
    /** @param {import("./state.js").NewTask} draft @returns {Promise<Task>} */
    create(draft) {
        const task = preliminaryId();
        const shows = drafted(task, draft);
        stayHere(task);
        const undo = (/** @type {Write} */ write) => ({ kind: /** @type {const} */ ("remove"), task: write.task });
        return act({ kind: "create", task, args: draft, shows }, { says: text.created(nameOf(shows)), undo });
    },

    /**
     * @param {string} id
     * @param {import("./state.js").TaskPatch} patch
     * @param {{ scope?: "this" | "following", quiet?: boolean }} [options] `quiet`: without a notice
     * @returns {Promise<Task>}
     */
    change(id, patch, { scope, quiet } = {}) {
        const { draft } = entryOf(idOf(id));
        if (draft) {
            // It was refused, so there is no task yet.
            entryOf(idOf(id)).draft = null;
            return enqueue({ kind: "create", task: draft.task, args: { ...draft.args, ...patch }, shows: draft.shows && patched(draft.shows, patch) }).done;
        }
        const base = taskOf(id);
        const undoing = base ? inverse(patch, base) : {};
        const undo = (/** @type {Write} */ write) =>
            queue.includes(write) || !write.version
                ? { kind: /** @type {const} */ ("change"), task: id, args: undoing }
                : { ...restoreBefore(write), inverse: undoing, shows: base && { .../** @type {Task} */ (taskOf(id) ?? base), ...undoing } };
        return act({ kind: "change", task: id, args: scope ? { ...patch, scope } : patch }, { says: changeOf(base, patch), quiet, undo });
    },

    /** @param {string} id @returns {Promise<Task>} */
    complete(id) {
        const task = taskOf(id);
        const done = act({ kind: "complete", task: id }, { says: text.completed(nameOf(task)), undo: () => ({ kind: "reopen", task: id }) });
        const isLive = () => get().connection === "live";
        if (task?.recurrence) done.then(() => setTimeout(() => isLive() || refresh().catch(() => {}), NEXT_OCCURRENCE)).catch(() => {});
        return done;
    },

    /** @param {string} id @returns {Promise<Task>} */
    reopen: (id) => act({ kind: "reopen", task: id }, { says: text.reopened(nameOf(taskOf(id))), undo: () => ({ kind: "complete", task: id }) }),

    /** @param {string} id @returns {Promise<void>} */
    remove(id) {
        const shows = taskOf(id);
        const { draft, failed } = entryOf(idOf(id));
        if (draft) return Promise.resolve(failed?.discard());
        // Its version is known when it is deleted.
        return act({ kind: "remove", task: id }, { says: text.removed(nameOf(shows)), undo: () => ({ kind: "restore", task: id, version: null, shows }) });
    },

    /** Restores a version, also of a deleted task. @param {string} id @param {number} version @returns {Promise<Task>} */
    restore(id, version) {
        const undo = (/** @type {Write} */ write) => (write.base ? restoreBefore(write) : { kind: /** @type {const} */ ("remove"), task: id });
        return act({ kind: "restore", task: id, args: { version } }, { says: text.restored(nameOf(taskOf(id))), undo, afterAnswer: true });
    },

    /** @param {string} id @param {import("./state.js").NewReminder} reminder @returns {Promise<Task>} */
    addReminder(id, reminder) {
        const task = taskOf(id);
        const channels = reminder.channels ?? get().me?.channels ?? [];
        const [added] = draftReminder({ ...reminder, channels }, task?.due_at);
        const says = added ? text.reminderAdded(dayAndClock(added.remind_at)) : "";
        const shows = task && { ...task, reminders: added ? [added] : [] };
        return act({ kind: "addReminder", task: id, args: reminder, shows }, { says, undo: restoreBefore, afterAnswer: true });
    },

    /** @param {Task} task @param {Reminder} reminder @returns {Promise<Task>} */
    cancelReminder: (task, reminder) =>
        act(
            { kind: "cancelReminder", task: task.id, target: reminder.id },
            { says: text.reminderCancelled(dayAndClock(reminder.remind_at)), undo: restoreBefore, afterAnswer: true },
        ),

    /** @param {Task} task @param {Reminder} reminder @param {import("./state.js").Snooze} body @returns {Promise<Task>} */
    snooze(task, reminder, body) {
        const until = body.until ?? Date.now() + (body.minutes ?? 0) * 60_000;
        return act(
            { kind: "snooze", task: task.id, target: reminder.id, args: body },
            { says: text.snoozed(dayAndClock(until)), undo: restoreBefore, afterAnswer: true },
        );
    },

    /** @param {Task} task @param {Reminder} reminder @returns {Promise<Task>} */
    sendNow: (task, reminder) => act({ kind: "sendNow", task: task.id, target: reminder.id }, { says: text.sendingNow }),

    /** Undoes what was done last, within ten seconds. */
    async undoLast() {
        undos = undos.filter(({ until }) => until > Date.now());
        const last = undos.at(-1);
        if (last) last.run();
        else announce(text.nothingToUndo);
    },

    /** @param {import("./state.js").MePatch} patch @param {{ says?: string }} [options] @returns {Promise<import("./state.js").Me>} */
    changeMe(patch, { says = text.saved } = {}) {
        const me = /** @type {Record<string, any>} */ (get().me ?? {});
        const before = Object.fromEntries(Object.keys(patch).map((name) => [name, me[name] ?? null]));
        return act({ kind: "changeMe", args: patch }, { says, undo: () => ({ kind: "changeMe", args: before }) });
    },

    /** @param {string} letterId @returns {Promise<unknown>} */
    replay: (letterId) => act({ kind: "replay", target: letterId }, { says: text.replayed }),
};

/** Forgets what could be undone. */
export function clearUndos() {
    undos = [];
}
