// The texts of a task's panel: a section of `text` that is loaded with it.

/** @param {string[]} parts */
const listed = (parts) => new Intl.ListFormat("en").format(parts);

/** @type {Record<string, string>} */
const ENDINGS = { one: "st", two: "nd", few: "rd" };
/** @param {number} n */
const ordinal = (n) => `${n}${ENDINGS[new Intl.PluralRules("en", { type: "ordinal" }).select(n)] ?? "th"}`;

/** @type {Record<string, string>} */
const CHANNELS = { email: "email", push: "notification" };
/** @param {string[]} channels */
export const by = (channels) => `by ${listed(channels.map((channel) => CHANNELS[channel] ?? channel))}`;

/** @param {string} value */
const quoted = (value) => `“${value.length > 60 ? `${value.slice(0, 60).trimEnd()}…` : value}”`;

export const task = {
    panel: "Task",
    title: "Title",
    description: "Description",
    notes: "Notes",
    close: "Close the task",
    save: "Save",
    cancel: "Cancel",
    complete: "Complete",
    reopen: "Reopen",
    delete: "Delete",
    loading: "Loading the task…",
    missing: "This task does not exist, or it was deleted.",
    notLoaded: "This part of the page could not be loaded.",
    reload: "Reload",
    /** @param {string} when */
    completedAt: (when) => `Completed ${when}`,
    /** @param {string} when @param {number} version */
    created: (when, version) => `Created ${when} · version ${version}`,
    endsSeries: "Deleting it ends the series: no later occurrence is made. To go on with the next one, complete it instead.",
    deleteSeries: "Delete and end the series",
    onlyThis: "Only this occurrence was changed.",
    changeFollowing: "Change later ones too",

    edit: {
        saving: "Saving…",
        saved: "Saved",
        failed: "Not saved",
        /** @param {string} why */
        notSaved: (why) => `Not saved: ${why}`,
        mine: "It was changed elsewhere meanwhile. You wrote:",
        theirs: "It was changed elsewhere meanwhile. There it says:",
        empty: "nothing",
        useMine: "Use mine",
        keepMine: "Keep mine",
        takeTheirs: "Take that",
        discard: "Discard",
    },

    due: {
        label: "Due",
        add: "Add a due time",
        none: "no due time",
        date: "Date",
        time: "Time",
        zone: "Time zone",
        unknownZone: "This browser knows no such zone. An example is Europe/Berlin.",
        nextMonday: "Next Monday",
        remove: "Remove the due time",
        removeBoth: "Remove due time and repetition",
        saveThis: "Only this one",
        saveFollowing: "This and later ones",
        /** @param {string} when */
        overdue: (when) => `Overdue since ${when}`,
        /** @param {string} when @param {string} zone */
        there: (when, zone) => `${when} in ${zone}`,
        /** @param {string} time @param {string} shown */
        skipped: (time, shown) => `The clocks skip ${time} on that day: it becomes ${shown}.`,
    },

    priority: {
        label: "Priority",
        /** @type {Record<string, string>} */
        words: { low: "Low priority", medium: "Medium priority", high: "High priority", urgent: "Urgent" },
    },

    tags: {
        label: "Tags",
        add: "Add tags",
        more: "Add",
        known: "Known tags",
        none: "no tags",
        /** @param {string} name */
        remove: (name) => `Remove the tag ${name}`,
    },

    repeat: {
        label: "Repeat",
        add: "Repeat",
        needsDue: "Repeat: needs a due time",
        unitLabel: "Unit",
        everyLabel: "Every",
        onLabel: "On",
        ends: "Ends",
        never: "Never",
        afterTimes: "After a number of times",
        onDate: "On a date",
        timesLabel: "Times, with this one",
        lastDate: "Last date",
        anchorLabel: "Counted from",
        anchorOptions: { due: "the due date", completion: "completion" },
        rule: "Rule",
        byRuleOption: "by a rule (RRULE)",
        ruleHint: "RFC 5545, for example FREQ=MONTHLY;BYDAY=-1FR",
        asBefore: "as its rule says",
        stop: "Stop repeating",
        next: "Next dates",
        lastOne: "This is the last one.",
        ifOnTime: "If each is completed on the day that it is due.",
        /** @type {Record<string, string>} */
        units: { DAILY: "day", WEEKLY: "week", MONTHLY: "month", YEARLY: "year" },
        /** @param {string} unit @param {number} interval */
        every: (unit, interval) => (interval === 1 ? `Every ${unit}` : `Every ${interval} ${unit}s`),
        everyWorkday: "Every weekday",
        onWorkdays: "on weekdays",
        workday: "weekday",
        lastDay: "last day",
        /** @param {string} days */
        on: (days) => (/^(last|first|second|third|fourth|fifth|\d+[a-z])/.test(days) ? `on the ${days}` : `on ${days}`),
        /** @param {number} day */
        day: (day) => ordinal(day),
        /** @param {number} day */
        dayOrLast: (day) => (day > 28 ? `${ordinal(day)} or the last day` : ordinal(day)),
        /** @param {number} nth @param {string} weekday */
        nth: (nth, weekday) => `${nth < 0 ? "last" : ["first", "second", "third", "fourth", "fifth"][nth - 1]} ${weekday}`,
        /** @type {Record<string, string>} */
        weekdays: { MO: "Monday", TU: "Tuesday", WE: "Wednesday", TH: "Thursday", FR: "Friday", SA: "Saturday", SU: "Sunday" },
        /** @param {number} count */
        times: (count) => (count === 1 ? "once" : `${count} times`),
        /** @param {string} date */
        until: (date) => `until ${date}`,
        /** @type {Record<string, string>} */
        anchors: { due: "from the due date", completion: "from the day it is completed" },
        /** @param {string} rule @param {string} anchor */
        byRule: (rule, anchor) => `By the rule ${rule}, ${anchor}`,
        reasons: {
            /** @param {string} time @param {boolean} night */
            gap: (time, night) => `${time} does not exist that ${night ? "night" : "day"}`,
            /** @param {string} time @param {boolean} night */
            fold: (time, night) => `${time} comes twice that ${night ? "night" : "day"}, and this is the first`,
            /** @param {string} month @param {number} day */
            lastDay: (month, day) => `${month} has no ${ordinal(day)}, so its last day`,
            /** @param {string} month @param {number} day */
            leftOut: (month, day) => `${month} has no ${ordinal(day)}, so it is left out`,
            count: "left out, because the series has had all its dates",
            until: "left out, because the series ends before it",
        },
    },

    reminders: {
        label: "Reminders",
        add: "Add a reminder",
        none: "No reminders",
        channels: "Send it by",
        /** @type {Record<string, string>} */
        channel: { email: "Email", push: "Notification" },
        noPush: "Notifications are off on this server",
        at: "At a time…",
        date: "Date",
        time: "Time",
        /** @type {[string, string][]} */
        presets: [["PT0S", "At the due time"], ["PT5M", "5 minutes before"], ["PT15M", "15 minutes before"], ["PT1H", "1 hour before"], ["P1D", "1 day before"]],
        addAt: "Add",
        /** @param {string} when */
        menu: (when) => `Snooze, send or cancel the reminder for ${when}`,
        /** Goes before the time. */
        timeline: "What happened to the reminder for",
        snooze: "Snooze",
        /** @param {number} minutes */
        inMinutes: (minutes) => (minutes < 60 ? `${minutes} minutes` : minutes === 60 ? "1 hour" : `${minutes / 60} hours`),
        /** @param {string} clock */
        evening: (clock) => `This evening, ${clock}`,
        /** @param {string} clock */
        tomorrow: (clock) => `Tomorrow, ${clock}`,
        /** @param {string} clock */
        monday: (clock) => `Next Monday, ${clock}`,
        until: "Until…",
        snoozeUntil: "Snooze until",
        sendNow: "Send now",
        cancel: "Cancel the reminder",
        remove: "Remove it from the list",
        /** @param {string[]} channels */
        scheduled: (channels) => `Will come ${by(channels)}`,
        overdue: "Its time has passed: it fires at once",
        /** @param {string[]} channels */
        sent: (channels) => `Sent ${by(channels)}`,
        failed: "Could not be sent",
        /** @type {Record<string, string>} */
        cancelled: {
            user: "Cancelled by you",
            completed: "Cancelled, because the task was completed",
            deleted: "Cancelled, because the task was deleted",
            due_removed: "Cancelled, because the task has no due time any more",
        },
        cancelledOther: "Cancelled",
        other: "In a state that this page does not know yet",
        /** Leads to the timeline. @type {Record<string, string>} */
        why: { sent: "How?", failed: "Why?", cancelled: "Why?" },
        whyOther: "Timeline",
        former: "A former reminder",
    },

    history: {
        label: "History",
        empty: "Nothing has happened yet.",
        more: "Show earlier entries",
        restore: "Restore",
        /** @param {string} when */
        restoreTitle: (when) => `Give the task the content that it had before ${when}. Later changes go too; you can undo it.`,
        gone: "This version is not kept any more: a version is kept for 30 days.",
        created: "You created it.",
        completed: "You completed it.",
        reopened: "You reopened it.",
        deleted: "You deleted it.",
        changed: "You changed it. What it was before is not kept any more.",
        same: "You changed it, and changed it back.",
        /** @param {string} from @param {string} to */
        title: (from, to) => `You renamed it from ${quoted(from)} to ${quoted(to)}.`,
        /** @param {string | null} from @param {string | null} to */
        description: (from, to) => (!from ? "You added notes." : !to ? "You removed the notes." : "You changed the notes."),
        /** @param {string} from @param {string} to */
        priority: (from, to) => `You changed the priority from ${from} to ${to}.`,
        /** @param {string} to */
        dueSet: (to) => `You made it due ${to}.`,
        /** @param {string} from */
        dueRemoved: (from) => `You removed its due time, ${from}.`,
        /** @param {string} from @param {string} to */
        dueMoved: (from, to) => `You moved it from ${from} to ${to}.`,
        /** @param {string} from @param {string} to */
        zone: (from, to) => `You changed its time zone from ${from} to ${to}.`,
        /** @param {string[]} added @param {string[]} removed */
        tags: (added, removed) =>
            `You ${[added.length > 0 && `added ${tagged(added)}`, removed.length > 0 && `removed ${tagged(removed)}`].filter(Boolean).join(" and ")}.`,
        /** @param {string} how */
        repeatSet: (how) => `You made it repeat: ${how}.`,
        repeatRemoved: "You stopped it from repeating.",
        /** @param {string} from @param {string} to */
        repeatChanged: (from, to) => `You changed how it repeats, from “${from}” to “${to}”.`,
        /** @param {string} when */
        reminderAdded: (when) => `You added a reminder for ${when}.`,
        /** @param {string} when */
        reminderRemoved: (when) => `You cancelled the reminder for ${when}.`,
        /** @param {string} from @param {string} to */
        reminderMoved: (from, to) => `Its reminder moved from ${from} to ${to}.`,
        /** @param {string} field */
        field: (field) => `You changed ${field}.`,
        /** @type {Record<string, string>} */
        reminder: {
            "reminder.sent": "A reminder was sent",
            "reminder.failed": "A reminder could not be sent",
            "reminder.skipped": "A reminder was not sent",
            "reminder.unknown": "A reminder may have been sent twice, or not at all",
        },
        why: "Why?",
        /** @param {string} action */
        other: (action) => `Something happened that this page does not know yet (${action}).`,
    },
};

/** @param {string[]} names */
const tagged = (names) => `${names.length === 1 ? "the tag" : "the tags"} ${listed(names)}`;
