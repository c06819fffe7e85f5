/**
 * A program that plays systemd: `bun systemd-under-test.ts SOCKET ANSWERS`. It listens like a D-Bus daemon, authenticates
 * everybody, and answers calls by their member with what ANSWERS, a JSON object, has for it: a list is used up, its last
 * answer stays. Each call is a line in the file SOCKET.calls.
 */
import { appendFileSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";

export type Answer =
  /** A string in a variant, as of a property. */
  | { readonly property: string }
  | { readonly error: string; readonly message: string }
  /** The path of a job, and what it ends with; without a result it does not end. */
  | { readonly job: string; readonly result?: string }
  /** The connection ends. */
  | { readonly close: true };

export type Answers = Readonly<Record<string, Answer | readonly Answer[]>>;

const [METHOD_RETURN, ERROR, SIGNAL] = [2, 3, 4];

interface Call {
  readonly serial: number;
  readonly member: string;
  /** Of Get: which property. */
  readonly property: string;
}

function serve(path: string, answers: Answers): void {
  const left = new Map(Object.entries(answers).map(([name, answer]) => [name, [answer].flat() as Answer[]]));
  createServer((socket) => {
    let pending = Buffer.alloc(0);
    let isOpen = false;
    socket.on("error", () => {});
    socket.on("data", (data: Buffer) => {
      pending = Buffer.concat([pending, data]);
      if (!isOpen) [pending, isOpen] = authenticate(socket, pending);
      if (isOpen)
        pending = readCalls(pending, (call) => {
          appendFileSync(`${path}.calls`, `${call.property || call.member}\n`);
          answer(socket, call, left);
        });
    });
  }).listen(path, () => console.log("listening"));
}

/** D-Bus Specification, "Authentication Protocol". */
function authenticate(socket: Socket, data: Buffer<ArrayBuffer>): [rest: Buffer<ArrayBuffer>, isOpen: boolean] {
  let rest = data;
  for (let end = rest.indexOf("\r\n"); end >= 0; end = rest.indexOf("\r\n")) {
    const line = rest.subarray(0, end).toString().replace("\0", "");
    rest = rest.subarray(end + 2);
    if (line === "BEGIN") return [rest, true];
    if (line.startsWith("AUTH")) socket.write("DATA\r\n");
    else if (line.startsWith("DATA")) socket.write(`OK ${"0".repeat(31)}1\r\n`);
    else socket.write("ERROR\r\n");
  }
  return [rest, false];
}

/** "Message Format", little-endian: what comes before the fields, fields in structs of byte and variant, the body. */
function readCalls(data: Buffer<ArrayBuffer>, onCall: (call: Call) => void): Buffer<ArrayBuffer> {
  let rest = data;
  while (rest.length >= 16) {
    const fields = rest.readUInt32LE(12);
    const body = align(16 + fields, 8);
    const size = body + rest.readUInt32LE(4);
    if (rest.length < size) break;
    onCall(readCall(rest.subarray(0, size), 16 + fields, body));
    rest = rest.subarray(size);
  }
  return rest;
}

function align(at: number, to: number): number {
  return Math.ceil(at / to) * to;
}

function readCall(message: Buffer, fieldsEnd: number, body: number): Call {
  const MEMBER = 3;
  let member = "";
  for (let at = 16; at < fieldsEnd; at = align(at, 8)) {
    const [code, type] = [message[at], String.fromCharCode(message[at + 2]!)];
    // A signature has one byte of length, a string or path four.
    const length = type === "g" ? message[at + 4]! : message.readUInt32LE(at + 4);
    const start = at + (type === "g" ? 5 : 8);
    if (code === MEMBER) member = message.subarray(start, start + length).toString();
    at = start + length + 1;
  }
  const property = member === "Get" ? secondString(message, body) : "";
  return { serial: message.readUInt32LE(8), member, property };
}

function secondString(message: Buffer, body: number): string {
  const second = align(body + 4 + message.readUInt32LE(body) + 1, 4);
  return message.subarray(second + 4, second + 4 + message.readUInt32LE(second)).toString();
}

function answer(socket: Socket, { serial, member, property }: Call, left: Map<string, Answer[]>): void {
  const name = property === "" ? member : property;
  const list = left.get(name) ?? [];
  const wanted = list.length > 1 ? list.shift() : list[0];
  // A daemon gives its clients a name.
  if (name === "Hello") socket.write(message(METHOD_RETURN, serial, "s", [":1.7"]));
  else if (wanted === undefined) socket.write(message(METHOD_RETURN, serial, "", []));
  else if ("close" in wanted) socket.destroy();
  else if ("error" in wanted) socket.write(message(ERROR, serial, "s", [wanted.message], wanted.error));
  else if ("property" in wanted) socket.write(message(METHOD_RETURN, serial, "v", [wanted.property]));
  else {
    socket.write(message(METHOD_RETURN, serial, "o", [wanted.job]));
    // Another job first: it must not be taken for the one that is waited for.
    if (wanted.result === undefined) return;
    socket.write(message(SIGNAL, 0, "uoss", [7, "/other/job", "x.scope", "failed"]));
    socket.write(message(SIGNAL, 0, "uoss", [8, wanted.job, "x.scope", wanted.result]));
  }
}

const MANAGER = "org.freedesktop.systemd1.Manager";
let serials = 0;

function message(type: number, replyTo: number, signature: string, values: (string | number)[], error = ""): Buffer {
  const fields: [code: number, type: string, value: string | number][] = [];
  if (type === SIGNAL) fields.push([1, "o", "/org/freedesktop/systemd1"], [2, "s", MANAGER], [3, "s", "JobRemoved"]);
  if (error !== "") fields.push([4, "s", error]);
  if (replyTo > 0) fields.push([5, "u", replyTo]);
  if (signature !== "") fields.push([8, "g", signature]);
  const header = new Writer();
  for (const [code, type_, value] of fields) {
    header.pad(8);
    header.bytes.push(code);
    header.write("g", type_);
    header.write(type_, value);
  }
  const body = new Writer();
  for (const [i, value] of values.entries()) {
    const type_ = signature[i]!;
    if (type_ === "v") body.write("g", "s");
    body.write(type_ === "v" ? "s" : type_, value);
  }
  const start = Buffer.alloc(16);
  start.set([0x6c, type, 1, 1]);
  start.writeUInt32LE(body.bytes.length, 4);
  start.writeUInt32LE(++serials, 8);
  start.writeUInt32LE(header.bytes.length, 12);
  header.pad(8);
  return Buffer.concat([start, Buffer.from(header.bytes), Buffer.from(body.bytes)]);
}

/** Header fields and bodies both begin at a multiple of 8. */
class Writer {
  readonly bytes: number[] = [];
  pad(to: number): void {
    while (this.bytes.length % to !== 0) this.bytes.push(0);
  }
  write(type: string, value: string | number): void {
    const number = Buffer.alloc(4);
    const text = Buffer.from(`${value}\0`);
    if (type !== "g") this.pad(4);
    number.writeUInt32LE(typeof value === "number" ? value : text.length - 1);
    if (type === "g") this.bytes.push(text.length - 1);
    else this.bytes.push(...number);
    if (type !== "u") this.bytes.push(...text);
  }
}

if (import.meta.main) {
  const [path = "", answers = "{}"] = process.argv.slice(2);
  for (const file of [path, `${path}.calls`]) rmSync(file, { force: true });
  serve(path, JSON.parse(answers) as Answers);
}
