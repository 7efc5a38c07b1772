// The texts of Settings, of links in mail, of the messages and of the operator's view: whatever the first paint does not need.

import { plural } from "./text.js";

export const settings = {
    title: "Settings",

    you: "You",
    email: "Email address",
    emailHint: "Reminders by email go here. The address comes from your sign-in and changes there.",
    zone: "Time zone",
    zoneHint: "New tasks get this zone, and times on this page are shown in it.",
    /** @param {string} name @param {string} time */
    zoneHere: (name, time) => `This device is in ${name}, where it is ${time}.`,
    useZone: "Use this zone",
    noZone: "No time zone has this name.",

    reminders: "Reminders",
    channels: "How reminders reach you",
    channelsHint: "For new reminders. Those that are set already stay as they are.",
    channel: { email: "By email", push: "By notification" },
    oneChannel: "Reminders need at least one way to reach you.",
    noDevices: "No device is set up for notifications yet: turn them on below.",
    defaultReminder: "Default reminder",
    defaultReminderHint: "A new task with a due time gets it unless you choose another.",
    noReminder: "None",
    hideTitles: "Hide titles on the lock screen",
    hideTitlesHint: "A notification then says that a reminder is due, but not for which task.",

    device: "This device",
    theme: "Appearance",
    push: "Notifications",
    pushOn: "On",
    pushOff: "Off",
    pushState: {
        on: "Reminders by notification reach this device.",
        off: "Reminders by notification do not reach this device.",
        denied: "You blocked notifications of this site. Allow them in the browser’s settings for this site, beside the address, and come back.",
        install: "On iPhone and iPad only the installed app gets notifications: press Share, then “Add to Home Screen”, and open Punctual from there.",
        insecure: "Notifications need an encrypted connection: open this page by https.",
        unsupported: "This browser cannot receive notifications. Reminders by email reach you all the same.",
        none: "This server sends no notifications: its operator has not set them up.",
    },
    turnOn: "Turn on",
    turnOff: "Turn off",
    notNow: "You did not allow notifications, so nothing changed.",
    pushFailed: "The browser’s push service refused: try again, or look at the browser’s settings.",
    channelAdded: "New reminders now also come by notification.",
    test: "Send me a test",
    testTitle: "Test reminder",
    testHint: "Creates a task with a real reminder, due in a few seconds.",
    /** @param {number} seconds */
    testSent: (seconds) => `A task “Test reminder” is made, and its reminder comes in about ${seconds} seconds.`,
    testLink: "See what happens to it",
    limits: {
        buttons: "Notifications have the buttons Done and Snooze.",
        noButtons: "This browser shows no buttons on notifications: press one to open its task, which has Done and Snooze.",
        always: "They arrive when the app is closed, too.",
        running: "They arrive while the browser runs, with or without this page. After that they arrive when it starts again, for a day.",
    },

    devices: "Devices",
    devicesHint: "Each gets every reminder by notification.",
    thisDevice: "this device",
    /** @param {string} when */
    added: (when) => `added ${when}`,
    remove: "Remove",
    /** @param {string} name */
    removeDevice: (name) => `Remove ${name}`,
    removed: "The device is removed.",
    browsers: { google: "Chrome or a similar browser", mozilla: "Firefox", apple: "Safari", microsoft: "Edge", other: "A browser" },

    messages: "Messages",
    messagesSent: "Messages sent to you",

    data: "Your data",
    export: "Export",
    exportHint: "All tasks, their history, messages and devices, as one file with a JSON object a line.",
    exportDo: "Export my data",
    /** @param {number} count */
    exporting: (count) => (count === 0 ? "Reading…" : `Reading… ${plural(count, "line", "lines")}`),
    /** @param {number} count @param {string} name */
    exported: (count, name) => `${plural(count, "line is", "lines are")} in ${name}.`,
    exportStop: "Stop",
    exportBroken: "The export broke off, so no file was made. Try again.",
    erase: "Erase my account",
    eraseHint: "Deletes all tasks, reminders, histories and devices, for good.",
    eraseDo: "Erase…",
    eraseTitle: "Erase your account?",
    eraseWhat: "Every task, reminder, history, message and device is deleted, and nobody can restore them. Export your data first if you may want it.",
    eraseWord: "erase",
    /** @param {string} word */
    eraseType: (word) => `Type “${word}” to confirm`,
    eraseNow: "Erase everything",
    keepAccount: "Keep my account",
    erased: "Your account is erased. Signing in again opens a new, empty one.",

    session: "Session",
    /** @param {string} email */
    signedIn: (email) => (email ? `You are signed in as ${email}.` : "You are signed in."),
    signOut: "Sign out here",
    signOutHint: "In every tab of this browser. It gets no more notifications.",
};

