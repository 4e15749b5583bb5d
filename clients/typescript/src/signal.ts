/** Lists of callbacks: registered by `on`, called by `emit`, and never able to break what calls them. */

/** Takes a callback off its list again. Calling it twice does nothing. */
export type Unsubscribe = () => void;

export class Signal<Args extends unknown[]> {
  readonly #listeners = new Set<{ readonly fn: (...args: Args) => void; readonly serial: number }>();

  on(fn: (...args: Args) => void): Unsubscribe {
    const listener = { fn, serial: ++serial };
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Calls those that were registered before `before`, a {@link mark}, or all. */
  emit(before: number, ...args: Args): void {
    for (const listener of this.#listeners) {
      if (listener.serial <= before) guarded(() => listener.fn(...args));
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}

/** Listeners that come after this call are told apart from those before it. */
export function mark(): number {
  return serial;
}

/** A listener that throws is its owner's bug: it is reported as an uncaught error, and everybody else is still called. */
function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else queueMicrotask(() => { throw error; });
  }
}

let serial = 0;
