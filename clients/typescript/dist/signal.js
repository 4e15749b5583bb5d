/** Lists of callbacks: registered by `on`, called by `emit`, and never able to break what calls them. */
export class Signal {
    #listeners = new Set();
    on(fn) {
        const listener = { fn, serial: ++serial };
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
    }
    /** Calls those that were registered before `before`, a {@link mark}, or all. */
    emit(before, ...args) {
        for (const listener of this.#listeners) {
            if (listener.serial <= before)
                guarded(() => listener.fn(...args));
        }
    }
    clear() {
        this.#listeners.clear();
    }
}
/** Listeners that come after this call are told apart from those before it. */
export function mark() {
    return serial;
}
/** A listener that throws is its owner's bug: it is reported as an uncaught error, and everybody else is still called. */
function guarded(call) {
    try {
        call();
    }
    catch (error) {
        if (typeof reportError === "function")
            reportError(error);
        else
            queueMicrotask(() => { throw error; });
    }
}
let serial = 0;
