/** The client of Tickyard. Start with {@link Client}. */
export { Client, type ClientOptions, type JoinOptions } from "./client.js";
export { Clock } from "./clock.js";
export { CLOSE, ClosedError, mayReconnect, REFUSED, RefusedError } from "./close.js";
export { Collection, type Entity, EntityBase, type EntityListener, type Values } from "./collection.js";
export { Input } from "./input.js";
export { Interpolator, type InterpolateOptions } from "./interpolate.js";
export type { Desync, DesyncWhy, Field, Kind, Schema, Transient } from "./messages.js";
export { type Award, type Chat, Message, type Property, Room, type Stats } from "./room.js";
export type { Unsubscribe } from "./signal.js";
export type { SocketConstructor, SocketLike } from "./socket.js";
export { ProtocolError } from "./wire.js";
export { type HeldCell, type HeldMember, type Update, World, type WorldStats } from "./world.js";
