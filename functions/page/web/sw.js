// The service worker: it opens the page without a network, and shows the reminders that are pushed.
//
// It answers for `/` and for the files of its own version below `/a/`. Every other request, the API's above all, passes it by.

const HASH = "{{HASH}}";
/** The addresses of this version's files. @type {string[]} */
const FILES = JSON.parse(`{{FILES}}`);
const BASE = `/a/${HASH}/`;
const SHELL = `shell-${HASH}`;
/** What the page told. Kept between versions. */
const TOLD = "told";
const API = "/api";
/** How long a network that says nothing may keep the page from opening. */
const PATIENCE = 3_000;
const DEADLINE = 15_000;
/** Another request is changing the task, or there were too many. */
const AGAIN = [409, 429];
/** Between a request that got no answer and its repetition. */
const PAUSE = 3_000;
/** How long an open page may take to take a subscription over. */
const ANSWER = 8_000;
/** A reminder that comes later than this says so. */
const LATE = 60_000;

// Its texts stand here: a worker that imports modules does not start in every browser.
const text = {
    due: "A reminder is due",
    /** @param {string} when */
    dueAt: (when) => `Due ${when}`,
    /** @param {string} when */
    setFor: (when) => `Set for ${when}`,
    unreadable: "Open Punctual to see which.",
    done: "Done",
    snooze: "Snooze 1 hour",
    notDone: "Not marked as done",
    notSnoozed: "Not snoozed",
    unreachable: "Punctual could not be reached. Try again, or open the task.",
    refused: "The button has expired. Open the task instead.",
    /** @type {Record<string, string>} */
    reasons: {
        completed: "The task is done already.",
        moved: "The reminder was snoozed, moved or cancelled meanwhile.",
        deleted: "The task is deleted.",
    },
    lost: "Reminders no longer reach this device",
    lostWhat: "The browser ended its subscription. Open Punctual once, and they come again.",
};

/**
 * @typedef {object} Reminder what is pushed
 * @property {string} reminder_id
 * @property {number} reminder_version
 * @property {string} task_id
 * @property {string} [title] absent if the user hides titles
 * @property {string} remind_at
 * @property {string} [due_at]
 * @property {{ complete: string, snooze: string }} [actions] the capabilities of the buttons
 */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

worker.addEventListener("install", (event) => {
    event.waitUntil(precache());
    worker.skipWaiting();
});

worker.addEventListener("activate", (event) => event.waitUntil(takeOver()));

/** Keeps the page and all its files, or nothing: a part that is missing or of another version ends the installation. */
async function precache() {
    const page = await fetch("/", { cache: "reload" });
    if (!page.ok || !(await isOurs(page.clone()))) throw new Error("the page is of another version than its worker");
    const cache = await caches.open(SHELL);
    await cache.addAll(FILES);
    await cache.put("/", page);
}

async function takeOver() {
    for (const name of await caches.keys()) {
        if (name.startsWith("shell-") && name !== SHELL) await caches.delete(name);
    }
    await worker.clients.claim();
}

/** @param {Response} page */
const isOurs = async (page) => (await page.text()).includes(BASE);

worker.addEventListener("fetch", (event) => {
    const { request } = event;
    const url = new URL(request.url);
    if (request.method !== "GET" || url.origin !== location.origin) return;
    if (url.pathname === "/" && request.mode === "navigate") event.respondWith(page(event));
    else if (url.pathname.startsWith(BASE)) event.respondWith(file(request));
});

/** The page of the network, which may be newer. Without an answer soon, the kept one. @param {FetchEvent} event */
async function page(event) {
    const asked = fetch(event.request);
    asked.catch(() => undefined);
    const kept = () => caches.match("/", { cacheName: SHELL, ignoreVary: true });
    const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
    const answer = await Promise.race([asked, late]).catch(() => undefined);
    if (!(answer instanceof Response) || answer.status >= 500) return (await kept()) ?? asked;
    if (answer.ok) event.waitUntil(keep(answer.clone()));
    return answer;
}

/** Its settings may have changed, although its files have not. @param {Response} answer */
async function keep(answer) {
    if (!(await isOurs(answer.clone()))) return;
    const cache = await caches.open(SHELL);
    // Only a complete installation has a page to replace.
    if (await cache.match("/")) await cache.put("/", answer);
}

/** @param {Request} request */
const file = async (request) => (await caches.match(request, { cacheName: SHELL, ignoreVary: true })) ?? fetch(request);

worker.addEventListener("message", (event) => {
    if (typeof event.data?.api !== "string") return;
    const told = caches.open(TOLD).then((cache) => cache.put(API, new Response(event.data.api)));
    event.waitUntil(told.then(() => event.ports[0]?.postMessage(true)));
});

/** The address of the API, without a slash at the end. Empty: at this origin. */
async function api() {
    const told = await caches.match(API, { cacheName: TOLD });
    return told ? told.text() : "";
}

worker.addEventListener("push", (event) => {
    /** @type {Reminder | undefined} */
    let reminder;
    try {
        reminder = event.data?.json();
    } catch {
        // A browser takes the subscription away if a message shows nothing, so this one shows that there is something.
    }
    event.waitUntil(reminder?.reminder_id ? remind(reminder) : show(text.due, { body: text.unreadable, data: { go: "#/today" } }));
});

