// Generated from functions/tasks/openapi.json by `npm run types` in testing/browser. Do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description The result of a request. It shows nothing of the task, because a capability allows acting and no reading. */
        Acted: {
            action: components["schemas"]["Action"];
            outcome: components["schemas"]["ActionOutcome"];
            reason?: components["schemas"]["ActionObstacle"] | null;
            /**
             * Format: date-time
             * @description When the reminder is due again, after a snooze.
             */
            remind_at?: string | null;
            /** Format: uuid */
            reminder_id: string;
            /** Format: uuid */
            task_id: string;
        };
        /**
         * @description An action that a capability allows.
         * @enum {string}
         */
        Action: "complete" | "snooze";
        /**
         * @description Why a request changed nothing.
         * @enum {string}
         */
        ActionObstacle: "used" | "completed" | "moved" | "deleted";
        /**
         * @description Whether a request changed something.
         * @enum {string}
         */
        ActionOutcome: "done" | "unchanged";
        /** @description An action to perform. `minutes` is how long to snooze; null is 60. */
        ActionRequest: {
            /** @description The end of the link, after `#/act/`. */
            capability: string;
            /**
             * Format: int32
             * @description From now.
             * @example 10
             */
            minutes?: number | null;
        };
        /**
         * @description What the next occurrence is counted from.
         * @enum {string}
         */
        Anchor: "due" | "completion";
        /**
         * @description Why a reminder is cancelled: `task_reminders.cancel_reason`.
         * @enum {string}
         */
        CancelReason: "user" | "completed" | "deleted" | "due_removed" | "other";
        /**
         * @description How a reminder reaches its user.
         * @enum {string}
         */
        Channel: "email" | "push";
        /**
         * @description Why a date is not simply due at the local time that the series names.
         * @enum {string}
         */
        DateReason: "gap" | "fold" | "month_end" | "count" | "until";
        /** @description An event that a function gave up on. */
        DeadLetter: {
            /** @description The function that could not handle it. */
            consumer: string;
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            event_id?: string | null;
            /** Format: uuid */
            id: string;
            /** @description `function` if the function rejected the event, `daprd` if the event could not be delivered. */
            origin: string;
            /** @description The beginning of the message as it was delivered: an event of this system is shown whole. */
            payload: string;
            /**
             * Format: int32
             * @description The size of the whole message in bytes.
             */
            payload_bytes: number;
            reason: string;
            /** Format: date-time */
            replayed_at?: string | null;
            /** @description `open`, or `replayed` if there is nothing left to do. */
            state: string;
            topic?: string | null;
            type?: string | null;
        };
        /** @description A page of dead letters, oldest first. */
        DeadLetterPage: {
            items: components["schemas"]["DeadLetter"][];
            /** @description The `cursor` of the next page; null at the end. */
            next_cursor?: string | null;
        };
        /** @description A page of deliveries, newest first. */
        Deliveries: {
            items: components["schemas"]["Delivery"][];
            /** @description The `cursor` of the next page; null at the end. */
            next_cursor?: string | null;
        };
        /** @description The messages of the last two days that were given up: they were not sent, or nobody knows whether they were. */
        DeliveriesGivenUp: {
            /** Format: int64 */
            count: number;
            /**
             * Format: date-time
             * @description When the oldest of those that were counted was created.
             */
            oldest?: string | null;
            /** @description Why, the most frequent first; at most ten. Of more than 10,000 messages, only the newest 10,000. */
            reasons: components["schemas"]["GivenUpReason"][];
        };
        /** @description A message about one version of a reminder, on one channel. */
        Delivery: {
            /** Format: date-time */
            acted_at?: string | null;
            /** @description The action of the link or button that was used: `complete` or `snooze`. */
            action?: string | null;
            /**
             * Format: int32
             * @description How many attempts have begun.
             */
            attempts: number;
            /** @example email */
            channel: string;
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            /** @description Who delivers it. */
            provider?: string | null;
            /** @description Why it is not sent, or not yet. */
            reason?: string | null;
            /** Format: uuid */
            reminder_id: string;
            /** Format: int32 */
            reminder_version: number;
            /** Format: date-time */
            sent_at?: string | null;
            state: components["schemas"]["DeliveryState"];
            /**
             * Format: uuid
             * @description The push subscription that it goes to; null for email.
             */
            target?: string | null;
            /** Format: uuid */
            task_id: string;
        };
        /** @description The messages of the reminders that fired in the last hour, by outcome. Of more than 10,000 reminders, only the latest 10,000. */
        DeliveryOutcomes: {
            /** Format: int64 */
            failed: number;
            /**
             * Format: int64
             * @description They wait for an attempt, or one has begun.
             */
            open: number;
            /** Format: int64 */
            sent: number;
            /**
             * Format: int64
             * @description They were no longer wanted.
             */
            skipped: number;
            /**
             * Format: int64
             * @description Perhaps sent: nobody can find out.
             */
            unknown: number;
        };
        /**
         * @description State of a delivery: `notification_deliveries.state`.
         * @enum {string}
         */
        DeliveryState: "pending" | "sending" | "retrying" | "sent" | "skipped" | "failed" | "unknown" | "other";
        /** @description What is known about a step besides its time. */
        Detail: {
            /**
             * @description What a link or a button of a message did: `complete` or `snooze`.
             * @default null
             */
            action: string | null;
            /**
             * Format: int32
             * @default null
             */
            attempt: number | null;
            /** @default null */
            channel: string | null;
            /**
             * Format: uuid
             * @default null
             */
            delivery_id: string | null;
            /**
             * Format: int64
             * @description How long after that it fired, by the database's clock.
             * @default null
             */
            late_ms: number | null;
            /**
             * Format: date-time
             * @default null
             */
            next_attempt_at: string | null;
            /**
             * Format: date-time
             * @description When it should fire.
             * @default null
             */
            planned_at: string | null;
            /** @default null */
            provider: string | null;
            /**
             * @description Why it was skipped, restored, retried, cancelled or given up.
             * @default null
             */
            reason: string | null;
            /**
             * Format: uuid
             * @description The push subscription.
             * @default null
             */
            target: string | null;
        };
        /** @description One step in the life of a reminder. */
        Entry: components["schemas"]["Detail"] & {
            /** Format: date-time */
            at: string;
            /**
             * Format: int32
             * @description The version of the reminder.
             */
            version?: number | null;
            /**
             * @description `created`, `moved`, `restored`, `armed`, `fired`, `skipped`, `sending`, `retrying`, `unknown`, `sent`, `failed`, `cancelled`, `acted`.
             * @example fired
             */
            what: string;
        };
        /** @description A change of a field of the task. Reminders have no state here. */
        FieldChange: {
            /** @example title */
            field: string;
            from: unknown;
            to: unknown;
        };
        /** @description Why messages were given up. */
        GivenUpReason: {
            /** Format: int64 */
            count: number;
            /** @example smtp RCPT: 550 */
            reason?: string | null;
            /** @description `failed` or `unknown`. */
            state: components["schemas"]["DeliveryState"];
        };
        /** @description A page of a task's history, oldest first. */
        History: {
            items: components["schemas"]["HistoryEntry"][];
            /** @description The `cursor` of the next page; null at the end. */
            next_cursor?: string | null;
        };
        /** @description One entry of the history. */
        HistoryEntry: {
            /**
             * @description The type of the event, or what happened to a reminder.
             * @example task.updated
             */
            action: string;
            /** Format: date-time */
            at: string;
            /** @description The fields that the command changed. Absent if the versions before and after it are not kept. */
            changes?: components["schemas"]["FieldChange"][] | null;
            /** @description Details, which depend on the action. */
            detail: Record<string, never>;
            /**
             * Format: uuid
             * @description The event.
             */
            event_id?: string | null;
            /**
             * Format: uuid
             * @description The reminder, if it is about one.
             */
            reminder_id?: string | null;
            /** Format: int32 */
            reminder_version?: number | null;
        };
        /** @description A field of the body, a query parameter or a header that cannot be used, and why. */
        InvalidField: {
            /**
             * @description Why it cannot be used.
             * @example must be a whole number from 1 to 999
             */
            detail: string;
            /** @description The name of the header. */
            header?: string | null;
            /** @description The name of the query parameter. */
            parameter?: string | null;
            /**
             * @description Where in the body: a JSON pointer as a URI fragment (RFC 6901, section 6).
             * @example #/recurrence/interval
             */
            pointer?: string | null;
        };
        /**
         * @description How a recurrence repeats; `custom` follows an RRULE.
         * @enum {string}
         */
        Kind: "daily" | "weekly" | "monthly" | "yearly" | "custom";
        /** @description How long after their instants the reminders of the last hour fired, in milliseconds. */
        Lateness: {
            /** Format: int64 */
            max_ms?: number | null;
            /** Format: int64 */
            median_ms?: number | null;
            /** Format: int64 */
            p99_ms?: number | null;
            /**
             * Format: int64
             * @description How many fired.
             */
            reminders: number;
        };
        /** @description A user. */
        Me: {
            /** @description The channels of a new reminder that names none. */
            channels: components["schemas"]["Channel"][];
            /**
             * @description The reminder of a new task with a due time whose body names no reminders: how long before the due time (ISO 8601).
             * @example PT15M
             */
            default_reminder?: string | null;
            /** @description Where reminders go: of the tokens that created a task or changed this user, the address in the one issued last. */
            email: string;
            /** @description Whether notifications show no title of a task. */
            hide_titles: boolean;
            /**
             * Format: uuid
             * @description The `sub` of the token if that is a lower-case UUID, otherwise an id derived from it and from the issuer.
             */
            id: string;
            /**
             * @description The zone of new tasks that do not name one.
             * @example Europe/Berlin
             */
            time_zone: string;
            /** @description Keys to subscribe to push messages with (`applicationServerKey`), the first for new subscriptions. Empty where push is off. */
            vapid_public_keys: components["schemas"]["VapidKeys"];
        };
        /** @description A JSON merge patch of the user. A `time_zone` of null is UTC. */
        MePatch: {
            /** @description The channels of a new reminder that names none. Null is `["email"]`. */
            channels?: components["schemas"]["Channel"][] | null;
            /**
             * Format: iso-duration
             * @description The reminder of a new task with a due time whose body names no reminders: an ISO 8601 duration before the due time. Null is none.
             * @example PT15M
             */
            default_reminder?: string | null;
            /** @description Whether notifications show no title of a task, for a screen that others see. Null is false. */
            hide_titles?: boolean | null;
            /**
             * Format: time-zone
             * @description An IANA name.
             * @example Europe/Berlin
             */
            time_zone?: string | null;
        };
        /** @description A device to send reminders to, as the browser's `PushSubscription` says. */
        NewPushSubscription: {
            /**
             * Format: base64url
             * @description The browser's `getKey("auth")`.
             */
            auth: string;
            /**
             * @description An https URL at a push service that this server may call. Keep it secret.
             * @example https://updates.push.services.mozilla.com/wpush/v2/abc
             */
            endpoint: string;
            /**
             * Format: base64url
             * @description The browser's `getKey("p256dh")`.
             */
            p256dh: string;
            /**
             * Format: base64url
             * @description The `applicationServerKey` that the browser subscribed with: one of the `vapid_public_keys` of `/v1/me`.
             */
            vapid_key: string;
        };
        /** @description A reminder to add, with exactly one of `remind_at` and `before_due`. */
        NewReminder: {
            /**
             * Format: iso-duration
             * @description An ISO 8601 duration before the due time. Days follow the clock of the task's zone.
             * @example PT15M
             */
            before_due?: string | null;
            /** @description Null is the user's, see `/v1/me`. */
            channels?: components["schemas"]["Channel"][] | null;
            /**
             * Format: date-time
             * @description RFC 3339, with its offset. A reminder whose time has passed fires at once.
             */
            remind_at?: string | null;
        };
        /** @description A task to create. `remind_at` is short for one reminder at that time. Without a `time_zone` the task gets the user's. */
        NewTask: {
            description?: string | null;
            /**
             * Format: date-time
             * @description RFC 3339, with its offset. Without it, reminders relative to it are cancelled.
             */
            due_at?: string | null;
            /** @description Null is `medium`. */
            priority?: components["schemas"]["Priority"] | null;
            /** @description Needs a `due_at`, the first occurrence. */
            recurrence?: components["schemas"]["RecurrenceInput"] | null;
            /**
             * Format: date-time
             * @description RFC 3339, with its offset. A reminder whose time has passed fires at once.
             */
            remind_at?: string | null;
            reminders?: components["schemas"]["NewReminder"][] | null;
            /**
             * @description The whole list. Case tells tags apart.
             * @example [
             *       "health"
             *     ]
             */
            tags?: string[] | null;
            /**
             * Format: time-zone
             * @description An IANA name.
             * @example Europe/Berlin
             */
            time_zone?: string | null;
            /** @example call the dentist */
            title: string;
        };
        /** @description A date that a recurrence names. */
        PlannedDate: {
            /**
             * Format: date-time
             * @description When an occurrence is due; null if the date is left out.
             */
            due_at?: string | null;
            /**
             * @description The same in the zone; null if the date is left out.
             * @example 2027-03-28T03:30:00
             */
            local?: string | null;
            /**
             * @description The local time that the recurrence names. The day may be one that does not exist.
             * @example 2027-03-28T02:30:00
             */
            named: string;
            /** @description Why it is due at another time than named or left out, or which of two times counts. Empty for an ordinary date. */
            reasons: components["schemas"]["DateReason"][];
        };
        /** @description The dates of a recurrence, in order. */
        Preview: {
            /** @description The next dates, and those in between that are left out. Fewer than asked for if the recurrence ends, or has no further date. */
            items: components["schemas"]["PlannedDate"][];
        };
        /** @description A recurrence whose next dates are wanted. Without a `time_zone` they are in the user's. */
        PreviewedRecurrence: {
            /**
             * Format: int32
             * @description How many dates. Null is 5.
             */
            count?: number | null;
            /**
             * Format: date-time
             * @description RFC 3339, with its offset: when the first occurrence is due. `COUNT` counts from it.
             */
            due_at: string;
            /** @description Needs a `due_at`, the first occurrence. */
            recurrence: components["schemas"]["RecurrenceInput"];
            /**
             * Format: time-zone
             * @description An IANA name.
             * @example Europe/Berlin
             */
            time_zone?: string | null;
        };
        /**
         * @description The importance of a task.
         * @enum {string}
         */
        Priority: "low" | "medium" | "high" | "urgent";
        /** @description The body of every answer that is not 2xx (RFC 9457). */
        Problem: {
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The invalid parts of the request; of more than 20 only the first. */
            errors?: components["schemas"]["InvalidField"][];
            /**
             * Format: int32
             * @description The HTTP status.
             */
            status: number;
            /** @description The kind of problem, for people. */
            title: string;
            /**
             * @description Identifies the kind of problem. Compare the whole string; it is not an address to fetch.
             * @example urn:punctual:problem:invalid
             */
            type: string;
        };
        /** @description A device that gets reminders. */
        PushSubscription: {
            /** Format: date-time */
            created_at: string;
            /** @description The `endpoint` that the browser returned. */
            endpoint: string;
            /** Format: uuid */
            id: string;
            /** @description The `applicationServerKey` that the browser subscribed with. If `/v1/me` no longer lists it, subscribe again with the first of those. */
            vapid_key: string;
        };
        /** @description The devices of a user. */
        PushSubscriptions: {
            items: components["schemas"]["PushSubscription"][];
        };
        /** @description How a task repeats. */
        Recurrence: {
            anchor: components["schemas"]["Anchor"];
            /**
             * Format: int32
             * @description The number of days, weeks, months or years from one occurrence to the next. 1 beside a rule.
             */
            interval: number;
            /**
             * @description RFC 5545. Only with `custom`.
             * @example FREQ=MONTHLY;BYDAY=-1FR
             */
            rule?: string | null;
            type: components["schemas"]["Kind"];
        };
        /** @description How a task repeats. */
        RecurrenceInput: {
            /** @description Null is `due`. */
            anchor?: components["schemas"]["Anchor"] | null;
            /**
             * Format: int32
             * @description The number of days, weeks, months or years from one occurrence to the next. Null is 1.
             */
            interval?: number | null;
            /**
             * Format: rrule
             * @description RFC 5545. Required for `custom`, and for no other type.
             * @example FREQ=MONTHLY;BYDAY=-1FR
             */
            rule?: string | null;
            type: components["schemas"]["Kind"];
        };
        /** @description A merge patch of how a task repeats: `{"interval": 2}` keeps the type. */
        RecurrencePatch: {
            /** @description Null is `due`. */
            anchor?: components["schemas"]["Anchor"] | null;
            /**
             * Format: int32
             * @description The number of days, weeks, months or years from one occurrence to the next. Null is 1.
             */
            interval?: number | null;
            /**
             * Format: rrule
             * @description RFC 5545. Required for `custom`, and for no other type.
             * @example FREQ=MONTHLY;BYDAY=-1FR
             */
            rule?: string | null;
            type?: components["schemas"]["Kind"];
        };
        /** @description A reminder of a task. */
        Reminder: {
            /**
             * @description How long before the due time (ISO 8601).
             * @example PT15M
             */
            before_due?: string | null;
            cancel_reason?: components["schemas"]["CancelReason"] | null;
            /** @description How the message is sent: `email` or `push`. */
            channels: string[];
            /**
             * Format: uuid
             * @description In the path of `/v1/reminders/{id}`.
             */
            id: string;
            /** @description Its time has passed and it has not fired yet. It fires at once. */
            overdue: boolean;
            /**
             * Format: date-time
             * @description When it fires. For a relative reminder, computed from the current due time.
             */
            remind_at: string;
            /** @description Whether it is still to be sent, and if not, why. */
            state: components["schemas"]["ReminderState"];
            /**
             * Format: int32
             * @description Raised whenever its instant changes, and whenever it becomes live or ceases to be.
             */
            version: number;
        };
        /** @description The reminders of a task. */
        ReminderList: {
            items: components["schemas"]["Reminder"][];
        };
        /** @description The current reminder. */
        ReminderNow: components["schemas"]["Reminder"] & {
            /** Format: date-time */
            created_at: string;
            /**
             * Format: date-time
             * @description When it last fired.
             */
            fired_at?: string | null;
            /** Format: uuid */
            task_id: string;
        };
        /**
         * @description State of a reminder: `task_reminders.state`.
         * @enum {string}
         */
        ReminderState: "scheduled" | "sent" | "failed" | "cancelled" | "other";
        /** @description The version of a task to restore. */
        Restore: {
            /**
             * Format: int32
             * @description The version to restore. Of a deleted task the last one is that before its deletion.
             * @example 3
             */
            version: number;
        };
        /**
         * @description Which occurrences of a recurring task a change is for.
         * @enum {string}
         */
        Scope: "this" | "following";
        /** @description How long to snooze: exactly one of `until` and `minutes`. */
        Snooze: {
            /**
             * Format: int32
             * @description From now.
             * @example 10
             */
            minutes?: number | null;
            /**
             * Format: date-time
             * @description RFC 3339, with its offset; in the future.
             */
            until?: string | null;
        };
        /**
         * @description The state of the deployment. On a healthy system every count is 0, except for `deliveries` and `lateness`. A `count` of 10,000 stands for that
         *     many or more.
         */
        System: {
            /** @description Events that were given up. They need a human. */
            dead_letters: components["schemas"]["Waiting"];
            deliveries: components["schemas"]["DeliveryOutcomes"];
            deliveries_given_up: components["schemas"]["DeliveriesGivenUp"];
            /** @description Messages whose next attempt was due 30 s ago or earlier. */
            deliveries_overdue: components["schemas"]["Waiting"];
            lateness: components["schemas"]["Lateness"];
            /** @description Committed and not published: the broker is away, or no process runs. */
            outbox: components["schemas"]["Waiting"];
            /** @description Reminders that were due 30 s ago or earlier and have not fired. */
            reminders_overdue: components["schemas"]["Waiting"];
            /** @description Published 30 s ago or earlier and not handled: a function or its daprd is away. */
            unclaimed: components["schemas"]["Waiting"];
        };
        /** @description One tag. */
        Tag: {
            name: string;
            /**
             * Format: int64
             * @description The number of open tasks with it.
             */
            open_tasks: number;
        };
        /** @description A page of the tags of a user's tasks. */
        Tags: {
            items: components["schemas"]["Tag"][];
            /** @description The `cursor` of the next page; null at the end. */
            next_cursor?: string | null;
        };
        /** @description A task. */
        Task: {
            completed: boolean;
            /** Format: date-time */
            completed_at?: string | null;
            /** Format: date-time */
            created_at: string;
            description?: string | null;
            /** Format: date-time */
            due_at?: string | null;
            /** Format: uuid */
            id: string;
            /**
             * Format: date-time
             * @description When the next occurrence would be due if this one were completed on time. Moving this one alone does not move it.
             */
            next_occurrence_at?: string | null;
            priority: components["schemas"]["Priority"];
            recurrence?: components["schemas"]["Recurrence"] | null;
            /** @description Without the reminders that the user cancelled, whose timelines remain. */
            reminders: components["schemas"]["Reminder"][];
            /** @description In the order of their code points. */
            tags: string[];
            /**
             * @description An IANA name. Recurrence and reminders of whole days follow its clock.
             * @example Europe/Berlin
             */
            time_zone: string;
            title: string;
            /** Format: date-time */
            updated_at: string;
            /**
             * Format: int64
             * @description Raised by every command that changes the task; also the `ETag`.
             */
            version: number;
        };
        /** @description A page of tasks. */
        TaskPage: {
            items: components["schemas"]["Task"][];
            /** @description The `cursor` of the next page; null at the end. */
            next_cursor?: string | null;
        };
        /** @description A JSON merge patch of a task. A `time_zone` of null is the user's. */
        TaskPatch: {
            description?: string | null;
            /**
             * Format: date-time
             * @description RFC 3339, with its offset. Without it, reminders relative to it are cancelled.
             */
            due_at?: string | null;
            /** @description Null is `medium`. */
            priority?: components["schemas"]["Priority"] | null;
            /** @description A merge patch of the recurrence. */
            recurrence?: components["schemas"]["RecurrencePatch"] | null;
            /** @description Which occurrences of a recurring task the patch changes: `this` one alone, or this and all `following`. Null is `this`. A `recurrence` always applies from this occurrence on. */
            scope?: components["schemas"]["Scope"] | null;
            /**
             * @description The whole list. Case tells tags apart.
             * @example [
             *       "health"
             *     ]
             */
            tags?: string[] | null;
            /**
             * Format: time-zone
             * @description An IANA name.
             * @example Europe/Berlin
             */
            time_zone?: string | null;
            /** @example call the dentist */
            title?: string;
        };
        /** @description A page of what happened to a reminder, oldest first. */
        Timeline: {
            entries: components["schemas"]["Entry"][];
            /** @description The `cursor` of the next page; null at the end. */
            next_cursor?: string | null;
            reminder: components["schemas"]["ReminderNow"];
        };
        /** @description Public keys: `VAPID_PUBLIC_KEYS`. */
        VapidKeys: string[];
        /** @description How many wait, and since when. */
        Waiting: {
            /** Format: int64 */
            count: number;
            /**
             * Format: date-time
             * @description The oldest of those that were counted.
             */
            oldest?: string | null;
        };
        /** @description A task that replaces another. An absent field gets its default. Without a `time_zone` the task gets the user's. */
        WholeTask: {
            description?: string | null;
            /**
             * Format: date-time
             * @description RFC 3339, with its offset. Without it, reminders relative to it are cancelled.
             */
            due_at?: string | null;
            /** @description Null is `medium`. */
            priority?: components["schemas"]["Priority"] | null;
            /** @description Needs a `due_at`, the first occurrence. */
            recurrence?: components["schemas"]["RecurrenceInput"] | null;
            reminders?: components["schemas"]["NewReminder"][] | null;
            /**
             * @description The whole list. Case tells tags apart.
             * @example [
             *       "health"
             *     ]
             */
            tags?: string[] | null;
            /**
             * Format: time-zone
             * @description An IANA name.
             * @example Europe/Berlin
             */
            time_zone?: string | null;
            /** @example call the dentist */
            title: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
