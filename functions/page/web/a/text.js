// Every text of the page, one section for each area. A text with values is a function.

/** @param {number} count @param {string} one @param {string} many */
export const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

export const text = {
    /** Signing in and out. */
    session: {
        title: "Punctual",
        what: "Tasks and reminders that arrive exactly on time, and can say why.",
    },

    /** Times. */
    times: {
        /** @param {string} amount */
        before: (amount) => `${amount} before`,
        atDue: "at the due time",
    },

    /** What commands say: notices, refusals, waiting. */
    commands: {},

    /** Header, navigation, notices, help. */
    shell: {},

    /** Lists, quick add, search. */
    list: {},

    /** The panel of a task. */
    task: {},

    /** A reminder's timeline. */
    timeline: {},

    /** Settings. */
    settings: {},

    /** Links in mail. */
    act: {},

    /** The operator's view. */
    system: {},
};
