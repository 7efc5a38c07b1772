// What the page shows, and the commands that change it.

import { request } from "./api.js";
import { clearLists, count, loadTags, refresh, reload } from "./lists.js";
import { firstIsShown, quiet } from "./later.js";
import { KEPT, clearRows, loadMe } from "./rows.js";
import { session } from "./session.js";
import { clear, endFirst, get, set } from "./state.js";
import { kept, tab } from "./tabs.js";
import { text } from "./text.js";
import { daysLater, deviceZone } from "./times.js";

export { lastReminder, load, loadMore, nextReminder, openTask, placeOf, viewOf } from "./lists.js";
export { idOf, keyOf } from "./rows.js";
export { announce, dismiss, notify, store, useStore } from "./state.js";

/** @typedef {import("./state.js").Task} Task */
/** @typedef {import("./state.js").NewTask} NewTask */
/** @typedef {import("./state.js").TaskPatch} TaskPatch */
/** @typedef {import("./state.js").Reminder} Reminder */
/** @typedef {import("./state.js").NewReminder} NewReminder */
/** @typedef {import("./state.js").Snooze} Snooze */
/** @typedef {import("./state.js").Me} Me */
/** @typedef {import("./state.js").MePatch} MePatch */
/** @typedef {import("./state.js").Tag} Tag */
/** @typedef {import("./state.js").Failure} Failure */
/** @typedef {import("./state.js").Row} Row */
/** @typedef {import("./state.js").View} View */
/** @typedef {import("./state.js").Notice} Notice */
/** @typedef {import("./state.js").State} State */

/** @typedef {typeof import("./commands.js")} Changing */

const MINUTE = 60_000;
/** How long a first list that does not come keeps back what comes after it. */
const PATIENCE = 3_000;
const AGAIN = 5_000;
const LATE = 500;

/** What makes changes. It is not needed before the first of them, so it comes soon after the first list. @type {Changing | null} */
let changing = null;
/** What hears of changes made elsewhere. It comes then as well. @type {typeof import("./live.js") | null} */
let live = null;

/** @type {Promise<Changing> | null} */
let loading = null;

/** Loads what makes changes. Tries again until it is here. @returns {Promise<Changing>} */
function loadChanging() {
    loading ??= import("./commands.js").then(
        (module) => (changing = module),
        async () => {
            await new Promise((again) => {
                setTimeout(again, AGAIN);
                addEventListener("online", again, { once: true });
            });
            loading = null;
            return loadChanging();
        },
    );
    return loading;
}

/** What a person can do. @type {Changing["commands"]} */
export const commands = new Proxy(/** @type {any} */ ({}), {
    get: (_, /** @type {keyof Changing["commands"]} */ name) => (/** @type {any[]} */ ...args) => {
        const act = (/** @type {Changing} */ { commands: all }) => /** @type {any} */ (all[name])(...args);
        return changing ? act(changing) : makeLater(act);
    },
});

/** Makes a change when that can be made. It waits visibly, as a change does that is not sent. @param {(module: Changing) => any} act */
async function makeLater(act) {
    let waits = 0;
    const late = setTimeout(() => set({ waiting: get().waiting + (waits = 1) }), LATE);
    const module = await loadChanging();
    clearTimeout(late);
    set({ waiting: get().waiting - waits });
    return act(module);
}

/** Whose tasks are here. */
let user = "";
let isStarted = false;
let today = "";

/** What shows the tasks. It may come later than they do. @type {Promise<unknown>} */
let views;

/** Follows the session. @param {Promise<unknown>} loading the views */
export function follow(loading) {
    views = loading;
    session.subscribe(keepUp);
    keepUp();
    setInterval(look, MINUTE);
    document.addEventListener("visibilitychange", look);
    for (const event of ["online", "offline"]) addEventListener(event, sayReach);
    sayReach();
}

/** Says whether there is a network, until `live.js` has come and knows more. */
function sayReach() {
    if (!live) set({ connection: navigator.onLine ? "connecting" : "offline" });
}

function keepUp() {
    const isSignedIn = session.state === "signed-in";
    if (isStarted && (!isSignedIn || session.user !== user)) {
        live?.stop();
        live = null;
        isStarted = false;
    }
    // A session that has only expired keeps what the person wrote.
    const isOver = session.state === "signed-out" && !session.reason;
    if (isOver || (isSignedIn && session.user !== user)) forget();
    if (!isSignedIn || isStarted) return;
    isStarted = true;
    user = session.user;
    today = daysLater(0);
    if (changing || tab.get(KEPT)) void loadChanging().then((module) => module.takeUp()).catch(() => {});
    const list = reload("today");
    void showFirst(list);
    const me = loadMe();
    void me.then(adoptZone).catch(() => {});
    // Not all at once: the server limits how many requests of a user it answers at a time.
    void me.catch(() => {}).then(loadTags).catch(() => {});
    void listen(user);
}

/** Loads what the first list does not need once that is there, or late. @param {Promise<void>} list */
async function showFirst(list) {
    await views;
    await Promise.race([list, new Promise((late) => setTimeout(late, PATIENCE))]);
    endFirst();
    firstIsShown();
    setTimeout(loadChanging);
}

/** Listens to changes once the page has shown what it has. @param {string} who */
async function listen(who) {
    await quiet;
    const [module] = await Promise.all([import("./live.js"), loadChanging()]).catch(() => []);
    if (!isStarted || user !== who || live) return;
    if (!module) return void setTimeout(listen, AGAIN, who);
    live = module;
    live.start(who);
}

function forget() {
    user = "";
    changing?.clearWrites();
    changing?.clearUndos();
    clearRows();
    clearLists();
    clear();
}

/** Keeps up with the clock: tasks become overdue, and days end. */
function look() {
    if (!isStarted || document.hidden) return;
    count();
    if (daysLater(0) === today) return;
    today = daysLater(0);
    void refresh().catch(() => {});
}

/** A new account has the zone of this device, unless the person chose another one. */
async function adoptZone() {
    if (get().me?.time_zone !== "UTC" || deviceZone() === "UTC" || (await kept.get("zone"))) return;
    await kept.put("zone", true);
    const { body } = await request("GET", "/v1/tasks", { query: { status: "all", limit: 1 } });
    if (body.items.length === 0) await commands.changeMe({ time_zone: deviceZone() }, { says: text.session.zoneAdopted(deviceZone()) });
}
