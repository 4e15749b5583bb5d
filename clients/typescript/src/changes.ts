/**
 * Rows of a cell: how they move, what a delta's bits change, and their sum. `protocol/PROTOCOL.md`, section 5, says what
 * the bytes mean.
 */
import { type BitReader, ProtocolError, type Reader, unzigzag, width } from "./wire.js";

/** An entity as a cell lists it. */
export interface Listed {
  /** Slot and generation. */
  readonly id: number;
  readonly slot: number;
  readonly kind: number;
  readonly row: Int32Array;
}

/** What rows of a kind look like. */
export interface Shape {
  readonly fields: number;
  /** Which field moves by which. */
  readonly moves: readonly { readonly field: number; readonly velocity: number }[];
}

/** Moves a row on by its velocities. */
export function predict(row: Int32Array, { moves }: Shape, ticks: number): void {
  for (const { field, velocity } of moves) row[field] += Math.imul(ticks, row[velocity]);
}

/** Adds the residuals to the rows of members, and tells whose they are. */
export function readChanges<M extends Listed>(
  bits: BitReader,
  members: readonly M[],
  shapes: readonly Shape[],
  changed: (member: M) => void,
): void {
  for (const [kind, selected] of byKind(readSelection(bits, members))) {
    for (let field = 0; field < shapes[kind].fields; field++) readResiduals(bits, selected, field, changed);
  }
  bits.end();
}

/** Which members have residuals, in member order. */
function readSelection<M>(bits: BitReader, members: readonly M[]): readonly M[] {
  const mode = bits.read(2);
  if (mode === 0) return members;
  if (mode === 1) return members.filter(() => bits.read(1) === 1);
  if (mode === 3) throw new ProtocolError("a selection of mode 3");
  const count = bits.read(width(members.length));
  const selected: M[] = [];
  for (let i = 0, before = -1; i < count; i++) {
    const index = bits.read(width(members.length - 1));
    if (index <= before || index >= members.length) throw new ProtocolError("a selection that does not ascend");
    before = index;
    selected.push(members[index]);
  }
  return selected;
}

/** Kinds ascending, and the members of each in member order. */
function byKind<M extends Listed>(members: readonly M[]): [kind: number, members: M[]][] {
  const kinds = new Map<number, M[]>();
  for (const member of members) {
    const same = kinds.get(member.kind);
    if (same) same.push(member);
    else kinds.set(member.kind, [member]);
  }
  return [...kinds].sort(([a], [b]) => a - b);
}

function readResiduals<M extends Listed>(
  bits: BitReader,
  members: readonly M[],
  field: number,
  changed: (member: M) => void,
): void {
  const how = bits.read(2);
  if (how === 0) return;
  if (how === 3) throw new ProtocolError("residuals of mode 3");
  const some = how === 1 ? members : members.filter(() => bits.read(1) === 1);
  const bitsEach = bits.read(5) + 1;
  for (const member of some) {
    const residual = unzigzag(bits.read(bitsEach));
    if (residual === 0) continue;
    member.row[field] += residual;
    changed(member);
  }
}

/** An entity left a cell. */
export interface Leave {
  readonly slot: number;
  readonly to: number;
}

export function readLeaves(reader: Reader): Leave[] {
  const count = reader.varint();
  const leaves: Leave[] = [];
  for (let i = 0, before = -1; i < count; i++) {
    const slot = reader.varint();
    if (slot <= before) throw new ProtocolError("leaves that do not ascend");
    before = slot;
    leaves.push({ slot, to: reader.varint() - 1 });
  }
  return leaves;
}

/** The sum of a cell. */
export function sumOf(members: readonly Listed[]): number {
  let sum = 0;
  for (const { id, slot, kind, row } of members) {
    let h = mix(mix(HASH_START, slot | (id << 24)), kind);
    for (let i = 0; i < row.length; i++) h = mix(h, row[i]);
    sum = (sum + finish(h)) | 0;
  }
  return sum >>> 0;
}

/** The sum of a check: cells, and as of when each is held. */
export function sumOfView(cells: Iterable<[number, { readonly held: number }]>): number {
  let sum = 0;
  for (const [id, { held }] of cells) sum = (sum + finish(mix(mix(HASH_START, id), held))) | 0;
  return sum >>> 0;
}

function finish(h: number): number {
  let product = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  product = Math.imul(product ^ (product >>> 15), 0x846ca68b);
  return product ^ (product >>> 16);
}

function mix(h: number, word: number): number {
  const product = Math.imul(h ^ word, 0x01000193);
  return product ^ (product >>> 15);
}

const HASH_START = 0x811c9dc5;