/** @param {Reminder} reminder */
async function remind(reminder) {
    const { reminder_id, reminder_version, title, remind_at, due_at, actions } = reminder;
    // A message may come twice. The second one must not ring again.
    const [shown] = await worker.registration.getNotifications({ tag: reminder_id });
    const isKnown = shown?.data?.reminder?.reminder_version === reminder_version;
    const isLate = Date.now() - Date.parse(remind_at) > LATE;
    const lines = [due_at && text.dueAt(when(due_at)), isLate && text.setFor(when(remind_at))];
    await show(title ?? text.due, {
        body: lines.filter(Boolean).join(" · "),
        tag: reminder_id,
        renotify: !isKnown,
        silent: isKnown || undefined,
        timestamp: Date.parse(remind_at),
        requireInteraction: true,
        actions: buttons(actions),
        data: { reminder },
    });
}

/**
 * @param {string} title
 * @param {Record<string, unknown>} options
 */
const show = (title, options) => worker.registration.showNotification(title, { icon: "/icon-192.png", lang: "en", dir: "auto", ...options });

/** As many as the browser shows. @param {Reminder["actions"]} actions */
function buttons(actions) {
    if (!actions) return [];
    const both = [
        { action: "complete", title: text.done },
        { action: "snooze", title: text.snooze },
    ];
    return both.slice(0, /** @type {any} */ (Notification).maxActions ?? 0);
}

/** In the zone and the language of the device: "09:00", "Sat 28 Nov, 09:00". @param {string} instant */
function when(instant) {
    const at = new Date(instant);
    const isToday = at.toDateString() === new Date().toDateString();
    const day = isToday ? {} : /** @type {const} */ ({ weekday: "short", day: "numeric", month: "short" });
    return new Intl.DateTimeFormat(navigator.language, { ...day, hour: "2-digit", minute: "2-digit" }).format(at);
}

worker.addEventListener("notificationclick", (event) => {
    const { notification, action } = event;
    const { reminder, go } = notification.data ?? {};
    notification.close();
    const capability = reminder?.actions?.[action];
    if (capability) event.waitUntil(act(action, capability, reminder));
    else event.waitUntil(open(reminder ? `#/task/${reminder.task_id}/reminder/${reminder.reminder_id}` : (go ?? "#/today")));
});

/** Does what a button says, without a session. @param {string} action @param {string} capability @param {Reminder} reminder */
async function act(action, capability, reminder) {
    const failed = action === "complete" ? text.notDone : text.notSnoozed;
    const answer = await post(capability);
    if (!answer || answer.status >= 500 || AGAIN.includes(answer.status)) return fail(failed, text.unreachable, reminder, buttons(reminder.actions));
    if (!answer.ok) return fail(failed, text.refused, reminder, []);
    const { outcome, reason } = await answer.json();
    const isDoneAnyway = reason === "used" || (reason === "completed" && action === "complete");
    if (outcome === "unchanged" && !isDoneAnyway) await fail(failed, text.reasons[reason] ?? "", reminder, []);
}

/** Sends a capability. It acts once, so that it may be sent again where no answer came. @param {string} capability */
async function post(capability) {
    const url = `${await api()}/v1/actions`;
    for (let isFirst = true; ; isFirst = false) {
        try {
            const answer = await fetch(url, {
                method: "POST",
                headers: { "content-type": "application/json" },
                body: JSON.stringify({ capability }),
                credentials: "omit",
                signal: AbortSignal.timeout(DEADLINE),
            });
            if (answer.status < 500 || !isFirst) return answer;
        } catch {
            if (!isFirst) return undefined;
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
}

/**
 * Says that a button did nothing, and why.
 * @param {string} what
 * @param {string} why
 * @param {Reminder} reminder
 * @param {{ action: string, title: string }[]} actions
 */
const fail = (what, why, reminder, actions) =>
    show(reminder.title ? `${what}: ${reminder.title}` : what, { body: why, tag: reminder.reminder_id, renotify: true, requireInteraction: true, actions, data: { reminder } });

/** Shows a part of the page, in a window that is open or a new one. @param {string} hash */
async function open(hash) {
    const windows = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
    const page = windows.find((window) => new URL(window.url).pathname === "/");
    if (!page) return worker.clients.openWindow(`/${hash}`);
    page.postMessage({ go: hash });
    // A browser may forbid it; then the page has moved all the same.
    return page.focus().catch(() => undefined);
}

worker.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(/** @type {any} */ (event))));

/**
 * The browser ended its subscription. An open page registers a new one, because it has the session. Otherwise the person is told.
 * @param {{ oldSubscription?: PushSubscription | null, newSubscription?: PushSubscription | null }} event
 */
async function renew({ oldSubscription, newSubscription }) {
    const key = oldSubscription?.options?.applicationServerKey;
    if (!newSubscription && key) {
        await worker.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key }).catch(() => undefined);
    }
    const windows = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
    const late = new Promise((resolve) => setTimeout(resolve, ANSWER, false));
    const isKept = await Promise.race([late, Promise.any(windows.map(ask)).catch(() => false)]);
    if (!isKept) await show(text.lost, { body: text.lostWhat, tag: "lost", data: { go: "#/settings" } });
}

/** Asks a page to register the subscription. Pages that cannot do not answer. @param {WindowClient} window */
function ask(window) {
    return new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => resolve(true);
        window.postMessage({ renewed: true }, [port2]);
    });
}
