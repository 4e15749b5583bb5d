/** The client of Tickyard. Start with {@link Client}. */
export { Client } from "./client.js";
export { Clock } from "./clock.js";
export { CLOSE, ClosedError, mayReconnect, REFUSED, RefusedError } from "./close.js";
export { Collection, EntityBase } from "./collection.js";
export { Input } from "./input.js";
export { Interpolator } from "./interpolate.js";
export { Message, Room } from "./room.js";
export { ProtocolError } from "./wire.js";
export { World } from "./world.js";
