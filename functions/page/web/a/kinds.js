// The kinds of writes: what is sent for each, and what the person sees until it is answered.

import { patched } from "./merge.js";
import { PRELIMINARY } from "./rows.js";

/** @typedef {import("./state.js").Task} Task */
/** @typedef {import("./state.js").Reminder} Reminder */
/** @typedef {import("./state.js").Failure} Failure */
/**
 * @typedef {object} Write plain data, so that it outlives the page
 * @property {keyof typeof kinds} kind
 * @property {string} task id of the task, or a preliminary one; empty if it is not about a task
 * @property {string} target id of what the path names besides the task: a reminder, a dead letter
 * @property {Record<string, any>} args the body
 * @property {Task | null} base the task that the person saw
 * @property {Task | null} shows what a restored or new task looks like
 * @property {number | null} version for If-Match; null if it needs none
 * @property {number | null} after the version that it made
 * @property {string} key Idempotency-Key
 * @property {number} at when the person did it
 * @property {number} tries how often it was sent
 * @property {number} refusals how often it was refused for a reason that may pass
 * @property {Record<string, any> | null} inverse of a restored version that undoes a change: the same as a change of fields
 */
/**
 * @typedef {object} Kind
 * @property {"POST" | "PATCH" | "DELETE"} method
 * @property {(write: Write) => string} path
 * @property {(task: Task | null, write: Write) => Task | null} apply the task meanwhile; null if it disappears
 * @property {(write: Write, theirs: Task) => "again" | "done" | "ask"} [meets] what to do where somebody else has changed the task meanwhile
 */

/** @param {Write} write */
const taskPath = (write) => `/v1/tasks/${write.task}`;
/** @param {Write} write */
const reminderPath = (write) => `/v1/reminders/${write.target}`;
let preliminary = 0;

/** An id until the server gives one. */
export const preliminaryId = () => `${PRELIMINARY}${Date.now().toString(36)}-${++preliminary}`;

/** @param {Task | null} task @param {string} id @param {(reminder: Reminder) => Reminder[]} change */
function withReminder(task, id, change) {
    return task && { ...task, reminders: task.reminders.flatMap((reminder) => (reminder.id === id ? change(reminder) : [reminder])) };
}

/** @param {Write} write @param {Task} theirs */
function meetsReminder(write, theirs) {
    const now = theirs.reminders.find(({ id }) => id === write.target);
    const before = write.base?.reminders.find(({ id }) => id === write.target);
    return now && now.version === before?.version ? "again" : "ask";
}

/** A reminder that the server does not know yet. @param {Record<string, any>} given @param {string | null | undefined} due @returns {Reminder[]} */
export function draftReminder(given, due) {
    const at = given.remind_at ?? (due && new Date(Date.parse(due) - millis(given.before_due)).toISOString());
    if (!at) return [];
    return [{ id: preliminaryId(), remind_at: at, before_due: given.before_due ?? null, channels: given.channels ?? [], state: "scheduled", cancel_reason: null, overdue: false, version: 0 }];
}

/** The length of an ISO 8601 duration, with days of 24 hours. @param {string | null | undefined} iso */
function millis(iso) {
    const parts = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(iso ?? "") ?? [];
    return [604_800, 86_400, 3_600, 60, 1].reduce((sum, size, index) => sum + size * 1000 * Number(parts[index + 1] ?? 0), 0);
}

/** @type {Record<"create"|"change"|"complete"|"reopen"|"remove"|"restore"|"addReminder"|"cancelReminder"|"snooze"|"sendNow"|"changeMe"|"replay", Kind>} */
export const kinds = {
    create: {
        method: "POST",
        path: () => "/v1/tasks",
        apply: (_, write) => write.shows,
    },
    change: {
        method: "PATCH",
        path: taskPath,
        apply: (task, { args }) => {
            const { scope: _, ...patch } = args;
            return task && patched(task, patch);
        },
    },
    complete: {
        method: "POST",
        path: (write) => `${taskPath(write)}/complete`,
        apply: (task, write) => task && { ...task, completed: true, completed_at: new Date(write.at).toISOString() },
        meets: (_, theirs) => (theirs.completed ? "done" : "again"),
    },
    reopen: {
        method: "POST",
        path: (write) => `${taskPath(write)}/reopen`,
        apply: (task) => task && { ...task, completed: false, completed_at: null },
        meets: (_, theirs) => (theirs.completed ? "again" : "done"),
    },
    remove: {
        method: "DELETE",
        path: taskPath,
        apply: () => null,
        meets: () => "ask",
    },
    restore: {
        method: "POST",
        path: (write) => `${taskPath(write)}/restore`,
        apply: (task, { shows }) => {
            if (!task || !shows) return task ?? shows;
            const { completed, completed_at, version } = task;
            return { ...shows, completed, completed_at, version };
        },
        meets: () => "ask",
    },
    addReminder: {
        method: "POST",
        path: (write) => `${taskPath(write)}/reminders`,
        // In the server's order.
        apply: (task, write) =>
            task && { ...task, reminders: [...task.reminders, ...(write.shows?.reminders ?? [])].sort((a, b) => Date.parse(a.remind_at) - Date.parse(b.remind_at)) },
        meets: () => "again",
    },
    cancelReminder: {
        method: "DELETE",
        path: reminderPath,
        apply: (task, { target }) => withReminder(task, target, () => []),
        meets: (write, theirs) => (theirs.reminders.some(({ id }) => id === write.target) ? meetsReminder(write, theirs) : "done"),
    },
    snooze: {
        method: "POST",
        path: (write) => `${reminderPath(write)}/snooze`,
        apply: (task, { target, args, at }) => {
            const until = args.until ?? new Date(at + args.minutes * 60_000).toISOString();
            return withReminder(task, target, (reminder) => [{ ...reminder, remind_at: until, state: "scheduled", cancel_reason: null, overdue: false }]);
        },
        meets: meetsReminder,
    },
    sendNow: {
        method: "POST",
        path: (write) => `${reminderPath(write)}/send-now`,
        apply: (task, { target, at }) =>
            withReminder(task, target, (reminder) => [{ ...reminder, remind_at: new Date(at).toISOString(), state: "scheduled", cancel_reason: null, overdue: true }]),
        meets: meetsReminder,
    },
    changeMe: {
        method: "PATCH",
        path: () => "/v1/me",
        apply: (me, { args }) => me && patched(me, args),
    },
    replay: {
        method: "POST",
        path: (write) => `/v1/dead-letters/${write.target}/replay`,
        apply: (task) => task,
    },
};
