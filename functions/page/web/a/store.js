// What the page shows, and the commands that change it.

import { request } from "./api.js";
import { clearUndos, commands } from "./commands.js";
import { clearLists, count, loadTags, refresh, reload } from "./lists.js";
import { start as listen, stop } from "./live.js";
import { kept } from "./kept.js";
import { clearMe, loadMe } from "./me.js";
import { clearRows } from "./rows.js";
import { session } from "./session.js";
import { clear, get } from "./state.js";
import { text } from "./text.js";
import { daysLater, deviceZone } from "./times.js";
import { clearWrites, takeUp } from "./writes.js";

export { commands };
export { load, loadMore, openTask } from "./lists.js";
export { announce, dismiss, notify, store, useStore } from "./state.js";
export { viewOf } from "./views.js";

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

const MINUTE = 60_000;
/** Whose tasks are here. */
let user = "";
let isStarted = false;
let today = "";

/** Follows the session. */
export function follow() {
    session.subscribe(keepUp);
    keepUp();
    setInterval(look, MINUTE);
    document.addEventListener("visibilitychange", look);
}

function keepUp() {
    const isSignedIn = session.state === "signed-in";
    if (isStarted && (!isSignedIn || session.user !== user)) {
        stop();
        isStarted = false;
    }
    // A session that has only expired keeps what the person wrote.
    const isOver = session.state === "signed-out" && !session.reason;
    if (isOver || (isSignedIn && session.user !== user)) forget();
    if (!isSignedIn || isStarted) return;
    isStarted = true;
    user = session.user;
    today = daysLater(0);
    listen(user);
    takeUp();
    void loadMe().then(adoptZone).catch(() => {});
    void loadTags().catch(() => {});
    void reload("today");
}

function forget() {
    user = "";
    clearWrites();
    clearRows();
    clearLists();
    clearMe();
    clearUndos();
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
    if (body.items.length === 0) await commands.changeMe({ time_zone: deviceZone() }, { says: text.commands.zoneAdopted(deviceZone()) });
}
