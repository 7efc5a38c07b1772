// Every text of the first load, one section for each area. A text with values is a function. The views that are loaded later have theirs in
// `text-task.js`, `text-timeline.js` and `text-settings.js`.

/** @param {number} count @param {string} one @param {string} many */
export const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

/** A sentence begins with a capital. @param {string} sentence */
export const capital = (sentence) => sentence.charAt(0).toLocaleUpperCase() + sentence.slice(1);

export const text = {
    /** Signing in and out. */
    session: {
        /** @param {string} zone */
        zoneAdopted: (zone) => `Your times are in ${zone}, the zone of this device`,
        name: "Punctual",
        what: "Write down what must not be forgotten, be reminded on time, and see why each reminder came, or why it did not.",
        signIn: "Sign in",
        signingIn: "Signing in…",
        useToken: "Use a token",
        token: "Token",
        tokenHint: "Paste the access token that you were given for this server. It stays in this tab.",
        notAToken: "This is not a JSON Web Token: paste all three parts, separated by dots.",
        ended: "Your session has ended. Sign in again: your changes are kept.",
        /** @param {string} words */
        refused: (words) => `The server refused your token: ${words}`,
        /** @param {string} words */
        failed: (words) => `You are not signed in: ${words}.`,
        noProvider: "The identity provider cannot be reached. Check your connection and try again.",
        example: {
            label: "Example: a reminder and its timeline",
            task: "Call the dentist",
            due: "09:00",
            steps: [
                ["Set", "for 08:45, 15 minutes before"],
                ["Fired", "at 08:45:00.003, 3 ms late"],
                ["Accepted", "by the mail server at 08:45:00.015"],
            ],
        },
    },

    /** Times. */
    times: {
        /** @param {string} amount */
        before: (amount) => `${amount} before`,
        atDue: "at the due time",
    },

    /** Buttons, dialogs and states that every view shares. */
    controls: {
        close: "Close",
        loading: "Loading…",
        tryAgain: "Try again",
        /** @param {number} seconds */
        waitSeconds: (seconds) => `Try again in ${seconds} s`,
        forbidden: "Your account may not see this: ask an operator.",
        tooMany: "You sent too many requests at once: wait a moment.",
        unavailable: "Punctual cannot answer right now: wait a moment.",
        unreachable: "Punctual cannot be reached: check your connection.",
        /** @param {number} status */
        refused: (status) => `The server refused this (${status}).`,
    },

    /** Header, navigation, notices, help. */
    shell: {
        name: "Punctual",
        views: { today: "Today", upcoming: "Upcoming", all: "All", done: "Done", tag: "Tag", search: "Search", settings: "Settings", system: "System", act: "" },
        /** @param {string} view */
        title: (view) => (view ? `${view} · Punctual` : "Punctual"),
        navigation: "Lists",
        tags: "Tags",
        /** @param {number} count */
        open: (count) => `${count} open`,
        /** @param {number} count */
        overdue: (count) => `${count} overdue`,
        toList: "Skip to the list",
        search: "Search",
        settings: "Settings",
        /** @param {string} address */
        account: (address) => (address ? `Account: ${address}` : "Account"),
        themes: { system: "Same as this device", light: "Light", dark: "Dark" },
        help: "Keyboard shortcuts",
        signOut: "Sign out",
        closeTask: "Close the task",
        undo: "Undo",
        dismiss: "Dismiss",
        connection: {
            live: { word: "live", title: "Live: changes made elsewhere appear within a second." },
            connecting: { word: "connecting", title: "Connecting: changes made elsewhere may be missing." },
            offline: { word: "offline", title: "Offline: you see what was loaded before." },
            manual: { word: "not live", title: "Not live: this page loads again when you return to it, and every minute." },
        },
        offlineShort: "You are offline.",
        offline: "You see what was loaded before.",
        unsent: "Punctual cannot be reached.",
        task: "Task",
        /** @param {number} count */
        waiting: (count) => (count === 1 ? "1 change waits in this tab and is sent when you are back." : `${count} changes wait in this tab and are sent when you are back.`),
        /** @param {number} count */
        stale: (count) => (count === 1 ? "1 change has waited for more than 12 hours. Send it now?" : `${count} changes have waited for more than 12 hours. Send them now?`),
        sendStale: "Send",
        discardStale: "Discard",
        broken: "This view has failed.",
        reload: "Reload",
        keys: [
            ["n", "New task"],
            ["/", "Search"],
            ["j", "Next task"],
            ["k", "Previous task"],
            ["Enter", "Open the task"],
            ["x", "Complete or reopen"],
            ["e", "Edit"],
            ["s", "Snooze the next reminder"],
            ["z", "Undo"],
            ["Esc", "Close the task"],
            ["?", "This help"],
        ],
    },

    /** Lists, quick add, search. */
    list: {
        new: "New task",
        placeholder: "What must not be forgotten?",
        add: "Add",
        due: "Due",
        remind: "Remind",
        repeat: "Repeat",
        clear: {
            due: "Remove the due time",
            remind: "Remove the reminder",
            repeat: "Do not repeat",
        },
        /** @param {string} when */
        dueAt: (when) => `Due ${when}`,
        /** @param {string} when */
        remindAt: (when) => `Remind ${when}`,
        /** @param {string} when */
        remindBefore: (when) => `Remind ${when}`,
        noReminder: "No reminder",
        inMinute: "In 1 minute",
        inHour: "In 1 hour",
        pick: "Another time…",
        date: "Date",
        time: "Time",
        set: "Set",
        past: "This time has passed: the reminder is sent at once.",
        before: [
            ["PT0S", "At the due time"],
            ["PT15M", "15 minutes before"],
            ["PT1H", "1 hour before"],
            ["P1D", "1 day before"],
        ],
        repeats: { daily: "Every day", weekdays: "Every weekday", weekly: "Every week", monthly: "Every month", yearly: "Every year" },
        /** @param {string} when */
        repeatNeedsDue: (when) => `A task repeats from its due time, so this is due ${when} unless you choose another time.`,
        /** @param {string} when */
        byDefault: (when) => `You will be reminded ${when}.`,
        titleLong: "A title has at most 500 characters.",
        overdue: "Overdue",
        noDate: "No date",
        inAll: "found in All",
        justNow: "just now",
        /** @param {string} when */
        doneAt: (when) => `done ${when}`,
        undo: "Undo",
        /** @param {string} title */
        complete: (title) => `Complete “${title}”`,
        /** @param {string} title */
        reopen: (title) => `Reopen “${title}”`,
        /** @param {string} when */
        reminderAt: (when) => `Reminder ${when}`,
        reminder: "Reminder",
        /** @param {string} when */
        remindedAt: (when) => `Reminded ${when}`,
        reminded: "Reminded",
        notSent: "not sent",
        /** @param {string} when */
        notSentAt: (when) => `The reminder of ${when} was not sent. See why.`,
        overdueWord: "overdue",
        repeating: "Repeats",
        priority: { low: "Low priority", medium: "Medium priority", high: "High priority", urgent: "Urgent" },
        saving: "Saving…",
        unsent: "not saved yet",
        tryAgain: "Try again",
        discard: "Discard the change",
        conflict: "Changed elsewhere while you edited it.",
        review: "Compare",
        more: "Show more",
        loadingMore: "Loading…",
        /** @param {number} count */
        results: (count) => (count === 1 ? "1 task" : `${count} tasks`),
        /** @param {number} count */
        resultsMore: (count) => `The first ${count} tasks`,
        snooze: "Snooze the reminder",
        noSnooze: "This task has no reminder to snooze.",
        snoozes: { ten: "For 10 minutes", hour: "For 1 hour", until: (/** @type {string} */ when) => `Until ${when}` },
        empty: {
            today: "Nothing is due today. Write down what must not be forgotten and choose when to be reminded.",
            upcoming: "Nothing is planned for the coming days.",
            all: "There are no open tasks.",
            done: "Nothing is done yet.",
            tag: "No open task has this tag.",
            search: "Nothing matches this search.",
        },
        emptyAction: { task: "Write a task", widen: "Clear the filters", change: "Change the search" },
    },

    /** Search and its filters. */
};
