// The texts of a task's panel and of a reminder's timeline: sections of `text`.

/** @param {string[]} parts */
const listed = (parts) => new Intl.ListFormat("en").format(parts);

/** @type {Record<string, string>} */
const ENDINGS = { one: "st", two: "nd", few: "rd" };
/** @param {number} n */
const ordinal = (n) => `${n}${ENDINGS[new Intl.PluralRules("en", { type: "ordinal" }).select(n)] ?? "th"}`;

/** @type {Record<string, string>} */
const CHANNELS = { email: "email", push: "push" };
/** @param {string[]} channels */
const by = (channels) => `by ${listed(channels.map((channel) => CHANNELS[channel] ?? channel))}`;

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
        /** @param {string} mine */
        mine: (mine) => `It was changed elsewhere meanwhile. Yours: ${mine ? quoted(mine) : "empty"}`,
        /** @param {string} theirs */
        theirs: (theirs) => `It was changed elsewhere meanwhile to ${theirs ? quoted(theirs) : "nothing"}`,
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
        removeBoth: "Remove it and the repetition",
        saveThis: "Save for this one",
        saveFollowing: "Save for later ones too",
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
        anchorOptions: { due: "the due date", completion: "the day it is completed" },
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
        on: (days) => (/^(last|first|second|third|fourth|fifth|\d)/.test(days) ? `on the ${days}` : `on ${days}`),
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
        channel: { email: "Email", push: "Push" },
        noPush: "Push is off on this server",
        at: "At a time…",
        date: "Date",
        time: "Time",
        /** @type {[string, string][]} */
        presets: [["PT0S", "At the due time"], ["PT5M", "5 minutes before"], ["PT15M", "15 minutes before"], ["PT1H", "1 hour before"], ["P1D", "1 day before"]],
        addAt: "Add",
        /** @param {string} when */
        menu: (when) => `Snooze, send or cancel the reminder for ${when}`,
        /** @param {string} when */
        timeline: (when) => `What happened to the reminder for ${when}`,
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

export const timeline = {
    label: "What happened",
    details: "details",
    more: "Show later entries",
    missing: "There is no such reminder.",
    /** @param {string} how */
    asleep: (how) => `asleep for ${how}`,
    /** @param {string} how */
    later: (how) => `${how} later`,

    // First of all: did it come?
    /** @param {string} when @param {string} late @param {string[]} channels */
    sent: (when, late, channels) => `Sent ${when} ${by(channels)}, ${late} after its time.`,
    /** @param {string} why */
    notSent: (why) => `Not sent: ${why}.`,
    /** @param {string} why */
    notSentAgain: (why) => `Not sent again: ${why}.`,
    /** @param {string} channel @param {string} why */
    butNot: (channel, why) => `Not ${by([channel])}: ${why}.`,
    /** @param {string} why */
    maybe: (why) => `Nobody can tell whether it arrived: ${why}.`,
    /** @param {string} why @param {string} next */
    notYet: (why, next) => `Not sent yet: ${why}. The next attempt is at ${next}.`,
    onItsWay: "It has fired, and the message is on its way.",
    /** @param {string} when */
    late: (when) => `Its time was ${when}, and it has not fired yet.`,
    /** @param {string} when @param {string[]} channels */
    will: (when, channels) => `Will come ${when} ${by(channels)}.`,
    gaveUp: "every attempt was refused",
    state: "It is in a state that this page does not know yet.",
    /** Why it was cancelled. @type {Record<string, (when: string) => string>} */
    cancelled: {
        user: (when) => `you cancelled it ${when}`,
        completed: (when) => `you completed the task ${when}`,
        deleted: (when) => `you deleted the task ${when}`,
        due_removed: (when) => `you removed the due time ${when}`,
        other: (when) => `it was cancelled ${when}`,
    },
    tooLate: "its time had passed when this occurrence was made",
    /** @param {string} clock */
    at: (clock) => `at ${clock}`,

    // Then every step.
    created: "Set",
    /** @param {string} when @param {string} [before] */
    setFor: (when, before) => `Set for ${when}${before ? ` (${before.replace(/ before$/, " before due")})` : ""}`,
    /** @param {string} when */
    moved: (when) => `Moved to ${when}`,
    /** @param {string} when */
    movedAndArmed: (when) => `Moved to ${when}, and armed`,
    restored: "Brought back after its time had passed, so that it fires at once",
    armed: "Armed",
    /** @param {string} late */
    fired: (late) => `Fired, ${late} late`,
    firedExactly: "Fired on the millisecond",
    /** @param {string} why */
    didNotFire: (why) => `Did not fire: ${why}`,
    /** @param {string} channel @param {string} why */
    skipped: (channel, why) => `The ${channel} was not sent: ${why}`,
    /** Why it was skipped. @type {Record<string, string>} */
    skipReasons: {
        user: "you had cancelled it",
        completed: "the task was completed",
        deleted: "the task was deleted",
        due_removed: "the task had no due time any more",
        moved: "it was moved meanwhile",
        sent: "it was sent already",
        failed: "it had failed already",
        scheduled: "it is scheduled anew",
        cancelled: "it was cancelled",
    },
    /** @param {string} channel */
    message: (channel) => ({ email: "email", push: "push message" })[channel] ?? channel,
    /** @param {string} what @param {number} attempt */
    sending: (what, attempt) => `Sending the ${what}${attempt > 1 ? `, attempt ${attempt}` : ""}`,
    /** @param {number} attempt @param {string} why @param {string} next */
    retrying: (attempt, why, next) => `${attempt ? `Attempt ${attempt} was` : "It was"} not accepted: ${why}. Next attempt at ${next}`,
    /** @param {string} why @param {string} next */
    unknownRetry: (why, next) => `It may have been accepted, but no answer came: ${why}. Sent once more at ${next}`,
    unknownRepeat: "The last attempt ended without an answer, so it is repeated",
    /** @param {string} why */
    unknown: (why) => `Ended without an answer: ${why}`,
    /** @param {number} count */
    folded: (count) => `${count} more attempts, with the same answer`,
    /** @param {string} what @param {string} why */
    failed: (what, why) => `The ${what} failed for good: ${why}`,
    /** @param {string} provider @param {number} attempt */
    accepted: (provider, attempt) => `Accepted by ${provider}${attempt > 1 ? `, at attempt ${attempt}` : ""}`,
    /** @type {Record<string, string>} */
    providers: { smtp: "the mail server", resend: "Resend", mailgun: "Mailgun", files: "the mail folder", "web-push": "the push service" },
    someProvider: "the provider",
    /** @param {string} provider @param {string} device */
    forDevice: (provider, device) => `${provider} for ${device}`,
    /** The browser behind a push service, by a part of its host. @type {[string, string][]} */
    browsers: [["googleapis", "Chrome"], ["mozilla", "Firefox"], ["apple", "Safari"], ["windows", "Edge"]],
    formerDevice: "a device that is not registered any more",
    /** @param {string} reason */
    wasCancelled: (reason) => `Cancelled: ${reason}`,
    /** @type {Record<string, string>} */
    acted: { complete: "You completed the task from the message", snooze: "You snoozed it from the message" },
    actedOther: "You used a link of the message",
    /** @param {string} what */
    other: (what) => `A step that this page does not know yet (${what})`,
};
