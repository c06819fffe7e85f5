import { commandBeside, PLAIN_ENV } from "../../tests/helpers/command.ts";

/** A message of the CRI as JSON, with the names of api.proto. */
export type Message = Readonly<Record<string, unknown>>;

const CLIENT = `${process.env.CRI_CLIENT}/client`;

/** Calls `RuntimeService/RunPodSandbox` and the like; throws what the server returns as an error. */
export function methods(socket: string) {
  return async <Response = Message>(method: string, request: Message): Promise<Response> => {
    const child = commandBeside([CLIENT, socket, method], { stdin: JSON.stringify(request), env: PLAIN_ENV });
    const { status, stdout, stderr } = await child.finish(70_000);
    if (status !== 0) throw new CriError(method, stderr.trim());
    return JSON.parse(stdout) as Response;
  };
}

export class CriError extends Error {
  readonly says: string;

  constructor(method: string, says: string) {
    super(`${method}: ${says}`);
    this.says = says;
  }
}
