// What the page says of changes. It comes with what makes them.

export const commands = {
    /** @param {string} title */
    created: (title) => `Added “${title}”`,
    /** @param {string} title */
    changed: (title) => `Changed “${title}”`,
    /** @param {string} title @param {string} when */
    moved: (title, when) => `“${title}” is due ${when}`,
    /** @param {string} title */
    noDue: (title) => `“${title}” has no due time`,
    /** @param {string} title */
    completed: (title) => `Done: “${title}”`,
    /** @param {string} title */
    reopened: (title) => `Reopened “${title}”`,
    /** @param {string} title */
    removed: (title) => `Deleted “${title}”`,
    /** @param {string} title */
    restored: (title) => (title ? `Restored “${title}”` : "Restored"),
    /** @param {string} when */
    reminderAdded: (when) => `Reminder set for ${when}`,
    /** @param {string} when */
    reminderCancelled: (when) => `Reminder for ${when} cancelled`,
    /** @param {string} when */
    snoozed: (when) => `Snoozed until ${when}`,
    sendingNow: "The reminder is sent now",
    saved: "Saved",
    replayed: "The event is published again",
    undone: "Undone",
    nothingToUndo: "There is nothing to undo.",
    /** @param {string} title */
    conflict: (title) => `“${title}” was changed elsewhere. Your value stands beside it.`,
    /** @param {string} title */
    gone: (title) => `“${title}” was deleted elsewhere. Your change was not saved.`,
    changedSince: "This task was changed elsewhere meanwhile: look at it, then try again.",
    /** @param {string} words */
    refused: (words) => `Not saved: ${words}`,
    /** @param {string} title @param {string} words */
    refusedOf: (title, words) => `“${title}” was not saved: ${words}`,
};
