import { describeResult, type Result } from "../../tests/helpers/command.ts";

/** The result, when the command succeeded. */
export function success(result: Result): Result {
  if (result.status !== 0) throw new Error(`should have succeeded: ${describeResult(result)}`);
  return result;
}

export function outcome({ status, stdout, stderr }: Result): { status: number; stdout: string; stderr: string } {
  return { status, stdout, stderr };
}

export const sh = (script: string): string[] => ["sh", "-c", script];

export const sleep = ["sleep", "1000"];
