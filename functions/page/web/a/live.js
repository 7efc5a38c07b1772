// Changes made elsewhere.

/** Begins to listen. */
export function start() {}
