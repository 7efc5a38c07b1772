// Merges a change with what somebody else changed meanwhile, field by field: the server's value stays, mine stands beside it.

/** @typedef {import("./state.js").Task} Task */

/** Fields that mean something only together. */
const TOGETHER = [["due_at", "time_zone"]];
const DEFAULTS = /** @type {Record<string, any>} */ ({ priority: "medium", tags: [] });

/**
 * @param {Record<string, any>} mine a patch of the task
 * @param {Task} base the task that the person saw
 * @param {Task} theirs the task as it is now
 * @returns {{ again: Record<string, any>, beside: Record<string, any> }} what can be sent, and what stands beside the server's values
 */
export function merge(mine, base, theirs) {
    const differs = (/** @type {string} */ field, /** @type {Task} */ task) => !isEqual(field, valueOf(mine, field, task), valueOf(task, field));
    // A value that the person did not change, or that somebody else chose as well, is no news.
    const fields = Object.keys(mine).filter((field) => differs(field, base) && differs(field, theirs));
    const isTheirs = (/** @type {string} */ field) => !isEqual(field, valueOf(base, field), valueOf(theirs, field));
    const disputed = new Set(fields.filter(isTheirs));
    for (const group of TOGETHER) {
        if (group.some((field) => disputed.has(field))) group.filter((field) => fields.includes(field)).forEach((field) => disputed.add(field));
    }
    const pick = (/** @type {string[]} */ names) => Object.fromEntries(names.map((field) => [field, mine[field]]));
    return { again: pick(fields.filter((field) => !disputed.has(field))), beside: pick([...disputed]) };
}

/**
 * The patch that gives the fields of a change their former values.
 * @param {Record<string, any>} change
 * @param {Task} before
 */
export function inverse(change, before) {
    return Object.fromEntries(Object.keys(change).map((field) => [field, valueOf(before, field) ?? null]));
}

/** A task with a patch applied to it. @template {Record<string, any>} T @param {T} task @param {Record<string, any>} patch @returns {T} */
export function patched(task, patch) {
    return { ...task, ...Object.fromEntries(Object.keys(patch).map((field) => [field, valueOf(patch, field, task)])) };
}

/**
 * The value of a field, where null may stand for a default. A patch of a recurrence is merged into the one of the task.
 * @param {Record<string, any>} from
 * @param {string} field
 * @param {Record<string, any>} [onto]
 */
function valueOf(from, field, onto) {
    const value = from[field] ?? DEFAULTS[field] ?? null;
    if (field === "time_zone" && value === null) return onto?.time_zone ?? null;
    if (field === "recurrence" && value !== null) return { anchor: "due", interval: 1, rule: null, ...onto?.recurrence, ...value };
    return value;
}

/** @param {string} field @param {any} a @param {any} b */
export function isEqual(field, a, b) {
    if (field.endsWith("_at") && a && b) return Date.parse(a) === Date.parse(b);
    return flat(a) === flat(b);
}

/** @param {any} value */
function flat(value) {
    if (Array.isArray(value)) return JSON.stringify([...value].sort());
    if (value && typeof value === "object") return JSON.stringify(Object.entries(value).filter(([, part]) => part !== null).sort());
    return JSON.stringify(value ?? null);
}
