/** Lists of callbacks: registered by `on`, called by `emit`, and never able to break what calls them. */
/** Takes a callback off its list again. Calling it twice does nothing. */
export type Unsubscribe = () => void;
export declare class Signal<Args extends unknown[]> {
    #private;
    on(fn: (...args: Args) => void): Unsubscribe;
    /** Calls those that were registered before `before`, a {@link mark}, or all. */
    emit(before: number, ...args: Args): void;
    clear(): void;
}
/** Listeners that come after this call are told apart from those before it. */
export declare function mark(): number;