export const act = {
    title: { complete: "Is it done?", snooze: "Later?", other: "A link from a reminder" },
    what: {
        complete: "This link comes from a reminder. Press the button to mark the task in that mail as done.",
        snooze: "This link comes from a reminder. The button makes it come again in an hour.",
        other: "The button does what the reminder’s link says.",
    },
    button: { complete: "Done", snooze: "Snooze for an hour", other: "Continue" },
    /** @param {string} title */
    done: (title) => `Done: ${title}`,
    expires: "Nothing happens until you press the button. The link works once, within seven days of the reminder.",
    completed: "Done.",
    completedWhat: "The task is marked as done.",
    snoozed: "Snoozed.",
    /** @param {string} when */
    snoozedWhat: (when) => `The reminder comes again ${when}.`,
    unchanged: "Nothing changed.",
    reasons: {
        used: "A link or button of this reminder was used before, and each message works once.",
        completed: "The task is done already.",
        moved: "The reminder was snoozed, moved or cancelled after this message.",
        deleted: "The task is deleted.",
    },
    refused: "This link does not work.",
    /** @param {string} detail */
    refusedWhat: (detail) => `It ${detail}.`,
    noLinks: "This server takes no links: its operator has not set them up.",
    unreachable: "Punctual cannot be reached. Nothing is lost: press again.",
    open: "Open the task",
    openPage: "Open Punctual",
};

export const deliveries = {
    empty: "No message was sent to you yet.",
    more: "Show older ones",
    goneTask: "A task that is deleted",
    channel: { email: "by email", push: "by notification" },
    /** @param {string} device */
    to: (device) => `to ${device}`,
    formerDevice: "a device that is removed",
    /** @type {Record<string, string>} */
    state: {
        pending: "Waits to be sent",
        sending: "Is being sent",
        retrying: "Is tried again",
        sent: "Sent",
        skipped: "Not sent",
        failed: "Not sent",
        unknown: "Perhaps sent: nobody knows",
        other: "In a state that this page does not know",
    },
    /** @param {number} count */
    attempts: (count) => `${count} attempts`,
    /** @param {string} when */
    completedBy: (when) => `you marked it as done by its link ${when}`,
    /** @param {string} when */
    snoozedBy: (when) => `you snoozed it by its link ${when}`,
};

export const system = {
    title: "System",
    back: "Back to Today",
    refresh: "Check again",
    /** @param {string} time */
    at: (time) => `Checked at ${time}.`,
    healthy: "Everything is on time.",
    behind: "Something is late, not lost: repair sends it on within five minutes.",
    /** @param {number} count */
    letters: (count) => `${plural(count, "dead letter needs", "dead letters need")} a person.`,
    nothing: "Nothing waits.",
    /** @param {number} count */
    waiting: (count) => (count >= 10_000 ? "10,000 or more wait." : count === 1 ? "1 waits." : `${count} wait.`),
    /** @param {string} ago */
    oldest: (ago) => `Oldest: ${ago}`,
    lateness: "Lateness",
    latenessHint: "How late the reminders of the last hour fired.",
    noReminders: "No reminder fired in the last hour.",
    /** @param {number} count */
    fired: (count) => plural(count, "reminder fired", "reminders fired"),
    median: "median",
    p99: "99 of 100 within",
    max: "slowest",
    parts: /** @type {const} */ ([
        ["outbox", "Outbox", "Events that are saved and not published: the broker is away, or no process runs."],
        ["unclaimed", "Unclaimed", "Events that are published and not handled: a function or its sidecar is away."],
        ["reminders_overdue", "Overdue reminders", "Reminders that were due 30 s ago or earlier and have not fired."],
        ["deliveries_overdue", "Overdue messages", "Messages whose next attempt was due 30 s ago or earlier."],
    ]),
    outcomes: "Messages",
    outcomesHint: "What became of the messages of the reminders that fired in the last hour.",
    outcome: /** @type {const} */ ([
        ["sent", "sent"],
        ["open", "on their way"],
        ["skipped", "no longer wanted"],
        ["failed", "not sent"],
        ["unknown", "perhaps sent"],
    ]),
    givenUp: "Messages given up",
    givenUpHint: "Messages of the last two days that were not sent, or may not have been.",
    none: "None.",
    /** @param {number} count */
    gaveUp: (count) => `${system.messages(count)} of the last two days ${count === 1 ? "was" : "were"} given up.`,
    /** @param {number} count */
    messages: (count) => (count >= 10_000 ? "10,000 messages or more" : plural(count, "message", "messages")),
    /** @param {string} state @param {string | null} reason */
    why: (state, reason) => `${state === "unknown" ? "Perhaps sent" : "Not sent"}${reason ? `: ${reason}` : ""}`,
    /** @param {number} count */
    number: (count) => (count >= 10_000 ? "10,000 or more" : String(count)),
    dead: "Dead letters",
    deadHint: "Events that a function gave up on. Find out why, mend it, then replay them.",
    noDead: "Nothing needs a person.",
    more: "Show more",
    replay: "Replay",
    /** @param {string} what */
    replayOf: (what) => `Replay ${what}`,
    noType: "An unreadable event",
    /** @param {string} what @param {string} by */
    given: (what, by) => `${what}, ${by}`,
    /** @param {string} name */
    byFunction: (name) => `refused by ${name}`,
    /** @param {string} name */
    byDaprd: (name) => `not delivered by the sidecar of ${name}`,
    payload: "Message",
    /** @param {number} bytes */
    bytes: (bytes) => `${bytes} bytes in all`,
};
