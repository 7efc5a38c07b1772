// The texts of a reminder's timeline: a section of `text` that is loaded with it.

import { by } from "./text-task.js";

/** Why something was skipped. @type {Record<string, string>} */
const SKIPPED = {
    user: "you had cancelled it",
    completed: "the task was completed",
    deleted: "the task was deleted",
    due_removed: "the task had no due time any more",
    moved: "it was moved meanwhile",
    sent: "it was sent already",
    failed: "it had failed already",
    scheduled: "it is scheduled anew",
    cancelled: "it was cancelled",
    "the user is gone": "the account does not exist any more",
};

/** Recorded reasons, and how a person would say them. @type {[RegExp, string][]} */
const REASONS = [
    [/^smtp RCPT: (\d+)$/, "the mail server refused your address ($1)"],
    [/^smtp (?:DATA|body): (\d+)$/, "the mail server refused the message ($1)"],
    [/^smtp (\w+): (\d+)$/, "the mail server answered $2 to $1"],
    [/^smtp \w+: (\d+) where (\d+) was due$/, "the mail server answered $1 instead of $2"],
    [/^smtp[ \w]*: the server /, "the mail server "],
    [/^smtp[ \w]*: no reply in time$/, "the mail server did not reply in time"],
    [/^smtp[ \w]*: /, ""],
    [/^the push subscription is gone, or the user has none$/, "no device is registered for notifications any more"],
    [/^the user had the maximum/, "you had the maximum"],
    [/^([\w.-]+) (\d{3})( \w+)?$/, "$1 answered $2$3"],
];

export const timeline = {
    /** @param {string} reason */
    because(reason) {
        const [name, rest] = reason.split(/(?=, and it may)/);
        if (SKIPPED[name]) return `${SKIPPED[name]}${rest ?? ""}`;
        const known = REASONS.find(([pattern]) => pattern.test(reason));
        return known ? reason.replace(...known) : reason;
    },
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
    /** @param {string} channel */
    message: (channel) => ({ email: "email", push: "notification" })[channel] ?? channel,
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
    accepted: (provider, attempt) => `${provider === timeline.providers.files ? "Written to" : "Accepted by"} ${provider}${attempt > 1 ? `, at attempt ${attempt}` : ""}`,
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
