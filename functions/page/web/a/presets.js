// Times that people mean, in the person's zone.

import { fromInput, toInput } from "./times.js";

const DAY = 86_400_000;

/** The date some days from today, as an input shows it. @param {number} days */
export function date(days) {
    return new Date(Date.parse(toInput(Date.now()).date) + days * DAY).toISOString().slice(0, 10);
}

/** @param {number} minutes */
export const inMinutes = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString();

/** Today 18:00, until then. */
export function evening() {
    const at = fromInput(date(0), "18:00");
    return Date.parse(at) > Date.now() + 60_000 ? at : null;
}

export const tomorrow = () => fromInput(date(1), "09:00");

/** The Monday after today, 09:00. */
export function monday() {
    const days = (8 - new Date(date(0)).getUTCDay()) % 7 || 7;
    return fromInput(date(days), "09:00");
}

/** The instant at which a day begins. @param {string} day "2026-11-28" */
export const startOf = (day) => fromInput(day, "00:00");
