// The person's preferences.

import { request } from "./api.js";
import { refresh } from "./lists.js";
import { effect, queue } from "./rows.js";
import { get, set } from "./state.js";
import { setZone, zone } from "./times.js";

/** @typedef {import("./state.js").Me} Me */

/** @type {Me | null} */
let server = null;

/** Takes the preferences as the server has them. @param {Me} me */
export function acceptMe(me) {
    server = me;
    showMe();
}

/** Shows the preferences with the changes that are not answered yet. */
export function showMe() {
    if (!server) return;
    const changes = queue.filter(({ kind }) => kind === "changeMe");
    const me = changes.reduce((/** @type {Me} */ shown, write) => effect.of(shown, write), server);
    const before = zone();
    setZone(me.time_zone);
    set({ me });
    if (zone() !== before && get().views.size > 0) void refresh().catch(() => {});
}

export async function loadMe() {
    acceptMe((await request("GET", "/v1/me")).body);
}

export function clearMe() {
    server = null;
}
