import { commandBeside, PLAIN_ENV } from "../../tests/helpers/command.ts";

/** What to do with the stream that the CRI has opened for exec or attach. */
export interface Stream {
  /** Sent once something was seen on standard output that it is an answer to: [what, answer]. */
  readonly answers?: readonly (readonly [string, string])[];
  /** Of the terminal: sent at once. */
  readonly size?: { readonly Width: number; readonly Height: number };
  /** Ends when this was seen on standard output: attach ends only with the container. */
  readonly until?: string;
}

export interface Streamed {
  readonly stdout: string;
  readonly stderr: string;
  /** What the server says at the end, v1.Status of Kubernetes. */
  readonly status: {
    readonly status?: string;
    readonly details?: { readonly causes?: readonly { message: string }[] };
  };
}

/** Runs this file in the network of the engine, whose server listens at its loopback interface. */
export async function streamed(
  inNetwork: (argv: readonly string[]) => string[],
  url: string,
  how: Stream,
): Promise<Streamed> {
  const argv = inNetwork([process.execPath, import.meta.path, url, JSON.stringify(how)]);
  const { status, stdout, stderr } = await commandBeside(argv, { env: PLAIN_ENV }).finish(30_000);
  if (status !== 0) throw new Error(`${url}: ${stderr}`);
  return JSON.parse(stdout) as Streamed;
}

/** Channels of the protocol v4.channel.k8s.io: the first byte of each message. */
const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;

function main(url: string, how: Stream): void {
  const texts = new Map<number, string>();
  const waiting = [...(how.answers ?? [])];
  const socket = new WebSocket(url.replace(/^http/, "ws"), ["v4.channel.k8s.io"]);
  socket.binaryType = "arraybuffer";
  const send = (channel: number, text: string): void => {
    socket.send(Buffer.concat([Buffer.from([channel]), Buffer.from(text)]));
  };
  socket.onopen = () => {
    if (how.size !== undefined) send(RESIZE, JSON.stringify(how.size));
  };
  socket.onmessage = ({ data }: MessageEvent) => {
    const bytes = Buffer.from(data as ArrayBuffer);
    const channel = bytes[0] ?? -1;
    texts.set(channel, `${texts.get(channel) ?? ""}${bytes.subarray(1).toString()}`);
    const seen = texts.get(STDOUT) ?? "";
    while (waiting[0] !== undefined && seen.includes(waiting[0][0])) send(STDIN, waiting.shift()![1]);
    if (how.until !== undefined && seen.includes(how.until)) socket.close();
  };
  socket.onerror = () => process.exit(1);
  socket.onclose = () => {
    const status = JSON.parse(texts.get(ERROR) || "{}");
    console.log(JSON.stringify({ stdout: texts.get(STDOUT) ?? "", stderr: texts.get(STDERR) ?? "", status }));
    process.exit(0);
  };
}

if (import.meta.main) main(process.argv[2]!, JSON.parse(process.argv[3]!));
